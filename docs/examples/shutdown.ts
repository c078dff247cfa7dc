/** What happens in which order when a reactor stops; see docs/howto/shutdown.md. */
// #region program
import {
  connectProtocol,
  deferLater,
  Factory,
  Protocol,
  react,
  serverFromString,
  TCP4ClientEndpoint,
  IPv4Address,
  type Reactor,
} from 'plait';

class Guest extends Protocol {
  override connectionLost() {
    console.log('3. each connection is lost');
  }
}

const main = async (reactor: Reactor) => {
  const server = serverFromString(reactor, 'tcp:0:interface=127.0.0.1');
  const port = await server.listen(Factory.forProtocol(Protocol));
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError('it is no TCP port');
  await connectProtocol(new TCP4ClientEndpoint(reactor, address.host, address.port), new Guest());

  reactor.addSystemEventTrigger('before', 'shutdown', async () => {
    console.log('1. the triggers before: all works still');
    await deferLater(reactor, 0.01);
    console.log('2. what they have returned is waited for');
  });
  reactor.addSystemEventTrigger('during', 'shutdown', () => {
    console.log('4. the triggers during: nothing is open any more');
  });
  reactor.addSystemEventTrigger('after', 'shutdown', () => {
    console.log('5. the triggers after: threads have ended');
  });
  reactor.stop();
  try {
    await deferLater(reactor, 60);
  } finally {
    console.log('   main is cancelled, and may clean up: it is a trigger before');
  }
};

react(main).addCallback((code) => console.log(`6. stopped: the exit code is ${code}`));
// #endregion

/** What a reactor is asked for, in short pieces; see docs/reference/reactor.md. `node dist/docs/examples/reactor.js` */
import {
  CannotListenError,
  ClientFactory,
  Deferred,
  deferLater,
  Factory,
  type Failure,
  type IConnector,
  inlineCallbacks,
  IPv4Address,
  Protocol,
  Reactor,
} from 'plait';

const times = inlineCallbacks(function* (reactor: Reactor) {
  // #region time
  const tea = reactor.callLater(180, console.log, 'tea is ready');
  const reminder = reactor.callLater(60, () => console.log('the kettle boils'));
  reminder.reset(0.01); // due 0.01 seconds from now
  tea.delay(60); // due 60 seconds later than it was
  tea.cancel();
  console.log(tea.active(), reminder.active());
  // #endregion
  yield* deferLater(reactor, 0.02);
});

const listening = inlineCallbacks(function* (reactor: Reactor) {
  // #region listen
  const factory = Factory.forProtocol(Protocol);
  const port = reactor.listenTCP(0, factory, { interface: '127.0.0.1' });
  yield* port.ready;
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError('listenTCP has made no TCP port');
  console.log(`${address.host}, port ${address.port > 0}`);
  // #endregion

  // #region bind-error
  const second = reactor.listenTCP(address.port, factory, { interface: '127.0.0.1' });
  yield* second.ready.addErrback((failure) => {
    console.log(failure.trap(CannotListenError).code);
  });
  // #endregion
  return { port, address };
});

// #region connect
/** Hangs up as soon as it is connected. */
class Knock extends Protocol {
  override connectionMade() {
    this.transport.loseConnection();
  }
}

class KnockFactory extends ClientFactory<Knock> {
  override protocol = Knock;
  readonly outcome = new Deferred<string>();

  override clientConnectionFailed(connector: IConnector, reason: Failure) {
    this.outcome.callback(`not connected: ${reason.value.name}`);
  }

  override clientConnectionLost(connector: IConnector, reason: Failure) {
    this.outcome.callback(`connected, and lost: ${reason.value.name}`);
  }
}

function knock(reactor: Reactor, { host, port }: IPv4Address): Deferred<string> {
  const factory = new KnockFactory();
  reactor.connectTCP(host, port, factory, { timeout: 5 });
  return factory.outcome;
}
// #endregion

const main = inlineCallbacks(function* (reactor: Reactor) {
  yield* times(reactor);
  const { port, address } = yield* listening(reactor);
  console.log(yield* knock(reactor, address));
  yield* port.stopListening();
  console.log(yield* knock(reactor, address));
});

// #region run
const reactor = new Reactor();
reactor.addSystemEventTrigger('before', 'shutdown', () =>
  deferLater(reactor, 0.01, () => console.log('tidying up')),
);
reactor.callWhenRunning(() => main(reactor).addBoth(() => reactor.stop()));
reactor.run().addCallback(() => console.log('stopped'));
console.log('run has returned');
// #endregion

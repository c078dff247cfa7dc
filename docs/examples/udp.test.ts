/** What docs/howto/udp.md and docs/reference/udp.md show, as tests. */
import {
  DatagramProtocol,
  type DatagramSource,
  Deferred,
  type Failure,
  type IDelayedCall,
  type IMulticastTransport,
  type IReactorTime,
  MulticastJoinError,
  Reactor,
  TimeoutError,
} from 'plait';
import { Clock } from 'plait/testing';
import t from 'tap';

// #region echo
class Echo extends DatagramProtocol {
  override datagramReceived(data: Buffer, from: DatagramSource) {
    this.transport.write(data, from);
  }
}
// #endregion

// #region asker
class Asker extends DatagramProtocol {
  readonly #clock: IReactorTime;
  readonly #server: DatagramSource;
  readonly #answers = new Map<string, Deferred<string>>();
  #asked = 0;

  constructor(server: DatagramSource, clock: IReactorTime) {
    super();
    this.#server = server;
    this.#clock = clock;
  }

  override startProtocol() {
    this.transport.connect(this.#server.host, this.#server.port);
  }

  /** Fails with TimeoutError if no answer has come to four questions in 7.5 seconds. */
  ask(question: string): Deferred<string> {
    const id = String(this.#asked++);
    const answer = new Deferred<string>();
    let timer: IDelayedCall | undefined;
    const send = (tries: number, wait: number) => {
      if (tries === 0) {
        answer.errback(new TimeoutError(`no answer to ${question}`));
        return;
      }
      this.transport.write(`${id} ${question}`);
      timer = this.#clock.callLater(wait, send, tries - 1, wait * 2);
    };
    this.#answers.set(id, answer);
    send(4, 0.5);
    return answer.addBoth((result) => {
      this.#answers.delete(id);
      if (timer?.active() === true) timer.cancel();
      return result;
    });
  }

  override datagramReceived(data: Buffer) {
    const [id = '', ...words] = data.toString().split(' ');
    // A second answer to the same question finds nobody any more.
    this.#answers.get(id)?.callback(words.join(' '));
  }

  override connectionRefused() {
    console.log('nobody listens there');
  }

  override stopProtocol() {
    for (const answer of [...this.#answers.values()]) answer.cancel();
  }
}
// #endregion

t.test('an echo server, and a client that asks again', async (t) => {
  const reactor = new Reactor();
  const heard: string[] = [];
  class Forgetful extends Echo {
    override datagramReceived(data: Buffer, from: DatagramSource) {
      heard.push(data.toString());
      if (heard.length > 1) super.datagramReceived(data, from);
    }
  }
  const server = new Forgetful();
  const clock = new Clock();
  {
    // #region listen
    const port = reactor.listenUDP(0, server, { interface: '127.0.0.1' });
    await port.ready;
    console.log(`echoes on port ${port.getHost().port}`);
    // #endregion
    t.teardown(() => port.stopListening().asPromise());
  }
  const asker = new Asker(server.transport.getHost(), clock);
  const port = reactor.listenUDP(0, asker, { interface: '127.0.0.1' });
  await port.ready;
  const answer = asker.ask('what is the time?');
  while (heard.length === 0) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(0.5);
  t.equal(await answer, 'what is the time?');
  t.same(heard, ['0 what is the time?', '0 what is the time?']);
  t.equal(clock.getDelayedCalls().length, 0);
  const silent = asker.ask('and now?');
  await server.transport.stopListening();
  clock.pump([0.5, 1, 2, 4]);
  await t.rejects(silent.asPromise(), TimeoutError);
  const late = asker.ask('too late?');
  await Promise.all([t.rejects(late.asPromise(), /cancelled/), port.stopListening()]);
});

t.test('a broadcast reaches whoever listens', async (t) => {
  const heard = new Deferred<string>();
  class Discover extends DatagramProtocol {
    // #region broadcast
    override startProtocol() {
      this.transport.setBroadcastAllowed(true);
      this.transport.write('who is there?', { host: network, port: this.transport.getHost().port });
    }
    override errorReceived(reason: Failure) {
      console.log(`not sent: ${reason.value.message}`);
    }
    // #endregion
    override datagramReceived(data: Buffer) {
      if (!heard.called) heard.callback(data.toString());
    }
  }
  const network = '127.255.255.255'; // '<broadcast>' would be every network that this machine is in
  const port = new Reactor().listenUDP(0, new Discover());
  t.equal(await heard, 'who is there?');
  await port.stopListening();
});

t.test('a group, of which every member hears', async (t) => {
  const heard = new Deferred<string>();
  // #region multicast
  class Member extends DatagramProtocol {
    declare transport: IMulticastTransport;

    override startProtocol() {
      this.transport.setTTL(1); // no further than this network
      this.transport.joinGroup('239.255.0.7', '127.0.0.1').addCallbacks(
        () => this.hello(),
        (failure) => this.alone(failure),
      );
    }
    hello() {
      const { port } = this.transport.getHost();
      void this.transport.setOutgoingInterface('127.0.0.1');
      this.transport.write('hello, group', { host: '239.255.0.7', port });
    }
    alone(failure: Failure) {
      failure.trap(MulticastJoinError);
      heard.callback('nobody: there are no groups here');
    }
    override datagramReceived(data: Buffer) {
      heard.callback(data.toString());
    }
  }
  const port = new Reactor().listenMulticast(0, new Member(), { listenMultiple: true });
  // #endregion
  t.match(await heard, /^(hello, group|nobody)/);
  await port.stopListening();
});

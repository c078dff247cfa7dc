/**
 * `ClientService` and `ReconnectingClientFactory`: clients that keep a connection to a server that goes away and comes
 * back. What is asked gets its own answer or one error; while they run they find back; once they are told to stop they
 * never dial again, and nothing of them is left.
 */
import {
  type Address,
  backoffPolicy,
  CancelledError,
  ClientService,
  ConnectionLost,
  Deferred,
  deferLater,
  Factory,
  type Failure,
  type IDelayedCall,
  ReconnectingClientFactory,
  TCP4ClientEndpoint,
} from 'plait';
import { LineOnlyReceiver } from 'plait/protocols/basic';
import { TimeoutFactory } from 'plait/protocols/policies';
import { type ErrorClass, NETWORK_ERRORS, type Scenario, type Stage } from './scenario.ts';

const PORT = 17;
const ASKING = 20;
const DEADLINE = 400;
const ERRORS: readonly ErrorClass[] = [...NETWORK_ERRORS, CancelledError];

class Answerer extends LineOnlyReceiver {
  override lineReceived(line: Buffer): void {
    this.sendLine(`to ${line.toString()}`);
  }
}

/** Asks, and matches the answers in order; a question that waits too long is the end of the connection. */
class Asker extends LineOnlyReceiver {
  readonly #stage: Stage;
  readonly #host: string;
  #waiting: { answer: Deferred<string>; timer: IDelayedCall }[] = [];
  #lost: Failure | undefined;

  constructor(stage: Stage, host: string) {
    super();
    this.#stage = stage;
    this.#host = host;
  }

  ask(question: string): Deferred<string> {
    const answer = new Deferred<string>();
    if (this.#lost !== undefined) {
      answer.errback(this.#lost);
      return answer;
    }
    const timer = this.#stage.host(this.#host).reactor.callLater(ASKING, () => {
      this.transport.abortConnection();
    });
    this.#waiting.push({ answer, timer });
    this.sendLine(question);
    return answer;
  }

  override lineReceived(line: Buffer): void {
    const first = this.#waiting.shift();
    if (first === undefined) {
      this.#stage.fault(`an answer to nothing: ${line.toString()}`);
      return;
    }
    first.timer.cancel();
    first.answer.callback(line.toString());
  }

  override connectionLost(reason: Failure): void {
    this.#lost = reason;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { answer, timer } of waiting) {
      if (timer.active()) timer.cancel();
      answer.errback(reason);
    }
  }
}

export const services: Scenario = {
  name: 'services',
  play(stage) {
    const { reactor } = stage.host('server');
    const factory = new TimeoutFactory(Factory.forProtocol(Answerer), {
      timeout: 100,
      clock: reactor,
    });
    let port = reactor.listenTCP(PORT, factory);
    const away = deferLater(reactor, stage.random.between(0, 20))
      .addCallback(() => port.stopListening({ connections: stage.pick(['abort', 'drain']) }))
      .addCallback(() => deferLater(reactor, stage.random.between(0, 20)))
      .addCallback(() => {
        port = reactor.listenTCP(PORT, factory);
        return port.ready;
      });
    const works = [away, useService(stage, 'alice'), useFactory(stage, 'bob')];
    return stage.all(works).addBoth(() => port.stopListening());
  },
};

/** Asks three times, with pauses, over whatever connection there is. */
function useService(stage: Stage, name: string): Deferred<unknown> {
  const { reactor } = stage.host(name);
  const [address] = stage.host('server').addresses;
  const endpoint = new TCP4ClientEndpoint(reactor, address, PORT, { timeout: 15 });
  const askers = new Factory<Asker>();
  askers.buildProtocol = () => new Asker(stage, name);
  const service = new ClientService(endpoint, askers, {
    retryPolicy: backoffPolicy({ maxDelay: 10 }),
    clock: reactor,
    prepareConnection: (asker: Asker) => asker.ask('hello'),
  });
  const askOnce = (count: number): Deferred<unknown> => {
    const question = `${name} ${count}`;
    const work = service
      .whenConnected()
      .addTimeout(DEADLINE - ASKING - 1, reactor)
      .addCallback((asker) => asker.ask(question));
    return exchange(stage, question, work).addCallback(() =>
      count === 3
        ? undefined
        : deferLater(reactor, stage.random.between(0, 15)).addCallback(() => askOnce(count + 1)),
    );
  };
  service.startService();
  return askOnce(1)
    .addBoth(() => deferLater(reactor, stage.random.between(0, 12)))
    .addBoth(() => service.stopService())
    .addCallback(() => stage.checkCalls(name))
    .addCallback(() => dialsNoMore(stage, name));
}

/** The same over connections that a factory makes again. */
class Again extends ReconnectingClientFactory<Asker> {
  override maxDelay = 10;
  readonly #stage: Stage;
  readonly #name: string;
  current: Asker | undefined;

  constructor(stage: Stage, name: string) {
    super();
    this.#stage = stage;
    this.#name = name;
    this.clock = stage.host(name).reactor;
  }

  override buildProtocol(_address: Address): Asker {
    this.resetDelay();
    this.current = new Asker(this.#stage, this.#name);
    return this.current;
  }
}

function useFactory(stage: Stage, name: string): Deferred<unknown> {
  const { reactor } = stage.host(name);
  const [address] = stage.host('server').addresses;
  const factory = new Again(stage, name);
  const connector = reactor.connectTCP(address, PORT, factory, { timeout: 15 });
  const end = stage.sim.seconds() + DEADLINE - ASKING - 1;
  const askOnce = (count: number): Deferred<unknown> => {
    const question = `${name} ${count}`;
    const asker = connector.state === 'connected' ? factory.current : undefined;
    if (asker === undefined) {
      if (stage.sim.seconds() < end)
        return deferLater(reactor, 1).addCallback(() => askOnce(count));
      if (stage.calm) stage.fault('it has not found back');
      return deferLater(reactor, 0);
    }
    return exchange(stage, question, asker.ask(question)).addCallback(() =>
      count === 3
        ? undefined
        : deferLater(reactor, stage.random.between(0, 15)).addCallback(() => askOnce(count + 1)),
    );
  };
  return askOnce(1)
    .addBoth(() => deferLater(reactor, stage.random.between(0, 12)))
    .addBoth(() => {
      factory.stopTrying();
      if (connector.state === 'connected') connector.disconnect();
    })
    .addCallback(() => dialsNoMore(stage, name));
}

/** It was told to stop. */
function dialsNoMore(stage: Stage, name: string): Deferred<void> {
  const before = stage.dialed.get(name);
  return deferLater(stage.host(name).reactor, 60).addCallback(() => {
    if (stage.dialed.get(name) !== before) stage.fault(`${name} has dialed after it was stopped`);
  });
}

/** The server goes away while the network is calm, too. */
function exchange(stage: Stage, question: string, work: Deferred<string>): Deferred<void> {
  const closed = work.addErrback((failure) => {
    const lost = stage.calm && failure.check(ConnectionLost, ...NETWORK_ERRORS);
    return lost ? 'gone' : failure;
  });
  return stage.exchange(
    question,
    DEADLINE,
    closed,
    (answer) =>
      answer === `to ${question}` || (stage.calm && answer === 'gone')
        ? undefined
        : `the answer is ${answer}`,
    ERRORS,
  );
}

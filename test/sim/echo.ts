/**
 * Echo: sequences of requests that end in each way that a client may choose, and now and then a flood from a client that
 * does not read, which must not fill the server's memory. Echo keeps a connection whose client has vanished, as TCP
 * does; so there is a TimeoutFactory around it.
 */
import {
  Deferred,
  type Failure,
  type IDelayedCall,
  Protocol,
  connectProtocol,
  TCP4ClientEndpoint,
} from 'plait';
import { EchoFactory } from 'plait/protocols/echo';
import { TimeoutFactory } from 'plait/protocols/policies';
import { type Scenario, type Stage } from './scenario.ts';

const DEADLINE = 60;
const FLOOD_DEADLINE = 900;
const FLOOD = 112 * 1024;
/** Longer than a flooder does not read, and both directions stall after that. */
const IDLE = 400;

type Ending = 'close' | 'half-close' | 'abort';

/** Sends pieces, each when the one before has come back, and compares every byte. */
export class Caller extends Protocol {
  readonly done: Deferred<void> = new Deferred<void>(() => {
    this.#over = true;
    this.transport.abortConnection();
  });
  readonly #pieces: readonly Buffer[];
  readonly #ending: Ending;
  readonly #later: (send: () => void) => void;
  /** Set when a byte is wrong. */
  wrong: string | undefined;
  #at = 0;
  #back = 0;
  #over = false;

  /** @param later calls what sends a piece: at once, or when it likes */
  constructor(
    pieces: readonly Buffer[],
    ending: Ending,
    later: (send: () => void) => void = (send) => send(),
  ) {
    super();
    this.#later = later;
    this.#pieces = pieces;
    this.#ending = ending;
  }

  override connectionMade(): void {
    this.#send();
  }

  #send(): void {
    this.transport.write(this.#pieces[this.#at]!);
  }

  override dataReceived(data: Buffer): void {
    const piece = this.#pieces[this.#at];
    const end = this.#back + data.length;
    if (piece === undefined || !piece.subarray(this.#back, end).equals(data)) {
      this.wrong = `byte ${this.#back} of piece ${this.#at}, or one after it, is not what was sent`;
      this.#finish();
      return;
    }
    this.#back = end;
    if (end < piece.length) return;
    this.#at++;
    this.#back = 0;
    if (this.#at < this.#pieces.length) this.#later(() => this.#send());
    else if (this.#ending === 'half-close') this.transport.loseWriteConnection();
    else this.#finish();
  }

  #finish(): void {
    this.#over = true;
    if (this.#ending === 'abort') this.transport.abortConnection();
    else this.transport.loseConnection();
    this.done.callback();
  }

  override connectionLost(reason: Failure): void {
    if (this.#over) return;
    this.#over = true;
    // Echo closes its side when it has sent everything back.
    if (this.#at === this.#pieces.length) this.done.callback();
    else this.done.errback(reason);
  }
}

/** Sends much, reads nothing for a while, then closes its side, and wants everything back. */
class Flooder extends Protocol {
  readonly done: Deferred<void> = new Deferred<void>(() => {
    this.#over = true;
    this.transport.abortConnection();
  });
  readonly #bytes: Buffer;
  readonly #stage: Stage;
  #back = 0;
  #over = false;
  #timer: IDelayedCall | undefined;
  wrong: string | undefined;

  constructor(stage: Stage, bytes: Buffer) {
    super();
    this.#stage = stage;
    this.#bytes = bytes;
  }

  override connectionMade(): void {
    this.transport.pauseProducing();
    this.transport.write(this.#bytes);
    this.transport.loseWriteConnection();
    const { reactor } = this.#stage.host('flooder');
    this.#timer = reactor.callLater(60, () => this.transport.resumeProducing());
  }

  override dataReceived(data: Buffer): void {
    const end = this.#back + data.length;
    if (!this.#bytes.subarray(this.#back, end).equals(data))
      this.wrong ??= `byte ${this.#back}, or one after it, is not what was sent`;
    this.#back = end;
  }

  override connectionLost(reason: Failure): void {
    if (this.#timer?.active() === true) this.#timer.cancel();
    if (this.#over) return;
    if (this.#back === this.#bytes.length) this.done.callback();
    else this.done.errback(reason);
  }
}

export const echo: Scenario = {
  name: 'echo',
  play(stage) {
    const { reactor } = stage.host('server');
    stage.strict = true;
    const factory = new TimeoutFactory(new EchoFactory(), { timeout: IDLE, clock: reactor });
    const port = reactor.listenTCP(7, factory);
    const works = ['alice', 'alice', 'bob'].map((name) => call(stage, name));
    if (stage.random.chance(0.04)) {
      // So that the echo of what is not read soon has nowhere to go.
      stage.sim.conditions = { level: stage.climate, window: 4096 };
      works.push(flood(stage));
    }
    return stage.all(works).addBoth(() => port.stopListening());
  },
};

function call(stage: Stage, name: string): Deferred<void> {
  const { reactor } = stage.host(name);
  const pieces = Array.from({ length: stage.random.size(4) }, () => stage.bytes(600));
  const caller = new Caller(pieces, stage.pick(['close', 'half-close', 'abort']));
  const [address] = stage.host('server').addresses;
  const endpoint = new TCP4ClientEndpoint(reactor, address, 7, { timeout: 30 });
  const work = connectProtocol(endpoint, caller).addCallback(() =>
    caller.done.addTimeout(DEADLINE - 30, reactor),
  );
  return stage.exchange(`a call from ${name}`, DEADLINE, work, () => caller.wrong);
}

function flood(stage: Stage): Deferred<void> {
  const { reactor } = stage.host('flooder');
  const flooder = new Flooder(stage, Buffer.alloc(FLOOD, stage.bytes(1000)));
  const [address] = stage.host('server').addresses;
  const endpoint = new TCP4ClientEndpoint(reactor, address, 7, { timeout: 30 });
  const work = connectProtocol(endpoint, flooder).addCallback(() =>
    flooder.done.addTimeout(FLOOD_DEADLINE - 30, reactor),
  );
  return stage.exchange('a flood', FLOOD_DEADLINE, work, () => flooder.wrong);
}

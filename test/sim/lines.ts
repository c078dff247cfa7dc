/**
 * `LineReceiver` and `LineOnlyReceiver`: a small service whose commands use all that they can do (raw bytes between
 * lines, pauses between two lines of one chunk, a line that is too long, a last word after `loseConnection`), and
 * clients that send several commands at once, so that each answer must be matched to its request.
 */
import {
  connectProtocol,
  Deferred,
  Factory,
  type Failure,
  type IDelayedCall,
  type IReactorTime,
  type ITransport,
  TCP4ClientEndpoint,
} from 'plait';
import { LineOnlyReceiver, LineReceiver } from 'plait/protocols/basic';
import { TimeoutFactory } from 'plait/protocols/policies';
import type { Scenario, Stage } from './scenario.ts';

const PORT = 79;
const DEADLINE = 90;
/** How long a line may be. */
const LONGEST = 300;

/**
 * Says back what a command asks for, behind the command's number: `say <number> <text>` in capitals;
 * `raw <number> <length>`, with so many bytes behind it, their sum; `wait <number> <milliseconds>` later, with nothing
 * read until then; `quit` ends.
 */
class Service extends LineReceiver {
  override maxLength = LONGEST;
  readonly #clock: IReactorTime;
  #number = '';
  #wanted = 0;
  #sum = 0;
  #timer: IDelayedCall | undefined;

  constructor(clock: IReactorTime) {
    super();
    this.#clock = clock;
  }

  override lineReceived(line: Buffer): void {
    const [command, number = '', rest = ''] = line.toString('latin1').split(' ', 3);
    if (command === 'say') {
      this.sendLine(`${number} ${rest.toUpperCase()}`);
    } else if (command === 'raw') {
      this.#number = number;
      this.#wanted = Number(rest);
      this.#sum = 0;
      this.setRawMode();
    } else if (command === 'wait') {
      this.pauseProducing();
      this.#timer = this.#clock.callLater(Number(rest) / 1000, () => {
        this.#timer = undefined;
        this.sendLine(`${number} waited`);
        this.resumeProducing();
      });
    } else {
      this.transport.loseConnection();
      this.sendLine(command === 'quit' ? 'bye' : `what is ${command}`);
    }
  }

  override rawDataReceived(data: Buffer): void {
    const mine = data.subarray(0, this.#wanted);
    this.#wanted -= mine.length;
    this.#sum = sumOf(mine, this.#sum);
    if (this.#wanted > 0) return;
    this.sendLine(`${this.#number} ${this.#sum}`);
    this.setLineMode(data.subarray(mine.length));
  }

  override lineLengthExceeded(): void {
    this.sendLine('too long');
    this.transport.loseConnection();
  }

  override connectionLost(): void {
    this.#timer?.cancel();
  }
}

function sumOf(bytes: Uint8Array, from = 0): number {
  let sum = from;
  for (const byte of bytes) sum = (sum * 31 + byte) % 1_000_003;
  return sum;
}

/** What a client sends, and the line that answers it. */
interface Request {
  readonly bytes: Buffer;
  readonly answer: string;
  readonly result: Deferred<string>;
}

/** Sends all its requests at once, and takes the answers in order. */
class Client extends LineOnlyReceiver {
  readonly #requests: readonly Request[];
  readonly #stage: Stage;
  #answered = 0;

  constructor(stage: Stage, requests: readonly Request[]) {
    super();
    this.#stage = stage;
    this.#requests = requests;
  }

  override connectionMade(): void {
    this.transport.writeSequence(this.#requests.map(({ bytes }) => bytes));
  }

  override lineReceived(line: Buffer): void {
    const request = this.#requests[this.#answered++];
    if (request === undefined) this.#stage.fault(`an answer to no request: ${line.toString()}`);
    else request.result.callback(line.toString());
  }

  override connectionLost(reason: Failure): void {
    // A callback of one must not fail another twice.
    for (const { result } of this.#requests.slice(this.#answered)) result.errback(reason);
    this.#answered = this.#requests.length;
  }
}

export const lines: Scenario = {
  name: 'lines',
  play(stage) {
    const { reactor } = stage.host('server');
    stage.strict = true;
    const services = new Factory<Service>();
    services.buildProtocol = () => new Service(reactor);
    const port = reactor.listenTCP(
      PORT,
      new TimeoutFactory(services, { timeout: 150, clock: reactor }),
    );
    const works = ['alice', 'bob'].map((name) => converse(stage, name));
    return stage.all(works).addBoth(() => port.stopListening());
  },
};

function converse(stage: Stage, name: string): Deferred<unknown> {
  const { reactor } = stage.host(name);
  const requests = Array.from({ length: stage.random.size(5) }, (_, number) =>
    draft(stage, number),
  );
  const ending = stage.pick(['quit', 'too long', 'close']);
  const last = new Deferred<string>(() => {});
  const junk = 'say 99 junk\r\n'.repeat(stage.random.int(3));
  if (ending === 'quit')
    requests.push({ bytes: Buffer.from(`quit\r\n${junk}`), answer: 'bye', result: last });
  if (ending === 'too long') {
    const bytes = Buffer.from(`${'x'.repeat(LONGEST + 1 + stage.random.int(500))}\r\n`);
    requests.push({ bytes, answer: 'too long', result: last });
  }
  const client = new Client(stage, requests);
  const [address] = stage.host('server').addresses;
  const endpoint = new TCP4ClientEndpoint(reactor, address, PORT, { timeout: 30 });
  const deadline = reactor.callLater(DEADLINE - 1, () => client.transport.abortConnection());
  const connected = connectProtocol(endpoint, client);
  connected.addErrback((failure) => client.connectionLost(failure));
  const works = requests.map(({ result, answer }) =>
    stage.exchange(`a request for ${answer}`, DEADLINE, result, (line) =>
      line === answer ? undefined : `the answer is ${line}, and should be ${answer}`,
    ),
  );
  return stage.all(works).addBoth(() => {
    if (deadline.active()) deadline.cancel();
    if (ending === 'close') (client.transport as ITransport | undefined)?.loseConnection();
  });
}

/** One request by chance. */
function draft(stage: Stage, number: number): Request {
  const { random } = stage;
  const result = new Deferred<string>();
  switch (random.int(3)) {
    case 0: {
      const text = 'abcdefghijklmnop'.repeat(20).slice(0, random.int(LONGEST - 10));
      const bytes = Buffer.from(`say ${number} ${text}\r\n`);
      return { bytes, answer: `${number} ${text.toUpperCase()}`, result };
    }
    case 1: {
      const raw = stage.bytes(400);
      const bytes = Buffer.concat([Buffer.from(`raw ${number} ${raw.length}\r\n`), raw]);
      return { bytes, answer: `${number} ${sumOf(raw)}`, result };
    }
    default: {
      const bytes = Buffer.from(`wait ${number} ${random.int(3000)}\r\n`);
      return { bytes, answer: `${number} waited`, result };
    }
  }
}

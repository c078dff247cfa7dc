/**
 * Datagrams: questions asked again until they are answered, over a network that loses, doubles and delays. Each answer
 * is matched to its question by number; what comes twice is not taken twice.
 */
import {
  DatagramProtocol,
  type DatagramSource,
  Deferred,
  type IDelayedCall,
  TimeoutError,
} from 'plait';
import { type ErrorClass, NETWORK_ERRORS, type Scenario, type Stage } from './scenario.ts';

const PORT = 69;
/** Seconds before a question is asked again, and how often that is. */
const AGAIN = 2;
const TIMES = 8;
const DEADLINE = AGAIN * TIMES + 1e-3;
const ERRORS: readonly ErrorClass[] = [...NETWORK_ERRORS];

/** Sends back a question's number, and what follows it the other way round. */
class Server extends DatagramProtocol {
  override datagramReceived(data: Buffer, from: DatagramSource): void {
    const answer = Buffer.from(data);
    answer.subarray(2).reverse();
    this.transport.write(answer, from);
  }
}

interface Question {
  readonly bytes: Buffer;
  readonly answer: Deferred<Buffer>;
  sent: number;
  timer: IDelayedCall | undefined;
}

class Client extends DatagramProtocol {
  readonly #stage: Stage;
  readonly #host: string;
  readonly #questions = new Map<number, Question>();
  stopped = false;

  constructor(stage: Stage, host: string) {
    super();
    this.#stage = stage;
    this.#host = host;
  }

  ask(number: number, bytes: Buffer): Deferred<Buffer> {
    const whole = Buffer.concat([Buffer.of(number >> 8, number & 255), bytes]);
    const answer = new Deferred<Buffer>();
    const question: Question = { bytes: whole, answer, sent: 0, timer: undefined };
    this.#questions.set(number, question);
    this.#send(number, question);
    return answer;
  }

  #send(number: number, question: Question): void {
    if (question.sent++ === TIMES) {
      this.#questions.delete(number);
      question.answer.errback(new TimeoutError(`no answer to question ${number}`));
      return;
    }
    this.transport.write(question.bytes, {
      host: this.#stage.host('server').addresses[0],
      port: PORT,
    });
    const { reactor } = this.#stage.host(this.#host);
    question.timer = reactor.callLater(AGAIN, () => this.#send(number, question));
  }

  override datagramReceived(data: Buffer): void {
    if (this.stopped) this.#stage.fault('a datagram was delivered after stopProtocol');
    const number = data.readUInt16BE();
    const question = this.#questions.get(number);
    // It was late, or has come twice.
    if (question === undefined) return;
    this.#questions.delete(number);
    question.timer?.cancel();
    question.answer.callback(data.subarray(2));
  }

  override stopProtocol(): void {
    if (this.stopped) this.#stage.fault('stopProtocol was called twice');
    this.stopped = true;
  }
}

export const udp: Scenario = {
  name: 'udp',
  play(stage) {
    const port = stage.host('server').reactor.listenUDP(PORT, new Server());
    const works = ['alice', 'bob'].map((name) => converse(stage, name));
    return stage.all(works).addBoth(() => port.stopListening());
  },
};

function converse(stage: Stage, name: string): Deferred<unknown> {
  const client = new Client(stage, name);
  const port = stage.host(name).reactor.listenUDP(0, client);
  return port.ready
    .addCallback(() =>
      stage.all(
        Array.from({ length: 4 }, (_, number) => {
          const bytes = stage.bytes(500);
          const right = Buffer.from(bytes).reverse();
          const check = (answer: Buffer) =>
            answer.equals(right) ? undefined : 'the answer is to another question';
          const work = client.ask(number, bytes);
          return stage.exchange(`question ${number} of ${name}`, DEADLINE, work, check, ERRORS);
        }),
      ),
    )
    .addBoth(() => port.stopListening())
    .addCallback(() => {
      if (!client.stopped) stage.fault('stopProtocol was not called');
    });
}

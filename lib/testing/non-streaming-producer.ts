/** A pull producer that writes a count. Twisted: `NonStreamingProducer` of `twisted.internet.testing`. */
import type { IConsumer, IPullProducer } from '../interfaces.ts';
import { INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

/**
 * Writes `0`, `1`, `2` … to its consumer, one each time that it is asked, and unregisters itself after ten.
 *
 * @example
 * const transport = new StringTransport();
 * const producer = new NonStreamingProducer(transport);
 * transport.registerProducer(producer, false);
 * producer.resumeProducing();
 * producer.resumeProducing();
 * transport.value().toString(); // '01'
 */
export class NonStreamingProducer implements IPullProducer {
  /** What it writes next. */
  counter = 0;
  /** `stopProducing` was called: nothing is written any more. */
  stopped = false;
  readonly #consumer: IConsumer;

  constructor(consumer: IConsumer) {
    this.#consumer = consumer;
  }

  /** Writes one piece. */
  resumeProducing(): void {
    if (this.stopped || this.counter >= 10) return;
    this.#consumer.write(`${this.counter}`);
    this.counter++;
    if (this.counter === 10) this.#consumer.unregisterProducer();
  }

  stopProducing(): void {
    this.stopped = true;
  }

  toString(): string {
    return told(this, `${this.counter} produced${this.stopped ? ', stopped' : ''}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Makes those who write to a transport wait while it has too much to send. The transport knows it as a push producer;
 * what it produces is what the others write. For writers that are no producers: streams, coroutines.
 */
import type { IConsumer, IPushProducer } from './interfaces.ts';

/** Open while there is room: while no more than 64 KiB wait to be sent, and again once all of that has gone out. */
export class WriteGate implements IPushProducer {
  readonly #consumer: IConsumer;
  #open = true;
  #stopped = false;
  readonly #waiting = new Set<() => void>();

  /** Registers itself with `consumer`; it can have no other producer then, until `release`. */
  constructor(consumer: IConsumer) {
    this.#consumer = consumer;
    consumer.registerProducer(this, true);
  }

  /** Calls `go` when there is room: at once if there is. Not if the transport is lost before. */
  whenOpen(go: () => void): void {
    if (this.#open) go();
    else this.#waiting.add(go);
  }

  /** Calls `go` no more. */
  forget(go: () => void): void {
    this.#waiting.delete(go);
  }

  /** Nothing more will be written: lets the consumer end what it waits to end. */
  release(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#consumer.unregisterProducer();
  }

  pauseProducing(): void {
    this.#open = false;
  }

  resumeProducing(): void {
    this.#open = true;
    // Those that are forgotten meanwhile are not called, and those that come are not among them.
    for (const go of [...this.#waiting]) if (this.#waiting.delete(go)) go();
  }

  stopProducing(): void {
    this.#stopped = true;
    this.#waiting.clear();
  }
}

/**
 * What stands between producers, consumers and protocols: a proxy that is the consumer of the one and the producer of
 * the other, one that keeps a buffer, and two adapters. Twisted: `twisted.protocols.pcp`.
 */
import { watchHook } from './hooks.ts';
import type {
  IConsumer,
  IProtocol,
  IPullProducer,
  IPushProducer,
  HookOwner,
  HookResult,
} from './interfaces.ts';
import { Protocol } from './protocol.ts';
import { count, INSPECT, inspected, type Inspecting, nameOf, told } from './one-line.ts';

/** After so many pieces that a pull producer gives at once, others have their turn: timers above all. */
const AT_ONCE = 2 ** 17;

/** A consumer, for TypeScript, returns nothing; one of the program's own may be written by an `async` function. */
interface Writable {
  write(data: Uint8Array): HookResult;
}

/** A producer of either kind. */
type Producer = IPushProducer | IPullProducer;

/**
 * The consumer of a producer, and the producer of a consumer: passes on what comes, and what is asked for. Override
 * `write`, and call that of this class, to change what passes. It keeps what is written while it is paused: a producer
 * that does not obey fills the memory. Twisted: `BasicProducerConsumerProxy`.
 *
 * A pull producer is asked for the next piece whenever it has given one and the consumer has room; Twisted's proxy
 * asks only when the consumer does.
 *
 * @example
 * class Shouting extends BasicProducerConsumerProxy {
 *   override write(data: Uint8Array | string) {
 *     super.write(data.toString().toUpperCase());
 *   }
 * }
 */
export class BasicProducerConsumerProxy implements IConsumer, IPushProducer {
  /** True if it is a push producer; otherwise its consumer asks it for each piece. */
  readonly iAmStreaming: boolean;
  /** Where it writes to; undefined once that has told it to stop. */
  protected consumer: IConsumer | undefined;
  /** The producer that is registered, if there is one. */
  protected producer: Producer | undefined;
  protected producerIsStreaming = false;
  protected paused = false;
  /** How many bytes wait to be passed on. */
  protected keptBytes = 0;
  /** A piece was asked for, and has not been given. */
  protected outstandingPull = false;
  // These two are for the subclass, and here because a consumer may ask from inside the constructor.
  /** The producer was paused, and is to be resumed. */
  protected producerPaused = false;
  /** The producer has written its last, and not all of it is passed on. */
  protected ending = false;
  #kept: Uint8Array[] = [];
  #pulling = false;
  /** How often something was written. */
  #writes = 0;

  /**
   * Registers itself with `consumer`.
   *
   * @param iAmStreaming true to be a push producer, false to be a pull producer
   * @throws what the consumer throws if it has another producer
   */
  constructor(consumer: IConsumer, iAmStreaming = true) {
    this.iAmStreaming = iAmStreaming;
    this.consumer = consumer;
    consumer.registerProducer(this, iAmStreaming);
  }

  // ── As a producer ────────────────────────────────────────────────────────────────────────────────────────────────

  pauseProducing(): void {
    this.paused = true;
    if (this.producerIsStreaming) this.askProducer('pauseProducing');
  }

  resumeProducing(): void {
    this.paused = false;
    if (this.passOn()) {
      if (this.iAmStreaming) this.askProducer('resumeProducing');
      return;
    }
    if (!this.iAmStreaming) this.outstandingPull = true;
    this.askProducer('resumeProducing');
  }

  stopProducing(): void {
    const { consumer, producer } = this;
    this.consumer = this.producer = undefined;
    this.#forget();
    watchHook(producer?.stopProducing(), 'stopProducing', consumer as HookOwner | undefined);
  }

  // ── As a consumer ────────────────────────────────────────────────────────────────────────────────────────────────

  write(data: Uint8Array | string): void {
    if (this.consumer === undefined) return;
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    this.#writes++;
    if (this.paused || (!this.iAmStreaming && !this.outstandingPull)) {
      this.#kept.push(bytes);
      this.keptBytes += bytes.length;
    } else {
      this.outstandingPull = false;
      this.#give(this.consumer, bytes);
    }
    this.pull();
  }

  /** @throws Error if another producer is registered */
  registerProducer(producer: Producer, streaming: boolean): void {
    if (this.producer !== undefined)
      throw new Error('cannot register a producer: another one is registered');
    if (this.consumer === undefined) {
      watchHook(producer.stopProducing(), 'stopProducing', undefined);
      return;
    }
    this.producer = producer;
    this.producerIsStreaming = streaming;
    if (streaming) {
      if (this.paused) this.pauseProducing();
    } else if (this.outstandingPull) {
      this.askProducer('resumeProducing');
    } else {
      this.pull();
    }
  }

  unregisterProducer(): void {
    if (this.producer === undefined) return;
    this.producer = undefined;
    this.producerIsStreaming = false;
    this.producerEnded();
  }

  // ── For subclasses ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks the producer for more, or for no more for now; if that fails, the consumer's connection is to blame. */
  protected askProducer(what: 'pauseProducing' | 'resumeProducing'): void {
    watchHook(
      (this.producer as IPushProducer | undefined)?.[what](),
      what,
      this.consumer as HookOwner | undefined,
    );
  }

  /** The producer has written its last, and the consumer is to have what is left of it. */
  protected producerEnded(): void {
    this.passOn();
    this.consumer?.unregisterProducer();
  }

  /** Passes on what was kept; true if there was anything. */
  protected passOn(): boolean {
    if (this.#kept.length === 0 || this.consumer === undefined) return false;
    const data = Buffer.concat(this.#kept);
    this.#forget();
    this.outstandingPull = false;
    this.#give(this.consumer, data);
    return true;
  }

  #give(consumer: Writable, data: Uint8Array): void {
    watchHook(consumer.write(data), 'write', consumer as HookOwner);
  }

  /** Whether a pull producer is to be asked without being asked oneself. */
  protected wantsPiece(): boolean {
    return this.iAmStreaming && !this.paused;
  }

  /** Asks a pull producer for pieces, as long as it gives them at once. */
  protected pull(): void {
    if (this.#pulling) return;
    this.#pulling = true;
    try {
      for (let asked = 1; this.producer !== undefined && !this.producerIsStreaming; asked++) {
        if (!this.wantsPiece()) return;
        const before = this.#writes;
        this.askProducer('resumeProducing');
        if (this.#writes === before) return;
        if (asked === AT_ONCE) {
          setImmediate(() => {
            this.pull();
          });
          return;
        }
      }
    } finally {
      this.#pulling = false;
    }
  }

  #forget(): void {
    this.#kept = [];
    this.keptBytes = 0;
  }

  toString(): string {
    return told(
      this,
      `${this.consumer === undefined ? 'without' : 'with'} a consumer, ${this.producer === undefined ? 'without' : 'with'} a producer, ${count(this.keptBytes, 'byte')} kept`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * A proxy with a buffer: the producer goes on while the consumer is paused, until `bufferSize` bytes are kept, and a
 * pull producer is asked ahead. Twisted: `ProducerConsumerProxy`.
 */
export class ProducerConsumerProxy extends BasicProducerConsumerProxy {
  /** The producer is paused when so many bytes are kept, or more. Default: 65,536. */
  bufferSize = 64 * 1024;

  override pauseProducing(): void {
    this.paused = true;
  }

  override resumeProducing(): void {
    this.paused = false;
    if (!this.passOn() && !this.iAmStreaming) this.outstandingPull = true;
    if (this.ending) {
      this.ending = false;
      this.consumer?.unregisterProducer();
    }
    if (this.producerPaused && this.keptBytes < this.bufferSize) {
      this.producerPaused = false;
      this.askProducer('resumeProducing');
    }
    this.pull();
  }

  override write(data: Uint8Array | string): void {
    super.write(data);
    if (!this.producerIsStreaming || this.producerPaused || this.keptBytes < this.bufferSize)
      return;
    this.producerPaused = true;
    this.askProducer('pauseProducing');
  }

  override registerProducer(producer: Producer, streaming: boolean): void {
    if (this.producer === undefined) this.producerPaused = this.ending = false;
    super.registerProducer(producer, streaming);
  }

  protected override producerEnded(): void {
    if (this.keptBytes > 0) this.ending = true;
    else super.producerEnded();
  }

  protected override wantsPiece(): boolean {
    return this.keptBytes < this.bufferSize;
  }
}

/**
 * A protocol as a consumer: what is written to it, the protocol receives. It takes all that a producer has, as fast as
 * it comes. Twisted: `ProtocolToConsumerAdapter`.
 */
export class ProtocolToConsumerAdapter implements IConsumer {
  /** The protocol. */
  readonly original: Pick<IProtocol, 'dataReceived'>;
  /** A pull producer that is registered. */
  #pulled: Producer | undefined;
  #asking = false;
  #askAgain = false;

  constructor(protocol: Pick<IProtocol, 'dataReceived'>) {
    this.original = protocol;
  }

  write(data: Uint8Array | string): void {
    const { transport } = this.original as { readonly transport?: HookOwner };
    watchHook(
      this.original.dataReceived(Buffer.from(data as Uint8Array)),
      'dataReceived',
      transport,
    );
    this.#ask();
  }

  registerProducer(producer: Producer, streaming: boolean): void {
    this.#pulled = streaming ? undefined : producer;
    this.#ask();
  }

  unregisterProducer(): void {
    this.#pulled = undefined;
  }

  /** In a loop: a producer may write from inside the call that asks it to. */
  #ask(): void {
    this.#askAgain = true;
    if (this.#asking) return;
    this.#asking = true;
    try {
      for (let asked = 1; this.#askAgain; asked++) {
        this.#askAgain = false;
        watchHook(this.#pulled?.resumeProducing(), 'resumeProducing', undefined);
        // What was written in the call has set it again.
        if (asked === AT_ONCE && (this.#askAgain as boolean)) {
          setImmediate(() => {
            this.#ask();
          });
          return;
        }
      }
    } finally {
      this.#asking = false;
    }
  }

  toString(): string {
    return told(this, `for a ${nameOf(this.original)}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * A consumer as a protocol: what a connection brings is written to it. The connection is its producer, so that it is
 * not read faster than the consumer can take it; Twisted's adapter has no such limit. Twisted:
 * `ConsumerToProtocolAdapter`.
 */
export class ConsumerToProtocolAdapter extends Protocol {
  /** The consumer. */
  readonly original: IConsumer;

  constructor(consumer: IConsumer) {
    super();
    this.original = consumer;
  }

  override connectionMade(): void {
    this.original.registerProducer(this.transport, true);
  }

  /** What the consumer's `write` fails with ends the connection, also later. */
  override dataReceived(data: Buffer): HookResult {
    const consumer: Writable = this.original;
    return consumer.write(data);
  }

  override connectionLost(): void {
    this.original.unregisterProducer();
  }

  override toString(): string {
    return told(this, `for a ${nameOf(this.original)}`);
  }

  override [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

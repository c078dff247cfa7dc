/**
 * Slowing connections down to a number of bytes a second, all of a factory together. Twisted: `ThrottlingFactory` of
 * `twisted.protocols.policies`, which looks at its counts once a second; this one acts as soon as there is too much.
 *
 * What a protocol has paused for itself is never resumed by the policy, nor the other way round.
 */
import {
  type Address,
  Failure,
  type IDelayedCall,
  type IProtocol,
  type IProtocolFactory,
  type IPullProducer,
  type IPushProducer,
  type IReactorTime,
  type ITransport,
  Logger,
  reactor,
  type Seconds,
  type HookOwner,
  watchHook,
} from 'plait';
import { checkLimit } from './limits.ts';
import { ProtocolWrapper, WrappingFactory } from './wrapping.ts';

const log = new Logger('plait.protocols.policies');

/**
 * Counts bytes against a rate. What is counted fills it, and it drains at `limit` bytes a second. Once it holds a
 * second's worth it is full, and stays so until it has run dry.
 */
class Meter {
  full = false;
  readonly #limit: number;
  readonly #clock: IReactorTime;
  readonly #changed: () => void;
  /** When it will have run dry, on the clock. */
  #dryAt: Seconds = 0;
  #timer: IDelayedCall | undefined;

  /** @param changed called when it has become full, and when it has run dry again */
  constructor(limit: number, clock: IReactorTime, changed: () => void) {
    this.#limit = limit;
    this.#clock = clock;
    this.#changed = changed;
  }

  count(bytes: number): void {
    const now = this.#clock.seconds();
    this.#dryAt = Math.max(this.#dryAt, now) + bytes / this.#limit;
    if (this.full || this.#dryAt - now < 1) return;
    this.full = true;
    this.#wait();
    this.#changed();
  }

  /** Nobody is connected: no timer is kept. What is in it is not forgotten. */
  rest(): void {
    if (this.#timer?.active() === true) this.#timer.cancel();
    this.#timer = undefined;
    this.full = false;
  }

  #wait(): void {
    const rest = this.#dryAt - this.#clock.seconds();
    this.#timer = this.#clock.callLater(Math.max(rest, 0), () => {
      this.#timer = undefined;
      // More may have come meanwhile; less than a microsecond of it is but rounding.
      if (this.#dryAt - this.#clock.seconds() > 1e-6) {
        this.#wait();
        return;
      }
      this.full = false;
      this.#changed();
    });
  }
}

/** Counts the bytes of a second. */
class Tally {
  readonly #clock: IReactorTime;
  #since: Seconds = -Infinity;
  #bytes = 0;

  constructor(clock: IReactorTime) {
    this.#clock = clock;
  }

  count(bytes: number): void {
    const now = this.#clock.seconds();
    if (now - this.#since >= 1) [this.#since, this.#bytes] = [now, 0];
    this.#bytes += bytes;
  }

  /** A second begins with the first byte after the one before. */
  get thisSecond(): number {
    return this.#clock.seconds() - this.#since >= 1 ? 0 : this.#bytes;
  }
}

/** Stands between a transport and the producer that feeds it: resumes it only if both that and the policy let it. */
class ThrottledProducer implements IPushProducer {
  readonly #owner: HookOwner;
  readonly #producer: IPushProducer | IPullProducer;
  readonly #streaming: boolean;
  /** A push producer is to wait for the transport, a pull producer is not asked for anything. */
  #idle: boolean;
  #throttled = false;

  constructor(producer: IPushProducer | IPullProducer, streaming: boolean, owner: HookOwner) {
    this.#owner = owner;
    this.#producer = producer;
    this.#streaming = streaming;
    this.#idle = !streaming;
  }

  /** A transport asks these of a producer that may be a connection, and lost: it is what stands behind that counts. */
  get connected(): unknown {
    return (this.#producer as Partial<ITransport>).connected;
  }

  get loseConnection(): unknown {
    return (this.#producer as Partial<ITransport>).loseConnection;
  }

  pauseProducing(): void {
    const running = !this.#idle && !this.#throttled;
    this.#idle = true;
    if (running) this.#pause();
  }

  resumeProducing(): void {
    this.#idle = false;
    if (!this.#throttled) this.#resume();
  }

  stopProducing(): void {
    watchHook(this.#producer.stopProducing(), 'stopProducing', this.#owner);
  }

  throttle(throttled: boolean): void {
    if (throttled === this.#throttled) return;
    this.#throttled = throttled;
    if (this.#idle) return;
    if (throttled) this.#pause();
    else this.#resume();
  }

  #pause(): void {
    if (!this.#streaming) return;
    const outcome = (this.#producer as IPushProducer).pauseProducing();
    watchHook(outcome, 'pauseProducing', this.#owner);
  }

  /** A pull producer gives one piece each time. */
  #resume(): void {
    if (!this.#streaming) this.#idle = true;
    watchHook(this.#producer.resumeProducing(), 'resumeProducing', this.#owner);
  }
}

/** What a {@link ThrottlingFactory} counts with. */
interface Meters {
  readonly reads: Meter | undefined;
  readonly writes: Meter | undefined;
}

/** Made by {@link ThrottlingFactory}. Twisted: `ThrottlingProtocol`. */
class ThrottlingProtocol extends ProtocolWrapper {
  readonly #owner: ThrottlingFactory;
  #producer: ThrottledProducer | undefined;
  /** The protocol has paused for itself. */
  #paused = false;
  /** The policy has paused it. */
  #held = false;

  constructor(factory: ThrottlingFactory, protocol: IProtocol) {
    super(factory, protocol);
    this.#owner = factory;
  }

  override dataReceived(data: Buffer): void {
    this.#owner.registerRead(data.length);
    super.dataReceived(data);
  }

  override write(data: Uint8Array | string): void {
    super.write(data);
    this.#written(data);
  }

  override writeSequence(pieces: Iterable<Uint8Array | string>): void {
    const all = [...pieces];
    super.writeSequence(all);
    for (const piece of all) this.#written(piece);
  }

  /** What is written to a lost connection goes nowhere, and may not wake a meter that rests. */
  #written(data: Uint8Array | string): void {
    if (this.factory.protocols.has(this)) this.#owner.registerWritten(Buffer.byteLength(data));
  }

  override pauseProducing(): void {
    this.#paused = true;
    super.pauseProducing();
  }

  override resumeProducing(): void {
    this.#paused = false;
    if (!this.#held) super.resumeProducing();
  }

  override registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    const throttled = new ThrottledProducer(producer, streaming, this);
    throttled.throttle(this.#owner.writesThrottled);
    super.registerProducer(throttled, streaming);
    this.#producer = throttled;
  }

  override unregisterProducer(): void {
    this.#producer = undefined;
    super.unregisterProducer();
  }

  throttleReads(throttled: boolean): void {
    if (throttled === this.#held) return;
    this.#held = throttled;
    if (this.#paused || this.disconnecting || !this.connected) return;
    if (throttled) super.pauseProducing();
    else super.resumeProducing();
  }

  throttleWrites(throttled: boolean): void {
    this.#producer?.throttle(throttled);
  }
}

/** Options of {@link ThrottlingFactory}. */
export interface ThrottlingOptions {
  /** How many connections there may be; more are refused. Default: any number. */
  readonly maxConnectionCount?: number;
  /** How many bytes a second may arrive, over all connections together. Default: any number. */
  readonly readLimit?: number;
  /** How many bytes a second may be written, over all connections together. Default: any number. */
  readonly writeLimit?: number;
  /** Default: the process's reactor. */
  readonly clock?: IReactorTime;
}

/**
 * Slows all connections together down to a number of bytes a second, and refuses connections beyond a number. When a
 * second's worth has arrived, none of them is read from until that is made up for; when a second's worth has been
 * written, all registered producers are paused. What is written without a producer counts, but is not held up.
 * Twisted: `ThrottlingFactory`.
 */
export class ThrottlingFactory extends WrappingFactory {
  /** How many bytes a second may arrive; undefined for any number. */
  readonly readLimit: number | undefined;
  /** How many bytes a second may be written; undefined for any number. */
  readonly writeLimit: number | undefined;
  #maxConnectionCount: number;
  readonly #meters: Meters;
  readonly #read: Tally;
  readonly #written: Tally;
  /** `throttleReads` and `throttleWrites` were called. */
  #holdsReads = false;
  #holdsWrites = false;
  readonly #throttled = new Set<ThrottlingProtocol>();

  /** @throws RangeError for a limit that cannot be */
  constructor(wrappedFactory: IProtocolFactory, options: ThrottlingOptions = {}) {
    super(wrappedFactory);
    const { maxConnectionCount = Infinity, readLimit, writeLimit, clock = reactor } = options;
    this.#maxConnectionCount = checkLimit(maxConnectionCount, 'maxConnectionCount');
    this.readLimit = readLimit;
    this.writeLimit = writeLimit;
    this.#read = new Tally(clock);
    this.#written = new Tally(clock);
    this.#meters = {
      reads: meterFor(readLimit, 'readLimit', clock, () => this.#readsChanged()),
      writes: meterFor(writeLimit, 'writeLimit', clock, () => this.#writesChanged()),
    };
  }

  /** How many connections there may be. It may be set: those that are above it stay. */
  get maxConnectionCount(): number {
    return this.#maxConnectionCount;
  }

  set maxConnectionCount(count: number) {
    this.#maxConnectionCount = checkLimit(count, 'maxConnectionCount');
  }

  /** How many connections there are. */
  get connectionCount(): number {
    return this.protocols.size;
  }

  /** How many bytes have arrived within this second, which has begun with the first of them. */
  get readThisSecond(): number {
    return this.#read.thisSecond;
  }

  /** How many bytes were written within this second, which has begun with the first of them. */
  get writtenThisSecond(): number {
    return this.#written.thisSecond;
  }

  /** So many bytes have arrived. */
  registerRead(length: number): void {
    this.#read.count(length);
    this.#meters.reads?.count(length);
  }

  /** So many bytes were written. */
  registerWritten(length: number): void {
    this.#written.count(length);
    this.#meters.writes?.count(length);
  }

  /** Reads from none of the connections, until `unthrottleReads`. */
  throttleReads(): void {
    this.#holdsReads = true;
    this.#readsChanged();
  }

  /** Takes `throttleReads` back. Where there was too much, the limit holds all the same. */
  unthrottleReads(): void {
    this.#holdsReads = false;
    this.#readsChanged();
  }

  /** Pauses the producers of all connections, until `unthrottleWrites`. */
  throttleWrites(): void {
    this.#holdsWrites = true;
    this.#writesChanged();
  }

  /** Takes `throttleWrites` back. Where there was too much, the limit holds all the same. */
  unthrottleWrites(): void {
    this.#holdsWrites = false;
    this.#writesChanged();
  }

  get #readsThrottled(): boolean {
    return this.#holdsReads || this.#meters.reads?.full === true;
  }

  /** Whether producers wait. */
  get writesThrottled(): boolean {
    return this.#holdsWrites || this.#meters.writes?.full === true;
  }

  override buildProtocol(address: Address): ProtocolWrapper | null {
    if (this.protocols.size < this.#maxConnectionCount) return super.buildProtocol(address);
    log.info('{peer} is one too many: {count} are connected', {
      peer: address,
      count: this.protocols.size,
    });
    return null;
  }

  override wrap(protocol: IProtocol): ProtocolWrapper {
    return new ThrottlingProtocol(this, protocol);
  }

  override registerProtocol(wrapper: ProtocolWrapper): void {
    super.registerProtocol(wrapper);
    if (!(wrapper instanceof ThrottlingProtocol)) return;
    const { reads, writes } = this.#meters;
    // Who comes while the meters rest may find them full.
    reads?.count(0);
    writes?.count(0);
    this.#throttled.add(wrapper);
    wrapper.throttleReads(this.#readsThrottled);
  }

  override unregisterProtocol(wrapper: ProtocolWrapper): void {
    super.unregisterProtocol(wrapper);
    if (wrapper instanceof ThrottlingProtocol) this.#throttled.delete(wrapper);
    if (this.protocols.size > 0) return;
    this.#meters.reads?.rest();
    this.#meters.writes?.rest();
  }

  #readsChanged(): void {
    const throttled = this.#readsThrottled;
    this.#each((wrapper) => wrapper.throttleReads(throttled));
  }

  #writesChanged(): void {
    const throttled = this.writesThrottled;
    this.#each((wrapper) => wrapper.throttleWrites(throttled));
  }

  /** A producer that throws ends its own connection, and is no concern of the others. */
  #each(act: (wrapper: ThrottlingProtocol) => void): void {
    for (const wrapper of [...this.#throttled]) {
      try {
        act(wrapper);
      } catch (error) {
        log.failure('a producer could not be throttled', new Failure(error));
        wrapper.abortConnection();
      }
    }
  }
}

function meterFor(
  limit: number | undefined,
  name: string,
  clock: IReactorTime,
  changed: () => void,
): Meter | undefined {
  if (limit === undefined || limit === Infinity) return undefined;
  if (limit > 0) return new Meter(limit, clock, changed);
  throw new RangeError(`${name} must be a number of bytes above 0, not ${limit}`);
}

/**
 * Closing connections on which nothing happens: as part of a protocol that knows what a sign of life is
 * (`TimeoutMixin`), or around any protocol, with every byte as one (`TimeoutFactory`). Twisted: `TimeoutMixin` and
 * `TimeoutFactory` of `twisted.protocols.policies`.
 */
import {
  checkSeconds,
  type Failure,
  type IDelayedCall,
  type IProtocol,
  type IProtocolFactory,
  type IReactorTime,
  type IReplaceableProtocol,
  type ITransport,
  reactor,
  type Seconds,
  type HookResult,
} from 'plait';
import { ProtocolWrapper, WrappingFactory } from './wrapping.ts';

/** As that of Twisted's HTTP server. */
const ABORT_TIMEOUT: Seconds = 15;

/** What {@link TimeoutMixin} adds to a protocol. */
export interface Timeout {
  /** Whose time it goes by; to be set before `setTimeout`. Default: that of its transport, or else of the process. */
  clock: IReactorTime;
  /** The time that may pass, in seconds; null if none is set. */
  readonly timeOut: Seconds | null;
  /**
   * Calls `timeoutConnection` in `period` seconds, unless `resetTimeout` is called before. Null switches it off. It is
   * off again when the connection is lost, and cannot be set after that.
   *
   * @returns what was set before
   * @throws RangeError for a period that is negative or not finite
   */
  setTimeout(period: Seconds | null): Seconds | null;
  /** Something has happened: the time begins anew. Does nothing if none is set. */
  resetTimeout(): void;
  /**
   * Seconds that closing has once the time has passed: a peer that does not take what was written is cut off then. Null
   * for any number. Default: 15.
   */
  abortTimeout: Seconds | null;
  /** The time has passed. Closes the connection, within `abortTimeout`; override it to do otherwise. */
  timeoutConnection(): HookResult;
}

/** A class of protocols that keep their transport, as all that extend Protocol do. */
export type ProtocolBase = abstract new (
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- TypeScript demands just this of what a mixin extends
  ...args: any[]
) => IProtocol & { transport: ITransport };

/** A class that has what {@link TimeoutMixin} adds. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as above
export type TimeoutClass = abstract new (...args: any[]) => Timeout;

/**
 * `Base` with a timeout. A class that overrides `connectionLost` must call that of this one, which switches the
 * timeout off. Twisted: `TimeoutMixin`.
 *
 * @example
 * class Patient extends TimeoutMixin(Protocol) {
 *   override connectionMade() {
 *     this.setTimeout(30);
 *   }
 *   override dataReceived(data: Buffer) {
 *     this.resetTimeout();
 *   }
 * }
 * const clock = new Clock();
 * const transport = new StringTransport();
 * const patient = new Patient();
 * patient.clock = clock;
 * patient.makeConnection(transport);
 * clock.advance(30);
 * transport.disconnecting;   // true
 */
export function TimeoutMixin<B extends ProtocolBase>(Base: B): B & TimeoutClass {
  abstract class WithTimeout extends Base implements Timeout {
    #clock: IReactorTime | undefined;
    abortTimeout: Seconds | null = ABORT_TIMEOUT;
    #timeOut: Seconds | null = null;
    #call: IDelayedCall | undefined;
    #abort: IDelayedCall | undefined;
    #lost = false;

    get clock(): IReactorTime {
      // There is no transport yet before the connection is made.
      return this.#clock ?? (this.transport as Partial<ITransport> | undefined)?.clock ?? reactor;
    }

    set clock(clock: IReactorTime) {
      this.#clock = clock;
    }

    get timeOut(): Seconds | null {
      return this.#timeOut;
    }

    setTimeout(period: Seconds | null): Seconds | null {
      const before = this.#timeOut;
      if (period === null || this.#lost) {
        this.#off();
      } else {
        if (this.#call?.active() === true) this.#call.reset(period);
        else this.#call = this.#start(period);
        this.#timeOut = period;
      }
      return before;
    }

    resetTimeout(): void {
      if (this.#timeOut !== null && this.#call?.active() === true) this.#call.reset(this.#timeOut);
    }

    timeoutConnection(): HookResult {
      const { transport } = this as { readonly transport?: ITransport };
      if (transport === undefined) return; // it is not connected yet
      transport.loseConnection();
      if (this.abortTimeout === null || this.#lost) return;
      this.#abort ??= this.clock.callLater(this.abortTimeout, () => {
        this.#abort = undefined;
        transport.abortConnection();
      });
    }

    override makeConnection(transport: ITransport): HookResult {
      this.#lost = false;
      return super.makeConnection(transport);
    }

    override connectionLost(reason: Failure): HookResult {
      this.#end();
      return super.connectionLost(reason);
    }

    /** Another protocol has taken over: the connection is not this one's to close any more. */
    protocolReplaced(): HookResult {
      this.#end();
      const { protocolReplaced } = Base.prototype as Partial<IReplaceableProtocol>;
      return protocolReplaced?.call(this);
    }

    #end(): void {
      this.#lost = true;
      this.#off();
      if (this.#abort?.active() === true) this.#abort.cancel();
      this.#abort = undefined;
    }

    #start(period: Seconds): IDelayedCall {
      return this.clock.callLater(period, () => {
        this.#call = undefined;
        this.#timeOut = null;
        return this.timeoutConnection();
      });
    }

    #off(): void {
      if (this.#call?.active() === true) this.#call.cancel();
      this.#call = undefined;
      this.#timeOut = null;
    }
  }
  return WithTimeout;
}

/**
 * One connection of a {@link TimeoutFactory}, which has them all in `protocols`. Twisted: `TimeoutProtocol`.
 *
 * @example
 * const clock = new Clock();
 * const factory = new TimeoutFactory(Factory.forProtocol(Protocol), { timeout: 60, clock });
 * const transport = new StringTransport();
 * factory.buildProtocol(transport.getPeer())?.makeConnection(transport);
 * for (const one of factory.protocols) if (one instanceof TimeoutProtocol) one.cancelTimeout();
 * clock.advance(60);
 * transport.disconnecting;   // false
 */
export class TimeoutProtocol extends TimeoutMixin(ProtocolWrapper<IProtocol>) {
  readonly #period: Seconds;

  /** @internal made by {@link TimeoutFactory} */
  constructor(factory: WrappingFactory, protocol: IProtocol, period: Seconds, clock: IReactorTime) {
    super(factory, protocol);
    this.#period = period;
    this.clock = clock;
  }

  /** Switches the timeout off: the connection may be silent as long as it likes. */
  cancelTimeout(): void {
    this.setTimeout(null);
  }

  override connectionMade(): void {
    this.setTimeout(this.#period);
    super.connectionMade();
  }

  override dataReceived(data: Buffer): void {
    this.#alive();
    super.dataReceived(data);
  }

  override write(data: Uint8Array | string): void {
    this.#alive();
    super.write(data);
  }

  override writeSequence(pieces: Iterable<Uint8Array | string>): void {
    this.#alive();
    super.writeSequence(pieces);
  }

  /** What is written while it closes does not put off the end. */
  #alive(): void {
    if (!this.disconnecting) this.resetTimeout();
  }

  /** Closing waits for the peer to take what was written; one that does not take it in the same time again is cut off. */
  override timeoutConnection(): void {
    if (this.disconnecting) {
      this.abortConnection();
    } else {
      this.setTimeout(this.#period);
      this.loseConnection();
    }
  }
}

/** Options of {@link TimeoutFactory}. */
export interface TimeoutFactoryOptions {
  /** How long nothing may arrive or be written, in seconds. Default: 1800. */
  readonly timeout?: Seconds;
  /** Default: the process's reactor. */
  readonly clock?: IReactorTime;
}

/**
 * Closes connections on which nothing has arrived and nothing was written for some time. Twisted: `TimeoutFactory`.
 *
 * @example
 * const clock = new Clock();
 * const factory = new TimeoutFactory(Factory.forProtocol(Protocol), { timeout: 60, clock });
 * const transport = new StringTransport();
 * factory.buildProtocol(transport.getPeer())?.makeConnection(transport);
 * clock.advance(60);
 * transport.disconnecting;   // true
 */
export class TimeoutFactory extends WrappingFactory {
  readonly #timeout: Seconds;
  readonly #clock: IReactorTime;

  /** @throws TypeError for a timeout that is no number; RangeError for one that is negative or not finite */
  constructor(wrappedFactory: IProtocolFactory, options: TimeoutFactoryOptions = {}) {
    super(wrappedFactory);
    const { timeout = 1800, clock = reactor } = options;
    this.#timeout = checkSeconds(timeout, 'TimeoutFactory: timeout');
    this.#clock = clock;
  }

  override wrap(protocol: IProtocol): ProtocolWrapper {
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- the rule does not see through the mixin: it extends ProtocolWrapper
    return new TimeoutProtocol(this, protocol, this.#timeout, this.#clock);
  }
}

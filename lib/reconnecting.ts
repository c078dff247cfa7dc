/**
 * A client factory that connects again: after a failed attempt and after a lost connection, each time a little later.
 * `ClientService` does the same for an endpoint, and is what a new program should use. Twisted:
 * `ReconnectingClientFactory` of `twisted.internet.protocol`.
 */
import { checkSeconds } from './arguments.ts';
import type { Failure } from './failure.ts';
import { neededNow } from './hooks.ts';
import type { IConnector, IDelayedCall, IProtocol, IReactorTime, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';
import { ClientFactory } from './protocol.ts';
import { reactor } from './reactor.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.reconnecting');

/**
 * Tries again, for as long as it takes: after `initialDelay * factor` seconds, and `factor` times later each time, up
 * to `maxDelay`. Each delay is varied by chance, so that clients that were cut off together do not come back together.
 * Whoever overrides `clientConnectionFailed` or `clientConnectionLost` calls that of this class. It does not know when
 * an attempt was a success: call `resetDelay` then, as in `buildProtocol`.
 *
 * @example
 * class Patient extends ReconnectingClientFactory {
 *   override buildProtocol(address: Address) {
 *     this.resetDelay();
 *     return new Protocol();
 *   }
 * }
 */
export class ReconnectingClientFactory<P extends IProtocol = IProtocol> extends ClientFactory<P> {
  /** The longest delay in seconds, before chance varies it. */
  maxDelay: Seconds = 3600;
  /** The delay to begin with, in seconds; the first one used is `factor` times as long. */
  initialDelay: Seconds = 1;
  /** What the delay is multiplied by each time. */
  factor: number = Math.E;
  /** How far chance varies a delay: the standard deviation as a part of it; 0 for not at all. */
  jitter = 0.11962656472;
  /** How often to try again before giving up; null for ever. */
  maxRetries: number | null = null;
  /** Whose time it goes by. Default: the process's reactor. */
  clock: IReactorTime = reactor;
  /** Where chance comes from: a number from 0 to 1, without 1. */
  random: () => number = Math.random;
  /** False once `stopTrying` was called. */
  continueTrying = true;
  #delay: Seconds | undefined;
  /** How often it has tried again since the last success. */
  retries = 0;
  /** The one that was heard of last. */
  #connector: IConnector | undefined;
  /** Those that are connecting, or have failed last, and what each waits for before it tries again. */
  readonly #connectors = new Map<IConnector, IDelayedCall | undefined>();

  /** The latest delay in seconds: the next one is `factor` times as long. */
  get delay(): Seconds {
    return this.#delay ?? this.initialDelay;
  }

  /** @throws RangeError for a delay that is negative or not finite */
  set delay(delay: Seconds) {
    this.#delay = checkSeconds(delay, 'ReconnectingClientFactory: delay');
  }

  override startedConnecting(connector: IConnector): void {
    this.#connector = connector;
    this.#forget(connector);
    this.#connectors.set(connector, undefined);
  }

  override clientConnectionFailed(connector: IConnector, reason: Failure): void {
    this.#tryAgain(connector);
  }

  override clientConnectionLost(connector: IConnector, reason: Failure): void {
    this.#tryAgain(connector);
  }

  #tryAgain(connector: IConnector): void {
    this.#connector = connector;
    this.#forget(connector);
    if (this.continueTrying) this.retry();
  }

  /**
   * Lets the connector connect after the next delay, unless `stopTrying` was called or `maxRetries` is reached.
   *
   * @param connector default: the one that has failed last
   * @throws Error if there is none
   */
  retry(connector: IConnector | undefined = this.#connector): void {
    if (connector === undefined) {
      throw new Error('cannot retry: there is no connector, since nothing has been tried yet');
    }
    const destination = connector.getDestination();
    if (!this.continueTrying) {
      log.info('not connecting to {destination} again: told to stop', { destination });
      return;
    }
    this.#connector = connector;
    this.retries++;
    if (this.maxRetries !== null && this.retries > this.maxRetries) {
      log.warn('not connecting to {destination} again after {retries} retries', {
        destination,
        retries: this.maxRetries,
      });
      return;
    }
    this.#delay = this.#varied(Math.min(this.delay * this.factor, this.maxDelay));
    log.info('connecting to {destination} again in {delay} seconds', {
      destination,
      delay: this.#delay,
    });
    this.#forget(connector);
    const call = this.clock.callLater(this.#delay, () => {
      this.#connectors.delete(connector);
      // Another caller may have been quicker.
      if (connector.state === 'disconnected') connector.connect();
    });
    this.#connectors.set(connector, call);
  }

  /** It does not try again, unless it is told to. */
  #forget(connector: IConnector): void {
    const call = this.#connectors.get(connector);
    if (call?.active() === true) call.cancel();
    this.#connectors.delete(connector);
  }

  /** Makes no more attempts, with any of its connectors, and gives up those that are under way. */
  stopTrying(): void {
    this.continueTrying = false;
    // A subclass may have overridden `startedConnecting`.
    const latest = this.#connector === undefined ? [] : [this.#connector];
    for (const connector of new Set([...this.#connectors.keys(), ...latest])) {
      this.#forget(connector);
      if (connector.state === 'connecting') connector.stopConnecting();
    }
  }

  /** It was a success: the next delay is the first again, and it may try again if it had been stopped. */
  resetDelay(): void {
    this.#delay = undefined;
    this.retries = 0;
    this.continueTrying = true;
  }

  /** By a normal distribution, after Box and Muller. */
  #varied(delay: Seconds): Seconds {
    if (this.jitter === 0) return delay;
    const random = (): number => neededNow(this.random(), 'random');
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const normal = radius * Math.cos(2 * Math.PI * random());
    return Math.max(0, delay * (1 + this.jitter * normal));
  }

  override toString(): string {
    return told(
      this,
      `${this.#connector?.state ?? 'idle'}, ${count(this.retries, 'retry', 'retries')}`,
    );
  }

  override [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * How a connection is fed: one producer, from `registerProducer` on, and how long a close waits for it. Twisted: the
 * part of `twisted.internet.abstract.FileDescriptor` that deals with producers.
 *
 * A close waits for a producer that has something to give: for a pull producer, and for a push producer that was told
 * to pause. It does not wait for one that cannot answer: a connection that is lost, and a producer that was told to go
 * on and has written nothing for {@link PRODUCER_PATIENCE}.
 */
import { Failure } from '../failure.ts';
import { watchHook } from '../hooks.ts';
import type {
  HookOwner,
  IDelayedCall,
  IPullProducer,
  IPushProducer,
  Seconds,
} from '../interfaces.ts';
import { Logger } from '../log.ts';
import type { Home } from './home.ts';

const log = new Logger('plait.transport');

/** A push producer is paused when more than this many bytes wait to be sent. */
export const HIGH_WATER_MARK: number = 64 * 1024;

/** How long a close waits for a producer that was told to go on, and writes nothing. */
export const PRODUCER_PATIENCE: Seconds = 30;

/** What a feed asks of its connection. */
export interface Fed extends HookOwner {
  readonly bufferedBytes: number;
  /** It closes, or ends its direction, as soon as all is sent. */
  readonly ending: boolean;
  /** Logs what a hook of the producer's has failed with. */
  logFailure(hook: string, failure: Failure): void;
  /** A close may go on, if all is sent. */
  finishIfSent(): void;
  /** The connection ends, for the reason given, in a later turn. */
  producerFailed(reason: Failure): void;
}

/** A producer that is a connection says by `connected` whether it lives. */
interface ConnectionLike {
  readonly connected?: unknown;
  readonly loseConnection?: unknown;
}

/** One producer of one connection. */
export class Feed {
  readonly producer: IPushProducer | IPullProducer;
  readonly #home: Home;
  readonly #fed: Fed;
  readonly #streaming: boolean;
  /** The push producer was told to pause, and not yet to go on. */
  #paused = false;
  /** It was told to go on while the connection closes, and has not written since. */
  #owing = false;
  /** A turn in which it will be told to go on has been asked for. */
  #prodding = false;
  /** What it owes is not waited for any longer. */
  #givenUp = false;
  #patience: IDelayedCall | undefined;
  #over = false;

  constructor(home: Home, fed: Fed, producer: IPushProducer | IPullProducer, streaming: boolean) {
    this.#home = home;
    this.#fed = fed;
    this.producer = producer;
    this.#streaming = streaming;
  }

  /** It has just been registered. */
  begin(): void {
    if (this.#streaming) this.#pauseIfFull();
    else this.#resume();
  }

  /** It is not registered any more. */
  end(): void {
    this.#over = true;
    this.#calmDown();
  }

  /** It is a connection, and lost: nothing will ever come of it. */
  get isGone(): boolean {
    const { connected, loseConnection } = this.producer as ConnectionLike;
    return connected === false && typeof loseConnection === 'function';
  }

  /** Whether a close waits for it. Twisted, too, waits for a push producer only while that is paused. */
  get isAwaited(): boolean {
    if (this.#givenUp || this.isGone) return false;
    return !this.#streaming || this.#paused || this.#owing;
  }

  /** All is sent, and a close waits for it: it has its time from now on. */
  hurry(): void {
    this.#patience ??= this.#home.callLater?.(PRODUCER_PATIENCE, () => {
      this.#givenUp = true;
      log.warn(
        '{connection} closes without waiting for its producer, {producer}: it has written nothing for {seconds} seconds',
        {
          connection: this.#fed,
          producer: nameOf(this.producer),
          seconds: PRODUCER_PATIENCE,
        },
      );
      this.#fed.finishIfSent();
    });
  }

  /** A close is asked for anew: what was owed to the one before is not waited for. As with Twisted. */
  forgive(): void {
    this.#owing = false;
  }

  #calmDown(): void {
    if (this.#patience?.active() === true) this.#patience.cancel();
    this.#patience = undefined;
  }

  /** Something was written to the connection, by the producer or by its protocol. */
  wrote(): void {
    this.#owing = false;
    if (this.#patience !== undefined) this.#calmDown();
    if (this.#streaming && !this.#paused) this.#pauseIfFull();
  }

  /** All that was written is sent: it may go on. */
  drained(): void {
    if (!this.#streaming || this.#paused) this.#prodSoon();
    else this.#fed.finishIfSent();
  }

  #pauseIfFull(): void {
    if (this.#fed.bufferedBytes <= HIGH_WATER_MARK) return;
    this.#paused = true;
    try {
      const outcome = (this.producer as IPushProducer).pauseProducing();
      watchHook(outcome, 'pauseProducing', this.#fed);
    } catch (error) {
      this.#failed('pauseProducing', error);
    }
  }

  /** In a turn of its own, so that a producer that writes as soon as it may neither recurses nor starves the rest. */
  #prodSoon(): void {
    if (this.#prodding) return;
    this.#prodding = true;
    this.#home.soon(() => {
      this.#prodding = false;
      if (this.#over || this.#fed.bufferedBytes > 0) return;
      if (!this.#streaming || this.#paused) this.#resume();
    });
  }

  #resume(): void {
    this.#paused = false;
    const { ending } = this.#fed;
    this.#owing = ending;
    try {
      watchHook(this.producer.resumeProducing(), 'resumeProducing', this.#fed);
    } catch (error) {
      this.#failed('resumeProducing', error);
    }
    if (ending && !this.#over) this.#fed.finishIfSent();
  }

  #failed(hook: string, error: unknown): void {
    const reason = new Failure(error);
    this.#fed.logFailure(hook, reason);
    this.#fed.producerFailed(reason);
  }
}

function nameOf(producer: object): string {
  const { constructor: made } = producer as { constructor?: { name?: string } };
  return made?.name ?? 'an object';
}

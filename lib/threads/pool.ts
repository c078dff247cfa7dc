/**
 * A pool of threads, which are there while there is work for them. It keeps the line of work, and hears what threads
 * have to say; starting, ending and replacing them is left to `piscina`, which is loaded with the first work.
 * Twisted: `twisted.python.threadpool`.
 *
 * Rules for editors: each call is settled exactly once, whatever becomes of its thread; and while a call is not settled
 * the process is kept alive, and otherwise not.
 */
import { inspect } from 'node:util';
import type { ResourceLimits, Transferable, Worker } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import {
  checkArray,
  checkBoolean,
  checkFunction,
  checkMethods,
  checkOptions,
  checkSeconds,
  checkString,
  checkWhole,
  optional,
} from '../arguments.ts';
import { Deferred, type Settled } from '../defer.ts';
import { CancelledError, NotSupportedError, ThreadDied, ThreadPoolStopped } from '../errors.ts';
import { Failure } from '../failure.ts';
import type { IReactorFromThreads, Seconds } from '../interfaces.ts';
import { loggedBy, watchHook } from '../hooks.ts';
import { Logger } from '../log.ts';
import { maybeDeferred } from '../maybe.ts';
import { fireEach } from '../waiters.ts';
import { notCloneable, pack, packThrown, snapshot, unpack, unpackThrown } from './crossing.ts';
import type { AnyFunction } from './calls.ts';
import { checkWorker, makePiscina } from './loading.ts';
import {
  type CallMain,
  type Done,
  type FromThread,
  MARK,
  type Order,
  type Outcome,
  readMessage,
  type ReplyTo,
} from './messages.ts';
import { nameOf, type Step, type ThreadWork, toStep } from './task.ts';
import { count, INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

const log = new Logger('plait.threads');
const logging = loggedBy(log);

/** Options of a {@link ThreadPool}. */
export interface ThreadPoolOptions {
  /** How many threads there may be at once. Default: 10. */
  readonly max?: number;
  /** A thread that has had nothing to do for so many seconds ends. Default: 60. */
  readonly idle?: Seconds;
  /** What the pool is called in messages. */
  readonly name?: string;
  /** Whose functions its threads may call, as `allowFromThread` says; without it, none. */
  readonly reactor?: IReactorFromThreads;
  /** How much memory each thread may have, as Node's Worker takes it. */
  readonly resourceLimits?: ResourceLimits;
  /** Flags of Node for each thread. Default: those of the process. */
  readonly execArgv?: readonly string[];
  /** The file that its threads run, as the property `worker` of the pool. */
  readonly worker?: string | URL;
}

/** Work that was asked of a pool. */
export interface ThreadCall {
  /** It is not wanted any more, and nothing is heard of it: taken out of the line, or its thread is ended. */
  cancel(): void;
}

/** Told how work went: with its result, or with a Failure. */
export type OnThreadResult<R> = (success: boolean, result: R | Failure) => void;

/** One thing after the other, in one thread. */
export type ThreadSteps = readonly (readonly [ThreadWork<never[], unknown>, ...unknown[]])[];

/** Work from when it is asked for until it is settled, and its thread is free. */
interface Work {
  readonly order: Order;
  readonly parts: Transferable[];
  readonly name: string;
  readonly abort: AbortController;
  /** Undefined once it is settled. */
  onResult: OnThreadResult<unknown> | undefined;
  /** What it has asked of the main thread and not yet heard of. */
  readonly asks: Set<Deferred<unknown>>;
}

const MAX = 10;
const IDLE: Seconds = 60;

/** Threads, and the work that waits for them. */
export class ThreadPool {
  readonly name: string;
  #max: number;
  #worker: string | undefined;
  readonly #options: ThreadPoolOptions;
  #started = true;
  /** Those that wait for a thread, by their orders. */
  readonly #waiting = new Map<string, Work>();
  /** Those that were given to a thread and are not settled. */
  readonly #given = new Map<string, Work>();
  /** Those whose threads are not free yet: one may go on when it is settled. */
  readonly #performing = new Set<Work>();
  /** How many threads are at work. */
  #working = 0;
  #crew: Crew | undefined;
  /** Settle when crews have ended that were dismissed. */
  readonly #leaving = new Set<Promise<void>>();
  #stops: Deferred<void>[] = [];
  #hold: NodeJS.Timeout | undefined;

  /** @throws RangeError, TypeError for options that cannot be */
  constructor(options: ThreadPoolOptions = {}) {
    const {
      max = MAX,
      idle = IDLE,
      name = 'plait',
      reactor,
    } = checkOptions(options, 'ThreadPool: options');
    this.#max = checkWhole(max, 'ThreadPool: max', 1);
    checkSeconds(idle, 'ThreadPool: idle');
    this.name = checkString(name, 'ThreadPool: name');
    if (reactor !== undefined)
      checkMethods(reactor, 'ThreadPool: reactor', 'a reactor', ['callFromThread']);
    optional(options.resourceLimits, checkOptions, 'ThreadPool: resourceLimits');
    optional(options.execArgv, checkArray, 'ThreadPool: execArgv');
    this.worker = options.worker;
    this.#options = options;
  }

  // ── How it is ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** False once it has been told to stop. */
  get started(): boolean {
    return this.#started;
  }

  /** How many threads there may be at once. */
  get max(): number {
    return this.#max;
  }

  /** How many threads there are, busy and idle, without those that are about to end. */
  get threads(): number {
    return this.#crew?.threads ?? 0;
  }

  /** How many threads are at work. */
  get working(): number {
    return this.#working;
  }

  /** How much work waits for a thread. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** The names of what was asked for and is not done. */
  get unfinished(): readonly string[] {
    return [...this.#given.values(), ...this.#waiting.values()].map(({ name }) => name);
  }

  /**
   * The URL of the file that the threads run: that of the package's `plait/worker`. Undefined, as by default: that which
   * belongs to this plait. In a bundle that is not known, and a program that wants threads says it; before it does, work
   * fails with NotSupportedError. `piscina` is to be installed where that file finds it. An absolute path will do.
   *
   * ```ts
   * reactor.getThreadPool().worker = import.meta.resolve('plait/worker');
   * ```
   *
   * @throws TypeError if it is neither a `file:` URL nor an absolute path
   */
  get worker(): string | undefined {
    return this.#worker;
  }

  set worker(file: string | URL | undefined) {
    const worker = file === undefined ? undefined : checkWorker(file);
    if (worker === this.#worker) return;
    this.#worker = worker;
    this.#dismiss();
    this.#goOn();
  }

  // ── Work ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Calls `work(...args)` in a thread. What it throws is logged.
   *
   * @throws TypeError, NotCloneableError, ThreadPoolStopped
   */
  callInThread<A extends unknown[], R>(work: ThreadWork<A, R>, ...args: A): ThreadCall {
    return this.callAllInThread([[work, ...args]]);
  }

  /**
   * Calls `work(...args)` in a thread, and then `onResult` here: with true and what it returned, or with false and a
   * Failure.
   *
   * @throws TypeError, NotCloneableError, ThreadPoolStopped
   */
  callInThreadWithCallback<A extends unknown[], R>(
    onResult: OnThreadResult<Settled<R>>,
    work: ThreadWork<A, R>,
    ...args: A
  ): ThreadCall {
    const steps: ThreadSteps = [[work, ...args]];
    return this.callAllInThread(steps, onResult as OnThreadResult<unknown>);
  }

  /**
   * Does one thing after the other in the same thread, until one of them throws. The result is that of the last.
   *
   * @throws TypeError, NotCloneableError, ThreadPoolStopped
   */
  callAllInThread(all: ThreadSteps, onResult: OnThreadResult<unknown> = logged): ThreadCall {
    checkArray(all, 'callAllInThread: all');
    for (const step of all) checkArray(step, 'callAllInThread: each of all');
    checkFunction(onResult, 'onResult');
    const todo = all.map(([work, ...args]) => ({ step: toStep(work), args }));
    if (!this.#started) throw new ThreadPoolStopped(`the pool of threads ${this.name} is stopped`);
    const parts = new Set<Transferable>();
    const steps = todo.map(({ step, args }) => ({
      step,
      args: snapshot(args, parts, `the arguments of ${nameOf(step)}`),
    }));
    const work: Work = {
      order: { id: crypto.randomUUID(), steps },
      parts: [...parts],
      name: namesOf(steps),
      abort: new AbortController(),
      onResult,
      asks: new Set(),
    };
    this.#waiting.set(work.order.id, work);
    this.#goOn();
    return {
      cancel: () => {
        this.#cancel(work);
      },
    };
  }

  #cancel(work: Work): void {
    if (work.onResult === undefined) return;
    work.onResult = undefined;
    this.#waiting.delete(work.order.id);
    this.#given.delete(work.order.id);
    work.abort.abort();
    this.#forget(work);
    this.#goOn();
  }

  /** Gives work to threads as far as it may, and sees to what is to be done when there is no more. */
  #goOn(): void {
    for (const work of this.#waiting.values()) {
      if (this.#working >= this.#max) break;
      this.#waiting.delete(work.order.id);
      this.#give(work);
    }
    const busy = this.#working + this.#given.size + this.#waiting.size > 0;
    if (busy) this.#hold ??= setInterval(() => {}, 2 ** 31 - 1);
    else {
      clearInterval(this.#hold);
      this.#hold = undefined;
      if (!this.#started) this.#end();
    }
  }

  #give(work: Work): void {
    this.#given.set(work.order.id, work);
    this.#performing.add(work);
    this.#working++;
    const crew = (this.#crew ??= new Crew(this.#options, this.#max, this.#worker, (message) =>
      this.#heard(message),
    ));
    void crew.perform(work).then((error) => {
      // The next work tries to load it again.
      if (crew.failed && this.#crew === crew) this.#crew = undefined;
      this.#working--;
      this.#performing.delete(work);
      // Of what went well the thread itself tells, in a message that may still be on its way.
      if (error !== undefined) this.#settle(work, false, new Failure(error));
      this.#goOn();
    });
  }

  #settle(work: Work, success: boolean, result: unknown): void {
    const { onResult } = work;
    work.onResult = undefined;
    this.#given.delete(work.order.id);
    this.#forget(work);
    try {
      watchHook(onResult?.(success, result), `what is told of the result of ${work.name}`, logging);
    } catch (error) {
      log.failure(`what is told of the result of ${work.name} failed`, new Failure(error));
    }
  }

  #forget({ asks }: Work): void {
    // By its own canceller, which does not throw.
    for (const ask of asks) ask.cancel();
    asks.clear();
  }

  // ── What threads say ─────────────────────────────────────────────────────────────────────────────────────────────

  #heard(posted: unknown): void {
    let message: FromThread | undefined;
    try {
      message = readMessage(posted);
    } catch (error) {
      log.failure('a thread has posted a message that cannot be read', new Failure(error));
    }
    if (message === undefined) return;
    const work = this.#given.get(message.id);
    if (message[MARK] === 'call') this.#callMain(message, work);
    else if (work !== undefined) this.#done(message, work);
  }

  #done({ outcome, unusable }: Done, work: Work): void {
    let success = false;
    let result: unknown;
    try {
      if ('thrown' in outcome) result = new Failure(unpackThrown(outcome.thrown));
      else {
        result = unpack(outcome.result)[0];
        success = true;
      }
    } catch (cause) {
      const what = `what ${work.name} came to cannot be read`;
      result = new Failure(
        new TypeError(`${what}: ${new Failure(cause).value.message}`, { cause }),
      );
    }
    this.#settle(work, success, result);
    if (unusable === true) work.abort.abort();
    this.#goOn();
  }

  #callMain({ name, args, reply }: CallMain, work: Work | undefined): void {
    const { reactor } = this.#options;
    if (reply === undefined) {
      const call = () => this.#allowed(name)(...(unpack(args) as never[]));
      if (reactor === undefined) maybeDeferred(call).addErrback(logFailure);
      else reactor.callFromThread(call);
      return;
    }
    if (work === undefined || reactor === undefined || !this.#started) {
      const why =
        work === undefined ? 'the work is over' : 'its pool has no reactor, or is stopped';
      const refused = new CancelledError(`cannot call ${name} from a thread: ${why}`);
      answer(reply, name, new Failure(refused));
      return;
    }
    let result: Deferred<unknown> | undefined;
    const ask = new Deferred<unknown>(() => {
      if (result !== undefined) Deferred.cancelGuarded(result);
    });
    work.asks.add(ask);
    ask.addBoth((outcome) => {
      work.asks.delete(ask);
      answer(reply, name, outcome);
    });
    reactor.callFromThread(() => {
      if (ask.called) return;
      result = maybeDeferred(() => this.#allowed(name)(...(unpack(args) as never[])));
      result.addBoth((outcome) => {
        if (ask.called) return;
        if (outcome instanceof Failure) ask.errback(outcome);
        else ask.callback(outcome);
      });
    });
  }

  #allowed(name: string): AnyFunction {
    const { reactor } = this.#options;
    if (reactor !== undefined) return reactor.allowedFromThread(name);
    throw new RangeError(`cannot call ${name} from a thread: its pool was made without a reactor`);
  }

  // ── Size, starting and stopping ──────────────────────────────────────────────────────────────────────────────────

  /**
   * Changes how many threads there may be at once. Those that are too many end when they have done what they do. (Of
   * Twisted's two numbers, the least is always 0 here.)
   *
   * @throws RangeError, TypeError
   */
  adjustPoolsize(max: number): void {
    if (checkWhole(max, 'adjustPoolsize: max', 1) === this.#max) return;
    this.#max = max;
    this.#dismiss();
    this.#goOn();
  }

  /**
   * Takes work again after `stop`. A new pool does so from the beginning. Work that still waited for a thread is done by
   * the threads that come now, and what `stop` returned fires when those from before have ended.
   */
  start(): void {
    this.#started = true;
    if (this.#stops.length > 0) this.#end();
  }

  /**
   * Takes no more work, lets what was asked for be done, and ends the threads. What they wait for on the main thread is
   * cancelled. Fires when no thread is left; the pool may be started again then, or before.
   *
   * @param options.abort what was asked for fails with ThreadPoolStopped instead, and its threads are ended at once
   */
  stop(options: { readonly abort?: boolean } = {}): Deferred<void> {
    const { abort = false } = checkOptions(options, 'ThreadPool.stop: options');
    checkBoolean(abort, 'ThreadPool.stop: abort');
    this.#started = false;
    for (const work of [...this.#given.values(), ...this.#waiting.values()]) {
      this.#forget(work);
      if (abort) {
        const reason = new ThreadPoolStopped(`${work.name} was not done: the pool was stopped`);
        this.#waiting.delete(work.order.id);
        this.#settle(work, false, new Failure(reason));
        work.abort.abort();
      }
    }
    if (abort) for (const work of this.#performing) work.abort.abort();
    const stopped = new Deferred<void>(() => {});
    this.#stops.push(stopped);
    this.#goOn();
    return stopped;
  }

  #end(): void {
    const stops = this.#stops;
    this.#stops = [];
    this.#dismiss();
    void Promise.all(this.#leaving).then(() => {
      fireEach(stops, undefined);
    });
  }

  /** Its threads end when they have done what they were given. */
  #dismiss(): void {
    const crew = this.#crew;
    this.#crew = undefined;
    if (crew === undefined) return;
    const left = crew.dismiss();
    this.#leaving.add(left);
    void left.then(() => this.#leaving.delete(left));
  }

  toString(): string {
    return told(
      this,
      `${this.name} ${this.started ? 'started' : 'stopped'}, ${count(this.threads, 'thread')}, ${this.working} working, ${this.waiting} waiting`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function namesOf(steps: readonly { readonly step: Step }[]): string {
  return steps.map(({ step }) => nameOf(step)).join(', ');
}

function logged(success: boolean, result: unknown): void {
  if (!success) logFailure(result as Failure);
}

function logFailure(failure: Failure): void {
  log.failure('a call in a thread failed', failure);
}

function answer({ port, flag }: ReplyTo, name: string, outcome: unknown): void {
  const parts: Transferable[] = [];
  let message: Outcome;
  try {
    message =
      outcome instanceof Failure
        ? { thrown: packThrown(outcome.value) }
        : { result: pack([outcome], parts) };
    port.postMessage(message, parts);
  } catch (error) {
    message = { thrown: packThrown(notCloneable(`what ${name} returned`, error)) };
    port.postMessage(message);
  }
  port.close();
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
}

// ── Threads ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The threads of a pool, until its size is changed or it stops. */
class Crew {
  readonly #piscina: Promise<Piscina>;
  #loaded: Piscina | undefined;
  readonly #busy = new Set<Work>();
  /** Why a thread has ended that had no work yet, or any more. */
  #why: unknown;
  #dismissed: Deferred<void> | undefined;
  readonly #alive = new Set<Worker>();
  #ended: Deferred<void> | undefined;

  constructor(
    options: ThreadPoolOptions,
    max: number,
    worker: string | undefined,
    heard: (message: unknown) => void,
  ) {
    this.#piscina = new Promise((resolve) => {
      const piscina = makePiscina(options, options.idle ?? IDLE, max, worker);
      piscina.on('message', heard);
      piscina.on('error', (error) => {
        this.#why = error;
        this.#noteLater(error);
      });
      piscina.on('workerDestroy', () => {
        this.#noteLater();
      });
      this.#loaded = piscina;
      resolve(piscina);
    });
  }

  /** What makes the threads could not be loaded. */
  failed = false;

  get threads(): number {
    return this.#loaded?.threads.length ?? 0;
  }

  /** Does it in a thread; the error if that died of it. Never rejects. */
  async perform(work: Work): Promise<Error | undefined> {
    this.#busy.add(work);
    try {
      const piscina = await this.#piscina.catch((error: unknown) => {
        this.failed = true;
        throw error;
      });
      const { order, parts, abort } = work;
      const done = piscina.run(order, { transferList: parts as never, signal: abort.signal });
      this.#noteThreads(piscina);
      await done;
      return undefined;
    } catch (error) {
      if (work.onResult === undefined) return undefined;
      if (this.failed && error instanceof NotSupportedError) return error;
      const cause = work.abort.signal.aborted ? this.#why : error;
      const why = cause instanceof Error ? cause.message : inspect(cause);
      return new ThreadDied(`the thread that did ${work.name} died: ${why}`, { cause });
    } finally {
      this.#busy.delete(work);
      if (this.#busy.size === 0) this.#dismissed?.callback();
    }
  }

  /** The pool forgets those that it ends, before they have ended. */
  #noteThreads({ threads }: Piscina): void {
    for (const thread of threads) {
      if (this.#alive.has(thread)) continue;
      this.#alive.add(thread);
      thread.once('exit', () => {
        this.#alive.delete(thread);
        if (this.#alive.size === 0) this.#ended?.callback();
      });
    }
  }

  /** A thread has ended. If none is left, none will take what is still to be done: threads cannot start here. */
  #noteLater(error?: unknown): void {
    setImmediate(() => {
      if (this.threads > 0 || this.#busy.size === 0) {
        if (error !== undefined)
          log.failure('a thread died that had nothing to do', new Failure(error));
        return;
      }
      for (const work of this.#busy) work.abort.abort();
    });
  }

  /** Lets it do what it was given, and ends its threads. */
  async dismiss(): Promise<void> {
    if (this.#busy.size > 0) await (this.#dismissed = new Deferred<void>());
    // Where it could not be loaded there are no threads.
    await this.#piscina.then(
      (piscina) => piscina.destroy(),
      () => {},
    );
    if (this.#alive.size > 0) await (this.#ended = new Deferred<void>());
  }
}

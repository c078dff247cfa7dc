/**
 * Long work in small pieces: iterators that take turns, a few pieces a turn of the loop, so that nothing else has to
 * wait long. Twisted: `Cooperator`, `CooperativeTask`, `cooperate` and `coiterate` of `twisted.internet.task`.
 */
import { inspect } from 'node:util';
import { checkBoolean, checkFunction, checkMethods, checkOptions } from './arguments.ts';
import { isCoroutine, isThenable } from './chain.ts';
import { Deferred } from './defer.ts';
import {
  NotPaused,
  SchedulerStopped,
  TaskDone,
  TaskFailed,
  TaskStopped,
  type PlaitError,
} from './errors.ts';
import { Failure } from './failure.ts';
import { neededNow } from './hooks.ts';
import type { IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';
import { fail, maybeDeferred, passthru, succeed } from './maybe.ts';
import { reactor } from './reactor.ts';
import { fireEach } from './waiters.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.cooperate');

/** How long the tasks of a Cooperator may run in one turn. */
const SLICE: Seconds = 0.01;

/**
 * How many pieces are done in one turn while the time stands still, as it does in a test or a simulation. A simulation
 * counts turns to find out that there is no end to them, which is to take seconds, not minutes.
 */
const MOST_PIECES = 100;

/** What a task asks for one piece after the other, until there are no more. */
type Work = Iterator<unknown>;

/** An iterator that a Cooperator works through. Made by `cooperate`. */
export class CooperativeTask {
  readonly #iterator: Work;
  readonly #cooperator: Cooperator;
  #pauses = 0;
  /** What later calls are told; undefined while there is work to do. */
  #finished: PlaitError | undefined;
  #outcome: Work | Failure | undefined;
  #waiting: Deferred<Work>[] = [];

  /** @internal made by {@link Cooperator.cooperate} */
  constructor(iterator: Work, cooperator: Cooperator) {
    this.#iterator = iterator;
    this.#cooperator = cooperator;
  }

  /**
   * Fires with the iterator when it has come to its end. Fails with what the iterator throws, with TaskStopped, or with
   * SchedulerStopped. Each call gives a Deferred of its own.
   */
  whenDone(): Deferred<Work> {
    if (this.#outcome instanceof Failure) return fail(this.#outcome);
    if (this.#outcome !== undefined) return succeed(this.#outcome);
    const done = new Deferred<Work>();
    this.#waiting.push(done);
    return done;
  }

  /**
   * Does nothing more until `resume` was called as often as this.
   *
   * @throws TaskDone, TaskStopped, TaskFailed or SchedulerStopped if it is over
   */
  pause(): void {
    this.#mustGoOn();
    if (++this.#pauses === 1) this.#cooperator.remove(this);
  }

  /** @throws NotPaused */
  resume(): void {
    if (this.#pauses === 0) throw new NotPaused('cannot resume a task that is not paused');
    if (--this.#pauses === 0 && this.#finished === undefined) this.#cooperator.add(this);
  }

  /**
   * Ends it: `whenDone` fails with TaskStopped.
   *
   * @throws TaskDone, TaskStopped, TaskFailed or SchedulerStopped if it is over
   */
  stop(): void {
    this.#mustGoOn();
    const stopped = new TaskStopped('the task was stopped');
    this.#finish(stopped, new Failure(stopped));
  }

  #mustGoOn(): void {
    if (this.#finished !== undefined) throw this.#finished;
  }

  #finish(finished: PlaitError, outcome: Work | Failure): void {
    this.#finished = finished;
    this.#outcome = outcome;
    this.#cooperator.remove(this);
    const waiting = this.#waiting;
    this.#waiting = [];
    fireEach(waiting, outcome);
  }

  /** @internal the Cooperator was stopped */
  abandon(): void {
    if (this.#finished !== undefined) return;
    const stopped = new SchedulerStopped('the Cooperator was stopped');
    this.#finish(stopped, new Failure(stopped));
  }

  /** @internal does one piece of work; whatever the iterator does or returns, it is only this task that fails */
  step(): void {
    let done: boolean;
    let awaited: Deferred<unknown> | undefined;
    try {
      // An async iterator returns a promise each time, which has no `done`: its end would never be seen.
      const piece: unknown = neededNow<unknown>(this.#iterator.next(), 'next() of an iterator');
      if (typeof piece !== 'object' || piece === null)
        throw new TypeError(`next() of an iterator must return an object, not ${inspect(piece)}`);
      const { done: isDone, value } = piece as {
        readonly done?: unknown;
        readonly value?: unknown;
      };
      done = Boolean(isDone);
      if (!done) awaited = whatToWaitFor(value);
    } catch (error) {
      this.#failed(new Failure(error));
      return;
    }
    // It may have stopped itself in its step.
    if (this.#finished !== undefined) return;
    if (done) {
      this.#finish(new TaskDone('the task has come to its end'), this.#iterator);
    } else if (awaited !== undefined) {
      this.pause();
      awaited.addCallbacks(
        () => {
          this.resume();
        },
        (failure) => {
          if (this.#finished === undefined) this.#failed(failure);
        },
      );
    }
  }

  #failed(failure: Failure): void {
    if (this.#finished !== undefined) {
      log.failure('a task has failed that was over', failure, 'error');
      return;
    }
    this.#finish(new TaskFailed('the task has failed', { cause: failure.value }), failure);
  }

  toString(): string {
    return told(
      this,
      this.#finished === undefined
        ? this.#pauses > 0
          ? 'paused'
          : 'going on'
        : `over: ${this.#finished.name}`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** What a piece is to be waited for, if it is. */
function whatToWaitFor(piece: unknown): Deferred<unknown> | undefined {
  if (piece instanceof Deferred) return piece as Deferred<unknown>;
  if (typeof piece !== 'object' || piece === null) return undefined;
  return isThenable(piece) || isCoroutine(piece) ? maybeDeferred(passthru, piece) : undefined;
}

/** Options of {@link Cooperator}. */
export interface CooperatorOptions {
  /** Called at the beginning of each turn; what it returns says, after each piece, whether the turn is over. */
  readonly terminationPredicateFactory?: () => () => boolean;
  /** Whose time it goes by: for the turns, and for how long one of them may be. Default: the process's reactor. */
  readonly clock?: IReactorTime;
  /** Asks for the next turn. Default: `clock.callLater(0, …)`. */
  readonly scheduler?: (turn: () => void) => IDelayedCall;
  /** False to do nothing until `start`. Default: true. */
  readonly started?: boolean;
}

/**
 * Works through iterators, a piece of each in turn. What an iterator yields is ignored, unless it is a Deferred, a
 * promise or a generator: these are waited for, and a generator is run as a coroutine.
 *
 * @example
 * const cooperator = new Cooperator();
 * cooperator.coiterate((function* () {
 *   for (let n = 1; n <= 3; n++) yield console.log(n);
 * })());
 */
export class Cooperator {
  readonly #over: () => () => boolean;
  readonly #scheduler: (turn: () => void) => IDelayedCall;
  #started: boolean;
  #stopped = false;
  /** In the order of their turns: the first is next. */
  readonly #tasks: Set<CooperativeTask> = new Set<CooperativeTask>();
  #call: IDelayedCall | undefined;
  /** A turn was asked for. */
  #scheduled = false;

  constructor(options: CooperatorOptions = {}) {
    const {
      clock = reactor,
      terminationPredicateFactory = () => sliceOfTime(clock),
      scheduler = (turn: () => void) => clock.callLater(0, turn),
      started = true,
    } = checkOptions(options, 'Cooperator: options');
    checkClock(clock, 'Cooperator: clock');
    this.#over = checkFunction(
      terminationPredicateFactory,
      'Cooperator: terminationPredicateFactory',
    );
    this.#scheduler = checkFunction(scheduler, 'Cooperator: scheduler');
    this.#started = checkBoolean(started, 'Cooperator: started');
  }

  /** Takes an iterator on. */
  cooperate(iterator: Work): CooperativeTask {
    checkMethods(iterator, 'cooperate: iterator', 'an iterator', ['next']);
    const task = new CooperativeTask(iterator, this);
    this.add(task);
    return task;
  }

  /**
   * Takes an iterator on, and fires with it when it has come to its end.
   *
   * @param done what is fired, and returned, if there is one already
   */
  coiterate(iterator: Work, done?: Deferred<Work>): Deferred<Work> {
    const whenDone = this.cooperate(iterator).whenDone();
    if (done === undefined) return whenDone;
    whenDone.chainDeferred(done);
    return done;
  }

  /** Begins, or begins again. */
  start(): void {
    this.#stopped = false;
    this.#started = true;
    this.#schedule();
  }

  /** Ends: every task that is not paused fails with SchedulerStopped, and so does each one that is added. */
  stop(): void {
    this.#stopped = true;
    for (const task of [...this.#tasks]) task.abandon();
  }

  get running(): boolean {
    return this.#started && !this.#stopped;
  }

  /** @internal */
  add(task: CooperativeTask): void {
    if (this.#stopped) {
      task.abandon();
      return;
    }
    this.#tasks.add(task);
    this.#schedule();
  }

  /** @internal */
  remove(task: CooperativeTask): void {
    this.#tasks.delete(task);
    if (this.#tasks.size > 0) return;
    if (this.#call?.active() === true) this.#call.cancel();
    this.#call = undefined;
    this.#scheduled = false;
  }

  #schedule(): void {
    if (!this.#started || this.#scheduled || this.#tasks.size === 0) return;
    this.#scheduled = true;
    try {
      const call = this.#scheduler(() => this.#turn());
      this.#call = neededNow(call, 'the scheduler');
    } catch (error) {
      // There will be no turn; the next time that one is needed, it is asked for again.
      this.#scheduled = false;
      throw error;
    }
  }

  #turn(): void {
    this.#call = undefined;
    this.#scheduled = false;
    const isOver = this.#begin();
    // A task that is added again, in its step or before, comes to the end of the set, and is reached by the same loop.
    for (const task of this.#tasks) {
      // To the end of the line, whatever it does in its step.
      this.#tasks.delete(task);
      this.#tasks.add(task);
      task.step();
      if (isOver()) break;
    }
    this.#schedule();
  }

  /** Where the caller's predicate throws, the turn is over after one piece. */
  #begin(): () => boolean {
    const guarded = <R>(fn: () => R, otherwise: R): R => {
      try {
        return neededNow(fn(), 'a termination predicate');
      } catch (error) {
        log.failure('a termination predicate failed', new Failure(error));
        return otherwise;
      }
    };
    const isOver = guarded<() => boolean>(this.#over, () => true);
    return () => guarded(isOver, true);
  }

  toString(): string {
    return told(
      this,
      `${this.#stopped ? 'stopped' : this.#started ? 'started' : 'not started'}, ${count(this.#tasks.size, 'task')}`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function sliceOfTime(clock: IReactorTime): () => boolean {
  const start = clock.seconds();
  let pieces = 0;
  return () => {
    const now = clock.seconds();
    return now === start ? ++pieces >= MOST_PIECES : now >= start + SLICE;
  };
}

function checkClock(clock: IReactorTime, name: string): void {
  checkMethods(clock, name, 'a reactor or a Clock', ['seconds', 'callLater']);
}

const shared = new WeakMap<IReactorTime, Cooperator>();

/** Options of {@link cooperate} and {@link coiterate}. */
export type CooperateOptions = Pick<CooperatorOptions, 'clock'>;

/** Takes an iterator on, in the Cooperator that all share that go by the same clock: the whole process, by default. */
export function cooperate(iterator: Work, options: CooperateOptions = {}): CooperativeTask {
  const { clock = reactor } = checkOptions(options, 'cooperate: options');
  checkClock(clock, 'cooperate: clock');
  let cooperator = shared.get(clock);
  if (cooperator === undefined) {
    cooperator = new Cooperator({ clock });
    shared.set(clock, cooperator);
  }
  return cooperator.cooperate(iterator);
}

/** Takes an iterator on as {@link cooperate} does, and fires with it at its end. */
export function coiterate(iterator: Work, options: CooperateOptions = {}): Deferred<Work> {
  return cooperate(iterator, options).whenDone();
}

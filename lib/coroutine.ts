/**
 * What runs a generator as a coroutine. Internal to `defer` and `inline`: a callback may return a generator as well as a
 * Deferred, so this lies below both, and `defer` says here which class it is.
 *
 * A rule for editors: a coroutine that comes to its end never fires its Deferred itself while it is being resumed, but
 * hands it back to the loop that resumed it; so a chain of coroutines waiting for one another needs no stack.
 */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { noteAwait, notePlain } from './awaited.ts';
import { isCoroutine, isThenable, type Relay, type Waiter } from './chain.ts';
import type { Deferred as DeferredType } from './defer.ts';
import { Failure } from './failure.ts';
import { close, enter, Frame, frames, hasResult, OPEN, openedFrame } from './frames.ts';
import { Logger } from './log.ts';
import { debugging, madeAt, noteCoroutine } from './pending.ts';
import { promised } from './promised.ts';

export { isCoroutine } from './chain.ts';

const log = new Logger('plait.defer');

type Deferred<T> = DeferredType<T>;
let Deferred: typeof DeferredType;

/** Called by `defer`, which imports this file, with its class. */
export function setDeferredClass(deferredClass: typeof DeferredType): void {
  Deferred = deferredClass;
}

/**
 * A generator that can be run as a coroutine. It may yield Deferreds, promises and other coroutines, which are waited
 * for; a Failure is thrown; anything else is sent straight back.
 */
export type Coroutine<R> = Generator<unknown, R>;

/** So many calls may lie on top of one another, of those that run a coroutine or a chain. */
const MOST_NESTED = 1000;

/** From so many on, a coroutine goes on only if there is stack left for what it may call. */
const MANY_NESTED = 100;

/** A coroutine that calls itself for ever ends with a RangeError, before the memory does. */
const MOST_LEVELS = 1_000_000;

/** Goes on with `sent` when the stack has unwound. */
interface Late {
  readonly run: Run;
  readonly sent: unknown;
  /** How many levels deep it would be if it had gone on at once. */
  readonly level: number;
}

/** How many calls lie on top of one another, and what goes on when the outermost is at its end. */
export const nesting = { depth: 0, late: [] as Late[] };

/** The level of the late one that is going on. */
let level = 0;

/** Called by the outermost when it has nothing else to do. */
export function runLate(): void {
  nesting.depth = 1;
  try {
    // What goes on may add to the list.
    while (nesting.late.length > 0) {
      const batch = nesting.late;
      nesting.late = [];
      for (const { run, sent, level: its } of batch) {
        level = its;
        run.goOn(sent);
      }
    }
  } finally {
    level = nesting.depth = 0;
  }
}

/** True if there is no room for a coroutine on top of what is on the stack now. */
function isTooDeep(): boolean {
  const { depth } = nesting;
  if (depth >= MANY_NESTED) return depth >= MOST_NESTED || !isStackLeft(depth);
  roomyAt = 0;
  return false;
}

/** Where the stack was last found to have room, for `FEW_NESTED` more calls on top. */
let roomyAt = 0;
const FEW_NESTED = 8;

/** 64 KiB of arguments: the one thing that takes as much of the stack however well it is compiled. */
const PADDING = new Array<number>(8192).fill(0);
const nothing: (...padding: number[]) => void = () => {};

// Node ends the process if the stack is too full for what leaves a scope. To compile that takes 40 KiB: so it is now.
new AsyncResource('plait.coroutine').runInAsyncScope(nothing);

function isStackLeft(depth: number): boolean {
  if (depth >= roomyAt && depth < roomyAt + FEW_NESTED) return true;
  try {
    Reflect.apply(nothing, undefined, PADDING);
  } catch {
    return false;
  }
  roomyAt = depth;
  return true;
}

/** Its end is told when the coroutine ends, so it need not be watched for collection. */
const RESOURCE_OPTIONS = { requireManualDestroy: true } as const;

/**
 * True if what is entered by `enterWith` inside of an AsyncResource is there the next time too. From Node 24 on it is
 * not: a resource has the context in which it was made.
 */
function resourcesKeep(): boolean {
  const storage = new AsyncLocalStorage<true>();
  const resource = new AsyncResource('plait.coroutine');
  resource.runInAsyncScope(() => storage.enterWith(true));
  const kept = resource.runInAsyncScope(() => storage.getStore());
  storage.disable();
  return kept === true;
}

const RESOURCES_KEEP = resourcesKeep();

/** A generator being run, in the AsyncLocalStorage context of its caller. */
class Run extends AsyncResource implements Waiter, Relay {
  readonly deferred: Deferred<unknown>;
  readonly #generator: Coroutine<unknown>;
  #waitingOn: Deferred<unknown> | undefined;
  /** Cancelled while it ran: what it waits for next is cancelled instead. */
  #cancelled = false;
  /** What the promises wait for that it yields. */
  #frame: Frame | undefined;
  /** Where it goes on, if not in itself. */
  #context: AsyncResource | undefined;

  constructor(generator: Coroutine<unknown>) {
    super('plait.coroutine', RESOURCE_OPTIONS);
    this.#generator = generator;
    this.deferred = Deferred.relayed(this);
    if (debugging) noteCoroutine(this.deferred, () => this.#waitingOn);
  }

  /** Runs it with nothing below that would run the chain of its Deferred: at its beginning, or late. */
  goOn(sent: unknown): void {
    nesting.depth++;
    try {
      if (this.stepInContext(sent) !== undefined) Deferred.run(this.deferred);
    } finally {
      // No function is called here unless it must be: the stack may be full, and the count must be kept.
      if (--nesting.depth === 0 && nesting.late.length > 0) runLate();
    }
  }

  /** As `goOn`, when the stack has unwound. */
  goOnLater(sent: unknown): void {
    nesting.late.push({ run: this, sent, level: level + nesting.depth });
  }

  /** Fails before it has begun. */
  refuse(error: Error): void {
    if (this.end(new Failure(error)) !== undefined) Deferred.run(this.deferred);
  }

  resume(result: unknown): Deferred<unknown> | undefined {
    this.#waitingOn = undefined;
    if (isTooDeep()) {
      this.goOnLater(result);
      return undefined;
    }
    return this.stepInContext(result);
  }

  private stepInContext(sent: unknown): Deferred<unknown> | undefined {
    return (this.#context ?? this).runInAsyncScope(Run.step, undefined, this, sent);
  }

  awaited(surely: boolean): Deferred<unknown> | undefined {
    const awaited = this.#waitingOn;
    this.#frame?.abort();
    if (awaited !== undefined && !(surely && hasResult(awaited))) return awaited;
    this.#cancelled = true;
    return undefined;
  }

  /** Runs the generator until it has to wait; returns the Deferred, to be run, if it came to its end. */
  private static step(this: void, run: Run, result: unknown): Deferred<unknown> | undefined {
    let sent = result;
    const before = frames.opened;
    frames.opened = OPEN;
    if (run.#frame !== undefined || frames.tracking) run.enterFrame();
    try {
      for (;;) {
        let outcome: IteratorResult<unknown, unknown>;
        try {
          outcome =
            sent instanceof Failure ? run.throw(sent as Failure) : run.#generator.next(sent);
        } catch (error) {
          return run.end(new Failure(error), openedFrame());
        }
        if (outcome.done === true) {
          return run.end(outcome.value, openedFrame());
        }
        sent = outcome.value;
        if (typeof sent !== 'object' || sent === null) continue;
        const awaited = sent instanceof Deferred ? (sent as Deferred<unknown>) : adopted(sent);
        if (awaited === undefined) continue;
        if (!Deferred.isReady(awaited)) {
          run.wait(awaited);
          return undefined;
        }
        sent = Deferred.observe(awaited);
      }
    } finally {
      // No function is called here unless it must be: the stack may be full.
      if (frames.opened === OPEN) frames.opened = before;
      else run.#frame = close(before);
    }
  }

  private enterFrame(): void {
    // Who was given up goes on in the one that it has, and is cancelled there.
    const frame = this.#frame === undefined || this.#frame.givenUp ? new Frame() : this.#frame;
    frame.heeded = false;
    enter(frame);
  }

  private throw(failure: Failure): IteratorResult<unknown, unknown> {
    const calledAt = debugging ? madeAt(this.deferred) : undefined;
    notePlain(failure.value, this.#generator, calledAt);
    return failure.throwExceptionIntoGenerator(this.#generator);
  }

  private end(result: unknown, frame?: Frame): Deferred<unknown> | undefined {
    this.#context?.emitDestroy();
    this.emitDestroy();
    try {
      Deferred.settle(this.deferred, result, frame);
      return this.deferred;
    } catch (error) {
      // What resumes it is not to blame.
      log.failure("a coroutine's Deferred was fired from outside", new Failure(error));
      return undefined;
    }
  }

  private wait(awaited: Deferred<unknown>): void {
    this.#waitingOn = awaited;
    if (!RESOURCES_KEEP) {
      this.#context?.emitDestroy();
      this.#context = new AsyncResource('plait.coroutine', RESOURCE_OPTIONS);
    }
    Deferred.wait(awaited, this);
    if (!this.#cancelled) return;
    this.#cancelled = false;
    Deferred.cancelGuarded(awaited);
  }

  get waitingOn(): Deferred<unknown> | undefined {
    return this.#waitingOn;
  }
}

/** What is waited for when `thing` is yielded; undefined if it is just a value. */
function adopted(thing: object): Deferred<unknown> | undefined {
  try {
    if (isCoroutine(thing)) return runCoroutine(thing);
    if (isThenable(thing)) return promised(thing, openedFrame(), true);
  } catch (error) {
    const failed = new Deferred<unknown>();
    failed.errback(new Failure(error));
    return failed;
  }
  return undefined;
}

/** Runs a generator as a coroutine; the Deferred has what it returns. */
export function runCoroutine(generator: Coroutine<unknown>): Deferred<unknown> {
  const run = new Run(generator);
  if (!isTooDeep()) run.goOn(undefined);
  else if (level < MOST_LEVELS) run.goOnLater(undefined);
  else run.refuse(new RangeError(`coroutines call one another ${MOST_LEVELS} levels deep`));
  return run.deferred;
}

/** The iterator behind `yield*`: gives the value at once where there is one, else the Deferred to the runner. */
export class Wait {
  readonly #deferred: Deferred<unknown>;
  #asked = false;

  constructor(deferred: Deferred<unknown>) {
    this.#deferred = deferred;
  }

  next(sent?: unknown): IteratorResult<unknown> {
    if (this.#asked) return { done: true, value: sent };
    this.#asked = true;
    const deferred = this.#deferred;
    if (!Deferred.isReady(deferred)) return { done: false, value: deferred };
    const result = Deferred.observe(deferred);
    if (result instanceof Failure) {
      noteAwait(result.value);
      throw result.value;
    }
    return { done: true, value: result };
  }

  /** Called from where the coroutine waits, which is noted. */
  throw(error: unknown): never {
    noteAwait(error);
    throw error;
  }

  return(value: unknown): IteratorResult<unknown> {
    return { done: true, value };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

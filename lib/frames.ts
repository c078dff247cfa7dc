/**
 * What an `async` function waits for: where plait runs one, and waits for it, cancelling the Deferred of its promise
 * cancels the Deferreds that it awaits, as it does with a coroutine.
 *
 * A promise does not tell what it waits for. So a function that may be an `async` one is run in a frame, which goes with
 * its AsyncLocalStorage context over every `await`; and `then` of a Deferred notes in the frame of its caller that it is
 * awaited. Once an AsyncLocalStorage is in use, Node 20 and 22 make every `await` of the process slower. So it is not
 * used until an `async` function is handed over, or one that was called by another function awaits a Deferred: that
 * happens while the call is on the stack, where a variable will do.
 *
 * A rule for editors: code that calls a function and waits for what it returns opens a frame by `open`, closes it in a
 * `finally` by `close`, and follows a promise with it, or ends it. What is not waited for, or is set going for others, as
 * ports and delayed calls are, runs `outside`: what that awaits is not cancelled with the function that asked for it.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import type { Deferred as DeferredType } from './defer.ts';
import { CancelledError } from './errors.ts';
import { Failure } from './failure.ts';

type Deferred<T> = DeferredType<T>;
let Deferred: typeof DeferredType;

/** Called by `defer`, which imports this file, with its class. */
export function setAwaitedClass(deferredClass: typeof DeferredType): void {
  Deferred = deferredClass;
}

const storage = new AsyncLocalStorage<Frame | undefined>();

/** A function is on the stack that is waited for; it has needed no frame so far. */
export const OPEN: unique symbol = Symbol('open');

/** The frame of the function on the stack, and whether every one has a frame that goes with its context. */
export const frames: { opened: Frame | typeof OPEN | undefined; tracking: boolean } = {
  opened: undefined,
  tracking: false,
};

/** What one function waits for, and those that it has called without handing them over. */
export class Frame {
  #awaited: Set<Deferred<unknown>> | undefined;
  #controller: AbortController | undefined;
  /** It was cancelled while it awaited no Deferred: the next one is cancelled instead. */
  #due = false;
  /** A promise of it is waited for. */
  followed = false;
  cancelled = false;
  /** Its Deferred has failed, and it goes on unheard. */
  givenUp = false;
  over = false;
  /** Something listened to its signal when that was aborted, so that it may end by that. */
  heeded = false;
  /** The one in whose context it was opened. */
  outer: Frame | undefined;

  /** Aborted when it is cancelled. */
  get signal(): AbortSignal {
    return (this.#controller ??= new AbortController()).signal;
  }

  /** `deferred` is awaited by it from now on. */
  note(deferred: Deferred<unknown>): void {
    if (!this.over) (this.#awaited ??= new Set()).add(deferred);
  }

  /** Its promise hears of `deferred`, which may thus be cancelled now. */
  heard(deferred: Deferred<unknown>): void {
    if (!this.#due || this.over) return;
    this.#due = false;
    Deferred.cancelGuarded(deferred);
  }

  forget(deferred: Deferred<unknown>): void {
    this.#awaited?.delete(deferred);
  }

  /** Aborts its signal, if it has been asked for. */
  abort(): void {
    this.cancelled = true;
    const controller = this.#controller;
    if (controller === undefined || controller.signal.aborted) return;
    this.heeded = getEventListeners(controller.signal, 'abort').length > 0;
    controller.abort(new CancelledError());
  }

  /** Cancels what it awaits, on behalf of the `deferred` of its promise; as `Relay.awaited`. */
  cancel(deferred: Deferred<unknown>, surely: boolean): Deferred<unknown> | undefined {
    this.abort();
    const { heeded } = this;
    this.heeded = false;
    const awaited = [...(this.#awaited ?? [])].filter((one) => !(surely && hasResult(one)));
    const last = awaited.pop();
    for (const one of awaited) Deferred.cancelGuarded(one);
    if (last !== undefined || heeded) return last;
    this.#due = true;
    // It may be about to go on, and then awaits the next Deferred in one of the microtasks that there are.
    queueMicrotask(() =>
      process.nextTick(() => {
        if (!this.#due || deferred.called) return;
        this.givenUp = true;
        Deferred.settle(deferred, new Failure(new CancelledError()));
        Deferred.run(deferred);
      }),
    );
    return undefined;
  }

  /** The function has returned no promise that is waited for. */
  endUnlessFollowed(): void {
    if (!this.followed) this.end();
  }

  /** Keeps nothing from now on. */
  end(): void {
    this.over = true;
    this.#awaited = this.outer = undefined;
  }
}

/** Begins a call of `fn`, that is waited for, in place of the one on the stack; `close` ends it. */
export function open(fn?: unknown): void {
  frames.opened = OPEN;
  if (isAsync(fn)) frames.tracking = true;
  if (frames.tracking) enter(new Frame());
}

/** Goes back to `before`, what `frames.opened` was; returns the frame, if there is one. */
export function close(before: typeof frames.opened): Frame | undefined {
  const frame = frames.opened;
  frames.opened = before;
  return frame === undefined || frame === OPEN ? undefined : leave(frame);
}

/** Goes back to the context before `enter(frame)`. */
export function leave(frame: Frame): Frame {
  storage.enterWith(frame.outer);
  frame.outer = undefined;
  return frame;
}

/** Goes on in `frame`. */
export function enter(frame: Frame): void {
  frames.tracking = true;
  frames.opened = frame;
  frame.outer = storage.getStore();
  storage.enterWith(frame);
}

/** The frame of the function on the stack, if it has needed one. */
export function openedFrame(): Frame | undefined {
  return frames.opened === OPEN ? undefined : frames.opened;
}

/** The frame of what calls now. */
function current(): Frame | undefined {
  if (frames.opened === OPEN) enter(new Frame());
  const frame = frames.opened ?? (frames.tracking ? storage.getStore() : undefined);
  return frame === OPEN || frame?.over === true ? undefined : frame;
}

/** Notes that `deferred` is awaited, and where. */
export function noteAwaited(deferred: Deferred<unknown>): Frame | undefined {
  if (frames.opened === undefined && !frames.tracking) return undefined;
  if (Deferred.isReady(deferred)) return undefined;
  const frame = current();
  frame?.note(deferred);
  return frame;
}

/** Calls `fn` for others than the function that asks for it, in no frame. */
export function outside<R>(fn: () => R): R {
  const before = frames.opened;
  frames.opened = undefined;
  try {
    return frames.tracking ? storage.run(undefined, fn) : fn();
  } finally {
    frames.opened = before;
  }
}

/** From now on, every function that is waited for has a frame. */
export function track(on: boolean): void {
  frames.tracking = on;
  if (!on) storage.disable();
}

const ASYNC: unknown = Reflect.getPrototypeOf(async () => {});
const GENERATOR: unknown = Reflect.getPrototypeOf(function* () {});

/** An `async` function was handed over: from now on there are frames. */
export function noteFunction(fn: unknown): void {
  if (!frames.tracking && isAsync(fn)) frames.tracking = true;
}

/** True for an `async` function, a bound one too; not for another that calls one. */
function isAsync(fn: unknown): boolean {
  return isOfKind(fn, ASYNC);
}

/** True for a generator function, a bound one too. */
export function isGeneratorFunction(fn: unknown): boolean {
  return isOfKind(fn, GENERATOR);
}

function isOfKind(fn: unknown, kind: unknown): boolean {
  if (typeof fn !== 'function') return false;
  try {
    return Reflect.getPrototypeOf(fn) === kind;
  } catch {
    return false; // a Proxy may throw
  }
}

/** True if there is nothing left to be cancelled, though it may still be on its way to those who wait for it. */
export function hasResult(deferred: Deferred<unknown>): boolean {
  let at = deferred;
  while (at.called) {
    if (at.waitingOn === undefined) return true;
    at = at.waitingOn;
  }
  return false;
}

// ── Signals ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What `react` runs. */
let program: Frame | undefined;

/** From now on, the signal of `frame` is that of those who are in no function that is waited for. */
export function beginProgram(frame: Frame): void {
  program = frame;
}

export function endProgram(frame: Frame): void {
  frame.end();
  if (program === frame) program = undefined;
}

/**
 * The AbortSignal of the `async` function or the coroutine that asks, if plait runs it: aborted when that is cancelled.
 * To be handed to what takes a signal, as `fetch` does and Node's timers, so that it ends too. Anywhere else it is the
 * signal of the program that `react` runs, aborted when the reactor is stopped; and if there is none, one that never is.
 *
 * @example
 * react(async () => {
 *   await fetch('data:,hello', { signal: currentSignal() });
 * });
 */
export function currentSignal(): AbortSignal {
  return (current() ?? program ?? new Frame()).signal;
}

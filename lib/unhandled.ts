/**
 * Unhandled failures. A Deferred that comes to rest with a Failure says so here; if it is collected as
 * it is, or the reactor shuts down, the process exits, or a test ends first, the failure is reported once. It is never
 * reported merely because a turn has passed: to start two things and then wait for one after the other is legal.
 * Twisted: `DebugInfo.__del__`.
 */
import { types } from 'node:util';
import { checkFunction, optional } from './arguments.ts';
import { showAwaits } from './awaited.ts';
import type { Failure } from './failure.ts';
import type { HookResult } from './interfaces.ts';
import { Logger } from './log.ts';

const log = new Logger('plait.defer');

/** A failure at the end of a Deferred's chain. */
export interface UnhandledFailure {
  readonly failure: Failure;
  /** Where the Deferred was made and fired, if debugging was on; else `''`. */
  readonly history: string;
}

/** What a Deferred keeps, to take its failure back. It is what is watched for collection: nothing here refers to it. */
export class Unhandled {
  readonly failure: Failure;
  /** What will be reported if this is collected. */
  readonly note: UnhandledFailure;
  /** `fresh` until it is watched, at the end of the turn: most are taken back before. */
  state: 'fresh' | 'watched' | 'over' = 'fresh';

  constructor(note: UnhandledFailure) {
    this.failure = note.failure;
    this.note = note;
  }
}

/** Those watched, which may still be taken back. */
const notes = new Set<UnhandledFailure>();

/** Those noted in this turn. */
let fresh: Unhandled[] = [];

/** Above this many, they are watched without waiting for the end of the turn. */
const MOST_FRESH = 1000;

const collected = new FinalizationRegistry<UnhandledFailure>((note) => {
  if (notes.delete(note)) report(note);
});

let sweepsAtExit = false;

/** Notes a failure at the end of a chain. @internal */
export function noteUnhandled(failure: Failure, history: string): Unhandled {
  const unhandled = new Unhandled({ failure, history });
  fresh.push(unhandled);
  if (fresh.length === 1) queueMicrotask(watchFresh);
  else if (fresh.length >= MOST_FRESH) watchFresh();
  if (!sweepsAtExit) {
    sweepsAtExit = true;
    process.once('exit', () => {
      reportUnhandledFailures();
    });
  }
  return unhandled;
}

/** Takes a note back: the failure has been handled. @internal */
export function handled(unhandled: Unhandled): void {
  if (unhandled.state === 'watched') {
    notes.delete(unhandled.note);
    collected.unregister(unhandled);
  }
  unhandled.state = 'over';
}

function watchFresh(): void {
  const batch = fresh;
  fresh = [];
  for (const unhandled of batch) {
    if (unhandled.state === 'over') continue;
    unhandled.state = 'watched';
    letGo(unhandled.failure.value);
    notes.add(unhandled.note);
    collected.register(unhandled, unhandled.note, unhandled);
  }
}

/**
 * V8 keeps the receivers of the calls on an Error's stack until that is made into text. The Deferred whose callback
 * threw the Error is among them, and would never be collected.
 */
function letGo(error: unknown, depth = 0): void {
  try {
    if (!(error instanceof Error) || depth > 10) return;
    showAwaits(error);
    Reflect.get(error, 'stack');
    letGo(error.cause, depth + 1);
  } catch {
    // Whatever its getters throw, the failure is reported: in the end, when the process exits.
  }
}

/** The failures that are unhandled so far. They may still be handled. */
export function unhandledFailures(): UnhandledFailure[] {
  watchFresh();
  return [...notes];
}

/**
 * Reports every failure that is unhandled so far, and forgets it. Called when a reactor has shut down, when the
 * process exits, and by tests at their end.
 */
export function reportUnhandledFailures(): void {
  const all = unhandledFailures();
  notes.clear();
  for (const note of all) report(note);
}

/** Forgets those that are not among `known` and that `isMoot` says are no news. @internal */
export function forgetUnhandled(
  known: ReadonlySet<UnhandledFailure>,
  isMoot: (failure: Failure) => boolean,
): void {
  for (const note of unhandledFailures())
    if (!known.has(note) && isMoot(note.failure)) notes.delete(note);
}

/** What is done with an unhandled failure. */
export type UnhandledFailureHook = (unhandled: UnhandledFailure) => HookResult;

const logIt: UnhandledFailureHook = ({ failure, history }) => {
  // The history has lines of its own, which a field would lose.
  log.emit('critical', `unhandled failure in a Deferred${history}`, { failure, history });
};

let hook = logIt;

/** Replaces what is done with an unhandled failure; undefined to log it again. Returns the hook so far. */
export function setUnhandledFailureHook(next?: UnhandledFailureHook): UnhandledFailureHook {
  optional(next, checkFunction, 'setUnhandledFailureHook: next');
  const previous = hook;
  hook = next ?? logIt;
  return previous;
}

const observers = new Set<UnhandledFailureHook>();

/**
 * Tells `observer` of each failure that is reported, besides what the hook does with it, until the function returned is
 * called. What it throws is logged.
 */
export function observeUnhandledFailures(observer: UnhandledFailureHook): () => void {
  observers.add(checkFunction(observer, 'observeUnhandledFailures: observer'));
  return () => {
    observers.delete(observer);
  };
}

/** Errors that are not merely to be reported, with what is done besides. */
const grave = new Map<unknown, () => void>();

/** Calls `act` if a failure that is, or comes of, `error` is reported, until the function returned is called. @internal */
export function watchUnhandled(error: unknown, act: () => void): () => void {
  grave.set(error, act);
  return () => {
    grave.delete(error);
  };
}

/** Failures that were told to a caller, though a Deferred has kept them. */
const told = new WeakSet<Failure>();

/** A list tells of `failure` in its own result: it counts as looked at. @internal */
export function noteTold(failure: Failure): void {
  told.add(failure);
}

/** How many causes are looked through. */
const DEEPEST = 10;

/** What `note` is, or comes of, among the errors that `watchUnhandled` was given. */
function watchedBy({ failure }: UnhandledFailure): unknown {
  if (grave.size === 0 || told.has(failure)) return undefined;
  let error: unknown = failure.value;
  for (let depth = 0; depth < DEEPEST; depth++) {
    if (grave.has(error)) return error;
    if (!types.isNativeError(error)) return undefined;
    try {
      error = error.cause;
    } catch {
      return undefined;
    }
  }
  return undefined;
}

/** The failures that nothing has handled so far and that are, or come of, `error`, which is watched. @internal */
export function unhandledOf(error: unknown): UnhandledFailure[] {
  return unhandledFailures().filter((note) => watchedBy(note) === error);
}

/** Reports those, and forgets them. @internal */
export function reportUnhandledOf(error: unknown): void {
  for (const note of unhandledOf(error)) {
    notes.delete(note);
    report(note);
  }
}

/** Sees to what the hook and the observers return, which may be a promise or a coroutine. */
let watchOutcome: (outcome: unknown) => void = () => {};

/** Called by `hooks`, which imports this file and knows what a function may return. @internal */
export function setOutcomeWatcher(
  watch: (outcome: unknown, failed: (error: unknown) => void) => void,
): void {
  watchOutcome = (outcome) => watch(outcome, observerFailed);
}

function report(note: UnhandledFailure): void {
  const error = watchedBy(note);
  if (error !== undefined) {
    const act = grave.get(error);
    grave.delete(error);
    act?.();
  }
  for (const tell of [hook, ...observers]) {
    try {
      watchOutcome(tell(note));
    } catch (error) {
      observerFailed(error);
    }
  }
}

function observerFailed(error: unknown): void {
  log.error('what is told of unhandled failures failed: {error}', { error });
}

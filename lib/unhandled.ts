/**
 * Failures that nobody has handled. A Deferred that comes to rest with a Failure says so here; if it is collected as
 * it is, or the reactor shuts down, the process exits, or a test ends first, the failure is reported once. It is never
 * reported merely because a turn has passed: to start two things and then wait for one after the other is legal.
 * Twisted: `DebugInfo.__del__`.
 */
import type { Failure } from './failure.ts';
import { Logger } from './log.ts';

const log = new Logger('plait.defer');

/** A failure at the end of a Deferred's chain. */
export interface UnhandledFailure {
  readonly failure: Failure;
  /** Where the Deferred was made and fired, if debugging was on; else `''`. */
  readonly history: string;
}

/** What a Deferred keeps to take its failure back. It is what is watched for collection, so nothing here refers to it. */
export interface Unhandled {
  readonly failure: Failure;
}

interface Note {
  readonly failure: Failure;
  readonly history: string;
}

/** Notes not yet taken back or reported, by the token that the Deferred keeps; weakly, lest the token never die. */
const notes = new Map<WeakRef<Unhandled>, Note>();
const keys = new WeakMap<Unhandled, WeakRef<Unhandled>>();

/** Noted in this turn, and not yet watched: most are handled before the turn is over. */
let fresh: { token: Unhandled; note: Note }[] = [];

/** Above this many, notes are watched without waiting for the end of the turn. */
const MOST_FRESH = 1000;

const collected = new FinalizationRegistry<WeakRef<Unhandled>>((key) => {
  const note = notes.get(key);
  if (note === undefined) return;
  notes.delete(key);
  report(note);
});

let sweepsAtExit = false;

/** Notes a failure at the end of a chain. @internal */
export function noteUnhandled(failure: Failure, history: () => string): Unhandled {
  const token = { failure };
  fresh.push({ token, note: { failure, history: history() } });
  if (fresh.length === 1) queueMicrotask(watchFresh);
  else if (fresh.length >= MOST_FRESH) watchFresh();
  if (!sweepsAtExit) {
    sweepsAtExit = true;
    process.once('exit', () => reportUnhandledFailures());
  }
  return token;
}

/** Takes a note back: somebody has handled the failure. @internal */
export function handled(token: Unhandled): void {
  const key = keys.get(token);
  if (key !== undefined) {
    keys.delete(token);
    notes.delete(key);
    collected.unregister(token);
    return;
  }
  // Mostly it is the last one that was noted.
  for (let i = fresh.length - 1; i >= 0; i--) {
    if (fresh[i]?.token !== token) continue;
    fresh.splice(i, 1);
    return;
  }
}

function watchFresh(): void {
  const batch = fresh;
  fresh = [];
  for (const { token, note } of batch) {
    const key = new WeakRef(token);
    keys.set(token, key);
    notes.set(key, note);
    collected.register(token, key, token);
  }
}

/** The failures that nobody has handled so far. They may still be handled. */
export function unhandledFailures(): UnhandledFailure[] {
  return [...notes.values(), ...fresh.map(({ note }) => note)];
}

/**
 * Reports every failure that nobody has handled so far, and forgets it. Called when a reactor has shut down, when the
 * process exits, and by tests at their end.
 */
export function reportUnhandledFailures(): void {
  const all = [...notes.values(), ...fresh.map(({ note }) => note)];
  notes.clear();
  fresh = [];
  for (const note of all) report(note);
}

/** What is done with an unhandled failure. */
export type UnhandledFailureHook = (unhandled: UnhandledFailure) => void;

const logIt: UnhandledFailureHook = ({ failure, history }) => {
  log.emit('critical', `unhandled failure in a Deferred{history}`, { failure, history });
};

let hook = logIt;

/** Replaces what is done with an unhandled failure; undefined to log it again. Returns the hook so far. */
export function setUnhandledFailureHook(next?: UnhandledFailureHook): UnhandledFailureHook {
  const previous = hook;
  hook = next ?? logIt;
  return previous;
}

function report(note: Note): void {
  try {
    hook(note);
  } catch (error) {
    log.error('the hook for unhandled failures failed: {error}', { error });
  }
}

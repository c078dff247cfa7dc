/**
 * Errors that were logged while a test ran. A test that makes something go wrong takes the errors that it expects with
 * {@link flushLoggedErrors}; whatever is left at its end nobody expected, and should make it fail. No test runner is
 * needed. Twisted: `flushLoggedErrors` of `twisted.trial`, and the observer behind it.
 */
import { Failure, type ErrorPattern } from '../failure.ts';
import { globalLogPublisher, LOG_LEVELS, stderrObserver, type LogEvent } from '../log.ts';

const ERROR = LOG_LEVELS.indexOf('error');

/** What each collection that is going on has so far; the innermost, which alone gets events, is last. */
const collections: Collection[] = [];

/** The errors of one collection, and whether the end of it puts the writing to standard error back. */
interface Collection {
  readonly events: LogEvent[];
  writes: boolean;
}

/**
 * Collects the errors that are logged from now on: events with a failure, and those of level `error` and above.
 * Meanwhile nothing is written to standard error. Returns a function that ends it, which puts the writing back if it
 * was there before, and returns the errors that nobody has flushed. Of several, the innermost alone gets events; they
 * may end in any order.
 *
 * @example
 * const stop = collectLoggedErrors();
 * new Logger('shop').error('out of tea');
 * stop().length; // 1
 */
export function collectLoggedErrors(): () => LogEvent[] {
  const mine: Collection = {
    events: [],
    writes: globalLogPublisher.observers.includes(stderrObserver),
  };
  const observer = (event: LogEvent) => {
    if (collections.at(-1) === mine && isError(event)) mine.events.push(event);
  };
  globalLogPublisher.removeObserver(stderrObserver);
  globalLogPublisher.addObserver(observer);
  collections.push(mine);
  return () => {
    const at = collections.indexOf(mine);
    if (at < 0) return [];
    collections.splice(at, 1);
    globalLogPublisher.removeObserver(observer);
    const inner = collections[at];
    // What began within it, and goes on, sees to that in its place.
    if (inner !== undefined) inner.writes ||= mine.writes;
    else if (mine.writes) globalLogPublisher.addObserver(stderrObserver);
    return mine.events;
  };
}

/**
 * The errors collected so far, which are then forgotten.
 *
 * @param patterns classes, errors' names or Node's codes: only events whose error matches one of them; none: all
 * @throws Error if nothing is being collected, since a test that believes it looks would see nothing
 * @example
 * const stop = collectLoggedErrors();
 * new Logger('shop').failure('cannot brew', new Failure(new RangeError('no water')));
 * flushLoggedErrors(TypeError).length; // 0
 * flushLoggedErrors(RangeError).map((event) => event.failure?.value.message); // [ 'no water' ]
 * stop().length; // 0
 */
export function flushLoggedErrors(...patterns: ErrorPattern[]): LogEvent[] {
  const errors = collections.at(-1)?.events;
  if (errors === undefined) {
    throw new Error('cannot flush logged errors: collectLoggedErrors() has not been called');
  }
  const flushed = errors.filter((event) => matches(event, patterns));
  errors.splice(0, errors.length, ...errors.filter((event) => !flushed.includes(event)));
  return flushed;
}

function isError(event: LogEvent): boolean {
  return event.failure !== undefined || LOG_LEVELS.indexOf(event.level) >= ERROR;
}

/** The error is the event's failure, or else its field `error`, as in `log.error('…: {error}', { error })`. */
function matches(event: LogEvent, patterns: readonly ErrorPattern[]): boolean {
  if (patterns.length === 0) return true;
  const { failure, error } = event as LogEvent & { error?: unknown };
  if (failure !== undefined) return failure.check(...patterns) !== undefined;
  return error instanceof Error && new Failure(error).check(...patterns) !== undefined;
}

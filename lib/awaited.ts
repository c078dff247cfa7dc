/**
 * Where coroutines waited for what failed. The stack of an error ends where it was thrown into the first coroutine;
 * the places where the others waited for one another are noted here, one line each, and put behind the stack when
 * somebody looks at it. Noting costs a microsecond, and nothing at all where nothing fails.
 */

/** More lines than these say nothing new: it is a loop. */
const MOST_LINES = 50;

/** Objects whose `stack` holds the line, which V8 makes into text only when it is read. */
const places = new WeakMap<Error, { readonly stack?: string }[]>();

/** Errors into whose stack the lines have been put, and how many. */
const shown = new WeakMap<Error, number>();

/** Notes the caller of the caller, a coroutine at a `yield*`, as a place where `error` was awaited. */
export function noteAwait(error: unknown): void {
  if (!(error instanceof Error)) return;
  const place: { stack?: string } = {};
  const limit = Error.stackTraceLimit;
  // Where the intrinsics are frozen this does nothing; an assignment would throw.
  Reflect.set(Error, 'stackTraceLimit', 2);
  Error.captureStackTrace(place, noteAwait);
  Reflect.set(Error, 'stackTraceLimit', limit);
  const known = places.get(error);
  if (known === undefined) places.set(error, [place]);
  else if (known.length < MOST_LINES) known.push(place);
}

/** The lines for `error` that are not yet in its stack, each beginning with a newline. */
function linesOf(error: Error): string {
  const all = places.get(error) ?? [];
  const lines = all
    .slice(shown.get(error) ?? 0)
    .map(({ stack = '' }) => stack.split('\n').at(-1) ?? '');
  return lines.map((line) => line.replace(/^\s*at /, '\n    awaited at ')).join('');
}

/** Puts the places noted into the error's own stack, for those who know nothing of them: promises, and loggers. */
export function showAwaits(error: Error): void {
  const all = places.get(error);
  if (all === undefined || shown.get(error) === all.length) return;
  try {
    const lines = linesOf(error);
    shown.set(error, all.length);
    error.stack = `${error.stack ?? String(error)}${lines}`;
  } catch {
    // A frozen error keeps its stack as it is.
  }
}

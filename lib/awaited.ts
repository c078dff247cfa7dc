/**
 * Where coroutines waited for what failed. The stack of an error ends where it was thrown into the first coroutine;
 * the places where the others waited for one another are noted here, one line each, and put behind the stack when
 * it is looked at. Noting costs a microsecond, and nothing at all where nothing fails. The frames of plait's own
 * that lie between are then taken out of the stack; with debugging on (`PLAIT_DEBUG=1`) it stays whole.
 */

import { debugging, ownFolder } from './pending.ts';

/** More lines than these say nothing new: it is a loop. */
const MOST_LINES = 50;

/** A place, whose `stack` ends with its line; V8 makes that into text only when it is read. */
interface Place {
  readonly stack?: string;
}

const places = new WeakMap<Error, Place[]>();

/** Errors into whose stack the lines have been put, and how many. */
const shown = new WeakMap<Error, number>();

/** Names of generator functions, by the prototype of what they make. */
const names = new WeakMap<object, string>();

/** The place noted last, if it was by `notePlain`. */
let plain: Place | undefined;

/** Notes the caller of the caller, a coroutine at a `yield*`, as a place where `error` was awaited. */
export function noteAwait(error: unknown): void {
  if (!(error instanceof Error)) return;
  const known = places.get(error);
  const last = known?.at(-1);
  // The generator is at a `yield*`, after all.
  if (last !== undefined && last === plain) known?.pop();
  plain = undefined;
  if (known !== undefined && known.length >= MOST_LINES) return;
  const place: { stack?: string } = {};
  const limit = Error.stackTraceLimit;
  // Where the intrinsics are frozen this does nothing; an assignment would throw.
  Reflect.set(Error, 'stackTraceLimit', 2);
  Error.captureStackTrace(place, noteAwait);
  Reflect.set(Error, 'stackTraceLimit', limit);
  if (known === undefined) places.set(error, [place]);
  else known.push(place);
}

/**
 * Notes that `error` is about to be thrown into a generator, at a plain `yield` unless `noteAwait` is called next. No
 * code of ours is called there, so all that can be told is its name.
 *
 * @param calledAt where it was called, if that is known
 */
export function notePlain(error: Error, generator: object, calledAt = ''): void {
  plain = undefined;
  const known = places.get(error);
  if (known !== undefined && known.length >= MOST_LINES) return;
  const name = names.get(Reflect.getPrototypeOf(generator) as object) ?? 'a generator';
  plain = { stack: `    at ${name} (a plain yield${calledAt && `; called at ${calledAt}`})` };
  if (known === undefined) places.set(error, [plain]);
  else known.push(plain);
}

/** Remembers what a generator function is called. */
export function noteName(fn: unknown): void {
  if (typeof fn !== 'function' || fn.name === '') return;
  const { prototype } = fn as { prototype?: unknown };
  if (typeof prototype === 'object' && prototype !== null) names.set(prototype, fn.name);
}

/** The lines for `error` that are not yet in its stack, each beginning with a newline. */
function linesOf(all: readonly Place[], from: number): string {
  const lines = all.slice(from).map(({ stack = '' }) => stack.split('\n').at(-1) as string);
  return lines.map((line) => line.replace(/^\s*at /, '\n    awaited at ')).join('');
}

/**
 * Puts the places noted into the error's own stack, for those who know nothing of them: promises, and loggers. The
 * frames of what ran the coroutines are left out, unless debugging is on.
 */
export function showAwaits(error: Error): void {
  const all = places.get(error);
  const from = shown.get(error) ?? 0;
  if (all === undefined || from === all.length) return;
  try {
    const stack = error.stack ?? String(error);
    const lines = linesOf(all, from);
    shown.set(error, all.length);
    error.stack = `${debugging ? stack : withoutOwnFrames(stack)}${lines}`;
  } catch {
    // A frozen error keeps its stack as it is.
  }
}

/** Frames of the engine and of Node between those of plait; a generator goes by the name of its function. */
const GLUE = /^\s+at (?:\S+\.(?:next|throw) \(<anonymous>\)|\S*runInAsyncScope \(node:async_hooks)/;

function withoutOwnFrames(stack: string): string {
  const own = ownFolder();
  if (own === undefined) return stack;
  const kept: string[] = [];
  for (const line of stack.split('\n')) {
    if (!/^\s+at /.test(line) || !line.includes(own)) kept.push(line);
    else while (GLUE.test(kept.at(-1) ?? '')) kept.pop();
  }
  // The stack may have been cut off right before the next frame of plait.
  while (GLUE.test(kept.at(-1) ?? '')) kept.pop();
  return kept.join('\n');
}

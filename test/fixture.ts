/**
 * tap's `t` for the tests of this project: `import t from '../fixture.ts'` in place of `from 'tap'`. It is the same
 * `t`, with a check after each top-level test, once its teardowns have run: nothing may be left behind. Left behind
 * are handles that keep the process alive (timers, servers, sockets, child processes, workers), listeners for signals,
 * calls that wait on the process's own reactor, failures that nobody handled, errors that were logged and not flushed,
 * warnings of the process, and what was thrown with nobody to catch it once the test had ended (before that, it is tap
 * that fails the test). Twisted: the checks for a dirty reactor and for logged errors in `twisted.trial`.
 *
 * To see where what is left behind was made, run the test with PLAIT_DEBUG=1.
 */
import { createHook } from 'node:async_hooks';
import { inspect } from 'node:util';
import type { Worker } from 'node:worker_threads';
import t from 'tap';
import { formatEvent, type LogEvent } from '../lib/log.ts';
import { collectLoggedErrors } from '../lib/testing/logged-errors.ts';
import type { DelayedCall } from '../lib/time.ts';
import {
  reportUnhandledFailures,
  setUnhandledFailureHook,
  unhandledFailures,
} from '../lib/unhandled.ts';

export type { Test } from 'tap';
export default t;

/** How many turns of the event loop what is closing has to close. */
const MOST_TURNS = 20_000;
/** How many turns are taken in any case, for a late rejection, warning or log event to show. */
const LEAST_TURNS = 2;

/** By this Node talks to the thread in which its module loader runs, at moments of its own. Workers are watched. */
const LOADER_PORT = 'MessagePort';

/** A write that is under way, such as one of the test runner's own to its parent; its socket is listed besides. */
const WRITE = 'SimpleWriteWrap';

/** What is watched while a top-level test runs. */
interface Watch {
  /** The types of the handles that were there before. */
  readonly handles: readonly string[];
  /** The signals that were listened for before. */
  readonly signals: readonly string[];
  readonly stopCollecting: () => LogEvent[];
}

// Nothing is measured by the clock: on a busy machine a test takes its time.
t.setTimeout(1_200_000);

let watch: Watch | undefined;
let warnings: Error[] = [];
/** What was thrown with nobody to catch it, once the test itself had ended. */
let crashes: unknown[] = [];
/** Started and not yet ended; these are in no list of the process. */
const workers = new Set<Worker>();

t.beforeEach((test) => {
  if (test.parent !== t) return;
  warnings = [];
  crashes = [];
  workers.clear();
  traces.clear();
  process.on('warning', noteWarning).on('worker', noteWorker);
  watch = {
    handles: process.getActiveResourcesInfo(),
    signals: signalsHeard(),
    stopCollecting: collectLoggedErrors(),
  };
});

t.afterEach(async (test) => {
  if (test.parent !== t || watch === undefined) return;
  const { handles, signals, stopCollecting } = watch;
  watch = undefined;
  // tap has let go of the test: without these, what is thrown now would take the whole file down.
  process.on('uncaughtException', noteCrash).on('unhandledRejection', noteCrash);
  const faults = await handlesLeft(handles);
  process.off('uncaughtException', noteCrash).off('unhandledRejection', noteCrash);
  process.off('warning', noteWarning).off('worker', noteWorker);
  faults.push(...surplus(signalsHeard(), signals).map((name) => `a listener for ${name}`));
  faults.push(...callsLeft(), ...failuresLeft());
  faults.push(...stopCollecting().map((event) => `a logged error: ${showEvent(event)}`));
  faults.push(...warnings.map((warning) => `a warning: ${String(warning)}`));
  faults.push(...crashes.map((thrown) => `an error that nobody caught: ${inspect(thrown)}`));
  if (faults.length === 0) return;
  // A test that has ended takes no more assertions, so it is the file that fails, right after it.
  t.fail(`"${test.name}" left behind ${faults.map(firstLine).join('; ')}`, {
    left: faults,
    stack: '',
  });
});

/**
 * The warnings of the process since the test began, which are then forgotten; a test that provokes one calls this
 * after a turn of the loop.
 *
 * @param names which ones, as in `MaxListenersExceededWarning`; none: all
 */
export function flushWarnings(...names: string[]): Error[] {
  const flushed = warnings.filter(({ name }) => names.length === 0 || names.includes(name));
  warnings = warnings.filter((warning) => !flushed.includes(warning));
  return flushed;
}

/** How the test runner has its loader installed, which Node 26 deprecates. */
const LOADER_DEPRECATION = 'DEP0205';

function noteWarning(warning: Error & { readonly code?: string }): void {
  // Neither is about anything that the project does.
  if (warning.name === 'ExperimentalWarning' || warning.code === LOADER_DEPRECATION) return;
  warnings.push(warning);
}

function noteCrash(thrown: unknown): void {
  crashes.push(thrown);
}

function noteWorker(worker: Worker): void {
  // From version 24 on Node announces the thread of its own module loader too.
  if (worker.constructor.name === 'InternalWorker') return;
  workers.add(worker);
  worker.once('exit', () => workers.delete(worker));
}

async function handlesLeft(before: readonly string[]): Promise<string[]> {
  for (let turn = 0; ; turn++) {
    const left = surplus(process.getActiveResourcesInfo(), before).filter(
      (type) => type !== LOADER_PORT && type !== WRITE,
    );
    for (let i = 0; i < workers.size; i++) left.push('Worker');
    const done = left.length === 0 ? turn >= LEAST_TURNS : turn >= MOST_TURNS;
    if (done) return left.sort().map((type) => `a handle: ${type}${tracesOf(type)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What `now` has more often than `before`. */
function surplus(now: readonly string[], before: readonly string[]): string[] {
  const left = [...now];
  for (const type of before) {
    const at = left.indexOf(type);
    if (at >= 0) left.splice(at, 1);
  }
  return left;
}

/** The signals that the process listens for, each as often as there are listeners. */
function signalsHeard(): string[] {
  return process.eventNames().flatMap((name) => {
    if (typeof name !== 'string' || !name.startsWith('SIG')) return [];
    return process.listeners(name as NodeJS.Signals).map(() => name);
  });
}

function callsLeft(): string[] {
  const shared = (globalThis as Record<symbol, unknown>)[Symbol.for('plait.reactor')];
  const reactor = shared as { getDelayedCalls(): DelayedCall[] } | undefined;
  return (reactor?.getDelayedCalls() ?? []).map((call) => {
    call.cancel();
    return `a call on the global reactor: ${call.toString()}`;
  });
}

/** The failures that nobody has handled; the next test shall not hear of them. */
function failuresLeft(): string[] {
  const left = unhandledFailures().map(
    ({ failure, history }) => `an unhandled failure: ${failure.getTraceback()}${history}`,
  );
  const hook = setUnhandledFailureHook(() => {});
  reportUnhandledFailures();
  setUnhandledFailureHook(hook);
  return left;
}

function showEvent(event: LogEvent): string {
  const { namespace, failure } = event;
  const text = `[${namespace}] ${formatEvent(event)}`;
  return failure === undefined ? text : `${text}: ${failure.getTraceback()}`;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

// ── Where handles were made, on request ──────────────────────────────────────────────────────────────────────────────

/** By async id: what was made since the test began, and is not destroyed yet. */
const traces = new Map<number, { readonly type: string; readonly stack: string }>();

if (process.env['PLAIT_DEBUG'] === '1') {
  Error.stackTraceLimit = 30;
  createHook({
    init(id, type) {
      const { stack = '' } = new Error();
      const own = stack.split('\n').filter((line) => !/node:|node_modules|fixture\.ts/.test(line));
      traces.set(id, { type: type.toUpperCase(), stack: own.slice(1).join('\n') });
    },
    destroy(id) {
      traces.delete(id);
    },
  }).enable();
}

/** Where handles of this type were made that are still there; `''` without PLAIT_DEBUG. */
function tracesOf(type: string): string {
  const stacks = [...traces.values()].filter((trace) => trace.type === type.toUpperCase());
  return [...new Set(stacks.map(({ stack }) => stack))]
    .map((stack) => `\n  made at\n${stack === '' ? '    (inside Node)' : stack}`)
    .join('');
}

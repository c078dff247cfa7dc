/**
 * A program run in many simulated networks, to find the one in which it fails: `simulate` runs it once for each seed,
 * reports the first that fails with its timeline, leaves out what faults the failure does not need, and says how to
 * run it again.
 */
import { isCoroutine } from '../../coroutine.ts';
import { Deferred } from '../../defer.ts';
import { Failure } from '../../failure.ts';
import { describePending } from '../../inspect.ts';
import type { Seconds } from '../../interfaces.ts';
import { forgetSessions } from '../../io/tls-context.ts';
import { eventAsText } from '../../log.ts';
import { maybeDeferred } from '../../maybe.ts';
import { getDebugging, setDebugging, pendingDeferreds, pendingMark } from '../../pending.ts';
import {
  reportUnhandledFailures,
  setUnhandledFailureHook,
  unhandledFailures,
} from '../../unhandled.ts';
import { collectLoggedErrors } from '../logged-errors.ts';
import type { ConditionsLike } from './faults.ts';
import { replaceGlobals } from './globals.ts';
import { Simulation } from './simulation.ts';

/** Options of {@link simulate}. */
export interface SimulateOptions {
  /** How many seeds are tried. Default: 100. */
  readonly runs?: number;
  /** The first of them; the others follow. Default: 1. `PLAIT_SEED` in the environment wins, and runs that one alone. */
  readonly seed?: number;
  /** How the network behaves. Default: `hostile`. */
  readonly conditions?: ConditionsLike;
  /** Simulated seconds after which a run that goes on has failed. Default: 3600. */
  readonly limit?: Seconds;
  /**
   * Simulated seconds that the network is given to fall silent once the program is done. What is open after that is a
   * failure. Default: 600.
   */
  readonly grace?: Seconds;
  /** How many events of a failing run its timeline shows, the latest. Default: 1000. */
  readonly trace?: number;
  /** False not to look for fewer faults that fail too. Default: true. */
  readonly shrink?: boolean;
  /**
   * Which globals follow the simulation. True: `Math.random` and `Date`. `all`: also `performance.now`, `setTimeout` and
   * `setInterval`. False: none. Default: true.
   */
  readonly globals?: boolean | 'all';
  /** The date at which each run begins. Default: the first second of 2027, UTC. */
  readonly date?: Date;
}

/** The date at which runs begin: any, as long as it is always the same. */
const START = Date.UTC(2027, 0, 1);

/** What {@link simulate} has seen when nothing failed. */
export interface SimulateReport {
  readonly runs: number;
  /** How many events have happened, in all runs. */
  readonly events: number;
  /** How many faults have struck. */
  readonly faults: number;
  /** Simulated seconds that have passed. */
  readonly seconds: Seconds;
}

/** A program, given a simulated network; it is over when what it returns has a result. */
export type SimProgram = (sim: Simulation) => unknown;

/** A seed with which a program fails. */
export class SimulationFailed extends Error {
  override readonly name = 'SimulationFailed';
  /** As `PLAIT_SEED` takes it. */
  readonly seed: string;
  /** The faults that it takes. */
  readonly faults: readonly string[];
  /** What happened. */
  readonly timeline: string;

  constructor(seed: string, faults: readonly string[], timeline: string, cause: Error) {
    const needed =
      faults.length === 0
        ? 'with no fault of the network at all'
        : `with ${faults.length === 1 ? 'one fault' : `${faults.length} faults`}: ${faults.join(', ')}`;
    super(
      `the program fails ${needed}\n  ${cause.message}\n  to run it again: PLAIT_SEED=${JSON.stringify(seed)}\n\n${timeline}\n`,
      { cause },
    );
    this.seed = seed;
    this.faults = faults;
    this.timeline = timeline;
  }
}

/** One run of a program. */
interface Run {
  readonly sim: Simulation;
  /** Why it has failed; undefined if it has not. */
  readonly error: Error | undefined;
}

/** A seed, and the faults that may strike; all if none are named. */
interface Replay {
  readonly seed: number | string;
  readonly only: readonly string[] | undefined;
}

/**
 * Runs `program` in one simulated network after another. A run has failed if the program throws or its result is a
 * failure; if nothing is left to happen, or too much time has passed, and it has no result; if an error was logged, or
 * a failure left unhandled; or if something is still open at the end: a port, a connection, a delayed call.
 *
 * Rejects with SimulationFailed for the first seed that fails. RangeError for options that cannot be.
 *
 * Those that are asked for at the same time take turns, since globals and the log are everybody's.
 *
 * @example
 * const report = await simulate({ runs: 20 }, (sim) => {
 *   const done = new Deferred<void>();
 *   sim.host('server').reactor.callLater(5, () => done.callback());
 *   return done;
 * });
 * report.seconds;   // 100
 */
export function simulate(options: SimulateOptions, program: SimProgram): Promise<SimulateReport> {
  const report = turn.then(() => simulateNow(options, program));
  turn = report.then(
    () => {},
    () => {},
  );
  return report;
}

/** When all that were asked for before are over. */
let turn: Promise<void> = Promise.resolve();

async function simulateNow(options: SimulateOptions, program: SimProgram): Promise<SimulateReport> {
  const { runs = 100, seed = 1, shrink = true } = options;
  if (!Number.isSafeInteger(runs) || runs < 1)
    throw new RangeError(`runs must be a whole number from 1, not ${runs}`);
  const { limit = 3600, grace = 600, trace = 1000 } = options;
  for (const [name, value] of Object.entries({ limit, grace, trace }))
    if (!(value >= 0)) throw new RangeError(`${name} must be 0 or more, not ${value}`);
  if (Number.isNaN(options.date?.getTime())) throw new RangeError('date is no valid date');
  const replays = wanted(process.env['PLAIT_SEED'], seed, runs);
  const report = { runs: 0, events: 0, faults: 0, seconds: 0 };
  for (const replay of replays) {
    const { sim, error } = await runOnce(options, replay, 0, program);
    report.runs++;
    report.events += sim.events;
    report.faults += sim.faults.length;
    report.seconds += sim.seconds();
    if (error === undefined) continue;
    const only = shrink ? await fewest(options, replay, sim.faults, program) : sim.faults;
    throw await explained(options, { seed: replay.seed, only }, error, program);
  }
  return report;
}

/** @param text `17`, or `17:reset a>b#1;stall a>b#2` with the only faults that may strike */
function* wanted(text: string | undefined, first: number, runs: number): Generator<Replay> {
  if (text !== undefined && text !== '') {
    const colon = text.indexOf(':');
    if (colon < 0) yield { seed: text, only: undefined };
    else {
      const names = text.slice(colon + 1);
      const only = names === '' ? [] : names.split(';').map(decodeURIComponent);
      yield { seed: text.slice(0, colon), only };
    }
    return;
  }
  for (let seed = first; seed < first + runs; seed++) yield { seed, only: undefined };
}

/** Runs it again with a timeline. */
async function explained(
  options: SimulateOptions,
  replay: Replay,
  error: Error,
  program: SimProgram,
): Promise<SimulationFailed> {
  const run = await debugged(() => runOnce(options, replay, options.trace ?? 1000, program));
  const faults = run.sim.faults;
  // A path may have a semicolon in it.
  const named = `:${faults.map((name) => name.replace(/[%;]/g, encodeURIComponent)).join(';')}`;
  return new SimulationFailed(
    `${replay.seed}${named}`,
    faults,
    String(run.sim.trace),
    run.error ??
      new Error(`it did not fail again, and so depends on more than the seed: ${error.message}`, {
        cause: error,
      }),
  );
}

/** With debugging on, what has no result can be named. */
async function debugged<T>(run: () => Promise<T>): Promise<T> {
  const before = getDebugging();
  setDebugging(true);
  try {
    return await run();
  } finally {
    setDebugging(before);
  }
}

/** As few of `faults` as still make it fail: halves are left out as long as that works, then single ones. */
async function fewest(
  options: SimulateOptions,
  { seed }: Replay,
  faults: readonly string[],
  program: SimProgram,
): Promise<readonly string[]> {
  let needed = faults;
  for (let size = Math.max(1, needed.length >> 1); size > 0; size >>= 1) {
    for (let at = 0; at < needed.length;) {
      const fewer = [...needed.slice(0, at), ...needed.slice(at + size)];
      const { error } = await runOnce(options, { seed, only: fewer }, 0, program);
      if (error === undefined) at += size;
      else needed = fewer;
    }
  }
  return needed;
}

async function runOnce(
  options: SimulateOptions,
  { seed, only }: Replay,
  trace: number,
  program: SimProgram,
): Promise<Run> {
  const { conditions = 'hostile', globals = true, date } = options;
  const sim = new Simulation({
    seed,
    conditions,
    trace,
    ...(only === undefined ? {} : { only }),
  });
  // What TLS remembers of the run before would make this one another.
  forgetSessions();
  const start = date?.getTime() ?? START;
  let restore = (): void => {};
  let left: Error | undefined;
  try {
    if (globals !== false) restore = replaceGlobals(sim, start, globals === 'all');
  } catch (thrown) {
    return { sim, error: new Failure(thrown).value };
  }
  const run = await watched(options, sim, program, () => {
    left = undone([restore]);
  });
  return { sim, error: run ?? left };
}

/** Does all of `undo`, whatever each throws; the first of it. */
function undone(undo: readonly (() => void)[]): Error | undefined {
  let error: Error | undefined;
  for (const step of undo) {
    try {
      step();
    } catch (thrown) {
      error ??= new Failure(thrown).value;
    }
  }
  return error;
}

/** Runs it, with an eye on what it throws, logs and leaves unhandled; calls `restore` when it is over. */
async function watched(
  options: SimulateOptions,
  sim: Simulation,
  program: SimProgram,
  restore: () => void,
): Promise<Error | undefined> {
  const uncaught = catchAll();
  const stopCollecting = collectLoggedErrors();
  const before = new Set(unhandledFailures());
  const formerHook = setUnhandledFailureHook((unhandled) => {
    if (before.has(unhandled)) formerHook(unhandled);
  });
  try {
    const error = await attempt(options, sim, program);
    const faults = [
      ...uncaught.errors.map((thrown) => `an error that nobody caught: ${textOf(thrown)}`),
      ...unhandledFailures()
        .filter((unhandled) => !before.has(unhandled))
        .map(({ failure }) => `a failure that nobody handled: ${failure.getErrorMessage()}`),
      ...stopCollecting().map((event) => `a logged error: ${eventAsText(event)}`),
    ];
    return error ?? (faults.length > 0 ? new Error(faults.join('\n  ')) : undefined);
  } finally {
    undone([
      reportUnhandledFailures,
      () => setUnhandledFailureHook(formerHook),
      stopCollecting,
      uncaught.stop,
      restore,
    ]);
  }
}

/** Errors that would end the process, until `stop` is called. Nobody else hears of them. */
function catchAll(): { readonly errors: unknown[]; readonly stop: () => void } {
  const errors: unknown[] = [];
  const note = (thrown: unknown): void => void errors.push(thrown);
  const kinds = ['uncaughtException', 'unhandledRejection'] as const;
  const emitter: NodeJS.EventEmitter = process;
  const former = kinds.map((kind) => [kind, emitter.listeners(kind)] as const);
  for (const kind of kinds) emitter.removeAllListeners(kind).on(kind, note);
  return {
    errors,
    stop: () => {
      for (const [kind, listeners] of former) {
        emitter.off(kind, note);
        for (const listener of listeners) emitter.on(kind, listener as () => void);
      }
    },
  };
}

function textOf(thrown: unknown): string {
  return new Failure(thrown).getErrorMessage();
}

/** Why the run has failed, as far as the program and what it leaves behind show; undefined if it has not. */
async function attempt(
  { limit = 3600, grace = 600 }: SimulateOptions,
  sim: Simulation,
  program: SimProgram,
): Promise<Error | undefined> {
  let result: unknown;
  const mark = pendingMark();
  let settled = false;
  let error: Error | undefined;
  try {
    // Before the program begins, so that whatever that waits for inside is told first when nothing is left to happen.
    const halting = sim.settle(() => settled, limit);
    const note = (value: unknown): void => {
      result = value;
      settled = true;
    };
    const noteError = (thrown: unknown): void => {
      note(new Failure(thrown));
    };
    try {
      const returned = program(sim);
      if (returned instanceof Deferred) returned.addBoth(note);
      else if (typeof returned === 'object' && returned !== null && isCoroutine(returned))
        maybeDeferred(() => returned).addBoth(note);
      else Promise.resolve(returned).then(note, noteError);
    } catch (thrown) {
      noteError(thrown);
    }
    const halt = await halting;
    if (halt !== 'done') {
      const why =
        halt === 'idle'
          ? 'nothing is left to happen, and the program is not done'
          : `the program is not done after ${limit} simulated seconds`;
      error = new Error([why, ...whatWaits(sim, mark)].join('\n  '));
    }
  } catch (thrown) {
    error = new Failure(thrown).value;
  }
  if (result instanceof Failure) error = (result as Failure).value;
  if (error !== undefined) return error;
  try {
    await sim.settle(() => false, grace);
  } catch (thrown) {
    return new Failure(thrown).value;
  }
  const left = sim.leftovers();
  return left.length === 0 ? undefined : new Error(`left behind: ${left.join('; ')}`);
}

/** What a program that is not done may be waiting for, a line each: what is open, and what has no result. */
function whatWaits(sim: Simulation, mark: number): string[] {
  return [
    ...sim.leftovers().map((line) => `open: ${line}`),
    ...pendingDeferreds(mark).map((pending) => `without a result: ${describePending(pending)}`),
  ];
}

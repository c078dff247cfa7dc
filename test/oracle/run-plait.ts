/**
 * Runs scripts of Deferred operations with plait, and writes their traces. It is the twin of run_twisted.py: what one
 * writes the other must write too, whether by itself or because a difference is intended (`differences.ts`).
 */
import { runInThisContext } from 'node:vm';
import {
  Deferred,
  globalLogPublisher,
  type LogEvent,
  reportUnhandledFailures,
  setUnhandledFailureHook,
} from 'plait';
import { collectLoggedErrors } from 'plait/testing';
import type { Script } from './script.ts';
import { ENDS, STEPS } from './steps.ts';
import { World, type WorldOptions } from './world.ts';

const KINDS = { steps: STEPS, ends: ENDS };

const MOST_MILLISECONDS = 10_000;

export interface PlaitOptions extends WorldOptions {
  /** How long a batch may take before its present script counts as one that does not end. */
  readonly milliseconds?: number;
}

/**
 * Runs scripts and returns their traces. Errors that they log, and failures that they leave, are not reported. The
 * trace of a script that does not end says so.
 */
export async function runPlait(
  scripts: readonly Script[],
  options: PlaitOptions = {},
): Promise<string[][]> {
  const traces: string[][] = [];
  let world = new World(KINDS, options);
  const milliseconds = options.milliseconds ?? MOST_MILLISECONDS;
  const next = () => scripts[traces.length];
  const runThoseWithoutPromises = () => {
    for (let script = next(); script !== undefined && !hasPromises(script); script = next()) {
      world = new World(KINDS, options);
      runScript(world, script);
      traces.push(world.trace);
    }
  };
  const runOneWithPromises = async (script: Script) => {
    world = new World(KINDS, options);
    if (await runInTurns(world, script, milliseconds)) traces.push(world.trace);
    else giveUp();
  };
  const giveUp = () => {
    world.over = true;
    traces.push([...world.trace, 'does not end']);
  };
  // From the first async function on, plait notes what such functions await; a script must not depend on those before.
  new Deferred<void>().addCallback(async () => {});
  const observer = (event: LogEvent) => world.logged(event);
  reportUnhandledFailures();
  const stopCollecting = collectLoggedErrors();
  const hook = setUnhandledFailureHook(() => {});
  globalLogPublisher.addObserver(observer);
  try {
    for (let script = next(); script !== undefined; script = next()) {
      if (hasPromises(script)) await runOneWithPromises(script);
      else if (!endsWithin(milliseconds, runThoseWithoutPromises)) giveUp();
    }
  } finally {
    globalLogPublisher.removeObserver(observer);
    reportUnhandledFailures();
    setUnhandledFailureHook(hook);
    stopCollecting();
  }
  return traces;
}

function runScript(world: World, script: Script): void {
  const run = world.run(script);
  while (goOn(world, run));
  reportUnhandledFailures();
}

/** Runs a script, and lets microtasks have their turn after each step; false if it does not end. */
async function runInTurns(world: World, script: Script, milliseconds: number): Promise<boolean> {
  const run = world.run(script);
  const turn: { over: boolean } = { over: false };
  for (;;) {
    const ends = endsWithin(milliseconds, () => {
      turn.over = !goOn(world, run);
    });
    if (!ends) return false;
    if (turn.over) break;
    await new Promise((resolve) => setImmediate(resolve));
    world.turned();
  }
  reportUnhandledFailures();
  return true;
}

/** Only these need turns, which take time. */
function hasPromises(script: Script): boolean {
  return JSON.stringify(script).includes('"end":"async"');
}

/** False if it has come to its end. */
function goOn(world: World, run: Iterator<void, void>): boolean {
  try {
    return run.next().done !== true;
  } catch (error) {
    // A step's errors are in the trace: this one came through a place where nothing may be thrown.
    world.trace.push(`broken by ${world.describe(error)}`);
    world.over = true;
    return false;
  }
}

const RUN = Symbol.for('plait.oracle.run');

/** False if it had to be broken off. Code run by `node:vm` is the only code that can be. */
function endsWithin(milliseconds: number, run: () => void): boolean {
  const place = globalThis as { [RUN]?: (() => void) | undefined };
  place[RUN] = run;
  try {
    runInThisContext(`globalThis[Symbol.for('plait.oracle.run')]()`, { timeout: milliseconds });
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    return false;
  } finally {
    place[RUN] = undefined;
  }
}

/**
 * Runs scripts of Deferred operations with plait, and writes their traces. It is the twin of run_twisted.py: what one
 * writes the other must write too, whether by itself or because a difference is intended (`differences.ts`).
 */
import { runInThisContext } from 'node:vm';
import {
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
export function runPlait(scripts: readonly Script[], options: PlaitOptions = {}): string[][] {
  const traces: string[][] = [];
  let world = new World(KINDS, options);
  const runRest = () => {
    for (const script of scripts.slice(traces.length)) {
      world = new World(KINDS, options);
      runScript(world, script);
      traces.push(world.trace);
    }
  };
  const observer = (event: LogEvent) => world.logged(event);
  reportUnhandledFailures();
  const stopCollecting = collectLoggedErrors();
  const hook = setUnhandledFailureHook(() => {});
  globalLogPublisher.addObserver(observer);
  try {
    while (traces.length < scripts.length) {
      if (endsWithin(options.milliseconds ?? MOST_MILLISECONDS, runRest)) continue;
      world.over = true;
      traces.push([...world.trace, 'does not end']);
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
  try {
    world.perform(script);
    world.finish();
  } catch (error) {
    // A step's errors are in the trace: this one came through a place where nothing may be thrown.
    world.trace.push(`broken by ${world.describe(error)}`);
    world.over = true;
  }
  reportUnhandledFailures();
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

/**
 * What runs in each thread of a pool: does the orders that it is given, one at a time, and says how they went. It is
 * loaded by the pool's threads only, never by `plait` itself.
 */
import { parentPort, type Transferable } from 'node:worker_threads';
import { notCloneable, pack, packThrown, unpack } from './crossing.ts';
import { type Done, MARK, type Order, type Outcome, THREAD, type ThreadState } from './messages.ts';
import { compile, nameOf, type Step } from './task.ts';

const state: ThreadState = { order: '' };
(globalThis as Record<symbol, unknown>)[THREAD] = state;

let failedToLoad = false;

/** Called by the pool with each order; settles when the thread is free again. */
export async function work({ id, steps }: Order): Promise<void> {
  state.order = id;
  const parts: Transferable[] = [];
  let outcome: Outcome;
  try {
    let result: unknown;
    for (const { step, args } of steps) result = await perform(step, unpack(args));
    outcome = { result: pack([result], parts) };
  } catch (error) {
    outcome = { thrown: packThrown(error) };
  }
  // A thread remembers that a module could not be loaded, even if it was for want of descriptors.
  const unusable = failedToLoad;
  try {
    post({ [MARK]: 'done', id, outcome, unusable }, parts);
  } catch (error) {
    const last = steps.at(-1);
    const what = `what ${last === undefined ? 'nothing' : nameOf(last.step)} returned`;
    const thrown = packThrown(notCloneable(what, error));
    post({ [MARK]: 'done', id, outcome: { thrown }, unusable }, []);
  }
  if (unusable) await new Promise(() => {});
}

function post(message: Done, parts: Transferable[]): void {
  parentPort?.postMessage(message, parts);
}

async function perform(step: Step, args: unknown[]): Promise<unknown> {
  if ('source' in step) return performSource(step.source, args);
  const module = (await import(step.module).catch((error: unknown) => {
    failedToLoad = true;
    throw error;
  })) as Record<string, unknown>;
  const fn = Object.hasOwn(module, step.export) ? module[step.export] : undefined;
  if (typeof fn !== 'function')
    throw new TypeError(`cannot call ${nameOf(step)}: it exports no such function`);
  return settle((fn as (...args: unknown[]) => unknown)(...args));
}

/** What comes of a task: a generator is run as a coroutine. A thread has no need of all that makes one elsewhere. */
async function settle(outcome: unknown): Promise<unknown> {
  const result: unknown = await outcome;
  if (!isGenerator(result)) return result;
  for (let step = result.next(); ;) {
    if (step.done === true) return settle(step.value);
    let value: unknown;
    try {
      value = await settle(step.value);
    } catch (error) {
      step = result.throw(error);
      continue;
    }
    step = result.next(value);
  }
}

function isGenerator(thing: unknown): thing is Generator<unknown, unknown> {
  if (typeof thing !== 'object' || thing === null) return false;
  const { next, throw: raise } = thing as Partial<Generator<unknown, unknown>>;
  return typeof next === 'function' && typeof raise === 'function' && Symbol.iterator in thing;
}

const compiled = new Map<string, (...args: unknown[]) => unknown>();
const MOST_COMPILED = 1000;

async function performSource(source: string, args: unknown[]): Promise<unknown> {
  let fn = compiled.get(source);
  if (fn === undefined) {
    fn = compile(source);
    if (compiled.size >= MOST_COMPILED) compiled.clear();
    compiled.set(source, fn);
  }
  try {
    return await settle(fn(...args));
  } catch (error) {
    if (error instanceof ReferenceError)
      error.message +=
        ' (a function that is sent to a thread takes along nothing of where it was written)';
    throw error;
  }
}

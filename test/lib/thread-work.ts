/** What the threads of threads.test.ts are given to do. What is dear to load is loaded where it is needed. */
import { setImmediate as turn } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import type * as Plait from 'plait';

export const notAFunction = 7;

export function add(a: number, b: number): number {
  return a + b;
}

export function where(): number {
  return threadId;
}

export async function promised(text: string): Promise<string> {
  await turn();
  return text.toUpperCase();
}

export function bytes(given: Buffer): Buffer {
  if (!Buffer.isBuffer(given)) throw new TypeError('not a Buffer');
  return given.subarray(1);
}

export function sum(numbers: Uint8Array): number {
  return numbers.reduce((all, n) => all + n, 0);
}

/** As a coroutine would be: waits for what it yields, catches what that fails with, and calls another. */
export function* stepwise(text: string): Generator<unknown, string> {
  const { fail, succeed } = (yield import('plait')) as typeof Plait;
  const first = (yield turn(text)) as string;
  const second = yield* succeed(first.toUpperCase());
  try {
    yield fail(new RangeError('caught'));
  } catch (error) {
    return `${second}, ${(yield inner((error as Error).message)) as string}`;
  }
  return 'nothing was thrown';
}

function* inner(text: string): Generator<unknown, string> {
  yield;
  return text;
}

export function* failsStepwise(): Generator {
  yield turn();
  throw new RangeError('stepwise');
}

let kept: ArrayBuffer | undefined;

/** Moved, if asked. */
export async function fill(size: number, move: boolean): Promise<ArrayBuffer> {
  const { transfer } = await import('plait');
  kept = new ArrayBuffer(size);
  new Uint8Array(kept)[size - 1] = 7;
  return move ? transfer(kept) : kept;
}

export function sizeKept(): number | undefined {
  return kept?.byteLength;
}

export class TooMany extends RangeError {
  override name = 'TooMany';
  readonly limit = 6;
  readonly close = () => {};
}

export async function fail(
  how: 'own' | 'plait' | 'several' | 'deep' | 'string' | 'strange',
): Promise<never> {
  const { AlreadyCalled, ConnectionRefusedError } = await import('plait');
  switch (how) {
    case 'own':
      throw new TooMany('7 is too many', { cause: new AlreadyCalled('so it was') });
    case 'plait':
      throw new ConnectionRefusedError('nobody home', { code: 'ECONNREFUSED' });
    case 'several':
      throw new AggregateError([new SyntaxError('one'), 'two'], 'all failed');
    case 'deep': {
      const error = new Error('round and round');
      error.cause = error;
      throw error;
    }
    case 'string':
      throw 'no error at all'; // eslint-disable-line @typescript-eslint/only-throw-error -- it is what is tried
    case 'strange':
      throw () => {}; // eslint-disable-line @typescript-eslint/only-throw-error -- it is what is tried
  }
}

export function notCloneable(): () => void {
  return () => {};
}

export function exit(code: number): void {
  process.exit(code);
}

export function fillMemory(): number {
  // Not by arrays of many: from Node 24 on that ends the process, whatever the limits of the thread are.
  const all: unknown[] = [];
  for (;;) all.push({ at: all.length, of: [] });
}

/** Throws for nobody, before it is done. */
export function throwLater(): Promise<never> {
  setImmediate(() => {
    throw new RangeError('thrown for nobody');
  });
  return new Promise(() => {});
}

/** Throws for nobody, when it has long been done. */
export function leaveThrowing(thrown: unknown): void {
  setImmediate(() => {
    throw thrown;
  });
}

/** Sets the number, and runs until it is told not to. */
export function spin(flag: Int32Array): void {
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
  while (Atomics.load(flag, 0) === 1);
}

/** Waits until the number is not 0. */
export function wait(flag: Int32Array, result: string): string {
  Atomics.wait(flag, 0, 0);
  return result;
}

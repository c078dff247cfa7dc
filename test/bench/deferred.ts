/**
 * Deferreds and coroutines against native promises and async functions. Run by `run.ts`.
 */
import { pathToFileURL } from 'node:url';
import Bluebird from 'bluebird';
import co from 'co';
import PQueue from 'p-queue';
import { Deferred, DeferredQueue, inlineCallbacks, succeed } from 'plait';
import { contend, type Duel } from './contend.ts';

const LINKS = 10;
const increment = (n: number): number => n + 1;

const sumOfFired = inlineCallbacks(function* (count: number) {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += yield* succeed(1);
  return sum;
});

async function sumOfResolved(count: number): Promise<number> {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += await Promise.resolve(1);
  return sum;
}

const sumOfResolvedBluebird = Bluebird.coroutine(function* (
  count: number,
): Generator<unknown, number, number> {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += yield Bluebird.resolve(1);
  return sum;
});

const sumOfResolvedCo = co.wrap(function* (count: number): Generator<unknown, number, number> {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += yield Promise.resolve(1);
  return sum;
});

/** What is to be fired, by the function that waits for it. */
type Waiting<F> = F[];

const sumOfLater = inlineCallbacks(function* (count: number, waiting: Waiting<Deferred<number>>) {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const deferred = new Deferred<number>();
    waiting.push(deferred);
    sum += yield* deferred;
  }
  return sum;
});

async function sumOfLaterNative(
  count: number,
  waiting: Waiting<(value: number) => void>,
): Promise<number> {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += await new Promise<number>((resolve) => waiting.push(resolve));
  }
  return sum;
}

const oneWait = inlineCallbacks(function* (deferred: Deferred<number>) {
  return (yield* deferred) + 1;
});

async function oneWaitNative(promise: Promise<number>): Promise<number> {
  return (await promise) + 1;
}

export const duels: readonly Duel[] = [
  {
    title: `a chain of ${LINKS} callbacks, fired`,
    count: 50_000,
    goal: 0.33,
    contenders: {
      Deferred(count) {
        for (let i = 0; i < count; i++) {
          const deferred = new Deferred<number>();
          for (let k = 0; k < LINKS; k++) deferred.addCallback(increment);
          deferred.callback(i);
        }
      },
      async Promise(count) {
        for (let i = 0; i < count; i++) {
          let resolve: (value: number) => void = increment;
          let promise = new Promise<number>((r) => {
            resolve = r;
          });
          for (let k = 0; k < LINKS; k++) promise = promise.then(increment);
          resolve(i);
          await promise;
        }
      },
      async bluebird(count) {
        for (let i = 0; i < count; i++) {
          let resolve: (value: number) => void = increment;
          let promise = new Bluebird<number>((r) => {
            resolve = r;
          });
          for (let k = 0; k < LINKS; k++) promise = promise.then(increment);
          resolve(i);
          await promise;
        }
      },
    },
  },
  {
    title: 'a coroutine that waits for what is there already',
    count: 200_000,
    goal: 1,
    contenders: {
      inlineCallbacks: (count) => sumOfFired(count),
      'async/await': (count) => sumOfResolved(count),
      bluebird: (count) => sumOfResolvedBluebird(count),
      co: (count) => sumOfResolvedCo(count),
    },
  },
  {
    title: 'a coroutine that waits for what comes later',
    count: 200_000,
    goal: 1.3,
    contenders: {
      inlineCallbacks(count) {
        const waiting: Deferred<number>[] = [];
        const sum = sumOfLater(count, waiting);
        while (!sum.called) waiting.pop()?.callback(1);
      },
      async 'async/await'(count) {
        const waiting: ((value: number) => void)[] = [];
        const sum = sumOfLaterNative(count, waiting);
        for (let i = 0; i < count; i++) {
          waiting.pop()?.(1);
          await Promise.resolve();
        }
        await sum;
      },
    },
  },
  {
    title: 'a coroutine called, and waiting once',
    count: 100_000,
    contenders: {
      inlineCallbacks(count) {
        for (let i = 0; i < count; i++) {
          const deferred = new Deferred<number>();
          oneWait(deferred);
          deferred.callback(i);
        }
      },
      async 'async/await'(count) {
        for (let i = 0; i < count; i++) {
          let resolve: (value: number) => void = increment;
          const sum = oneWaitNative(
            new Promise<number>((r) => {
              resolve = r;
            }),
          );
          resolve(i);
          await sum;
        }
      },
    },
  },
  {
    title: 'a thing put into a queue, and got from it',
    count: 50_000,
    goal: 0.5,
    contenders: {
      DeferredQueue(count) {
        const queue = new DeferredQueue<number>();
        let sum = 0;
        const add = (n: number): void => {
          sum += n;
        };
        for (let i = 0; i < count; i++) {
          queue.put(i);
          queue.get().addCallback(add);
        }
        return sum;
      },
      async 'p-queue'(count) {
        const queue = new PQueue({ concurrency: 1 });
        let sum = 0;
        for (let i = 0; i < count; i++) sum += await queue.add(() => i, { throwOnTimeout: true });
        return sum;
      },
    },
  },
];

const [, script = '', index, name] = process.argv;
if (import.meta.url === pathToFileURL(script).href && name !== undefined) {
  const duel = duels[Number(index)];
  if (duel !== undefined) await contend(duel, name);
}

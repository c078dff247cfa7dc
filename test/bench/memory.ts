/**
 * What a Deferred with one callback weighs, against a promise with one `then`: run as `node --expose-gc memory.js`.
 */
import { Deferred } from 'plait';

const COUNT = 200_000;

/** Bytes of heap for each of the things that `make` makes. */
function weigh(make: () => unknown): number {
  const kept: unknown[] = Array.from({ length: COUNT }, () => null);
  global.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < COUNT; i++) kept[i] = make();
  global.gc?.();
  return (process.memoryUsage().heapUsed - before) / kept.length;
}

const identity = (value: unknown): unknown => value;
const ours = weigh(() => new Deferred().addCallback(identity));
const theirs = weigh(() => {
  const promise = new Promise(identity);
  void promise.then(identity);
  return promise;
});
console.log(
  'memory (goal: a Deferred with a callback weighs at most 200 bytes more than a promise with a then)',
);
console.log(
  `  Deferred ${ours.toFixed(0)} bytes, Promise ${theirs.toFixed(0)} bytes: ${(ours - theirs).toFixed(0)} more`,
);

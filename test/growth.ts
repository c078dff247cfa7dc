/**
 * How the cost of something grows with its size, for tests that nothing grows faster than what it is given: eight times
 * the input may cost 24 times the CPU time, where a square costs 64 times.
 *
 * Other programs may make a run dearer, and never cheaper: what is linear shows it as soon as it is let alone for a
 * moment, and has many tries; what is not never does.
 */

const TIMES = 8;
const MOST = 24;
const TRIES = 30;

/** CPU time, in microseconds. */
function cost(run: () => void): number {
  const start = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

/** True if `run` costs at most in proportion to its size; it should take some milliseconds for `size`. */
export function growsLinearly(run: (size: number) => void, size: number): boolean {
  run(size);
  let [part, whole] = [Infinity, Infinity];
  for (let i = 0; i < TRIES; i++) {
    part = Math.min(
      part,
      cost(() => run(size)),
    );
    whole = Math.min(
      whole,
      cost(() => run(size * TIMES)),
    );
    if (whole <= MOST * Math.max(part, 1000)) return true;
  }
  return false;
}

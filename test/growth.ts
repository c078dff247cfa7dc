/**
 * How the cost of something grows with its size, for tests that nothing grows faster than what it is given: eight times
 * the input may cost 24 times the CPU time, which leaves room for a busy machine and none for a square (64 times).
 */

const TIMES = 8;
const MOST = 24;

/** CPU time of one run, in microseconds; the least of three. */
function cost(run: (size: number) => void, size: number): number {
  let least = Infinity;
  for (let i = 0; i < 3; i++) {
    const start = process.cpuUsage();
    run(size);
    const { user, system } = process.cpuUsage(start);
    least = Math.min(least, user + system);
  }
  return least;
}

/** True if `run` costs at most in proportion to its size; it should take some milliseconds for `size`. */
export function growsLinearly(run: (size: number) => void, size: number): boolean {
  run(size);
  return cost(run, size * TIMES) <= MOST * Math.max(cost(run, size), 1000);
}

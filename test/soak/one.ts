/**
 * One kind, in a process of its own: started as `node --expose-gc one.js KIND CYCLES`, it does so many cycles, in
 * windows, and prints a line of JSON: a `Result`.
 */
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { type Kind, kinds } from './kinds.ts';
import { growth, type Memory, memory, possessions } from './standing.ts';

/** What came of it. */
export interface Result {
  readonly cycles: number;
  /** What is wrong, in words. */
  readonly faults: string[];
  /** By how much memory has grown over the last windows, as a part of what it was after the first. */
  readonly process: number;
  readonly heap: number;
  /** Bytes of the process's memory in the end. */
  readonly last: number;
  /** How many windows there were before it stood still. */
  readonly windows: number;
  /** Microseconds of CPU time for a cycle. */
  readonly cpu: number;
}

/** All cycles are done in so many windows, and memory must stand still over the last of them. */
const WINDOWS = 10;
const STILL = 6;
/** Until memory stands still, there may be so many times as many windows: an allocator comes to rest, a leak does not. */
const PATIENCE = 3;
/** By which part memory may grow over the windows that are looked at. */
const MOST = 0.05;
/** What is closed in a later turn, by the system or another thread, is waited for so many times. */
const LOOKS = 500;

const [name = '', cycles = '0'] = process.argv.slice(2);
const make = kinds[name];
if (make === undefined) throw new RangeError(`there is no kind ${name}`);

async function run(kind: Kind, count: number): Promise<void> {
  let left = count;
  const one = async (): Promise<void> => {
    while (left-- > 0) await kind.cycle();
  };
  await Promise.all(Array.from({ length: Math.min(count, kind.atOnce ?? 25) }, one));
}

async function settled(before: string): Promise<string> {
  let now = possessions();
  for (let looks = 0; now !== before && looks < LOOKS; looks++) {
    global.gc?.();
    await sleep(looks < 50 ? 0 : 10);
    now = possessions();
  }
  return now;
}

// What is made once and kept is no leak.
const first = await make();
await run(first, 30);
await first.stop();
for (let turns = 0; turns < 50; turns++) await turn();
let before = possessions();
for (let looks = 0; looks < 5; looks++) {
  await sleep(1);
  before = possessions();
}

const kind = await make();
const line: Memory[] = [];
const perWindow = Math.ceil(Number(cycles) / WINDOWS);
const grown = (what: keyof Memory): number =>
  growth(
    line.map((one) => one[what]),
    STILL,
  );
const stands = (): boolean => grown('process') <= MOST && grown('heap') <= MOST;
const start = process.cpuUsage();
while (line.length < WINDOWS || (line.length < WINDOWS * PATIENCE && !stands())) {
  await run(kind, perWindow);
  line.push(await memory());
}
const { user, system } = process.cpuUsage(start);
await kind.stop();
const after = await settled(before);

const faults = (['process', 'heap'] as const)
  .filter((what) => grown(what) > MOST)
  .map(
    (what) =>
      `${what} memory grows: ${line.map((one) => (one[what] / 1024).toFixed(0)).join(' ')} KiB`,
  );
if (after !== before) faults.push(`left behind: ${after} instead of ${before}`);
const done = perWindow * line.length;
const result: Result = {
  cycles: done,
  faults,
  process: grown('process'),
  heap: grown('heap'),
  last: line.at(-1)?.process ?? 0,
  windows: line.length,
  cpu: (user + system) / done,
};
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit());

/**
 * `npm run soak [-- KIND=CYCLES …]`: makes and loses each kind of thing again and again, and fails where memory grows, or
 * descriptors or handles are left. Without arguments, about ten minutes: 20,000 cycles of each kind, and fewer of child
 * processes. Each kind has a process of its own.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { kinds } from './kinds.ts';
import type { Result } from './one.ts';

const CYCLES = 20_000;
const FEWER: Readonly<Record<string, number>> = { process: 2000 };

const program = fileURLToPath(new URL('one.js', import.meta.url));

/** The allocator gives back what is free, and keeps no pool for each thread: what is left is what is in use. */
const ALLOCATOR = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '131072' };

function soak(kind: string, cycles: number): void {
  const { stdout, status, signal } = spawnSync(
    process.execPath,
    ['--expose-gc', program, kind, String(cycles)],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...ALLOCATOR },
    },
  );
  const line = stdout.trim();
  const result = line === '' ? undefined : (JSON.parse(line) as Result);
  const faults = result?.faults ?? [`ended early, by ${signal ?? status}`];
  console.log(`  ${faults.length === 0 ? 'ok    ' : 'NOT OK'} ${kind}: ${figures(result)}`);
  for (const fault of faults) console.log(`         ${fault}`);
  if (faults.length > 0) process.exitCode = 1;
}

function figures(result: Result | undefined): string {
  if (result === undefined) return 'no result';
  const { cycles, cpu, last, process: all, heap, windows } = result;
  const part = (growth: number): string => `${growth < 0 ? '' : '+'}${(growth * 100).toFixed(1)} %`;
  return `${cycles} cycles in ${windows} windows, ${cpu.toFixed(0)} µs each; in the end ${(last / 2 ** 20).toFixed(1)} MiB, ${part(all)}, heap ${part(heap)}`;
}

const wanted = process.argv.slice(2).map((argument) => argument.split('='));
const all = Object.keys(kinds).filter((kind) => !kind.startsWith('planted'));
for (const [kind = '', cycles] of wanted.length > 0 ? wanted : all.map((kind) => [kind]))
  soak(kind, Number(cycles ?? FEWER[kind] ?? CYCLES));

/**
 * Measures what an operation costs in CPU time: user and system time of the whole process, so that the garbage
 * collector's own threads count. Each contender runs in a process of its own, lest one's types slow the other's code;
 * the contenders of a duel take turns, and the lowest figure of each stands, since whatever else the machine does only
 * adds to it.
 */
import { spawn } from 'node:child_process';

/** Runs an operation `count` times. */
export type Contender = (count: number) => unknown;

/** Operations that do the same thing, by who does it; the first is plait's. */
export interface Duel {
  readonly title: string;
  /** How often the operation is run in one sample. */
  readonly count: number;
  /** What plait's figure divided by the peer's should be at most. */
  readonly goal?: number;
  readonly contenders: Readonly<Record<string, Contender>>;
}

/** CPU time of this process so far, in nanoseconds. */
function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** In the child: runs a contender, and prints its lowest figure in nanoseconds an operation. */
export async function contend(duel: Duel, name: string): Promise<void> {
  const run = duel.contenders[name];
  if (run === undefined) throw new Error(`no contender called ${name} in ${duel.title}`);
  const deadline = cpuTime() + 1.5e9;
  let best = Infinity;
  for (let sample = 0; sample < 5 || (cpuTime() < deadline && sample < 200); sample++) {
    const start = cpuTime();
    await run(duel.count);
    if (sample > 1) best = Math.min(best, (cpuTime() - start) / duel.count);
  }
  process.stdout.write(`${best}\n`);
}

/** What a child printed. */
export async function output(
  script: string,
  args: readonly string[],
  nodeArgs: readonly string[] = [],
): Promise<string> {
  const child = spawn(process.execPath, [...nodeArgs, script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error(`${script} ${args.join(' ')} ended with ${String(code)}`);
  return text.trim();
}

/** Runs a duel of the module `script`, `rounds` times, and prints each contender's figure and plait's ratio to it. */
export async function fight(
  script: string,
  index: number,
  duel: Duel,
  rounds: number,
): Promise<void> {
  const names = Object.keys(duel.contenders);
  const best = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const figure = Number(await output(script, [String(index), name]));
      best.set(name, Math.min(best.get(name) ?? Infinity, figure));
    }
  }
  const [ours = Number.NaN, ...theirs] = names.map((name) => best.get(name) ?? Number.NaN);
  console.log(`${duel.title}${duel.goal === undefined ? '' : ` (goal: at most ${duel.goal} ×)`}`);
  console.log(`  ${(names[0] ?? '').padEnd(28)} ${figureOf(ours)}`);
  for (const [at, figure] of theirs.entries()) {
    const name = names[at + 1] ?? '';
    console.log(
      `  ${name.padEnd(28)} ${figureOf(figure)}   plait / ${name}: ${(ours / figure).toFixed(2)}`,
    );
  }
}

function figureOf(nanoseconds: number): string {
  return nanoseconds < 10_000
    ? `${nanoseconds.toFixed(1).padStart(9)} ns`
    : `${(nanoseconds / 1000).toFixed(1).padStart(9)} µs`;
}

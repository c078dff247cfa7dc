/**
 * What a connection costs a server: the CPU time to take it, answer one byte and see it closed, and the memory that it
 * needs while it is idle; and what it costs to import plait. Run by `run.ts`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { output } from './contend.ts';
import { median, NAMES, Server } from './echo-server.ts';

/** What plait's figure divided by node:net's should be at most. */
const GOAL_CPU = 1.15;
const GOAL_MEMORY = 1.25;

/** What importing plait should cost at most, in milliseconds of CPU time. */
const GOAL_IMPORT = 25;

const IDLE = 5000;

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

async function setUp(name: string, seconds: number): Promise<number> {
  const server = new Server(name);
  const port = await server.port();
  const load = (time: number): Promise<string> =>
    output(here('./connection-load.js'), [port, 20, time].map(String));
  await load(0.5); // warms the code
  const before = await server.cpuTime();
  const count = Number(await load(seconds));
  const used = (await server.cpuTime()) - before;
  await server.stop();
  return used / count;
}

async function idle(name: string): Promise<{ used: number; rss: number }> {
  const server = new Server(name, ['--expose-gc']);
  const port = await server.port();
  await output(here('./connection-load.js'), [port, 20, 0.5].map(String));
  const before = await server.memory();
  const clients = spawn(
    process.execPath,
    [here('./connection-load.js'), String(port), String(IDLE), 'hold'],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  await once(clients.stdout, 'data');
  await server.memory(); // by its answer it has taken all
  const after = await server.memory();
  clients.stdin.end();
  await once(clients, 'exit');
  await server.stop();
  return { used: (after.used - before.used) / IDLE, rss: (after.rss - before.rss) / IDLE };
}

function print(title: string, unit: string, ours: number, theirs: number): void {
  console.log(title);
  console.log(`  plait                        ${ours.toFixed(2).padStart(9)} ${unit}`);
  console.log(
    `  node:net                     ${theirs.toFixed(2).padStart(9)} ${unit}   plait / node:net: ${(ours / theirs).toFixed(2)}`,
  );
}

/** Milliseconds of CPU time that a process needs to run `code`, the least of several. */
async function importing(code: string): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 15; i++) {
    const script = `${code}; const { user, system } = process.cpuUsage(); console.log(user + system)`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [[text]] = (await Promise.all([once(child.stdout, 'data'), once(child, 'exit')])) as [
      [Buffer],
      unknown,
    ];
    least = Math.min(least, Number(text.toString()) / 1000);
  }
  return least;
}

/** Prints the medians, and plait's ratios. */
export async function connections(rounds: number, seconds: number): Promise<void> {
  const [ours = [], theirs = []] = NAMES.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    ours.push(await setUp(NAMES[0], seconds));
    theirs.push(await setUp(NAMES[1], seconds));
  }
  print(
    `a connection taken, one byte echoed, closed: CPU of the server (goal: at most ${GOAL_CPU} ×)`,
    'µs',
    median(ours),
    median(theirs),
  );
  const [mine, peers] = [await idle(NAMES[0]), await idle(NAMES[1])];
  print(
    `${IDLE} idle connections: memory of the server for each (goal: at most ${GOAL_MEMORY} ×)`,
    'KiB of RSS',
    mine.rss / 1024,
    peers.rss / 1024,
  );
  print('  of it, of the heap and beside it', 'KiB', mine.used / 1024, peers.used / 1024);
}

/** Prints what it costs to import plait, over a module that does nothing. */
export async function imports(): Promise<void> {
  const plait = import.meta.resolve('plait');
  const nothing = new URL('./empty.js', import.meta.url).href;
  const empty = await importing(`await import(${JSON.stringify(nothing)})`);
  const full = await importing(`await import(${JSON.stringify(plait)})`);
  console.log(`import 'plait': CPU time (goal: at most ${GOAL_IMPORT} ms over an empty module)`);
  console.log(
    `  ${full.toFixed(1)} ms, an empty module ${empty.toFixed(1)} ms: ${(full - empty).toFixed(1)} ms more`,
  );
}

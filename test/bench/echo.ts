/**
 * Echo over TCP: the server's CPU time for one round trip. Servers and load are processes of their own; the servers
 * take turns. Run by `run.ts`.
 */
import { fileURLToPath } from 'node:url';
import { output } from './contend.ts';
import { median, NAMES, Server } from './echo-server.ts';

/** One way to load a server. */
interface Shape {
  readonly title: string;
  readonly connections: number;
  readonly size: number;
  readonly window: number;
}

const SHAPES: readonly Shape[] = [
  { title: '1 KiB, 50 connections', connections: 50, size: 1024, window: 1 },
  { title: '64 B, 16 in flight, 50 connections', connections: 50, size: 64, window: 16 },
  { title: '100 KiB, 10 connections', connections: 10, size: 102_400, window: 1 },
];

/** What plait's CPU time divided by node:net's should be at most. */
const GOAL = 1.05;

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

async function sample(
  name: string,
  { connections, size, window }: Shape,
  seconds: number,
): Promise<number> {
  const server = new Server(name);
  const port = await server.port();
  const load = (time: number): Promise<string> =>
    output(here('./echo-load.js'), [port, connections, size, window, time].map(String));
  await load(0.7); // warms the code
  const before = await server.cpuTime();
  const messages = Number(await load(seconds));
  const used = (await server.cpuTime()) - before;
  await server.stop();
  return used / messages;
}

/** Prints each server's median, and plait's ratio. */
export async function echo(rounds: number, seconds: number): Promise<void> {
  for (const shape of SHAPES) {
    const figures = new Map<string, number[]>(NAMES.map((name) => [name, []]));
    for (let round = 0; round < rounds; round++) {
      for (const name of NAMES) figures.get(name)?.push(await sample(name, shape, seconds));
    }
    const [ours = Number.NaN, theirs = Number.NaN] = NAMES.map((name) =>
      median(figures.get(name) ?? []),
    );
    console.log(
      `echo, ${shape.title}: CPU of the server for a round trip (goal: at most ${GOAL} ×)`,
    );
    console.log(`  plait                        ${ours.toFixed(2).padStart(9)} µs`);
    console.log(
      `  node:net                     ${theirs.toFixed(2).padStart(9)} µs   plait / node:net: ${(ours / theirs).toFixed(2)}`,
    );
  }
}

/**
 * `npm run load [-- PART=NUMBER …]`: holds plait to what it must bear, and fails where it does not. The parts are
 * `connections` (how many, open at once; each echoes 100 KiB), `slow` (MiB sent to a reader that is slow), `cycles` (how
 * many connections of each kind are made and closed). Without arguments all of them run at full size.
 */
import { connect } from 'node:net';
import { cycles } from './cycles.ts';
import { Program, settled, standing } from './programs.ts';

const KIB = 1024;
const MIB = KIB * KIB;

/** What one more connection may cost the server, in bytes of memory. */
const GOAL_PER_CONNECTION = 8 * KIB;

/** How much more memory a server may use while a slow reader is served. */
const GOAL_SLOW = 64 * MIB;

const DRIVERS = 2;
const MESSAGES = 100;

function check(what: string, holds: boolean): void {
  console.log(`  ${holds ? 'ok    ' : 'NOT OK'} ${what}`);
  if (!holds) process.exitCode = 1;
}

async function connections(count: number, messages = MESSAGES): Promise<void> {
  console.log(`${count} connections, ${messages} KiB echoed on each in messages of 1 KiB`);
  const server = new Program('./server.js', ['echo']);
  const port = await server.line();
  const before = await standing(server);
  const each = Math.ceil(count / DRIVERS);
  const drivers = Array.from(
    { length: DRIVERS },
    (_, index) =>
      new Program('./driver.js', [
        port,
        Math.min(each, count - index * each),
        messages,
        index * each,
      ]),
  );
  for (const driver of drivers) await driver.line();
  const idle = await settled(server, count);
  check(`all are open: ${idle.open}`, idle.open === count);
  const start = performance.now();
  await Promise.all(drivers.map((driver) => driver.ask()));
  const seconds = (performance.now() - start) / 1000;
  const busy = await standing(server);
  const results = await Promise.all(drivers.map((driver) => driver.ask()));
  const sums = results.map((line) => line.split(' ').map(Number));
  const right = sums.reduce((sum, [digests = 0]) => sum + digests, 0);
  const bytes = sums.reduce((sum, [, received = 0]) => sum + received, 0);
  check(
    `nothing is lost or changed: ${right} digests, ${bytes} bytes`,
    right === count && bytes === count * messages * KIB,
  );
  const perIdle = (idle.rss - before.rss) / count;
  const perBusy = (busy.rss - before.rss) / count;
  // A small run pays for the room that Node makes for all connections together.
  check(
    `memory: ${(perIdle / KIB).toFixed(1)} KiB an idle connection, ${(perBusy / KIB).toFixed(1)} KiB once all has been echoed`,
    count < 5000 || Math.max(perIdle, perBusy) <= GOAL_PER_CONNECTION,
  );
  const round = (busy.cpu - idle.cpu) / (count * messages);
  console.log(
    `         ${((count * messages) / seconds).toFixed(0)} messages a second, ${round.toFixed(1)} µs of the server's CPU time each`,
  );
  for (const driver of drivers) await driver.stop();
  const after = await settled(server, 0);
  check(`all are closed: ${after.open} left`, after.open === 0);
  await server.stop();
}

/** Reads a little, pauses, reads on: the server must not keep what has not gone out. */
async function slow(mebibytes: number): Promise<void> {
  console.log(`${mebibytes} MiB from a well-behaved producer to a reader that keeps pausing`);
  const server = new Program('./server.js', ['fountain']);
  const port = Number(await server.line());
  const before = await standing(server);
  let most = before.rss;
  let received = 0;
  const total = mebibytes * MIB;
  const pauses = 50;
  const socket = connect(port, '127.0.0.1', () => socket.write(String(total)));
  let next = total / pauses;
  for await (const chunk of socket) {
    received += (chunk as Buffer).length;
    if (received < next) continue;
    next += total / pauses;
    most = Math.max(most, (await standing(server)).rss);
  }
  const growth = most - before.rss;
  check(`all of it has come: ${received} bytes`, received === total);
  check(`memory grew by ${(growth / MIB).toFixed(1)} MiB`, growth <= GOAL_SLOW);
  await server.stop();
}

const parts: Record<string, (size: number) => Promise<void>> = {
  connections: (count) => connections(count, count < 5000 ? 10 : MESSAGES),
  slow,
  cycles: async (count) => {
    console.log(`${count} connections of each kind are made and closed`);
    for (const { kind, left } of await cycles(count))
      check(`${kind}: ${left}`, !left.startsWith('!'));
  },
};

const FULL: Readonly<Record<string, number>> = { connections: 19_000, slow: 1024, cycles: 10_000 };
const wanted =
  process.argv.length > 2
    ? process.argv.slice(2).map((argument) => argument.split('='))
    : Object.keys(FULL).map((name) => [name]);
for (const [name = '', size = FULL[name]] of wanted) {
  const part = parts[name];
  if (part === undefined) throw new RangeError(`there is no part ${name}`);
  await part(Number(size));
}

/**
 * `npm run bench [-- PART …]`: prints what things cost in plait and in its peers, measured in the same run. Each
 * figure is CPU time an operation; to be quoted is the ratio, since the figures themselves depend on the machine.
 */
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { connections, imports } from './connections.ts';
import { fight, output } from './contend.ts';
import { duels as deferredDuels } from './deferred.ts';
import { echo } from './echo.ts';
import { duels as timerDuels } from './timers.ts';

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const ROUNDS = 3;

const parts: Record<string, () => Promise<void>> = {
  async deferred() {
    for (const [index, duel] of deferredDuels.entries())
      await fight(here('./deferred.js'), index, duel, ROUNDS);
  },
  async memory() {
    console.log(await output(here('./memory.js'), [], ['--expose-gc']));
  },
  async timers() {
    for (const [index, duel] of timerDuels.entries())
      await fight(here('./timers.js'), index, duel, ROUNDS);
  },
  async echo() {
    await echo(ROUNDS, 2);
  },
  async connections() {
    await connections(ROUNDS, 2);
  },
  async imports() {
    await imports();
  },
};

const chosen = process.argv.slice(2);
console.log(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}\n`);
for (const [name, part] of Object.entries(parts)) {
  if (chosen.length === 0 || chosen.includes(name)) await part();
}

/**
 * What the tests do not see: plants small faults in copies of the sources, one at a time, and runs the tests of their
 * part. `npm run mutate -- lib/time.ts` plants all that there are in the files that are named (`--draw 20`: some of them);
 * `npm run mutate -- --draw 300 --seed 7` draws from the whole tree; `--planted` plants those of planted.ts. Exits with 1
 * if a planted one lived.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { parseArgs } from 'node:util';
import { Random } from '../../lib/testing/sim/random.ts';
import { Ground, type Verdict } from './ground.ts';
import { type Mutant, mutantsOf, planted } from './mutants.ts';
import { changed, FAULTS } from './planted.ts';
import { testsOf } from './tests-of.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    draw: { type: 'string' },
    seed: { type: 'string', default: '1' },
    planted: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});

// Whoever works on the same machine comes first.
setPriority(10);

const tell = (line: string): void => void process.stdout.write(`${line}\n`);

function show(verdict: Verdict): string {
  return verdict === 'lived' ? 'LIVED' : `${verdict.verdict} by ${verdict.by}`;
}

interface Drawn {
  readonly path: string;
  readonly mutant: Mutant;
}

/** All mutants of the files, or as many as are to be drawn; those of a file stand together. */
function drawn(paths: readonly string[]): Drawn[] {
  const all = paths.flatMap((path) =>
    mutantsOf(path, readFileSync(path, 'utf8')).map((mutant) => ({ path, mutant })),
  );
  if (values.draw === undefined) return all;
  const random = new Random(values.seed);
  const some = new Set<number>();
  while (some.size < Math.min(Number(values.draw), all.length)) some.add(random.int(all.length));
  return [...some].sort((a, b) => a - b).map((at) => all[at] as Drawn);
}

/** `lib/transport`, say. */
const areaOf = (path: string): string => path.split('/').slice(0, -1).join('/');

async function plantDrawn(paths: readonly string[]): Promise<void> {
  const mutants = drawn(paths);
  tell(`${mutants.length} mutants, seed ${values.seed}`);
  const areas = new Map<string, { caught: number; timedOut: number; lived: number }>();
  const living: string[] = [];
  using ground = new Ground();
  for (const { path, mutant } of mutants) {
    const where = `${path}:${mutant.line} (${mutant.kind}) ${mutant.what}`;
    if (values.list) {
      tell(where);
      continue;
    }
    const text = planted(ground.read(path), mutant);
    const verdict = await ground.try(path, text, testsOf(path));
    tell(`${show(verdict)}\n    ${where}`);
    const area = areas.get(areaOf(path)) ?? { caught: 0, timedOut: 0, lived: 0 };
    areas.set(areaOf(path), area);
    if (verdict === 'lived') {
      area.lived++;
      living.push(where);
    } else if (verdict.verdict === 'caught') area.caught++;
    else area.timedOut++;
  }
  for (const [area, { caught, timedOut, lived }] of areas) {
    const percent = (100 * (caught + timedOut)) / (caught + timedOut + lived);
    tell(
      `${area}: ${caught} caught, ${timedOut} timed out, ${lived} lived (${percent.toFixed(0)} %)`,
    );
  }
  if (living.length > 0) tell(`\nThose that lived:\n${living.join('\n')}`);
}

async function plantFaults(names: readonly string[]): Promise<void> {
  using ground = new Ground();
  for (const fault of FAULTS) {
    if (names.length > 0 && !names.some((name) => fault.name.startsWith(name))) continue;
    const text = changed(fault, ground.read(fault.file));
    const verdict = await ground.try(fault.file, text, [fault.test], fault.only);
    if (verdict === 'lived') process.exitCode = 1;
    tell(`${fault.name} (${fault.file}): ${show(verdict)}`);
  }
}

if (values.planted) await plantFaults(positionals);
else {
  const everything = ['lib', 'protocols'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => `${folder}/${name}`)
      .sort(),
  );
  await plantDrawn(positionals.length > 0 ? positionals : everything);
}

/**
 * The random rule of the contract, for longer: `npm run contract -- --runs 20000 --kind tcp`. A failure prints a seed
 * and a path, which `--seed` and `--path` play again. Without `--kind`, on every kind of wire.
 */
import { parseArgs } from 'node:util';
import t from '../fixture.ts';
import { contract } from './chance.ts';
import { KINDS } from './kinds.ts';
import { TLS } from './tls-kind.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '1000' },
    kind: { type: 'string' },
    seed: { type: 'string' },
    path: { type: 'string' },
  },
});
const all = [...KINDS, TLS];
const kinds = all.filter(({ name }) => values.kind === undefined || name === values.kind);
if (kinds.length === 0)
  throw new RangeError(
    `--kind is one of ${all.map(({ name }) => name).join(', ')}, not ${values.kind}`,
  );

const RUNS_A_WORLD = 400;

t.setTimeout(0);
// A world has only so many descriptors: each is used for some of the runs.
const runs = Number(values.runs);
const worlds = values.seed === undefined ? Math.ceil(runs / RUNS_A_WORLD) : 1;
process.env['PLAIT_RUNS'] = String(Math.min(runs, RUNS_A_WORLD));
if (values.seed !== undefined) process.env['PLAIT_SEED'] = values.seed;
if (values.path !== undefined) process.env['PLAIT_PATH'] = values.path;
for (const kind of kinds) for (let i = 0; i < worlds; i++) contract(t, kind);

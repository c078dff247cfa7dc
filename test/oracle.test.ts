/**
 * Deferreds against Twisted: the same random scripts are run by plait and by Debian's python3-twisted, and must leave
 * equal traces. A failing script is made small and printed with its seed; PLAIT_SEED=… starts from that one, and
 * PLAIT_RUNS=… sets how many are run. `npm run oracle` runs more.
 */
import t from './fixture.ts';
import { DIFFERENCES } from './oracle/differences.ts';
import { KINDS } from './oracle/draft.ts';
import { faultAsText, runOracle, showDifference, Twisted, whyNoTwisted } from './oracle/oracle.ts';

// A script that does not end takes long to make small.
t.setTimeout(600_000);

const seed = Number(process.env['PLAIT_SEED'] ?? Date.now() % 1_000_000_000);
const runs = Number(process.env['PLAIT_RUNS'] ?? (process.env['CI'] === undefined ? 3000 : 20_000));
const reason = whyNoTwisted();
const skip = reason !== undefined && process.env['CI'] === undefined ? reason : false;

t.test('random scripts leave the same trace with plait and with Twisted', { skip }, async (t) => {
  t.comment(`PLAIT_SEED=${seed}`);
  const { fault, used, performed } = await runOracle(seed, runs);
  if (fault !== undefined) t.fail(faultAsText(fault));

  const names = new Set(DIFFERENCES.map(({ name }) => name));
  t.same(
    [...used.keys()].filter((name) => !names.has(name)),
    [],
    'whatever was corrected is in the list of differences',
  );
  if (runs < 3000) return;
  t.same(
    KINDS.filter((kind) => !performed.has(kind)),
    [],
    'every kind of step was performed',
  );
});

t.test('each intended difference is what really happens', { skip }, async (t) => {
  const twisted = new Twisted();
  t.teardown(() => twisted.close());
  for (const { name, examples } of DIFFERENCES) {
    for (const { plait, twisted: twisteds, ...example } of examples) {
      t.same(await showDifference(twisted, example), { plait, twisted: twisteds }, name);
    }
  }
});

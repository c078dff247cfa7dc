/**
 * Connections against Twisted: the same scripted peer talks to plait and to Debian's python3-twisted, and both must be
 * told the same, and say the same. A failing script is made small and printed with its seed: PLAIT_SEED=… starts from
 * that one, and PLAIT_RUNS=… says how many are played. `npm run oracle -- --sockets` plays more.
 */
import { freshSeed, howMany } from './campaign.ts';
import t from './fixture.ts';
import { whyNoTwisted } from './oracle/oracle.ts';
import { SOCKET_DIFFERENCES } from './oracle/sockets/differences.ts';
import { FOUND_SCRIPTS } from './oracle/sockets/found.ts';
import { Both, faultAsText, runSocketOracle, showDifference } from './oracle/sockets/oracle.ts';

const inCI = process.env['CI'] !== undefined;
const seed = freshSeed();
const runs = howMany(400, 2_000);
const skip = inCI ? false : (whyNoTwisted() ?? false);

t.test('a scripted peer hears the same from plait and from Twisted', { skip }, async (t) => {
  t.comment(`PLAIT_SEED=${seed}`);
  const { fault, used } = await runSocketOracle(seed, runs);
  t.equal(fault === undefined ? '' : faultAsText(fault), '');
  const listed = SOCKET_DIFFERENCES.map(({ name }) => name);
  t.same(
    [...used.keys()].filter((name) => !listed.includes(name)),
    [],
    'what is evened out is listed',
  );
});

t.test('scripts that once differed do not any more', { skip }, async (t) => {
  const both = new Both();
  t.teardown(() => both.close());
  for (const { what, script } of FOUND_SCRIPTS) {
    const { plait, twisted } = await both.play(script);
    t.same(plait, twisted, what);
  }
});

t.test('each intended difference of connections is what really happens', { skip }, async (t) => {
  const both = new Both();
  t.teardown(() => both.close());
  for (const { name, script, plait, twisted } of SOCKET_DIFFERENCES) {
    t.same(await showDifference(both, script), { plait, twisted }, name);
  }
});

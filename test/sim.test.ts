/**
 * Every protocol, client against server, in simulated networks: calm ones, rough ones, hostile ones. In `npm run ci`
 * each scenario is played for 2,000 seeds and each planted fault must be found; else a few do. PLAIT_RUNS=… says how
 * many seeds, and `npm run sim` runs more. A failure says with which seed: to play that one again, give it as PLAIT_SEED
 * to `npm run sim -- --scenario …`.
 */
import { readFileSync } from 'node:fs';
import { simulate, SimulationFailed } from 'plait/testing';
import { howMany, inCampaign } from './campaign.ts';
import t from './fixture.ts';
import { runMutants } from './sim/mutants.ts';
import { MUTANTS } from './sim/planted.ts';
import { programOf, type Scenario, Tally } from './sim/scenario.ts';
import { SCENARIOS } from './sim/scenarios.ts';

const runs = howMany(200, 2000);

/** These are found even where there is no time for all. */
const SAMPLE = [
  'a lost byte at the end of some chunks',
  'connectionLost twice',
  'a reply is matched to the wrong request: two conversations share a reader',
];

for (const scenario of SCENARIOS) {
  t.test(
    `${scenario.name}: each exchange ends right or in one typed error, and nothing is left`,
    async (t) => {
      const tally = new Tally();
      const report = await simulate({ runs }, programOf(scenario, tally));
      t.comment(`${report.runs} runs, ${report.events} events, ${report.faults} faults: ${tally}`);
      t.equal(tally.share('calm'), 1, 'where the network is calm, each is right');
      const { fair = 0.5 } = scenario;
      t.ok(tally.share('rough') > fair, 'where it is rough, most are');
      t.ok(tally.share('hostile') > fair, 'and where it is hostile, a fair part of them');
    },
  );
}

t.test('a seed is played twice in the same way, to the byte', async (t) => {
  const differing: string[] = [];
  for (const scenario of SCENARIOS) {
    for (let seed = 1; seed <= 6; seed++) {
      const timeline = await timelineOf(scenario, seed);
      const again = await timelineOf(scenario, seed);
      if (timeline === '' || timeline !== again) differing.push(`${scenario.name}, seed ${seed}`);
    }
  }
  t.same(differing, []);
});

/** What happens in a run: it is made to fail, so that it is told. */
async function timelineOf(scenario: Scenario, seed: number): Promise<string> {
  const play = programOf(scenario, new Tally());
  const fail = () => {
    throw new Error('to see what has happened');
  };
  try {
    await simulate({ seed, runs: 1, trace: 1e6, shrink: false }, (sim) =>
      (play(sim) as ReturnType<Scenario['play']>).addCallback(fail),
    );
  } catch (error) {
    if (error instanceof SimulationFailed) return error.timeline;
    throw error;
  }
  return '';
}

t.test('each planted fault names a piece of the code that is there, once', (t) => {
  const stale = MUTANTS.flatMap(({ name, file, changes }) => {
    const source = readFileSync(file, 'utf8');
    return changes
      .filter(([snippet]) => source.split(snippet).length !== 2)
      .map(([snippet]) => `${name}: ${snippet}`);
  });
  t.same(stale, []);
  t.end();
});

t.test('planted faults are found', async (t) => {
  const missed = await runMutants(inCampaign ? undefined : SAMPLE, (line) => t.comment(line));
  t.same(missed, []);
});

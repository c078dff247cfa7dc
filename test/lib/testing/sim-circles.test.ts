/** Programs that go round in a circle in a simulation, and programs that keep the globals from being put back. */
import { simulate, Simulation, SimulationFailed } from 'plait/testing';
import { Deferred } from 'plait';
import { limits } from '../../../lib/testing/sim/kernel.ts';
import { run } from '../../child.ts';
import t, { type Test } from '../../fixture.ts';

/** A program goes through all of its turns for each event: fewer of them are to be enough. */
function soonACircle(t: Test): void {
  const { atOnce } = limits;
  limits.atOnce = 2000;
  t.teardown(() => (limits.atOnce = atOnce));
}

t.test('FND-86: a call that asks for itself again at once fails, with its seed', async (t) => {
  const sim = new Simulation();
  const again = (): void => void sim.after(0, again);
  sim.after(1, again);
  t.throws(() => sim.advance(2), /time stands still: 200000 events have happened at 1 s/);
  t.throws(() => sim.run(), /time stands still/);

  soonACircle(t);
  const failed: unknown = await simulate({ runs: 3, seed: 7, conditions: 'calm' }, (sim) => {
    const { reactor } = sim.host('server');
    const go = () => reactor.callLater(0, go);
    go();
    return new Deferred();
  }).catch((error: unknown) => error);
  t.type(failed, SimulationFailed);
  t.match(failed, { seed: '7:', message: /time stands still: 2000 events have happened at 0 s/ });
});

t.test('FND-86: so does one that begins when the program is done', async (t) => {
  soonACircle(t);
  await t.rejects(
    simulate({ runs: 1, conditions: 'calm' }, (sim) => {
      const again = (): void => void sim.after(0, again);
      sim.after(1, again);
    }),
    { name: 'SimulationFailed', message: /time stands still/ },
  );
});

t.test('FND-86: many events at one moment, and many moments, are no circle', async (t) => {
  const sim = new Simulation();
  let left = 150_000;
  const some = (): void => {
    if (--left > 0) sim.after(left === 75_000 ? 1 : 0, some);
  };
  sim.after(0, some);
  for (let i = 0; i < 150_000; i++) sim.after(i / 1000, () => {});
  sim.run();
  t.equal(left, 0);
});

t.test('FND-86: immediates that ask for immediates fail, with their seed', async (t) => {
  let over = false;
  await t.rejects(
    simulate({ runs: 1, seed: 7, conditions: 'calm', shrink: false }, () => {
      const go = () => {
        if (!over) setImmediate(go);
      };
      go();
      return new Deferred();
    }),
    { name: 'SimulationFailed', seed: '7:', message: /time stands still: promises, ticks or imm/ },
  );
  over = true;
});

t.test('FND-86: promises without end end the process, and say with which seed', async (t) => {
  const { code, stderr } = await run(
    t,
    `
    import { simulate } from 'plait/testing';
    await simulate({ runs: 1, seed: 7 }, async () => { for (;;) await null; });
    `,
  );
  t.not(code, 0);
  t.match(stderr, /the simulation with the seed 7: time stands still: promises/);
});

t.test(
  'FND-86: what can be put back is put back, where the program has frozen the rest',
  async (t) => {
    const { code, stdout, stderr } = await run(
      t,
      `
    import { simulate } from 'plait/testing';
    const { now } = Date, { setTimeout: real } = globalThis;
    const failed = (error) => console.log(error.name, error.message.split('\\n')[1].trim());
    await simulate({ runs: 2, globals: 'all' }, () => { Object.freeze(Math); }).catch(failed);
    console.log(Date.now === now, globalThis.setTimeout === real, process.listenerCount('uncaughtException'));
    await simulate({ runs: 1, globals: 'all' }, () => {}).catch(failed);
    console.log(Date.now === now, globalThis.setTimeout === real);
    await simulate({ runs: 1, globals: false }, () => {}).then(() => console.log('done'), failed);
    `,
    );
    t.equal(code, 0, stderr);
    t.same(stdout.split('\n'), [
      'SimulationFailed cannot let random follow the simulation: it is frozen',
      'true true 0',
      'SimulationFailed cannot let random follow the simulation: it is frozen',
      'true true',
      'done',
      '',
    ]);
  },
);

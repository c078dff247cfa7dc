/** Doubles that let time pass for code with promises in it (lib/testing/passing.ts). */
import { Deferred, deferLater, type IReactorTime, Protocol, TimeoutError } from 'plait';
import {
  AccumulatingProtocol,
  Clock,
  connectedServerAndClient,
  flushLoggedErrors,
  MemoryReactorClock,
  Simulation,
} from 'plait/testing';
import t from '../../fixture.ts';

/** What has time, by its name. */
interface Double {
  readonly clock: IReactorTime;
  readonly advance: (amount: number) => void;
  readonly advanceAsync: (amount: number) => Promise<void>;
  readonly pumpAsync: (amounts: Iterable<number>) => Promise<void>;
}

const DOUBLES: Record<string, () => Double> = {
  Clock: () => {
    const clock = new Clock();
    return double(clock, clock);
  },
  MemoryReactorClock: () => {
    const reactor = new MemoryReactorClock();
    return double(reactor, reactor);
  },
  Simulation: () => {
    const sim = new Simulation();
    return double(sim.host('a').reactor, sim);
  },
};

function double(clock: IReactorTime, time: Omit<Double, 'clock'>): Double {
  return {
    clock,
    advance: (amount) => time.advance(amount),
    advanceAsync: (amount) => time.advanceAsync(amount),
    pumpAsync: (amounts) => time.pumpAsync(amounts),
  };
}

for (const [name, make] of Object.entries(DOUBLES)) {
  t.test(`FND-68: ${name}: an async function between a clock and its time-out`, async (t) => {
    const { clock, advanceAsync } = make();
    const answer = new Deferred<string>();
    const ask = async () => {
      for (let i = 0; i < 3; i++) await Promise.resolve();
      return answer.addTimeout(30, clock);
    };
    const asked = ask();
    asked.catch(() => {});
    t.same(clock.getDelayedCalls(), [], 'the timer does not exist yet');
    await advanceAsync(29);
    t.equal(clock.getDelayedCalls().length, 1);
    await advanceAsync(1);
    await t.rejects(asked, TimeoutError);
    t.equal(clock.seconds(), 30);
  });

  t.test(
    `FND-68: ${name}: each wait ends at its own time, and the next begins there`,
    async (t) => {
      const { clock, advanceAsync, pumpAsync } = make();
      const log: string[] = [];
      const walk = async (who: string, steps: readonly number[]) => {
        for (const step of steps) {
          await deferLater(clock, step);
          await new Promise<void>((resolve) => process.nextTick(resolve));
          log.push(`${who} ${clock.seconds()}`);
        }
      };
      const walks = Promise.all([walk('a', [1, 1, 1, 0]), walk('b', [0.5, 2])]);
      await advanceAsync(2);
      t.same(log, ['b 0.5', 'a 1', 'a 2']);
      t.equal(clock.seconds(), 2);
      await pumpAsync([0.25, 0.25]);
      t.same(log.splice(0), ['b 0.5', 'a 1', 'a 2', 'b 2.5']);
      await advanceAsync(10);
      t.same(log, ['a 3', 'a 3']);
      t.equal(clock.seconds(), 12.5);
      await walks;
    },
  );

  t.test(`FND-68: ${name}: what is no number of seconds is refused`, async (t) => {
    const { clock, advanceAsync } = make();
    for (const amount of [-1, NaN, Infinity]) await t.rejects(advanceAsync(amount), RangeError);
    await t.rejects(advanceAsync('1' as never), TypeError);
    await advanceAsync(0);
    t.equal(clock.seconds(), 0);
  });
}

for (const name of ['Clock', 'MemoryReactorClock']) {
  t.test(
    `FND-68: ${name}: moving on at once meanwhile, and twice at a time, adds up`,
    async (t) => {
      const { clock, advance, advanceAsync } = (DOUBLES[name] as () => Double)();
      const seen: number[] = [];
      clock.callLater(1, () => {
        advance(5);
        seen.push(clock.seconds());
      });
      clock.callLater(8, () => seen.push(clock.seconds()));
      await Promise.all([advanceAsync(2), advanceAsync(3)]);
      t.same(seen, [6, 8]);
      t.equal(clock.seconds(), 10);
    },
  );

  t.test(
    `FND-68: ${name}: a circle is an error, and so is what a call between throws`,
    async (t) => {
      const { clock, advanceAsync } = (DOUBLES[name] as () => Double)();
      let goes = true;
      const again = () => {
        if (goes) clock.callLater(0, () => void Promise.resolve().then(again));
      };
      again();
      await t.rejects(advanceAsync(1), { message: /at 0 seconds calls have asked for others/ });
      goes = false;
      await advanceAsync(1);
      t.equal(clock.seconds(), 1, 'it can be moved on afterwards');
    },
  );
}

t.test('FND-68: what is called between steps is waited for, and may fail', async (t) => {
  const clock = new Clock();
  const seen: number[] = [];
  clock.callLater(1, () => {});
  const between = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(clock.seconds());
  };
  await clock.advanceAsync(2, between);
  t.same(seen, [0, 1]);
  await clock.pumpAsync([1, 1], between);
  t.same(seen, [0, 1, 2, 3]);
  const failing = clock.advanceAsync(1, () => {
    throw new RangeError('no more');
  });
  await t.rejects(failing, { message: 'no more' });
  clock.callLater(0, () => {
    throw new RangeError('logged');
  });
  await clock.advanceAsync(0);
  t.equal(flushLoggedErrors(RangeError).length, 1, 'what a call throws is logged');
});

t.test('FND-68: a pump moves what async protocols say at each step', async (t) => {
  const clock = new Clock();
  class Slow extends Protocol {
    override async dataReceived(data: Buffer) {
      await deferLater(clock, data.length);
      this.transport.write(`${clock.seconds()} `);
    }
  }
  class Asks extends AccumulatingProtocol {
    override dataReceived(data: Buffer) {
      super.dataReceived(data);
      this.transport.write('ab');
    }
  }
  const { client, pump } = connectedServerAndClient(Slow, Asks, { clock });
  client.transport.write('a');
  await pump.advanceAsync(6);
  t.equal(client.data.toString(), '1 3 5 ');
  await t.rejects(pump.advanceAsync(-1), RangeError);
  for (const without of [undefined, { clock: { advance() {}, callLater: () => undefined } }]) {
    const { pump } = connectedServerAndClient(Protocol, Protocol, without as never);
    await t.rejects(pump.advanceAsync(1), { message: /there is no clock with advanceAsync/ });
  }
  await pump.advanceAsync(1);
});

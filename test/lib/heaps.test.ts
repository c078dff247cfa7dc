/**
 * What keeps things in order, when most of them are called off, and the rest is put off or brought forward: the heap, the
 * queue of delayed calls, the events of a simulation, a PriorityQueue; and a Fifo. The model of each is a list that is sorted.
 */
import fc from 'fast-check';
import { PriorityQueue } from 'plait';
import { Clock, MemoryReactorClock, Simulation, successResultOf } from 'plait/testing';
import { Fifo } from '../../lib/fifo.ts';
import { TimeHeap } from '../../lib/heap.ts';
import type { IDelayedCall } from '../../lib/interfaces.ts';
import { Kernel } from '../../lib/testing/sim/kernel.ts';
import { CallQueue } from '../../lib/time.ts';
import t from '../fixture.ts';

interface Entry {
  time: number;
  order: number;
  readonly id: number;
}

const byTime = (a: Entry, b: Entry): number => a.time - b.time || a.order - b.order;

/** So many of many, each with a number below 1 that says which. */
const shares = (min: number, max: number): fc.Arbitrary<number> =>
  fc.integer({ min: min * 100, max: max * 100 }).map((hundredths) => hundredths / 100);

/** Takes `share` of `entries` out of them, which ones the seed says. */
function drawn<E>(entries: E[], share: number, random: () => number): E[] {
  const taken: E[] = [];
  for (let n = Math.floor(entries.length * share); n > 0; n--)
    taken.push(...entries.splice(Math.floor(random() * entries.length), 1));
  return taken;
}

/** Numbers from 0 to 1 that follow from a seed. */
function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const seed = fc.integer({ min: 0, max: 2 ** 31 });

t.test('FND-70: a heap from which most was filtered out gives the rest in order', (t) => {
  const property = fc.property(
    seed,
    fc.integer({ min: 0, max: 400 }),
    shares(0, 1),
    (seed, size, share) => {
      const random = chance(seed);
      const heap = new TimeHeap<Entry>();
      let next = 0;
      let model: Entry[] = [];
      const add = (): void => {
        const entry = { id: next, order: next++, time: Math.floor(random() * 100) };
        model.push(entry);
        heap.push(entry.time, entry.order, entry);
      };
      const pop = (): void => {
        model.sort(byTime);
        const entry = model.shift();
        if (heap.first !== entry || heap.firstTime !== entry?.time)
          throw new Error('not the first');
        if (heap.firstOrder !== entry?.order) throw new Error('not its order');
        heap.pop();
      };
      for (let round = 0; round < 3; round++) {
        while (model.length < size) add();
        const gone = new Set(drawn(model, share, random));
        heap.filter((entry) => !gone.has(entry));
        if (heap.size !== model.length) throw new Error('some are too many, or missing');
        for (const entry of [...model].filter(() => random() < 0.2)) {
          entry.time = Math.min(entry.time, Math.floor(random() * 100));
          entry.order = Math.min(entry.order, next++);
          if (!heap.bringForward(entry, entry.time, entry.order)) throw new Error('it was lost');
        }
        for (let n = Math.floor(random() * model.length); n > 0; n--) {
          if (random() < 0.3) {
            model.sort(byTime);
            const [first] = model as [Entry];
            first.time += Math.floor(random() * 50);
            first.order = next++;
            heap.putOffFirst(first.time, first.order);
          } else pop();
        }
      }
      while (model.length > 0) pop();
      model = [];
      return heap.size === 0 && heap.first === undefined && heap.firstTime === undefined;
    },
  );
  fc.assert(property, { numRuns: 300 });
  t.end();
});

/** Anything that makes calls later, and how its time is moved on. */
interface Later {
  callLater(delay: number, fn: () => void): IDelayedCall;
  advance(amount: number): void;
  seconds(): number;
}

function bareQueue(): Later {
  let now = 0;
  const queue = new CallQueue(() => now);
  return {
    callLater: (delay, fn) => queue.add(delay, fn),
    advance: (amount) => {
      now += amount;
      queue.runDue();
    },
    seconds: () => now,
  };
}

const KINDS: Record<string, () => Later> = {
  'a queue of calls': bareQueue,
  'a Clock': () => new Clock(),
  'a MemoryReactorClock': () => new MemoryReactorClock(),
};

/** Adds, cancels most, moves many, lets time pass: three rounds, each beginning in the middle of the one before. */
function massCancelling(later: Later, seed: number, size: number, share: number): void {
  const random = chance(seed);
  const moment = (): number => Math.floor(random() * 100);
  const calls: IDelayedCall[] = [];
  const seen: number[] = [];
  const expected: number[] = [];
  let waiting: Entry[] = [];
  let order = 0;
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < size; n++) {
      const [id, delay] = [calls.length, moment()];
      waiting.push({ id, time: later.seconds() + delay, order: order++ });
      calls.push(later.callLater(delay, () => void seen.push(id)));
    }
    const move = (moved: number): void => {
      for (const entry of drawn([...waiting], moved, random)) {
        const isReset = random() < 0.5;
        const by = isReset ? moment() : moment() - 50;
        if (isReset) calls[entry.id]?.reset(by);
        else calls[entry.id]?.delay(by);
        entry.time = isReset ? later.seconds() + by : entry.time + by;
        entry.order = order++;
      }
    };
    move(0.3);
    for (const { id } of drawn(waiting, share, random)) calls[id]?.cancel();
    move(0.5);
    for (let passes = 0; passes < 4; passes++) {
      const amount = Math.floor(moment() / 4);
      later.advance(amount);
      const due = waiting.filter(({ time }) => time <= later.seconds()).sort(byTime);
      expected.push(...due.map(({ id }) => id));
      waiting = waiting.filter(({ time }) => time > later.seconds());
    }
  }
  later.advance(1000);
  expected.push(...waiting.sort(byTime).map(({ id }) => id));
  if (seen.join() !== expected.join()) throw new Error('calls came out of order, or were lost');
}

for (const [name, make] of Object.entries(KINDS)) {
  t.test(`FND-70: ${name} of which most are cancelled makes the rest in order`, (t) => {
    fc.assert(
      fc.property(seed, fc.integer({ min: 0, max: 400 }), shares(0.4, 1), (seed, size, share) => {
        massCancelling(make(), seed, size, share);
      }),
      { numRuns: 60 },
    );
    t.end();
  });
}

t.test('FND-70: calls that a call cancels, while it is made, and those that it asks for', (t) => {
  fc.assert(
    fc.property(seed, shares(0.4, 1), (seed, share) => {
      const random = chance(seed);
      let now = 0;
      const queue = new CallQueue(() => now);
      const seen: number[] = [];
      const calls: { call: IDelayedCall; entry: Entry }[] = [];
      const ask = (): void => {
        const [id, delay] = [calls.length, 1 + Math.floor(random() * 50)];
        const call = queue.add(delay, () => seen.push(id));
        calls.push({ call, entry: { id, time: now + delay, order: id } });
      };
      const askForMany = (): void => {
        for (let n = 0; n < 300; n++) ask();
      };
      askForMany();
      queue.add(0, () => {
        askForMany();
        for (const { call } of drawn([...calls], share, random)) call.cancel();
      });
      queue.runDue();
      const rest = calls.filter(({ call }) => call.active()).map(({ entry }) => entry);
      if (queue.size !== rest.length || queue.pending().length !== rest.length) return false;
      for (now = 1; now <= 60; now++) queue.runDue();
      const expected = rest.sort(byTime).map(({ id }) => id);
      return seen.join() === expected.join() && queue.size === 0;
    }),
    { numRuns: 60 },
  );
  t.end();
});

t.test('FND-70: events of a simulation of which most are called off happen in order', (t) => {
  // More than the kernel's heap may have before what was called off is taken out.
  const many = 6000;
  fc.assert(
    fc.property(seed, shares(0.5, 1), (seed, share) => {
      const random = chance(seed);
      const kernel = new Kernel(seed);
      const happened: number[] = [];
      const all = (): { id: number; event: ReturnType<Kernel['at']> }[] =>
        Array.from({ length: many }, () => {
          const time = random() * 100;
          return { id: time, event: kernel.at(time, () => happened.push(time)) };
        });
      const rest = all();
      for (const { event } of drawn(rest, share, random)) event.cancel();
      rest.push(...all());
      for (const { event } of drawn(rest, share, random)) event.cancel();
      while (kernel.step());
      const expected = rest.map(({ id }) => id).sort((a, b) => a - b);
      return happened.join() === expected.join() && kernel.happened === rest.length;
    }),
    { numRuns: 8 },
  );
  t.end();
});

t.test('FND-70: calls of a simulated host of which most are cancelled are made in order', (t) => {
  const simulation = new Simulation({ seed: 70 });
  const random = chance(70);
  const made: number[] = [];
  const { reactor } = simulation.host('one');
  const calls = Array.from({ length: 2000 }, () => {
    const time = 1 + Math.floor(random() * 1000);
    return { time, call: reactor.callLater(time, () => made.push(time)) };
  });
  for (const { call } of drawn(calls, 0.9, random)) call.cancel();
  simulation.advance(2000);
  t.same(
    made,
    calls.map(({ time }) => time).sort((a, b) => a - b),
  );
  t.end();
});

t.test('FND-70: a PriorityQueue from which most is taken, and put back, keeps its order', (t) => {
  fc.assert(
    fc.property(seed, fc.integer({ min: 1, max: 300 }), shares(0.4, 1), (seed, size, share) => {
      const random = chance(seed);
      const queue = new PriorityQueue<Entry>((a, b) => a.time - b.time);
      const model: Entry[] = [];
      let order = 0;
      for (let round = 0; round < 4; round++) {
        while (model.length < size) {
          const entry = { id: order, time: Math.floor(random() * 40), order: order++ };
          model.push(entry);
          queue.put(entry);
        }
        model.sort(byTime);
        const again: Entry[] = [];
        for (const expected of model.splice(0, Math.ceil(size * share))) {
          if (successResultOf(queue.get()) !== expected) return false;
          if (random() < 0.3) again.push(expected);
        }
        for (const entry of again) {
          const changed = { ...entry, time: Math.floor(random() * 40), order: order++ };
          model.push(changed);
          queue.put(changed);
        }
      }
      return queue.pending === model.length;
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('a Fifo does what an array does', (t) => {
  const deed = fc.constantFrom('add', 'add', 'take', 'take', 'putBack', 'iterate', 'clear');
  const runs = fc.record({ deed, times: fc.nat(50) });
  const property = fc.property(fc.array(runs), (program) => {
    const fifo = new Fifo<number>();
    let model: number[] = [];
    let made = 0;
    for (const { deed, times } of program) {
      if (deed === 'iterate' && [...fifo].join() !== model.join()) return false;
      if (deed === 'clear') {
        fifo.clear();
        model = [];
      }
      for (let n = 0; n < times; n++) {
        if (deed === 'add') fifo.add(model[model.push(made++) - 1] as number);
        if (deed === 'putBack') fifo.putBack(model[model.unshift(made++) - model.length] as number);
        if (deed === 'take' && model.length > 0 && fifo.take() !== model.shift()) return false;
        if (fifo.size !== model.length || fifo.first !== model[0]) return false;
      }
    }
    return true;
  });
  fc.assert(property);
  t.end();
});

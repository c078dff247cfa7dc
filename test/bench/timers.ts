/**
 * `callLater` against `setTimeout`. Run by `run.ts`.
 */
import { pathToFileURL } from 'node:url';
import { Reactor } from 'plait';
import { contend, type Duel } from './contend.ts';

const noop = (): void => {};

/** Delays as a server has them: many, and no two the same. */
const delays = Array.from({ length: 1000 }, (_, i) => 1 + ((i * 7919) % 1000) / 1000);
const delay = (i: number): number => (delays[i % 1000] ?? 1) + i / 1e6;

export const duels: readonly Duel[] = [
  {
    title: 'a call asked for, and called off',
    count: 100_000,
    contenders: {
      callLater(count) {
        const reactor = new Reactor();
        for (let i = 0; i < count; i++) reactor.callLater(delay(i), noop).cancel();
      },
      setTimeout(count) {
        for (let i = 0; i < count; i++) clearTimeout(setTimeout(noop, delay(i) * 1000));
      },
    },
  },
  {
    title: '100,000 calls pending at distinct times, then called off',
    count: 100_000,
    contenders: {
      callLater(count) {
        const reactor = new Reactor();
        const calls = [];
        for (let i = 0; i < count; i++) calls.push(reactor.callLater(delay(i), noop));
        for (const call of calls) call.cancel();
      },
      setTimeout(count) {
        const calls = [];
        for (let i = 0; i < count; i++) calls.push(setTimeout(noop, delay(i) * 1000));
        for (const call of calls) clearTimeout(call);
      },
    },
  },
  {
    title: '100,000 calls made, within 0.1 s',
    count: 100_000,
    contenders: {
      async callLater(count) {
        const reactor = new Reactor();
        await new Promise<void>((done) => {
          let missing = count;
          const called = (): void => {
            if (--missing === 0) done();
          };
          for (let i = 0; i < count; i++) reactor.callLater((delay(i) % 1) / 10, called);
        });
      },
      async setTimeout(count) {
        await new Promise<void>((done) => {
          let missing = count;
          const called = (): void => {
            if (--missing === 0) done();
          };
          for (let i = 0; i < count; i++) setTimeout(called, (delay(i) % 1) * 100);
        });
      },
    },
  },
];

const [, script = '', index, name] = process.argv;
if (import.meta.url === pathToFileURL(script).href && name !== undefined) {
  const duel = duels[Number(index)];
  if (duel !== undefined) await contend(duel, name);
}

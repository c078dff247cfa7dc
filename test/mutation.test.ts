/** Mutation testing: that its faults are real ones, and that its tables keep up with the code. */
import { existsSync, readFileSync } from 'node:fs';
import ts from 'typescript';
import { inCampaign } from './campaign.ts';
import t from './fixture.ts';
import { Ground } from './mutation/ground.ts';
import { mutantsOf, planted } from './mutation/mutants.ts';
import { changed, FAULTS } from './mutation/planted.ts';
import { testsInTable, testsOf } from './mutation/tests-of.ts';

const SAMPLE = `
import { three } from './three.ts';
type Size = 1 | 2;
/** Nothing of 1 < 2 here. */
export function f(a: number, b?: { c?: () => boolean }): boolean {
  if (a < 1 && !b) throw new Error('2 > 1');
  log.warn('a + b', { a: a + 1 });
  a += 30;
  const [x, y] = [a ?? 4, Math.min(a, three)];
  while (a > y) a--;
  done(x);
  return b?.c?.() ?? true;
}
`;

t.test('each kind of slip is planted, and texts, types and imports are left alone', (t) => {
  const mutants = mutantsOf('sample.ts', SAMPLE);
  t.same(
    mutants.map(({ line, kind, what }) => `${line} ${kind}: ${what}`),
    [
      "6 conditional: if (a < 1 && !b) throw new Error('2 > 1'); -> if (!(a < 1 && !b)) throw new Error('2 > 1');",
      '6 comparison: a < 1 -> a <= 1',
      '6 number: 1 -> 2',
      '6 conditional: a < 1 && !b -> a < 1 || !b',
      '6 conditional: !b -> b',
      "6 statement: throw new Error('2 > 1'); -> ;",
      '8 statement: a += 30; -> ;',
      '8 arithmetic: a += 30 -> a -= 30',
      '8 number: 30 -> 3',
      '9 conditional: a ?? 4 -> (a)',
      '9 number: 4 -> 5',
      '9 arithmetic: min -> max',
      '10 conditional: while (a > y) a--; -> while (!(a > y)) a--;',
      '10 comparison: a > y -> a >= y',
      '10 arithmetic: a-- -> a++',
      '10 statement: a--; -> ;',
      '11 statement: done(x); -> ;',
      '12 return: return b?.c?.() ?? true; -> return undefined;',
      '12 conditional: b?.c?.() ?? true -> (b?.c?.())',
      '12 optional chaining: b?.c -> b.c',
      '12 optional chaining: b?.c?.() -> b?.c()',
      '12 boolean: true -> false',
    ],
  );
  for (const mutant of mutants) {
    const text = planted(SAMPLE, mutant);
    t.not(text, SAMPLE);
    const { diagnostics } = ts.transpileModule(text, { reportDiagnostics: true });
    t.same(
      diagnostics?.map(({ messageText }) => messageText),
      [],
      mutant.what,
    );
  }
  t.end();
});

t.test('each file has tests, and each of the tests in the table is there', (t) => {
  t.same(
    testsInTable().filter((test) => !existsSync(test)),
    [],
  );
  t.ok(testsOf('lib/heap.ts').includes('test/lib/heaps.test.ts'));
  t.ok(testsOf('lib/no-such-thing.ts').length > 0);
  t.end();
});

t.test('each planted fault names a piece of the code and tests that are there', (t) => {
  for (const fault of FAULTS) {
    t.doesNotThrow(() => changed(fault, readFileSync(fault.file, 'utf8')), fault.name);
    const names = readFileSync(fault.test, 'utf8');
    t.match(names, new RegExp(fault.only.slice(1, -1).split(' ')[0] as string), fault.name);
  }
  t.end();
});

const skip = inCampaign ? false : 'it is part of npm run ci';

t.test('faults are caught or live, and those of the table are caught', { skip }, async (t) => {
  using ground = new Ground();
  for (const fault of FAULTS) {
    const source = ground.read(fault.file);
    const harmless = `${source}\n// Nothing else.\n`;
    t.equal(await ground.try(fault.file, harmless, [fault.test], fault.only), 'lived');
    const verdict = await ground.try(fault.file, changed(fault, source), [fault.test], fault.only);
    t.not(verdict, 'lived', fault.name);
  }
});

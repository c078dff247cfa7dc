/**
 * The documentation tells the truth: code in Markdown is that of files that run, links lead somewhere, the examples in
 * doc comments compile, run, and come to what they say, and the programs in docs/examples end well. And each of these
 * checks finds what it is there to find.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Deferred, succeed } from 'plait';
import { checkMarkdown, readRegion } from './docs.ts';
import { heard, holdConsole, is, listen, readDoctests } from './doctest.ts';
import t from './fixture.ts';
import { needs } from './interop/servers.ts';
import { forgottenExamples, readExamples, startExample } from './programs.ts';
import { writeTree, type Tree } from './tree.ts';

const ROOT = join(import.meta.dirname, '..');
const DOCTESTS = join(ROOT, '.doctest');
const SECONDS_FOR_A_PROGRAM = 30;

// ── The project's own ────────────────────────────────────────────────────────────────────────────────────────────────

rmSync(DOCTESTS, { recursive: true, force: true });
mkdirSync(DOCTESTS);

// What the examples test with tap becomes part of this file. They are loaded in one go and before any test begins, since
// the loader has a handle open meanwhile, which would be taken for the test's.
const examples = [...readExamples(ROOT)];
const tests = examples.filter(([, kind]) => kind === 'test').map(([path]) => path);
writeFileSync(
  join(DOCTESTS, 'examples.ts'),
  tests.map((path) => `import '../${path}';`).join('\n'),
);
await import(pathToFileURL(join(DOCTESTS, 'examples.ts')).href);

t.test('the code in Markdown is that of the examples, and its links lead somewhere', async (t) => {
  t.same(checkMarkdown(ROOT), []);
});

const doctests = readDoctests(ROOT);
for (const { file, text } of doctests) writeFileSync(join(DOCTESTS, file), text);

t.test('the examples in doc comments compile', async (t) => {
  t.not(doctests.length, 0);
  const config = {
    extends: '../tsconfig.json',
    compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
    include: ['*.ts'],
  };
  writeFileSync(join(DOCTESTS, 'tsconfig.json'), JSON.stringify(config));
  t.equal(await compile(DOCTESTS), '');
});

const release = holdConsole();
t.teardown(release);
for (const { name, file } of doctests) {
  t.test(`the example at ${name} runs, and comes to what it says`, async (t) => {
    const before = process.exitCode;
    await import(pathToFileURL(join(DOCTESTS, file)).href);
    // It may go on for a few turns, and one that runs a reactor sets the code.
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    process.exitCode = before;
    t.pass('it did');
  });
}

for (const [path, kind] of examples) {
  if (kind !== 'program') continue;
  t.test(`${path} ends well`, async (t) => {
    if (path.endsWith('.py') && !needs(t, 'python')) return;
    const program = startExample(t, path.replace('docs/examples/', ''));
    const timer = setTimeout(() => void program.stop(), SECONDS_FOR_A_PROGRAM * 1000);
    const { code } = await program.ended;
    clearTimeout(timer);
    t.equal(code, 0, `ended with ${code ?? 'a signal, since it took too long'}: ${program.output}`);
  });
}

t.test('no example is forgotten', async (t) => {
  t.same(forgottenExamples(ROOT), []);
});

/** What the compiler says of a folder with a tsconfig.json; faults of other files are those of `npm run typecheck`. */
async function compile(folder: string): Promise<string> {
  // Not bin/tsc: tap hooks child processes, and its hook cannot load a module whose name has no extension.
  const tsc = join(ROOT, 'node_modules/typescript7/lib/tsc.js');
  try {
    await promisify(execFile)(process.execPath, [tsc, '-p', folder], { cwd: ROOT });
    return '';
  } catch (error) {
    const { stdout = '', message } = error as Error & { stdout?: string };
    if (stdout === '') return message;
    const lines = stdout.split('\n');
    return lines.filter((line) => !/^(lib|protocols|test)\//.test(line)).join('\n');
  }
}

// ── The checks themselves ────────────────────────────────────────────────────────────────────────────────────────────

const page = (...lines: string[]) => lines.join('\n');

const HEALTHY: Tree = {
  'README.md': page(
    '# Hello, *world*',
    '[tour](docs/tour.md) [again](docs/tour.md#the-end) [here](#hello-world) ![logo](<docs/logo.svg>)',
    '[far](https://nowhere.invalid/) <a href="docs/tour.md">t</a> [ref][r] `[code](nowhere.md)`',
    '[r]: docs/tour.md',
    '<!-- docs/examples/echo.ts#server -->',
    '```ts',
    'listen();',
    'run();',
    '```',
  ),
  'docs/tour.md': page(
    '# The end',
    '- in a list',
    '',
    '  <!-- docs/examples/echo.ts#body -->',
    '',
    '  ```ts',
    '  run();',
    '  ```',
    '',
    '<!-- docs/examples/sleep.py -->',
    '```python',
    'import this',
    '',
    'print(1)',
    '```',
    '```sh',
    'npm test # [x](nowhere.md)',
    '```',
    '## The end',
    '[second](#the-end-1) [up](../README.md)',
  ),
  'docs/logo.svg': '',
  'docs/examples/echo.ts': page(
    '// #region server',
    'listen();',
    'run();',
    '// #endregion',
    'function f() {',
    '  // #region outer',
    '  if (x)',
    '    // #region body',
    '    run();',
    '    // #endregion body',
    '  // #endregion',
    '}',
  ),
  'docs/examples/sleep.py': page(
    '# #region all',
    'import this',
    '',
    'print(1)',
    '# #endregion',
    '',
  ),
};

const MARKDOWN_FAULTS: readonly { name: string; text: string; faults: readonly string[] }[] = [
  {
    name: 'code that is tied to no file',
    text: page('text', '```ts', 'run();', '```', '~~~python', 'x', '~~~'),
    faults: [
      'docs/x.md:2: a block of ts that is not tied to a file: put <!-- docs/examples/… --> before it',
      'docs/x.md:5: a block of python that is not tied to a file: put <!-- docs/examples/… --> before it',
    ],
  },
  {
    name: 'a comment that text parts from the code',
    text: page('<!-- docs/examples/echo.ts -->', 'text', '```ts', '```'),
    faults: [
      'docs/x.md:3: a block of ts that is not tied to a file: put <!-- docs/examples/… --> before it',
    ],
  },
  {
    name: 'code that differs',
    text: page('<!-- docs/examples/echo.ts#server -->', '```ts', 'listen();', 'stop();', '```'),
    faults: [
      'docs/x.md:2: differs from docs/examples/echo.ts#server (-):\n  - run();\n  + stop();',
    ],
  },
  {
    name: 'a region or a file that is not there, and one that is there twice',
    text: page(
      ...['<!-- docs/examples/echo.ts#client -->', '```ts', '```'],
      ...['<!-- docs/examples/none.ts -->', '```ts', '```'],
      ...['<!-- docs/examples/twice.ts#a -->', '```ts', '```'],
    ),
    faults: [
      'docs/x.md:2: there is no docs/examples/echo.ts#client',
      'docs/x.md:5: there is no docs/examples/none.ts',
      'docs/x.md:8: there is more than one docs/examples/twice.ts#a',
    ],
  },
  {
    name: 'a file of another language',
    text: page('<!-- docs/examples/sleep.py -->', '```ts', '```'),
    faults: ['docs/x.md:2: a block of ts tied to docs/examples/sleep.py'],
  },
  {
    name: 'a language by another name, or by none',
    text: page('```js', 'x', '```', '```', 'x', '```'),
    faults: [
      'docs/x.md:1: a block of js: call it ts',
      'docs/x.md:4: a block of no language: call it text',
    ],
  },
  {
    name: 'links that lead nowhere',
    text: page(
      '[a](gone.md) [b](/docs/tour.md) [c](../../outside.md) [d](tour.md#nothing) [e](#x)',
      '[r]: gone.svg',
      '<img src="gone.png">',
    ),
    faults: [
      'docs/x.md: the link gone.md leads nowhere',
      'docs/x.md: the link /docs/tour.md leads nowhere',
      'docs/x.md: the link ../../outside.md leads nowhere',
      'docs/x.md: the link tour.md#nothing leads to no heading',
      'docs/x.md: the link #x leads to no heading',
      'docs/x.md: the link gone.svg leads nowhere',
      'docs/x.md: the link gone.png leads nowhere',
    ],
  },
];

t.test('the check of Markdown finds', async (t) => {
  const root = t.testdir();
  writeTree(root, HEALTHY);
  writeTree(root, {
    'docs/examples/twice.ts': page(
      '// #region a',
      '// #endregion',
      '// #region a',
      '// #endregion',
    ),
  });
  t.same(checkMarkdown(root), [], 'nothing where all is well');
  for (const { name, text, faults } of MARKDOWN_FAULTS) {
    writeTree(root, { 'docs/x.md': text });
    t.same(checkMarkdown(root), faults, name);
  }
});

t.test('a region is read without its indentation and the marks within it', async (t) => {
  const text = HEALTHY['docs/examples/echo.ts'] ?? '';
  t.same(readRegion(text, 'outer'), ['if (x)\n  run();']);
  t.same(readRegion(text), ['listen();\nrun();\nfunction f() {\n  if (x)\n    run();\n}']);
});

t.test('an example in a doc comment', async (t) => {
  const root = t.testdir();
  const target = (source: string) => ({ 'plait-source': `./${source}` });
  writeTree(root, {
    'package.json': JSON.stringify({
      name: 'plait',
      exports: {
        './protocols/echo': target('protocols/echo.ts'),
        '.': target('lib/index.ts'),
        './testing': target('lib/testing/index.ts'),
      },
    }),
    'lib/index.ts': `export { sum, type Sum } from './sum.ts'; export type * from './shapes.ts';`,
    'lib/shapes.ts': `export interface Shape {}`,
    'lib/testing/index.ts': `export * from './clock.ts';`,
    'lib/testing/clock.ts': `export class Clock {}`,
    'protocols/echo.ts': page(
      'export const sum = 1, echo = 2;',
      '/**',
      ' * @example',
      ' * sum + echo;',
      ' */',
      'export {};',
    ),
    'lib/sum.ts': page(
      '/**',
      ' * Sums up.',
      ' * @example',
      ' * const a: Sum = sum(1, 2);   // 3',
      ' * const b: Shape = {}, c = new Clock();',
      ' * for (const echo of []) secret(a.b, { c: 1 });   // prints done, and more',
      " * sum('x');   // [-1, { a: 'x' }, null]: it says",
      ' * sum(2);   // the usual',
      ' * @returns nothing',
      ' */',
      'export function sum() {}',
      'export function secret() {}',
      'export type Sum = number;',
    ),
  });
  const [inLib, inProtocol, ...others] = readDoctests(root);
  t.same(others, []);
  t.match(inLib, { name: 'lib/sum.ts:3', file: 'lib_sum_ts_3.ts' });

  t.test('imports what it uses', async (t) => {
    const [imports] = inLib?.text.split('\n') ?? [];
    t.match(imports, `import { type Sum, sum, type Shape } from 'plait';`);
    t.match(imports, `import { Clock } from 'plait/testing';`);
    t.notMatch(imports, /echo/);
    t.match(inProtocol?.text, `import { sum, echo } from 'plait/protocols/echo';`);
  });

  t.test('is held to its comments, on the lines that it stands on', async (t) => {
    t.same(inLib?.text.split('\n').slice(3), [
      'const a: Sum = __is((sum(1, 2)), (3));   // 3',
      'const b: Shape = {}, c = new Clock();',
      '__listen(); for (const echo of []) secret(a.b, { c: 1 });; __heard("done, and more");   // prints done, and more',
      "__is((sum('x')), ([-1, { a: 'x' }, null]));   // [-1, { a: 'x' }, null]: it says",
      'sum(2);   // the usual',
      'export {};',
      '',
    ]);
  });

  t.test('that comes to something else fails', async (t) => {
    is(7, 7);
    is(succeed([true]), [true]);
    t.throws(() => is(7, 8), { name: 'AssertionError' });
    t.throws(() => is(new Deferred(), 7), { name: 'AssertionError' });
    t.throws(() => is('7', 7), { name: 'AssertionError' });
  });

  t.test('that prints something else fails', async (t) => {
    const hold = holdConsole();
    t.teardown(hold);
    listen();
    console.log('%d cups', 7);
    heard('7 cups');
    heard('7 cups: as always');
    t.throws(() => heard('7 cupsful'), { message: 'printed something else' });
    t.throws(() => heard('8 cups'), { message: 'printed something else' });
    listen();
    t.throws(() => heard('7 cups'), { message: 'printed something else' });
  });

  t.test('that does not compile is told of, with its line', async (t) => {
    const folder = t.testdir({
      'tsconfig.json': JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), include: ['*.ts'] }),
      'lib_sum_ts_3.ts': '\n\nexport const a: string = 1;\n',
    });
    t.match(await compile(folder), /lib_sum_ts_3\.ts\(3,14\): error TS2322/);
  });
});

t.test('examples are told apart by what they export, and by who runs them', async (t) => {
  const root = t.testdir();
  writeTree(root, {
    'docs/examples/sleep.ts': 'export {};',
    'docs/examples/sleep.py': '',
    'docs/examples/chat.ts': 'export class Chat {}',
    'docs/examples/door.ts': `export * from './chat.ts';`,
    'docs/examples/chat.test.ts': '',
    'docs/examples/echo.ts': '// Runs until it is stopped: test/examples.test.ts does.',
    'docs/examples/ask.ts': '// test/examples.test.ts runs it.',
    'docs/examples/cert.pem': '',
    'test/examples.test.ts': `startExample(t, 'ask.ts')`,
  });
  t.same(Object.fromEntries(readExamples(root)), {
    'docs/examples/ask.ts': 'elsewhere',
    'docs/examples/chat.test.ts': 'test',
    'docs/examples/chat.ts': 'part',
    'docs/examples/door.ts': 'part',
    'docs/examples/echo.ts': 'elsewhere',
    'docs/examples/sleep.py': 'program',
    'docs/examples/sleep.ts': 'program',
  });
  t.same(forgottenExamples(root), ['docs/examples/echo.ts']);
});

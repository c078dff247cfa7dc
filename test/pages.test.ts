/** What the pages of docs/ say of one another and of plait's names (test/pages.ts). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from './fixture.ts';
import { filesIn } from './modules.ts';
import {
  knower,
  type Mention,
  mentionsIn,
  nameFaults,
  notThere,
  readNames,
  rowsOf,
  sharedNames,
  unlisted,
  unreachable,
} from './pages.ts';
import { writeTree } from './tree.ts';

const ROOT = join(import.meta.dirname, '..');
const FROM_TWISTED = 'docs/howto/from-twisted.md';
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const names = readNames(ROOT);

/** Names that plait and Twisted have both, for what is not the same thing. */
const OTHER_THINGS: Readonly<Record<string, string>> = {
  'twisted.internet.tcp.Connection':
    "Twisted's is a socket of its reactor; plait's, a connection to be awaited",
  'twisted.python.log.FileLogObserver': 'the old log; its row is that of `log.msg`',
  'twisted.python.log.ILogObserver': 'the old log',
  'twisted.python.log.LogPublisher': 'the old log',
  'twisted.python.log.Logger': 'the old log',
  'twisted.web.http.Request': "Twisted's is one that a server has received",
  'twisted.web.http.StringTransport': "not that of Twisted's tests",
};

/** What pages call by their names that is not plait's. */
const NOT_PLAITS = [
  // JavaScript's and Node's.
  'AbortError AbortSignal AggregateError AsyncDisposable AsyncLocalStorage Buffer Date Disposable Error Math Promise',
  'RangeError ReferenceError Symbol SyntaxError TypeError Uint8Array X509Certificate',
  'Array fill() clearTimeout() destroy() fetch() process.on() tls.getCACertificates()',
  // Python's, Twisted's, asyncio's.
  'Agent Barrier CertificateRequest Condition Event Exception Future HTTP11ClientProtocol HTTPClientParser',
  'PotentialDataLoss Queue TaskGroup TCPServer TCPClient UDPServer fromCoroutine() returnValue()',
  // Versions and headers.
  'SSLv23_METHOD TLSv1_0 TLSv1_1 TLSv1_2 TLSv1_2_METHOD TLSv1_3 Accept Host Location',
  // Of the tests of a reader.
  'afterEach() t.teardown()',
  // Of a reader's own, in the examples.
  'Base ChatFactory Self Shop Work canceller() compare() gn() main() onResult() other() predicate() program()',
  // Ends of names: `lineReceived`, `threadCalls`.
  'Calls Data Exceeded Received',
  // A member of `strports`, which is an object.
  'service()',
  // Inside of lib/, in the tour.
  'NodeIO Port Stream',
].flatMap((line) => line.split(' '));

t.test(
  'FND-61: each page can be reached from the README, and docs/index.md lists each',
  async (t) => {
    t.same(unreachable(ROOT, 'README.md'), []);
    t.same(unreachable(ROOT, 'docs/index.md'), []);
    t.same(unlisted(ROOT, 'docs/index.md'), []);
  },
);

t.test(
  'FND-60: what From Twisted to plait says is there is there, and what it says is missing is',
  async (t) => {
    t.same(nameFaults(read(FROM_TWISTED), names), []);
  },
);

t.test(
  'FND-60: each name that plait and Twisted have both stands in From Twisted to plait',
  async (t) => {
    const twisted = read('test/twisted/names.txt').trim().split('\n');
    t.ok(twisted.length > 500 && twisted.includes('twisted.internet.defer.Deferred'));
    const { missing, wrong } = sharedNames(
      read(FROM_TWISTED),
      names,
      twisted,
      Object.keys(OTHER_THINGS),
    );
    t.same(missing, [], 'none is left out');
    t.same(wrong, [], 'none is said to be where it is not');
  },
);

t.test('FND-60: functions and classes of plait that pages name exist', async (t) => {
  for (const path of ['README.md', ...filesIn(ROOT, 'docs').filter((one) => one.endsWith('.md'))]) {
    // These two speak of others; the rest of the second is looked at above.
    if (path === 'docs/comparison.md' || path === FROM_TWISTED || path === 'docs/design.md')
      continue;
    t.same(notThere(read(path), names, NOT_PLAITS), [], path);
  }
  const ours = rowsOf(read('docs/comparison.md')).filter(({ cells }) => cells.length === 6);
  t.ok(ours.length > 50);
  t.same(
    notThere(ours.map(({ cells }) => cells[1]).join('\n'), names, NOT_PLAITS),
    [],
    'the comparison',
  );
});

// ── The checks themselves ────────────────────────────────────────────────────────────────────────────────────────────

const target = (source: string) => ({ 'plait-source': `./${source}` });
const TREE = {
  'package.json': JSON.stringify({
    name: 'plait',
    exports: { '.': target('lib/index.ts'), './testing': target('lib/testing/index.ts') },
  }),
  'lib/index.ts': `export * from './deferred.ts'; export type { Options, Loud } from './options.ts';`,
  'lib/deferred.ts': `
    class Base { cancel(): void {} #secret = 1; }
    export class Deferred extends Base { static from(): void {} called = false; constructor(options: { loud?: boolean }) {} }
    export function succeed() {}`,
  'lib/options.ts': `
    export interface Options { readonly grace: number }
    export type Loud = Options & { readonly noise: string };`,
  'lib/testing/index.ts': `export class Clock { advance() {} }`,
  'README.md': '[docs](docs/index.md)',
  'docs/index.md': '[a](a.md) [b](deep/b.md#b)',
  'docs/a.md': '[c](c.md) `[d](d.md)`',
  'docs/deep/b.md': '# B\n[up](../index.md)',
  'docs/c.md': '',
  'docs/d.md': '',
};

t.test('pages that no link leads to are found, and those that the index leaves out', async (t) => {
  const root = t.testdir();
  writeTree(root, TREE);
  t.same(unreachable(root, 'README.md'), ['docs/d.md']);
  t.same(unlisted(root, 'docs/index.md'), ['docs/c.md', 'docs/d.md']);
});

t.test('names are read with their members, inherited ones and options too', async (t) => {
  const root = t.testdir();
  writeTree(root, TREE);
  const read = readNames(root);
  const known = knower(read);
  const has = (span: string) => mentionsIn(span).every((mention: Mention) => known(mention));
  for (const span of [
    'Deferred',
    'succeed()',
    'Deferred.from()',
    'called',
    'cancel()',
    'Clock',
    'grace',
    'noise',
  ])
    t.ok(has(span), span);
  t.ok(has('new Deferred({ loud: true })'));
  for (const span of [
    'Later',
    'secret',
    'fail()',
    'Deferred.advance()',
    'Clock.from()',
    'new Deferred({ quiet })',
  ])
    t.notOk(has(span), span);
  t.same(notThere('`Later` and `Deferred`, `fail(1)`; ``later`` `Python`', read, ['Python']), [
    'Later',
    'fail()',
  ]);

  const page = (rows: string) => `# A\n| Twisted | plait | What differs |\n|---|---|---|\n${rows}`;
  t.same(
    nameFaults(
      page('| `Deferred` | the same | |\n| `reactor.later(f)` | `new Deferred({ loud })` | |'),
      read,
    ),
    [],
  );
  t.same(nameFaults(page('| `Later` | the same | |\n| `x` | `fail(1)`, `quiet` | |'), read), [
    'the same: Later',
    'there is no fail of `fail(1)`',
    'there is no quiet of `quiet`',
  ]);
  t.same(nameFaults(page('| `Clock`, `iterate` | | None |\n| `d.cancel` | | Not yet |'), read), [
    'said to be missing: Clock',
    'said to be missing: cancel',
  ]);

  const twisted = [
    't.defer.Deferred',
    't.defer.succeed',
    't.task.Clock',
    't.task.react',
    't.tcp.Options',
  ];
  const table = (rows: string) =>
    `## Names that are the same\n| Twisted | Import it from | Names |\n|---|---|---|\n${rows}`;
  const listed =
    page('| `succeed(v)` | the same | |\n') + table('| `t.defer` | `plait` | `Deferred` |\n');
  t.same(sharedNames(listed, read, twisted, ['t.tcp.Options']), {
    missing: ['t.task.Clock'],
    wrong: [],
  });
  const faulty = table(
    '| `t.task` | `plait` | `Clock`, `react` |\n| `t.defer` | `plait` | `Deferred`, `Clock` |\n',
  );
  t.same(sharedNames(page('') + faulty, read, twisted, ['t.tcp.Options', 't.old']), {
    missing: ['t.defer.succeed'],
    wrong: [
      't.task.Clock is not in plait',
      't.task.react is not in plait',
      't.defer.Clock is not in plait',
      'there is no t.defer.Clock',
      'exempt for nothing: t.old',
    ],
  });
});

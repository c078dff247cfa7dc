/**
 * The project keeps its own rules, and the checker of the rules finds each kind of fault: shown on a small healthy
 * tree with one fault put into it at a time.
 */
import { join } from 'node:path';
import { check, FLOORS } from './architecture.ts';
import t from './fixture.ts';
import { writeTree, type Tree } from './tree.ts';

const door = (source: string) => ({
  'plait-source': `./${source}.ts`,
  types: `./dist/${source}.d.ts`,
  default: source.startsWith('lib/')
    ? `./dist/bundle/${source.split('/').at(-2) === 'lib' ? 'index' : source.split('/').at(-2)}.js`
    : `./dist/${source}.js`,
});

const EXPORTS: Record<string, unknown> = {
  '.': door('lib/index'),
  './testing': door('lib/testing/index'),
  './protocols/echo': door('protocols/echo'),
  './protocols/http': door('protocols/http/index'),
  './package.json': './package.json',
};

const manifest = (exports: Record<string, unknown>) =>
  JSON.stringify({ name: 'plait', exports, dependencies: { eventemitter3: '5.0.4' } });

const HEALTHY: Tree = {
  'package.json': manifest(EXPORTS),
  'lib/index.ts': `
    export * from './defer.ts';
    export { Reactor } from './reactor.ts';
    export type * from './interfaces.ts';`,
  'lib/errors.ts': `
    import type { Deferred } from './defer.ts';
    export class TimeoutError extends Error { declare readonly deferred: Deferred; }`,
  'lib/interfaces.ts': `
    import type { Deferred } from './defer.ts';
    /** @internal */
    export interface IReactor { run(): Deferred }
    export type Seconds = number;
    export type { Deferred } from './defer.ts';`,
  'lib/address.ts': `
    import { isIPv4 } from 'node:net';
    export const isAddress = isIPv4;`,
  'lib/defer.ts': `
    import EventEmitter from 'eventemitter3';
    import { inspect } from 'node:util';
    import { TimeoutError, type TimeoutError as T } from './errors.ts';
    declare global { interface Array<T> { none?: T } }
    export class Deferred {}`,
  'lib/io/node.ts': `
    import { connect } from 'node:net';
    import { lookup } from 'node:dns/promises';
    export const io = { connect, lookup };`,
  'lib/reactor.ts': `
    import { io } from './io/node.ts';
    import { Deferred } from './defer.ts';
    export class Reactor { io = io; d = new Deferred(); }`,
  'lib/testing/index.ts': `export * from './clock.ts';`,
  'lib/testing/clock.ts': `import { Reactor } from '../reactor.ts'; export class Clock extends Reactor {}`,
  'protocols/echo.ts': `import { Deferred } from 'plait'; export const echo = new Deferred();`,
  'protocols/http/index.ts': `
    import { echo } from 'plait/protocols/echo';
    import type { Socket } from 'node:net';
    export { parse } from './grammar.ts';`,
  'protocols/http/grammar.ts': `
    import { Buffer } from 'node:buffer';
    import type { Socket } from 'node:net';
    import { header } from './headers.ts';
    export const parse = header;`,
  'protocols/http/headers.ts': `export const header = 1;`,
  'docs/reference/echo.md': '',
  'docs/reference/http.md': '',
  'test/fixture.ts': `import t from 'tap'; export default t;`,
  'test/protocols/echo.test.ts': `import t from '../fixture.ts';`,
  'test/protocols/http/client.test.ts': `import t from '../../fixture.ts';`,
};

/** What is put into the healthy tree, and what is then found. */
const FAULTS: readonly { name: string; tree: Tree; faults: readonly string[] }[] = [
  {
    name: 'a file imports from a higher floor',
    tree: { 'lib/defer.ts': `import { io } from './io/node.ts';` },
    faults: ['lib/defer.ts on floor 1 imports lib/io/node.ts on floor 3'],
  },
  {
    name: 're-exporting from a higher floor, or importing inside a function, is importing',
    tree: {
      'lib/defer.ts': `export * from './reactor.ts';`,
      'lib/reactor.ts': `export class Reactor {}`,
      'lib/errors.ts': `export const late = () => import('./defer.ts');`,
    },
    faults: [
      'lib/defer.ts on floor 1 imports lib/reactor.ts on floor 4',
      'lib/errors.ts on floor 0 imports lib/defer.ts on floor 1',
    ],
  },
  {
    name: 'a file of lib/ is not in the table',
    tree: { 'lib/gadget.ts': '' },
    faults: ['no floor for lib/gadget.ts: enter it in test/architecture.ts'],
  },
  {
    name: 'an import that only asks for types is not marked as a whole',
    tree: { 'lib/errors.ts': `import { type Socket } from 'node:stream';` },
    faults: [
      'lib/errors.ts: the import of node:stream only asks for types, yet runs it: write `import type`',
    ],
  },
  {
    name: 'the interfaces hold something that runs',
    tree: { 'lib/interfaces.ts': `import { x } from './errors.ts';\nexport const y: number = x;` },
    faults: [
      `lib/interfaces.ts: more than types: import { x } from './errors.ts';`,
      'lib/interfaces.ts: more than types: export const y: number = x;',
    ],
  },
  {
    name: "Node's network is used outside lib/io/",
    tree: {
      'lib/reactor.ts': `export { connect } from 'node:net'; export class Reactor {}`,
      'protocols/echo.ts': `import { lookup } from 'node:dns/promises';`,
    },
    faults: [
      'lib/reactor.ts imports node:net, which only lib/io/ may',
      'protocols/echo.ts imports node:dns/promises, which only lib/io/ may',
    ],
  },
  {
    name: 'a file with leave to read addresses takes more than that',
    tree: { 'lib/address.ts': `import { isIPv4, connect } from 'node:net';` },
    faults: ['lib/address.ts imports node:net, which only lib/io/ may'],
  },
  {
    name: "one of Node's modules is imported without node:",
    tree: { 'lib/defer.ts': `import { inspect } from 'util';` },
    faults: ['lib/defer.ts imports util: write node:util'],
  },
  {
    name: 'files import each other',
    tree: {
      'lib/errors.ts': `import './log.ts';`,
      'lib/log.ts': `export { Failure } from './failure.ts';`,
      'lib/failure.ts': `import { x } from './errors.ts';`,
    },
    faults: ['import cycle: lib/errors.ts → lib/log.ts → lib/failure.ts → lib/errors.ts'],
  },
  {
    name: 'protocols import each other through their doors',
    tree: { 'protocols/echo.ts': `import { parse } from 'plait/protocols/http';` },
    faults: ['import cycle: protocols/echo.ts → protocols/http/index.ts → protocols/echo.ts'],
  },
  {
    name: 'somebody inside lib/ imports the front door',
    tree: {
      'lib/testing/clock.ts': `import { Reactor } from '../index.ts';`,
      'lib/reactor.ts': `import type { Deferred } from 'plait'; export class Reactor {}`,
    },
    faults: [
      'lib/reactor.ts imports plait by name, from inside',
      'lib/testing/clock.ts imports lib/index.ts from inside',
    ],
  },
  {
    name: 'lib/ imports a protocol',
    tree: {
      'lib/reactor.ts': `import { echo } from '../protocols/echo.ts'; export class Reactor {}`,
      'lib/defer.ts': `import type { parse } from 'plait/protocols/http';`,
    },
    faults: [
      'lib/defer.ts imports plait/protocols/http by name, from inside',
      'lib/reactor.ts imports protocols/echo.ts, outside lib/',
      'import cycle: lib/index.ts → lib/reactor.ts → protocols/echo.ts → lib/index.ts',
    ],
  },
  {
    name: 'a protocol imports from lib/, and not through a door',
    tree: {
      'protocols/echo.ts': `import type { Deferred } from '../lib/defer.ts';`,
      'protocols/http/headers.ts': `export const header: import('../../lib/defer.ts').Deferred = 1;`,
    },
    faults: [
      `protocols/echo.ts imports lib/defer.ts: it may use the doors only, as in from 'plait'`,
      `protocols/http/headers.ts imports lib/defer.ts: it may use the doors only, as in from 'plait'`,
    ],
  },
  {
    name: 'a protocol imports what is no door',
    tree: { 'protocols/echo.ts': `import { Deferred } from 'plait/lib/defer.js';` },
    faults: ['protocols/echo.ts imports plait/lib/defer.js, which is no door'],
  },
  {
    name: "a protocol imports another one's insides",
    tree: { 'protocols/echo.ts': `import { header } from './http/headers.ts';` },
    faults: [
      'protocols/echo.ts imports protocols/http/headers.ts: another protocol only through its door',
    ],
  },
  {
    name: 'a package is used that is not installed with plait',
    tree: {
      'lib/defer.ts': `import t from 'tap';`,
      'protocols/echo.ts': `import x from '@scope/package/part';`,
    },
    faults: [
      'lib/defer.ts imports tap, which is not among the dependencies in package.json',
      'protocols/echo.ts imports @scope/package/part, which is not among the dependencies in package.json',
    ],
  },
  {
    name: 'a file has more than 600 lines',
    tree: { 'lib/errors.ts': '\n'.repeat(600), 'protocols/echo.ts': '\n'.repeat(601) },
    faults: ['protocols/echo.ts: 601 lines, more than 600'],
  },
  {
    name: 'a file is named after nothing',
    tree: { 'protocols/http/utils.ts': '', 'protocols/http/misc/trailer.ts': '' },
    faults: [
      'protocols/http/misc/trailer.ts: the name misc says nothing',
      'protocols/http/utils.ts: the name utils says nothing',
    ],
  },
  {
    name: 'something is exported by default',
    tree: {
      'lib/defer.ts': `export default class Deferred {}`,
      'lib/errors.ts': `const x = 1; export default x;`,
      'protocols/echo.ts': `const echo = 1; export { echo as default };`,
    },
    faults: [
      'lib/defer.ts: a default export',
      'lib/errors.ts: a default export',
      'protocols/echo.ts: a default export',
    ],
  },
  {
    name: 'there is an enum or a namespace',
    tree: {
      'lib/errors.ts': `export enum Color { red }\nexport namespace Paint { export const x = 1; }`,
    },
    faults: ['lib/errors.ts: the enum Color', 'lib/errors.ts: the namespace Paint'],
  },
  {
    name: 'a grammar does input or output, itself or through a sibling',
    tree: {
      'protocols/http/grammar.ts': `
        import { header } from './headers.ts';
        import { createHash } from 'node:crypto';
        export const parse = header;`,
      'protocols/http/headers.ts': `import './dates.ts'; export const header = 1;`,
      'protocols/http/dates.ts': `import { readFileSync } from 'node:fs';`,
    },
    faults: [
      'protocols/http/grammar.ts is sans-IO, but imports node:crypto',
      'protocols/http/grammar.ts is sans-IO, but imports node:fs through protocols/http/dates.ts',
    ],
  },
  {
    name: 'a door is not listed',
    tree: {
      'lib/loop/index.ts': '',
      'protocols/ftp.ts': '',
      'docs/reference/ftp.md': '',
      'test/protocols/ftp-client.test.ts': `import t from '../fixture.ts';`,
    },
    faults: [
      'lib/loop/index.ts: the door plait/loop is not in the exports of package.json',
      'protocols/ftp.ts: the door plait/protocols/ftp is not in the exports of package.json',
    ],
  },
  {
    name: 'a listed door leads nowhere',
    tree: {
      'package.json': manifest({
        ...EXPORTS,
        './loop': door('lib/loop/index'),
        './license': './LICENSE',
      }),
    },
    faults: [
      'package.json: exports ./loop: there is no source ./lib/loop/index.ts',
      'package.json: exports ./license: there is no ./LICENSE',
    ],
  },
  {
    name: 'the exports have a wildcard',
    tree: { 'package.json': manifest({ ...EXPORTS, './protocols/*': './protocols/*.ts' }) },
    faults: ['package.json: exports ./protocols/*: a wildcard; list each door'],
  },
  {
    name: 'a door leads to something else once it is built, or puts the default first',
    tree: {
      'package.json': manifest({
        ...EXPORTS,
        '.': { ...door('lib/index'), default: './dist/index.js' },
        './testing': Object.fromEntries(Object.entries(door('lib/testing/index')).reverse()),
      }),
    },
    faults: [
      `package.json: exports .: should be ${JSON.stringify(door('lib/index'))}`,
      `package.json: exports ./testing: should be ${JSON.stringify(door('lib/testing/index'))}`,
    ],
  },
  {
    name: 'a protocol lacks its door, its page or its tests',
    tree: {
      'protocols/ftp/grammar.ts': '',
      'docs/reference/http.md': null,
      'test/protocols/echo.test.ts': null,
      'test/protocols/echoes.test.ts': `import t from '../fixture.ts';`,
    },
    faults: [
      'protocols/echo: no tests, test/protocols/echo.test.ts',
      'protocols/ftp: no door, protocols/ftp/index.ts',
      'protocols/ftp: no reference page, docs/reference/ftp.md',
      'protocols/ftp: no tests, test/protocols/ftp.test.ts',
      'protocols/http: no reference page, docs/reference/http.md',
    ],
  },
  {
    name: 'a test does without the fixture',
    tree: { 'test/lib/defer.test.ts': `import t from 'tap';` },
    faults: ['test/lib/defer.test.ts: takes t from tap, not from test/fixture.ts'],
  },
];

t.test('plait keeps its own rules', async (t) => {
  t.same(check(join(import.meta.dirname, '..')), []);
});

t.test('each file of the table of floors is there once', async (t) => {
  const names = FLOORS.flat();
  t.same(names, [...new Set(names)]);
});

t.test('nothing is found in a healthy tree', async (t) => {
  const root = t.testdir();
  writeTree(root, HEALTHY);
  t.same(check(root), []);
});

t.test('each kind of fault is found when', async (t) => {
  for (const { name, tree, faults } of FAULTS) {
    t.test(name, async (t) => {
      const root = t.testdir();
      writeTree(root, HEALTHY);
      writeTree(root, tree);
      t.same(check(root), faults);
    });
  }
});

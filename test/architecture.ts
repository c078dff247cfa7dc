/**
 * How the project is put together, as rules that can be checked: floors and cycles of imports, doors, and what a file
 * may be and hold. `check` reads a folder tree and returns the faults in it. docs/contributing.md gives the reasons.
 */
import { existsSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import ts from 'typescript';
import {
  filesIn,
  hasModifier,
  nodesOf,
  readModules,
  resolveRelative,
  type Import,
  type Module,
} from './modules.ts';

/**
 * The floors of lib/, lowest first; a file imports from its own floor and those below. A name with a slash stands for
 * all that is in that folder. New files are entered here.
 */
export const FLOORS: readonly (readonly string[])[] = [
  [
    'address',
    'arguments',
    'awaited',
    'bytes',
    'error-names',
    'errors',
    'failure',
    'fifo',
    'heap',
    'inspect',
    'interfaces',
    'interfaces/',
    'lockfile',
    'log',
    'one-line',
    'pending',
    'printable',
    'regular-file',
    'standard-error',
    'tls-settings',
    'unhandled',
  ],
  [
    'chain',
    'coroutine',
    'defer',
    'frames',
    'give-up',
    'hooks',
    'log-prefix',
    'maybe',
    'promised',
    'thenable',
    'time',
  ],
  [
    'certificate-names',
    'certificate-signing',
    'certificates',
    'ciphers',
    'datagram',
    'der',
    'der-writer',
    'events',
    'gather',
    'host-identity',
    'inline',
    'locks',
    'observed-events',
    'private-certificates',
    'private-keys',
    'process-protocol',
    'protocol',
    'queues',
    'server-names',
    'signals',
    'shutdown',
    'slow-callbacks',
    'ssl',
    'threads/',
    'triggers',
    'trust',
    'verify-peer',
    'waiters',
    'wrapping',
  ],
  ['io/', 'resolver', 'transport/'],
  ['reactor', 'reactor-base'],
  [
    'client-creator',
    'client-service',
    'connection',
    'cooperate',
    'endpoint-credentials',
    'endpoint-description',
    'endpoint-plugins',
    'endpoint-service',
    'endpoint-strings',
    'endpoints',
    'file-sender',
    'filesystem-lock',
    'hostname-endpoint',
    'log-bridges',
    'log-files',
    'log-json',
    'logging',
    'pcp',
    'process-endpoints',
    'process-output',
    'reactor-services',
    'reconnecting',
    'run',
    'scope',
    'service',
    'stdio',
    'streams',
    'systemd',
    'task',
    'threads',
    'tls-endpoints',
    'tls-wrapper',
    'web-streams',
    'which',
    'write-gate',
  ],
  ['green/', 'index', 'loop/', 'testing/'],
];

/** Node's modules that touch the operating system's network and processes: for lib/io/ alone. */
const FOR_IO = ['child_process', 'dgram', 'dns', 'net', 'tls'];

/** Who may import one of those all the same, and why. */
const ALLOWED = [
  {
    path: 'lib/address.ts',
    module: 'net',
    names: ['isIP', 'isIPv4', 'isIPv6'],
    reason: 'they read text, and open nothing',
  },
];

const MOST_LINES = 600;
const NO_NAMES = ['helper', 'helpers', 'misc', 'type', 'types', 'util', 'utils'];

/** The doors that package.json opens. */
export interface Doors {
  /** The source behind each name, as in `plait/testing`. */
  readonly sources: ReadonlyMap<string, string>;
  readonly dependencies: readonly string[];
  readonly faults: readonly string[];
}

/** The faults of the project in the folder `root`; none if all is well. */
export function check(root: string): string[] {
  const modules = [...readModules(root, 'lib'), ...readModules(root, 'protocols')];
  const doors = readDoors(root);
  return [
    ...doors.faults,
    ...doorsMissing(modules, doors),
    ...modules.flatMap((module) => [
      ...shapeFaults(module),
      ...floorFaults(module),
      ...importFaults(module, doors),
    ]),
    ...cycles(modules, doors),
    ...impureGrammars(modules),
    ...protocolFaults(root, modules),
    ...testsWithoutFixture(root),
  ];
}

// ── Doors ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const WORKER = './lib/threads/worker.ts';

interface PackageJson {
  name?: string;
  exports?: Record<string, string | Record<string, string>>;
  dependencies?: Record<string, string>;
}

/** Reads what package.json exports, and what is wrong about that. */
export function readDoors(root: string): Doors {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as PackageJson;
  const sources = new Map<string, string>();
  const faults: string[] = [];
  for (const [name, target] of Object.entries(manifest.exports ?? {})) {
    const fault = (text: string) => faults.push(`package.json: exports ${name}: ${text}`);
    if (name.includes('*')) {
      fault('a wildcard; list each door');
    } else if (typeof target === 'string') {
      if (!existsSync(join(root, target))) fault(`there is no ${target}`);
    } else {
      const source = target['plait-source'] ?? '';
      const built = source.replace(/^\.\//, './dist/');
      if (source === '' || !existsSync(join(root, source))) fault(`there is no source ${source}`);
      // Node and TypeScript take the first condition that fits, so the order is part of it.
      const wanted = {
        'plait-source': source,
        types: built.replace(/\.ts$/, '.d.ts'),
        // What lib/ holds is bundled: a process that loads a hundred small files is slow to start.
        default:
          source === WORKER
            ? './dist/bundle/worker.js'
            : source.startsWith('./lib/')
              ? source.replace(
                  /^\.\/lib\/(?:([^/]+)\/)?index\.ts$/,
                  (_, name = 'index') => `./dist/bundle/${name}.js`,
                )
              : built.replace(/\.ts$/, '.js'),
      };
      if (JSON.stringify(target) !== JSON.stringify(wanted)) {
        fault(`should be ${JSON.stringify(wanted)}`);
      }
      // What threads run is a file to point at, and no door.
      if (source !== WORKER)
        sources.set(name.replace(/^\./, manifest.name ?? ''), source.replace(/^\.\//, ''));
    }
  }
  return { sources, dependencies: Object.keys(manifest.dependencies ?? {}), faults };
}

/** The name that a file is the door of; undefined if it is none. */
function doorName(path: string): string | undefined {
  if (path === 'lib/index.ts') return 'plait';
  const [, inLib, protocol] =
    /^(?:lib\/([^/]+)\/index|protocols\/([^/]+?)(?:\/index)?)\.ts$/.exec(path) ?? [];
  if (inLib !== undefined) return `plait/${inLib}`;
  return protocol === undefined ? undefined : `plait/protocols/${protocol}`;
}

function doorsMissing(modules: readonly Module[], doors: Doors): string[] {
  return modules.flatMap(({ path }) => {
    const name = doorName(path);
    return name === undefined || doors.sources.get(name) === path
      ? []
      : [`${path}: the door ${name} is not in the exports of package.json`];
  });
}

// ── One file ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function* shapeFaults({ path, text, source }: Module): Generator<string> {
  const lines = text.split('\n').length - 1;
  if (lines > MOST_LINES) yield `${path}: ${lines} lines, more than ${MOST_LINES}`;
  for (const name of path.replace(/\.ts$/, '').split('/')) {
    if (NO_NAMES.includes(name)) yield `${path}: the name ${name} says nothing`;
  }
  for (const node of nodesOf(source)) {
    if (isDefaultExport(node)) yield `${path}: a default export`;
    if (ts.isEnumDeclaration(node)) yield `${path}: the enum ${node.name.text}`;
    if (ts.isModuleDeclaration(node) && isNamespace(node)) {
      yield `${path}: the namespace ${node.name.text}`;
    }
  }
  if (path !== 'lib/interfaces.ts') return;
  for (const statement of source.statements) {
    if (!isTypeOnly(statement)) {
      yield `${path}: more than types: ${statement.getText().split('\n', 1).join()}`;
    }
  }
}

function isDefaultExport(node: ts.Node): boolean {
  return (
    ts.isExportAssignment(node) ||
    hasModifier(node, ts.SyntaxKind.DefaultKeyword) ||
    (ts.isExportSpecifier(node) && node.name.text === 'default')
  );
}

/** Not so `declare module 'x'` and `declare global`, which add to types of others. */
function isNamespace(node: ts.ModuleDeclaration): boolean {
  return ts.isIdentifier(node.name) && (node.flags & ts.NodeFlags.GlobalAugmentation) === 0;
}

function isTypeOnly(statement: ts.Statement): boolean {
  if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) return true;
  if (ts.isExportDeclaration(statement)) return statement.isTypeOnly;
  return (
    ts.isImportDeclaration(statement) &&
    statement.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword
  );
}

// ── Imports ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The floor of a file of lib/; undefined if it is not in the table. */
function floorOf(path: string): number | undefined {
  const name = path.replace(/^lib\//, '').replace(/\.ts$/, '');
  const at = FLOORS.findIndex((names) =>
    names.some((entry) => (entry.endsWith('/') ? name.startsWith(entry) : name === entry)),
  );
  return at < 0 ? undefined : at;
}

function* floorFaults({ path, imports }: Module): Generator<string> {
  if (!path.startsWith('lib/')) return;
  const own = floorOf(path);
  if (own === undefined) {
    yield `no floor for ${path}: enter it in test/architecture.ts`;
    return;
  }
  for (const { specifier, typeOnly } of imports) {
    if (typeOnly !== 'none' || !specifier.startsWith('.')) continue;
    const target = resolveRelative(path, specifier);
    const floor = floorOf(target);
    if (floor !== undefined && floor > own) {
      yield `${path} on floor ${own} imports ${target} on floor ${floor}`;
    }
  }
}

function* importFaults(module: Module, doors: Doors): Generator<string> {
  const { path } = module;
  for (const item of module.imports) {
    const { specifier } = item;
    if (item.typeOnly === 'names') {
      yield `${path}: the import of ${specifier} only asks for types, yet runs it: write \`import type\``;
    }
    if (specifier.startsWith('.')) yield* relativeFaults(path, resolveRelative(path, specifier));
    else if (isNodeModule(specifier)) yield* nodeFaults(path, item);
    else if (specifier === 'plait' || specifier.startsWith('plait/')) {
      if (path.startsWith('lib/')) yield `${path} imports ${specifier} by name, from inside`;
      else if (!doors.sources.has(specifier))
        yield `${path} imports ${specifier}, which is no door`;
    } else if (!doors.dependencies.includes(packageOf(specifier))) {
      yield `${path} imports ${specifier}, which is not among the dependencies in package.json`;
    }
  }
}

function* relativeFaults(path: string, target: string): Generator<string> {
  const inLib = path.startsWith('lib/');
  if (inLib && target === 'lib/index.ts') yield `${path} imports ${target} from inside`;
  if (inLib && !target.startsWith('lib/')) yield `${path} imports ${target}, outside lib/`;
  if (inLib) return;
  if (!target.startsWith('protocols/')) {
    yield `${path} imports ${target}: it may use the doors only, as in from 'plait'`;
  } else if (protocolOf(target) !== protocolOf(path) && doorName(target) === undefined) {
    yield `${path} imports ${target}: another protocol only through its door`;
  }
}

function* nodeFaults(path: string, { specifier, names, typeOnly }: Import): Generator<string> {
  const name = specifier.replace(/^node:/, '');
  if (name === specifier) yield `${path} imports ${specifier}: write node:${specifier}`;
  const [module = ''] = name.split('/');
  if (!FOR_IO.includes(module) || typeOnly === 'whole' || path.startsWith('lib/io/')) return;
  const allowed = ALLOWED.some(
    (entry) =>
      entry.path === path &&
      entry.module === module &&
      names.every((asked) => entry.names.includes(asked)),
  );
  if (!allowed) yield `${path} imports ${specifier}, which only lib/io/ may`;
}

function isNodeModule(specifier: string): boolean {
  return specifier.startsWith('node:') || builtinModules.includes(specifier);
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** The file of the project that an import runs; undefined if it runs none. */
function runs({ specifier, typeOnly }: Import, from: string, doors: Doors): string | undefined {
  if (typeOnly === 'whole') return undefined;
  return specifier.startsWith('.')
    ? resolveRelative(from, specifier)
    : doors.sources.get(specifier);
}

/** One way round for each import that closes a ring. */
function cycles(modules: readonly Module[], doors: Doors): string[] {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  const done = new Set<string>();
  const faults: string[] = [];
  const visit = (path: string, above: readonly string[]) => {
    const module = byPath.get(path);
    if (module === undefined || done.has(path)) return;
    const way = [...above, path];
    for (const item of module.imports) {
      const target = runs(item, path, doors);
      if (target === undefined) continue;
      const at = way.indexOf(target);
      if (at >= 0) faults.push(`import cycle: ${[...way.slice(at), target].join(' → ')}`);
      else visit(target, way);
    }
    done.add(path);
  };
  for (const { path } of modules) visit(path, []);
  return faults;
}

/** A grammar takes bytes and gives events, so neither it nor what it is made of has business with Node. */
function impureGrammars(modules: readonly Module[]): string[] {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  return modules.flatMap(({ path: grammar }) => {
    if (!grammar.endsWith('/grammar.ts')) return [];
    const faults: string[] = [];
    const reached = new Set([grammar]);
    for (const path of reached) {
      for (const { specifier, typeOnly } of byPath.get(path)?.imports ?? []) {
        if (typeOnly === 'whole') continue;
        if (specifier.startsWith('.')) reached.add(resolveRelative(path, specifier));
        else if (isNodeModule(specifier) && !/^(node:)?buffer$/.test(specifier)) {
          const through = path === grammar ? '' : ` through ${path}`;
          faults.push(`${grammar} is sans-IO, but imports ${specifier}${through}`);
        }
      }
    }
    return faults;
  });
}

// ── What belongs together ────────────────────────────────────────────────────────────────────────────────────────────

/** The protocol that a file of protocols/ belongs to. */
function protocolOf(path: string): string {
  return path.replace(/^protocols\//, '').replace(/(\/.*|\.ts)$/, '');
}

function protocolFaults(root: string, modules: readonly Module[]): string[] {
  const paths = modules.map(({ path }) => path).filter((path) => path.startsWith('protocols/'));
  const tests = filesIn(root, 'test/protocols').filter((path) => path.endsWith('.test.ts'));
  return [...new Set(paths.map(protocolOf))].flatMap((name) => {
    const faults: string[] = [];
    if (!paths.some((path) => doorName(path) === `plait/protocols/${name}`)) {
      faults.push(`protocols/${name}: no door, protocols/${name}/index.ts`);
    }
    if (!existsSync(join(root, `docs/reference/${name}.md`))) {
      faults.push(`protocols/${name}: no reference page, docs/reference/${name}.md`);
    }
    if (!tests.some((path) => new RegExp(`^test/protocols/${name}[./-]`).test(path))) {
      faults.push(`protocols/${name}: no tests, test/protocols/${name}.test.ts`);
    }
    return faults;
  });
}

function testsWithoutFixture(root: string): string[] {
  return readModules(root, 'test').flatMap(({ path, imports }) => {
    if (!path.endsWith('.test.ts')) return [];
    const fixture = imports.some(
      ({ specifier }) =>
        specifier.startsWith('.') && resolveRelative(path, specifier) === 'test/fixture.ts',
    );
    return fixture ? [] : [`${path}: takes t from tap, not from test/fixture.ts`];
  });
}

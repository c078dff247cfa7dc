/**
 * What the pages of the documentation say of names and of one another, as rules that can be checked: each page can be
 * reached from docs/index.md, names of plait's that a page calls by their names exist, and docs/howto/from-twisted.md
 * says what has become of each name that plait and Twisted have both. The functions return the faults that they find.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { readDoors } from './architecture.ts';
import { exportsOf } from './doctest.ts';
import { linksOf, withoutBlocks } from './docs.ts';
import { filesIn, nodesOf, readModules } from './modules.ts';

// ── Links ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The pages of docs/ that cannot be reached by links from the page `from`. */
export function unreachable(root: string, from: string): string[] {
  const reached = new Set([from]);
  for (const page of reached) {
    for (const { path } of linksOf(page, readFileSync(join(root, page), 'utf8')))
      if (path.endsWith('.md') && existsSync(join(root, path))) reached.add(path);
  }
  return filesIn(root, 'docs').filter((path) => path.endsWith('.md') && !reached.has(path));
}

/** The pages of docs/ that the page `index` has no link to, itself apart. */
export function unlisted(root: string, index: string): string[] {
  const linked = new Set(
    [...linksOf(index, readFileSync(join(root, index), 'utf8'))].map(({ path }) => path),
  );
  return filesIn(root, 'docs').filter(
    (path) => path.endsWith('.md') && path !== index && !linked.has(path),
  );
}

// ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What plait has, by its names. */
export interface Names {
  /** The exports of each door, and whether they are types only. */
  readonly doors: ReadonlyMap<string, ReadonlyMap<string, boolean>>;
  /** The members of each class and interface that is exported, inherited ones too. */
  readonly members: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Reads the names of the project in the folder `root`. */
export function readNames(root: string): Names {
  const modules = [...readModules(root, 'lib'), ...readModules(root, 'protocols')];
  const byPath = new Map(modules.map((module) => [module.path, module]));
  const { sources } = readDoors(root);
  const doors = new Map(
    [...sources].map(([door, path]) => [door, exportsOf(path, byPath, sources)]),
  );
  const declared = new Map<string, { own: Set<string>; parents: Set<string> }>();
  for (const { source } of modules) {
    for (const node of nodesOf(source)) {
      const isType = ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
      if (!isType && !ts.isClassDeclaration(node)) continue;
      const name = node.name?.text ?? '';
      const { own, parents } = declared.get(name) ?? { own: new Set(), parents: new Set() };
      declared.set(name, { own, parents });
      for (const inner of nodesOf(node)) {
        if (ts.isExpressionWithTypeArguments(inner) && inner.parent.parent === node)
          parents.add(inner.expression.getText(source));
        else if (isMember(inner) && (ts.isTypeAliasDeclaration(node) || inner.parent === node))
          own.add(inner.name.getText(source));
        else if (ts.isParameter(inner) && ts.isConstructorDeclaration(inner.parent))
          // The options of a constructor, where their type has no name.
          for (const option of nodesOf(inner))
            if (isMember(option)) own.add(option.name.getText(source));
        if (ts.isTypeAliasDeclaration(node) && ts.isTypeReferenceNode(inner))
          parents.add(inner.typeName.getText(source));
      }
    }
  }
  const members = new Map<string, Set<string>>();
  const collect = (name: string): Set<string> => {
    const known = members.get(name);
    if (known !== undefined) return known;
    const all = new Set<string>();
    members.set(name, all);
    const { own = [], parents = [] } = declared.get(name) ?? {};
    for (const member of own) all.add(member);
    for (const parent of parents) for (const member of collect(parent)) all.add(member);
    return all;
  };
  for (const names of doors.values()) for (const name of names.keys()) collect(name);
  return { doors, members };
}

function isMember(node: ts.Node): node is ts.Node & { readonly name: ts.PropertyName } {
  const kinds = [
    ts.SyntaxKind.PropertySignature,
    ts.SyntaxKind.MethodSignature,
    ts.SyntaxKind.PropertyDeclaration,
    ts.SyntaxKind.MethodDeclaration,
    ts.SyntaxKind.GetAccessor,
    ts.SyntaxKind.SetAccessor,
  ];
  if (!kinds.includes(node.kind)) return false;
  const { name } = node as ts.NamedDeclaration;
  return name !== undefined && !ts.isPrivateIdentifier(name);
}

/** A name in a span of code, and what stands before it: `Deferred` of `Deferred.fromPromise`. */
export interface Mention {
  readonly name: string;
  readonly of: string | undefined;
  /** It is called, or stands for a class or a type by its capital letter, or for an option. */
  readonly kind: 'call' | 'class' | 'option' | 'other';
}

/** The names in a span of code, as far as it can be read as TypeScript. */
export function mentionsIn(span: string): Mention[] {
  const found: Mention[] = [];
  const add = (name: string, kind: Mention['kind'], of?: string): void =>
    void found.push({ name, kind, of });
  // A header, as in `User-Agent`, is no subtraction.
  if (/^[A-Za-z]+(?:-[A-Za-z]+)+$/.test(span)) return [];
  const source = ts.createSourceFile(
    'x.ts',
    span.replaceAll('…', ''),
    ts.ScriptTarget.ESNext,
    true,
  );
  // What is no TypeScript is an answer of a server's, say.
  const { parseDiagnostics = [] } = source as { parseDiagnostics?: readonly unknown[] };
  if (parseDiagnostics.length > 0 && !span.includes('…')) return [];
  for (const node of nodesOf(source)) {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const isCallee = (one: ts.Node): boolean =>
        (ts.isCallExpression(one.parent) || ts.isNewExpression(one.parent)) &&
        one.parent.expression === one;
      if (ts.isPropertyAccessExpression(parent) && parent.name === node)
        add(
          node.text,
          isCallee(parent) ? 'call' : 'other',
          ts.isIdentifier(parent.expression) ? parent.expression.text : undefined,
        );
      else if (ts.isShorthandPropertyAssignment(parent)) add(node.text, 'option');
      else if (ts.isPropertyAssignment(parent) && parent.name === node) add(node.text, 'option');
      else if (isCallee(node)) add(node.text, 'call');
      else if (/^[A-Z]\w*[a-z]/.test(node.text)) add(node.text, 'class');
      else add(node.text, 'other');
    }
  }
  return found;
}

/** The code spans of a text in Markdown. */
export function spansOf(text: string): string[] {
  return [...withoutBlocks(text).matchAll(/(?<!`)(`+)(?!`)([^]*?[^`])\1(?!`)/g)].map(
    ([, , span = '']) => span.trim().replaceAll('\\|', '|').replace(/\s+/g, ' '),
  );
}

/** The cells of each row of the tables of a page but the head, by the heading above. */
export function rowsOf(
  text: string,
): { readonly heading: string; readonly cells: readonly string[] }[] {
  let heading = '';
  return text.split('\n').flatMap((line) => {
    heading = /^#+ +(.*)$/.exec(line)?.[1] ?? heading;
    if (!line.startsWith('|') || /^\|[ :|-]+\|$/.test(line)) return [];
    const cells = line.replace(/^\||\|$/g, '').split(/(?<!\\)\|/);
    return [{ heading, cells: cells.map((cell) => cell.trim()) }];
  });
}

/** Whether plait has what a span names: the whole of it, or as a member of what stands before. */
export function knower(names: Names): (mention: Mention) => boolean {
  const exported = new Set([...names.doors.values()].flatMap((door) => [...door.keys()]));
  const members = new Set([...names.members.values()].flatMap((all) => [...all]));
  return ({ name, of }) => {
    const inner = of === undefined ? undefined : names.members.get(of);
    if (inner !== undefined && inner.size > 0) return inner.has(name);
    return exported.has(name) || members.has(name);
  };
}

const SAME = 'Names that are the same';

/** Functions and classes in the code of a page that plait has not; `exempt` are others', functions with `()`. */
export function notThere(text: string, names: Names, exempt: readonly string[]): string[] {
  const known = knower(names);
  const faults = new Set<string>();
  for (const mention of spansOf(text).flatMap(mentionsIn)) {
    const { name, of, kind } = mention;
    if ((kind !== 'call' && kind !== 'class') || known(mention)) continue;
    const shown = kind === 'call' && !/^[A-Z]/.test(name) ? `${name}()` : name;
    if (!exempt.includes(shown) && !exempt.includes(`${of}.${shown}`)) faults.add(shown);
  }
  return [...faults];
}

/** What `self`, `d` and their like are called in a table, which are nobody's names. */
const VARIABLES =
  /^(?:[A-Z]|[a-z]{1,2}|ds|fn|gn|args|main|reactor|clock|transport|self|options|endpoint|deferred|bytes|error|failure|data|unread|this|listening|await|undefined|path|host|port|address|generator|log|logger)$/;

/**
 * What is not true in the first table of From Twisted to plait: names in the column of plait, or in the first one where
 * the second says that it is the same, that do not exist; and names that do where the third begins with `None` or
 * `Not yet`.
 */
export function nameFaults(text: string, names: Names): string[] {
  const known = knower(names);
  const faults: string[] = [];
  for (const { heading, cells } of rowsOf(text)) {
    const [twisted = '', plait = '', differs = ''] = cells;
    if (heading === SAME || cells.length !== 3) continue;
    const inTwisted = () => spansOf(twisted).flatMap(headsIn);
    for (const span of spansOf(plait)) {
      if (/^(?:import |yield|await|async)|^plait\//.test(span)) continue;
      for (const mention of mentionsIn(span)) {
        if (VARIABLES.test(mention.name) || known(mention)) continue;
        if (isOthers(mention)) continue;
        faults.push(`there is no ${mention.name} of \`${span}\``);
      }
    }
    if (/^the same\b/.test(plait))
      for (const name of inTwisted())
        if (!known({ name, of: undefined, kind: 'other' })) faults.push(`the same: ${name}`);
    if (plait === '' && /^(?:None|Not yet)\b/.test(differs))
      for (const name of inTwisted())
        if (known({ name, of: undefined, kind: 'other' }))
          faults.push(`said to be missing: ${name}`);
  }
  return faults;
}

/** What a span is about: `listenTCP` in `reactor.listenTCP(port, f)`. */
function headsIn(span: string): string[] {
  const head = /^(?:@|new )?((?:\w+\.)*)(\w+)/.exec(span)?.[2];
  return head === undefined || /^[a-z ]+ /.test(span) ? [] : [head];
}

/** JavaScript's, Node's, and those of an example in a table. */
function isOthers({ name }: Mention): boolean {
  return /^(?:Buffer|ChatFactory|AsyncLocalStorage|factory|then|Error|P|shop|info|declare|async|function)$/.test(
    name,
  );
}

/**
 * Compares the page with what plait and Twisted have both. `missing`: names that are neither in its first table nor in
 * that of the names that are the same. `wrong`: what that table, or `exempt`, says and is not so.
 *
 * @param twisted names with their modules
 * @param exempt those that stand for two things
 */
export function sharedNames(
  text: string,
  names: Names,
  twisted: readonly string[],
  exempt: readonly string[],
): { missing: string[]; wrong: string[] } {
  const rows = rowsOf(text);
  const first = new Set(
    rows
      .filter(({ heading }) => heading !== SAME)
      .flatMap(({ cells }) => cells.slice(0, 2).flatMap(spansOf))
      .flatMap(headsIn),
  );
  const listed = new Set<string>();
  const wrong: string[] = [];
  for (const { heading, cells } of rows) {
    const [module = '', door = '', all = ''] = cells
      .map(spansOf)
      .map((spans, at) => (at < 2 ? spans[0] : spans.join(' ')));
    if (heading !== SAME || door === '') continue;
    for (const name of all.split(' ')) {
      const full = `${module}.${name}`;
      listed.add(full);
      if (names.doors.get(door)?.has(name) !== true) wrong.push(`${full} is not in ${door}`);
      if (!twisted.includes(full)) wrong.push(`there is no ${full}`);
    }
  }
  const exported = new Set([...names.doors.values()].flatMap((door) => [...door.keys()]));
  const shared = twisted.filter((full) => exported.has(lastOf(full)));
  const missing = shared.filter(
    (full) => !first.has(lastOf(full)) && !listed.has(full) && !exempt.includes(full),
  );
  for (const full of exempt) if (!shared.includes(full)) wrong.push(`exempt for nothing: ${full}`);
  return { missing, wrong };
}

function lastOf(full: string): string {
  return full.slice(full.lastIndexOf('.') + 1);
}

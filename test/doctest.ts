/**
 * The examples in doc comments, made into modules that are type checked and run. An example stands behind `@example`
 * and is plain TypeScript. What it uses is imported for it: names that the doors export, else those of the file that
 * it stands in. A comment behind a statement may say what comes of it, and is then held to that:
 *
 *     received.length;                      // 2
 *     received.takeUntil(newline, 100);     // undefined: not yet
 *     sum.callback(41);                     // prints 42 before it returns
 *
 * A literal is compared with the value (with the result, if that is a Deferred), and what follows a colon is prose;
 * `prints` is compared with what was printed meanwhile. All other comments are prose.
 */
import { AssertionError, deepStrictEqual } from 'node:assert';
import { format } from 'node:util';
import ts from 'typescript';
import { Deferred } from '../lib/defer.ts';
import { readDoors } from './architecture.ts';
import { hasModifier, nodesOf, readModules, resolveRelative, type Module } from './modules.ts';

/** An example as a module. */
export interface Doctest {
  /** Where it stands, as in `lib/defer.ts:59`. */
  readonly name: string;
  /** The name of a file, for a folder beside lib/. */
  readonly file: string;
  /** Each line of the example has the number that it has in the source. */
  readonly text: string;
}

/** The examples in the doc comments of lib/ and protocols/. */
export function readDoctests(root: string): Doctest[] {
  const modules = [...readModules(root, 'lib'), ...readModules(root, 'protocols')];
  const byPath = new Map(modules.map((module) => [module.path, module]));
  const { sources } = readDoors(root);
  const doors = [...sources].map(
    ([name, path]) => [name, exportsOf(path, byPath, sources)] as const,
  );
  return modules.flatMap((module) =>
    examplesOf(module).map(({ line, code }) => {
      const own = [`../${module.path}`, exportsOf(module.path, byPath, sources)] as const;
      const imports = importsFor(code, [...doors.sort(nearest(module.path)), own]);
      return {
        name: `${module.path}:${line}`,
        file: `${module.path.replace(/\W+/g, '_')}_${line}.ts`,
        // It is not code that the tests should cover.
        text: `/* c8 ignore start */ ${imports}${'\n'.repeat(line)}${checked(code)}\nexport {};\n`,
      };
    }),
  );
}

/** The text behind each `@example`, up to the next tag, and the line of the tag, from 1. */
function examplesOf({ source, text }: Module): { line: number; code: string }[] {
  const comments = new Set<ts.JSDoc>();
  for (const node of nodesOf(source)) {
    for (const doc of (node as { jsDoc?: readonly ts.JSDoc[] }).jsDoc ?? []) comments.add(doc);
  }
  return [...comments].flatMap((comment) => {
    const first = source.getLineAndCharacterOfPosition(comment.pos).line + 1;
    const lines = text
      .slice(comment.pos, comment.end)
      .replace(/\*\/$/, '')
      .split('\n')
      .map((line) => line.replace(/^\s*\/?\*{1,2} ?/, ''));
    return lines.flatMap((line, at) => {
      if (!/^@example\b/.test(line)) return [];
      const rest = lines.slice(at + 1);
      const end = rest.findIndex((other) => /^@\w/.test(other));
      const code = (end < 0 ? rest : rest.slice(0, end)).join('\n').trimEnd();
      return [{ line: first + at, code }];
    });
  });
}

// ── Imports ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** For each name that a module exports, whether it is a type only. */
type Exports = ReadonlyMap<string, boolean>;
type ByPath = ReadonlyMap<string, Module>;

/** What the file at `path` exports, itself or from others. */
export function exportsOf(
  path: string,
  byPath: ByPath,
  doors: ReadonlyMap<string, string>,
): Exports {
  const names = new Map<string, boolean>();
  const add = (name: string, typeOnly: boolean) =>
    names.set(name, typeOnly && (names.get(name) ?? true));
  for (const statement of byPath.get(path)?.source.statements ?? []) {
    if (ts.isExportDeclaration(statement)) {
      const { exportClause: clause, moduleSpecifier: from, isTypeOnly } = statement;
      if (clause !== undefined && ts.isNamedExports(clause)) {
        for (const element of clause.elements)
          add(element.name.text, isTypeOnly || element.isTypeOnly);
      } else if (clause !== undefined) {
        add(clause.name.text, isTypeOnly);
      } else if (from !== undefined && ts.isStringLiteral(from)) {
        const target = from.text.startsWith('.')
          ? resolveRelative(path, from.text)
          : doors.get(from.text);
        if (target === undefined) continue;
        for (const [name, type] of exportsOf(target, byPath, doors)) add(name, isTypeOnly || type);
      }
    } else if (hasModifier(statement, ts.SyntaxKind.ExportKeyword)) {
      const typeOnly = ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement);
      const declared = ts.isVariableStatement(statement)
        ? statement.declarationList.declarations
        : [statement as ts.DeclarationStatement];
      for (const { name } of declared)
        if (name !== undefined && ts.isIdentifier(name)) add(name.text, typeOnly);
    }
  }
  return names;
}

/** Sorts doors: first the one that the file itself is behind, then the front door, then the rest. */
function nearest(
  path: string,
): (a: readonly [string, Exports], b: readonly [string, Exports]) => number {
  const rank = (name: string) => {
    const inside = name.replace('plait/', '');
    if (name !== 'plait' && new RegExp(`^(lib/)?${inside}[./]`).test(path)) return 0;
    return ['plait', 'plait/testing'].indexOf(name) + 1 || 3;
  };
  return ([a], [b]) => rank(a) - rank(b);
}

/** Import statements, on one line, for the names that the code uses and does not declare. */
function importsFor(code: string, modules: readonly (readonly [string, Exports])[]): string {
  const asked = new Map<string, string[]>();
  for (const name of freeNames(code)) {
    const [specifier, exports] = modules.find(([, names]) => names.has(name)) ?? [];
    if (specifier === undefined) continue;
    const names = asked.get(specifier) ?? [];
    names.push(exports?.get(name) === true ? `type ${name}` : name);
    asked.set(specifier, names);
  }
  const own = `import { is as __is, listen as __listen, heard as __heard } from '../test/doctest.ts'; `;
  return (
    own +
    [...asked].map(([from, names]) => `import { ${names.join(', ')} } from '${from}'; `).join('')
  );
}

function freeNames(code: string): Set<string> {
  const used = new Set<string>();
  const declared = new Set<string>();
  for (const node of nodesOf(parse(code))) {
    if (!ts.isIdentifier(node)) continue;
    const { parent } = node;
    if ((parent as { name?: ts.Node }).name === node && !ts.isShorthandPropertyAssignment(parent)) {
      // Names of properties are neither.
      if (!ts.isPropertyAccessExpression(parent) && !ts.isPropertyAssignment(parent))
        declared.add(node.text);
    } else {
      used.add(node.text);
    }
  }
  return new Set([...used].filter((name) => !declared.has(name)));
}

// ── What comes of a statement ────────────────────────────────────────────────────────────────────────────────────────

/** The code with the comments that say what comes of a statement made into checks, line by line as it was. */
function checked(code: string): string {
  const source = parse(code);
  const edits: { at: number; text: string }[] = [];
  for (const node of nodesOf(source)) {
    // Statements that stand by themselves, not the bodies of loops without braces.
    if (node === source || !(ts.isSourceFile(node.parent) || ts.isBlock(node.parent))) continue;
    const comment = commentBehind(node, code);
    const expression = expressionOf(node);
    const literal = literalIn(comment);
    if (comment.startsWith('prints ')) {
      edits.push({ at: node.getStart(), text: '__listen(); ' });
      edits.push({ at: node.end, text: `; __heard(${JSON.stringify(comment.slice(7))});` });
    } else if (literal !== undefined && expression !== undefined) {
      edits.push({ at: expression.getStart(), text: '__is((' });
      edits.push({ at: expression.end, text: `), (${literal}))` });
    }
  }
  return edits
    .sort((a, b) => b.at - a.at)
    .reduce((text, edit) => text.slice(0, edit.at) + edit.text + text.slice(edit.at), code);
}

/** The expression whose value a comment behind the statement tells of. */
function expressionOf(node: ts.Node): ts.Expression | undefined {
  if (ts.isExpressionStatement(node)) return node.expression;
  return ts.isVariableStatement(node)
    ? node.declarationList.declarations.at(-1)?.initializer
    : undefined;
}

function commentBehind(node: ts.Node, code: string): string {
  const [range] = ts.getTrailingCommentRanges(code, node.end) ?? [];
  if (range?.kind !== ts.SyntaxKind.SingleLineCommentTrivia) return '';
  return code.slice(range.pos + 2, range.end).trim();
}

/** The comment, or what comes before a colon in it, if that is a literal. */
function literalIn(comment: string): string | undefined {
  const ends = [comment.length, ...[...comment.matchAll(/:(?= |$)/g)].map(({ index }) => index)];
  return ends.map((end) => comment.slice(0, end)).find((text) => isLiteralText(text));
}

function isLiteralText(text: string): boolean {
  const [statement, ...others] = parse(`(${text})`).statements;
  return (
    statement !== undefined &&
    others.length === 0 &&
    ts.isExpressionStatement(statement) &&
    ts.isParenthesizedExpression(statement.expression) &&
    statement.end === text.length + 2 &&
    isLiteral(statement.expression.expression)
  );
}

function isLiteral(node: ts.Expression): boolean {
  if (ts.isPrefixUnaryExpression(node)) return ts.isNumericLiteral(node.operand);
  if (ts.isArrayLiteralExpression(node)) return node.elements.every(isLiteral);
  if (ts.isObjectLiteralExpression(node)) {
    return node.properties.every((p) => ts.isPropertyAssignment(p) && isLiteral(p.initializer));
  }
  if (ts.isIdentifier(node)) return ['undefined', 'NaN', 'Infinity'].includes(node.text);
  return ts.isLiteralExpression(node) || /^(null|true|false)$/.test(node.getText());
}

function parse(code: string): ts.SourceFile {
  return ts.createSourceFile('example.ts', code, ts.ScriptTarget.ESNext, true);
}

// ── While an example runs ────────────────────────────────────────────────────────────────────────────────────────────

let printed: string[] = [];

/** Holds back what is written to the console, until the function that it returns is called. */
export function holdConsole(): () => void {
  const methods = ['debug', 'error', 'info', 'log', 'warn'] as const;
  const before = { ...console };
  for (const method of methods) {
    console[method] = (...args: unknown[]) => void printed.push(format(...args));
  }
  return () => void Object.assign(console, before);
}

/** Compares a value, or the result of a Deferred, with what a comment says; returns the value. */
export function is<T>(value: T, wanted: unknown): T {
  deepStrictEqual(value instanceof Deferred ? value.result : value, wanted);
  return value;
}

/** Forgets what was printed so far. */
export function listen(): void {
  printed = [];
}

/** Compares what has been printed since with what a comment says, behind `prints`; prose may follow. */
export function heard(wanted: string): void {
  const actual = printed.join('\n');
  const rest = wanted.slice(actual.length);
  if (actual !== '' && wanted.startsWith(actual) && /^(\W|$)/.test(rest)) return;
  throw new AssertionError({
    message: 'printed something else',
    actual,
    expected: wanted,
    operator: 'prints',
  });
}

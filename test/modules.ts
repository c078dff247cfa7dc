/**
 * What the sources of the project import, export and declare, read with TypeScript's own parser; no types are
 * computed. For the tests that look at the project itself, `architecture.ts` and `docs.ts`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import ts from 'typescript';

/** One import or re-export. */
export interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** The names that are asked for; `*` for all. */
  readonly names: readonly string[];
  /** `whole`: `import type …`; `names`: each name says `type`; `none`: something is imported at run time. */
  readonly typeOnly: 'whole' | 'names' | 'none';
}

/** A parsed file. */
export interface Module {
  /** From the project's folder, with slashes. */
  readonly path: string;
  readonly text: string;
  readonly source: ts.SourceFile;
  readonly imports: readonly Import[];
}

/** The TypeScript files in a folder of the project and those inside it, in the order of their names. */
export function readModules(root: string, folder: string): Module[] {
  return filesIn(root, folder)
    .filter((path) => path.endsWith('.ts'))
    .map((path) => parseModule(path, readFileSync(join(root, path), 'utf8')));
}

/** The files in a folder of the project and in those inside it; none if there is no such folder. */
export function filesIn(root: string, folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = posix.join(folder, entry.name);
      return entry.isDirectory() ? filesIn(root, path) : [path];
    });
}

/** Parses the text of a file. */
export function parseModule(path: string, text: string): Module {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext, true);
  return { path, text, source, imports: [...importsOf(source)] };
}

/** The path, from the project's folder, that a relative specifier leads to. */
export function resolveRelative(from: string, specifier: string): string {
  return posix.join(dirname(from), specifier);
}

/** All nodes of a file, parents first. */
export function* nodesOf(node: ts.Node): Generator<ts.Node> {
  yield node;
  const children: ts.Node[] = [];
  ts.forEachChild(node, (child) => void children.push(child));
  for (const child of children) yield* nodesOf(child);
}

/** True if a statement has the keyword `export`. */
export function isExported(node: ts.Node): boolean {
  return hasModifier(node, ts.SyntaxKind.ExportKeyword);
}

/** True if a statement has this keyword before it. */
export function hasModifier(node: ts.Node, kind: ts.SyntaxKind): boolean {
  return ts.canHaveModifiers(node) && (ts.getModifiers(node) ?? []).some((m) => m.kind === kind);
}

function* importsOf(source: ts.SourceFile): Generator<Import> {
  for (const node of nodesOf(source)) {
    if (ts.isImportDeclaration(node)) {
      yield importOf(node.moduleSpecifier, node.importClause);
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      yield reExportOf(node, node.moduleSpecifier);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [specifier] = node.arguments;
      if (specifier !== undefined && ts.isStringLiteralLike(specifier)) {
        yield { specifier: specifier.text, names: ['*'], typeOnly: 'none' };
      }
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      yield { specifier: textOf(node.argument.literal), names: ['*'], typeOnly: 'whole' };
    }
  }
}

function importOf(specifier: ts.Expression, clause: ts.ImportClause | undefined): Import {
  const names: string[] = [];
  let runTime = clause === undefined || clause.name !== undefined;
  if (clause?.name !== undefined) names.push('default');
  const bindings = clause?.namedBindings;
  if (bindings !== undefined && ts.isNamespaceImport(bindings)) {
    names.push('*');
    runTime = true;
  } else if (bindings !== undefined) {
    names.push(...bindings.elements.map((element) => textOf(element.propertyName ?? element.name)));
    runTime ||= bindings.elements.some((element) => !element.isTypeOnly);
  }
  const whole = clause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
  return { specifier: textOf(specifier), names, typeOnly: kindOf(whole, runTime) };
}

function reExportOf(node: ts.ExportDeclaration, specifier: ts.Expression): Import {
  const clause = node.exportClause;
  const named = clause !== undefined && ts.isNamedExports(clause);
  return {
    specifier: textOf(specifier),
    names: named ? clause.elements.map((e) => textOf(e.propertyName ?? e.name)) : ['*'],
    typeOnly: kindOf(node.isTypeOnly, !named || clause.elements.some((e) => !e.isTypeOnly)),
  };
}

function kindOf(whole: boolean, runTime: boolean): Import['typeOnly'] {
  return whole ? 'whole' : runTime ? 'none' : 'names';
}

function textOf(node: ts.Node): string {
  return (node as ts.StringLiteral | ts.Identifier).text;
}

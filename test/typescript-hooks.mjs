/**
 * The hooks of typescript.mjs; Node 20 runs them in a thread of their own.
 *
 * Types are overwritten with spaces: what is left stands where it stood, so that stack traces and coverage need no
 * source maps. Only erasable syntax can be treated so, which is all that the project uses; what says `using`, which Node
 * 20 does not know, is transpiled.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const CACHE = fileURLToPath(new URL('../node_modules/.cache/typescript/', import.meta.url));
const VERSION = `2 ${require('typescript/package.json').version}`;

mkdirSync(CACHE, { recursive: true });

export function load(url, context, next) {
  if (!/^file:.*\.ts$/.test(url) || url.includes('/node_modules/')) return next(url, context);
  const path = fileURLToPath(url);
  const text = readFileSync(path, 'utf8');
  return { format: 'module', source: stripped(path, text), shortCircuit: true };
}

function stripped(path, text) {
  const key = createHash('sha256').update(`${VERSION}\0${path}\0${text}`).digest('hex');
  const kept = join(CACHE, `${key}.js`);
  try {
    return readFileSync(kept, 'utf8');
  } catch {
    const source = strip(path, text) ?? transpile(path, text);
    // Another process may be doing the same: whoever is last wins, and nobody reads half a file.
    const fresh = `${kept}.${process.pid}.${Math.random()}`;
    writeFileSync(fresh, source);
    renameSync(fresh, kept);
    return source;
  }
}

let ts;

/** The text, with spaces for its types; lines and columns stay. Undefined if that is not enough. */
export function strip(path, text) {
  ts ??= require('typescript');
  const { SyntaxKind: Kind } = ts;
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  /** Pieces of the text that are replaced: from, to, and what then stands at their beginning. */
  const pieces = [];
  let isPlain = true;
  const blank = (from, to, instead = '') => pieces.push({ from, to, instead });
  const blankNode = (node, instead) => blank(node.getStart(), node.end, instead);

  const ERASED = new Set([
    Kind.AbstractKeyword,
    Kind.DeclareKeyword,
    Kind.OverrideKeyword,
    Kind.PrivateKeyword,
    Kind.ProtectedKeyword,
    Kind.PublicKeyword,
    Kind.ReadonlyKeyword,
  ]);
  const has = (node, kind) => node.modifiers?.some((modifier) => modifier.kind === kind) === true;

  /** A list in angle brackets, with these. */
  const blankAngles = (list) => {
    if (list === undefined) return;
    const before = text.lastIndexOf('<', list.pos);
    blank(before, text.indexOf('>', list.end) + 1);
  };

  /** `?` or `!`, and a colon with the type. */
  const blankAnnotation = (node) => {
    const mark = node.questionToken ?? node.exclamationToken;
    if (mark !== undefined) blankNode(mark);
    if (node.type !== undefined) blank(text.lastIndexOf(':', node.type.pos), node.type.end);
  };

  /** An element of a list, with the comma behind it. */
  const blankElement = (node) => {
    const rest = /^\s*,/.exec(text.slice(node.end));
    blank(node.getStart(), node.end + (rest?.[0].length ?? 0));
  };

  const visit = (node) => {
    switch (node.kind) {
      case Kind.InterfaceDeclaration:
      case Kind.TypeAliasDeclaration:
        return blankNode(node, ';');
      case Kind.ImportDeclaration:
        if (node.importClause?.isTypeOnly === true) return blankNode(node, ';');
        break;
      case Kind.ExportDeclaration:
        if (node.isTypeOnly) return blankNode(node, ';');
        break;
      case Kind.ImportSpecifier:
      case Kind.ExportSpecifier:
        if (node.isTypeOnly) blankElement(node);
        return undefined;
      case Kind.IndexSignature:
        return blankNode(node, ';');
      case Kind.AsExpression:
      case Kind.SatisfiesExpression:
        visit(node.expression);
        return blank(node.expression.end, node.end);
      case Kind.NonNullExpression:
        visit(node.expression);
        return blank(node.end - 1, node.end);
      case Kind.TypeAssertionExpression:
        blank(node.getStart(), node.expression.getStart());
        return visit(node.expression);
      case Kind.HeritageClause:
        if (node.token === Kind.ImplementsKeyword) return blankNode(node);
        break;
      case Kind.Parameter:
        if (node.name.getText() === 'this') return blankElement(node);
        blankAnnotation(node);
        break;
      case Kind.PropertyDeclaration:
        if (has(node, Kind.DeclareKeyword) || has(node, Kind.AbstractKeyword))
          return blankNode(node, ';');
        blankAnnotation(node);
        break;
      case Kind.VariableDeclarationList:
        isPlain &&= (node.flags & ts.NodeFlags.Using) === 0;
        break;
      case Kind.VariableDeclaration:
        blankAnnotation(node);
        break;
      case Kind.FunctionDeclaration:
      case Kind.MethodDeclaration:
      case Kind.Constructor:
      case Kind.GetAccessor:
      case Kind.SetAccessor:
        if (node.body === undefined) return blankNode(node, ';');
        blankAnnotation(node);
        break;
      case Kind.FunctionExpression:
        blankAnnotation(node);
        break;
      case Kind.ArrowFunction:
        if (node.type !== undefined) {
          // No line may end between the parentheses and the arrow: they close behind the type.
          const close = text.lastIndexOf(')', node.type.pos);
          blank(close, node.type.end - 1);
          blank(node.type.end - 1, node.type.end, ')');
        }
        break;
      case Kind.VariableStatement:
      case Kind.ModuleDeclaration:
      case Kind.ClassDeclaration:
        if (has(node, Kind.DeclareKeyword)) return blankNode(node, ';');
        break;
    }
    blankAngles(node.typeParameters);
    blankAngles(node.typeArguments);
    for (const modifier of node.modifiers ?? []) if (ERASED.has(modifier.kind)) blankNode(modifier);
    const isType = (child) =>
      child === node.type ||
      node.typeParameters?.includes(child) === true ||
      node.typeArguments?.includes(child) === true;
    ts.forEachChild(node, (child) => {
      if (!isType(child)) visit(child);
    });
    return undefined;
  };
  visit(file);
  if (!isPlain) return undefined;

  let code = '';
  let at = 0;
  for (const { from, to, instead } of pieces.sort((a, b) => a.from - b.from)) {
    if (from < at) throw new Error(`${path}: types overlap at ${from}: ${text.slice(from, to)}`);
    const spaces = text.slice(from, to).replace(/[^\r\n]/g, ' ');
    code += text.slice(at, from) + instead + spaces.slice(instead.length);
    at = to;
  }
  return code + text.slice(at);
}

function transpile(path, text) {
  const { outputText, sourceMapText } = ts.transpileModule(text, {
    fileName: path,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      sourceMap: true,
    },
  });
  const map = {
    ...JSON.parse(sourceMapText),
    file: path,
    sourceRoot: '',
    sources: [path],
    sourcesContent: [text],
  };
  const code = outputText.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  const data = Buffer.from(JSON.stringify(map)).toString('base64');
  return `${code}//# sourceMappingURL=data:application/json;base64,${data}\n`;
}

/** What errors are called where a bundler or a minifier has given their classes other names. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';
import { ConnectionLost, PlaitError } from 'plait';
import t from '../fixture.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

type ErrorClass = abstract new (...args: never[]) => Error;

/** Gives the classes of a module other names in it, as a minifier does; what is exported keeps its name. */
function rename(names: ReadonlySet<string>): ts.TransformerFactory<ts.SourceFile> {
  return (context) => (file) => {
    const { factory } = context;
    const visit = (node: ts.Node): ts.Node => {
      if (ts.isShorthandPropertyAssignment(node) && names.has(node.name.text))
        return factory.createPropertyAssignment(
          node.name.text,
          factory.createIdentifier(`J${node.name.text}`),
        );
      if (ts.isIdentifier(node) && names.has(node.text))
        return factory.createIdentifier(`J${node.text}`);
      return ts.visitEachChild(node, visit, context);
    };
    return ts.visitNode(file, visit) as ts.SourceFile;
  };
}

/** The error classes of the module in `path`, which have been renamed, by the names that they are exported by. */
async function minified(path: string, folder: string): Promise<[string, ErrorClass][]> {
  const source = readFileSync(join(ROOT, path), 'utf8');
  const names = [...source.matchAll(/^export class (\w+) extends/gm)].map(([, name]) => name ?? '');
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
    transformers: { before: [rename(new Set(names))] },
  });
  const base = pathToFileURL(join(ROOT, path));
  const text = outputText.replace(
    /(from ')(\.[^']*)(')/g,
    (_, before: string, to: string, after: string) => before + new URL(to, base).href + after,
  );
  const file = join(folder, `${path.replaceAll(/\W/g, '-')}.mjs`);
  writeFileSync(file, text);
  const exports = (await import(pathToFileURL(file).href)) as Record<string, ErrorClass>;
  return names.map((name) => [name, exports[`J${name}`] as ErrorClass]);
}

t.test('FND-35: an error keeps its name where its class gets another', async (t) => {
  const folder = t.testdir();
  for (const path of ['lib/errors.ts', 'protocols/http/errors.ts', 'protocols/clamd/errors.ts']) {
    const classes = await minified(path, folder);
    t.ok(classes.length >= 7, path);
    for (const [name, made] of classes) {
      t.match(Function.prototype.toString.call(made), `class J${name} `);
      t.equal((Object.create(made.prototype as object) as Error).name, name, path);
    }
  }
});

t.test("FND-35: an error class of the program's has its own name", (t) => {
  class Mine extends ConnectionLost {}
  class Other extends PlaitError {
    override get name(): string {
      return 'chosen';
    }
  }
  t.equal(new Mine().name, 'Mine');
  t.equal(new Other().name, 'chosen');
  t.match(String(new Mine()), /^Mine: /);
  t.end();
});

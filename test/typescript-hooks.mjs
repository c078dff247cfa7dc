/** The hooks of typescript.mjs, which Node runs in a thread of their own. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const CACHE = fileURLToPath(new URL('../node_modules/.cache/typescript/', import.meta.url));
const VERSION = `1 ${require('typescript/package.json').version}`;

mkdirSync(CACHE, { recursive: true });

export async function load(url, context, next) {
  if (!/^file:.*\.ts$/.test(url) || url.includes('/node_modules/')) return next(url, context);
  const path = fileURLToPath(url);
  const text = readFileSync(path, 'utf8');
  return { format: 'module', source: transpiled(path, text), shortCircuit: true };
}

function transpiled(path, text) {
  const key = createHash('sha256').update(`${VERSION}\0${path}\0${text}`).digest('hex');
  const kept = join(CACHE, `${key}.js`);
  try {
    return readFileSync(kept, 'utf8');
  } catch {
    const source = transpile(path, text);
    // Another process may be doing the same: whoever is last wins, and nobody reads half a file.
    const fresh = `${kept}.${process.pid}.${Math.random()}`;
    writeFileSync(fresh, source);
    renameSync(fresh, kept);
    return source;
  }
}

let ts;

function transpile(path, text) {
  ts ??= require('typescript');
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

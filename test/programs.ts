/**
 * The files of docs/examples/ by what the tests do with them. A test (`x.test.ts`) is run by tap. A part exports
 * something for the others. All the rest are programs, in TypeScript or Python: each is run without arguments, and
 * must end with 0 within a time; unless it says in a comment that `test/examples.test.ts` runs it, as it must for a
 * program that needs arguments or never ends.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import type { Test } from './fixture.ts';
import { python, Running } from './interop/servers.ts';
import { filesIn, hasModifier, parseModule } from './modules.ts';

const FOLDER = 'docs/examples';
const ELSEWHERE = 'test/examples.test.ts';

/** What the tests do with an example. */
export type Kind = 'test' | 'part' | 'program' | 'elsewhere';

/** The kind of each example of the project in the folder `root`, by its path. */
export function readExamples(root: string): Map<string, Kind> {
  const paths = filesIn(root, FOLDER).filter((path) => /\.(ts|py)$/.test(path));
  return new Map(paths.map((path) => [path, kindOf(path, readFileSync(join(root, path), 'utf8'))]));
}

function kindOf(path: string, text: string): Kind {
  if (path.endsWith('.test.ts')) return 'test';
  if (path.endsWith('.ts') && exportsSomething(path, text)) return 'part';
  return text.includes(ELSEWHERE) ? 'elsewhere' : 'program';
}

function exportsSomething(path: string, text: string): boolean {
  return parseModule(path, text).source.statements.some((statement) => {
    // `export {}` only makes a module of a file.
    if (!ts.isExportDeclaration(statement))
      return hasModifier(statement, ts.SyntaxKind.ExportKeyword);
    const clause = statement.exportClause;
    return clause === undefined || !ts.isNamedExports(clause) || clause.elements.length > 0;
  });
}

/** The programs that say `test/examples.test.ts` runs them, which it does not. */
export function forgottenExamples(root: string): string[] {
  const file = join(root, ELSEWHERE);
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  return [...readExamples(root)]
    .filter(([, kind]) => kind === 'elsewhere')
    .map(([path]) => path)
    .filter((path) => !text.includes(path.slice(FOLDER.length + 1)));
}

/**
 * Starts a program of docs/examples, as it is built; it is stopped when the test ends. This is for
 * `test/examples.test.ts`: `startExample(t, 'echo.ts', '0')`.
 *
 * @throws Error if it has not been built since it was changed
 */
export function startExample(t: Test, name: string, ...args: string[]): Running {
  const source = `${FOLDER}/${name}`;
  if (name.endsWith('.py')) return python(t, source, args);
  const built = `dist/${source.replace(/\.ts$/, '.js')}`;
  if (!existsSync(built) || statSync(built).mtimeMs < statSync(source).mtimeMs) {
    throw new Error(`cannot run ${source}: ${built} is missing or older: npm run build`);
  }
  return new Running(t, process.execPath, [built, ...args]);
}

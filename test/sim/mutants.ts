/**
 * Planted faults: does the simulation find what it is there to find? Each is a small change to a copy of the sources,
 * which is compiled and simulated in a process of its own, until a seed fails. A snippet that is not found exactly once
 * is an error, so that the list keeps up with the code.
 */
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MUTANTS, type Mutant } from './planted.ts';

/** Within so many seeds each must be found. */
const SEEDS = 200;

/** How long a run may take, in milliseconds of real time: a fault may be one that never ends. */
const PATIENCE_MS = 120_000;

/** What is copied and compiled. */
const SOURCES = ['lib', 'protocols', 'test/sim'];

/**
 * Plants each fault (or those that are named), and returns the names of those that were not found.
 *
 * @param tell given a line for each: after how many seeds it was found, and by what
 */
export async function runMutants(
  names: readonly string[] | undefined,
  tell: (line: string) => void,
): Promise<string[]> {
  const unknown = names?.find((name) => !MUTANTS.some((mutant) => mutant.name === name));
  if (unknown !== undefined) throw new RangeError(`there is no mutant ${JSON.stringify(unknown)}`);
  const root = mkdtempSync(join(tmpdir(), 'plait-mutants-'));
  try {
    const copy = await Copy.make(process.cwd(), root);
    const missed: string[] = [];
    for (const mutant of MUTANTS) {
      if (names !== undefined && !names.includes(mutant.name)) continue;
      const { seed, what } = copy.try(mutant);
      if (seed === undefined) missed.push(mutant.name);
      tell(`${mutant.name} (${mutant.file}, ${mutant.scenario}): ${what}`);
    }
    return missed;
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** What came of a planted fault. */
interface Outcome {
  /** The seed with which it was found; undefined if it was not. */
  readonly seed: string | undefined;
  readonly what: string;
}

/** A copy of the sources, compiled file by file. */
class Copy {
  readonly #from: string;
  readonly #to: string;
  readonly #compile: (source: string) => string;

  private constructor(from: string, to: string, compile: (source: string) => string) {
    this.#from = from;
    this.#to = to;
    this.#compile = compile;
  }

  static async make(from: string, to: string): Promise<Copy> {
    const { default: ts } = await import('typescript');
    const compilerOptions = {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      rewriteRelativeImportExtensions: true,
    };
    const copy = new Copy(
      from,
      to,
      (source) => ts.transpileModule(source, { compilerOptions }).outputText,
    );
    for (const folder of SOURCES) {
      for (const name of readdirSync(join(from, folder), { recursive: true, encoding: 'utf8' }))
        if (name.endsWith('.ts')) copy.#write(join(folder, name), (source) => source);
    }
    writeFileSync(join(to, 'package.json'), manifestFor(join(from, 'package.json')));
    symlinkSync(join(from, 'node_modules'), join(to, 'node_modules'));
    return copy;
  }

  #write(file: string, change: (source: string) => string): void {
    const target = join(this.#to, file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, this.#compile(change(readFileSync(join(this.#from, file), 'utf8'))));
  }

  /** Plants one, simulates, and takes it back. */
  try(mutant: Mutant): Outcome {
    this.#write(mutant.file, (source) => planted(mutant, source));
    try {
      return this.#find(mutant.scenario);
    } finally {
      this.#write(mutant.file, (source) => source);
    }
  }

  #find(scenario: string): Outcome {
    const args = ['test/sim/main.js', '--brief', '--runs', String(SEEDS), '--scenario', scenario];
    const { status, stdout, stderr, signal } = spawnSync(process.execPath, args, {
      cwd: this.#to,
      encoding: 'utf8',
      timeout: PATIENCE_MS,
      // Nothing of what a test runner has its processes do.
      env: { PATH: process.env['PATH'] },
    });
    if (signal !== null) return { seed: undefined, what: 'it goes on for ever' };
    const seed = /fails with seed (\d+)/.exec(stdout)?.[1];
    if (status === 1 && seed !== undefined) {
      const why = stdout.split('\n')[1]?.trim() ?? '';
      return { seed, what: `found with seed ${seed}: ${why.slice(0, 120)}` };
    }
    const what = status === 0 ? `missed by ${SEEDS} seeds` : `it does not run: ${stderr}`;
    return { seed: undefined, what };
  }
}

/** The source with the fault in it. */
function planted({ name, changes }: Mutant, source: string): string {
  let text = source;
  for (const [snippet, replacement] of changes) {
    const parts = text.split(snippet);
    if (parts.length !== 2)
      throw new Error(`${name}: its snippet is there ${parts.length - 1} times: ${snippet}`);
    text = parts.join(replacement);
  }
  return text;
}

/** A package whose doors are the compiled sources themselves. */
function manifestFor(file: string): string {
  const { name, type, exports } = JSON.parse(readFileSync(file, 'utf8')) as {
    name: string;
    type: string;
    exports: Record<string, string | { 'plait-source': string }>;
  };
  if (name !== 'plait') throw new Error(`mutants are made in the folder of plait, not of ${name}`);
  const doors: Record<string, string> = {};
  for (const [door, target] of Object.entries(exports)) {
    if (typeof target !== 'string') doors[door] = target['plait-source'].replace(/\.ts$/, '.js');
  }
  return JSON.stringify({ name, type, exports: doors });
}

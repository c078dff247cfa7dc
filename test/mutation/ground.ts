/** A copy of the project in which faults are planted, and the tests that are to find them run there. */
import { spawn } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the tests need. */
const COPIED = ['lib', 'protocols', 'test', 'docs', 'package.json', 'tsconfig.json'];

/** What the shortest runs have, in milliseconds: on a busy machine a process takes its time to start. */
const LEAST_PATIENCE = 30_000;

/** What became of a fault. `caught by` names the file and, if it is known, the test. */
export type Verdict = { readonly verdict: 'caught' | 'timed out'; readonly by: string } | 'lived';

interface Run {
  readonly how: 'passed' | 'failed' | 'timed out';
  /** The first test that failed, or what else was said. */
  readonly said: string;
  readonly took: number;
}

/** A copy of the sources. */
export class Ground implements Disposable {
  readonly root: string;
  readonly #from: string;
  /** How long each file of tests takes without a fault, in milliseconds. */
  readonly #took = new Map<string, number>();

  constructor(from: string = process.cwd()) {
    this.#from = from;
    this.root = mkdtempSync(join(tmpdir(), 'plait-mutation-'));
    for (const name of COPIED) cpSync(join(from, name), join(this.root, name), { recursive: true });
    // But for the cache, which would fill with mutants.
    mkdirSync(join(this.root, 'node_modules'));
    for (const name of readdirSync(join(from, 'node_modules')).filter((name) => name !== '.cache'))
      symlinkSync(join(from, 'node_modules', name), join(this.root, 'node_modules', name));
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  read(path: string): string {
    return readFileSync(join(this.#from, path), 'utf8');
  }

  /**
   * Runs the tests with `text` in place of a file, until one fails.
   *
   * @param only a pattern for the names of the tests that are run; default: all
   * @throws Error if tests fail without a fault
   */
  async try(path: string, text: string, tests: readonly string[], only = ''): Promise<Verdict> {
    for (const test of tests) await this.#measure(test, only);
    const target = join(this.root, path);
    writeFileSync(target, text);
    try {
      for (const test of tests) {
        const usual = this.#took.get(`${test} ${only}`) ?? 0;
        const { how, said } = await this.#run(test, only, LEAST_PATIENCE + 4 * usual);
        if (how === 'timed out') return { verdict: 'timed out', by: test };
        if (how === 'failed') return { verdict: 'caught', by: `${test}: ${said}` };
      }
      return 'lived';
    } finally {
      writeFileSync(target, this.read(path));
    }
  }

  async #measure(test: string, only: string): Promise<void> {
    const key = `${test} ${only}`;
    if (this.#took.has(key)) return;
    const { how, said, took } = await this.#run(test, only, 600_000);
    if (how !== 'passed') throw new Error(`${test} fails without any fault: ${said}`);
    this.#took.set(key, took);
  }

  async #run(test: string, only: string, patience: number): Promise<Run> {
    const began = performance.now();
    const child = spawn(
      process.execPath,
      ['--import=./test/typescript.mjs', '--conditions=plait-source', '--expose-gc', test],
      {
        cwd: this.root,
        stdio: ['ignore', 'pipe', 'pipe'],
        // A group of its own, so that what the tests have started ends with them.
        detached: true,
        // Nothing of what a test runner has its processes do.
        env: {
          PATH: process.env['PATH'],
          HOME: process.env['HOME'],
          TAP_TYPE_STRIP_ONLY: '1',
          TAP_BAIL: '1',
          PLAIT_SEED: '1',
          ...(only === '' ? {} : { TAP_GREP: only }),
        },
      },
    );
    const said: string[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => said.push(text));
    const endGroup = (): void => {
      try {
        process.kill(-(child.pid as number), 'SIGKILL');
      } catch {
        // It has ended.
      }
    };
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort();
      endGroup();
    }, patience);
    const code = await new Promise<number | null>((resolve) => child.on('exit', resolve));
    clearTimeout(timer);
    endGroup();
    const text = said.join('');
    const how = late.signal.aborted ? 'timed out' : code === 0 ? 'passed' : 'failed';
    return { how, said: reasonIn(text), took: performance.now() - began };
  }
}

/** The test that was going on when the first thing failed, and what that was; or the last line. */
function reasonIn(text: string): string {
  const failed = /^ *not ok \d+ - (.*?)(?: # time=.*)?$/m.exec(text);
  if (failed === null) return text.trim().split('\n').at(-1)?.slice(0, 200) ?? '';
  const test = [...text.slice(0, failed.index).matchAll(/^# Subtest: (.*)$/gm)].at(-1)?.[1];
  return [test, failed[1]].filter((name) => name !== undefined).join(': ');
}

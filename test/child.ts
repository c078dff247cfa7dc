/**
 * Small programs in a process of their own: for what only the end of a process shows, such as signals, exit codes and
 * what is said last. They are modules in JavaScript, and import `plait` by its name.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from './fixture.ts';

/** How a program has ended. */
export interface Ended {
  /** Null if a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs. */
export interface Child {
  readonly process: ChildProcess;
  /** Resolves when it has printed the line; rejects if it ends without. */
  line(text: string): Promise<void>;
  /** Resolves when what it has said on stderr matches; rejects if it ends without. */
  errorLine(pattern: RegExp): Promise<void>;
  readonly ended: Promise<Ended>;
}

/** How many programs a test has started. */
const started = new WeakMap<Test, number>();

/** A folder for the next program of a test: several may run at once. */
function folderOf(t: Test): string {
  const before = started.get(t) ?? 0;
  started.set(t, before + 1);
  const folder = join(before === 0 ? t.testdir({}) : t.testdirName, String(before));
  mkdirSync(folder);
  return folder;
}

/** Starts `program`, the text of a module. It is killed if the test ends first. */
export function start(t: Test, program: string): Child {
  const file = join(folderOf(t), 'program.mjs');
  writeFileSync(file, program);
  const child = spawn(process.execPath, [...process.execArgv, file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = once(child, 'close').then(([code, signal]: unknown[]) => ({
    code: code as number | null,
    signal: signal as string | null,
    stdout,
    stderr,
  }));
  return {
    process: child,
    ended,
    async errorLine(pattern) {
      while (!pattern.test(stderr) && child.stderr.readable)
        await Promise.race([once(child.stderr, 'data'), ended]);
      if (!pattern.test(stderr)) throw new Error(`not said: ${String(pattern)}; but ${stderr}`);
    },
    async line(text) {
      const there = () => stdout.split('\n').slice(0, -1).includes(text);
      while (!there() && child.stdout.readable) {
        await Promise.race([once(child.stdout, 'data'), ended]);
      }
      if (!there()) throw new Error(`the program has not printed ${text}: ${stdout}${stderr}`);
    },
  };
}

/** Runs `program` to its end. */
export function run(t: Test, program: string): Promise<Ended> {
  return start(t, program).ended;
}

/**
 * The oracle for Deferreds: the same random scripts are run by plait and by Debian's Twisted, and their traces must be
 * equal. `script.ts` says what a script is, `differences.ts` where plait differs from Twisted on purpose.
 *
 * All scripts go to one Python process, in batches, and plait runs each batch while Python does.
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { draftScript } from './draft.ts';
import { type PlaitOptions, runPlait } from './run-plait.ts';
import type { Script } from './script.ts';
import { shrink } from './shrink.ts';

/** Debian's, which has Debian's Twisted. */
export const PYTHON = '/usr/bin/python3';
const BATCH = 100;
/** A batch that Python has not answered by then is given up. */
const MOST_SECONDS = 60;
/** While a script that does not end is made small, many do not. */
const IMPATIENT: PlaitOptions = { milliseconds: 300 };

/** A script for Twisted to run, and how. */
export interface Request {
  readonly script: Script;
  /** Whether Twisted is corrected where differences are intended, or is as it is. */
  readonly corrected: boolean;
  /** With every error's message, and what is otherwise written alike. */
  readonly raw?: boolean;
}

/** What came of it. */
export interface Answer {
  readonly trace: string[];
  /** The names of the differences that were corrected on the way. */
  readonly used: string[];
}

/** Why Twisted cannot be asked here; undefined if it can. */
export function whyNoTwisted(): string | undefined {
  const found = spawnSync(PYTHON, ['-c', 'import twisted.internet.defer']);
  return found.status === 0 ? undefined : 'there is no python3-twisted';
}

/** Twisted, in a process of its own. */
export class Twisted {
  readonly #process: ChildProcessWithoutNullStreams;
  #errors = '';
  #ended = false;
  readonly #waiting: ((line: string | undefined) => void)[] = [];

  constructor() {
    this.#process = spawn(PYTHON, ['-B', driver('run_twisted.py')], {
      env: { ...process.env, PYTHONHASHSEED: '0' },
    });
    this.#process.once('error', (error) => (this.#errors += error.message));
    this.#process.stderr.on('data', (data: Buffer) => (this.#errors += data.toString()));
    this.#process.stdin.on('error', () => {}); // it has ended, which is told below
    createInterface(this.#process.stdout).on('line', (line) => this.#waiting.shift()?.(line));
    this.#process.once('close', () => {
      this.#ended = true;
      for (const answer of this.#waiting.splice(0)) answer(undefined);
    });
  }

  /** Runs each script and says what came of it. */
  async ask(requests: readonly Request[]): Promise<Answer[]> {
    if (this.#ended) throw new Error(`Twisted's process has ended: ${this.#errors}`);
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), MOST_SECONDS * 1000);
    const answers = requests.map(
      () => new Promise<string | undefined>((resolve) => this.#waiting.push(resolve)),
    );
    this.#process.stdin.write(requests.map((request) => `${JSON.stringify(request)}\n`).join(''));
    try {
      return (await Promise.all(answers)).map((line, index) => {
        if (line !== undefined) return JSON.parse(line) as Answer;
        const script = JSON.stringify(requests[index]?.script);
        throw new Error(`Twisted's process ended at ${script}: ${this.#errors}`);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const closed = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.stdin.end();
    await closed;
  }
}

/** Python's half, which is not compiled: this file may be the compiled one, below `dist`. */
export function driver(name: string): string {
  const here = path.join(import.meta.dirname, name);
  return existsSync(here) ? here : path.join(import.meta.dirname, '../../../test/oracle', name);
}

/** A script whose traces differ. */
export interface Fault {
  readonly seed: number;
  readonly script: Script;
  readonly plait: readonly string[];
  readonly twisted: readonly string[];
}

export interface Report {
  readonly runs: number;
  readonly seconds: number;
  /** How many scripts needed no correction of Twisted at all. */
  readonly uncorrected: number;
  /** In how many scripts each difference showed. */
  readonly used: ReadonlyMap<string, number>;
  /** How many lines the traces had that were compared. */
  readonly lines: number;
  /** How often each kind of step, end and coroutine's operation was performed. */
  readonly performed: ReadonlyMap<string, number>;
  /** The first that was found, made small. */
  readonly fault: Fault | undefined;
}

/**
 * Compares `runs` scripts, of `seed`, `seed + 1` and so on; stops at the first whose traces differ, and makes it small.
 *
 * @param told called after every batch, with how many scripts have been compared
 */
export async function runOracle(
  seed: number,
  runs: number,
  told: (runs: number) => void = () => {},
): Promise<Report> {
  const twisted = new Twisted();
  const used = new Map<string, number>();
  const performed = new Map<string, number>();
  const start = performance.now();
  let uncorrected = 0;
  let lines = 0;
  let done = 0;
  let fault: Fault | undefined;
  try {
    while (done < runs && fault === undefined) {
      const seeds = Array.from(
        { length: Math.min(BATCH, runs - done) },
        (_, index) => seed + done + index,
      );
      const pairs = await compare(twisted, seeds.map(draftScript), { performed });
      for (const [index, pair] of pairs.entries()) {
        lines += pair.plait.length;
        if (pair.used.length === 0) uncorrected++;
        for (const name of pair.used) used.set(name, (used.get(name) ?? 0) + 1);
        if (same(pair)) continue;
        fault = { seed: seeds[index]!, ...(await makeSmall(twisted, pair)) };
        break;
      }
      done += seeds.length;
      told(done);
    }
  } finally {
    await twisted.close();
  }
  const seconds = (performance.now() - start) / 1000;
  return { runs: done, seconds, uncorrected, used, lines, performed, fault };
}

/** What both have made of one script. */
export interface Pair {
  readonly script: Script;
  readonly plait: readonly string[];
  readonly twisted: readonly string[];
  readonly used: readonly string[];
}

/** Runs scripts with both. */
export async function compare(
  twisted: Twisted,
  scripts: readonly Script[],
  options?: PlaitOptions,
): Promise<Pair[]> {
  const asked = twisted.ask(scripts.map((script) => ({ script, corrected: true })));
  const [traces, answers] = await Promise.all([runPlait(scripts, options), asked]);
  return scripts.map((script, index) => {
    const { trace, used } = answers[index]!;
    return { script, plait: traces[index]!, twisted: trace, used };
  });
}

function same({ plait, twisted }: Pair): boolean {
  return plait.length === twisted.length && plait.every((line, index) => line === twisted[index]);
}

async function makeSmall(twisted: Twisted, pair: Pair): Promise<Pair> {
  const script = await shrink(pair.script, async (scripts) =>
    (await compare(twisted, scripts, IMPATIENT)).findIndex((each) => !same(each)),
  );
  const [small] = await compare(twisted, [script], IMPATIENT);
  return small!;
}

/** What was compared, for people. */
export function reportAsText(report: Report): string {
  const { runs, seconds, uncorrected, used, lines, performed } = report;
  const counts = (map: ReadonlyMap<string, number>) =>
    [...map]
      .sort(([, one], [, other]) => other - one)
      .map(([name, count]) => `  ${String(count).padStart(8)}  ${name}`);
  return [
    `${runs} scripts, ${lines} lines of trace, ${(runs / seconds).toFixed(0)} scripts a second`,
    `${performed.size} kinds were performed:`,
    ...counts(performed),
    `Twisted was not corrected in ${uncorrected} scripts; in the others there showed:`,
    ...counts(used),
  ].join('\n');
}

/** Runs a script with both as they are; the lines that only one of the traces has. */
export async function showDifference(
  twisted: Twisted,
  { script, raw = false }: Pick<Request, 'script' | 'raw'>,
): Promise<{ plait: string[]; twisted: string[] }> {
  const [plait = []] = await runPlait([script], { raw, unguarded: true });
  const [answer] = await twisted.ask([{ script, raw, corrected: false }]);
  return onlyInOne(plait, answer!.trace);
}

/** What is left of two texts when the longest that they have in common is taken out. */
export function onlyInOne(
  one: readonly string[],
  other: readonly string[],
): { plait: string[]; twisted: string[] } {
  /** How long the longest in common is, from each place in both on. */
  const longest = Array.from({ length: one.length + 1 }, () => new Uint16Array(other.length + 1));
  const from = (i: number, j: number): number => longest[i]?.[j] ?? 0;
  for (let i = one.length - 1; i >= 0; i--) {
    for (let j = other.length - 1; j >= 0; j--) {
      longest[i]![j] =
        one[i] === other[j] ? from(i + 1, j + 1) + 1 : Math.max(from(i + 1, j), from(i, j + 1));
    }
  }
  const only: { plait: string[]; twisted: string[] } = { plait: [], twisted: [] };
  let [i, j] = [0, 0];
  while (i < one.length || j < other.length) {
    if (i < one.length && j < other.length && one[i] === other[j]) {
      i++;
      j++;
    } else if (j === other.length || (i < one.length && from(i + 1, j) >= from(i, j + 1))) {
      only.plait.push(one[i++]!);
    } else {
      only.twisted.push(other[j++]!);
    }
  }
  return only;
}

/** The script and both traces, for people; the lines that both begin with are written once. */
export function faultAsText({ seed, script, plait, twisted }: Fault): string {
  let common = 0;
  while (common < plait.length && plait[common] === twisted[common]) common++;
  return [
    `the script of PLAIT_SEED=${seed}, made small:`,
    ...script.map((step) => `  ${JSON.stringify(step)}`),
    'both:',
    ...plait.slice(0, common).map((line) => `  ${line}`),
    'then plait:',
    ...plait.slice(common).map((line) => `  ${line}`),
    'but Twisted:',
    ...twisted.slice(common).map((line) => `  ${line}`),
  ].join('\n');
}

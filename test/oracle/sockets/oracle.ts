/**
 * The oracle over sockets: the same scripted peer talks to plait and to Debian's Twisted, and what both are told, and
 * what it hears from them, must be equal. `script.ts` says what a script is, `differences.ts` where plait differs from
 * Twisted on purpose.
 *
 * One Python process plays all scripts, and many are being played at once.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { driver, onlyInOne, PYTHON } from '../oracle.ts';
import { shrink } from '../shrink.ts';
import { draftScript } from './draft.ts';
import { play, type PlayOptions } from './play.ts';
import { Plait } from './run-plait.ts';
import type { Answer, Question, Script, Subject } from './script.ts';

/** How many scripts are played at once. */
const AT_ONCE = 12;

/** Twisted, in a process of its own. */
class TwistedProcess implements Subject {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<
    number,
    { answer: (answer: Answer) => void; fail: (error: Error) => void }
  >();
  #asked = 0;
  #errors = '';
  #ended = false;

  constructor() {
    const child = spawn(PYTHON, ['-B', driver('sockets/run_twisted.py')]);
    this.#process = child;
    child.once('error', (error) => (this.#errors += error.message));
    child.stderr.on('data', (data: Buffer) => (this.#errors += data.toString()));
    child.stdin.on('error', () => {}); // it has ended, which is told below
    createInterface(child.stdout).on('line', (line) => {
      const answer = JSON.parse(line) as Answer & { id: number };
      this.#waiting.get(answer.id)?.answer(answer);
      this.#waiting.delete(answer.id);
    });
    child.once('close', () => {
      this.#ended = true;
      for (const { fail } of this.#waiting.values()) fail(this.#gone());
    });
  }

  #gone(): Error {
    return new Error(`Twisted's process has ended: ${this.#errors}`);
  }

  async ask(question: Question): Promise<Answer> {
    if (this.#ended) throw this.#gone();
    const id = this.#asked++;
    this.#process.stdin.write(`${JSON.stringify({ id, ...question })}\n`);
    return await new Promise((answer, fail) => this.#waiting.set(id, { answer, fail }));
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    const closed = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.stdin.end();
    await closed;
  }
}

/** What both have made of one script. */
export interface Pair {
  readonly script: Script;
  readonly plait: readonly string[];
  readonly twisted: readonly string[];
  readonly used: readonly string[];
}

/** Both, and a folder for their sockets; to be closed. */
export class Both {
  readonly #plait = new Plait();
  readonly #twisted = new TwistedProcess();
  readonly #folder = mkdtempSync(join(tmpdir(), 'plait-oracle-'));
  #runs = 0;

  async close(): Promise<void> {
    await this.#twisted.close();
    this.#plait.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** @param corrected whether intended differences are evened out */
  async play(script: Script, corrected = true): Promise<Pair> {
    const options = (): PlayOptions => ({ run: this.#runs++, folder: this.#folder, corrected });
    const [plait, twisted] = await Promise.all([
      play(script, this.#plait, options()),
      play(script, this.#twisted, options()),
    ]);
    const used = [...new Set([...plait.used, ...twisted.used])];
    return { script, plait: plait.trace, twisted: twisted.trace, used };
  }

  /** Plays many at once; calls `each` with what came of them, in order, until it returns true. */
  async playAll(
    count: number,
    scriptAt: (index: number) => Script,
    each: (pair: Pair, index: number) => boolean,
  ): Promise<void> {
    const going: Promise<Pair>[] = [];
    let over = false;
    for (let next = 0, done = 0; done < count; done++) {
      while (!over && next < count && next - done < AT_ONCE) {
        going.push(this.play(scriptAt(next++)));
      }
      const pair = going.shift();
      if (pair === undefined) return;
      const played = await pair;
      over ||= each(played, done);
    }
  }
}

/** A script whose traces differ. */
export interface Fault extends Pair {
  readonly seed: number;
}

export interface Report {
  readonly runs: number;
  readonly seconds: number;
  /** How many lines the traces had that were compared. */
  readonly lines: number;
  /** In how many scripts each difference showed. */
  readonly used: ReadonlyMap<string, number>;
  /** How often each kind of line was in a trace, without its numbers. */
  readonly kinds: ReadonlyMap<string, number>;
  /** The first that was found, made small. */
  readonly fault: Fault | undefined;
}

/**
 * Compares `runs` scripts, of `seed`, `seed + 1` and so on; stops at the first whose traces differ, and makes it small.
 *
 * @param told called after every script, with how many have been compared
 */
export async function runSocketOracle(
  seed: number,
  runs: number,
  told: (runs: number) => void = () => {},
): Promise<Report> {
  const both = new Both();
  const used = new Map<string, number>();
  const kinds = new Map<string, number>();
  const count = (map: Map<string, number>, name: string) => map.set(name, (map.get(name) ?? 0) + 1);
  const start = performance.now();
  let [done, lines] = [0, 0];
  let found: Fault | undefined;
  try {
    const add = (pair: Pair): void => {
      done++;
      lines += pair.plait.length;
      for (const name of pair.used) count(used, name);
      for (const line of pair.plait) count(kinds, kindOf(line));
      told(done);
    };
    while (found === undefined && done < runs) {
      const from = done;
      let odd: Pair | undefined;
      await both.playAll(
        runs - from,
        (index) => draftScript(seed + from + index),
        (pair) => {
          if (odd === undefined && same(pair)) add(pair);
          else odd ??= pair;
          return odd !== undefined;
        },
      );
      if (odd === undefined) break;
      // The machine may have disturbed it: a port that was let go is taken by another program, say.
      const again = await both.play(odd.script);
      if (same(again)) add(again);
      else found = { ...again, seed: seed + done };
    }
    if (found !== undefined) {
      const { seed: at } = found;
      found = { ...(await makeSmall(both, found)), seed: at };
    }
  } finally {
    await both.close();
  }
  const seconds = (performance.now() - start) / 1000;
  return { runs: done, seconds, lines, used, kinds, fault: found };
}

export function same({ plait, twisted }: Pair): boolean {
  return plait.length === twisted.length && plait.every((line, index) => line === twisted[index]);
}

/** A moment by its kind, a line without its connection and its numbers. */
function kindOf(line: string): string {
  const moment = /^\{"do":"([^"]*)"/.exec(line)?.[1];
  return moment ?? line.replace(/^ +(\d(?= ))? */, '').replace(/\d+/g, 'n');
}

async function makeSmall(both: Both, pair: Pair): Promise<Pair> {
  const script = await shrink(pair.script, async (scripts) => {
    let first = -1;
    await both.playAll(
      scripts.length,
      (index) => scripts[index]!,
      (each, index) => {
        if (!same(each)) first = index;
        return first >= 0;
      },
    );
    return first;
  });
  const small = await both.play(script);
  // What does not fail again when it is made small is shown as it was.
  return same(small) ? pair : small;
}

/** Plays a script with both as they are; the lines that only one of the traces has. */
export async function showDifference(
  both: Both,
  script: Script,
): Promise<{ plait: string[]; twisted: string[] }> {
  const { plait, twisted } = await both.play(script, false);
  return onlyInOne(plait, twisted);
}

/** What was compared, for people. */
export function reportAsText({ runs, seconds, lines, used, kinds }: Report): string {
  const counts = (map: ReadonlyMap<string, number>) =>
    [...map]
      .sort(([, one], [, other]) => other - one)
      .map(([name, count]) => `  ${String(count).padStart(8)}  ${name}`);
  return [
    `${runs} scripts, ${lines} lines of trace, ${(runs / seconds).toFixed(0)} scripts a second`,
    ...counts(kinds),
    'intended differences that showed, in so many scripts:',
    ...counts(used),
  ].join('\n');
}

/** The script and both traces, for people. */
export function faultAsText({ seed, script, plait, twisted }: Fault): string {
  return [
    `the script of PLAIT_SEED=${seed}, made small:`,
    JSON.stringify(script),
    'plait:',
    ...plait.map((line) => `  ${line}`),
    'Twisted:',
    ...twisted.map((line) => `  ${line}`),
  ].join('\n');
}

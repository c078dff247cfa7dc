/**
 * What plait is tried with beside its own tools: other versions of Node, the types that belong to them, and whatever
 * else a user may bring. These are the packages of `test/peers/package.json`, which has a lock of its own and which
 * nobody's `npm install` touches: `npm ci --prefix test/peers` installs them, and `.ci/run` does. Each stands there under
 * a name of ours, with its exact version; a package that is made for one platform only is optional.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from './fixture.ts';
import { lacks } from './interop/servers.ts';

/** The project's own folder. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * The folder of a package of `test/peers`. Where it is not installed the test is skipped, and the reason told; with CI
 * set it fails: `const bundler = peer(t, 'rollup'); if (bundler === undefined) return;`
 */
export function peer(t: Test, name: string): string | undefined {
  const folder = join(ROOT, 'test/peers/node_modules', name);
  if (existsSync(join(folder, 'package.json'))) return folder;
  lacks(t, `no ${name}: npm ci --prefix test/peers`);
  return undefined;
}

/** How a program has ended. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/**
 * Runs a program in the project's folder, as if nothing had been said to this test run; what it starts finds the same
 * `node` as it.
 *
 * @param seconds after so long it is ended
 */
export async function runProgram(
  program: string,
  args: readonly string[],
  seconds: number,
): Promise<Ended> {
  const child = spawn(program, args, {
    cwd: ROOT,
    env: environment(dirname(program)),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: seconds * 1000,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (signal !== null) output += `\nended by ${signal}, after at most ${seconds} seconds`;
  return { code, output };
}

/** What belongs to this run alone: the test runner's, the campaigns', and options of this Node. */
const OF_THIS_RUN = /^(?:_?TAP|NODE_|PLAIT_(?:CAMPAIGN|RUNS|SEED|KINDS))/;

function environment(bin: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !OF_THIS_RUN.test(name));
  return {
    ...Object.fromEntries(kept),
    PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}`,
    TAP_TIMEOUT: '240',
    TAP_TYPE_STRIP_ONLY: '1',
  };
}

/** The assertions of a test run that failed, with what is said about them; else the end of the output. */
export function failuresIn(output: string): string {
  const failed = output.match(/^( *)not ok .*\n(?:\1 {2}---\n[^]*?\n\1 {2}\.\.\.\n)?/gm);
  return failed?.join('').slice(0, 16_384) ?? output.slice(-8192);
}

/** One of the echo servers that are compared, in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Who is compared; the first is plait's. */
export const NAMES = ['plait', 'node:net'] as const;

/** A server that runs. */
export class Server {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  /** @param nodeArgs `--expose-gc` where its memory is asked for */
  constructor(name: string, nodeArgs: readonly string[] = []) {
    const file = fileURLToPath(new URL('./echo-servers.js', import.meta.url));
    this.#child = spawn(process.execPath, [...nodeArgs, file, name], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    if (this.#child.stdout === null) throw new Error('no output to read');
    this.#lines = createInterface({ input: this.#child.stdout });
  }

  async #line(): Promise<string> {
    const [line] = (await once(this.#lines, 'line')) as [string];
    return line;
  }

  /** The port that it listens on; to be asked for first. */
  async port(): Promise<number> {
    return Number(await this.#line());
  }

  async #figures(): Promise<number[]> {
    const answer = this.#line();
    this.#child.stdin?.write('\n');
    return (await answer).split(' ').map(Number);
  }

  /** Microseconds of CPU time so far. */
  async cpuTime(): Promise<number> {
    const [cpu = Number.NaN] = await this.#figures();
    return cpu;
  }

  /** Bytes that it uses: of the heap and beside it, and of the process in all. */
  async memory(): Promise<{ used: number; rss: number }> {
    const [, used = Number.NaN, rss = Number.NaN] = await this.#figures();
    return { used, rss };
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    await once(this.#child, 'exit');
  }
}

/** The figure in the middle. */
export function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[figures.length >> 1] ?? Number.NaN;
}

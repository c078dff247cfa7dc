/** Programs of the load runs: each in a process of its own, and asked by lines. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A program that prints lines, and is asked for them by lines. */
export class Program {
  readonly #child: ChildProcess;
  /** Printed, and not taken. */
  readonly #printed: string[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(script: string, args: readonly (string | number)[]) {
    const file = fileURLToPath(new URL(script, import.meta.url));
    this.#child = spawn(process.execPath, ['--expose-gc', file, ...args.map(String)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    if (this.#child.stdout === null) throw new Error('no output to read');
    createInterface({ input: this.#child.stdout })
      .on('line', (line) => {
        this.#printed.push(line);
        this.#wake?.();
      })
      .on('close', () => {
        this.#ended = true;
        this.#wake?.();
      });
  }

  /** The next line that it prints; fails if it ends without. */
  async line(): Promise<string> {
    for (;;) {
      const line = this.#printed.shift();
      if (line !== undefined) return line;
      if (this.#ended) throw new Error('the program has ended too early');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  ask(): Promise<string> {
    this.#child.stdin?.write('\n');
    return this.line();
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

/** What the server says of itself. */
export interface Standing {
  readonly rss: number;
  readonly open: number;
  /** Microseconds of CPU time so far. */
  readonly cpu: number;
}

/** Asks a server how it is. */
export async function standing(server: Program): Promise<Standing> {
  const [rss = 0, open = 0, cpu = 0] = (await server.ask()).split(' ').map(Number);
  return { rss, open, cpu };
}

/** Asks until it has so many connections open, or will not come to. */
export async function settled(server: Program, open: number): Promise<Standing> {
  let now = await standing(server);
  for (let looks = 0; now.open !== open && looks < 1000; looks++) now = await standing(server);
  return now;
}

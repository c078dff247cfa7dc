/**
 * Writing to standard error so that the program goes on whatever becomes of it: a reader that has gone, a full disk, a
 * pipe that is not read. What cannot be written is dropped, and counted.
 *
 * Node writes to a pipe without waiting, but keeps all that does not fit, and keeps the process alive until it has been
 * read. So pipes are written to here, as far as they take it; files and terminals are written to by Node, at once.
 */
import { writeSync } from 'node:fs';
import { Duplex, type Writable } from 'node:stream';
import { Fifo } from './fifo.ts';

/** How many bytes may wait for a pipe that is full. */
const MOST_HELD = 2 ** 20;
/** How soon a full pipe is tried again. */
const SOON_MS = 50;
/** How long an exiting process waits for a pipe that takes nothing. */
const EXIT_PATIENCE_MS = 1000;

// A simulation puts its own in place of the global one; its time is not that of a pipe.
const { setTimeout } = globalThis;

/** Writes text to standard error, or drops it. Neither throws nor waits, and does not keep the process alive. */
export function writeToStandardError(text: string): void {
  try {
    const { stderr } = process;
    if (isPipe(stderr)) pipe.write(text);
    else writeTo(stderr, text);
  } catch {
    // There is no other place where this could be said.
  }
}

/** Writes to a stream; an error that comes of it, now or later, is not thrown for want of a listener. */
export function writeTo(stream: Writable, text: string): void {
  const meanwhile = (): void => {};
  stream.once('error', meanwhile);
  try {
    stream.write(text, (error) => {
      // It is emitted after this; and again by what is piped there, whose own listener is then gone.
      if (error && !stream.listeners('error').includes(ignore)) stream.once('error', ignore);
    });
  } finally {
    stream.off('error', meanwhile);
  }
}

function ignore(): void {}

/** Whether it is a pipe or a socket, which Node has made non-blocking; false where a program has replaced `write`. */
function isPipe(stream: NodeJS.WriteStream): boolean {
  return (
    process.platform !== 'win32' &&
    stream instanceof Duplex &&
    (stream as { readonly fd?: number }).fd === 2 &&
    !stream.isTTY &&
    !Object.hasOwn(stream, 'write')
  );
}

const pipe = new (class Pipe {
  readonly #held = new Fifo<Buffer>();
  #size = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;
  #hears = false;

  write(text: string): void {
    if (this.#held.size > 0 && this.#size + text.length > MOST_HELD) {
      this.#dropped++;
    } else {
      const bytes = Buffer.from(text);
      this.#held.add(bytes);
      this.#size += bytes.length;
    }
    this.#drain();
  }

  /** Writes what the pipe takes, and tries again later if that is not all. */
  #drain(): void {
    // What the program writes itself comes first if it came first.
    if (process.stderr.writableLength === 0) this.#put();
    if (this.#held.size === 0) {
      this.#rest();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#drain();
    }, SOON_MS).unref();
    if (!this.#hears) process.on('exit', this.#exits);
    this.#hears = true;
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#hears) process.off('exit', this.#exits);
    this.#hears = false;
    if (this.#dropped === 0) return;
    const count = this.#dropped;
    this.#dropped = 0;
    this.write(`${count} events were dropped: standard error did not take them fast enough\n`);
  }

  /** Writes what the pipe takes; says whether it took anything. What is held is dropped if the pipe is broken. */
  #put(): boolean {
    let took = false;
    try {
      for (let { first } = this.#held; first !== undefined; { first } = this.#held) {
        const written = writeSync(2, first);
        took = true;
        this.#size -= written;
        this.#held.take();
        if (written < first.length) this.#held.putBack(first.subarray(written));
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return took;
      this.#held.clear();
      this.#size = 0;
      this.#dropped = 0;
    }
    return took;
  }

  /** The process exits: a reader that is only slow gets the rest. */
  readonly #exits = (): void => {
    const clock = new Int32Array(new SharedArrayBuffer(4));
    let until = Date.now() + EXIT_PATIENCE_MS;
    while (this.#held.size > 0 && Date.now() < until) {
      if (this.#put()) until = Date.now() + EXIT_PATIENCE_MS;
      else Atomics.wait(clock, 0, 0, 5);
    }
  };
})();

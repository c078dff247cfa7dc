/**
 * Observers that write files: text for people, JSON lines for programs. Writing never blocks the loop, and never makes a
 * program fail: what cannot be written is counted, and the count is logged as soon as it can. Twisted: `FileLogObserver`,
 * `textFileLogObserver` and `jsonFileLogObserver` of `twisted.logger`.
 *
 * Rule for editors: an event is written in the turn after it was logged, and everything that waits is written when the
 * process exits, before its end. Only a process that is killed loses what waits.
 */
import { close as closeFile, fstatSync, open, openSync, write, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { Deferred } from './defer.ts';
import { explain } from './errors.ts';
import { eventAsText, type ILogObserver, type LogEvent } from './log.ts';
import { eventAsJSON } from './log-json.ts';
import { succeed } from './maybe.ts';

/** How many bytes may wait to be written. */
const MOST_WAITING = 16 * 2 ** 20;

/** How long an exiting process waits for a write that the system has begun. */
const EXIT_PATIENCE_MS = 1000;

/** Options of {@link FileLogObserver}. */
export interface FileLogOptions {
  /** How many bytes may wait to be written; events beyond that are dropped, and counted. Default: 16 MiB. */
  readonly maxWaiting?: number;
}

/** Makes a line, or several, of an event. Ends with a line feed. Undefined to leave it out. */
export type EventFormatter = (event: LogEvent) => string | undefined;

/**
 * Writes each event to a file, which is made if need be and appended to, or to a stream. Made by
 * {@link textFileLogObserver} and {@link jsonFileLogObserver}; give another formatter for a format of your own.
 */
export class FileLogObserver implements ILogObserver, AsyncDisposable {
  readonly #format: EventFormatter;
  readonly #sink: Sink;
  readonly #maxWaiting: number;
  #dropped = 0;

  /** @throws RangeError unless maxWaiting is a positive number */
  constructor(out: string | URL | Writable, format: EventFormatter, options: FileLogOptions = {}) {
    const { maxWaiting = MOST_WAITING } = options;
    if (!(maxWaiting > 0)) throw new RangeError(`maxWaiting must be above 0, not ${maxWaiting}`);
    this.#maxWaiting = maxWaiting;
    this.#format = format;
    this.#sink =
      typeof out === 'string' || out instanceof URL ? new FileSink(out) : new StreamSink(out);
  }

  emit(event: LogEvent): void {
    const text = this.#format(event);
    if (text === undefined || text === '') return;
    if (this.#sink.waiting >= this.#maxWaiting) {
      this.#dropped++;
      return;
    }
    if (this.#dropped > 0) this.#tellDropped();
    this.#sink.write(text);
  }

  #tellDropped(): void {
    const count = this.#dropped;
    this.#dropped = 0;
    const note = this.#format({
      time: Date.now() / 1000,
      level: 'error',
      namespace: 'plait.log',
      format: '{count} events were dropped: they could not be written fast enough',
      count,
    });
    if (note !== undefined) this.#sink.write(note);
  }

  /** Fires when all that was logged before has been written, or could not be. */
  flush(): Deferred<void> {
    if (this.#dropped > 0) this.#tellDropped();
    return this.#sink.flush();
  }

  /** Writes what waits, and closes the file; a stream that was given stays open. What is logged later is dropped. */
  close(): Deferred<void> {
    if (this.#dropped > 0) this.#tellDropped();
    return this.#sink.close();
  }

  /** `await using` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close().asPromise();
  }
}

/** Writes events as text, one line each, and a failure's stack in lines that are indented. */
export function textFileLogObserver(
  out: string | URL | Writable,
  options?: FileLogOptions,
): FileLogObserver {
  return new FileLogObserver(out, eventAsText, options);
}

/** Writes events as JSON, one line each; see {@link eventAsJSON}. `eventsFromJSONLogFile` reads them. */
export function jsonFileLogObserver(
  out: string | URL | Writable,
  options?: FileLogOptions,
): FileLogObserver {
  return new FileLogObserver(out, (event) => `${eventAsJSON(event)}\n`, options);
}

/** Where the text goes. */
interface Sink {
  /** How many bytes, or about as many, wait. */
  readonly waiting: number;
  write(text: string): void;
  flush(): Deferred<void>;
  close(): Deferred<void>;
}

/** What went wrong with a log, which cannot be said there. */
function complain(what: string, error: Error): void {
  process.stderr.write(`cannot write the log to ${what}: ${explain(error)}\n`);
}

// ── Streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────

class StreamSink implements Sink {
  readonly #stream: Writable;
  readonly #waiters = new Set<Deferred<void>>();
  #waiting = 0;
  #closed = false;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', this.#failed);
  }

  readonly #failed = (error: Error): void => {
    if (!this.#closed) complain('a stream', error);
    this.#closed = true;
  };

  get waiting(): number {
    return this.#waiting;
  }

  write(text: string): void {
    if (this.#closed || this.#stream.writableEnded || this.#stream.destroyed) return;
    const size = Buffer.byteLength(text);
    this.#waiting += size;
    this.#stream.write(text, () => {
      this.#waiting -= size;
      if (this.#waiting > 0) return;
      for (const waiter of this.#waiters) waiter.callback();
      this.#waiters.clear();
    });
  }

  flush(): Deferred<void> {
    if (this.#waiting === 0) return succeed();
    const flushed = new Deferred<void>(() => this.#waiters.delete(flushed));
    this.#waiters.add(flushed);
    return flushed;
  }

  close(): Deferred<void> {
    const flushed = this.flush();
    this.#closed = true;
    return flushed.addCallback(() => {
      this.#stream.off('error', this.#failed);
    });
  }
}

// ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Those that have something to write before the process exits. */
const unwritten = new Set<FileSink>();

function writeAll(): void {
  for (const sink of unwritten) sink.writeNow();
}

class FileSink implements Sink {
  readonly #path: string | URL;
  #lines: string[] = [];
  #bytes = 0;
  /** What the system was given, and has not said to have written. */
  #writing: Buffer | undefined;
  /** How long the file was when it was given that. */
  #length = 0;
  #descriptor: number | undefined;
  #scheduled = false;
  /** It has complained since it could last write. */
  #failing = false;
  #closing = false;
  #waiters: Deferred<void>[] = [];

  constructor(path: string | URL) {
    this.#path = path;
  }

  get waiting(): number {
    return this.#bytes + (this.#writing?.length ?? 0);
  }

  write(text: string): void {
    if (this.#closing) return;
    this.#lines.push(text);
    this.#bytes += Buffer.byteLength(text);
    if (unwritten.size === 0) process.on('exit', writeAll);
    unwritten.add(this);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#next());
  }

  /** Writes what waits; does nothing more when nothing does. */
  #next(): void {
    if (this.#descriptor === undefined) {
      this.#open();
      return;
    }
    const batch = this.#take();
    if (batch.length === 0) this.#rest();
    else this.#write(this.#descriptor, batch);
  }

  #open(): void {
    open(this.#path, 'a', 0o644, (error, descriptor) => {
      if (error !== null) {
        this.#failed(error);
        return;
      }
      this.#descriptor = descriptor;
      this.#next();
    });
  }

  #take(): Buffer {
    const batch = Buffer.from(this.#lines.join(''));
    this.#lines = [];
    this.#bytes = 0;
    return batch;
  }

  #write(descriptor: number, batch: Buffer): void {
    this.#writing = batch;
    this.#length = lengthOf(descriptor);
    write(descriptor, batch, 0, batch.length, null, (error, written) => {
      this.#writing = undefined;
      if (error !== null) this.#failed(error);
      else if (written < batch.length) this.#write(descriptor, batch.subarray(written));
      else {
        this.#failing = false;
        this.#next();
      }
    });
  }

  /** What waits is dropped: the file may never be writable again. The next event tries anew. */
  #failed(error: Error): void {
    if (!this.#failing) complain(String(this.#path), error);
    this.#failing = true;
    this.#take();
    this.#rest();
  }

  /** Nothing waits. */
  #rest(): void {
    this.#scheduled = false;
    unwritten.delete(this);
    if (unwritten.size === 0) process.off('exit', writeAll);
    const waiters = this.#waiters;
    this.#waiters = [];
    if (!this.#closing || this.#descriptor === undefined) {
      for (const waiter of waiters) waiter.callback();
      return;
    }
    closeFile(this.#descriptor, () => {
      for (const waiter of waiters) waiter.callback();
    });
    this.#descriptor = undefined;
  }

  flush(): Deferred<void> {
    if (!this.#scheduled) return succeed();
    const flushed: Deferred<void> = new Deferred<void>(() => {
      this.#waiters = this.#waiters.filter((waiter) => waiter !== flushed);
    });
    this.#waiters.push(flushed);
    return flushed;
  }

  close(): Deferred<void> {
    this.#closing = true;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        if (this.#descriptor === undefined) this.#rest();
        else this.#next();
      });
    }
    return this.flush();
  }

  /** The process exits: no callback will come any more. */
  writeNow(): void {
    try {
      const descriptor = (this.#descriptor ??= openSync(this.#path, 'a', 0o644));
      if (this.#writing !== undefined)
        waitForLength(descriptor, this.#length + this.#writing.length);
      let batch = this.#take();
      while (batch.length > 0) batch = batch.subarray(writeSync(descriptor, batch));
    } catch (error) {
      complain(String(this.#path), error as Error);
    }
  }
}

/** How long a file is; Infinity for what has no length. */
function lengthOf(descriptor: number): number {
  try {
    const stats = fstatSync(descriptor);
    return stats.isFile() ? stats.size : Infinity;
  } catch {
    return Infinity;
  }
}

/** Until a write that another thread does has been done, so that nothing overtakes it. */
function waitForLength(descriptor: number, length: number): void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  const until = Date.now() + EXIT_PATIENCE_MS;
  while (lengthOf(descriptor) < length && Date.now() < until) Atomics.wait(clock, 0, 0, 1);
}

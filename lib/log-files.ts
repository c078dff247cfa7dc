/**
 * Observers that write files: text for people, JSON lines for programs. Writing never blocks the loop, and never makes a
 * program fail: what cannot be written is counted, and the count is logged as soon as it can. Twisted: `FileLogObserver`,
 * `textFileLogObserver` and `jsonFileLogObserver` of `twisted.logger`.
 *
 * Rule for editors: an event is written in the turn after it was logged, and everything that waits is written when the
 * process exits, before its end. Only a process that is killed loses what waits.
 */
import {
  close as closeFile,
  constants,
  fstatSync,
  open,
  openSync,
  write,
  writeSync,
} from 'node:fs';
import type { Writable } from 'node:stream';
import { checkFunction, checkLimit, checkMethods, checkOptions } from './arguments.ts';
import type { Deferred } from './defer.ts';
import { explain } from './errors.ts';
import { Fifo } from './fifo.ts';
import { neededNow } from './hooks.ts';
import { eventAsText, type ILogObserver, type LogEvent } from './log.ts';
import { eventAsJSON } from './log-json.ts';
import { succeed } from './maybe.ts';
import { onOneLine } from './printable.ts';
import { writeToStandardError } from './standard-error.ts';
import { Waiters } from './waiters.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** How many bytes may wait to be written. */
const MOST_WAITING = 16 * 2 ** 20;

/** How many characters are written at once, or one event. */
const BATCH = 2 ** 20;

/** How long an exiting process waits for a write that the system has begun, or for a FIFO whose reader takes nothing. */
const EXIT_PATIENCE_MS = 1000;

/** How soon a FIFO that is full is tried again. */
const SOON_MS = 20;

/** How long those who wait for what is written to a full FIFO wait at most. */
const FULL_PATIENCE_MS = 5000;

/** To append, and without waiting: for a FIFO without a reader, it would be for ever. */
const APPEND =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  ((constants as Record<string, number>)['O_NONBLOCK'] ?? 0);

// A simulation puts its own in place of the global ones; its time is not that of a file.
const { setImmediate, setTimeout } = globalThis;

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

  /** @throws RangeError unless maxWaiting is a positive number */
  constructor(out: string | URL | Writable, format: EventFormatter, options: FileLogOptions = {}) {
    const { maxWaiting = MOST_WAITING } = checkOptions(options, 'FileLogObserver: options');
    this.#maxWaiting = checkLimit(maxWaiting, 'FileLogObserver: maxWaiting', 1);
    this.#format = checkFunction(format, 'FileLogObserver: format');
    if (typeof out !== 'string' && !(out instanceof URL))
      checkMethods(out, 'FileLogObserver: out', 'a path, a URL, or a stream', ['write', 'on']);
    this.#sink =
      typeof out === 'string' || out instanceof URL ? new FileSink(out) : new StreamSink(out);
  }

  emit(event: LogEvent): void {
    const text = neededNow(this.#format(event), 'the formatter');
    if (text === undefined || text === '') return;
    if (this.#sink.waiting >= this.#maxWaiting) {
      this.#sink.dropped++;
      return;
    }
    if (this.#sink.dropped > 0) this.#tellDropped();
    this.#sink.write(text);
  }

  #tellDropped(): void {
    const count = this.#sink.dropped;
    this.#sink.dropped = 0;
    try {
      const note = this.#format({
        time: Date.now() / 1000,
        level: 'error',
        namespace: 'plait.log',
        format: '{count} events were dropped: they could not be written, or not fast enough',
        count,
      });
      if (note !== undefined) this.#sink.write(note);
    } catch {
      // A formatter of the program's own need not be fit for this.
    }
  }

  /** Fires when all that was logged before has been written, or could not be. */
  flush(): Deferred<void> {
    if (this.#sink.dropped > 0) this.#tellDropped();
    return this.#sink.flush();
  }

  /** Writes what waits, and closes the file; a stream that was given stays open. What is logged later is dropped. */
  close(): Deferred<void> {
    if (this.#sink.dropped > 0) this.#tellDropped();
    return this.#sink.close();
  }

  /** `await using` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close().asPromise();
  }

  toString(): string {
    return told(
      this,
      `${count(this.#sink.waiting, 'byte')} waiting, ${this.#sink.dropped} dropped`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
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
  /** How many events were dropped, of which the log does not tell yet. */
  dropped: number;
  write(text: string): void;
  flush(): Deferred<void>;
  close(): Deferred<void>;
}

/** What went wrong with a log, which cannot be said there. */
function complain(what: string, error: Error): void {
  writeToStandardError(onOneLine(`cannot write the log to ${what}: ${explain(error)}`) + '\n');
}

/** The name of a file for a complaint; a URL that names none may hold a password. */
function nameOf(path: string | URL): string {
  return typeof path === 'string' ? path : `${path.protocol}//${path.host}${path.pathname}`;
}

// ── Streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────

class StreamSink implements Sink {
  readonly #stream: Writable;
  readonly #waiters = new Waiters<void>();
  #waiting = 0;
  #closed = false;
  #broken = false;
  dropped = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on('error', this.#failed).on('close', this.#gone);
  }

  /** It calls back for nothing any more: what it has not written will not be. */
  readonly #gone = (): void => {
    this.#waiting = 0;
    this.#waiters.fireAll(undefined);
  };

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
    let told = false;
    const written = (error?: Error | null): void => {
      if (told) return;
      told = true;
      if (error) this.#broken = true;
      this.#waiting = Math.max(0, this.#waiting - size);
      if (this.#waiting > 0) return;
      this.#waiters.fireAll(undefined);
    };
    try {
      this.#stream.write(text, written);
    } catch (error) {
      this.#failed(error as Error);
      written(error as Error);
    }
  }

  flush(): Deferred<void> {
    if (this.#waiting === 0) return succeed();
    return this.#waiters.wait(undefined);
  }

  close(): Deferred<void> {
    const flushed = this.flush();
    this.#closed = true;
    return flushed.addCallback(() => {
      this.#stream.off('close', this.#gone);
      // The error of a write is emitted after its callback, and without a listener would end the process.
      if (!this.#broken) this.#stream.off('error', this.#failed);
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
  readonly #lines = new Fifo<string>();
  #bytes = 0;
  /** What the system was given, and has not said to have written. */
  #writing: Buffer | undefined;
  /** What of a batch the system has not taken. */
  #rest: Buffer | undefined;
  /** How long the file was when it was given that. */
  #length = 0;
  #descriptor: number | undefined;
  #scheduled = false;
  /** It has complained since it could last write. */
  #failing = false;
  #closing = false;
  readonly #waiters = new Waiters<void>();
  /** Until it is tried again to write to a full FIFO. */
  #timer: NodeJS.Timeout | undefined;
  /** Since when a FIFO has taken nothing, by `Date.now()`. */
  #fullSince: number | undefined;
  dropped = 0;

  constructor(path: string | URL) {
    this.#path = path;
  }

  get waiting(): number {
    return this.#bytes + (this.#writing?.length ?? 0) + (this.#rest?.length ?? 0);
  }

  write(text: string): void {
    if (this.#closing) return;
    this.#bytes += Buffer.byteLength(text);
    this.#lines.add(text);
    if (unwritten.size === 0) process.on('exit', writeAll);
    unwritten.add(this);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#next());
  }

  /** Writes what waits; does nothing more when nothing does. */
  #next(): void {
    try {
      if (this.#descriptor === undefined) {
        this.#open();
        return;
      }
      const batch = this.#take();
      if (batch.length === 0) this.#finish();
      else this.#write(this.#descriptor, batch);
    } catch (error) {
      // A path that can be none, say.
      this.#failed(error as Error);
    }
  }

  #open(): void {
    open(this.#path, APPEND, 0o644, (error, descriptor) => {
      if (error !== null) {
        this.#failed(error);
        return;
      }
      this.#descriptor = descriptor;
      this.#next();
    });
  }

  /** What is to be written next: some of the lines; nothing when none waits. */
  #take(): Buffer {
    const rest = this.#rest;
    if (rest !== undefined) {
      this.#rest = undefined;
      return rest;
    }
    const lines: string[] = [];
    for (let size = 0; this.#lines.size > 0 && size < BATCH;) {
      const line = this.#lines.take();
      size += line.length;
      lines.push(line);
    }
    const batch = Buffer.from(lines.join(''));
    // Halves of a character in two lines are counted otherwise when these are joined.
    this.#bytes = this.#lines.size === 0 ? 0 : this.#bytes - batch.length;
    return batch;
  }

  #write(descriptor: number, batch: Buffer): void {
    const stats = statsOf(descriptor);
    if (stats?.removed === true) {
      // Somebody has taken the file away, as those do that rotate logs. Who looks for it wants one of this name.
      this.#descriptor = undefined;
      this.#rest = batch;
      closeFile(descriptor, () => this.#next());
      return;
    }
    this.#writing = batch;
    this.#length = stats?.length ?? Infinity;
    write(descriptor, batch, 0, batch.length, null, (error, written) => {
      this.#writing = undefined;
      if (error?.code === 'EAGAIN') this.#full(batch);
      else if (error !== null) this.#failed(error);
      else {
        this.#failing = false;
        this.#fullSince = undefined;
        if (written < batch.length) this.#rest = batch.subarray(written);
        this.#next();
      }
    });
  }

  /** A FIFO takes no more for now. That does not keep the process alive, but those who wait for a flush do, for a time. */
  #full(batch: Buffer): void {
    this.#rest = batch;
    this.#fullSince ??= Date.now();
    if (this.#waiters.size > 0 && Date.now() - this.#fullSince > FULL_PATIENCE_MS) {
      this.#fullSince = undefined;
      this.#failed(new Error('its reader takes nothing'));
      return;
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#next();
    }, SOON_MS);
    if (this.#waiters.size === 0) this.#timer.unref();
  }

  /** What waits is dropped, and counted: the file may never be writable again. The next event tries anew. */
  #failed(error: Error): void {
    if (!this.#failing) complain(nameOf(this.#path), error);
    this.#failing = true;
    this.dropped += this.#lines.size + (this.#rest === undefined ? 0 : 1);
    this.#lines.clear();
    this.#bytes = 0;
    this.#rest = undefined;
    this.#finish();
  }

  /** Nothing waits. */
  #finish(): void {
    this.#scheduled = false;
    unwritten.delete(this);
    if (unwritten.size === 0) process.off('exit', writeAll);
    if (!this.#closing || this.#descriptor === undefined) {
      this.#waiters.fireAll(undefined);
      return;
    }
    closeFile(this.#descriptor, () => {
      this.#waiters.fireAll(undefined);
    });
    this.#descriptor = undefined;
  }

  flush(): Deferred<void> {
    if (!this.#scheduled) return succeed();
    const flushed = this.#waiters.wait(undefined);
    this.#timer?.ref();
    return flushed;
  }

  close(): Deferred<void> {
    this.#closing = true;
    if (!this.#scheduled) {
      this.#scheduled = true;
      setImmediate(() => {
        if (this.#descriptor === undefined) this.#finish();
        else this.#next();
      });
    }
    return this.flush();
  }

  /** The process exits: no callback will come any more. */
  writeNow(): void {
    try {
      const descriptor = (this.#descriptor ??= openSync(this.#path, APPEND, 0o644));
      if (this.#writing !== undefined)
        waitForLength(descriptor, this.#length + this.#writing.length);
      for (let batch = this.#take(); batch.length > 0; batch = this.#take())
        writeAllNow(descriptor, batch);
    } catch (error) {
      complain(nameOf(this.#path), error as Error);
    }
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Writes all of it; throws for a FIFO that takes nothing for a time. */
function writeAllNow(descriptor: number, batch: Buffer): void {
  let until = Date.now() + EXIT_PATIENCE_MS;
  for (let at = 0; at < batch.length;) {
    try {
      at += writeSync(descriptor, batch, at);
      until = Date.now() + EXIT_PATIENCE_MS;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || Date.now() > until) throw error;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}

/** How long a file is, Infinity for what has no length, and whether its name is gone; undefined where that is not known. */
function statsOf(descriptor: number): { length: number; removed: boolean } | undefined {
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile()) return { length: Infinity, removed: false };
    return { length: stats.size, removed: stats.nlink === 0 };
  } catch {
    return undefined;
  }
}

/** Until a write that another thread does has been done, so that nothing overtakes it. */
function waitForLength(descriptor: number, length: number): void {
  const until = Date.now() + EXIT_PATIENCE_MS;
  while ((statsOf(descriptor)?.length ?? Infinity) < length && Date.now() < until)
    Atomics.wait(pause, 0, 0, 1);
}

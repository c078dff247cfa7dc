/**
 * Where the bytes to be scanned come from: one way to read a buffer, a file, a stream or an iterable, piece by piece,
 * and to be done with it early.
 */
import { open, type FileHandle } from 'node:fs/promises';
import type { ReadableStream, ReadableStreamDefaultReader } from 'node:stream/web';
import { inspect } from 'node:util';
import { Deferred, Logger, maybeDeferred, succeed } from 'plait';
import { UnreadableFile } from './errors.ts';

const log = new Logger('plait.clamd');

/**
 * Bytes to be scanned: a buffer; a file, by its path; or anything that yields buffers, such as an array, a generator,
 * one of Node's Readables or a web ReadableStream.
 */
export type ScanSource =
  Uint8Array | { readonly path: string } | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A source that is being read. */
export interface Chunks {
  /** The next piece, at once or later. Not called again before that is there. */
  next(): IteratorResult<unknown> | PromiseLike<IteratorResult<unknown>>;
  /**
   * No more is wanted: lets go of what is held open. Called at most once, perhaps while a `next` is going on, and not
   * after one that was the last or failed.
   */
  close(): void;
}

/**
 * Begins to read `source`, but takes nothing from it yet. Fails with UnreadableFile for a file that cannot be opened.
 *
 * @param size how many bytes to read from a file at a time
 * @throws TypeError if it is no source
 */
export function openSource(source: ScanSource, size: number): Deferred<Chunks> {
  const given: unknown = source;
  if (given instanceof Uint8Array) return succeed(new Iteration([given].values()));
  if (typeof given === 'object' && given !== null) {
    if (isWebStream(given)) return succeed(new WebStream(given.getReader()));
    if (isAsyncIterable(given)) return succeed(new Iteration(given[Symbol.asyncIterator](), given));
    if (isIterable(given)) return succeed(new Iteration(given[Symbol.iterator]()));
    if ('path' in given && typeof given.path === 'string') return openFile(given.path, size);
  }
  throw new TypeError(
    `cannot scan ${inspect(given, { depth: 0 })}: give a Uint8Array, { path: '…' } or an iterable of Uint8Arrays`,
  );
}

function isWebStream(thing: object): thing is ReadableStream<unknown> {
  return typeof (thing as { getReader?: unknown }).getReader === 'function';
}

function isAsyncIterable(thing: object): thing is AsyncIterable<unknown> {
  return (
    typeof (thing as { [Symbol.asyncIterator]?: unknown })[Symbol.asyncIterator] === 'function'
  );
}

function isIterable(thing: object): thing is Iterable<unknown> {
  return typeof (thing as { [Symbol.iterator]?: unknown })[Symbol.iterator] === 'function';
}

/** What an iterator yields. */
class Iteration implements Chunks {
  readonly #iterator: Iterator<unknown> | AsyncIterator<unknown>;
  readonly #destroyable: { destroy?: unknown };
  /** A generator that is running cannot be closed from inside: then it is closed afterwards. */
  #running = false;
  #closing = false;

  /** @param from one of Node's streams is destroyed when it is closed, lest it waits for bytes until they come */
  constructor(iterator: Iterator<unknown> | AsyncIterator<unknown>, from: object = {}) {
    this.#iterator = iterator;
    this.#destroyable = from;
  }

  next(): IteratorResult<unknown> | PromiseLike<IteratorResult<unknown>> {
    this.#running = true;
    try {
      return this.#iterator.next();
    } finally {
      this.#running = false;
      if (this.#closing) this.#close();
    }
  }

  close(): void {
    this.#closing = true;
    if (!this.#running) this.#close();
  }

  #close(): void {
    letGo(() => this.#iterator.return?.());
    const from = this.#destroyable;
    if (typeof from.destroy === 'function') letGo(() => (from as { destroy(): unknown }).destroy());
  }
}

/** A web stream, which is read without its iterator since that cannot be closed while it waits for bytes. */
class WebStream implements Chunks {
  readonly #reader: ReadableStreamDefaultReader<unknown>;

  constructor(reader: ReadableStreamDefaultReader<unknown>) {
    this.#reader = reader;
  }

  async next(): Promise<IteratorResult<unknown>> {
    const { done, value } = await this.#reader.read();
    return { done, value };
  }

  close(): void {
    letGo(() => this.#reader.cancel());
  }
}

/** Calls something that closes; if it cannot, that is logged, since the scan is over and nobody else would hear it. */
function letGo(close: () => unknown): void {
  maybeDeferred(close).addErrback((failure) =>
    log.failure('cannot close the source of a scan', failure, 'warn'),
  );
}

// ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Opens a file. Cancelling does not wait for it: it is closed again when it has been opened. */
function openFile(path: string, size: number): Deferred<Chunks> {
  let cancelled = false;
  const opened = new Deferred<Chunks>(() => {
    cancelled = true;
  });
  open(path).then(
    (handle) => {
      const file = new OpenFile(path, handle, size);
      if (cancelled) file.close();
      else opened.callback(file);
    },
    (error: unknown) => {
      if (!cancelled) opened.errback(new UnreadableFile(path, error as Error));
    },
  );
  return opened;
}

/** The content of a file. */
class OpenFile implements Chunks {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #size: number;

  constructor(path: string, handle: FileHandle, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
  }

  async next(): Promise<IteratorResult<unknown>> {
    let failed: Error | undefined;
    try {
      const { bytesRead, buffer } = await this.#handle.read(Buffer.allocUnsafeSlow(this.#size));
      if (bytesRead > 0) return { done: false, value: buffer.subarray(0, bytesRead) };
    } catch (error) {
      failed = error as Error;
    }
    this.close();
    if (failed !== undefined) throw new UnreadableFile(this.#path, failed);
    return { done: true, value: undefined };
  }

  /** Once what is being read has been read. */
  close(): void {
    letGo(() => this.#handle.close());
  }
}

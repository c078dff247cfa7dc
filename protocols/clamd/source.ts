/**
 * Where the bytes to be scanned come from: one way to read a buffer, a file, a stream or an iterable, piece by piece,
 * and to be done with it early.
 *
 * A rule for editors: that nothing comes must never pass for there being nothing. A source that has been used looks like
 * an empty one, so only a source whose emptiness can be seen, a buffer or a file, may be empty without being asked.
 */
import { constants, type Stats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { isErrored, Readable } from 'node:stream';
import type { ReadableStream, ReadableStreamDefaultReader } from 'node:stream/web';
import { inspect } from 'node:util';
import { isProxy, isUint8Array } from 'node:util/types';
import { Deferred, isDetached, Logger, maybeDeferred, succeed } from 'plait';
import { UnreadableFile, UnusableSource } from './errors.ts';

const log = new Logger('plait.clamd');

/** Windows has none. */
const { O_NONBLOCK = 0 } = constants as Partial<typeof constants>;

/**
 * Bytes to be scanned: a buffer; a file, by its path; or anything that yields buffers, such as an array, a generator,
 * one of Node's Readables or a web ReadableStream.
 */
export type ScanSource =
  Uint8Array | { readonly path: string } | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A source that is being read. */
export interface Chunks {
  /** True if there may be no bytes because the caller gave none, and not because others have taken them. */
  readonly mayBeEmpty: boolean;
  /**
   * Makes the source this scan's own; no other can have it then. Takes nothing from it yet.
   *
   * @throws UnusableSource if it is not what it was when it was given, and what the source's own methods throw
   */
  begin(): void;
  /** The next piece, at once or later. Not called before `begin`, and not again before that is there. */
  next(): IteratorResult<unknown> | PromiseLike<IteratorResult<unknown>>;
  /**
   * No more is wanted: lets go of what is held open, where `next` was called, and else leaves the source as it was.
   * Called at most once, perhaps while a `next` is going on, and not after one that was the last or failed.
   */
  close(): void;
}

/**
 * Makes ready to read `source`, but takes nothing from it yet. Fails with UnreadableFile for a file that cannot be
 * opened.
 *
 * @param size how many bytes to read from a file at a time
 * @throws TypeError if it is no source; UnusableSource for one that cannot give all that it held
 */
export function openSource(source: ScanSource, size: number): Deferred<Chunks> {
  const given: unknown = source;
  if (isUint8Array(given)) return succeed(new Pieces([given]));
  if (Array.isArray(given) && !isProxy(given)) return succeed(new Pieces(given));
  if (typeof given === 'object' && given !== null) {
    if (isWebStream(given)) return succeed(new WebStream(given));
    if (isAsyncIterable(given)) {
      return succeed(new Iteration(given, () => given[Symbol.asyncIterator]()));
    }
    if (isIterable(given)) return succeed(new Iteration(given, () => given[Symbol.iterator]()));
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

// ── Buffers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * How many bytes `piece` has.
 *
 * @throws TypeError if it is no Uint8Array; UnusableSource if its memory has gone to another thread, or is no longer
 *   large enough for it: such an array says that it has no bytes
 */
export function lengthOf(piece: unknown): number {
  if (!isUint8Array(piece)) {
    throw new TypeError(
      `the source to be scanned must yield Uint8Arrays, not ${inspect(piece, { depth: 0 })}`,
    );
  }
  const length = byteLengthOf(piece);
  if (length === 0 && (piece.length > 0 || isDetached(piece))) throw new UnusableSource('detached');
  return length;
}

const prototype = Object.getPrototypeOf(Uint8Array.prototype) as object;

/** What a view is by itself, whatever its own properties, or those of its class, say. */
function own(piece: Uint8Array, name: string): unknown {
  return Reflect.get(prototype, name, piece);
}

/** How many bytes `piece` has now; 0 without its memory. */
export function byteLengthOf(piece: Uint8Array): number {
  return own(piece, 'byteLength') as number;
}

/** The bytes from `start` to `end` of `piece`, as a view of no class of the caller's. */
export function partOf(piece: Uint8Array, start: number, end: number): Uint8Array {
  const offset = own(piece, 'byteOffset') as number;
  return new Uint8Array(own(piece, 'buffer') as ArrayBuffer, offset + start, end - start);
}

/** A buffer, or an array of buffers: as many bytes as there were when they were given. */
class Pieces implements Chunks {
  readonly mayBeEmpty = true;
  readonly #pieces: readonly unknown[];
  readonly #lengths: readonly number[];
  #at = 0;

  constructor(given: readonly unknown[]) {
    // By their places: an array may have an iterator of its own, which another may have come to the end of.
    this.#pieces = Array.from({ length: given.length }, (_, index) => given[index]);
    this.#lengths = this.#pieces.map(lengthOf);
  }

  begin(): void {
    for (const index of this.#pieces.keys()) this.#check(index);
  }

  next(): IteratorResult<unknown> {
    if (this.#at === this.#pieces.length) return { done: true, value: undefined };
    this.#check(this.#at);
    return { done: false, value: this.#pieces[this.#at++] };
  }

  close(): void {}

  #check(index: number): void {
    if (lengthOf(this.#pieces[index]) !== this.#lengths[index]) throw new UnusableSource('changed');
  }
}

// ── Iterators and streams ────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Iterators and streams that a scan has read from, or is going to. What was read is not given twice, so the next scan
 * would find the rest clean. That other code has read from an iterator cannot be known.
 */
const taken = new WeakSet();

/** @throws UnusableSource if `source` has been read from, or is a stream that has come to its end in some way */
function checkUnused(source: object): void {
  if (taken.has(source)) throw new UnusableSource('used');
  // Of what is no stream all of this is false.
  const stream = source as ReadableStream & Readable;
  if (stream.locked) throw new UnusableSource('locked');
  if (isErrored(stream)) throw new UnusableSource('closed', { cause: stream.errored });
  if (stream.destroyed && !stream.readableDidRead) throw new UnusableSource('closed');
  if (Readable.isDisturbed(stream)) throw new UnusableSource('used');
}

/** What an iterator yields. */
class Iteration implements Chunks {
  readonly mayBeEmpty = false;
  readonly #source: object;
  readonly #iterate: () => Iterator<unknown> | AsyncIterator<unknown>;
  #iterator: Iterator<unknown> | AsyncIterator<unknown> | undefined;
  #asked = false;
  /** A generator that is running cannot be closed from inside: then it is closed afterwards. */
  #running = false;
  #closing = false;

  constructor(source: object, iterate: () => Iterator<unknown> | AsyncIterator<unknown>) {
    checkUnused(source);
    this.#source = source;
    this.#iterate = iterate;
  }

  /** A stream makes a new iterator each time: so it is marked itself. */
  begin(): void {
    checkUnused(this.#source);
    const iterator = this.#iterate();
    if (taken.has(iterator)) throw new UnusableSource('used');
    this.#iterator = iterator;
    taken.add(iterator);
    if (isStream(this.#source)) taken.add(this.#source);
  }

  next(): IteratorResult<unknown> | PromiseLike<IteratorResult<unknown>> {
    this.#running = this.#asked = true;
    try {
      return (this.#iterator as Iterator<unknown>).next();
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
    const iterator = this.#iterator;
    if (iterator === undefined) return;
    if (!this.#asked) {
      taken.delete(iterator);
      taken.delete(this.#source);
      return;
    }
    letGo(() => iterator.return?.());
    // A stream's iterator would wait for bytes until they come.
    const { destroy } = this.#source as { destroy?: unknown };
    if (typeof destroy === 'function') letGo(() => (this.#source as Readable).destroy());
  }
}

function isStream(source: object): boolean {
  return typeof (source as { pipe?: unknown }).pipe === 'function';
}

/** A web stream, which is read without its iterator since that cannot be closed while it waits for bytes. */
class WebStream implements Chunks {
  readonly mayBeEmpty = false;
  readonly #stream: ReadableStream<unknown>;
  #reader: ReadableStreamDefaultReader<unknown> | undefined;
  #asked = false;

  constructor(stream: ReadableStream<unknown>) {
    checkUnused(stream);
    this.#stream = stream;
  }

  begin(): void {
    checkUnused(this.#stream);
    this.#reader = this.#stream.getReader();
  }

  async next(): Promise<IteratorResult<unknown>> {
    this.#asked = true;
    taken.add(this.#stream);
    const reader = this.#reader as ReadableStreamDefaultReader<unknown>;
    const { done, value } = await reader.read();
    return { done, value };
  }

  close(): void {
    const reader = this.#reader;
    if (this.#asked) letGo(() => reader?.cancel());
    else reader?.releaseLock();
  }
}

/** Calls something that closes; if it cannot, that is logged, since the scan is over and could not say it. */
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
  OpenFile.open(path, size).then(
    (file) => {
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
  readonly mayBeEmpty: boolean;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #size: number;
  /** How many bytes it must have: more may be added to it while it is read, but none taken away. */
  readonly #least: number;
  #read = 0;

  private constructor(path: string, handle: FileHandle, stats: Stats, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
    // A device has no size, and an end only for now.
    this.mayBeEmpty = stats.isFile();
    this.#least = stats.isFile() ? stats.size : 0;
  }

  static async open(path: string, size: number): Promise<OpenFile> {
    // To wait for what writes to a FIFO takes one of the few threads that Node has for all files and host names.
    const handle = await open(path, constants.O_RDONLY | O_NONBLOCK);
    try {
      const stats = await handle.stat();
      if (stats.isFIFO()) throw new TypeError('it is a FIFO; give a stream that reads it');
      return new OpenFile(path, handle, stats, size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  begin(): void {}

  async next(): Promise<IteratorResult<unknown>> {
    let failed: Error | undefined;
    try {
      const { bytesRead, buffer } = await this.#handle.read(Buffer.allocUnsafeSlow(this.#size));
      this.#read += bytesRead;
      if (bytesRead > 0) return { done: false, value: buffer.subarray(0, bytesRead) };
      if (this.#read < this.#least) failed = this.#shrunk();
    } catch (error) {
      failed = error as Error;
    }
    this.close();
    if (failed !== undefined) throw new UnreadableFile(this.#path, failed);
    return { done: true, value: undefined };
  }

  #shrunk(): Error {
    return new Error(`it had ${this.#least} bytes when it was opened, and then ${this.#read}`);
  }

  /** Once what is being read has been read. */
  close(): void {
    letGo(() => this.#handle.close());
  }
}

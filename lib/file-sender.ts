/**
 * Sending a file, or whatever else is read piece by piece, over a connection at the pace at which it goes away.
 * Twisted: `FileSender` of `twisted.protocols.basic`.
 */
import { inspect } from 'node:util';
import { checkWhole } from './arguments.ts';
import { isDetached } from './bytes.ts';
import { Deferred } from './defer.ts';
import { ConsumerStopped } from './errors.ts';
import { Failure } from './failure.ts';
import { neededNow, watchHook } from './hooks.ts';
import type { IConsumer, IPullProducer } from './interfaces.ts';
import { Logger } from './log.ts';
import { WITHOUT_WAITING } from './regular-file.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.file-sender');

/** An open file, as `open` of `node:fs/promises` gives it. It is read from where it stands, and is not closed. */
export interface ReadableFile {
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: null,
  ): Promise<{ bytesRead: number }>;
}

/** What can be sent: the path of a file, an open file, a stream, or any other iterable of pieces. */
export type FileSource =
  string | URL | ReadableFile | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** Changes a piece before it is sent. */
export type FileTransform = (piece: Buffer) => Uint8Array | string;

/** Options of {@link FileSender}. */
export interface FileSenderOptions {
  /** How many bytes are read from a file at a time. Default: 16,384. */
  readonly chunkSize?: number;
}

/** After so many empty pieces in a row, others have their turn: timers above all. */
const EMPTY_AT_ONCE = 100;

/** A source while it is being sent. */
interface Pieces {
  /** The next piece; undefined at the end. */
  next(): Promise<Uint8Array | string | undefined>;
  close(): Promise<unknown>;
}

/**
 * Sends files, one at a time.
 *
 * @example
 * const sender = new FileSender({ chunkSize: 65536 });
 * const send = (path: string, transport: ITransport) => sender.beginFileTransfer(path, transport);
 */
export class FileSender implements IPullProducer {
  readonly #chunkSize: number;
  #consumer: IConsumer | undefined;
  #pieces: Pieces | undefined;
  #transform: FileTransform | undefined;
  #sent: Deferred<Buffer> | undefined;
  #last: Buffer = Buffer.alloc(0);
  /** Where a piece is being read. When another file is being sent by then, that is not to wait for it. */
  #reading: Pieces | undefined;
  /** How many pieces were empty, one after the other. */
  #empty = 0;

  /** @throws RangeError unless chunkSize is a whole number from 1 */
  constructor({ chunkSize = 2 ** 14 }: FileSenderOptions = {}) {
    this.#chunkSize = checkWhole(chunkSize, 'FileSender: chunkSize', 1);
  }

  /**
   * Sends `file` to `consumer`, as a pull producer. What the file has when it is read is sent: all that was added
   * meanwhile, and no more than is left when it was cut short. Whatever was opened here is closed in the end; a stream
   * is destroyed unless it came to its end.
   *
   * Fires with the last byte that was sent, none if nothing was. Fails with what reading or `transform` failed with, with
   * ConsumerStopped if the consumer is gone, and with a TypeError for what cannot be sent. The consumer is then still
   * open. Cancelling stops.
   *
   * @throws Error if it is sending already, or if the consumer has another producer
   */
  beginFileTransfer(
    file: FileSource,
    consumer: IConsumer,
    transform?: FileTransform,
  ): Deferred<Buffer> {
    if (this.#sent !== undefined) throw new Error('cannot send a file: another one is being sent');
    const pieces = piecesOf(file, this.#chunkSize);
    const sent = new Deferred<Buffer>(() => this.#end());
    this.#sent = sent;
    this.#consumer = consumer;
    this.#pieces = pieces;
    this.#transform = transform;
    this.#last = Buffer.alloc(0);
    try {
      consumer.registerProducer(this, false);
    } catch (error) {
      this.#consumer = undefined;
      this.#end();
      throw error;
    }
    return sent;
  }

  /** The consumer wants the next piece. */
  resumeProducing(): void {
    const pieces = this.#pieces;
    if (pieces === undefined || this.#reading === pieces) return;
    this.#reading = pieces;
    // What ends while a piece is being read is closed only then.
    const current = (): boolean => this.#pieces === pieces;
    pieces.next().then(
      (piece) => {
        if (current()) this.#reading = undefined;
        if (current()) this.#write(piece);
        else this.#closeAfter(pieces);
      },
      (error: unknown) => {
        if (current()) this.#reading = undefined;
        if (current()) this.#fail(error);
        else this.#closeAfter(pieces);
      },
    );
  }

  /** The consumer is gone. */
  stopProducing(): void {
    this.#consumer = undefined;
    this.#fail(new ConsumerStopped('cannot send the rest of a file: the consumer is gone'));
  }

  #write(piece: Uint8Array | string | undefined): void {
    if (piece === undefined) {
      const sent = this.#sent;
      this.#end();
      sent?.callback(this.#last);
      return;
    }
    try {
      let bytes = asBytes(piece);
      if (this.#transform !== undefined)
        bytes = asBytes(neededNow(this.#transform(bytes), 'transform'));
      // An empty piece would never be drained.
      if (bytes.length === 0) {
        const pieces = this.#pieces;
        if (++this.#empty % EMPTY_AT_ONCE !== 0) this.resumeProducing();
        else
          setImmediate(() => {
            if (pieces === this.#pieces) this.resumeProducing();
          });
        return;
      }
      this.#empty = 0;
      this.#last = Buffer.from(bytes.subarray(-1));
      const outcome: unknown = this.#consumer?.write(bytes);
      if (outcome !== undefined) this.#watch(outcome);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A consumer whose `write` is an `async` function fails the transfer, if that is still going on. */
  #watch(outcome: unknown): void {
    const pieces = this.#pieces;
    watchHook(outcome, 'write', {
      hookFailed: (hook, failure) => {
        if (this.#pieces === pieces) this.#fail(failure.value);
        else log.failure(`${hook} failed`, failure);
      },
    });
  }

  #fail(error: unknown): void {
    const sent = this.#sent;
    this.#end();
    if (sent?.called === false) sent.errback(new Failure(error));
  }

  /** Lets go of the consumer and of what is sent. */
  #end(): void {
    const { consumer, pieces } = { consumer: this.#consumer, pieces: this.#pieces };
    this.#sent = this.#consumer = this.#pieces = this.#transform = undefined;
    const reading = this.#reading;
    this.#reading = undefined;
    this.#empty = 0;
    if (pieces !== undefined && reading !== pieces) this.#closeAfter(pieces);
    try {
      consumer?.unregisterProducer();
    } catch (error) {
      log.failure('the consumer of a file could not be let go of', new Failure(error));
    }
  }

  #closeAfter(pieces: Pieces): void {
    pieces.close().catch((error: unknown) => {
      log.failure('a file that was sent could not be closed', new Failure(error), 'error');
    });
  }

  toString(): string {
    return told(this, this.#sent === undefined ? 'idle' : 'sending');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function asBytes(piece: unknown): Buffer {
  if (typeof piece === 'string') return Buffer.from(piece);
  if (piece instanceof Uint8Array && isDetached(piece))
    throw new TypeError('cannot send a buffer that was transferred');
  if (piece instanceof Uint8Array)
    return Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
  throw new TypeError(`cannot send ${typeof piece}: a piece must be a Uint8Array or a string`);
}

function piecesOf(source: FileSource, chunkSize: number): Pieces {
  if (typeof source === 'string' || source instanceof URL) return new PathPieces(source, chunkSize);
  if (typeof (source as ReadableFile).read === 'function' && !(Symbol.asyncIterator in source))
    return new FilePieces(source as ReadableFile, chunkSize);
  const { readableEnded, destroyed } = source as { readableEnded?: boolean; destroyed?: boolean };
  if (readableEnded === true || destroyed === true)
    throw new TypeError('cannot send a file: the stream has come to its end, or was destroyed');
  const iterable = source as Partial<AsyncIterable<string> & Iterable<string>>;
  const iterator = iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]?.();
  if (iterator === undefined)
    throw new TypeError('cannot send a file: it is neither a path, nor open, nor iterable');
  return new IterablePieces(iterator);
}

/** The pieces of an open file. */
class FilePieces implements Pieces {
  readonly #file: ReadableFile;
  readonly #chunkSize: number;

  constructor(file: ReadableFile, chunkSize: number) {
    this.#file = file;
    this.#chunkSize = chunkSize;
  }

  async next(): Promise<Buffer | undefined> {
    // Not from the pool, and for each piece a new one: it may be sent from where it is, later.
    const buffer = Buffer.allocUnsafeSlow(this.#chunkSize);
    const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, null);
    if (!Number.isInteger(bytesRead) || bytesRead < 0 || bytesRead > buffer.length) {
      throw new RangeError(
        `read() of a file must tell how many of ${buffer.length} bytes it has read, not ${inspect(bytesRead)}`,
      );
    }
    return bytesRead === 0 ? undefined : buffer.subarray(0, bytesRead);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** The pieces of a file that is opened, and closed. */
class PathPieces implements Pieces {
  readonly #path: string | URL;
  readonly #chunkSize: number;
  #file: { readonly pieces: FilePieces; close(): Promise<void> } | undefined;

  constructor(path: string | URL, chunkSize: number) {
    this.#path = path;
    this.#chunkSize = chunkSize;
  }

  async next(): Promise<Buffer | undefined> {
    if (this.#file === undefined) {
      const { open } = process.getBuiltinModule('node:fs/promises');
      const handle = await open(this.#path, WITHOUT_WAITING);
      const pieces = new FilePieces(handle, this.#chunkSize);
      this.#file = { pieces, close: () => handle.close() };
      const stats = await handle.stat();
      // To wait for it takes one of the few threads that Node has for all files and host names.
      if (stats.isFIFO())
        throw new TypeError(
          `cannot send ${String(this.#path)}: it is a FIFO; give a stream that reads it`,
        );
    }
    return this.#file.pieces.next();
  }

  async close(): Promise<void> {
    await this.#file?.close();
  }
}

/** The pieces of an iterable: of a stream, say. */
class IterablePieces implements Pieces {
  readonly #iterator: AsyncIterator<Uint8Array | string> | Iterator<Uint8Array | string>;
  #over = false;

  constructor(iterator: AsyncIterator<Uint8Array | string> | Iterator<Uint8Array | string>) {
    this.#iterator = iterator;
  }

  async next(): Promise<Uint8Array | string | undefined> {
    const result: unknown = await this.#iterator.next();
    if (typeof result !== 'object' || result === null)
      throw new TypeError(`next() of an iterator must return an object, not ${inspect(result)}`);
    const { done, value } = result as { readonly done?: unknown; readonly value?: unknown };
    this.#over = Boolean(done);
    if (this.#over) return undefined;
    // Undefined would be taken for the end.
    return (value ?? null) as Uint8Array | string;
  }

  async close(): Promise<void> {
    if (!this.#over) await this.#iterator.return?.();
  }
}

/**
 * The stream that follows INSTREAM, on its way out: a source, cut into chunks and sent at the pace of the connection.
 * The next piece is asked for when all that was written before has gone, so one piece is held at a time.
 */
import { isAnyArrayBuffer } from 'node:util/types';
import { Failure, type IConsumer, type IPullProducer } from 'plait';
import { UnusableSource } from './errors.ts';
import { END_OF_STREAM, writeChunkSize } from './grammar.ts';
import { byteLengthOf, type Chunks, lengthOf, partOf } from './source.ts';

/** How many empty pieces may follow each other: a source of nothing else would not let the loop turn. */
const MOST_EMPTY = 10_000;

/** How a source is sent. */
export interface UploadOptions {
  /** A piece with more bytes is cut. */
  readonly chunkSize: number;
  /** True if any source may have no bytes. */
  readonly allowEmpty: boolean;
  /** Called whenever something is sent, or has gone out. */
  readonly progressed: () => void;
}

/** True for what may hold bytes that should have been yielded. */
function isBytes(returned: unknown): boolean {
  return (
    ArrayBuffer.isView(returned) ||
    isAnyArrayBuffer(returned) ||
    typeof returned === 'string' ||
    (typeof returned === 'object' &&
      returned !== null &&
      (Symbol.iterator in returned || Symbol.asyncIterator in returned))
  );
}

/** Sends one source, once. */
export class Upload implements IPullProducer {
  readonly #chunks: Chunks;
  readonly #options: UploadOptions;
  #consumer: IConsumer | undefined;
  #failed: ((error: Error) => void) | undefined;
  /** The piece that was read last, how long it was then, and how much of that has been sent. */
  #piece: Uint8Array | undefined;
  #length = 0;
  #sent = 0;
  #emptyPieces = 0;
  /** The next piece has been asked for and is not there yet. */
  #reading = false;
  #over = false;
  #bytesSent = 0;
  #complete = false;

  constructor(chunks: Chunks, options: UploadOptions) {
    this.#chunks = chunks;
    this.#options = options;
  }

  /** How many bytes of the source have been written. */
  get bytesSent(): number {
    return this.#bytesSent;
  }

  /** True once all of the source, and the end of the stream, has been written. */
  get complete(): boolean {
    return this.#complete;
  }

  /**
   * False if the piece that was written last is no longer what it was. The transport may not have copied it, so other
   * bytes, or none, may have gone out instead.
   */
  get intact(): boolean {
    return this.#piece === undefined || byteLengthOf(this.#piece) === this.#length;
  }

  /**
   * Makes the source this scan's own, before anything is sent.
   *
   * @throws UnusableSource if it cannot be had, and what the source throws
   */
  claim(): void {
    this.#chunks.begin();
  }

  /**
   * Begins to send.
   *
   * @param failed called with what the source throws, after which nothing more is sent
   */
  begin(consumer: IConsumer, failed: (error: Error) => void): void {
    this.#consumer = consumer;
    this.#failed = failed;
    consumer.registerProducer(this, false);
  }

  /** Sends nothing more, and closes the source unless that has come to its end. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    this.#chunks.close();
  }

  stopProducing(): void {
    this.stop();
  }

  resumeProducing(): void {
    this.#options.progressed();
    if (!this.#reading) this.#sendOne();
  }

  #sendOne(): void {
    while (!this.#over) {
      if (!this.intact) {
        this.#refuse(new UnusableSource('changed'));
        return;
      }
      if (this.#sent < this.#length) {
        this.#send(this.#piece as Uint8Array);
        return;
      }
      const result = this.#read();
      if (result === undefined) return;
      this.#take(result);
    }
  }

  #send(piece: Uint8Array): void {
    const end = Math.min(this.#sent + this.#options.chunkSize, this.#length);
    const chunk = partOf(piece, this.#sent, end);
    this.#sent += chunk.length;
    this.#bytesSent += chunk.length;
    this.#consumer?.write(writeChunkSize(chunk.length));
    this.#consumer?.write(chunk);
    this.#options.progressed();
  }

  /** What the source has next; undefined if it is not there yet, and will be sent when it is, or if there is none. */
  #read(): IteratorResult<unknown> | undefined {
    this.#reading = true;
    try {
      const result = this.#chunks.next();
      if (!('then' in result)) {
        this.#reading = false;
        return result;
      }
      // An iterator of the caller's may give what is no result: that must not go unheard either.
      result
        .then((later) => {
          this.#reading = false;
          this.#take(later);
          this.#sendOne();
        })
        .then(undefined, (error: unknown) => this.#fail(error));
    } catch (error) {
      this.#fail(error);
    }
    return undefined;
  }

  #take({ done, value }: IteratorResult<unknown>): void {
    if (this.#over) return;
    if (done === true) {
      this.#end(value);
      return;
    }
    try {
      this.#length = lengthOf(value);
    } catch (error) {
      this.#refuse(error as Error);
      return;
    }
    this.#piece = value as Uint8Array;
    this.#sent = 0;
    this.#emptyPieces = this.#length === 0 ? this.#emptyPieces + 1 : 0;
    if (this.#emptyPieces > MOST_EMPTY) this.#refuse(new UnusableSource('empty'));
  }

  #end(returned: unknown): void {
    if (isBytes(returned)) {
      const problem = 'the source to be scanned has returned bytes, which it must yield';
      this.#fail(new TypeError(problem));
    } else if (this.#bytesSent === 0 && !this.#chunks.mayBeEmpty && !this.#options.allowEmpty) {
      this.#fail(new UnusableSource('empty'));
    } else {
      this.#over = this.#complete = true;
      this.#options.progressed();
      this.#consumer?.write(END_OF_STREAM);
      this.#consumer?.unregisterProducer();
    }
  }

  /** The source has given what cannot be sent. */
  #refuse(error: Error): void {
    this.stop();
    this.#failed?.(error);
  }

  /** The source has thrown, or come to its end: there is nothing to close. */
  #fail(error: unknown): void {
    this.#reading = false;
    if (this.#over) return;
    this.#over = true;
    this.#failed?.(new Failure(error).value);
  }
}

/**
 * The stream that follows INSTREAM, on its way out: a source, cut into chunks and sent at the pace of the connection.
 * The next piece is asked for when all that was written before has gone, so one piece is held at a time.
 */
import { inspect } from 'node:util';
import { Failure, type IConsumer, type IPullProducer } from 'plait';
import { END_OF_STREAM, writeChunkSize } from './grammar.ts';
import type { Chunks } from './source.ts';

/** Sends one source, once. */
export class Upload implements IPullProducer {
  readonly #chunks: Chunks;
  readonly #chunkSize: number;
  #consumer: IConsumer | undefined;
  #failed: ((error: Error) => void) | undefined;
  /** What is left of the piece that was read last. */
  #rest: Uint8Array | undefined;
  /** The next piece has been asked for and is not there yet. */
  #reading = false;
  #over = false;
  #bytesSent = 0;
  #complete = false;

  /** @param chunkSize a piece with more bytes is cut */
  constructor(chunks: Chunks, chunkSize: number) {
    this.#chunks = chunks;
    this.#chunkSize = chunkSize;
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
    if (!this.#reading) this.#sendOne();
  }

  #sendOne(): void {
    while (!this.#over) {
      if (this.#rest !== undefined && this.#rest.length > 0) {
        this.#send(this.#rest);
        return;
      }
      const result = this.#read();
      if (result === undefined) return;
      this.#take(result);
    }
  }

  #send(piece: Uint8Array): void {
    const chunk = piece.subarray(0, this.#chunkSize);
    this.#rest = piece.subarray(chunk.length);
    this.#bytesSent += chunk.length;
    this.#consumer?.write(writeChunkSize(chunk.length));
    this.#consumer?.write(chunk);
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
      // An iterator of somebody else may give what is no result: that must not go unheard either.
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
      this.#over = this.#complete = true;
      this.#consumer?.write(END_OF_STREAM);
      this.#consumer?.unregisterProducer();
    } else if (value instanceof Uint8Array) {
      this.#rest = value;
    } else {
      this.stop();
      this.#failed?.(
        new TypeError(
          `the source to be scanned must yield Uint8Arrays, not ${inspect(value, { depth: 0 })}`,
        ),
      );
    }
  }

  /** The source has thrown: there is nothing to close. */
  #fail(error: unknown): void {
    this.#reading = false;
    if (this.#over) return;
    this.#over = true;
    this.#failed?.(new Failure(error).value);
  }
}

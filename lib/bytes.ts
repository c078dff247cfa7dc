/**
 * Bytes that have arrived and are not yet taken, and the generators that a sans-IO grammar is made of. It knows no
 * protocol and does no I/O. The nearest thing in Twisted is the `_buffer` inside `LineReceiver`.
 *
 * Rules for editors: bytes handed out are never written to again, so a compaction allocates and never moves in
 * place; each search goes on where the last one ended, so that a line dripped byte by byte costs linear time; and
 * every reader that waits for a delimiter takes a limit.
 */
import {
  checkBytes,
  checkInstance,
  checkLimit,
  checkNumber,
  checkString,
  checkWhole,
  wrongType,
  wrongValue,
} from './arguments.ts';
import { LimitExceeded } from './errors.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const EMPTY = Buffer.alloc(0);

/** Capacity is at least this once bytes have to be copied together, so that dripped bytes do not allocate each time. */
const SMALLEST_STORE = 256;

/**
 * `piece`, if it is at least half of the memory that it lies in, and else a copy. A small view into a large chunk that
 * is kept would keep the whole chunk in memory.
 *
 * @example
 * const chunk = Buffer.alloc(60_000);
 * unpinned(chunk.subarray(0, 10)).buffer.byteLength;       // 10
 * unpinned(chunk.subarray(10)).buffer === chunk.buffer;    // true
 */
export function unpinned(piece: Buffer): Buffer {
  if (!Buffer.isBuffer(piece)) throw wrongType('unpinned: piece', 'a Buffer', piece);
  return piece.length * 2 >= piece.buffer.byteLength ? piece : copyOf(piece, 0, piece.length);
}

/** The largest array that V8 keeps within its heap: made by `slice`, it costs no more than a view does. */
const SMALL = 64;

/** A copy with a memory of its own: what `Buffer.from` makes may be a part of a pool. */
function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  if (end - start <= SMALL) return Uint8Array.prototype.slice.call(bytes, start, end) as Buffer;
  const copy = Buffer.allocUnsafeSlow(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

/**
 * True for a view whose memory was transferred to another thread, or has become too small for it. Such a view says that
 * it has no bytes, and is easily taken for an empty one.
 *
 * @example
 * const bytes = new Uint8Array(10);
 * isDetached(bytes);                                        // false
 * structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
 * isDetached(bytes);                                        // true
 */
export function isDetached(bytes: Uint8Array): boolean {
  checkBytes(bytes, 'isDetached: bytes');
  if (bytes.length > 0) return false;
  try {
    // Node 20 has no ArrayBuffer.prototype.detached; but each method of a view looks for itself.
    Uint8Array.prototype.at.call(bytes, 0);
    return false;
  } catch {
    return true;
  }
}

const BEYOND_ASCII = /[\u0080-\uffff]/;

/**
 * `text` with the letters A to Z in lower case and all else as it is. `toLowerCase` would make a `k` of the Kelvin sign
 * too, so that names which a specification tells apart would be the same.
 *
 * @example
 * asciiLowerCase('Cookie');        // 'cookie'
 * asciiLowerCase('Coo\u212aie');   // 'coo\u212aie'
 */
export function asciiLowerCase(text: string): string {
  checkString(text, 'asciiLowerCase: text');
  if (!BEYOND_ASCII.test(text)) return text.toLowerCase();
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/**
 * `text` with the letters a to z in upper case and all else as it is; see {@link asciiLowerCase}.
 *
 * @example
 * asciiUpperCase('post');       // 'POST'
 * asciiUpperCase('po\u017ft');  // 'PO\u017fT'
 */
export function asciiUpperCase(text: string): string {
  checkString(text, 'asciiUpperCase: text');
  if (!BEYOND_ASCII.test(text)) return text.toUpperCase();
  return text.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
}

/**
 * A queue of bytes: chunks are fed at one end, pieces are taken from the other. A piece is a view where it is at least
 * half of the memory that it lies in, and else a copy, so that no more than twice its bytes is kept with it. Feeding
 * copies only while an unfinished piece is waiting. Both take amortised linear time.
 *
 * @example
 * const received = new ReceiveBuffer();
 * received.feed(Buffer.from('PING\r\nPO'));
 * received.takeUntil(Buffer.from('\r\n'), 100)?.toString();  // 'PING'
 * received.takeUntil(Buffer.from('\r\n'), 100);              // undefined: not yet
 * received.length;                                           // 2
 */
export class ReceiveBuffer {
  #store: Buffer = EMPTY;
  #start = 0;
  #end = 0;
  /** True while the store was allocated here, so that its spare room may be written to. */
  #owned = false;
  /** How many bytes the memory has that the store lies in: all of it is held by a view. */
  #held = 0;
  /** How many of the waiting bytes are known not to begin the delimiter that was last searched for, and that. */
  #searched = 0;
  #delimiter: Uint8Array = EMPTY;

  /** How many bytes are waiting. */
  get length(): number {
    return this.#end - this.#start;
  }

  /** Adds a chunk. The buffer keeps a reference to it where it need not copy, so it must not be written to any more. */
  feed(chunk: Buffer): void {
    if (!Buffer.isBuffer(chunk)) throw wrongType('feed: chunk', 'a Buffer', chunk);
    const waiting = this.#end - this.#start;
    if (waiting === 0) {
      this.#store = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#owned = false;
      this.#held = chunk.buffer.byteLength;
      return;
    }
    const needed = waiting + chunk.length;
    if (!this.#owned || this.#end + chunk.length > this.#store.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * needed, SMALLEST_STORE));
      this.#store.copy(larger, 0, this.#start, this.#end);
      this.#store = larger;
      this.#start = 0;
      this.#end = waiting;
      this.#owned = true;
      this.#held = larger.length;
    }
    chunk.copy(this.#store, this.#end);
    this.#end += chunk.length;
  }

  /**
   * The next `size` bytes, or undefined if fewer are waiting.
   *
   * @throws RangeError unless `size` is a whole number from 0
   */
  take(size: number): Buffer | undefined {
    checkWhole(size, 'take: size', 0);
    return size > this.length ? undefined : this.#advance(size, 0);
  }

  /**
   * Whatever is waiting, at most `most` bytes of it; undefined if nothing is.
   *
   * @throws RangeError if `most` is negative, or no whole number (Infinity will do)
   */
  takeSome(most: number): Buffer | undefined {
    checkLimit(most, 'takeSome: most');
    const size = Math.min(most, this.length);
    return size === 0 ? undefined : this.#advance(size, 0);
  }

  /** The waiting byte that `index` others stand before, which is not taken; undefined if it has not arrived. */
  byteAt(index: number): number | undefined {
    checkWhole(index, 'byteAt: index', 0);
    return index < this.length ? this.#store[this.#start + index] : undefined;
  }

  /** All that is waiting, perhaps nothing. */
  takeAll(): Buffer {
    return this.#advance(this.length, 0);
  }

  /**
   * The bytes before the next `delimiter`, which is taken too; undefined if it has not arrived.
   *
   * @param limit how many bytes may stand before the delimiter
   * @param what named in the error, as in `a header line`
   * @throws LimitExceeded once it is certain that more than `limit` bytes stand before the delimiter; RangeError for
   *   an empty delimiter, and for a limit that is not 0 or more
   */
  takeUntil(delimiter: Uint8Array, limit: number, what = 'a line'): Buffer | undefined {
    // NaN would be no limit at all.
    checkNumber(limit, 'takeUntil: limit');
    if (delimiter !== this.#delimiter) {
      checkBytes(delimiter, 'takeUntil: delimiter');
      if (delimiter.length === 0)
        throw wrongValue('takeUntil: delimiter', 'a Uint8Array of one byte or more', delimiter);
      if (Buffer.compare(delimiter, this.#delimiter) !== 0) this.#searched = 0;
      this.#delimiter = delimiter;
    }
    const store = this.#store;
    // Behind the end there may be room to spare, which is not to be searched.
    const searchable = this.#end === store.length ? store : store.subarray(0, this.#end);
    const found = searchable.indexOf(delimiter, this.#start + this.#searched);
    if (found < 0) {
      // The last bytes may be the beginning of the delimiter, and do not count until it is sure that they are not.
      this.#searched = Math.max(0, this.length - delimiter.length + 1);
      if (this.#searched > limit) throw new LimitExceeded(what, limit);
      return undefined;
    }
    const at = found - this.#start;
    if (at > limit) throw new LimitExceeded(what, limit);
    return this.#advance(at, delimiter.length);
  }

  /** Drops all that is waiting. */
  clear(): void {
    this.#skip(this.length);
  }

  #advance(size: number, skip: number): Buffer {
    const end = this.#start + size;
    const taken =
      size * 2 >= this.#held
        ? this.#store.subarray(this.#start, end)
        : copyOf(this.#store, this.#start, end);
    this.#skip(size + skip);
    return taken;
  }

  #skip(size: number): void {
    this.#start += size;
    this.#searched = 0;
    if (this.#start === this.#end) {
      this.#store = EMPTY;
      this.#start = this.#end = 0;
      this.#owned = false;
      this.#held = 0;
    }
  }

  toString(): string {
    return told(this, count(this.length, 'byte'));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * A grammar rule: a generator that yields while it waits for more bytes, and returns what it has read. Rules call each
 * other with `yield*`, and read from top to bottom.
 *
 * @example
 * function* netstring(source: ReceiveBuffer): Parse<Buffer> {
 *   const size = Number(yield* until(source, Buffer.from(':'), 5));
 *   const body = yield* exactly(source, size);
 *   yield* exactly(source, 1);   // the comma
 *   return body;
 * }
 */
export type Parse<T> = Generator<undefined, T, undefined>;

/** Rule: exactly `size` bytes. */
export function* exactly(source: ReceiveBuffer, size: number): Parse<Buffer> {
  checkInstance(source, 'exactly: source', ReceiveBuffer);
  checkWhole(size, 'exactly: size', 0);
  for (;;) {
    const bytes = source.take(size);
    if (bytes) return bytes;
    yield;
  }
}

/**
 * Rule: the bytes before `delimiter`, which is taken too.
 *
 * @throws LimitExceeded if more than `limit` bytes stand before it
 */
export function* until(
  source: ReceiveBuffer,
  delimiter: Uint8Array,
  limit: number,
  what?: string,
): Parse<Buffer> {
  checkInstance(source, 'until: source', ReceiveBuffer);
  for (;;) {
    const bytes = source.takeUntil(delimiter, limit, what);
    if (bytes) return bytes;
    yield;
  }
}

const CRLF = Buffer.from('\r\n');

/** Rule: a line without its CR LF. A bare LF does not end it. */
export function line(source: ReceiveBuffer, limit: number, what?: string): Parse<Buffer> {
  return until(source, CRLF, limit, what);
}

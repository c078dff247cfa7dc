/**
 * The ways in which bytes may be cut on their way. A network promises none of them and delivers any, so whatever reads
 * bytes must make the same of all.
 */
import { neededNow } from '../hooks.ts';
import { Random } from './sim/random.ts';

/** Up to this many bytes, all ways to cut in three are tried; there are half their square. */
const ALL_TWO_CUTS = 128;

/** How many ways to cut longer bytes in three, and in many, are tried, as drawn from a fixed seed. */
const DRAWN = 64;

/** Options of {@link chunkings} and {@link eachChunking}. */
export interface ChunkingOptions {
  /**
   * How many cuts there are at most in those that are tried all: with 0, only whole and byte by byte. Default: 2 up to
   * 128 bytes, 1 above.
   */
  readonly cuts?: 0 | 1 | 2;
}

/**
 * `bytes` whole; byte by byte; cut in two at every place; cut in three at every two places, or, where there are too many
 * of these, at some of them, and into many pieces too. Each piece is a buffer of its own. The same bytes are always cut in
 * the same ways.
 *
 * @throws TypeError for what are no bytes, RangeError for `cuts` that cannot be
 * @example
 * [...chunkings('abc')].map((pieces) => pieces.join(' '));
 * // [ 'abc', 'a b c', 'a bc', 'ab c', 'a b c' ]
 */
export function* chunkings(
  bytes: Uint8Array | string,
  options: ChunkingOptions = {},
): Generator<Buffer[]> {
  const all = bytesOf(bytes);
  const { length } = all;
  const cuts = options.cuts ?? (length <= ALL_TWO_CUTS ? 2 : 1);
  if (![0, 1, 2].includes(cuts)) throw new RangeError(`cuts must be 0, 1 or 2, not ${cuts}`);
  const at = (...places: number[]): Buffer[] => cut(all, places);
  yield at();
  if (length < 2) return;
  yield at(...Array.from({ length: length - 1 }, (_, index) => index + 1));
  if (cuts === 0) return;
  for (let one = 1; one < length; one++) yield at(one);
  if (cuts === 2) {
    for (let one = 1; one < length; one++) {
      for (let other = one + 1; other < length; other++) yield at(one, other);
    }
    return;
  }
  if (length <= ALL_TWO_CUTS) return;
  const random = new Random(length);
  for (let i = 0; i < DRAWN; i++) {
    const one = 1 + random.int(length - 1);
    const other = 1 + random.int(length - 1);
    yield at(Math.min(one, other), Math.max(one, other));
    const places: number[] = [];
    for (let place = random.size(length); place < length; place += random.size(length))
      places.push(place);
    yield at(...places);
  }
}

/** A copy of `bytes`. */
export function bytesOf(bytes: Uint8Array | string): Buffer {
  if (typeof bytes === 'string') return Buffer.from(bytes);
  if ((bytes as unknown) instanceof Uint8Array) return Buffer.from(bytes);
  throw new TypeError(`bytes must be a Uint8Array or a string, not ${typeof bytes}`);
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let from = 0;
  for (const place of [...places, bytes.length]) {
    if (place > from) pieces.push(Buffer.from(bytes.subarray(from, place)));
    from = place;
  }
  return pieces;
}

/**
 * Calls `fn` with the pieces of each of the {@link chunkings} of `bytes`. What it throws is thrown on, with the
 * chunking named in the message.
 *
 * @example
 * eachChunking('one\r\ntwo\r\n', (pieces) => {
 *   const buffer = new ReceiveBuffer();
 *   for (const piece of pieces) buffer.feed(piece);
 *   const line = buffer.takeUntil(Buffer.from('\r\n'), 10);
 *   if (String(line) !== 'one') throw new Error(`${line} is not one`);
 * });
 */
export function eachChunking(
  bytes: Uint8Array | string,
  fn: (pieces: Buffer[]) => void,
  options: ChunkingOptions = {},
): void {
  const call: (pieces: Buffer[]) => unknown = fn;
  for (const pieces of chunkings(bytes, options)) {
    try {
      neededNow(call(pieces), 'what is called for each chunking');
    } catch (error) {
      addToMessage(error, `\n  with the bytes cut ${describe(pieces)}`);
      throw error;
    }
  }
}

/** Adds to what an error says, as far as it lets itself be changed. */
function addToMessage(error: unknown, more: string): void {
  if (!(error instanceof Error)) return;
  const { message, stack = '' } = error;
  // The stack is what most test runners show, and it holds the message as it was at first.
  Reflect.defineProperty(error, 'message', { value: message + more });
  Reflect.defineProperty(error, 'stack', { value: stack.replace(message, () => message + more) });
}

/** `into pieces of 3 + 1 + 8 bytes`. */
export function describe(pieces: readonly Uint8Array[]): string {
  if (pieces.length <= 1) return 'nowhere';
  if (pieces.every(({ length }) => length === 1)) return 'into single bytes';
  const lengths = pieces.map(({ length }) => length);
  const shown = lengths.length > 12 ? [...lengths.slice(0, 12), '…'] : lengths;
  return `into pieces of ${shown.join(' + ')} bytes`;
}

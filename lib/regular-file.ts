/**
 * Files that are read at once and were not made by the program: certificates, keys, lists of the system. Only a regular
 * file is read, up to a limit: to open a FIFO blocks the whole program until something writes to it, and a device need
 * not end.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { LimitExceeded } from './errors.ts';

/** In bytes. All roots of a system together have a sixtieth of that. */
export const LONGEST_FILE: number = 16 * 2 ** 20;

const PIECE_BYTES = 64 * 1024;

/** Windows has none of them. */
const { O_NONBLOCK = 0, O_NOCTTY = 0 } = constants as Partial<typeof constants>;

/** Flags with which a file is opened for reading without waiting for anything. */
export const WITHOUT_WAITING: number = constants.O_RDONLY | O_NONBLOCK | O_NOCTTY;

/**
 * The contents of a regular file.
 *
 * @param most how many bytes it may have
 * @throws TypeError for a FIFO, a socket or a device, LimitExceeded, and what the file system throws
 */
export function readRegularFile(path: string, most: number = LONGEST_FILE): Buffer {
  const descriptor = openSync(path, WITHOUT_WAITING);
  try {
    const kind = irregular(fstatSync(descriptor));
    if (kind !== undefined) throw new TypeError(`it is ${kind}, and no regular file`);
    const pieces: Buffer[] = [];
    // Not by its size: it may grow meanwhile, and what the system makes up has none.
    for (let left = most; ;) {
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, left + 1));
      const length = readSync(descriptor, piece, 0, piece.length, null);
      if (length === 0) return Buffer.concat(pieces);
      left -= length;
      if (left < 0) throw new LimitExceeded('the file', most);
      pieces.push(piece.subarray(0, length));
    }
  } finally {
    closeSync(descriptor);
  }
}

/** What it is, where reading it may wait, or never come to an end; undefined for a file, and for a directory, which cannot be read at all. */
export function irregular(stats: Stats): string | undefined {
  if (stats.isFIFO()) return 'a FIFO';
  if (stats.isSocket()) return 'a socket';
  return stats.isCharacterDevice() || stats.isBlockDevice() ? 'a device' : undefined;
}

/**
 * A small writer of DER (X.690): the values that certificates and requests for them are made of. It stands beside the
 * reader, `der.ts`, and writes nothing that the reader would not take. What the values mean is the affair of
 * `certificate-signing.ts`. Twisted leaves this to pyOpenSSL.
 */
import { TAG } from './der.ts';

/** A value: its tag, its length, and its content. */
export function value(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([Buffer.of(tag), lengthOf(body.length), body]);
}

/** One byte up to 127; else the number of the bytes that follow, and as few of those as will do. */
function lengthOf(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(length);
  const bytes = size.subarray(size.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.of(0x80 + bytes.length), bytes]);
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return value(TAG.sequence, ...parts);
}

/** SET OF: DER demands that its elements are sorted by their bytes. */
export function setOf(...parts: readonly Uint8Array[]): Buffer {
  return value(TAG.set, ...[...parts].sort((a, b) => Buffer.compare(a, b)));
}

export function boolean(is: boolean): Buffer {
  return value(TAG.boolean, Buffer.of(is ? 0xff : 0));
}

/** Two's complement, in as few bytes as will do. */
export function integer(number: bigint): Buffer {
  let bytes = 1;
  while (BigInt.asIntN(bytes * 8, number) !== number) bytes++;
  const hex = BigInt.asUintN(bytes * 8, number).toString(16);
  return value(TAG.integer, Buffer.from(hex.padStart(bytes * 2, '0'), 'hex'));
}

export function octetString(bytes: Uint8Array): Buffer {
  return value(TAG.octetString, bytes);
}

/** Whole bytes. */
export function bitString(bytes: Uint8Array): Buffer {
  return value(TAG.bitString, Buffer.of(0), bytes);
}

/** A BIT STRING with names for its bits, of which those with these numbers are set; zeros at its end are left out. */
export function namedBits(...numbers: readonly number[]): Buffer {
  const last = Math.max(-1, ...numbers);
  const bytes = Buffer.alloc((last + 8) >> 3);
  for (const number of numbers)
    bytes.writeUInt8(bytes.readUInt8(number >> 3) | (0x80 >> (number & 7)), number >> 3);
  return value(TAG.bitString, Buffer.of(bytes.length * 8 - (last + 1)), bytes);
}

export const nothing = value(TAG.null);

/**
 * An identifier, from its usual form, as in `2.5.29.17`.
 *
 * @throws RangeError for what is none
 */
export function identifier(text: string): Buffer {
  const arcs = /^[0-2](\.(0|[1-9]\d*))+$/.test(text) ? text.split('.').map(BigInt) : [];
  const [first = 0n, second = 40n, ...rest] = arcs;
  if (first < 2n && second >= 40n) throw new RangeError(`${text} is no object identifier`);
  return value(TAG.oid, ...[first * 40n + second, ...rest].map(arcOf));
}

/** Seven bits in each byte; all but the last have the eighth set. */
function arcOf(arc: bigint): Buffer {
  const bytes = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) bytes.unshift(0x80 | Number(rest & 0x7fn));
  return Buffer.from(bytes);
}

/**
 * A time of a certificate (RFC 5280 section 4.1.2.5), in whole seconds: UTCTime, whose years have two digits, from 1950
 * to 2049, and GeneralizedTime else.
 *
 * @throws RangeError for a year before 0 or beyond 9999, and for what is no date
 */
export function time(date: Date): Buffer {
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999))
    throw new RangeError(`a certificate cannot say ${String(date)}: years have four digits`);
  const text = `${date.toISOString().slice(0, 19).replace(/\D/g, '')}Z`;
  const short = year >= 1950 && year < 2050;
  return value(
    short ? TAG.utcTime : TAG.generalizedTime,
    Buffer.from(short ? text.slice(2) : text, 'latin1'),
  );
}

/** `[number]` around whole values: EXPLICIT. */
export function explicit(number: number, ...values: readonly Uint8Array[]): Buffer {
  return value(0xa0 + number, ...values);
}

/** `[number]` in place of the tag of a primitive value: IMPLICIT. */
export function implicit(number: number, content: Uint8Array): Buffer {
  return value(0x80 + number, content);
}

/**
 * A small reader of DER, and of where the parts of a certificate are. It looks into nothing that it is not asked for,
 * takes definite lengths only, never reads beyond what it was given, and turns no bytes into text: so that what a
 * certificate says cannot be confused by commas, quotes or NULs in it. It checks no signature; that is the engine's
 * affair. What writes stands beside it, in `der-writer.ts`. Twisted leaves all of this to pyOpenSSL.
 */
import { CertificateError } from './errors.ts';

/** A value: its tag, and its content. */
export interface DERValue {
  readonly tag: number;
  readonly body: Buffer;
}

/** Tags (X.690 section 8). */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/**
 * The values that stand one behind the other in `bytes`.
 *
 * @throws CertificateError if they are not DER, or do not end where `bytes` ends
 */
export function readDER(bytes: Buffer): DERValue[] {
  const values: DERValue[] = [];
  for (let at = 0; at < bytes.length;) {
    const { tag, start, end } = headerAt(bytes, at);
    values.push({ tag, body: bytes.subarray(start, end) });
    at = end;
  }
  return values;
}

function headerAt(bytes: Buffer, at: number): { tag: number; start: number; end: number } {
  const tag = bytes[at] as number;
  const first = bytes[at + 1];
  if (first === undefined || (tag & 0x1f) === 0x1f) throw malformed();
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first - 0x80;
    // 0 is the indefinite length, which DER has not; more than 4 bytes is more than there can be.
    if (count === 0 || count > 4 || start + count > bytes.length) throw malformed();
    length = bytes.readUIntBE(start, count);
    start += count;
  }
  if (length > bytes.length - start) throw malformed();
  return { tag, start, end: start + length };
}

/**
 * What a value with this tag holds.
 *
 * @throws CertificateError if it has another tag, or is not there
 */
export function bodyOf(value: DERValue | undefined, tag: number): Buffer {
  if (value?.tag !== tag) throw malformed();
  return value.body;
}

function malformed(): CertificateError {
  return new CertificateError('what should be DER (X.690) is malformed');
}

/**
 * The values that stand one behind the other in `bytes` as they stand there, each with its tag and its length.
 *
 * @throws CertificateError as `readDER` does
 */
export function wholeDER(bytes: Buffer): Buffer[] {
  const values: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const { end } = headerAt(bytes, at);
    values.push(bytes.subarray(at, end));
    at = end;
  }
  return values;
}

/** The parts of a certificate that are read here, as DER. */
export interface CertificateParts {
  readonly serial: Buffer;
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** The contents of the extensions, by the hexadecimal form of their identifier. */
  readonly extensions: ReadonlyMap<string, Buffer>;
}

const VERSION_TAG = 0xa0;
const EXTENSIONS_TAG = 0xa3;

/**
 * Finds the parts of a certificate (RFC 5280 section 4.1).
 *
 * @throws CertificateError if it is malformed, or has an extension twice, which leaves open what is meant
 */
export function certificateParts(der: Buffer): CertificateParts {
  const [certificate] = readDER(der);
  const [signed] = readDER(bodyOf(certificate, TAG.sequence));
  const fields = readDER(bodyOf(signed, TAG.sequence));
  if (fields[0]?.tag === VERSION_TAG) fields.shift();
  const [serial, , issuer, , subject] = fields;
  const extensions = new Map<string, Buffer>();
  const list = fields.find(({ tag }) => tag === EXTENSIONS_TAG);
  const [sequence] = list === undefined ? [] : readDER(list.body);
  for (const extension of sequence === undefined ? [] : readDER(bodyOf(sequence, TAG.sequence))) {
    const parts = readDER(bodyOf(extension, TAG.sequence));
    const id = bodyOf(parts[0], TAG.oid).toString('hex');
    if (extensions.has(id)) throw malformed();
    extensions.set(id, bodyOf(parts[parts.length - 1], TAG.octetString));
  }
  return {
    serial: bodyOf(serial, TAG.integer),
    issuer: bodyOf(issuer, TAG.sequence),
    subject: bodyOf(subject, TAG.sequence),
    extensions,
  };
}

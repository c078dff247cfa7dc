/**
 * What certificates and requests for them are made of, and how they are signed: X.509 version 3 (RFC 5280) and PKCS 10
 * (RFC 2986). Node's crypto makes keys and signatures; this puts the parts in their places. Whom it is wise to sign is
 * for the caller to know. Twisted leaves this to pyOpenSSL.
 */
import type { KeyObject } from 'node:crypto';
import { crypto } from './certificates.ts';
import { TAG, bodyOf, certificateParts, readDER } from './der.ts';
import {
  bitString,
  boolean,
  explicit,
  identifier,
  implicit,
  integer,
  namedBits,
  nothing,
  octetString,
  sequence,
  time,
} from './der-writer.ts';
import { CertificateError } from './errors.ts';
import { hostIdentity } from './host-identity.ts';
import type { Seconds } from './interfaces.ts';

/** By what what is signed is made short. */
export type DigestAlgorithm = 'sha256' | 'sha384' | 'sha512';

/** What a certificate is to say, besides who it is for and from. */
export interface SigningOptions {
  /**
   * The hosts that it is for: names, which may begin with `*.`, and IPv4 and IPv6 addresses. Default: the common name of
   * its subject, if that could be a host.
   */
  readonly names?: readonly string[];
  /** True for one that may sign others. Default: false; of `selfSignedCert`: true. */
  readonly authority?: boolean;
  /** How many authorities may stand between this one and what is signed in the end. Default: any number. */
  readonly pathLength?: number;
  /** What it may be used for. Default: anything. */
  readonly usages?: readonly ('server' | 'client')[];
  /** Its first moment. Default: now. */
  readonly validFrom?: Date;
  /** How long it is valid, in seconds. Default: 365 days. */
  readonly secondsToExpiry?: Seconds;
  /** Default: sha256. A key of Ed25519 needs none. */
  readonly digestAlgorithm?: DigestAlgorithm;
}

/** Who signs. */
export interface Signer {
  readonly key: KeyObject;
  /** Its Name, as DER. */
  readonly name: Buffer;
  /** What its own certificate calls its key; undefined if that is not known. */
  readonly keyId: Buffer | undefined;
}

/** Whose certificate it is to be. */
export interface Subject {
  /** Its Name, as DER. */
  readonly name: Buffer;
  /** The hosts that it is for unless something else is said. */
  readonly names: readonly string[];
  readonly publicKey: KeyObject;
}

const YEAR: Seconds = 60 * 60 * 24 * 365;
/** RFC 5280 section 4.1.2.2. */
const LONGEST_SERIAL = 20;

/**
 * A certificate, as DER.
 *
 * @throws RangeError, TypeError for options that make no sense
 * @throws CertificateError for a key that cannot sign
 */
export function signCertificate(
  signer: Signer,
  subject: Subject,
  serial: number | bigint,
  options: SigningOptions,
): Buffer {
  const { validFrom = new Date(), secondsToExpiry = YEAR } = options;
  if (!((validFrom as unknown) instanceof Date) || Number.isNaN(validFrom.getTime()))
    throw new TypeError(`validFrom must be a valid Date, not ${String(validFrom)}`);
  if (!(secondsToExpiry >= 0 && secondsToExpiry < Infinity))
    throw new RangeError(
      `secondsToExpiry must be 0 or more and finite, not ${String(secondsToExpiry)}`,
    );
  const validTo = new Date(validFrom.getTime() + secondsToExpiry * 1000);
  return signed(signer.key, options.digestAlgorithm, (algorithm) =>
    sequence(
      explicit(0, integer(2n)),
      integer(checkedSerial(serial)),
      algorithm,
      signer.name,
      sequence(time(validFrom), time(validTo)),
      subject.name,
      spkiOf(subject.publicKey),
      explicit(3, sequence(...extensionsOf(signer, subject, options))),
    ),
  );
}

/** A request for a certificate (PKCS 10), as DER. */
export function signRequest(
  key: KeyObject,
  name: Buffer,
  digest: DigestAlgorithm | undefined,
): Buffer {
  return signed(key, digest, () =>
    sequence(integer(0n), name, spkiOf(crypto().createPublicKey(key)), explicit(0)),
  );
}

function checkedSerial(serial: number | bigint): bigint {
  const number = typeof serial === 'bigint' || Number.isSafeInteger(serial) ? BigInt(serial) : 0n;
  if (number > 0n && number < 1n << BigInt(8 * LONGEST_SERIAL - 1)) return number;
  throw new RangeError(
    `a serial number must be a whole number above 0, of at most ${LONGEST_SERIAL} bytes, not ${String(serial)}`,
  );
}

// ── Signatures ───────────────────────────────────────────────────────────────────────────────────────────────────────

const DIGESTS: readonly DigestAlgorithm[] = ['sha256', 'sha384', 'sha512'];

/** The algorithm of a signature (RFC 5280 section 4.1.1.2), as DER; undefined for a key that is not used so. */
function algorithmOf(key: KeyObject, digest: DigestAlgorithm): Buffer | undefined {
  const nth = DIGESTS.indexOf(digest);
  const kind = key.asymmetricKeyType;
  if (kind === 'rsa') return sequence(identifier(`1.2.840.113549.1.1.${11 + nth}`), nothing);
  if (kind === 'ec') return sequence(identifier(`1.2.840.10045.4.3.${2 + nth}`));
  return kind === 'ed25519' ? sequence(identifier('1.3.101.112')) : undefined;
}

/** What Node's crypto is to be told: Ed25519 brings its own digest. */
function digestFor(key: KeyObject, digest: DigestAlgorithm): DigestAlgorithm | null {
  return key.asymmetricKeyType === 'ed25519' ? null : digest;
}

function signed(
  key: KeyObject,
  digest: DigestAlgorithm = 'sha256',
  contentOf: (algorithm: Buffer) => Buffer,
): Buffer {
  if (!DIGESTS.includes(digest))
    throw new RangeError(
      `digestAlgorithm must be one of ${DIGESTS.join(', ')}, not ${digest as string}`,
    );
  const algorithm = algorithmOf(key, digest);
  if (algorithm === undefined)
    throw new CertificateError(
      `cannot sign with a key of the kind ${String(key.asymmetricKeyType)}: rsa, ec and ed25519 are known`,
    );
  const content = contentOf(algorithm);
  const signature = crypto().sign(digestFor(key, digest), content, key);
  return sequence(content, algorithm, bitString(signature));
}

/**
 * Whether the owner of `key` has signed `content`.
 *
 * @param algorithm of the signature, as DER
 */
export function isSignedBy(
  key: KeyObject,
  content: Buffer,
  algorithm: Buffer,
  signature: Buffer,
): boolean {
  const digest = DIGESTS.find((one) => algorithmOf(key, one)?.equals(algorithm) === true);
  return digest !== undefined && crypto().verify(digestFor(key, digest), content, key, signature);
}

// ── Extensions ───────────────────────────────────────────────────────────────────────────────────────────────────────

const SUBJECT_KEY_IDENTIFIER = '2.5.29.14';
const KEY_USAGE = '2.5.29.15';
const SUBJECT_ALT_NAME = '2.5.29.17';
const BASIC_CONSTRAINTS = '2.5.29.19';
const AUTHORITY_KEY_IDENTIFIER = '2.5.29.35';
const EXTENDED_KEY_USAGE = '2.5.29.37';

/** Bits of the key usage (RFC 5280 section 4.2.1.3). */
const DIGITAL_SIGNATURE = 0;
const KEY_ENCIPHERMENT = 2;
const KEY_CERT_SIGN = 5;
const CRL_SIGN = 6;

const USAGES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const;

const EMPTY_NAME = sequence();

function* extensionsOf(
  signer: Signer,
  { name, names: ownNames, publicKey }: Subject,
  options: SigningOptions,
): Generator<Buffer> {
  const { authority = false, pathLength, usages = [], names = ownNames } = options;
  if (
    pathLength !== undefined &&
    !(authority && Number.isSafeInteger(pathLength) && pathLength >= 0)
  )
    throw new RangeError(
      `pathLength must be a whole number from 0, of an authority, not ${String(pathLength)}`,
    );
  for (const [what, list] of Object.entries({ names, usages }))
    if (!Array.isArray(list))
      throw new TypeError(`${what} must be an array of strings, not ${typeof list}`);
  const limit = pathLength === undefined ? [] : [integer(BigInt(pathLength))];
  yield extension(
    BASIC_CONSTRAINTS,
    true,
    sequence(...(authority ? [boolean(true), ...limit] : [])),
  );
  yield extension(KEY_USAGE, true, namedBits(...keyUsages(publicKey, authority)));
  if (usages.length > 0) {
    const ids = usages.map((usage) => {
      if (Object.hasOwn(USAGES, usage)) return identifier(USAGES[usage]);
      throw new RangeError(`usages must be server or client, not ${usage as string}`);
    });
    yield extension(EXTENDED_KEY_USAGE, false, sequence(...ids));
  }
  if (names.length > 0) {
    // RFC 5280 section 4.2.1.6: critical where the subject says nothing.
    const critical = name.equals(EMPTY_NAME);
    yield extension(SUBJECT_ALT_NAME, critical, sequence(...names.map(alternativeName)));
  }
  const keyId = keyIdOf(publicKey);
  yield extension(SUBJECT_KEY_IDENTIFIER, false, octetString(keyId));
  const signerId = signer.keyId ?? (isSameKey(signer.key, publicKey) ? keyId : undefined);
  if (signerId !== undefined)
    yield extension(AUTHORITY_KEY_IDENTIFIER, false, sequence(implicit(0, signerId)));
}

function extension(id: string, critical: boolean, content: Buffer): Buffer {
  return sequence(identifier(id), ...(critical ? [boolean(true)] : []), octetString(content));
}

/** With RSA, TLS 1.2 may have the secret enciphered. */
function keyUsages(key: KeyObject, authority: boolean): number[] {
  return [
    DIGITAL_SIGNATURE,
    ...(key.asymmetricKeyType === 'rsa' ? [KEY_ENCIPHERMENT] : []),
    ...(authority ? [KEY_CERT_SIGN, CRL_SIGN] : []),
  ];
}

/** A GeneralName: dNSName or iPAddress. */
function alternativeName(name: string): Buffer {
  const wildcard = typeof name === 'string' && name.startsWith('*.');
  const host = hostIdentity(wildcard ? name.slice(2) : name);
  if (host.kind === 'name')
    return implicit(2, Buffer.from(wildcard ? `*.${host.text}` : host.text, 'latin1'));
  if (wildcard) throw new RangeError(`an address has no wildcard: ${JSON.stringify(name)}`);
  return implicit(7, host.bytes);
}

/** The hosts of a certificate for a subject with this common name, unless something else is said. */
export function hostsOf(commonName: string | undefined): string[] {
  if (commonName === undefined) return [];
  try {
    alternativeName(commonName);
    return [commonName];
  } catch {
    return [];
  }
}

// ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

function spkiOf(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' });
}

function isSameKey(key: KeyObject, publicKey: KeyObject): boolean {
  return spkiOf(crypto().createPublicKey(key)).equals(spkiOf(publicKey));
}

/** By what certificates call a key: 160 bits of the SHA-256 of it (RFC 7093 section 2). */
function keyIdOf(key: KeyObject): Buffer {
  const [, bits] = readDER(bodyOf(readDER(spkiOf(key))[0], TAG.sequence));
  return crypto()
    .createHash('sha256')
    .update(bodyOf(bits, TAG.bitString).subarray(1))
    .digest()
    .subarray(0, 20);
}

/** What a certificate calls its key, as others that it signs should; undefined if it does not say. */
export function keyIdIn(certificate: Buffer): Buffer | undefined {
  const id = readDER(identifier(SUBJECT_KEY_IDENTIFIER))[0]?.body.toString('hex') as string;
  const extension = certificateParts(certificate).extensions.get(id);
  return extension === undefined ? undefined : bodyOf(readDER(extension)[0], TAG.octetString);
}

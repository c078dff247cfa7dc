/**
 * Certificates and public keys, to be read: who they are for, who signed them, whether they belong together. Nothing
 * here decides whom to trust, and nothing here makes certificates: that is for `private-certificates.ts`. Twisted:
 * `Certificate`, `PublicKey` and `DistinguishedName` of `twisted.internet.ssl`.
 *
 * `node:crypto` is loaded at first use, since most programs need no TLS.
 */
import type * as Crypto from 'node:crypto';
import type { AsymmetricKeyDetails, KeyObject, X509Certificate } from 'node:crypto';
import { certificateNames, type CertificateNames } from './certificate-names.ts';
import { TAG, bodyOf, certificateParts, readDER, type DERValue } from './der.ts';
import { identifier, sequence, setOf, value as derValue } from './der-writer.ts';
import { CertificateError } from './errors.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

type CryptoModule = typeof Crypto;

let loaded: CryptoModule | undefined;

/** @internal Node's crypto, loaded when it is first asked for. */
export function crypto(): CryptoModule {
  return (loaded ??= process.getBuiltinModule('node:crypto'));
}

// ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The kinds of attributes that have names of their own: long, short, and as DER in hexadecimal. */
const ATTRIBUTES = [
  ['commonName', 'CN', '550403'],
  ['organizationName', 'O', '55040a'],
  ['organizationalUnitName', 'OU', '55040b'],
  ['localityName', 'L', '550407'],
  ['stateOrProvinceName', 'ST', '550408'],
  ['countryName', 'C', '550406'],
  ['emailAddress', 'emailAddress', '2a864886f70d010901'],
] as const;

/** Attributes of a {@link DistinguishedName}: pairs in their order, or an object. */
export type NameAttributes =
  readonly (readonly [string, string])[] | { readonly [attribute: string]: string };

/**
 * Who a certificate is for or from, as its authority wrote it down. Nobody is verified by this: hosts are compared with
 * the alternative names. Twisted: `DistinguishedName`, also called `DN`.
 *
 * @example
 * const name = new DistinguishedName({ countryName: 'AT', commonName: 'example.com' });
 * name.get('CN');     // 'example.com'
 * name.toString();    // 'C=AT, CN=example.com'
 */
export class DistinguishedName {
  /** Pairs of attribute (by its long name, or its identifier as hexadecimal DER) and value, in their order. */
  readonly attributes: readonly (readonly [string, string])[];
  /** What it was read from. */
  #der: Buffer | undefined;

  /**
   * @param attributes by long name (`commonName`), short name (`CN`), or identifier (`2.5.4.3`)
   * @throws TypeError for a value that is no string, and for what is no object
   */
  constructor(attributes: NameAttributes) {
    if (typeof attributes !== 'object' || (attributes as unknown) === null)
      throw new TypeError(
        `a distinguished name is made of an object, as in { CN: 'x' }, not of ${typeof attributes}`,
      );
    const pairs = Array.isArray(attributes)
      ? (attributes as readonly (readonly [string, string])[])
      : Object.entries(attributes);
    this.attributes = pairs.map(([name, value]) => {
      if (typeof value === 'string') return [longName(name), value];
      throw new TypeError(`${name} of a distinguished name must be a string, not ${typeof value}`);
    });
  }

  /** @internal from the content of a Name (RFC 5280 section 4.1.2.4) */
  static fromDER(name: Buffer): DistinguishedName {
    const sets = readDER(name).flatMap((set) => readDER(bodyOf(set, TAG.set)));
    const made = new DistinguishedName(
      sets.map((pair) => {
        const [type, value] = readDER(bodyOf(pair, TAG.sequence));
        return [bodyOf(type, TAG.oid).toString('hex'), textOf(value)];
      }),
    );
    made.#der = derValue(TAG.sequence, name);
    return made;
  }

  /**
   * The name as DER (RFC 5280 section 4.1.2.4): as it was read, or else an attribute a set.
   *
   * @throws RangeError for an attribute of no known name, and for a country that has not two letters
   */
  dump(): Buffer {
    if (this.#der !== undefined) return Buffer.from(this.#der);
    return sequence(...this.attributes.map((pair) => setOf(attributeAsDER(...pair))));
  }

  /** The first value of an attribute, by its long or short name (`commonName`, `CN`); undefined for none. */
  get(name: string): string | undefined {
    return this.attributes.find(([key]) => key === longName(name))?.[1];
  }

  /** The common name, for people to read. */
  get commonName(): string | undefined {
    return this.get('commonName');
  }

  /** True if both have the same attributes in the same order. */
  equals(other: DistinguishedName): boolean {
    return JSON.stringify(this.attributes) === JSON.stringify(other.attributes);
  }

  /** A line for each attribute. Twisted: `inspect`. */
  inspect(): string {
    return this.attributes.map(([name, value]) => `${name}: ${escaped(value)}`).join('\n');
  }

  toString(): string {
    return this.attributes
      .map(([name, value]) => {
        const short = ATTRIBUTES.find(([long]) => long === name)?.[1] ?? name;
        return `${short}=${escaped(value).replace(/[,+"\\<>;=]/g, '\\$&')}`;
      })
      .join(', ');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** A name as one: it may be given as the attributes that it is made of. */
export function nameFrom(name: DistinguishedName | NameAttributes): DistinguishedName {
  return name instanceof DistinguishedName ? name : new DistinguishedName(name);
}

function longName(name: string): string {
  return ATTRIBUTES.find((names) => (names as readonly string[]).includes(name))?.[0] ?? name;
}

/** Texts are UTF-8, but for what RFC 5280 wants in older types: countries and e-mail addresses. */
function attributeAsDER(name: string, text: string): Buffer {
  const known = ATTRIBUTES.find(([long]) => long === name)?.[2];
  const hex = known ?? (/^(?:[0-9a-f]{2})+$/.test(name) ? name : undefined);
  const type = hex === undefined ? identifier(name) : derValue(TAG.oid, Buffer.from(hex, 'hex'));
  if (name === 'countryName' && !/^[A-Za-z]{2}$/.test(text))
    throw new RangeError(`a country has two letters, unlike ${JSON.stringify(text)}`);
  const tag =
    name === 'countryName'
      ? TAG.printableString
      : name === 'emailAddress' && /^[\x20-\x7e]*$/.test(text)
        ? TAG.ia5String
        : TAG.utf8String;
  return sequence(type, derValue(tag, Buffer.from(text)));
}

function textOf(value: DERValue | undefined): string {
  if (value === undefined) return '';
  const { tag, body } = value;
  if (tag !== TAG.bmpString) return body.toString(tag === TAG.utf8String ? 'utf8' : 'latin1');
  return Buffer.from(body.subarray(0, body.length & ~1))
    .swap16()
    .toString('utf16le');
}

/** Control characters as escapes, so that a name is one line in a log. */
function escaped(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

// ── Certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/**
 * A certificate. Twisted: `Certificate`.
 */
export class Certificate {
  /** Node's view of it. */
  readonly original: X509Certificate;

  /** @param original a certificate of Node's */
  constructor(original: X509Certificate) {
    this.original = original;
  }

  /**
   * Reads a certificate from DER.
   *
   * @throws CertificateError
   */
  static load(der: Uint8Array): Certificate {
    if (!((der as unknown) instanceof Uint8Array)) {
      throw new TypeError(`a certificate as DER must be a Uint8Array, not ${typeof der}`);
    }
    return new Certificate(readX509(der));
  }

  /**
   * Reads the first certificate from PEM.
   *
   * @throws CertificateError
   */
  static loadPEM(pem: string | Uint8Array): Certificate {
    return Certificate.loadAllPEM(pem)[0] as Certificate;
  }

  /**
   * Reads all certificates from PEM, of which there must be one at least.
   *
   * @throws CertificateError
   */
  static loadAllPEM(pem: string | Uint8Array): Certificate[] {
    const blocks = textOfPEM(pem, 'a certificate').match(BLOCK);
    if (blocks === null) throw new CertificateError('there is no certificate in the PEM');
    return blocks.map((block) => new Certificate(readX509(block)));
  }

  /**
   * The certificate of the other side of a connection. Twisted: `Certificate.peerFromTransport`.
   *
   * @throws CertificateError if it has shown none, or there is no TLS
   */
  static peerFromTransport(transport: {
    getPeerCertificate?(): X509Certificate | undefined | null;
  }): Certificate {
    const original = transport.getPeerCertificate?.() ?? undefined;
    if (original === undefined) {
      throw new CertificateError('the other side of the connection has shown no certificate');
    }
    return new Certificate(original);
  }

  /** The certificate as DER. */
  dump(): Buffer {
    return Buffer.from(this.original.raw);
  }

  /** The certificate as PEM. */
  dumpPEM(): string {
    return this.original.toString();
  }

  getSubject(): DistinguishedName {
    return DistinguishedName.fromDER(certificateParts(this.original.raw).subject);
  }

  getIssuer(): DistinguishedName {
    return DistinguishedName.fromDER(certificateParts(this.original.raw).issuer);
  }

  /** The key that it is for. Twisted: `getPublicKey`. */
  getPublicKey(): PublicKey {
    return new PublicKey(this.original.publicKey);
  }

  serialNumber(): bigint {
    return BigInt(`0x${this.original.serialNumber}`);
  }

  /** The names of hosts, as bytes, and their addresses: what a client compares a server with. */
  getNames(): CertificateNames {
    return certificateNames(this.original.raw);
  }

  /** A digest of the DER, as `4F:0A:…`. Default: sha256. Twisted's default is md5. */
  digest(algorithm = 'sha256'): string {
    const hex = crypto().createHash(algorithm).update(this.original.raw).digest('hex');
    return (hex.toUpperCase().match(/../g) as string[]).join(':');
  }

  /** The first moment at which it is valid. */
  get validFrom(): Date {
    return new Date(this.original.validFrom);
  }

  /** The last moment at which it is valid. */
  get validTo(): Date {
    return new Date(this.original.validTo);
  }

  /** True if both are the same certificate. */
  equals(other: Certificate): boolean {
    return this.original.raw.equals(other.original.raw);
  }

  /** Several lines for people. */
  inspect(): string {
    const validity = `${this.validFrom.toISOString()} to ${this.validTo.toISOString()}`;
    return [
      `Certificate for ${this.getSubject()}`,
      `from ${this.getIssuer()}`,
      `serial number ${this.serialNumber()}, valid from ${validity}`,
      `SHA-256 ${this.digest()}`,
    ].join('\n');
  }

  toString(): string {
    return told(this, `for ${this.getSubject()} until ${this.validTo.toISOString()}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function readX509(data: string | Uint8Array): X509Certificate {
  try {
    return new (crypto().X509Certificate)(data);
  } catch (cause) {
    throw new CertificateError(`a certificate cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** @internal PEM as text; what it is for, as in `a certificate`, stands in the message. */
export function textOfPEM(pem: string | Uint8Array, what: string): string {
  if (typeof pem === 'string') return pem;
  if ((pem as unknown) instanceof Uint8Array) return Buffer.from(pem).toString('latin1');
  throw new TypeError(`${what} as PEM must be a string or a Uint8Array, not ${typeof pem}`);
}

// ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** RSA keys with fewer bits are refused, on either side. */
export const LEAST_RSA_BITS = 2048;

/** How many bits too weak a key is refused for having; undefined if it is strong enough. */
export function tooFewBits(key: KeyObject): number | undefined {
  const bits = key.asymmetricKeyDetails?.modulusLength;
  return bits !== undefined && bits < LEAST_RSA_BITS ? bits : undefined;
}

/**
 * A public key, to be compared with others. Twisted: `PublicKey`.
 *
 * @example
 * const key = KeyPair.generate();
 * const certificate = key.selfSignedCert(1, { CN: 'localhost' });
 * certificate.getPublicKey().matches(key);   // true
 */
export class PublicKey {
  /** Node's view of it. */
  readonly original: KeyObject;

  /** @param key a public key of Node's */
  constructor(key: KeyObject) {
    this.original = key;
  }

  /** True if that is the same key, or a certificate for it. */
  matches(other: PublicKey | Certificate): boolean {
    const key = other instanceof Certificate ? other.getPublicKey() : other;
    return key.keyHash() === this.keyHash();
  }

  /** A digest of the key (SHA-256, in hexadecimal), by which keys can be told apart. Twisted: `keyHash`, an MD5. */
  keyHash(): string {
    const der = this.original.export({ format: 'der', type: 'spki' });
    return crypto().createHash('sha256').update(der).digest('hex');
  }

  /** A line for people. */
  inspect(): string {
    return `public key ${this.kind()}, hash ${this.keyHash()}`;
  }

  /** @internal its kind and its size */
  protected kind(): string {
    // A public key has both; the types allow for a secret one.
    const { modulusLength: bits, namedCurve: curve } = this.original
      .asymmetricKeyDetails as AsymmetricKeyDetails;
    const kind = this.original.asymmetricKeyType as string;
    return bits === undefined
      ? curve === undefined
        ? kind
        : `${kind} ${curve}`
      : `${kind} ${bits} bits`;
  }

  toString(): string {
    return told(this, `${this.kind()}, hash ${this.keyHash().slice(0, 16)}…`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

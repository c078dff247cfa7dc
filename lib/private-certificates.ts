/**
 * Private keys, certificates with their keys, and what can be done with both: requests for certificates, and signing
 * them. Twisted: `KeyPair`, `PrivateCertificate` and `CertificateRequest` of `twisted.internet.ssl`.
 *
 * No error and no inspection shows a key.
 */
import type { KeyObject } from 'node:crypto';
import {
  type DigestAlgorithm,
  hostsOf,
  isSignedBy,
  keyIdIn,
  signCertificate,
  signRequest,
  type Signer,
  type SigningOptions,
} from './certificate-signing.ts';
import {
  Certificate,
  crypto,
  DistinguishedName,
  type NameAttributes,
  nameFrom,
  PublicKey,
  textOfPEM,
} from './certificates.ts';
import type { Deferred } from './defer.ts';
import { bodyOf, readDER, TAG, wholeDER } from './der.ts';
import { CertificateError, VerifyError } from './errors.ts';
import { maybeDeferred } from './maybe.ts';
import { privateKeyAsPEM, readPrivateKeyDER, readPrivateKeyPEM } from './private-keys.ts';
import { CertificateOptions, checkBelongs } from './ssl.ts';
import type { CertificateSource } from './trust.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

// ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A request for a certificate (PKCS 10), signed by whoever wants it. Made by `KeyPair.requestObject`. Twisted:
 * `CertificateRequest`.
 */
export class CertificateRequest {
  readonly #der: Buffer;
  readonly #subject: DistinguishedName;
  readonly #publicKey: PublicKey;

  /** @internal */
  constructor(der: Buffer) {
    const all = wholeDER(der);
    const [request] = all;
    if (all.length !== 1) throw new CertificateError('what should be one value of DER is not');
    const parts = wholeDER(bodyOf(readDER(der)[0], TAG.sequence));
    const [info, algorithm, signature] = parts as [Buffer, Buffer, Buffer];
    const [subject, publicKey] = wholeDER(bodyOf(readDER(info)[0], TAG.sequence)).slice(1);
    this.#der = Buffer.from(request as Buffer);
    this.#subject = DistinguishedName.fromDER(bodyOf(readDER(subject as Buffer)[0], TAG.sequence));
    const key = { key: publicKey as Buffer, format: 'der', type: 'spki' } as const;
    this.#publicKey = new PublicKey(crypto().createPublicKey(key));
    const [unused, ...bits] = bodyOf(readDER(signature)[0], TAG.bitString);
    const isWhole = unused === 0;
    if (!isWhole || !isSignedBy(this.#publicKey.original, info, algorithm, Buffer.from(bits))) {
      throw new CertificateError(
        `that of ${this.#subject} is not signed by the key in it, or in no known way`,
      );
    }
  }

  /**
   * Reads a request from DER. Who wrote it has the private key: the signature is checked, which Twisted does not do.
   *
   * @throws CertificateError
   */
  static load(der: Uint8Array): CertificateRequest {
    if (!((der as unknown) instanceof Uint8Array))
      throw new TypeError(`a request as DER must be a Uint8Array, not ${typeof der}`);
    try {
      return new CertificateRequest(Buffer.from(der));
    } catch (cause) {
      throw new CertificateError(
        `a request for a certificate cannot be read: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  /**
   * Reads the first request from PEM.
   *
   * @throws CertificateError
   */
  static loadPEM(pem: string | Uint8Array): CertificateRequest {
    const block =
      /-----BEGIN (?:NEW )?CERTIFICATE REQUEST-----([^-]*)-----END (?:NEW )?CERTIFICATE REQUEST-----/.exec(
        textOfPEM(pem, 'a request for a certificate'),
      );
    if (block === null)
      throw new CertificateError('there is no request for a certificate in the PEM');
    return CertificateRequest.load(Buffer.from(block[1] as string, 'base64'));
  }

  /** Who wants a certificate. */
  getSubject(): DistinguishedName {
    return this.#subject;
  }

  /** The key that the certificate is to be for. */
  getPublicKey(): PublicKey {
    return this.#publicKey;
  }

  /** The request as DER. */
  dump(): Buffer {
    return Buffer.from(this.#der);
  }

  /** The request as PEM. */
  dumpPEM(): string {
    const lines = this.#der.toString('base64').match(/.{1,64}/g) as string[];
    return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
  }

  toString(): string {
    return told(this, `for ${this.#subject}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Says whether whoever has that name is to have a certificate: true, or a Deferred or promise of it. */
export type DistinguishedNameVerifier = (subject: DistinguishedName) => unknown;

// ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const CURVES: ReadonlyMap<number, string> = new Map([
  [256, 'P-256'],
  [384, 'P-384'],
  [521, 'P-521'],
]);
const LEAST_BITS = 1024;
const MOST_BITS = 16_384;

/**
 * A private key, and the public one that goes with it. It shows nothing of itself unless asked by `dumpPEM`. Twisted:
 * `KeyPair`.
 *
 * @example
 * const authority = KeyPair.generate().selfSignedCert(1, { CN: 'my authority' });
 * const request = KeyPair.generate().requestObject(new DistinguishedName({ CN: 'example.com' }));
 * const certificate = authority.signRequestObject(request, 2);
 * certificate.getNames().names;   // ['example.com']
 */
export class KeyPair extends PublicKey {
  readonly #key: KeyObject;

  /** @param key a private key of Node's */
  constructor(key: KeyObject) {
    if (key.type !== 'private') {
      throw new CertificateError(`a private key is needed, not a ${key.type} one`);
    }
    super(crypto().createPublicKey(key));
    this.#key = key;
  }

  /**
   * Makes a new key, and blocks until it is made: an instant for `ec`, and a tenth of a second or more for `rsa`.
   * Twisted: `generate`, whose default is RSA with 2048 bits.
   *
   * @param kind default: `ec`
   * @param size in bits; `ec`: 256 (the default), 384 or 521; `rsa`: from 1024, by default 2048. Fewer than 2048 are good
   *   for nothing but tests: such a key is refused on either side of a connection
   * @throws RangeError for another kind or size
   */
  static generate(kind: 'ec' | 'rsa' = 'ec', size?: number): KeyPair {
    const { generateKeyPairSync } = crypto();
    if (!['ec', 'rsa'].includes(kind))
      throw new RangeError(`the kind of a key must be ec or rsa, not ${kind as string}`);
    const bits = size ?? (kind === 'ec' ? 256 : 2048);
    if (kind === 'ec') {
      const namedCurve = CURVES.get(bits);
      if (namedCurve !== undefined)
        return new KeyPair(generateKeyPairSync('ec', { namedCurve }).privateKey);
    } else if (Number.isSafeInteger(bits) && bits >= LEAST_BITS && bits <= MOST_BITS) {
      return new KeyPair(generateKeyPairSync('rsa', { modulusLength: bits }).privateKey);
    }
    throw new RangeError(`a key of the kind ${kind} cannot have ${String(size)} bits`);
  }

  /**
   * Reads a private key from PEM: PKCS 8, PKCS 1 or SEC 1, also if encrypted. Other blocks of the PEM are passed over.
   *
   * @throws CertificateError without a passphrase for an encrypted key, with a wrong one, and for what is no key
   */
  static loadPEM(pem: string | Uint8Array, passphrase?: string): KeyPair {
    return new KeyPair(readPrivateKeyPEM(pem, passphrase));
  }

  /**
   * Reads a private key from DER (PKCS 8).
   *
   * @throws CertificateError
   */
  static load(der: Uint8Array): KeyPair {
    return new KeyPair(readPrivateKeyDER(der));
  }

  /** The private key as PEM (PKCS 8), not encrypted. */
  dumpPEM(): string {
    return privateKeyAsPEM(this.#key);
  }

  /** The private key as DER (PKCS 8), not encrypted. */
  dump(): Buffer {
    return this.#key.export({ format: 'der', type: 'pkcs8' });
  }

  /** The public key, as Node has it. */
  getPublicKey(): KeyObject {
    return this.original;
  }

  /** A line for people. */
  override inspect(): string {
    return `key pair ${this.kind()}, hash ${this.keyHash()}`;
  }

  /**
   * Puts a certificate for this key together with it.
   *
   * @param der the certificate
   * @throws CertificateError for what is no certificate, or one for another key
   */
  newCertificate(der: Uint8Array): PrivateCertificate {
    return new PrivateCertificate(Certificate.load(der), this);
  }

  /**
   * A request for a certificate for this key.
   *
   * @throws CertificateError for a key that cannot sign; RangeError for a name that cannot be written
   */
  requestObject(
    name: DistinguishedName | NameAttributes,
    digestAlgorithm?: DigestAlgorithm,
  ): CertificateRequest {
    return CertificateRequest.load(signRequest(this.#key, nameFrom(name).dump(), digestAlgorithm));
  }

  /** The same as DER. */
  certificateRequest(
    name: DistinguishedName | NameAttributes,
    digestAlgorithm?: DigestAlgorithm,
  ): Buffer {
    return this.requestObject(name, digestAlgorithm).dump();
  }

  /**
   * Signs a request, as an authority called `issuer`. `PrivateCertificate.signRequestObject` knows that name itself.
   *
   * @param serialNumber above 0, and another one for each certificate of this authority
   * @throws RangeError, TypeError for options that make no sense; CertificateError for a key that cannot sign
   */
  signRequestObject(
    issuer: DistinguishedName | NameAttributes,
    request: CertificateRequest,
    serialNumber: number | bigint,
    options: SigningOptions = {},
  ): Certificate {
    const signer = { key: this.#key, name: nameFrom(issuer).dump(), keyId: undefined };
    return sign(signer, request, serialNumber, options);
  }

  /**
   * Signs a request in DER, if `verify` agrees to the name in it, and fires with the certificate in DER. Twisted:
   * `signCertificateRequest`, which returns it at once unless `verify` returns a Deferred.
   *
   * The Deferred fails with VerifyError if `verify` returned nothing true, with what it threw, with CertificateError for
   * what is no request, and as `signRequestObject` does.
   */
  signCertificateRequest(
    issuer: DistinguishedName | NameAttributes,
    der: Uint8Array,
    verify: DistinguishedNameVerifier,
    serialNumber: number | bigint,
    options: SigningOptions = {},
  ): Deferred<Buffer> {
    return verified(der, verify).addCallback((request) =>
      this.signRequestObject(issuer, request, serialNumber, options).dump(),
    );
  }

  /**
   * A certificate that this key has signed for itself: for an authority, or for a server that its clients know. It may
   * sign others unless `authority` is false.
   *
   * @param name as in `{ CN: 'localhost' }`
   * @throws as `signRequestObject`
   */
  selfSignedCert(
    serialNumber: number | bigint,
    name: DistinguishedName | NameAttributes,
    options: SigningOptions = {},
  ): PrivateCertificate {
    const subject = nameFrom(name);
    const request = this.requestObject(subject, options.digestAlgorithm);
    const all = { authority: true, ...options };
    return new PrivateCertificate(
      this.signRequestObject(subject, request, serialNumber, all),
      this,
    );
  }

  /** @internal Signs a request with the key of `certificate`. */
  static signFor(
    certificate: PrivateCertificate,
    request: CertificateRequest,
    serialNumber: number | bigint,
    options: SigningOptions,
  ): Certificate {
    const signer = {
      key: certificate.privateKey.#key,
      name: certificate.getSubject().dump(),
      keyId: keyIdIn(certificate.original.raw),
    };
    return sign(signer, request, serialNumber, options);
  }
}

function sign(
  signer: Signer,
  request: CertificateRequest,
  serialNumber: number | bigint,
  options: SigningOptions,
): Certificate {
  if (!((request as unknown) instanceof CertificateRequest))
    throw new TypeError(`a CertificateRequest is needed, not ${typeof request}`);
  const name = request.getSubject();
  const subject = {
    name: name.dump(),
    names: hostsOf(name.commonName),
    publicKey: request.getPublicKey().original,
  };
  return Certificate.load(signCertificate(signer, subject, serialNumber, options));
}

function verified(
  der: Uint8Array,
  verify: DistinguishedNameVerifier,
): Deferred<CertificateRequest> {
  return maybeDeferred(() => {
    const request = CertificateRequest.load(der);
    return maybeDeferred(verify, request.getSubject()).addCallback((agreed: unknown) => {
      if (Boolean(agreed)) return request;
      throw new VerifyError(`the request for a certificate of ${request.getSubject()} was refused`);
    });
  });
}

// ── Who we are ───────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * A certificate, those between it and its root, and its private key. Twisted: `PrivateCertificate`.
 */
export class PrivateCertificate extends Certificate {
  readonly privateKey: KeyPair;
  /** Those between this and its root. */
  readonly chain: readonly Certificate[];

  /** @throws CertificateError if the key is not that of the certificate */
  constructor(certificate: Certificate, privateKey: KeyPair, chain: readonly Certificate[] = []) {
    super(certificate.original);
    checkBelongs(privateKey, certificate);
    this.privateKey = privateKey;
    this.chain = chain;
  }

  /**
   * Reads the first certificate and the private key from PEM; further certificates are its chain.
   *
   * @throws CertificateError
   */
  static override loadPEM(pem: string | Uint8Array, passphrase?: string): PrivateCertificate {
    const [certificate, ...chain] = Certificate.loadAllPEM(pem);
    const privateKey = KeyPair.loadPEM(pem, passphrase);
    return new PrivateCertificate(certificate as Certificate, privateKey, chain);
  }

  /**
   * Puts a certificate and its key together.
   *
   * @throws CertificateError if they do not belong together
   */
  static fromCertificateAndKeyPair(
    certificate: Certificate,
    privateKey: KeyPair,
  ): PrivateCertificate {
    return new PrivateCertificate(certificate, privateKey);
  }

  /**
   * Another certificate for the same key.
   *
   * @param der the certificate
   * @throws CertificateError for what is no certificate, or one for another key
   */
  newCertificate(der: Uint8Array): PrivateCertificate {
    return this.privateKey.newCertificate(der);
  }

  /** A request for another certificate for the same key and the same name, as DER. */
  certificateRequest(digestAlgorithm?: DigestAlgorithm): Buffer {
    return this.privateKey.certificateRequest(this.getSubject(), digestAlgorithm);
  }

  /**
   * Signs a request, as the authority that this is the certificate of.
   *
   * @param serialNumber above 0, and another one for each certificate of this authority
   * @throws RangeError, TypeError for options that make no sense; CertificateError for a key that cannot sign
   */
  signRequestObject(
    request: CertificateRequest,
    serialNumber: number | bigint,
    options: SigningOptions = {},
  ): Certificate {
    return KeyPair.signFor(this, request, serialNumber, options);
  }

  /** As `signCertificateRequest` of a KeyPair, as the authority that this is the certificate of. */
  signCertificateRequest(
    der: Uint8Array,
    verify: DistinguishedNameVerifier,
    serialNumber: number | bigint,
    options: SigningOptions = {},
  ): Deferred<Buffer> {
    return verified(der, verify).addCallback((request) =>
      this.signRequestObject(request, serialNumber, options).dump(),
    );
  }

  /**
   * Options with this certificate. If there are authorities, the other side must be vouched for by one of them.
   *
   * @throws CertificateError
   */
  options(...authorities: CertificateSource[]): CertificateOptions {
    return new CertificateOptions({
      certificate: this,
      ...(authorities.length > 0 && { trustRoot: authorities }),
    });
  }
}

/**
 * How strong a TLS connection must be: versions, ciphers, parameters. Twisted: `AcceptableCiphers`, `TLSVersion` and
 * `DiffieHellmanParameters` of `twisted.internet.ssl`.
 */
import { LEAST_RSA_BITS } from './certificates.ts';
import { TAG, bodyOf, readDER } from './der.ts';
import { CertificateError } from './errors.ts';
import { readRegularFile } from './regular-file.ts';
import type { TLSVersion as Version } from './tls-settings.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** A version of TLS. */
export type TLSVersion = Version;

/** The versions of TLS, by the names that Twisted has for them. */
export const TLSVersion = {
  TLSv1_0: 'TLSv1',
  TLSv1_1: 'TLSv1.1',
  TLSv1_2: 'TLSv1.2',
  TLSv1_3: 'TLSv1.3',
} as const;

/** From old to new. */
const ORDER: readonly TLSVersion[] = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

/** Which versions may be spoken. */
export interface VersionOptions {
  /** The lowest version, if TLS 1.2 is not new enough. */
  readonly raiseMinimumTo?: TLSVersion;
  /** The lowest version, if TLS 1.2 is too new for the other side. What is older than that can be broken. */
  readonly insecurelyLowerMinimumTo?: TLSVersion;
  /** The highest version. Default: the newest there is. */
  readonly lowerMaximumSecurityTo?: TLSVersion;
}

/**
 * @internal The lowest and the highest version that the options come to.
 * @throws RangeError, TypeError for options that contradict each other
 */
export function versionsOf(options: VersionOptions): { least: TLSVersion; most: TLSVersion } {
  const { raiseMinimumTo: raised, insecurelyLowerMinimumTo: lowered } = options;
  const given = { ...options };
  for (const name of [
    'raiseMinimumTo',
    'insecurelyLowerMinimumTo',
    'lowerMaximumSecurityTo',
  ] as const) {
    const version = given[name];
    if (version !== undefined && !ORDER.includes(version)) {
      throw new RangeError(`${name} must be one of ${ORDER.join(', ')}, not ${version as string}`);
    }
  }
  if (raised !== undefined && lowered !== undefined) {
    throw new TypeError('raiseMinimumTo and insecurelyLowerMinimumTo cannot both be given');
  }
  if (raised !== undefined && isOlder(raised, 'TLSv1.2')) {
    throw new RangeError(`raiseMinimumTo cannot lower the minimum from TLSv1.2 to ${raised}`);
  }
  const least = raised ?? lowered ?? 'TLSv1.2';
  const most = options.lowerMaximumSecurityTo ?? 'TLSv1.3';
  if (isOlder(most, least)) {
    throw new RangeError(`lowerMaximumSecurityTo is ${most}, but the minimum is ${least}`);
  }
  return { least, most };
}

/** @internal */
export function isOlder(version: TLSVersion, than: TLSVersion): boolean {
  return ORDER.indexOf(version) < ORDER.indexOf(than);
}

/** Suites of TLS 1.3, all of which are good. */
const SUITES = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'];
/** What is never spoken, whatever is asked for: without authentication, without encryption, broken. */
const NEVER = ['!aNULL', '!eNULL', '!EXPORT', '!LOW', '!RC4', '!MD5'];

/**
 * Which ciphers may be used, the preferred one first. Whatever is asked for, those without encryption or without
 * authentication, those made weak for export, RC4 and MD5 are left out, and so is what OpenSSL's security level 2 rules
 * out: RSA and Diffie-Hellman below 2048 bits, signatures with SHA-1. Twisted: `IAcceptableCiphers`.
 */
export class AcceptableCiphers {
  /** In OpenSSL's words, without what is always left out. */
  readonly list: string;

  private constructor(list: string) {
    this.list = list;
  }

  /**
   * Ciphers in OpenSSL's words, as in `ECDHE+AESGCM:ECDHE+CHACHA20`. The suites of TLS 1.3 are added unless some are
   * named. Whether OpenSSL knows them shows when a context is made of them.
   *
   * @throws RangeError for what is no list of ciphers, and for `@SECLEVEL`, which is set by other options
   */
  static fromOpenSSLCipherString(ciphers: string): AcceptableCiphers {
    if (typeof ciphers !== 'string') {
      throw new TypeError(`ciphers must be a string, not ${typeof ciphers}`);
    }
    const list = ciphers.split(/[:, ]+/).filter((name) => name !== '');
    if (list.length === 0 || list.some((name) => !/^(?:[-+!]?[\w.+-]+|@STRENGTH)$/.test(name))) {
      throw new RangeError(`not a list of ciphers: ${JSON.stringify(ciphers.slice(0, 200))}`);
    }
    const suites = list.some((name) => name.startsWith('TLS_')) ? [] : SUITES;
    return new AcceptableCiphers([...suites, ...list].join(':'));
  }

  /** @internal For the engine. @param level OpenSSL's security level */
  toOpenSSL(level: number): string {
    return [this.list, ...NEVER, `@SECLEVEL=${level}`].join(':');
  }

  toString(): string {
    return told(this, this.list);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** With a key of the session's own, so that a stolen key opens no old recording; authenticated ones first. */
export const defaultCiphers = AcceptableCiphers.fromOpenSSLCipherString(
  'ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES',
);

/** Parameters for Diffie-Hellman over a finite field, in TLS 1.2. Few clients need it. Twisted has the same name. */
export class DiffieHellmanParameters {
  /** The parameters as PEM. */
  readonly pem: string;

  private constructor(pem: string) {
    this.pem = pem;
  }

  /**
   * Reads a file as `openssl dhparam -out file 2048` makes them.
   *
   * @throws CertificateError if it cannot be read, holds no parameters, or its prime has fewer than 2048 bits
   */
  static fromFile(path: string): DiffieHellmanParameters {
    try {
      return DiffieHellmanParameters.fromPEM(readRegularFile(path).toString('latin1'));
    } catch (cause) {
      const why = (cause as Error).message;
      throw new CertificateError(`cannot use the parameters in ${path}: ${why}`, { cause });
    }
  }

  /** @throws CertificateError if there are no parameters, or the prime has fewer than 2048 bits */
  static fromPEM(pem: string): DiffieHellmanParameters {
    const block = /-----BEGIN DH PARAMETERS-----([^-]*)-----END DH PARAMETERS-----/.exec(pem);
    if (block === null) throw new CertificateError('there are no Diffie-Hellman parameters');
    const [outer] = readDER(Buffer.from(block[1] as string, 'base64'));
    const [prime] = readDER(bodyOf(outer, TAG.sequence));
    const bits = BigInt(`0x0${bodyOf(prime, TAG.integer).toString('hex')}`).toString(2).length;
    if (bits < LEAST_RSA_BITS) {
      throw new CertificateError(`the prime has ${bits} bits, not ${LEAST_RSA_BITS} or more`);
    }
    return new DiffieHellmanParameters(block[0]);
  }

  toString(): string {
    return told(this, '');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

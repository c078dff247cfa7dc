/**
 * Whom to trust: the authorities whose certificates vouch for others. It verifies nothing. Twisted: `platformTrust` and
 * `trustRootFromCertificates` of `twisted.internet.ssl`, and its `IOpenSSLTrustRoot`.
 */
import { existsSync, readdirSync } from 'node:fs';
import { Certificate, crypto } from './certificates.ts';
import { CertificateError, LimitExceeded } from './errors.ts';
import { LONGEST_FILE, readRegularFile } from './regular-file.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** The roots that are trusted. Made by {@link platformTrust} and {@link trustRootFromCertificates}. */
export class TrustRoot {
  /** Their PEM; undefined for the roots that Node brings. */
  readonly pems: readonly string[] | undefined;
  /** Names this set: the same for the same roots. */
  readonly digest: string;

  /** @internal */
  constructor(pems: readonly string[] | undefined) {
    this.pems = pems;
    this.digest =
      pems === undefined
        ? 'node'
        : crypto().createHash('sha256').update(pems.join('\n')).digest('hex');
  }

  toString(): string {
    return told(this, this.pems === undefined ? "Node's" : count(this.pems.length, 'certificate'));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** What can be given for a trust root: one, or certificates, as objects or PEM. */
export type TrustSource = TrustRoot | CertificateSource | readonly CertificateSource[];

/** A certificate, or PEM with one or more. */
export type CertificateSource = Certificate | string | Uint8Array;

/** @internal All certificates of one or more sources. */
export function certificatesFrom(
  sources: CertificateSource | readonly CertificateSource[],
): Certificate[] {
  const list = Array.isArray(sources)
    ? (sources as readonly CertificateSource[])
    : [sources as CertificateSource];
  return list.flatMap((source) =>
    source instanceof Certificate ? [source] : Certificate.loadAllPEM(source),
  );
}

/**
 * Trusts these certificates and what they have signed, and no others.
 *
 * @param certificates of authorities: certificates, or PEM with one or more
 * @throws CertificateError for what is no certificate, and for none at all
 */
export function trustRootFromCertificates(
  certificates: CertificateSource | readonly CertificateSource[],
): TrustRoot {
  const all = certificatesFrom(certificates);
  if (all.length === 0) {
    throw new CertificateError('a trust root of no certificates would trust nobody');
  }
  return new TrustRoot(all.map((certificate) => certificate.dumpPEM()));
}

/** @internal A trust root of whatever is given for one. */
export function trustRootFrom(source: TrustSource): TrustRoot {
  return source instanceof TrustRoot ? source : trustRootFromCertificates(source);
}

/** Where systems keep all their roots in one file: Debian, Fedora, SUSE, Alpine and macOS. */
const FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** More files than this in a folder of certificates are no such folder. */
const MOST_FILES = 10_000;

/** By what the variables said, the latest last. */
const known = new Map<string, TrustRoot>();
/** How many are kept: a process has one environment, a test a few. */
const MOST_KNOWN = 16;

/**
 * Trusts whom this system trusts, by the file where it keeps its authorities; where there is none (on Windows, say),
 * whom Node trusts. Read once in a process.
 *
 * The variables of OpenSSL are honored: if `SSL_CERT_FILE` (a file of PEM) or `SSL_CERT_DIR` (folders of such files)
 * is set, those authorities are trusted instead. Those in `NODE_EXTRA_CA_CERTS`, a file of PEM, are trusted as well.
 *
 * @throws CertificateError if a variable names what cannot be read, or has no certificate in it: it is not passed over,
 *   since somebody else would be trusted then
 */
export function platformTrust(environment: NodeJS.ProcessEnv = process.env): TrustRoot {
  const { SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS } = environment;
  const key = JSON.stringify([SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS]);
  let root = known.get(key);
  if (root === undefined) {
    root = readPlatform(SSL_CERT_FILE, SSL_CERT_DIR, NODE_EXTRA_CA_CERTS);
    known.set(key, root);
    for (const oldest of known.keys()) {
      if (known.size <= MOST_KNOWN) break;
      known.delete(oldest);
    }
  }
  return root;
}

function readPlatform(file?: string, folders?: string, extra?: string): TrustRoot {
  const named = [...pemsOf('SSL_CERT_FILE', file), ...pemsOfFolders(folders)];
  const system = FILES.filter(existsSync).slice(0, 1);
  const pems = isSet(file) || isSet(folders) ? named : pemsOf('the file of the system', system[0]);
  // Where Node's own roots are used, it adds the extra ones itself.
  if (pems.length === 0) return new TrustRoot(undefined);
  return new TrustRoot([...new Set([...pems, ...pemsOf('NODE_EXTRA_CA_CERTS', extra)])]);
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}

function pemsOf(name: string, path: string | undefined): string[] {
  if (!isSet(path)) return [];
  try {
    return blocksOf(readRegularFile(path).toString('latin1'));
  } catch (cause) {
    throw new CertificateError(`${name}: no certificates in ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function pemsOfFolders(folders: string | undefined): string[] {
  if (!isSet(folders)) return [];
  const pems: string[] = [];
  let left = LONGEST_FILE; // of all of them
  try {
    for (const folder of folders.split(':')) {
      const files = readdirSync(folder);
      if (files.length > MOST_FILES)
        throw new LimitExceeded(`the folder ${folder}`, MOST_FILES, 'files');
      for (const file of files) {
        if (!/\.(?:\d+|pem|crt|cer)$/.test(file)) continue;
        const pem = readRegularFile(`${folder}/${file}`, left);
        left -= pem.length;
        pems.push(pem.toString('latin1'));
      }
    }
    return blocksOf(pems.join('\n'));
  } catch (cause) {
    const why = (cause as Error).message;
    throw new CertificateError(`SSL_CERT_DIR: no certificates in ${folders}: ${why}`, { cause });
  }
}

/**
 * All certificates in PEM, one of which can be read at least. Not each is looked at, since there are many: the engine
 * passes over what it cannot read, such as an odd certificate in the store of a system.
 */
function blocksOf(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (!blocks.some(isReadable)) throw new CertificateError('there are none that can be read');
  return blocks.map((block) => `${block}\n`);
}

function isReadable(pem: string): boolean {
  try {
    Certificate.loadPEM(pem);
    return true;
  } catch {
    return false;
  }
}

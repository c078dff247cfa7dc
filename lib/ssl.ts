/**
 * What a program says about TLS: who it is, whom it trusts, and how strong a connection must be. The handshake itself
 * is run by the engine in `io/`, which is given what is made here. Twisted: `CertificateOptions` and
 * `optionsForClientTLS` of `twisted.internet.ssl`.
 *
 * A client uses {@link optionsForClientTLS}, which knows the name of the server; a server {@link CertificateOptions}.
 * Everything that can be wrong with keys and certificates is found when these are made, before any port is bound.
 */
import { hostIdentity, type HostIdentity } from './host-identity.ts';
import { Certificate, crypto, LEAST_RSA_BITS, PublicKey, tooFewBits } from './certificates.ts';
import {
  AcceptableCiphers,
  defaultCiphers,
  DiffieHellmanParameters,
  isOlder,
  versionsOf,
  type VersionOptions,
} from './ciphers.ts';
import { CertificateError } from './errors.ts';
import type { KeyPair, PrivateCertificate } from './private-certificates.ts';
import { privateKeyAsPEM, readPrivateKeyPEM } from './private-keys.ts';
import type {
  ITLSContextFactory,
  TLSContextOptions,
  TLSPeer,
  TLSSettings,
} from './tls-settings.ts';
import {
  certificatesFrom,
  platformTrust,
  trustRootFrom,
  type CertificateSource,
  type TrustSource,
} from './trust.ts';
import { checkPeer, type Demands, type PeerVerifier } from './verify-peer.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** What {@link CertificateOptions} can be told. */
export interface CertificateOptionsInit extends VersionOptions {
  /** Our private key. PEM may be encrypted, with `passphrase`. Needed with `certificate`, unless that brings it. */
  readonly privateKey?: KeyPair | string | Uint8Array;
  /** Our certificate. PEM may hold those between it and its root as well, behind it. */
  readonly certificate?: CertificateSource;
  /** Those between our certificate and its root, which the other side may not know. */
  readonly extraCertChain?: CertificateSource | readonly CertificateSource[];
  readonly passphrase?: string;
  /** Who may vouch for the other side. On a server: clients must show a certificate. */
  readonly trustRoot?: TrustSource;
  /** False to take whoever there is for the other side. Default: true on a client, and if there is a trust root. */
  readonly verify?: boolean;
  /** False if clients may come without a certificate. One that is shown is checked all the same. Default: true. */
  readonly requireCertificate?: boolean;
  /** How many certificates may stand between the other side's and its root. Default: 9. */
  readonly verifyDepth?: number;
  /** Asked last, after all other checks, about the other side's certificate. Refuses it unless it returns true. */
  readonly verifyPeer?: PeerVerifier;
  /** Lists of revoked certificates, as PEM: one of each authority between the other side and its root. */
  readonly crl?: string | Uint8Array | readonly (string | Uint8Array)[];
  /** Default: with forward secrecy, and AES or ChaCha20. */
  readonly acceptableCiphers?: AcceptableCiphers | string;
  /** For ciphers with DHE, on a server. Default: chosen by OpenSSL to fit our key. */
  readonly dhParameters?: DiffieHellmanParameters;
  /** ALPN: protocols, the preferred one first. If the other side has some too, but none of these, there is no connection. */
  readonly acceptableProtocols?: readonly string[];
  /**
   * On a client: how many times its server may ask for a renegotiation on a connection, before TLS 1.3. Some servers do
   * so to ask for a certificate. It must show the same certificate again. Default: 0.
   */
  readonly renegotiations?: number;
}

const VERIFY_DEPTH = 9;

/**
 * Keys, trust and strength of a side of TLS connections. At least TLS 1.2 is spoken, unless it was
 * `insecurelyLowerMinimumTo` less.
 *
 * A client that uses this itself verifies who vouches for the server, but not the server's name, and asks for none:
 * anybody whom the same authorities vouch for would be accepted. So it must give a trust root, its own say, and else
 * use {@link optionsForClientTLS}.
 */
export class CertificateOptions implements ITLSContextFactory {
  /** Keys, certificates and ciphers, for the engine. An inspection does not show the key. */
  readonly context: TLSContextOptions;
  /** ALPN: protocols, the preferred one first. */
  readonly acceptableProtocols: readonly string[] | undefined;
  /** True if the other side must be vouched for; undefined if that depends on whether it is a server. */
  readonly verify: boolean | undefined;
  readonly requireCertificate: boolean;
  readonly verifyDepth: number;
  readonly verifyPeer: PeerVerifier | undefined;
  readonly #trusts: boolean;
  /** What a session depends on. */
  readonly #name: string;

  /**
   * @throws CertificateError for keys and certificates that cannot be used; it never shows the key
   * @throws TypeError, RangeError for other options that make no sense
   */
  constructor(options: CertificateOptionsInit = {}) {
    const trustRoot =
      options.trustRoot === undefined ? undefined : trustRootFrom(options.trustRoot);
    this.#trusts = trustRoot !== undefined;
    this.verify = options.verify ?? (this.#trusts ? true : undefined);
    checkedCount(options.renegotiations ?? 0);
    this.requireCertificate = options.requireCertificate ?? true;
    this.verifyDepth = checkedDepth(options.verifyDepth ?? VERIFY_DEPTH);
    this.verifyPeer = checkedVerifier(options.verifyPeer);
    if (options.verify === true && trustRoot === undefined) {
      throw new TypeError('to verify, a trustRoot is needed: platformTrust(), say');
    }
    if (this.verify !== true && (this.verifyPeer !== undefined || options.crl !== undefined)) {
      throw new TypeError('verifyPeer and crl need a trustRoot, and verify not to be false');
    }
    this.acceptableProtocols = checkedProtocols(options.acceptableProtocols);
    const identity = identityOf(options);
    this.context = contextOf(options, identity, trustRoot?.pems);
    this.#name = JSON.stringify([
      trustRoot?.digest ?? null,
      identity?.chain[0]?.digest() ?? null,
      this.acceptableProtocols ?? null,
      this.context.crl?.map(String) ?? null,
      [this.context.ciphers, this.context.minVersion, this.context.maxVersion],
      [this.verifyDepth, verifierNumber(this.verifyPeer)],
    ]);
  }

  /**
   * @throws CertificateError for a server without a certificate, and for a client that does not say whom it trusts
   */
  tlsSettings(side: 'client' | 'server'): TLSSettings {
    if (side === 'server' && this.context.key === undefined) {
      throw new CertificateError('a TLS server needs a privateKey and a certificate');
    }
    if (side === 'client' && this.verify === undefined) {
      throw new CertificateError(
        'a TLS client must say whom it trusts: use optionsForClientTLS(hostname), or give a trustRoot',
      );
    }
    const protocols = this.acceptableProtocols;
    const verify = this.verify === true;
    const peer = side === 'client' ? 'server' : 'client';
    const required = side === 'client' || this.requireCertificate;
    return {
      context: this.context,
      ...(protocols && { protocols }),
      ...(side === 'server' && { requestCertificate: verify }),
      ...(verify && { checkPeer: this.#checker({ peer, required }) }),
    };
  }

  /** @internal Settings of a client that knows the name of the server. */
  settingsFor(
    host: HostIdentity,
    port: number | undefined,
    protocols: readonly string[] | undefined,
  ): TLSSettings {
    return {
      context: this.context,
      ...(protocols && { protocols }),
      // RFC 6066 section 3: addresses are not asked for.
      ...(host.kind === 'name' && { serverName: host.text }),
      checkPeer: this.#checker({ peer: 'server', required: true, host }),
      sessionKey: JSON.stringify([host.text, port ?? null, protocols ?? null, this.#name]),
    };
  }

  #checker(who: Pick<Demands, 'peer' | 'required' | 'host'>): (peer: TLSPeer) => Error | undefined {
    const demands = { ...who, verifyDepth: this.verifyDepth, verifyPeer: this.verifyPeer };
    return (peer) => checkPeer(peer, demands);
  }

  toString(): string {
    return told(
      this,
      `${this.context.cert === undefined ? 'without' : 'with'} a certificate, ${this.verify === true ? 'verifying' : 'not verifying'}`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

// ── Clients ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a client can say besides the name of the server. */
export interface ClientTLSOptions {
  /** Who may vouch for the server. Default: `platformTrust()`. */
  readonly trustRoot?: TrustSource;
  /** Who we are, for servers that ask. */
  readonly clientCertificate?: PrivateCertificate;
  /** ALPN: protocols, the preferred one first. */
  readonly acceptableProtocols?: readonly string[];
  /** The port, if it is known: then sessions of other ports are not taken up. */
  readonly port?: number;
  /** Everything else. */
  readonly extraCertificateOptions?: Omit<
    CertificateOptionsInit,
    | 'acceptableProtocols'
    | 'certificate'
    | 'extraCertChain'
    | 'passphrase'
    | 'privateKey'
    | 'requireCertificate'
    | 'trustRoot'
    | 'verify'
  >;
}

/** Options of clients that say nothing but whom they trust, by that: the engine needs to compile them once only. */
const shared = new WeakMap<object, CertificateOptions>();

/**
 * What a client needs to talk to the server called `hostname`, and to nobody else: asks for it by SNI, and verifies
 * that its certificate is vouched for and is for that name or address (RFC 9525). Give it to `connectSSL`,
 * `startTLS` and `wrapClientTLS`. Twisted: `optionsForClientTLS`.
 *
 * @param hostname a host name, or an IP literal without brackets
 * @throws TypeError, RangeError for what is no host name, or could be read as another
 * @throws CertificateError for certificates and keys that cannot be used
 *
 * @example
 * const options = optionsForClientTLS('Example.com');
 * options.tlsSettings('client').serverName;   // 'example.com'
 */
export function optionsForClientTLS(
  hostname: string,
  options: ClientTLSOptions = {},
): ITLSContextFactory {
  const host = hostIdentity(hostname);
  const protocols = checkedProtocols(options.acceptableProtocols);
  const { port } = options;
  const settings = certificateOptionsOf(options).settingsFor(host, port, protocols);
  return {
    tlsSettings(side) {
      if (side === 'client') return settings;
      throw new CertificateError('optionsForClientTLS makes options of clients, not of servers');
    },
  };
}

function certificateOptionsOf(options: ClientTLSOptions): CertificateOptions {
  const { clientCertificate, extraCertificateOptions: extra } = options;
  const trustRoot =
    options.trustRoot === undefined ? platformTrust() : trustRootFrom(options.trustRoot);
  if (clientCertificate === undefined && extra === undefined) {
    const made = shared.get(trustRoot) ?? new CertificateOptions({ trustRoot });
    shared.set(trustRoot, made);
    return made;
  }
  for (const name of ['verify', 'trustRoot', 'privateKey', 'acceptableProtocols']) {
    if (extra !== undefined && name in extra) {
      throw new TypeError(`${name} cannot be among the extraCertificateOptions of a client`);
    }
  }
  return new CertificateOptions({
    ...extra,
    trustRoot,
    ...(clientCertificate && { certificate: clientCertificate }),
  });
}

// ── Who we are ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** @throws CertificateError if the key is not that of the certificate */
export function checkBelongs(key: PublicKey, certificate: Certificate): void {
  if (key.matches(certificate)) return;
  throw new CertificateError(
    `the private key does not belong to the certificate of ${certificate.getSubject()}`,
  );
}

interface Identity {
  /** Our private key, as PEM. */
  readonly key: string;
  /** Our certificate, and those behind it. */
  readonly chain: readonly Certificate[];
}

/** Whether a certificate brings its key; told by what it has, since PrivateCertificate is made of what is here. */
function isPrivate(certificate: CertificateSource): certificate is PrivateCertificate {
  return (
    certificate instanceof Certificate &&
    (certificate as Partial<PrivateCertificate>).privateKey instanceof PublicKey
  );
}

function identityOf(options: CertificateOptionsInit): Identity | undefined {
  const { privateKey: key, certificate, extraCertChain, passphrase } = options;
  if (certificate === undefined) {
    if (key === undefined && extraCertChain === undefined) return undefined;
    throw new CertificateError('there is a privateKey or an extraCertChain, but no certificate');
  }
  const own = isPrivate(certificate) ? certificate : undefined;
  const chain = [
    ...certificatesFrom(certificate),
    ...(own?.chain ?? []),
    ...(extraCertChain === undefined ? [] : certificatesFrom(extraCertChain)),
  ];
  const [first] = chain as [Certificate];
  if (key === undefined && own === undefined) {
    throw new CertificateError('there is a certificate, but no privateKey');
  }
  const { pem, publicKey } = privateKeyOf((key ?? own?.privateKey) as KeyPair | string, passphrase);
  checkBelongs(publicKey, first);
  const bits = tooFewBits(publicKey.original);
  if (bits !== undefined) {
    throw new CertificateError(
      `the key of ${first.getSubject()} has ${bits} bits, and needs ${LEAST_RSA_BITS} or more`,
    );
  }
  return { key: pem, chain };
}

function privateKeyOf(
  key: KeyPair | string | Uint8Array,
  passphrase: string | undefined,
): { pem: string; publicKey: PublicKey } {
  if (key instanceof PublicKey) return { pem: key.dumpPEM(), publicKey: key };
  const read = readPrivateKeyPEM(key, passphrase);
  return { pem: privateKeyAsPEM(read), publicKey: new PublicKey(crypto().createPublicKey(read)) };
}

// ── For the engine ───────────────────────────────────────────────────────────────────────────────────────────────────

function contextOf(
  options: CertificateOptionsInit,
  identity: Identity | undefined,
  ca: readonly string[] | undefined,
): TLSContextOptions {
  const { least, most } = versionsOf(options);
  const { acceptableCiphers: given = defaultCiphers, dhParameters } = options;
  const ciphers =
    given instanceof AcceptableCiphers ? given : AcceptableCiphers.fromOpenSSLCipherString(given);
  if (dhParameters !== undefined && !(dhParameters instanceof DiffieHellmanParameters)) {
    throw new TypeError('dhParameters must be DiffieHellmanParameters');
  }
  const crl = options.crl === undefined ? undefined : revokedLists(options.crl);
  return withoutShowing({
    ...(identity && {
      key: identity.key,
      cert: identity.chain.map((certificate) => certificate.dumpPEM()).join(''),
    }),
    ...(ca && { ca }),
    ...(crl && { crl }),
    // OpenSSL speaks the old versions at level 0 alone.
    ciphers: ciphers.toOpenSSL(isOlder(least, 'TLSv1.2') ? 0 : 2),
    dhparam: dhParameters === undefined ? 'auto' : Buffer.from(dhParameters.pem),
    minVersion: least,
    maxVersion: most,
    ...(options.renegotiations !== undefined && { renegotiations: options.renegotiations }),
  });
}

/** The same object; but neither an inspection nor JSON of it shows the key, so that it gets into no log. */
function withoutShowing(context: TLSContextOptions): TLSContextOptions {
  const { key, ca, ...rest } = context;
  const shown = { ...rest, key: key && '(not shown)', ca: ca && `${ca.length} certificates` };
  const show = { value: () => shown, enumerable: false };
  Object.defineProperty(context, Symbol.for('nodejs.util.inspect.custom'), show);
  return Object.defineProperty(context, 'toJSON', show);
}

function revokedLists(given: NonNullable<CertificateOptionsInit['crl']>): string[] {
  const sources = Array.isArray(given)
    ? (given as readonly (string | Uint8Array)[])
    : [given as string | Uint8Array];
  const lists = sources.flatMap((pem) => {
    const text = typeof pem === 'string' ? pem : Buffer.from(pem).toString('latin1');
    const blocks = text.match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g);
    if (blocks === null) throw new CertificateError('there is no list of revoked certificates');
    return blocks.map((block) => `${block}\n`);
  });
  if (lists.length === 0) throw new CertificateError('there is no list of revoked certificates');
  return lists;
}

// ── Checks of options ────────────────────────────────────────────────────────────────────────────────────────────────

function checkedDepth(depth: number): number {
  if (Number.isInteger(depth) && depth >= 0) return depth;
  throw new RangeError(`verifyDepth must be a whole number from 0 upwards, not ${String(depth)}`);
}

function checkedCount(count: number): void {
  if (Number.isInteger(count) && count >= 0) return;
  throw new RangeError(`renegotiations must be a whole number from 0, not ${String(count)}`);
}

function checkedVerifier(verifier: PeerVerifier | undefined): PeerVerifier | undefined {
  if (verifier === undefined || typeof verifier === 'function') return verifier;
  throw new TypeError(`verifyPeer must be a function, not ${typeof verifier}`);
}

/** RFC 7301 section 3.1: names of 1 to 255 bytes. */
function checkedProtocols(protocols: readonly string[] | undefined): readonly string[] | undefined {
  if (protocols === undefined) return undefined;
  let total = 0;
  for (const name of protocols) {
    const bytes = typeof name === 'string' ? Buffer.byteLength(name) : 0;
    if (bytes < 1 || bytes > 255) {
      throw new RangeError(`an ALPN protocol has 1 to 255 bytes, unlike ${JSON.stringify(name)}`);
    }
    total += bytes + 1;
  }
  if (total > 65_535)
    throw new RangeError('the ALPN protocols are longer than 65535 bytes together');
  return protocols.length === 0 ? undefined : [...protocols];
}

/** Tells functions apart: a session that one has accepted is none for another. */
const verifiers = new WeakMap<PeerVerifier, number>();
let verifierCount = 0;

function verifierNumber(verifier: PeerVerifier | undefined): number {
  if (verifier === undefined) return 0;
  let number = verifiers.get(verifier);
  if (number === undefined) verifiers.set(verifier, (number = verifierCount += 1));
  return number;
}

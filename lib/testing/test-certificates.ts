/**
 * Certificates for tests: an authority that nobody trusts but those who are told to, and what it has signed. Made in
 * memory in a few milliseconds, so that no test needs files of PEM that expire some day, nor the program `openssl`.
 * Twisted has nothing of the kind.
 */
import type { SigningOptions } from '../certificate-signing.ts';
import { crypto, DistinguishedName } from '../certificates.ts';
import type { Seconds } from '../interfaces.ts';
import { KeyPair, PrivateCertificate } from '../private-certificates.ts';
import { CertificateOptions, type ClientTLSOptions, optionsForClientTLS } from '../ssl.ts';
import type { ITLSContextFactory } from '../tls-settings.ts';
import { type TrustRoot, trustRootFromCertificates } from '../trust.ts';
import { INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

const HERE = ['localhost', '127.0.0.1', '::1'];

/** Fixed, so that a test that sets the clock back or forth still gets what is valid. */
const BEGIN = new Date('2000-01-01T00:00:00Z');
const END = new Date('2200-01-01T00:00:00Z');

/** What a certificate of a test is to be like. */
export interface TestCertificateOptions extends Pick<
  SigningOptions,
  'digestAlgorithm' | 'secondsToExpiry' | 'usages' | 'validFrom'
> {
  /** The kind of key: `ec` (P-256, the default), or `rsa` with 2048 bits, which takes some tenths of a second. */
  readonly keys?: 'ec' | 'rsa';
  /** True for one that was valid until 2002. */
  readonly expired?: boolean;
  /** True for one that will be valid from 2190 on. */
  readonly notYetValid?: boolean;
}

/** What the certificate of a server is to be like. */
export interface TestServerOptions extends TestCertificateOptions {
  /**
   * The hosts that it is for: names, which may begin with `*.`, and addresses. Default: `localhost`, `127.0.0.1` and
   * `::1`.
   */
  readonly names?: readonly string[];
}

/** What the certificate of a client is to be like. */
export interface TestClientOptions extends TestCertificateOptions {
  /** Its common name. Default: `client`. */
  readonly commonName?: string;
  /** Whom its `options` are for talking to. Default: `localhost`. */
  readonly hostname?: string;
}

/** Who has a certificate. `key` and `cert` are what Node's `tls` calls so. */
export interface TestIdentity {
  /** The certificate, with its key and what stands between it and the root. */
  readonly certificate: PrivateCertificate;
  /** The same as PEM, with what stands between it and the root. */
  readonly cert: string;
  /** The private key as PEM. */
  readonly key: string;
}

/** A server that has a certificate. */
export interface TestServer extends TestIdentity {
  /** For `listenSSL` and the like: any client may come. */
  readonly options: CertificateOptions;
  /** The same, but clients must show a certificate of the same authority. */
  readonly mutualOptions: CertificateOptions;
}

/** A client that trusts the authority, and shows its certificate if it is asked for one. */
export interface TestClient extends TestIdentity {
  /** For `connectSSL` and the like, to the `hostname` of the client, or else to the first name of the server. */
  readonly options: ITLSContextFactory;
  /** The same, to another host; `more` as for `optionsForClientTLS`. */
  optionsFor(hostname: string, more?: ClientTLSOptions): ITLSContextFactory;
}

/** An authority of a test. Made by {@link testCertificates}. */
export class TestAuthority implements TestIdentity {
  readonly certificate: PrivateCertificate;
  /** For `optionsForClientTLS` and `CertificateOptions`: whoever is told this trusts the root, and all that it has signed. */
  readonly trustRoot: TrustRoot;
  readonly #keys: 'ec' | 'rsa';

  /** @internal */
  constructor(certificate: PrivateCertificate, trustRoot: TrustRoot, keys: 'ec' | 'rsa') {
    this.certificate = certificate;
    this.trustRoot = trustRoot;
    this.#keys = keys;
  }

  get cert(): string {
    return pemsOf(this.certificate);
  }

  get key(): string {
    return this.certificate.privateKey.dumpPEM();
  }

  /** Signs the certificate of another server. */
  server(options: TestServerOptions = {}): TestServer {
    const { names = HERE, ...rest } = options;
    const commonName = names[0] ?? 'server';
    const certificate = this.#sign(commonName, { usages: ['server'], ...rest, names });
    return {
      ...identityOf(certificate),
      options: new CertificateOptions({ certificate }),
      mutualOptions: new CertificateOptions({ certificate, trustRoot: this.trustRoot }),
    };
  }

  /** Signs the certificate of another client. */
  client(options: TestClientOptions = {}): TestClient {
    const { commonName = 'client', hostname = 'localhost', ...rest } = options;
    const certificate = this.#sign(commonName, { usages: ['client'], ...rest, names: [] });
    const { trustRoot } = this;
    const optionsFor = (host: string, more: ClientTLSOptions = {}): ITLSContextFactory =>
      optionsForClientTLS(host, { trustRoot, clientCertificate: certificate, ...more });
    return { ...identityOf(certificate), options: optionsFor(hostname), optionsFor };
  }

  /** Signs the certificate of another authority, which those trust who trust this one. */
  intermediate(
    options: TestCertificateOptions & { readonly commonName?: string } = {},
  ): TestAuthority {
    const { commonName = 'plait intermediate authority', ...rest } = options;
    const certificate = this.#sign(commonName, { ...rest, names: [], authority: true });
    return new TestAuthority(certificate, this.trustRoot, this.#keys);
  }

  #sign(
    commonName: string,
    { keys = this.#keys, expired, notYetValid, ...rest }: TestCertificateOptions & SigningOptions,
  ): PrivateCertificate {
    const key = KeyPair.generate(keys);
    const request = key.requestObject(new DistinguishedName({ CN: commonName }));
    const signed = this.certificate.signRequestObject(request, randomSerial(), {
      ...validity(expired, notYetValid),
      ...rest,
    });
    const own = this.certificate;
    const isRoot = own.getSubject().equals(own.getIssuer());
    return new PrivateCertificate(signed, key, isRoot ? [] : [own, ...own.chain]);
  }

  toString(): string {
    return told(this, `${this.#keys} ${this.certificate.getSubject()}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Two authorities of tests have the same name: what they sign must differ in its number all the same. */
function randomSerial(): bigint {
  return BigInt(`0x01${crypto().randomBytes(15).toString('hex')}`);
}

function validity(expired = false, notYetValid = false): SigningOptions {
  if (expired) return between(new Date('2001-01-01T00:00:00Z'), new Date('2002-01-01T00:00:00Z'));
  if (notYetValid) return between(new Date('2190-01-01T00:00:00Z'), END);
  return between(BEGIN, END);
}

function between(validFrom: Date, validTo: Date): SigningOptions {
  const secondsToExpiry: Seconds = (validTo.getTime() - validFrom.getTime()) / 1000;
  return { validFrom, secondsToExpiry };
}

function identityOf(certificate: PrivateCertificate): TestIdentity {
  return { certificate, cert: pemsOf(certificate), key: certificate.privateKey.dumpPEM() };
}

function pemsOf(certificate: PrivateCertificate): string {
  return [certificate, ...certificate.chain].map((one) => one.dumpPEM()).join('');
}

/** What {@link testCertificates} makes. */
export interface TestCertificates {
  readonly authority: TestAuthority;
  readonly server: TestServer;
  readonly client: TestClient;
}

/**
 * Makes an authority, and signs a server's certificate, which the options are for, and a client's. No two calls make
 * the same, so each is a stranger to the other.
 *
 * @throws RangeError or TypeError for a name that is none, and for other options that make no sense
 * @example
 * const { authority, server, client } = testCertificates({ names: ['localhost', '127.0.0.1', '::1'] });
 * client.options.tlsSettings('client').serverName;               // 'localhost'
 * server.options.tlsSettings('server').requestCertificate;       // false
 * server.certificate.getIssuer().equals(authority.certificate.getSubject());   // true
 */
export function testCertificates(options: TestServerOptions = {}): TestCertificates {
  const { keys = 'ec', names = HERE } = options;
  const root = KeyPair.generate(keys).selfSignedCert(
    randomSerial(),
    { CN: 'plait test authority' },
    { ...validity(), names: [] },
  );
  const authority = new TestAuthority(root, trustRootFromCertificates(root), keys);
  const server = authority.server(options);
  const hostname = names.find((name) => !name.startsWith('*.'));
  const client = authority.client(hostname === undefined ? {} : { hostname });
  return { authority, server, client };
}

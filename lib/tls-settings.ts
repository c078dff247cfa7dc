/**
 * What the TLS engine is asked for by whoever makes a connection secure, types only: the meeting place of `ssl`, where
 * users say what they trust and who they are, and of `io/tls`, which runs the handshake. Twisted:
 * `IOpenSSLContextFactory` and its kin in `twisted.internet.interfaces`.
 */
import type { X509Certificate } from 'node:crypto';

/** Versions of TLS that can be spoken. Those before 1.2 only where somebody has asked for them by name. */
export type TLSVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';

/** Keys, trust and ciphers, as data: what a context of the engine is compiled from. */
export interface TLSContextOptions {
  /** PEM of the private key, and of the certificate with those between it and its root. */
  readonly key?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly passphrase?: string;
  /** PEMs of the roots that are trusted; undefined for those that Node brings. */
  readonly ca?: readonly (string | Buffer)[];
  /** PEMs of lists of revoked certificates. */
  readonly crl?: readonly (string | Buffer)[];
  readonly ciphers?: string;
  readonly dhparam?: 'auto' | Buffer;
  readonly minVersion?: TLSVersion;
  readonly maxVersion?: TLSVersion;
  /** On a client: how many renegotiations its server may ask for on a connection, before TLS 1.3. Default: 0. */
  readonly renegotiations?: number;
}

/** What is known of the other side once the handshake is done, and before any byte of the application has passed. */
export interface TLSPeer {
  /** Its certificate; undefined if it has shown none. */
  readonly certificate: X509Certificate | undefined;
  /** Why the engine found no path from the certificate to a trusted root; undefined if it found one. */
  readonly problem: Error | undefined;
  /** The protocol agreed on by ALPN. */
  readonly protocol: string | undefined;
}

/** What one side of a connection brings to the handshake. */
export interface TLSSettings {
  /** The same object for the same settings: the engine compiles it once. */
  readonly context: TLSContextOptions;
  /** ALPN: protocols, the preferred one first. If there are any and none is shared, the handshake fails. */
  readonly protocols?: readonly string[];
  /** On a client: the name asked for by SNI. Not sent for IP addresses. */
  readonly serverName?: string;
  /** On a server: ask the client for a certificate. */
  readonly requestCertificate?: boolean;
  /**
   * Returns an error to refuse the other side. Called once, before any byte of the application is delivered or sent.
   * If it throws, or returns anything but an Error or undefined, the other side is refused too.
   */
  readonly checkPeer?: (peer: TLSPeer) => Error | undefined;
  /** On a client: names the identity and trust under which a session may be taken up again; undefined for never. */
  readonly sessionKey?: string;
  /** On a server: settings for the name that a client asks for, in lower case; undefined for these ones. */
  readonly forName?: (name: string) => TLSSettings | undefined;
}

/** Makes settings for connections: CertificateOptions, and what optionsForClientTLS returns. */
export interface ITLSContextFactory {
  /**
   * @throws Error for keys, certificates or ciphers that cannot be used
   */
  tlsSettings(side: 'client' | 'server'): TLSSettings;
}

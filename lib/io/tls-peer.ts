/**
 * What is made of the other side of a handshake: whether it is good, and why not. It fails closed: whatever is not
 * certain is a refusal.
 */
import type { X509Certificate } from 'node:crypto';
import type { DetailedPeerCertificate, TLSSocket } from 'node:tls';
import type { Address } from '../address.ts';
import { ConnectionClosed, explain, PlaitError, SSLError, VerificationError } from '../errors.ts';
import { Failure } from '../failure.ts';
import type { TLSPeer, TLSSettings } from '../tls-settings.ts';

/** More certificates than that do not vouch for each other: the engine looks no further, and nor does this. */
const LONGEST_CHAIN = 100;

/**
 * The certificate of the other side, and by its `issuerCertificate` those that vouch for it; undefined if it has shown
 * none.
 *
 * Not by `getPeerX509Certificate()`: in Node 20 that leaks 5 KiB outside the heap with each call, and takes certificates
 * out of the engine's own chain, so that a second call does not find them.
 */
export function peerCertificate(socket: TLSSocket): X509Certificate | undefined {
  const { X509Certificate: Reader } = process.getBuiltinModule('node:crypto');
  const chain: Buffer[] = [];
  let next = socket.getPeerCertificate(true) as Partial<DetailedPeerCertificate> | undefined;
  while (next?.raw !== undefined && chain.length < LONGEST_CHAIN) {
    chain.push(next.raw);
    const issuer = next.issuerCertificate;
    next = issuer === next ? undefined : issuer; // a root vouches for itself
  }
  const read = (index: number): X509Certificate | undefined => {
    const raw = chain[index];
    if (raw === undefined) return undefined;
    const certificate = new Reader(raw);
    let issuer: X509Certificate | undefined;
    return Object.defineProperty(certificate, 'issuerCertificate', {
      get: () => (issuer ??= read(index + 1)),
    });
  };
  return read(0);
}

/** Why the other side is refused; undefined if it is good. Whatever is not certain is a refusal. */
export function judge({ checkPeer }: TLSSettings, peer: TLSPeer): Error | undefined {
  if (checkPeer === undefined) return undefined;
  let verdict: unknown;
  try {
    verdict = checkPeer(peer);
  } catch (thrown) {
    const cause = new Failure(thrown).value;
    return new VerificationError(`the check of the other side failed: ${explain(cause)}`, {
      cause,
    });
  }
  if (verdict === undefined || verdict instanceof Error) return verdict;
  // It may be a promise, which would fail unhandled.
  Promise.resolve(verdict).catch(() => {});
  return new VerificationError(
    `the check of the other side must return an Error or undefined at once, not ${typeof verdict}`,
  );
}

/** The reason for which a connection ends whose handshake did not come to its end. */
export function handshakeError(peer: Address, cause: Error): Error {
  if (cause instanceof PlaitError && !(cause instanceof ConnectionClosed)) return cause;
  return new SSLError(`cannot speak TLS with ${peer}: ${explain(cause)}`, { cause });
}

/**
 * What is wrong with a renegotiation, which the server has asked for, once it is over; undefined if it may be. The
 * server must be the one that was found good at first: a renegotiation is no way to become another.
 *
 * @param count how many there were on this connection
 * @param first the certificate that was judged
 */
export function judgeRenegotiation(
  { context: { renegotiations = 0 } }: TLSSettings,
  count: number,
  first: X509Certificate | undefined,
  socket: TLSSocket,
): Error | undefined {
  // The engine reports one that it has refused, too.
  if (renegotiations === 0) return undefined;
  if (count > renegotiations) {
    return new SSLError(
      `the other side asked for more than ${renegotiations} renegotiations, which are all that the option renegotiations allows`,
    );
  }
  const { raw } = socket.getPeerCertificate() as Partial<DetailedPeerCertificate>;
  // Where a session is taken up again, the engine may show none.
  if (raw === undefined || first?.raw.equals(raw) === true) return undefined;
  return new VerificationError('the other side has shown another certificate in a renegotiation');
}

/** The reason for which a connection has ended, where the other side had been refused a renegotiation before. */
export function afterRefusal(cause: Error): Error {
  const { code = '' } = cause as NodeJS.ErrnoException;
  // What the engine itself has found is another matter.
  if (code.startsWith('ERR_SSL_') && !code.includes('ALERT')) return cause;
  return new SSLError(
    `the other side ended the connection after it was refused a renegotiation, which the option renegotiations allows: ${explain(cause)}`,
    { cause },
  );
}

/** Node says why a certificate is not trusted by an error, or by its code alone. */
export function problemOf(error: Error | string | undefined): Error {
  if (error instanceof Error) return error;
  const code = error ?? 'UNKNOWN';
  return Object.assign(new Error(`the certificate is not trusted: ${code}`), { code });
}

/** Why the engine does not trust the certificate of a client. */
export function verifyError(socket: TLSSocket): Error | undefined {
  const { ssl } = socket as { ssl?: { verifyError?(): Error | null } };
  if (typeof ssl?.verifyError !== 'function') return problemOf(undefined);
  return ssl.verifyError() ?? undefined;
}

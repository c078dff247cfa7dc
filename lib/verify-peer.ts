/**
 * Whether the other side of a TLS connection is who it should be: what the engine has found out about its certificate,
 * and checks of our own on top of that. All of it is decided before a byte of the application passes, and again when
 * a session is taken up again. Twisted has this in the callbacks of `ClientTLSOptions` and `OpenSSLCertificateOptions`.
 */
import type { X509Certificate } from 'node:crypto';
import { certificateNames, checkIdentity } from './certificate-names.ts';
import { Certificate, LEAST_RSA_BITS, tooFewBits } from './certificates.ts';
import { explain, VerificationError } from './errors.ts';
import type { HostIdentity } from './host-identity.ts';
import type { TLSPeer } from './tls-settings.ts';

/** Says whether a certificate is welcome, of those that have passed all other checks: by true, and by nothing else. */
export type PeerVerifier = (certificate: Certificate) => boolean;

/** What is asked of the other side. */
export interface Demands {
  /** What the other side is. */
  readonly peer: 'client' | 'server';
  /** False if it may show no certificate. */
  readonly required: boolean;
  /** Who it must be; undefined for anybody who is vouched for. */
  readonly host?: HostIdentity | undefined;
  /** How many certificates may stand between its own and the root's. */
  readonly verifyDepth: number;
  readonly verifyPeer?: PeerVerifier | undefined;
}

/** The engine's reasons, in words. */
const PROBLEMS: ReadonlyMap<string, string> = new Map([
  ['CA_KEY_TOO_SMALL', 'it is signed with a key that is too weak'],
  ['CA_MD_TOO_WEAK', 'it is signed with a hash that is too weak'],
  ['CERT_CHAIN_TOO_LONG', 'there are too many certificates between it and its root'],
  ['CERT_HAS_EXPIRED', 'it, or one that vouches for it, has expired'],
  ['CERT_NOT_YET_VALID', 'it, or one that vouches for it, is not valid yet'],
  ['CERT_REJECTED', 'its root does not accept this use'],
  ['CERT_REVOKED', 'it has been revoked'],
  ['CERT_SIGNATURE_FAILURE', 'its signature is wrong'],
  ['CERT_UNTRUSTED', 'its root is not trusted for this use'],
  ['CRL_HAS_EXPIRED', 'the list of revoked certificates is out of date'],
  ['CRL_NOT_YET_VALID', 'the list of revoked certificates is not valid yet'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'it is signed by itself, and not trusted'],
  ['EE_KEY_TOO_SMALL', 'its key is too weak'],
  ['INVALID_CA', 'one that vouches for it is no authority'],
  ['INVALID_PURPOSE', 'it is not for this use'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'its root is not trusted'],
  ['UNABLE_TO_GET_CRL', 'there is no list of revoked certificates of its authority'],
  ['UNABLE_TO_GET_ISSUER_CERT', 'whoever has signed it is not known'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'whoever has signed it is not trusted'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'whoever has signed it is not trusted'],
]);

/** Why the other side is refused; undefined if it is accepted. */
export function checkPeer(peer: TLSPeer, demands: Demands): VerificationError | undefined {
  const { certificate, problem } = peer;
  if (certificate === undefined) {
    if (!demands.required) return undefined;
    return new VerificationError(`the ${demands.peer} has shown no certificate`);
  }
  const refusal =
    keyProblem(certificate) ??
    (problem === undefined ? undefined : explained(problem)) ??
    dateProblem(certificate) ??
    usageProblem(certificate, demands.peer) ??
    depthProblem(certificate, demands.verifyDepth);
  if (refusal !== undefined) {
    const text = `the certificate of the ${demands.peer} was refused: ${refusal}`;
    return new VerificationError(text, problem === undefined ? {} : { cause: problem });
  }
  return identityProblem(certificate, demands) ?? verifierProblem(certificate, demands);
}

function explained(problem: Error): string {
  const { code } = problem as { code?: unknown };
  const words = typeof code === 'string' ? PROBLEMS.get(code) : undefined;
  return words === undefined ? explain(problem) : `${words} (${code as string})`;
}

function keyProblem(certificate: X509Certificate): string | undefined {
  const bits = tooFewBits(certificate.publicKey);
  return bits === undefined
    ? undefined
    : `its key has ${bits} bits, and needs ${LEAST_RSA_BITS} or more (EE_KEY_TOO_SMALL)`;
}

/** The engine has looked at the dates once, for the first connection of a session. */
function dateProblem({ validFrom, validTo }: X509Certificate): string | undefined {
  const now = Date.now();
  if (!(Date.parse(validTo) >= now)) return `it has expired, on ${validTo} (CERT_HAS_EXPIRED)`;
  if (!(Date.parse(validFrom) <= now)) {
    return `it is not valid before ${validFrom} (CERT_NOT_YET_VALID)`;
  }
  return undefined;
}

/** Identifiers of extended key usage (RFC 5280 section 4.2.1.12). */
const USAGES = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2', any: '2.5.29.37.0' };

function usageProblem(certificate: X509Certificate, peer: 'client' | 'server'): string | undefined {
  // Node's types have no undefined here, but a certificate need not have this extension.
  const usages = certificate.keyUsage as string[] | undefined;
  if (usages === undefined || usages.includes(USAGES[peer]) || usages.includes(USAGES.any)) {
    return undefined;
  }
  return `it is not for a ${peer} to use (INVALID_PURPOSE)`;
}

/** Counts those that vouch for it, without the root. */
function depthProblem(certificate: X509Certificate, most: number): string | undefined {
  let depth = 0;
  let issuer = certificate.issuerCertificate;
  while (issuer !== undefined && issuer.subject !== issuer.issuer) {
    depth += 1;
    if (depth > most) {
      return `more than ${most} others stand between it and its root (CERT_CHAIN_TOO_LONG)`;
    }
    issuer = issuer.issuerCertificate;
  }
  return undefined;
}

function identityProblem(
  certificate: X509Certificate,
  { host }: Demands,
): VerificationError | undefined {
  if (host === undefined) return undefined;
  try {
    return checkIdentity(host, certificateNames(certificate.raw));
  } catch (cause) {
    const text = `the certificate is not for ${host.text}: its names cannot be read`;
    return new VerificationError(text, { cause });
  }
}

/** Whatever the program's own check does but return true refuses the other side, a promise too. */
function verifierProblem(
  certificate: X509Certificate,
  { verifyPeer, peer }: Demands,
): VerificationError | undefined {
  if (verifyPeer === undefined) return undefined;
  const refuse = (why: string, cause?: unknown) =>
    new VerificationError(`the certificate of the ${peer} was refused: verifyPeer ${why}`, {
      cause,
    });
  try {
    const answer: unknown = verifyPeer(new Certificate(certificate));
    if (answer === true) return undefined;
    if (typeof (answer as { then?: unknown } | null | undefined)?.then !== 'function') {
      return refuse('did not return true');
    }
    // Its rejection is nobody else's to handle, and comes too late to count.
    void Promise.resolve(answer).catch(() => {});
    return refuse('returned a promise, which would come too late');
  } catch (error) {
    return refuse('threw', error);
  }
}

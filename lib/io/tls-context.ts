/**
 * What TLS connections share: contexts compiled from keys and trust, and the sessions that clients may take up again.
 * `node:tls` is loaded at first use, since most programs start without it.
 */
import type { X509Certificate } from 'node:crypto';
import type * as tls from 'node:tls';
import type { SecureContext } from 'node:tls';
import { CertificateError, explain, SSLError } from '../errors.ts';
import { Failure } from '../failure.ts';
import type { TLSContextOptions, TLSSettings } from '../tls-settings.ts';

type TLSModule = typeof tls;

let loaded: TLSModule | undefined;

/** Node's TLS. */
export function nodeTLS(): TLSModule {
  return (loaded ??= process.getBuiltinModule('node:tls'));
}

/** How a context is used: tickets of a server that tells clients apart must not be taken up by another client. */
type Use = 'client' | 'client that renegotiates' | 'server' | 'server without tickets';

const contexts = new WeakMap<TLSContextOptions, Partial<Record<Use, SecureContext>>>();

/**
 * The context of the engine for `settings`; the same one each time for the same `settings.context`.
 *
 * @throws CertificateError for keys and certificates that cannot be used, SSLError for ciphers and versions
 */
export function compile(settings: TLSSettings, side: 'client' | 'server'): SecureContext {
  const { context } = settings as Partial<TLSSettings>;
  if (context === undefined) {
    // A promise, as an async function has returned it, would fail unhandled.
    Promise.resolve(settings).catch(() => {});
    throw new TypeError('TLS needs its settings at once: a promise or a generator has no context');
  }
  const tellsApart = settings.requestCertificate === true || settings.forName !== undefined;
  let use: Use = side;
  if (side === 'server' && tellsApart) use = 'server without tickets';
  else if (side === 'client' && (context.renegotiations ?? 0) > 0) use = 'client that renegotiates';
  let compiled = contexts.get(context);
  if (compiled === undefined) contexts.set(context, (compiled = {}));
  return (compiled[use] ??= create(context, use));
}

function create(context: TLSContextOptions, use: Use): SecureContext {
  if (use.startsWith('server') && (context.cert === undefined || context.key === undefined))
    throw new CertificateError('cannot serve TLS: a server needs a certificate and its key');
  const { constants, X509Certificate: Reader } = process.getBuiltinModule('node:crypto');
  // Renegotiation costs a server more than its client, and only old servers need it.
  let secureOptions = use === 'client that renegotiates' ? 0 : constants.SSL_OP_NO_RENEGOTIATION;
  if (use === 'server without tickets') secureOptions |= constants.SSL_OP_NO_TICKET;
  const { ca, crl, minVersion = 'TLSv1.2', ...others } = context;
  try {
    // The engine takes roots that are no certificates for none at all.
    for (const each of ca ?? []) new Reader(each).toString();
    return nodeTLS().createSecureContext({
      ...others,
      minVersion,
      ...(ca === undefined ? {} : { ca: [...ca] }),
      ...(crl === undefined ? {} : { crl: [...crl] }),
      secureOptions,
      // Without one, a session that is taken up again is an error where certificates are asked for.
      sessionIdContext: 'plait',
    });
  } catch (thrown) {
    const cause = new Failure(thrown).value;
    const { code = '' } = cause as NodeJS.ErrnoException;
    const Class = /CIPHER|PROTOCOL|VERSION|DH/.test(code) ? SSLError : CertificateError;
    const what = Class === SSLError ? 'ciphers or versions' : 'key, certificate or trust';
    throw new Class(`cannot use TLS with the ${what} given: ${explain(cause)}`, { cause });
  }
}

// ── Sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How many sessions are kept. */
const MOST_SESSIONS = 256;

/** A session, and the certificate that it stands for: Node does not show that again when the session is taken up. */
export interface KeptSession {
  readonly session: Buffer;
  readonly certificate: X509Certificate;
}

const sessions = new Map<string, KeptSession>();

/** Keeps a session with a peer that was found good. */
export function keepSession(key: string, session: Buffer, certificate: X509Certificate): void {
  sessions.delete(key);
  sessions.set(key, { session, certificate });
  for (const oldest of sessions.keys()) {
    if (sessions.size <= MOST_SESSIONS) break;
    sessions.delete(oldest);
  }
}

/** Forgets all sessions: the next connections of clients are first ones. */
export function forgetSessions(): void {
  sessions.clear();
}

/** Takes a session away: each is used once, so that those who watch cannot tell that two connections are one client's. */
export function takeSession(key: string): KeptSession | undefined {
  const kept = sessions.get(key);
  sessions.delete(key);
  return kept !== undefined && isCurrent(kept.certificate) ? kept : undefined;
}

/**
 * False once a certificate, or one of those that vouch for it, has expired: a session that is taken up is not verified
 * again. The chain was followed when it was read, and has an end.
 */
function isCurrent(leaf: X509Certificate): boolean {
  try {
    for (let one: X509Certificate | undefined = leaf; one; one = one.issuerCertificate)
      if (!(Date.now() < Date.parse(one.validTo))) return false;
    return true;
  } catch {
    return false; // one that Node cannot read
  }
}

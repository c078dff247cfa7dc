/**
 * How a connection becomes a secured one: what the brain adds to the engine's wire (`io/tls`), which is the settings of
 * whoever asks and a time in which the handshake must be done. Twisted: `startTLS` of `twisted.internet._newtls`.
 */
import { checkMethods, checkTimeLimit } from '../arguments.ts';
import { SSLError } from '../errors.ts';
import type { IDelayedCall, Seconds } from '../interfaces.ts';
import type { Wire } from '../io/io.ts';
import { compile } from '../io/tls-context.ts';
import { TLSWire } from '../io/tls.ts';
import type { ITLSContextFactory } from '../tls-settings.ts';
import type { Home } from './home.ts';

/** Seconds that a handshake may take by default. */
const HANDSHAKE_TIMEOUT: Seconds = 30;

/** How the connections of a port or a connector are secured. */
export interface Securing {
  readonly contextFactory: ITLSContextFactory;
  readonly handshakeTimeout?: Seconds | null | undefined;
}

/**
 * Looks whether connections can be secured so.
 *
 * @throws whatever the factory throws; CertificateError or SSLError for settings that cannot be used; RangeError for a
 *   time that cannot be
 */
export function checkSecuring(
  side: 'client' | 'server',
  { contextFactory, handshakeTimeout }: Securing,
  name: string,
): void {
  checkTimeLimit(handshakeTimeout, `${name}: handshakeTimeout`);
  checkContextFactory(contextFactory, `${name}: contextFactory`);
  compile(contextFactory.tlsSettings(side), side);
}

/** The argument if it has `tlsSettings`; TypeError if not. */
export function checkContextFactory(contextFactory: ITLSContextFactory, name: string): void {
  checkMethods(contextFactory, name, 'a context factory, or an object', ['tlsSettings']);
}

/** What {@link secure} is asked for. */
export interface SecureOptions extends Securing {
  readonly side: 'client' | 'server';
  /** Bytes of the peer that were delivered already. */
  readonly early: Buffer;
  /** Called once, when the handshake is done and the peer was found good. */
  readonly secured: () => void;
}

/** A handshake that has a time to be done in. */
export interface Secured {
  readonly wire: TLSWire;
  /** Forgets the time: the connection is gone. */
  readonly release: () => void;
}

/**
 * Begins a handshake over `wire`, whose events are to be passed on to the wire returned.
 *
 * @throws as {@link checkSecuring}; nothing has happened then
 */
export function secure(home: Home, wire: Wire, options: SecureOptions): Secured {
  const { contextFactory, handshakeTimeout = HANDSHAKE_TIMEOUT, side, early, secured } = options;
  checkTimeLimit(handshakeTimeout, 'startTLS: handshakeTimeout');
  checkContextFactory(contextFactory, 'startTLS: contextFactory');
  let deadline: IDelayedCall | undefined;
  const release = (): void => {
    if (deadline?.active() === true) deadline.cancel();
  };
  const tls = new TLSWire(wire, contextFactory.tlsSettings(side), side, {
    early,
    secured: () => {
      release();
      secured();
    },
  });
  if (handshakeTimeout !== null) {
    deadline = home.callLater?.(handshakeTimeout, () => {
      const message = `cannot speak TLS with ${wire.peer}: no handshake after ${handshakeTimeout} seconds`;
      tls.giveUp(new SSLError(message));
    });
  }
  return { wire: tls, release };
}

/**
 * The kind `tls`: connections of `listenSSL` and `connectSSL`, whose raw peers are Node's TLS sockets. A peer writes
 * and reads plain text; what it says to its socket is what the protocol gets.
 */
import { existsSync, readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import {
  type Address,
  ConnectionRefusedError,
  type IClientFactory,
  type IConnector,
  type IListeningPort,
  IPv4Address,
  type IProtocolFactory,
} from 'plait';
import type { ITLSContextFactory, TLSSettings } from '../../lib/tls-settings.ts';
import {
  type ConnectOptions,
  inet,
  type Kind,
  NodePeer,
  type Peer,
  type PeerOptions,
  TCPWorld,
} from './kinds.ts';

// This file may be the compiled one, below `dist`.
const HERE = join(import.meta.dirname, '../fixtures/tls');
const FIXTURES = existsSync(HERE) ? HERE : join(import.meta.dirname, '../../../test/fixtures/tls');

/** The text of a file with a key or a certificate. */
export function pem(name: string): Buffer {
  return readFileSync(join(FIXTURES, name));
}

/** A context factory that always gives these settings. */
export function settings(given: TLSSettings): ITLSContextFactory {
  return { tlsSettings: () => given };
}

/** What a server and a client of these tests bring. */
export const SERVER: ITLSContextFactory = settings({
  context: { key: pem('server.key'), cert: pem('server.pem') },
});
export const CLIENT: ITLSContextFactory = settings({
  context: { ca: [pem('ca.pem')] },
  serverName: 'localhost',
  checkPeer: ({ problem }) => problem,
});

/** A TLS socket over a TCP socket, which alone can be reset. */
class TLSPeer extends NodePeer {
  readonly #raw: Socket;
  /** The handshake is done. */
  secured = false;

  constructor(raw: Socket, socket: TLSSocket, options: PeerOptions) {
    super(socket, options);
    this.#raw = raw;
    // What waits for an acknowledgment, behind what the handshake says last, would be lost by a reset.
    raw.setNoDelay(true);
    socket.on('secure', () => (this.secured = true));
    raw.on('error', (error: NodeJS.ErrnoException) => (this.error ||= error.code ?? error.message));
    // Where the handshake fails, Node tells nobody of it by an error.
    raw.on('close', () => socket.destroy());
    socket.on('close', () => raw.destroy());
  }

  /** As a program that closes its socket does: it says so first. */
  override close(): void {
    this.socket.end(() => this.socket.destroy());
  }

  override reset(): void {
    // Node cannot reset a socket that is saying its end.
    if (this.socket.writableEnded) this.#raw.destroy();
    else this.#raw.resetAndDestroy();
  }
}

/** `listenSSL`, `connectSSL`, and TLS sockets. */
class TLSWorld extends TCPWorld {
  constructor() {
    super('127.0.0.1');
  }

  override listen(factory: IProtocolFactory, at?: Address): IListeningPort {
    const { host, port } = this.where(at);
    return this.reactor.listenSSL(port, factory, SERVER, { interface: host });
  }

  override connect(to: Address, factory: IClientFactory, options?: ConnectOptions): IConnector {
    const { host, port } = inet(to);
    return this.reactor.connectSSL(host, port, factory, CLIENT, options);
  }

  override async call(to: Address, options: PeerOptions = {}): Promise<Peer> {
    const raw = new Socket({ allowHalfOpen: true });
    raw.connect(this.where(to));
    const socket = connect({ socket: raw, ca: [pem('ca.pem')], servername: 'localhost' });
    const peer = new TLSPeer(raw, socket, options);
    this.keep(peer);
    await this.until(() => peer.secured || peer.closed);
    // The other side has not heard of the end of the handshake yet.
    await this.settle();
    return peer;
  }

  override meet(raw: Socket, options: PeerOptions): NodePeer {
    const context = createSecureContext({ key: pem('server.key'), cert: pem('server.pem') });
    const socket = new TLSSocket(raw, { isServer: true, secureContext: context });
    return new TLSPeer(raw, socket, options);
  }

  override met(peer: NodePeer): boolean {
    return !(peer instanceof TLSPeer) || peer.secured || peer.closed || peer.ended;
  }
}

export const TLS: Kind = {
  name: 'tls',
  missing: '',
  resets: true,
  bindsLater: true,
  address: IPv4Address,
  refusal: ConnectionRefusedError,
  open: () => new TLSWorld(),
};

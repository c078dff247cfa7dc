/**
 * The raw peer of a script: one end of some sockets, of Node's own, that does what it is told and notes what comes. Both
 * plait and Twisted talk to this one.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, Socket } from 'node:net';
import { connect as secure, createSecureContext, TLSSocket } from 'node:tls';
import { pem } from '../../contract/tls-kind.ts';
import { pattern, type Place } from './script.ts';

/** One connection of the peer's. */
export class PeerEnd {
  readonly #socket: Socket;
  /** What the socket is over, with TLS. */
  readonly #raw: Socket | undefined;
  /** What has come since this was last emptied. */
  lines: string[] = [];
  said = 0;
  /** What is said on another connection comes here. */
  readonly bridged: boolean;
  received = 0;
  /** It reads nothing. */
  deaf = false;
  /** It has said that it will say no more. */
  ended = false;
  /** It has closed, or reset, and hears nothing any more. */
  gone: 'close' | 'reset' | undefined;
  /** It has seen the other side's end, or been cut off. */
  over = false;

  constructor(socket: Socket, bridged: boolean, raw?: Socket) {
    this.bridged = bridged;
    this.#socket = socket;
    this.#raw = raw;
    socket.setNoDelay();
    raw?.setNoDelay();
    raw?.on('error', () => socket.destroy());
    raw?.on('close', () => {
      // What was closed without a word is no error for Node.
      if (!this.over && this.gone === undefined) this.lines.push('end');
      this.over = true;
      socket.destroy();
    });
    socket.on('data', (data: Buffer) => {
      // What another connection has said may come behind what this one was written.
      const right = this.bridged || data.equals(pattern(this.received, data.length));
      this.received += data.length;
      this.lines.push(right ? `got ${data.length}` : 'got something else');
    });
    socket.on('end', () => {
      this.over = true;
      if (this.gone === undefined) this.lines.push('end');
      // Twisted closes when it is answered.
      if (raw !== undefined) this.end();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.over = true;
      if (this.gone === undefined) this.lines.push(nameOf(error));
    });
  }

  say(n: number): void {
    this.#socket.write(pattern(this.said, n));
    this.said += n;
  }

  end(): void {
    this.ended = true;
    this.#socket.end();
  }

  close(): void {
    this.gone ??= 'close';
    if (this.#raw === undefined) this.#socket.destroy();
    else this.#socket.end(() => this.#socket.destroy());
  }

  reset(): void {
    this.gone = 'reset';
    // Node leaks a socket that is reset while it tells the other side of its end.
    const socket = this.#raw ?? this.#socket;
    if (this.ended) socket.destroy();
    else socket.resetAndDestroy();
  }

  hear(listening: boolean): void {
    this.deaf = !listening;
    if (listening) this.#socket.resume();
    else this.#socket.pause();
  }
}

/** A connection was ended by the other side, in either way. */
function nameOf({ code }: NodeJS.ErrnoException): string {
  return code === 'ECONNRESET' || code === 'EPIPE' ? 'reset' : String(code);
}

/** All that the peer has to do with one script. */
export class Peer {
  readonly ends: PeerEnd[] = [];
  /** Connections forward to each other. */
  bridged = false;
  #server: Server | undefined;

  /** Listens; the clients that come are numbered as they come. */
  async listen(path: string | undefined, secured: boolean): Promise<Place> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      if (!secured) {
        this.ends.push(new PeerEnd(socket, this.bridged));
        return;
      }
      const secureContext = createSecureContext({
        key: pem('server.key'),
        cert: pem('server.pem'),
      });
      const over = new TLSSocket(socket, { isServer: true, secureContext });
      this.ends.push(new PeerEnd(over, this.bridged, socket));
    });
    this.#server = server;
    if (path === undefined) server.listen(0, '127.0.0.1');
    else server.listen(path);
    await once(server, 'listening');
    return path === undefined ? { port: (server.address() as { port: number }).port } : { path };
  }

  connect(place: Place, secured: boolean): void {
    const where = 'path' in place ? place : { ...place, host: '127.0.0.1' };
    if (secured) {
      const raw = new Socket({ allowHalfOpen: true }).connect(where);
      const socket = secure({ socket: raw, ca: [pem('ca.pem')], servername: 'localhost' });
      this.ends.push(new PeerEnd(socket, this.bridged, raw));
    } else this.ends.push(new PeerEnd(connect({ ...where, allowHalfOpen: true }), this.bridged));
  }

  /** A number that changes when anything has come. */
  get seen(): number {
    return this.ends.reduce((sum, { received, over }) => sum + received + (over ? 1 : 0), 0);
  }

  async close(): Promise<void> {
    for (const end of this.ends) end.close();
    const server = this.#server;
    if (server === undefined) return;
    const closed = once(server, 'close');
    server.close();
    await closed;
  }
}

/**
 * The raw peer of a script: one end of some sockets, of Node's own, that does what it is told and notes what comes. Both
 * plait and Twisted talk to this one.
 */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { pattern, type Place } from './script.ts';

/** One connection of the peer's. */
export class PeerEnd {
  readonly #socket: Socket;
  /** What has come since this was last emptied. */
  lines: string[] = [];
  said = 0;
  received = 0;
  /** It reads nothing. */
  deaf = false;
  /** It has said that it will say no more. */
  ended = false;
  /** It has closed, or reset, and hears nothing any more. */
  gone: 'close' | 'reset' | undefined;
  /** It has seen the other side's end, or been cut off. */
  over = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay();
    socket.on('data', (data: Buffer) => {
      const right = data.equals(pattern(this.received, data.length));
      this.received += data.length;
      this.lines.push(right ? `got ${data.length}` : 'got something else');
    });
    socket.on('end', () => {
      this.over = true;
      if (this.gone === undefined) this.lines.push('end');
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
    this.#socket.destroy();
  }

  reset(): void {
    this.gone = 'reset';
    // Node leaks a socket that is reset while it tells the other side of its end.
    if (this.ended) this.#socket.destroy();
    else this.#socket.resetAndDestroy();
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
  #server: Server | undefined;

  /** Listens; the clients that come are numbered as they come. */
  async listen(path: string | undefined): Promise<Place> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      this.ends.push(new PeerEnd(socket));
    });
    this.#server = server;
    if (path === undefined) server.listen(0, '127.0.0.1');
    else server.listen(path);
    await once(server, 'listening');
    return path === undefined ? { port: (server.address() as { port: number }).port } : { path };
  }

  connect(place: Place): void {
    const where = 'path' in place ? place : { ...place, host: '127.0.0.1' };
    this.ends.push(new PeerEnd(connect({ ...where, allowHalfOpen: true })));
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

/**
 * A connection over one of Node's sockets: what the default body makes of TCP and UNIX sockets, whether they were
 * accepted, dialled or adopted.
 */
import { Socket } from 'node:net';
import {
  type Address,
  type IPv4Address,
  type IPv6Address,
  ipAddress,
  PipeAddress,
  UNIXAddress,
} from '../address.ts';
import type { Wire, WireEvents } from './io.ts';

/** Pieces written in one turn are copied together up to this many bytes; above it, copying costs more than it saves. */
const JOIN_BYTES = 16 * 1024;

/** How long a socket that is to be closed waits for the end of a peer that went on sending. */
const LINGER_MS = 2000;

const NOTHING = Buffer.alloc(0);

/** What a stream wants called when a write is done. */
type Written = (error?: NodeJS.ErrnoException | null) => void;

const WIRE = Symbol('wire');

/** A socket that knows its wire, so that all can share their listeners: closures for each would cost much memory. */
type WiredSocket = Socket & { readonly [WIRE]: NodeWire };

/** Counts the turns of the loop in which bytes have come. */
let turn = 0;
let counting = false;

function currentTurn(): number {
  if (!counting) {
    counting = true;
    setImmediate(endTurn);
  }
  return turn;
}

function endTurn(): void {
  counting = false;
  turn++;
}

/** One end of a connection. */
export class NodeWire implements Wire {
  readonly host: Address;
  readonly peer: Address;
  readonly #socket: WiredSocket;
  #events: WireEvents | undefined;
  #error: Error | undefined;
  /** Written in this turn and not yet given to the socket, so that one turn costs one system call. */
  #gathered: Uint8Array[] | undefined;
  #gatheredBytes = 0;
  /** True while `wireData` is being delivered, after which the gathered pieces are flushed. */
  #delivering = false;
  #flushing = false;
  /** How many writes the socket has not called back for. */
  #unwritten = 0;
  /** What the socket calls, made at the first write: an idle connection has no need of it. */
  #written: (() => void) | undefined;
  #tried: Written | undefined;
  /** The stream's, for the one write that is under way. */
  #done: Written | undefined;
  /** A write has failed: the other side takes nothing more, and the socket is closed when all is read. */
  #broken = false;
  #paused = false;
  /** The turn of the loop in which the last bytes came; Infinity if it has been paused since. */
  #dataTurn = -1;
  /** The end has come while it was paused. */
  #endWaits = false;
  #discarding = false;
  /** Something has been discarded. */
  #discarded = false;

  constructor(socket: Socket, host: Address, peer: Address) {
    this.#socket = Object.assign(socket, { [WIRE]: this });
    this.host = host;
    this.peer = peer;
    // Without a listener an error would end the process; there may be one before anybody has called start().
    socket.on('error', NodeWire.#onError);
    // Where a write fails, Node destroys the socket at once, and with it what the other side sent before it went away:
    // often the reason. So the stream is not told, and the socket is closed when that has been read.
    socket._write = NodeWire.#write;
    socket._writev = NodeWire.#writev;
  }

  get bufferedBytes(): number {
    return this.#gatheredBytes + this.#socket.writableLength;
  }

  get #isTCP(): boolean {
    return !(this.host instanceof UNIXAddress || this.host instanceof PipeAddress);
  }

  start(events: WireEvents): void {
    this.#events = events;
    const socket = this.#socket;
    socket.on('close', NodeWire.#onClose);
    if (socket.destroyed) return;
    socket.on('end', NodeWire.#onEnd);
    socket.on('data', NodeWire.#onData);
  }

  static #onData(this: WiredSocket, data: Buffer): void {
    const wire = this[WIRE];
    if (wire.#discarding) {
      wire.#discarded = true;
      return;
    }
    wire.#delivering = true;
    wire.#events?.wireData(data);
    wire.#delivering = false;
    if (!wire.#paused) wire.#dataTurn = currentTurn();
    if (wire.#gatheredBytes > 0) wire.#flush();
  }

  static #onEnd(this: WiredSocket): void {
    const wire = this[WIRE];
    wire.#flush();
    // For Node a reset that comes close behind the last bytes, in one turn with them, is an end like any other. A write
    // tells the two apart: one that is waiting fails in this turn, and where none is an empty one does at once.
    if (wire.#isTCP && this.writable && wire.#dataTurn >= turn) {
      if (this.writableLength > 0) {
        setImmediate(NodeWire.#end, wire);
        return;
      }
      this.write(NOTHING);
    }
    NodeWire.#end(wire);
  }

  static #onError(this: WiredSocket, error: Error): void {
    this[WIRE].#error ??= error;
  }

  static #onClose(this: WiredSocket): void {
    const wire = this[WIRE];
    wire.#events?.wireClosed(wire.#error);
  }

  static #end(wire: NodeWire): void {
    wire.#endWaits = wire.#paused;
    if (wire.#paused || wire.#discarding) return;
    wire.#flush();
    const socket = wire.#socket;
    if (wire.#broken) socket.destroy();
    else if (!socket.destroyed) wire.#events?.wireEnd();
  }

  // ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  write(data: Uint8Array): void {
    if (data.length === 0) return;
    (this.#gathered ??= []).push(data);
    this.#gatheredBytes += data.length;
    if (this.#delivering || this.#flushing) return;
    this.#flushing = true;
    process.nextTick(NodeWire.#flushLater, this);
  }

  static #flushLater(wire: NodeWire): void {
    wire.#flushing = false;
    wire.#flush();
  }

  #flush(): void {
    const pieces = this.#gathered;
    const first = pieces?.[0];
    if (pieces === undefined || first === undefined) return;
    const size = this.#gatheredBytes;
    this.#gathered = undefined;
    this.#gatheredBytes = 0;
    const socket = this.#socket;
    if (socket.destroyed) return;
    const written = (this.#written ??= () => this.#sent());
    if (pieces.length === 1) {
      this.#unwritten++;
      socket.write(first, written);
    } else if (size <= JOIN_BYTES) {
      this.#unwritten++;
      socket.write(Buffer.concat(pieces, size), written);
    } else {
      this.#unwritten += pieces.length;
      socket.cork();
      for (const piece of pieces) socket.write(piece, written);
      socket.uncork();
    }
  }

  #sent(): void {
    const sent = --this.#unwritten === 0 && this.#gatheredBytes === 0;
    if (sent && !this.#broken && !this.#socket.destroyed) this.#events?.wireDrained();
  }

  static #write(this: WiredSocket, chunk: unknown, encoding: BufferEncoding, done: Written): void {
    const wire = this[WIRE];
    wire.#done = done;
    Socket.prototype._write.call(this, chunk, encoding, wire.#whenTried());
  }

  static #writev(
    this: WiredSocket,
    chunks: { chunk: unknown; encoding: BufferEncoding }[],
    done: Written,
  ): void {
    const wire = this[WIRE];
    wire.#done = done;
    Socket.prototype._writev?.call(this, chunks, wire.#whenTried());
  }

  #whenTried(): Written {
    return (this.#tried ??= (error) => {
      if (error) this.#writeFailed(error);
      this.#done?.();
    });
  }

  #writeFailed(error: NodeJS.ErrnoException): void {
    this.#error ??= error;
    this.#broken = true;
    const { readableEnded } = this.#socket;
    // After these two an end or an error is certain to be read.
    const certain = error.code === 'EPIPE' || error.code === 'ECONNRESET';
    if (!certain || readableEnded || this.#paused || this.#discarding) this.#socket.destroy();
  }

  // ── Pausing and closing ──────────────────────────────────────────────────────────────────────────────────────────

  pause(): void {
    this.#paused = true;
    // What comes now may be told together much later.
    this.#dataTurn = Infinity;
    if (this.#broken) this.#socket.destroy();
    else this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#socket.resume();
    if (!this.#endWaits) return;
    this.#endWaits = false;
    process.nextTick(NodeWire.#end, this);
  }

  end(ended: () => void): void {
    this.#flush();
    this.#socket.end(() => {
      if (!this.#socket.destroyed) ended();
    });
  }

  discard(): void {
    this.#discarding = true;
    this.#paused = false;
    if (this.#broken) this.#socket.destroy();
    else this.#socket.resume();
  }

  close(): void {
    this.#flush();
    this.discard();
    // To close with bytes unread, or with more to come, makes the kernel send a reset, and drop what it has not sent yet.
    this.#socket.end(() => setImmediate(NodeWire.#closeIfQuiet, this));
  }

  static #closeIfQuiet(wire: NodeWire): void {
    const socket = wire.#socket;
    if (socket.destroyed) return;
    if (!wire.#discarded) {
      socket.destroy();
      return;
    }
    // The other side has not known that it talks in vain. By its end it says that it knows, and has all that we sent.
    const patience = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once('close', () => clearTimeout(patience));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  reset(): void {
    const socket = this.#socket;
    if (!this.#isTCP) socket.destroy();
    else if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) {
      // Node cannot reset a socket while it tells the other side of its end, which it has done by the next turn.
      this.discard();
      socket.once('finish', () => socket.resetAndDestroy());
    } else socket.resetAndDestroy();
  }

  setNoDelay(enabled: boolean): void {
    this.#socket.setNoDelay(enabled);
  }

  setKeepAlive(enabled: boolean): void {
    this.#socket.setKeepAlive(enabled);
  }
}

/**
 * An address as the kernel tells it, with the zone that was asked for (as in `fe80::1%eth0`): Node does not tell it, and
 * a link-local address means nothing without.
 */
export function zoned(literal: string, asked: string): string {
  const zone = asked.indexOf('%');
  return zone >= 0 && /^fe[89ab]/i.test(literal) ? `${literal}${asked.slice(zone)}` : literal;
}

/**
 * A wire over a TCP socket.
 *
 * @param host the other end, as we know it: where that is gone already, the kernel does not say any more
 * @param own this end, if it is known
 */
export function tcpWire(
  socket: Socket,
  host: string,
  port: number,
  own: Address = localAddressOf(socket, host),
): NodeWire {
  const { remoteAddress = host, remotePort = port } = socket;
  return new NodeWire(socket, own, ipAddress('TCP', zoned(remoteAddress, host), remotePort));
}

/** This end of a socket whose other end is `host`. */
export function localAddressOf(socket: Socket, host: string): IPv4Address | IPv6Address {
  const { localAddress = host.includes(':') ? '::' : '0.0.0.0', localPort = 0 } = socket;
  return ipAddress('TCP', zoned(localAddress, host), localPort);
}

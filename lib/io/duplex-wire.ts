/**
 * A connection over any Duplex of Node's: a channel of another library, the socket of an upgraded request, a pair in
 * memory. It touches no operating system, and knows of the Duplex only what all have. There is no reset: an abort
 * destroys the Duplex with an error, and what that tells the other side is the Duplex's business.
 *
 * Rule for editors: a Duplex may pass bytes on to its other end from inside a call. So each call that may do that is
 * made in a turn of its own (rule 1 of `io.ts`), in the order in which the brain asked.
 */
import { Duplex, finished } from 'node:stream';
import type { ReadableWritablePair } from 'node:stream/web';
import type { Address } from '../address.ts';
import { Failure } from '../failure.ts';
import type { Wire, WireEvents } from './io.ts';

/** Pieces written in one turn are copied together up to this many bytes; above it, copying costs more than it saves. */
const JOIN_BYTES = 16 * 1024;

/** How long one that is to be closed waits for the end of a peer that went on sending. */
const LINGER_MS = 2000;

/** One end of a connection. */
export class DuplexWire implements Wire {
  readonly host: Address;
  readonly peer: Address;
  readonly #duplex: Duplex;
  #events: WireEvents | undefined;
  #error: Error | undefined;
  /** Written, and not yet given to the Duplex. */
  #gathered: Uint8Array[] = [];
  /** Written, and not yet done with by the Duplex. */
  #bufferedBytes = 0;
  #flushing = false;
  #paused = false;
  /** The end has come while it was paused. */
  #endWaits = false;
  #discarding = false;
  /** Something has been discarded. */
  #discarded = false;
  /** This side has asked for the end of it: how the Duplex ends is no error any more. */
  #closing = false;
  /** Its end has been told. */
  #over = false;

  constructor(duplex: Duplex, host: Address, peer: Address) {
    this.#duplex = duplex;
    this.host = host;
    this.peer = peer;
    // Without a listener an error would end the process; there may be one before anybody has called start().
    duplex.on('error', (error: Error) => {
      this.#error ??= error;
    });
  }

  get bufferedBytes(): number {
    return this.#bufferedBytes;
  }

  start(events: WireEvents): void {
    this.#events = events;
    const duplex = this.#duplex;
    // It also sees the end of those that do not close themselves, or do not tell.
    finished(duplex, (error) => {
      this.#destroy();
      this.#closed(error);
    });
    duplex.on('end', () => this.#end());
    duplex.on('data', (data: unknown) => this.#data(data));
  }

  /** It is over; told once. */
  #closed(error: Error | null | undefined): void {
    if (this.#over) return;
    this.#over = this.#discarding = true;
    this.#events?.wireClosed(this.#closing ? undefined : (this.#error ?? error ?? undefined));
  }

  /** One whose own `destroy` throws is given up: nothing more is to be had of it. */
  #destroy(error?: Error): void {
    try {
      this.#duplex.destroy(error);
    } catch (thrown) {
      const { value } = new Failure(thrown);
      process.nextTick(() => this.#closed(error ?? value));
    }
  }

  #data(data: unknown): void {
    if (this.#discarding) {
      this.#discarded = true;
      return;
    }
    const bytes = asBuffer(data);
    if (bytes !== undefined) {
      if (bytes.length > 0) this.#events?.wireData(bytes);
      return;
    }
    this.#discarding = true;
    this.#destroy(new TypeError(`a Duplex gave ${typeof data} where bytes were expected`));
  }

  #end(): void {
    this.#endWaits = this.#paused;
    if (!this.#paused && !this.#discarding && !this.#duplex.destroyed) this.#events?.wireEnd();
  }

  /** Does something to the Duplex that may be felt at its other end. */
  #soon(act: (duplex: Duplex) => void): void {
    process.nextTick(() => {
      try {
        act(this.#duplex);
      } catch (error) {
        this.#destroy(new Failure(error).value);
      }
    });
  }

  // ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  write(data: Uint8Array): void {
    if (data.length === 0) return;
    this.#gathered.push(data);
    this.#bufferedBytes += data.length;
    if (this.#flushing) return;
    this.#flushing = true;
    this.#soon((duplex) => this.#flush(duplex));
  }

  #flush(duplex: Duplex): void {
    this.#flushing = false;
    const pieces = this.#gathered;
    this.#gathered = [];
    if (duplex.destroyed) return;
    const size = pieces.reduce((sum, { length }) => sum + length, 0);
    const join = pieces.length > 1 && size <= JOIN_BYTES;
    duplex.cork();
    for (const piece of join ? [Buffer.concat(pieces, size)] : pieces)
      duplex.write(piece, (error) => this.#written(piece.length, error));
    duplex.uncork();
  }

  #written(size: number, error: Error | null | undefined): void {
    this.#bufferedBytes -= size;
    if (error == null && this.#bufferedBytes === 0 && !this.#duplex.destroyed && !this.#over)
      this.#events?.wireDrained();
  }

  // ── Pausing and closing ──────────────────────────────────────────────────────────────────────────────────────────

  pause(): void {
    this.#paused = true;
    this.#duplex.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#duplex.resume();
    if (!this.#endWaits) return;
    this.#endWaits = false;
    process.nextTick(() => this.#end());
  }

  discard(): void {
    this.#discarding = true;
    this.#paused = false;
    this.#duplex.resume();
  }

  end(ended: () => void): void {
    this.#soon((duplex) => {
      duplex.end(() => {
        if (!duplex.destroyed) ended();
      });
    });
  }

  close(): void {
    this.#closing = true;
    this.discard();
    this.#soon((duplex) => {
      duplex.end(() => setImmediate(() => this.#closeIfQuiet()));
    });
  }

  #closeIfQuiet(): void {
    const duplex = this.#duplex;
    if (duplex.destroyed) return;
    if (!this.#discarded) {
      this.#destroy();
      return;
    }
    // The other side has not known that it talks in vain. By its end it says that it knows, and has all that we sent.
    const patience = setTimeout(() => this.#destroy(), LINGER_MS);
    duplex.once('close', () => clearTimeout(patience));
  }

  destroy(): void {
    this.#closing = this.#discarding = true;
    this.#soon(() => this.#destroy());
  }

  reset(): void {
    this.#closing = this.#discarding = true;
    this.#soon(() => this.#destroy(new Error('the connection was aborted')));
  }

  /** There is no such thing. */
  setNoDelay(): void {}

  /** There is no such thing. */
  setKeepAlive(): void {}
}

/** A Duplex, or what can be made one. */
export type AdoptableDuplex = Duplex | ReadableWritablePair<Uint8Array, Uint8Array>;

/** @throws TypeError for what is neither a Duplex nor a pair of Web streams */
export function asDuplex(thing: AdoptableDuplex): Duplex {
  const { pipe, write } = thing as Partial<Duplex>;
  if (typeof pipe === 'function' && typeof write === 'function') return thing as Duplex;
  const { readable, writable } = thing as { readable: unknown; writable: unknown };
  if (readable instanceof ReadableStream && writable instanceof WritableStream)
    return Duplex.fromWeb(thing as ReadableWritablePair, { allowHalfOpen: true });
  throw new TypeError('not a Duplex, nor a pair of Web streams that are readable and writable');
}

/** Undefined for what is no bytes: a Duplex may be one of objects. */
function asBuffer(data: unknown): Buffer | undefined {
  if (Buffer.isBuffer(data)) return data;
  if (typeof data === 'string') return Buffer.from(data);
  if (data instanceof Uint8Array) return Buffer.from(data.buffer, data.byteOffset, data.length);
  return undefined;
}

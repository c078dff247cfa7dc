/**
 * Two ends of a connection in memory, for the brain of `lib/transport` to live on: it loses nothing, delays nothing and
 * fails in no way of its own. What is written moves in the next round of its {@link Turns}. A wire over a network with
 * faults is the simulation's.
 */
import type { Address } from '../address.ts';
import { Fifo } from '../fifo.ts';
import type { Wire, WireEvents } from '../io/io.ts';
import { systemError } from './sim/system-error.ts';
import type { Turns } from './turns.ts';

/** How many bytes one end takes that it does not read; after that, the other end cannot get rid of any more. */
const WINDOW = 64 * 1024;

/** What bytes are handed to by a {@link PumpPolicy}. */
export interface PumpTarget {
  dataReceived(data: Buffer): void;
}

/**
 * Decides how bytes arrive.
 *
 * @param pieces what was written since the last time, a piece for each `write`
 * @param target takes the same bytes, in order, in pieces of any size
 */
export type PumpPolicy = (pieces: readonly Buffer[], target: PumpTarget) => void;

/** Each piece arrives as it was written. Twisted: `identityPumpPolicy`. */
export const identityPumpPolicy: PumpPolicy = (pieces, target) => {
  for (const piece of pieces) target.dataReceived(piece);
};

/** All that was written arrives as one piece. Twisted: `collapsingPumpPolicy`. */
export const collapsingPumpPolicy: PumpPolicy = (pieces, target) => {
  target.dataReceived(Buffer.concat(pieces));
};

/** Options of {@link MemoryWire.pair}. */
export interface MemoryWireOptions {
  /** The address of the end that has made the connection, and of the one that has taken it. */
  readonly addresses: readonly [client: Address, server: Address];
  /** Default: {@link collapsingPumpPolicy}. */
  readonly pumpPolicy?: PumpPolicy | undefined;
}

/** One end of a connection in memory. */
export class MemoryWire implements Wire {
  readonly host: Address;
  readonly peer: Address;
  readonly #turns: Turns;
  readonly #policy: PumpPolicy;
  /** Set before anything else happens. */
  #other!: MemoryWire;
  #events: WireEvents | undefined;
  /** Written, and not moved. */
  #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #flushing = false;
  /** Called when the end is sent. */
  #ending: (() => void) | undefined;
  #endSent = false;
  /** Arrived, and not delivered. */
  readonly #arrived = new Fifo<Buffer>();
  #arrivedBytes = 0;
  #endArrived = false;
  #endReported = false;
  #paused = false;
  #discarding = false;
  #gone = false;
  #error: Error | undefined;

  /** The two ends of a connection: of who has made it, and of who has taken it. */
  static pair(turns: Turns, options: MemoryWireOptions): [client: MemoryWire, server: MemoryWire] {
    const [host, peer] = options.addresses;
    const { pumpPolicy = collapsingPumpPolicy } = options;
    const client = new MemoryWire(turns, pumpPolicy, host, peer);
    const server = new MemoryWire(turns, pumpPolicy, peer, host);
    client.#other = server;
    server.#other = client;
    return [client, server];
  }

  private constructor(turns: Turns, policy: PumpPolicy, host: Address, peer: Address) {
    this.#turns = turns;
    this.#policy = policy;
    this.host = host;
    this.peer = peer;
  }

  get bufferedBytes(): number {
    return this.#unsentBytes;
  }

  start(events: WireEvents): void {
    this.#events = events;
    this.#deliverSoon();
  }

  // ── Sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

  write(data: Uint8Array): void {
    if (this.#gone || data.length === 0) return;
    this.#unsent.push(Buffer.from(data));
    this.#unsentBytes += data.length;
    this.#flushSoon();
  }

  /** Takes away what was written and has not moved: it never arrives. */
  takeUnsent(most = Infinity): Buffer[] {
    const taken: Buffer[] = [];
    let [room, whole] = [most, 0];
    for (
      let piece = this.#unsent[0];
      room > 0 && piece !== undefined;
      piece = this.#unsent[whole]
    ) {
      const part = piece.subarray(0, room);
      if (part.length === piece.length) whole++;
      else this.#unsent[whole] = piece.subarray(part.length);
      taken.push(part);
      room -= part.length;
      this.#unsentBytes -= part.length;
    }
    // All at once: shifting an array of very many moves the rest each time.
    this.#unsent.splice(0, whole);
    return taken;
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#turns.soon(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#gone) return;
    const other = this.#other;
    const pieces = this.takeUnsent(WINDOW - other.#arrivedBytes);
    if (pieces.length > 0) {
      this.#policy(pieces, { dataReceived: (data) => other.#arrive(data) });
      if (other.#gone) this.#turns.soon(() => this.#fail('ECONNRESET'));
    }
    if (this.#unsentBytes > 0) return;
    if (this.#ending !== undefined && !this.#endSent) {
      this.#sendEnd();
      this.#ending();
      this.#closeIfOver();
    }
    if (!this.#isGone()) this.#events?.wireDrained();
  }

  #isGone(): boolean {
    return this.#gone;
  }

  #sendEnd(): void {
    this.#endSent = true;
    this.#other.#endArrived = true;
    this.#other.#deliverSoon();
  }

  // ── Receiving ────────────────────────────────────────────────────────────────────────────────────────────────────

  #arrive(data: Buffer): void {
    if (this.#gone || this.#discarding || data.length === 0) return;
    // What was written is its writer's, and what is delivered its receiver's.
    this.#arrived.add(Buffer.from(data));
    this.#arrivedBytes += data.length;
    this.#deliver();
  }

  #mayDeliver(): boolean {
    return this.#events !== undefined && !this.#paused && !this.#discarding && !this.#gone;
  }

  #deliverSoon(): void {
    this.#turns.soon(() => this.#deliver());
  }

  #deliver(): void {
    while (this.#arrived.size > 0 && this.#mayDeliver()) {
      const data = this.#arrived.take();
      this.#arrivedBytes -= data.length;
      this.#events?.wireData(data);
    }
    if (this.#other.#unsentBytes > 0) this.#other.#flushSoon();
    if (!this.#endArrived || this.#endReported || this.#gone) return;
    if (!this.#discarding && (!this.#mayDeliver() || this.#arrived.size > 0)) return;
    this.#endReported = true;
    // What was written in answer to the last bytes goes out before the end is known.
    this.#flush();
    if (this.#mayDeliver()) this.#events?.wireEnd();
    this.#closeIfOver();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#deliverSoon();
  }

  discard(): void {
    this.#discarding = true;
    this.#paused = false;
    this.#arrived.clear();
    this.#arrivedBytes = 0;
    this.#deliverSoon();
  }

  // ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  end(ended: () => void): void {
    this.#ending = ended;
    this.#flushSoon();
  }

  close(): void {
    this.discard();
    if (this.#endSent) this.destroy();
    else this.end(() => this.destroy());
  }

  /** Both directions have ended. */
  #closeIfOver(): void {
    if (this.#endSent && this.#endReported && !this.#gone) this.#leave();
  }

  destroy(): void {
    if (this.#gone) return;
    // To close with bytes unread is a reset for the other side.
    if (this.#arrivedBytes > 0) this.#resetOther();
    else if (!this.#endSent) this.#sendEnd();
    this.#leave();
  }

  reset(): void {
    if (this.#gone) return;
    this.#resetOther();
    this.#leave();
  }

  #resetOther(): void {
    this.#turns.soon(() => this.#other.#fail('ECONNRESET'));
  }

  #fail(code: string): void {
    if (this.#gone) return;
    this.#error = systemError(code, 'read');
    this.#leave();
  }

  /** It is closed, which is reported in a turn of its own. */
  #leave(): void {
    this.#gone = true;
    this.#unsent = [];
    this.#arrived.clear();
    this.#unsentBytes = this.#arrivedBytes = 0;
    this.#turns.soon(() => this.#events?.wireClosed(this.#error));
  }

  setNoDelay(): void {}

  setKeepAlive(): void {}
}

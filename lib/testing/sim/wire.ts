/**
 * Wires of a simulated network: each has a flow of segments to its other end. They keep the rules of every body (see
 * `io/io.ts`), and behave as the kernel's do: a window bounds what is on its way, bytes for a socket that is gone are
 * answered with a reset, a reset drops what was not read.
 */
import type { Address } from '../../address.ts';
import { unpinned } from '../../bytes.ts';
import { Fifo } from '../../fifo.ts';
import type { Seconds } from '../../interfaces.ts';
import type { Veil, Wire, WireEvents } from '../../io/io.ts';
import type { Machine } from './machine.ts';
import type { SimEvent } from './kernel.ts';
import type { Connection, Fate } from './connection.ts';
import { systemError } from './system-error.ts';

/** The most that is delivered at once. */
const READ_SIZE = 64 * 1024;

/** How long a wire that is closed waits for the end of a peer that goes on sending. */
const LINGER: Seconds = 2;

/** How long bytes are sent again and again that nobody confirms, before the sender gives up. */
const RETRANSMISSION: Seconds = 120;

/** How long a wire that was reset while it was paused keeps what is unread. */
const UNREAD: Seconds = 1;

/** How many bytes come one by one on a connection that drips. */
const DRIPS = 64;

/** The same for ciphertext, once for all that is sent at once. */
const VEILED_DRIPS = 16;

/** What ciphertext counts for besides what it stands for: a handshake stands for nothing. */
const VEILED_WEIGHT = 512;

/** What is on its way. */
interface Segment {
  readonly at: Seconds;
  readonly data: Buffer | undefined;
  /** What it counts for in the window, and for the bandwidth: its length, unless it is ciphertext. */
  readonly weight: number;
  readonly end: 'end' | 'reset' | undefined;
}

/** Bytes, and what they count for. */
interface Piece {
  readonly data: Buffer;
  readonly weight: number;
}

/** One end of a connection. */
export class SimWire implements Wire {
  readonly host: Address;
  readonly peer: Address;
  readonly machine: Machine;
  readonly connection: Connection;
  /** The other end. */
  declare other: SimWire;
  readonly fates: Fate[] = [];
  #events: WireEvents | undefined;
  /** Written, and not yet on its way. */
  #unsent: Uint8Array[] = [];
  #unsentBytes = 0;
  /** How many bytes have been sent, in all, as they count. */
  #sent = 0;
  /**
   * Ciphertext is sent, and how many bytes of plain text it stands for that is not sent yet. Its length varies from run
   * to run: signatures and tickets do. No choice of the network's may depend on it.
   */
  #veiled: { bytes: number } | undefined;
  #flushing: SimEvent | undefined;
  /** Nothing more is sent after what is written; called when the end is on its way. */
  #ending: (() => void) | undefined;
  #endSent = false;
  /** On the way to the other end, in order. */
  readonly #flow = new Fifo<Segment>();
  #flowWeight = 0;
  /** When the last segment of the flow arrives. */
  #lastArrival: Seconds = 0;
  #arrival: SimEvent | undefined;
  /** Gives up if nothing is confirmed until then. */
  #patience: SimEvent | undefined;
  /** Arrived, and not delivered. */
  #received: Piece[] = [];
  #receivedWeight = 0;
  #endArrived = false;
  #endReported = false;
  #delivery: SimEvent | undefined;
  #paused = false;
  /** It was reset while it was paused with bytes unread: when that is reported at the latest. */
  #wasReset: SimEvent | undefined;
  #discarding = false;
  #discarded = false;
  #closing = false;
  #lingering: SimEvent | undefined;
  /** It is closed; nothing is sent and nothing delivered. */
  #gone = false;
  #error: Error | undefined;
  #closedReported = false;

  constructor(connection: Connection, machine: Machine, host: Address, peer: Address) {
    this.connection = connection;
    this.machine = machine;
    this.host = host;
    this.peer = peer;
  }

  /** Its machine has taken it: it has a descriptor from now on, until it is closed. */
  hold(): void {
    if (!this.#gone) this.machine.open.add(this);
  }

  toString(): string {
    return `a connection with ${this.peer}, ${this.connection.name}`;
  }

  get bufferedBytes(): number {
    return this.#unsentBytes;
  }

  start(events: WireEvents): void {
    this.#events = events;
    if (this.#gone) this.#reportClosedSoon();
    else this.#deliverSoon();
  }

  #after(delay: Seconds, fn: () => void): SimEvent {
    return this.connection.network.kernel.after(delay, fn);
  }

  #trace(what: string, data?: Uint8Array): void {
    const { trace, kernel } = this.connection.network;
    if (trace.wanted) trace.add(kernel.now, this.machine.name, what, this.connection.name, data);
  }

  /** Bytes go by, of which only plain ones are shown. */
  #traceBytes(what: string, data: Buffer, veiled: boolean): void {
    if (veiled) this.#trace(`${what} TLS`);
    else this.#trace(what, data);
  }

  veil(): Veil {
    const veiled = (this.#veiled ??= { bytes: 0 });
    return {
      tell: (what, data) => {
        if (what === 'write') veiled.bytes += data.length;
        this.#trace(what, data);
      },
      later: (delay, fn) => {
        const event = this.#after(delay, fn);
        return () => {
          event.cancel();
        };
      },
    };
  }

  // ── Sending ──────────────────────────────────────────────────────────────────────────────────────────────────────

  write(data: Uint8Array): void {
    if (this.#gone || data.length === 0) return;
    this.#unsent.push(data);
    this.#unsentBytes += data.length;
    this.#flushSoon(0);
  }

  #flushSoon(delay: Seconds): void {
    this.#flushing ??= this.#after(delay, () => {
      this.#flushing = undefined;
      this.#flush();
    });
  }

  /** Sends as much as the window allows, and the end when all is sent. */
  #flush(): void {
    if (this.#gone) return;
    if (this.#wasReset !== undefined) {
      // A mere end goes nowhere, and costs nothing of what is unread.
      if (this.#unsentBytes > 0) this.#fail('EPIPE', 'write');
      return;
    }
    const { window } = this.connection.network.conditions;
    const had = this.#unsentBytes;
    const room = window - this.#flowWeight - this.other.#receivedWeight;
    const veiled = this.#veiled;
    if (had > 0 && room > 0) {
      const data = this.#takeUnsent(veiled === undefined ? Math.min(had, room) : had);
      this.#traceBytes('send', data, veiled !== undefined);
      const weight = veiled === undefined ? data.length : veiled.bytes + VEILED_WEIGHT;
      if (veiled !== undefined) veiled.bytes = 0;
      this.#transmit({ data, weight });
    }
    if (this.#unsentBytes > 0) return;
    if (this.#ending !== undefined && !this.#endSent) {
      this.#sendEnd();
      this.#ending();
      this.#closeIfOver();
    }
    if (had > 0) this.#drained();
  }

  #drained(): void {
    if (!this.#gone) this.#events?.wireDrained();
  }

  /** The first `count` bytes that wait, as a copy: what was written is its writer's from now on. */
  #takeUnsent(count: number): Buffer {
    const bytes = Buffer.allocUnsafeSlow(count);
    let [filled, emptied] = [0, 0];
    while (filled < count) {
      const piece = this.#unsent[emptied] as Uint8Array;
      const part = piece.subarray(0, count - filled);
      bytes.set(part, filled);
      filled += part.length;
      if (part.length === piece.length) emptied++;
      else this.#unsent[emptied] = piece.subarray(part.length);
    }
    this.#unsent.splice(0, emptied);
    this.#unsentBytes -= count;
    return bytes;
  }

  /** Puts bytes on their way, cut as it may please the network, and struck by what fate has in store for them. */
  #transmit({ data, weight }: Piece): void {
    let [rest, left] = [data, weight];
    while (left > 0) {
      const fate = this.#nextFate(left);
      const share = fate === undefined ? left : fate.at - this.#sent;
      const safe = rest.subarray(0, Math.floor((rest.length * share) / left));
      for (const piece of this.#cut({ data: safe, weight: share })) this.#enqueue(piece, undefined);
      this.#sent += share;
      left -= share;
      rest = rest.subarray(safe.length);
      if (fate !== undefined && this.#struck(fate)) return;
    }
  }

  /** The first fate within what counts for the next `weight` bytes. */
  #nextFate(weight: number): Fate | undefined {
    let next: Fate | undefined;
    for (const fate of this.fates) {
      if (fate.at < this.#sent + weight && (next === undefined || fate.at < next.at)) next = fate;
    }
    if (next !== undefined) this.fates.splice(this.fates.indexOf(next), 1);
    return next;
  }

  *#cut(whole: Piece): Generator<Piece> {
    if (this.#veiled !== undefined) {
      yield* this.#cutVeiled(whole);
      return;
    }
    const { style, random } = this.connection;
    const { data } = whole;
    let rest = data;
    while (rest.length > 0) {
      let size = Math.min(rest.length, READ_SIZE);
      if (style === 'drip' && this.#sent + data.length - rest.length < DRIPS) size = 1;
      else if (style !== 'whole') size = random.size(size);
      yield { data: rest.subarray(0, size), weight: size };
      rest = rest.subarray(size);
    }
  }

  /** The same, however long the ciphertext is: what varies lies in its middle, so cuts are so far from either end. */
  *#cutVeiled({ data, weight }: Piece): Generator<Piece> {
    const { style, random } = this.connection;
    const cuts: number[] = [];
    if (style === 'drip' && this.#sent < DRIPS)
      for (let at = 1; at <= VEILED_DRIPS; at++) cuts.push(at);
    if (style !== 'whole') {
      for (let left = random.int(4); left > 0; left--) {
        const at = random.size(512);
        cuts.push(random.chance(0.5) ? at : data.length - at);
      }
    }
    cuts.sort((one, other) => one - other);
    let begin = 0;
    for (const cut of cuts) {
      const end = Math.min(Math.max(begin, cut), data.length);
      yield { data: data.subarray(begin, end), weight: 0 };
      begin = end;
    }
    yield { data: data.subarray(begin), weight };
  }

  /** A fault strikes; true if nothing after it gets through. */
  #struck({ kind, details }: Fate): boolean {
    const { connection, other } = this;
    this.#trace(`! ${kind}`);
    switch (kind) {
      case 'stall':
        this.#lastArrival =
          Math.max(this.#lastArrival, connection.network.kernel.now) + details.scale(0.125, 10);
        return false;
      case 'silence':
        connection.silent = true;
        return false;
      case 'truncate':
        this.#enqueue(undefined, 'end');
        return true;
      case 'reset':
        // Both machines hear of it from something between them.
        this.#enqueue(undefined, 'reset');
        other.#enqueue(undefined, 'reset');
        return true;
    }
  }

  #sendEnd(): void {
    if (this.#endSent) return;
    this.#endSent = true;
    this.#trace('end');
    this.#enqueue(undefined, 'end');
  }

  #enqueue(piece: Piece | undefined, end: 'end' | 'reset' | undefined): void {
    const { network, random, silent } = this.connection;
    const { data, weight } = piece ?? { data: undefined, weight: 0 };
    this.#flowWeight += weight;
    const { latency, bandwidth } = network.conditions;
    const now = network.kernel.now;
    const delay = latency[0] === latency[1] ? latency[0] : random.between(...latency);
    this.#lastArrival = Math.max(now + delay, this.#lastArrival) + weight / bandwidth;
    this.#flow.add({ at: this.#lastArrival, data, weight, end });
    if (silent || network.isDown(this.machine, this.other.machine)) this.#holdOut();
    if (this.#flow.size === 1) this.#awaitArrival();
  }

  #awaitArrival(): void {
    const { first } = this.#flow;
    if (first === undefined || this.#arrival?.pending === true) return;
    this.#arrival = this.connection.network.kernel.at(first.at, () => this.#arrive());
  }

  /** What is due gets to the other end, if anything gets through at all. */
  #arrive(): void {
    const { connection } = this;
    if (connection.silent) {
      this.#holdOut();
      return;
    }
    if (connection.network.isDown(this.machine, this.other.machine)) {
      this.#holdOut();
      connection.network.whenUp(this.machine, this.other.machine, () => this.#awaitArrival());
      return;
    }
    this.#patience?.cancel();
    this.#patience = undefined;
    const { now } = connection.network.kernel;
    let { first } = this.#flow;
    while (first !== undefined && first.at <= now) {
      this.#flow.take();
      this.#flowWeight -= first.weight;
      this.other.#take(first);
      ({ first } = this.#flow);
    }
    this.#awaitArrival();
    this.other.#deliver();
  }

  /** Nothing is confirmed: after a while that is an error. */
  #holdOut(): void {
    if (this.#gone) return;
    this.#patience ??= this.#after(RETRANSMISSION, () => {
      // It will not be sent once more.
      this.#flow.clear();
      this.#flowWeight = 0;
      this.#arrival?.cancel();
      this.#fail('ETIMEDOUT', 'write');
    });
  }

  // ── Receiving ────────────────────────────────────────────────────────────────────────────────────────────────────

  #take({ data, weight, end }: Segment): void {
    if (end === 'reset') {
      // What has arrived before is still read, as on Linux; by one that is paused, when it goes on.
      this.#deliver();
      const waits = this.#paused || this.#events === undefined;
      if (this.#received.length === 0 || !waits) this.#fail('ECONNRESET', 'read');
      else this.#wasReset ??= this.#after(UNREAD, () => this.#fail('ECONNRESET', 'read'));
    } else if (this.#gone) {
      // Nobody is there: that is said to whoever sends.
      if (data !== undefined) this.#enqueue(undefined, 'reset');
    } else if (data === undefined) {
      this.#endArrived = true;
      this.#lingering?.cancel();
      if (this.#lingering !== undefined) this.destroy();
    } else if (this.#discarding) {
      this.#discarded = true;
      this.#windowOpened();
    } else if (this.#endArrived) {
      // The network has ended the other side's direction, and what it goes on to send is not let in.
      this.#enqueue(undefined, 'reset');
    } else {
      this.#received.push({ data, weight });
      this.#receivedWeight += weight;
    }
  }

  #deliverSoon(): void {
    this.#delivery ??= this.#after(0, () => {
      this.#delivery = undefined;
      this.#deliver();
    });
  }

  #deliver(): void {
    const events = this.#events;
    if (events === undefined) return;
    const mayDeliver = () => !this.#paused && !this.#discarding && !this.#gone;
    while (this.#received.length > 0 && mayDeliver()) {
      const data = this.#takeReceived();
      this.#traceBytes('deliver', data, this.other.#veiled !== undefined);
      if (data.length > 0) events.wireData(data);
    }
    if (this.#wasReset !== undefined && this.#received.length === 0)
      this.#fail('ECONNRESET', 'read');
    if (this.#endArrived && !this.#endReported && (this.#discarding || mayDeliver())) {
      this.#endReported = true;
      // What was written in answer to the last bytes goes out before the end is known.
      this.#flush();
      if (!this.#discarding && !this.#gone) events.wireEnd();
      this.#closeIfOver();
    }
  }

  /** What arrived, as one piece or as it came, which is the network's choice. */
  #takeReceived(): Buffer {
    const { style, random } = this.connection;
    let count = 1;
    if (style === 'whole' || random.chance(0.5)) {
      let size = 0;
      count = 0;
      for (const { weight } of this.#received) {
        size += weight;
        if (count > 0 && size > READ_SIZE) break;
        count++;
      }
    }
    const pieces = this.#received.splice(0, count);
    for (const { weight } of pieces) this.#receivedWeight -= weight;
    this.#windowOpened();
    const all = pieces.map(({ data }) => data);
    const first = all[0] as Buffer;
    // Segments of one flush lie in one buffer, and what is delivered is its receiver's alone.
    return all.length === 1 && isWhole(first) ? first : unpinned(Buffer.concat(all));
  }

  #windowOpened(): void {
    const { other } = this;
    if (other.#unsentBytes > 0) other.#flushSoon(this.connection.network.conditions.latency[0]);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (!this.#gone) this.#deliverSoon();
  }

  discard(): void {
    this.#discarding = true;
    this.#paused = false;
    if (this.#received.length > 0) this.#discarded = true;
    this.#received = [];
    this.#receivedWeight = 0;
    this.#windowOpened();
    if (this.#endArrived && !this.#endReported) this.#deliverSoon();
  }

  // ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  end(ended: () => void): void {
    if (this.#gone) return;
    this.#ending = ended;
    this.#flushSoon(0);
  }

  close(): void {
    if (this.#gone || this.#closing) return;
    this.#closing = true;
    this.discard();
    if (this.#endSent) this.#closeIfQuiet();
    else this.end(() => this.#closeIfQuiet());
  }

  /** All is sent. A peer that has not known that it talks in vain says by its end that it knows. */
  #closeIfQuiet(): void {
    if (this.#gone) return;
    // What is written to a UNIX socket is there at once: none of it is on its way when it is closed.
    const comes =
      !this.connection.resets && [...this.other.#flow].some(({ data }) => data !== undefined);
    if (!(this.#discarded || comes) || this.#endArrived) this.destroy();
    else this.#lingering = this.#after(LINGER, () => this.destroy());
  }

  /** Both directions have ended. */
  #closeIfOver(): void {
    if (this.#endSent && this.#endReported && !this.#gone) this.#leave();
  }

  destroy(): void {
    if (this.#gone) return;
    // To close with bytes unread is a reset for the other side, with UNIX sockets too.
    if (this.#received.length > 0) this.#enqueue(undefined, 'reset');
    else this.#sendEnd();
    this.#leave();
  }

  reset(): void {
    if (this.#gone) return;
    if (!this.connection.resets) {
      this.destroy();
      return;
    }
    this.#trace('reset');
    this.#enqueue(undefined, 'reset');
    this.#leave();
  }

  #fail(code: string, syscall: string): void {
    if (this.#gone) return;
    this.#trace('lost');
    this.#error = systemError(code, syscall);
    this.#leave();
  }

  /** It is closed, which is reported in a turn of its own. */
  #leave(): void {
    this.#gone = true;
    this.#unsent = [];
    this.#received = [];
    this.#unsentBytes = this.#receivedWeight = 0;
    for (const event of [
      this.#flushing,
      this.#patience,
      this.#lingering,
      this.#delivery,
      this.#wasReset,
    ])
      event?.cancel();
    this.machine.open.delete(this);
    this.#reportClosedSoon();
  }

  #reportClosedSoon(): void {
    this.#after(0, () => {
      if (this.#events === undefined || this.#closedReported) return;
      this.#closedReported = true;
      this.#events.wireClosed(this.#error);
    });
  }

  setNoDelay(): void {}

  setKeepAlive(): void {}
}

/** True if there is nothing else in the memory that the buffer lies in. */
function isWhole(buffer: Buffer): boolean {
  return buffer.byteLength === buffer.buffer.byteLength;
}

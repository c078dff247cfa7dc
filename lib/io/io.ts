/**
 * The seam between plait and the operating system. Below it a BODY opens wires and listeners, and knows nothing of
 * protocols, factories, Deferreds or logging; above it the BRAIN (`transport/`) decides how a connection lives. A body
 * may be Node's own sockets, a simulated network, or something native.
 *
 * What each body must keep, and the contract suite checks:
 *
 * 1. Nothing is reported from inside a call of the brain's: every event comes in a turn of its own. (A body may report
 *    many events in one turn.)
 * 2. The events of a wire are `wireData` any number of times, then at most one `wireEnd`, and at last exactly one
 *    `wireClosed`, whatever was called and whichever side was first. `wireDrained` may come between any of them. A wire
 *    whose both directions have ended is closed. Neither data nor an end is reported after `discard`, `close`,
 *    `destroy` or `reset`.
 * 3. While a wire is paused it reports no data and no end; it does report that it was closed.
 * 4. Bytes are sent in the order in which they were written. `write` never fails: an error is reported by `wireClosed`.
 * 5. A buffer that is written may be sent from where it is, later; a buffer that is reported belongs to the brain, and
 *    the body neither reads nor writes it again.
 * 6. A body whose bind is synchronous may report `listening` or `failed` before `listen` returns.
 */
import type { Address } from '../address.ts';
import type { Seconds } from '../interfaces.ts';

/** What a wire tells the brain. */
export interface WireEvents {
  /** Bytes have arrived. */
  wireData(data: Buffer): void;
  /** The other side will send no more. */
  wireEnd(): void;
  /** Everything that was written has been handed to the operating system. */
  wireDrained(): void;
  /** The wire is gone, and this is the last that is heard of it; with the reason if it was not closed in order. */
  wireClosed(error?: Error): void;
}

/** A duplex pipe of bytes, without policy. */
export interface Wire {
  /** The address of this end. */
  readonly host: Address;
  /** The address of the other end. */
  readonly peer: Address;
  /** How many written bytes have not been handed to the operating system. */
  readonly bufferedBytes: number;
  /** Begins to report. Called once, before anything else. */
  start(events: WireEvents): void;
  /** Sends bytes after those written before. */
  write(data: Uint8Array): void;
  /** Reports no more data until `resume`. */
  pause(): void;
  resume(): void;
  /** From now on reads and drops what arrives, paused or not, so that it does not hold up the other side. */
  discard(): void;
  /** Sends what was written, then tells the other side that no more will come; `ended` is called when that is done. */
  end(ended: () => void): void;
  /**
   * Sends what was written, and closes. What arrives is discarded, and must not cost the other side what was sent: a
   * wire may wait a while for it to fall silent.
   */
  close(): void;
  /** Closes at once; what is not yet sent is dropped. */
  destroy(): void;
  /** Closes at once, and lets the other side know that it was not in order (RST, where there is such a thing). */
  reset(): void;
  setNoDelay(enabled: boolean): void;
  setKeepAlive(enabled: boolean): void;
}

/** Where to listen. */
export type ListenTarget =
  | { readonly host: string; readonly port: number; readonly backlog: number }
  | { readonly path: string; readonly mode: number; readonly backlog: number };

/** What a listener tells the brain. */
export interface ListenerEvents {
  listening(address: Address): void;
  /** It could not listen; nothing else is reported then. */
  failed(error: Error): void;
  accepted(wire: Wire): void;
  /** After `close`: it does not listen any more. */
  closed(): void;
}

/** Something that takes connections. */
export interface WireListener {
  /** Takes no more connections, and reports nothing but `closed`; those that were taken live on. */
  close(): void;
}

/** Where to connect to; hosts are IP literals. */
export type ConnectTarget =
  | {
      readonly host: string;
      readonly port: number;
      readonly bindAddress?: { readonly host: string; readonly port?: number } | undefined;
    }
  | { readonly path: string };

/** How an attempt ended: exactly one of the two is called, unless it is cancelled. */
export interface ConnectEvents {
  connected(wire: Wire): void;
  failed(error: Error): void;
}

/** Something that is going on and can be called off; then nothing more is heard of it. */
export interface Attempt {
  cancel(): void;
}

/** Wakes the brain at a time. */
export interface Alarm {
  /** Wakes it at about `time`, on the clock of `now`: perhaps early, never much late. Replaces what was set before. */
  set(time: Seconds): void;
  /** Keeps the process alive no longer; whether it still wakes does not matter. */
  clear(): void;
}

/** A body: everything that plait asks of the operating system. */
export interface IO {
  /** As in `PLAIT_IO`. */
  readonly name: string;
  /** Seconds, from a clock that only goes forward. */
  now(): Seconds;
  alarm(wake: () => void): Alarm;
  /** Calls `fn` once the events at hand have been reported, before waiting for new ones. */
  soon(fn: () => void): void;
  /** Keeps the process alive until the function returned is called. */
  keepAlive(): () => void;
  /** Calls `fn` on each signal `name` until the function returned is called. */
  onSignal(name: string, fn: () => void): () => void;
  listen(target: ListenTarget, events: ListenerEvents): WireListener;
  connect(target: ConnectTarget, events: ConnectEvents): Attempt;
  /** The addresses of a host, as IP literals in the order of preference of the system. */
  resolve(
    host: string,
    done: (error: Error | undefined, addresses: readonly string[]) => void,
  ): Attempt;
}

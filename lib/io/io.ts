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
import type { Address, IPv4Address, IPv6Address } from '../address.ts';
import type { AddressFamily, Seconds } from '../interfaces.ts';

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
  /**
   * Called by TLS above it before that writes: what comes is ciphertext, which is another each time. A simulated wire
   * lets no choice depend on it. Others lack this.
   */
  veil?(): Veil;
}

/** What TLS does for a wire that has to know what its ciphertext stands for, and goes by a time of its own. */
export interface Veil {
  /** Plain text was written or read. */
  tell(what: 'write' | 'read', data: Uint8Array): void;
  /** Calls `fn` in so many seconds, until the function returned is called. */
  later(delay: Seconds, fn: () => void): () => void;
}

/** Where to listen. */
export type ListenTarget =
  { readonly host: string; readonly port: number; readonly backlog: number } | PathTarget;

/** Where to listen with a UNIX socket. */
export interface PathTarget {
  /** One that begins with a NUL is a name outside of the file system. */
  readonly path: string;
  /** The permissions of the file, from the first moment at which anybody can connect. */
  readonly mode: number;
  readonly backlog: number;
  /** Hold a lock beside the file, named as it with `.lock`; and take over what a dead process has left. */
  readonly wantPID?: boolean;
}

/** What a listener tells the brain. */
export interface ListenerEvents {
  listening(address: Address): void;
  /** It could not listen; nothing else is reported then. */
  failed(error: Error): void;
  accepted(wire: Wire): void;
  /** There are no descriptors left, for the reason given: connections that come are turned away. It may come often. */
  starved?(error: Error): void;
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
  | {
      readonly path: string;
      /** Fail unless a living process holds the lock beside the file. */
      readonly checkPID?: boolean;
    };

/** How an attempt ended: exactly one of the two is called, unless it is cancelled. */
export interface ConnectEvents {
  connected(wire: Wire): void;
  failed(error: Error): void;
}

/** Something that is going on and can be called off; then nothing more is heard of it. */
export interface Attempt {
  cancel(): void;
}

/** Where datagrams are received: at an address, or at a socket that somebody has made and bound. */
export type DatagramTarget =
  | {
      readonly host: string;
      readonly port: number;
      /** Others may be bound to the same address, if they are made so too. */
      readonly shared: boolean;
    }
  | { readonly fd: number; readonly family: 'IPv4' | 'IPv6' };

/** What a datagram socket tells the brain. Besides `bound` and `failed`, nothing is reported from inside a call. */
export interface DatagramEvents {
  /** It is there; may be reported before `datagram` returns. Before it, no other event but `failed` or `closed`. */
  bound(address: IPv4Address | IPv6Address): void;
  /** It could not be bound; nothing else is reported then. May be reported before `datagram` returns. */
  failed(error: Error): void;
  /** A datagram, whole and perhaps empty; the buffer belongs to the brain. None after `close`. */
  received(data: Buffer, from: IPv4Address | IPv6Address): void;
  /** Nobody listens where the socket is connected to. When it is not connected, this is not reported. */
  refused(): void;
  /** It is not connected after all. */
  connectFailed(error: Error): void;
  /** A datagram could not be sent or received; the socket lives on. */
  troubled(error: Error): void;
  /** After `close`: it is gone, and this is the last that is heard of it. */
  closed(): void;
}

/** Sends and receives datagrams. None of this is called before `bound`, but for `close`. */
export interface DatagramSocket {
  /** How many bytes of datagrams have not been handed to the operating system. */
  readonly bufferedBytes: number;
  /** Sends a datagram: to an address, or to that which the socket is connected to. It never fails, but may report. */
  send(data: Uint8Array, to?: { readonly host: string; readonly port: number }): void;
  /** From now on it sends to this address and receives from it alone. `host` is a literal. Called once at most. */
  connect(host: string, port: number): void;
  /** This and those below throw the system's error. */
  setBroadcast(enabled: boolean): void;
  /** @param where the local interface: its address, or `::%eth0` for IPv6; left out, the system chooses */
  joinGroup(group: string, where?: string): void;
  leaveGroup(group: string, where?: string): void;
  setMulticastTTL(ttl: number): void;
  setMulticastLoopback(enabled: boolean): void;
  setMulticastInterface(where: string): void;
  /** Closes at once: what the operating system has not taken is dropped. */
  close(): void;
}

/** What to start; all of it is checked. */
export interface SpawnTarget {
  readonly executable: string;
  /** Beginning with the name by which the program is called. */
  readonly args: readonly string[];
  /** Null for that of this process. */
  readonly env: Readonly<Record<string, string>> | null;
  readonly path: string | undefined;
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** By the child's descriptor: a pipe that we read from, one that we write to, or a descriptor of ours. */
  readonly childFDs: ReadonlyMap<number, 'r' | 'w' | number>;
}

/** How a process fares: exactly one of the two is called, and not from inside a call. */
export interface SpawnEvents {
  /** It has ended, and been reaped. One of the two is null. Its wires live as long as others have their other ends. */
  exited(exitCode: number | null, signal: string | null): void;
  /** It could not be started. */
  failed(error: Error): void;
}

/** A process that was started, or could not be. */
export interface SpawnedProcess {
  /** Undefined if it could not be started: `failed` will be called. */
  readonly pid: number | undefined;
  /** By the child's descriptor; none if it could not be started. */
  readonly wires: ReadonlyMap<number, Wire>;
  /** Sends a signal by its number; throws the system's error. */
  kill(signal: number): void;
  /** From now on it does not keep this process alive. */
  unref(): void;
}

/** Wakes the brain at a time. */
export interface Alarm {
  /** Wakes it at about `time`, on the clock of `now`: perhaps early, never much late. Replaces what was set before. */
  set(time: Seconds): void;
  /** Keeps the process alive no longer; whether it still wakes does not matter. */
  clear(): void;
  /** Keeps the process alive no longer, and wakes if it lives on all the same. Without it, `clear` is called. */
  unref?(): void;
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
  /** Ends the process at once; a body whose process is not its own has no such thing. */
  exit?(code: number): void;
  listen(target: ListenTarget, events: ListenerEvents): WireListener;
  connect(target: ConnectTarget, events: ConnectEvents): Attempt;
  /**
   * Listens on a socket that somebody else has bound. The descriptor is the body's from then on, and closed also where
   * that fails.
   *
   * @throws UnsupportedSocketType for what is no open socket, which is left alone
   */
  adoptPort?(
    fd: number,
    family: AddressFamily,
    backlog: number,
    events: ListenerEvents,
  ): WireListener;
  /**
   * A wire over a connection that somebody else has made. The descriptor is the body's from then on, and closed also
   * where that fails.
   *
   * @throws UnsupportedSocketType for what is no open socket, which is left alone, and for what is no stream
   * @throws UnsupportedAddressFamily if it is of another family
   */
  adoptConnection?(fd: number, family: AddressFamily): Wire;
  /** Starts a process; a body may have none. */
  spawn?(target: SpawnTarget, events: SpawnEvents): SpawnedProcess;
  /**
   * A wire that reads from one descriptor and writes to another. The first three descriptors of the process are let go
   * of when it is closed, others are closed. A body may have none.
   *
   * @throws the system's error for what is no open descriptor
   */
  stdio?(stdin: number, stdout: number): Wire;
  /** Binds a datagram socket; a body may have none. */
  datagram?(target: DatagramTarget, events: DatagramEvents): DatagramSocket;
  /**
   * The addresses of a host, as IP literals in the order of preference of the system.
   *
   * @param family those of one family only; default: of both
   */
  resolve(
    host: string,
    done: (error: Error | undefined, addresses: readonly string[]) => void,
    family?: 4 | 6,
  ): Attempt;
}

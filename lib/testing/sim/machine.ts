/**
 * A machine of a simulated network, as its operating system: addresses, ports, descriptors, signals. What runs on it
 * is a reactor, whose body is `SimIO`.
 */
import type { SimDatagramSocket } from './datagram.ts';
import type { SimListener } from './listener.ts';
import type { Network } from './network.ts';
import { systemError } from './system-error.ts';

/** The ports from which clients connect. */
const FIRST_EPHEMERAL = 32_768;
const LAST_EPHEMERAL = 60_999;

/** Descriptors that a process may hold, unless it is told otherwise. */
export const DESCRIPTORS = 1024;

export class Machine {
  readonly name: string;
  readonly network: Network;
  readonly ipv4: string;
  readonly ipv6: string;
  /** How many descriptors may be open at once. */
  descriptorLimit: number = DESCRIPTORS;
  /** What is open, each with a descriptor. */
  readonly open = new Set<{ toString(): string }>();
  /** Who listens, by port and then by the address as it was asked for. */
  readonly #ports = new Map<number, Map<string, SimListener>>();
  /** Who listens, by path. */
  readonly paths = new Map<string, SimListener>();
  /** The folders in which there can be paths; relative ones are in none. */
  readonly folders = new Set(['', '/', '/run', '/tmp', '/var/run']);
  /** The datagram sockets that are bound. */
  readonly datagrams = new Set<SimDatagramSocket>();
  readonly #signalled = new Map<string, Set<() => void>>();
  #nextPort = FIRST_EPHEMERAL;
  #turn: (() => void)[] = [];

  constructor(network: Network, name: string, number: number) {
    this.network = network;
    this.name = name;
    this.ipv4 = `10.0.${number >> 8}.${number & 255}`;
    this.ipv6 = `fd00::${number.toString(16)}`;
  }

  // ── Descriptors ──────────────────────────────────────────────────────────────────────────────────────────────────

  get exhausted(): boolean {
    return this.open.size >= this.descriptorLimit;
  }

  // ── Addresses ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** True for each address of this machine's own, and for those that stand for all of them. */
  owns(host: string): boolean {
    return (
      host === this.ipv4 ||
      host === this.ipv6 ||
      isLoopback(host) ||
      host === '0.0.0.0' ||
      host === '::'
    );
  }

  /** Its own address for talking to `destination`. */
  addressFor(destination: string): string {
    if (isLoopback(destination) || isAny(destination))
      return destination.includes(':') ? '::1' : '127.0.0.1';
    return destination.includes(':') ? this.ipv6 : this.ipv4;
  }

  /** A port that nobody uses. */
  freePort(): number {
    for (;;) {
      const port = this.#nextPort;
      this.#nextPort = port === LAST_EPHEMERAL ? FIRST_EPHEMERAL : port + 1;
      if (!this.#ports.has(port)) return port;
    }
  }

  /** The datagram sockets that are bound to a port. */
  datagramsAt(port: number): SimDatagramSocket[] {
    return [...this.datagrams].filter((socket) => socket.port === port);
  }

  /** A port that no datagram socket uses. */
  freeDatagramPort(): number {
    let port = this.freePort();
    while (this.datagramsAt(port).length > 0) port = this.freePort();
    return port;
  }

  // ── Who listens ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws a system's error if another has the address, or one that overlaps with it */
  bind(listener: SimListener, host: string, port: number): void {
    const others = this.#ports.get(port) ?? new Map<string, SimListener>();
    for (const other of others.keys()) {
      if (overlap(other, host)) throw systemError('EADDRINUSE', 'listen', { address: host, port });
    }
    others.set(host, listener);
    this.#ports.set(port, others);
  }

  unbind(host: string, port: number): void {
    const others = this.#ports.get(port);
    others?.delete(host);
    if (others?.size === 0) this.#ports.delete(port);
  }

  /** Who listens for those that connect to `host` and `port`. */
  listenerAt(host: string, port: number): SimListener | undefined {
    const here = this.#ports.get(port);
    if (here === undefined) return undefined;
    const any = host.includes(':') ? undefined : here.get('0.0.0.0');
    return here.get(host) ?? any ?? here.get('::');
  }

  // ── Turns and signals ────────────────────────────────────────────────────────────────────────────────────────────

  /** Calls `fn` in the next turn of this machine's loop, after those that asked before. */
  soon(fn: () => void): void {
    this.#turn.push(fn);
    if (this.#turn.length > 1) return;
    this.network.kernel.after(0, () => {
      const turn = this.#turn;
      this.#turn = [];
      for (const call of turn) call();
    });
  }

  onSignal(name: string, fn: () => void): () => void {
    const handlers = this.#signalled.get(name) ?? new Set();
    this.#signalled.set(name, handlers.add(fn));
    return () => handlers.delete(fn);
  }

  /** Sends a signal to the process on this machine; false if nobody handles it. */
  signal(name: string): boolean {
    const handlers = [...(this.#signalled.get(name) ?? [])];
    for (const handler of handlers) {
      this.network.kernel.after(0, () => {
        if (this.#signalled.get(name)?.has(handler) === true) handler();
      });
    }
    return handlers.length > 0;
  }
}

/** True for addresses by which a machine talks to itself. */
export function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.');
}

/** True for addresses that stand for all of a machine's. */
export function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** True if something may be for both. */
export function overlap(one: string, other: string): boolean {
  return one === other || covers(one, other) || covers(other, one);
}

/** True if whoever listens at `wide` would get what is for `narrow`. */
function covers(wide: string, narrow: string): boolean {
  return wide === '::' || (wide === '0.0.0.0' && !narrow.includes(':'));
}

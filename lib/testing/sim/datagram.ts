/**
 * Datagrams of a simulated network: each finds its own way, and may be lost, come twice, or overtake others.
 */
import { ipAddress, type IPv4Address, type IPv6Address } from '../../address.ts';
import type { DatagramEvents, DatagramSocket, DatagramTarget } from '../../io/io.ts';
import { isAny, type Machine, overlap } from './machine.ts';
import { systemError } from './system-error.ts';

/** The most that is on its way, or waits, for one socket; what comes then is dropped, as a kernel does. */
const RECEIVE_BUFFER = 212_992;

/** The most that a datagram carries: with the headers of UDP and IPv4, 64 KiB. */
const LARGEST = 65_507;

/** Datagrams that many receive at once. */
function isMulticast(host: string): boolean {
  const first = Number(host.split('.', 1)[0]);
  return host.toLowerCase().startsWith('ff') || (first >= 224 && first <= 239);
}

/** One socket. */
export class SimDatagramSocket implements DatagramSocket {
  readonly bufferedBytes: number = 0;
  readonly machine: Machine;
  readonly #events: DatagramEvents;
  readonly #target: { host: string; port: number; shared: boolean };
  #state: 'binding' | 'bound' | 'over' = 'binding';
  #port = 0;
  #connected: { host: string; port: number } | undefined;
  readonly #groups = new Set<string>();
  #loopback = true;
  #broadcast = false;
  #waiting = 0;

  constructor(machine: Machine, target: DatagramTarget, events: DatagramEvents) {
    this.machine = machine;
    this.#events = events;
    if ('fd' in target) throw systemError('ENOTSUP', 'bind');
    this.#target = target;
    machine.network.kernel.after(0, () => {
      if (this.#state === 'binding') this.#bind();
    });
  }

  #bind(): void {
    const { machine } = this;
    const { host, port } = this.#target;
    const details = { address: host, port };
    let error: Error | undefined;
    if (machine.exhausted) error = systemError('EMFILE', 'bind');
    else if (!machine.owns(host) && !isMulticast(host))
      error = systemError('EADDRNOTAVAIL', 'bind', details);
    else if (machine.datagramsAt(port).some((other) => this.#conflicts(other)))
      error = systemError('EADDRINUSE', 'bind', details);
    if (error !== undefined) {
      this.#state = 'over';
      this.#events.failed(error);
      return;
    }
    this.#port = port === 0 ? machine.freeDatagramPort() : port;
    machine.open.add(this);
    machine.datagrams.add(this);
    this.#state = 'bound';
    const address = ipAddress('UDP', host, this.#port);
    machine.network.note(machine, 'bind', `${address}`);
    this.#events.bound(address);
  }

  #conflicts(other: SimDatagramSocket): boolean {
    const [mine, theirs] = [this.#target, other.#target];
    return !(mine.shared && theirs.shared) && overlap(mine.host, theirs.host);
  }

  get port(): number {
    return this.#port;
  }

  toString(): string {
    return `a datagram port at ${this.#target.host}:${this.#port}`;
  }

  /** True if a datagram for `host` is for this socket. */
  hears(host: string, from: { host: string; port: number }): boolean {
    const { host: mine } = this.#target;
    const peer = this.#connected;
    if (peer !== undefined && (peer.host !== from.host || peer.port !== from.port)) return false;
    if (isMulticast(host)) return this.#groups.has(host.toLowerCase());
    return mine === host || (isAny(mine) && (mine === '::' || !host.includes(':')));
  }

  send(data: Uint8Array, to?: { readonly host: string; readonly port: number }): void {
    const destination = to ?? this.#connected;
    if (this.#state !== 'bound' || destination === undefined) return;
    const { network } = this.machine;
    const bytes = Buffer.from(data);
    const { host, port } = destination;
    if (bytes.length > LARGEST) {
      this.#trouble(systemError('EMSGSIZE', 'send', { address: host, port }));
      return;
    }
    const source = isAny(this.#target.host) ? this.machine.addressFor(host) : this.#target.host;
    const from = ipAddress('UDP', source, this.#port);
    network.note(this.machine, 'send', `${from} > ${host}:${port}`, bytes);
    if (host === '255.255.255.255') {
      if (this.#broadcast) this.#spread(bytes, from, host, port);
      else this.#trouble(systemError('EACCES', 'send', destination));
    } else if (isMulticast(host)) {
      this.#spread(bytes, from, host, port);
    } else {
      const there = network.machineAt(host, this.machine);
      if (there !== undefined) this.#route(there, bytes, from, host, port);
      else this.#trouble(systemError('EHOSTUNREACH', 'send', { address: host, port }));
    }
  }

  /** To all machines. */
  #spread(bytes: Buffer, from: IPv4Address | IPv6Address, host: string, port: number): void {
    for (const there of this.machine.network.machines.values()) {
      if (there === this.machine && !this.#loopback) continue;
      this.#route(there, bytes, from, host, port);
    }
  }

  /** On its way, once, twice or never. */
  #route(
    there: Machine,
    bytes: Buffer,
    from: IPv4Address | IPv6Address,
    host: string,
    port: number,
  ): void {
    const { network, name } = this.machine;
    if (network.isDown(this.machine, there)) return;
    const way = network.nameFor(this.machine, `udp ${there.name}`);
    const { faults, conditions } = network;
    const random = network.kernel.random.stream(way);
    const lost = faults.strike('lose', way, conditions.faults.lose);
    const twice = faults.strike('duplicate', way, conditions.faults.duplicate);
    const late = faults.strike('delay', way, conditions.faults.delay);
    if (lost !== undefined) {
      network.note(undefined, '! lose', `${way} from ${name}`);
      return;
    }
    for (let copies = twice === undefined ? 1 : 2; copies > 0; copies--) {
      const delay =
        network.latency(random) +
        bytes.length / conditions.bandwidth +
        (late === undefined ? 0 : late.between(0, 1));
      network.kernel.after(delay, () => this.#arrive(there, bytes, from, host, port));
    }
  }

  #arrive(
    there: Machine,
    bytes: Buffer,
    from: IPv4Address | IPv6Address,
    host: string,
    port: number,
  ): void {
    const { network } = there;
    const broadcast = host === '255.255.255.255';
    const listeners = there
      .datagramsAt(port)
      .filter((socket) => socket.hears(broadcast ? there.ipv4 : host, from));
    const forAll = broadcast || isMulticast(host);
    // Of several that share an address, the one that came last gets what is for one.
    for (const socket of forAll ? listeners : listeners.slice(-1)) socket.#take(bytes, from);
    if (listeners.length > 0 || forAll) return;
    // A kernel says that nobody is there; only those that are connected are told.
    network.kernel.after(network.conditions.latency[0], () => {
      if (this.#state === 'bound' && this.#connected !== undefined) this.#events.refused();
    });
  }

  #take(bytes: Buffer, from: IPv4Address | IPv6Address): void {
    if (this.#waiting + bytes.length > RECEIVE_BUFFER) return;
    this.#waiting += bytes.length;
    this.machine.network.kernel.after(0, () => {
      this.#waiting -= bytes.length;
      if (this.#state !== 'bound') return;
      this.machine.network.note(this.machine, 'deliver', `${from} > ${this.#port}`, bytes);
      this.#events.received(Buffer.from(bytes), from);
    });
  }

  #trouble(error: Error): void {
    this.machine.network.kernel.after(0, () => {
      if (this.#state === 'bound') this.#events.troubled(error);
    });
  }

  connect(host: string, port: number): void {
    this.#connected = { host, port };
  }

  setBroadcast(enabled: boolean): void {
    this.#broadcast = enabled;
  }

  joinGroup(group: string): void {
    const key = group.toLowerCase();
    if (!isMulticast(group)) throw systemError('EINVAL', 'addMembership', { address: group });
    if (this.#groups.has(key)) throw systemError('EADDRINUSE', 'addMembership', { address: group });
    this.#groups.add(key);
  }

  leaveGroup(group: string): void {
    if (!this.#groups.delete(group.toLowerCase()))
      throw systemError('EADDRNOTAVAIL', 'dropMembership', { address: group });
  }

  setMulticastTTL(): void {}

  setMulticastLoopback(enabled: boolean): void {
    this.#loopback = enabled;
  }

  setMulticastInterface(): void {}

  close(): void {
    if (this.#state === 'over') return;
    if (this.#state === 'bound') {
      this.machine.open.delete(this);
      this.machine.datagrams.delete(this);
    }
    this.#state = 'over';
    this.machine.network.kernel.after(0, () => {
      this.#events.closed();
    });
  }
}

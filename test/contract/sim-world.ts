/**
 * The contract's world in a simulated network. In each turn of the real loop one thing happens there, or a little
 * virtual time passes, so that rules written for real sockets can wait in the same ways.
 */
import {
  type Address,
  type IClientFactory,
  type IConnector,
  type IListeningPort,
  IPv4Address,
  type IProtocolFactory,
  type Reactor,
  UNIXAddress,
} from 'plait';
import type { IO, Wire, WireEvents, WireListener } from '../../lib/io/io.ts';
import { type ConditionsLike, Simulation } from '../../lib/testing/sim/index.ts';
import {
  type ConnectOptions,
  inet,
  type Peer,
  type PeerOptions,
  type RawPort,
  type World,
} from './kinds.ts';

/** Simulated seconds that pass in a turn in which nothing happens. */
const PACE = 0.001;

/** Simulated seconds in which whatever is under way arrives: many times the latency. */
const SETTLED = 0.02;

/** What a kernel takes at once of what is said. */
const KERNEL_BYTES = 64 * 1024;

/** Turns after which nothing will happen any more. */
const PATIENCE = 100_000;

/** One end of a simulated connection that is no part of plait. */
class SimPeer implements Peer, WireEvents {
  readonly #chunks: Buffer[] = [];
  count = 0;
  ended = false;
  closed = false;
  error = '';
  #wire: Wire | undefined;
  #then: (() => void) | undefined;

  begin(wire: Wire, { paused = false }: PeerOptions): void {
    this.#wire = wire;
    if (paused) wire.pause();
    wire.start(this);
  }

  get joined(): boolean {
    return this.#wire !== undefined;
  }

  wireData(data: Buffer): void {
    this.#chunks.push(data);
    this.count += data.length;
  }

  wireEnd(): void {
    this.ended = true;
  }

  wireDrained(): void {
    const act = this.#then;
    this.#then = undefined;
    act?.();
  }

  /** What was said in this turn goes out first, as far as a kernel would take it, for nothing is said later. */
  #afterSaying(act: () => void): void {
    if (this.unsent === 0 || this.unsent > KERNEL_BYTES) act();
    else this.#then = act;
  }

  wireClosed(error?: NodeJS.ErrnoException): void {
    this.closed = true;
    this.error = error === undefined ? '' : (error.code ?? error.message);
  }

  get unsent(): number {
    return this.#wire?.bufferedBytes ?? 0;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  text(): string {
    return this.bytes().toString();
  }

  say(data: Uint8Array | string): void {
    this.#wire?.write(Buffer.from(data as Uint8Array));
  }

  end(): void {
    this.#wire?.end(() => {});
  }

  close(): void {
    this.#afterSaying(() => this.#wire?.destroy());
  }

  reset(): void {
    this.#afterSaying(() => this.#wire?.reset());
  }

  pause(): void {
    this.#wire?.pause();
  }

  resume(): void {
    this.#wire?.resume();
  }
}

class SimRawPort implements RawPort {
  declare address: Address;
  declare listener: WireListener;
  readonly peers: SimPeer[] = [];
  count = 0;
  readonly #world: SimWorld;

  constructor(world: SimWorld) {
    this.#world = world;
  }

  async peer(): Promise<Peer> {
    await this.#world.until(() => this.peers.length > 0);
    return this.peers.shift()!;
  }

  close(): void {
    this.listener.close();
  }
}

/** A simulated network with one reactor in it, and raw peers on a machine of their own. */
export class SimWorld implements World {
  readonly reactor: Reactor;
  readonly #sim: Simulation;
  readonly #unix: boolean;
  readonly #peers: SimPeer[] = [];
  readonly #ports: SimRawPort[] = [];
  readonly #io: IO;
  #paths = 0;
  #open = true;

  constructor(conditions: ConditionsLike, unix: boolean) {
    this.#sim = new Simulation({ seed: 1, conditions, trace: 0 });
    this.#unix = unix;
    this.reactor = this.#sim.host('here').reactor;
    this.#io = this.#sim.host('here').io;
    const pass = () => {
      if (!this.#open) return;
      this.#pass();
      setImmediate(pass);
    };
    pass();
  }

  /** One event happens, or a little time passes. */
  #pass(): void {
    let happened = false;
    this.#sim.run(() => happened || !(happened = true), PACE);
  }

  listen(factory: IProtocolFactory, at?: Address): IListeningPort {
    const where = at ?? this.#free();
    return where instanceof UNIXAddress
      ? this.reactor.listenUNIX(where.name!, factory)
      : this.reactor.listenTCP(inet(where).port, factory, {
          interface: inet(where).host,
        });
  }

  #free(): Address {
    return this.#unix
      ? new UNIXAddress(`/run/socket${++this.#paths}`)
      : new IPv4Address('TCP', '127.0.0.1', 0);
  }

  connect(to: Address, factory: IClientFactory, options?: ConnectOptions): IConnector {
    return to instanceof UNIXAddress
      ? this.reactor.connectUNIX(to.name!, factory, options)
      : this.reactor.connectTCP(inet(to).host, inet(to).port, factory, options);
  }

  async call(to: Address, options: PeerOptions = {}): Promise<Peer> {
    const peer = new SimPeer();
    this.#peers.push(peer);
    this.#io.connect(targetOf(to), {
      connected: (wire) => peer.begin(wire, options),
      failed: (error) => peer.wireClosed(error),
    });
    await this.until(() => peer.joined || peer.closed);
    return peer;
  }

  async answer(options: PeerOptions = {}): Promise<RawPort> {
    const port = new SimRawPort(this);
    this.#ports.push(port);
    const where = this.#free();
    const target =
      where instanceof UNIXAddress
        ? { path: where.name!, mode: 0o666, backlog: 511 }
        : { host: inet(where).host, port: 0, backlog: 511 };
    port.listener = this.#io.listen(target, {
      listening: (address) => (port.address = address),
      failed: (error) => {
        throw error;
      },
      accepted: (wire) => {
        const peer = new SimPeer();
        this.#peers.push(peer);
        port.count++;
        port.peers.push(peer);
        peer.begin(wire, options);
      },
      closed: () => {},
    });
    await this.until(() => (port.address as Address | undefined) !== undefined);
    return port;
  }

  async nobody(): Promise<Address> {
    const port = await this.answer();
    port.close();
    await this.settle();
    return port.address;
  }

  foreign(): Address {
    return this.#unix
      ? new UNIXAddress('/no such directory/socket')
      : new IPv4Address('TCP', '192.0.2.1', 0);
  }

  async blackhole(): Promise<Address> {
    const [host] = this.#sim.host('void').addresses;
    this.#sim.partition('here', 'void');
    return new IPv4Address('TCP', host, 80);
  }

  async haunt(to: Address, count: number): Promise<void> {
    let left = count;
    for (let i = 0; i < count; i++) {
      this.#io.connect(targetOf(to), {
        connected: (wire) => {
          wire.reset();
          left--;
        },
        failed: () => left--,
      });
    }
    await this.until(() => left === 0);
  }

  async until(condition: () => boolean): Promise<void> {
    for (let turns = 0; !condition(); turns++) {
      if (turns > PATIENCE) throw new Error(`it never came to ${condition.toString()}`);
      await turn();
    }
  }

  async settle(): Promise<void> {
    const end = this.#sim.seconds() + SETTLED;
    await this.until(() => this.#sim.seconds() >= end);
  }

  async stop(): Promise<void> {
    if (!this.reactor.running) this.reactor.run({ installSignalHandlers: false });
    let stopped = false;
    this.reactor.addSystemEventTrigger('after', 'shutdown', () => (stopped = true));
    this.reactor.stop();
    await this.until(() => stopped && !this.reactor.running);
  }

  async close(): Promise<void> {
    await this.stop();
    for (const peer of this.#peers) peer.close();
    for (const port of this.#ports) port.close();
    await this.settle();
    this.#open = false;
    const left = this.#sim.leftovers();
    if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`);
  }
}

function targetOf(to: Address): { path: string } | { host: string; port: number } {
  return to instanceof UNIXAddress ? { path: to.name! } : inet(to);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

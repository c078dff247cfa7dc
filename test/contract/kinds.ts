/**
 * What the contract is shown on: each kind of wire, over each body that has it. A kind opens a world: a reactor with
 * its ports and connectors, and raw peers, which are no part of plait and can say exact bytes and close in exact ways.
 * The rules themselves are in the files beside this one, and know nothing of sockets. Twisted: `ReactorBuilder` and
 * `connectionmixins` of `twisted.internet.test`.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type NetConnectOpts, type Server, Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import {
  type Address,
  BadFileError,
  ConnectionRefusedError,
  type IClientFactory,
  type IConnector,
  type IListeningPort,
  IPv4Address,
  IPv6Address,
  PipeAddress,
  type IProtocolFactory,
  Reactor,
  UNIXAddress,
} from 'plait';
import { SimWorld } from './sim-world.ts';
import { StdioWorld } from './stdio-world.ts';
import { DuplexIO } from './duplex-io.ts';

/** A kind of wire over a body. */
export interface Kind {
  readonly name: string;
  /** Why it cannot be shown on this machine; `''` if it can. */
  readonly missing: string;
  /**
   * True if there is such a thing as a reset, as with TCP. Elsewhere an abort is a close, as the other side sees it, and
   * nobody can tell it from an end.
   */
  readonly resets: boolean;
  /** True if a port is bound in a later turn, not yet when `listenTCP` and its like return. */
  readonly bindsLater: boolean;
  /** The class of both ends' addresses. */
  readonly address:
    typeof IPv4Address | typeof IPv6Address | typeof UNIXAddress | typeof PipeAddress;
  /** What a connector fails with where nobody listens. */
  readonly refusal: typeof ConnectionRefusedError | typeof BadFileError;
  /** True if what listens is a file, with a mode. */
  readonly files?: boolean;
  /** True if its connections are not made by ports and connectors: the rules about these are not for it. */
  readonly unborn?: boolean;
  /** A new world. */
  open(): World;
}

/** A reactor, and a network with raw peers in it. */
export interface World {
  readonly reactor: Reactor;
  /** Listens at `at`, or where nobody else does. */
  listen(factory: IProtocolFactory, at?: Address): IListeningPort;
  connect(to: Address, factory: IClientFactory, options?: ConnectOptions): IConnector;
  /** A raw client. */
  call(to: Address, options?: PeerOptions): Promise<Peer>;
  /** Clients that come, and reset before anybody hears of them; missing where there is no reset. */
  haunt?(to: Address, count: number): Promise<void>;
  /** A raw server. */
  answer(options?: PeerOptions): Promise<RawPort>;
  /** An address where nobody listens. */
  nobody(): Promise<Address>;
  /** An address that is not ours to listen at. */
  foreign(): Address;
  /** An address that does not answer; undefined where there is no such thing. */
  blackhole?(): Promise<Address>;
  /** Goes on until `condition` holds. */
  until(condition: () => boolean): Promise<void>;
  /** Goes on until whatever is on its way has surely arrived. */
  settle(): Promise<void>;
  /** Runs the reactor, and stops it again. */
  stop(): Promise<void>;
  /** Stops the reactor, and closes all raw peers. */
  close(): Promise<void>;
}

/** Options of a connector, of any kind. */
export interface ConnectOptions {
  readonly timeout?: number | null;
}

/** Options of raw peers. */
export interface PeerOptions {
  /** It reads nothing until it is resumed: not even the kernel's buffer is emptied. */
  readonly paused?: boolean;
}

/** A raw server. */
export interface RawPort {
  readonly address: Address;
  /** How many connections came. */
  readonly count: number;
  /** The next connection that comes, or came and was not asked for. */
  peer(): Promise<Peer>;
  close(): void;
}

/** The other end of a connection of plait's. It reads all that comes, and answers nothing by itself. */
export interface Peer {
  /** How many bytes have arrived. */
  readonly count: number;
  /** All that has arrived. */
  bytes(): Buffer;
  /** All that has arrived, as text. */
  text(): string;
  /** An end has arrived. */
  readonly ended: boolean;
  /** It is closed, by whichever side. */
  readonly closed: boolean;
  /** The code of the error that it was closed with; `''` for none. */
  readonly error: string;
  /** How many bytes were said, and have not gone out. */
  readonly unsent: number;
  say(data: Uint8Array | string): void;
  /** Says no more, and goes on reading. */
  end(): void;
  /** Closes both directions. */
  close(): void;
  /** Closes with a reset, where there is such a thing. */
  reset(): void;
  pause(): void;
  resume(): void;
}

/** Host and port of an Internet address. */
export function inet(address: Address): { host: string; port: number } {
  if (address instanceof IPv4Address || address instanceof IPv6Address) return address;
  throw new TypeError(`${address} has no port`);
}

/** The path of a UNIX socket. */
export function pathOf(address: Address): string {
  if (address instanceof UNIXAddress && address.name !== null) return address.name;
  throw new TypeError(`${address} has no path`);
}

// ── Node's own sockets ───────────────────────────────────────────────────────────────────────────────────────────────

/** Longer than anything takes that will happen at all, in seconds. */
const PATIENCE = 600;

/** Enough for whatever is under way on this machine. */
const TURNS = 12;

export class NodePeer implements Peer {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  count = 0;
  ended = false;
  closed = false;
  error = '';

  constructor(socket: Socket, { paused = false }: PeerOptions) {
    this.socket = socket;
    // Before there is a listener: to stop later is too late, the first bytes are on their way into Node's buffer then.
    if (paused) socket.pause();
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.count += chunk.length;
    });
    socket.on('end', () => (this.ended = true));
    socket.on(
      'error',
      (error: NodeJS.ErrnoException) => (this.error = error.code ?? error.message),
    );
    socket.on('close', () => (this.closed = true));
    if (!paused) socket.resume();
  }

  get unsent(): number {
    return this.socket.writableLength;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  text(): string {
    return this.bytes().toString();
  }

  say(data: Uint8Array | string): void {
    this.socket.write(data);
  }

  end(): void {
    this.socket.end();
  }

  close(): void {
    this.socket.destroy();
  }

  reset(): void {
    const { socket } = this;
    const reset = () => socket.resetAndDestroy();
    if (socket.remoteFamily === undefined) socket.destroy();
    // As in the body: Node cannot do it while it says its end.
    else if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0)
      socket.once('finish', reset);
    else reset();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }
}

export class NodeRawPort implements RawPort {
  readonly address: Address;
  readonly server: Server;
  readonly peers: NodePeer[] = [];
  count = 0;
  readonly #world: NodeWorld;

  constructor(world: NodeWorld, server: Server, address: Address, options: PeerOptions) {
    this.#world = world;
    this.server = server;
    this.address = address;
    server.on('connection', (socket) => {
      this.count++;
      this.peers.push(world.keep(world.meet(socket, options)));
    });
  }

  async peer(): Promise<Peer> {
    await this.#world.until(() => this.peers.length > 0);
    const peer = this.peers.shift()!;
    await this.#world.until(() => this.#world.met(peer));
    return peer;
  }

  close(): void {
    this.server.close();
  }
}

abstract class NodeWorld implements World {
  readonly reactor: Reactor;
  readonly #peers: NodePeer[] = [];
  readonly #servers: Server[] = [];

  constructor(reactor: Reactor = new Reactor()) {
    this.reactor = reactor;
  }

  abstract listen(factory: IProtocolFactory, at?: Address): IListeningPort;
  abstract connect(to: Address, factory: IClientFactory, options?: ConnectOptions): IConnector;
  abstract foreign(): Address;
  protected abstract where(address?: Address): NetConnectOpts;
  protected abstract addressOf(server: Server, where: NetConnectOpts): Address;

  keep(peer: NodePeer): NodePeer {
    this.#peers.push(peer);
    return peer;
  }

  /** The peer for a connection that has come to a raw server. */
  meet(socket: Socket, options: PeerOptions): NodePeer {
    return new NodePeer(socket, options);
  }

  /** It can say something. */
  met(_peer: NodePeer): boolean {
    return true;
  }

  async call(to: Address, options: PeerOptions = {}): Promise<Peer> {
    const peer = this.keep(new NodePeer(new Socket({ allowHalfOpen: true }), options));
    peer.socket.connect(this.where(to));
    await this.until(() => peer.socket.readyState === 'open' || peer.closed);
    return peer;
  }

  async answer(options: PeerOptions = {}): Promise<NodeRawPort> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    this.#servers.push(server);
    const where = this.where();
    server.listen(where);
    await this.until(() => server.listening);
    return new NodeRawPort(this, server, this.addressOf(server, where), options);
  }

  async nobody(): Promise<Address> {
    const port = await this.answer();
    port.close();
    return port.address;
  }

  async until(condition: () => boolean): Promise<void> {
    const patience = performance.now() + PATIENCE * 1000;
    while (!condition()) {
      if (performance.now() > patience) throw new Error(`it never came to ${condition.toString()}`);
      await turn();
    }
  }

  async settle(): Promise<void> {
    for (let i = 0; i < TURNS; i++) await turn();
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
    for (const { socket } of this.#peers) socket.destroy();
    for (const server of this.#servers) server.close();
    await this.until(() => this.#peers.every(({ closed }) => closed));
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class TCPWorld extends NodeWorld {
  readonly #host: string;

  constructor(host: string, reactor?: Reactor) {
    super(reactor);
    this.#host = host;
  }

  listen(factory: IProtocolFactory, at?: Address): IListeningPort {
    const { host, port } = this.where(at);
    return this.reactor.listenTCP(port, factory, { interface: host });
  }

  connect(to: Address, factory: IClientFactory, options?: ConnectOptions): IConnector {
    const { host, port } = inet(to);
    return this.reactor.connectTCP(host, port, factory, options);
  }

  foreign(): Address {
    // Of the blocks that are kept for examples.
    return this.#host.includes(':')
      ? new IPv6Address('TCP', '2001:db8::1', 0)
      : new IPv4Address('TCP', '192.0.2.1', 0);
  }

  protected where(address?: Address): { host: string; port: number } {
    if (address === undefined) return { host: this.#host, port: 0 };
    const { host, port } = inet(address);
    return { host, port };
  }

  protected addressAt(port: number): Address {
    return new (this.#host.includes(':') ? IPv6Address : IPv4Address)('TCP', this.#host, port);
  }

  protected addressOf(server: Server): Address {
    return this.addressAt((server.address() as { port: number }).port);
  }

  /** A listener whose queue is full, and which never accepts: what comes then is left unanswered by the kernel. */
  async blackhole(): Promise<Address> {
    const flag = new Int32Array(new SharedArrayBuffer(8));
    const worker = new Worker(
      `const { workerData: { flag, host } } = require('node:worker_threads');
       const server = require('node:net').createServer().listen({ host, port: 0, backlog: 1 }, () => {
         Atomics.store(flag, 0, server.address().port);
         Atomics.wait(flag, 1, 0);
         process.exit();
       });`,
      { eval: true, workerData: { flag, host: this.#host } },
    );
    await this.until(() => flag[0] !== 0);
    const address = this.addressAt(flag[0]!);
    const fillers = Array.from({ length: 8 }, () => {
      const peer = this.keep(new NodePeer(new Socket(), {}));
      peer.socket.connect(this.where(address));
      return peer;
    });
    await this.until(() => fillers.some(({ socket }) => socket.readyState === 'open'));
    await this.settle();
    this.#unblock = async () => {
      for (const { socket } of fillers) socket.destroy();
      Atomics.store(flag, 1, 1);
      Atomics.notify(flag, 1);
      await worker.terminate();
    };
    return address;
  }

  async haunt(to: Address, count: number): Promise<void> {
    const flag = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(
      `const { workerData: { flag, where, count } } = require('node:worker_threads');
       let left = count;
       for (let i = 0; i < count; i++) {
         const socket = require('node:net').connect(where, () => socket.resetAndDestroy());
         socket.on('close', () => {
           if (--left === 0) Atomics.notify(flag, Atomics.store(flag, 0, 1) - 1);
         });
       }`,
      { eval: true, workerData: { flag, where: this.where(to), count } },
    );
    await once(worker, 'online');
    // This thread, and so the port, sleeps meanwhile.
    Atomics.wait(flag, 0, 0);
    await worker.terminate();
  }

  #unblock = async (): Promise<void> => {};

  override async close(): Promise<void> {
    await super.close();
    await this.#unblock();
  }
}

class UNIXWorld extends NodeWorld {
  readonly #directory: string = mkdtempSync(join(tmpdir(), 'plait-'));
  #paths = 0;

  #path(): string {
    return join(this.#directory, `socket${++this.#paths}`);
  }

  listen(factory: IProtocolFactory, at?: Address): IListeningPort {
    const path = at === undefined ? this.#path() : pathOf(at);
    return this.reactor.listenUNIX(path, factory);
  }

  connect(to: Address, factory: IClientFactory, options?: ConnectOptions): IConnector {
    return this.reactor.connectUNIX(pathOf(to), factory, options);
  }

  foreign(): Address {
    return new UNIXAddress(join(this.#directory, 'no such directory', 'socket'));
  }

  protected where(address?: Address): NetConnectOpts {
    return { path: address === undefined ? this.#path() : pathOf(address) };
  }

  protected addressOf(server: Server, where: NetConnectOpts): Address {
    return new UNIXAddress((where as { path: string }).path);
  }

  override async close(): Promise<void> {
    await super.close();
    rmSync(this.#directory, { recursive: true });
  }
}

function hasAddress(wanted: string): boolean {
  return Object.values(networkInterfaces()).some((all) =>
    all?.some(({ address }) => address === wanted),
  );
}

export const KINDS: readonly Kind[] = [
  {
    name: 'tcp',
    missing: '',
    resets: true,
    bindsLater: true,
    address: IPv4Address,
    refusal: ConnectionRefusedError,
    open: () => new TCPWorld('127.0.0.1'),
  },
  {
    name: 'tcp6',
    missing: hasAddress('::1') ? '' : 'this machine has no IPv6 loopback address',
    resets: true,
    bindsLater: true,
    address: IPv6Address,
    refusal: ConnectionRefusedError,
    open: () => new TCPWorld('::1'),
  },
  {
    name: 'unix',
    missing: process.platform === 'win32' ? 'Windows has no UNIX sockets' : '',
    resets: false,
    bindsLater: true,
    address: UNIXAddress,
    refusal: BadFileError,
    files: true,
    open: () => new UNIXWorld(),
  },
  {
    name: 'duplex',
    missing: '',
    resets: true,
    bindsLater: true,
    address: IPv4Address,
    refusal: ConnectionRefusedError,
    open: () => new TCPWorld('127.0.0.1', new Reactor({ io: new DuplexIO() })),
  },
  {
    name: 'stdio',
    missing: process.platform === 'win32' ? 'Windows has no FIFOs' : '',
    resets: false,
    bindsLater: true,
    address: PipeAddress,
    refusal: ConnectionRefusedError,
    unborn: true,
    open: () => new StdioWorld(),
  },
  {
    name: 'sim',
    missing: '',
    resets: true,
    bindsLater: true,
    address: IPv4Address,
    refusal: ConnectionRefusedError,
    open: () => new SimWorld({ level: 'ideal', latency: [0.0001, 0.004] }, false),
  },
  {
    name: 'sim-unix',
    missing: '',
    resets: false,
    bindsLater: true,
    address: UNIXAddress,
    refusal: BadFileError,
    open: () => new SimWorld({ level: 'ideal', latency: [0.0001, 0.004] }, true),
  },
];

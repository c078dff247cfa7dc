/**
 * A world whose connections are pairs of pipes, as standard I/O is. Such a connection is given to a protocol, and not
 * made by a port or a connector: what stands for these here only passes on pipes.
 */
import { spawnSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  type Address,
  type IClientFactory,
  type IConnector,
  type IListeningPort,
  type IProtocolFactory,
  PipeAddress,
  Reactor,
  StandardIO,
  succeed,
} from 'plait';
import type { Peer, PeerOptions, RawPort, World } from './kinds.ts';

/** Longer than anything takes that will happen at all, in seconds. */
const PATIENCE = 600;

/** Enough for whatever is under way on this machine. */
const TURNS = 12;

class StdioPeer implements Peer {
  readonly reader: Socket;
  readonly writer: Socket;
  readonly #chunks: Buffer[] = [];
  count = 0;
  ended = false;
  error = '';

  constructor(reader: number, writer: number, { paused = false }: PeerOptions) {
    this.reader = new Socket({ fd: reader, readable: true, writable: false });
    this.writer = new Socket({ fd: writer, readable: false, writable: true });
    if (paused) this.reader.pause();
    this.reader.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.count += chunk.length;
    });
    this.reader.on('end', () => (this.ended = true));
    for (const socket of [this.reader, this.writer])
      socket.on('error', (error: NodeJS.ErrnoException) => (this.error = error.code ?? 'unknown'));
    if (!paused) this.reader.resume();
  }

  get closed(): boolean {
    return this.reader.closed && this.writer.closed;
  }

  get unsent(): number {
    return this.writer.writableLength;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  text(): string {
    return this.bytes().toString();
  }

  say(data: Uint8Array | string): void {
    this.writer.write(data);
  }

  end(): void {
    this.writer.end();
  }

  close(): void {
    this.reader.destroy();
    this.writer.destroy();
  }

  reset(): void {
    this.close();
  }

  pause(): void {
    this.reader.pause();
  }

  resume(): void {
    this.reader.resume();
  }
}

export class StdioWorld implements World {
  readonly reactor: Reactor = new Reactor();
  readonly #directory: string = mkdtempSync(join(tmpdir(), 'plait-'));
  readonly #peers: StdioPeer[] = [];
  /** What `listen` was last given. */
  #factory: IProtocolFactory | undefined;
  /** What `answer` was last given, and the peers that came to it. */
  #answering: { readonly options: PeerOptions; readonly peers: StdioPeer[] } | undefined;

  /** A new connection of a protocol that `factory` builds. */
  #connect(factory: IProtocolFactory, options: PeerOptions): StdioPeer {
    const paths = ['to', 'from'].map((name) => join(this.#directory, name));
    spawnSync('mkfifo', paths);
    const [to, from] = paths.map((path) => [
      openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
      openSync(path, constants.O_WRONLY | constants.O_NONBLOCK),
    ]) as [[number, number], [number, number]];
    for (const path of paths) rmSync(path);
    const peer = new StdioPeer(from[0], to[1], options);
    this.#peers.push(peer);
    const protocol = factory.buildProtocol(new PipeAddress());
    if (protocol === null) throw new TypeError('there is no refusing here');
    new StandardIO(protocol, { stdin: to[0], stdout: from[1], reactor: this.reactor });
    return peer;
  }

  listen(factory: IProtocolFactory): IListeningPort {
    this.#factory = factory;
    const port: IListeningPort = {
      get ready() {
        return succeed(port);
      },
      startListening() {},
      stopListening: () => succeed(),
      getHost: () => new PipeAddress(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    return port;
  }

  async call(_to: Address, options: PeerOptions = {}): Promise<Peer> {
    return this.#connect(this.#factory!, options);
  }

  async answer(options: PeerOptions = {}): Promise<RawPort> {
    const peers: StdioPeer[] = [];
    this.#answering = { options, peers };
    return {
      address: new PipeAddress(),
      count: 0,
      peer: async () => peers.shift()!,
      close() {},
    };
  }

  connect(_to: Address, factory: IClientFactory): IConnector {
    const { options, peers } = this.#answering!;
    peers.push(this.#connect(factory, options));
    return {} as IConnector;
  }

  nobody(): Promise<Address> {
    return Promise.reject(new TypeError('there are no addresses'));
  }

  foreign(): Address {
    throw new TypeError('there are no addresses');
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
    for (const peer of this.#peers) peer.close();
    await this.until(() => this.#peers.every(({ closed }) => closed));
    rmSync(this.#directory, { recursive: true });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

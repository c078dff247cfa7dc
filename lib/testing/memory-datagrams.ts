/**
 * Datagrams that go nowhere: a socket that keeps what is sent, and over it a transport to hand to a protocol. Twisted:
 * `FakeDatagramTransport` of `twisted.internet.testing`.
 */
import { IPv4Address, type IPv6Address } from '../address.ts';
import type { Deferred } from '../defer.ts';
import type { DatagramSource, IDatagramProtocol } from '../interfaces.ts';
import type { DatagramEvents, DatagramSocket, IO } from '../io/io.ts';
import { Port } from '../transport/udp.ts';
import { memoryHome } from './pump.ts';
import { Turns } from './turns.ts';
import { INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

const HOST = new IPv4Address('UDP', '10.0.0.1', 12_345);

/** A datagram that was sent. */
export interface SentDatagram {
  readonly data: Buffer;
  /** To whom; undefined if it was sent to whom the port is connected to. */
  readonly to: { readonly host: string; readonly port: number } | undefined;
}

/** A socket that keeps what is sent. */
export class MemoryDatagramSocket implements DatagramSocket {
  readonly sent: SentDatagram[] = [];
  /** Who it was connected to. */
  peer: { readonly host: string; readonly port: number } | undefined;
  readonly bufferedBytes = 0;
  readonly #turns: Turns;
  readonly #events: DatagramEvents;

  constructor(turns: Turns, events: DatagramEvents, address: IPv4Address | IPv6Address) {
    this.#turns = turns;
    this.#events = events;
    events.bound(address);
  }

  /** A datagram arrives from `from`. */
  receive(data: Uint8Array | string, from: DatagramSource): void {
    this.#events.received(Buffer.from(data as Uint8Array), from);
  }

  send(data: Uint8Array, to?: { readonly host: string; readonly port: number }): void {
    this.sent.push({ data: Buffer.from(data), to });
  }

  connect(host: string, port: number): void {
    this.peer = { host, port };
  }

  close(): void {
    this.#turns.soon(() => this.#events.closed());
  }

  setBroadcast(): void {}

  joinGroup(): void {}

  leaveGroup(): void {}

  setMulticastTTL(): void {}

  setMulticastLoopback(): void {}

  setMulticastInterface(): void {}

  toString(): string {
    return told(this, `${this.sent.length} sent`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Options of {@link FakeDatagramTransport}. */
export interface FakeDatagramTransportOptions {
  /** What `getHost` returns, and so which family of addresses it sends to. Default: 10.0.0.1:12345. */
  readonly hostAddress?: IPv4Address | IPv6Address;
}

/** Who is served by a transport that a test hands out itself. */
const NOBODY: IDatagramProtocol = { makeConnection() {}, doStop() {}, datagramReceived() {} };

/**
 * A port that keeps what is sent. It takes and refuses what a bound port does: a name in place of an address, a datagram
 * that is too long. What arrives is said by calling the protocol's `datagramReceived`.
 *
 * @example
 * const transport = new FakeDatagramTransport();
 * const protocol = new DatagramProtocol();
 * protocol.makeConnection(transport);
 * protocol.transport.write('hello', ['192.0.2.7', 9]);
 * transport.written.map(({ data, to }) => `${data} to ${to?.host}`); // [ 'hello to 192.0.2.7' ]
 */
export class FakeDatagramTransport extends Port {
  readonly #turns: Turns;
  readonly #socket: () => MemoryDatagramSocket;

  constructor(options: FakeDatagramTransportOptions = {}) {
    const { hostAddress = HOST } = options;
    const turns = new Turns();
    let socket: MemoryDatagramSocket | undefined;
    const io: Pick<IO, 'name' | 'datagram'> = {
      name: 'memory',
      datagram: (_target, events) =>
        (socket = new MemoryDatagramSocket(turns, events, hostAddress)),
    };
    const target = { host: hostAddress.host, port: hostAddress.port, shared: false };
    super({ ...memoryHome(turns), seconds: () => 0 }, io as IO, target, NOBODY, {});
    this.#turns = turns;
    this.#socket = () => socket as MemoryDatagramSocket;
    this.startListening();
  }

  /** What was sent, in order. */
  get written(): readonly SentDatagram[] {
    return this.#socket().sent;
  }

  /** Where it was connected to; undefined if it was not. */
  get connectedTo(): { readonly host: string; readonly port: number } | undefined {
    return this.#socket().peer;
  }

  /** It is closed when this returns. */
  override stopListening(): Deferred<void> {
    const stopped = super.stopListening();
    Turns.flush(() => this.#turns.round());
    return stopped;
  }
}

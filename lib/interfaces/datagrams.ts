/** The contracts about datagrams, types only. */
import type { IPv4Address, IPv6Address } from '../address.ts';
import type { Deferred } from '../defer.ts';
import type { Failure } from '../failure.ts';
import type { HookOwner, HookResult } from './hooks.ts';
import type { IListeningPort } from './streams.ts';

/** Options of `listenUDP`. */
export interface ListenUDPOptions {
  /** The address to bind to; `''` (the default) for any IPv4 address, `::` for any address at all. */
  readonly interface?: string;
  /** How many bytes of a datagram are delivered; the rest of a longer one is dropped. Default: 8192. */
  readonly maxPacketSize?: number;
  /**
   * How many bytes may wait to be sent, where the system takes no more for the moment; datagrams beyond that are
   * dropped. Default: 1 MiB.
   */
  readonly maxBufferedBytes?: number;
}

/** Sends and receives datagrams. */
export interface IReactorUDP {
  /**
   * Binds `port` (0: any free one) and delivers each datagram to `protocol`. Returns at once; `startProtocol` is called
   * when it is bound, and the port's `ready` tells whether it could be.
   */
  listenUDP(port: number, protocol: IDatagramProtocol, options?: ListenUDPOptions): IUDPTransport;
}

/** Options of `listenMulticast`. */
export interface ListenMulticastOptions extends ListenUDPOptions {
  /** True if other sockets that were made so too may be bound to the same port. Default: false. */
  readonly listenMultiple?: boolean;
}

/** Sends and receives datagrams of groups. */
export interface IReactorMulticast {
  /** As `listenUDP`; the port can join groups. */
  listenMulticast(
    port: number,
    protocol: IDatagramProtocol,
    options?: ListenMulticastOptions,
  ): IMulticastTransport;
}

/** Where a datagram goes; the host is an IP address. What `datagramReceived` is given will do. */
export type DatagramAddress =
  { readonly host: string; readonly port: number } | readonly [host: string, port: number];

/** Where a datagram came from. */
export type DatagramSource = IPv4Address | IPv6Address;

/**
 * A port for datagrams, as its protocol sees it. What is sent may be lost, doubled or overtaken on its way; what arrives
 * is as it was sent.
 */
export interface IUDPTransport extends IListeningPort, HookOwner {
  /**
   * Sends one datagram, without waiting. A string is sent as UTF-8. The bytes must not be changed by the caller any
   * more. Nothing is sent, and nothing thrown, once the port is closed.
   *
   * Throws TypeError for anything that is neither a string nor a Uint8Array, InvalidAddressError for a host that is no
   * address of the port's family and for an address other than that which the port is connected to, MessageLengthError
   * above 65,507 bytes (IPv6: 65,527), RangeError for a port that cannot be, and NotListeningError before the port is
   * bound. What only the system finds out is told to `errorReceived` later.
   *
   * @param to may be left out when the port is connected
   */
  write(data: Uint8Array | string, to?: DatagramAddress): void;
  /** Sends the pieces as one datagram. */
  writeSequence(pieces: Iterable<Uint8Array | string>, to?: DatagramAddress): void;
  /**
   * Sends to this address from now on, and receives from it alone; once in a port's life. Throws InvalidAddressError,
   * RangeError, NotListeningError unless the port is bound, and ConnectError the second time.
   *
   * @param host an IP address
   */
  connect(host: string, port: number): void;
  /** Delivers nothing more and closes; fires when `stopProtocol` has been called and the port is free. */
  stopListening(): Deferred<void>;
  /** As `stopListening`. */
  loseConnection(): void;
  /** The address it is bound to; throws NotListeningError before. Still known when the port is closed. */
  getHost(): IPv4Address | IPv6Address;
  getBroadcastAllowed(): boolean;
  /** On: datagrams may be sent to all hosts of a network. Off by default. */
  setBroadcastAllowed(enabled: boolean): void;
  /** How many bytes wait to be sent; nearly always 0, since the system takes them at once. */
  readonly bufferedBytes: number;
  /** For a log. */
  toString(): string;
}

/**
 * A port that can be in multicast groups. What is set is forgotten when the port is closed. The setters throw
 * NotListeningError unless the port is bound.
 */
export interface IMulticastTransport extends IUDPTransport {
  /**
   * Receives what is sent to `group` as well. Fails with MulticastJoinError, InvalidAddressError or NotListeningError.
   *
   * @param where the local interface: its IPv4 address, or its name if the group is IPv6; `''`: the system's choice
   */
  joinGroup(group: string, where?: string): Deferred<void>;
  /** Undoes a `joinGroup` with the same arguments. Fails as that does. */
  leaveGroup(group: string, where?: string): Deferred<void>;
  /** How many hops datagrams to groups may take; 1 at first. */
  getTTL(): number;
  /** Throws RangeError unless it is a whole number from 0 to 255. */
  setTTL(ttl: number): void;
  /** True if datagrams to groups are received on this machine too; so at first. */
  getLoopbackMode(): boolean;
  setLoopbackMode(enabled: boolean): void;
  /** What was set; `''` at first: the system's choice. */
  getOutgoingInterface(): string;
  /** From where datagrams to groups are sent; written as in `joinGroup`. Fails with InvalidAddressError. */
  setOutgoingInterface(where: string): Deferred<void>;
}

/** What a port for datagrams calls. */
export interface IDatagramProtocol {
  /** Called when the port is bound, with the port. Calls `startProtocol`. */
  makeConnection(transport: IUDPTransport): HookResult;
  /** The port is closed. Called once, and last. Calls `stopProtocol`. */
  doStop(): HookResult;
  /** A datagram has arrived. The protocol owns the buffer. */
  datagramReceived(data: Buffer, from: DatagramSource): HookResult;
  /** Nobody listens where the port is connected to. */
  connectionRefused?(): HookResult;
  /** The port could not be connected. Without it, `errorReceived` is told. */
  connectionFailed?(reason: Failure): HookResult;
  /** Something could not be sent or received. Without it, that is logged. */
  errorReceived?(reason: Failure): HookResult;
}

/**
 * What the default body makes of a listening socket: TCP or UNIX, made or adopted.
 */
import { closeSync, fstatSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, Socket } from 'node:net';
import {
  type Address,
  type IPv4Address,
  type IPv6Address,
  ipAddress,
  UNIXAddress,
} from '../address.ts';
import { UnsupportedAddressFamily, UnsupportedSocketType } from '../errors.ts';
import type { AddressFamily } from '../interfaces.ts';
import { DescriptorWatch } from './descriptors.ts';
import type { ListenerEvents, ListenTarget, PathTarget, Wire, WireListener } from './io.ts';
import { localAddressOf, NodeWire, tcpWire, zoned } from './node-wire.ts';
import { isAbstract, pathError, SocketFile } from './unix-path.ts';

/** How many of its own addresses a listener keeps. */
const MOST_OWN = 64;

/** Takes connections until it is closed. */
export class NodeListener implements WireListener {
  readonly #server: Server;
  readonly #events: ListenerEvents;
  readonly #watch: DescriptorWatch;
  /** As it was asked for: of both ends of each connection, the kernel knows less. */
  readonly #host: string;
  #file: SocketFile | undefined;
  #unix: UNIXAddress | undefined;
  /** This end of every connection, if it is bound to one address. */
  #own: Address | undefined;
  /** Else those that connections have had so far, by their text. */
  readonly #owns = new Map<string, Address>();
  #listening = false;
  /** It is bound, but cannot be used: that is told in a later turn. */
  #unusable = false;
  #over = false;

  private constructor(events: ListenerEvents, host: string, unix?: UNIXAddress) {
    this.#events = events;
    this.#host = host;
    this.#unix = unix;
    this.#watch = new DescriptorWatch((error) => events.starved?.(error));
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#watch.used();
      this.#accepted(socket);
    });
    this.#server.on('error', (error) => {
      if (!this.#unusable) this.#failed(error);
    });
    this.#server.on('listening', () => this.#bound());
  }

  /** Binds a socket. */
  static open(target: ListenTarget, events: ListenerEvents): NodeListener {
    if (!('path' in target)) {
      const listener = new NodeListener(events, target.host);
      listener.#server.listen(target);
      return listener;
    }
    const listener = new NodeListener(events, '', new UNIXAddress(target.path));
    try {
      listener.#bindUNIX(target);
    } catch (error) {
      listener.#file?.remove();
      listener.#failLater(error as Error);
    }
    return listener;
  }

  #bindUNIX({ path, mode, backlog, wantPID = false }: PathTarget): void {
    const error = pathError(path);
    if (error !== undefined) throw error;
    // Without `exclusive`, in a cluster, it would be another process that binds it.
    const server = this.#server;
    if (isAbstract(path)) {
      server.listen({ path, backlog, exclusive: true });
      return;
    }
    const file = new SocketFile(path, mode, wantPID);
    this.#file = file;
    server.listen({ path: file.open(), backlog, exclusive: true });
    if (server.listening) file.place();
    else file.remove(); // what is wrong is told in a later turn
  }

  /** Goes on with a socket that is bound, perhaps listening, already. */
  static adopt(
    fd: number,
    family: AddressFamily,
    backlog: number,
    events: ListenerEvents,
  ): NodeListener {
    const { ino } = socketStat(fd);
    const unix = family === 'AF_UNIX' ? new UNIXAddress(null) : undefined;
    const listener = new NodeListener(events, '', unix);
    const server = listener.#server;
    server.listen({ fd, backlog });
    if (server.listening) {
      const actual = familyOf(server.address());
      if (actual !== family) listener.#failLater(familyError(fd, family, actual));
    } else {
      // Node has closed what is a stream and cannot listen, and left the rest alone.
      if (isStill(fd, ino)) closeSync(fd);
      listener.#failLater(
        new UnsupportedSocketType(`descriptor ${fd} is no stream socket that can listen`),
      );
    }
    return listener;
  }

  #bound(): void {
    if (this.#over || this.#unusable) return;
    this.#listening = true;
    const address = this.#unix ?? this.#address();
    if (address instanceof UNIXAddress || !isAny(address.host)) this.#own = address;
    this.#events.listening(address);
  }

  #address(): IPv4Address | IPv6Address {
    const { address, port } = this.#server.address() as AddressInfo;
    return ipAddress('TCP', zoned(address, this.#host), port);
  }

  #accepted(socket: Socket): void {
    const { remoteAddress, remotePort = 0 } = socket;
    if (this.#unix !== undefined) {
      this.#events.accepted(new NodeWire(socket, this.#unix, new UNIXAddress(null)));
    } else if (remoteAddress !== undefined) {
      const host = zoned(remoteAddress, this.#host);
      this.#events.accepted(tcpWire(socket, host, remotePort, this.#ownAddress(socket, host)));
    }
    // The client is gone before we have heard of it: there is no address, and nobody to serve.
    else socket.destroy();
  }

  /** This end of a connection: the same object for all that have the same, since there may be very many. */
  #ownAddress(socket: Socket, peer: string): Address {
    if (this.#own !== undefined) return this.#own;
    const address = localAddressOf(socket, peer);
    const name = address.toString();
    const known = this.#owns.get(name);
    if (known === undefined && this.#owns.size < MOST_OWN) this.#owns.set(name, address);
    return known ?? address;
  }

  #failLater(error: Error): void {
    this.#unusable = true;
    process.nextTick(() => this.#failed(error));
  }

  #failed(error: Error): void {
    if (this.#over || this.#listening) return;
    this.#over = true;
    if (this.#server.listening) this.#server.close();
    this.#events.failed(error);
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#watch.stop();
    this.#file?.remove();
    // Node reports the end of a server only when its last connection is gone; the port is free at once.
    this.#server.close(() => {});
    setImmediate(() => {
      this.#events.closed();
    });
  }
}

/** Goes on with a connection that somebody else has made. */
export function adoptWire(fd: number, family: AddressFamily): Wire {
  const { ino } = socketStat(fd);
  let socket: Socket;
  try {
    socket = new Socket({ fd, allowHalfOpen: true });
  } catch (error) {
    if (isStill(fd, ino)) closeSync(fd);
    throw new UnsupportedSocketType(`descriptor ${fd} is no stream socket`, { cause: error });
  }
  const actual = familyOf(socket.address());
  if (actual !== family) {
    socket.destroy();
    throw familyError(fd, family, actual);
  }
  if (family === 'AF_UNIX')
    return new NodeWire(socket, new UNIXAddress(null), new UNIXAddress(null));
  socket.setNoDelay(true);
  return tcpWire(socket, family === 'AF_INET6' ? '::' : '0.0.0.0', 0);
}

/** True for an address that stands for all of the machine's. */
function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** What Node says of an address: nothing for a UNIX socket that it has not bound itself. */
function familyOf(address: Partial<AddressInfo> | string | null): AddressFamily {
  const family = typeof address === 'string' ? undefined : address?.family;
  if (family === undefined) return 'AF_UNIX';
  return family === 'IPv6' ? 'AF_INET6' : 'AF_INET';
}

function familyError(fd: number, family: AddressFamily, actual: AddressFamily): Error {
  return new UnsupportedAddressFamily(
    `cannot adopt descriptor ${fd} as one of ${family}: it is of ${actual}`,
  );
}

function socketStat(fd: number): { readonly ino: bigint } {
  let stat;
  try {
    stat = fstatSync(fd, { bigint: true });
  } catch (error) {
    throw new UnsupportedSocketType(`descriptor ${fd} is not open`, { cause: error });
  }
  if (!stat.isSocket()) throw new UnsupportedSocketType(`descriptor ${fd} is no socket`);
  return stat;
}

/** True while the descriptor is the one that it was. */
function isStill(fd: number, ino: bigint): boolean {
  try {
    return fstatSync(fd, { bigint: true }).ino === ino;
  } catch {
    return false;
  }
}

/**
 * Datagram sockets of the default body, by `node:dgram`, which is loaded when the first one is made. One of the few
 * files that touch the operating system.
 */
import type { Socket } from 'node:dgram';
import { ipAddress } from '../address.ts';
import { UnsupportedAddressFamily, UnsupportedSocketType } from '../errors.ts';
import type { DatagramEvents, DatagramSocket, DatagramTarget } from './io.ts';

/** A socket over `node:dgram`. */
export class NodeDatagramSocket implements DatagramSocket {
  readonly #socket: Socket;
  readonly #events: DatagramEvents;
  #bound = false;
  #connected = false;
  /** It has failed, or is being closed: only `closed` may still be reported. */
  #over = false;

  constructor(target: DatagramTarget, events: DatagramEvents) {
    this.#events = events;
    const { createSocket } = process.getBuiltinModule('node:dgram');
    const ipv6 = 'fd' in target ? target.family === 'IPv6' : target.host.includes(':');
    const socket = createSocket({
      type: ipv6 ? 'udp6' : 'udp4',
      // Hosts are literals. Node would wait for a turn with each datagram to learn that.
      lookup: (host, _options, done) => {
        done(null, host, ipv6 ? 6 : 4);
      },
      ...('fd' in target ? {} : { reuseAddr: target.shared }),
    });
    this.#socket = socket;
    socket.on('error', (error) => this.#failed(error));
    socket.on('message', (data, { address, port }) => {
      if (this.#bound && !this.#over) events.received(data, ipAddress('UDP', address, port));
    });
    // Node may say so from inside `bind`, but no data comes before this.
    socket.on('listening', () => process.nextTick(() => this.#listening(target)));
    try {
      socket.bind('fd' in target ? { fd: target.fd } : { address: target.host, port: target.port });
    } catch (error) {
      process.nextTick(() => this.#failed(error as Error));
    }
  }

  #listening(target: DatagramTarget): void {
    if (this.#over) return;
    const { address, family, port } = this.#socket.address();
    if ('fd' in target && family !== target.family) {
      this.#failed(
        new UnsupportedAddressFamily(
          `cannot adopt descriptor ${target.fd} as ${target.family}: it is bound to ${address}`,
        ),
      );
      return;
    }
    this.#bound = true;
    this.#events.bound(ipAddress('UDP', address, port));
  }

  #failed(error: Error): void {
    if (this.#over) return;
    if (this.#bound) {
      this.#report(error);
      return;
    }
    this.#over = true;
    this.#socket.close();
    const { code } = error as NodeJS.ErrnoException;
    this.#events.failed(
      code === 'ERR_INVALID_FD_TYPE'
        ? new UnsupportedSocketType('cannot adopt a descriptor that is no datagram socket', {
            cause: error,
          })
        : error,
    );
  }

  /** What went wrong with one datagram. A notice that nothing listens there means something only when connected. */
  #report(error: Error): void {
    const { code } = error as NodeJS.ErrnoException;
    // Windows calls it a reset.
    const refused = code === 'ECONNREFUSED' || code === 'ECONNRESET';
    if (!refused) this.#events.troubled(error);
    else if (this.#connected) this.#events.refused();
  }

  get bufferedBytes(): number {
    return this.#over ? 0 : this.#socket.getSendQueueSize();
  }

  send(data: Uint8Array, to?: { readonly host: string; readonly port: number }): void {
    try {
      if (to === undefined) this.#socket.send(data, this.#sent);
      else this.#socket.send(data, to.port, to.host, this.#sent);
    } catch (error) {
      // Connecting has failed a moment ago. Node complains of a port, since it was given none.
      const failure = new Error('the socket is not connected', { cause: error });
      process.nextTick(() => this.#failed(Object.assign(failure, { syscall: 'send' })));
    }
  }

  readonly #sent = (error: Error | null): void => {
    if (error !== null) this.#failed(error);
  };

  connect(host: string, port: number): void {
    this.#socket.connect(port, host, ((error?: Error) => {
      if (this.#over || error === undefined) return;
      this.#connected = false;
      this.#events.connectFailed(error);
    }) as () => void);
    this.#connected = true;
  }

  setBroadcast(enabled: boolean): void {
    this.#socket.setBroadcast(enabled);
  }

  joinGroup(group: string, where?: string): void {
    this.#socket.addMembership(group, where);
  }

  leaveGroup(group: string, where?: string): void {
    this.#socket.dropMembership(group, where);
  }

  setMulticastTTL(ttl: number): void {
    this.#socket.setMulticastTTL(ttl);
  }

  setMulticastLoopback(enabled: boolean): void {
    this.#socket.setMulticastLoopback(enabled);
  }

  setMulticastInterface(where: string): void {
    this.#socket.setMulticastInterface(where);
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.close(() => {
      this.#events.closed();
    });
  }
}

/**
 * What the default body makes of an attempt to connect, over TCP or to a UNIX socket.
 */
import { connect, isIPv6, type NetConnectOpts, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { UNIXAddress } from '../address.ts';
import type { Attempt, ConnectEvents, ConnectTarget } from './io.ts';
import { NodeWire, tcpWire } from './node-wire.ts';
import { lockError, pathError } from './unix-path.ts';

/** What is wrong with a target before the operating system is asked. */
function targetError(target: ConnectTarget): Error | undefined {
  if (!('path' in target)) return zoneError(target.host, target.port);
  const error = pathError(target.path);
  if (error !== undefined || target.checkPID !== true) return error;
  return lockError(target.path);
}

/**
 * What is wrong with the zone of a link-local address: there is none, or no such interface. The kernel refuses that; but
 * from Node 22 on it is not asked, and the connection goes out by whichever interface comes first.
 */
function zoneError(host: string, port: number): Error | undefined {
  if (!/^fe[89ab]/i.test(host) || !isIPv6(host) || process.platform === 'win32') return undefined;
  const [, zone = ''] = host.split('%');
  if (zone !== '' && isInterface(zone)) return undefined;
  const why = zone === '' ? 'its zone is missing, as in fe80::1%eth0' : `no interface ${zone}`;
  const message = `connect EINVAL ${host}:${port}: ${why}`;
  return Object.assign(new Error(message), {
    code: 'EINVAL',
    syscall: 'connect',
    address: host,
    port,
  });
}

function isInterface(name: string): boolean {
  try {
    return Object.hasOwn(networkInterfaces(), name);
  } catch {
    // They cannot be listed here.
    return true;
  }
}

/** A socket that is being connected. */
export class NodeAttempt implements Attempt {
  readonly #socket: Socket;
  #over = false;

  constructor(target: ConnectTarget, events: ConnectEvents) {
    const error = targetError(target);
    const socket =
      error === undefined
        ? connect({ ...options(target), allowHalfOpen: true })
        : new Socket().destroy(error);
    this.#socket = socket;
    const failed = (error: Error): void => {
      if (this.#over) return;
      this.#over = true;
      socket.destroy();
      events.failed(error);
    };
    socket.on('error', failed);
    socket.once('connect', () => {
      if (this.#over) return;
      this.#over = true;
      const wire =
        'path' in target
          ? new NodeWire(socket, new UNIXAddress(null), new UNIXAddress(target.path))
          : tcpWire(socket, target.host, target.port);
      socket.off('error', failed);
      events.connected(wire);
    });
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#socket.destroy();
  }
}

function options(target: ConnectTarget): NetConnectOpts {
  if ('path' in target) return { path: target.path };
  const { host, port, bindAddress } = target;
  return {
    host,
    port,
    noDelay: true,
    autoSelectFamily: false,
    ...(bindAddress === undefined ? {} : { localAddress: bindAddress.host }),
    ...(bindAddress?.port === undefined ? {} : { localPort: bindAddress.port }),
  };
}

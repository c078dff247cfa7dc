/**
 * What the default body makes of an attempt to connect, over TCP or to a UNIX socket.
 */
import { connect, type NetConnectOpts, Socket } from 'node:net';
import { UNIXAddress } from '../address.ts';
import type { Attempt, ConnectEvents, ConnectTarget } from './io.ts';
import { NodeWire, tcpWire } from './node-wire.ts';
import { lockError, pathError } from './unix-path.ts';

/** What is wrong with a target before the operating system is asked. */
function targetError(target: ConnectTarget): Error | undefined {
  if (!('path' in target)) return undefined;
  const error = pathError(target.path);
  if (error !== undefined || target.checkPID !== true) return error;
  return lockError(target.path);
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

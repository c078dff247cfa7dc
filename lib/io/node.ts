/**
 * The default body: Node's own sockets, by Node's public API. One of the few files that touch the operating system.
 */
import { lookup } from 'node:dns';
import { chmodSync } from 'node:fs';
import { connect, createServer, type NetConnectOpts, type Server, Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { ipAddress, UNIXAddress } from '../address.ts';
import type { Seconds } from '../interfaces.ts';
import type {
  Alarm,
  Attempt,
  ConnectEvents,
  ConnectTarget,
  IO,
  ListenerEvents,
  ListenTarget,
  WireListener,
} from './io.ts';
import { NodeWire, tcpWire } from './node-wire.ts';

/** Longer delays than this make Node's timers fire at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** How many bytes the path of a UNIX socket may have. Node cuts longer ones off, and uses what is left. */
const LONGEST_PATH = process.platform === 'linux' ? 107 : 103;

/** What is wrong with a target before the operating system is asked. */
function targetError(target: ListenTarget | ConnectTarget): Error | undefined {
  if (!('path' in target) || Buffer.byteLength(target.path) <= LONGEST_PATH) return undefined;
  return Object.assign(new Error(`a socket's path has at most ${LONGEST_PATH} bytes`), {
    code: 'ENAMETOOLONG',
  });
}

class NodeListener implements WireListener {
  readonly #server: Server;
  readonly #events: ListenerEvents;
  #listening = false;
  #over = false;

  constructor(target: ListenTarget, events: ListenerEvents) {
    this.#events = events;
    const unix = 'path' in target ? new UNIXAddress(target.path) : undefined;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      const { remoteAddress, remotePort = 0 } = socket;
      if (unix !== undefined) events.accepted(new NodeWire(socket, unix, new UNIXAddress(null)));
      else if (remoteAddress !== undefined)
        events.accepted(tcpWire(socket, remoteAddress, remotePort));
      // The client is gone before we have heard of it: there is no address, and nobody to serve.
      else socket.destroy();
    });
    this.#server.on('error', (error) => this.#failed(error));
    this.#server.on('listening', () => {
      if (this.#over) return;
      try {
        if ('path' in target) chmodSync(target.path, target.mode);
      } catch (error) {
        this.#server.close();
        this.#failed(error as Error);
        return;
      }
      this.#listening = true;
      const bound = this.#server.address();
      events.listening(
        typeof bound === 'object' && bound !== null
          ? ipAddress('TCP', bound.address, bound.port)
          : new UNIXAddress(bound),
      );
    });
    const error = targetError(target);
    if (error === undefined) this.#server.listen(target);
    else process.nextTick(() => this.#failed(error));
  }

  #failed(error: Error): void {
    if (this.#over || this.#listening) return;
    this.#over = true;
    this.#events.failed(error);
  }

  close(): void {
    if (this.#over) return;
    this.#over = true;
    // Node reports the end of a server only when its last connection is gone; the port is free at once.
    this.#server.close(() => {});
    setImmediate(() => {
      this.#events.closed();
    });
  }
}

class NodeAttempt implements Attempt {
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

class NodeAlarm implements Alarm {
  readonly #wake: () => void;
  readonly #now: () => Seconds;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  #due: Seconds = Infinity;
  #immediate: NodeJS.Immediate | undefined;

  constructor(wake: () => void, now: () => Seconds) {
    this.#wake = wake;
    this.#now = now;
  }

  set(time: Seconds): void {
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
    // To wake too early costs less than to set a timer anew for each call that is asked for and called off.
    if (this.#timer !== undefined && this.#due <= time) {
      this.#timer.ref();
      return;
    }
    const delay = time - this.#now();
    if (delay <= 0) {
      this.#immediate = setImmediate(this.#fire);
      return;
    }
    clearTimeout(this.#timer);
    this.#due = time;
    this.#timer = setTimeout(this.#fire, Math.min(Math.ceil(delay * 1000), LONGEST_TIMEOUT_MS));
  }

  clear(): void {
    this.#timer?.unref();
    this.#immediate?.unref();
  }

  readonly #fire = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#due = Infinity;
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
    this.#wake();
  };
}

/** Node's own sockets and timers. */
export class NodeIO implements IO {
  readonly name: string = 'node';

  now(): Seconds {
    return performance.now() / 1000;
  }

  alarm(wake: () => void): Alarm {
    return new NodeAlarm(wake, () => this.now());
  }

  soon(fn: () => void): void {
    setImmediate(fn);
  }

  keepAlive(): () => void {
    const timer = setInterval(() => {}, LONGEST_TIMEOUT_MS);
    return () => {
      clearInterval(timer);
    };
  }

  onSignal(name: string, fn: () => void): () => void {
    process.on(name, fn);
    return () => {
      process.off(name, fn);
    };
  }

  listen(target: ListenTarget, events: ListenerEvents): WireListener {
    return new NodeListener(target, events);
  }

  connect(target: ConnectTarget, events: ConnectEvents): Attempt {
    return new NodeAttempt(target, events);
  }

  resolve(
    host: string,
    done: (error: Error | undefined, addresses: readonly string[]) => void,
  ): Attempt {
    let over = false;
    lookup(host, { all: true, verbatim: true }, (error, found) => {
      if (over) return;
      over = true;
      if (error === null)
        done(
          undefined,
          found.map(({ address }) => address),
        );
      else done(error, []);
    });
    return {
      cancel() {
        over = true;
      },
    };
  }
}

/**
 * The default body: Node's own sockets, by Node's public API. One of the few files that touch the operating system.
 */
import { performance } from 'node:perf_hooks';
import type { AddressFamily, Seconds } from '../interfaces.ts';
import type {
  Alarm,
  Attempt,
  ConnectEvents,
  ConnectTarget,
  DatagramEvents,
  DatagramSocket,
  DatagramTarget,
  IO,
  ListenerEvents,
  ListenTarget,
  Wire,
  SpawnedProcess,
  SpawnEvents,
  SpawnTarget,
  WireListener,
} from './io.ts';
import { NodeAttempt } from './node-connect.ts';
import { NodeDatagramSocket } from './node-datagram.ts';
import { adoptWire, NodeListener } from './node-listen.ts';
import { lookUp } from './node-lookup.ts';
import { spawnChild } from './node-process.ts';
import { stdioWire } from './node-stdio.ts';

/** Longer delays than this make Node's timers fire at once. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

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

  unref(): void {
    this.clear();
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

  exit(code: number): void {
    process.exit(code);
  }

  spawn(target: SpawnTarget, events: SpawnEvents): SpawnedProcess {
    return spawnChild(target, events);
  }

  stdio(stdin: number, stdout: number): Wire {
    return stdioWire(stdin, stdout);
  }

  datagram(target: DatagramTarget, events: DatagramEvents): DatagramSocket {
    return new NodeDatagramSocket(target, events);
  }

  listen(target: ListenTarget, events: ListenerEvents): WireListener {
    return NodeListener.open(target, events);
  }

  connect(target: ConnectTarget, events: ConnectEvents): Attempt {
    return new NodeAttempt(target, events);
  }

  adoptPort(
    fd: number,
    family: AddressFamily,
    backlog: number,
    events: ListenerEvents,
  ): WireListener {
    return NodeListener.adopt(fd, family, backlog, events);
  }

  adoptConnection(fd: number, family: AddressFamily): Wire {
    return adoptWire(fd, family);
  }

  resolve(
    host: string,
    done: (error: Error | undefined, addresses: readonly string[]) => void,
    family?: 4 | 6,
  ): Attempt {
    return lookUp(host, family, done);
  }
}

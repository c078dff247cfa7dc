/** Listening on a simulated machine. */
import { ipAddress, UNIXAddress } from '../../address.ts';
import { Fifo } from '../../fifo.ts';
import type { Seconds } from '../../interfaces.ts';
import type { ListenerEvents, ListenTarget, WireListener } from '../../io/io.ts';
import type { Machine } from './machine.ts';
import { systemError } from './system-error.ts';
import type { SimWire } from './wire.ts';

export class SimListener implements WireListener {
  readonly machine: Machine;
  readonly #target: ListenTarget;
  readonly #events: ListenerEvents;
  readonly #queue = new Fifo<() => void>();
  #port = 0;
  #address = '';
  #state: 'binding' | 'listening' | 'over' = 'binding';

  constructor(machine: Machine, target: ListenTarget, events: ListenerEvents) {
    this.machine = machine;
    this.#target = target;
    this.#events = events;
    machine.network.kernel.after(0, () => {
      if (this.#state === 'binding') this.#bind();
    });
  }

  #bind(): void {
    const { machine } = this;
    const target = this.#target;
    try {
      this.#claim();
    } catch (error) {
      this.#state = 'over';
      this.#events.failed(error as Error);
      return;
    }
    machine.open.add(this);
    this.#state = 'listening';
    const address =
      'path' in target ? new UNIXAddress(target.path) : ipAddress('TCP', target.host, this.#port);
    this.#address = String(address);
    machine.network.note(machine, 'listen', this.#address);
    this.#events.listening(address);
  }

  #claim(): void {
    const { machine } = this;
    const target = this.#target;
    if (machine.exhausted) throw systemError('EMFILE', 'listen');
    if ('path' in target) {
      const error = pathError(machine, target.path, 'listen');
      if (error !== undefined) throw error;
      if (machine.paths.has(target.path))
        throw systemError('EADDRINUSE', 'listen', { address: target.path });
      machine.paths.set(target.path, this);
      return;
    }
    const { host, port } = target;
    if (!machine.owns(host)) throw systemError('EADDRNOTAVAIL', 'listen', { address: host, port });
    this.#port = port === 0 ? machine.freePort() : port;
    machine.bind(this, host, this.#port);
  }

  get listening(): boolean {
    return this.#state === 'listening';
  }

  /** Calls `accept` in `delay` seconds, and not before those who have been there longer. */
  take(delay: Seconds, accept: () => void): void {
    const { kernel } = this.machine.network;
    kernel.after(delay, () => {
      this.#queue.add(accept);
      kernel.after(0, () => {
        if (this.#queue.size > 0) this.#queue.take()();
      });
    });
  }

  /**
   * Somebody has connected, and is turned away where there is no descriptor or nobody listens any more, as a kernel does.
   *
   * @param name of the connection
   * @param struck true if there is no descriptor in any case
   */
  accept(wire: SimWire, name: string, struck: boolean): void {
    const { machine } = this;
    if (this.#state !== 'listening') wire.reset();
    else if (struck || machine.exhausted) {
      wire.destroy();
      this.#events.starved?.(systemError('EMFILE', 'accept'));
    } else {
      wire.hold();
      machine.network.note(machine, 'accept', `${name} from ${wire.peer}`);
      this.#events.accepted(wire);
    }
  }

  toString(): string {
    return `a port at ${this.#address}`;
  }

  close(): void {
    if (this.#state === 'over') return;
    const { machine } = this;
    const target = this.#target;
    if (this.#state === 'listening') {
      machine.open.delete(this);
      if ('path' in target) machine.paths.delete(target.path);
      else machine.unbind(target.host, this.#port);
    }
    this.#state = 'over';
    machine.network.kernel.after(0, () => {
      this.#events.closed();
    });
  }
}

/** How many bytes the path of a UNIX socket may have. */
const LONGEST_PATH = 107;

/** What a system says of a path at which no socket can be. Names that begin with a NUL are in no folder. */
export function pathError(
  machine: Machine,
  path: string,
  syscall: string,
): NodeJS.ErrnoException | undefined {
  const details = { address: path };
  if (Buffer.byteLength(path) > LONGEST_PATH) return systemError('ENAMETOOLONG', syscall, details);
  const slash = path.lastIndexOf('/');
  const folder = slash === 0 ? '/' : path.slice(0, Math.max(0, slash));
  const known = path.startsWith('\0') || machine.folders.has(folder);
  return known ? undefined : systemError('ENOENT', syscall, details);
}

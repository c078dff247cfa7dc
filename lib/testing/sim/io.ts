/**
 * The body of a reactor on a simulated machine.
 */
import { ipAddress, UNIXAddress } from '../../address.ts';
import { asciiLowerCase } from '../../bytes.ts';
import type { Seconds } from '../../interfaces.ts';
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
  WireListener,
} from '../../io/io.ts';
import { Connection } from './connection.ts';
import { SimDatagramSocket } from './datagram.ts';
import type { FaultKind } from './faults.ts';
import type { SimEvent } from './kernel.ts';
import { pathError, SimListener } from './listener.ts';
import type { Machine } from './machine.ts';
import type { Random } from './random.ts';
import { systemError } from './system-error.ts';

/** After how many seconds each an unanswered attempt is repeated, and when it is given up, as Linux does. */
const SYN_RETRIES: readonly Seconds[] = [1, 2, 4, 8, 16, 32];
const SYN_PATIENCE: Seconds = 127;

/** How long an address that nobody has is looked for. */
const ROUTE_PATIENCE: Seconds = 3;

/** A connection that is being made. */
class SimAttempt implements Attempt {
  readonly #machine: Machine;
  readonly #events: ConnectEvents;
  readonly #name: string;
  readonly #random: Random;
  readonly #target: ConnectTarget;
  #step: SimEvent | undefined;
  #over = false;

  constructor(machine: Machine, target: ConnectTarget, events: ConnectEvents) {
    const { network } = machine;
    this.#machine = machine;
    this.#events = events;
    this.#target = target;
    const to =
      'path' in target
        ? target.path
        : (network.machineAt(target.host, machine)?.name ?? target.host);
    this.#name = network.nameFor(machine, to);
    this.#random = network.kernel.random.stream(`connect ${this.#name}`);
    network.note(machine, 'connect', this.#name);
    machine.open.add(this);
    const error = this.#refusal();
    if (error !== undefined) this.#fail(0, error);
    else if ('path' in target) this.#dialPath(target.path);
    else this.#dial(target, 0);
  }

  /** What is wrong before anything is sent. */
  #refusal(): NodeJS.ErrnoException | undefined {
    const target = this.#target;
    const machine = this.#machine;
    if (machine.open.size > machine.descriptorLimit) return systemError('EMFILE', 'connect');
    if ('path' in target || target.bindAddress === undefined) return undefined;
    const { host, port = 0 } = target.bindAddress;
    const details = { address: host, port };
    if (host !== '' && host.includes(':') !== target.host.includes(':'))
      return systemError('EINVAL', 'bind', details);
    if (host !== '' && !machine.owns(host)) return systemError('EADDRNOTAVAIL', 'bind', details);
    if (port !== 0 && machine.listenerAt(host, port) !== undefined)
      return systemError('EADDRINUSE', 'bind', details);
    return undefined;
  }

  #strikes(kind: FaultKind): Random | undefined {
    const { faults, conditions } = this.#machine.network;
    const details = faults.strike(kind, this.#name, conditions.faults[kind]);
    if (details !== undefined) this.#machine.network.note(this.#machine, `! ${kind}`, this.#name);
    return details;
  }

  #after(delay: Seconds, fn: () => void): void {
    this.#step = this.#machine.network.kernel.after(delay, fn);
  }

  #fail(delay: Seconds, error: Error): void {
    this.#after(delay, () => {
      this.#end();
      this.#machine.network.note(this.#machine, 'refused', `${this.#name} ${error.message}`);
      this.#events.failed(error);
    });
  }

  #end(): void {
    this.#over = true;
    this.#machine.open.delete(this);
  }

  toString(): string {
    return `an attempt to connect, ${this.#name}`;
  }

  #dialPath(path: string): void {
    const listener = this.#machine.paths.get(path);
    const error =
      pathError(this.#machine, path, 'connect') ??
      (listener === undefined
        ? systemError('ENOENT', 'connect', { address: path })
        : this.#strikes('refuse') && systemError('ECONNREFUSED', 'connect', { address: path }));
    if (error !== undefined || listener === undefined) this.#fail(0, error as Error);
    else this.#after(0, () => this.#meet(listener, new UNIXAddress(null), new UNIXAddress(path)));
  }

  /** Says that it wants a connection, for the first time or again. */
  #dial(target: Extract<ConnectTarget, { host: string }>, attempt: number): void {
    const machine = this.#machine;
    const { network } = machine;
    const details = { address: target.host, port: target.port };
    const there = network.machineAt(target.host, machine);
    if (there === undefined) {
      this.#fail(ROUTE_PATIENCE, systemError('EHOSTUNREACH', 'connect', details));
      return;
    }
    if (attempt === 0) {
      const outage = there === machine ? undefined : this.#strikes('partition');
      if (outage !== undefined && !network.isDown(machine, there)) {
        network.cut(machine, there);
        network.kernel.after(outage.scale(0.25, 9), () => network.mend(machine, there));
      }
      if (this.#strikes('blackhole') !== undefined) {
        this.#fail(SYN_PATIENCE, systemError('ETIMEDOUT', 'connect', details));
        return;
      }
    }
    if (network.isDown(machine, there)) {
      const wait = SYN_RETRIES[attempt];
      if (wait === undefined)
        this.#fail(SYN_PATIENCE / 2, systemError('ETIMEDOUT', 'connect', details));
      else this.#after(wait, () => this.#dial(target, attempt + 1));
      return;
    }
    const oneWay = network.latency(this.#random);
    this.#after(oneWay, () => {
      const listener = there.listenerAt(target.host, target.port);
      if (listener?.listening !== true || this.#strikes('refuse') !== undefined) {
        this.#fail(oneWay, systemError('ECONNREFUSED', 'connect', details));
        return;
      }
      const mine = target.bindAddress?.host || machine.addressFor(target.host);
      const port = target.bindAddress?.port || machine.freePort();
      this.#after(oneWay, () =>
        this.#meet(
          listener,
          ipAddress('TCP', mine, port),
          ipAddress('TCP', target.host, target.port),
        ),
      );
    });
  }

  /** The listener has said yes. Which of the two sides hears of it first is open. */
  #meet(
    listener: SimListener,
    mine: ReturnType<typeof ipAddress> | UNIXAddress,
    theirs: ReturnType<typeof ipAddress> | UNIXAddress,
  ): void {
    const machine = this.#machine;
    const { network } = machine;
    this.#end();
    const exhausted = this.#strikes('exhaust') !== undefined;
    const connection = new Connection(
      network,
      this.#name,
      { machine, address: mine },
      { machine: listener.machine, address: theirs },
    );
    connection.client.hold();
    const delay = listener.machine === machine ? 0 : network.latency(this.#random);
    listener.take(delay, () => listener.accept(connection.server, this.#name, exhausted));
    network.note(machine, 'connected', `${this.#name} to ${theirs}`);
    this.#events.connected(connection.client);
  }

  cancel(): void {
    if (this.#over) return;
    this.#step?.cancel();
    this.#end();
  }
}

class SimAlarm implements Alarm {
  readonly #machine: Machine;
  readonly #wake: () => void;
  #event: SimEvent | undefined;
  #due: Seconds = Infinity;

  constructor(machine: Machine, wake: () => void) {
    this.#machine = machine;
    this.#wake = wake;
  }

  set(time: Seconds): void {
    // To wake too early costs less than an event for each call that is asked for and called off.
    if (this.#event?.pending === true && this.#due <= time) return;
    this.#event?.cancel();
    this.#due = time;
    this.#event = this.#machine.network.kernel.at(time, this.#wake);
  }

  clear(): void {
    this.#event?.cancel();
  }

  /** A simulated process lives on. */
  unref(): void {}
}

/** What a simulated machine offers to a reactor. */
export class SimIO implements IO {
  readonly name: string;
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.name = `sim:${machine.name}`;
  }

  now(): Seconds {
    return this.#machine.network.kernel.now;
  }

  alarm(wake: () => void): Alarm {
    return new SimAlarm(this.#machine, wake);
  }

  soon(fn: () => void): void {
    this.#machine.soon(fn);
  }

  keepAlive(): () => void {
    return () => {};
  }

  onSignal(name: string, fn: () => void): () => void {
    return this.#machine.onSignal(name, fn);
  }

  listen(target: ListenTarget, events: ListenerEvents): WireListener {
    return new SimListener(this.#machine, target, events);
  }

  connect(target: ConnectTarget, events: ConnectEvents): Attempt {
    return new SimAttempt(this.#machine, target, events);
  }

  datagram(target: DatagramTarget, events: DatagramEvents): DatagramSocket {
    return new SimDatagramSocket(this.#machine, target, events);
  }

  resolve(
    host: string,
    done: (error: Error | undefined, addresses: readonly string[]) => void,
    family?: 4 | 6,
  ): Attempt {
    const machine = this.#machine;
    const { network } = machine;
    const lookup = network.nameFor(machine, `name ${host}`);
    const random = network.kernel.random.stream(`lookup ${lookup}`);
    const entry = network.names.get(asciiLowerCase(host));
    const known = network.named(host);
    const all =
      entry?.addresses ??
      (host === 'localhost' ? ['127.0.0.1', '::1'] : known && [known.ipv4, known.ipv6]);
    const addresses = all?.filter(
      (address) => family === undefined || address.includes(':') === (family === 6),
    );
    const struck = network.faults.strike('lookup', lookup, network.conditions.faults.lookup);
    const code = struck !== undefined ? 'EAI_AGAIN' : (entry?.error ?? 'ENOTFOUND');
    const fails =
      struck !== undefined ||
      entry?.error !== undefined ||
      addresses === undefined ||
      addresses.length === 0;
    const event = network.kernel.after(entry?.delay ?? 2 * network.latency(random), () => {
      network.note(machine, 'lookup', `${host}: ${fails ? code : addresses.join(' ')}`);
      if (fails) done(systemError(code, 'getaddrinfo', { address: host }), []);
      else done(undefined, addresses);
    });
    return event;
  }
}

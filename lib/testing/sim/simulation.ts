/**
 * A network in memory, and virtual time. Machines have names; each has a reactor, with the same API as the process's
 * own, so that a program runs here as it is. What the network does to it follows from a seed.
 */
import { checkSeconds } from '../../arguments.ts';
import { asciiLowerCase } from '../../bytes.ts';
import type { Deferred } from '../../defer.ts';
import { neededNow } from '../../hooks.ts';
import type { IDelayedCall, Seconds } from '../../interfaces.ts';
import { Failure } from '../../failure.ts';
import type { IO } from '../../io/io.ts';
import { Reactor } from '../../reactor.ts';
import { type Conditions, conditionsOf, type ConditionsLike } from './faults.ts';
import { SimIO } from './io.ts';
import { Kernel, type SimEvent } from './kernel.ts';
import type { Machine } from './machine.ts';
import { Network } from './network.ts';
import { Outside } from './outside.ts';
import type { Random } from './random.ts';
import { Trace } from './trace.ts';
import { count, INSPECT, inspected, type Inspecting, told } from '../../one-line.ts';

/** Options of {@link Simulation}. */
export interface SimulationOptions {
  /** What all chance follows from. Default: 0. */
  readonly seed?: number | string;
  /** How the network behaves. Default: `calm`, which cuts and delays, and never fails. */
  readonly conditions?: ConditionsLike;
  /** The names of the faults that may strike; all if it is left out. */
  readonly only?: Iterable<string>;
  /** How many events the trace keeps, the latest. Default: 10,000; 0 is faster. */
  readonly trace?: number;
}

/** How a simulation came to stop: the condition held, nothing was left to happen, or there was no time left. */
export type Halt = 'done' | 'idle' | 'late';

/** The reactor of a simulated machine. */
export class SimReactor extends Reactor {
  readonly #machine: Machine;

  /** @internal made by {@link Simulation.host} */
  constructor(machine: Machine) {
    super({ io: new SimIO(machine) });
    this.#machine = machine;
  }

  override callLater<A extends unknown[]>(
    delay: Seconds,
    fn: (...args: A) => unknown,
    ...args: A
  ): IDelayedCall {
    const { network } = this.#machine;
    if (!network.trace.wanted || typeof fn !== 'function')
      return super.callLater(delay, fn, ...args);
    const traced = (...given: A): unknown => {
      network.note(
        this.#machine,
        'timer',
        fn.name === '' ? '(a function without a name)' : fn.name,
      );
      return fn(...given);
    };
    Object.defineProperty(traced, 'name', { value: fn.name });
    return super.callLater(delay, traced, ...args);
  }
}

/** A machine of a simulated network. */
export class SimHost {
  readonly name: string;
  readonly reactor: SimReactor;
  /** The body of a further reactor, or for a peer that is no reactor's and says exact bytes. */
  readonly io: IO;
  readonly #machine: Machine;

  /** @internal made by {@link Simulation.host} */
  constructor(machine: Machine) {
    this.name = machine.name;
    this.#machine = machine;
    this.reactor = new SimReactor(machine);
    this.io = new SimIO(machine);
  }

  /** Its IPv4 address, and its IPv6 one. Its name can be looked up to them too. */
  get addresses(): readonly [string, string] {
    return [this.#machine.ipv4, this.#machine.ipv6];
  }

  /** How many descriptors are open: ports, connections, attempts. */
  get descriptors(): number {
    return this.#machine.open.size;
  }

  /** How many may be. Default: 1024. */
  get descriptorLimit(): number {
    return this.#machine.descriptorLimit;
  }

  set descriptorLimit(limit: number) {
    this.#machine.descriptorLimit = limit;
  }

  /** From now on UNIX sockets can lie in this folder. There are `/`, `/run`, `/tmp` and `/var/run` on each machine. */
  makeFolder(path: string): void {
    this.#machine.folders.add(path);
  }

  /** What is open, a line each. */
  get open(): readonly string[] {
    return [...this.#machine.open].map(String);
  }

  /** Sends its process a signal; false if nobody there handles it, where a real process would die of it. */
  signal(name: string): boolean {
    return this.#machine.signal(name);
  }

  toString(): string {
    return told(this, `${this.name} ${this.addresses[0]}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * A network in memory.
 *
 * @example
 * const sim = new Simulation({ seed: 1 });
 * sim.host('server').reactor.listenTCP(7, Factory.forProtocol(Echo));
 * const endpoint = new TCP4ClientEndpoint(sim.host('client').reactor, 'server', 7);
 * const connected = connectProtocol(endpoint, new Protocol());
 * sim.run();                                  // 'idle': nothing is left to happen
 * successResultOf(connected).connected;       // true
 */
export class Simulation {
  readonly #network: Network;
  readonly #kernel: Kernel;
  readonly #hosts = new Map<string, SimHost>();
  readonly #outside: Outside;
  /** Who waits in `settle`, the last to begin last. */
  readonly #settling: object[] = [];
  /** Those of them that have nothing to do until another one is done. */
  #parked: (() => void)[] = [];
  /** Chance for the program's own use, from the same seed. */
  readonly random: Random;

  constructor(options: SimulationOptions = {}) {
    const { seed = 0, conditions, only, trace = 10_000 } = options;
    this.#outside = new Outside(`the simulation with the seed ${seed}`);
    this.#kernel = new Kernel(seed);
    this.random = this.#kernel.random.stream('program');
    this.#network = new Network(this.#kernel, new Trace(trace), conditionsOf(conditions), only);
  }

  /**
   * The machine of that name, which is there as soon as it is asked for.
   *
   * @throws RangeError for what is no name of a host, or differs from another's only in its capitals
   */
  host(name: string): SimHost {
    let host = this.#hosts.get(name);
    if (host === undefined) {
      host = new SimHost(this.#network.machine(name));
      this.#hosts.set(name, host);
    }
    return host;
  }

  /** All machines. */
  get hosts(): readonly SimHost[] {
    return [...this.#hosts.values()];
  }

  /** The time, in seconds since the beginning. */
  seconds(): Seconds {
    return this.#kernel.now;
  }

  /** Lets `fn` happen in `delay` seconds: a fault of your own, or a person who does something. */
  after(delay: Seconds, fn: () => void): SimEvent {
    return this.#kernel.after(checkSeconds(delay, 'after: delay'), fn);
  }

  /** What has happened. */
  get trace(): Trace {
    return this.#network.trace;
  }

  /** The names of the faults that have struck, in order. */
  get faults(): readonly string[] {
    return this.#network.faults.struck;
  }

  /** How many events have happened. */
  get events(): number {
    return this.#kernel.happened;
  }

  get conditions(): Conditions {
    return this.#network.conditions;
  }

  /** From now on the network behaves like this; what is on its way is not affected. */
  set conditions(conditions: ConditionsLike) {
    this.#network.conditions = conditionsOf(conditions);
  }

  /** Nothing gets from one machine to the other, or back, until `heal`. */
  partition(one: string, other: string): void {
    this.#network.cut(this.#network.machine(one), this.#network.machine(other));
  }

  heal(one: string, other: string): void {
    this.#network.mend(this.#network.machine(one), this.#network.machine(other));
  }

  /**
   * What looking up `name` gives from now on: addresses, or an error with the given code (`ENOTFOUND`), and how many
   * seconds it takes. The names of machines need none of this.
   */
  setName(
    name: string,
    answer: {
      readonly addresses?: readonly string[];
      readonly error?: string;
      readonly delay?: Seconds;
    },
  ): void {
    this.#network.names.set(asciiLowerCase(name), {
      addresses: answer.addresses ?? [],
      error: answer.error ?? (answer.addresses === undefined ? 'ENOTFOUND' : undefined),
      delay: answer.delay,
    });
  }

  // ── Letting time pass ────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Lets everything happen that is due within `amount` seconds. It has happened when this returns, as with `Clock`;
   * of promises nothing has, see `settle`.
   */
  advance(amount: Seconds): void {
    const end = this.#kernel.now + checkSeconds(amount, 'advance: amount');
    while (this.#kernel.step(end));
    this.#kernel.skipTo(end);
  }

  /**
   * The same for programs with promises in them: after each event, what JavaScript does by itself is done before time
   * moves on, as with {@link Clock.advanceAsync}.
   *
   * @throws RangeError, TypeError for what is no number of seconds (the promise rejects)
   *
   * @example
   * const sim = new Simulation();
   * const { reactor } = sim.host('server');
   * let naps = 0;
   * void (async () => {
   *   for (;;) {
   *     await deferLater(reactor, 10);
   *     naps++;
   *   }
   * })();
   * await sim.advanceAsync(60);
   * naps;   // 6
   */
  async advanceAsync(amount: Seconds): Promise<void> {
    const end = this.#kernel.now + checkSeconds(amount, 'advance: amount');
    await this.settle(() => false, amount);
    this.#kernel.skipTo(end);
  }

  /** Advances by each amount in turn, by `advanceAsync`. */
  async pumpAsync(amounts: Iterable<Seconds>): Promise<void> {
    for (const amount of amounts) await this.advanceAsync(amount);
  }

  /** Lets everything happen until `until` holds, or nothing is left to happen, or `limit` seconds have passed. */
  run(until: () => boolean = () => false, limit: Seconds = Infinity): Halt {
    const end = this.#kernel.now + limit;
    while (!neededNow(until(), 'until')) {
      if (this.#kernel.step(end)) continue;
      if (end < Infinity) this.#kernel.skipTo(end);
      return this.#kernel.nextTime === undefined ? 'idle' : 'late';
    }
    return 'done';
  }

  /**
   * The same for programs with promises in them: after each event, what JavaScript does by itself is done before time
   * moves on. Files and other real input are not waited for.
   */
  settle(until: () => boolean = () => false, limit: Seconds = Infinity): Promise<Halt> {
    const outside = this.#outside;
    const end = this.#kernel.now + limit;
    const settling = this.#settling;
    const me = {};
    settling.push(me);
    return new Promise((resolve, reject) => {
      const finish = (act: () => void) => {
        settling.splice(settling.indexOf(me), 1);
        act();
        const parked = this.#parked;
        this.#parked = [];
        for (const other of parked) outside.settle(other);
        outside.end();
      };
      const go = (): void => {
        try {
          for (;;) {
            if (outside.circle !== undefined) throw outside.circle;
            if (outside.busy) {
              outside.settle(go);
              return;
            }
            if (neededNow(until(), 'until')) {
              finish(() => resolve('done'));
              return;
            }
            if (this.#kernel.step(end)) continue;
            const halt = this.#kernel.nextTime === undefined ? 'idle' : 'late';
            if (halt === 'idle' && settling.at(-1) !== me) {
              // Whoever began later, and waits inside of what this one waits for, has something to do when it hears.
              this.#parked.push(go);
              return;
            }
            finish(() => resolve(halt));
            return;
          }
        } catch (error) {
          finish(() => reject(new Failure(error).value));
        }
      };
      outside.begin();
      go();
    });
  }

  /** Lets time pass until `thing` has a result, and returns it; Error if it never gets one. */
  async finish<T>(thing: Deferred<T> | PromiseLike<T>, limit: Seconds = Infinity): Promise<T> {
    let settled = false;
    const result = Promise.resolve(thing);
    const note = () => (settled = true);
    result.then(note, note);
    const halt = await this.settle(() => settled, limit);
    if (halt !== 'done') {
      result.catch(() => {});
      throw new Error(
        halt === 'idle'
          ? 'the simulation has run dry: nothing is left to happen, and what was waited for has no result'
          : `what was waited for has no result after ${limit} simulated seconds`,
      );
    }
    return result;
  }

  /** What is left open, a line each: connections, ports, attempts, delayed calls. */
  leftovers(): string[] {
    return this.hosts.flatMap(({ name, open, reactor }) => [
      ...open.map((thing) => `${name}: ${thing}`),
      ...reactor.getDelayedCalls().map((call) => `${name}: ${call as unknown}`),
    ]);
  }

  toString(): string {
    return told(this, `${count(this.#hosts.size, 'host')}, ${count(this.events, 'event')}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

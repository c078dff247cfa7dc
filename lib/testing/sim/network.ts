/**
 * A simulated network: machines with names and addresses, and the links between them, which may be down for a while.
 */
import { asciiLowerCase } from '../../bytes.ts';
import type { Seconds } from '../../interfaces.ts';
import { type Conditions, Faults } from './faults.ts';
import type { Kernel } from './kernel.ts';
import { isAny, isLoopback, Machine } from './machine.ts';
import type { Trace } from './trace.ts';

/** What a name is looked up to. */
interface NameEntry {
  readonly addresses: readonly string[];
  /** The code that lookups fail with. */
  readonly error: string | undefined;
  /** Seconds that they take; undefined for the network's latency. */
  readonly delay: Seconds | undefined;
}

/** A link between two machines that is down. */
interface Outage {
  readonly waiting: (() => void)[];
}

/** Letters, digits and hyphens, with a letter first: no address looks like that. */
const HOST_NAME = /^[a-z](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/i;

export class Network {
  readonly kernel: Kernel;
  readonly trace: Trace;
  readonly faults: Faults;
  conditions: Conditions;
  readonly machines = new Map<string, Machine>();
  readonly names = new Map<string, NameEntry>();
  readonly #byAddress = new Map<string, Machine>();
  readonly #byName = new Map<string, Machine>();
  readonly #outages = new Map<string, Outage>();
  readonly #counts = new Map<string, number>();

  constructor(
    kernel: Kernel,
    trace: Trace,
    conditions: Conditions,
    only: Iterable<string> | undefined,
  ) {
    this.kernel = kernel;
    this.trace = trace;
    this.conditions = conditions;
    this.faults = new Faults(kernel.random, only);
  }

  /**
   * The machine of that name; it is made when it is asked for first.
   *
   * @throws RangeError for what is no name of a host, or differs from another's only in its capitals
   */
  machine(name: string): Machine {
    let machine = this.machines.get(name);
    if (machine === undefined) {
      if (!HOST_NAME.test(name) || this.named(name) !== undefined)
        throw new RangeError(`a machine cannot be called ${JSON.stringify(name)}`);
      machine = new Machine(this, name, this.machines.size + 1);
      this.machines.set(name, machine);
      this.#byName.set(asciiLowerCase(name), machine);
      this.#byAddress.set(machine.ipv4, machine);
      this.#byAddress.set(machine.ipv6, machine);
    }
    return machine;
  }

  /** The machine that a program means by a name. */
  named(name: string): Machine | undefined {
    return this.#byName.get(asciiLowerCase(name));
  }

  /** Whose address that is, as `from` sees it. */
  machineAt(host: string, from: Machine): Machine | undefined {
    return isLoopback(host) || isAny(host) ? from : this.#byAddress.get(host);
  }

  /** A name for the next thing between two machines, for the trace and for faults: `a>b#3`. */
  nameFor(from: Machine, to: string): string {
    const link = `${from.name}>${to}`;
    const count = (this.#counts.get(link) ?? 0) + 1;
    this.#counts.set(link, count);
    return `${link}#${count}`;
  }

  /** How long something takes one way, as drawn from `random`. */
  latency(random: { between(least: number, most: number): number }): Seconds {
    return random.between(...this.conditions.latency);
  }

  note(machine: Machine | undefined, what: string, subject: string, data?: Uint8Array): void {
    if (this.trace.wanted)
      this.trace.add(this.kernel.now, machine?.name ?? '', what, subject, data);
  }

  // ── Links ────────────────────────────────────────────────────────────────────────────────────────────────────────

  isDown(one: Machine, other: Machine): boolean {
    return this.#outages.size > 0 && this.#outages.has(linkBetween(one, other));
  }

  /** Nothing gets from one to the other, until it is mended. */
  cut(one: Machine, other: Machine): void {
    const link = linkBetween(one, other);
    if (this.#outages.has(link)) return;
    this.note(undefined, 'partition', link);
    this.#outages.set(link, { waiting: [] });
  }

  mend(one: Machine, other: Machine): void {
    const link = linkBetween(one, other);
    const outage = this.#outages.get(link);
    if (outage === undefined) return;
    this.note(undefined, 'heal', link);
    this.#outages.delete(link);
    for (const go of outage.waiting) go();
  }

  /** Calls `go` when the link is mended. */
  whenUp(one: Machine, other: Machine, go: () => void): void {
    this.#outages.get(linkBetween(one, other))?.waiting.push(go);
  }
}

function linkBetween(one: Machine, other: Machine): string {
  return [one.name, other.name].sort().join('-');
}

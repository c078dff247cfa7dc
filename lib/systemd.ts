/**
 * The sockets that a supervisor has opened for the program: systemd's socket activation, which is how a service gets a
 * privileged port, or is started by its first client. Twisted: `ListenFDs` of `twisted.python.systemd`.
 */
import { checkArray } from './arguments.ts';
import { InvalidAddressError } from './errors.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** The first descriptor that is handed over. */
const FIRST = 3;
/** More are not believed. */
const MOST = 4096;

/** The descriptors of sockets that the environment says were handed over, in order, with their names. */
export class ListenFDs {
  readonly #descriptors: readonly number[];
  readonly #names: readonly string[];

  /** @param names of the descriptors, in the same order; two may have the same */
  constructor(descriptors: readonly number[], names: readonly string[] = []) {
    this.#descriptors = checkArray(descriptors, 'ListenFDs: descriptors');
    this.#names = checkArray(names, 'ListenFDs: names');
  }

  /**
   * Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`. There are none if they are meant for another process, or
   * make no sense.
   */
  static fromEnvironment(
    environment: Readonly<Record<string, string | undefined>> = process.env,
    pid: number = process.pid,
  ): ListenFDs {
    const { LISTEN_PID, LISTEN_FDS = '', LISTEN_FDNAMES = '' } = environment;
    const count = /^[0-9]{1,4}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : 0;
    if (LISTEN_PID !== String(pid) || count > MOST) return new ListenFDs([]);
    const descriptors = Array.from({ length: count }, (_, index) => FIRST + index);
    return new ListenFDs(descriptors, LISTEN_FDNAMES === '' ? [] : LISTEN_FDNAMES.split(':'));
  }

  /** The descriptors. */
  inheritedDescriptors(): number[] {
    return [...this.#descriptors];
  }

  /** The descriptors that have names; of several with one name, the first. */
  inheritedNamedDescriptors(): Map<string, number> {
    const named = new Map<string, number>();
    this.#names.slice(0, this.#descriptors.length).forEach((name, index) => {
      if (!named.has(name)) named.set(name, this.#descriptors[index] as number);
    });
    return named;
  }

  /**
   * The descriptor at `index`, or of that name.
   *
   * @throws InvalidAddressError if there is none
   */
  descriptor(which: number | string): number {
    const found =
      typeof which === 'number'
        ? this.#descriptors[which]
        : this.inheritedNamedDescriptors().get(which);
    if (found !== undefined) return found;
    throw new InvalidAddressError(
      `no socket ${JSON.stringify(which)} was handed over by the supervisor: there are ${this.#descriptors.length}`,
    );
  }

  toString(): string {
    return told(this, count(this.#descriptors.length, 'descriptor'));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

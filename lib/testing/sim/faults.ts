/**
 * What the network of a simulation does to those who use it: how long things take, and what goes wrong. Each fault that
 * may strike is decided by a draw of its own, and has a name (`reset a>b#3`: a reset of the third connection from a to
 * b), by which a run can be repeated with only some of its faults: that is how a failure is shrunk.
 */
import type { Seconds } from '../../interfaces.ts';
import type { Random } from './random.ts';

/** What may go wrong. */
export type FaultKind =
  /** A connection is refused though somebody listens. */
  | 'refuse'
  /** An attempt to connect is never answered. */
  | 'blackhole'
  /** A connection is reset, by either end's machine, at some byte. */
  | 'reset'
  /** One direction ends in order, at some byte, as if the other side had closed it. */
  | 'truncate'
  /** One direction stops for a while, at some byte, or its reader does. */
  | 'stall'
  /** Both directions are silent for ever from some byte on: the other machine is gone without a word. */
  | 'silence'
  /** No descriptor is left for a connection that comes in. */
  | 'exhaust'
  /** A link is down for a while when somebody connects over it. */
  | 'partition'
  /** A name cannot be looked up for now. */
  | 'lookup'
  /** A datagram is lost, or comes twice, or late. */
  | 'lose'
  | 'duplicate'
  | 'delay';

/** How likely each fault is, from 0 to 1: per connection, per lookup, per datagram. */
export type FaultRates = Readonly<Partial<Record<FaultKind, number>>>;

/** How a network behaves. */
export interface Conditions {
  /** Seconds that bytes take one way: the least, and the most. */
  readonly latency: readonly [Seconds, Seconds];
  /** Bytes that a link carries each second. */
  readonly bandwidth: number;
  /** Bytes that may be on their way to, or wait at, one end of a connection before its other end has to wait. */
  readonly window: number;
  /** How likely what is written on a connection is cut where it was not: into random pieces. */
  readonly cuts: number;
  /** How likely a connection brings every byte by itself, at least at first. */
  readonly drips: number;
  readonly faults: FaultRates;
}

/** Names of ready-made conditions. */
export type FaultLevel = 'ideal' | 'calm' | 'rough' | 'hostile';

const IDEAL: Conditions = {
  latency: [0.0005, 0.0005],
  bandwidth: Infinity,
  window: 128 * 1024,
  cuts: 0,
  drips: 0,
  faults: {},
};

const CALM: Conditions = {
  ...IDEAL,
  latency: [0.0001, 0.05],
  bandwidth: 10_000_000,
  cuts: 0.5,
  drips: 0.1,
};

const ROUGH: Conditions = {
  ...CALM,
  window: 16 * 1024,
  latency: [0.0001, 0.3],
  faults: {
    refuse: 0.02,
    blackhole: 0.01,
    reset: 0.05,
    truncate: 0.03,
    stall: 0.1,
    silence: 0.01,
    partition: 0.02,
    lookup: 0.02,
    lose: 0.02,
    duplicate: 0.02,
    delay: 0.1,
  },
};

const HOSTILE: Conditions = {
  ...ROUGH,
  window: 4096,
  latency: [0.0001, 2],
  bandwidth: 1_000_000,
  faults: {
    refuse: 0.1,
    blackhole: 0.05,
    reset: 0.2,
    truncate: 0.1,
    stall: 0.3,
    silence: 0.1,
    exhaust: 0.05,
    partition: 0.1,
    lookup: 0.1,
    lose: 0.2,
    duplicate: 0.1,
    delay: 0.3,
  },
};

/**
 * Ready-made conditions, from a network on which nothing surprises to one that is out to get you: `ideal` (all takes
 * the same time, nothing is cut), `calm` (cuts and jitter), `rough` (rare faults), `hostile` (all of them, often).
 */
export const LEVELS: Readonly<Record<FaultLevel, Conditions>> = {
  ideal: IDEAL,
  calm: CALM,
  rough: ROUGH,
  hostile: HOSTILE,
};

/** A level, or a level with changes, or conditions from scratch. */
export type ConditionsLike = FaultLevel | (Partial<Conditions> & { readonly level?: FaultLevel });

/** @throws RangeError for a level or a fault that there is none of, for rates that are no probabilities, and the like */
export function conditionsOf(like: ConditionsLike = 'calm'): Conditions {
  const { level = 'calm', ...changes } = typeof like === 'string' ? { level: like } : like;
  if (!Object.hasOwn(LEVELS, level)) {
    throw new RangeError(
      `there are no conditions ${JSON.stringify(level)}, but ${Object.keys(LEVELS).join(', ')}`,
    );
  }
  const conditions = { ...LEVELS[level], ...given(changes) };
  conditions.faults = given(conditions.faults);
  for (const [kind, rate] of Object.entries({
    ...conditions.faults,
    cuts: conditions.cuts,
    drips: conditions.drips,
  })) {
    if (!(kind in HOSTILE.faults || kind in HOSTILE))
      throw new RangeError(`there is no fault ${JSON.stringify(kind)}`);
    if (!(rate >= 0 && rate <= 1))
      throw new RangeError(`the rate of ${kind} must be from 0 to 1, not ${rate}`);
  }
  const [least, most] = conditions.latency;
  if (!(least >= 0 && most >= least && most < Infinity))
    throw new RangeError(`latency must be two times, the lesser first, not ${least} and ${most}`);
  if (!(conditions.bandwidth > 0))
    throw new RangeError(`bandwidth must be more than 0, not ${conditions.bandwidth}`);
  if (!(conditions.window >= 1))
    throw new RangeError(`window must be 1 or more, not ${conditions.window}`);
  return conditions;
}

/** What is undefined counts as left out. */
function given<T extends object>(changes: T): T {
  return Object.fromEntries(
    Object.entries(changes).filter(([, value]) => value !== undefined),
  ) as T;
}

/** Decides which faults strike, and remembers those that did. */
export class Faults {
  readonly #random: Random;
  readonly #only: ReadonlySet<string> | undefined;
  readonly #counts = new Map<string, number>();
  /** The names of those that struck, in order. */
  readonly struck: string[] = [];

  /** @param only the names of those that may strike; undefined for all */
  constructor(random: Random, only?: Iterable<string>) {
    this.#random = random.stream('faults');
    this.#only = only === undefined ? undefined : new Set(only);
  }

  /**
   * Decides whether a fault strikes; if so, the stream of chance from which its details are to be drawn.
   *
   * @param where a connection, a link, a host
   */
  strike(kind: FaultKind, where: string, rate: number | undefined): Random | undefined {
    if (rate === undefined || rate === 0) return undefined;
    const place = `${kind} ${where}`;
    const count = (this.#counts.get(place) ?? 0) + 1;
    this.#counts.set(place, count);
    const name = count === 1 ? place : `${place} (${count})`;
    const details = this.#random.stream(name);
    if (!details.chance(rate)) return undefined;
    if (this.#only !== undefined && !this.#only.has(name)) return undefined;
    this.struck.push(name);
    return details;
  }
}

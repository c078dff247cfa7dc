/**
 * Scripts of peers and protocols at random. The same seed makes the same script. What plait and Twisted do differently
 * on purpose is not in them where differences.ts says `left out`.
 */
import { Random } from '../draft.ts';
import type { Act, ClientManners, Manners, Moment, PlainAct, Script } from './script.ts';

/** How often each is chosen, against the others. */
type Weights<K extends string> = Partial<Record<K, number>>;

type Kind = Exclude<Act['act'], 'bridge' | 'disconnect' | 'stopConnecting' | 'reconnect'>;

/** In any callback, and between them. */
const ACTS: Weights<Kind> = {
  write: 10,
  sequence: 3,
  lose: 4,
  loseWrite: 3,
  abort: 2,
  pause: 2,
  resume: 2,
  stop: 1,
  stopConsuming: 1,
  push: 3,
  pull: 4,
  unregister: 3,
  ask: 3,
  noDelay: 1,
  keepAlive: 1,
};

/** What makes sense of a connection that is gone. */
const ACTS_AFTER: Weights<Kind> = {
  write: 2,
  sequence: 1,
  lose: 1,
  abort: 1,
  push: 1,
  pull: 1,
  unregister: 1,
  stop: 1,
};

const MOMENTS: Weights<Moment['do']> = {
  say: 8,
  'say, say': 1,
  'say, end': 2,
  end: 3,
  close: 2,
  reset: 2,
  deaf: 1,
  listen: 1,
  act: 9,
};

/** What a script does over TLS: what both have there. Twisted has no halves, and another way with pull producers. */
const TLS_ACTS: Weights<Kind> = {
  write: 10,
  sequence: 3,
  lose: 4,
  abort: 2,
  ask: 3,
  noDelay: 1,
  keepAlive: 1,
};

/** Before the handshake is done: see differences.ts. */
const TLS_ACTS_MADE: Weights<Kind> = { write: 10, sequence: 3, ask: 3 };

const TLS_ACTS_AFTER: Weights<Kind> = { write: 2, lose: 1, abort: 1 };

const FORWARDED: Weights<Moment['do']> = {
  say: 8,
  'say, end': 2,
  end: 2,
  close: 2,
  reset: 1,
  deaf: 2,
  listen: 2,
  act: 3,
};

const LAST = ['unregister', 'unregister, lose', 'lose, unregister', 'nothing', 'throw'] as const;

class Draft {
  readonly #random: Random;
  readonly #side: Script['side'];
  readonly #family: Script['family'];

  constructor(seed: number) {
    this.#random = new Random(seed);
    const side = this.#random.next();
    this.#side = side < 0.7 ? 'server' : side < 0.94 ? 'client' : 'refused';
    const family = this.#random.next();
    this.#family = family < 0.25 ? 'unix' : family < 0.45 && side < 0.94 ? 'tls' : 'tcp';
  }

  script(): Script {
    const random = this.#random;
    if (this.#side === 'server' && this.#family !== 'tls' && random.chance(0.12))
      return this.#forwarder();
    const manners: Manners[] = [];
    for (let n = random.between(1, 2); n > 0; n--) manners.push(this.#manners());
    return {
      side: this.#side,
      family: this.#family,
      manners,
      client: this.#client(),
      moments: this.#moments(),
    };
  }

  /** Two connections, each the other's producer and consumer. What their protocols do besides is little. */
  #forwarder(): Script {
    const random = this.#random;
    const lost = random.chance(0.2) ? this.#acts(ACTS_AFTER, 1, 1) : [];
    const moments: Moment[] = [
      { do: 'connect', c: 0 },
      { do: 'connect', c: 1 },
      {
        do: 'act',
        c: random.between(0, 1),
        acts: [
          { act: 'bridge', to: 0 },
          { act: 'bridge', to: 1 },
        ],
      },
    ];
    for (let n = random.between(2, 8); n > 0; n--) {
      const c = random.between(0, 1);
      const what = this.#weighted(FORWARDED);
      if (what === 'say' || what === 'say, end') {
        moments.push({ do: what, c, n: random.chance(0.2) ? 100_000 : random.between(1, 300) });
      } else if (what === 'act') {
        const act = this.#weighted<PlainAct>({ lose: 2, abort: 1, unregister: 1, ask: 1 });
        moments.push({ do: what, c, acts: [{ act }] });
      } else if (what !== 'connect' && what !== 'say, say') moments.push({ do: what, c });
    }
    return {
      side: this.#side,
      family: this.#family,
      manners: [
        { made: [], data: [], readLost: [], writeLost: [], lost, halves: false, build: 'protocol' },
      ],
      client: this.#client(),
      moments,
    };
  }

  #weighted<K extends string>(weights: Weights<K>): K {
    const all = Object.entries(weights) as [K, number][];
    let left = this.#random.next() * all.reduce((sum, [, weight]) => sum + weight, 0);
    return all.find(([, weight]) => (left -= weight) < 0)?.[0] ?? all[0]![0];
  }

  /** Mostly small; now and then more than a buffer holds. */
  #size(): number {
    const random = this.#random;
    return random.chance(0.1) ? random.between(66_000, 150_000) : random.between(1, 400);
  }

  #act(weights: Weights<Kind>): Act {
    const random = this.#random;
    let act = this.#weighted(weights);
    // Twisted's transports over UNIX sockets have no options.
    if (this.#family === 'unix' && (act === 'noDelay' || act === 'keepAlive')) act = 'ask';
    if (act === 'write') return { act, n: this.#size() };
    if (act === 'sequence') return { act, sizes: [this.#size(), random.between(0, 9)] };
    if (act !== 'pull') return { act };
    const [pieces, size] = [random.between(1, 4), random.between(0, 4) * 200];
    const last = random.pick(LAST);
    // From inside of registerProducer it would be thrown at the caller: see differences.ts.
    return { act, pieces: last === 'throw' ? pieces + 1 : pieces, size: size + 1, last };
  }

  #acts(weights: Weights<Kind>, chance: number, most = 3): Act[] {
    if (!this.#random.chance(chance)) return [];
    const acts = Array.from({ length: this.#random.between(1, most) }, () => this.#act(weights));
    const has = (name: Kind) => acts.some(({ act }) => act === name);
    // What is thrown by what has been aborted, and what is pulled while writing ends: not compared yet.
    const closes = has('abort') || (has('lose') && this.#family === 'tls');
    return acts.filter(
      ({ act }) => !(act === 'throw' && closes) && !(act === 'pull' && has('loseWrite')),
    );
  }

  #manners(): Manners {
    const random = this.#random;
    const thrown = (weights: Weights<Kind>): Weights<Kind> => ({ ...weights, throw: 2 });
    const server = this.#side === 'server';
    const build = random.next();
    if (this.#family === 'tls') {
      return {
        made: this.#acts(TLS_ACTS_MADE, 0.5),
        data: random.chance(0.6)
          ? [this.#acts(thrown(TLS_ACTS), 0.8), this.#acts(thrown(TLS_ACTS), 0.5)]
          : [],
        readLost: [],
        writeLost: [],
        lost: this.#acts(server ? thrown(TLS_ACTS_AFTER) : TLS_ACTS_AFTER, 0.3, 2),
        halves: false,
        build: 'protocol',
      };
    }
    return {
      made: this.#acts(thrown(ACTS), 0.4),
      data: random.chance(0.5)
        ? [this.#acts(thrown(ACTS), 0.8), this.#acts(thrown(ACTS), 0.5)]
        : [],
      readLost: this.#acts(thrown(ACTS), 0.5),
      writeLost: this.#acts(thrown(ACTS), 0.3),
      lost: this.#acts(server ? thrown(ACTS_AFTER) : ACTS_AFTER, 0.3, 2),
      halves: random.chance(0.5),
      build: build < 0.94 ? 'protocol' : build < 0.98 || !server ? 'none' : 'throw',
    };
  }

  #client(): ClientManners {
    const random = this.#random;
    const plain = (...names: PlainAct[]): Act[] => names.map((act) => ({ act }));
    if (this.#side === 'server') return { started: [], failed: [], lost: [], reconnects: 0 };
    const refused = this.#side === 'refused';
    // Over UNIX sockets Twisted knows at once how it went: there is nothing to stop.
    const stops = refused && this.#family === 'tcp' && random.chance(0.3);
    const failed = !stops && random.chance(0.5);
    return {
      started: stops ? plain(random.pick(['stopConnecting', 'disconnect'])) : [],
      failed: failed ? plain(random.pick(['reconnect', 'stopConnecting'])) : [],
      lost: random.chance(0.4) ? plain('reconnect') : [],
      reconnects: random.between(0, 2),
    };
  }

  #moments(): Moment[] {
    const random = this.#random;
    if (this.#side === 'refused') return [];
    const moments: Moment[] = [];
    let made = 0;
    if (this.#side === 'server') moments.push({ do: 'connect', c: made++ });
    for (let n = random.between(2, 9); n > 0; n--) {
      if (this.#side === 'server' && made < 3 && random.chance(0.1)) {
        moments.push({ do: 'connect', c: made++ });
      } else moments.push(this.#moment(random.between(0, Math.max(0, made - 1))));
    }
    return moments;
  }

  #moment(c: number): Moment {
    const random = this.#random;
    if (this.#side === 'client') c = random.between(0, 1);
    const what = this.#weighted(MOMENTS);
    switch (what) {
      case 'say':
      case 'say, say':
      case 'say, end':
        return { do: what, c, n: random.between(1, 300) };
      case 'act':
        return { do: what, c, acts: this.#between() };
      case 'connect':
      case 'end':
      case 'close':
      case 'reset':
      case 'deaf':
      case 'listen':
        return { do: what, c };
    }
  }

  #between(): Act[] {
    if (this.#side === 'server' && this.#random.chance(0.06)) return [{ act: 'stopListening' }];
    if (this.#side === 'client' && this.#family !== 'tls' && this.#random.chance(0.15))
      return [{ act: 'disconnect' }];
    return this.#acts(this.#family === 'tls' ? TLS_ACTS : ACTS, 1);
  }
}

/** The script of a seed. */
export function draftScript(seed: number): Script {
  return new Draft(seed).script();
}

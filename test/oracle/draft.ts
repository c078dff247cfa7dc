/**
 * Scripts at random. Each kind of step, of end and of coroutine's operation is one entry of a table: how often it is
 * chosen, and how one is made up. The same seed makes the same script.
 */
import type {
  Body,
  Crowd,
  End,
  Ends,
  ErrorSpec,
  ListOption,
  Op,
  Ops,
  Pattern,
  Script,
  Step,
  StepKind,
  Steps,
  Value,
} from './script.ts';

/** Numbers that look random and are the same for the same seed (Mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.between(0, list.length - 1)]!;
  }
}

/** Below this depth of functions within functions there are no more steps. */
const DEEPEST = 3;

/** A script being made up. */
class Draft {
  readonly random: Random;
  /** How many of each kind of thing have been made. */
  readonly #made: Record<Thing, number> = {
    d: 0,
    call: 0,
    loop: 0,
    lock: 0,
    queue: 0,
    condition: 0,
  };
  /** What this script is about, besides the basics; the rest is rare in it. */
  readonly #groups: ReadonlySet<Group>;
  /** Deferreds that a step pauses and none unpauses. */
  readonly #paused: number[] = [];
  /** The Deferred of the coroutine that is being made up. */
  #coroutine = 0;
  #labels = 0;
  #values = 0;
  #depth = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.#groups = new Set(GROUPS.filter(() => this.random.chance(0.4)));
  }

  script(): Script {
    const script: Script = [];
    for (let n = this.random.between(1, 3); n > 0; n--) script.push(this.#make(STEPS, 'new'));
    // Small scripts are as good as large ones at finding faults, and cheaper.
    const length = this.random.chance(0.6)
      ? this.random.between(4, 14)
      : this.random.between(12, 35);
    while (script.length < length) script.push(this.step());
    if (this.random.chance(0.6)) this.#fireSome(script);
    if (this.random.chance(0.5)) script.push({ step: 'advance', seconds: 100 });
    return script;
  }

  /** Much of a chain is seen only once its Deferred has been fired. */
  #fireSome(script: Script): void {
    for (let d = 0; d < this.#made.d; d++) {
      if (this.random.chance(0.3)) script.push({ step: 'callback', d, value: this.value() });
      else if (this.random.chance(0.15)) script.push({ step: 'errback', d, error: this.error() });
    }
  }

  step(): Step {
    return this.#choose(STEPS, 'step') as Step;
  }

  steps(): Step[] {
    const steps: Step[] = [];
    if (this.#depth <= DEEPEST && this.random.chance(0.4)) {
      for (let n = this.random.between(1, 3); n > 0; n--) steps.push(this.step());
    }
    return steps;
  }

  body(): Body {
    this.#depth++;
    const label = ++this.#labels;
    const steps = this.steps();
    const then = this.#choose(ENDS, 'end') as End;
    this.#depth--;
    return { label, steps, then };
  }

  /** Of a function whose result nobody waits for. */
  plainBody(): Body {
    const body = this.body();
    if (body.then.end === 'generator' || body.then.end === 'async') body.then = { end: 'nothing' };
    return body;
  }

  /** A canceller mostly does nothing, or fires the Deferred, or throws. */
  canceller(d: number): Body {
    const body = this.plainBody();
    if (this.random.chance(0.4)) body.steps.push({ step: 'callback', d, value: this.value() });
    else if (this.random.chance(0.3)) body.steps.push({ step: 'errback', d, error: this.error() });
    if (!this.random.chance(0.2)) body.then = { end: 'nothing' };
    return body;
  }

  coroutine(): { d: number; label: number; ops: Op[] } {
    const [d, label, around] = [this.fresh(), ++this.#labels, this.#coroutine];
    this.#coroutine = d;
    const ops = this.ops(4);
    this.#coroutine = around;
    return { d, label, ops };
  }

  /** What a function does that is a generator function or an async one. */
  inner(): { label: number; ops: Op[] } {
    return { label: ++this.#labels, ops: this.ops(3) };
  }

  crowd(): Crowd {
    return {
      // Seldom so many that a stack would be full.
      count: this.random.chance(0.1) ? 2000 : this.random.between(2, 200),
      inside: this.random.chance(0.6),
      coroutines: this.random.chance(0.4),
      cancel: this.random.chance(0.3) ? this.random.between(2, 7) : 0,
    };
  }

  /** Now and then a coroutine cancels itself. */
  stepsOfCoroutine(): Step[] {
    const steps = this.steps();
    if (this.random.chance(0.1)) steps.push({ step: 'cancel', d: this.#coroutine });
    return steps;
  }

  ops(most: number): Op[] {
    this.#depth++;
    const ops: Op[] = [];
    for (let n = this.random.between(1, this.#depth > DEEPEST ? 1 : most); n > 0; n--) {
      ops.push(this.#choose(OPS, 'op') as Op);
    }
    this.#depth--;
    return ops;
  }

  /** A Deferred that has been made, or may have been; the latest are the likeliest. */
  old(): number {
    const made = this.#made.d;
    const back = this.random.chance(0.6) ? Math.min(3, made) : made;
    return Math.max(0, made - this.random.between(1, Math.max(1, back)));
  }

  /** Seldom the latest, which is the coroutine's own. */
  toAwait(): number {
    const d = this.old();
    return d < this.#made.d - 1 || this.random.chance(0.2) ? d : this.old();
  }

  toPause(): number {
    const d = this.old();
    this.#paused.push(d);
    return d;
  }

  /** Mostly one that has been paused. */
  toUnpause(): number {
    if (this.#paused.length === 0 || this.random.chance(0.1)) return this.old();
    return this.#paused.splice(this.random.between(0, this.#paused.length - 1), 1)[0]!;
  }

  /** Any other thing that has been made, or may have been. */
  oldThing(kind: Thing): number {
    return this.random.between(0, Math.max(0, this.#made[kind] - 1));
  }

  some(): number[] {
    return Array.from({ length: this.random.between(0, 4) }, () => this.old());
  }

  fresh(kind: Thing = 'd'): number {
    return this.#made[kind]++;
  }

  /** A number that no other value has; now and then something else. */
  value(): Value {
    if (this.random.chance(0.9)) return ++this.#values;
    return this.random.pick<Value>([null, true, false, 'text', [], [1, null]]);
  }

  values(): Value[] {
    return Array.from({ length: this.random.between(1, 2) }, () => this.value());
  }

  error(): ErrorSpec {
    return { name: this.random.pick(['Boom', 'Bang', 'Fizz']), message: `e${++this.#values}` };
  }

  patterns(): Pattern[] {
    const names: Pattern[] = ['Boom', 'Bang', 'Fizz', 'CancelledError', 'AlreadyCalledError'];
    names.push('TimeoutError', 'any', 'any');
    return Array.from({ length: this.random.between(1, 2) }, () => this.random.pick(names));
  }

  seconds(): number {
    return this.random.pick([0, 0.5, 1, 1, 2, 3, 5]);
  }

  /** Of a queue; null for none. */
  limit(): number | null {
    return this.random.chance(0.5) ? null : this.random.between(0, 3);
  }

  options(): ListOption[] {
    return this.random.chance(0.4) ? ['consumeErrors'] : [];
  }

  #make<T>(table: Table<T>, kind: keyof T & string): never {
    return { step: kind, ...table[kind].make(this) } as never;
  }

  #choose<T>(table: Table<T>, tag: string): unknown {
    const kinds = Object.keys(table) as (keyof T)[];
    const weights = kinds.map((kind) => this.#weight(table[kind]));
    let left = this.random.next() * weights.reduce((sum, weight) => sum + weight, 0);
    const at = weights.findIndex((weight) => (left -= weight) < 0);
    const kind = kinds[at] ?? kinds[0]!;
    return { [tag]: kind, ...table[kind].make(this) };
  }

  #weight({ weight, group, needs }: Entry<unknown>): number {
    if (needs !== undefined && this.#made[needs] === 0) return 0;
    return group === undefined || this.#groups.has(group) ? weight : weight / 10;
  }
}

/** Kinds of thing that are numbered. */
type Thing = 'd' | 'call' | 'loop' | 'lock' | 'queue' | 'condition';

const GROUPS = [
  'several',
  'coroutines',
  'time',
  'loops',
  'locks',
  'queues',
  'conditions',
  'async',
] as const;
type Group = (typeof GROUPS)[number];

interface Entry<T> {
  /** How often it is chosen, compared with the others. */
  readonly weight: number;
  readonly make: (draft: Draft) => T;
  readonly group?: Group;
  /** It is not chosen before there is one of these. */
  readonly needs?: Thing;
}

type Table<T> = { readonly [K in keyof T]: Entry<T[K]> };

/** Puts entries into a group. */
function group<K extends StepKind>(
  name: Group,
  entries: Pick<Table<Steps>, K>,
): Pick<Table<Steps>, K> {
  const kinds = Object.entries(entries) as [K, Entry<unknown>][];
  return Object.fromEntries(
    kinds.map(([kind, entry]) => [kind, { ...entry, group: name }]),
  ) as never;
}

const STEPS: Table<Steps> = {
  new: {
    weight: 5,
    make: (draft) => {
      const d = draft.fresh();
      return draft.random.chance(0.3) ? { d, canceller: draft.canceller(d) } : { d };
    },
  },
  succeed: { weight: 3, make: (draft) => ({ d: draft.fresh(), value: draft.value() }) },
  fail: { weight: 3, make: (draft) => ({ d: draft.fresh(), error: draft.error() }) },
  maybe: {
    weight: 1,
    make: (draft) => ({ d: draft.fresh(), body: draft.body(), value: draft.value() }),
  },
  ensure: { weight: 0.5, make: (draft) => ({ other: draft.old(), d: draft.fresh() }) },
  notCoroutine: { weight: 0.2, make: (draft) => ({ value: draft.value() }) },

  callback: { weight: 16, make: (draft) => ({ d: draft.old(), value: draft.value() }) },
  callbackFailure: { weight: 1, make: (draft) => ({ d: draft.old(), error: draft.error() }) },
  callbackDeferred: { weight: 0.3, make: (draft) => ({ d: draft.old(), other: draft.old() }) },
  errback: { weight: 8, make: (draft) => ({ d: draft.old(), error: draft.error() }) },
  errbackFailure: { weight: 1, make: (draft) => ({ d: draft.old(), error: draft.error() }) },
  cancel: { weight: 10, make: (draft) => ({ d: draft.old() }) },

  addCallback: { weight: 8, make: (draft) => ({ d: draft.old(), body: draft.body() }) },
  addErrback: { weight: 5, make: (draft) => ({ d: draft.old(), body: draft.body() }) },
  addBoth: { weight: 8, make: (draft) => ({ d: draft.old(), body: draft.body() }) },
  addCallbackWith: { weight: 1, make: (draft) => withArguments(draft) },
  addErrbackWith: { weight: 1, make: (draft) => withArguments(draft) },
  addBothWith: { weight: 1, make: (draft) => withArguments(draft) },
  addCallbacks: {
    weight: 4,
    make: (draft) => ({
      d: draft.old(),
      ok: draft.body(),
      bad: draft.random.chance(0.7) ? draft.body() : null,
    }),
  },
  addNothing: { weight: 0.2, make: (draft) => ({ d: draft.old(), value: 5 }) },
  chain: { weight: 3, make: (draft) => ({ d: draft.old(), other: draft.old() }) },
  pause: { weight: 6, make: (draft) => ({ d: draft.toPause() }) },
  unpause: { weight: 4, make: (draft) => ({ d: draft.toUnpause() }) },
  timeout: { weight: 3, make: (draft) => ({ d: draft.old(), seconds: draft.seconds() }) },
  timeoutHook: {
    weight: 2,
    make: (draft) => ({ d: draft.old(), seconds: draft.seconds(), body: draft.body() }),
  },

  ...group('several', {
    list: {
      weight: 3,
      make: (draft) => ({ of: draft.some(), d: draft.fresh(), options: draft.options() }),
    },
    firstOf: {
      weight: 2,
      make: (draft) => ({
        of: draft.some(),
        d: draft.fresh(),
        options: ['fireOnOneCallback', ...draft.options()],
      }),
    },
    firstFailure: {
      weight: 2,
      make: (draft) => ({
        of: draft.some(),
        d: draft.fresh(),
        options: draft.random.chance(0.3)
          ? ['fireOnOneErrback', 'fireOnOneCallback']
          : ['fireOnOneErrback', ...draft.options()],
      }),
    },
    gather: {
      weight: 3,
      make: (draft) => ({ of: draft.some(), d: draft.fresh(), consume: draft.random.chance(0.4) }),
    },
  }),
  ...group('coroutines', {
    inline: { weight: 14, make: (draft) => draft.coroutine() },
    inlinePlain: { weight: 0.5, make: (draft) => ({ d: draft.fresh(), body: draft.plainBody() }) },
    coroutine: { weight: 4, make: (draft) => draft.coroutine() },
  }),
  ...group('time', {
    deferLater: { weight: 3, make: (draft) => ({ d: draft.fresh(), seconds: draft.seconds() }) },
    deferLaterCall: {
      weight: 3,
      make: (draft) => ({
        d: draft.fresh(),
        body: draft.body(),
        seconds: draft.seconds(),
        args: draft.values(),
      }),
    },
    callLater: {
      weight: 6,
      make: (draft) => ({
        call: draft.fresh('call'),
        body: draft.body(),
        seconds: draft.seconds(),
        args: draft.values(),
      }),
    },
    callCancel: { weight: 2, needs: 'call', make: (draft) => ({ call: draft.oldThing('call') }) },
    callReset: {
      weight: 3,
      needs: 'call',
      make: (draft) => ({ call: draft.oldThing('call'), seconds: draft.seconds() }),
    },
    callDelay: {
      weight: 3,
      needs: 'call',
      make: (draft) => ({ call: draft.oldThing('call'), seconds: draft.seconds() - 2 }),
    },
    callLook: { weight: 2, needs: 'call', make: (draft) => ({ call: draft.oldThing('call') }) },
    pump: {
      weight: 6,
      make: (draft) => ({ times: [draft.seconds(), draft.seconds(), draft.seconds()] }),
    },
  }),
  advance: { weight: 3, make: (draft) => ({ seconds: draft.seconds() }) },
  ...group('loops', {
    loop: {
      weight: 6,
      make: (draft) => ({ loop: draft.fresh('loop'), body: draft.body(), args: draft.values() }),
    },
    loopCount: {
      weight: 3,
      make: (draft) => ({ loop: draft.fresh('loop'), body: draft.body() }),
    },
    loopStart: {
      weight: 12,
      needs: 'loop',
      make: (draft) => ({
        loop: draft.oldThing('loop'),
        d: draft.fresh(),
        // With 0 a Clock would call it again and again without coming to an end.
        seconds: draft.seconds() + 0.5,
        now: draft.random.chance(0.6),
      }),
    },
    loopStop: { weight: 4, needs: 'loop', make: (draft) => ({ loop: draft.oldThing('loop') }) },
    loopReset: { weight: 3, needs: 'loop', make: (draft) => ({ loop: draft.oldThing('loop') }) },
    loopLook: { weight: 2, needs: 'loop', make: (draft) => ({ loop: draft.oldThing('loop') }) },
  }),
  ...group('locks', {
    lock: { weight: 3, make: (draft) => ({ lock: draft.fresh('lock') }) },
    semaphore: {
      weight: 3,
      make: (draft) => ({ lock: draft.fresh('lock'), tokens: draft.random.between(1, 3) }),
    },
    acquire: {
      weight: 16,
      needs: 'lock',
      make: (draft) => ({ lock: draft.oldThing('lock'), d: draft.fresh() }),
    },
    release: { weight: 14, needs: 'lock', make: (draft) => ({ lock: draft.oldThing('lock') }) },
    lockRun: {
      weight: 10,
      needs: 'lock',
      make: (draft) => ({
        d: draft.fresh(),
        body: draft.body(),
        lock: draft.oldThing('lock'),
        args: draft.values(),
      }),
    },
    lockLook: { weight: 2, needs: 'lock', make: (draft) => ({ lock: draft.oldThing('lock') }) },
    crowd: {
      weight: 0.5,
      needs: 'lock',
      make: (draft) => ({ lock: draft.oldThing('lock'), ...draft.crowd() }),
    },
  }),
  ...group('queues', {
    queue: {
      weight: 4,
      make: (draft) => ({
        queue: draft.fresh('queue'),
        size: draft.limit(),
        backlog: draft.limit(),
      }),
    },
    put: {
      weight: 16,
      needs: 'queue',
      make: (draft) => ({ queue: draft.oldThing('queue'), value: draft.value() }),
    },
    putWait: {
      weight: 10,
      needs: 'queue',
      make: (draft) => ({
        queue: draft.oldThing('queue'),
        value: draft.value(),
        d: draft.fresh(),
      }),
    },
    get: {
      weight: 16,
      needs: 'queue',
      make: (draft) => ({ queue: draft.oldThing('queue'), d: draft.fresh() }),
    },
    queueLook: { weight: 2, needs: 'queue', make: (draft) => ({ queue: draft.oldThing('queue') }) },
    crowdGet: {
      weight: 0.5,
      needs: 'queue',
      make: (draft) => ({ queue: draft.oldThing('queue'), ...draft.crowd() }),
    },
  }),
  ...group('conditions', {
    condition: { weight: 4, make: (draft) => ({ condition: draft.fresh('condition') }) },
    conditionAcquire: {
      weight: 14,
      needs: 'condition',
      make: (draft) => ({ condition: draft.oldThing('condition'), d: draft.fresh() }),
    },
    conditionRelease: { weight: 8, needs: 'condition', make: oldCondition },
    conditionWait: {
      weight: 16,
      needs: 'condition',
      make: (draft) => ({ condition: draft.oldThing('condition'), d: draft.fresh() }),
    },
    notify: {
      weight: 8,
      needs: 'condition',
      make: (draft) => ({
        condition: draft.oldThing('condition'),
        count: draft.random.between(1, 3),
      }),
    },
    notifyAll: { weight: 4, needs: 'condition', make: oldCondition },
    conditionLook: { weight: 1, needs: 'condition', make: oldCondition },
  }),
};

function oldCondition(draft: Draft): { condition: number } {
  return { condition: draft.oldThing('condition') };
}

function withArguments(draft: Draft): { d: number; body: Body; args: Value[] } {
  return { d: draft.old(), body: draft.body(), args: draft.values() };
}

const ENDS: Table<Ends> = {
  same: { weight: 5, make: () => ({}) },
  nothing: { weight: 3, make: () => ({}) },
  value: { weight: 5, make: (draft) => ({ value: draft.value() }) },
  wrap: { weight: 1, make: () => ({}) },
  throw: { weight: 4, make: (draft) => ({ error: draft.error() }) },
  failure: { weight: 2, make: (draft) => ({ error: draft.error() }) },
  deferred: { weight: 9, make: (draft) => ({ d: draft.old() }) },
  raise: { weight: 1, make: () => ({}) },
  trap: { weight: 2, make: (draft) => ({ names: draft.patterns(), value: draft.value() }) },
  check: { weight: 1, make: (draft) => ({ names: draft.patterns() }) },
  generator: { weight: 9, group: 'coroutines', make: (draft) => draft.inner() },
  async: { weight: 9, group: 'async', make: (draft) => draft.inner() },
};

const OPS: Table<Ops> = {
  steps: { weight: 4, make: (draft) => ({ steps: draft.stepsOfCoroutine() }) },
  wait: { weight: 6, make: (draft) => ({ d: draft.toAwait() }) },
  waitFrom: { weight: 6, make: (draft) => ({ d: draft.toAwait() }) },
  yield: { weight: 1, make: (draft) => ({ value: draft.value() }) },
  yieldFailure: { weight: 0.3, make: (draft) => ({ error: draft.error() }) },
  attempt: {
    weight: 7,
    make: (draft) => ({
      ops: draft.ops(3),
      names: draft.patterns(),
      handler: draft.ops(2),
      finally: draft.random.chance(0.2) ? draft.ops(2) : null,
    }),
  },
  again: { weight: 1, make: (draft) => ({ times: draft.random.between(2, 3), ops: draft.ops(2) }) },
  return: { weight: 1, make: (draft) => ({ value: draft.value() }) },
  returnDeferred: { weight: 1, make: (draft) => ({ d: draft.old() }) },
  give: { weight: 1, make: () => ({}) },
  throw: { weight: 1, make: (draft) => ({ error: draft.error() }) },
};

/** The kinds that there are, for reports. */
export const KINDS: readonly string[] = [
  ...Object.keys(STEPS),
  ...Object.keys(ENDS).map((kind) => `end: ${kind}`),
  ...Object.keys(OPS).map((kind) => `coroutine: ${kind}`),
];

/** The script of a seed. */
export function draftScript(seed: number): Script {
  return new Draft(seed).script();
}

/** What one script makes with plait, and the trace that it writes. The twin of world.py. */
import {
  AlreadyCalled,
  AlreadyCalledError,
  CancelledError,
  Deferred,
  type DeferredCondition,
  type DeferredQueue,
  type DeferredSemaphore,
  Failure,
  FirstError,
  type IDelayedCall,
  type LogEvent,
  type LoopingCall,
  TimeoutError,
  unhandledFailures,
} from 'plait';
import { Clock } from 'plait/testing';
import {
  type Body,
  type EndKind,
  type Ends,
  type ErrorSpec,
  MOST_STEPS,
  type OwnError,
  type Pattern,
  type Script,
  type Step,
  type StepKind,
  type Steps,
} from './script.ts';

// ── Errors ─────────────────────────────────────────────────────────────────────────────────────────────────────────

class Boom extends Error {
  override name = 'Boom';
}

class Bang extends Boom {
  override name = 'Bang';
}

class Fizz extends Error {
  override name = 'Fizz';
}

const OWN_ERRORS: Record<OwnError, new (message: string) => Error> = { Boom, Bang, Fizz };

const ERRORS = {
  ...OWN_ERRORS,
  CancelledError,
  AlreadyCalledError,
  TimeoutError,
  AlreadyCalled,
  any: Error,
} satisfies Record<Pattern, unknown>;

/** What wrong use is answered with; Twisted has assertions there. */
const REFUSALS: ReadonlySet<string> = new Set(['Error', 'RangeError', 'TypeError']);

export function makeError({ name, message }: ErrorSpec): Error {
  return new OWN_ERRORS[name](message);
}

/** The classes of errors. */
export function classes(names: readonly Pattern[]) {
  return names.map((name) => ERRORS[name]);
}

// ── Text ───────────────────────────────────────────────────────────────────────────────────────────────────────────

type Fn = (...given: unknown[]) => unknown;
export type Any = Deferred<unknown>;

/** Gives the Deferred that a function must not wait for. */
export type Own = () => Any | undefined;

/** Things besides Deferreds that scripts make, each kind numbered by itself. */
interface Things {
  call: IDelayedCall;
  lock: DeferredSemaphore;
  queue: DeferredQueue<unknown>;
  loop: LoopingCall;
  condition: DeferredCondition;
}

/** What performs each kind of step, and what each kind of end does. */
export interface Kinds {
  readonly steps: { readonly [K in StepKind]: (world: World, step: Steps[K]) => void };
  readonly ends: {
    readonly [K in EndKind]: (world: World, then: Ends[K], given: unknown, own?: Own) => unknown;
  };
}

export interface WorldOptions {
  /** Write every error's message, and what is otherwise written alike. Default: false. */
  readonly raw?: boolean;
  /** Do what the two do differently too, where Twisted cannot be corrected. Default: false. */
  readonly unguarded?: boolean;
  /** Counts what is performed, by kind. */
  readonly performed?: Map<string, number>;
}

/** What one script has made, and its trace. */
export class World {
  readonly trace: string[] = [];
  readonly deferreds = new Map<number, Any>();
  /** Deferreds that only plait itself should fire. */
  readonly own = new Set<number>();
  readonly #things = new Map<string, Things[keyof Things]>();
  readonly clock = new Clock();
  readonly #numbers = new Map<Any, number>();
  readonly #shown = new Map<number, string>();
  readonly #cancelling = new Set<number>();
  readonly #kinds: Kinds;
  readonly raw: boolean;
  readonly guarded: boolean;
  readonly #performed: Map<string, number> | undefined;
  depth = 0;
  #steps = 0;
  over = false;
  /** What became of all who waited in line, for the end of the trace. */
  readonly #crowds: (() => string)[] = [];

  constructor(kinds: Kinds, { raw = false, unguarded = false, performed }: WorldOptions) {
    this.#kinds = kinds;
    this.raw = raw;
    this.guarded = !unguarded;
    this.#performed = performed;
  }

  count(kind: string): void {
    this.#performed?.set(kind, (this.#performed.get(kind) ?? 0) + 1);
  }

  line(text: string): void {
    if (!this.over) this.trace.push('  '.repeat(this.depth) + text);
  }

  logged(event: LogEvent): void {
    if (event.failure !== undefined) this.line(`logged ${this.describe(event.failure.value)}`);
  }

  describe(error: unknown): string {
    if (!(error instanceof Error)) return `not an error: ${String(error)}`;
    if (error instanceof Boom || error instanceof Fizz) return `${error.name}: ${error.message}`;
    if (error instanceof FirstError)
      return `FirstError: #${error.index} ${this.describe(error.subFailure.value)}`;
    if (this.raw) return `${error.name}: ${error.message}`;
    return REFUSALS.has(error.name) ? 'refused' : error.name;
  }

  show(value: unknown): string {
    if (value === undefined || value === null) return 'none';
    if (typeof value === 'string') return `'${value}'`;
    if (Array.isArray(value)) return `[${value.map((item) => this.show(item)).join(', ')}]`;
    if (value instanceof Failure) return `Failure(${this.describe(value.value)})`;
    if (value instanceof Deferred) return this.#name(value as Any);
    if (typeof value === 'object') return value.constructor.name;
    return JSON.stringify(value);
  }

  #name(deferred: Any): string {
    const number = this.#numbers.get(deferred);
    return number === undefined ? 'an inner Deferred' : `d${number}`;
  }

  #state(deferred: Any): string {
    const { called, paused } = deferred;
    const waitingOn = waitedFor(deferred);
    const text =
      waitingOn !== undefined
        ? `waits for ${this.#name(waitingOn)}`
        : called
          ? this.show(deferred.result)
          : 'unfired';
    const head = called && this.raw ? 'called ' : '';
    return paused > 0 ? `${head}${text}, paused ${paused}` : `${head}${text}`;
  }

  #showChanges(): void {
    for (const [number, deferred] of this.deferreds) {
      if (this.#numbers.get(deferred) !== number) continue;
      const text = this.#state(deferred);
      if (this.#shown.get(number) === text) continue;
      this.#shown.set(number, text);
      this.line(`= d${number} ${text}`);
    }
  }

  // ── Running ──────────────────────────────────────────────────────────────────────────────────────────────────────

  perform(steps: readonly Step[]): void {
    for (const step of steps) {
      if (this.over) return;
      this.#steps++;
      if (this.#steps > MOST_STEPS) return;
      this.count(step.step);
      this.line(step.step + where(step));
      try {
        (this.#kinds.steps[step.step] as StepFn)(this, step);
      } catch (error) {
        this.line(`! ${this.describe(error)}`);
      }
      this.#showChanges();
    }
  }

  add(number: number, deferred: Any): void {
    const known = this.#numbers.get(deferred);
    if (known === undefined) {
      this.#numbers.set(deferred, number);
    } else {
      this.line(`the same as d${known}`);
      if (this.own.has(known)) this.own.add(number);
    }
    this.deferreds.set(number, deferred);
  }

  existing(number: number): Any | undefined {
    const deferred = this.deferreds.get(number);
    if (deferred === undefined) this.line(`there is no d${number}`);
    return deferred;
  }

  isFresh(number: number): boolean {
    if (this.deferreds.has(number)) this.line(`there is a d${number}`);
    return !this.deferreds.has(number);
  }

  fireable(number: number): Any | undefined {
    if (!this.own.has(number) || !this.guarded) return this.existing(number);
    this.line(`d${number} fires by itself`);
    return undefined;
  }

  /** Those that there are. */
  children(numbers: readonly number[]): Any[] {
    return numbers.flatMap((number) => this.deferreds.get(number) ?? []);
  }

  addThing<K extends keyof Things>(kind: K, number: number, make: () => Things[K]): void {
    const key = `${kind} ${number}`;
    if (!this.#things.has(key)) this.#things.set(key, make());
  }

  thing<K extends keyof Things>(kind: K, number: number): Things[K] | undefined {
    const thing = this.#things.get(`${kind} ${number}`);
    if (thing === undefined) this.line(`there is no ${kind} ${number}`);
    return thing as Things[K] | undefined;
  }

  /** The function that a body describes. It does not return what waits for `own`, if that is given. */
  function(body: Body, own?: Own): Fn {
    return (...given) => {
      if (this.over) return undefined;
      this.line(`f${body.label}(${given.map((value) => this.show(value)).join(', ')})`);
      this.depth++;
      try {
        this.perform(body.steps);
        this.count(`end: ${body.then.end}`);
        return (this.#kinds.ends[body.then.end] as EndFn)(this, body.then, given[0], own);
      } finally {
        this.depth--;
      }
    };
  }

  /** A canceller that is on the stack already only says so: two may cancel one another. */
  canceller(number: number, body: Body | null | undefined): ((deferred: Any) => void) | undefined {
    if (body === null || body === undefined) return undefined;
    const call = this.function(body);
    return (deferred) => {
      if (this.#cancelling.has(number)) {
        this.line('cancelling already');
        return;
      }
      this.#cancelling.add(number);
      try {
        call(deferred);
      } finally {
        this.#cancelling.delete(number);
      }
    };
  }

  /** Writes what has become of a crowd by now, and at the end of the script again. */
  showCrowd(tell: () => string): void {
    this.line(tell());
    this.#crowds.push(tell);
  }

  /** Runs a script, and stops wherever microtasks have their turn. */
  *run(script: Script): Generator<void, void, void> {
    for (const step of script) {
      this.perform([step]);
      yield;
    }
    yield* this.#finish();
  }

  /** To be called when microtasks have had their turn. */
  turned(): void {
    if (this.#steps <= MOST_STEPS) this.#showChanges();
  }

  /** Lets every chain run to its end, and writes which failures nobody has handled. */
  *#finish(): Generator<void, void, void> {
    for (;;) {
      const paused = [...this.deferreds].filter(([, deferred]) => isPaused(deferred));
      if (this.#steps > MOST_STEPS || paused.length === 0) break;
      this.perform(paused.map(([d]) => ({ step: 'unpause', d })));
      yield;
    }
    for (const tell of this.#crowds) this.line(tell());
    if (this.#steps <= MOST_STEPS) {
      const unhandled = unhandledFailures().map(({ failure }) => this.describe(failure.value));
      for (const text of unhandled.sort()) this.line(`unhandled ${text}`);
    }
    this.over = true;
  }
}

type StepFn = (world: World, step: Step) => void;
type EndFn = (world: World, then: unknown, given: unknown, own?: Own) => unknown;

/** True if `pause` was called on it, and not merely because it waits for another. */
export function isPaused(deferred: Any): boolean {
  return deferred.paused > (waitedFor(deferred) === undefined ? 0 : 1);
}

/** What it waits for with what it has been fired with; not what a coroutine behind it waits for. */
export function waitedFor(deferred: Any): Any | undefined {
  return deferred.called ? deferred.waitingOn : undefined;
}

export function waitsFor(deferred: Any | undefined, other: Any | undefined): boolean {
  for (let at = deferred; at !== undefined; at = waitedFor(at)) if (at === other) return true;
  return false;
}

function where(step: Step): string {
  for (const key of ['d', 'call', 'lock', 'queue', 'loop', 'condition']) {
    if (key in step) return ` ${key}${(step as unknown as Record<string, number>)[key]}`;
  }
  return '';
}

/** How each of a coroutine's operations is done with plait. The twin of coroutines.py. */
import { Deferred, Failure } from 'plait';
import type { Ends, Op, OpKind, Ops, Steps } from './script.ts';
import { classes, isPaused, makeError, type Own, waitsFor, type World } from './world.ts';

/** What a coroutine returned, if it did. */
type Done = { value: unknown } | undefined;
type Part = Generator<unknown, Done, unknown>;

interface Coroutine {
  readonly world: World;
  readonly label: number;
  /** Gives the Deferred that it must not wait for at its end. */
  readonly own: Own | undefined;
  got: unknown;
  readonly isAsync?: true;
}

/** What a coroutine does, from beginning to end. */
export function* runCoroutine(
  world: World,
  { d, label, ops }: Steps['inline'],
): Generator<unknown, unknown, unknown> {
  world.line(`c${label} starts`);
  const done = yield* runOps({ world, label, own: undefined, got: undefined }, ops);
  const own = world.deferreds.get(d);
  if (!world.guarded || !(done?.value instanceof Deferred) || own === undefined || !isPaused(own))
    return done?.value;
  world.line(`c${label} is paused`);
  return undefined;
}

/** What a callback does that is a generator function. */
export function* runGenerator(
  world: World,
  { label, ops }: Ends['generator'],
  own?: Own,
): Generator<unknown, unknown, unknown> {
  world.line(`c${label} starts`);
  const done = yield* runOps({ world, label, own, got: undefined }, ops);
  return done?.value;
}

/** What a callback does that is an async function: each `yield` of its operations is an `await`. */
export async function runAsync(world: World, { label, ops }: Ends['async']): Promise<unknown> {
  world.line(`c${label} starts`);
  const run = runOps({ world, label, own: undefined, got: undefined, isAsync: true }, ops);
  let outcome = run.next(undefined);
  while (outcome.done !== true) {
    let value: unknown;
    try {
      value = await outcome.value;
    } catch (error) {
      outcome = run.throw(error);
      continue;
    }
    outcome = run.next(value);
  }
  return outcome.value?.value;
}

function* runOps(co: Coroutine, ops: readonly Op[]): Part {
  for (const op of ops) {
    if (co.world.over) return { value: undefined };
    co.world.count(`coroutine: ${op.op}`);
    const run = OPS[op.op] as (co: Coroutine, op: Op) => Part;
    const done = yield* run(co, op);
    if (done !== undefined) return done;
  }
  return undefined;
}

function say(co: Coroutine, text: string): void {
  co.world.line(`c${co.label} ${text}`);
}

function got(co: Coroutine, value: unknown): void {
  co.got = value;
  say(co, `got ${co.world.show(value)}`);
}

const OPS: { readonly [K in OpKind]: (co: Coroutine, op: Ops[K]) => Part } = {
  *steps({ world }, { steps }) {
    world.depth++;
    try {
      world.perform(steps);
    } finally {
      world.depth--;
    }
    return undefined;
  },
  *wait(co, { d }) {
    const deferred = co.world.existing(d);
    if (deferred === undefined) return undefined;
    say(co, `waits for d${d}`);
    got(co, yield deferred);
    return undefined;
  },
  *waitFrom(co, { d }) {
    const deferred = co.world.existing(d);
    if (deferred === undefined) return undefined;
    say(co, `waits for d${d}`);
    got(co, co.isAsync ? yield deferred : yield* deferred);
    return undefined;
  },
  *yield(co, { value }) {
    got(co, yield value);
    return undefined;
  },
  *yieldFailure(co, { error }) {
    if (co.isAsync) throw makeError(error);
    yield new Failure(makeError(error));
    return undefined;
  },
  *attempt(co, op) {
    try {
      return yield* runOps(co, op.ops);
    } catch (error) {
      if (co.world.over || !classes(op.names).some((type) => error instanceof type)) throw error;
      say(co, `caught ${co.world.describe(error)}`);
      co.got = undefined;
      return yield* runOps(co, op.handler);
    } finally {
      if (op.finally !== null && !co.world.over) {
        say(co, 'finally');
        const last = yield* runOps(co, op.finally);

        if (last !== undefined) return last;
      }
    }
  },
  *again(co, { times, ops }) {
    for (let n = 0; n < times; n++) {
      const done = yield* runOps(co, ops);
      if (done !== undefined) return done;
    }
    return undefined;
  },
  *return(_, { value }) {
    return { value };
  },
  *give({ got }) {
    return { value: got };
  },
  *returnDeferred(co, { d }) {
    const deferred = co.world.existing(d);
    if (deferred === undefined) return undefined;
    if (co.own !== undefined && waitsFor(deferred, co.own())) {
      say(co, 'a ring');
      return { value: undefined };
    }
    return { value: deferred };
  },
  *throw(_, { error }) {
    throw makeError(error);
  },
};

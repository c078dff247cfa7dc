/** How each of a coroutine's operations is done with plait. The twin of coroutines.py. */
import { Deferred, Failure } from 'plait';
import type { Op, OpKind, Ops, Steps } from './script.ts';
import { classes, isPaused, makeError, type World } from './world.ts';

/** What a coroutine returned, if it did. */
type Done = { value: unknown } | undefined;
type Part = Generator<unknown, Done, unknown>;

interface Coroutine {
  readonly world: World;
  readonly label: number;
  got: unknown;
}

/** What a coroutine does, from beginning to end. */
export function* runCoroutine(
  world: World,
  { d, label, ops }: Steps['inline'],
): Generator<unknown, unknown, unknown> {
  world.line(`c${label} starts`);
  const done = yield* runOps({ world, label, got: undefined }, ops);
  const own = world.deferreds.get(d);
  if (!world.guarded || !(done?.value instanceof Deferred) || own === undefined || !isPaused(own))
    return done?.value;
  world.line(`c${label} is paused`);
  return undefined;
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
    got(co, yield* deferred);
    return undefined;
  },
  *yield(co, { value }) {
    got(co, yield value);
    return undefined;
  },
  *yieldFailure(_, { error }) {
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
    return { value: deferred };
  },
  *throw(_, { error }) {
    throw makeError(error);
  },
};

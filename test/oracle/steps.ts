/**
 * How each kind of step and of end is done with plait. The twin of steps.py: a kind is an entry here and one there.
 */
import {
  type Coroutine,
  Deferred,
  DeferredCondition,
  DeferredList,
  DeferredLock,
  deferLater,
  DeferredQueue,
  DeferredSemaphore,
  ensureDeferred,
  fail,
  Failure,
  gatherResults,
  inlineCallbacks,
  LoopingCall,
  maybeDeferred,
  succeed,
} from 'plait';
import { runAsync, runCoroutine, runGenerator } from './coroutines.ts';
import { crowdAtLock, crowdAtQueue } from './crowd.ts';
import type { Steps } from './script.ts';
import { type Any, classes, type Kinds, makeError, type World, waitsFor } from './world.ts';

// ── Steps ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Makes a Deferred under a number that is not taken. */
function make<S extends { d: number }>(how: (world: World, step: S) => Any) {
  return (world: World, step: S): void => {
    if (world.isFresh(step.d)) world.add(step.d, how(world, step));
  };
}

/** Does something with one that there is. */
function use<S extends { d: number }>(what: (deferred: Any, step: S, world: World) => unknown) {
  return (world: World, step: S): void => {
    const deferred = world.existing(step.d);
    if (deferred !== undefined) what(deferred, step, world);
  };
}

/** Fires one that there is, unless it fires by itself. */
function fire<S extends { d: number }>(how: (deferred: Any, step: S, world: World) => void) {
  return (world: World, step: S): void => {
    const deferred = world.fireable(step.d);
    if (deferred !== undefined) how(deferred, step, world);
  };
}

const list = make<Steps['list']>(
  (world, { of, options }) =>
    new DeferredList(
      world.children(of),
      Object.fromEntries(options.map((option) => [option, true])),
    ),
);

function look(world: World, ...facts: unknown[]): void {
  world.line(facts.map((fact) => world.show(fact)).join(' '));
}

function prepared(world: World, loop: LoopingCall): LoopingCall {
  loop.clock = world.clock;
  return loop;
}

/** What performs each kind of step. */
export const STEPS: Kinds['steps'] = {
  new: make((world, { d, canceller }) => new Deferred(world.canceller(d, canceller))),
  succeed: make((_, { value }) => succeed(value) as Any),
  fail: make((_, { error }) => fail(makeError(error))),
  maybe: make((world, { body, value }) => maybeDeferred(world.function(body), value)),
  ensure(world, { d, other }) {
    const deferred = world.existing(other);
    if (deferred !== undefined && world.isFresh(d)) world.add(d, ensureDeferred(deferred));
  },
  notCoroutine: (_, { value }) => void ensureDeferred(value as never),

  callback: fire((deferred, { value }) => deferred.callback(value)),
  callbackFailure: fire((deferred, { error }) => deferred.callback(new Failure(makeError(error)))),
  callbackDeferred: fire((deferred, { other }, world) => {
    const argument = world.existing(other);
    if (argument !== undefined) deferred.callback(argument);
  }),
  errback: fire((deferred, { error }) => deferred.errback(makeError(error))),
  errbackFailure: fire((deferred, { error }) => deferred.errback(new Failure(makeError(error)))),
  cancel: use((deferred) => deferred.cancel()),

  addCallback: use((deferred, { body }, world) => deferred.addCallback(world.function(body))),
  addErrback: use((deferred, { body }, world) => deferred.addErrback(world.function(body))),
  addBoth: use((deferred, { body }, world) => deferred.addBoth(world.function(body))),
  addCallbackWith: use((deferred, { body, args }, world) =>
    deferred.addCallback(world.function(body), ...args),
  ),
  addErrbackWith: use((deferred, { body, args }, world) =>
    deferred.addErrback(world.function(body), ...args),
  ),
  addBothWith: use((deferred, { body, args }, world) =>
    deferred.addBoth(world.function(body), ...args),
  ),
  addCallbacks: use((deferred, { ok, bad }, world) =>
    deferred.addCallbacks(
      world.function(ok),
      ...(bad === null ? [] : ([world.function(bad)] as const)),
    ),
  ),
  addNothing: use((deferred, { value }) => deferred.addCallback(value as never)),
  chain: use((deferred, step, world) => {
    const other = world.fireable(step.other);
    if (other !== undefined) deferred.chainDeferred(other);
  }),
  pause: use((deferred) => deferred.pause()),
  unpause: use((deferred) => deferred.unpause()),
  timeout: use((deferred, { seconds }, world) => deferred.addTimeout(seconds, world.clock)),
  timeoutHook: use((deferred, { seconds, body }, world) =>
    deferred.addTimeout(seconds, world.clock, world.function(body)),
  ),

  list,
  firstOf: list,
  firstFailure: list,
  gather: make((world, { d, of, consume }) => {
    world.own.add(d);
    return gatherResults(world.children(of), { consumeErrors: consume });
  }),

  inlinePlain: make((world, { body }) =>
    inlineCallbacks(world.function(body) as () => Coroutine<unknown>)(),
  ),
  inline: make((world, step) => inlineCallbacks(() => runCoroutine(world, step))()),
  coroutine: make((world, step) => ensureDeferred(runCoroutine(world, step))),

  deferLater: make((world, { d, seconds }) => {
    world.own.add(d);
    return deferLater(world.clock, seconds);
  }),
  deferLaterCall: make((world, { seconds, body, args }) =>
    deferLater(world.clock, seconds, world.function(body), ...args),
  ),
  callLater(world, { call, seconds, body, args }) {
    world.addThing('call', call, () =>
      world.clock.callLater(seconds, world.function(body), ...args),
    );
  },
  callCancel: (world, { call }) => world.thing('call', call)?.cancel(),
  callReset: (world, { call, seconds }) => world.thing('call', call)?.reset(seconds),
  callDelay: (world, { call, seconds }) => world.thing('call', call)?.delay(seconds),
  callLook(world, step) {
    const call = world.thing('call', step.call);
    if (call !== undefined)
      look(world, call.active(), call.getTime(), world.clock.getDelayedCalls().length);
  },

  loop(world, { loop, body, args }) {
    world.addThing('loop', loop, () =>
      prepared(world, new LoopingCall<unknown[]>(world.function(body), ...args)),
    );
  },
  loopCount(world, { loop, body }) {
    world.addThing('loop', loop, () =>
      prepared(world, LoopingCall.withCount(world.function(body)) as LoopingCall),
    );
  },
  loopStart(world, { loop, d, seconds, now }) {
    const found = world.thing('loop', loop);
    if (found === undefined || !world.isFresh(d)) return;
    const started = found.start(seconds, now);
    world.own.add(d);
    world.add(d, started);
  },
  loopStop: (world, { loop }) => world.thing('loop', loop)?.stop(),
  loopReset: (world, { loop }) => world.thing('loop', loop)?.reset(),
  loopLook(world, step) {
    const loop = world.thing('loop', step.loop);
    if (loop !== undefined) look(world, loop.running, loop.interval);
  },

  lock: (world, { lock }) => world.addThing('lock', lock, () => new DeferredLock()),
  semaphore: (world, { lock, tokens }) =>
    world.addThing('lock', lock, () => new DeferredSemaphore(tokens)),
  acquire(world, { lock, d }) {
    const found = world.thing('lock', lock);
    if (found === undefined || !world.isFresh(d)) return;
    world.own.add(d);
    world.add(d, found.acquire());
  },
  release: (world, { lock }) => world.thing('lock', lock)?.release(),
  lockRun(world, { lock, d, body, args }) {
    const found = world.thing('lock', lock);
    if (found === undefined || !world.isFresh(d)) return;
    world.own.add(d);
    world.add(
      d,
      found.run(
        world.function(body, () => world.deferreds.get(d)),
        ...args,
      ),
    );
  },
  lockLook(world, step) {
    const lock = world.thing('lock', step.lock);
    if (lock === undefined) return;
    look(world, lock instanceof DeferredLock ? lock.locked : lock.tokens, lock.waiting);
  },

  queue(world, { queue, size, backlog }) {
    world.addThing(
      'queue',
      queue,
      () =>
        new DeferredQueue({
          ...(size === null ? {} : { size }),
          ...(backlog === null ? {} : { backlog }),
        }),
    );
  },
  put: (world, { queue, value }) => world.thing('queue', queue)?.put(value),
  putWait(world, { queue, value, d }) {
    const found = world.thing('queue', queue);
    if (found === undefined || !world.isFresh(d)) return;
    world.own.add(d);
    world.add(d, found.putWait(value));
  },
  get(world, { queue, d }) {
    const found = world.thing('queue', queue);
    if (found === undefined || !world.isFresh(d)) return;
    const got = found.get();
    world.own.add(d);
    world.add(d, got);
  },
  queueLook(world, step) {
    const queue = world.thing('queue', step.queue);
    if (queue !== undefined) look(world, queue.pending, queue.waiting);
  },

  condition: (world, { condition }) =>
    world.addThing('condition', condition, () => new DeferredCondition()),
  conditionAcquire(world, { condition, d }) {
    const found = world.thing('condition', condition);
    if (found === undefined || !world.isFresh(d)) return;
    world.own.add(d);
    world.add(d, found.acquire());
  },
  conditionRelease: (world, { condition }) => world.thing('condition', condition)?.release(),
  conditionWait(world, { condition, d }) {
    const found = world.thing('condition', condition);
    if (found === undefined || !world.isFresh(d)) return;
    const notified = found.wait();
    world.own.add(d);
    world.add(d, notified);
  },
  notify: (world, { condition, count }) => world.thing('condition', condition)?.notify(count),
  notifyAll: (world, { condition }) => world.thing('condition', condition)?.notifyAll(),
  conditionLook(world, step) {
    const condition = world.thing('condition', step.condition);
    if (condition !== undefined) look(world, condition.locked);
  },

  crowd: crowdAtLock,
  crowdGet: crowdAtQueue,

  advance: (world, { seconds }) => world.clock.advance(seconds),
  pump: (world, { times }) => world.clock.pump(times),
};

// ── How a function ends ────────────────────────────────────────────────────────────────────────────────────────────

/** What each kind of end does. */
export const ENDS: Kinds['ends'] = {
  same: (_, __, given) => given,
  nothing: () => undefined,
  value: (_, { value }) => value,
  wrap: (_, __, given) => [given],
  throw(_, { error }) {
    throw makeError(error);
  },
  failure: (_, { error }) => new Failure(makeError(error)),
  deferred(world, { d }, _, own) {
    const other = world.existing(d);
    if (own === undefined || !waitsFor(other, own())) return other;
    world.line('a ring');
    return undefined;
  },
  raise: (_, __, given) => (given instanceof Failure ? given.raiseException() : given),
  trap(world, { names, value }, given) {
    if (!(given instanceof Failure)) return given;
    const trapped: Error = given.trap(...classes(names));
    if (world.raw) world.line(`trap returned ${world.describe(trapped)}`);
    return value;
  },
  check: (_, { names }, given) =>
    given instanceof Failure ? given.check(...classes(names)) !== undefined : given,
  generator: (world, then, _, own) => runGenerator(world, then, own),
  async: (world, then) => runAsync(world, then),
};

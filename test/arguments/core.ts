/** How the functions and classes that need no reactor are called, for tests of their arguments. */
import * as plait from 'plait';
import { Clock, flushLoggedErrors } from 'plait/testing';
import {
  ANYTHING,
  BOOLEAN,
  BYTES,
  call,
  type Call,
  FUNCTION,
  isBytes,
  isFunction,
  isNumber,
  isObject,
  isString,
  kind,
  limit,
  maybe,
  options,
  orNull,
  SECONDS,
  STRING,
  whole,
} from '../wrong-arguments.ts';

const { Deferred } = plait;

export const CLOCK = kind(() => new Clock());
const DEFERRED = kind(() => plait.succeed(1) as plait.Deferred<unknown>);
const DEFERREDS = kind(
  () => [plait.succeed(1)] as plait.Deferred<unknown>[],
  (value) => Array.isArray(value),
);
/** A race of no Deferred is an error of its own. */
const SOME_DEFERREDS = kind(() => [plait.succeed(1)] as plait.Deferred<unknown>[]);
const SIGNAL = kind(() => new AbortController().signal);
const PORT = whole(0, 65535, 7);
const ITERATOR = kind(() => [1, 2][Symbol.iterator]());
const buffer = (): plait.ReceiveBuffer => {
  const made = new plait.ReceiveBuffer();
  made.feed(Buffer.from('a\r\nbcdefgh'));
  return made;
};

export function addressTable(): Call[] {
  const TYPE = kind(() => 'TCP' as const);
  return [
    call(
      'IPv4Address',
      { type: TYPE, host: STRING, port: PORT },
      (a) => new plait.IPv4Address(a.type, a.host, a.port),
    ),
    call(
      'IPv6Address',
      { type: TYPE, host: STRING, port: PORT, flowInfo: maybe(whole(0)), scopeID: maybe(STRING) },
      (a) => new plait.IPv6Address(a.type, a.host, a.port, a.flowInfo, a.scopeID),
    ),
    call('UNIXAddress', { name: orNull(STRING) }, (a) => new plait.UNIXAddress(a.name)),
    call(
      'HostnameAddress',
      { hostname: STRING, port: PORT },
      (a) => new plait.HostnameAddress(a.hostname, a.port),
    ),
    call('isIPAddress', { host: ANYTHING }, (a) => plait.isIPAddress(a.host as string)),
    call('asciiLowerCase', { text: STRING }, (a) => plait.asciiLowerCase(a.text)),
    call('asciiUpperCase', { text: STRING }, (a) => plait.asciiUpperCase(a.text)),
    call('isDetached', { bytes: BYTES }, (a) => plait.isDetached(a.bytes)),
    call('unpinned', { piece: BYTES }, (a) => plait.unpinned(a.piece as Buffer)),
    call('ReceiveBuffer.feed', { chunk: BYTES }, (a) => buffer().feed(a.chunk as Buffer)),
    call('ReceiveBuffer.take', { size: whole(0) }, (a) => buffer().take(a.size)),
    call('ReceiveBuffer.takeSome', { most: limit() }, (a) => buffer().takeSome(a.most)),
    call('ReceiveBuffer.byteAt', { index: whole(0) }, (a) => buffer().byteAt(a.index)),
    call(
      'ReceiveBuffer.takeUntil',
      {
        delimiter: kind(
          () => Buffer.from('\r\n'),
          (v) => v instanceof Uint8Array,
        ),
        limit: kind(
          () => 10,
          (v) => isNumber(v) && v >= 0,
        ),
      },
      (a) => buffer().takeUntil(a.delimiter, a.limit),
    ),
    call(
      'exactly',
      { source: kind(buffer), size: whole(0) },
      (a) => [...plait.exactly(a.source, a.size)].length,
    ),
    call(
      'until',
      {
        source: kind(buffer),
        delimiter: kind(
          () => Buffer.from('\r\n'),
          (v) => v instanceof Uint8Array,
        ),
        limit: kind(
          () => 10,
          (v) => isNumber(v) && v >= 0,
        ),
      },
      (a) => plait.until(a.source, a.delimiter, a.limit).next(),
    ),
    call(
      'line',
      {
        source: kind(buffer),
        limit: kind(
          () => 10,
          (v) => isNumber(v) && v >= 0,
        ),
      },
      (a) => plait.line(a.source, a.limit).next(),
    ),
  ];
}

export function coreTable(): Call[] {
  const unfired = (): plait.Deferred<unknown> => new Deferred<unknown>();
  const fired = (): plait.Deferred<unknown> => plait.succeed('tea');
  const lock = (): plait.DeferredSemaphore => new plait.DeferredSemaphore(2);
  const held = (): plait.DeferredCondition => {
    const condition = new plait.DeferredCondition();
    condition.acquire();
    return condition;
  };
  const queue = (): plait.DeferredQueue<unknown> => new plait.DeferredQueue<unknown>();
  const loop = (): plait.LoopingCall => {
    const made = new plait.LoopingCall(() => {});
    made.clock = new Clock();
    return made;
  };
  const QUEUE = options({ size: limit(), backlog: limit() });
  const inScope = (use: (scope: plait.Scope) => unknown): unknown =>
    plait.scope((scope) => use(scope) as never, { clock: new Clock() });
  return [
    // ── Deferreds
    call('new Deferred', { canceller: maybe(FUNCTION) }, (a) => new Deferred(a.canceller)),
    call('Deferred.callback', { result: ANYTHING }, (a) => unfired().callback(a.result)),
    call('Deferred.errback', { reason: ANYTHING }, (a) => {
      const deferred = unfired();
      deferred.errback(a.reason as Error);
      return deferred;
    }),
    call('Deferred.addCallback', { callback: FUNCTION }, (a) => fired().addCallback(a.callback)),
    call('Deferred.addErrback', { callback: FUNCTION }, (a) => fired().addErrback(a.callback)),
    call('Deferred.addBoth', { callback: FUNCTION }, (a) => fired().addBoth(a.callback)),
    call('Deferred.addCallbacks', { callback: FUNCTION }, (a) => fired().addCallbacks(a.callback)),
    call('Deferred.addCallbacks', { callback: maybe(FUNCTION) }, (a) =>
      fired().addCallbacks(() => {}, a.callback),
    ),
    call('Deferred.chainDeferred', { other: kind(unfired) }, (a) => fired().chainDeferred(a.other)),
    call(
      'Deferred.addTimeout',
      { timeout: SECONDS, clock: CLOCK, onTimeoutCancel: maybe(FUNCTION) },
      (a) => unfired().addTimeout(a.timeout, a.clock, a.onTimeoutCancel),
    ),
    call('Deferred.cancelOn', { signal: SIGNAL }, (a) => unfired().cancelOn(a.signal)),
    call(
      'Deferred.fromPromise',
      { promise: kind(() => Promise.resolve(1)), options: options({ abort: FUNCTION }) },
      (a) => Deferred.fromPromise(a.promise, a.options),
    ),
    call('succeed', { value: ANYTHING }, (a) => plait.succeed(a.value)),
    call('fail', { reason: ANYTHING }, (a) => plait.fail(a.reason as Error)),
    call('maybeDeferred', { fn: FUNCTION }, (a) => plait.maybeDeferred(a.fn)),
    call('execute', { fn: FUNCTION }, (a) => plait.execute(a.fn)),
    call(
      'logError',
      {
        failure: kind(
          () => new plait.Failure(new Error('tea')),
          (v) => v instanceof Error,
        ),
      },
      (a) => {
        plait.logError(a.failure);
        flushLoggedErrors();
      },
    ),
    call('setDebugging', { on: BOOLEAN }, (a) => {
      plait.setDebugging(a.on);
      plait.setDebugging(false);
    }),
    call('setKeepContext', { on: BOOLEAN }, (a) => {
      plait.setKeepContext(a.on);
      plait.setKeepContext(false);
    }),
    call(
      'inlineCallbacks',
      {
        fn: kind(
          () =>
            function* () {
              yield* plait.succeed(1);
            },
          isFunction,
        ),
      },
      (a) => plait.inlineCallbacks(a.fn),
    ),
    call('ensureDeferred', { thing: DEFERRED }, (a) => plait.ensureDeferred(a.thing)),
    call('withSignal', { fn: kind(() => () => Promise.resolve(1), isFunction) }, (a) =>
      plait.withSignal(a.fn),
    ),
    call(
      'setUnhandledFailureHook',
      {
        next: kind(
          () => () => {},
          (v) => v === undefined || isFunction(v),
        ),
      },
      (a) => {
        plait.setUnhandledFailureHook(a.next);
      },
    ),
    call('observeUnhandledFailures', { observer: FUNCTION }, (a) =>
      plait.observeUnhandledFailures(a.observer)(),
    ),
    // ── Failures
    call('new Failure', { value: ANYTHING }, (a) => new plait.Failure(a.value)),
    call(
      'Failure.check',
      {
        pattern: kind(
          () => TypeError,
          (v) => isString(v) || isFunction(v),
        ),
      },
      (a) => new plait.Failure(new Error('tea')).check(a.pattern),
    ),
    call(
      'Failure.throwExceptionIntoGenerator',
      {
        generator: kind(() =>
          (function* () {
            yield 1;
          })(),
        ),
      },
      (a) => {
        try {
          new plait.Failure(new Error('tea')).throwExceptionIntoGenerator(a.generator);
        } catch (error) {
          if ((error as Error).message !== 'tea') throw error;
        }
      },
    ),
    call(
      'Failure.printTraceback',
      { out: maybe(kind(() => ({ write: () => {} }), isBytes)) },
      (a) => {
        const out: unknown = a.out;
        if (out !== undefined) new plait.Failure(new Error('tea')).printTraceback(a.out);
      },
    ),
    call(
      'Failure.printBriefTraceback',
      { out: maybe(kind(() => ({ write: () => {} }), isBytes)) },
      (a) => {
        const out: unknown = a.out;
        if (out !== undefined) new plait.Failure(new Error('tea')).printBriefTraceback(a.out);
      },
    ),
    // ── Several at once
    call(
      'DeferredList',
      {
        deferreds: DEFERREDS,
        options: options({
          fireOnOneCallback: BOOLEAN,
          fireOnOneErrback: BOOLEAN,
          consumeErrors: BOOLEAN,
        }),
      },
      (a) => new plait.DeferredList(a.deferreds, a.options),
    ),
    call(
      'gatherResults',
      {
        deferreds: DEFERREDS,
        options: options({ consumeErrors: BOOLEAN, cancelOnError: BOOLEAN }),
      },
      (a) => plait.gatherResults(a.deferreds, a.options),
    ),
    call('race', { deferreds: SOME_DEFERREDS }, (a) => plait.race(a.deferreds)),
    call(
      'wait',
      {
        deferreds: SOME_DEFERREDS,
        options: options({ until: kind(() => 'all' as const), timeout: SECONDS, clock: CLOCK }),
      },
      (a) => plait.wait(a.deferreds, a.options),
    ),
    call('asCompleted', { deferreds: DEFERREDS }, (a) => plait.asCompleted(a.deferreds)),
    call('shield', { deferred: DEFERRED }, (a) => plait.shield(a.deferred)),
    // ── Waiting for one another
    call(
      'new DeferredSemaphore',
      { tokens: whole(1) },
      (a) => new plait.DeferredSemaphore(a.tokens),
    ),
    call('DeferredSemaphore.limit', { limit: whole(1) }, (a) => {
      lock().limit = a.limit;
    }),
    call('DeferredSemaphore.tokens', { tokens: whole(0) }, (a) => {
      lock().tokens = a.tokens;
    }),
    call('DeferredSemaphore.run', { fn: FUNCTION }, (a) => lock().run(a.fn)),
    call(
      'new DeferredCondition',
      { lock: maybe(kind(() => new plait.DeferredLock())) },
      (a) => new plait.DeferredCondition(a.lock),
    ),
    call('DeferredCondition.waitFor', { predicate: FUNCTION }, (a) => held().waitFor(a.predicate)),
    call('DeferredCondition.notify', { count: maybe(limit()) }, (a) => held().notify(a.count)),
    call('new DeferredBarrier', { parties: whole(1) }, (a) => new plait.DeferredBarrier(a.parties)),
    call('AsyncResult.of', { deferred: DEFERRED }, (a) => plait.AsyncResult.of(a.deferred)),
    call('AsyncResult.set', { value: ANYTHING }, (a) => new plait.AsyncResult().set(a.value)),
    call('AsyncResult.setFailure', { reason: ANYTHING }, (a) =>
      new plait.AsyncResult().setFailure(a.reason as Error),
    ),
    call(
      'new DeferredQueue',
      { options: QUEUE, store: maybe(kind(() => ({ size: 0, add() {}, take: () => 1 }))) },
      (a) => new plait.DeferredQueue(a.options, a.store),
    ),
    call('DeferredQueue.size', { size: limit() }, (a) => {
      queue().size = a.size;
    }),
    call('DeferredQueue.backlog', { backlog: limit() }, (a) => {
      queue().backlog = a.backlog;
    }),
    call('DeferredQueue.put', { thing: ANYTHING }, (a) => queue().put(a.thing)),
    call('DeferredQueue.putWait', { thing: ANYTHING }, (a) => queue().putWait(a.thing)),
    call('DeferredQueue.shutdown', { options: options({ immediate: BOOLEAN }) }, (a) =>
      queue().shutdown(a.options),
    ),
    call('new LifoQueue', { options: QUEUE }, (a) => new plait.LifoQueue(a.options)),
    call(
      'new PriorityQueue',
      { compare: maybe(kind(() => () => 0, isFunction)), options: QUEUE },
      (a) => new plait.PriorityQueue(a.compare, a.options),
    ),
    // ── Time
    call(
      'new CallQueue',
      { now: FUNCTION, changed: maybe(FUNCTION) },
      (a) => new plait.CallQueue(a.now as never, a.changed),
    ),
    call(
      'CallQueue.add',
      {
        delay: SECONDS,
        fn: FUNCTION,
        args: maybe(
          kind(
            () => [1],
            (v) => Array.isArray(v),
          ),
        ),
      },
      (a) => new plait.CallQueue(() => 0).add(a.delay, a.fn as never, a.args as never),
    ),
    call('CallQueue.runDue', { options: options({ includeNew: BOOLEAN }) }, (a) =>
      new plait.CallQueue(() => 0).runDue(a.options),
    ),
    call('DelayedCall.reset', { delay: SECONDS }, (a) =>
      new Clock().callLater(1, () => {}).reset(a.delay),
    ),
    call(
      'DelayedCall.delay',
      {
        seconds: kind(
          () => 1,
          (v) => Number.isFinite(v),
        ),
      },
      (a) => new Clock().callLater(1, () => {}).delay(a.seconds),
    ),
    call('deferLater', { clock: CLOCK, delay: SECONDS, fn: maybe(FUNCTION) }, (a) =>
      plait.deferLater(a.clock, a.delay, a.fn as never),
    ),
    call('new LoopingCall', { fn: FUNCTION }, (a) => new plait.LoopingCall(a.fn)),
    call('LoopingCall.withCount', { fn: FUNCTION }, (a) => plait.LoopingCall.withCount(a.fn)),
    call('LoopingCall.interval', { interval: SECONDS }, (a) => {
      loop().interval = a.interval;
    }),
    call('LoopingCall.start', { interval: SECONDS, now: maybe(BOOLEAN) }, (a) => {
      const started = loop();
      const d = started.start(a.interval, a.now);
      started.stop();
      return d;
    }),
    // ── Work
    call(
      'new Cooperator',
      {
        options: options({
          clock: CLOCK,
          terminationPredicateFactory: FUNCTION,
          scheduler: FUNCTION,
          started: BOOLEAN,
        }),
      },
      (a) => new plait.Cooperator(a.options as never),
    ),
    call('Cooperator.cooperate', { iterator: ITERATOR }, (a) =>
      new plait.Cooperator({ clock: new Clock() }).cooperate(a.iterator),
    ),
    call('Cooperator.coiterate', { iterator: ITERATOR }, (a) =>
      new plait.Cooperator({ clock: new Clock() }).coiterate(a.iterator),
    ),
    call('cooperate', { iterator: ITERATOR, options: options({ clock: CLOCK }) }, (a) =>
      plait.cooperate(a.iterator, a.options).stop(),
    ),
    call('coiterate', { iterator: ITERATOR, options: options({ clock: CLOCK }) }, (a) =>
      plait.coiterate(a.iterator, a.options),
    ),
    call('scope', { body: FUNCTION, options: options({ timeout: SECONDS, clock: CLOCK }) }, (a) =>
      plait.scope(a.body, a.options),
    ),
    call('Scope.spawn', { work: FUNCTION }, (a) => inScope((scope) => scope.spawn(a.work))),
    call(
      'Scope.scope',
      { body: FUNCTION, options: options({ timeout: SECONDS, clock: CLOCK }) },
      (a) => inScope((scope) => scope.scope(a.body, a.options)),
    ),
    call(
      'watchHook',
      {
        outcome: ANYTHING,
        hook: STRING,
        owner: maybe(kind(() => ({ hookFailed() {} }), isObject)),
      },
      (a) => plait.watchHook(Promise.resolve(a.outcome), a.hook, a.owner),
    ),
  ];
}

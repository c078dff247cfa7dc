/** What `using` ends: locks, delayed calls, looping calls. See docs/howto. `node dist/docs/examples/howto-using.js` */
import assert from 'node:assert/strict';
import {
  type Deferred,
  deferLater,
  DeferredLock,
  DeferredSemaphore,
  fail,
  inlineCallbacks,
  type IReactorTime,
  LoopingCall,
  react,
  type Reactor,
} from 'plait';

const locks = inlineCallbacks(function* (clock: IReactorTime) {
  // #region lock
  const lock = new DeferredLock();
  const careful = inlineCallbacks(function* () {
    using held = yield* lock.acquire();
    yield* deferLater(clock, 0.01);
    return held.waiting; // released here, or where an error leaves the function
  });
  // #endregion
  const [first, second] = [careful(), careful()];
  assert.equal(lock.locked, true);
  assert.equal(yield* first, 1);
  assert.equal(yield* second, 0);
  assert.equal(lock.locked, false);

  const cancelled = careful();
  cancelled.cancel();
  yield* cancelled.addErrback(() => 0);
  assert.equal(lock.locked, false);

  const two = new DeferredSemaphore(2);
  {
    using held = yield* two.acquire();
    assert.equal(held.tokens, 1);
  }
  assert.equal(two.tokens, 2);
});

const calls = inlineCallbacks(function* (reactor: Reactor) {
  const said: string[] = [];
  // #region call
  const patiently = inlineCallbacks(function* (work: Deferred<string>) {
    using apology = reactor.callLater(5, () => said.push('this takes a while …'));
    const result = yield* work;
    return apology.active() ? `${result} in time` : `${result} at last`;
  }); // it is called off here, if it is still to come
  // #endregion
  assert.equal(yield* patiently(deferLater(reactor, 0.01, () => 'tea')), 'tea in time');
  yield* patiently(fail(new RangeError('no tea'))).addErrback((failure) =>
    failure.trap(RangeError),
  );
  assert.deepEqual(reactor.getDelayedCalls(), []);
  assert.deepEqual(said, []);

  // #region ticking
  let ticks = 0;
  {
    using ticking = new LoopingCall(() => ticks++);
    ticking.start(0.01);
    yield* deferLater(reactor, 0.05);
  }
  // #endregion
  const soFar = ticks;
  assert.ok(soFar > 1);
  yield* deferLater(reactor, 0.03);
  assert.equal(ticks, soFar);
});

react(async (reactor) => {
  await locks(reactor);
  await calls(reactor);
  assert.deepEqual(reactor.getDelayedCalls(), []);
});

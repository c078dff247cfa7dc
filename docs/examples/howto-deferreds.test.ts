/** The examples of docs/howto/deferreds.md, which are tests. */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  AlreadyCalledError,
  AsyncResult,
  Deferred,
  deferLater,
  fail,
  Failure,
  type IReactorTime,
  maybeDeferred,
  Reactor,
  reportUnhandledFailures,
  setDebugging,
  setKeepContext,
  setUnhandledFailureHook,
  succeed,
  unhandledFailures,
} from 'plait';
import { Clock, failureResultOf, successResultOf } from 'plait/testing';
import t from 'tap';

// #region make
/** Fires with 'tea', after three minutes. */
function brew(clock: IReactorTime): Deferred<string> {
  const cup = new Deferred<string>(() => call.cancel());
  const call = clock.callLater(180, () => cup.callback('tea'));
  return cup;
}
// #endregion

t.test('a Deferred is fired once', async (t) => {
  const clock = new Clock();
  const cup = brew(clock);
  clock.advance(180);
  t.equal(successResultOf(cup), 'tea');
  t.throws(() => cup.callback('more tea'), AlreadyCalledError);

  const cold = brew(clock);
  cold.addErrback(() => {});
  cold.cancel();
  t.same(clock.getDelayedCalls(), []);
});

t.test('callbacks run inside callback()', async (t) => {
  // #region synchronous
  const said: string[] = [];
  const cup = new Deferred<string>();
  cup.addCallback((drink) => said.push(`drinking ${drink}`));

  said.push('before');
  cup.callback('tea');
  said.push('after');
  t.same(said, ['before', 'drinking tea', 'after']);

  cup.addCallback(() => said.push('at once, since there is a result'));
  t.equal(said.length, 4);
  // #endregion
});

t.test('a callback that is added by a callback runs after it, in the same pass', async (t) => {
  const said: string[] = [];
  const cup = succeed();
  cup.addCallback(() => {
    cup.addCallback(() => said.push('inner'));
    said.push('outer');
  });
  t.same(said, ['outer', 'inner']);
});

t.test('what a callback may return', async (t) => {
  const clock = new Clock();
  // #region chain
  const order = new Deferred<string>();
  const served = order
    .addCallback((drink) => drink.trim()) // a value
    .addCallback((drink) => (drink === '' ? new Failure(new RangeError('order something')) : drink))
    .addCallback((drink) => deferLater(clock, 180, () => `hot ${drink}`)) // a Deferred: is waited for
    .addCallback(async (drink) => `${drink} with milk`); // a promise: is waited for

  order.callback(' tea ');
  clock.advance(180);
  t.equal(await served, 'hot tea with milk');
  // #endregion
  t.equal<unknown>(served, order);
});

t.test('failures', async (t) => {
  // #region failures
  const readPort = (text: string) =>
    succeed(text)
      .addCallback((digits) => {
        if (!/^\d+$/.test(digits)) throw new SyntaxError(`not a port: ${digits}`);
        return Number(digits);
      })
      .addCallback((port) => (port > 65535 ? new Failure(new RangeError(`${port}`)) : port))
      .addErrback((failure) => {
        failure.trap(RangeError); // lets all others pass
        return 65535;
      })
      .addCallback((port) => `port ${port}`);

  t.equal(successResultOf(readPort('80')), 'port 80');
  t.equal(successResultOf(readPort('99999')), 'port 65535');
  t.equal(failureResultOf(readPort('http'), SyntaxError).value.message, 'not a port: http');
  // #endregion
});

t.test('two sides of one link, and two links', async (t) => {
  // #region sides
  const oops = () => {
    throw new RangeError('from the callback');
  };
  const saved = succeed()
    .addCallback(oops)
    .addErrback(() => 'saved');
  const failed = succeed().addCallbacks(oops, () => 'saved');
  t.equal(successResultOf(saved), 'saved');
  failureResultOf(failed, RangeError);
  // #endregion
});

t.test('whatever a function does, as a Deferred', async (t) => {
  // #region maybe
  const sizes = new Map([['small', 0.2]]);
  const sizeOf = (name: string) => sizes.get(name) ?? deferLater(new Clock(), 1, () => 0.3);

  t.equal(successResultOf(maybeDeferred(sizeOf, 'small')), 0.2);
  t.equal(maybeDeferred(sizeOf, 'large').state, 'unfired');
  failureResultOf(maybeDeferred(JSON.parse, '{'), SyntaxError);
  // #endregion
});

t.test('looking, replacing, handing over', async (t) => {
  // #region looking
  const cup = succeed('tea');
  t.equal(await cup, 'tea');
  t.equal(await cup, 'tea'); // it is still there
  cup.addCallback((drink) => drink.toUpperCase());
  t.equal(await cup, 'TEA'); // what it is at this point of the chain

  const tray = succeed().addCallback(() => cup);
  t.equal(await tray, 'TEA');
  t.equal(await cup, undefined); // the tray has it
  // #endregion
});

t.test('many who want the same', async (t) => {
  const clock = new Clock();
  // #region many
  const pot = AsyncResult.of(brew(clock));
  const [mine, yours] = [pot.get(), pot.get()];
  mine.cancel(); // and the tea goes on
  clock.advance(180);
  failureResultOf(mine, 'CancelledError');
  t.equal(successResultOf(yours), 'tea');
  t.equal(successResultOf(pot.get()), 'tea');
  // #endregion
});

t.test('an unhandled failure', async (t) => {
  // #region unhandled
  const reported: string[] = [];
  const previous = setUnhandledFailureHook(({ failure }) => {
    reported.push(failure.getErrorMessage());
  });
  t.teardown(() => setUnhandledFailureHook(previous));

  const [first, second] = [fail(new Error('no water')), fail(new Error('no milk'))];
  await new Promise((resolve) => setImmediate(resolve));
  t.same(reported, []); // a turn has passed, but they may still be taken

  first.addErrback(() => 'so no tea');
  t.equal(unhandledFailures().length, 1); // looking at the list handles nothing
  reportUnhandledFailures(); // as a reactor does that has shut down, and a process that exits
  t.same(reported, ['no milk']);
  reportUnhandledFailures();
  t.same(reported, ['no milk']); // once
  // #endregion
  t.equal(second.state, 'failed');

  const reactor = new Reactor();
  const stopped = reactor.run();
  const third = fail(new Error('no sugar'));
  reactor.callLater(0, () => reactor.stop());
  await stopped;
  t.same(reported, ['no milk', 'no sugar']);
  t.equal(third.state, 'failed');
});

t.test('where it came from', async (t) => {
  // #region debugging
  setDebugging(true);
  t.teardown(() => setDebugging(false));

  const cup = succeed('tea');
  t.throws(() => cup.callback('more tea'), {
    message: /already been fired\ncreated here:\n.*\nfirst fired here:\n/s,
  });
  // #endregion
});

t.test('the AsyncLocalStorage context of a callback', async (t) => {
  const clock = new Clock();
  // #region context
  const customer = new AsyncLocalStorage<string>();
  const served: unknown[] = [];
  const order = (name: string, cup: Deferred<string>) =>
    customer.run(name, () => cup.addCallback(() => served.push(customer.getStore())));

  const one = new Deferred<string>();
  order('Ann', one);
  customer.run('the waiter', () => one.callback('tea'));

  setKeepContext(true);
  t.teardown(() => setKeepContext(false));
  const two = new Deferred<string>();
  order('Ann', two);
  customer.run('the waiter', () => two.callback('tea'));
  t.same(served, ['the waiter', 'Ann']);
  // #endregion

  setKeepContext(false);
  customer.run('Ann', () => clock.callLater(1, () => served.push(customer.getStore())));
  clock.advance(1);
  t.equal(served[2], 'Ann');
});

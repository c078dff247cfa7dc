/** What a Deferred does, in short pieces; see docs/reference/deferred.md. `node dist/docs/examples/deferreds.js` */
import {
  CancelledError,
  Deferred,
  deferLater,
  DeferredList,
  fail,
  gatherResults,
  inlineCallbacks,
  type IReactorTime,
  race,
  react,
  succeed,
  TimeoutError,
} from 'plait';

function chain() {
  // #region chain
  const price = new Deferred<number>();
  price
    .addCallback((euros) => euros * 1.1)
    .addCallback((euros) => console.log(`with tax: ${euros.toFixed(2)}`));
  console.log('before');
  price.callback(20);
  console.log('after');
  // #endregion
}

function failures() {
  // #region failures
  const port = new Deferred<string>();
  port
    .addCallback((text) => {
      if (!/^\d+$/.test(text)) throw new RangeError(`not a port: ${text}`);
      return Number(text);
    })
    .addErrback((failure) => {
      const error = failure.trap(RangeError);
      console.log(`using 8000, since ${error.message}`);
      return 8000;
    })
    .addCallback((number) => console.log(`port ${number}`));
  port.callback('http');
  // #endregion
}

function waiting() {
  // #region waiting
  const inner = new Deferred<string>();
  const outer = succeed('key').addCallback((key) => inner.addCallback((value) => key + value));
  console.log(outer.state, outer.result);
  inner.callback('=value');
  console.log(outer.state, outer.result);
  // #endregion
}

function cancelling(clock: IReactorTime) {
  // #region cancelling
  const call = { hungUp: false };
  const answer = new Deferred<string>(() => {
    call.hungUp = true;
  });
  answer.addErrback((failure) => failure.trap(CancelledError).message).addCallback(console.log);
  answer.cancel();
  console.log(call);
  // #endregion

  // #region timeout
  return new Deferred<string>()
    .addTimeout(0.05, clock)
    .addErrback((failure) => failure.trap(TimeoutError).message)
    .addCallback(console.log);
  // #endregion
}

const together = inlineCallbacks(function* (clock: IReactorTime) {
  // #region together
  const [a, b] = yield* gatherResults([succeed(1), deferLater(clock, 0.01, () => 'two')]);
  console.log(a, b);

  const outcomes = yield* new DeferredList([succeed(1), fail(new Error('no luck'))], {
    consumeErrors: true,
  });
  for (const [success, result] of outcomes) console.log(success ? result : result.value.message);

  const [winner, value] = yield* race([
    deferLater(clock, 30, () => 'slow'),
    deferLater(clock, 0.01, () => 'fast'),
  ]);
  console.log(winner, value);
  // #endregion
});

async function promises(clock: IReactorTime) {
  // #region promises
  console.log(await deferLater(clock, 0.01, () => 'awaited'));

  const controller = new AbortController();
  const never = Deferred.fromPromise(new Promise(() => {})).cancelOn(controller.signal);
  controller.abort();
  try {
    await never;
  } catch (error) {
    console.log(error instanceof CancelledError);
  }
  // #endregion
}

react(async (reactor) => {
  chain();
  failures();
  waiting();
  await cancelling(reactor);
  await together(reactor);
  await promises(reactor);
});

/** Debug mode: what docs/howto/debugging.md shows. */
import { Deferred, deferLater, inlineCallbacks, Reactor, setDebugging } from 'plait';

// #region slow
const reactor = new Reactor({ debug: { slowCallback: 0.05 } });
reactor.events.on('slowCallback', ({ what, seconds }) => {
  console.log(`${what}: ${seconds.toFixed(1)} s`);
});
reactor.callLater(0, function brew() {
  const end = reactor.seconds() + 0.1;
  while (reactor.seconds() < end);
}); // the delayed call brew: 0.1 s
// #endregion
await deferLater(reactor, 0.01, () => {});

// #region call
const call = reactor.callLater(1, function brew() {});
console.log(call.toString()); // <DelayedCall pending brew at 1.19, asked for here: …
call.cancel();
// #endregion

// #region inspect
setDebugging(true);
const kettle = new Deferred<string>();
const tea = inlineCallbacks(function* () {
  return yield* kettle; // never boils
})();
reactor.callLater(60, function pour() {});
console.log(reactor.inspect().toString());
// the reactor is not running
// calls that wait:
//   in 60.000 s: pour
// without a result:
//   a Deferred made at …/debugging.js:23:16
//   a coroutine made at …/debugging.js:24:13, waits for what was made at …/debugging.js:23:16
// #endregion
setDebugging(false);
tea.addErrback(() => {});
tea.cancel();
for (const waiting of reactor.getDelayedCalls()) waiting.cancel();

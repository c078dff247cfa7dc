/** Two naps at once: a sleep that does not block. `node dist/docs/examples/sleep.js` */
// #region program
import { deferLater, gatherResults, inlineCallbacks, react, type Reactor } from 'plait';

const nap = inlineCallbacks(function* (reactor: Reactor, name: string, seconds: number) {
  console.log(`${name}: asleep`);
  yield* deferLater(reactor, seconds);
  console.log(`${name}: awake after ${seconds} seconds`);
});

react((reactor) => gatherResults([nap(reactor, 'long', 0.2), nap(reactor, 'short', 0.1)]));
// #endregion

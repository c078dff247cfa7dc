/** Work in other threads: what docs/howto/threads.md shows. */
// #region module
import { deferToThread, inlineCallbacks, threadModule } from 'plait';
import type * as Work from './thread-work.ts';

const work = threadModule<typeof Work>(new URL('./thread-work.ts', import.meta.url));

const primes = inlineCallbacks(function* () {
  const count = yield* deferToThread(work.countPrimes, 10_000); // count is a number
  console.log(`${count} primes`);
});
// #endregion
await primes();

// #region source
const square = await deferToThread((n: number) => n ** 2, 12);
console.log(square); // 144
// #endregion

// #region asking
import { deferLater, reactor } from 'plait';
import type { Calls } from './thread-work.ts';

const calls: Calls = {
  priceOf: (item) => deferLater(reactor, 0.01, () => item.length),
  progress: (text) => console.log(text),
};
reactor.allowFromThread({ ...calls });

console.log(await deferToThread(work.totalOf, ['tea', 'coffee']));
// #endregion

// #region moving
import { transfer } from 'plait';

const samples = new Float64Array(1_000_000).fill(1);
const doubled = await deferToThread(work.double, transfer(samples));
console.log(samples.length, doubled.length); // 0 1000000
// #endregion

// #region cancelling
import { CancelledError } from 'plait';

const endless = deferToThread(() => {
  for (;;);
});
endless.addErrback((failure) => failure.trap(CancelledError));
reactor.callLater(0.1, () => endless.cancel());
// #endregion
await endless;

// #region dying
import { ThreadDied } from 'plait';

await deferToThread(() => process.exit(3)).addErrback((failure) => {
  console.log(failure.trap(ThreadDied).message);
});
// #endregion

// #region pool
import { deferToThreadPool, ThreadPool } from 'plait';

const pool = new ThreadPool({ max: 2, idle: 5, name: 'hashing' });
console.log(await deferToThreadPool(reactor, pool, work.countPrimes, 100));
await pool.stop();
// #endregion

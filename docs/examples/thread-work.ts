/** What threads.ts has done in other threads. */
// #region module
export function countPrimes(below: number): number {
  let count = 0;
  for (let n = 2; n < below; n++) {
    let prime = true;
    for (let d = 2; prime && d * d <= n; d++) prime = n % d !== 0;
    if (prime) count++;
  }
  return count;
}
// #endregion

// #region asking
import { blockingCallFromThread, type Deferred, mainReactor } from 'plait';

/** What the main thread lets its threads call. */
export interface Calls {
  priceOf(item: string): Deferred<number>;
  progress(text: string): void;
}

export function totalOf(items: string[]): number {
  const main = mainReactor<Calls>();
  let total = 0;
  for (const item of items) {
    total += blockingCallFromThread(main, 'priceOf', item); // this thread stands still
    main.callFromThread('progress', `${item} is counted`); // and this it does not wait for
  }
  return total;
}
// #endregion

// #region moving
import { transfer } from 'plait';

export function double(samples: Float64Array): Float64Array {
  for (let i = 0; i < samples.length; i++) samples[i] = 2 * (samples[i] ?? 0);
  return transfer(samples);
}
// #endregion

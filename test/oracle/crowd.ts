/** Very many who wait for a lock, a semaphore or a queue, and what becomes of them. The twin of crowd.py. */
import { type DeferredQueue, ensureDeferred } from 'plait';
import type { Crowd, Steps } from './script.ts';
import type { Any, World } from './world.ts';

/** What has become of them, in the order in which it did. */
class Record {
  readonly served: number[] = [];
  readonly failed: number[] = [];
  readonly given: number[] = [];
  refused = 0;

  /** Does something that may be refused. */
  attempt(what: () => void): void {
    try {
      what();
    } catch {
      this.refused++;
    }
  }

  readonly tell = (): string =>
    `served ${ranges(this.served)} given ${ranges(this.given)} failed ${ranges(this.failed)} refused ${this.refused}`;
}

/** Numbers that follow one another are written as the first and the last of them. */
function ranges(numbers: readonly number[]): string {
  const parts: string[] = [];
  for (let from = 0; from < numbers.length;) {
    let to = from;
    while (numbers[to + 1] === numbers[to]! + 1) to++;
    parts.push(to === from ? `${numbers[from]}` : `${numbers[from]}-${numbers[to]}`);
    from = to + 1;
  }
  return parts.length === 0 ? 'none' : parts.join(',');
}

/** One joins the line: `serve` is called with what it waits for. */
function join(
  record: Record,
  { coroutines }: Crowd,
  { deferred, index, serve }: { deferred: Any; index: number; serve: (got: unknown) => void },
): void {
  const served = (got: unknown): void => {
    record.served.push(index);
    serve(got);
  };
  const failed = (): void => void record.failed.push(index);
  if (!coroutines) {
    deferred.addCallbacks(served, failed);
    return;
  }
  ensureDeferred(
    (function* () {
      let got: unknown;
      try {
        got = yield deferred;
      } catch {
        failed();
        return;
      }
      served(got);
    })(),
  );
  deferred.addErrback(() => undefined);
}

function cancelSome(line: readonly Any[], { cancel }: Crowd): void {
  if (cancel === 0) return;
  for (const [index, deferred] of line.entries()) if (index % cancel === 0) deferred.cancel();
}

/** Takes what is free, has a crowd wait behind it, and gives back what it took. */
export function crowdAtLock(world: World, step: Steps['crowd']): void {
  const lock = world.thing('lock', step.lock);
  if (lock === undefined) return;
  const record = new Record();
  const release = (): void => record.attempt(() => lock.release());
  const held = Array.from({ length: Math.max(1, lock.tokens) }, () => lock.acquire());
  const line = Array.from({ length: step.count }, (_, index) => {
    const deferred: Any = lock.acquire();
    join(record, step, {
      deferred,
      index,
      serve: () => {
        if (step.inside) release();
      },
    });
    return deferred;
  });
  cancelSome(line, step);
  for (const each of held) each.addCallbacks(release, () => undefined);
  if (!step.inside) for (let n = 0; n < step.count; n++) release();
  world.showCrowd(record.tell);
}

/** Has a crowd wait for things, and puts them. */
export function crowdAtQueue(world: World, step: Steps['crowdGet']): void {
  const queue: DeferredQueue<unknown> | undefined = world.thing('queue', step.queue);
  if (queue === undefined) return;
  const record = new Record();
  const put = (value: number): void => record.attempt(() => queue.put(value));
  const line: Any[] = [];
  for (let index = 0; index < step.count; index++) {
    record.attempt(() => {
      const deferred = queue.get();
      line.push(deferred);
      join(record, step, {
        deferred,
        index,
        serve: (got) => {
          if (typeof got === 'number') record.given.push(got);
          if (step.inside) put(index + 1);
        },
      });
    });
  }
  cancelSome(line, step);
  put(0);
  if (!step.inside) for (let n = 1; n < step.count; n++) put(n);
  world.showCrowd(record.tell);
}

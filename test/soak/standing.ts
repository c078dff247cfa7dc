/** What a process has come to: memory, descriptors, handles; and whether a line of such figures grows. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';

/** In bytes. */
export interface Memory {
  /**
   * Of the process, without the pages of V8's own heap: these come and go by megabytes as V8 sees fit, which hides what
   * leaks outside of it; what leaks inside shows in `heap`. On Linux also without what is mapped from files, which grows as
   * a program's pages come into use.
   */
  readonly process: number;
  /** Of JavaScript: objects, and the bytes of buffers. */
  readonly heap: number;
}

/** Collects what can be collected, and looks. */
export async function memory(): Promise<Memory> {
  // What a finalizer lets go of is collected by the next one; some of it is closed in a later turn.
  for (let times = 0; times < 4; times++) {
    global.gc?.();
    await turn();
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  const pages = getHeapStatistics().total_physical_size;
  return { process: (anonymous() ?? rss) - pages, heap: heapUsed + external };
}

function anonymous(): number | undefined {
  try {
    const [, kibibytes] =
      /^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
  } catch {
    return undefined; // it is not Linux
  }
}

/** What there is besides memory, as one line: the open descriptors by what they lead to, and what keeps the process alive; each kind with its number. */
export function possessions(): string {
  const counts = new Map<string, number>();
  for (const one of [...descriptors(), ...process.getActiveResourcesInfo()].sort())
    counts.set(one, (counts.get(one) ?? 0) + 1);
  return [...counts].map(([one, count]) => `${count} ${one}`).join(', ');
}

function descriptors(): string[] {
  try {
    return readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, '')];
      } catch {
        return []; // the one by which the list was read
      }
    });
  } catch {
    return [];
  }
}

/**
 * By how much the last `count` of a line of figures grow, as a part of the first of all: along the median of the slopes
 * between any two of them (Theil and Sen), which an outlier, and even a few, do not change.
 */
export function growth(line: readonly number[], count: number): number {
  const figures = line.slice(-count);
  const slopes = figures.flatMap((from, i) =>
    figures.slice(i + 1).map((to, distance) => (to - from) / (distance + 1)),
  );
  return (median(slopes) * (figures.length - 1)) / (line[0] ?? 0);
}

function median(figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = 0, high = 0] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return (low + high) / 2;
}

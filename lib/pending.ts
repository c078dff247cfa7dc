/**
 * Deferreds that have no result yet, and where each was made: what a program waits for. They are kept track of only
 * while debugging is on (`setDebugging`, `PLAIT_DEBUG=1`), since that costs a stack trace each, and never kept alive by
 * it. asyncio: `all_tasks` and the call graph of a task.
 */
import { checkBoolean } from './arguments.ts';

/** True while debugging is on. */
export let debugging = process.env['PLAIT_DEBUG'] === '1';

/** Makes every Deferred remember where it was made and fired, for messages and reports; as `PLAIT_DEBUG=1` does. */
export function setDebugging(on: boolean): void {
  checkBoolean(on, 'setDebugging: on');
  debugging = on;
}

/** True after `setDebugging(true)`. */
export function getDebugging(): boolean {
  return debugging;
}

/** As much of a Deferred as is needed here. */
interface Awaitable {
  readonly called: boolean;
  readonly waitingOn: object | undefined;
}

interface Entry {
  readonly thing: WeakRef<Awaitable>;
  readonly created: Error;
  /** For a coroutine: what it waits for. */
  awaited: (() => object | undefined) | undefined;
}

/** A Deferred that has no result yet. */
export interface PendingDeferred {
  readonly kind: 'Deferred' | 'coroutine';
  /** Where it was made: the first place on the stack outside of plait, as `file:line:column`. */
  readonly madeAt: string;
  /** The place at which that was made which this one waits for, if it waits for another. */
  readonly waitsFor: string | undefined;
}

const entries = new Map<number, Entry>();
const numbers = new WeakMap<object, number>();
let next = 0;

/** When there are so many entries, those that are over are dropped. */
let roomy = 1024;

/** Notes a Deferred that is being made; returns `created`, which knows where. */
export function notePending(thing: Awaitable, created: Error): Error {
  const number = next++;
  numbers.set(thing, number);
  entries.set(number, { thing: new WeakRef(thing), created, awaited: undefined });
  if (entries.size > roomy) {
    dropThoseOver();
    roomy = Math.max(1024, 2 * entries.size);
  }
  return created;
}

/** Notes that a Deferred is a coroutine's, and how to ask what that waits for. */
export function noteCoroutine(thing: object, awaited: () => object | undefined): void {
  const entry = entryOf(thing);
  if (entry !== undefined) entry.awaited = awaited;
}

/** Where a Deferred was made, if that is known: `file:line:column`. */
export function madeAt(thing: object): string | undefined {
  const entry = entryOf(thing);
  return entry === undefined ? undefined : placeOf(entry.created);
}

function entryOf(thing: object): Entry | undefined {
  const number = numbers.get(thing);
  return number === undefined ? undefined : entries.get(number);
}

/** True if it has a result, or will never have one that anybody could see. */
function isOver({ thing }: Entry): boolean {
  const deferred = thing.deref();
  return deferred === undefined || (deferred.called && deferred.waitingOn === undefined);
}

function dropThoseOver(): void {
  for (const [number, entry] of entries) {
    if (isOver(entry)) entries.delete(number);
  }
}

/** A moment, from which on Deferreds can be asked for. */
export function pendingMark(): number {
  return next;
}

/**
 * The Deferreds that were made while debugging was on and have no result yet, in the order in which they were made. Some
 * may be of no interest to anybody any more, and not yet collected.
 *
 * @param since only those made after `pendingMark` returned this
 * @example
 * setDebugging(true);
 * const never = new Deferred<void>();
 * pendingDeferreds().at(-1)?.kind; // 'Deferred'
 * setDebugging(false);
 * never.callback();
 */
export function pendingDeferreds(since = 0): PendingDeferred[] {
  dropThoseOver();
  const found: PendingDeferred[] = [];
  for (const [number, entry] of entries) {
    if (number < since) continue;
    const awaited = entry.awaited?.() ?? entry.thing.deref()?.waitingOn;
    const other = awaited === undefined ? undefined : entryOf(awaited);
    found.push({
      kind: entry.awaited === undefined ? 'Deferred' : 'coroutine',
      madeAt: placeOf(entry.created),
      waitsFor: other === undefined ? undefined : placeOf(other.created),
    });
  }
  return found;
}

/**
 * The folder whose frames are plait's own; undefined if this has been bundled with a program, so that they cannot be told
 * from the program's.
 */
export function ownFolder(): string | undefined {
  return OWN;
}

const OWN = folderOf(import.meta.url);

/** The folder of a file of plait in its place. */
export function folderOf(url: unknown): string | undefined {
  const [, folder] = /^file:\/\/(.*\/(?:lib|dist\/bundle)\/)[^/]*$/.exec(String(url)) ?? [];
  return folder === undefined ? undefined : decodeURIComponent(folder);
}

/** The first place on the stack outside of plait, or else the first of all. */
function placeOf({ stack = '' }: Error): string {
  const frames = stack.split('\n').slice(1);
  const others = frames.filter(
    (frame) => !(OWN !== undefined && frame.includes(OWN)) && !frame.includes('node:'),
  );
  const [frame = ''] = others.length > 0 ? others : frames;
  return /\(?(?:file:\/\/)?([^\s()]+:\d+:\d+)\)?$/.exec(frame)?.[1] ?? 'somewhere';
}

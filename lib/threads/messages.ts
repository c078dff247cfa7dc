/**
 * What the main thread and its threads say to one another; types, two keys, and a check of their shape. A thread is given one order at
 * a time, and posts what it has to say about it to its parent, in order.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Packed, PackedThrown } from './crossing.ts';
import type { Step } from './task.ts';

/** Under this name the global object of a thread says what it works on. Shared by copies of the package. */
export const THREAD: unique symbol = Symbol.for('plait.thread');

/** What a thread keeps under {@link THREAD}. */
export interface ThreadState {
  /** The order at hand; empty before the first. */
  order: string;
}

/** What marks our messages; a task may post others. */
export const MARK = 'plait.thread';

/** What a thread is to do: one step after the other. What the last one returns is the result. */
export interface Order {
  /** Not to be guessed: only the thread that has the order can answer it. */
  readonly id: string;
  readonly steps: readonly { readonly step: Step; readonly args: Packed }[];
}

/** How it went. */
export type Outcome = { readonly result: Packed } | { readonly thrown: PackedThrown };

/** Where an asking thread waits for the answer. */
export interface ReplyTo {
  readonly port: MessagePort;
  /** Set to 1, and notified, when the answer has been posted to the port. */
  readonly flag: Int32Array;
}

/** The order is done. */
export interface Done {
  readonly [MARK]: 'done';
  readonly id: string;
  readonly outcome: Outcome;
  /** The thread has failed to load a module, would fail again for as long as it lives, and waits to be ended. */
  readonly unusable?: boolean;
}

/** A function of the reactor's thread is to be called. */
export interface CallMain {
  readonly [MARK]: 'call';
  readonly id: string;
  readonly name: string;
  readonly args: Packed;
  /** Where the thread waits for what comes of it. */
  readonly reply: ReplyTo | undefined;
}

export type FromThread = Done | CallMain;

/**
 * The message, if it is one of ours and has the shape that it should have: a task may post anything. What is inside of
 * the values is looked at where they are unpacked.
 *
 * @throws TypeError for one that is marked as ours, and is not
 */
export function readMessage(message: unknown): FromThread | undefined {
  if (typeof message !== 'object' || message === null || !Object.hasOwn(message, MARK))
    return undefined;
  const { id, outcome, name, args, reply, [MARK]: kind } = message as Record<string, unknown>;
  const fits =
    typeof id === 'string' &&
    (kind === 'done'
      ? isOutcome(outcome)
      : kind === 'call' && typeof name === 'string' && isPacked(args) && isReplyTo(reply));
  if (!fits) throw new TypeError('it is marked as one of plait, and has another shape');
  return message as FromThread;
}

function isOutcome(outcome: unknown): boolean {
  if (typeof outcome !== 'object' || outcome === null) return false;
  const { result, thrown } = outcome as Record<string, unknown>;
  return 'thrown' in outcome ? typeof thrown === 'object' && thrown !== null : isPacked(result);
}

function isPacked(packed: unknown): boolean {
  if (typeof packed !== 'object' || packed === null) return false;
  const { values, buffers } = packed as Record<string, unknown>;
  return (
    Array.isArray(values) &&
    Array.isArray(buffers) &&
    buffers.every((at) => values[at as number] instanceof Uint8Array)
  );
}

function isReplyTo(reply: unknown): boolean {
  if (reply === undefined) return true;
  if (typeof reply !== 'object' || reply === null) return false;
  const { port, flag } = reply as Record<string, unknown>;
  return port instanceof globalThis.MessagePort && flag instanceof Int32Array && flag.length > 0;
}

/**
 * What the main thread and its threads say to one another; types only, but for two keys. A thread is given one order at
 * a time, and posts what it has to say about it to its parent, in order.
 */
import type { MessagePort } from 'node:worker_threads';
import type { Packed, PackedThrown } from './crossing.ts';
import type { Step } from './task.ts';

/** Under this name the global object of a thread says what it works on. Shared by copies of the package. */
export const THREAD: unique symbol = Symbol.for('plait.thread');

/** What a thread keeps under {@link THREAD}. */
export interface ThreadState {
  /** The order at hand. */
  order: number;
}

/** What marks our messages; a task may post others. */
export const MARK = 'plait.thread';

/** What a thread is to do: one step after the other. What the last one returns is the result. */
export interface Order {
  readonly id: number;
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
  readonly id: number;
  readonly outcome: Outcome;
}

/** A function of the reactor's thread is to be called. */
export interface CallMain {
  readonly [MARK]: 'call';
  readonly id: number;
  readonly name: string;
  readonly args: Packed;
  /** Where somebody waits for what comes of it. */
  readonly reply: ReplyTo | undefined;
}

export type FromThread = Done | CallMain;

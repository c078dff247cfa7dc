/**
 * The reactor of the main thread, as a thread of a pool sees it: functions of its side can be called by name, and waited
 * for. It is of use in such threads only. Twisted: `callFromThread` of the reactor, and
 * `twisted.internet.threads.blockingCallFromThread`.
 */
import type { Transferable } from 'node:worker_threads';
import type { Settled } from '../defer.ts';
import { WrongThreadError } from '../errors.ts';
import { notCloneable, pack, unpack, unpackThrown } from './crossing.ts';
import {
  type CallMain,
  MARK,
  type Outcome,
  type ReplyTo,
  THREAD,
  type ThreadState,
} from './messages.ts';
import type { AnyFunction } from './calls.ts';

/** The arguments that a function of the main thread takes. */
export type ArgumentsOf<F> = F extends (...args: infer A) => unknown ? A : never;

/** What comes of a function of the main thread, when it has come. */
export type ResultOf<F> = F extends (...args: never[]) => infer R ? Settled<R> : never;

/** The main thread's reactor, seen from a thread; `C` is what `allowFromThread` was given there. */
export interface MainReactor<C> {
  /** Calls a function of the main thread, in the next pass of its reactor. What it throws is logged there. */
  callFromThread<K extends keyof C & string>(name: K, ...args: ArgumentsOf<C[K]>): void;
}

/** Loaded in threads only: it is a good part of what it would cost to import plait. */
const workerThreads = () => process.getBuiltinModule('node:worker_threads');

class Main implements MainReactor<Record<string, AnyFunction>> {
  callFromThread(name: string, ...args: never[]): void {
    post(name, args, undefined);
  }
}

function post(name: string, args: readonly unknown[], reply: ReplyTo | undefined): void {
  const parts: Transferable[] = reply === undefined ? [] : [reply.port];
  const packed = pack(args, parts);
  const call: CallMain = { [MARK]: 'call', id: thread().order, name, args: packed, reply };
  try {
    workerThreads().parentPort?.postMessage(call, parts);
  } catch (error) {
    reply?.port.close();
    throw notCloneable(`the arguments of ${name}`, error);
  }
}

function thread(): ThreadState {
  const state = (globalThis as Record<symbol, unknown>)[THREAD] as ThreadState | undefined;
  if (state !== undefined) return state;
  throw new WrongThreadError(
    "the main reactor can be called only from a thread of a reactor's pool: on its own thread, call the function itself",
  );
}

/**
 * Whether the reactor is on this very thread: true unless this is a thread of a {@link ThreadPool}. Twisted: `isInIOThread` of
 * `twisted.python.threadable`.
 *
 * @example
 * isInIOThread();   // true
 */
export function isInIOThread(): boolean {
  return (globalThis as Record<symbol, unknown>)[THREAD] === undefined;
}

const main = new Main();

/**
 * The main thread's reactor, in a thread of its pool. The type says what may be called there: `typeof` of what
 * `reactor.allowFromThread` was given.
 *
 * @throws WrongThreadError anywhere else
 */
export function mainReactor<C>(): MainReactor<C> {
  thread();
  return main as never;
}

/**
 * Calls a function of the main thread and waits for what comes of it: the thread stands still until then, and the main
 * thread does not. A Deferred or promise that the function returns is waited for. What it throws or fails with is
 * thrown here. Twisted: `blockingCallFromThread`.
 *
 * @param reactor what `mainReactor` returned
 * @throws WrongThreadError on the reactor's own thread, which would wait for itself; NotCloneableError; RangeError if
 * the function may not be called; CancelledError when the pool is stopped meanwhile
 */
export function blockingCallFromThread<C, K extends keyof C & string>(
  reactor: MainReactor<C>,
  name: K,
  ...args: ArgumentsOf<C[K]>
): ResultOf<C[K]> {
  if (!(reactor instanceof Main)) {
    throw new WrongThreadError(
      'cannot wait for a reactor on its own thread: nothing would happen any more; call the function itself',
    );
  }
  const { MessageChannel, receiveMessageOnPort } = workerThreads();
  const { port1, port2 } = new MessageChannel();
  const flag = new Int32Array(new SharedArrayBuffer(4));
  try {
    post(name, args, { port: port2, flag });
    Atomics.wait(flag, 0, 0);
    const { message } = receiveMessageOnPort(port1) as { message: Outcome };
    if ('thrown' in message) throw unpackThrown(message.thrown);
    return unpack(message.result)[0] as ResultOf<C[K]>;
  } finally {
    port1.close();
  }
}

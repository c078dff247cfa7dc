/** Why connections end. */
import type { Address } from '../address.ts';
import {
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  explain,
  PlaitError,
} from '../errors.ts';

/**
 * Makes an error without a stack. Why a connection has ended does not lie there, but in a turn of the loop; and to look
 * costs as much as all else that is done about the end.
 */
function withoutStack<E extends Error>(make: () => E): E {
  const { stackTraceLimit } = Error;
  // Where the intrinsics are frozen this does nothing; an assignment would throw.
  Reflect.set(Error, 'stackTraceLimit', 0);
  try {
    return make();
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit);
  }
}

/**
 * The reason for which a connection with `peer` ended.
 *
 * @param error what its wire was closed with, if not in order
 * @param aborted this side has cut it
 */
export function whyLost(peer: Address, error: Error | undefined, aborted: boolean): Error {
  if (aborted) return withoutStack(() => new ConnectionAborted());
  if (error === undefined) return withoutStack(() => new ConnectionDone());
  if (error instanceof PlaitError) return error;
  const message = `connection to ${peer} was lost: ${explain(error)}`;
  return new ConnectionLost(message, { cause: error });
}

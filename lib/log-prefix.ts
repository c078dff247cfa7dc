/**
 * What protocols and factories are called in the log, and what is logged of a hook that has failed: whose it was, and
 * who was at the other end. Twisted: `ILoggingContext`, and `_getLogPrefix` of `twisted.internet.abstract`.
 */
import type { Address } from './address.ts';
import type { Failure } from './failure.ts';
import { isPending } from './hooks.ts';
import type { ILoggingContext } from './interfaces.ts';
import type { Logger } from './log.ts';

/**
 * What stands for `thing` in the log: what its `logPrefix` returns, or else the name of its class.
 *
 * @example
 * logPrefixOf(new EchoFactory());   // 'EchoFactory'
 */
export function logPrefixOf(thing: object): string {
  try {
    const prefix: unknown = (thing as Partial<ILoggingContext>).logPrefix?.();
    if (typeof prefix === 'string' && prefix !== '') return prefix;
    // What an async function has failed with is not to be reported besides.
    if (typeof prefix === 'object' && prefix !== null) isPending(prefix);
  } catch {
    // It is for the log, where something else may have failed, which is told now.
  }
  const { constructor: made } = thing as { readonly constructor?: { readonly name?: unknown } };
  const name = made?.name;
  return typeof name === 'string' && name !== '' && name !== 'Object' ? name : 'an object';
}

/** Whose hook has failed, and where. Each of them becomes a field of the event, `factory` and `protocol` by their prefix. */
export interface HookPlace {
  readonly protocol?: object | string | undefined;
  readonly factory?: object;
  /** Where a port listens. */
  readonly address?: Address | string;
  /** Where a connector connects to. */
  readonly destination?: Address | string;
  /** The process whose protocol it is. */
  readonly process?: string;
  /** The two ends of a connection. */
  readonly host?: Address;
  readonly peer?: Address;
  /** How often it has failed since that was logged last, as text. */
  readonly more?: string;
}

/** How each field of a {@link HookPlace} is put in words, in this order. */
const WORDS = [
  ['protocol', '{protocol}'],
  ['factory', '{factory}'],
  ['address', 'on {address}'],
  ['destination', 'connecting to {destination}'],
  ['process', 'of {process}'],
  ['peer', 'with {peer}'],
] as const;

/** Logs that `hook` has failed. */
export function logHookFailure(
  log: Logger,
  hook: string,
  failure: Failure,
  place: HookPlace,
): void {
  const { protocol, factory, more = '' } = place;
  const named = (thing: object | string) =>
    typeof thing === 'string' ? thing : logPrefixOf(thing);
  const where = WORDS.flatMap(([field, words]) => (place[field] === undefined ? [] : [words]));
  log.failure(`${hook} failed{more}: ${where.join(' ')}`, failure, {
    ...place,
    hook,
    more,
    ...(protocol !== undefined && { protocol: named(protocol) }),
    ...(factory !== undefined && { factory: named(factory) }),
  });
}

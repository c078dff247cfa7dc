/**
 * Checks of arguments, where they are given: what was called, which argument, what would do, and what was got instead,
 * in one form of words: `callLater: delay must be a number of seconds from 0, not '5'`. A TypeError with the code
 * `ERR_INVALID_ARG_TYPE` where it is of the wrong type; a RangeError where it is of the right type but out of range, with
 * `ERR_OUT_OF_RANGE` for a number and `ERR_INVALID_ARG_VALUE` for anything else. The codes are Node's.
 *
 * Two rules for editors: a check that passes allocates nothing, and what an object holds is never shown, for it may be
 * a secret. Where the argument is one itself, `wrongKind` shows not even its value.
 */
import { cut, onOneLine } from './printable.ts';

/** How much of a string is shown. */
const LONGEST_SHOWN = 60;

/** What was got, in a few words: a simple value itself, of anything else what it is. Never throws. */
export function shownArgument(value: unknown): string {
  if (typeof value === 'string') return onOneLine(JSON.stringify(cut(value, LONGEST_SHOWN)));
  if (typeof value === 'bigint') return `${cut(String(value), LONGEST_SHOWN)}n`;
  if (typeof value === 'symbol') return onOneLine(cut(String(value), LONGEST_SHOWN));
  if (typeof value !== 'function' && (typeof value !== 'object' || value === null))
    return String(value);
  try {
    return onOneLine(
      cut(typeof value === 'function' ? shownFunction(value) : shownObject(value), LONGEST_SHOWN),
    );
  } catch {
    return 'an object that cannot be looked at';
  }
}

function shownFunction(fn: object): string {
  const { name } = fn as { name: unknown };
  const isClass = /^class\b/.test(Function.prototype.toString.call(fn));
  if (typeof name !== 'string' || name === '') return isClass ? 'a class' : 'a function';
  return `the ${isClass ? 'class' : 'function'} ${name}`;
}

function shownObject(value: object): string {
  if (Array.isArray(value)) return 'an array';
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return 'a plain object';
  const { name } = ((value as { constructor?: unknown }).constructor ?? {}) as { name?: unknown };
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object';
}

/** An error of an argument, with Node's code. */
export type ArgumentError<E extends Error> = E & { readonly code: string };

/**
 * The error for an argument of the wrong type, to be thrown.
 *
 * @param name what was called and which argument, as in `callLater: delay`
 * @param expected what would do, as in `a function`
 *
 * @example
 * wrongType('brew: leaves', 'an array', 5).message; // 'brew: leaves must be an array, not 5'
 */
export function wrongType(
  name: string,
  expected: string,
  value: unknown,
): ArgumentError<TypeError> {
  return withCode(
    new TypeError(`${name} must be ${expected}, not ${shownArgument(value)}`),
    'ERR_INVALID_ARG_TYPE',
  );
}

/** As {@link wrongType}, for an argument that may be a secret: only its type is shown. */
export function wrongKind(
  name: string,
  expected: string,
  value: unknown,
): ArgumentError<TypeError> {
  const kind = value === null ? 'null' : typeof value;
  return withCode(
    new TypeError(`${name} must be ${expected}, not ${kind}`),
    'ERR_INVALID_ARG_TYPE',
  );
}

/**
 * The error for an argument that is of the right type, but cannot be; to be thrown.
 *
 * @example
 * wrongValue('brew: cups', 'a whole number from 1', 0).code; // 'ERR_OUT_OF_RANGE'
 */
export function wrongValue(
  name: string,
  expected: string,
  value: unknown,
): ArgumentError<RangeError> {
  return withCode(
    new RangeError(`${name} must be ${expected}, not ${shownArgument(value)}`),
    typeof value === 'number' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_VALUE',
  );
}

function withCode<E extends Error>(error: E, code: string): ArgumentError<E> {
  return Object.assign(error, { code });
}

/**
 * The argument if it is a function.
 *
 * @throws TypeError
 */
export function checkFunction<T>(value: T, name: string): T {
  if (typeof value !== 'function') throw wrongType(name, 'a function', value);
  return value;
}

/**
 * The argument if it is a number of seconds: from 0, and finite.
 *
 * @throws TypeError for what is no number, RangeError
 */
export function checkSeconds(value: number, name: string): number {
  if (typeof value !== 'number') throw wrongType(name, 'a number of seconds', value);
  if (!(value >= 0 && value < Infinity))
    throw wrongValue(name, '0 seconds or more and finite', value);
  return value;
}

/**
 * The argument if it is a whole number within bounds.
 *
 * @throws TypeError for what is no number, RangeError
 *
 * @example
 * checkWhole(3, 'brew: cups', 1, 6); // 3
 */
export function checkWhole(
  value: number,
  name: string,
  from: number,
  to: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number') throw wrongType(name, wholeFrom(from, to), value);
  if (!Number.isInteger(value) || value < from || value > to)
    throw wrongValue(name, wholeFrom(from, to), value);
  return value;
}

function wholeFrom(from: number, to: number): string {
  if (from === -Infinity) return 'a whole number';
  return `a whole number from ${from}${to === Number.MAX_SAFE_INTEGER ? '' : ` to ${to}`}`;
}

/**
 * The argument if it is a limit: a whole number from `from`, or Infinity for none.
 *
 * @throws TypeError for what is no number, RangeError
 */
export function checkLimit(value: number, name: string, from = 0): number {
  if (value !== Infinity) {
    const expected = `a whole number from ${from}, or Infinity`;
    if (typeof value !== 'number') throw wrongType(name, expected, value);
    if (!Number.isInteger(value) || value < from) throw wrongValue(name, expected, value);
  }
  return value;
}

/**
 * The argument if it is a number that is not NaN, from `from` (0, if left out) to `to` (Infinity).
 *
 * @throws TypeError for what is no number, RangeError
 */
export function checkNumber(value: number, name: string, from = 0, to = Infinity): number {
  const expected = (): string => {
    if (from === -Infinity) return 'a number';
    return to === Infinity ? `a number from ${from}` : `a number from ${from} to ${to}`;
  };
  if (typeof value !== 'number') throw wrongType(name, expected(), value);
  if (!(value >= from && value <= to)) throw wrongValue(name, expected(), value);
  return value;
}

/**
 * The argument if it is a string.
 *
 * @throws TypeError
 */
export function checkString(value: string, name: string): string {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value);
  return value;
}

/**
 * The argument if it is true or false.
 *
 * @throws TypeError
 */
export function checkBoolean(value: boolean, name: string): boolean {
  if (typeof value !== 'boolean') throw wrongType(name, 'true or false', value);
  return value;
}

/**
 * The argument if it is a Uint8Array, as Buffers are.
 *
 * @throws TypeError
 */
export function checkBytes<T extends Uint8Array>(value: T, name: string): T {
  if (!((value as unknown) instanceof Uint8Array)) throw wrongType(name, 'a Uint8Array', value);
  return value;
}

/**
 * The argument if it is a Uint8Array or a string.
 *
 * @throws TypeError
 */
export function checkBytesOrString<T extends Uint8Array | string>(value: T, name: string): T {
  if (typeof value !== 'string' && !((value as unknown) instanceof Uint8Array))
    throw wrongType(name, 'a Uint8Array or a string', value);
  return value;
}

/**
 * The argument if it is one of the words.
 *
 * @throws TypeError for what is no string, RangeError
 */
export function checkOneOf<T extends string>(value: T, name: string, words: readonly T[]): T {
  if (words.includes(value)) return value;
  const all = words.map((word) => JSON.stringify(word));
  const last = all.pop() as string;
  const expected = all.length === 0 ? last : `${all.join(', ')} or ${last}`;
  throw typeof value === 'string'
    ? wrongValue(name, expected, value)
    : wrongType(name, expected, value);
}

/**
 * The argument if it is an object that may hold options: neither null nor an array nor a function.
 *
 * @throws TypeError
 */
export function checkOptions<T>(value: T, name: string, what = 'an object with options'): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrongType(name, what, value);
  return value;
}

/**
 * The argument if it has all these methods, whatever its class.
 *
 * @param what what has them, as in `a factory`
 * @throws TypeError, which names the first that is missing
 *
 * @example
 * checkMethods(new Clock(), 'brew: clock', 'a clock', ['seconds', 'callLater']).seconds(); // 0
 */
export function checkMethods<T>(
  value: T,
  name: string,
  what: string,
  methods: readonly string[],
): T {
  const given: unknown = value;
  const isObject = (typeof given === 'object' && given !== null) || typeof given === 'function';
  for (const method of methods) {
    if (isObject && typeof (given as Record<string, unknown>)[method] === 'function') continue;
    const lacks = isObject ? `, which has no ${method}` : '';
    const with_ = `${what} with ${methods.join(', ')}`;
    throw withCode(
      new TypeError(`${name} must be ${with_}, not ${shownArgument(given)}${lacks}`),
      'ERR_INVALID_ARG_TYPE',
    );
  }
  return value;
}

/** A class, whose constructor may be protected. */
type AnyClass = abstract new (...args: never[]) => unknown;

/**
 * The argument if it is an instance of the class.
 *
 * @throws TypeError
 */
export function checkInstance<T>(value: T, name: string, type: AnyClass): T {
  if (!(value instanceof type)) {
    const article = /^[AEIOU]/.test(type.name) ? 'an' : 'a';
    throw wrongType(name, `${article} ${type.name}`, value);
  }
  return value;
}

/**
 * The argument if it is iterable, and no string.
 *
 * @throws TypeError
 */
export function checkIterable<T>(value: T, name: string, what = 'an iterable'): T {
  const isObject = typeof value === 'object' && value !== null;
  if (
    !isObject ||
    typeof (value as { [Symbol.iterator]?: unknown })[Symbol.iterator] !== 'function'
  )
    throw wrongType(name, what, value);
  return value;
}

/**
 * The argument if it is an array.
 *
 * @throws TypeError
 */
export function checkArray<T>(value: T, name: string, what = 'an array'): T {
  if (!Array.isArray(value)) throw wrongType(name, what, value);
  return value;
}

/**
 * The argument if it is an AbortSignal.
 *
 * @throws TypeError
 */
export function checkSignal(value: AbortSignal, name: string): AbortSignal {
  const given: unknown = value;
  const { aborted, addEventListener } = (given ?? {}) as Partial<AbortSignal>;
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function')
    throw wrongType(name, 'an AbortSignal', value);
  return value;
}

/**
 * `check(value, name)` unless the argument was left out.
 *
 * @example
 * optional(undefined, checkBoolean, 'brew: milk'); // undefined
 */
export function optional<T>(
  value: T | undefined,
  check: (value: T, name: string) => unknown,
  name: string,
): T | undefined {
  if (value !== undefined) check(value, name);
  return value;
}

/**
 * A time limit: seconds, or null or undefined for none or for the default.
 *
 * @throws as {@link checkSeconds}
 */
export function checkTimeLimit<T extends number | null | undefined>(value: T, name: string): T {
  const given: unknown = value;
  if (given !== null && given !== undefined) checkSeconds(given as number, name);
  return value;
}

// ── What plait calls ─────────────────────────────────────────────────────────────────────────────────────────────────

const FACTORY = ['buildProtocol', 'doStart', 'doStop'] as const;
const CLIENT_FACTORY = [
  ...FACTORY,
  'startedConnecting',
  'clientConnectionFailed',
  'clientConnectionLost',
] as const;
const PROTOCOL = ['makeConnection', 'dataReceived', 'connectionLost'] as const;

/**
 * The argument if it builds protocols, as a `Factory` does.
 *
 * @throws TypeError
 */
export function checkFactory<T>(value: T, name: string): T {
  return checkMethods(value, name, 'a Factory, or an object', FACTORY);
}

/**
 * The argument if it builds protocols and hears of attempts to connect, as a `ClientFactory` does.
 *
 * @throws TypeError
 */
export function checkClientFactory<T>(value: T, name: string): T {
  return checkMethods(value, name, 'a ClientFactory, or an object', CLIENT_FACTORY);
}

/**
 * The argument if it holds a conversation, as a `Protocol` does.
 *
 * @throws TypeError
 */
export function checkProtocol<T>(value: T, name: string): T {
  return checkMethods(value, name, 'a Protocol, or an object', PROTOCOL);
}

/**
 * The argument if it tells the time and has delayed calls, as a reactor and a `Clock` do.
 *
 * @throws TypeError
 */
export function checkClock<T>(value: T, name: string): T {
  return checkMethods(value, name, 'a reactor or a Clock', ['seconds', 'callLater']);
}

/**
 * The argument if it is an endpoint of a client.
 *
 * @throws TypeError
 */
export function checkClientEndpoint<T>(value: T, name: string): T {
  return checkMethods(value, name, 'an endpoint of a client', ['connect']);
}

/**
 * The argument if it is an endpoint of a server.
 *
 * @throws TypeError
 */
export function checkServerEndpoint<T>(value: T, name: string): T {
  return checkMethods(value, name, 'an endpoint of a server', ['listen']);
}

/**
 * The argument if it is the transport of a connection.
 *
 * @throws TypeError
 */
export function checkTransport<T>(value: T, name: string): T {
  return checkMethods(value, name, 'a transport', ['write', 'loseConnection']);
}

/**
 * The argument if bytes can be written to it, as to a transport.
 *
 * @throws TypeError
 */
export function checkConsumer<T>(value: T, name: string): T {
  return checkMethods(value, name, 'a consumer', [
    'write',
    'registerProducer',
    'unregisterProducer',
  ]);
}

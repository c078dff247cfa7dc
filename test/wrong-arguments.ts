/**
 * Calls functions with arguments of wrong kinds, one at a time, and says where what comes of it is not an error that
 * tells the caller which argument was wrong.
 */
import { Deferred, type Failure } from 'plait';

class Odd {
  readonly odd = true;
}

/** What is tried in the place of each argument. */
export const WRONG: readonly unknown[] = [
  undefined,
  null,
  true,
  5,
  1.5,
  NaN,
  -1,
  Infinity,
  5n,
  '5',
  '',
  'a\0b',
  Symbol('odd'),
  {},
  [],
  Object.create(null),
  new Odd(),
  () => {},
  new Error('odd'),
  Buffer.from('5'),
];

/** A kind of argument: a good one, and which of the {@link WRONG} will do as well. */
export interface Kind<T = unknown> {
  readonly good: () => T;
  readonly takes: (value: unknown) => boolean;
  /** The options in it, by their names. */
  readonly fields?: Readonly<Record<string, Kind>>;
}

export function kind<T>(good: () => T, takes: (value: unknown) => boolean = () => false): Kind<T> {
  return { good, takes };
}

export const isNumber = (value: unknown): value is number => typeof value === 'number';
export const isString = (value: unknown): value is string => typeof value === 'string';
export const isFunction = (value: unknown): boolean => typeof value === 'function';
export const isBytes = (value: unknown): boolean => value instanceof Uint8Array;
export const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;

const seconds = (value: unknown): boolean => isNumber(value) && value >= 0 && value < Infinity;

export const ANYTHING: Kind = kind<unknown>(
  () => 'anything',
  () => true,
);
export const FUNCTION: Kind<() => void> = kind(() => () => {}, isFunction);
export const SECONDS: Kind<number> = kind(() => 1, seconds);
export const SECONDS_OR_NULL: Kind<number | null> = kind<number | null>(
  () => 1,
  (value) => value === null || seconds(value),
);
export const STRING: Kind<string> = kind(() => 'tea', isString);
export const BOOLEAN: Kind<boolean> = kind(
  () => true,
  (value) => typeof value === 'boolean',
);
export const BYTES: Kind<Uint8Array> = kind(() => Buffer.from('tea'), isBytes);
export const TEXT: Kind<Uint8Array | string> = kind<Uint8Array | string>(
  () => 'tea',
  (value) => isString(value) || isBytes(value),
);
export const ERROR: Kind<Error> = kind(
  () => new Error('tea'),
  (value) => value instanceof Error,
);

export function whole(from: number, to = Infinity, good = Math.max(1, from)): Kind<number> {
  return kind(
    () => good,
    (value) => isNumber(value) && Number.isInteger(value) && value >= from && value <= to,
  );
}

/** A whole number, or Infinity. */
export function limit(from = 0): Kind<number> {
  return kind(
    () => Math.max(1, from),
    (value) => value === Infinity || (isNumber(value) && Number.isInteger(value) && value >= from),
  );
}

export function maybe<T>(one: Kind<T>): Kind<T> {
  return { ...one, takes: (value) => value === undefined || one.takes(value) };
}

export function orNull<T>(one: Kind<T>): Kind<T> {
  return { ...one, takes: (value) => value === null || one.takes(value) };
}

/** Options, each of which may be left out. */
export function options<F extends Readonly<Record<string, Kind>>>(
  fields: F,
  given: readonly (keyof F)[] = Object.keys(fields),
): Kind<{ [K in keyof F]: F[K] extends Kind<infer T> ? T : never }> {
  const all = Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, maybe(field)]),
  );
  return {
    good: () => Object.fromEntries(given.map((name) => [name, fields[name]?.good()])) as never,
    takes: (value) => value === undefined || (isObject(value) && !Array.isArray(value)),
    fields: all,
  };
}

type Goods<P> = { [K in keyof P]: P[K] extends Kind<infer T> ? T : never };

/** A function to be called wrongly. */
export interface Call {
  readonly name: string;
  readonly params: Readonly<Record<string, Kind>>;
  readonly run: (args: never) => unknown;
}

/**
 * @param name of the function, as `callLater`, or of the method, as `Deferred.callback`
 * @param params its arguments by their names, in any order
 * @param run calls it
 */
export function call<P extends Readonly<Record<string, Kind>>>(
  name: string,
  params: P,
  run: (args: Goods<P>) => unknown,
): Call {
  return { name, params, run };
}

/** What an engine, or Node, says of a value that nobody has looked at before. */
const UNCHECKED =
  /is not a function|Cannot (read|set|destructure|convert|use|mix|create|access|add|define|assign)|not iterable|is not a constructor|private|#\w|Class constructor|Receiver|Reduce of|Invalid time|The ".*argument|The "|invalid array length|is not defined|is undefined|is not extensible|must be called|Method .* called on|an object whose class/i;

interface Outcome {
  readonly error?: unknown;
}

async function outcomeOf(one: Call, args: Record<string, unknown>): Promise<Outcome> {
  let result: unknown;
  try {
    result = one.run(args as never);
  } catch (error) {
    return { error };
  }
  if (result instanceof Deferred) return outcomeOfDeferred(result);
  if (result instanceof Promise) {
    try {
      await result;
    } catch (error) {
      return { error };
    }
  }
  return {};
}

function outcomeOfDeferred(deferred: Deferred<unknown>): Outcome {
  let outcome: Outcome = {};
  deferred.addErrback((failure: Failure) => {
    outcome = { error: failure.value };
  });
  if (!deferred.called) deferred.cancel();
  return outcome;
}

/** What is wrong with how it answers to wrong arguments, a line for each kind of fault; nothing, if all is well. */
export async function faultsOf(one: Call): Promise<string[]> {
  const values = new Map<string, string[]>();
  const fault = (path: string, value: string, what: string): void => {
    const key = `${one.name}: ${path}: ${what}`;
    const before = values.get(key);
    if (before === undefined) values.set(key, [value]);
    else before.push(value);
  };
  const good = Object.fromEntries(
    Object.entries(one.params).map(([name, param]) => [name, param.good()]),
  );
  const first = await outcomeOf(one, good);
  if (first.error !== undefined && isUnchecked(first.error))
    fault('(all good)', '', shown(first.error));
  const attempt = async (
    path: readonly string[],
    value: unknown,
    takes: boolean,
    args: () => Record<string, unknown>,
  ): Promise<void> => {
    const { error } = await outcomeOf(one, args());
    const found = (what: string): void => fault(path.join('.'), describe(value), what);
    const last = path.at(-1) as string;
    if (takes) {
      if (error !== undefined && isUnchecked(error)) found(shown(error));
    } else if (error === undefined) found('no error');
    else if (!(error instanceof Error) || isUnchecked(error) || !error.message.includes(last))
      found(shown(error));
  };
  const fresh = (): Record<string, unknown> =>
    Object.fromEntries(Object.entries(one.params).map(([name, param]) => [name, param.good()]));
  for (const [name, param] of Object.entries(one.params)) {
    for (const value of WRONG)
      await attempt([name], value, param.takes(value), () => ({ ...fresh(), [name]: value }));
    for (const [field, inner] of Object.entries(param.fields ?? {})) {
      for (const value of WRONG) {
        await attempt([name, field], value, inner.takes(value), () => {
          const args = fresh();
          return { ...args, [name]: { ...(args[name] as object), [field]: value } };
        });
      }
    }
  }
  return [...values].map(([what, given]) => `${what}: ${given.join(', ')}`);
}

function isUnchecked(error: unknown): boolean {
  return error instanceof Error && UNCHECKED.test(error.message);
}

function shown(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message.slice(0, 200)}` : typeof error;
}

function describe(value: unknown): string {
  if (isString(value)) return JSON.stringify(value);
  if (isFunction(value)) return '() => {}';
  if (value instanceof Odd) return 'new Odd()';
  if (isBytes(value)) return 'Buffer';
  if (Array.isArray(value)) return '[]';
  if (isObject(value))
    return Object.getPrototypeOf(value) === null
      ? 'null-prototype'
      : value instanceof Error
        ? 'Error'
        : '{}';
  return `${String(value)}${typeof value === 'bigint' ? 'n' : ''}`;
}

/**
 * What crosses from one thread to another: values by structured cloning, with Buffers that stay Buffers, memory that is
 * moved where one asks for it, and errors that keep their class, name, message, stack, code and cause. It sends nothing
 * itself. Twisted has no counterpart: Python's threads share their memory.
 */
import { inspect } from 'node:util';
import type { Transferable } from 'node:worker_threads';
import * as tree from '../errors.ts';
import { NotCloneableError } from '../errors.ts';

/** Values on their way. */
export interface Packed {
  readonly values: unknown[];
  /** Which of the values are Buffers: they arrive as plain Uint8Arrays. */
  readonly buffers: readonly number[];
}

/** An error on its way. */
export interface PackedError {
  /** The name of its class. */
  readonly type: string;
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** What else it has of its own: `code`, and what its class or its thrower added. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly cause: PackedThrown | undefined;
  /** Those of an AggregateError. */
  readonly errors: readonly PackedThrown[] | undefined;
}

/** Whatever was thrown, on its way. */
export type PackedThrown = { readonly error: PackedError } | { readonly value: unknown };

/** What is moved along with a value. */
const moved = new WeakMap<object, readonly Transferable[]>();

/**
 * Returns `value`, and notes that what it holds is to be moved to the other thread, not copied, when it is next an
 * argument of a task or what a task returns. It is gone on this side then: a moved ArrayBuffer has length 0.
 *
 * @param value an ArrayBuffer, a typed array or Buffer, a MessagePort; or any object, with `parts`
 * @param parts what is to be moved. Default: `value` itself, or the ArrayBuffer that it is a view of, all of it
 * @throws TypeError if `value` is no object
 */
export function transfer<T extends object>(value: T, parts?: readonly Transferable[]): T {
  if (typeof value !== 'object' || (value as unknown) === null)
    throw new TypeError(`only objects can be moved to another thread, not ${inspect(value)}`);
  moved.set(value, parts ?? ([ArrayBuffer.isView(value) ? value.buffer : value] as Transferable[]));
  return value;
}

/** Makes values ready to be posted; what is to be moved is added to `parts`. */
export function pack(values: readonly unknown[], parts: Transferable[]): Packed {
  const buffers: number[] = [];
  const packed = values.map((value, i) => {
    const own = typeof value === 'object' && value !== null ? moved.get(value) : undefined;
    if (own !== undefined) {
      parts.push(...own);
      moved.delete(value as object);
    }
    if (!Buffer.isBuffer(value)) return value;
    buffers.push(i);
    if (own !== undefined || value.length === value.buffer.byteLength) return value;
    // Cloning a view would clone all that it is a view of: for a small Buffer, the pool of small Buffers.
    const copy = new Uint8Array(value);
    parts.push(copy.buffer);
    return copy;
  });
  return { values: packed, buffers };
}

/** What {@link pack} was given, on the other side. */
export function unpack({ values, buffers }: Packed): unknown[] {
  for (const i of buffers) {
    const { buffer, byteOffset, byteLength } = values[i] as Uint8Array;
    values[i] = Buffer.from(buffer, byteOffset, byteLength);
  }
  return values;
}

/**
 * The values as they are now, to be posted later, and what is then to be moved: all that can be, since this copy has no
 * other use. What is marked to be moved leaves its owner now.
 *
 * @param what is sent, for the error's message
 * @throws NotCloneableError
 */
export function snapshot(
  given: readonly unknown[],
  parts: Set<Transferable>,
  what: string,
): Packed {
  const toMove: Transferable[] = [];
  const { values, buffers } = pack(given, toMove);
  try {
    const copy = structuredClone({ values, toMove }, { transfer: toMove as never });
    for (const part of copy.toMove) parts.add(part);
    for (const value of copy.values) {
      const memory = ArrayBuffer.isView(value) ? value.buffer : value;
      if (memory instanceof ArrayBuffer) parts.add(memory);
    }
    return { values: copy.values, buffers };
  } catch (error) {
    throw notCloneable(what, error);
  }
}

/** What an attempt to post `what` has come to. */
export function notCloneable(what: string, cause: unknown): NotCloneableError {
  const why = cause instanceof Error ? cause.message : inspect(cause);
  // The engine quotes the whole source of a function, where there may be anything.
  if (/^(?!#<|Symbol\().* could not be cloned/s.test(why))
    return new NotCloneableError(`cannot send ${what} to another thread: it has a function`);
  return new NotCloneableError(`cannot send ${what} to another thread: ${why}`, { cause });
}

// ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Causes of causes are followed this far. */
const DEEPEST = 8;

/** So many errors cross with one: what holds itself several times would be without number. */
const MOST_ERRORS = 100;

/** How many errors may still cross. */
interface Budget {
  left: number;
}

/** Makes whatever was thrown ready to be posted. Never throws, and neither does posting what it returns. */
export function packThrown(
  thrown: unknown,
  depth = 0,
  budget: Budget = { left: MOST_ERRORS },
): PackedThrown {
  budget.left--;
  try {
    if (thrown instanceof Error) return { error: packError(thrown, depth, budget) };
    return { value: structuredClone(thrown) };
  } catch {
    return { value: shown(thrown) };
  }
}

function packError(error: Error, depth: number, budget: Budget): PackedError {
  const { name, message, stack, cause } = error;
  const { errors } = error as { errors?: unknown };
  const deeper = depth < DEEPEST;
  return {
    type: error.constructor.name,
    name,
    message,
    stack,
    fields: packFields(error),
    cause:
      deeper && cause !== undefined && budget.left > 0
        ? packThrown(cause, depth + 1, budget)
        : undefined,
    errors: deeper && Array.isArray(errors) ? packAll(errors, depth + 1, budget) : undefined,
  };
}

/** As many as may cross. */
function packAll(errors: readonly unknown[], depth: number, budget: Budget): PackedThrown[] {
  const packed: PackedThrown[] = [];
  for (const error of errors) {
    if (budget.left <= 0) break;
    packed.push(packThrown(error, depth, budget));
  }
  return packed;
}

const NOT_FIELDS = ['name', 'message', 'stack', 'cause', 'errors'];

function packFields(error: Error): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(error)) {
    if (NOT_FIELDS.includes(key)) continue;
    let copy: unknown;
    try {
      copy = structuredClone(value);
    } catch {
      copy = shown(value);
    }
    Object.defineProperty(fields, key, { value: copy, enumerable: true });
  }
  return fields;
}

function shown(value: unknown): string {
  try {
    return inspect(value, { depth: 1 });
  } catch {
    return '(a value that cannot be shown)';
  }
}

/** What was thrown, on the other side. What a thread has made up may hold itself: no more is read than is packed. */
export function unpackThrown(
  packed: PackedThrown,
  budget: Budget = { left: 2 * MOST_ERRORS },
): unknown {
  if (--budget.left < 0) throw new RangeError('there are too many errors in one');
  return 'value' in packed ? packed.value : unpackError(packed.error, budget);
}

/**
 * An error of a class that this side knows too (JavaScript's own, and those of plait) is an instance of it again; one
 * of any other class is an Error by that class's name.
 */
function unpackError(
  { type, name, message, stack, fields, cause, errors }: PackedError,
  budget: Budget,
): Error {
  const error = new Error(message);
  const prototype = classNamed(type)?.prototype as object | undefined;
  if (prototype !== undefined) Object.setPrototypeOf(error, prototype);
  const set = (key: string, value: unknown, enumerable = false) =>
    Object.defineProperty(error, key, { value, enumerable, writable: true, configurable: true });
  for (const [key, value] of Object.entries(fields)) set(key, value, true);
  if (error.name !== name) set('name', name);
  set('stack', stack);
  if (cause !== undefined) set('cause', unpackThrown(cause, budget));
  if (errors !== undefined)
    set(
      'errors',
      errors.map((one) => unpackThrown(one, budget)),
    );
  return error;
}

const CLASSES: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ...Object.entries(tree),
  ...[AggregateError, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map(
    (type) => [type.name, type] as const,
  ),
]);

function classNamed(name: string): (abstract new () => Error) | undefined {
  const found = CLASSES.get(name);
  const isError = typeof found === 'function' && found.prototype instanceof Error;
  return isError ? (found as abstract new () => Error) : undefined;
}

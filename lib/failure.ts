/**
 * Failure: an error travelling as a value along a Deferred's chain. It is not an Error itself, so that "failed with
 * E" and "succeeded with the value E" stay apart. Twisted: `twisted.python.failure`; the frames that Twisted
 * captures are the `stack` that V8 keeps on every Error.
 */
import { inspect } from 'node:util';
import { checkMethods, wrongType } from './arguments.ts';
import { showAwaits } from './awaited.ts';
import { cut, escapeControls, onOneLine, traceback } from './printable.ts';
import { writeToStandardError } from './standard-error.ts';

/** A class of errors, as `instanceof` takes it; abstract ones too. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the one way to say "a constructor of whatever arguments"
export type ErrorClass<E extends Error = Error> = abstract new (...args: any[]) => E;

/** What {@link Failure.check} and {@link Failure.trap} compare with: a class, an error's `name` or Node's `code`. */
export type ErrorPattern = ErrorClass | string;

/** The error that a pattern stands for: an instance of the class; `Error` for a name or code. */
export type MatchedError<P extends ErrorPattern> = P extends ErrorClass<infer E> ? E : Error;

/**
 * An error on its way. `value` is always an Error: whatever else was thrown is wrapped in one, as its `cause`.
 *
 * @example
 * const failure = new Failure(new RangeError('7 is too many'));
 * failure.check(TypeError);            // undefined
 * failure.trap(RangeError).message;    // '7 is too many'
 */
export class Failure<E extends Error = Error> {
  /** The error. */
  readonly value: E;

  /** @param value the error, or whatever was thrown; of a Failure its value is taken */
  constructor(value: unknown) {
    this.value = asError(value) as E;
  }

  /** `reason` itself if it is a Failure, else a new one around it. */
  static from(reason: unknown): Failure {
    return isFailure(reason) ? reason : new Failure(reason);
  }

  /** The error's class. */
  get type(): ErrorClass {
    return this.value.constructor as ErrorClass;
  }

  /**
   * The error if it matches one of the patterns, else undefined. (Twisted returns the class that matched; returning
   * the error reads the same in an `if`, and is typed.)
   */
  check<P extends ErrorPattern[]>(...patterns: P): MatchedError<P[number]> | undefined {
    for (const pattern of patterns) {
      if (typeof pattern !== 'string' && typeof pattern !== 'function')
        throw wrongType('each pattern', 'a class of errors, or a name or code', pattern);
      if (matches(this.value, pattern)) return this.value as unknown as MatchedError<P[number]>;
    }
    return undefined;
  }

  /** The error if it matches one of the patterns; else throws it on, which leaves the chain failed. */
  trap<P extends ErrorPattern[]>(...patterns: P): MatchedError<P[number]> {
    const error = this.check(...patterns);
    if (error === undefined) throw this.value;
    return error;
  }

  /** Throws the error, with the stack it was made with. */
  raiseException(): never {
    throw this.value;
  }

  /** Throws the error into a generator, at the `yield` where it waits. */
  throwExceptionIntoGenerator<Y, R>(generator: Generator<Y, R>): IteratorResult<Y, R> {
    checkMethods(generator, 'throwExceptionIntoGenerator: generator', 'a generator', ['throw']);
    return generator.throw(this.value);
  }

  /** The error's message; never throws. */
  getErrorMessage(): string {
    try {
      const { message } = this.value as { message: unknown };
      return String(message);
    } catch {
      return '(an error whose message cannot be read)';
    }
  }

  /**
   * The error's stack, where coroutines awaited it, and its causes, as text; never throws. Control characters are shown
   * as `\x1b`. What errors of the runtime may hold of secrets is left out: the arguments and output of a command, say.
   */
  getTraceback(): string {
    try {
      showAwaits(this.value);
      return traceback(this.value);
    } catch {
      return this.toString();
    }
  }

  /** Class and message on one line, as in `RangeError: 7 is too many`; never throws. */
  getBriefTraceback(): string {
    let name: string;
    try {
      name = `${this.value.name}: `;
    } catch {
      name = '';
    }
    return onOneLine(cut(`${name}${this.getErrorMessage()}`, LONGEST_BRIEF));
  }

  /** Writes `getTraceback()` to standard error, or to `out`. */
  printTraceback(out: { write(text: string): unknown } = STANDARD_ERROR): void {
    checkMethods(out, 'printTraceback: out', 'a stream', ['write']);
    out.write(`${this.getTraceback()}\n`);
  }

  /** Writes `getBriefTraceback()` to standard error, or to `out`. */
  printBriefTraceback(out: { write(text: string): unknown } = STANDARD_ERROR): void {
    checkMethods(out, 'printBriefTraceback: out', 'a stream', ['write']);
    out.write(`${this.getBriefTraceback()}\n`);
  }

  toString(): string {
    return `[Failure ${this.getBriefTraceback()}]`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}

/** How long a brief traceback is at most. */
const LONGEST_BRIEF = 16 * 1024;

/** The default of what tracebacks are printed to: one that is broken does not end the program. */
const STANDARD_ERROR = { write: writeToStandardError };

function matches(error: Error, pattern: ErrorPattern): boolean {
  try {
    if (typeof pattern !== 'string') return error instanceof pattern;
    return error.name === pattern || (error as { code?: unknown }).code === pattern;
  } catch {
    return false; // An error that does not let itself be looked at is none of those asked for.
  }
}

/** False also for what cannot be told: a Proxy may throw from its traps. */
function isFailure(thing: unknown): thing is Failure {
  try {
    return thing instanceof Failure;
  } catch {
    return false;
  }
}

/** `thrown` if it is an Error, else an Error that says what was thrown, with it as `cause`. */
function asError(thrown: unknown): Error {
  if (isFailure(thrown)) return thrown.value;
  try {
    if (thrown instanceof Error) return thrown;
  } catch {
    // A Proxy that throws from its traps is no Error that anybody could use.
  }
  return new Error(`thrown value: ${describe(thrown)}`, { cause: thrown });
}

function describe(thing: unknown): string {
  try {
    return escapeControls(cut(inspect(thing, { depth: 1, breakLength: Infinity }), LONGEST_BRIEF));
  } catch {
    return '(a value that cannot be shown)';
  }
}

/**
 * Log events as lines of JSON, and back. Whatever the fields of an event are, it becomes exactly one line, of bounded
 * length, without control characters. Twisted: `eventAsJSON`, `eventFromJSON` and `eventsFromJSONLogFile`.
 *
 * Rule for editors: a field may be anything, and may come from a peer. Whatever looks at one may throw, so nothing here
 * looks at a field outside `Writer`.
 */
import { createReadStream } from 'node:fs';
import { checkOptions, checkString, wrongType } from './arguments.ts';
import { ReceiveBuffer } from './bytes.ts';
import { Failure } from './failure.ts';
import { formatEvent, LOG_LEVELS, type LogEvent, Logger, type LogLevel } from './log.ts';
import { escapeJSON } from './printable.ts';

const log = new Logger('plait.log');

/** How deep objects within a field go. */
const DEEPEST = 6;
/** How many members an object, or items an array, may have. */
const MOST_MEMBERS = 200;
/** How many characters a text may have, or bytes a Buffer. */
const LONGEST_TEXT = 16 * 1024;
/** How many characters all texts of an event may have. */
const MOST_TEXT = 256 * 1024;
/** How many values an event may have in all. */
const MOST_VALUES = 2000;
/** How long a line may be that is read, in bytes: the longest that is written is shorter. */
const LONGEST_LINE = 16 * 2 ** 20;

const UNSHOWABLE = '(a value that cannot be shown)';

/** Values of JSON. */
type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * The event as one line of JSON, without a line feed: all its fields, and `message`, its text, unless it has a field of
 * that name. A failure is an object with `name`, `message`, `stack`, Node's `code`, `cause` and `errors`, as is an
 * Error. What JSON has no word for becomes text: dates, big integers, symbols, functions, and objects of classes that
 * have a `toString`; bytes become Latin-1. What is too deep, too long, or circular is cut, and says so.
 */
export function eventAsJSON(event: LogEvent): string {
  checkOptions(event, 'eventAsJSON: event', 'a log event');
  const message = Object.hasOwn(event, 'message') ? {} : { message: formatEvent(event) };
  const json = new Writer().write({ ...event, ...message });
  return escapeJSON(JSON.stringify(json));
}

/** Makes values of JSON of anything. */
class Writer {
  readonly #above = new Set<object>();
  #values = 0;
  #text = 0;

  write(value: unknown): Json {
    try {
      return this.#write(value);
    } catch {
      return UNSHOWABLE;
    }
  }

  #write(value: unknown): Json {
    if (++this.#values > MOST_VALUES) return '(too much to show)';
    if (value === null || typeof value === 'boolean') return value;
    if (typeof value === 'string') return this.#cut(value);
    if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
    // eslint-disable-next-line @typescript-eslint/no-base-to-string -- a function has its text
    if (typeof value !== 'object') return this.#cut(String(value));
    if (this.#above.has(value)) return '(circular)';
    if (this.#above.size >= DEEPEST) return '(too deep to show)';
    this.#above.add(value);
    try {
      return this.#object(value);
    } finally {
      this.#above.delete(value);
    }
  }

  #object(value: object): Json {
    if (value instanceof Failure) return this.#error((value as Failure).value);
    if (value instanceof Error) return this.#error(value);
    if (value instanceof Uint8Array)
      return this.#cut(
        Buffer.from(value.buffer, value.byteOffset, value.length).toString(
          'latin1',
          0,
          LONGEST_TEXT + 1,
        ),
      );
    if (value instanceof Date)
      return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
    if (Array.isArray(value) || value instanceof Set)
      return this.#items(value as Iterable<unknown>);
    if (value instanceof Map) return this.#members(value.entries());
    const prototype: unknown = Object.getPrototypeOf(value);
    const plain = prototype === null || prototype === Object.prototype;
    const { toString } = value as { toString?: unknown };
    if (!plain && typeof toString === 'function' && toString !== Object.prototype.toString)
      // eslint-disable-next-line @typescript-eslint/no-base-to-string -- it has one of its own
      return this.#cut(String(value));
    return this.#members(keysOf(value));
  }

  #items(items: Iterable<unknown>): Json {
    const written: Json[] = [];
    for (const item of items) {
      if (written.length === MOST_MEMBERS) {
        written.push('(and more)');
        break;
      }
      written.push(this.write(item));
    }
    return written;
  }

  #members(members: Iterable<readonly [unknown, unknown]>): Json {
    // Without a prototype, so that a member named __proto__ is one like the others.
    const written = Object.create(null) as Record<string, Json>;
    let count = 0;
    for (const [key, value] of members) {
      if (value === undefined) continue;
      if (++count > MOST_MEMBERS) {
        written['(and more)'] = true;
        break;
      }
      written[this.#cut(String(key))] = this.write(value);
    }
    return written;
  }

  #cut(text: string): string {
    const most = Math.min(LONGEST_TEXT, MOST_TEXT - this.#text);
    this.#text += Math.min(text.length, most);
    return text.length > most ? `${text.slice(0, most)}(and more)` : text;
  }

  #error(error: Error): Json {
    const { name, message, stack, code, cause, errors } = error as Error & Record<string, unknown>;
    return this.#members(Object.entries({ name, message, stack, code, cause, errors }));
  }
}

/** The members of an object; a getter that throws has a value too. */
function* keysOf(value: object): Generator<[string, unknown]> {
  for (const key of Object.keys(value)) {
    let member: unknown;
    try {
      member = (value as Record<string, unknown>)[key];
    } catch {
      member = UNSHOWABLE;
    }
    yield [key, member];
  }
}

/**
 * The event that a line of JSON stands for. Its failure is one again, of an Error with the former name, message, stack
 * and code; the other fields are as they were written.
 *
 * @throws SyntaxError for what is no event
 */
export function eventFromJSON(text: string): LogEvent {
  const parsed = JSON.parse(checkString(text, 'eventFromJSON: text')) as unknown;
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new SyntaxError('not a log event: no object');
  const event = parsed as Record<string, unknown>;
  const { time, level, namespace, format, failure } = event;
  if (typeof time !== 'number') throw new SyntaxError('not a log event: it has no time');
  if (!LOG_LEVELS.includes(level as LogLevel))
    throw new SyntaxError('not a log event: it has no level');
  if (typeof namespace !== 'string' || typeof format !== 'string')
    throw new SyntaxError('not a log event: it has no namespace or no format');
  if (failure !== undefined) event['failure'] = new Failure(errorOf(failure));
  return event as unknown as LogEvent;
}

/** The Error that an object of JSON stands for. */
function errorOf(json: unknown): Error {
  const { name, message, stack, code, cause } = Object(json) as Record<string, unknown>;
  const error = new Error(
    typeof message === 'string' ? message : '(an error without a message)',
    cause === undefined ? undefined : { cause: errorOf(cause) },
  );
  const own = { name, stack: typeof stack === 'string' ? stack : error.message, code };
  for (const [key, value] of Object.entries(own)) {
    if (typeof value !== 'string') continue;
    Object.defineProperty(error, key, { value, configurable: true, writable: true });
  }
  return error;
}

/**
 * The events of a file of JSON lines, one after the other, however long the file is. A line that is no event (the last
 * one of a program that was killed, say) is logged at level `error`, and left out. Throws what reading fails with, and
 * LimitExceeded for a line of more than 16 MiB.
 *
 * @param file a path, or the bytes of a file, or its text, in pieces
 */
export async function* eventsFromJSONLogFile(
  file: string | URL | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
): AsyncGenerator<LogEvent, void, undefined> {
  const pieces = typeof file === 'string' || file instanceof URL ? createReadStream(file) : file;
  if (!isIterable(pieces))
    throw wrongType('eventsFromJSONLogFile: file', 'a path, a URL, or the pieces of a file', file);
  for await (const line of linesOf(pieces as AsyncIterable<Uint8Array | string>)) {
    if (line.length === 0) continue;
    let event: LogEvent;
    try {
      event = eventFromJSON(line.toString());
    } catch (error) {
      log.error('a line of a log file is no event: {error}', { error });
      continue;
    }
    yield event;
  }
}

const LF = Buffer.from('\n');

/** The lines, the last of which need not be ended. */
async function* linesOf(pieces: AsyncIterable<Uint8Array | string>): AsyncGenerator<Buffer> {
  const received = new ReceiveBuffer();
  for await (const piece of pieces) {
    received.feed(Buffer.from(piece as Uint8Array));
    for (;;) {
      const line = received.takeUntil(LF, LONGEST_LINE, 'a line of a log file');
      if (line === undefined) break;
      yield line;
    }
  }
  yield received.takeAll();
}

function isIterable(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Symbol.asyncIterator in value || Symbol.iterator in value;
}

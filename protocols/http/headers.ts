/**
 * Header fields: names with their values, in the order in which they came. A name is found however its letters are
 * cased, and is shown as it was first written. It knows no particular header: what `content-length` means is the
 * grammar's business. Twisted: `twisted.web.http_headers.Headers`.
 */
import { asciiLowerCase } from 'plait';

/** The key of the method by which `console.log` shows an object. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/** What a {@link Headers} can be made from: an object of names and values, a list of pairs, or another one. */
export type HeadersInit =
  | Headers
  | Readonly<Record<string, string | readonly string[]>>
  | Iterable<readonly [name: string, value: string]>;

/**
 * A list of header fields. Values are text, a character for each byte (Latin-1), as they stand on the wire.
 *
 * Any string can be put in; what may not be sent is refused when a request is written, before anything is sent.
 *
 * @example
 * const headers = new Headers({ accept: 'text/html' });
 * headers.addRawHeader('Cookie', 'a=1');
 * headers.get('ACCEPT');   // 'text/html'
 */
export class Headers implements Iterable<[name: string, value: string]> {
  /** By the name in lower case (of ASCII's letters: no other character is a letter of a name). A Map, since a peer may send any name, `__proto__` too. */
  readonly #fields = new Map<string, string[]>();
  #lines: [name: string, value: string][] = [];

  /** @throws TypeError for names and values that are not strings */
  constructor(init: HeadersInit = []) {
    for (const [name, value] of pairsOf(init)) this.addRawHeader(name, value);
  }

  /** True if there is a field of this name. */
  hasHeader(name: string): boolean {
    return this.#fields.has(asciiLowerCase(name));
  }

  /** The values of a field, one for each line; none if there is no such field. */
  getRawHeaders(name: string): readonly string[] {
    return this.#fields.get(asciiLowerCase(name)) ?? [];
  }

  /**
   * The value of a field; those of several lines are joined with `, `, as RFC 9110 section 5.2 has it. Undefined if
   * there is no such field. Ask `getRawHeaders` for `Set-Cookie`, whose values cannot be joined.
   */
  get(name: string): string | undefined {
    return this.#fields.get(asciiLowerCase(name))?.join(', ');
  }

  /**
   * Adds a line.
   *
   * @throws TypeError for what is not a string
   */
  addRawHeader(name: string, value: string): void {
    mustBeString(name, 'a header name');
    mustBeString(value, `the value of header ${JSON.stringify(shownName(name))}`);
    const key = asciiLowerCase(name);
    const values = this.#fields.get(key);
    if (values === undefined) this.#fields.set(key, [value]);
    else values.push(value);
    this.#lines.push([name, value]);
  }

  /** Puts these values in place of those that the field has. */
  setRawHeaders(name: string, values: readonly string[]): void {
    this.removeHeader(name);
    for (const value of values) this.addRawHeader(name, value);
  }

  /** Takes a field out. Does nothing if it is not there. */
  removeHeader(name: string): void {
    const key = asciiLowerCase(name);
    if (!this.#fields.delete(key)) return;
    this.#lines = this.#lines.filter(([written]) => asciiLowerCase(written) !== key);
  }

  /** Each field once, in the order in which they came: its name as first written, and its values. */
  *getAllRawHeaders(): Generator<[name: string, values: readonly string[]]> {
    const seen = new Set<string>();
    for (const [name] of this.#lines) {
      const key = asciiLowerCase(name);
      if (seen.has(key)) continue;
      seen.add(key);
      yield [name, this.getRawHeaders(key)];
    }
  }

  /** How many lines there are. */
  get size(): number {
    return this.#lines.length;
  }

  /** Each line, in the order in which they came. */
  [Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    return this.#lines.map(([name, value]): [string, string] => [name, value]).values();
  }

  /** Another one with the same lines. */
  copy(): Headers {
    return new Headers(this);
  }

  toString(): string {
    return `<${this.constructor.name} ${[...new Set(this.#lines.map(([name]) => name))].join(', ').slice(0, 150)}>`;
  }

  [INSPECT](): string {
    return this.toString();
  }
}

function* pairsOf(init: HeadersInit): Generator<readonly [string, string]> {
  if (typeof init !== 'object' || (init as unknown) === null)
    throw new TypeError(`headers are an object or pairs, not ${typeof init}`);
  if (Symbol.iterator in init) {
    yield* init as Iterable<readonly [string, string]>;
    return;
  }
  for (const [name, values] of Object.entries(init)) {
    for (const value of Array.isArray(values) ? (values as string[]) : [values as string])
      yield [name, value];
  }
}

function mustBeString(value: unknown, what: string): void {
  if (typeof value !== 'string')
    throw new TypeError(`${what} must be a string, not ${typeof value}`);
}

/** One or more of the characters that a method or a header name is made of (RFC 9110 section 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Printing characters, spaces, tabs and the upper half of Latin-1 (RFC 9110 section 5.5): no controls. */
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** True if `text` can be a method or a header name. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** A header name for a message: up to where it is none, since a whole line may have been given in its place. */
export function shownName(name: string): string {
  const [begin] = /^[!#$%&'*+.^_`|~0-9A-Za-z-]*/.exec(name) as RegExpExecArray;
  return begin.length < name.length ? `${name.slice(0, begin.length + 1)}…` : name;
}

/** True if `text` can be a header value or a reason phrase. */
export function isFieldValue(text: string): boolean {
  return FIELD_VALUE.test(text);
}

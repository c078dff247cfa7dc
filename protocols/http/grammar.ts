/**
 * HTTP/1.1 as bytes: responses are read, requests are written. It does no I/O, knows no redirects and no time, and
 * handles one response a reader. Twisted: `HTTPClientParser` and `Request` of `twisted.web._newclient`.
 *
 * ```text
 * response     = *interim head [body]                              RFC 9112 section 2.1
 * head         = "HTTP/1." DIGIT SP 3DIGIT [SP phrase] CRLF *(name ":" OWS value OWS CRLF) CRLF
 * chunked body = *(size [";" extensions] CRLF bytes CRLF) "0" [";" extensions] CRLF *(trailer CRLF) CRLF
 * ```
 *
 * It is stricter than RFC 9112 asks for, since what two parsers read differently can be used against one of them: a
 * line ends with CR LF and nothing else, white space before a colon is refused, and there is one way to say how long a
 * body is. Where the RFC says how something odd must be read, it is read so: a folded line with a space for the fold, a
 * response without a body whatever its length is said to be, HTTP/1.2 as 1.1. It is lenient in one point, which harms
 * nobody: the space behind a status code may be missing where no phrase follows.
 *
 * Rules for editors: whatever the cut of the input, the same events and the same error come out, so an error may only
 * show bytes that a shorter input would have shown as well; every wait has a limit, and ends with the first wrong byte;
 * and numbers are read by `DECIMAL` and `CHUNK_SIZE` alone.
 */
import {
  asciiLowerCase,
  checkLimit,
  LimitExceeded,
  ReceiveBuffer,
  exactly,
  type Parse,
} from 'plait';
import { DataLoss, ParseError, quoted } from './errors.ts';
import { Headers, isFieldValue, isToken, shownName } from './headers.ts';
import { chunkLine, fieldLine, hexDigit, isBlank, ownText, statusLine, trimmed } from './lines.ts';
import type { Request, ResponseHead } from './message.ts';

/** The key of the method by which `console.log` shows an object. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/** How much a server may send besides the body. */
export interface ResponseLimits {
  /** Bytes of the status line and of each header line, without its CR LF. Default: 16,384. */
  readonly maxHeaderLine?: number;
  /** Bytes of all header lines together. Default: 65,536. */
  readonly maxHeaderSize?: number;
  /** How many header lines; trailers count as well. Default: 500. */
  readonly maxHeaderCount?: number;
  /** How many interim responses (100 Continue and the like) before the real one. Default: 32. */
  readonly maxInterim?: number;
  /** Bytes of a line with the size of a chunk. Default: 1,024. */
  readonly maxChunkLine?: number;
  /** Bytes of all chunk extensions of a response together; they are read and dropped. Default: 16,384. */
  readonly maxChunkExtensions?: number;
  /** Bytes of all trailers together. Default: 65,536. */
  readonly maxTrailerSize?: number;
}

/** The limits that hold where none are given. */
export const RESPONSE_LIMITS: Required<ResponseLimits> = {
  maxHeaderLine: 16_384,
  maxHeaderSize: 65_536,
  maxHeaderCount: 500,
  maxInterim: 32,
  maxChunkLine: 1_024,
  maxChunkExtensions: 16_384,
  maxTrailerSize: 65_536,
};

/**
 * `given` with the defaults for what it leaves out.
 *
 * @throws RangeError for a limit that is no whole number from 0 upwards; Infinity is none, and allowed
 */
export function responseLimits(given: ResponseLimits): Required<ResponseLimits> {
  const limits = { ...RESPONSE_LIMITS };
  for (const name of Object.keys(limits) as (keyof ResponseLimits)[]) {
    limits[name] = checkedLimit(name, given[name], limits[name]);
  }
  return limits;
}

/**
 * `value`, or `standard` where it is undefined.
 *
 * @throws TypeError if it is no number, RangeError if it is no whole number from 0, nor Infinity
 */
export function checkedLimit(name: string, value: number | undefined, standard: number): number {
  return value === undefined ? standard : checkLimit(value, name);
}

/** How the end of a body is found (RFC 9112 section 6.3). */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'close' };

/** What a response is made of, in the order in which it is read: any `interim`, one `head`, any `data`, one `end`. */
export type ResponseEvent =
  | { readonly type: 'interim'; readonly head: ResponseHead }
  | { readonly type: 'head'; readonly head: ResponseHead; readonly framing: Framing }
  | { readonly type: 'data'; readonly data: Buffer }
  | { readonly type: 'end'; readonly trailers: Headers; readonly potentialDataLoss: boolean };

/** A rule that makes events; it yields undefined while it waits for more bytes. */
type Events<T = void> = Generator<ResponseEvent | undefined, T, undefined>;

// ── Reading a response ───────────────────────────────────────────────────────────────────────────────────────────────

/** What the rules read from. */
interface Input {
  readonly source: ReceiveBuffer;
  readonly limits: Required<ResponseLimits>;
  /** True once no more bytes will come. */
  ended: boolean;
}

/**
 * Reads one response from bytes that arrive in pieces, cut anywhere.
 *
 * @example
 * const reader = new ResponseReader('GET');
 * reader.feed(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'));
 * for (let event; (event = reader.next()) !== undefined; ) console.log(event.type);   // head, data, end
 */
export class ResponseReader {
  readonly #input: Input;
  readonly #rule: Events;
  #bytesFed = 0;
  #head: ResponseHead | undefined;
  #bodyBytes = 0;
  #error: Error | undefined;
  #done = false;

  /**
   * @param method of the request; there is no body in the response to a HEAD
   * @throws RangeError for a limit that is none
   */
  constructor(method: string, limits: ResponseLimits = {}) {
    const source = new ReceiveBuffer();
    this.#input = { source, limits: responseLimits(limits), ended: false };
    this.#rule = response(this.#input, method);
  }

  /** Adds bytes that have arrived; they must not be changed any more. What follows the response is dropped. */
  feed(data: Buffer): void {
    this.#bytesFed += data.length;
    if (!this.#done && this.#error === undefined) this.#input.source.feed(data);
  }

  /** No more bytes will come: the server has closed the connection in order. */
  feedEnd(): void {
    this.#input.ended = true;
  }

  /** How many bytes have been fed. */
  get bytesFed(): number {
    return this.#bytesFed;
  }

  /**
   * The next event; undefined if more bytes are needed, or the response is complete.
   *
   * @throws ParseError, LimitExceeded, or, after `feedEnd`, DataLoss; and the same one again from then on
   */
  next(): ResponseEvent | undefined {
    if (this.#error !== undefined) throw this.#error;
    try {
      const { done, value: event } = this.#rule.next();
      if (done === true) {
        this.#done = true;
        this.#input.source.clear();
        return undefined;
      }
      if (event === undefined) {
        if (this.#input.ended) throw new DataLoss(this.#whatIsMissing());
        return undefined;
      }
      if (event.type === 'head') this.#head = event.head;
      if (event.type === 'data') this.#bodyBytes += event.data.length;
      return event;
    } catch (error) {
      this.#error = error as Error;
      this.#input.source.clear();
      throw error;
    }
  }

  #whatIsMissing(): string {
    if (this.#bytesFed === 0)
      return 'the connection was closed before a byte of the response had arrived';
    if (this.#head === undefined)
      return 'the connection was closed within the headers of the response';
    const length = this.#head.headers.get('content-length');
    const of =
      length === undefined
        ? 'bytes of the body, and not its last chunk,'
        : `of ${length} bytes of the body`;
    return `the connection was closed when ${this.#bodyBytes} ${of} had arrived`;
  }

  toString(): string {
    return `<${this.constructor.name} ${this.#done ? 'done' : this.#head === undefined ? 'in the head' : 'in the body'}, ${this.#bytesFed} bytes fed>`;
  }

  [INSPECT](): string {
    return this.toString();
  }
}

function* response(input: Input, method: string): Events {
  const head = yield* finalHead(input);
  const framing = bodyFraming(method, head);
  yield { type: 'head', head, framing };
  let trailers = new Headers();
  switch (framing.kind) {
    case 'none':
      break;
    case 'length':
      yield* bodyBytes(input.source, framing.length);
      break;
    case 'chunked':
      trailers = yield* chunkedBody(input);
      break;
    case 'close':
      yield* bodyToClose(input);
      break;
  }
  yield { type: 'end', trailers, potentialDataLoss: framing.kind === 'close' };
}

/** The head of the response proper; the interim ones before it are events. */
function* finalHead(input: Input): Events<ResponseHead> {
  const { maxInterim } = input.limits;
  for (let interim = 0; ; interim++) {
    const head = yield* responseHead(input);
    if (head.code >= 200) return head;
    if (head.code === 101)
      throw new ParseError('the server switches protocols (101) without being asked to');
    if (interim >= maxInterim) {
      throw new LimitExceeded('the run of interim responses', maxInterim, 'responses');
    }
    yield { type: 'interim', head };
  }
}

function* responseHead({ source, limits }: Input): Parse<ResponseHead> {
  const { minor, code, phrase } = yield* statusLine(source, limits.maxHeaderLine);
  const headers = yield* fields(source, limits, limits.maxHeaderSize, 'header');
  return { version: minor === '0' ? '1.0' : '1.1', code: Number(code), phrase, headers };
}

/** Lines of `name: value` up to an empty one: headers, or trailers. */
function* fields(
  source: ReceiveBuffer,
  limits: Required<ResponseLimits>,
  maxSize: number,
  kind: 'header' | 'trailer',
): Parse<Headers> {
  const headers = new Headers();
  let size = 0;
  let lines = 0;
  /** The field that the next line may go on with. */
  let name: string | undefined;
  let values: string[] = [];
  for (;;) {
    const text = yield* fieldLine(source, limits.maxHeaderLine, kind, name);
    const folded = isBlank(text.charCodeAt(0));
    if (!folded && name !== undefined) headers.addRawHeader(name, trimmed(values.join(' '), 0));
    if (text === '') return headers;
    size += text.length + 2;
    if (size > maxSize) throw new LimitExceeded(`the ${kind} section`, maxSize);
    if (lines++ >= limits.maxHeaderCount) {
      throw new LimitExceeded(`the ${kind} section`, limits.maxHeaderCount, 'lines');
    }
    if (!folded) {
      [name, values] = field(text);
    } else if (name === undefined) {
      throw new ParseError(`the first ${kind} line is folded: ${quoted(text)}`);
    } else {
      // A fold is read as a space (RFC 9112 section 5.2), in trailers too.
      values.push(trimmed(text, 0));
    }
  }
}

/** The name of a field, and its value; that they can be these has been seen to while the line was read. */
function field(text: string): [name: string, values: string[]] {
  const colon = text.indexOf(':');
  return [ownText(text.slice(0, colon), text), [trimmed(text, colon + 1)]];
}

// ── Bodies ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A number without sign, point or exponent, behind any number of zeros; short enough to be exact where it is a safe integer. */
const DECIMAL = /^0*[0-9]{1,16}$/;

/**
 * How the end of the body is found, by RFC 9112 section 6.3; what that section lets a client mend is an error.
 *
 * @param method of the request
 * @throws ParseError for a length that is no number or is given twice, for a coding other than `chunked`, and for both
 *   a length and a coding
 */
export function bodyFraming(method: string, head: ResponseHead): Framing {
  // Whatever such a head says of a length (RFC 9112 section 6.3, items 1 and 2).
  if (head.code < 200 || head.code === 204 || head.code === 304 || method === 'HEAD')
    return { kind: 'none' };
  const length = contentLength(head.headers);
  const chunked = isChunked(head);
  if (chunked && length !== undefined) {
    throw new ParseError('both Transfer-Encoding and Content-Length say how long the body is');
  }
  if (chunked) return { kind: 'chunked' };
  return length === undefined ? { kind: 'close' } : { kind: 'length', length };
}

function contentLength(headers: Headers): number | undefined {
  const values = headers.getRawHeaders('content-length');
  const [value] = values;
  if (value === undefined) return undefined;
  if (values.length > 1)
    throw new ParseError(`${values.length} Content-Lengths: ${quoted(values.join(', '))}`);
  const length = DECIMAL.test(value) ? Number(value) : NaN;
  if (!Number.isSafeInteger(length)) throw new ParseError(`bad Content-Length: ${quoted(value)}`);
  return length;
}

function isChunked({ version, headers }: ResponseHead): boolean {
  const values = headers.getRawHeaders('transfer-encoding');
  if (values.length === 0) return false;
  const codings = values.join(', ');
  // Empty elements of a list are nothing (RFC 9110 section 5.6.1.2).
  const named = codings.split(',').map((coding) => trimmed(coding, 0));
  if (version === '1.0') throw new ParseError(`Transfer-Encoding in HTTP/1.0: ${quoted(codings)}`);
  if (asciiLowerCase(named.filter((coding) => coding !== '').join()) !== 'chunked')
    throw new ParseError(`bad Transfer-Encoding: ${quoted(codings)}`);
  return true;
}

function* bodyBytes(source: ReceiveBuffer, length: number): Events {
  for (let missing = length; missing > 0;) {
    const data = source.takeSome(missing);
    if (data === undefined) {
      yield undefined;
    } else {
      missing -= data.length;
      yield { type: 'data', data };
    }
  }
}

function* bodyToClose(input: Input): Events {
  for (;;) {
    const data = input.source.takeSome(Infinity);
    if (data !== undefined) yield { type: 'data', data };
    else if (input.ended) return;
    else yield undefined;
  }
}

/** Hexadecimal digits behind any number of zeros, and extensions. */
const CHUNK_SIZE = /^0*([0-9A-Fa-f]{1,16})(?![0-9A-Fa-f])(.*)$/s;

/** Extensions of a chunk, which are dropped: names, with or without a value (RFC 9112 section 7.1.1). */
const CHUNK_EXTENSIONS =
  /^(?:[ \t]*;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*=[ \t]*(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+|"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*$/;

/** Makes events of the data, and returns the trailers. */
function* chunkedBody({ source, limits }: Input): Events<Headers> {
  let extensions = 0;
  for (;;) {
    const data = takeSmallChunks(source);
    if (data !== undefined) yield { type: 'data', data };
    const text = yield* chunkLine(source, limits.maxChunkLine);
    const [, digits = '', extension = ''] = CHUNK_SIZE.exec(text) ?? [];
    const size = digits === '' ? NaN : Number.parseInt(digits, 16);
    // Chunks of one byte with long extensions would make a large transfer of a small body.
    extensions += text.length - digits.length;
    if (extensions > limits.maxChunkExtensions) {
      throw new LimitExceeded('the sum of the chunk extensions', limits.maxChunkExtensions);
    }
    if (!Number.isSafeInteger(size) || !CHUNK_EXTENSIONS.test(extension)) {
      throw new ParseError(`bad chunk size: ${quoted(text)}`);
    }
    if (size === 0) return yield* fields(source, limits, limits.maxTrailerSize, 'trailer');
    yield* bodyBytes(source, size);
    for (let end = ''; end !== '\r\n';) {
      end += (yield* exactly(source, 1)).toString('latin1');
      if (!'\r\n'.startsWith(end)) {
        throw new ParseError(
          `a chunk of ${size} bytes is not followed by CR LF but by ${quoted(end)}`,
        );
      }
    }
  }
}

/**
 * The data of the small chunks that come next and have wholly arrived, joined; undefined if there are none. It reads
 * nothing that the rule above would not read in the same way, only faster: a server may send a large body in chunks of
 * one byte, and a chunk by itself costs some objects. What is not plainly a small chunk is left to the rule.
 */
function takeSmallChunks(source: ReceiveBuffer): Buffer | undefined {
  // With the bytes of a piece at a time it would not pay, and the rule's search would begin anew each time.
  if (source.length < FEW_BYTES) return undefined;
  const bytes = source.takeAll();
  const spans: number[] = [];
  let end = 0;
  let total = 0;
  for (;;) {
    const first = hexDigit(bytes[end]);
    const second = hexDigit(bytes[end + 1]);
    const size = second < 0 ? first : first * 16 + second;
    const start = end + (second < 0 ? 3 : 4);
    if (first < 0 || size === 0 || !isCRLF(bytes, start - 2) || !isCRLF(bytes, start + size)) break;
    end = start + size + 2;
    total += size;
    spans.push(start, size);
  }
  if (end < bytes.length) source.feed(bytes.subarray(end));
  if (total === 0) return undefined;
  const joined = Buffer.allocUnsafeSlow(total);
  let filled = 0;
  for (let i = 0; i < spans.length; i += 2) {
    const start = spans[i] as number;
    const size = spans[i + 1] as number;
    for (let at = start; at < start + size; at++) joined[filled++] = bytes[at] as number;
  }
  return joined;
}

const FEW_BYTES = 32;

function isCRLF(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0x0d && bytes[at + 1] === 0x0a;
}

// ── Writing a request ────────────────────────────────────────────────────────────────────────────────────────────────

/** Headers of which there can be only one. */
const SINGLE = new Set(['authorization', 'content-length', 'content-type', 'host', 'user-agent']);

/** What there is between the path and the end of a target: what `URL` leaves unescaped, and no more. */
const TARGET = /^\/[\x21-\x7e]*$/;

/**
 * The head of a request as bytes: all but the body. Nothing that its parts hold can become another line or another
 * request: they are checked here, last of all, whoever has put them together.
 *
 * @throws TypeError that says which part cannot be sent, and why
 */
export function writeRequestHead(request: Request): Buffer {
  const { method, url, headers } = request;
  if (!isToken(method))
    throw new TypeError(`the method ${quoted(method)} cannot be sent: it is no token`);
  const target = url.pathname + url.search;
  if (!TARGET.test(target)) throw new TypeError(`the path ${quoted(target)} cannot be sent`);
  checkHeaders(headers, request.body);
  let text = `${method} ${target} HTTP/1.1\r\n`;
  for (const [name, value] of headers) text += `${name}: ${value}\r\n`;
  return Buffer.from(`${text}\r\n`, 'latin1');
}

function checkHeaders(headers: Headers, body: Uint8Array | undefined): void {
  const spelled = new Map<string, string>();
  for (const [name, value] of headers) {
    if (!isToken(name))
      throw new TypeError(
        `the header name ${quoted(shownName(name))} cannot be sent: it is no token`,
      );
    if (!isFieldValue(value)) {
      // Not shown: it may be a secret.
      throw new TypeError(
        `the value of header ${name} cannot be sent: it has a control or a non-Latin-1 character`,
      );
    }
    const key = asciiLowerCase(name);
    const before = spelled.get(key);
    if (before !== undefined && (before !== name || SINGLE.has(key))) {
      throw new TypeError(
        `header ${name} is given twice${before === name ? '' : `, as ${before} too`}`,
      );
    }
    spelled.set(key, name);
  }
  if (!headers.hasHeader('host')) throw new TypeError('there is no Host header');
  if (headers.hasHeader('transfer-encoding')) {
    throw new TypeError('Transfer-Encoding cannot be given: bodies are sent with a Content-Length');
  }
  const length = headers.get('content-length') ?? '0';
  if (length !== String(body?.length ?? 0)) {
    throw new TypeError(
      `Content-Length ${quoted(length)} is not the length of the body, ${body?.length ?? 0}`,
    );
  }
}

/**
 * The lines of a response, read byte by byte: a byte with which a line cannot become one is an error as soon as it
 * arrives, since a server that speaks something else may say no more. What the lines mean is the grammar's business.
 */
import { LimitExceeded, type Parse, type ReceiveBuffer } from 'plait';
import { ParseError, quoted } from './errors.ts';
import { isToken } from './headers.ts';

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;

/** True for control characters but for the tab, and for a CR, which must be the last byte. */
function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09 && byte !== CR) || byte === 0x7f;
}

/**
 * Rule: a line without its CR LF. A byte with which it cannot become one is an error as soon as it arrives, since a
 * server that speaks something else may say no more; so is a CR without a LF, and a LF without a CR.
 *
 * @param isWrong asked for each byte but LF, in order; a CR that it takes must be the last
 * @param problem says what is wrong with a line of which the last byte is
 */
function* strictLine(
  source: ReceiveBuffer,
  limit: number,
  what: string,
  isWrong: (byte: number, at: number) => boolean,
  problem: (text: string) => string,
): Parse<string> {
  let before = 0;
  for (let at = 0; ; at++) {
    let byte: number | undefined;
    while ((byte = source.byteAt(at)) === undefined) yield;
    if (byte === LF) {
      const text = (source.take(at + 1) as Buffer).toString('latin1', 0, at);
      if (before === CR) return text.slice(0, -1);
      throw new ParseError(`${what} ends with LF alone: ${quoted(text)}`);
    }
    if (before === CR || isWrong(byte, at))
      throw new ParseError(problem((source.take(at + 1) as Buffer).toString('latin1')));
    if (at > limit || (at === limit && byte !== CR)) throw new LimitExceeded(what, limit);
    before = byte;
  }
}

/**
 * What a status line may be so far. A minor version above 1 is read as 1 (RFC 9110 section 2.5). Codes from 600 on are
 * invalid, but RFC 9110 section 15 wants them to be taken as the server's error, not refused.
 */
const STATUS_BYTES: readonly RegExp[] = [
  /H/,
  /T/,
  /T/,
  /P/,
  /\//,
  /1/,
  /\./,
  /[0-9]/,
  / /,
  /[1-9]/,
  /[0-9]/,
  /[0-9]/,
  /[ \r]/,
];
const PROTOCOL_LENGTH = 'HTTP/'.length;

/** Rule: the status line. */
export function* statusLine(
  source: ReceiveBuffer,
  limit: number,
): Parse<{ minor: string; code: string; phrase: string }> {
  const isWrong = (byte: number, at: number) =>
    at < STATUS_BYTES.length
      ? STATUS_BYTES[at]?.test(String.fromCharCode(byte)) !== true
      : isControl(byte);
  const text = yield* strictLine(source, limit, 'the status line', isWrong, (wrong) =>
    wrong.length <= PROTOCOL_LENGTH
      ? `this is no HTTP: it begins with ${quoted(wrong)}`
      : `bad status line: ${quoted(wrong)}`,
  );
  return { minor: text.charAt(7), code: text.slice(9, 12), phrase: text.slice(13) };
}

/**
 * Rule: a line of a header section.
 *
 * @param before the name of the field that the line goes on with if it is folded
 */
export function fieldLine(
  source: ReceiveBuffer,
  limit: number,
  kind: 'header' | 'trailer',
  before: string | undefined,
): Parse<string> {
  let inValue = false;
  const isWrong = (byte: number, at: number) => {
    if (!inValue && (byte === COLON ? at > 0 : at === 0 && isBlank(byte))) {
      inValue = true;
      return false;
    }
    if (inValue || (byte === CR && at === 0)) return isControl(byte);
    return !isToken(String.fromCharCode(byte));
  };
  return strictLine(source, limit, `a ${kind} line`, isWrong, (wrong) => {
    const colon = isBlank(wrong.charCodeAt(0)) ? 0 : wrong.indexOf(':');
    if (inValue) {
      const name = colon > 0 ? wrong.slice(0, colon) : (before ?? 'without a name');
      return `control character in ${kind} ${name}: ${quoted(trimmed(wrong, colon + 1))}`;
    }
    return wrong.endsWith('\r')
      ? `${kind} line without a colon: ${quoted(wrong.slice(0, -1))}`
      : `bad ${kind} name: ${quoted(colon < 0 ? wrong : wrong.slice(0, colon))}`;
  });
}

/** Rule: the line with the size of a chunk. */
export function chunkLine(source: ReceiveBuffer, limit: number): Parse<string> {
  let inExtensions = false;
  const isWrong = (byte: number, at: number) => {
    if (inExtensions) return isControl(byte);
    if (hexDigit(byte) >= 0) return false;
    inExtensions = byte === SEMICOLON || isBlank(byte);
    return at === 0 || !(inExtensions || byte === CR);
  };
  const what = 'the size line of a chunk';
  return strictLine(source, limit, what, isWrong, (text) => `bad chunk size: ${quoted(text)}`);
}

const SEMICOLON = 0x3b;

/** `text` from `start` on, without spaces and tabs around it. Not `trim()`, which takes off much more. */
export function trimmed(text: string, start: number): string {
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return ownText(text.slice(start, end), text);
}

/** `part` of `line`, which does not hold a much longer line in memory, as what V8 slices off does. */
export function ownText(part: string, line: string): string {
  return part.length * 2 < line.length ? Buffer.from(part, 'latin1').toString('latin1') : part;
}

export function isBlank(charCode: number): boolean {
  return charCode === 0x20 || charCode === 0x09;
}

/** The value of a hexadecimal digit; -1 for any other byte, and for none. */
export function hexDigit(byte = 0): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

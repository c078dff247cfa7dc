/**
 * What may be printed of text and errors that came from outside: no character that moves a terminal's cursor, starts a
 * line or turns the order of others round, no more than a reader wants, and no secrets that the runtime's errors carry.
 * Every observer, traceback and report uses these rules.
 */
import { inspect } from 'node:util';

/**
 * What is not printed as it is: C0 and C1 controls, invisible characters, those that change the direction of text or
 * separate lines, and tags. Tabs and line feeds are left to the caller. (The joiners U+200C and U+200D are parts of words
 * and of emoji.)
 */
const UNPRINTABLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

function escaped(char: string): string {
  const code = char.codePointAt(0) as number;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  const digits = code.toString(16);
  return code < 0x10000 ? `\\u${digits.padStart(4, '0')}` : `\\u{${digits}}`;
}

/** The text with what cannot be printed shown as `\x1b` or `\u202e`; tabs and line feeds stay. */
export function escapeControls(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** {@link escapeControls} with line feeds as `\n`: the text starts no line of its own. */
export function onOneLine(text: string): string {
  return escapeControls(text).replaceAll('\n', '\\n');
}

/** The same for a text of JSON, in which such characters can only stand within strings. */
export function escapeJSON(json: string): string {
  return json.replace(UNPRINTABLE, (char) => {
    let units = '';
    for (let i = 0; i < char.length; i++)
      units += `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`;
    return units;
  });
}

/** At most so many characters of a text, and a word where something was cut. */
export function cut(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most)}(and more)` : text;
}

/** How many characters of a field are shown in a line of text. */
const LONGEST_FIELD = 16 * 1024;
/** How many items of an array are shown, in all its depths. */
const MOST_ITEMS = 200;
/** How deep arrays in arrays are shown. */
const DEEPEST = 4;

/** A value as text, of bounded length; never throws. An array, typed or not, is shown as far as its first 200 items. */
export function show(value: unknown): string {
  try {
    return cut(shown(value, { items: MOST_ITEMS }, 0), LONGEST_FIELD);
  } catch {
    return '(a value that cannot be shown)';
  }
}

function shown(value: unknown, left: { items: number }, depth: number): string {
  if (Buffer.isBuffer(value)) return value.toString('utf8', 0, LONGEST_FIELD + 1);
  const items = itemsOf(value);
  if (items === undefined) return String(value);
  if (depth >= DEEPEST) return '(too deep to show)';
  const texts: string[] = [];
  for (let i = 0; i < items.length; i++) {
    if (left.items-- <= 0) return [...texts, '(and more)'].join(',');
    const item: unknown = items[i];
    texts.push(item === undefined || item === null ? '' : shown(item, left, depth + 1));
  }
  return texts.join(',');
}

/** What looks like an array and has the `toString` of one, which would show all of it however long it is. */
function itemsOf(value: unknown): ArrayLike<unknown> | undefined {
  if (!Array.isArray(value) && !(ArrayBuffer.isView(value) && 'length' in value)) return undefined;
  const list = value as ArrayLike<unknown>;
  return list.toString === Array.prototype.toString ||
    list.toString === Uint8Array.prototype.toString
    ? list
    : undefined;
}

// ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * What errors of the runtime carry along besides what happened: a command's arguments and output, a certificate, a
 * packet. A program can still read them; they are not printed.
 */
const NEVER_PRINTED = ['spawnargs', 'cmd', 'output', 'cert', 'rawPacket'] as const;

/**
 * The same where an error has a `code`, as those of the runtime and of clients built on it do: a URL with its
 * credentials, requests and responses with their headers and bodies, options with keys and passwords. Errors of other
 * classes decide for themselves what they show.
 */
const NOT_PRINTED_WITH_CODE = [
  'args',
  'argv',
  'base',
  'body',
  'config',
  'env',
  'headers',
  'input',
  'key',
  'options',
  'passphrase',
  'password',
  'pfx',
  'request',
  'response',
  'socket',
  'stderr',
  'stdout',
] as const;

/** How many errors of a tree of causes are looked at. */
const MOST_ERRORS = 100;

/**
 * Takes what may hold secrets out of what `inspect`, `console.log` and other loggers print of an error of the runtime,
 * of its causes and of those that it gathers; the properties are still there. Never throws.
 *
 * @returns false if some of it cannot be hidden, because the error is frozen
 */
export function hideSecrets(error: unknown): boolean {
  let hidden = true;
  for (const each of errorsOf(error)) {
    const fields = isPrinted(each, 'code')
      ? [...NEVER_PRINTED, ...NOT_PRINTED_WITH_CODE]
      : NEVER_PRINTED;
    for (const field of fields) if (isPrinted(each, field)) hidden = hide(each, field) && hidden;
  }
  return hidden;
}

function isPrinted(error: Error, field: string): boolean {
  try {
    return Object.prototype.propertyIsEnumerable.call(error, field);
  } catch {
    return false;
  }
}

function hide(error: Error, field: string): boolean {
  try {
    return Reflect.defineProperty(error, field, { enumerable: false });
  } catch {
    return false;
  }
}

/** The error, its causes and those that it gathers, as far as they can be looked at. */
function errorsOf(error: unknown): Set<Error> {
  const found = new Set<Error>();
  const waiting: unknown[] = [error];
  while (waiting.length > 0 && found.size < MOST_ERRORS) {
    const next = waiting.pop();
    try {
      if (!(next instanceof Error) || found.has(next)) continue;
      found.add(next);
      const { cause, errors } = next as { cause?: unknown; errors?: unknown };
      if (Array.isArray(errors))
        waiting.push(...(errors as unknown[]).slice(0, MOST_ERRORS).reverse());
      waiting.push(cause);
    } catch {
      // What throws when it is looked at shows nothing.
    }
  }
  return found;
}

/** How long a traceback is at most. */
const LONGEST_TRACEBACK = 64 * 1024;

/**
 * An error's stack, its fields, its causes and the errors that it gathers, as text of several lines without controls.
 * Throws what a getter of the error throws.
 */
export function traceback(error: Error): string {
  const clean = hideSecrets(error);
  const text = clean && inspectShowsErrors() ? inspect(error) : stacks(error);
  return escapeControls(cut(text, LONGEST_TRACEBACK));
}

/** False where the intrinsics are frozen: `inspect` then makes `{}` of an Error. */
function inspectShowsErrors(): boolean {
  return inspect(new Error('shown')).includes('shown');
}

/** The stacks of an error and those behind it, with Node's codes, and none of the other fields. */
function stacks(error: Error): string {
  const texts: string[] = [];
  for (const each of errorsOf(error)) {
    const { stack, code } = each as { stack?: unknown; code?: unknown };
    const text = typeof stack === 'string' && stack !== '' ? stack : String(each);
    const told = code === undefined ? text : `${text} { code: ${show(code)} }`;
    texts.push(texts.length === 0 ? told : `[cause]: ${told}`.replaceAll('\n', '\n  '));
  }
  return texts.join('\n  ');
}

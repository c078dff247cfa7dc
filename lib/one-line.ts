/** The line that an object with private state prints: by `String`, and by `console.log` and whatever else inspects it. */
import { inspect } from 'node:util';
import { cut, onOneLine } from './printable.ts';

/** The key of the method that `inspect` calls. */
export const INSPECT: typeof inspect.custom = inspect.custom;

/** What is used of the options that `inspect` hands on. Node's own type has another name from version to version. */
export interface Styling {
  stylize(text: string, style: 'special'): string;
}

/** What `inspect` hands to the method of that key. */
export type Inspecting = readonly [depth: number, options: Styling];

/** How many characters a line has at most, but for its brackets. */
const LONGEST_LINE = 180;

/** The name of the object's class, which may be a subclass of the program's; never throws. */
export function nameOf(it: object): string {
  try {
    const { name } = it.constructor as { name?: unknown };
    if (typeof name === 'string' && name !== '') return name;
  } catch {
    // An object without a prototype, or with a getter that throws.
  }
  return 'Object';
}

/** `<Class what it is>`, cut to a line. Secrets must not stand in it. */
export function told(it: object, what: string): string {
  const text = what === '' ? nameOf(it) : `${nameOf(it)} ${what}`;
  return `<${onOneLine(cut(text, LONGEST_LINE))}>`;
}

/** `1 task`, `2 tasks`. */
export function count(number: number, what: string, several = `${what}s`): string {
  return `${number} ${number === 1 ? what : several}`;
}

/**
 * What `inspect` prints: the object's `toString`, with its class before it where that does not stand in it. Never
 * throws, not for a prototype either. Like other objects, one that lies too deep shows its class alone.
 */
export function inspected(it: object, depth: number, options: Styling): string {
  const name = nameOf(it);
  return options.stylize(depth < 0 ? `[${onOneLine(name)}]` : lineOf(it, name), 'special');
}

/** As every object, though not every one says something of its own. */
interface Saying {
  toString(): string;
}

function lineOf(it: object & Saying, name: string): string {
  let line: string;
  try {
    // A DelayedCall that is debugged goes on with a stack.
    line = String(it).replace(/\n.*$/s, (rest) => (rest.endsWith('>') ? '>' : ''));
  } catch {
    return told(it, '');
  }
  if (line.startsWith('<') && line.toLowerCase().includes(name.toLowerCase()))
    return onOneLine(cut(line, LONGEST_LINE + 20));
  return told(it, line.replace(/^<(.*)>$/s, '$1'));
}

/**
 * {@link inspected}, and after it the fields that a subclass has added to those of the base class.
 *
 * @param own the names of the fields of the base class
 */
export function inspectedWithFields(
  it: object,
  own: readonly string[],
  ...[depth, options]: Inspecting
): string {
  const line = inspected(it, depth, options);
  const fields = Object.fromEntries(Object.entries(it).filter(([name]) => !own.includes(name)));
  if (depth < 0 || Object.keys(fields).length === 0) return line;
  return `${line} ${inspect(fields, { ...options, depth })}`;
}

/** Any value, for a line of {@link told}. */
export function briefly(value: unknown): string {
  return inspect(value, {
    depth: 1,
    breakLength: Infinity,
    maxArrayLength: 10,
    maxStringLength: 200,
  });
}

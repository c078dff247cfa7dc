/**
 * What endpoint descriptions are made of: a colon separates arguments, `name=` names one, and a backslash takes the
 * meaning away from the character behind it. Which arguments there are, the parser of each kind says. Twisted:
 * `_parse` and `quoteStringArgument` of `twisted.internet.endpoints`.
 */
import { wrongType } from './arguments.ts';
import { asciiLowerCase } from './bytes.ts';
import { EndpointSyntaxError } from './errors.ts';
import type { Seconds } from './interfaces.ts';

/** Longer descriptions are refused. */
const LONGEST = 16 * 1024;

/** One argument, and where it begins. */
interface Argument {
  readonly value: string;
  readonly at: number;
}

/**
 * The arguments of a description, which a parser takes one by one. What it leaves is refused as a mistake, so a parser
 * need not look for arguments that it does not know. Each method throws EndpointSyntaxError, with the position, for
 * what is missing or not as it should be.
 */
export class EndpointArguments {
  readonly #description: string;
  readonly #positional: Argument[];
  readonly #named: Map<string, Argument>;
  /** Where those began that were taken. */
  readonly #taken = new Map<string, number>();

  /** @internal */
  constructor(description: string, positional: Argument[], named: Map<string, Argument>) {
    this.#description = description;
    this.#positional = positional;
    this.#named = named;
  }

  /** The argument of that name; or else, where `positional`, the next one without a name. */
  #take(name: string, positional = false): Argument | undefined {
    const argument = this.#named.get(name) ?? (positional ? this.#positional.shift() : undefined);
    this.#named.delete(name);
    if (argument !== undefined) this.#taken.set(name, argument.at);
    return argument;
  }

  #takeNeeded(name: string): Argument {
    const argument = this.#take(name, true);
    if (argument === undefined) {
      throw unusable(this.#description, this.#description.length, `there is no ${name}`);
    }
    return argument;
  }

  /** The argument of that name, if it was given. */
  text(name: string): string | undefined {
    return this.#take(name)?.value;
  }

  /** What must be there: by its name, or as the next one without a name. */
  needed(name: string): string {
    return this.#takeNeeded(name).value;
  }

  /** What must be there, as a whole number in decimal digits. */
  neededInteger(name: string): number {
    return this.#integer(name, this.#takeNeeded(name), 10);
  }

  /** A whole number, in digits of `base` only. */
  integer(name: string, base: 8 | 10 = 10): number | undefined {
    const argument = this.#take(name);
    return argument === undefined ? undefined : this.#integer(name, argument, base);
  }

  #integer(name: string, { value }: Argument, base: 8 | 10): number {
    const digits = base === 8 ? /^[0-7]{1,6}$/ : /^[0-9]{1,9}$/;
    if (!digits.test(value)) throw this.bad(name, `${name} is no whole number`, value);
    return Number.parseInt(value, base);
  }

  /** Seconds, as in `30` or `0.5`. */
  seconds(name: string): Seconds | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (!/^[0-9]{1,9}(\.[0-9]{1,9})?$/.test(value)) {
      throw this.bad(name, `${name} is no number of seconds`, value);
    }
    return Number(value);
  }

  /** Yes or no: `true`, `yes`, `on` or `1`; `false`, `no`, `off` or `0`. */
  flag(name: string): boolean | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (/^(true|yes|on|1)$/i.test(value)) return true;
    if (/^(false|no|off|0)$/i.test(value)) return false;
    throw this.bad(name, `${name} is neither true nor false`, value);
  }

  /**
   * An error about an argument that was taken: to be thrown.
   *
   * @param what what is wrong with it
   */
  bad(name: string, what: string, value: string): EndpointSyntaxError {
    const at = this.#taken.get(name) ?? 0;
    return unusable(this.#description, at, `${what}: ${shown(value)}`);
  }

  /** @internal Nothing is expected: `stdio:` is as good as `stdio`. */
  none(): void {
    if (this.#positional.length === 1 && this.#positional[0]?.value === '') this.#positional.pop();
  }

  /** @internal EndpointSyntaxError if an argument was not taken. */
  end(): void {
    const error = (at: number, what: string, value: string): EndpointSyntaxError =>
      unusable(this.#description, at, `${what}: ${shown(value)}`);
    for (const [name, { at }] of this.#named)
      throw error(at, 'there is no argument of this name', name);
    for (const { value, at } of this.#positional)
      throw error(at, 'there is one argument too many', value);
  }
}

/** In the name of an argument whose value is no matter for a message. */
const SECRET = /pass|pwd|secret|token|credential|auth|api_?key/i;

/** A description for a message: the values of arguments called `passphrase`, say, and credentials are not shown. */
export function withoutSecrets(description: string): string {
  return withoutCredentials(withoutSecretValues(description));
}

/** Goes through the names once, however long they are, and whatever is in them. */
function withoutSecretValues(description: string): string {
  const names = /[^:=\\]+/g;
  const values = /(?:\\.|[^:\\])+/sy;
  let [shown, done] = ['', 0];
  for (let name = names.exec(description); name !== null; name = names.exec(description)) {
    const at = names.lastIndex + 1;
    if (description[at - 1] !== '=' || !SECRET.test(name[0])) continue;
    values.lastIndex = at;
    if (!values.test(description)) continue;
    shown += `${description.slice(done, at)}***`;
    done = names.lastIndex = values.lastIndex;
  }
  return shown + description.slice(done);
}

/** What stands before an `@`, and is no path: a password, where it is one of credentials. */
function withoutCredentials(description: string): string {
  return description.replace(/(?<=:)((?:\\.|[^:\\@])+)(@?)/gs, (all, before: string, at) => {
    if (at === '') return all;
    // Behind an escaped colon it may be one, if it is a path before that.
    let start = 0;
    while (before[start] === '/') {
      const colon = before.indexOf(':', start);
      if (colon < 0) return all;
      start = colon + 1;
    }
    return start === before.length ? all : `${before.slice(0, start)}***@`;
  });
}

/** The value of an argument for a message. */
function shown(value: string): string {
  return JSON.stringify(shortened(withoutSecrets(`:${value}`).slice(1)));
}

/** A text for a message, however long it is. */
export function shortened(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}

function unusable(description: string, at: number, what: string): EndpointSyntaxError {
  return new EndpointSyntaxError(
    `cannot use the endpoint description ${JSON.stringify(shortened(withoutSecrets(description)))}: at position ${at}, ${what}`,
    at,
  );
}

/**
 * Cuts a description into its kind, in lower case, and its arguments.
 *
 * @throws EndpointSyntaxError where it cannot be understood
 */
export function parseDescription(description: string): { kind: string; args: EndpointArguments } {
  if (typeof description !== 'string') {
    throw wrongType('description', 'a string that describes an endpoint', description);
  }
  const bad = (at: number, what: string): EndpointSyntaxError => unusable(description, at, what);
  if (description.length > LONGEST)
    throw bad(LONGEST, `it goes on: ${LONGEST} characters are the most`);
  const positional: Argument[] = [];
  const named = new Map<string, Argument>();
  let value = '';
  let name: string | undefined;
  let begin = 0;
  const finish = (next: number): void => {
    if (name === undefined) positional.push({ value, at: begin });
    else if (named.has(name)) throw bad(begin, `${JSON.stringify(shortened(name))} is given twice`);
    else named.set(name, { value, at: begin });
    value = '';
    name = undefined;
    begin = next;
  };
  for (let at = 0; at < description.length; at++) {
    const c = description.charAt(at);
    if (c === '\\') {
      at++;
      if (at === description.length) throw bad(at - 1, 'a backslash ends it');
      value += description.charAt(at);
    } else if (c === ':') {
      finish(at + 1);
    } else if (c === '=' && name === undefined) {
      name = value;
      value = '';
    } else {
      value += c;
    }
  }
  finish(description.length);
  const kind = asciiLowerCase(positional.shift()?.value ?? '');
  return { kind, args: new EndpointArguments(description, positional, named) };
}

/** `text` with backslashes where a description would take a character for its own. */
export function quoteStringArgument(text: string): string {
  return text.replace(/[\\:=]/g, '\\$&');
}

/** A description of that kind, with its arguments; those that have names and no value are left out. */
export function described(
  kind: string,
  ...args: readonly (string | number | readonly [name: string, value: string | undefined])[]
): string {
  const texts = args.map((each) => {
    if (typeof each !== 'object') return quoteStringArgument(`${each}`);
    const [name, value] = each;
    return value === undefined ? undefined : `${name}=${quoteStringArgument(value)}`;
  });
  return [kind, ...texts.filter((text) => text !== undefined)].join(':');
}

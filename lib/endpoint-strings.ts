/**
 * Endpoints from descriptions, as a program's options and configuration files give them: `tcp:8000`,
 * `tcp:host=example.org:port=80:timeout=5`, `unix:/run/clamd.ctl`. A colon separates arguments, `name=` names one, and
 * a backslash takes the meaning away from the character behind it. Twisted: `serverFromString` and `clientFromString`
 * of `twisted.internet.endpoints`.
 */
import {
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  UNIXClientEndpoint,
  UNIXServerEndpoint,
} from './endpoints.ts';
import type {
  IReactorTCP,
  IReactorUNIX,
  IStreamClientEndpoint,
  IStreamServerEndpoint,
} from './interfaces.ts';

/** Longer descriptions are refused. */
const LONGEST = 16 * 1024;

/** One argument, and where it begins. */
interface Argument {
  readonly value: string;
  readonly at: number;
}

/** The arguments of a description, taken one by one; what is left in the end is a mistake. */
class Arguments {
  readonly #description: string;
  readonly #positional: Argument[];
  readonly #named: Map<string, Argument>;

  constructor(description: string, positional: Argument[], named: Map<string, Argument>) {
    this.#description = description;
    this.#positional = positional;
    this.#named = named;
  }

  /** The argument of that name; or else, where `positional`, the next one without a name. */
  #take(name: string, positional = false): Argument | undefined {
    const argument = this.#named.get(name);
    this.#named.delete(name);
    return argument ?? (positional ? this.#positional.shift() : undefined);
  }

  #takeNeeded(name: string): Argument {
    const argument = this.#take(name, true);
    if (argument === undefined)
      throw unusable(this.#description, this.#description.length, `there is no ${name}`);
    return argument;
  }

  text(name: string): string | undefined {
    return this.#take(name)?.value;
  }

  /** What must be there, by its name or without. */
  needed(name: string): string {
    return this.#takeNeeded(name).value;
  }

  /** What must be there, as a whole number. */
  neededInteger(name: string): number {
    return this.#integer(name, this.#takeNeeded(name), 10);
  }

  /** A whole number, in digits of `base` only. */
  integer(name: string, base: 8 | 10 = 10): number | undefined {
    const argument = this.#take(name);
    return argument === undefined ? undefined : this.#integer(name, argument, base);
  }

  #integer(name: string, { value, at }: Argument, base: 8 | 10): number {
    const digits = base === 8 ? /^[0-7]{1,6}$/ : /^[0-9]{1,9}$/;
    if (!digits.test(value)) throw this.#error(at, `${name} is no whole number`, value);
    return Number.parseInt(value, base);
  }

  /** Seconds, as in `30` or `0.5`. */
  seconds(name: string): number | undefined {
    const argument = this.#take(name);
    if (argument === undefined) return undefined;
    const { value, at } = argument;
    if (!/^[0-9]{1,9}(\.[0-9]{1,9})?$/.test(value))
      throw this.#error(at, `${name} is no number of seconds`, value);
    return Number(value);
  }

  /** SyntaxError if an argument was not asked for. */
  end(): void {
    for (const [name, { at }] of this.#named)
      throw this.#error(at, 'there is no argument of this name', name);
    for (const { value, at } of this.#positional)
      throw this.#error(at, 'there is one argument too many', value);
  }

  #error(at: number, what: string, value: string): SyntaxError {
    return unusable(this.#description, at, `${what}: ${JSON.stringify(shortened(value))}`);
  }
}

function shortened(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}

function unusable(description: string, at: number, what: string): SyntaxError {
  return new SyntaxError(
    `cannot use the endpoint description ${JSON.stringify(shortened(description))}: at position ${at}, ${what}`,
  );
}

/** Cuts a description into its kind and arguments; SyntaxError says where it cannot be understood. */
function parse(description: string): { kind: string; args: Arguments } {
  if (typeof description !== 'string') {
    throw new TypeError(`an endpoint description is a string, not ${typeof description}`);
  }
  const bad = (at: number, what: string): SyntaxError => unusable(description, at, what);
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
  const kind = positional.shift()?.value.toLowerCase() ?? '';
  return { kind, args: new Arguments(description, positional, named) };
}

type Server = (reactor: IReactorTCP & IReactorUNIX, args: Arguments) => IStreamServerEndpoint;
type Client = (reactor: IReactorTCP & IReactorUNIX, args: Arguments) => IStreamClientEndpoint;

/** What is defined of an object of options. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as never;
}

const SERVERS = new Map<string, Server>([
  [
    'tcp',
    (reactor, args) => {
      const port = args.neededInteger('port');
      const options = given({
        interface: args.text('interface'),
        backlog: args.integer('backlog'),
      });
      args.end();
      return new TCP4ServerEndpoint(reactor, port, options);
    },
  ],
  [
    'unix',
    (reactor, args) => {
      const path = args.needed('address');
      const options = given({
        mode: args.integer('mode', 8),
        backlog: args.integer('backlog'),
      });
      args.end();
      return new UNIXServerEndpoint(reactor, path, options);
    },
  ],
]);

const CLIENTS = new Map<string, Client>([
  [
    'tcp',
    (reactor, args) => {
      const host = args.needed('host');
      const port = args.neededInteger('port');
      const bindHost = args.text('bindAddress');
      const options = given({
        timeout: args.seconds('timeout'),
        bindAddress: bindHost === undefined ? undefined : { host: bindHost },
      });
      args.end();
      return new TCP4ClientEndpoint(reactor, host, port, options);
    },
  ],
  [
    'unix',
    (reactor, args) => {
      const path = args.needed('path');
      const options = given({ timeout: args.seconds('timeout') });
      args.end();
      return new UNIXClientEndpoint(reactor, path, options);
    },
  ],
]);

/**
 * A place to listen at: `tcp:PORT[:interface=…][:backlog=…]`, `unix:PATH[:mode=660][:backlog=…]`.
 *
 * @throws SyntaxError if the description cannot be understood
 */
export function serverFromString(
  reactor: IReactorTCP & IReactorUNIX,
  description: string,
): IStreamServerEndpoint {
  return lookUp(SERVERS, description, 'listen at')(reactor);
}

/**
 * A place to connect to: `tcp:HOST:PORT[:timeout=…][:bindAddress=…]`, `unix:PATH[:timeout=…]`.
 *
 * @throws SyntaxError if the description cannot be understood
 */
export function clientFromString(
  reactor: IReactorTCP & IReactorUNIX,
  description: string,
): IStreamClientEndpoint {
  return lookUp(CLIENTS, description, 'connect to')(reactor);
}

function lookUp<E>(
  kinds: Map<string, (reactor: IReactorTCP & IReactorUNIX, args: Arguments) => E>,
  description: string,
  purpose: string,
): (reactor: IReactorTCP & IReactorUNIX) => E {
  const { kind, args } = parse(description);
  const make = kinds.get(kind);
  if (make === undefined) {
    throw new SyntaxError(
      `cannot ${purpose} ${JSON.stringify(shortened(description))}: there is no kind ${JSON.stringify(shortened(kind))} at position 0, only ${[...kinds.keys()].join(', ')}`,
    );
  }
  return (reactor) => make(reactor, args);
}

/** `text` with backslashes where a description would take a character for its own. */
export function quoteStringArgument(text: string): string {
  return text.replace(/[\\:=]/g, '\\$&');
}

/**
 * The kinds of endpoint descriptions that there are: plait's own, which `endpoint-strings` enters, and those that
 * programs and libraries add. Twisted: `IStreamServerEndpointStringParser` and
 * `IStreamClientEndpointStringParserWithReactor`, which are found as plug-ins; here they are registered.
 */
import { checkOptions, checkString, wrongValue } from './arguments.ts';
import {
  type EndpointArguments,
  parseDescription,
  shortened,
  withoutSecrets,
} from './endpoint-description.ts';
import { EndpointPrefixTaken, EndpointSyntaxError } from './errors.ts';
import { neededNow } from './hooks.ts';
import type { HostnameEndpointReactor } from './hostname-endpoint.ts';
import type {
  IReactorSocket,
  IReactorSSL,
  IReactorStandardIO,
  IReactorTCP,
  IReactorUNIX,
  IStreamClientEndpoint,
  IStreamServerEndpoint,
} from './interfaces.ts';

/**
 * What the parsers may ask of the reactor that `serverFromString` is given. Not every reactor must have all: what only
 * some kinds need is looked for when it is needed, and missed with a TypeError.
 */
export type ServerEndpointReactor = IReactorTCP &
  IReactorUNIX &
  Partial<IReactorSSL & IReactorSocket & IReactorStandardIO>;

/** What the parsers may ask of the reactor that `clientFromString` is given. */
export type ClientEndpointReactor = HostnameEndpointReactor & IReactorUNIX;

/** Makes places to listen at of descriptions of one kind. */
export interface IStreamServerEndpointStringParser {
  /** What the descriptions begin with, before the first colon; in lower case. */
  readonly prefix: string;
  /** Takes from `args` what it knows; opens nothing. What is left of them is refused when it has returned. */
  parseStreamServer(reactor: ServerEndpointReactor, args: EndpointArguments): IStreamServerEndpoint;
}

/** Makes places to connect to of descriptions of one kind. */
export interface IStreamClientEndpointStringParser {
  /** What the descriptions begin with, before the first colon; in lower case. */
  readonly prefix: string;
  /** Takes from `args` what it knows; opens nothing. What is left of them is refused when it has returned. */
  parseStreamClient(reactor: ClientEndpointReactor, args: EndpointArguments): IStreamClientEndpoint;
}

/** Parsers by their prefixes. */
export class Parsers<P extends { readonly prefix: string }> {
  readonly #parsers = new Map<string, P>();
  /** For messages: what the descriptions are for. */
  readonly #purpose: string;

  constructor(purpose: string, own: readonly P[]) {
    this.#purpose = purpose;
    for (const parser of own) this.register(parser);
  }

  /** Enters a parser; the function returned takes it out again. */
  register(parser: P): () => void {
    const { prefix } = checkOptions(parser, 'parser', 'an object with a prefix');
    if (typeof prefix !== 'string' || !/^[a-z][a-z0-9+.-]{0,63}$/.test(prefix)) {
      throw wrongValue(
        'parser.prefix',
        'a word in lower-case letters, digits, +, . and -',
        checkString(prefix, 'parser.prefix'),
      );
    }
    if (this.#parsers.has(prefix)) {
      throw new EndpointPrefixTaken(
        `cannot register ${JSON.stringify(prefix)}: descriptions of this kind have a parser`,
      );
    }
    this.#parsers.set(prefix, parser);
    return () => {
      if (this.#parsers.get(prefix) === parser) this.#parsers.delete(prefix);
    };
  }

  /** What `parse` makes of a description with its parser, if all of that was understood. */
  parse<E>(description: string, parse: (parser: P, args: EndpointArguments) => E): E {
    const { kind, args } = parseDescription(description);
    const parser = this.#parsers.get(kind);
    if (parser === undefined) {
      throw new EndpointSyntaxError(
        `cannot ${this.#purpose} ${JSON.stringify(shortened(withoutSecrets(description)))}: there is no kind ${JSON.stringify(shortened(kind))} at position 0, only ${[...this.#parsers.keys()].join(', ')}`,
        0,
      );
    }
    const endpoint = neededNow(parse(parser, args), `the parser of ${JSON.stringify(kind)}`);
    args.end();
    return endpoint;
  }
}

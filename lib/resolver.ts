/**
 * Names to addresses: what a reactor resolves host names with until another resolver is installed, and what makes a
 * resolver of one kind look like one of the other. It asks the body, and knows nothing of DNS. Twisted:
 * `twisted.internet._resolver`, and `ThreadedResolver` of `twisted.internet.base`.
 */
import { inspect } from 'node:util';
import {
  type AddressType,
  checkHost,
  ipAddress,
  IPv4Address,
  IPv6Address,
  isIPAddress,
} from './address.ts';
import { checkArray, checkMethods, checkSeconds } from './arguments.ts';
import { Deferred } from './defer.ts';
import { DNSLookupError, explain } from './errors.ts';
import { Failure } from './failure.ts';
import { loggedBy, neededNow, watchHook } from './hooks.ts';
import type {
  HookResult,
  IHostnameResolver,
  IHostResolution,
  IReactorTime,
  IResolutionReceiver,
  IResolverSimple,
  ResolvedAddressClass,
  Seconds,
} from './interfaces.ts';
import type { Attempt, ConnectEvents, IO } from './io/io.ts';
import { Logger } from './log.ts';
import { maybeDeferred, succeed } from './maybe.ts';
import type { Home } from './transport/home.ts';
import { INSPECT, inspected, type Inspecting, nameOf, told } from './one-line.ts';

const log = new Logger('plait.resolver');
const logging = loggedBy(log);

/** Cancels a look-up of a resolver that may be the user's: what its `cancel` throws is logged, and stops nothing. */
export function cancelLookup(lookup: Pick<IHostResolution, 'cancel'> | undefined): void {
  if (lookup === undefined) return;
  try {
    const { cancel }: { cancel: () => unknown } = lookup;
    watchHook(cancel.call(lookup), 'cancel of a look-up', logging);
  } catch (error) {
    log.failure('cancel of a look-up failed', new Failure(error));
  }
}

/** How long the name servers are given, attempt by attempt: a minute in all. */
export const LOOKUP_TIMEOUT: readonly Seconds[] = [1, 3, 11, 45];

const BOTH: readonly ResolvedAddressClass[] = [IPv4Address, IPv6Address];

/** Calls a receiver until all is told or it is cancelled; what the receiver throws is logged. */
class Resolution implements IHostResolution {
  readonly name: string;
  readonly #receiver: IResolutionReceiver;
  #going: Attempt | undefined;
  #over = false;

  /**
   * Begins.
   *
   * @param ask asks for the addresses, and hands what comes of it to `complete`
   */
  constructor(
    name: string,
    receiver: IResolutionReceiver,
    ask: (resolution: Resolution) => Attempt | undefined,
  ) {
    this.name = name;
    this.#receiver = receiver;
    this.#tell(() => receiver.resolutionBegan(this));
    if (!this.#over) this.#going = ask(this);
  }

  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    cancelLookup(this.#going);
  }

  /** What has come of it. */
  complete(addresses: readonly (IPv4Address | IPv6Address)[], cause?: Error): void {
    for (const address of addresses) this.#tell(() => this.#receiver.addressResolved(address));
    const error = addresses.length === 0 ? noAddress(this.name, cause) : undefined;
    this.#tell(() => this.#receiver.resolutionComplete(error));
    this.#over = true;
  }

  #tell(call: () => HookResult): void {
    if (this.#over) return;
    try {
      watchHook(call(), 'a receiver of addresses', logging);
    } catch (error) {
      log.failure('a receiver of addresses failed', new Failure(error));
    }
  }
}

/** Why there is no address of a name. */
function noAddress(name: string, cause: Error | undefined): DNSLookupError {
  if (cause instanceof DNSLookupError) return cause;
  return cause === undefined
    ? new DNSLookupError(`no address is known for ${name}`)
    : new DNSLookupError(`cannot look up ${name}: ${explain(cause)}`, { cause });
}

/** What a resolver is asked for, but for the name. */
interface Wanted {
  readonly port: number;
  readonly types: readonly ResolvedAddressClass[];
  readonly semantics: AddressType;
}

/** The literals among `texts` that are of a class that is wanted, as addresses; each once. */
function addressesOf(
  texts: readonly string[],
  { port, types, semantics }: Wanted,
): (IPv4Address | IPv6Address)[] {
  return [...new Set(texts)]
    .filter((text) => isIPAddress(text))
    .map((literal) => ipAddress(semantics, literal, port))
    .filter((address) => types.some((type) => address instanceof type));
}

/** Asks the system's own resolver (`getaddrinfo`), through the body. What a reactor uses by default. */
export class GAIResolver implements IHostnameResolver {
  readonly #resolve: IO['resolve'];

  /** @param resolve asks the body */
  constructor(resolve: IO['resolve']) {
    this.#resolve = resolve;
  }

  resolveHostName(
    receiver: IResolutionReceiver,
    hostName: string,
    portNumber = 0,
    addressTypes: readonly ResolvedAddressClass[] = BOTH,
    transportSemantics: AddressType = 'TCP',
  ): IHostResolution {
    const wanted = { port: portNumber, types: addressTypes, semantics: transportSemantics };
    const name = checkHost(hostName);
    return new Resolution(name, receiver, (resolution) => {
      if (isIPAddress(name)) {
        resolution.complete(addressesOf([name], wanted));
        return undefined;
      }
      const answered = (error: Error | undefined, literals: readonly string[]): void =>
        resolution.complete(addressesOf(literals, wanted), error);
      return this.#resolve(name, answered, familyOf(addressTypes));
    });
  }

  toString(): string {
    return told(this, '');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** The one family that is wanted; undefined for both. */
function familyOf(types: readonly ResolvedAddressClass[]): 4 | 6 | undefined {
  const [v4, v6] = [types.includes(IPv4Address), types.includes(IPv6Address)];
  if (v4 === v6) return undefined;
  return v4 ? 4 : 6;
}

/** A resolver of one address, as a resolver of many. Twisted: `SimpleResolverComplexifier`. */
export class SimpleResolverComplexifier implements IHostnameResolver {
  readonly #simple: IResolverSimple;

  constructor(simple: IResolverSimple) {
    this.#simple = simple;
  }

  resolveHostName(
    receiver: IResolutionReceiver,
    hostName: string,
    portNumber = 0,
    addressTypes: readonly ResolvedAddressClass[] = BOTH,
    transportSemantics: AddressType = 'TCP',
  ): IHostResolution {
    const wanted = { port: portNumber, types: addressTypes, semantics: transportSemantics };
    const name = checkHost(hostName);
    return new Resolution(name, receiver, (resolution) => {
      const found = isIPAddress(name)
        ? succeed(name)
        : maybeDeferred(() => this.#simple.getHostByName(name));
      found.addCallbacks(
        (literal) => resolution.complete(addressesOf([literal], wanted)),
        ({ value }) => resolution.complete([], value),
      );
      return found;
    });
  }

  toString(): string {
    return told(this, `over ${nameOf(this.#simple)}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** A resolver of many addresses, as a resolver of one: an IPv4 address if there is any, else the first. */
export class ComplexResolverSimplifier implements IResolverSimple {
  readonly #complex: IHostnameResolver;

  constructor(complex: IHostnameResolver) {
    this.#complex = complex;
  }

  /** It is up to the caller to cancel it when its time has passed. RangeError for what cannot be a host name. */
  getHostByName(name: string): Deferred<string> {
    const deferred: Deferred<string> = new Deferred<string>(() => attempt.cancel());
    const attempt = lookUpOne(this.#complex, name, 0, (result) => {
      if (result instanceof Error) deferred.errback(result);
      else deferred.callback(result);
    });
    return deferred;
  }

  toString(): string {
    return told(this, `over ${nameOf(this.#complex)}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Calls `done` with a literal of `name`, an IPv4 one if there is any and else the first; or with a DNSLookupError.
 * It may do so before it returns. What a resolver says after its last word is not listened to.
 */
export function lookUpOne(
  resolver: IHostnameResolver,
  name: string,
  port: number,
  done: (result: string | DNSLookupError) => void,
): Attempt {
  const found: string[] = [];
  let over = false;
  let going: IHostResolution | undefined;
  const complete = (error?: Error): void => {
    if (over) return;
    over = true;
    const best = found.find((literal) => !literal.includes(':')) ?? found[0];
    done(best ?? noAddress(name, error));
  };
  const receiver: IResolutionReceiver = {
    resolutionBegan(resolution) {
      going = resolution;
    },
    addressResolved(address) {
      const literal = literalOf(address);
      // What a resolver of the user's calls an address may be anything: a name would be looked up by the system.
      if (!over && isIPAddress(literal)) found.push(literal);
    },
    resolutionComplete: complete,
  };
  try {
    going = neededNow(resolver.resolveHostName(receiver, name, port), 'resolveHostName');
  } catch (error) {
    complete(new Failure(error).value);
  }
  return {
    cancel() {
      if (over) return;
      over = true;
      cancelLookup(going);
    },
  };
}

/** The address without its port, as it can be connected to. */
export function literalOf(address: IPv4Address | IPv6Address): string {
  return address instanceof IPv6Address && address.scopeID !== ''
    ? `${address.host}%${address.scopeID}`
    : address.host;
}

/** How a reactor resolves names: with what was installed last. */
export class Names {
  #complex: IHostnameResolver;
  #simple: IResolverSimple;

  /** @param resolve asks the body */
  constructor(resolve: IO['resolve']) {
    this.#complex = new GAIResolver(resolve);
    this.#simple = new ComplexResolverSimplifier(this.#complex);
  }

  get complex(): IHostnameResolver {
    return this.#complex;
  }

  /** Returns the former one. */
  installComplex(resolver: IHostnameResolver): IHostnameResolver {
    mustHave(resolver, 'resolveHostName');
    const former = this.#complex;
    this.#complex = resolver;
    this.#simple = new ComplexResolverSimplifier(resolver);
    return former;
  }

  /** Returns the former one. */
  installSimple(resolver: IResolverSimple): IResolverSimple {
    mustHave(resolver, 'getHostByName');
    const former = this.#simple;
    this.#simple = resolver;
    this.#complex = new SimpleResolverComplexifier(resolver);
    return former;
  }

  /** Connects to an address of `name`, and says so if there is none: never from inside this call. */
  dial(
    name: string,
    port: number,
    home: Pick<Home, 'soon'>,
    events: ConnectEvents,
    connect: (literal: string) => Attempt,
  ): Attempt {
    if (isIPAddress(name)) return connect(name);
    let cancelled = false;
    let inside = true;
    let connecting: Attempt | undefined;
    const lookup = lookUpOne(this.#complex, name, port, (result) => {
      if (typeof result === 'string') connecting = connect(result);
      else if (inside) home.soon(() => cancelled || events.failed(result));
      else events.failed(result);
    });
    inside = false;
    return {
      cancel() {
        cancelled = true;
        cancelLookup(lookup);
        connecting?.cancel();
      },
    };
  }

  /** What `reactor.resolve` does. */
  resolve(host: string, timeout: readonly Seconds[], clock: IReactorTime): Deferred<string> {
    checkArray(timeout, 'resolve: timeout', 'an array of seconds');
    const total = timeout.reduce(
      (sum, seconds) => sum + checkSeconds(seconds, 'resolve: timeout'),
      0,
    );
    if (host === '') return succeed('0.0.0.0');
    const name = checkHost(host, 'resolve: name');
    if (isIPAddress(name)) return succeed(name);
    return maybeDeferred(() => this.#simple.getHostByName(name, timeout))
      .addCallback((literal) => {
        if (isIPAddress(literal)) return literal;
        throw new DNSLookupError(`${name} was looked up to what is no address: ${show(literal)}`);
      })
      .addTimeout(total, clock, (result) => {
        if (!(result instanceof Failure)) return result;
        throw new DNSLookupError(`cannot look up ${name}: no answer after ${total} seconds`, {
          cause: result.value,
        });
      });
  }
}

function mustHave(resolver: object, method: string): void {
  checkMethods(resolver, 'resolver', 'an object', [method]);
}

function show(value: unknown): string {
  return inspect(value, { depth: 0, maxStringLength: 100 });
}

/**
 * An endpoint for a host by its name, whatever addresses the name has: one that does not answer costs a quarter of a
 * second, not the time that the system waits for it. RFC 8305 ("Happy Eyeballs") in full. Twisted: `HostnameEndpoint`
 * of `twisted.internet.endpoints`, where families do not take turns, and the delay passes though an attempt has failed.
 *
 * 1. The IPv6 and the IPv4 addresses are asked for at once. IPv6 addresses are used as soon as there are any; IPv4
 *    ones wait for them a moment, the resolution delay.
 * 2. The first attempt goes to an IPv6 address if there is one; then the families take turns. Within a family the
 *    order is the resolver's. Addresses that become known later join in.
 * 3. The next attempt begins when the latest has had the attempt delay, or at once when that has failed.
 * 4. The first connection wins, and only for it a protocol is built. All else is given up.
 * 5. If none comes about, it is told what became of each address.
 */
import {
  checkBindAddress,
  checkHost,
  checkPort,
  HostnameAddress,
  ipAddress,
  IPv4Address,
  IPv6Address,
  isIPAddress,
} from './address.ts';
import {
  checkFactory,
  checkMethods,
  checkOptions,
  checkSeconds,
  checkString,
  checkTimeLimit,
  optional,
  wrongValue,
} from './arguments.ts';
import { Deferred } from './defer.ts';
import { TCP4ClientEndpoint } from './endpoints.ts';
import {
  ConnectError,
  ConnectingCancelledError,
  DNSLookupError,
  explain,
  TimeoutError,
} from './errors.ts';
import { Failure } from './failure.ts';
import { neededNow, watchHook } from './hooks.ts';
import type {
  HookOwner,
  IDelayedCall,
  IHostResolution,
  IProtocol,
  IProtocolFactory,
  IReactorPluggableNameResolver,
  IReactorTCP,
  IReactorTime,
  IStreamClientEndpoint,
  Seconds,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { logHookFailure } from './log-prefix.ts';
import { fail } from './maybe.ts';
import { buildFrom } from './protocol.ts';
import { cancelLookup, literalOf } from './resolver.ts';
import { INSPECT, inspected, type Inspecting } from './one-line.ts';
import { described } from './endpoint-description.ts';

const log = new Logger('plait.endpoints');

/** Logs what hooks of `factory` fail with. */
function ownerOf(factory: object, host: string, port: number): HookOwner {
  return {
    hookFailed(hook, failure) {
      const destination = new HostnameAddress(host, port);
      logHookFailure(log, hook, failure, { factory, destination });
    },
  };
}

/** What a {@link HostnameEndpoint} asks of its reactor. */
export type HostnameEndpointReactor = IReactorTime &
  IReactorTCP &
  Pick<IReactorPluggableNameResolver, 'nameResolver'>;

/** Options of {@link HostnameEndpoint}. */
export interface HostnameEndpointOptions {
  /** Seconds for all of it, from the first question about the name to the connection; null for no end. Default: 30. */
  readonly timeout?: Seconds | null;
  /**
   * The local address, and port if it matters, to connect from. Only addresses of its family are asked for and tried.
   */
  readonly bindAddress?: { readonly host: string; readonly port?: number };
  /** Seconds that an attempt has before the next begins beside it; at least 0.01. Default: 0.25. Twisted's: 0.3. */
  readonly attemptDelay?: Seconds;
  /** Seconds that IPv4 addresses wait for the answer about IPv6 ones. Default: 0.05. */
  readonly resolutionDelay?: Seconds;
}

const TIMEOUT: Seconds = 30;
/** Recommended by RFC 8305, section 8; so is the next, and the least is required there. */
const ATTEMPT_DELAY: Seconds = 0.25;
const RESOLUTION_DELAY: Seconds = 0.05;
const LEAST_ATTEMPT_DELAY: Seconds = 0.01;

/** How many addresses an error's message names; its `errors` has all. */
const MOST_NAMED = 10;

/**
 * Connects over TCP to whichever address of a host answers first.
 *
 * `connect` fails with DNSLookupError if the name has no address, with TimeoutError, with ConnectingCancelledError, or
 * with what the attempts failed with: an error of the class that they share, or else a ConnectError, whose `errors`
 * are those of the attempts. RangeError for a host, a port or a time that cannot be.
 *
 * @example
 * new HostnameEndpoint(new Reactor(), 'localhost', 7).connect(Factory.forProtocol(Protocol)).addCallbacks(
 *   (protocol) => protocol.transport.loseConnection(),
 *   (failure) => failure.trap(ConnectError).errors.length,
 * );
 */
export class HostnameEndpoint implements IStreamClientEndpoint {
  readonly #reactor: HostnameEndpointReactor;
  readonly #host: string;
  readonly #port: number;
  readonly #options: HostnameEndpointOptions;

  constructor(
    reactor: HostnameEndpointReactor,
    host: string,
    port: number,
    options: HostnameEndpointOptions = {},
  ) {
    this.#reactor = checkMethods(reactor, 'HostnameEndpoint: reactor', 'a reactor', [
      'connectTCP',
      'callLater',
    ]);
    this.#host = checkString(host, 'HostnameEndpoint: host');
    this.#port = checkPort(port, 1, 'HostnameEndpoint: port');
    this.#options = checkOptions(options, 'HostnameEndpoint: options');
    checkTimes(options);
  }

  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> {
    try {
      const course = checkedCourse(this.#host, this.#port, this.#options);
      checkFactory(factory, 'HostnameEndpoint.connect: factory');
      watchHook(factory.doStart(), 'startFactory', ownerOf(factory, this.#host, this.#port));
      return new Race(this.#reactor, course, factory).start();
    } catch (error) {
      return fail(new Failure(error));
    }
  }

  /** As a description for `clientFromString`, as far as one says it all. */
  toString(): string {
    return described('host', this.#host, this.#port);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Where to, and how. */
interface Course {
  readonly host: string;
  readonly port: number;
  readonly timeout: Seconds | null;
  readonly bindAddress: { readonly host: string; readonly port?: number } | undefined;
  readonly attemptDelay: Seconds;
  readonly resolutionDelay: Seconds;
}

/** Looks at the times; TypeError or RangeError for what cannot be. */
function checkTimes({
  timeout,
  bindAddress,
  attemptDelay = ATTEMPT_DELAY,
  resolutionDelay,
}: HostnameEndpointOptions): void {
  const name = 'HostnameEndpoint: attemptDelay';
  if (checkSeconds(attemptDelay, name) < LEAST_ATTEMPT_DELAY)
    throw wrongValue(name, `${LEAST_ATTEMPT_DELAY} seconds or more`, attemptDelay);
  checkTimeLimit(timeout, 'HostnameEndpoint: timeout');
  optional(resolutionDelay, checkSeconds, 'HostnameEndpoint: resolutionDelay');
  if (bindAddress !== undefined) checkBindAddress(bindAddress, 'HostnameEndpoint: bindAddress');
}

function checkedCourse(host: string, port: number, options: HostnameEndpointOptions): Course {
  const {
    timeout = TIMEOUT,
    bindAddress,
    attemptDelay = ATTEMPT_DELAY,
    resolutionDelay = RESOLUTION_DELAY,
  } = options;
  return {
    host: checkHost(host, 'HostnameEndpoint: host'),
    port,
    timeout,
    bindAddress,
    attemptDelay,
    resolutionDelay,
  };
}

type Family = 4 | 6;

/** The addresses of one family that have not been tried, in order, and whether there may come more. */
interface Candidates {
  readonly literals: string[];
  /** How many of them have been taken. */
  taken: number;
  /** The lookup; null before it has begun, undefined when it is over. */
  lookup: IHostResolution | null | undefined;
  /** Why the lookup gave nothing. */
  error: Error | undefined;
  /** False if the local address is not of this family. */
  readonly usable: boolean;
}

/** One attempt. */
interface Attempt<P extends IProtocol> {
  readonly literal: string;
  /** Undefined until the reactor has returned from being asked. */
  protocol: Deferred<P> | undefined;
}

/** An attempt that has failed. */
interface Failed {
  readonly literal: string;
  readonly error: ConnectError;
}

/** The attempts of one `connect`. */
class Race<P extends IProtocol> {
  readonly #reactor: HostnameEndpointReactor;
  readonly #course: Course;
  readonly #factory: IProtocolFactory<P>;
  /** Hears what hooks of the factory fail with. */
  readonly #whose: HookOwner;
  readonly #result: Deferred<P>;
  readonly #candidates: Readonly<Record<Family, Candidates>>;
  readonly #known = new Set<string>();
  /** The family whose turn it is. */
  #turn: Family = 6;
  readonly #attempts = new Set<Attempt<P>>();
  readonly #failed: Failed[] = [];
  /** The one that began last. */
  #latest: Attempt<P> | undefined;
  #winner: Attempt<P> | undefined;
  /** Nothing begins any more: there is a winner, or a failure. */
  #over = false;
  /** While it waits, no attempt begins: the latest has its time to itself. */
  #pace: IDelayedCall | undefined;
  /** Set when IPv4 addresses begin to wait for IPv6 ones. */
  #hold: IDelayedCall | undefined;
  #timer: IDelayedCall | undefined;
  /** Attempts are being begun, further up in the stack. */
  #beginning = false;

  /** @param factory has been started */
  constructor(reactor: HostnameEndpointReactor, course: Course, factory: IProtocolFactory<P>) {
    this.#reactor = reactor;
    this.#course = course;
    this.#factory = factory;
    this.#whose = ownerOf(factory, course.host, course.port);
    const local = course.bindAddress?.host ?? '';
    const without = local === '' || !isIPAddress(local) ? undefined : local.includes(':') ? 4 : 6;
    const known = isIPAddress(course.host);
    const of = (family: Family): Candidates => ({
      literals: [],
      taken: 0,
      lookup: known || family === without ? undefined : null,
      error: undefined,
      usable: known || family !== without,
    });
    this.#candidates = { 6: of(6), 4: of(4) };
    this.#result = new Deferred<P>(() => {
      this.#finish(new ConnectingCancelledError(this.#destination()));
    });
  }

  /** Begins; fires as `connect` does. */
  start(): Deferred<P> {
    const { host, port, timeout } = this.#course;
    if (timeout !== null) this.#timer = this.#reactor.callLater(timeout, () => this.#timedOut());
    if (isIPAddress(host)) this.#resolved(ipAddress('TCP', host, port));
    for (const family of [6, 4] as const) this.#lookUp(family);
    this.#go();
    return this.#result;
  }

  #destination(): HostnameAddress | IPv4Address | IPv6Address {
    const { host, port } = this.#course;
    return isIPAddress(host) ? ipAddress('TCP', host, port) : new HostnameAddress(host, port);
  }

  // ── Addresses ────────────────────────────────────────────────────────────────────────────────────────────────────

  #lookUp(family: Family): void {
    const candidates = this.#candidates[family];
    if (candidates.lookup !== null || this.#over) return;
    const { host, port } = this.#course;
    const complete = (error?: Error): void => {
      if (candidates.lookup === undefined) return;
      candidates.lookup = undefined;
      candidates.error = error;
      this.#go();
    };
    try {
      const began = this.#reactor.nameResolver.resolveHostName(
        {
          resolutionBegan() {},
          addressResolved: (address) => {
            if (candidates.lookup === undefined) return;
            this.#resolved(address);
            this.#go();
          },
          resolutionComplete: complete,
        },
        host,
        port,
        [family === 6 ? IPv6Address : IPv4Address],
      );
      this.#lookupBegan(candidates, neededNow(began, 'resolveHostName'));
    } catch (error) {
      complete(new Failure(error).value);
    }
  }

  /** The resolver has returned; it may have told all by now, and all may be over. */
  #lookupBegan(candidates: Candidates, lookup: IHostResolution): void {
    if (this.#over) cancelLookup(lookup);
    else if (candidates.lookup === null) candidates.lookup = lookup;
  }

  #resolved(address: IPv4Address | IPv6Address): void {
    const literal = literalOf(address);
    if (this.#known.has(literal)) return;
    this.#known.add(literal);
    const { usable, literals } = this.#candidates[address instanceof IPv6Address ? 6 : 4];
    // A resolver may give more than it was asked for.
    if (usable) literals.push(literal);
  }

  /** The family of the next attempt: the one whose turn it is if it can, else the other; undefined if none can. */
  #nextFamily(): Family | undefined {
    const other = this.#turn === 6 ? 4 : 6;
    const family = [this.#turn, other].find((each) => hasMore(this.#candidates[each as Family]));
    return family === 4 && this.#held() ? undefined : (family as Family | undefined);
  }

  /** True while IPv4 addresses wait to see if there are IPv6 ones. */
  #held(): boolean {
    const { lookup, literals } = this.#candidates[6];
    if (lookup === undefined || literals.length > 0) return false;
    this.#hold ??= this.#reactor.callLater(this.#course.resolutionDelay, () => this.#go());
    return this.#hold.active();
  }

  // ── Attempts ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begins the attempts that may begin now; if there is nothing left to wait for, that is the end. */
  #go(): void {
    if (this.#beginning) return;
    this.#beginning = true;
    while (!this.#over && this.#pace?.active() !== true) {
      const family = this.#nextFamily();
      if (family === undefined) break;
      this.#begin(family);
    }
    this.#beginning = false;
    if (!this.#over && this.#attempts.size === 0 && !this.#mayHaveMore()) this.#allFailed();
  }

  #mayHaveMore(): boolean {
    return ([6, 4] as const).some((family) => {
      const candidates = this.#candidates[family];
      return hasMore(candidates) || candidates.lookup !== undefined;
    });
  }

  #begin(family: Family): void {
    const candidates = this.#candidates[family];
    const literal = candidates.literals[candidates.taken++] as string;
    this.#turn = family === 6 ? 4 : 6;
    const attempt: Attempt<P> = { literal, protocol: undefined };
    this.#attempts.add(attempt);
    this.#latest = attempt;
    const { port, bindAddress, attemptDelay } = this.#course;
    if (this.#mayHaveMore()) {
      this.#pace = this.#reactor.callLater(attemptDelay, () => this.#go());
    }
    const endpoint = new TCP4ClientEndpoint(this.#reactor, literal, port, {
      timeout: null,
      ...(bindAddress && { bindAddress }),
    });
    const protocol = endpoint.connect(this.#gate(attempt));
    attempt.protocol = protocol;
    protocol.addCallbacks(
      (made) => {
        if (!this.#result.called) this.#result.callback(made);
      },
      (failure) => this.#attemptFailed(attempt, failure),
    );
    // All this may have happened before `connect` returned; if it has connected, this does nothing.
    if (this.#over && (this.#winner !== attempt || this.#result.called))
      Deferred.cancelGuarded(protocol);
  }

  /** The factory for one attempt: it lets the first to connect pass to the factory that was given. */
  #gate(attempt: Attempt<P>): IProtocolFactory<P> {
    return {
      buildProtocol: (address) => {
        if (this.#over) return null;
        this.#winner = attempt;
        this.#stop();
        const protocol = buildFrom(this.#factory, address);
        // Cancelled while the protocol was built: there is none.
        return this.#result.called ? null : protocol;
      },
      doStart() {},
      doStop: () => {
        if (this.#winner === attempt) watchHook(this.#factory.doStop(), 'stopFactory', this.#whose);
      },
    };
  }

  #attemptFailed(attempt: Attempt<P>, failure: Failure): void {
    this.#attempts.delete(attempt);
    if (attempt === this.#winner) {
      if (!this.#result.called) this.#result.errback(failure);
      return;
    }
    if (this.#over) return;
    if (!(failure.value instanceof ConnectError)) {
      // Not the address is to blame: the reactor stops, say. Another would not help.
      this.#finish(failure.value);
      return;
    }
    this.#failed.push({ literal: attempt.literal, error: failure.value });
    if (attempt === this.#latest && this.#pace?.active() === true) this.#pace.cancel();
    this.#go();
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #timedOut(): void {
    const pending = [...this.#attempts].map(({ literal }) => `${literal}: no answer`);
    const what = [...this.#failed.map(became), ...pending];
    const { timeout } = this.#course;
    this.#finish(
      new TimeoutError(
        what.length === 0
          ? `cannot connect to ${this.#destination()}: its name was not looked up in ${timeout} seconds`
          : `cannot connect to ${this.#destination()} in ${timeout} seconds: ${listed(what)}`,
        { errors: this.#failed.map(({ error }) => error) },
      ),
    );
  }

  #allFailed(): void {
    const errors = this.#failed.map(({ error }) => error);
    const [first] = errors;
    const { host } = this.#course;
    if (first === undefined) this.#finish(this.#lookupError());
    else if (isIPAddress(host)) this.#finish(first);
    else {
      const text = `cannot connect to ${this.#destination()}: ${listed(this.#failed.map(became))}`;
      this.#finish(sharedError(text, first, errors));
    }
  }

  #lookupError(): Error {
    const { 6: v6, 4: v4 } = this.#candidates;
    const cause = v4.error ?? v6.error;
    const { host } = this.#course;
    if (cause instanceof DNSLookupError) return cause;
    if (cause === undefined) return new DNSLookupError(`no address is known for ${host}`);
    return new DNSLookupError(`cannot look up ${host}: ${explain(cause)}`, { cause });
  }

  /** There will be no connection. */
  #finish(error: Error): void {
    const served = this.#winner !== undefined;
    const winner = this.#winner?.protocol;
    this.#stop();
    this.#result.errback(error);
    if (winner !== undefined) Deferred.cancelGuarded(winner);
    if (served) return;
    try {
      watchHook(this.#factory.doStop(), 'stopFactory', this.#whose);
    } catch (thrown) {
      this.#whose.hookFailed?.('stopFactory', new Failure(thrown));
    }
  }

  /** Gives up all but the winner, if there is one. */
  #stop(): void {
    this.#over = true;
    for (const call of [this.#timer, this.#pace, this.#hold]) if (call?.active()) call.cancel();
    for (const family of [6, 4] as const) {
      const candidates = this.#candidates[family];
      const { lookup } = candidates;
      candidates.lookup = undefined;
      cancelLookup(lookup ?? undefined);
    }
    for (const attempt of this.#attempts) {
      if (attempt !== this.#winner && attempt.protocol !== undefined)
        Deferred.cancelGuarded(attempt.protocol);
    }
  }
}

function hasMore({ literals, taken }: Candidates): boolean {
  return taken < literals.length;
}

/** What became of an attempt, in words. */
function became({ literal, error }: Failed): string {
  return `${literal}: ${error.cause instanceof Error ? explain(error.cause) : error.message}`;
}

function listed(what: readonly string[]): string {
  const more = what.length - MOST_NAMED;
  return what.slice(0, MOST_NAMED).join('; ') + (more > 0 ? `; and ${more} more` : '');
}

/** One error for all: of their class if they share one, so that it can be told by that. */
function sharedError(message: string, first: ConnectError, errors: readonly ConnectError[]): Error {
  const { code } = first;
  const shared = errors.every((error) => error.constructor === first.constructor);
  const Class = shared ? (first.constructor as typeof ConnectError) : ConnectError;
  return new Class(message, {
    errors,
    ...(errors.length === 1 && { cause: first }),
    ...(code !== undefined && errors.every((error) => error.code === code) && { code }),
  });
}

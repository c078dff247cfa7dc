/**
 * A service that keeps a connection: it connects to an endpoint when it is started, and again whenever that fails or
 * the connection is lost, until it is stopped. Twisted: `ClientService` of `twisted.application.internet`.
 *
 * It is two things: an {@link Attempt}, which is one connection from dialing to its very end, and a table of states,
 * which says what follows. Rules for editors: the state is set before anything is done, since what is done may call
 * users, who may start and stop the service from there; and an attempt ends once, when nothing of it is left.
 */
import {
  checkClientEndpoint,
  checkClock,
  checkFactory,
  checkFunction,
  checkLimit,
  checkNumber,
  checkOptions,
  checkSeconds,
  checkTimeLimit,
  optional,
} from './arguments.ts';
import { Deferred } from './defer.ts';
import { CancelledError, ConnectionDone } from './errors.ts';
import { Failure } from './failure.ts';
import { noteFunction } from './frames.ts';
import { neededNow, ranAs } from './hooks.ts';
import type { Address } from './address.ts';
import type {
  IDelayedCall,
  IProtocol,
  IProtocolFactory,
  IReactorTime,
  IStreamClientEndpoint,
  ITransport,
  Seconds,
  HookResult,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { fail, maybeDeferred, succeed } from './maybe.ts';
import { buildFrom } from './protocol.ts';
import { reactor } from './reactor.ts';
import { GRACE, Service } from './service.ts';
import { fireEach } from './waiters.ts';
import { StandIn } from './wrapping.ts';
import { briefly, told } from './one-line.ts';

const log = new Logger('plait.client-service');

/** Says how many seconds to wait before the next attempt, after `attempts` that have failed in a row (1 or more). */
export type RetryPolicy = (attempts: number) => Seconds;

/** Options of {@link backoffPolicy}. */
export interface BackoffOptions {
  /** Seconds to begin with. Default: 1. */
  readonly initialDelay?: Seconds;
  /** The longest delay in seconds, without what chance adds. Default: 60. */
  readonly maxDelay?: Seconds;
  /** What the delay is multiplied by after each failure. Default: 1.5. */
  readonly factor?: number;
  /** What chance adds, in seconds. Default: anything from 0 to 1. */
  readonly jitter?: () => Seconds;
}

/**
 * A policy that waits longer after each failure: `initialDelay * factor ** attempts` seconds, at most `maxDelay`, and
 * a little more by chance, so that clients that were cut off together do not come back together. Twisted:
 * `backoffPolicy`.
 *
 * @throws RangeError for a delay that is negative or not finite, and for a factor below 0
 *
 * @example
 * const policy = backoffPolicy({ initialDelay: 1, factor: 2, maxDelay: 60, jitter: () => 0 });
 * policy(1);    // 2
 * policy(3);    // 8
 * policy(10);   // 60
 */
export function backoffPolicy(options: BackoffOptions = {}): RetryPolicy {
  const {
    initialDelay = 1,
    maxDelay = 60,
    factor = 1.5,
    jitter = Math.random,
  } = checkOptions(options, 'backoffPolicy: options');
  checkSeconds(initialDelay, 'backoffPolicy: initialDelay');
  checkSeconds(maxDelay, 'backoffPolicy: maxDelay');
  checkNumber(factor, 'backoffPolicy: factor');
  checkFunction(jitter, 'backoffPolicy: jitter');
  // More than a hundred multiplications change nothing, but could overflow.
  return (attempts) =>
    Math.min(initialDelay * factor ** Math.min(attempts, 100), maxDelay) +
    neededNow(jitter(), 'jitter');
}

// ── One connection ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Seconds until a connection that was aborted is taken for gone, whatever its transport says. */
const ABORTED: Seconds = 1;

/** Stands in for a protocol, and tells when its connection is made and when it is lost. */
class Watched extends StandIn {
  readonly #made: (transport: ITransport) => void;
  readonly #lost: (reason: Failure) => void;

  constructor(
    protocol: IProtocol,
    made: (transport: ITransport) => void,
    lost: (reason: Failure) => void,
  ) {
    super(protocol);
    this.#made = made;
    this.#lost = lost;
  }

  override makeConnection(transport: ITransport): HookResult {
    this.#made(transport);
    return super.makeConnection(transport);
  }

  override connectionLost(reason: Failure): HookResult {
    try {
      return super.connectionLost(reason);
    } finally {
      this.#lost(reason);
    }
  }
}

/** What an attempt is to make, and whom it tells. */
interface Plan<P extends IProtocol> {
  readonly endpoint: IStreamClientEndpoint;
  readonly factory: IProtocolFactory<P>;
  readonly prepareConnection: ((protocol: P) => unknown) | undefined;
  readonly clock: IReactorTime;
  /** Seconds that it has to end once it is given up; null for any number. */
  readonly grace: Seconds | null;
  /** The connection is there, and prepared. */
  readonly made: (protocol: P) => void;
  /** Nothing is left of it: it has failed, or the connection is lost. Called once, and last. */
  readonly ended: (reason: Failure) => void;
}

/** One connection: dialing, preparing, living, ending. */
class Attempt<P extends IProtocol> {
  readonly #plan: Plan<P>;
  #protocol: P | undefined;
  /** The connection, while there is one. */
  #transport: ITransport | undefined;
  /** Dialing and preparing, until that is over. */
  #work: Deferred<unknown> | undefined;
  /** Dialing and preparing are over. */
  #done = false;
  #givenUp = false;
  #ended = false;
  /** Ends it once it is given up, and does not end by itself. */
  #deadline: IDelayedCall | undefined;
  /** Why it ends; the first reason counts. */
  #reason: Failure | undefined;

  constructor(plan: Plan<P>) {
    this.#plan = plan;
  }

  begin(): void {
    const { endpoint, factory, prepareConnection, made } = this.#plan;
    const watching: IProtocolFactory = {
      buildProtocol: (address: Address) => this.#build(buildFrom(factory, address)),
      doStart: () => factory.doStart(),
      doStop: () => factory.doStop(),
    };
    const work = maybeDeferred(() => endpoint.connect(watching))
      .addCallback(() => {
        const protocol = this.#protocol;
        if (protocol !== undefined && this.#transport !== undefined)
          return prepareConnection?.(protocol);
        return undefined;
      })
      .addCallback(ranAs('prepareConnection'))
      .addErrback((failure) => {
        this.#reason ??= failure;
        if (!this.#givenUp) this.#transport?.abortConnection();
      })
      .addCallback(() => {
        this.#done = true;
        this.#work = undefined;
        const protocol = this.#protocol;
        if (this.#transport === undefined || protocol === undefined) this.#end();
        else if (this.#givenUp) this.#transport.loseConnection();
        else if (this.#reason === undefined) made(protocol);
      });
    if (this.#done) return;
    this.#work = work;
    // Given up, or the connection lost, already: by what the factory, the endpoint or `prepareConnection` has called.
    if (this.#givenUp || this.#reason !== undefined) Deferred.cancelGuarded(work);
  }

  #build(protocol: P | null): IProtocol | null {
    if (protocol === null || this.#ended) return null;
    this.#protocol = protocol;
    return new Watched(
      protocol,
      (transport) => {
        this.#transport = transport;
      },
      (reason) => {
        this.#transport = undefined;
        this.#reason ??= reason;
        // What prepares a connection that is lost is called off, and then it ends.
        if (this.#done) this.#end();
        else if (this.#work !== undefined) Deferred.cancelGuarded(this.#work);
      },
    );
  }

  /** It is not wanted any more: closes what there is. */
  giveUp(): void {
    const { grace } = this.#plan;
    this.#givenUp = true;
    this.#transport?.loseConnection();
    if (this.#work !== undefined) Deferred.cancelGuarded(this.#work);
    if (this.#ended || grace === null) return;
    this.#within(grace, () => {
      log.warn('a connection was not closed in {grace} seconds: aborting that with {peer}', {
        grace,
        peer: this.#transport?.getPeer(),
      });
      this.#transport?.abortConnection();
      this.#within(ABORTED, () => this.#end());
    });
  }

  #within(seconds: Seconds, fn: () => void): void {
    if (!this.#ended) this.#deadline = this.#plan.clock.callLater(seconds, fn);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#deadline?.active() === true) this.#deadline.cancel();
    this.#plan.ended(this.#reason ?? new Failure(new ConnectionDone()));
  }
}

// ── The states ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the service is doing. */
type State =
  'init' | 'connecting' | 'waiting' | 'connected' | 'disconnecting' | 'restarting' | 'stopped';

/** What can happen to it: it is started or stopped; an attempt is a success or over; it is time to try again. */
type Input = 'start' | 'stop' | 'made' | 'ended' | 'retry';

/** What it does then; the methods of that name say more. */
type Output = 'connect' | 'tellMade' | 'tellFailed' | 'wait' | 'stopWaiting' | 'giveUp' | 'finish';

/** In each state, for what happens: the next state, and what is done. What is not listed changes nothing. */
const STATES: Readonly<
  Record<State, Readonly<Partial<Record<Input, readonly [State, ...Output[]]>>>>
> = {
  init: {
    start: ['connecting', 'connect'],
    stop: ['stopped', 'finish'],
  },
  connecting: {
    stop: ['disconnecting', 'giveUp'],
    made: ['connected', 'tellMade'],
    ended: ['waiting', 'wait', 'tellFailed'],
  },
  waiting: {
    stop: ['stopped', 'stopWaiting', 'finish'],
    retry: ['connecting', 'connect'],
  },
  connected: {
    stop: ['disconnecting', 'giveUp'],
    ended: ['waiting', 'wait'],
  },
  disconnecting: {
    start: ['restarting'],
    ended: ['stopped', 'finish'],
  },
  restarting: {
    stop: ['disconnecting'],
    ended: ['connecting', 'connect'],
  },
  stopped: {
    start: ['connecting', 'connect'],
    stop: ['stopped', 'finish'],
  },
};

/** A `whenConnected` that waits. */
interface Waiter<P> {
  readonly deferred: Deferred<P>;
  /** How many more attempts may fail before it is told. */
  failures: number;
}

/** Options of {@link ClientService}. */
export interface ClientServiceOptions<P extends IProtocol = IProtocol> {
  /** Default: `backoffPolicy()`. */
  readonly retryPolicy?: RetryPolicy;
  /** Default: the process's reactor. */
  readonly clock?: IReactorTime;
  /**
   * Makes a new connection fit for use: logs in, say. What it returns is waited for before `whenConnected`
   * fires; if it fails, the connection is aborted and the attempt has failed.
   */
  readonly prepareConnection?: (protocol: P) => unknown;
  /**
   * Seconds that stopping waits for the connection to close, or for what prepares it to end; then the connection is
   * aborted, and it has stopped. Null for any number. Default: 30.
   */
  readonly grace?: Seconds | null;
}

/** Options of `whenConnected`. */
export interface WhenConnectedOptions {
  /** To fail after so many attempts that fail from now on. Default: to wait for as long as it takes. */
  readonly failAfterFailures?: number;
}

/**
 * Keeps a connection to `endpoint`, by a protocol that `factory` builds, for as long as it runs.
 *
 * @example
 * const clock = new Clock();
 * const endpoint: IStreamClientEndpoint = { connect: () => fail(new ConnectionRefusedError('nobody there')) };
 * const service = new ClientService(endpoint, Factory.forProtocol(Protocol), { clock });
 * service.startService();
 * clock.advance(10);
 * service.stopService().addCallback(() => console.log('stopped'));   // prints stopped
 */
export class ClientService<P extends IProtocol = IProtocol> extends Service {
  readonly #plan: Plan<P>;
  readonly #retryPolicy: RetryPolicy;
  readonly #clock: IReactorTime;
  #state: State = 'init';
  #attempt: Attempt<P> | undefined;
  /** The protocol of the connection that is there and prepared. */
  #connected: P | undefined;
  /** Why the latest attempt has failed. */
  #reason: Failure | undefined;
  /** How many attempts have failed since the last success. */
  #failures = 0;
  #call: IDelayedCall | undefined;
  readonly #waiters = new Set<Waiter<P>>();
  #stops: Deferred<void>[] = [];

  /** @throws RangeError for a grace that is negative or not finite */
  constructor(
    endpoint: IStreamClientEndpoint,
    factory: IProtocolFactory<P>,
    options: ClientServiceOptions<P> = {},
  ) {
    super();
    const {
      retryPolicy = backoffPolicy(),
      clock = reactor,
      prepareConnection,
      grace = GRACE,
    } = checkOptions(options, 'ClientService: options');
    checkClientEndpoint(endpoint, 'ClientService: endpoint');
    checkFactory(factory, 'ClientService: factory');
    checkFunction(retryPolicy, 'ClientService: retryPolicy');
    checkClock(clock, 'ClientService: clock');
    optional(prepareConnection, checkFunction, 'ClientService: prepareConnection');
    checkTimeLimit(grace, 'ClientService: grace');
    noteFunction(prepareConnection);
    this.#retryPolicy = retryPolicy;
    this.#clock = clock;
    this.#plan = {
      endpoint,
      factory,
      prepareConnection,
      clock,
      grace,
      made: (protocol) => {
        this.#connected = protocol;
        this.#failures = 0;
        this.#happened('made');
      },
      ended: (reason) => {
        this.#attempt = this.#connected = undefined;
        this.#reason = reason;
        this.#happened('ended');
      },
    };
  }

  /** Whose time it goes by. */
  get clock(): IReactorTime {
    return this.#clock;
  }

  /**
   * Fires with the protocol as soon as there is a connection that is prepared. Fails with CancelledError when the
   * service is stopped or has been, and, if asked to, with the reason for which an attempt has failed. Before the
   * service is started it waits.
   *
   * @throws RangeError for a `failAfterFailures` that is no whole number from 1
   */
  whenConnected(options: WhenConnectedOptions = {}): Deferred<P> {
    const { failAfterFailures = Infinity } = checkOptions(options, 'whenConnected: options');
    checkLimit(failAfterFailures, 'whenConnected: failAfterFailures', 1);
    if (this.#state === 'connected' && this.#connected !== undefined)
      return succeed(this.#connected);
    if (this.#state === 'stopped')
      return fail(new CancelledError('there is no connection: the service was stopped'));
    const deferred = new Deferred<P>(() => this.#waiters.delete(waiter));
    const waiter: Waiter<P> = { deferred, failures: failAfterFailures };
    this.#waiters.add(waiter);
    return deferred;
  }

  /** Connects. Does nothing if it runs; if it is being stopped, it connects when that is over. */
  override startService(): void {
    super.startService();
    this.#happened('start');
  }

  /** Closes the connection, or gives up the attempt. Fires when nothing is left of it, or its grace is over. */
  override stopService(): Deferred<void> {
    const stop = new Deferred<void>();
    this.#stops.push(stop);
    void super.stopService();
    this.#happened('stop');
    return stop;
  }

  #happened(input: Input): void {
    const next = STATES[this.#state][input];
    if (next === undefined) return;
    const [state, ...outputs] = next;
    // Started again while it was being stopped: those who wait for the stop are to hear of it all the same.
    const stops = this.#state === 'restarting' && input === 'ended' ? this.#stops.splice(0) : [];
    this.#state = state;
    for (const output of outputs) this.#outputs[output]();
    fireEach(stops, undefined);
  }

  readonly #outputs: Readonly<Record<Output, () => void>> = {
    connect: () => {
      this.#attempt = new Attempt(this.#plan);
      this.#attempt.begin();
    },
    tellMade: () => {
      const protocol = this.#connected as P;
      fireEach(this.#takeWaiters(), protocol);
    },
    /** Those who wait for a connection, but not through any number of failures. */
    tellFailed: () => {
      const reason = this.#reason as Failure;
      const told: Deferred<P>[] = [];
      for (const waiter of this.#waiters) {
        if (--waiter.failures > 0) continue;
        this.#waiters.delete(waiter);
        told.push(waiter.deferred);
      }
      fireEach(told, reason);
    },
    wait: () => {
      const delay = this.#delay(++this.#failures);
      log.info('connecting again in {delay} seconds: {reason}', {
        delay,
        reason: this.#reason?.getBriefTraceback(),
      });
      this.#call = this.#clock.callLater(delay, () => {
        this.#call = undefined;
        this.#happened('retry');
      });
    },
    stopWaiting: () => {
      if (this.#call?.active() === true) this.#call.cancel();
      this.#call = undefined;
    },
    giveUp: () => this.#attempt?.giveUp(),
    /** It has stopped. Who is told may start it again, and what is asked for after that is another matter. */
    finish: () => {
      const stops = this.#stops.splice(0);
      const waiters = this.#takeWaiters();
      this.#failures = 0;
      const why = new CancelledError('there is no connection: the service was stopped');
      fireEach(waiters, new Failure(why));
      fireEach(stops, undefined);
    },
  };

  #takeWaiters(): Deferred<P>[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters.map(({ deferred }) => deferred);
  }

  /** A policy that fails must not be the end of the service. */
  #delay(attempts: number): Seconds {
    try {
      return checkSeconds(
        neededNow(this.#retryPolicy(attempts), 'the retry policy'),
        'what the retry policy returned',
      );
    } catch (error) {
      log.failure('the retry policy failed; trying again in a minute', new Failure(error));
      return 60;
    }
  }

  override toString(): string {
    return told(this, `${this.describe()}, ${this.#state}, to ${briefly(this.#plan.endpoint)}`);
  }
}

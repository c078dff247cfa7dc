/**
 * Services that listen while they run. Twisted: `StreamServerEndpointService` of `twisted.application.internet`, and
 * `twisted.application.strports`.
 */
import { checkFactory, checkOptions, checkServerEndpoint } from './arguments.ts';
import { isThenable } from './chain.ts';
import { Deferred } from './defer.ts';
import { serverFromString } from './endpoint-strings.ts';
import { CancelledError } from './errors.ts';
import { Failure } from './failure.ts';
import { cancellationsOf } from './give-up.ts';
import type {
  IListeningPort,
  IProtocolFactory,
  IStreamServerEndpoint,
  StopListeningOptions,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { fail, maybeDeferred, succeed } from './maybe.ts';
import { reactor as theReactor } from './reactor.ts';
import { Service } from './service.ts';
import { isBindFailure } from './transport/bind-failure.ts';
import { Waiters } from './waiters.ts';
import { briefly, told } from './one-line.ts';

const log = new Logger('plait.service');

function logged(failure: Failure): void {
  log.failure('a service could not be stopped', failure);
}

/** Whoever has asked the service knows of the port, and is to deal with what `startFactory` fails with later. */
function lookAt(port: Partial<IListeningPort>): void {
  port.ready?.addErrback(() => {});
}

/**
 * Listens at an endpoint while it runs. Connections that were made live on when it is stopped, unless it is told to
 * drain or to abort them. Twisted: `StreamServerEndpointService`.
 */
export class StreamServerEndpointService extends Service {
  readonly #endpoint: IStreamServerEndpoint;
  readonly #factory: IProtocolFactory;
  readonly #stop: StopListeningOptions;
  /** It has tried to listen since it was stopped. */
  #tried = false;
  #attempt: Deferred<void> | undefined;
  /** Counts the attempts: what becomes of one that was given up may still be told. */
  #attempts = 0;
  #port: IListeningPort | undefined;
  /** The port that was stopped last, which may still be closing. */
  #closing: IListeningPort | undefined;
  readonly #waiters = new Waiters<IListeningPort>();
  /** How the latest attempt has failed. */
  #failure: Failure | undefined;
  /** `whenListening` was called since it began to listen. */
  #looked = false;
  /** Whatever the endpoint fails with ends the program. */
  #endsProgram = false;

  /** @param stop what becomes of the connections when the service stops, as for `stopListening` */
  constructor(
    endpoint: IStreamServerEndpoint,
    factory: IProtocolFactory,
    stop: StopListeningOptions = {},
  ) {
    super();
    this.#endpoint = checkServerEndpoint(endpoint, 'StreamServerEndpointService: endpoint');
    this.#factory = checkFactory(factory, 'StreamServerEndpointService: factory');
    this.#stop = checkOptions(stop, 'StreamServerEndpointService: stop');
  }

  /** @internal one that ends the program whatever it is that keeps it from listening */
  static ending(
    endpoint: IStreamServerEndpoint,
    factory: IProtocolFactory,
  ): StreamServerEndpointService {
    const service = new StreamServerEndpointService(endpoint, factory);
    service.#endsProgram = true;
    return service;
  }

  /**
   * Fires with the port once it listens. Fails with what the endpoint fails with, as CannotListenError, or with
   * CancelledError if it is stopped before. A service that is not started waits for that, whether or not it was stopped.
   */
  whenListening(): Deferred<IListeningPort> {
    this.#looked = true;
    if (this.#port !== undefined) {
      lookAt(this.#port);
      return succeed(this.#port);
    }
    if (this.#failure !== undefined) return fail(this.#failure);
    return this.#waiters.wait(undefined);
  }

  /** Begins to listen: a port may need privileges. */
  override privilegedStartService(): void {
    super.privilegedStartService();
    this.#listen();
  }

  /**
   * Begins to listen unless that was done. If that fails and nothing has called `whenListening`, a CannotListenError
   * ends the program, as that of a port, and so does what `startFactory` fails with; what else an endpoint may fail with
   * is logged.
   */
  override startService(): void {
    super.startService();
    this.#listen();
  }

  #listen(): void {
    if (this.#tried) return;
    this.#tried = true;
    this.#looked = this.#waiters.size > 0;
    const attempt = ++this.#attempts;
    const isCurrent = (): boolean => this.#tried && attempt === this.#attempts;
    let isClosed = false;
    const closeLate = (port: IListeningPort): void => {
      if (isClosed) return;
      isClosed = true;
      this.#close(port).addErrback(logged);
    };
    const listen = (): unknown => {
      const outcome: unknown = this.#endpoint.listen(this.#factory);
      // Cancelling does not stop a promise: the port that it makes all the same is to be closed.
      if (outcome instanceof Object && isThenable(outcome) && !(outcome instanceof Deferred)) {
        const late = (port: IListeningPort): void => {
          if (!isCurrent()) closeLate(port);
        };
        Promise.resolve(outcome as PromiseLike<IListeningPort>).then(late, () => {});
      }
      return outcome;
    };
    this.#attempt = (maybeDeferred(listen) as Deferred<IListeningPort>).addCallbacks(
      (port) => {
        if (!isCurrent()) {
          closeLate(port);
          return;
        }
        this.#port = port;
        if (this.#looked) lookAt(port);
        this.#waiters.fireAll(port);
      },
      (failure) => {
        if (isCurrent()) this.#failed(failure);
      },
    );
  }

  /** It may be closing already: each who asks is told when it is closed. */
  #close(port: IListeningPort): Deferred<void> {
    return maybeDeferred(() => port.stopListening(this.#stop)).addCallback(() => {});
  }

  #failed(failure: Failure): void {
    this.#failure = failure;
    const isAwaited = this.#waiters.size > 0;
    this.#waiters.fireAll(failure);
    if (isAwaited || cancellationsOf(failure) !== undefined) return;
    const { value } = failure;
    if (!this.#endsProgram) {
      log.failure('a service could not listen', failure, 'error');
      if (!isBindFailure(value)) return;
    }
    // Not at once, so that the caller may still ask for it in this turn.
    queueMicrotask(() => {
      if (this.#failure === failure && !this.#looked) throw value;
    });
  }

  /**
   * Fires when the port is closed, and its connections too if they are drained or aborted. Fails with what `stopFactory`
   * fails with.
   */
  override stopService(): Deferred<void> {
    const stop = super.stopService();
    const attempt = this.#attempt;
    const port = this.#port;
    this.#tried = false;
    this.#attempt = this.#port = undefined;
    if (port !== undefined) this.#closing = port;
    if (attempt !== undefined) Deferred.cancelGuarded(attempt);
    this.#failure = undefined;
    this.#waiters.fireAll(new Failure(new CancelledError()));
    return this.#closing === undefined ? stop : this.#close(this.#closing);
  }

  override toString(): string {
    return told(
      this,
      `${this.describe()}, ${this.#port === undefined ? '' : 'listening '}at ${briefly(this.#endpoint)}`,
    );
  }
}

/**
 * Twisted's spelling of `serviceFromString(reactor, description, factory)`, and of listening at once. Twisted:
 * `twisted.application.strports`.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const web = strports.service('tcp:80', Factory.forProtocol(Protocol), reactor);
 * web.startService();
 * reactor.tcpServers.length;   // 1
 */
export const strports = {
  /** A service that listens where `description` says, as {@link serviceFromString} makes it. */
  service(
    description: string,
    factory: IProtocolFactory,
    reactor: Parameters<typeof serverFromString>[0] = theReactor,
  ): StreamServerEndpointService {
    return serviceFromString(reactor, description, factory);
  },
  /** Listens where `description` says, and fires with the port. Fails, and throws, as `serverFromString` does. */
  listen(
    description: string,
    factory: IProtocolFactory,
    reactor: Parameters<typeof serverFromString>[0] = theReactor,
  ): Deferred<IListeningPort> {
    return serverFromString(reactor, description).listen(factory);
  },
};

/**
 * Listens where `description` says, while it runs; see `serverFromString`. If it cannot, and nothing has called
 * `whenListening`, that ends the program. Twisted: `strports.service`, where starting it raises.
 *
 * @param reactor what the description's endpoint listens with
 * @throws what `serverFromString` throws for a description that cannot be understood
 */
export function serviceFromString(
  reactor: Parameters<typeof serverFromString>[0],
  description: string,
  factory: IProtocolFactory,
): StreamServerEndpointService {
  checkFactory(factory, 'serviceFromString: factory');
  return StreamServerEndpointService.ending(serverFromString(reactor, description), factory);
}

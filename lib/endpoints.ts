/**
 * Endpoints: places to listen at and to connect to, as objects that can be handed around, whatever the kind of
 * transport. Twisted: `twisted.internet.endpoints`.
 */
import { type Address, checkBindAddress, checkPortOrService } from './address.ts';
import {
  checkBoolean,
  checkClientEndpoint,
  checkFactory,
  checkMethods,
  checkOptions,
  checkProtocol,
  checkString,
  checkTimeLimit,
  checkWhole,
  optional,
} from './arguments.ts';
import { Deferred } from './defer.ts';
import { AlreadyListened, ConnectingCancelledError, NoProtocol } from './errors.ts';
import { Failure } from './failure.ts';
import type {
  AddressFamily,
  ConnectUNIXOptions,
  IClientFactory,
  IConnector,
  IListeningPort,
  IProtocol,
  IProtocolFactory,
  IReactorSocket,
  IReactorTCP,
  IReactorUNIX,
  IStreamClientEndpoint,
  IStreamServerEndpoint,
  ITransport,
  ListenUNIXOptions,
  Seconds,
  HookResult,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { logPrefixOf } from './log-prefix.ts';
import { buildFrom } from './protocol.ts';
import { unlook } from './transport/bind-failure.ts';
import { StandIn } from './wrapping.ts';
import { INSPECT, inspected, type Inspecting } from './one-line.ts';
import { described } from './endpoint-description.ts';

const log = new Logger('plait.endpoints');

/** Stands in for a protocol, and tells when that has been made a connection. */
class Announcer extends StandIn {
  readonly #made: (error?: Error) => void;
  /** What the protocol has thrown when it was made a connection. */
  #failure: Failure | undefined;

  constructor(protocol: IProtocol, made: (error?: Error) => void) {
    super(protocol);
    this.#made = made;
  }

  override makeConnection(transport: ITransport): HookResult {
    let outcome: HookResult;
    try {
      outcome = super.makeConnection(transport);
    } catch (error) {
      this.#failure = new Failure(error);
      transport.abortConnection();
      this.#made(this.#failure.value);
      return undefined;
    }
    this.#made();
    return outcome;
  }

  override connectionLost(reason: Failure): HookResult {
    return super.connectionLost(this.#failure ?? reason);
  }
}

/** Turns what a connector tells its factory into one Deferred. */
class ConnectOnce<P extends IProtocol> implements IClientFactory {
  readonly #factory: IProtocolFactory<P>;
  /** Set before a caller has `connected`. */
  #connector!: IConnector;
  readonly connected: Deferred<P>;

  constructor(factory: IProtocolFactory<P>) {
    this.#factory = factory;
    this.connected = new Deferred<P>((deferred) => {
      deferred.errback(new ConnectingCancelledError(this.#connector.getDestination()));
      this.#connector.disconnect();
    });
  }

  buildProtocol(address: Address): IProtocol | null {
    let protocol: P | null;
    try {
      protocol = buildFrom(this.#factory, address);
    } catch (error) {
      this.#fail(new Failure(error));
      return null;
    }
    if (protocol !== null) {
      const built = protocol;
      return new Announcer(built, (error) => {
        if (this.connected.called) return;
        if (error === undefined) this.connected.callback(built);
        else this.#fail(new Failure(error));
      });
    }
    this.#fail(
      new Failure(new NoProtocol(`connected to ${address}, but the factory built no protocol`)),
    );
    return null;
  }

  #fail(reason: Failure): void {
    if (!this.connected.called) this.connected.errback(reason);
  }

  logPrefix(): string {
    return logPrefixOf(this.#factory);
  }

  doStart(): HookResult {
    return this.#factory.doStart();
  }

  doStop(): HookResult {
    return this.#factory.doStop();
  }

  startedConnecting(connector: IConnector): void {
    this.#connector = connector;
  }

  clientConnectionFailed(_connector: IConnector, reason: Failure): void {
    this.#fail(reason);
  }

  clientConnectionLost(_connector: IConnector, reason: Failure): void {
    this.#fail(reason);
  }
}

/** Runs `start` with a factory that fires the Deferred; what `start` throws makes it fail. */
export function connectOnce<P extends IProtocol>(
  factory: IProtocolFactory<P>,
  start: (factory: IClientFactory) => IConnector,
): Deferred<P> {
  const once = new ConnectOnce(factory);
  try {
    checkFactory(factory, 'connect: factory');
    once.startedConnecting(start(once));
  } catch (error) {
    if (!once.connected.called) once.connected.errback(new Failure(error));
  }
  return once.connected;
}

/** Fires with the port that `start` made, once it listens; what `start` throws makes it fail. */
export function listening(start: () => IListeningPort): Deferred<IListeningPort> {
  try {
    const port = start();
    const ready = new Deferred<IListeningPort>(() => {
      port.stopListening().addErrback((failure) => {
        log.failure('{port} could not be stopped', failure, { port });
      });
    });
    port.ready.addCallbacks(
      () => {
        unlook(port);
        if (!ready.called) ready.callback(port);
      },
      (failure) => {
        if (!ready.called) ready.errback(failure);
      },
    );
    return ready;
  } catch (error) {
    const failed = new Deferred<IListeningPort>();
    failed.errback(new Failure(error));
    return failed;
  }
}

/** Options of TCP server endpoints. */
export interface TCPServerOptions {
  /** How many connections may wait to be accepted. Default: 511. */
  readonly backlog?: number;
  /** The address to listen on; default: any of the endpoint's family. */
  readonly interface?: string;
}

/**
 * Listens on a TCP port over IPv4.
 *
 * @example
 * const reactor = new Reactor();
 * new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' })
 *   .listen(Factory.forProtocol(Protocol))
 *   .addCallback((port) => port.stopListening());
 */
export class TCP4ServerEndpoint implements IStreamServerEndpoint {
  readonly #reactor: IReactorTCP;
  readonly #port: number | string;
  readonly #options: TCPServerOptions;

  constructor(reactor: IReactorTCP, port: number | string, options: TCPServerOptions = {}) {
    this.#reactor = checkMethods(reactor, 'TCP4ServerEndpoint: reactor', 'a reactor', [
      'listenTCP',
    ]);
    checkPortOrService(port, 0, 'TCP4ServerEndpoint: port');
    this.#port = port;
    this.#options = checkServerOptions(options, 'TCP4ServerEndpoint');
  }

  listen(factory: IProtocolFactory): Deferred<IListeningPort> {
    return listening(() => this.#reactor.listenTCP(this.#port, factory, this.#options));
  }

  /** As a description for `serverFromString`, as far as one says it all. */
  toString(): string {
    return described('tcp', this.#port, ['interface', this.#options.interface]);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Listens on a TCP port over IPv6, and for IPv4 clients too where the system allows it. */
export class TCP6ServerEndpoint extends TCP4ServerEndpoint {
  constructor(reactor: IReactorTCP, port: number | string, options: TCPServerOptions = {}) {
    const { interface: where = '::' } = checkOptions(options, 'TCP6ServerEndpoint: options');
    super(reactor, port, { ...options, interface: where });
  }

  override toString(): string {
    return super.toString().replace('tcp', 'tcp6');
  }
}

/** Options of UNIX server endpoints. */
export type UNIXServerOptions = ListenUNIXOptions;

/** Listens on a UNIX socket. */
export class UNIXServerEndpoint implements IStreamServerEndpoint {
  readonly #reactor: IReactorUNIX;
  readonly #path: string;
  readonly #options: UNIXServerOptions;

  constructor(reactor: IReactorUNIX, path: string, options: UNIXServerOptions = {}) {
    this.#reactor = checkMethods(reactor, 'UNIXServerEndpoint: reactor', 'a reactor', [
      'listenUNIX',
    ]);
    this.#path = checkString(path, 'UNIXServerEndpoint: path');
    this.#options = checkOptions(options, 'UNIXServerEndpoint: options');
    optional(options.backlog, fromOne, 'UNIXServerEndpoint: backlog');
    optional(options.mode, fromZero, 'UNIXServerEndpoint: mode');
    optional(options.wantPID, checkBoolean, 'UNIXServerEndpoint: wantPID');
  }

  listen(factory: IProtocolFactory): Deferred<IListeningPort> {
    return listening(() => this.#reactor.listenUNIX(this.#path, factory, this.#options));
  }

  /** As a description for `serverFromString`, as far as one says it all. */
  toString(): string {
    return described('unix', this.#path);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Listens on a bound socket that the process was given. Its descriptor is the endpoint's from then on: it can listen
 * once, and fails with AlreadyListened after that.
 */
export class AdoptedStreamServerEndpoint implements IStreamServerEndpoint {
  readonly #reactor: IReactorSocket;
  readonly #fd: number;
  readonly #family: AddressFamily;
  #listened = false;

  constructor(reactor: IReactorSocket, fd: number, family: AddressFamily) {
    this.#reactor = checkMethods(reactor, 'AdoptedStreamServerEndpoint: reactor', 'a reactor', [
      'adoptStreamPort',
    ]);
    this.#fd = checkWhole(fd, 'AdoptedStreamServerEndpoint: fd', 0);
    this.#family = checkString(family, 'AdoptedStreamServerEndpoint: family') as AddressFamily;
  }

  listen(factory: IProtocolFactory): Deferred<IListeningPort> {
    return listening(() => {
      if (this.#listened)
        throw new AlreadyListened(`cannot listen on descriptor ${this.#fd} again`);
      const port = this.#reactor.adoptStreamPort(this.#fd, this.#family, factory);
      this.#listened = true;
      return port;
    });
  }

  /** As a description for `serverFromString`, as far as one says it all. */
  toString(): string {
    return described('fd', this.#fd);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Options of TCP client endpoints. */
export interface TCPClientOptions {
  /** Seconds until an attempt fails with TimeoutError; null for never. Default: 30. */
  readonly timeout?: Seconds | null;
  /** The local address, and port if it matters, to connect from. */
  readonly bindAddress?: { readonly host: string; readonly port?: number };
}

/** Connects over TCP: to an IPv4 address of the host if it has one. */
export class TCP4ClientEndpoint implements IStreamClientEndpoint {
  readonly #reactor: IReactorTCP;
  readonly #host: string;
  readonly #port: number | string;
  readonly #options: TCPClientOptions;

  constructor(
    reactor: IReactorTCP,
    host: string,
    port: number | string,
    options: TCPClientOptions = {},
  ) {
    this.#reactor = checkMethods(reactor, 'TCP4ClientEndpoint: reactor', 'a reactor', [
      'connectTCP',
    ]);
    this.#host = checkString(host, 'TCP4ClientEndpoint: host');
    checkPortOrService(port, 1, 'TCP4ClientEndpoint: port');
    this.#port = port;
    this.#options = checkClientOptions(options, 'TCP4ClientEndpoint');
  }

  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> {
    return connectOnce(factory, (once) =>
      this.#reactor.connectTCP(this.#host, this.#port, once, this.#options),
    );
  }

  /** As a description for `clientFromString`, as far as one says it all. */
  toString(): string {
    return described('tcp', this.#host, this.#port);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Connects over TCP to an IPv6 literal. A host name goes the way of {@link TCP4ClientEndpoint}. */
export class TCP6ClientEndpoint extends TCP4ClientEndpoint {}

/** Connects to a UNIX socket. */
export class UNIXClientEndpoint implements IStreamClientEndpoint {
  readonly #reactor: IReactorUNIX;
  readonly #path: string;
  readonly #options: ConnectUNIXOptions;

  constructor(reactor: IReactorUNIX, path: string, options: ConnectUNIXOptions = {}) {
    this.#reactor = checkMethods(reactor, 'UNIXClientEndpoint: reactor', 'a reactor', [
      'connectUNIX',
    ]);
    this.#path = checkString(path, 'UNIXClientEndpoint: path');
    this.#options = checkOptions(options, 'UNIXClientEndpoint: options');
    checkTimeLimit(options.timeout, 'UNIXClientEndpoint: timeout');
    optional(options.checkPID, checkBoolean, 'UNIXClientEndpoint: checkPID');
  }

  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> {
    return connectOnce(factory, (once) =>
      this.#reactor.connectUNIX(this.#path, once, this.#options),
    );
  }

  /** As a description for `clientFromString`, as far as one says it all. */
  toString(): string {
    return described('unix', this.#path);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Connects, and makes `protocol` the connection's. Fires with it after its `connectionMade`; fails as the endpoint's
 * `connect` does.
 */
export function connectProtocol<P extends IProtocol>(
  endpoint: IStreamClientEndpoint,
  protocol: P,
): Deferred<P> {
  checkClientEndpoint(endpoint, 'connectProtocol: endpoint');
  checkProtocol(protocol, 'connectProtocol: protocol');
  return endpoint.connect({ buildProtocol: () => protocol, doStart() {}, doStop() {} });
}

// ── What endpoints are given ─────────────────────────────────────────────────────────────────────────────────────────

const fromZero = (value: number, name: string): number => checkWhole(value, name, 0);
const fromOne = (value: number, name: string): number => checkWhole(value, name, 1);

/** Looks at the options of an endpoint that listens; TypeError or RangeError for what cannot be. */
export function checkServerOptions<O extends TCPServerOptions>(options: O, name: string): O {
  const { backlog, interface: where } = checkOptions(options, `${name}: options`);
  optional(backlog, fromOne, `${name}: backlog`);
  optional(where, checkString, `${name}: interface`);
  return options;
}

/** Looks at the options of an endpoint that connects; TypeError or RangeError for what cannot be. */
export function checkClientOptions<O extends TCPClientOptions>(options: O, name: string): O {
  const { timeout, bindAddress } = checkOptions(options, `${name}: options`);
  checkTimeLimit(timeout, `${name}: timeout`);
  if (bindAddress !== undefined) checkBindAddress(bindAddress, `${name}: bindAddress`);
  return options;
}

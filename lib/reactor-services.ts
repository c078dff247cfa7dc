/**
 * Services around one call of a reactor each: they listen, or connect, while they run. Twisted: `TCPServer`, `TCPClient`
 * and the like of `twisted.application.internet`. What listens at an endpoint is in `endpoint-service.ts`, and what keeps
 * a connection, whatever happens to it, in `client-service.ts`.
 */
import type { Deferred } from './defer.ts';
import type {
  ConnectSSLOptions,
  ConnectTCPOptions,
  ConnectUNIXOptions,
  IClientFactory,
  IConnector,
  IDatagramProtocol,
  IListeningPort,
  IMulticastTransport,
  IProtocolFactory,
  IReactorMulticast,
  IReactorSSL,
  IReactorTCP,
  IReactorUDP,
  IReactorUNIX,
  IUDPTransport,
  ListenMulticastOptions,
  ListenSSLOptions,
  ListenTCPOptions,
  ListenUDPOptions,
  ListenUNIXOptions,
} from './interfaces.ts';
import { maybeDeferred } from './maybe.ts';
import { reactor as theReactor } from './reactor.ts';
import { Service } from './service.ts';
import type { ITLSContextFactory } from './tls-settings.ts';

/** Options of a service, besides those of the reactor's method. */
export interface ReactorServiceOptions<R> {
  /** What it listens or connects with. Default: the process's reactor. */
  readonly reactor?: R;
}

/** Has a port while it runs. */
abstract class PortService<P extends IListeningPort> extends Service {
  readonly #listen: () => P;
  #port: P | undefined;

  constructor(listen: () => P) {
    super();
    this.#listen = listen;
  }

  /** The port, from when it is started until it is stopped; its `ready` tells whether it could be bound. */
  get port(): P | undefined {
    return this.#port;
  }

  /** Listens, which may need privileges. */
  override privilegedStartService(): void {
    super.privilegedStartService();
    this.#port ??= this.#listen();
  }

  /** Listens, unless that was done. What the reactor's method throws is thrown on. */
  override startService(): void {
    super.startService();
    this.#port ??= this.#listen();
  }

  /** Fires when the port is closed. The connections that it has taken live on. */
  override stopService(): Deferred<void> {
    const stopped = super.stopService();
    const port = this.#port;
    this.#port = undefined;
    return port === undefined ? stopped : maybeDeferred(() => port.stopListening());
  }
}

/** Has a connector while it runs. */
abstract class ConnectorService extends Service {
  readonly #connect: () => IConnector;
  #connector: IConnector | undefined;

  constructor(connect: () => IConnector) {
    super();
    this.#connect = connect;
  }

  /** The connector, from when it is started until it is stopped. */
  get connector(): IConnector | undefined {
    return this.#connector;
  }

  /** Connects. What the reactor's method throws is thrown on. */
  override startService(): void {
    super.startService();
    this.#connector ??= this.#connect();
  }

  /**
   * Gives up the attempt, or closes the connection; whether that has ended, the factory hears. Fires at once, as in
   * Twisted: a `ClientService` is one that waits.
   */
  override stopService(): Deferred<void> {
    const stopped = super.stopService();
    const connector = this.#connector;
    this.#connector = undefined;
    connector?.disconnect();
    return stopped;
  }
}

/**
 * Calls `listenTCP` when it is started, and stops listening when it is stopped.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const web = new TCPServer(80, Factory.forProtocol(Protocol), { reactor, interface: '127.0.0.1' });
 * web.startService();
 * reactor.tcpServers.length;   // 1
 * web.stopService();
 */
export class TCPServer extends PortService<IListeningPort> {
  constructor(
    port: number | string,
    factory: IProtocolFactory,
    options: ListenTCPOptions & ReactorServiceOptions<IReactorTCP> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.listenTCP(port, factory, rest));
  }
}

/**
 * Calls `connectTCP` when it is started, and disconnects when it is stopped. A connection that fails or is lost is not
 * made again, unless the factory sees to it.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const client = new TCPClient('127.0.0.1', 80, new ClientFactory(), { reactor, timeout: 5 });
 * client.startService();
 * reactor.tcpClients.length;   // 1
 * client.stopService();
 */
export class TCPClient extends ConnectorService {
  constructor(
    host: string,
    port: number | string,
    factory: IClientFactory,
    options: ConnectTCPOptions & ReactorServiceOptions<IReactorTCP> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.connectTCP(host, port, factory, rest));
  }
}

/**
 * As {@link TCPServer}, by `listenSSL`.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const { server } = testCertificates();
 * const web = new SSLServer(443, Factory.forProtocol(Protocol), server.options, { reactor });
 * web.startService();
 * reactor.sslServers.length;   // 1
 * web.stopService();
 */
export class SSLServer extends PortService<IListeningPort> {
  constructor(
    port: number | string,
    factory: IProtocolFactory,
    contextFactory: ITLSContextFactory,
    options: ListenSSLOptions & ReactorServiceOptions<IReactorSSL> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.listenSSL(port, factory, contextFactory, rest));
  }
}

/**
 * As {@link TCPClient}, by `connectSSL`.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const trusting = optionsForClientTLS('example.com');
 * const client = new SSLClient('127.0.0.1', 443, new ClientFactory(), trusting, { reactor });
 * client.startService();
 * reactor.sslClients.length;   // 1
 * client.stopService();
 */
export class SSLClient extends ConnectorService {
  constructor(
    host: string,
    port: number | string,
    factory: IClientFactory,
    contextFactory: ITLSContextFactory,
    options: ConnectSSLOptions & ReactorServiceOptions<IReactorSSL> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.connectSSL(host, port, factory, contextFactory, rest));
  }
}

/**
 * As {@link TCPServer}, by `listenUNIX`.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const door = new UNIXServer('/run/door', Factory.forProtocol(Protocol), { reactor, mode: 0o600 });
 * door.startService();
 * reactor.unixServers.length;   // 1
 * door.stopService();
 */
export class UNIXServer extends PortService<IListeningPort> {
  constructor(
    path: string,
    factory: IProtocolFactory,
    options: ListenUNIXOptions & ReactorServiceOptions<IReactorUNIX> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.listenUNIX(path, factory, rest));
  }
}

/**
 * As {@link TCPClient}, by `connectUNIX`.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const client = new UNIXClient('/run/door', new ClientFactory(), { reactor });
 * client.startService();
 * reactor.unixClients.length;   // 1
 * client.stopService();
 */
export class UNIXClient extends ConnectorService {
  constructor(
    path: string,
    factory: IClientFactory,
    options: ConnectUNIXOptions & ReactorServiceOptions<IReactorUNIX> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.connectUNIX(path, factory, rest));
  }
}

/**
 * As {@link TCPServer}, by `listenUDP`.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const names = new UDPServer(53, new DatagramProtocol(), { reactor });
 * names.startService();
 * reactor.udpPorts.length;   // 1
 * names.stopService();
 */
export class UDPServer extends PortService<IUDPTransport> {
  constructor(
    port: number,
    protocol: IDatagramProtocol,
    options: ListenUDPOptions & ReactorServiceOptions<IReactorUDP> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.listenUDP(port, protocol, rest));
  }
}

/**
 * As {@link UDPServer}, by `listenMulticast`: its `port` can join groups.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const names = new MulticastServer(5353, new DatagramProtocol(), { reactor, listenMultiple: true });
 * names.startService();
 * reactor.udpPorts.length;   // 1
 * names.stopService();
 */
export class MulticastServer extends PortService<IMulticastTransport> {
  constructor(
    port: number,
    protocol: IDatagramProtocol,
    options: ListenMulticastOptions & ReactorServiceOptions<IReactorMulticast> = {},
  ) {
    const { reactor = theReactor, ...rest } = options;
    super(() => reactor.listenMulticast(port, protocol, rest));
  }
}

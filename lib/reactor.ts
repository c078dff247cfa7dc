/**
 * The reactor. The loop is Node's; the reactor is the object through which code asks it for things (a call in a
 * second, a port, a connection), so that a double can answer instead. Constructing one opens nothing and starts
 * nothing. Twisted: `twisted.internet.reactor`. What it does besides connecting is in `reactor-base`.
 *
 * I/O and timers work whether it runs or not; `run` is for programs that plait is the main part of: it keeps the
 * process alive, handles the signals that stop it, and fires the events of starting up and shutting down.
 */
import {
  checkBindAddress,
  checkHost,
  checkPortOrService,
  HostnameAddress,
  ipAddress,
  isIPAddress,
  type Address,
  PipeAddress,
  UNIXAddress,
} from './address.ts';
import {
  checkBoolean,
  checkClientFactory,
  checkFactory,
  checkMethods,
  checkOptions,
  checkProtocol,
  checkString,
  checkTimeLimit,
  checkWhole,
  optional,
  shownArgument,
  wrongType,
  wrongValue,
} from './arguments.ts';
import type { Deferred } from './defer.ts';
import { InvalidAddressError, ServiceNameUnknownError } from './errors.ts';
import type {
  AddressFamily,
  ConnectSSLOptions,
  ConnectTCPOptions,
  ConnectUNIXOptions,
  IClientFactory,
  IConnector,
  IDatagramProtocol,
  IHostnameResolver,
  IListeningPort,
  IMulticastTransport,
  IProcessProtocol,
  IProcessTransport,
  IProtocol,
  IProtocolFactory,
  IReactorPluggableNameResolver,
  IReactorProcess,
  IReactorStandardIO,
  IReactorPluggableResolver,
  IReactorMulticast,
  IReactorSocket,
  IReactorSSL,
  IReactorTCP,
  IReactorUDP,
  IReactorUNIX,
  IResolverSimple,
  ITransport,
  IUDPTransport,
  ListenMulticastOptions,
  ListenSSLOptions,
  ListenTCPOptions,
  ListenUDPOptions,
  ListenUNIXOptions,
  SpawnProcessOptions,
  StandardIOOptions,
  Seconds,
} from './interfaces.ts';
import { type AdoptableDuplex, asDuplex, DuplexWire } from './io/duplex-wire.ts';
import type { Attempt, ConnectEvents } from './io/io.ts';
import { portNames, SERVICES_FILE } from './io/port-names.ts';
import { outside } from './frames.ts';
import { ReactorBase } from './reactor-base.ts';
import { LOOKUP_TIMEOUT, Names } from './resolver.ts';
import type { ITLSContextFactory } from './tls-settings.ts';
import { adoptConnection, checkAdoptable } from './transport/adopt.ts';
import { Connector } from './transport/connect.ts';
import { Port } from './transport/listen.ts';
import { checkSecuring, type Securing } from './transport/tls.ts';
import { Process, spawnTarget } from './transport/process.ts';
import { openStandardIO } from './transport/stdio.ts';
import { Stream } from './transport/stream.ts';
import { MulticastPort } from './transport/multicast.ts';
import { adoptedTarget, bind, datagramTarget, Port as UDPPort } from './transport/udp.ts';

/** Seconds that `connectTCP` allows by default. */
const CONNECT_TIMEOUT: Seconds = 30;

/** Node's. Twisted's is 50, with which hundreds of clients that come at once wait for seconds, or are refused. */
const BACKLOG = 511;

/**
 * Asks the operating system for things, and calls back when they happen. There may be many, each with its own timers
 * and connections; `reactor` is the process's own.
 */
export class Reactor
  extends ReactorBase
  implements
    IReactorTCP,
    IReactorSSL,
    IReactorUNIX,
    IReactorSocket,
    IReactorUDP,
    IReactorMulticast,
    IReactorProcess,
    IReactorStandardIO,
    IReactorPluggableNameResolver,
    IReactorPluggableResolver
{
  readonly #names = new Names((...question) => this.body().resolve(...question));

  // ── Datagrams ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * @throws RangeError for a port or a limit that cannot be
   * @throws InvalidAddressError for an interface that is no IP address
   * @throws UnsupportedSocketType if the body has no datagram sockets
   */
  listenUDP(
    port: number,
    protocol: IDatagramProtocol,
    options: ListenUDPOptions = {},
  ): IUDPTransport {
    checkDatagrams('listenUDP', protocol, options);
    const target = datagramTarget(port, options.interface);
    return outside(() => bind(new UDPPort(this.home, this.body(), target, protocol, options)));
  }

  /** As `listenUDP`, for groups. */
  listenMulticast(
    port: number,
    protocol: IDatagramProtocol,
    options: ListenMulticastOptions = {},
  ): IMulticastTransport {
    checkDatagrams('listenMulticast', protocol, options);
    optional(options.listenMultiple, checkBoolean, 'listenMulticast: listenMultiple');
    const target = datagramTarget(port, options.interface, options.listenMultiple);
    return outside(() =>
      bind(new MulticastPort(this.home, this.body(), target, protocol, options)),
    );
  }

  /**
   * A port over a bound socket that the process was given, as by its supervisor. The descriptor is the port's from now
   * on, and is closed with it; Twisted uses a copy. `ready` fails with UnsupportedSocketType or
   * UnsupportedAddressFamily if it is something else.
   *
   * @param family `AF_INET` or `AF_INET6`
   * @param maxPacketSize as in `listenUDP`
   */
  adoptDatagramPort(
    fd: number,
    family: AddressFamily,
    protocol: IDatagramProtocol,
    maxPacketSize?: number,
  ): IUDPTransport {
    const limits = maxPacketSize === undefined ? {} : { maxPacketSize };
    checkDatagrams('adoptDatagramPort', protocol, limits);
    const target = adoptedTarget(fd, family);
    return outside(() => bind(new UDPPort(this.home, this.body(), target, protocol, limits)));
  }

  // ── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * @throws RangeError for a port, a backlog or an interface that cannot be
   * @throws ServiceNameUnknownError for the name of a service that the system does not know
   */
  listenTCP(
    port: number | string,
    factory: IProtocolFactory,
    options: ListenTCPOptions = {},
  ): IListeningPort {
    return this.#listenTCP('listenTCP', port, factory, options);
  }

  listenSSL(
    port: number | string,
    factory: IProtocolFactory,
    contextFactory: ITLSContextFactory,
    options: ListenSSLOptions = {},
  ): IListeningPort {
    const { handshakeTimeout } = checkOptions(options, 'listenSSL: options');
    const securing = { contextFactory, handshakeTimeout };
    checkSecuring('server', securing, 'listenSSL');
    return this.#listenTCP('listenSSL', port, factory, options, securing);
  }

  #listenTCP(
    name: string,
    port: number | string,
    factory: IProtocolFactory,
    options: ListenTCPOptions,
    securing?: Securing,
  ): IListeningPort {
    const { backlog = BACKLOG, interface: where = '' } = checkOptions(options, `${name}: options`);
    checkPortOrService(port, 0, `${name}: port`);
    const number = typeof port === 'string' ? portByName(port) : port;
    checkFactory(factory, `${name}: factory`);
    checkWhole(backlog, `${name}: backlog`, 1);
    const host = where === '' ? '0.0.0.0' : checkHost(where, `${name}: interface`);
    const target = { host, port: number, backlog };
    return this.#listen(new Port(this.home, this.body(), target, factory, securing));
  }

  listenUNIX(
    path: string,
    factory: IProtocolFactory,
    options: ListenUNIXOptions = {},
  ): IListeningPort {
    const {
      backlog = BACKLOG,
      mode = 0o666,
      wantPID = false,
    } = checkOptions(options, 'listenUNIX: options');
    checkFactory(factory, 'listenUNIX: factory');
    checkWhole(backlog, 'listenUNIX: backlog', 1);
    checkMode(mode);
    checkBoolean(wantPID, 'listenUNIX: wantPID');
    const target = { path: checkPath(path, 'listenUNIX: path'), mode, backlog, wantPID };
    return this.#listen(new Port(this.home, this.body(), target, factory));
  }

  adoptStreamPort(fd: number, family: AddressFamily, factory: IProtocolFactory): IListeningPort {
    checkAdoptable('adoptStreamPort', fd, family);
    checkFactory(factory, 'adoptStreamPort: factory');
    return this.#listen(
      new Port(this.home, this.body(), { fd, family, backlog: BACKLOG }, factory),
    );
  }

  adoptStreamConnection(fd: number, family: AddressFamily, factory: IProtocolFactory): ITransport {
    checkAdoptable('adoptStreamConnection', fd, family);
    // It is no port: the factory is neither started nor stopped.
    checkMethods(factory, 'adoptStreamConnection: factory', 'a Factory, or an object', [
      'buildProtocol',
    ]);
    return outside(() => adoptConnection(this.home, this.body(), fd, family, factory));
  }

  #listen(port: Port): Port {
    outside(() => port.startListening());
    return port;
  }

  /** @throws RangeError for a host, a port, a local address or a timeout that cannot be */
  connectTCP(
    host: string,
    port: number | string,
    factory: IClientFactory,
    options: ConnectTCPOptions = {},
  ): IConnector {
    return this.#connectTCP('connectTCP', host, port, factory, options);
  }

  connectSSL(
    host: string,
    port: number | string,
    factory: IClientFactory,
    contextFactory: ITLSContextFactory,
    options: ConnectSSLOptions = {},
  ): IConnector {
    const { handshakeTimeout } = checkOptions(options, 'connectSSL: options');
    const securing = { contextFactory, handshakeTimeout };
    checkSecuring('client', securing, 'connectSSL');
    return this.#connectTCP('connectSSL', host, port, factory, options, securing);
  }

  #connectTCP(
    called: string,
    host: string,
    port: number | string,
    factory: IClientFactory,
    options: ConnectTCPOptions,
    securing?: Securing,
  ): IConnector {
    const { timeout = CONNECT_TIMEOUT, bindAddress } = checkOptions(options, `${called}: options`);
    const name = checkHost(host, `${called}: host`);
    checkPortOrService(port, 1, `${called}: port`);
    checkClientFactory(factory, `${called}: factory`);
    checkTimeLimit(timeout, `${called}: timeout`);
    if (bindAddress !== undefined) checkBindAddress(bindAddress, `${called}: bindAddress`);
    const io = this.body();
    const number = typeof port === 'string' ? (portNames.portOf(port) ?? 0) : port;
    const dial = (events: ConnectEvents): Attempt => {
      if (number === 0) throw unknownService(String(port));
      return this.#names.dial(name, number, this.home, events, (address) =>
        io.connect({ host: address, port: number, bindAddress }, events),
      );
    };
    const destination = isIPAddress(name)
      ? ipAddress('TCP', name, number)
      : new HostnameAddress(name, number);
    return this.#connect(new Connector(this.home, dial, destination, factory, timeout, securing));
  }

  connectUNIX(path: string, factory: IClientFactory, options: ConnectUNIXOptions = {}): IConnector {
    const { timeout = CONNECT_TIMEOUT, checkPID = false } = checkOptions(
      options,
      'connectUNIX: options',
    );
    checkPath(path, 'connectUNIX: path');
    checkClientFactory(factory, 'connectUNIX: factory');
    checkTimeLimit(timeout, 'connectUNIX: timeout');
    checkBoolean(checkPID, 'connectUNIX: checkPID');
    const io = this.body();
    const dial = (events: ConnectEvents): Attempt => io.connect({ path, checkPID }, events);
    return this.#connect(new Connector(this.home, dial, new UNIXAddress(path), factory, timeout));
  }

  #connect(connector: Connector): Connector {
    outside(() => connector.connect());
    return connector;
  }

  /**
   * Makes a connection of any Duplex of Node's, or of a pair of Web streams, and `protocol` its protocol: all that holds
   * for transports holds for it. An abort destroys the Duplex with an error. The connection is closed with the reactor.
   *
   * @param addresses what the transport's `getHost` and `getPeer` say. Default: a PipeAddress
   * @throws TypeError for what is no such thing
   */
  adoptDuplex(
    duplex: AdoptableDuplex,
    protocol: IProtocol,
    addresses: { readonly host?: Address; readonly peer?: Address } = {},
  ): ITransport {
    checkProtocol(protocol, 'adoptDuplex: protocol');
    const { host = new PipeAddress(), peer = host } = checkOptions(
      addresses,
      'adoptDuplex: addresses',
    );
    checkOptions(host, 'adoptDuplex: host', 'an address');
    checkOptions(peer, 'adoptDuplex: peer', 'an address');
    const transport = new Stream(this.home, new DuplexWire(asDuplex(duplex), host, peer));
    outside(() => transport.begin(protocol));
    return transport;
  }

  // ── Processes and standard I/O ───────────────────────────────────────────────────────────────────────────────────

  spawnProcess(
    protocol: IProcessProtocol,
    executable: string,
    options: SpawnProcessOptions = {},
  ): IProcessTransport {
    checkMethods(protocol, 'spawnProcess: protocol', 'a ProcessProtocol, or an object', [
      'makeConnection',
      'childDataReceived',
      'childConnectionLost',
      'processExited',
      'processEnded',
    ]);
    const target = spawnTarget(executable, checkOptions(options, 'spawnProcess: options'));
    return outside(() => new Process(this.home, this.body(), target, protocol));
  }

  standardIO(protocol: IProtocol, options: StandardIOOptions = {}): ITransport {
    checkProtocol(protocol, 'standardIO: protocol');
    checkOptions(options, 'standardIO: options');
    return outside(() => openStandardIO(this.home, this.body(), protocol, options));
  }

  // ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What names are resolved with: the system's own resolver, unless another was installed. */
  get nameResolver(): IHostnameResolver {
    return this.#names.complex;
  }

  /** @throws TypeError for what has no `resolveHostName` */
  installNameResolver(resolver: IHostnameResolver): IHostnameResolver {
    return this.#names.installComplex(resolver);
  }

  /** @throws TypeError for what has no `getHostByName` */
  installResolver(resolver: IResolverSimple): IResolverSimple {
    return this.#names.installSimple(resolver);
  }

  /**
   * The address of a host, as an IP literal: an IPv4 one if there is any. `''` is any address, `0.0.0.0`. Fails with
   * DNSLookupError, at the latest when as many seconds have passed as the timeouts add up to: by default, a minute.
   * Cancelling forgets the lookup.
   *
   * @throws RangeError for what cannot be a host name
   */
  resolve(name: string, timeout: readonly Seconds[] = LOOKUP_TIMEOUT): Deferred<string> {
    return this.#names.resolve(name, timeout, this);
  }
}

function checkMode(mode: number): void {
  const expected = 'a whole number from 0 to 0o777';
  if (typeof mode !== 'number') throw wrongType('listenUNIX: mode', expected, mode);
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o777)
    throw wrongValue('listenUNIX: mode', expected, mode);
}

function checkDatagrams(called: string, protocol: object, options: object): void {
  checkMethods(protocol, `${called}: protocol`, 'a DatagramProtocol, or an object', [
    'makeConnection',
    'datagramReceived',
    'doStop',
  ]);
  checkOptions(options, `${called}: options`);
}

/** The port of a service that is to be listened at. */
function portByName(name: string): number {
  const port = portNames.portOf(name);
  if (port === undefined) throw unknownService(name);
  return port;
}

function unknownService(name: string): ServiceNameUnknownError {
  const shown = JSON.stringify(name.slice(0, 300));
  return new ServiceNameUnknownError(`no TCP service of the name ${shown} in ${SERVICES_FILE}`);
}

/**
 * `path` if a UNIX socket can have it: some system calls would see only what stands before a NUL. On Linux one that
 * begins with a NUL is a name outside of the file system.
 */
function checkPath(path: string, name: string): string {
  checkString(path, name);
  const first = process.platform === 'linux' ? 1 : 0;
  if (path === '' || path === '\0' || path.indexOf('\0', first) >= 0) {
    throw new InvalidAddressError(
      `${name} must be a path for a UNIX socket, not ${shownArgument(path)}`,
    );
  }
  return path;
}

const registry = globalThis as unknown as Record<symbol, Reactor | undefined>;

/** The process's own reactor; the same one for every copy of the package that is loaded. */
export const reactor: Reactor = (registry[Symbol.for('plait.reactor')] ??= new Reactor());

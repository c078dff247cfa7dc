/**
 * A reactor that notes what it is asked for: which ports, which connections, with which options. Nothing goes over a
 * network, and nothing happens by itself. Its ports, connectors and transports are the real ones over a body in memory,
 * so that they keep their rules. Twisted: `MemoryReactor` and its kin of `twisted.internet.testing`.
 */
import { checkFunction, checkSeconds } from '../arguments.ts';
import type { Deferred } from '../defer.ts';
import type {
  AddressFamily,
  ConnectSSLOptions,
  ConnectTCPOptions,
  ConnectUNIXOptions,
  IClientFactory,
  IConnector,
  IDatagramProtocol,
  IListeningPort,
  IMulticastTransport,
  IProcessProtocol,
  IProcessTransport,
  IProtocolFactory,
  ITransport,
  IUDPTransport,
  ListenMulticastOptions,
  ListenSSLOptions,
  ListenTCPOptions,
  ListenUDPOptions,
  ListenUNIXOptions,
  Seconds,
  RunOptions,
  SpawnProcessOptions,
  TriggerID,
  TriggerPhase,
} from '../interfaces.ts';
import { Reactor } from '../reactor.ts';
import type { ITLSContextFactory } from '../tls-settings.ts';
import { nameOfFunction } from '../triggers.ts';
import type { AccumulatingProtocol } from './accumulating-protocol.ts';
import type { MemoryDatagramSocket } from './memory-datagrams.ts';
import { MemoryIO, type MemoryProcess } from './memory-io.ts';
import { Passing } from './passing.ts';

/** A call of `listenTCP`. Twisted: the tuple `(port, factory, backlog, interface)`. */
export interface TCPServerRecord {
  /** As it was asked for: 0 is still 0. `listeningPort.getHost()` has the number that it was given. */
  readonly port: number | string;
  readonly factory: IProtocolFactory;
  readonly backlog: number;
  readonly interface: string;
  readonly listeningPort: IListeningPort;
}

/** A call of `listenSSL`. Twisted: `(port, factory, contextFactory, backlog, interface)`. */
export interface SSLServerRecord extends TCPServerRecord {
  readonly contextFactory: ITLSContextFactory;
}

/** A call of `connectTCP`. Twisted: `(host, port, factory, timeout, bindAddress)`. */
export interface TCPClientRecord {
  readonly host: string;
  readonly port: number | string;
  readonly factory: IClientFactory;
  readonly timeout: Seconds | null;
  readonly bindAddress: ConnectTCPOptions['bindAddress'];
  readonly connector: IConnector;
}

/** A call of `connectSSL`. Twisted: `(host, port, factory, contextFactory, timeout, bindAddress)`. */
export interface SSLClientRecord extends TCPClientRecord {
  readonly contextFactory: ITLSContextFactory;
}

/** A call of `listenUNIX`. Twisted: `(address, factory, backlog, mode, wantPID)`. */
export interface UNIXServerRecord {
  readonly address: string;
  readonly factory: IProtocolFactory;
  readonly backlog: number;
  readonly mode: number;
  readonly wantPID: boolean;
  readonly listeningPort: IListeningPort;
}

/** A call of `connectUNIX`. Twisted: `(address, factory, timeout, checkPID)`. */
export interface UNIXClientRecord {
  readonly address: string;
  readonly factory: IClientFactory;
  readonly timeout: Seconds | null;
  readonly checkPID: boolean;
  readonly connector: IConnector;
}

/** A call of `listenUDP`, `listenMulticast` or `adoptDatagramPort`. Twisted's MemoryReactor has no UDP. */
export interface UDPPortRecord {
  /** As it was asked for; -1 for one that was adopted. */
  readonly port: number;
  readonly protocol: IDatagramProtocol;
  readonly options: ListenMulticastOptions;
  readonly transport: IUDPTransport;
  /** What was sent, and a way to let datagrams arrive. */
  readonly socket: MemoryDatagramSocket;
}

/** A call of `adoptStreamPort`. Twisted: `(fileDescriptor, addressFamily, factory)`. */
export interface AdoptedPortRecord {
  readonly fd: number;
  readonly family: AddressFamily;
  readonly factory: IProtocolFactory;
  readonly listeningPort: IListeningPort;
}

/** A call of `adoptStreamConnection`. Twisted: `(fileDescriptor, addressFamily, factory)`. */
export interface AdoptedConnectionRecord {
  readonly fd: number;
  readonly family: AddressFamily;
  readonly factory: IProtocolFactory;
  readonly transport: ITransport;
  /** Who is at the other end. */
  readonly peer: AccumulatingProtocol;
}

/** A call of `spawnProcess`. */
export interface ProcessRecord {
  readonly protocol: IProcessProtocol;
  readonly executable: string;
  readonly options: SpawnProcessOptions;
  readonly transport: IProcessTransport;
  /** What the process got, and a way to let it answer and end. */
  readonly child: MemoryProcess;
}

/** A trigger that waits. Twisted has these in a dictionary by phase and event. */
export interface TriggerRecord extends TriggerID {
  readonly fn: (...args: never[]) => unknown;
  readonly args: readonly unknown[];
}

/**
 * A reactor that notes what it is asked for. Ports listen at once; attempts to connect go on until a
 * `ConnectionCompleter` ends them, or somebody gives them up. What is to be done in a later turn is done by `flush`, and
 * by the pump of a connection.
 *
 * @example
 * const reactor = new MemoryReactor();
 * reactor.listenTCP(8000, Factory.forProtocol(Protocol));
 * reactor.tcpServers.map(({ port, backlog }) => [port, backlog]); // [ [ 8000, 511 ] ]
 */
export class MemoryReactor extends Reactor {
  readonly tcpServers: TCPServerRecord[] = [];
  readonly tcpClients: TCPClientRecord[] = [];
  readonly sslServers: SSLServerRecord[] = [];
  readonly sslClients: SSLClientRecord[] = [];
  readonly unixServers: UNIXServerRecord[] = [];
  readonly unixClients: UNIXClientRecord[] = [];
  readonly udpPorts: UDPPortRecord[] = [];
  readonly adoptedPorts: AdoptedPortRecord[] = [];
  readonly adoptedStreamConnections: AdoptedConnectionRecord[] = [];
  readonly processes: ProcessRecord[] = [];
  /** All connectors, in the order in which they were asked for. */
  readonly connectors: IConnector[] = [];
  /** Those of system events that have not run. */
  get triggers(): readonly TriggerRecord[] {
    return [...this.#triggers];
  }

  readonly #triggers = new Set<TriggerRecord>();
  /** `run` was called. */
  hasRun = false;
  /** `stop` was called. */
  hasStopped = false;
  /** @internal the body, for what makes connections */
  readonly memory: MemoryIO;

  constructor() {
    const memory = new MemoryIO();
    super({ io: memory, debug: false });
    this.memory = memory;
  }

  /**
   * The addresses of names, all in lower case, which may be changed. `localhost` is there; a name that is not has the
   * address 192.0.2.1; one with an empty list cannot be looked up. Answers are given at once.
   */
  get hosts(): Map<string, readonly string[]> {
    return this.memory.hosts;
  }

  /**
   * Does all that waits for its turn, and calls that are due, until nothing is left to do.
   *
   * @throws Error if there is no end to it
   */
  flush(): void {
    this.memory.flush();
  }

  // ── Starting and stopping ────────────────────────────────────────────────────────────────────────────────────────

  /** Twisted's stops again at once; this one runs until it is told to stop. No signal is handled. */
  override run(options: RunOptions = {}): Deferred<void> {
    const stopped = super.run(options);
    this.hasRun = true;
    return stopped;
  }

  /** It has stopped after `flush`. */
  override stop(): void {
    super.stop();
    this.hasStopped = true;
  }

  override addSystemEventTrigger<A extends unknown[]>(
    phase: TriggerPhase,
    eventType: string,
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID {
    const record: { id?: TriggerRecord } = {};
    const call = () => {
      if (record.id !== undefined) this.#triggers.delete(record.id);
      return fn(...args);
    };
    checkFunction(fn, 'addSystemEventTrigger: fn');
    Object.defineProperty(call, 'name', { value: nameOfFunction(fn) });
    const id = super.addSystemEventTrigger(phase, eventType, call);
    record.id = Object.assign(id, { fn, args });
    this.#triggers.add(record.id);
    return id;
  }

  override removeSystemEventTrigger(id: TriggerID): void {
    super.removeSystemEventTrigger(id);
    this.#triggers.delete(id as TriggerRecord);
  }

  // ── Listening ────────────────────────────────────────────────────────────────────────────────────────────────────

  override listenTCP(
    port: number | string,
    factory: IProtocolFactory,
    options: ListenTCPOptions = {},
  ): IListeningPort {
    const listeningPort = super.listenTCP(port, factory, options);
    this.tcpServers.push({ ...listening(port, factory, options), listeningPort });
    return listeningPort;
  }

  override listenSSL(
    port: number | string,
    factory: IProtocolFactory,
    contextFactory: ITLSContextFactory,
    options: ListenSSLOptions = {},
  ): IListeningPort {
    const listeningPort = super.listenSSL(port, factory, contextFactory, options);
    const record = { ...listening(port, factory, options), contextFactory, listeningPort };
    this.sslServers.push(record);
    return listeningPort;
  }

  override listenUNIX(
    path: string,
    factory: IProtocolFactory,
    options: ListenUNIXOptions = {},
  ): IListeningPort {
    const listeningPort = super.listenUNIX(path, factory, options);
    const { backlog = 511, mode = 0o666, wantPID = false } = options;
    this.unixServers.push({ address: path, factory, backlog, mode, wantPID, listeningPort });
    return listeningPort;
  }

  override adoptStreamPort(
    fd: number,
    family: AddressFamily,
    factory: IProtocolFactory,
  ): IListeningPort {
    const listeningPort = super.adoptStreamPort(fd, family, factory);
    this.adoptedPorts.push({ fd, family, factory, listeningPort });
    return listeningPort;
  }

  override adoptStreamConnection(
    fd: number,
    family: AddressFamily,
    factory: IProtocolFactory,
  ): ITransport {
    const transport = super.adoptStreamConnection(fd, family, factory);
    const peer = this.memory.adopted.at(-1) as AccumulatingProtocol;
    this.adoptedStreamConnections.push({ fd, family, factory, transport, peer });
    return transport;
  }

  // ── Connecting ───────────────────────────────────────────────────────────────────────────────────────────────────

  override connectTCP(
    host: string,
    port: number | string,
    factory: IClientFactory,
    options: ConnectTCPOptions = {},
  ): IConnector {
    const connector = super.connectTCP(host, port, factory, options);
    this.connectors.push(connector);
    this.tcpClients.push({ ...connecting(host, port, factory, options), connector });
    return connector;
  }

  override connectSSL(
    host: string,
    port: number | string,
    factory: IClientFactory,
    contextFactory: ITLSContextFactory,
    options: ConnectSSLOptions = {},
  ): IConnector {
    const connector = super.connectSSL(host, port, factory, contextFactory, options);
    this.connectors.push(connector);
    const record = { ...connecting(host, port, factory, options), contextFactory, connector };
    this.sslClients.push(record);
    return connector;
  }

  override connectUNIX(
    path: string,
    factory: IClientFactory,
    options: ConnectUNIXOptions = {},
  ): IConnector {
    const connector = super.connectUNIX(path, factory, options);
    this.connectors.push(connector);
    const { timeout = 30, checkPID = false } = options;
    this.unixClients.push({ address: path, factory, timeout, checkPID, connector });
    return connector;
  }

  // ── Datagrams and processes ──────────────────────────────────────────────────────────────────────────────────────

  override listenUDP(
    port: number,
    protocol: IDatagramProtocol,
    options: ListenUDPOptions = {},
  ): IUDPTransport {
    const transport = super.listenUDP(port, protocol, options);
    this.#noteUDP(port, protocol, options, transport);
    return transport;
  }

  override listenMulticast(
    port: number,
    protocol: IDatagramProtocol,
    options: ListenMulticastOptions = {},
  ): IMulticastTransport {
    const transport = super.listenMulticast(port, protocol, options);
    this.#noteUDP(port, protocol, options, transport);
    return transport;
  }

  override adoptDatagramPort(
    ...args: Parameters<Reactor['adoptDatagramPort']>
  ): ReturnType<Reactor['adoptDatagramPort']> {
    const transport = super.adoptDatagramPort(...args);
    this.#noteUDP(-1, args[2], {}, transport);
    return transport;
  }

  #noteUDP(
    port: number,
    protocol: IDatagramProtocol,
    options: ListenMulticastOptions,
    transport: IUDPTransport,
  ): void {
    const socket = this.memory.datagramSockets.at(-1) as MemoryDatagramSocket;
    this.udpPorts.push({ port, protocol, options, transport, socket });
  }

  override spawnProcess(
    protocol: IProcessProtocol,
    executable: string,
    options: SpawnProcessOptions = {},
  ): IProcessTransport {
    const transport = super.spawnProcess(protocol, executable, options);
    const child = this.memory.processes.at(-1) as MemoryProcess;
    this.processes.push({ protocol, executable, options, transport, child });
    return transport;
  }
}

function listening(
  port: number | string,
  factory: IProtocolFactory,
  options: ListenTCPOptions,
): Omit<TCPServerRecord, 'listeningPort'> {
  const { backlog = 511, interface: where = '' } = options;
  return { port, factory, backlog, interface: where };
}

function connecting(
  host: string,
  port: number | string,
  factory: IClientFactory,
  options: ConnectTCPOptions,
): Omit<TCPClientRecord, 'connector'> {
  const { timeout = 30, bindAddress } = options;
  return { host, port, factory, timeout, bindAddress };
}

/**
 * A MemoryReactor and a Clock in one. Twisted: `MemoryReactorClock`.
 *
 * @example
 * const reactor = new MemoryReactorClock();
 * const tea = deferLater(reactor, 180, () => 'tea');
 * reactor.advance(180);
 * successResultOf(tea); // 'tea'
 */
export class MemoryReactorClock extends MemoryReactor {
  #passing: Passing | undefined;

  /**
   * Lets `amount` seconds pass: the time jumps, then what is due is done, in order, and what comes of it, as far as it
   * is due by then.
   */
  advance(amount: Seconds): void {
    checkSeconds(amount, 'advance: amount');
    this.#passing?.moved(amount);
    this.memory.moveTo(this.seconds() + amount);
  }

  /**
   * The same for code with promises in it, step by step: the time moves to each moment at which something is due, and
   * there Node's event loop turns once, so that `async` functions have come to their next wait, before it moves on. It
   * turns once before that, too: a time-out that an `async` function has still to ask for is asked for.
   *
   * Where it is called again before it is over, the second begins when the first is over.
   *
   * @param amount in seconds
   * @param between called after each of those turns, and waited for: `() => pump.flush()`, say
   * @throws RangeError for what is no number of seconds, Error if calls go on asking for others at the same time (the
   *   promise rejects)
   *
   * @example
   * const reactor = new MemoryReactorClock();
   * const tea = (async () => {
   *   await deferLater(reactor, 60);
   *   await deferLater(reactor, 120);
   *   return 'tea';
   * })();
   * await reactor.advanceAsync(180);
   * await tea;   // 'tea'
   */
  async advanceAsync(amount: Seconds, between?: () => unknown): Promise<void> {
    this.#passing ??= new Passing({
      seconds: () => this.seconds(),
      nextTime: () => this.memory.nextTime(),
      moveTo: (time) => this.memory.moveTo(time),
    });
    await this.#passing.pass(amount, between);
  }

  /** Advances by each amount in turn. */
  pump(amounts: Iterable<Seconds>): void {
    for (const amount of amounts) this.advance(amount);
  }

  /** Advances by each amount in turn, by `advanceAsync`. */
  async pumpAsync(amounts: Iterable<Seconds>, between?: () => unknown): Promise<void> {
    for (const amount of amounts) await this.advanceAsync(amount, between);
  }
}

/** Options of {@link RaisingMemoryReactor}. */
export interface RaisingMemoryReactorOptions {
  /** What all that begins with `listen`, and adopting a port, throws. Default: nothing. */
  readonly listenException?: Error;
  /** What all that begins with `connect` throws. Default: nothing. */
  readonly connectException?: Error;
}

/**
 * A MemoryReactor that cannot listen, or connect. Twisted: `RaisingMemoryReactor`.
 *
 * @example
 * const reactor = new RaisingMemoryReactor({ listenException: new RangeError('no ports today') });
 * const port = new TCP4ServerEndpoint(reactor, 80).listen(Factory.forProtocol(Protocol));
 * failureResultOf(port, RangeError).getErrorMessage(); // 'no ports today'
 */
export class RaisingMemoryReactor extends MemoryReactor {
  readonly #options: RaisingMemoryReactorOptions;

  constructor(options: RaisingMemoryReactorOptions = {}) {
    super();
    this.#options = options;
  }

  #mayListen(): void {
    if (this.#options.listenException !== undefined) throw this.#options.listenException;
  }

  #mayConnect(): void {
    if (this.#options.connectException !== undefined) throw this.#options.connectException;
  }

  override listenTCP(...args: Parameters<MemoryReactor['listenTCP']>): IListeningPort {
    this.#mayListen();
    return super.listenTCP(...args);
  }

  override listenSSL(...args: Parameters<MemoryReactor['listenSSL']>): IListeningPort {
    this.#mayListen();
    return super.listenSSL(...args);
  }

  override listenUNIX(...args: Parameters<MemoryReactor['listenUNIX']>): IListeningPort {
    this.#mayListen();
    return super.listenUNIX(...args);
  }

  override listenUDP(...args: Parameters<MemoryReactor['listenUDP']>): IUDPTransport {
    this.#mayListen();
    return super.listenUDP(...args);
  }

  override listenMulticast(
    ...args: Parameters<MemoryReactor['listenMulticast']>
  ): IMulticastTransport {
    this.#mayListen();
    return super.listenMulticast(...args);
  }

  override adoptStreamPort(...args: Parameters<MemoryReactor['adoptStreamPort']>): IListeningPort {
    this.#mayListen();
    return super.adoptStreamPort(...args);
  }

  override adoptDatagramPort(
    ...args: Parameters<MemoryReactor['adoptDatagramPort']>
  ): IUDPTransport {
    this.#mayListen();
    return super.adoptDatagramPort(...args);
  }

  override connectTCP(...args: Parameters<MemoryReactor['connectTCP']>): IConnector {
    this.#mayConnect();
    return super.connectTCP(...args);
  }

  override connectSSL(...args: Parameters<MemoryReactor['connectSSL']>): IConnector {
    this.#mayConnect();
    return super.connectSSL(...args);
  }

  override connectUNIX(...args: Parameters<MemoryReactor['connectUNIX']>): IConnector {
    this.#mayConnect();
    return super.connectUNIX(...args);
  }
}

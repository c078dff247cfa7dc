/** What may be asked of a reactor besides time, names, datagrams and processes: types only. */
import type { Deferred, Settled } from '../defer.ts';
import type { Failure } from '../failure.ts';
import type { ThreadCall, ThreadPool } from '../threads/pool.ts';
import type { ThreadWork } from '../threads/task.ts';
import type { ITLSContextFactory } from '../tls-settings.ts';
import type {
  HandshakeOptions,
  IClientFactory,
  IConnector,
  IListeningPort,
  IProtocolFactory,
  ITransport,
} from './streams.ts';
import type { Seconds } from './time.ts';

/** When a trigger of a system event runs. */
export type TriggerPhase = 'before' | 'during' | 'after';

/** Names a trigger, to take it back. */
export interface TriggerID {
  readonly phase: TriggerPhase;
  readonly eventType: string;
}

/** Options of `run`. */
export interface RunOptions {
  /** False to leave SIGINT, SIGTERM and SIGBREAK alone, which otherwise stop the reactor. Default: true. */
  readonly installSignalHandlers?: boolean;
  /**
   * Seconds that a shutdown waits for what its `before` triggers have returned; then that is cancelled, which is logged,
   * and the shutdown goes on. Null for any number. Default: 60.
   */
  readonly shutdownTimeout?: Seconds | null;
  /**
   * Seconds that a shutdown waits for what the reactor's threads still do; then they are ended, which is logged, and what
   * they did fails with ThreadPoolStopped. Null for any number. Default: 30.
   */
  readonly threadGrace?: Seconds | null;
}

/** Starting and stopping. */
export interface IReactorCore {
  /** True between the startup triggers and the shutdown. */
  readonly running: boolean;
  /** Starts; the Deferred fires after shutdown. */
  run(options?: RunOptions): Deferred<void>;
  /** Shuts down at the end of this turn; throws ReactorNotRunning. */
  stop(): void;
  /** Stops at once, without the shutdown triggers. */
  crash(): void;
  /** Runs `fn` when `eventType` is fired; a `before` trigger may return a Deferred, which is waited for. */
  addSystemEventTrigger<A extends unknown[]>(
    phase: TriggerPhase,
    eventType: string,
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID;
  removeSystemEventTrigger(id: TriggerID): void;
  /** Runs the triggers of `eventType`; the Deferred fires when the last has run. */
  fireSystemEvent(eventType: string): Deferred<void>;
  /** Calls `fn` now if the reactor runs, else once it does; then the id of the trigger is returned. */
  callWhenRunning<A extends unknown[]>(
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID | undefined;
}

/** Options of `listenTCP`. */
export interface ListenTCPOptions {
  /** How many connections may wait to be accepted. Default: 511. */
  readonly backlog?: number;
  /** The address to listen on; `''` (the default) for any IPv4 address, `::` for any address at all. */
  readonly interface?: string;
}

/** Options of `connectTCP`. */
export interface ConnectTCPOptions {
  /** Seconds until the attempt fails with TimeoutError; null for never. Default: 30. */
  readonly timeout?: Seconds | null;
  /** The local address, and port if it matters, to connect from. */
  readonly bindAddress?: { readonly host: string; readonly port?: number };
}

/** Makes and takes TCP connections. A port may be given by the name of a service, as in `http`. */
export interface IReactorTCP {
  /**
   * Listens on `port` (0: any free one) and builds a protocol for each connection. Returns at once; the port's `ready`
   * tells whether it could be bound. Throws ServiceNameUnknownError for a name that the system does not know.
   */
  listenTCP(
    port: number | string,
    factory: IProtocolFactory,
    options?: ListenTCPOptions,
  ): IListeningPort;
  /**
   * Connects to `host` and `port`, and tells the factory how that went: with ServiceNameUnknownError for a name that
   * the system does not know.
   */
  connectTCP(
    host: string,
    port: number | string,
    factory: IClientFactory,
    options?: ConnectTCPOptions,
  ): IConnector;
}

/** Options of `listenSSL`. */
export interface ListenSSLOptions extends ListenTCPOptions, HandshakeOptions {}

/** Options of `connectSSL`. */
export interface ConnectSSLOptions extends ConnectTCPOptions, HandshakeOptions {}

/**
 * Makes and takes TLS connections over TCP. A protocol's `connectionMade` is called when the TCP connection is made,
 * as with Twisted: what it writes waits for the handshake. A handshake that fails is the reason of `connectionLost`:
 * SSLError, or whatever the context factory's check of the peer has returned.
 */
export interface IReactorSSL {
  /**
   * As `listenTCP`. Throws at once, and binds nothing, if the settings cannot be used: CertificateError for a key or a
   * certificate, SSLError for ciphers, or what the context factory throws.
   */
  listenSSL(
    port: number | string,
    factory: IProtocolFactory,
    contextFactory: ITLSContextFactory,
    options?: ListenSSLOptions,
  ): IListeningPort;
  /** As `connectTCP`; throws as `listenSSL` does. */
  connectSSL(
    host: string,
    port: number | string,
    factory: IClientFactory,
    contextFactory: ITLSContextFactory,
    options?: ConnectSSLOptions,
  ): IConnector;
}

/** Options of `listenUNIX`. */
export interface ListenUNIXOptions {
  /** How many connections may wait to be accepted. Default: 511. */
  readonly backlog?: number;
  /** The permissions of the socket's file, from the first moment at which anybody can connect. Default: 0o666. */
  readonly mode?: number;
  /**
   * Hold a lock beside the socket, named as it with `.lock`, that names this process: a second one cannot listen there,
   * and the socket that a dead one has left is replaced. Default: false.
   */
  readonly wantPID?: boolean;
}

/** Options of `connectUNIX`. */
export interface ConnectUNIXOptions {
  /** Seconds until the attempt fails with TimeoutError; null for never. Default: 30. */
  readonly timeout?: Seconds | null;
  /** Fail with BadFileError unless a living process holds the lock beside the socket. Default: false. */
  readonly checkPID?: boolean;
}

/** Makes and takes connections over UNIX sockets. */
export interface IReactorUNIX {
  /**
   * Listens at `path`, where nothing may lie, and builds a protocol for each connection. On Linux a path that begins
   * with a NUL is a name outside of the file system. Returns at once; the port's `ready` tells whether it could be bound.
   */
  listenUNIX(path: string, factory: IProtocolFactory, options?: ListenUNIXOptions): IListeningPort;
  /** Connects to the socket at `path`, and tells the factory how that went. */
  connectUNIX(path: string, factory: IClientFactory, options?: ConnectUNIXOptions): IConnector;
}

/** The kind of addresses that a socket has. */
export type AddressFamily = 'AF_INET' | 'AF_INET6' | 'AF_UNIX';

/**
 * Goes on with sockets that somebody else has made: a supervisor, a parent process. The descriptor is the reactor's from
 * then on (Node cannot duplicate it, as Twisted does): it is closed with the port or the connection, and also where
 * either cannot be. Only what is no open socket at all is refused and left alone.
 */
export interface IReactorSocket {
  /**
   * Listens on the bound socket `fd`. Its port's `ready` fails with CannotListenError, caused by UnsupportedSocketType
   * or UnsupportedAddressFamily, if it is no stream, or of another family. It listens once: not again after
   * `stopListening`. Throws UnsupportedSocketType if `fd` is no open socket, UnsupportedAddressFamily for a family that
   * there is not.
   */
  adoptStreamPort(fd: number, family: AddressFamily, factory: IProtocolFactory): IListeningPort;
  /**
   * Makes the connected socket `fd` a connection of a protocol that `factory` builds, as if a port had taken it. Throws
   * UnsupportedSocketType and UnsupportedAddressFamily as above, and what `buildProtocol` throws.
   */
  adoptStreamConnection(fd: number, family: AddressFamily, factory: IProtocolFactory): ITransport;
}

// ── Threads and signals ────────────────────────────────────────────────────────────────────────────────────────────

/** What other threads may ask of a reactor's own. */
export interface IReactorFromThreads {
  /** Calls `fn(...args)` in the next pass, in order. What it throws is logged. */
  callFromThread<A extends unknown[]>(fn: (...args: A) => unknown, ...args: A): void;
  /** Lets threads call these functions by their names, until what it returns is disposed of. */
  allowFromThread(functions: Readonly<Record<string, (...args: never[]) => unknown>>): Disposable;
  /** The function that threads may call by this name; throws RangeError if there is none. */
  allowedFromThread(name: string): (...args: never[]) => unknown;
}

/** Has threads for work that would hold up the reactor's own. */
export interface IReactorThreads extends IReactorFromThreads {
  /** The threads of this reactor; the pool is made when it is first asked for, and stopped when the reactor is. */
  getThreadPool(): ThreadPool;
  /** Calls `work(...args)` in a thread. What it throws is logged. */
  callInThread<A extends unknown[], R>(work: ThreadWork<A, R>, ...args: A): void;
  /** How many threads there may be at once. */
  suggestThreadPoolSize(size: number): void;
}

/** What `deferToThreadPool` asks of a pool of threads. */
export interface IThreadPool {
  /** Calls `work(...args)` in a thread, and then `onResult`; throws TypeError, NotCloneableError, ThreadPoolStopped. */
  callInThreadWithCallback<A extends unknown[], R>(
    onResult: (success: boolean, result: Settled<R> | Failure) => void,
    work: ThreadWork<A, R>,
    ...args: A
  ): ThreadCall;
}

/** Tells of signals to the process. */
export interface IReactorSignals {
  /**
   * Calls `fn(name)` on each signal of this name, in place of what was called before; then SIGINT and SIGTERM do not stop
   * the reactor. It ends when what is returned is disposed of, and when the reactor has stopped. Throws RangeError for a
   * signal that cannot be handled.
   */
  addSignalHandler(name: string, fn: (name: string) => unknown): Disposable;
  /** True if there was one. */
  removeSignalHandler(name: string): boolean;
}

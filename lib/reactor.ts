/**
 * The reactor. The loop is Node's; the reactor is the object through which code asks it for things (a call in a
 * second, a port, a connection), so that a double can answer instead. Constructing one opens nothing and starts
 * nothing. Twisted: `twisted.internet.reactor`, and `ReactorBase` of `twisted.internet.base`.
 *
 * I/O and timers work whether it runs or not; `run` is for programs that plait is the main part of: it keeps the
 * process alive, handles the signals that stop it, and fires the events of starting up and shutting down.
 */
import { EventEmitter } from 'eventemitter3';
import {
  checkHost,
  checkPort,
  HostnameAddress,
  ipAddress,
  isIPAddress,
  UNIXAddress,
} from './address.ts';
import { Deferred } from './defer.ts';
import {
  ConnectionLost,
  DNSLookupError,
  explain,
  InvalidAddressError,
  ReactorAlreadyInstalledError,
  ReactorAlreadyRunning,
  ReactorNotRunning,
} from './errors.ts';
import { Failure } from './failure.ts';
import type {
  ConnectTCPOptions,
  IClientFactory,
  IConnector,
  IDelayedCall,
  IListeningPort,
  IProtocolFactory,
  IReactorCore,
  IReactorTCP,
  IReactorTime,
  IReactorUNIX,
  ITransport,
  ListenTCPOptions,
  ListenUNIXOptions,
  Seconds,
  TriggerID,
  TriggerPhase,
} from './interfaces.ts';
import type { Alarm, Attempt, ConnectEvents, IO } from './io/io.ts';
import { NodeIO } from './io/node.ts';
import { Logger } from './log.ts';
import { succeed } from './maybe.ts';
import { CallQueue, checkDelay } from './time.ts';
import { Connector } from './transport/connect.ts';
import { Port } from './transport/listen.ts';
import { type Closable, type Home, Stream } from './transport/stream.ts';
import { SystemEvents } from './triggers.ts';
import {
  observeUnhandledFailures,
  reportUnhandledFailures,
  type UnhandledFailure,
} from './unhandled.ts';

const log = new Logger('plait.reactor');

/** What can be observed on `reactor.events`. Nothing in plait depends on anybody listening. */
export interface ReactorEvents {
  startup: () => void;
  shutdown: () => void;
  listening: (port: IListeningPort) => void;
  connected: (transport: ITransport) => void;
  disconnected: (transport: ITransport) => void;
  /** While the reactor runs: a failure in a Deferred that nobody has handled, when it is reported. */
  unhandledFailure: (unhandled: UnhandledFailure) => void;
}

/** The signals that stop a running reactor. Only Windows has the last; elsewhere nobody sends it. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGBREAK'];

/** Seconds that `connectTCP` allows by default. */
const CONNECT_TIMEOUT: Seconds = 30;

const BACKLOG = 50;

/** What a reactor is doing. */
type State = 'stopped' | 'starting' | 'running' | 'stopping';

/**
 * Asks the operating system for things, and calls back when they happen. There may be many, each with its own timers
 * and connections; `reactor` is the process's own.
 */
export class Reactor implements IReactorCore, IReactorTime, IReactorTCP, IReactorUNIX {
  /** Happenings, for whoever likes to know. */
  readonly events: EventEmitter<ReactorEvents> = new EventEmitter<ReactorEvents>();
  /** The signal that stopped it, if one did. */
  exitSignal: string | undefined;
  #io: IO | undefined;
  #state: State = 'stopped';
  readonly #calls: CallQueue = new CallQueue(
    () => this.#body().now(),
    () => this.#rearm(),
  );
  #alarm: Alarm | undefined;
  /** A pass over the due calls is going on; it sets the alarm when it is over. */
  #passing = false;
  readonly #triggers = new SystemEvents();
  readonly #open = new Set<Closable>();
  /** The Deferred that `run` returned. */
  #stopped: Deferred<void> | undefined;
  /** Undoes what `run` did to the process. */
  #release: (() => void)[] = [];
  /** What transports may ask of the reactor, and nobody else. */
  readonly #home: Home & IReactorTime = {
    seconds: () => this.seconds(),
    callLater: (delay, fn, ...args) => this.callLater(delay, fn, ...args),
    getDelayedCalls: () => this.getDelayedCalls(),
    soon: (fn) => {
      this.#body().soon(fn);
    },
    opened: (thing) => {
      this.#open.add(thing);
      if (thing instanceof Stream) this.#observed(() => this.events.emit('connected', thing));
    },
    closed: (thing) => {
      this.#open.delete(thing);
      if (thing instanceof Stream) this.#observed(() => this.events.emit('disconnected', thing));
    },
    listening: (port) => {
      this.#observed(() => this.events.emit('listening', port));
    },
  };

  /** @param options.io the body; the default is Node's own sockets */
  constructor(options: { readonly io?: IO } = {}) {
    this.#io = options.io;
  }

  /**
   * Chooses the body.
   *
   * @throws ReactorAlreadyInstalledError once the reactor has been used
   */
  install(io: IO): void {
    if (this.#io !== undefined) {
      throw new ReactorAlreadyInstalledError(
        `cannot install ${io.name}: the reactor already uses ${this.#io.name}`,
      );
    }
    this.#io = io;
  }

  #body(): IO {
    this.#io ??= bodyByName(process.env['PLAIT_IO'] ?? 'node');
    return this.#io;
  }

  // ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  seconds(): Seconds {
    return this.#body().now();
  }

  callLater<A extends unknown[]>(
    delay: Seconds,
    fn: (...args: A) => unknown,
    ...args: A
  ): IDelayedCall;
  callLater(delay: Seconds, fn: () => unknown): IDelayedCall {
    // A rest parameter would cost every call an array.
    return this.#calls.add(
      delay,
      fn,
      arguments.length > 2 ? (Array.prototype.slice.call(arguments, 2) as []) : undefined,
    );
  }

  getDelayedCalls(): IDelayedCall[] {
    return this.#calls.pending();
  }

  #rearm(): void {
    if (this.#passing) return;
    const next = this.#calls.nextTime();
    if (next === undefined) {
      this.#alarm?.clear();
      return;
    }
    this.#alarm ??= this.#body().alarm(() => this.#pass());
    this.#alarm.set(next);
  }

  #pass(): void {
    this.#passing = true;
    this.#calls.runDue();
    this.#passing = false;
    this.#rearm();
  }

  // ── Starting and stopping ────────────────────────────────────────────────────────────────────────────────────────

  get running(): boolean {
    return this.#state === 'running' || this.#state === 'stopping';
  }

  /**
   * Marks the reactor as running, keeps the process alive, and returns a Deferred that fires after shutdown. It cannot
   * block, so the statements after it run at once. SIGINT and SIGTERM (SIGBREAK too on Windows) stop the reactor.
   * A reactor that has stopped may run again.
   *
   * @throws ReactorAlreadyRunning
   */
  run(options: { installSignalHandlers?: boolean } = {}): Deferred<void> {
    if (this.#state !== 'stopped')
      throw new ReactorAlreadyRunning('cannot run: the reactor is already running');
    this.#state = 'starting';
    this.exitSignal = undefined;
    const stopped = new Deferred<void>();
    this.#stopped = stopped;
    this.#release = [
      this.#body().keepAlive(),
      observeUnhandledFailures((unhandled) => this.events.emit('unhandledFailure', unhandled)),
    ];
    if (options.installSignalHandlers !== false) {
      for (const name of STOP_SIGNALS)
        this.#release.push(this.#body().onSignal(name, () => this.#signalled(name)));
    }
    void this.#triggers.fire('startup', () => {
      if (this.#stopped !== stopped) return false; // it has crashed meanwhile
      if (this.#state === 'starting') this.#state = 'running';
      this.#observed(() => this.events.emit('startup'));
      return true;
    });
    return stopped;
  }

  /**
   * Fires the shutdown event at the end of this turn: its `before` triggers may take their time; then every connection
   * is lost with ConnectionLost and every port closed.
   *
   * @throws ReactorNotRunning
   */
  stop(): void {
    if (this.#state === 'stopped' || this.#state === 'stopping') {
      throw new ReactorNotRunning(
        `cannot stop: the reactor is ${this.#state === 'stopped' ? 'not running' : 'stopping already'}`,
      );
    }
    this.#state = 'stopping';
    const stopped = this.#stopped;
    // If it crashes meanwhile, what is left of this stop must not touch a later run.
    const crashed = () => this.#stopped !== stopped;
    this.#home.soon(() => {
      if (crashed()) return;
      const down = this.#triggers.fire('shutdown', () => {
        if (crashed()) return false;
        this.#disconnectAll();
        this.#observed(() => this.events.emit('shutdown'));
        return true;
      });
      down.addCallback(() => {
        // What a connectionLost has asked for in its last turn is still done.
        this.#home.soon(() => {
          if (!crashed()) this.#halt();
        });
      });
    });
  }

  /**
   * Stops at once: no trigger runs, and nothing is closed.
   *
   * @throws ReactorNotRunning
   */
  crash(): void {
    if (this.#state === 'stopped')
      throw new ReactorNotRunning('cannot crash: the reactor is not running');
    this.#halt();
  }

  #halt(): void {
    this.#state = 'stopped';
    const [stopped, releases] = [this.#stopped, this.#release];
    this.#stopped = undefined;
    this.#release = [];
    // A call that still waits is made if the process lives on, but is no reason for it to.
    this.#alarm?.clear();
    stopped?.callback();
    reportUnhandledFailures();
    for (const release of releases) release();
  }

  /** Nothing depends on who listens to the events: what they throw is logged. */
  #observed(emit: () => void): void {
    try {
      emit();
    } catch (error) {
      log.failure('a listener of reactor.events failed', new Failure(error));
    }
  }

  #signalled(name: string): void {
    if (this.#state === 'stopping') {
      log.info('{name} received while stopping already', { name });
      return;
    }
    log.info('{name} received, stopping', { name });
    this.exitSignal = name;
    this.stop();
  }

  #disconnectAll(): void {
    const reason = new Failure(new ConnectionLost('connection was cut: the reactor has stopped'));
    for (const thing of [...this.#open]) thing.connectionLost(reason);
  }

  addSystemEventTrigger<A extends unknown[]>(
    phase: TriggerPhase,
    eventType: string,
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID {
    return this.#triggers.add(phase, eventType, () => fn(...args));
  }

  removeSystemEventTrigger(id: TriggerID): void {
    this.#triggers.remove(id);
  }

  fireSystemEvent(eventType: string): Deferred<void> {
    return this.#triggers.fire(eventType);
  }

  callWhenRunning<A extends unknown[]>(
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID | undefined {
    if (!this.running) return this.addSystemEventTrigger('after', 'startup', fn, ...args);
    try {
      fn(...args);
    } catch (error) {
      log.failure('a function called when running failed', new Failure(error));
    }
    return undefined;
  }

  // ── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws RangeError for a port, a backlog or an interface that cannot be */
  listenTCP(
    port: number,
    factory: IProtocolFactory,
    options: ListenTCPOptions = {},
  ): IListeningPort {
    const { backlog = BACKLOG, interface: where = '' } = options;
    checkPort(port);
    checkBacklog(backlog);
    const host = where === '' ? '0.0.0.0' : checkHost(where);
    return this.#listen(new Port(this.#home, this.#body(), { host, port, backlog }, factory));
  }

  listenUNIX(
    path: string,
    factory: IProtocolFactory,
    options: ListenUNIXOptions = {},
  ): IListeningPort {
    const { backlog = BACKLOG, mode = 0o666 } = options;
    checkBacklog(backlog);
    return this.#listen(
      new Port(this.#home, this.#body(), { path: checkPath(path), mode, backlog }, factory),
    );
  }

  #listen(port: Port): Port {
    port.startListening();
    return port;
  }

  /** @throws RangeError for a host, a port, a local address or a timeout that cannot be */
  connectTCP(
    host: string,
    port: number,
    factory: IClientFactory,
    options: ConnectTCPOptions = {},
  ): IConnector {
    const { timeout = CONNECT_TIMEOUT, bindAddress } = options;
    checkHost(host);
    checkPort(port, 1);
    if (timeout !== null) checkDelay(timeout, 'timeout');
    if (bindAddress !== undefined) checkBindAddress(bindAddress);
    const io = this.#body();
    const dial = (events: ConnectEvents): Attempt =>
      resolved(
        io,
        host,
        (error) => events.failed(error),
        (address) => io.connect({ host: address, port, bindAddress }, events),
      );
    const destination = isIPAddress(host)
      ? ipAddress('TCP', host, port)
      : new HostnameAddress(host, port);
    return this.#connect(new Connector(this.#home, dial, destination, factory, timeout));
  }

  connectUNIX(
    path: string,
    factory: IClientFactory,
    options: { readonly timeout?: Seconds | null } = {},
  ): IConnector {
    const { timeout = CONNECT_TIMEOUT } = options;
    checkPath(path);
    if (timeout !== null) checkDelay(timeout, 'timeout');
    const io = this.#body();
    const dial = (events: ConnectEvents): Attempt => io.connect({ path }, events);
    return this.#connect(new Connector(this.#home, dial, new UNIXAddress(path), factory, timeout));
  }

  #connect(connector: Connector): Connector {
    connector.connect();
    return connector;
  }

  /**
   * The address of a host, as an IP literal: an IPv4 one if there is any. `''` is any address, `0.0.0.0`. Fails with
   * DNSLookupError. Cancelling forgets the lookup.
   */
  resolve(name: string): Deferred<string> {
    if (name === '') return succeed('0.0.0.0');
    checkHost(name);
    const deferred: Deferred<string> = new Deferred<string>(() => {
      attempt.cancel();
    });
    const attempt = resolved(
      this.#body(),
      name,
      (error) => deferred.errback(error),
      (address) => {
        deferred.callback(address);
        return { cancel() {} };
      },
    );
    return deferred;
  }
}

function bodyByName(name: string): IO {
  if (name === 'node') return new NodeIO();
  throw new RangeError(
    `PLAIT_IO names a body that does not exist: ${JSON.stringify(name)}; there is "node"`,
  );
}

function checkBacklog(backlog: number): void {
  if (!Number.isInteger(backlog) || backlog < 1) {
    throw new RangeError(`backlog must be a whole number from 1, not ${backlog}`);
  }
}

function checkBindAddress({ host, port = 0 }: { host: string; port?: number }): void {
  if (host !== '' && !isIPAddress(host))
    throw new RangeError(`bindAddress.host must be an IP address, not ${JSON.stringify(host)}`);
  checkPort(port);
}

/** `path` if a UNIX socket can have it: some system calls would see only what stands before a NUL. */
function checkPath(path: string): string {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new InvalidAddressError(`not a path for a UNIX socket: ${JSON.stringify(path)}`);
  }
  return path;
}

/** Goes on with the address of `host`: itself if it is a literal; else the first IPv4 one, or the first. */
function resolved(
  io: IO,
  host: string,
  failed: (error: Error) => void,
  next: (address: string) => Attempt,
): Attempt {
  if (isIPAddress(host)) return next(host);
  let attempt = io.resolve(host, (error, addresses) => {
    const address = addresses.find((candidate) => !candidate.includes(':')) ?? addresses[0];
    if (address !== undefined) attempt = next(address);
    else failed(lookupError(host, error));
  });
  return {
    cancel() {
      attempt.cancel();
    },
  };
}

function lookupError(host: string, cause: Error | undefined): DNSLookupError {
  return cause === undefined
    ? new DNSLookupError(`no address is known for ${host}`)
    : new DNSLookupError(`cannot look up ${host}: ${explain(cause)}`, { cause });
}

const registry = globalThis as unknown as Record<symbol, Reactor | undefined>;

/** The process's own reactor; the same one for every copy of the package that is loaded. */
export const reactor: Reactor = (registry[Symbol.for('plait.reactor')] ??= new Reactor());

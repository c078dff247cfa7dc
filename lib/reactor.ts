/**
 * The reactor. The loop is Node's; the reactor is the object through which code asks it for things (a call in a
 * second, a port, a connection), so that a double can answer instead. Constructing one opens nothing and starts
 * nothing. Twisted: `twisted.internet.reactor`. What it does besides connecting is in `reactor-base`.
 *
 * I/O and timers work whether it runs or not; `run` is for programs that plait is the main part of: it keeps the
 * process alive, handles the signals that stop it, and fires the events of starting up and shutting down.
 */
import {
  checkHost,
  checkPort,
  HostnameAddress,
  ipAddress,
  isIPAddress,
  UNIXAddress,
} from './address.ts';
import { Deferred } from './defer.ts';
import { DNSLookupError, explain, InvalidAddressError } from './errors.ts';
import type {
  ConnectTCPOptions,
  IClientFactory,
  IConnector,
  IListeningPort,
  IProtocolFactory,
  IReactorTCP,
  IReactorUNIX,
  ListenTCPOptions,
  ListenUNIXOptions,
  Seconds,
} from './interfaces.ts';
import type { Attempt, ConnectEvents, IO } from './io/io.ts';
import { succeed } from './maybe.ts';
import { ReactorBase } from './reactor-base.ts';
import { checkDelay } from './time.ts';
import { Connector } from './transport/connect.ts';
import { Port } from './transport/listen.ts';

/** Seconds that `connectTCP` allows by default. */
const CONNECT_TIMEOUT: Seconds = 30;

const BACKLOG = 50;

/**
 * Asks the operating system for things, and calls back when they happen. There may be many, each with its own timers
 * and connections; `reactor` is the process's own.
 */
export class Reactor extends ReactorBase implements IReactorTCP, IReactorUNIX {
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
    return this.#listen(new Port(this.home, this.body(), { host, port, backlog }, factory));
  }

  listenUNIX(
    path: string,
    factory: IProtocolFactory,
    options: ListenUNIXOptions = {},
  ): IListeningPort {
    const { backlog = BACKLOG, mode = 0o666 } = options;
    checkBacklog(backlog);
    return this.#listen(
      new Port(this.home, this.body(), { path: checkPath(path), mode, backlog }, factory),
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
    const io = this.body();
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
    return this.#connect(new Connector(this.home, dial, destination, factory, timeout));
  }

  connectUNIX(
    path: string,
    factory: IClientFactory,
    options: { readonly timeout?: Seconds | null } = {},
  ): IConnector {
    const { timeout = CONNECT_TIMEOUT } = options;
    checkPath(path);
    if (timeout !== null) checkDelay(timeout, 'timeout');
    const io = this.body();
    const dial = (events: ConnectEvents): Attempt => io.connect({ path }, events);
    return this.#connect(new Connector(this.home, dial, new UNIXAddress(path), factory, timeout));
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
      this.body(),
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

/**
 * How incoming connections are born: a port that listens, over any body and any kind of wire. Twisted:
 * `twisted.internet.tcp.Port` and `twisted.internet.unix.Port`.
 */
import type { Address } from '../address.ts';
import { checkOneOf, checkOptions, checkTimeLimit } from '../arguments.ts';
import { Deferred } from '../defer.ts';
import {
  AlreadyListened,
  CannotListenError,
  explain,
  NotListeningError,
  UnsupportedSocketType,
} from '../errors.ts';
import { Failure } from '../failure.ts';
import { finishWithHook, watchHook } from '../hooks.ts';
import type {
  AddressFamily,
  IDelayedCall,
  IListeningPort,
  IProtocol,
  IProtocolFactory,
  IReactorTime,
  Seconds,
  StopListeningOptions,
} from '../interfaces.ts';
import type { IO, ListenerEvents, ListenTarget, Wire, WireListener } from '../io/io.ts';
import type { OpenKind } from '../inspect.ts';
import { Logger } from '../log.ts';
import { logHookFailure, logPrefixOf } from '../log-prefix.ts';
import { succeed } from '../maybe.ts';
import { buildFrom } from '../protocol.ts';
import { fireEach } from '../waiters.ts';
import { endUnlessTaken, noteNotStarted } from './bind-failure.ts';
import type { Closable, Home } from './home.ts';
import { Stream } from './stream.ts';
import type { Securing } from './tls.ts';
import { INSPECT, inspected, type Inspecting } from '../one-line.ts';

const log = new Logger('plait.transport');

/** Seconds that connections are given to drain, by default. */
const GRACE: Seconds = 30;

/** Seconds between two complaints about a want of descriptors. */
const COMPLAINT_INTERVAL: Seconds = 60;

/** A socket that is bound already, in place of where to bind one. */
export interface AdoptTarget {
  readonly fd: number;
  readonly family: AddressFamily;
  readonly backlog: number;
}

/** What a port is doing. While it drains, its listener is closed, and it waits for its connections to end. */
type State = 'closed' | 'binding' | 'listening' | 'closing' | 'draining';

/** Takes connections and builds a protocol for each. Made by `listenTCP` and its like. */
export class Port implements IListeningPort, Closable, AsyncDisposable {
  readonly #home: Home & IReactorTime;
  readonly #io: IO;
  readonly #target: ListenTarget | AdoptTarget;
  readonly #factory: IProtocolFactory;
  readonly #securing: Securing | undefined;
  #state: State = 'closed';
  #listener: WireListener | undefined;
  #address: Address | undefined;
  /** How the latest attempt to listen ended; undefined while it is going on. */
  #outcome: Failure | 'listening' | undefined;
  #readers: Deferred<IListeningPort>[] = [];
  /** How often `ready` was asked for. Each attempt has a count of its own. */
  #watched = { looks: 0 };
  #stopped: Deferred<void>[] = [];
  #factoryStarted = false;
  /** What its factory could not be started for. */
  #fatal: Failure | undefined;
  /** The connections that it has taken, and that are not gone. */
  readonly #streams = new Set<Stream>();
  /** It is not over before they are gone. */
  #waits = false;
  /** Aborts those that still drain. */
  #timer: IDelayedCall | undefined;
  /** When it last complained about a want of descriptors. */
  #complained: Seconds = -Infinity;
  /** Its descriptor, if it was given one, is used up. */
  #adopted = false;

  constructor(
    home: Home & IReactorTime,
    io: IO,
    target: ListenTarget | AdoptTarget,
    factory: IProtocolFactory,
    securing?: Securing,
  ) {
    this.#home = home;
    this.#io = io;
    this.#target = target;
    this.#factory = factory;
    this.#securing = securing;
  }

  /** @internal One look less: see `unlook` of bind-failure. */
  unlook(): void {
    if (!(this.#outcome instanceof Failure)) this.#watched.looks--;
  }

  /** Each look gives a Deferred of its own, so that several may wait. */
  get ready(): Deferred<IListeningPort> {
    const ready = new Deferred<IListeningPort>();
    this.#watched.looks++;
    if (this.#outcome === undefined) this.#readers.push(ready);
    else if (this.#outcome === 'listening') ready.callback(this);
    else ready.errback(this.#outcome);
    return ready;
  }

  startListening(): void {
    if (this.#state !== 'closed')
      throw new Error(`cannot start to listen: the port is ${this.#state}`);
    this.#state = 'binding';
    this.#outcome = this.#listener = this.#address = undefined;
    this.#watched = { looks: 0 };
    const { cut } = this.#home;
    const refused = cut === undefined ? undefined : new Failure(this.#cannotListen(cut.value));
    if (refused !== undefined && !('fd' in this.#target)) {
      this.#outcome = refused;
      this.#state = 'closed';
      return;
    }
    this.#home.opened(this);
    try {
      this.#listener = this.#open({
        listening: (address) => {
          this.#listening(address);
        },
        failed: (error) => {
          this.#failed(this.#cannotListen(error));
        },
        accepted: (wire) => {
          this.#accepted(wire);
        },
        starved: (error) => {
          this.#starved(error);
        },
        closed: () => {
          this.#closed();
        },
      });
    } catch (error) {
      // The caller gets the error, and nothing else waits for it.
      this.#outcome = new Failure(error);
      this.#over(this.#outcome);
      throw error;
    }
    // A descriptor that it was given is closed with it all the same.
    if (refused !== undefined) this.#close(refused);
    this.#closeListener();
  }

  #open(events: ListenerEvents): WireListener {
    const target = this.#target;
    if (!('fd' in target)) return this.#io.listen(target, events);
    if (this.#adopted) {
      throw new AlreadyListened(
        `cannot listen on descriptor ${target.fd} again: it was closed with the port`,
      );
    }
    const { fd, family, backlog } = target;
    const listener = this.#io.adoptPort?.(fd, family, backlog, events);
    if (listener === undefined)
      throw new UnsupportedSocketType(`the body ${this.#io.name} can adopt no sockets`);
    this.#adopted = true;
    return listener;
  }

  #cannotListen(error: Error): CannotListenError {
    const target = this.#target;
    return 'host' in target
      ? new CannotListenError(target.host, target.port, error)
      : new CannotListenError(this.#where(), undefined, error);
  }

  /** Where it was asked to listen. */
  #where(): string {
    const target = this.#target;
    if ('host' in target) return `port ${target.port}`;
    return 'path' in target ? target.path.replace(/^\0/, '@') : `descriptor ${target.fd}`;
  }

  #listening(address: Address): void {
    this.#address = address;
    let started: unknown;
    try {
      started = this.#factory.doStart();
    } catch (error) {
      this.#notStarted(new Failure(error));
      return;
    }
    this.#factoryStarted = true;
    this.#state = this.#outcome = 'listening';
    watchHook(started, 'startFactory', this);
    // A generator may have failed at once.
    if ((this.#state as State) !== 'listening') return;
    this.#logState('{factory} starting on {address}');
    this.#home.listening(this);
    for (const reader of this.#takeReaders()) reader.callback(this);
  }

  /** @internal `startFactory` has failed after it returned: the port is closed, as if it had thrown. */
  hookFailed(hook: string, failure: Failure): void {
    if (this.#state === 'listening') this.#notStarted(failure);
    else this.#logFailure(hook, failure);
  }

  #notStarted(failure: Failure): void {
    this.#logFailure('startFactory', failure);
    noteNotStarted(failure.value);
    this.#fatal = failure;
    this.#close(failure);
  }

  #logFailure(hook: string, failure: Failure, peer?: Address): void {
    const where = { factory: this.#factory, address: this.#address ?? this.#where() };
    logHookFailure(log, hook, failure, peer === undefined ? where : { ...where, peer });
  }

  /** Logs that it has come to listen, or listens no more. */
  #logState(format: string): void {
    const address = this.#address;
    const secured = this.#securing === undefined ? '' : ' (TLS)';
    log.info(format, {
      factory: `${logPrefixOf(this.#factory)}${secured}`,
      address,
      ...(address !== undefined && 'host' in address && { host: address.host, port: address.port }),
    });
  }

  #failed(error: Error): void {
    const failure = new Failure(error);
    this.#outcome = failure;
    endUnlessTaken(this.#home, error, this.#watched);
    this.#over(failure);
  }

  #takeReaders(): Deferred<IListeningPort>[] {
    const readers = this.#readers;
    this.#readers = [];
    return readers;
  }

  #accepted(wire: Wire): void {
    let protocol: IProtocol | null;
    try {
      protocol = buildFrom(this.#factory, wire.peer);
    } catch (error) {
      this.#logFailure('buildProtocol', new Failure(error), wire.peer);
      wire.destroy();
      return;
    }
    if (protocol === null) {
      wire.close();
      return;
    }
    const stream = new Stream(this.#home, wire, this.#lost);
    this.#streams.add(stream);
    stream.begin(protocol, this.#securing);
  }

  /** One function for all connections: a closure for each would cost memory. */
  readonly #lost = (_reason: Failure, stream: Stream): void => {
    this.#streams.delete(stream);
    if (this.#state === 'draining' && this.#streams.size === 0) this.#finish();
  };

  #starved(error: Error): void {
    const now = this.#home.seconds();
    if (now - this.#complained < COMPLAINT_INTERVAL) return;
    this.#complained = now;
    const fields = { port: this.toString(), why: explain(error) };
    log.warn('{port} turns connections away until descriptors are free: {why}', fields);
  }

  // ── Stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────

  stopListening(options: StopListeningOptions = {}): Deferred<void> {
    const { connections = 'keep', grace = GRACE } = checkOptions(options, 'stopListening: options');
    checkOneOf(connections, 'stopListening: connections', ['keep', 'drain', 'abort']);
    checkTimeLimit(grace, 'stopListening: grace');
    const idle = connections === 'keep' || this.#streams.size === 0;
    if (this.#state === 'closed' && idle) return succeed();
    const stopped = new Deferred<void>();
    this.#stopped.push(stopped);
    if (connections !== 'keep') this.#endConnections(connections, grace);
    if (this.#state === 'closed') {
      // Those that an earlier stop has kept.
      this.#state = 'draining';
      this.#home.opened(this);
    } else if (this.#state === 'binding' || this.#state === 'listening') {
      this.#close(this.#stoppedFailure());
    }
    return stopped;
  }

  #stoppedFailure(): Failure {
    return new Failure(this.#cannotListen(new NotListeningError('the port was stopped')));
  }

  #endConnections(how: 'drain' | 'abort', grace: Seconds | null): void {
    const began = this.#waits;
    this.#waits = true;
    this.#cancelTimer();
    if (how === 'abort') {
      this.#abortAll();
      return;
    }
    if (grace !== null) this.#timer = this.#home.callLater(grace, () => this.#abortAll());
    if (began) return;
    this.#home.soon(() => {
      for (const stream of [...this.#streams]) stream.drain();
    });
  }

  #abortAll(): void {
    for (const stream of [...this.#streams]) stream.abortConnection();
  }

  #cancelTimer(): void {
    if (this.#timer?.active() === true) this.#timer.cancel();
    this.#timer = undefined;
  }

  /** @param why what `ready` fails with */
  #close(why: Failure): void {
    this.#state = 'closing';
    this.#outcome = why;
    this.#closeListener();
  }

  /** There is no listener yet where the body has reported something before it returned one. */
  #closeListener(): void {
    if (this.#state === 'closing') this.#listener?.close();
  }

  /** The listener is closed. */
  #closed(): void {
    if (this.#factoryStarted) this.#logState('{factory} has stopped listening on {address}');
    if (this.#waits && this.#streams.size > 0) this.#state = 'draining';
    else this.#finish();
  }

  /** The listener is closed, and no connection is waited for. */
  #finish(): void {
    const why = this.#outcome as Failure;
    if (!this.#factoryStarted) {
      this.#over(why);
      return;
    }
    this.#factoryStarted = false;
    this.#state = 'closing';
    finishWithHook(
      'stopFactory',
      () => this.#factory.doStop(),
      this.#home,
      (failure) => this.#over(why, failure),
      { factory: logPrefixOf(this.#factory), address: this.#address },
    );
  }

  /**
   * It does not listen, for the reason given.
   *
   * @param failure what `stopFactory` failed with: for those who have stopped the port, else for the log
   */
  #over(why: Failure, failure?: Failure): void {
    this.#state = 'closed';
    this.#waits = false;
    this.#cancelTimer();
    this.#home.closed(this);
    const stopped = this.#stopped;
    this.#stopped = [];
    for (const reader of this.#takeReaders()) reader.errback(why);
    const fatal = this.#fatal;
    this.#fatal = undefined;
    if (fatal !== undefined) endUnlessTaken(this.#home, fatal.value, this.#watched);
    if (failure !== undefined && stopped.length === 0) this.#logFailure('stopFactory', failure);
    fireEach(stopped, failure);
  }

  /** The reactor stops. */
  connectionLost(): void {
    if (this.#state === 'binding' || this.#state === 'listening')
      this.#close(this.#stoppedFailure());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stopListening().asPromise();
  }

  get kind(): OpenKind {
    return 'port';
  }

  getHost(): Address {
    if (this.#address === undefined) {
      throw new NotListeningError(
        'the port is not bound yet: its address is known when `ready` fires',
      );
    }
    return this.#address;
  }

  toString(): string {
    return `<Port ${this.#state} ${this.#address ?? this.#where()}>`;
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

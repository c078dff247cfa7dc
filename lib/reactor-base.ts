/**
 * What every reactor is below its ways to connect: a clock with calls that wait on it, starting and stopping, and the
 * signals. Twisted: `ReactorBase` of `twisted.internet.base`.
 */
import { EventEmitter } from 'eventemitter3';
import { Deferred } from './defer.ts';
import {
  ConnectionLost,
  ReactorAlreadyInstalledError,
  ReactorAlreadyRunning,
  ReactorNotRunning,
} from './errors.ts';
import { Failure } from './failure.ts';
import type {
  IDelayedCall,
  IListeningPort,
  IReactorCore,
  IReactorTime,
  ITransport,
  Seconds,
  TriggerID,
  TriggerPhase,
} from './interfaces.ts';
import type { Alarm, IO } from './io/io.ts';
import { NodeIO } from './io/node.ts';
import { Logger } from './log.ts';
import { CallQueue } from './time.ts';
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

/** What a reactor is doing. */
type State = 'stopped' | 'starting' | 'running' | 'stopping';

/** A reactor without its connections. */
export class ReactorBase implements IReactorCore, IReactorTime {
  /** Happenings, for whoever likes to know. */
  readonly events: EventEmitter<ReactorEvents> = new EventEmitter<ReactorEvents>();
  /** The signal that stopped it, if one did. */
  exitSignal: string | undefined;
  #io: IO | undefined;
  #state: State = 'stopped';
  readonly #calls: CallQueue = new CallQueue(
    () => this.body().now(),
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
  protected readonly home: Home & IReactorTime = {
    seconds: () => this.seconds(),
    callLater: (delay, fn, ...args) => this.callLater(delay, fn, ...args),
    getDelayedCalls: () => this.getDelayedCalls(),
    soon: (fn) => {
      this.body().soon(fn);
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

  /** The body, once something is asked of it. */
  protected body(): IO {
    this.#io ??= bodyByName(process.env['PLAIT_IO'] ?? 'node');
    return this.#io;
  }

  // ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  seconds(): Seconds {
    return this.body().now();
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
    this.#alarm ??= this.body().alarm(() => this.#pass());
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
      this.body().keepAlive(),
      observeUnhandledFailures((unhandled) => this.events.emit('unhandledFailure', unhandled)),
    ];
    if (options.installSignalHandlers !== false) {
      for (const name of STOP_SIGNALS)
        this.#release.push(this.body().onSignal(name, () => this.#signalled(name)));
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
    this.home.soon(() => {
      if (crashed()) return;
      const down = this.#triggers.fire('shutdown', () => {
        if (crashed()) return false;
        this.#disconnectAll();
        this.#observed(() => this.events.emit('shutdown'));
        return true;
      });
      down.addCallback(() => {
        // What a connectionLost has asked for in its last turn is still done.
        this.home.soon(() => {
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
}

function bodyByName(name: string): IO {
  if (name === 'node') return new NodeIO();
  throw new RangeError(
    `PLAIT_IO names a body that does not exist: ${JSON.stringify(name)}; there is "node"`,
  );
}

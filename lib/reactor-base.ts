/**
 * What every reactor is below its ways to connect: a clock with calls that wait on it, starting and stopping, and the
 * signals. Twisted: `ReactorBase` of `twisted.internet.base`.
 */
import { constants } from 'node:os';
import type { EventEmitter } from 'eventemitter3';
import {
  checkBoolean,
  checkFunction,
  checkMethods,
  checkOptions,
  checkString,
  checkTimeLimit,
  checkWhole,
  optional,
} from './arguments.ts';
import { Deferred } from './defer.ts';
import {
  ConnectionLost,
  ReactorAlreadyInstalledError,
  ReactorAlreadyRunning,
  ReactorNotRunning,
} from './errors.ts';
import { Failure } from './failure.ts';
import { noteFunction, outside } from './frames.ts';
import { loggedBy, watchHook } from './hooks.ts';
import type {
  IDelayedCall,
  IListeningPort,
  IReactorCore,
  IReactorSignals,
  IReactorThreads,
  IReactorTime,
  ITransport,
  RunOptions,
  Seconds,
  TriggerID,
  TriggerPhase,
} from './interfaces.ts';
import type { Alarm, IO } from './io/io.ts';
import { NodeIO } from './io/node.ts';
import { type Inspection, inspection } from './inspect.ts';
import type { HookResult } from './interfaces.ts';
import { Logger } from './log.ts';
import { ObservedEvents } from './observed-events.ts';
import { getDebugging, pendingDeferreds, setDebugging } from './pending.ts';
import { MOST_NAMED, Shutdown } from './shutdown.ts';
import { Signals } from './signals.ts';
import { type DebugOptions, type SlowCallback, SlowCallbacks } from './slow-callbacks.ts';
import { type AnyFunction, ThreadCalls } from './threads/calls.ts';
import { ThreadPool } from './threads/pool.ts';
import type { ThreadWork } from './threads/task.ts';
import { CallQueue } from './time.ts';
import type { Closable, Home } from './transport/home.ts';
import { Stream } from './transport/stream.ts';
import { nameOfFunction, SystemEvents } from './triggers.ts';
import {
  observeUnhandledFailures,
  reportUnhandledFailures,
  type UnhandledFailure,
} from './unhandled.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.reactor');

const logging = loggedBy(log);

/** What can be observed on `reactor.events`. Nothing in plait depends on a listener. */
export interface ReactorEvents {
  startup: () => HookResult;
  shutdown: () => HookResult;
  listening: (port: IListeningPort) => HookResult;
  connected: (transport: ITransport) => HookResult;
  disconnected: (transport: ITransport) => HookResult;
  /** While the reactor runs: an unhandled failure in a Deferred, when it is reported. */
  unhandledFailure: (unhandled: UnhandledFailure) => HookResult;
  /** In debug mode: a function that the reactor called has taken long. */
  slowCallback: (slow: SlowCallback) => HookResult;
}

/** Seconds that the triggers before a shutdown have, and then that threads have, by default. */
const SHUTDOWN_TIMEOUT: Seconds = 60;
const THREAD_GRACE: Seconds = 30;

/** Seconds that it may take to end threads that were told to. */
const THREADS_END: Seconds = 5;

/** The signals that stop a running reactor. Only Windows has the last; elsewhere it is never sent. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGBREAK'];

/** What a reactor is doing. */
type State = 'stopped' | 'starting' | 'running' | 'stopping';

/** A reactor without its connections. */
export class ReactorBase implements IReactorCore, IReactorTime, IReactorThreads, IReactorSignals {
  /** What happens, for programs that want to observe it. */
  readonly events: EventEmitter<ReactorEvents> = new ObservedEvents<ReactorEvents>(
    'a listener of reactor.events',
    log,
  );
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
  readonly #signals = new Signals();
  readonly #threadCalls = new ThreadCalls((fn) => this.body().soon(fn));
  #threadPool: ThreadPool | undefined;
  /** Whether Deferreds were debugged before debug mode came to be on. */
  #deferredDebugging = false;
  readonly #open = new Set<Closable>();
  /** The Deferred that `run` returned. */
  #stopped: Deferred<void> | undefined;
  /** The shutdown that is going on. */
  #shutdown: Shutdown | undefined;
  #limits: { readonly shutdown: Seconds | null; readonly threads: Seconds | null } = {
    shutdown: SHUTDOWN_TIMEOUT,
    threads: THREAD_GRACE,
  };
  /** Whether signals stop it. */
  #handlesSignals = false;
  /** Undoes what `run` did to the process. */
  #release: (() => void)[] = [];
  /** What only transports may ask of the reactor. */
  protected readonly home: Home &
    IReactorTime & { cut?: Failure | undefined; slow?: SlowCallbacks | undefined } = {
    clock: this,
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
    cut: undefined,
    slow: undefined,
  };

  /**
   * @param options.io the body; the default is Node's own sockets
   * @param options.debug as the property `debug`; on by default where `PLAIT_DEBUG` is 1
   */
  constructor(options: { readonly io?: IO; readonly debug?: boolean | DebugOptions } = {}) {
    const { io, debug = process.env['PLAIT_DEBUG'] === '1' } = checkOptions(
      options,
      'Reactor: options',
    );
    this.#io = optional(io, checkBody, 'Reactor: io');
    if (debug !== false) this.debug = debug;
  }

  /**
   * Debug mode, or false: a function that the reactor calls and that takes longer than `slowCallback` (seconds, 0.1 if
   * left out) is logged and emitted by `events`; delayed calls and Deferreds remember where they were made. Connections
   * and calls made before it is switched are as they were.
   */
  get debug(): DebugOptions | false {
    return this.home.slow ?? false;
  }

  set debug(debug: boolean | DebugOptions) {
    if (typeof debug !== 'boolean') checkOptions(debug, 'debug', 'true, false or options');
    const before = this.home.slow;
    const slow =
      debug === false
        ? undefined
        : new SlowCallbacks(
            debug === true ? {} : debug,
            () => this.seconds(),
            (found) => this.#foundSlow(found),
          );
    this.#calls.slow = this.home.slow = slow;
    if (before === undefined && slow !== undefined) {
      this.#deferredDebugging = getDebugging();
      setDebugging(true);
    } else if (before !== undefined && slow === undefined) {
      setDebugging(this.#deferredDebugging);
    }
  }

  #foundSlow(found: SlowCallback): void {
    log.warn('{what} took {seconds} s, and held up everything else', { ...found });
    this.#observed(() => this.events.emit('slowCallback', found));
  }

  /** Calls `fn(...args)`, measured in debug mode. */
  #call<A extends unknown[], R>(kind: string, fn: (...args: A) => R, args: A): R {
    const { slow } = this.home;
    return slow === undefined ? fn(...args) : slow.timeFunction(kind, fn, () => fn(...args));
  }

  /**
   * Chooses the body.
   *
   * @throws ReactorAlreadyInstalledError once the reactor has been used
   */
  install(io: IO): void {
    checkBody(io, 'install: io');
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
    if (!this.#calls.holds) this.#alarm.unref?.();
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
   * block, so the statements after it run at once. SIGINT and SIGTERM (SIGBREAK too on Windows) stop the reactor; one
   * that comes when it has been stopping for a second ends the process. A reactor that has stopped may run again.
   *
   * @throws ReactorAlreadyRunning
   * @throws RangeError for times that cannot be
   */
  run(options: RunOptions = {}): Deferred<void> {
    if (this.#state !== 'stopped')
      throw new ReactorAlreadyRunning('cannot run: the reactor is already running');
    const {
      installSignalHandlers = true,
      shutdownTimeout = SHUTDOWN_TIMEOUT,
      threadGrace = THREAD_GRACE,
    } = checkOptions(options, 'run: options');
    checkBoolean(installSignalHandlers, 'run: installSignalHandlers');
    checkTimeLimit(shutdownTimeout, 'run: shutdownTimeout');
    checkTimeLimit(threadGrace, 'run: threadGrace');
    this.#limits = { shutdown: shutdownTimeout, threads: threadGrace };
    this.#handlesSignals = installSignalHandlers;
    this.#state = 'starting';
    this.#calls.takeBack();
    this.exitSignal = undefined;
    const stopped = new Deferred<void>();
    this.#stopped = stopped;
    this.#release = [
      this.body().keepAlive(),
      observeUnhandledFailures((unhandled) => this.events.emit('unhandledFailure', unhandled)),
    ];
    if (installSignalHandlers) {
      for (const name of STOP_SIGNALS)
        this.#release.push(this.body().onSignal(name, () => this.#signalled(name)));
    }
    void this.#triggers.fire('startup', {
      own: () => {
        if (this.#stopped !== stopped) return false; // it has crashed meanwhile
        if (this.#state === 'starting') this.#state = 'running';
        this.#observed(() => this.events.emit('startup'));
        return true;
      },
    });
    return stopped;
  }

  /**
   * Fires the shutdown event at the end of this turn: its `before` triggers may take their time, as much as `run` was
   * told; then every connection is lost with ConnectionLost and every port closed; then threads may end what they do.
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
    const { shutdown: timeout, threads: grace } = this.#limits;
    const shutdown = new Shutdown(
      this,
      this.#handlesSignals ? (name) => this.#endProcess(name) : undefined,
    );
    this.#shutdown = shutdown;
    // If it crashes meanwhile, what is left of this stop must not touch a later run.
    const crashed = () => this.#stopped !== stopped;
    this.home.soon(() => {
      if (crashed()) return;
      const down = this.#triggers.fire('shutdown', {
        wait: (things) => shutdown.wait(things, timeout),
        own: () => {
          if (crashed()) return false;
          this.#disconnectAll();
          this.#observed(() => this.events.emit('shutdown'));
          return true;
        },
        between: () => this.#stopThreads(shutdown, grace),
      });
      down.addCallback(() => {
        // What a connectionLost has asked for in its last turn is still done.
        this.home.soon(() => {
          if (crashed()) return;
          const late = this.#open.size > 0;
          this.#disconnectAll(); // what was opened since
          if (!late) this.#halt();
          // What was refused to these is told in the next turn, by a reactor that is still stopping.
          else this.home.soon(() => crashed() || this.#halt());
        });
      });
    });
  }

  /** Waits for what threads still do; then they are ended, and what they did has failed. */
  #stopThreads(shutdown: Shutdown, grace: Seconds | null): Deferred<void> | undefined {
    const pool = this.#threadPool;
    if (pool === undefined) return undefined;
    const work = pool.unfinished;
    const more = work.length > MOST_NAMED ? ` and ${work.length - MOST_NAMED} more` : '';
    const what =
      work.length === 0
        ? 'the ends of threads'
        : `work in threads: ${work.slice(0, MOST_NAMED).join(', ')}${more}`;
    let late = false;
    const giveUp = (): void => {
      late = true;
    };
    return shutdown.wait([{ what, deferred: pool.stop(), giveUp }], grace).addCallback(() => {
      if (!late) return undefined;
      const deferred = pool.stop({ abort: true });
      return shutdown.wait([{ what: 'the ends of threads', deferred, giveUp() {} }], THREADS_END);
    });
  }

  /** A second signal: the shutdown hangs, and the process ends. A body that is no process of its own just stops. */
  #endProcess(name: string): void {
    const signals = constants.signals as Readonly<Record<string, number | undefined>>;
    this.body().exit?.(128 + (signals[name] ?? 0));
    if (this.#hasBegun()) this.crash();
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

  #hasBegun(): boolean {
    return this.#state !== 'stopped';
  }

  #halt(): void {
    this.#state = 'stopped';
    this.home.cut = undefined;
    this.#shutdown?.over();
    this.#shutdown = undefined;
    if (this.#threadPool?.started === false) this.#threadPool = undefined;
    const [stopped, releases] = [this.#stopped, this.#release];
    this.#stopped = undefined;
    this.#release = [];
    // A call that still waits is made if the process lives on, but is no reason for it to.
    this.#calls.letGo();
    if (this.#alarm?.unref === undefined) this.#alarm?.clear();
    else this.#alarm.unref();
    stopped?.callback();
    reportUnhandledFailures();
    for (const release of releases) release();
    // One that was added by the reactor's last callback belongs to a run that has begun meanwhile.
    if (!this.#hasBegun()) this.#signals.removeAll();
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
    if (this.#signals.has(name)) return;
    if (this.#state === 'stopping') {
      log.info('{name} received while stopping already', { name });
    } else {
      log.info('{name} received, stopping', { name });
      this.exitSignal = name;
      this.stop();
    }
    this.#shutdown?.signalled(name);
  }

  #disconnectAll(): void {
    const reason = new Failure(new ConnectionLost('connection was cut: the reactor has stopped'));
    this.home.cut = reason;
    for (const thing of [...this.#open]) thing.connectionLost(reason);
  }

  addSystemEventTrigger<A extends unknown[]>(
    phase: TriggerPhase,
    eventType: string,
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID {
    noteFunction(checkFunction(fn, 'addSystemEventTrigger: fn'));
    const call = () => this.#call(`the trigger ${phase} ${eventType}`, fn, args);
    return this.#triggers.add(phase, eventType, call, nameOfFunction(fn));
  }

  removeSystemEventTrigger(id: TriggerID): void {
    this.#triggers.remove(id);
  }

  fireSystemEvent(eventType: string): Deferred<void> {
    return this.#triggers.fire(checkString(eventType, 'fireSystemEvent: eventType'));
  }

  callWhenRunning<A extends unknown[]>(
    fn: (...args: A) => unknown,
    ...args: A
  ): TriggerID | undefined {
    checkFunction(fn, 'callWhenRunning: fn');
    if (!this.running) return this.addSystemEventTrigger('after', 'startup', fn, ...args);
    try {
      outside(() =>
        watchHook(
          this.#call('the call when running', fn, args),
          'a function called when running',
          logging,
        ),
      );
    } catch (error) {
      log.failure('a function called when running failed', new Failure(error));
    }
    return undefined;
  }

  // ── Signals ──────────────────────────────────────────────────────────────────────────────────────────────────────

  addSignalHandler(name: string, fn: (name: string) => unknown): Disposable {
    const { slow } = this.home;
    if (slow === undefined || typeof fn !== 'function')
      return this.#signals.add(this.body(), name, fn);
    const timed = () => this.#call(`the handler of ${name}`, fn, [name]);
    return this.#signals.add(this.body(), name, timed);
  }

  removeSignalHandler(name: string): boolean {
    return this.#signals.remove(checkString(name, 'removeSignalHandler: name'));
  }

  // ── Threads ──────────────────────────────────────────────────────────────────────────────────────────────────────

  callFromThread<A extends unknown[]>(fn: (...args: A) => unknown, ...args: A): void {
    const { slow } = this.home;
    if (slow === undefined || typeof fn !== 'function') this.#threadCalls.add(fn, args);
    else this.#threadCalls.add(() => this.#call('the call from a thread', fn, args), []);
  }

  allowFromThread(functions: Readonly<Record<string, AnyFunction>>): Disposable {
    return this.#threadCalls.allow(functions);
  }

  allowedFromThread(name: string): AnyFunction {
    return this.#threadCalls.named(checkString(name, 'allowedFromThread: name'));
  }

  getThreadPool(): ThreadPool {
    if (this.#threadPool === undefined) {
      this.#threadPool = new ThreadPool({ reactor: this });
      // Too late: all that is asked of it fails at once.
      if (this.home.cut !== undefined) void this.#threadPool.stop();
    }
    return this.#threadPool;
  }

  /**
   * What is pending: calls, ports, connections and those being made, processes; and, while debugging is on
   * (`setDebugging`, `PLAIT_DEBUG=1`), the Deferreds and coroutines of the process that have no result yet, with the
   * place where each was made. Its `toString` tells it in lines.
   */
  inspect(): Inspection {
    const open = [...this.#open].map((thing) => ({ kind: thing.kind, what: thing.toString() }));
    const calls = this.getDelayedCalls();
    return inspection(this.running, this.seconds(), calls, open, pendingDeferreds());
  }

  callInThread<A extends unknown[], R>(work: ThreadWork<A, R>, ...args: A): void {
    this.getThreadPool().callInThread(work, ...args);
  }

  suggestThreadPoolSize(size: number): void {
    checkWhole(size, 'suggestThreadPoolSize: size', 1);
    this.getThreadPool().adjustPoolsize(size);
  }

  /** @internal for `plait/testing`: what is open, and the pool of threads if there is one */
  static contents(reactor: ReactorBase): {
    readonly open: readonly Closable[];
    readonly threadPool: ThreadPool | undefined;
  } {
    return { open: [...reactor.#open], threadPool: reactor.#threadPool };
  }

  toString(): string {
    return told(
      this,
      `${this.#state}, ${count(this.#calls.size, 'delayed call')}, ${this.#open.size} open`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function checkBody(io: IO, name: string): IO {
  return checkMethods(io, name, 'a body', ['now', 'alarm', 'soon', 'connect', 'listen']);
}

function bodyByName(name: string): IO {
  if (name === 'node') return new NodeIO();
  throw new RangeError(
    `PLAIT_IO names a body that does not exist: ${JSON.stringify(name)}; there is "node"`,
  );
}

/**
 * Services: parts of a program that can be started and stopped, and sets of them that are started and stopped together.
 * What is slow about starting goes on behind; stopping is waited for. Twisted: `twisted.application.service`. What keeps
 * a connection is in `client-service.ts`, what listens in `endpoint-service.ts`.
 */
import {
  checkClock,
  checkFunction,
  checkInstance,
  checkMethods,
  checkOptions,
  checkSeconds,
  checkString,
} from './arguments.ts';
import { type CooperativeTask, Cooperator, type CooperatorOptions } from './cooperate.ts';
import { Deferred } from './defer.ts';
import { explain } from './errors.ts';
import { Failure } from './failure.ts';
import { noteFunction } from './frames.ts';
import { hookCaller } from './hooks.ts';
import type { IDelayedCall, IReactorTime, Seconds } from './interfaces.ts';
import { Logger } from './log.ts';
import { maybeDeferred, succeed } from './maybe.ts';
import { reactor } from './reactor.ts';
import { LoopingCall } from './task.ts';
import { fireEach } from './waiters.ts';
import { count, INSPECT, inspectedWithFields, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.service');
const begin = hookCaller(log);

/** Seconds that one thing has to end, by default. */
export const GRACE: Seconds = 30;

/** Seconds that the parts of a set have, by default: longer than what is one thing. */
const PARTS_GRACE: Seconds = 45;

/**
 * A part of a program. Override `startService` and `stopService`, and call those of this class from there. Twisted:
 * `Service`.
 *
 * @example
 * class Greeter extends Service {
 *   override startService() {
 *     super.startService();
 *     console.log('good morning');
 *   }
 *   override stopService() {
 *     console.log('good night');
 *     return super.stopService();
 *   }
 * }
 */
export class Service implements AsyncDisposable {
  /** By which the parent knows it, if it has one. A class may give it as a field. */
  name: string | undefined = undefined;
  #running = false;
  #parent: MultiService | undefined;

  /** True from `startService` until `stopService`. */
  get running(): boolean {
    return this.#running;
  }

  /** The set that it belongs to. */
  get parent(): MultiService | undefined {
    return this.#parent;
  }

  /**
   * Names it.
   *
   * @throws Error if it has a parent, which knows it by the name that it had
   */
  setName(name: string): void {
    checkString(name, 'setName: name');
    if (this.#parent !== undefined)
      throw new Error(`cannot name a service ${JSON.stringify(name)}: it has a parent already`);
    this.name = name;
  }

  /**
   * Makes it a part of `parent`, and of no other any more; what that takes to stop is not waited for. If `parent`
   * runs, it is started.
   *
   * @throws Error if `parent` has another of that name, or is a part of this
   */
  setServiceParent(parent: MultiService): void {
    checkMethods(parent, 'setServiceParent: parent', 'a MultiService', ['addService']);
    parent.addService(this);
  }

  /**
   * Takes it out of its parent, and stops it if that runs. Fires when it has stopped.
   *
   * @throws Error if it has no parent
   */
  disownServiceParent(): Deferred<void> {
    if (this.#parent === undefined) throw new Error('cannot disown a parent: there is none');
    return this.#parent.removeService(this);
  }

  /** Called before `startService`: for what must be done before the program gives up its privileges. */
  privilegedStartService(): void {}

  /** Starts. Does not wait for anything. */
  startService(): void {
    this.#running = true;
  }

  /** Stops, and fires when that is done. Stopping what does not run does nothing. */
  stopService(): Deferred<void> {
    this.#running = false;
    return succeed();
  }

  /** `await using service = …` */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stopService().asPromise();
  }

  /** @internal what only a MultiService does */
  static adopt(service: Service, parent: MultiService | undefined): void {
    service.#parent = parent;
  }

  toString(): string {
    return told(this, this.describe());
  }

  /** @internal whether it runs, and its name, for the line that it prints */
  protected describe(): string {
    return `${this.running ? 'running' : 'stopped'}${this.name === undefined ? '' : ` ${JSON.stringify(this.name)}`}`;
  }

  [INSPECT](...how: Inspecting): string {
    return inspectedWithFields(this, ['name', 'grace', 'step'], ...how);
  }
}

/** What stopping a service comes to; also for one written without types, which may return nothing or throw. */
function stopped(service: Service): Deferred<void> {
  noteFunction(Reflect.get(service, 'stopService'));
  return maybeDeferred(() => service.stopService()).addCallback(() => {});
}

/** Whether `part` is `whole`, or a part of it, or a part of a part. */
function isWithin(part: Service | undefined, whole: Service): boolean {
  return part !== undefined && (part === whole || isWithin(part.parent, whole));
}

/**
 * Services that are started and stopped together: started in the order in which they were added, stopped the other way
 * round. Twisted: `MultiService`.
 *
 * @example
 * const program = new MultiService();
 * program.addService(new TimerService(60, () => console.log('a minute has passed')));
 * program.startService();   // prints a minute has passed
 * program.stopService();
 */
export class MultiService extends Service implements Iterable<Service> {
  /**
   * Seconds that `stopService` waits for the parts; those that have not stopped by then are named in the log, and not
   * waited for any more. Null for any number. Default: 45.
   */
  grace: Seconds | null = PARTS_GRACE;
  /** The parts, in order, with the names that they were added by. */
  readonly #services = new Map<Service, string | undefined>();
  readonly #byName = new Map<string, Service>();
  #clock: IReactorTime | undefined;

  /** Whose time it goes by when it stops. Default: that of its parent, of the first part that has one, or the process's. */
  get clock(): IReactorTime {
    return clockAbove(this) ?? clockWithin(this) ?? reactor;
  }

  set clock(clock: IReactorTime) {
    this.#clock = checkClock(clock, 'MultiService: clock');
  }

  /** @internal the time that was set, if one was */
  static ownClock(service: MultiService): IReactorTime | undefined {
    return service.#clock;
  }

  /** The parts, in order: a list of its own, which does not change. */
  get services(): readonly Service[] {
    return [...this.#services.keys()];
  }

  /** The parts that have names, by the names that they were added by: a map of its own. */
  get namedServices(): ReadonlyMap<string, Service> {
    return new Map(this.#byName);
  }

  /** The parts, in order. */
  [Symbol.iterator](): Iterator<Service> {
    return [...this.#services.keys()].values();
  }

  /**
   * The part of that name.
   *
   * @throws Error if there is none
   */
  getServiceNamed(name: string): Service {
    const service = this.#byName.get(checkString(name, 'getServiceNamed: name'));
    if (service === undefined) throw new Error(`there is no service named ${JSON.stringify(name)}`);
    return service;
  }

  /** Makes `service` a part of this; the same as `service.setServiceParent(this)`. */
  addService(service: Service): void {
    checkInstance(service, 'addService: service', Service);
    if (service.parent === this) return;
    const { name } = service;
    if (name !== undefined && this.#byName.has(name))
      throw new Error(`there is already a service named ${JSON.stringify(name)}`);
    if (isWithin(this, service)) throw new Error('a service cannot be a part of itself');
    service.parent?.removeService(service).addErrback((failure) => {
      log.failure('{service} could not be stopped', failure, { service: nameOf(service) });
    });
    Service.adopt(service, this);
    this.#services.set(service, name);
    if (name !== undefined) this.#byName.set(name, service);
    if (!this.running) return;
    begin(service, 'privilegedStartService');
    begin(service, 'startService');
  }

  /**
   * Takes `service` out, and stops it if this runs. Fires when it has stopped.
   *
   * @throws Error if it is no part of this
   */
  removeService(service: Service): Deferred<void> {
    checkInstance(service, 'removeService: service', Service);
    const name = this.#services.get(service);
    if (!this.#services.delete(service))
      throw new Error('cannot remove a service that is not a part');
    if (name !== undefined) this.#byName.delete(name);
    Service.adopt(service, undefined);
    return this.running ? stopped(service) : succeed();
  }

  override privilegedStartService(): void {
    super.privilegedStartService();
    // One of them may take another out.
    for (const part of this) if (part.parent === this) begin(part, 'privilegedStartService');
  }

  /** Starts the parts in order. What one of them throws is thrown on; those before it run, and can be stopped. */
  override startService(): void {
    super.startService();
    for (const part of this) if (part.parent === this) begin(part, 'startService');
  }

  /**
   * Stops the parts, the last one first, and fires when all have stopped, or their `grace` is over. If one of them has
   * failed, it fails with that error, once all are over; if several have, with an AggregateError of theirs. What fails
   * after `grace` is logged.
   */
  override stopService(): Deferred<void> {
    // From here on a part that is added is not started, and one that is taken out is not stopped twice.
    void super.stopService();
    const all = new Deferred<void>();
    const left = new Set<Service>([...this].reverse());
    let timer: IDelayedCall | undefined;
    const failures: Failure[] = [];
    let begun = false;
    const endIfDone = (): void => {
      if (!begun || left.size > 0 || all.called) return;
      if (timer?.active() === true) timer.cancel();
      const failure = allOf(failures);
      if (failure === undefined) all.callback();
      else all.errback(failure);
    };
    for (const service of left) {
      stopped(service)
        .addErrback((failure) => {
          if (all.called)
            log.failure('{service} could not be stopped', failure, { service: nameOf(service) });
          else failures.push(failure);
        })
        .addCallback(() => {
          left.delete(service);
          endIfDone();
        });
    }
    begun = true;
    endIfDone();
    const { grace } = this;
    if (left.size > 0 && grace !== null) {
      timer = this.clock.callLater(grace, () => {
        log.warn('not stopped in {grace} seconds, and not waited for any more: {services}', {
          grace,
          services: [...left].map(nameOf).join(', '),
        });
        left.clear();
        endIfDone();
      });
    }
    return all;
  }

  override toString(): string {
    return told(this, `${this.describe()}, ${count(this.#services.size, 'service')}`);
  }
}

/** One failure for several, if there are any. */
function allOf(failures: readonly Failure[]): Failure | undefined {
  if (failures.length < 2) return failures[0];
  const errors = failures.map(({ value }) => value);
  const what = errors.map(explain).join('; ');
  return new Failure(
    new AggregateError(errors, `${errors.length} services could not be stopped: ${what}`),
  );
}

/** The time that was set for a set of services, or for one that it is in. */
function clockAbove(service: MultiService | undefined): IReactorTime | undefined {
  for (let one = service; one !== undefined; one = one.parent) {
    const clock = MultiService.ownClock(one);
    if (clock !== undefined) return clock;
  }
  return undefined;
}

/** The time of the first part that has one of its own. */
function clockWithin(service: MultiService): IReactorTime | undefined {
  for (const part of service) {
    const { clock } = part as { readonly clock?: IReactorTime };
    if (clock !== undefined && clock !== reactor) return clock;
  }
  return undefined;
}

function nameOf(service: Service): string {
  const { name } = service;
  return name === undefined ? service.constructor.name : `${service.constructor.name} ${name}`;
}

/**
 * Calls a function again and again while it runs, for the first time when it starts. If it fails, that is logged, and
 * it is not called again until the service is stopped and started. Twisted: `TimerService`.
 */
export class TimerService<A extends unknown[] = unknown[]> extends Service {
  /**
   * Seconds that `stopService` waits for a call that is going on; then that is cancelled, and it has stopped. Null for any
   * number. Default: 30.
   */
  grace: Seconds | null = GRACE;
  /** Seconds between calls, from the next start on. */
  step: Seconds;
  /** It was started, and not stopped since; a call that goes on after that still counts as running. */
  #wanted = false;
  readonly #fn: (...args: A) => unknown;
  readonly #args: A;
  #clock: IReactorTime | undefined;
  #loop: LoopingCall<[]> | undefined;
  /** The call that is going on, or was made last. */
  #call: Deferred<unknown> | undefined;
  /** Ends the wait for a call that does not end. */
  #deadline: IDelayedCall | undefined;
  /** Those who wait for the call that is going on. */
  #stops: Deferred<void>[] = [];

  /**
   * @param step seconds between calls
   * @throws RangeError for a step that is negative or not finite
   */
  constructor(step: Seconds, fn: (...args: A) => unknown, ...args: A) {
    super();
    this.step = checkSeconds(step, 'TimerService: step');
    this.#fn = checkFunction(fn, 'TimerService: fn');
    this.#args = args;
  }

  /** Whose time it goes by; to be set before it is started. Default: that of its parent, or the process's. */
  get clock(): IReactorTime {
    return this.#clock ?? clockAbove(this.parent) ?? reactor;
  }

  set clock(clock: IReactorTime) {
    this.#clock = checkClock(clock, 'TimerService: clock');
  }

  /**
   * Does nothing if it runs. While a call from before it was stopped goes on, it begins when that is over.
   *
   * @throws RangeError for a step that was set to what is negative or not finite
   */
  override startService(): void {
    if (this.#wanted) return;
    checkSeconds(this.step, 'TimerService: step');
    this.#wanted = true;
    super.startService();
    if (this.#loop === undefined) this.#begin();
  }

  #begin(): void {
    const loop = new LoopingCall(() => (this.#call = maybeDeferred(this.#fn, ...this.#args)));
    loop.clock = this.clock;
    this.#loop = loop;
    loop
      .start(this.step)
      .addErrback((failure) => {
        if (this.#loop === loop)
          log.failure('{service} has failed', failure, { service: nameOf(this) });
        return undefined;
      })
      .addCallback((ended) => {
        // Unless it has failed, it was stopped, and may have been started again.
        if (this.#loop === loop) this.#ended(ended !== undefined);
      });
  }

  get #begun(): boolean {
    return this.#loop !== undefined;
  }

  #ended(mayBegin: boolean): void {
    this.#loop = this.#call = undefined;
    if (this.#deadline?.active() === true) this.#deadline.cancel();
    this.#deadline = undefined;
    // As in Twisted, it runs until its last call is over.
    if (!this.#wanted) void super.stopService();
    fireEach(this.#stops.splice(0), undefined);
    // Who was told may have started it again.
    if (mayBegin && this.#wanted && !this.#begun) this.#begin();
  }

  /** Fires when the call that is going on is over, or its `grace` is. */
  override stopService(): Deferred<void> {
    const loop = this.#loop;
    this.#wanted = false;
    if (loop === undefined) return super.stopService();
    const over = new Deferred<void>();
    this.#stops.push(over);
    if (loop.running) loop.stop();
    const { grace } = this;
    if (this.#loop === loop && grace !== null)
      this.#deadline ??= this.clock.callLater(grace, () => this.#giveUp(grace));
    return over;
  }

  #giveUp(grace: Seconds): void {
    log.warn('a call of a timer service was not over in {grace} seconds: cancelled', { grace });
    const call = this.#call;
    // What becomes of it is of no interest any more.
    this.#loop = undefined;
    if (call !== undefined) Deferred.cancelGuarded(call);
    this.#ended(true);
  }

  override toString(): string {
    return told(this, `${this.describe()} every ${this.step} s ${this.#fn.name}`.trimEnd());
  }
}

/**
 * Works through iterators while it runs, a few pieces a turn; see `Cooperator`. What is not done when it is stopped
 * fails with SchedulerStopped; what is added before it is started waits. Twisted: `CooperatorService`.
 */
export class CooperatorService extends Service {
  readonly #cooperator: Cooperator;

  constructor(options: Omit<CooperatorOptions, 'started'> = {}) {
    super();
    checkOptions(options, 'CooperatorService: options');
    this.#cooperator = new Cooperator({ ...options, started: false });
  }

  /** Takes an iterator on. */
  cooperate(iterator: Iterator<unknown>): CooperativeTask {
    return this.#cooperator.cooperate(iterator);
  }

  /** Takes an iterator on, and fires with it when it has come to its end: `done`, if that is given. */
  coiterate(
    iterator: Iterator<unknown>,
    done?: Deferred<Iterator<unknown>>,
  ): Deferred<Iterator<unknown>> {
    return this.#cooperator.coiterate(iterator, done);
  }

  override startService(): void {
    super.startService();
    this.#cooperator.start();
  }

  override stopService(): Deferred<void> {
    this.#cooperator.stop();
    return super.stopService();
  }
}

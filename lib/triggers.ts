/**
 * System events: functions that run before, during and after something, where those before may take their time.
 * Twisted: `_ThreePhaseEvent` of `twisted.internet.base`.
 */
import { checkOneOf, checkOptions, checkString } from './arguments.ts';
import { Deferred } from './defer.ts';
import type { Failure } from './failure.ts';
import { cancellationsOf } from './give-up.ts';
import { ranAs } from './hooks.ts';
import type { TriggerID, TriggerPhase } from './interfaces.ts';
import { Logger } from './log.ts';
import { maybeDeferred, succeed } from './maybe.ts';
import type { Awaited } from './shutdown.ts';

const ran = ranAs('the trigger');

const log = new Logger('plait.reactor');

class Trigger implements TriggerID {
  readonly phase: TriggerPhase;
  readonly eventType: string;
  readonly call: () => unknown;
  readonly name: string;
  /** It was waited for long enough, and cancelled. */
  givenUp = false;

  constructor(phase: TriggerPhase, eventType: string, call: () => unknown, name: string) {
    this.phase = phase;
    this.eventType = eventType;
    this.call = call;
    this.name = name;
  }

  toString(): string {
    return `the trigger ${this.phase} ${this.eventType} ${this.name}`;
  }
}

/** What happens besides the triggers when an event is fired. */
export interface Course {
  /** Called first of those during; false to let no more of them run. */
  readonly own?: () => boolean;
  /** Waits for what those before have returned; it may give up some of it. Default: until all have fired. */
  readonly wait?: (things: readonly Awaited[]) => Deferred<void>;
  /** Called after those during, and waited for before those after. */
  readonly between?: () => Deferred<void> | undefined;
}

/** How many characters of a function's source stand for a name that it does not have. */
const LONGEST_SOURCE = 60;

/**
 * What a trigger's function is called in messages: its name, or how it begins.
 *
 * @throws TypeError for what is no function
 */
export function nameOfFunction(fn: (...args: never[]) => unknown): string {
  if (fn.name !== '') return fn.name;
  const source = Function.prototype.toString.call(fn).replace(/\s+/g, ' ');
  return source.length > LONGEST_SOURCE ? `${source.slice(0, LONGEST_SOURCE)}…` : source;
}

type Phases = Record<TriggerPhase, Set<Trigger>>;

/** The triggers of all events. Each trigger runs once, and is then forgotten. */
export class SystemEvents {
  readonly #events = new Map<string, Phases>();

  /** RangeError for a phase that does not exist. */
  add(phase: TriggerPhase, eventType: string, call: () => unknown, name: string): TriggerID {
    checkOneOf(phase, 'addSystemEventTrigger: phase', ['before', 'during', 'after']);
    checkString(eventType, 'addSystemEventTrigger: eventType');
    const trigger = new Trigger(phase, eventType, call, name);
    this.#phases(eventType)[phase].add(trigger);
    return trigger;
  }

  /** RangeError if it has run, or was removed before. */
  remove(id: TriggerID): void {
    checkOptions(id, 'removeSystemEventTrigger: id', 'the ID of a trigger');
    const triggers: Set<TriggerID> | undefined = this.#events.get(id.eventType)?.[id.phase];
    if (triggers?.delete(id) !== true)
      throw new RangeError(
        `removeSystemEventTrigger: id: no such trigger ${id.phase} ${id.eventType}: it has run, or was removed`,
      );
  }

  /**
   * Runs the triggers: those before, then, when the Deferreds that they returned have fired, those during and after.
   * What a trigger throws is logged, and the rest run. Fires after the last.
   */
  fire(eventType: string, { own, wait = all, between }: Course = {}): Deferred<void> {
    const phases = this.#phases(eventType);
    const waitedFor: Awaited[] = [];
    for (const trigger of taken(phases.before)) {
      const outcome = maybeDeferred(trigger.call).addCallback(ran).addErrback(logged, trigger);
      if (outcome.called && outcome.waitingOn === undefined && outcome.paused === 0) continue;
      waitedFor.push({
        what: trigger.toString(),
        deferred: outcome,
        giveUp() {
          trigger.givenUp = true;
          Deferred.cancelGuarded(outcome);
        },
      });
    }
    return wait(waitedFor)
      .addCallback(() => {
        if (own?.() === false) return false;
        runAll(phases.during);
        const waiting = between?.();
        return waiting === undefined ? true : waiting.addCallback(() => true);
      })
      .addCallback((goesOn) => {
        if (!goesOn) return;
        runAll(phases.after);
        // Those that were added meanwhile, and too late, wait for the next time.
        const left = Object.values(this.#phases(eventType));
        if (left.every((triggers) => triggers.size === 0)) this.#events.delete(eventType);
      });
  }

  #phases(eventType: string): Phases {
    let phases = this.#events.get(eventType);
    if (phases === undefined) {
      phases = { before: new Set(), during: new Set(), after: new Set() };
      this.#events.set(eventType, phases);
    }
    return phases;
  }
}

function runAll(triggers: Set<Trigger>): void {
  for (const trigger of taken(triggers))
    void maybeDeferred(trigger.call).addCallback(ran).addErrback(logged, trigger);
}

/** Each in turn, those too that are added meanwhile; it is forgotten before it is run. */
function* taken(triggers: Set<Trigger>): Generator<Trigger> {
  for (const trigger of triggers) {
    triggers.delete(trigger);
    yield trigger;
  }
}

function logged(failure: Failure, trigger: Trigger): void {
  if (trigger.givenUp && cancellationsOf(failure) !== undefined) return;
  const { phase, eventType } = trigger;
  log.emit('critical', 'a trigger {phase} {eventType} failed', { failure, phase, eventType });
}

/** Fires when all have; none of them fails. */
function all(things: readonly Awaited[]): Deferred<void> {
  if (things.length === 0) return succeed();
  const done = new Deferred<void>();
  let missing = things.length;
  for (const { deferred } of things) {
    deferred.addBoth((result) => {
      if (--missing === 0) done.callback();
      return result;
    });
  }
  return done;
}

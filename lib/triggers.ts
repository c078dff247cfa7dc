/**
 * System events: functions that run before, during and after something, where those before may take their time.
 * Twisted: `_ThreePhaseEvent` of `twisted.internet.base`.
 */
import { Deferred } from './defer.ts';
import type { Failure } from './failure.ts';
import type { TriggerID, TriggerPhase } from './interfaces.ts';
import { Logger } from './log.ts';
import { maybeDeferred, succeed } from './maybe.ts';

const log = new Logger('plait.reactor');

class Trigger implements TriggerID {
  readonly phase: TriggerPhase;
  readonly eventType: string;
  readonly call: () => unknown;

  constructor(phase: TriggerPhase, eventType: string, call: () => unknown) {
    this.phase = phase;
    this.eventType = eventType;
    this.call = call;
  }
}

type Phases = Record<TriggerPhase, Trigger[]>;

/** The triggers of all events. Each trigger runs once, and is then forgotten. */
export class SystemEvents {
  readonly #events = new Map<string, Phases>();

  /** RangeError for a phase that does not exist. */
  add(phase: TriggerPhase, eventType: string, call: () => unknown): TriggerID {
    if (!['before', 'during', 'after'].includes(phase)) {
      throw new RangeError(
        `a trigger's phase is before, during or after, not ${JSON.stringify(phase)}`,
      );
    }
    const trigger = new Trigger(phase, eventType, call);
    this.#phases(eventType)[phase].push(trigger);
    return trigger;
  }

  /** RangeError if it has run, or was removed before. */
  remove(id: TriggerID): void {
    const triggers = this.#events.get(id.eventType)?.[id.phase] ?? [];
    const at = triggers.findIndex((trigger) => trigger === id);
    if (at < 0)
      throw new RangeError(
        `no such trigger ${id.phase} ${id.eventType}: it has run, or was removed`,
      );
    triggers.splice(at, 1);
  }

  /**
   * Runs the triggers: those before, then, when the Deferreds that they returned have fired, those during and after.
   * What a trigger throws is logged, and the rest run. Fires after the last.
   *
   * @param own called first of those during; false to let no more of them run
   */
  fire(eventType: string, own?: () => boolean): Deferred<void> {
    const phases = this.#phases(eventType);
    const waitedFor: Deferred<unknown>[] = [];
    for (
      let trigger = phases.before.shift();
      trigger !== undefined;
      trigger = phases.before.shift()
    ) {
      const outcome = maybeDeferred(trigger.call).addErrback(logged, trigger);
      if (!outcome.called || outcome.waitingOn !== undefined || outcome.paused > 0)
        waitedFor.push(outcome);
    }
    return all(waitedFor).addCallback(() => {
      if (own?.() === false) return;
      for (const phase of ['during', 'after'] as const) {
        for (
          let trigger = phases[phase].shift();
          trigger !== undefined;
          trigger = phases[phase].shift()
        ) {
          void maybeDeferred(trigger.call).addErrback(logged, trigger);
        }
      }
      // Those that were added meanwhile, and too late, wait for the next time.
      const left = Object.values(this.#phases(eventType));
      if (left.every((triggers) => triggers.length === 0)) this.#events.delete(eventType);
    });
  }

  #phases(eventType: string): Phases {
    let phases = this.#events.get(eventType);
    if (phases === undefined) {
      phases = { before: [], during: [], after: [] };
      this.#events.set(eventType, phases);
    }
    return phases;
  }
}

function logged(failure: Failure, { phase, eventType }: TriggerID): void {
  log.emit('critical', 'a trigger {phase} {eventType} failed', { failure, phase, eventType });
}

/** Fires when all have; none of them fails. */
function all(deferreds: readonly Deferred<unknown>[]): Deferred<void> {
  if (deferreds.length === 0) return succeed();
  const done = new Deferred<void>();
  let missing = deferreds.length;
  for (const deferred of deferreds) {
    deferred.addBoth((result) => {
      if (--missing === 0) done.callback();
      return result;
    });
  }
  return done;
}

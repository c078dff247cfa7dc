/**
 * Rules, each stated once and shown on every kind of wire. Each gets a world of its own, which is closed behind it; that
 * nothing is left then is the fixture's to check.
 */
import { flushLoggedErrors } from 'plait/testing';
import type { Test } from '../fixture.ts';
import type { Kind, World } from './kinds.ts';

/** What a rule is shown on. */
export interface Stage {
  readonly t: Test;
  readonly kind: Kind;
  readonly world: World;
}

/** Why a rule cannot be shown on a kind; `''` if it can. */
export type Exception = (kind: Kind) => string;

interface Rule<S> {
  readonly name: string;
  readonly show: (stage: S) => Promise<void>;
  readonly exception: Exception;
}

/** The rules of one subject. */
export class Rules<S extends Stage> {
  readonly #rules: Rule<S>[] = [];

  /** States a rule. */
  state(name: string, show: (stage: S) => Promise<void>, exception: Exception = () => ''): void {
    this.#rules.push({ name, show, exception });
  }

  /** Shows all of them on a kind. */
  show(t: Pick<Test, 'test'>, kind: Kind, subject: string, set: (stage: Stage) => S): void {
    for (const { name, show, exception } of this.#rules) {
      const skip = kind.missing || exception(kind) || false;
      t.test(`${kind.name}, ${subject}: ${name}`, { skip }, async (t) => {
        const world = kind.open();
        t.teardown(() => world.close());
        await show(set({ t, kind, world }));
      });
    }
  }
}

/** For rules about a reset. */
export const needsReset: Exception = ({ name, resets }) =>
  resets ? '' : `there is no reset with ${name}`;

/** The messages of the errors that were logged since the last look. */
export function logged(): string[] {
  return flushLoggedErrors().map(({ failure }) => failure?.value.message ?? '(no failure)');
}

/** What a hook does that fails. */
export function fail(message: string): never {
  throw new RangeError(message);
}

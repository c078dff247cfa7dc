/**
 * What becomes of a port that cannot be bound. A program that serves nothing is not to live on unnoticed: unless the
 * failure is taken, it ends the program, as it does in Twisted, where listening raises, and in Node.
 */
import type { Seconds } from '../interfaces.ts';
import { reportUnhandledOf, unhandledOf, watchUnhandled } from '../unhandled.ts';
import type { Home } from './home.ts';

/** How long a failure may stand at the end of a chain: a caller may wait for one thing after the other. */
const PATIENCE: Seconds = 1;

/**
 * Throws `error` in a turn of its own if nothing has looked at `ready` by then; or, if that was looked at and no errback
 * has handled the failure, a second later.
 */
export function endUnlessTaken(
  home: Home,
  error: Error,
  watched: { readonly looked: boolean },
): void {
  const end = (): void => {
    home.soon(() => {
      throw error;
    });
  };
  // At once: what has the failure may be collected before the turn comes.
  const forget = watchUnhandled(error, end);
  home.soon(() => {
    if (!watched.looked) {
      forget();
      throw error;
    }
    if (unhandledOf(error).length === 0 || home.callLater === undefined) {
      forget();
      return;
    }
    home.callLater(PATIENCE, () => {
      reportUnhandledOf(error);
      forget();
    });
  });
}

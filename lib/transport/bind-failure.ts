/**
 * What becomes of a port that cannot be bound. A program that serves nothing is not to live on unnoticed: unless the
 * failure is taken, it ends the program, as it does in Twisted, where listening raises, and in Node.
 */
import { CannotListenError } from '../errors.ts';
import type { IListeningPort, Seconds } from '../interfaces.ts';
import { reportUnhandledOf, unhandledOf, watchUnhandled } from '../unhandled.ts';
import type { Home } from './home.ts';

/** How long a failure may stand at the end of a chain: a caller may wait for one thing after the other. */
const PATIENCE: Seconds = 1;

/** What `startFactory` and its like have failed with: ports that could be bound, but not be used. */
const notStarted = new WeakSet<Error>();

/** A port could not be started for `error`. */
export function noteNotStarted(error: Error): void {
  notStarted.add(error);
}

/** `error` is what keeps a port from listening, or kept it from going on to. */
export function isBindFailure(error: Error): boolean {
  return error instanceof CannotListenError || notStarted.has(error);
}

/**
 * Takes back the look at `ready` by which an endpoint has learnt that `port` listens: what `startFactory` fails with
 * later would be told to no caller.
 */
export function unlook(port: IListeningPort): void {
  (port as { unlook?: () => void }).unlook?.();
}

/**
 * Throws `error` in a turn of its own if nothing has looked at `ready` by then; or, if that was looked at and no errback
 * has handled the failure, a second later.
 */
export function endUnlessTaken(
  home: Home,
  error: Error,
  watched: { readonly looks: number },
): void {
  const end = (): void => {
    home.soon(() => {
      throw error;
    });
  };
  // At once: what has the failure may be collected before the turn comes.
  const forget = watchUnhandled(error, end);
  home.soon(() => {
    if (watched.looks === 0) {
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

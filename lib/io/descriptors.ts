/**
 * Whether the process has descriptors left. Where it has none, Node turns new connections away, and says nothing: it
 * accepts each and closes it at once. So a listener that has taken a connection has a look soon after.
 */
import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';

/** How long after a connection came it is looked: one look is enough for all that came meanwhile. */
const SOON_MS = 20;

/** Tells when there are no descriptors left. */
export class DescriptorWatch {
  readonly #starved: (error: Error) => void;
  #timer: NodeJS.Timeout | undefined;

  /** @param starved called with the system's error */
  constructor(starved: (error: Error) => void) {
    this.#starved = starved;
  }

  /** A descriptor has been used up. */
  used(): void {
    this.#timer ??= setTimeout(this.#look, SOON_MS).unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  readonly #look = (): void => {
    this.#timer = undefined;
    const error = shortage();
    if (error !== undefined) this.#starved(error);
  };
}

/** The system's error where nothing can be opened for want of descriptors. */
function shortage(): Error | undefined {
  try {
    closeSync(openSync(devNull, 'r'));
  } catch (error) {
    if (/^E[MN]FILE$/.test((error as NodeJS.ErrnoException).code ?? '')) return error as Error;
  }
  return undefined;
}

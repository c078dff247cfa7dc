/** Where transports live: a reactor, seen from below. */
import type { Failure } from '../failure.ts';
import type { IListeningPort, IReactorTime } from '../interfaces.ts';
import type { OpenKind } from '../inspect.ts';
import type { SlowCallbacks } from '../slow-callbacks.ts';

/** What is closed when the reactor stops. */
export interface Closable {
  readonly kind: OpenKind;
  /** Ends it at once, for `reason`. */
  connectionLost(reason: Failure): void;
  /** Which one it is. */
  toString(): string;
}

/** Where a transport lives: a reactor, seen from below. */
export interface Home {
  /** Calls `fn` when the events at hand have been reported. */
  soon(fn: () => void): void;
  /** For what must be done in time; a home without it sets no times. */
  readonly callLater?: IReactorTime['callLater'];
  /** The reactor's time as a whole, for protocols. */
  readonly clock?: IReactorTime | undefined;
  /** To be closed when the reactor stops. */
  opened(thing: Closable): void;
  closed(thing: Closable): void;
  /** A port has come to listen. */
  listening(port: IListeningPort): void;
  /** Why nothing can be begun: the reactor is cutting everything. Undefined at any other time. */
  readonly cut?: Failure | undefined;
  /** In debug mode: measures what is called. */
  readonly slow?: SlowCallbacks | undefined;
}

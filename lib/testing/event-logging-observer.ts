/** A log observer that keeps what it sees. Twisted: `EventLoggingObserver` of `twisted.internet.testing`. */
import { globalLogPublisher, type LogEvent, type LogPublisher } from '../log.ts';
import { count, INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

/**
 * Keeps the events that are logged while it observes, of all levels.
 *
 * @example
 * const observer = new EventLoggingObserver();
 * new Logger('shop').info('{count} cups sold', { count: 3 });
 * observer.stop();
 * [...observer].map(formatEvent); // [ '3 cups sold' ]
 */
export class EventLoggingObserver implements Iterable<LogEvent>, Disposable {
  /** What was logged, in order. */
  readonly events: LogEvent[] = [];
  readonly #publisher: LogPublisher;
  readonly #observer = (event: LogEvent): void => {
    this.events.push(event);
  };

  /**
   * Begins to observe.
   *
   * @param publisher default: the global one, which gets all events
   */
  constructor(publisher: LogPublisher = globalLogPublisher) {
    this.#publisher = publisher;
    publisher.addObserver(this.#observer);
  }

  /** One that stops at the end of a test, by whatever a test runner has for that: `(fn) => t.teardown(fn)`. */
  static createWithCleanup(
    addCleanup: (fn: () => void) => unknown,
    publisher: LogPublisher = globalLogPublisher,
  ): EventLoggingObserver {
    const observer = new EventLoggingObserver(publisher);
    addCleanup(() => observer.stop());
    return observer;
  }

  /** Observes no more. */
  stop(): void {
    this.#publisher.removeObserver(this.#observer);
  }

  [Symbol.iterator](): Iterator<LogEvent> {
    return this.events[Symbol.iterator]();
  }

  /** `using observer = new EventLoggingObserver()` stops it at the end of the block. */
  [Symbol.dispose](): void {
    this.stop();
  }

  toString(): string {
    return told(this, count(this.events.length, 'event'));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

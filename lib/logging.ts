/**
 * Choosing where log events go, and which: filters, levels by namespace, the moment at which a program begins to log,
 * and looking at events in tests. Events and Loggers are in `log.ts`; files in `log-files.ts`; other loggers in
 * `log-bridges.ts`. Twisted: `twisted.logger`.
 */
import {
  checkBoolean,
  checkIterable,
  checkMethods,
  checkOneOf,
  checkOptions,
  checkString,
} from './arguments.ts';
import { redirectConsole } from './log-bridges.ts';
import {
  earlyEvents,
  forget,
  globalLogPublisher,
  type ILogObserver,
  LOG_LEVELS,
  type LogEvent,
  Logger,
  type LogLevel,
  type LogObserver,
  type LogPublisher,
  stderrObserver,
  checkObserver,
  tell,
} from './log.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.log');

/** What a predicate says of an event: it passes, it does not, or the next predicate is to say. */
export type PredicateResult = 'yes' | 'no' | 'maybe';

/** Something that says whether an event passes: a function, or something that has `decide`. */
export type LogPredicate = ((event: LogEvent) => PredicateResult) | ILogPredicate;

/** Something that says whether an event passes, as {@link LogLevelFilterPredicate} does. */
export interface ILogPredicate {
  decide(event: LogEvent): PredicateResult;
}

/**
 * Hands on those events that pass: those of which the first predicate that does not say `maybe` says `yes`, and those
 * of which all say `maybe`. A predicate that throws, or says something else, counts as `maybe`. Twisted: `FilteringLogObserver`.
 *
 * @example
 * const levels = new LogLevelFilterPredicate('warn');
 * levels.setLogLevelForNamespace('shop', 'debug');
 * const publisher = new LogPublisher(
 *   new FilteringLogObserver((event) => console.log(formatEvent(event)), [levels]),
 * );
 * new Logger('shop.orders', publisher).debug('an order');   // prints an order
 * new Logger('bank', publisher).info('closed');
 */
export class FilteringLogObserver implements ILogObserver {
  readonly #observer: LogObserver;
  readonly #predicates: readonly LogPredicate[];
  readonly #negativeObserver: LogObserver;

  /** @param negativeObserver is given the events that do not pass */
  constructor(
    observer: LogObserver,
    predicates: Iterable<LogPredicate>,
    negativeObserver: LogObserver = () => {},
  ) {
    this.#observer = checkObserver(observer, 'FilteringLogObserver: observer');
    this.#predicates = [
      ...checkIterable(predicates, 'FilteringLogObserver: predicates', 'an array of predicates'),
    ];
    for (const predicate of this.#predicates) {
      if (typeof predicate !== 'function')
        checkMethods(predicate, 'each of predicates', 'a function, or an object', ['decide']);
    }
    this.#negativeObserver = checkObserver(
      negativeObserver,
      'FilteringLogObserver: negativeObserver',
    );
  }

  emit(event: LogEvent): void {
    tell(this.#passes(event) ? this.#observer : this.#negativeObserver, event);
  }

  #passes(event: LogEvent): boolean {
    for (const predicate of this.#predicates) {
      try {
        const result = typeof predicate === 'function' ? predicate(event) : predicate.decide(event);
        if (result === 'yes' || result === 'no') return result === 'yes';
        forget(result);
      } catch {
        // It cannot say.
      }
    }
    return true;
  }

  toString(): string {
    return told(this, count(this.#predicates.length, 'predicate'));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Lets events pass that are serious enough for their namespace: `shop.orders` has the level of `shop.orders`, or else
 * that of `shop`, or else the default. Twisted: `LogLevelFilterPredicate`.
 */
export class LogLevelFilterPredicate implements ILogPredicate {
  readonly #levels = new Map<string, LogLevel>();
  #defaultLevel: LogLevel;

  /**
   * @param defaultLogLevel default: `info`
   * @throws RangeError for what is no level
   */
  constructor(defaultLogLevel: LogLevel = 'info') {
    this.#defaultLevel = checkLevel(defaultLogLevel, 'LogLevelFilterPredicate: defaultLogLevel');
  }

  /** The level from which on events of this namespace pass; without a namespace, the default. */
  logLevelForNamespace(namespace = ''): LogLevel {
    checkString(namespace, 'logLevelForNamespace: namespace');
    for (
      let name = namespace;
      name !== '';
      name = name.slice(0, Math.max(0, name.lastIndexOf('.')))
    ) {
      const level = this.#levels.get(name);
      if (level !== undefined) return level;
    }
    return this.#defaultLevel;
  }

  /**
   * Sets the level of a namespace and all those below it; of `''`, the default.
   *
   * @throws RangeError for what is no level
   */
  setLogLevelForNamespace(namespace: string, level: LogLevel): void {
    checkString(namespace, 'setLogLevelForNamespace: namespace');
    checkLevel(level, 'setLogLevelForNamespace: level');
    if (namespace === '') this.#defaultLevel = level;
    else this.#levels.set(namespace, level);
  }

  /** Forgets all levels but the default. */
  clearLogLevels(): void {
    this.#levels.clear();
  }

  /** `no` for what is not serious enough, else `maybe`. */
  decide(event: LogEvent): PredicateResult {
    const least = this.logLevelForNamespace(event.namespace);
    return LOG_LEVELS.indexOf(event.level) < LOG_LEVELS.indexOf(least) ? 'no' : 'maybe';
  }

  toString(): string {
    return told(
      this,
      [
        `from ${this.#defaultLevel}`,
        ...[...this.#levels].map(([name, level]) => `${name} from ${level}`),
      ].join(', '),
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function checkLevel(level: LogLevel, name: string): LogLevel {
  return checkOneOf(level, name, LOG_LEVELS);
}

/** Options of {@link LogBeginner.beginLoggingTo}. */
export interface BeginLoggingOptions {
  /** True to forget what was logged before. */
  readonly discardBuffer?: boolean;
  /** True to log what the program writes by `console`; see `redirectConsole`. Default: false. */
  readonly redirectConsole?: boolean;
}

/** Begins to log. There is one, {@link globalLogBeginner}. */
export class LogBeginner {
  #begun = false;

  /**
   * Gives the observers every event from now on, and first the latest 256 of those before. Standard error gets no more
   * events, unless `stderrObserver` is one of the observers. When it is called again, the observers are added to
   * those before, and that is logged as a warning, for it is hardly meant. Twisted: `beginLoggingTo`.
   */
  beginLoggingTo(observers: Iterable<LogObserver>, options: BeginLoggingOptions = {}): void {
    const { discardBuffer = false, redirectConsole: redirect = false } = checkOptions(
      options,
      'beginLoggingTo: options',
    );
    checkBoolean(discardBuffer, 'beginLoggingTo: discardBuffer');
    checkBoolean(redirect, 'beginLoggingTo: redirectConsole');
    const all = [...checkIterable(observers, 'beginLoggingTo: observers', 'an array of observers')];
    for (const observer of all) checkObserver(observer, 'beginLoggingTo: each of observers');
    if (!this.#begun) {
      globalLogPublisher.removeObserver(stderrObserver);
      globalLogPublisher.removeObserver(earlyEvents);
      if (!discardBuffer) for (const observer of all) earlyEvents.replayTo(observer);
      earlyEvents.clear();
    }
    for (const observer of all) globalLogPublisher.addObserver(observer);
    if (this.#begun) log.warn('beginLoggingTo was called a second time; its observers were added');
    this.#begun = true;
    if (redirect) redirectConsole();
  }

  toString(): string {
    return told(this, this.#begun ? 'begun' : 'not begun');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Begins to log, for the whole program. Twisted: `globalLogBeginner`. */
export const globalLogBeginner: LogBeginner = new LogBeginner();

/** Events that were captured; disposing of them ends that. */
export interface CapturedLogs extends ReadonlyArray<LogEvent>, Disposable {}

/**
 * The events that are logged from now on, in an array that grows, until it is disposed of. For tests. Twisted:
 * `capturedLogs`, a context manager.
 *
 * @example
 * using captured = capturedLogs();
 * new Logger('shop').info('open');
 * captured.map((event) => event.format);   // [ 'open' ]
 */
export function capturedLogs(publisher: LogPublisher = globalLogPublisher): CapturedLogs {
  checkMethods(publisher, 'capturedLogs: publisher', 'a LogPublisher', [
    'addObserver',
    'removeObserver',
  ]);
  const events: LogEvent[] = [];
  const observer = (event: LogEvent): void => {
    events.push(event);
  };
  publisher.addObserver(observer);
  const dispose = (): void => publisher.removeObserver(observer);
  return Object.defineProperty(events, Symbol.dispose, {
    value: dispose,
  }) as unknown as CapturedLogs;
}

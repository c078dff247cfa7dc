/**
 * Log events and who observes them. An event is structured, and made into text only when an observer wants text; an
 * observer that throws never disturbs the code that logs. Twisted: `twisted.logger`.
 */
import { checkMethods, checkOptions, checkWhole, wrongType } from './arguments.ts';
import { Failure } from './failure.ts';
import { cut, escapeControls, onOneLine, show } from './printable.ts';
import { writeToStandardError } from './standard-error.ts';
import { count, INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** How serious an event is, least first. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'critical'] as const;

/** One of {@link LOG_LEVELS}. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What happened. The fields of the call stand beside those named here. */
export interface LogEvent {
  /** Seconds since 1970, by the wall clock. */
  readonly time: number;
  readonly level: LogLevel;
  /** Who says it, as in `plait.reactor`. */
  readonly namespace: string;
  /** The text, with `{field}` where a field's value belongs. */
  readonly format: string;
  readonly failure?: Failure;
  readonly [field: string]: unknown;
}

/** Something that takes events, as {@link LogPublisher} and the observers with a memory or settings do. */
export interface ILogObserver {
  emit(event: LogEvent): void;
}

/**
 * Takes each event: a function, or something that has `emit`. What it throws is dropped, and so is what a promise that
 * it returns is rejected with.
 */
export type LogObserver = ((event: LogEvent) => void) | ILogObserver;

/** @internal The argument if it is an observer: a function, or something that has `emit`; else TypeError. */
export function checkObserver(observer: LogObserver, name: string): LogObserver {
  if (typeof observer === 'function') return observer;
  return checkMethods(observer, name, 'a function, or an object', ['emit']);
}

/** @internal Gives an event to an observer, which must not disturb the code that logs. */
export function tell(observer: LogObserver, event: LogEvent): void {
  try {
    // An async function is an observer for TypeScript, so something may be returned.
    if (typeof observer === 'function') {
      const call: (event: LogEvent) => unknown = observer;
      forget(call(event));
    } else {
      const object: { emit(event: LogEvent): unknown } = observer;
      forget(object.emit(event));
    }
  } catch {
    // Telling the others of a broken observer could go on for ever.
  }
}

/** @internal Drops what an observer returned; a promise among it may be rejected. */
export function forget(result: unknown): void {
  if (typeof result !== 'object' || result === null) return;
  const { then } = result as { then?: unknown };
  if (typeof then === 'function') then.call(result, undefined, () => {});
}

/**
 * How often events may be logged from within observers of events that were themselves logged so. What goes on beyond
 * that would go on for ever, and is dropped.
 */
const MOST_NESTED = 4;

/** Hands each event to each observer. Twisted: `LogPublisher`. */
export class LogPublisher implements ILogObserver {
  readonly #observers = new Set<LogObserver>();
  /** How many events are being handed on: more than one if an observer logs. */
  #nested = 0;

  constructor(...observers: LogObserver[]) {
    for (const observer of observers) this.addObserver(observer);
  }

  addObserver(observer: LogObserver): void {
    this.#observers.add(checkObserver(observer, 'LogPublisher: observer'));
  }

  /** Does nothing if it is not there. */
  removeObserver(observer: LogObserver): void {
    this.#observers.delete(observer);
  }

  /** The observers now, in the order in which they came. */
  get observers(): readonly LogObserver[] {
    return [...this.#observers];
  }

  emit(event: LogEvent): void {
    if (this.#nested >= MOST_NESTED) return;
    this.#nested++;
    // One of them may remove another.
    for (const observer of [...this.#observers])
      if (this.#observers.has(observer)) tell(observer, event);
    this.#nested--;
  }

  toString(): string {
    return told(this, count(this.#observers.size, 'observer'));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** How long the text of an event is at most. */
const LONGEST_TEXT = 256 * 1024;

/**
 * The event's text: its format with the fields put in. A field may come from a peer: control characters, which must not
 * reach a terminal, and characters that turn the direction of others round or cannot be seen, are shown as `\x1b` or
 * `\u202e`, and a field starts no new line. Of a long field the first 16 Ki characters are shown.
 */
export function formatEvent(event: LogEvent): string {
  const { format } = checkOptions(event, 'formatEvent: event', 'a log event');
  const text = show(format).replace(/\{(\w+)\}/g, (whole, name: string) =>
    Object.hasOwn(event, name) ? show(event[name]).replaceAll('\n', '\\n') : whole,
  );
  return escapeControls(cut(text, LONGEST_TEXT));
}

/**
 * The event on one line: time, namespace, level, text; then the lines that its format and a failure's stack have more,
 * none of which looks like an event.
 */
export function eventAsText(event: LogEvent): string {
  const { level, namespace, failure } = checkOptions(event, 'eventAsText: event', 'a log event');
  const head = `${timeAsText(event.time)} [${name(namespace)}#${name(level)}]`;
  const text = indentRest(`${head} ${formatEvent(event)}`);
  if (failure === undefined) return `${text}\n`;
  // An error may call itself anything, but hardly a date.
  return `${text}\n${indentRest(tracebackOf(failure)).replace(/^\d/, '    $&')}\n`;
}

/** Lines but the first that begin at the margin are indented. */
function indentRest(text: string): string {
  return text.replace(/\n(?=\S)/g, '\n    ');
}

function name(text: unknown): string {
  return onOneLine(cut(show(text), LONGEST_NAME));
}

/** How long a namespace is at most, as text. */
const LONGEST_NAME = 1000;

/** Like that of {@link Date}, but for what is no time too. */
function timeAsText(seconds: unknown): string {
  try {
    return new Date((seconds as number) * 1000).toISOString();
  } catch {
    return '(no time)';
  }
}

function tracebackOf(failure: unknown): string {
  try {
    return escapeControls((failure as Failure).getTraceback());
  } catch {
    return name(failure);
  }
}

/**
 * An observer that writes warnings and worse to standard error. It is the only one until a program says otherwise. A
 * standard error that is broken, closed or full does not disturb the program: what cannot be written is dropped. Of what
 * a full pipe does not take, 1 MiB is kept until it does.
 */
export function stderrObserver(event: LogEvent): void {
  if (LOG_LEVELS.indexOf(event.level) < LOG_LEVELS.indexOf('warn')) return;
  writeToStandardError(eventAsText(event));
}

/**
 * Keeps the latest events, to be looked at or handed on later. Twisted: `LimitedHistoryLogObserver`.
 *
 * @example
 * const history = new LimitedHistoryLogObserver(100);
 * new Logger('shop', history).info('open');
 * history.replayTo((event) => console.log(event.format));   // prints open
 */
export class LimitedHistoryLogObserver implements ILogObserver {
  readonly #size: number;
  #events: LogEvent[] = [];
  /** Where the oldest event is, once it is full. */
  #oldest = 0;

  /**
   * @param size how many events it keeps. Default: 65,536
   * @throws RangeError unless that is a whole number from 1
   */
  constructor(size = 64 * 1024) {
    this.#size = checkWhole(size, 'LimitedHistoryLogObserver: size', 1);
  }

  emit(event: LogEvent): void {
    if (this.#events.length < this.#size) {
      this.#events.push(event);
    } else {
      this.#events[this.#oldest] = event;
      this.#oldest = (this.#oldest + 1) % this.#size;
    }
  }

  /** What it keeps, the oldest first. */
  get events(): readonly LogEvent[] {
    return [...this.#events.slice(this.#oldest), ...this.#events.slice(0, this.#oldest)];
  }

  /** Gives `observer` what it keeps, the oldest first. */
  replayTo(observer: LogObserver): void {
    checkObserver(observer, 'replayTo: observer');
    for (const event of this.events) tell(observer, event);
  }

  /** Forgets all. */
  clear(): void {
    this.#events = [];
    this.#oldest = 0;
  }

  toString(): string {
    return told(this, `${this.#events.length} of ${this.#size} events`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** How many events are kept for the observers with which a program begins to log. */
const EARLY_EVENTS = 256;

/** @internal The latest events, until `globalLogBeginner` has observers for them. */
export const earlyEvents: LimitedHistoryLogObserver = new LimitedHistoryLogObserver(EARLY_EVENTS);

/** Where every Logger's events go unless it is given another observer. Twisted: `globalLogPublisher`. */
export const globalLogPublisher: LogPublisher = new LogPublisher(stderrObserver, earlyEvents);

/** Fields of an event besides its text. */
export type LogFields = Readonly<Record<string, unknown>>;

/** How many events are being logged: more than one if an observer logs. */
let nested = 0;

/** Sees to what a function has returned that may fail later. */
let watchLate: (outcome: unknown, failed: (failure: Failure) => void) => void = () => {};

/** Called by `hooks`, which imports this file and knows what a function may return. @internal */
export function setLateWatcher(watch: typeof watchLate): void {
  watchLate = watch;
}

/** What came of something that was run by {@link Logger.failuresHandled}. */
export interface Operation<T> {
  readonly succeeded: boolean;
  readonly failed: boolean;
  /** What it returned, if it succeeded. */
  readonly value?: T;
  /** What it threw, if it failed. */
  readonly failure?: Failure;
}

/**
 * Makes events for one part of a program. Twisted: `Logger`.
 *
 * @example
 * const log = new Logger('shop.orders');
 * log.info('order {id} took {seconds} s', { id: 7, seconds: 0.25 });
 */
export class Logger {
  readonly namespace: string;
  /** Whose Logger it is; each event has it. */
  readonly source: object | undefined;
  readonly #observer: LogObserver;

  /**
   * @param namespace who logs, as in `shop.orders`. A class stands for its name. Any other object stands for its class's
   *   name, and is the `source` of each event. Default: `main`. (Twisted takes the module's name, which a module of
   *   JavaScript does not have.)
   * @param observer where the events go. Default: `globalLogPublisher`
   */
  constructor(namespace: string | object = 'main', observer: LogObserver = globalLogPublisher) {
    if (typeof namespace !== 'string' && !isObject(namespace))
      throw wrongType('Logger: namespace', 'a string, a class or an object', namespace);
    checkObserver(observer, 'Logger: observer');
    this.source = typeof namespace === 'object' ? namespace : undefined;
    this.namespace = nameOf(namespace);
    this.#observer = observer;
  }

  emit(level: LogLevel, format: string, fields?: LogFields): void {
    const event: LogEvent = {
      ...readFields(fields),
      time: Date.now() / 1000,
      level,
      namespace: this.namespace,
      // Whoever logs is not disturbed: what is no text is shown as one.
      format: typeof format === 'string' ? format : show(format),
    };
    if (this.source !== undefined) (event as Record<string, unknown>)['source'] = this.source;
    if (nested >= MOST_NESTED) return;
    nested++;
    tell(this.#observer, event);
    nested--;
  }

  debug(format: string, fields?: LogFields): void {
    this.emit('debug', format, fields);
  }

  info(format: string, fields?: LogFields): void {
    this.emit('info', format, fields);
  }

  warn(format: string, fields?: LogFields): void {
    this.emit('warn', format, fields);
  }

  error(format: string, fields?: LogFields): void {
    this.emit('error', format, fields);
  }

  critical(format: string, fields?: LogFields): void {
    this.emit('critical', format, fields);
  }

  /**
   * Logs a failure with its stack, and with fields. Twisted: `Logger.failure`.
   *
   * @param level default: `critical`. It may be left out before the fields
   *
   * @example
   * const log = new Logger('shop.orders', (event) => console.log(formatEvent(event)));
   * const failure = new Failure(new RangeError('no more tea'));
   * log.failure('order {id} failed', failure, { id: 7 });   // prints order 7 failed
   * log.failure('order {id} failed', failure, 'warn', { id: 8 });   // prints order 8 failed
   */
  failure(
    format: string,
    failure: Failure,
    level: LogLevel | LogFields = 'critical',
    fields?: LogFields,
  ): void {
    if (typeof level === 'string') this.emit(level, format, { ...readFields(fields), failure });
    else this.emit('critical', format, { ...readFields(level), failure });
  }

  /**
   * Calls `fn`, and logs what it throws, which goes no further. For what ends later, use the `addErrback` of its
   * Deferred. Level and fields are as for {@link Logger.failure}. Twisted: `failuresHandled`, a context manager.
   *
   * @example
   * const log = new Logger('shop');
   * const { value = 0 } = log.failuresHandled('cannot count the tea', () => 3 + 4);
   */
  failuresHandled<T>(
    format: string,
    fn: () => T,
    level: LogLevel | LogFields = 'critical',
    fields?: LogFields,
  ): Operation<T> {
    try {
      const value = fn();
      if (value !== undefined)
        watchLate(value, (failure) => this.failure(format, failure, level, fields));
      return { succeeded: true, failed: false, value };
    } catch (error) {
      const failure = new Failure(error);
      this.failure(format, failure, level, fields);
      return { succeeded: false, failed: true, failure };
    }
  }

  /** {@link Logger.failuresHandled} with its text, to be called often. Twisted: `failureHandler`. */
  failureHandler(
    format: string,
    level: LogLevel | LogFields = 'critical',
    fields?: LogFields,
  ): <T>(fn: () => T) => Operation<T> {
    return (fn) => this.failuresHandled(format, fn, level, fields);
  }

  toString(): string {
    return told(this, JSON.stringify(this.namespace));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function isObject(value: unknown): boolean {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

function nameOf(namespace: string | object): string {
  if (typeof namespace === 'string') return namespace;
  const named = (typeof namespace === 'function' ? namespace : namespace.constructor) as
    { readonly name?: string } | undefined;
  return named?.name || 'main';
}

function attempt<T>(fn: () => T, otherwise: T): T {
  try {
    return fn();
  } catch {
    return otherwise;
  }
}

/** The fields as they are; where one cannot be read, the others. */
function readFields(fields: LogFields | undefined): LogFields | undefined {
  try {
    return { ...fields };
  } catch {
    const read: Record<string, unknown> = {};
    const given = fields as LogFields;
    for (const key of attempt(() => Object.keys(given), []))
      read[key] = attempt(() => given[key], '(a value that cannot be read)');
    return read;
  }
}

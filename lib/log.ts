/**
 * Log events and who observes them. An event is structured, and made into text only when an observer wants text; an
 * observer that throws never disturbs the code that logs. Twisted: `twisted.logger`.
 */
import type { Failure } from './failure.ts';

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

/** Takes each event. */
export type LogObserver = (event: LogEvent) => void;

/** Hands each event to each observer. Twisted: `LogPublisher`. */
export class LogPublisher {
  readonly #observers = new Set<LogObserver>();

  constructor(...observers: LogObserver[]) {
    for (const observer of observers) this.#observers.add(observer);
  }

  addObserver(observer: LogObserver): void {
    this.#observers.add(observer);
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
    for (const observer of [...this.#observers]) {
      try {
        observer(event);
      } catch {
        // A broken observer must not disturb the caller, and telling the others of it could go on for ever.
      }
    }
  }
}

/**
 * The event's text: its format with the fields put in. A field may come from a peer: control characters, which must not
 * reach a terminal, are shown as `\x1b`, and a field starts no new line.
 */
export function formatEvent(event: LogEvent): string {
  const text = event.format.replace(/\{(\w+)\}/g, (whole, name: string) =>
    Object.hasOwn(event, name) ? show(event[name]).replaceAll('\n', '\\n') : whole,
  );
  return escapeControls(text);
}

/** The event on one line: time, namespace, level, text; then a failure's stack, no line of which looks like an event. */
export function eventAsText(event: LogEvent): string {
  const head = `${new Date(event.time * 1000).toISOString()} [${event.namespace}#${event.level}]`;
  const text = `${head} ${formatEvent(event)}\n`;
  if (event.failure === undefined) return text;
  const stack = escapeControls(event.failure.getTraceback());
  return `${text}${stack.replace(/\n(?=\S)/g, '\n    ')}\n`;
}

function show(value: unknown): string {
  try {
    return String(value);
  } catch {
    return '(a value that cannot be shown)';
  }
}

/** All but tabs and line feeds. */
function escapeControls(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/**
 * An observer that writes warnings and worse to standard error. It is the only one until a program says otherwise.
 */
export function stderrObserver(event: LogEvent): void {
  if (LOG_LEVELS.indexOf(event.level) < LOG_LEVELS.indexOf('warn')) return;
  process.stderr.write(eventAsText(event));
}

/** Where every Logger's events go unless it is given another publisher. Twisted: `globalLogPublisher`. */
export const globalLogPublisher: LogPublisher = new LogPublisher(stderrObserver);

/** Fields of an event besides its text. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Makes events for one part of a program. Twisted: `Logger`.
 *
 * @example
 * const log = new Logger('shop.orders');
 * log.info('order {id} took {seconds} s', { id: 7, seconds: 0.25 });
 */
export class Logger {
  readonly namespace: string;
  readonly #publisher: LogPublisher;

  constructor(namespace: string, publisher: LogPublisher = globalLogPublisher) {
    this.namespace = namespace;
    this.#publisher = publisher;
  }

  emit(level: LogLevel, format: string, fields?: LogFields): void {
    this.#publisher.emit({
      ...fields,
      time: Date.now() / 1000,
      level,
      namespace: this.namespace,
      format,
    });
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

  /** Logs a failure with its stack. Twisted: `Logger.failure`. */
  failure(format: string, failure: Failure, level: LogLevel = 'critical'): void {
    this.emit(level, format, { failure });
  }
}

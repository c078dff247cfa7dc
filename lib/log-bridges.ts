/**
 * Bridges between plait's log and the others of a process: `console`, loggers such as pino and winston, `NODE_DEBUG`,
 * diagnostics channels; and the way back, from `console` into the log. Twisted: `STDLibLogObserver` and `LoggingFile`
 * of `twisted.logger`.
 */
import { debuglog, format } from 'node:util';
import { checkMethods, checkOneOf, checkOptions, checkString } from './arguments.ts';
import { eventAsText, forget, formatEvent, Logger, type LogEvent, type LogLevel } from './log.ts';
import { hideSecrets, onOneLine, show } from './printable.ts';
import { writeToStandardError } from './standard-error.ts';

/** A function of another logger. */
type Say = (...args: never[]) => unknown;

/** Another logger: pino's, winston's, bunyan's, `console`. */
export interface ForeignLogger {
  readonly debug: Say;
  readonly info: Say;
  readonly warn: Say;
  readonly error: Say;
  /** For what is critical. Without it, `error` is. */
  readonly fatal?: Say;
}

/** What the other logger has of its own. */
const TAKEN: ReadonlySet<string> = new Set(['time', 'level', 'format', 'failure']);

/** Options of {@link loggerObserver}. */
export interface LoggerObserverOptions {
  /**
   * Where the other logger takes an object of fields: before the text, as pino and bunyan do; behind it, as winston does;
   * or not at all. Default: `first`.
   */
  readonly fields?: 'first' | 'last' | 'none';
}

/**
 * An observer that hands each event to another logger: its text, and its fields with the `namespace`. A failure becomes
 * the field `err`, the Error itself. The text is escaped as in a file, so that no field of a peer's can forge a line.
 * Twisted: `STDLibLogObserver`.
 */
export function loggerObserver(
  logger: ForeignLogger,
  options: LoggerObserverOptions = {},
): (event: LogEvent) => void {
  const { fields: place = 'first' } = checkOptions(options, 'loggerObserver: options');
  checkOneOf(place, 'loggerObserver: fields', ['first', 'last', 'none']);
  checkMethods(logger, 'loggerObserver: logger', 'a logger', ['debug', 'info', 'warn', 'error']);
  return (event) => {
    const { level, failure } = event;
    for (const value of Object.values(event)) hideSecrets(value);
    hideSecrets(failure?.value);
    const rest: Record<string, unknown> = Object.fromEntries(
      Object.entries(event).filter(([key]) => !TAKEN.has(key)),
    );
    rest['namespace'] = onOneLine(show(event.namespace));
    const text = onOneLine(formatEvent(event));
    const fields = failure === undefined ? rest : { ...rest, err: failure.value };
    if (place === 'first') forget(call(logger, level, fields, text));
    else if (place === 'last') forget(call(logger, level, text, fields));
    else forget(call(logger, level, text));
  };
}

function call(logger: ForeignLogger, level: LogLevel, ...args: unknown[]): unknown {
  const name = level === 'critical' ? 'fatal' : level;
  // A method of the logger, which may need it.
  const say = (logger[name] ?? logger.error) as (...args: unknown[]) => unknown;
  return say.apply(logger, args);
}

/** True while this file writes to a console: what is redirected is not to come back. */
let writing = false;

/** An observer that writes each event to a console, by the method of its level. Default: the process's own. */
export function consoleObserver(
  to: Pick<Console, 'debug' | 'info' | 'warn' | 'error'> = console,
): (event: LogEvent) => void {
  checkMethods(to, 'consoleObserver: to', 'a console', ['debug', 'info', 'warn', 'error']);
  return (event) => {
    const text = eventAsText(event).trimEnd();
    const before = writing;
    writing = true;
    try {
      to[event.level === 'critical' ? 'error' : event.level]('%s', text);
    } finally {
      writing = before;
    }
  };
}

/**
 * An observer that publishes each event to a channel of `node:diagnostics_channel`. Without a subscriber, it costs next
 * to nothing.
 */
export function diagnosticsChannelObserver(name = 'plait.log'): (event: LogEvent) => void {
  checkString(name, 'diagnosticsChannelObserver: name');
  const events = process.getBuiltinModule('node:diagnostics_channel').channel(name);
  return (event) => {
    if (events.hasSubscribers) events.publish(event);
  };
}

/** Of how many namespaces it is remembered whether they are named. */
const MOST_SECTIONS = 1000;

/**
 * An observer that writes to standard error the events of those namespaces that the environment variable `NODE_DEBUG`
 * names, as in `NODE_DEBUG=plait.reactor,shop.*`; whatever their level.
 */
export function debuglogObserver(): (event: LogEvent) => void {
  const sections = new Map<string, boolean>();
  return (event) => {
    const { namespace } = event;
    let enabled = sections.get(namespace);
    if (enabled === undefined) {
      enabled = debuglog(namespace).enabled;
      if (sections.size < MOST_SECTIONS) sections.set(namespace, enabled);
    }
    // In the form of Node's own function, which a broken standard error makes the program's end.
    if (enabled)
      writeToStandardError(
        `${onOneLine(namespace.toUpperCase())} ${process.pid}: ${eventAsText(event)}`,
      );
  };
}

/** The methods of `console` that are redirected, and the level that each becomes. */
const METHODS = [
  ['debug', 'debug'],
  ['log', 'info'],
  ['info', 'info'],
  ['warn', 'warn'],
  ['error', 'error'],
] as const;

/**
 * Logs what the program says by `console.log` and its like: each call is an event. Disposing of what it returns ends
 * that. What an observer writes by `console` is written. Twisted: `LoggingFile`, in place of standard output.
 *
 * @param logger default: one of the namespace `console`
 */
export function redirectConsole(logger: Logger = new Logger('console')): Disposable {
  checkMethods(logger, 'redirectConsole: logger', 'a Logger', ['emit']);
  const restore: (() => void)[] = [];
  let over = false;
  for (const [method, level] of METHODS) {
    // The console's methods are bound to it, and what others have put there is called as they would be.
    // eslint-disable-next-line @typescript-eslint/unbound-method -- see above
    const original = console[method];
    const redirected = (...args: unknown[]): void => {
      // What has redirected it since, and does so no more, has put this back.
      if (writing || over) {
        original(...args);
        return;
      }
      writing = true;
      try {
        logger.emit(level, '{text}', { text: format(...args) });
      } finally {
        writing = false;
      }
    };
    console[method] = redirected;
    restore.push(() => {
      // Somebody else may have come since.
      if (console[method] === redirected) console[method] = original;
    });
  }
  return {
    [Symbol.dispose]() {
      over = true;
      for (const undo of restore) undo();
    },
  };
}

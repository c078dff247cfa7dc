/** How what logs is called, for tests of its arguments. */
import * as plait from 'plait';
import {
  ANYTHING,
  call,
  type Call,
  isFunction,
  isObject,
  isString,
  kind,
  maybe,
  options,
  STRING,
  whole,
} from '../wrong-arguments.ts';

export function loggingTable(): Call[] {
  const event = {
    time: 1,
    level: 'info',
    namespace: 'tea',
    format: 'tea {a}',
    a: 1,
  } as plait.LogEvent;
  const EVENT = kind(
    () => event,
    (v) => isObject(v) && !Array.isArray(v),
  );
  const OBSERVER = kind<plait.LogObserver>(() => () => {}, isFunction);
  const LEVEL = kind(() => 'info' as const);
  const publisher = (): plait.LogPublisher => new plait.LogPublisher();
  const silent = (): plait.Logger =>
    new plait.Logger('tea', { publisher: new plait.LogPublisher() } as never);
  return [
    call('new LogPublisher', { observer: OBSERVER }, (a) => new plait.LogPublisher(a.observer)),
    call('LogPublisher.addObserver', { observer: OBSERVER }, (a) =>
      publisher().addObserver(a.observer),
    ),
    call(
      'new FilteringLogObserver',
      {
        observer: OBSERVER,
        predicates: kind(
          () => [() => 'yes' as const],
          (v) => Array.isArray(v) || v === undefined,
        ),
      },
      (a) => new plait.FilteringLogObserver(a.observer, a.predicates as never),
    ),
    call(
      'new LimitedHistoryLogObserver',
      { size: maybe(whole(1)) },
      (a) => new plait.LimitedHistoryLogObserver(a.size),
    ),
    call('LimitedHistoryLogObserver.replayTo', { observer: OBSERVER }, (a) =>
      new plait.LimitedHistoryLogObserver(5).replayTo(a.observer),
    ),
    call(
      'LogLevelFilterPredicate.setLogLevelForNamespace',
      { namespace: STRING, level: LEVEL },
      (a) => new plait.LogLevelFilterPredicate().setLogLevelForNamespace(a.namespace, a.level),
    ),
    call('LogLevelFilterPredicate.logLevelForNamespace', { namespace: maybe(STRING) }, (a) =>
      new plait.LogLevelFilterPredicate().logLevelForNamespace(a.namespace),
    ),
    call('capturedLogs', { publisher: maybe(kind(publisher)) }, (a) =>
      plait.capturedLogs(a.publisher)[Symbol.dispose](),
    ),
    call('eventAsText', { event: EVENT }, (a) => plait.eventAsText(a.event)),
    call('formatEvent', { event: EVENT }, (a) => plait.formatEvent(a.event)),
    call('eventAsJSON', { event: EVENT }, (a) => plait.eventAsJSON(a.event)),
    call('loggerObserver', { logger: kind(() => console as never), options: options({}) }, (a) =>
      plait.loggerObserver(a.logger, a.options as never),
    ),
    call('Logger.info', { format: ANYTHING, fields: ANYTHING }, (a) =>
      silent().info(a.format as string, a.fields as never),
    ),
    call(
      'new Logger',
      {
        namespace: kind(
          () => 'tea',
          (v) => v === undefined || isString(v) || isFunction(v) || isObject(v),
        ),
      },
      (a) => new plait.Logger(a.namespace),
    ),
  ];
}

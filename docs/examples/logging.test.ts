/** What docs/howto/logging.md and docs/reference/logging.md show, as tests. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  capturedLogs,
  eventsFromJSONLogFile,
  FilteringLogObserver,
  formatEvent,
  globalLogBeginner,
  globalLogPublisher,
  jsonFileLogObserver,
  type LogEvent,
  Logger,
  loggerObserver,
  LogLevelFilterPredicate,
  textFileLogObserver,
} from 'plait';
import t from 'tap';

const directory = mkdtempSync(join(tmpdir(), 'plait-'));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test('a program logs', async (t) => {
  const path = join(directory, 'shop.log');
  // #region begin
  const file = textFileLogObserver(path);
  globalLogBeginner.beginLoggingTo([file]);
  // #endregion
  // #region log
  const log = new Logger('shop.orders');
  log.info('order {id} for {name}', { id: 7, name: 'Ada' });
  // #endregion
  // #region close
  await file.close();
  // #endregion
  globalLogPublisher.removeObserver(file);
  t.match(readFileSync(path, 'utf8'), '[shop.orders#info] order 7 for Ada\n');
});

t.test('levels by namespace', async (t) => {
  const seen: LogEvent[] = [];
  const observer = (event: LogEvent) => void seen.push(event);
  // #region filter
  const levels = new LogLevelFilterPredicate('warn');
  levels.setLogLevelForNamespace('shop', 'info');
  levels.setLogLevelForNamespace('shop.orders', 'debug');
  const filtered = new FilteringLogObserver(observer, [levels]);
  // #endregion
  new Logger('shop.orders', filtered).debug('passes');
  new Logger('shop', filtered).debug('does not');
  new Logger('plait.reactor', filtered).info('does not');
  t.same(seen.map(formatEvent), ['passes']);
});

t.test('JSON lines', async (t) => {
  const path = join(directory, 'shop.json');
  // #region json
  const file = jsonFileLogObserver(path);
  const log = new Logger('shop', file);
  log.info('tea for {n}', { n: 2 });
  await file.close();

  for await (const event of eventsFromJSONLogFile(path)) {
    console.log(event.namespace, event['n']); // shop 2
  }
  // #endregion
  t.match(JSON.parse(readFileSync(path, 'utf8')), { message: 'tea for 2', n: 2 });
});

t.test('another logger', async (t) => {
  const calls: unknown[][] = [];
  const say = (...args: unknown[]) => void calls.push(args);
  const pino = { debug: say, info: say, warn: say, error: say, fatal: say };
  // #region foreign
  const observer = loggerObserver(pino); // winston: { fields: 'last' }, console: { fields: 'none' }
  // #endregion
  new Logger('shop', observer).info('tea for {n}', { n: 2 });
  t.same(calls, [[{ namespace: 'shop', n: 2 }, 'tea for 2']]);
});

t.test('a test looks at the log', async (t) => {
  const brew = () => new Logger('shop').info('brewing');
  // #region captured
  using captured = capturedLogs();
  brew();
  t.same(captured.map(formatEvent), ['brewing']);
  // #endregion
});

/** Filters, files, other loggers, and the moment at which a program begins to log. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import {
  capturedLogs,
  consoleObserver,
  debuglogObserver,
  diagnosticsChannelObserver,
  eventAsJSON,
  eventAsText,
  eventFromJSON,
  eventsFromJSONLogFile,
  Failure,
  FileLogObserver,
  FilteringLogObserver,
  formatEvent,
  globalLogBeginner,
  globalLogPublisher,
  IPv4Address,
  jsonFileLogObserver,
  LimitedHistoryLogObserver,
  LimitExceeded,
  type LogBeginner,
  type LogEvent,
  Logger,
  loggerObserver,
  LogLevelFilterPredicate,
  LogPublisher,
  type PredicateResult,
  redirectConsole,
  stderrObserver,
  textFileLogObserver,
} from 'plait';
import { run } from '../child.ts';
import t, { type Test } from '../fixture.ts';

function event(fields: Record<string, unknown> = {}): LogEvent {
  return { time: 1_700_000_000.5, level: 'info', namespace: 'shop', format: 'open', ...fields };
}

/** A Logger whose events are kept. */
function kept(namespace?: string | object) {
  const events: LogEvent[] = [];
  return { events, log: new Logger(namespace, (each) => void events.push(each)) };
}

/** A path in a folder of its own. */
function scratch(t: Test, name = 'log'): string {
  const directory = mkdtempSync(join(tmpdir(), 'plait-log-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, name);
}

/** What was written to standard error while `fn` ran. */
async function stderrOf(fn: () => unknown): Promise<string> {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back
  const { write } = process.stderr;
  let text = '';
  process.stderr.write = (chunk: string | Uint8Array) => {
    text += chunk.toString();
    return true;
  };
  try {
    await fn();
  } finally {
    process.stderr.write = write;
  }
  return text;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

// ── Loggers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a Logger is named after a text, a class, or an object, which is its source', async (t) => {
  class Shop {
    readonly log = new Logger(this, (each) => void seen.push(each));
  }
  const seen: LogEvent[] = [];
  const shop = new Shop();
  shop.log.info('open');
  t.match(seen, [{ namespace: 'Shop', source: shop, format: 'open' }]);
  t.equal(new Logger(Shop).namespace, 'Shop');
  t.equal(new Logger(Shop).source, undefined);
  t.equal(new Logger().namespace, 'main');
  t.equal(new Logger(Object.create(null) as object).namespace, 'main');
  t.equal(new Logger(() => {}).namespace, 'main');
});

t.test('a field that cannot be read does not disturb who logs', async (t) => {
  const { events, log } = kept('shop');
  const fields = {
    tea: 3,
    get milk() {
      throw new RangeError('sour');
    },
  };
  log.info('{tea} {milk}', fields);
  const proxy = new Proxy(
    {},
    {
      ownKeys() {
        throw new RangeError('no');
      },
    },
  );
  log.info('open', proxy);
  t.same(events.map(formatEvent), ['3 (a value that cannot be read)', 'open']);
});

t.test('failuresHandled logs what is thrown, and says what came of it', async (t) => {
  const { events, log } = kept('shop');
  t.same(
    log.failuresHandled('cannot count', () => 7),
    { succeeded: true, failed: false, value: 7 },
  );
  const handler = log.failureHandler('cannot brew', 'warn');
  const failed = handler(() => {
    throw new RangeError('no water');
  });
  t.match(failed, { succeeded: false, failed: true });
  t.ok(failed.failure?.check(RangeError));
  t.match(events, [{ level: 'warn', format: 'cannot brew', failure: failed.failure }]);
  log.failuresHandled('cannot pay', () => {
    throw new TypeError('no money');
  });
  t.equal(events.at(-1)?.level, 'critical');
});

t.test(
  'an observer that throws, of either kind, disturbs neither the caller nor the others',
  async (t) => {
    const seen: LogEvent[] = [];
    const broken = (): never => {
      throw new RangeError('full');
    };
    const publisher = new LogPublisher(broken, { emit: broken }, (each) => void seen.push(each));
    new Logger('shop', publisher).info('open');
    new Logger('shop', broken).info('open');
    new FilteringLogObserver(broken, []).emit(event());
    new LimitedHistoryLogObserver(1).replayTo(broken);
    t.equal(seen.length, 1);
  },
);

// ── Filters and history ──────────────────────────────────────────────────────────────────────────────────────────────

t.test('the level of the longest namespace counts', async (t) => {
  const levels = new LogLevelFilterPredicate('warn');
  levels.setLogLevelForNamespace('shop', 'info');
  levels.setLogLevelForNamespace('shop.orders.new', 'debug');
  const cases = [
    ['bank', 'warn'],
    ['shop', 'info'],
    ['shopping', 'warn'],
    ['shop.orders', 'info'],
    ['shop.orders.new', 'debug'],
    ['shop.orders.new.today', 'debug'],
    ['.shop', 'warn'],
    ['', 'warn'],
  ] as const;
  for (const [namespace, level] of cases) t.equal(levels.logLevelForNamespace(namespace), level);
  t.equal(levels.decide(event({ namespace: 'shop.x', level: 'debug' })), 'no');
  t.equal(levels.decide(event({ namespace: 'shop.x', level: 'info' })), 'maybe');
  levels.setLogLevelForNamespace('', 'critical');
  t.equal(levels.logLevelForNamespace(), 'critical');
  levels.clearLogLevels();
  t.equal(levels.logLevelForNamespace('shop'), 'critical');
  t.equal(new LogLevelFilterPredicate().logLevelForNamespace('shop'), 'info');
  t.throws(() => new LogLevelFilterPredicate('loud' as never), RangeError);
  t.throws(() => levels.setLogLevelForNamespace('shop', 'loud' as never), RangeError);
});

t.test('the first predicate that knows decides', async (t) => {
  const says = (result: PredicateResult) => () => result;
  const confused = (): never => {
    throw new RangeError('who knows');
  };
  const cases: [(() => PredicateResult)[], boolean][] = [
    [[], true],
    [[says('maybe')], true],
    [[says('maybe'), says('no'), says('yes')], false],
    [[says('yes'), says('no')], true],
    [[confused, says('no')], false],
    [[confused], true],
  ];
  for (const [predicates, passes] of cases) {
    const passed: LogEvent[] = [];
    const held: LogEvent[] = [];
    new FilteringLogObserver(
      (each) => void passed.push(each),
      predicates,
      (each) => void held.push(each),
    ).emit(event());
    t.same([passed.length, held.length], passes ? [1, 0] : [0, 1]);
  }
  new FilteringLogObserver(() => t.fail('passed'), [new LogLevelFilterPredicate('error')]).emit(
    event(),
  );
});

t.test('a history keeps the latest events', async (t) => {
  const history = new LimitedHistoryLogObserver(3);
  for (let i = 0; i < 8; i++) history.emit(event({ i }));
  t.same(
    history.events.map(({ i }) => i),
    [5, 6, 7],
  );
  history.clear();
  history.emit(event({ i: 9 }));
  t.same(
    history.events.map(({ i }) => i),
    [9],
  );
  for (const size of [0, -1, 1.5, NaN])
    t.throws(() => new LimitedHistoryLogObserver(size), RangeError);
  new LimitedHistoryLogObserver().emit(event());
});

t.test('captured events stop where the block ends', async (t) => {
  const publisher = new LogPublisher();
  const log = new Logger('shop', publisher);
  let events: readonly LogEvent[];
  {
    using captured = capturedLogs(publisher);
    events = captured;
    log.info('open');
    t.equal(captured.length, 1);
  }
  log.info('closed');
  t.same(events.map(formatEvent), ['open']);
  {
    using captured = capturedLogs();
    new Logger('shop').info('open');
    t.equal(captured.length, 1);
  }
});

t.test('early events are given to the observers with which logging begins', async (t) => {
  const before = globalLogPublisher.observers;
  const log = new Logger('shop');
  log.info('before {n}', { n: 1 });
  const seen: LogEvent[] = [];
  const observer = (each: LogEvent): void => void seen.push(each);
  globalLogPublisher.addObserver(stderrObserver);
  const begin = globalLogBeginner;
  begin.beginLoggingTo([observer]);
  t.notOk(globalLogPublisher.observers.includes(stderrObserver));
  log.info('after');
  t.same(seen.slice(-2).map(formatEvent), ['before 1', 'after']);
  t.ok(seen.length <= 257);
  begin.beginLoggingTo([]);
  t.match(seen.at(-1), { level: 'warn', namespace: 'plait.log' });

  // Another program, as it were.
  const again = new (globalLogBeginner.constructor as new () => LogBeginner)();
  const none: LogEvent[] = [];
  const other = (each: LogEvent): void => void none.push(each);
  const { log: original } = console;
  again.beginLoggingTo([other], { discardBuffer: true, redirectConsole: true });
  console.log('tea %d', 3);
  console.log = original;
  t.same(none.map(formatEvent), ['tea 3']);
  globalLogPublisher.removeObserver(observer);
  globalLogPublisher.removeObserver(other);
  for (const each of before) globalLogPublisher.addObserver(each);
});

// ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('an event survives a line of JSON', async (t) => {
  const cause = new TypeError('dry');
  const failure = new Failure(
    Object.assign(new RangeError('no water', { cause }), { code: 'EDRY' }),
  );
  const before = event({
    format: 'tea for {n} at {peer}',
    n: 2,
    peer: new IPv4Address('TCP', '10.0.0.1', 7),
    failure,
  });
  const after = eventFromJSON(eventAsJSON(before));
  t.equal(formatEvent(after), formatEvent(before));
  t.match(after, { time: before.time, level: 'info', namespace: 'shop', n: 2 });
  const { value } = after.failure as Failure;
  t.match(value, { name: 'RangeError', message: 'no water', code: 'EDRY' });
  t.match(value.cause, { name: 'TypeError', message: 'dry' });
  t.equal(value.stack, failure.value.stack);
  t.match(eventAsText(after), /RangeError\]?: no water/);
});

t.test('whatever is logged is one line of JSON', async (t) => {
  const circular: Record<string, unknown> = { tea: 1 };
  circular['self'] = circular;
  const deep: Record<string, unknown> = {};
  let at = deep;
  for (let i = 0; i < 50; i++) at = at['next'] = {} as Record<string, unknown>;
  class Shown {
    toString() {
      return 'shown';
    }
  }
  class Plain {
    tea = 1;
  }
  class Angry {
    toString(): string {
      throw new RangeError('no');
    }
  }
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const own = JSON.parse('{"__proto__": {"tea": 1}}') as unknown;
  const cases: [string, unknown, unknown][] = [
    ['a big integer', 10n ** 30n, `1${'0'.repeat(30)}`],
    ['no number', NaN, 'NaN'],
    ['infinity', -Infinity, '-Infinity'],
    ['a symbol', Symbol('tea'), 'Symbol(tea)'],
    ['nothing', null, null],
    ['truth', true, true],
    ['a date', new Date(0), '1970-01-01T00:00:00.000Z'],
    ['no date', new Date(NaN), 'Invalid Date'],
    ['bytes', Buffer.from([0, 255, 10]), '\u0000\u00ff\n'],
    ['a set', new Set([1, 'two']), [1, 'two']],
    ['a map', new Map<unknown, unknown>([[1, 2]]), { 1: 2 }],
    ['an URL', new URL('http://tea.test/'), 'http://tea.test/'],
    ['an object with toString', new Shown(), 'shown'],
    ['an object without', new Plain(), { tea: 1 }],
    ['one whose toString throws', new Angry(), '(a value that cannot be shown)'],
    ['a dead proxy', revoked.proxy, '(a value that cannot be shown)'],
    ['a circle', circular, { tea: 1, self: '(circular)' }],
    ['an object twice', [own, own], [own, own]],
    ['a long text', 'x'.repeat(20_000), `${'x'.repeat(16_384)}(and more)`],
    ['no prototype', Object.assign(Object.create(null), { tea: 1 }), { tea: 1 }],
    ['undefined within', { tea: undefined, milk: 1 }, { milk: 1 }],
    [
      'a getter that throws',
      {
        get tea() {
          throw new RangeError('no');
        },
        milk: 1,
      },
      { tea: '(a value that cannot be shown)', milk: 1 },
    ],
  ];
  for (const [name, value, expected] of cases) {
    const line = eventAsJSON(event({ value }));
    t.notMatch(line, /[\n\r]/, name);
    t.same(eventFromJSON(line)['value'], expected, name);
  }
  const proto = eventFromJSON(eventAsJSON(event({ value: own })))['value'] as object;
  t.same(Object.getOwnPropertyDescriptor(proto, '__proto__')?.value, { tea: 1 });
  t.equal(({} as { tea?: number }).tea, undefined);
  t.match(eventAsJSON(event({ value: deep })), /too deep to show/);
  t.match(eventAsJSON(event({ value: Array(1000).fill(1) })), /,"\(and more\)"\]/);
  const wide = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`k${i}`, i]));
  t.match(eventAsJSON(event({ value: wide })), /"\(and more\)":true/);
  const huge = Array.from({ length: 100 }, () => Array<string>(100).fill('x'.repeat(1000)));
  const line = eventAsJSON(event({ value: huge }));
  t.match(line, /too much to show/);
  t.ok(line.length < 512 * 1024);
  const group = new AggregateError([new RangeError('a')], 'both');
  t.match(eventFromJSON(eventAsJSON(event({ error: group })))['error'], {
    name: 'AggregateError',
    errors: [{ message: 'a' }],
  });
  t.match(eventFromJSON(eventAsJSON(event({ message: 'mine' }))), { message: 'mine' });
});

t.test('random fields are one line of JSON, which is read back', async (t) => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string(),
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withNullPrototype: true,
          withTypedArray: true,
        }),
      ),
      (fields) => {
        const line = eventAsJSON({ ...fields, ...event() });
        return (
          !/[\n\r\u007f-\u009f\u2028\u2029]/.test(line) && eventFromJSON(line).format === 'open'
        );
      },
    ),
  );
});

t.test('what is no event is refused', async (t) => {
  const wrong = [
    '',
    '7',
    'null',
    '[]',
    '{}',
    '{"time":1}',
    '{"time":1,"level":"loud","namespace":"a","format":"b"}',
    '{"time":1,"level":"info","namespace":7,"format":"b"}',
    '{"time":1,"level":"info","namespace":"a"}',
  ];
  for (const text of wrong) t.throws(() => eventFromJSON(text), SyntaxError, text);
  for (const failure of ['"tea"', 'null', '7', '{}', '{"message":7,"stack":7}'])
    t.ok(
      eventFromJSON(`{"time":1,"level":"info","namespace":"a","format":"b","failure":${failure}}`)
        .failure,
    );
});

t.test('a log file is read event by event; a line that is none is logged', async (t) => {
  const path = scratch(t);
  const lines = [1, 2, 3].map((i) => eventAsJSON(event({ i })));
  writeFileSync(path, `${lines.join('\n')}\n\nnonsense\n{"time":`);
  using captured = capturedLogs();
  for (const source of [path, pathToFileURL(path)])
    t.same(
      (await all(eventsFromJSONLogFile(source))).map(({ i }) => i),
      [1, 2, 3],
    );
  t.equal(captured.filter(({ namespace }) => namespace === 'plait.log').length, 4);
  const { flushLoggedErrors } = await import('plait/testing');
  flushLoggedErrors();
  const pieces = Array.from(`${lines.join('\n')}\n`);
  t.equal((await all(eventsFromJSONLogFile(pieces))).length, 3);
  const long = Array<string>(17).fill('x'.repeat(2 ** 20));
  await t.rejects(all(eventsFromJSONLogFile(long)), LimitExceeded);
  await t.rejects(all(eventsFromJSONLogFile('/nowhere/at all')), { code: 'ENOENT' });
});

// ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'HTS-57: events are written to a file, one line each, and nothing forges another',
  async (t) => {
    const path = scratch(t);
    const observer = textFileLogObserver(path);
    const log = new Logger('shop', observer);
    log.info('open');
    log.info('{path}', { path: '/tea\r\n2026-01-01T00:00:00.000Z [bank#info] paid\x1b[2K"\x9b' });
    t.equal(successful(observer.flush()), 'waits');
    await observer.flush();
    const lines = readFileSync(path, 'utf8').split('\n');
    t.equal(lines.length, 3);
    t.match(lines[1], /\[shop#info\] \/tea\\x0d\\n2026.*paid\\x1b\[2K"\\x9b$/);
    t.equal(successful(observer.flush()), 'fired');
    await observer.close();
    log.info('too late');
    await observer.close();
    t.equal(readFileSync(path, 'utf8').split('\n').length, 3);

    const more = jsonFileLogObserver(pathToFileURL(path));
    new Logger('shop', more).failure('cannot brew', new Failure(new RangeError('no water')));
    await more.close();
    t.equal(readFileSync(path, 'utf8').split('\n').length, 4, 'it is appended to');
    const unused = textFileLogObserver(join(path, 'never made'));
    await unused.close();
  },
);

/** Whether a Deferred has fired by now. */
function successful(deferred: { called: boolean }): string {
  return deferred.called ? 'fired' : 'waits';
}

t.test('many events keep their order, and a format of one’s own may leave some out', async (t) => {
  const path = scratch(t);
  await using observer = new FileLogObserver(path, ({ n }) =>
    n === 7 ? undefined : `${String(n)}\n`,
  );
  const log = new Logger('shop', observer);
  for (let n = 0; n < 5000; n++) {
    log.info('', { n });
    if (n % 1000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const given = observer.flush();
  given.addErrback(() => {});
  given.cancel();
  await observer.flush();
  const expected = Array.from({ length: 5000 }, (_, n) => n).filter((n) => n !== 7);
  t.same(readFileSync(path, 'utf8').trim().split('\n').map(Number), expected);
});

t.test('what cannot be written fast enough is dropped, counted, and told', async (t) => {
  const path = scratch(t);
  const observer = textFileLogObserver(path, { maxWaiting: 1000 });
  const log = new Logger('shop', observer);
  for (let n = 0; n < 1000; n++) log.info('event {n}', { n });
  await observer.flush();
  log.info('later');
  for (let n = 0; n < 1000; n++) log.info('event {n}', { n });
  await observer.close();
  const text = readFileSync(path, 'utf8');
  t.match(text, /\[plait\.log#error\] 9\d\d events were dropped/);
  t.match(text, /later/);
  t.equal(text.match(/events were dropped/g)?.length, 2);
  for (const maxWaiting of [0, -1, NaN])
    t.throws(() => textFileLogObserver(path, { maxWaiting }), RangeError);
});

t.test('a file that cannot be written is complained of once, and tried again', async (t) => {
  const path = scratch(t, join('missing', 'log'));
  const observer = textFileLogObserver(path);
  const log = new Logger('shop', observer);
  const said = await stderrOf(async () => {
    for (let i = 0; i < 3; i++) {
      log.info('lost');
      await observer.flush();
    }
  });
  t.match(said, /^cannot write the log to .*missing.log: no such file/i);
  t.equal(said.split('\n').length, 2);
  const full = textFileLogObserver('/dev/full');
  const complaint = await stderrOf(async () => {
    new Logger('shop', full).info('lost');
    await full.close();
  });
  t.match(complaint, /cannot write the log to \/dev\/full/);
});

t.test('events are written to a stream, which stays open', async (t) => {
  const pieces: string[] = [];
  const stream = new PassThrough();
  stream.on('data', (piece: Buffer) => void pieces.push(piece.toString()));
  const observer = textFileLogObserver(stream);
  const log = new Logger('shop', observer);
  t.equal(successful(observer.flush()), 'fired');
  log.info('open');
  await observer.close();
  log.info('too late');
  t.equal(stream.writableEnded, false);
  t.equal(pieces.join('').split('\n').length, 2);

  const held: (() => void)[] = [];
  const slow = new Writable({ write: (_chunk, _encoding, done) => void held.push(done) });
  const waiting = textFileLogObserver(slow, { maxWaiting: 100 });
  const other = new Logger('shop', waiting);
  for (let n = 0; n < 10; n++) other.info('a long event, number {n}', { n });
  const flushed = waiting.flush();
  const forgotten = waiting.flush();
  forgotten.addErrback(() => {});
  forgotten.cancel();
  t.equal(successful(flushed), 'waits');
  t.ok(slow.writableLength < 400);
  while (!flushed.called) {
    held.shift()?.();
    await new Promise((resolve) => setImmediate(resolve));
  }

  const broken = new Writable({ write: (_chunk, _encoding, done) => done(new Error('full')) });
  const said = await stderrOf(async () => {
    const log = new Logger('shop', textFileLogObserver(broken));
    log.info('lost');
    await new Promise((resolve) => broken.once('close', resolve));
    log.info('lost');
  });
  t.equal(said, 'cannot write the log to a stream: full\n');
});

t.test('what was logged last is in the file when the process exits', async (t) => {
  const later = 'await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));';
  const ways = [
    [later, 'process.exit(0);'],
    [later, 'throw new RangeError("no tea");'],
  ];
  await Promise.all(
    ways.map(([wait = '', end = '']) =>
      t.test(`by ${end}`, async (t) => {
        const path = scratch(t);
        await run(
          t,
          `import { Logger, textFileLogObserver } from 'plait';
           const log = new Logger('shop', textFileLogObserver(${JSON.stringify(path)}));
           for (let n = 0; n < 2000; n++) log.info('before {n}', { n });
           ${wait}
           for (let n = 0; n < 2000; n++) log.info('after {n}', { n });
           ${end}`,
        );
        const lines = readFileSync(path, 'utf8').trim().split('\n');
        const numbered = (word: string) => Array.from({ length: 2000 }, (_, n) => `${word} ${n}`);
        t.same(
          lines.map((line) => line.replace(/.*\] /, '')),
          ['before', 'after'].flatMap(numbered),
        );
      }),
    ),
  );
});

// ── Other loggers ────────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'events go to loggers of other libraries, with their fields where these want them',
  async (t) => {
    const calls: unknown[][] = [];
    class Foreign {
      readonly name = 'foreign';
      debug = (...args: unknown[]) => calls.push(['debug', ...args]);
      info = (...args: unknown[]) => calls.push(['info', ...args]);
      warn = (...args: unknown[]) => calls.push(['warn', ...args]);
      error(...args: unknown[]) {
        calls.push([`error of ${this.name}`, ...args]);
      }
    }
    const logger = new Foreign();
    loggerObserver(logger)(event({ format: 'tea {n}', n: 1 }));
    loggerObserver(logger, { fields: 'last' })(event({ level: 'debug' }));
    loggerObserver(logger, { fields: 'none' })(event({ level: 'critical', format: 'a\nb' }));
    const error = new RangeError('no water');
    loggerObserver(logger)(event({ level: 'error', failure: new Failure(error) }));
    loggerObserver(Object.assign(new Foreign(), { fatal: (text: string) => calls.push([text]) }), {
      fields: 'none',
    })(event({ level: 'critical' }));
    t.same(calls, [
      ['info', { namespace: 'shop', n: 1 }, 'tea 1'],
      ['debug', 'open', { namespace: 'shop' }],
      ['error of foreign', 'a\\nb'],
      ['error of foreign', { namespace: 'shop', err: error }, 'open'],
      ['open'],
    ]);
  },
);

t.test('events go to a console, and what a program says by the console to the log', async (t) => {
  const said: string[][] = [];
  const say =
    (name: string) =>
    (...args: unknown[]) =>
      void said.push([name, ...args.map(String)]);
  const to = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
  const observer = consoleObserver(to);
  for (const level of ['debug', 'info', 'warn', 'error', 'critical'] as const)
    observer(event({ level, format: '100 %s' }));
  t.same(
    said.map(([name]) => name),
    ['debug', 'info', 'warn', 'error', 'error'],
  );
  t.match(said[0]?.slice(1), ['%s', '2023-11-14T22:13:20.500Z [shop#debug] 100 %s']);

  const originals = [console.log, console.error, console.warn, console.info, console.debug];
  const { events, log } = kept('console');
  const redirected = redirectConsole(log);
  console.log('tea for %d', 2);
  console.error(new RangeError('no water').message, { tea: 1 });
  redirected[Symbol.dispose]();
  t.same([console.log, console.error, console.warn, console.info, console.debug], originals);
  t.same(
    events.map((each) => [each.level, formatEvent(each)]),
    [
      ['info', 'tea for 2'],
      ['error', 'no water { tea: 1 }'],
    ],
  );
});

t.test(
  'an observer that writes to a console that is redirected does not go round for ever',
  async (t) => {
    const written: unknown[][] = [];
    const { log, info } = console;
    console.log = console.info = (...args: unknown[]) => void written.push(args);
    try {
      const publisher = new LogPublisher(consoleObserver(), () => console.log('from an observer'));
      {
        using redirected = redirectConsole(new Logger('console', publisher));
        t.ok(redirected);
        console.log('tea');
        new Logger('shop', publisher).info('open');
        const mine = (): void => {};
        console.warn = mine;
      }
      t.match(console.warn, Function, 'who came later stays');
    } finally {
      Object.assign(console, { log, info });
    }
    t.equal(written.filter(([text]) => text === 'from an observer').length, 2);
    t.equal(written.length, 5);
  },
);

t.test('events go to a diagnostics channel while somebody listens', async (t) => {
  const observer = diagnosticsChannelObserver('plait.test');
  observer(event());
  const seen: unknown[] = [];
  const listener = (message: unknown): void => void seen.push(message);
  subscribe('plait.test', listener);
  const sent = event();
  observer(sent);
  unsubscribe('plait.test', listener);
  t.same(seen, [sent]);
  diagnosticsChannelObserver()(event());
});

t.test('NODE_DEBUG chooses the namespaces that are written to standard error', async (t) => {
  const observer = debuglogObserver();
  t.equal(await stderrOf(() => observer(event())), '');
  process.env['NODE_DEBUG'] = 'shop.*';
  const program = `import { debuglogObserver, Logger } from 'plait';
     const observer = debuglogObserver();
     for (const name of ['shop.orders', 'bank', 'shop.orders'])
       new Logger(name, observer).debug('open');`;
  const { stderr } = await run(t, program).finally(() => delete process.env['NODE_DEBUG']);
  t.equal(stderr.match(/\[shop\.orders#debug\] open/g)?.length, 2);
  t.notMatch(stderr, /bank/);
});

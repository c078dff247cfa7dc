/** What everything stands on: lib/bytes.ts, log.ts, errors.ts, failure.ts and address.ts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import * as plait from 'plait';
import {
  type Address,
  type ErrorClass,
  eventAsText,
  exactly,
  Failure,
  FailureGroup,
  FirstError,
  formatEvent,
  globalLogPublisher,
  HostnameAddress,
  IPv4Address,
  IPv6Address,
  isIPAddress,
  LimitExceeded,
  line,
  type LogEvent,
  Logger,
  LOG_LEVELS,
  LogPublisher,
  type Parse,
  PipeAddress,
  PlaitError,
  ReceiveBuffer,
  stderrObserver,
  UNIXAddress,
  until,
} from 'plait';
import { checkHost, checkPort, ipAddress } from '../../lib/address.ts';
import { explain, getConnectError } from '../../lib/errors.ts';
import t from '../fixture.ts';
import { growsLinearly } from '../growth.ts';

const tooMany = () => new RangeError('7 is too many');

// ── Bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const bytes = (text: string) => Buffer.from(text, 'latin1');
const CRLF = bytes('\r\n');

/** A buffer that was fed these. */
function fed(...chunks: string[]): ReceiveBuffer {
  const received = new ReceiveBuffer();
  for (const chunk of chunks) received.feed(bytes(chunk));
  return received;
}

t.test('ReceiveBuffer', async (t) => {
  t.test('gives bytes in the order in which they arrived, however they were cut', async (t) => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 40 }),
        fc.infiniteStream(fc.nat(300)),
        (chunks, sizes) => {
          const received = new ReceiveBuffer();
          const taken: Buffer[] = [];
          for (const chunk of chunks) {
            received.feed(Buffer.from(chunk));
            const size = sizes.next().value as number;
            const piece = size % 2 === 0 ? received.take(size) : received.takeSome(size);
            if (piece !== undefined) taken.push(piece);
          }
          taken.push(received.takeAll());
          return Buffer.concat(taken).equals(Buffer.concat(chunks)) && received.length === 0;
        },
      ),
    );
  });

  t.test('knows how many are waiting', async (t) => {
    const received = new ReceiveBuffer();
    t.equal(received.length, 0);
    received.feed(bytes('tea'));
    received.feed(bytes(''));
    received.feed(bytes('pot'));
    t.equal(received.length, 6);
    received.take(4);
    t.equal(received.length, 2);
    received.clear();
    t.equal(received.length, 0);
    t.equal(received.takeAll().length, 0);
  });

  t.test('takes a number of bytes, or nothing while they have not all arrived', async (t) => {
    const received = fed('te');
    t.equal(received.take(3), undefined);
    t.same(received.take(0), bytes(''));
    received.feed(bytes('apot'));
    t.same(received.take(3), bytes('tea'));
    t.same(received.take(3), bytes('pot'));
    t.equal(received.take(1), undefined);
  });

  t.test('takes some, as many as there are up to a limit', async (t) => {
    const received = fed('teapot');
    t.same(received.takeSome(3), bytes('tea'));
    t.same(received.takeSome(Infinity), bytes('pot'));
    t.equal(received.takeSome(3), undefined);
    t.equal(fed('tea').takeSome(0), undefined);
  });

  t.test('refuses a number that is none of bytes, and keeps what it has', async (t) => {
    const received = fed('teapot');
    for (const size of [-1, 2.5, NaN]) {
      t.throws(() => received.take(size), {
        name: 'RangeError',
        message: `take: size must be a whole number from 0, not ${size}`,
      });
      t.throws(() => received.takeSome(size), {
        name: 'RangeError',
        message: `takeSome: most must be a whole number from 0, or Infinity, not ${size}`,
      });
    }
    t.throws(() => received.take(Infinity), RangeError);
    t.throws(() => received.take('3' as never), TypeError);
    t.same(received.takeAll(), bytes('teapot'));
  });

  t.test('takes what stands before a delimiter, and the delimiter too', async (t) => {
    const received = fed('PING\r\nPO');
    t.same(received.takeUntil(CRLF, 100), bytes('PING'));
    t.equal(received.takeUntil(CRLF, 100), undefined);
    received.feed(bytes('NG\r'));
    t.equal(received.takeUntil(CRLF, 100), undefined, 'half a delimiter is none');
    received.feed(bytes('\n\r\n'));
    t.same(received.takeUntil(CRLF, 100), bytes('PONG'));
    t.same(received.takeUntil(CRLF, 100), bytes(''));
    t.equal(received.length, 0);
  });

  t.test('finds a delimiter wherever the bytes are cut', async (t) => {
    const text = 'a\r\r\nbb\n\r\n\r\nccc\r\n';
    for (let first = 0; first <= text.length; first++) {
      for (let second = first; second <= text.length; second++) {
        const received = new ReceiveBuffer();
        const lines: string[] = [];
        for (const [from, to] of [
          [0, first],
          [first, second],
          [second, text.length],
        ]) {
          received.feed(bytes(text.slice(from, to)));
          for (let found; (found = received.takeUntil(CRLF, 100)) !== undefined;)
            lines.push(found.toString());
        }
        if (lines.join('|') !== 'a\r|bb\n||ccc') t.fail(`${first}, ${second}: ${lines.join('|')}`);
      }
    }
  });

  t.test('finds another delimiter than the one it has searched for in vain', async (t) => {
    const received = fed('key\r\nvalue');
    t.equal(received.takeUntil(bytes(':'), 100), undefined);
    t.same(received.takeUntil(Buffer.from(CRLF), 100), bytes('key'));
    t.equal(received.takeUntil(Buffer.from(CRLF), 100), undefined);
    received.feed(bytes('\r\n'));
    t.same(received.takeUntil(Buffer.from(CRLF), 100), bytes('value'));
    t.throws(() => received.takeUntil(bytes(''), 100), {
      name: 'RangeError',
      message: /^takeUntil: delimiter must be a Uint8Array of one byte or more/,
    });
  });

  t.test('fails as soon as it is certain that the limit is exceeded, and no sooner', async (t) => {
    t.same(fed('12345\r\n').takeUntil(CRLF, 5), bytes('12345'));
    t.equal(fed('12345\r').takeUntil(CRLF, 5), undefined, 'that may be the delimiter');
    t.equal(fed('123456').takeUntil(CRLF, 5), undefined, 'the sixth might have been a CR');
    for (const text of ['1234567', '123456\r', '123456\r\n', '12345\r\r'])
      t.throws(() => fed(text).takeUntil(CRLF, 5, 'a header line'), {
        name: 'LimitExceeded',
        limit: 5,
        message: 'a header line is longer than the limit of 5 bytes',
      });
    t.throws(() => fed('12').takeUntil(bytes('\n'), 1), { message: /^a line is longer/ });
    t.throws(() => fed('1').takeUntil(bytes('\n'), 0), LimitExceeded);
  });

  t.test('copies no piece that is most of what arrived', async (t) => {
    const chunk = Buffer.alloc(1000, 'x');
    chunk.write('\r\n', 500);
    const received = new ReceiveBuffer();
    received.feed(chunk);
    t.equal(received.takeUntil(CRLF, 500)?.buffer, chunk.buffer);
    t.not(received.take(3)?.buffer, chunk.buffer);
  });

  t.test('never changes bytes that it has given', async (t) => {
    const received = new ReceiveBuffer();
    const kept: { piece: Buffer; copy: string }[] = [];
    for (let i = 0; i < 2000; i++) {
      received.feed(bytes(`${i}:${'x'.repeat(i % 97)};`));
      const piece = received.takeUntil(bytes(i % 3 === 0 ? ':' : ';'), 1e6);
      if (piece !== undefined) kept.push({ piece, copy: piece.toString() });
    }
    t.ok(kept.every(({ piece, copy }) => piece.toString() === copy));
    t.equal(kept.length, 2000);
  });

  t.test('takes a time that grows with the bytes, when they are dripped too', async (t) => {
    const drip = (delimiter: () => Buffer) => (size: number) => {
      const received = new ReceiveBuffer();
      const one = bytes('x');
      for (let i = 0; i < size; i++) {
        received.feed(one);
        received.takeUntil(delimiter(), size);
      }
    };
    t.ok(
      growsLinearly(
        drip(() => CRLF),
        20_000,
      ),
    );
    t.ok(
      growsLinearly(
        drip(() => Buffer.from(CRLF)),
        20_000,
      ),
      'with a new delimiter each time',
    );
  });
});

t.test('rules of a grammar', async (t) => {
  function* netstring(source: ReceiveBuffer): Parse<string> {
    const size = Number(yield* until(source, bytes(':'), 5, 'a length'));
    const body = yield* exactly(source, size);
    yield* exactly(source, 1);
    return body.toString();
  }

  t.test('wait for more bytes where they need them', async (t) => {
    const received = new ReceiveBuffer();
    const rule = netstring(received);
    t.same(rule.next(), { done: false, value: undefined });
    for (const c of '10:teapot!!!!') {
      received.feed(bytes(c));
      t.same(rule.next(), { done: false, value: undefined });
    }
    received.feed(bytes(',7'));
    t.same(rule.next(), { done: true, value: 'teapot!!!!' });
    t.equal(received.length, 1);
  });

  t.test('go on without waiting where the bytes are there', async (t) => {
    t.same(netstring(fed('3:tea,')).next(), { done: true, value: 'tea' });
  });

  t.test('name what exceeds its limit', async (t) => {
    t.throws(() => netstring(fed('1234567:')).next(), {
      name: 'LimitExceeded',
      message: 'a length is longer than the limit of 5 bytes',
    });
  });

  t.test('fail with an error where a number has come to be none', async (t) => {
    t.throws(() => netstring(fed('tea:')).next(), RangeError);
  });

  t.test('line: ends with CR LF, and with nothing less', async (t) => {
    t.same(line(fed('GET /\r\nHost'), 10).next(), { done: true, value: bytes('GET /') });
    t.same(line(fed('a\nb\rc\r\n'), 10).next(), { done: true, value: bytes('a\nb\rc') });
    t.equal(line(fed('GET /\n'), 10).next().done, false);
    t.throws(() => line(fed('x'.repeat(20)), 10).next(), {
      message: 'a line is longer than the limit of 10 bytes',
    });
    t.throws(() => line(fed('x'.repeat(20)), 10, 'a request').next(), { message: /^a request is/ });
  });
});

// ── The log ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A logger, and the events that it makes. */
function logged(namespace = 'shop.tea') {
  const events: LogEvent[] = [];
  return { events, log: new Logger(namespace, new LogPublisher((event) => events.push(event))) };
}

t.test('Logger', async (t) => {
  t.test('makes events with time, level, namespace, format and fields', async (t) => {
    const { events, log } = logged();
    const before = Date.now() / 1000;
    for (const level of LOG_LEVELS) log[level]('order {id}', { id: 7 });
    log.info('closed');
    t.same(
      events.map(({ level }) => level),
      ['debug', 'info', 'warn', 'error', 'critical', 'info'],
    );
    for (const event of events) {
      t.equal(event.namespace, 'shop.tea');
      t.ok(event.time >= before && event.time <= Date.now() / 1000);
    }
    t.match(events[0], { format: 'order {id}', id: 7 });
  });

  t.test('lets no field stand in the place of its own', async (t) => {
    const { events, log } = logged();
    log.warn('tea', { level: 'debug', time: 0, namespace: 'somebody else', format: 'coffee' });
    t.match(events, [{ level: 'warn', namespace: 'shop.tea', format: 'tea' }]);
    t.not(events[0]?.time, 0);
  });

  t.test('logs a failure as critical, or at another level', async (t) => {
    const { events, log } = logged();
    const failure = new Failure(tooMany());
    log.failure('cannot brew', failure);
    log.failure('cannot brew', failure, 'warn');
    t.same(
      events.map((event) => [event.level, event.failure === failure]),
      [
        ['critical', true],
        ['warn', true],
      ],
    );
  });

  t.test('goes to the global publisher if it is given no other', async (t) => {
    const events: LogEvent[] = [];
    const observer = (event: LogEvent) => events.push(event);
    globalLogPublisher.addObserver(observer);
    t.teardown(() => globalLogPublisher.removeObserver(observer));
    new Logger('shop').info('open');
    t.match(events, [{ namespace: 'shop', format: 'open' }]);
  });
});

t.test('LogPublisher', async (t) => {
  const event: LogEvent = { time: 0, level: 'info', namespace: 'shop', format: 'open' };

  t.test('hands each event to each observer, in order', async (t) => {
    const seen: string[] = [];
    const [a, b] = [() => seen.push('a'), () => seen.push('b')];
    const publisher = new LogPublisher(a, b);
    publisher.addObserver(a);
    publisher.emit(event);
    t.same(seen, ['a', 'b']);
    t.same(publisher.observers, [a, b]);
    publisher.removeObserver(a);
    publisher.removeObserver(a);
    publisher.emit(event);
    t.same(seen, ['a', 'b', 'b']);
  });

  t.test(
    'is not disturbed by an observer that throws, and does not disturb the caller',
    async (t) => {
      const seen: LogEvent[] = [];
      const broken = () => {
        throw tooMany();
      };
      new LogPublisher(broken, (each) => seen.push(each)).emit(event);
      t.same(seen, [event]);
    },
  );

  t.test('lets observers come and go while it hands out', async (t) => {
    const seen: string[] = [];
    const publisher = new LogPublisher();
    const late = () => seen.push('late');
    const once = () => {
      seen.push('once');
      publisher.removeObserver(once);
      publisher.addObserver(late);
    };
    publisher.addObserver(once);
    publisher.emit(event);
    t.same(seen, ['once']);
    publisher.emit(event);
    t.same(seen, ['once', 'late']);
  });
});

t.test('the text of an event', async (t) => {
  const event = (format: string, fields: object = {}): LogEvent => ({
    time: 1.5,
    level: 'warn',
    namespace: 'shop',
    format,
    ...fields,
  });

  t.test('has its fields put in, once, and leaves what is no field', async (t) => {
    t.equal(formatEvent(event('{id} took {s} s, {id}', { id: 7, s: 0.25 })), '7 took 0.25 s, 7');
    t.equal(formatEvent(event('{what}', { what: '{id}', id: 7 })), '{id}');
    t.equal(formatEvent(event('{nothing} {} { id } {toString}')), '{nothing} {} { id } {toString}');
    t.equal(formatEvent(event('{a} {b}', { a: undefined, b: null })), 'undefined null');
    t.equal(formatEvent(event('in {namespace}')), 'in shop');
  });

  t.test('shows what cannot be shown', async (t) => {
    const silent = {
      toString() {
        throw tooMany();
      },
    };
    t.equal(formatEvent(event('{a}', { a: silent })), '(a value that cannot be shown)');
    t.equal(
      formatEvent(event('{a}', { a: Object.create(null) as object })),
      '(a value that cannot be shown)',
    );
    t.equal(formatEvent(event('{a}', { a: Symbol('tea') })), 'Symbol(tea)');
  });

  t.test('shows control characters from a peer, which reach no terminal', async (t) => {
    const peer = 'a\x1b[31m\r\nb\x00\x7f\x9bc\td';
    t.equal(
      formatEvent(event('said {peer}', { peer })),
      'said a\\x1b[31m\\x0d\\nb\\x00\\x7f\\x9bc\td',
    );
    t.equal(formatEvent(event('two\nlines\x07')), 'two\nlines\\x07', 'a format has its own lines');
  });

  t.test('as a line has time, namespace and level', async (t) => {
    t.equal(eventAsText(event('open')), '1970-01-01T00:00:01.500Z [shop#warn] open\n');
  });

  t.test('has the stack of a failure and its causes behind it', async (t) => {
    const error = new TypeError('no tea', { cause: tooMany() });
    const lines = eventAsText(event('closed', { failure: new Failure(error) })).split('\n');
    t.equal(lines[0], '1970-01-01T00:00:01.500Z [shop#warn] closed');
    t.equal(lines[1], 'TypeError: no tea');
    t.match(lines[2], /^ {4}at .*bytes-log-errors\.test\.ts/);
    t.ok(lines.some((text) => text.includes('[cause]: RangeError: 7 is too many')));
    t.equal(lines.at(-1), '');
  });

  t.test('lets no message look like an event of its own, or reach a terminal', async (t) => {
    const forged = '1970-01-01T00:00:01.500Z [shop#critical] sold';
    const error = new Error(`\x1b[2J\n${forged}\n\n${forged}`);
    const text = eventAsText(event('closed', { failure: new Failure(error) }));
    t.equal(text.match(/^1970/gm)?.length, 1);
    t.notMatch(text, '\x1b');
  });
});

t.test('stderrObserver writes warnings and worse to standard error', async (t) => {
  const written = t.capture(process.stderr, 'write', () => true);
  const log = new Logger('shop', new LogPublisher(stderrObserver));
  for (const level of LOG_LEVELS) log[level]('this is {level}');
  log.failure('out of tea', new Failure(tooMany()), 'info');
  t.same(
    written().map(({ args: [text] }) => String(text).slice('1970-01-01T00:00:00.000Z '.length)),
    [
      '[shop#warn] this is warn\n',
      '[shop#error] this is error\n',
      '[shop#critical] this is critical\n',
    ],
  );
});

// ── Failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('Failure', async (t) => {
  class TeaError extends RangeError {}

  t.test('holds the error, or whatever was thrown in an Error', async (t) => {
    const error = tooMany();
    t.equal(new Failure(error).value, error);
    t.equal(new Failure(new Failure(error)).value, error);
    t.match(new Failure('tea').value, { message: "thrown value: 'tea'", cause: 'tea' });
    const thing = { cups: { large: { full: 7 } } };
    const wrapped = new Failure(thing).value;
    t.equal(wrapped.cause, thing);
    t.equal(wrapped.message, 'thrown value: { cups: { large: [Object] } }');
    t.match(new Failure(undefined).value, { message: 'thrown value: undefined' });
    t.ok('cause' in new Failure(undefined).value);
    const unshowable = {
      [inspect.custom]() {
        throw tooMany();
      },
    };
    t.equal(new Failure(unshowable).value.message, 'thrown value: (a value that cannot be shown)');
    t.ok(!(new Failure(error) instanceof Error), 'it is no Error itself');
  });

  t.test('is made from a reason that may be a Failure already', async (t) => {
    const failure = new Failure(tooMany());
    t.equal(Failure.from(failure), failure);
    t.equal(Failure.from(failure.value).value, failure.value);
    t.equal(Failure.from('tea').value.cause, 'tea');
  });

  t.test('has the class of its error as type', async (t) => {
    t.equal(new Failure(new TeaError()).type, TeaError);
  });

  t.test('is checked against classes, names and codes, and gives the error', async (t) => {
    const error = Object.assign(new TeaError('out of tea'), { code: 'ENOTEA' });
    const failure = new Failure(error);
    for (const pattern of [TeaError, RangeError, Error, 'RangeError', 'ENOTEA'])
      t.equal(failure.check(pattern), error);
    t.equal(failure.check(TypeError, 'TypeError', TeaError), error);
    for (const pattern of [TypeError, 'TeaError', 'out of tea', 'Error', ''])
      t.equal(failure.check(pattern), undefined);
  });

  t.test('is trapped in the same way, and throws what is not', async (t) => {
    const failure = new Failure(new TeaError('out of tea'));
    t.equal(failure.trap(TypeError, RangeError), failure.value);
    t.equal(failure.trap('RangeError'), failure.value);
    t.throws(() => failure.trap(TypeError), failure.value);
    t.throws(() => failure.trap(), failure.value);
  });

  t.test('throws its error on, with the stack it was made with', async (t) => {
    const error = tooMany();
    const { stack } = error;
    t.throws(() => {
      new Failure(error).raiseException();
    }, error);
    t.equal(error.stack, stack);
    function* waits(): Generator<string, string> {
      try {
        yield 'waiting';
      } catch (thrown) {
        return (thrown as Error).message;
      }
      return 'not thrown';
    }
    const generator = waits();
    generator.next();
    t.same(new Failure(error).throwExceptionIntoGenerator(generator), {
      done: true,
      value: '7 is too many',
    });
  });

  t.test('shows itself in a word, a line, or with all stacks', async (t) => {
    const failure = new Failure(new TypeError('no tea', { cause: tooMany() }));
    t.equal(failure.getErrorMessage(), 'no tea');
    t.equal(failure.getBriefTraceback(), 'TypeError: no tea');
    t.equal(String(failure), '[Failure TypeError: no tea]');
    t.equal(inspect({ failure }), '{ failure: [Failure TypeError: no tea] }');
    const traceback = failure.getTraceback();
    t.match(traceback, /^TypeError: no tea\n {4}at .*bytes-log-errors\.test\.ts/);
    t.match(traceback, /RangeError: 7 is too many\n {6}at tooMany /);
  });

  t.test('never throws when it shows itself', async (t) => {
    const refuse = {
      get() {
        throw new Error('hands off');
      },
    };
    const broken = new Error('x');
    Reflect.get(broken, 'stack'); // which is made into text now, while that is possible
    const unreadable = Object.defineProperties(broken, {
      name: refuse,
      message: refuse,
      stack: refuse,
      code: refuse,
    });
    const failure = new Failure(unreadable);
    t.equal(failure.value, unreadable);
    t.equal(failure.getErrorMessage(), '(an error whose message cannot be read)');
    t.equal(failure.getBriefTraceback(), '(an error whose message cannot be read)');
    t.equal(String(failure), '[Failure (an error whose message cannot be read)]');
    t.type(failure.getTraceback(), 'string');
    t.equal(failure.check('Error'), undefined, 'its name is nobody’s');
    t.equal(failure.check(Error), unreadable);
    const nameless = Object.defineProperty(new Error('tea'), 'name', refuse);
    t.equal(new Failure(nameless).getBriefTraceback(), 'tea');
    const unshowable = new Proxy(new Error('tea'), {
      get(target, key) {
        if (key === 'message') return 'tea';
        throw new Error('hands off');
      },
    });
    t.equal(new Failure(unshowable).getErrorMessage(), 'tea');
    t.type(new Failure(unshowable).getTraceback(), 'string');
  });
});

// ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The catalogue at the top of lib/errors.ts: the parent of each class that it draws. */
function catalogue(): Map<string, string> {
  const source = readFileSync(join(import.meta.dirname, '../../lib/errors.ts'), 'utf8');
  const drawing = /```text\n([^]*?)```/.exec(source)?.[1] ?? '';
  const parents = new Map<string, string>();
  /** The last class drawn at each depth. */
  const last: string[] = [];
  let parent = 'Error';
  for (const row of drawing.split('\n')) {
    const [, indent = '', branch, rest = ''] = /^ \* ((?:[│ ] {2})*)([├└]─ )?(.*)$/.exec(row) ?? [];
    const [names = ''] = rest.split(/ {2,}(?=[^A-Z])/);
    if (names === '') continue;
    const depth = indent.length / 3 + (branch === undefined ? 0 : 1);
    if (branch !== undefined) parent = last[depth - 1] ?? '';
    for (const group of names.split(';')) {
      const [above = '', below = ''] = group.split(' ─ ');
      const heads = above.match(/\w+/g) ?? [];
      for (const name of heads) parents.set(name, parent);
      for (const name of below.match(/\w+/g) ?? []) parents.set(name, heads.at(-1) ?? '');
      if (branch !== undefined || depth === 0) last[depth] = heads.at(-1) ?? '';
    }
  }
  return parents;
}

t.test('every error class is exported, and in the catalogue below its parent', async (t) => {
  const drawn = catalogue();
  t.equal(drawn.get('ConnectionAborted'), 'ConnectionLost', 'the drawing can be read');
  t.equal(drawn.get('UnsupportedSocketType'), 'PlaitError');
  for (const own of ['AggregateError', 'SyntaxError']) drawn.delete(own);
  const exported = new Map<string, string>();
  for (const [name, thing] of Object.entries(plait)) {
    const { prototype } = thing as { prototype?: unknown };
    if (!(prototype instanceof Error)) continue;
    const parent = Object.getPrototypeOf(prototype) as Error;
    exported.set(name, parent.constructor.name);
  }
  const sorted = (map: Map<string, string>) => [...map].map(([k, v]) => `${k} < ${v}`).sort();
  t.same(sorted(exported), sorted(drawn));
});

t.test('PlaitError', async (t) => {
  const node = Object.assign(new Error('connect ECONNREFUSED'), {
    code: 'ECONNREFUSED',
    syscall: 'connect',
    address: '127.0.0.1',
    port: 9,
  });

  t.test('repeats what Node says of its cause, unless told otherwise', async (t) => {
    const { code, syscall, address, port } = node;
    t.match(new PlaitError('no', { cause: node }), {
      message: 'no',
      cause: node,
      code,
      syscall,
      address,
      port,
    });
    t.match(new PlaitError('no', { cause: node, code: 'EOTHER', port: 0 }), {
      code: 'EOTHER',
      syscall,
      port: 0,
    });
  });

  t.test('has nothing that it was not given', async (t) => {
    const plain = new PlaitError('no');
    for (const key of ['cause', 'code', 'syscall', 'address', 'port']) t.notOk(key in plain, key);
    t.same(Object.keys(new PlaitError('no', { cause: { code: 'ENOTANERROR' } })), []);
    t.ok('cause' in new PlaitError('no', { cause: undefined }));
    t.equal(new PlaitError().message, '');
    t.equal(new PlaitError('no', { cause: null }).cause, null);
  });

  t.test('is named after its class, in a stack too', async (t) => {
    class OutOfTea extends plait.ConnectionLost {}
    t.equal(new OutOfTea().name, 'OutOfTea');
    t.equal(String(new OutOfTea('no more')), 'OutOfTea: no more');
    t.match(new Failure(new OutOfTea('no more')).getTraceback(), /^OutOfTea: no more/);
  });
});

t.test('errors say what was attempted, and what went wrong', async (t) => {
  const inUse = Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' });
  const reason = new Failure(tooMany());
  const cases: [error: Error, message: string, fields?: object][] = [
    [
      new plait.CannotListenError('127.0.0.1', 80, inUse),
      'cannot listen on 127.0.0.1:80: address already in use (EADDRINUSE)',
      { interface: '127.0.0.1', port: 80, address: '127.0.0.1', code: 'EADDRINUSE', cause: inUse },
    ],
    [
      new plait.CannotListenError('', 80, tooMany()),
      'cannot listen on any interface:80: 7 is too many',
      { interface: '' },
    ],
    [
      new plait.CannotListenError('/run/tea', undefined, inUse),
      'cannot listen on /run/tea: address already in use (EADDRINUSE)',
      { interface: '/run/tea' },
    ],
    [
      new plait.ConnectingCancelledError(new HostnameAddress('tea.test', 80)),
      'connecting to tea.test:80 was cancelled',
    ],
    [new plait.ConnectionDone(), 'connection was closed cleanly'],
    [new plait.ConnectionDone('closed'), 'closed'],
    [new plait.ConnectionLost(), 'connection to the other side was lost'],
    [new plait.ConnectionLost('cut', { code: 'ECUT' }), 'cut', { code: 'ECUT' }],
    [new plait.ConnectionAborted(), 'connection was aborted by this side'],
    [
      new plait.ProcessTerminated(3, null),
      'process ended by exit code 3',
      { exitCode: 3, signal: null },
    ],
    [
      new plait.ProcessTerminated(null, 'SIGKILL'),
      'process ended by signal SIGKILL',
      { exitCode: null, signal: 'SIGKILL' },
    ],
    [new plait.ProcessDone(), 'process finished with exit code 0', { exitCode: 0, signal: null }],
    [new plait.SystemExit(), 'exit with code 0', { exitCode: 0 }],
    [new plait.SystemExit(3), 'exit with code 3', { exitCode: 3 }],
    [
      new LimitExceeded('a list', 7, 'entries'),
      'a list is longer than the limit of 7 entries',
      { limit: 7 },
    ],
    [new plait.CancelledError(), 'the Deferred was cancelled'],
    [new plait.CancelledError('no more', { cause: inUse }), 'no more', { code: 'EADDRINUSE' }],
    [
      new FirstError(reason, 3),
      'number 3 failed first: RangeError: 7 is too many',
      { index: 3, subFailure: reason, cause: reason.value },
    ],
    [
      new FailureGroup([reason, new Failure(new TypeError('no water'))]),
      'all 2 failed: RangeError: 7 is too many; TypeError: no water',
      { name: 'FailureGroup' },
    ],
  ];
  for (const [error, message, fields = {}] of cases) {
    t.equal(error.message, message);
    t.match(error, fields);
  }
  const group = new FailureGroup([reason]);
  t.same(group.failures, [reason]);
  t.equal(group.errors[0], reason.value);
});

t.test('getConnectError', async (t) => {
  const failing = (code?: string) =>
    Object.assign(new Error('failed'), code === undefined ? {} : { code });
  const classes: [code: string | undefined, Class: ErrorClass][] = [
    ['EACCES', plait.BadFileError],
    ['EADDRINUSE', plait.ConnectBindError],
    ['EADDRNOTAVAIL', plait.ConnectBindError],
    ['EAI_AGAIN', plait.DNSLookupError],
    ['ECONNREFUSED', plait.ConnectionRefusedError],
    ['EHOSTUNREACH', plait.NoRouteError],
    ['ENETUNREACH', plait.NoRouteError],
    ['ENOENT', plait.BadFileError],
    ['ENOTDIR', plait.BadFileError],
    ['ENOTFOUND', plait.DNSLookupError],
    ['ENOTSOCK', plait.BadFileError],
    ['ETIMEDOUT', plait.TCPTimedOutError],
    ['EPROTO', plait.ConnectError],
    ['__proto__', plait.ConnectError],
    [undefined, plait.ConnectError],
  ];
  t.test('has the class that Node’s code stands for', async (t) => {
    for (const [code, Class] of classes) {
      const cause = failing(code);
      const error = getConnectError(cause, 'tea.test:80');
      t.equal(error.constructor, Class);
      t.equal(error.cause, cause);
      t.match(error.message, /^cannot connect to tea\.test:80: ./);
    }
    t.equal(
      getConnectError(failing('ECONNREFUSED'), 'tea.test:80').message,
      'cannot connect to tea.test:80: connection refused (ECONNREFUSED)',
    );
  });

  t.test('knows a local address that could not be bound by the call that failed', async (t) => {
    const cause = Object.assign(failing('EACCES'), { syscall: 'bind' });
    t.equal(getConnectError(cause, 'tea.test:80').constructor, plait.ConnectBindError);
  });

  t.test('leaves an error of the tree as it is', async (t) => {
    const error = new plait.UserError('given up');
    t.equal(getConnectError(error, 'tea.test:80'), error);
  });
});

t.test(
  'explain puts Node’s codes into words, and keeps the message of what has none',
  async (t) => {
    for (const code of ['ECONNRESET', 'EPIPE', 'EMFILE', 'ENETUNREACH'])
      t.match(
        explain(Object.assign(new Error('x'), { code })),
        new RegExp(`^[a-z ]+ \\(${code}\\)$`),
      );
    t.equal(explain(Object.assign(new Error('own words'), { code: 'EOWN' })), 'own words');
    t.equal(explain(new Error('own words')), 'own words');
  },
);

// ── Addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('addresses are plain values that show where', async (t) => {
  const cases: [address: Address, text: string, fields: object][] = [
    [
      new IPv4Address('TCP', '127.0.0.1', 80),
      '127.0.0.1:80',
      { type: 'TCP', host: '127.0.0.1', port: 80 },
    ],
    [
      new IPv6Address('UDP', '::1', 80),
      '[::1]:80',
      { type: 'UDP', host: '::1', port: 80, flowInfo: 0, scopeID: '' },
    ],
    [
      new IPv6Address('TCP', 'fe80::1', 80, 7, 'eth0'),
      '[fe80::1%eth0]:80',
      { flowInfo: 7, scopeID: 'eth0' },
    ],
    [new UNIXAddress('/run/tea'), 'unix:/run/tea', { name: '/run/tea' }],
    [new UNIXAddress(null), 'unix:(unnamed)', { name: null }],
    [new HostnameAddress('tea.test', 80), 'tea.test:80', { hostname: 'tea.test', port: 80 }],
    [new PipeAddress(), 'pipe', {}],
  ];
  for (const [address, text, fields] of cases) {
    t.equal(String(address), text);
    t.match(address, fields);
  }
});

t.test('an IP literal stands for an address', async (t) => {
  t.same(ipAddress('TCP', '127.0.0.1', 80), new IPv4Address('TCP', '127.0.0.1', 80));
  t.same(ipAddress('TCP', '::1', 80), new IPv6Address('TCP', '::1', 80));
  t.same(ipAddress('UDP', 'fe80::1%eth0', 1), new IPv6Address('UDP', 'fe80::1', 1, 0, 'eth0'));
  for (const host of ['127.0.0.1', '::1', 'fe80::1%eth0', '::ffff:10.0.0.1'])
    t.equal(isIPAddress(host), true);
  for (const host of ['', 'localhost', '127.1', '256.0.0.1', '127.0.0.1\0', '1::2::3', '[::1]'])
    t.equal(isIPAddress(host), false);
});

t.test('what cannot be a host is refused before any system call could cut it short', async (t) => {
  for (const host of [
    'localhost',
    'tea.test',
    'tea.test.',
    '_tea._tcp.test',
    '127.0.0.1',
    '::1',
    'fe80::1%eth0',
    '7.test',
    'xn--bcher-kva.test',
    'Tea.Test',
    'x'.repeat(63),
    `${'x.'.repeat(126)}x`,
    `${'x.'.repeat(126)}x.`,
  ])
    t.equal(checkHost(host), host);
  t.equal(checkHost('bücher.test'), 'xn--bcher-kva.test');
  t.equal(checkHost('BÜCHER。test.'), 'xn--bcher-kva.test.');
  t.equal(checkHost('[::1]'), '::1', 'as it stands in a URL');
  t.equal(checkHost('[fe80::1%eth0]'), 'fe80::1%eth0');
  for (const host of [
    '',
    'localhost\0.evil.test',
    'tea test',
    'tea/test',
    'tea.test:80',
    'user@tea.test',
    'tea\r\ntest',
    '[127.0.0.1]',
    '[tea]',
    '[[::1]]',
    '[::1',
    'tea\u007ftest',
    'x'.repeat(256),
    'x'.repeat(64),
    `${'x.'.repeat(126)}xx`,
    '.',
    '.test',
    'tea..test',
    'tea.test..',
    'ü..test',
    'ü'.repeat(64),
    'ü%41',
    'ü/x',
    'a℀b.test',
    '\ud800ü',
    // What some read as an address, and others as a name.
    '127.1',
    '0x7f.1',
    '0177.0.0.1',
    '2130706433',
    '0x7F000001',
    '256.0.0.1',
    '127.0.0.1.',
    '１２７.0.0.1',
    '127。0。0。1',
    'tea.0x',
  ])
    t.throws(() => checkHost(host), {
      name: 'RangeError',
      message: /^host must be the name of a host or an IP address, not /,
    });
  t.throws(() => checkHost('x'.repeat(1e6)), { message: /^.{100,200}$/ }, 'it is cut');
  for (const host of [undefined, null, 7, {}])
    t.throws(() => checkHost(host as never), {
      name: 'TypeError',
      message: /^host must be a string/,
    });
});

t.test('what cannot be a port is refused', async (t) => {
  for (const port of [0, 1, 80, 65_535]) t.equal(checkPort(port), port);
  t.equal(checkPort(1, 1), 1);
  for (const port of [-1, 65_536, 1.5, NaN, Infinity, '80', null, undefined])
    t.throws(() => checkPort(port as never), {
      name: typeof port === 'number' ? 'RangeError' : 'TypeError',
      message: `port must be a whole number from 0 to 65535, not ${port === '80' ? '"80"' : port}`,
    });
  t.throws(() => checkPort(0, 1), {
    message: 'port must be a whole number from 1 to 65535, not 0',
  });
});

/** What logs, tracebacks and reports show: nothing that forges a line, floods, or gives a secret away. */
import { inspect } from 'node:util';
import {
  clientFromString,
  consoleObserver,
  deferToThread,
  Deferred,
  eventAsJSON,
  eventAsText,
  eventFromJSON,
  Failure,
  FirstError,
  formatEvent,
  type LogEvent,
  loggerObserver,
  PlaitError,
  ProcessProtocol,
  Reactor,
  serverFromString,
  SpawnError,
} from 'plait';
import { getPage } from 'plait/protocols/http';
import { spawnChild } from '../../lib/io/node-process.ts';
import { hideSecrets } from '../../lib/printable.ts';
import { run } from '../child.ts';
import t from '../fixture.ts';

function event(fields: Record<string, unknown> = {}): LogEvent {
  return { time: 1_700_000_000.5, level: 'info', namespace: 'shop', format: 'open', ...fields };
}

const FORGED = '\n2026-01-01T00:00:00.000Z [bank#info] paid';

/** One of each kind that must not reach a terminal, or a reader's eye, as it is. */
const ODD = Array.from(
  '\0\x07\b\v\f\r\x1b\x7f\x85\x9b\u00ad\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\ufff9\u{e0041}',
);

t.test('FND-88: where the intrinsics are frozen the log shows stacks and causes', async (t) => {
  const flags = process.execArgv;
  process.execArgv = [...flags, '--frozen-intrinsics', '--no-warnings'];
  const program = `import { Failure, Logger } from 'plait';
    const cause = Object.assign(new TypeError('dry'), { code: 'EDRY', spawnargs: ['--password=x'] });
    new Logger('shop').failure('cannot brew', new Failure(new RangeError('no water', { cause })));
    new Logger('shop').failure('sold out', new Failure(new Error('no tea')));`;
  const running = run(t, program);
  process.execArgv = flags;
  const { stderr } = await running;
  t.match(stderr, /RangeError: no water\n +at .*program\.mjs/);
  t.match(stderr, /\[cause\]: TypeError: dry\n +at .*program\.mjs/);
  // Where Node's inspect makes nothing of errors then (20), plait shows them itself.
  t.match(stderr, /code: '?EDRY/);
  t.match(stderr, /Error: no tea\n +at .*program\.mjs/);
  t.notMatch(stderr, /\{\}|password/);
});

t.test('FND-88: neither namespace, level, format, field nor failure forges a line', async (t) => {
  class Odd extends Error {
    override name = `Odd${FORGED}`;
  }
  const failures = [new Odd(`tea${FORGED}`), new Error('a', { cause: new Odd(FORGED) })];
  const events = [
    event({ namespace: `shop${FORGED}` }),
    event({ level: `info${FORGED}` }),
    event({ format: `open${FORGED}` }),
    event({ format: '{x}', x: FORGED }),
    event({ time: NaN }),
    event({ time: undefined, namespace: 7, level: undefined }),
    ...failures.map((error) => event({ failure: new Failure(error) })),
    event({ failure: 'none' }),
  ];
  for (const each of events) {
    const text = eventAsText(each);
    t.equal(text.match(/^\S+ \[/gm)?.length ?? 1, 1, text);
    t.notMatch(text, /^2026/m);
    t.notMatch(eventAsJSON(each), '\n');
    const said: unknown[][] = [];
    const say = (...args: unknown[]): void => void said.push(args);
    loggerObserver({ debug: say, info: say, warn: say, error: say })(each);
    const [fields, message] = said[0] as [Record<string, unknown>, string];
    t.notMatch(`${message}${String(fields['namespace'])}`, '\n');
    consoleObserver({ debug: say, info: say, warn: say, error: say })({ ...each, level: 'info' });
    t.notMatch(said[1]?.[1], /^2026/m);
  }
});

t.test('FND-88: characters that cannot be seen, or move others, are shown escaped', async (t) => {
  for (const odd of ODD) {
    const failure = new Failure(new Error(`tea ${odd}`));
    const each = event({
      namespace: odd,
      level: odd,
      format: `${odd} {x}`,
      x: odd,
      [odd]: { [odd]: odd },
      failure,
    });
    const shown = [
      eventAsText(each),
      eventAsJSON(each),
      formatEvent(each),
      failure.getTraceback(),
      failure.getBriefTraceback(),
      String(failure),
      new Failure(odd).getErrorMessage(),
    ];
    const name = `U+${odd.codePointAt(0)?.toString(16)}`;
    t.same(
      shown.map((text) => text.includes(odd)),
      shown.map(() => false),
      name,
    );
    const known = { time: 1, level: 'info', namespace: odd, format: odd, tea: odd } as LogEvent;
    t.ok(eventFromJSON(eventAsJSON(known))['tea'] === odd, `${name} is read back from JSON`);
  }
  t.match(
    formatEvent(event({ format: '{x}', x: '\x1b\u202e\u{e0041}' })),
    '\\x1b\\u202e\\u{e0041}',
  );
  const kept = 'a\tb é 茶 👩‍👩‍👧 \u200cب';
  t.equal(formatEvent(event({ format: '{x}', x: kept })), kept, 'others are left alone');

  const reactor = new Reactor();
  const named = { [`tick${FORGED}`]: () => {} }[`tick${FORGED}`];
  const call = reactor.callLater(1000, named);
  t.equal(String(reactor.inspect()).split('\n').length, 3);
  call.cancel();
});

t.test('FND-88: what is shown of a field is bounded', async (t) => {
  let shared: unknown = ['tea'];
  for (let i = 0; i < 60; i++) shared = [shared, shared, shared, shared];
  const circular: unknown[] = [];
  circular.push(circular, circular);
  const wide = Array.from({ length: 1_000_000 }, (_, i) => i);
  const cases: [string, unknown, RegExp][] = [
    ['shared arrays', shared, /too deep/],
    ['an array within itself', circular, /too deep/],
    ['a wide array', wide, /^0,1,2,.*,199,\(and more\)$/],
    ['a long text', 'x'.repeat(1e7), /^x{16384}\(and more\)$/],
    ['a long Buffer', Buffer.alloc(1e7, 'x'), /^x{16384}\(and more\)$/],
    ['a typed array', new Float64Array(1e6), /^0,0,.*\(and more\)$/],
    ['holes', [1, null, undefined, [2]], /^1,,,2$/],
    ['a list of its own', Object.assign([1], { toString: () => 'mine' }), /^mine$/],
    ['a view', new DataView(new ArrayBuffer(3)), /^\[object DataView\]$/],
    [
      'a trap',
      new Proxy([], {
        get() {
          throw new Error('no');
        },
      }),
      /^\(a value that cannot be shown\)$/,
    ],
  ];
  for (const [name, x, expected] of cases) {
    t.match(formatEvent(event({ format: '{x}', x })), expected, name);
    t.ok(eventAsJSON(event({ x })).length < 1e6, name);
  }
  const many = event({ format: '{x}'.repeat(1000), x: 'x'.repeat(1e5) });
  t.ok(formatEvent(many).length < 300_000);
  const long = new Failure(Object.assign(new Error('x'.repeat(1e7)), { wide }));
  t.ok(long.getTraceback().length < 100_000);
  t.ok(long.getBriefTraceback().length < 100_000);
  t.ok(new Failure('x'.repeat(1e7)).getErrorMessage().length < 100_000);
  t.ok(eventAsText(event({ namespace: 'x'.repeat(1e7), failure: long })).length < 200_000);
});

// ── Secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('FND-1B: what the runtime’s errors carry along is not shown', async (t) => {
  const secret = 'hunter2';
  const foreign = () => [
    Object.assign(new Error('spawn x ENOENT'), { code: 'ENOENT', spawnargs: [secret] }),
    Object.assign(new Error('no'), { cmd: `x --password=${secret}`, output: [secret] }),
    Object.assign(new TypeError('Invalid URL'), { code: 'ERR_INVALID_URL', input: secret }),
    Object.assign(new Error('altname'), { code: 'ERR_TLS_X', cert: { pem: secret } }),
    Object.assign(new Error('fetch'), { code: 'UND_ERR', socket: { secret }, headers: [secret] }),
    Object.assign(new Error('parse'), {
      code: 'HPE',
      rawPacket: Buffer.from(secret),
      body: secret,
    }),
  ];
  const wrapped = foreign().flatMap((cause) => [
    cause,
    new Error('outer', { cause }),
    new Error('outer', { cause: new Error('middle', { cause }) }),
    new AggregateError([new Error('fine'), cause], 'all'),
    new FirstError(new Failure(cause), 0),
  ]);
  const errors = [...wrapped, ...foreign().map((cause) => new SpawnError('no', { cause }))];
  for (const error of errors) {
    const failure = new Failure(error);
    const each = event({ failure, error, format: '{error}' });
    const said: unknown[] = [];
    const say = (...args: unknown[]): void => void said.push(args);
    const texts = [eventAsJSON(each), failure.getTraceback(), eventAsText(each)];
    loggerObserver({ debug: say, info: say, warn: say, error: say })(each);
    texts.push(inspect(said, { depth: 9 }), JSON.stringify(said));
    for (const text of texts) t.notMatch(text, secret);
  }
  const [cause] = foreign();
  const error = new PlaitError('cannot', { cause });
  t.notMatch(inspect(error, { depth: 9 }), secret, 'not even by those who print it themselves');
  t.same((cause as { spawnargs?: unknown }).spawnargs, [secret], 'a program can read it');
  const frozen = Object.freeze(foreign()[0]);
  t.notMatch(new Failure(frozen).getTraceback(), secret);
  t.match(new Failure(frozen).getTraceback(), /spawn x ENOENT\n/);
  const mine = Object.assign(new RangeError('mine'), { input: 7, body: 'tea' });
  t.match(
    new Failure(mine).getTraceback(),
    /input: 7/,
    'errors of other classes show what they do',
  );
});

t.test('FND-87: what a process is started with is named, not shown', async (t) => {
  const secret = 'hunter2';
  const reactor = new Reactor();
  const cases: [Record<string, unknown>, string][] = [
    [{ env: { PASSWORD: `${secret}\0` } }, 'env.PASSWORD'],
    [{ env: { PASSWORD: [secret] } }, 'env.PASSWORD'],
    [{ env: { [`PASSWORD=${secret}`]: 'x' } }, 'PASSWORD='],
    [{ env: `PASSWORD=${secret}` }, 'env must be'],
    [{ args: ['x', `--password=${secret}\0`] }, 'args[1]'],
    [{ args: ['x', { secret }] }, 'args[1]'],
    [{ args: `x --password=${secret}` }, 'args must be'],
  ];
  for (const [options, named] of cases) {
    try {
      reactor.spawnProcess(new ProcessProtocol(), '/bin/true', options);
      t.fail('it was started');
    } catch (error) {
      const shown = inspect(error, { depth: 9, showHidden: true });
      t.notMatch(shown, secret);
      t.ok((error as Error).message.includes(named), (error as Error).message);
    }
  }
  const ended = new Deferred<{ reason: Failure }>();
  class Watching extends ProcessProtocol {
    override processEnded(reason: Failure): void {
      ended.callback({ reason });
    }
  }
  const args = ['x', `--password=${secret}`];
  reactor.spawnProcess(new Watching(), '/nowhere/at all', { args });
  const { reason } = await ended;
  t.ok(reason.check(SpawnError));
  t.notMatch(reason.getTraceback() + inspect(reason.value, { depth: 9 }), secret);
  t.notMatch(eventAsJSON(event({ failure: reason })), secret);
});

t.test('FND-87: what Node says of an argument that it refuses is without its value', (t) => {
  const failures: Error[] = [];
  const target = {
    executable: '/bin/true',
    args: ['x', 'hunter2\0'],
    env: {},
    path: undefined,
    uid: undefined,
    gid: undefined,
    childFDs: new Map(),
  };
  spawnChild(target, { exited() {}, failed: (error) => void failures.push(error) });
  setImmediate(() => {
    t.match(failures, [{ code: 'ERR_INVALID_ARG_VALUE', message: /args\[0\].*null bytes$/ }]);
    t.notMatch(inspect(failures, { depth: 9, showHidden: true }), 'hunter2');
    t.end();
  });
});

/** What a call throws or its Deferred fails with, in full. */
async function failureOf(call: () => unknown): Promise<string> {
  try {
    await call();
  } catch (error) {
    return `${inspect(error, { depth: 9, showHidden: true })}${new Failure(error).getTraceback()}`;
  }
  throw new Error('it has not failed');
}

t.test('FND-87: passwords in endpoint descriptions are not shown', async (t) => {
  const reactor = new Reactor();
  const [clients, servers] = [clientFromString, serverFromString].map(
    (parse) => (description: string) => failureOf(() => parse(reactor, description)),
  ) as [(description: string) => Promise<string>, (description: string) => Promise<string>];
  for (const [hidden, shown] of [
    ['ssl:x:y:passphrase=hunter2', 'ssl:x:y:passphrase=***'],
    ['ssl:x:y:passphrase=hunt\\:er2:color=red', 'passphrase=***:color=red'],
    ['ssl:x:y:proxyPassword=hunter2:proxyToken=hunter2', 'proxyPassword=***:proxyToken=***'],
    ['proxy:joe:hunter2@example.com:80', 'proxy:joe:***@example.com:80'],
    ['http://joe:hunt/er2@example.com/', 'http://joe:***@example.com/'],
    ['tcp:joe:hunter2@example.com', 'is no whole number'],
    ['tcp:example.com:80:joe:hunter2@', 'one argument too many'],
  ] as const) {
    for (const parse of [clients, servers]) {
      const failure = await parse(hidden);
      t.notMatch(failure, /hunt|er2/, hidden);
      if (shown.includes('***')) t.ok(failure.includes(shown), failure);
    }
  }
  t.ok((await servers('unix:/run/a@b:mode=x')).includes('unix:/run/a@b:mode=x'));
  t.ok((await clients('tcp:example.com:@')).includes('tcp:example.com:@'));
});

t.test('FND-87: lines and sources that are given for something else are not shown', async (t) => {
  for (const headers of [
    { 'Authorization: Basic hunter2': 'x' },
    'Authorization: Basic hunter2',
    [['Authorization: Basic hunter2']],
    [['Authorization', Symbol('hunter2')]],
    null,
  ]) {
    const failure = await failureOf(() =>
      getPage('http://127.0.0.1:1/', { headers: headers as never }),
    );
    t.notMatch(failure, 'hunter2');
    t.match(failure, headers instanceof Array || typeof headers !== 'object' ? /eader/ : /./);
  }
  const failure = await failureOf(() =>
    deferToThread({ module: 'node:os', export: 'hostname' }, { login: () => 'hunter2' } as never),
  );
  t.notMatch(failure, 'hunter2');
  t.match(failure, 'to another thread: it has a function');
});

t.test(
  'an error that cannot be looked at, or not be changed, is not shown with its fields',
  async (t) => {
    const secretive = (handler: ProxyHandler<Error>) =>
      new Proxy(Object.assign(new RangeError('no tea'), { spawnargs: ['--password=x'] }), handler);
    const refuse = (): never => {
      throw new TypeError('not allowed');
    };
    t.equal(hideSecrets(secretive({ getOwnPropertyDescriptor: refuse })), true, 'nor does a log');
    t.equal(hideSecrets(secretive({ defineProperty: refuse })), false);
    t.equal(hideSecrets(secretive({ defineProperty: () => false })), false);
    for (const stack of [undefined, '', 7]) {
      const error = Object.freeze(
        Object.assign(new RangeError('no tea'), { spawnargs: ['--password=x'], stack }),
      );
      t.equal(new Failure(error).getTraceback(), 'RangeError: no tea');
    }
  },
);

/**
 * The fixture must find what tests leave behind, or it proves nothing. Leaky tests are run in a process of their own,
 * and what tap says of them there is looked at.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from './fixture.ts';

const root = join(import.meta.dirname, '..');

/** Runs a file of tests, and returns what it printed and its exit code. `later(fn)` calls `fn` after the last test. */
function run(
  t: Test,
  tests: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; output: string }> {
  const from = (path: string) => `from ${JSON.stringify(pathToFileURL(join(root, path)).href)};`;
  const text = `
    import { spawn } from 'node:child_process';
    import { createSocket } from 'node:dgram';
    import { EventEmitter } from 'node:events';
    import { createServer, connect } from 'node:net';
    import { Worker } from 'node:worker_threads';
    import t, { flushWarnings } ${from('test/fixture.ts')}
    import { fail } ${from('lib/maybe.ts')}
    import { Failure } ${from('lib/failure.ts')}
    import { Logger } ${from('lib/log.ts')}
    import { flushLoggedErrors } ${from('lib/testing/logged-errors.ts')}
    const later = (fn) => t.teardown(fn);
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const log = new Logger('shop');
    ${tests}`;
  const file = join(t.testdir({ 'tests.mjs': text }), 'tests.mjs');
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...process.execArgv, file],
      { env: { ...process.env, ...env } },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
      },
    );
  });
}

const LEAKY = `
    t.test('timer', async () => {
      const timer = setTimeout(() => {}, 1e6);
      later(() => clearTimeout(timer));
    });
    t.test('interval', async () => {
      const timer = setInterval(() => {}, 1);
      later(() => clearInterval(timer));
    });
    t.test('endless immediates', async () => {
      let on = true;
      const again = () => on && setImmediate(again);
      again();
      later(() => (on = false));
    });
    t.test('server', (t) => {
      const server = createServer().listen(0, '127.0.0.1', () => t.end());
      later(() => server.close());
    });
    t.test('sockets', (t) => {
      const server = createServer((socket) => later(() => socket.destroy()));
      server.listen(0, '127.0.0.1', () => {
        const socket = connect(server.address().port, '127.0.0.1', () => server.close(() => {}));
        socket.on('connect', () => t.end());
        later(() => socket.destroy());
      });
    });
    t.test('datagrams', (t) => {
      const socket = createSocket('udp4').bind(0, '127.0.0.1', () => t.end());
      later(() => socket.close());
    });
    t.test('process', async () => {
      const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
      later(() => child.kill());
    });
    t.test('worker', async () => {
      const worker = new Worker('setInterval(() => {}, 1000)', { eval: true });
      later(() => worker.terminate());
    });
    t.test('signal', async () => {
      process.on('SIGWINCH', turn);
      later(() => process.off('SIGWINCH', turn));
    });
    t.test('unhandled failure', async () => {
      fail(new RangeError('seven is too many'));
    });
    t.test('logged error', async () => log.error('out of {what}', { what: 'tea' }));
    t.test('logged failure', async () => log.failure('cannot brew', new Failure(new Error('no water')), 'info'));
    t.test('warning', async () => {
      const emitter = new EventEmitter();
      for (let i = 0; i < 11; i++) emitter.on('x', () => {});
    });
    t.test('late exception', async () => {
      setImmediate(() => { throw new Error('too late'); });
    });
    t.test('late rejection', async () => {
      void Promise.reject(new Error('never awaited'));
    });
    t.test('call on the global reactor', async () => {
      const calls = [{ cancel: () => calls.pop(), toString: () => '<a call>' }];
      globalThis[Symbol.for('plait.reactor')] = { getDelayedCalls: () => [...calls] };
    });
    
`;

const CLEAN = `
    t.test('closes in its teardown', (t) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const socket = connect(server.address().port, '127.0.0.1', () => t.end());
        t.teardown(() => (socket.destroy(), server.close()));
      });
      server.on('connection', (socket) => socket.on('error', () => {}).resume());
    });
    t.test('flushes the errors that it provokes', async (t) => {
      log.failure('cannot brew', new Failure(new RangeError('no water')));
      log.error('out of tea');
      t.equal(flushLoggedErrors(RangeError).length, 1);
      t.equal(flushLoggedErrors().length, 1);
    });
    t.test('flushes the warning that it provokes', async (t) => {
      process.emitWarning('tea is hot', 'HotTea');
      await turn();
      t.equal(flushWarnings('ColdTea').length, 0);
      t.equal(flushWarnings('HotTea').length, 1);
    });
    t.test('handles a failure late', async (t) => {
      const failed = fail(new Error('no milk'));
      await turn();
      failed.addErrback(() => {});
    });
    t.test('has tests inside, whose handles it closes itself', async (t) => {
      let timer;
      await t.test('opens', async () => (timer = setTimeout(() => {}, 1e6)));
      await t.test('closes', async () => clearTimeout(timer));
    });
    t.test('does not answer for the handles of others', async () => {});
    t.test('is not run', { skip: true }, async () => {});
    
`;

const CRASHING = `
    t.test('throws', async () => {
      setImmediate(() => { throw new Error('thrown aside'); });
      await new Promise(() => {});
    });
    t.test('rejects', async () => {
      void Promise.reject(new Error('rejected aside'));
      await new Promise(() => {});
    });
    t.test('passes after those', async (t) => t.pass());
    
`;

t.test('tests are judged by what they leave behind', async (t) => {
  const { code, output } = await run(t, LEAKY + CLEAN + CRASHING);
  t.equal(code, 1);
  const names = (pattern: RegExp) => [...output.matchAll(pattern)].map(([, name]) => name ?? '');
  const reports = [...output.matchAll(/^not ok \d+ - "(.*)" left behind ([^.\n]*)/gm)];

  t.test(
    'each kind of thing left behind is reported, and with the test that left it',
    async (t) => {
      t.same(
        reports.map(([, name, left]) => `${name}: ${left}`),
        [
          'timer: a handle: Timeout',
          'interval: a handle: Timeout',
          'endless immediates: a handle: Immediate',
          'server: a handle: TCPServerWrap',
          'sockets: a handle: TCPSocketWrap; a handle: TCPSocketWrap',
          'datagrams: a handle: UDPWrap',
          'process: a handle: ProcessWrap',
          'worker: a handle: Worker',
          'signal: a listener for SIGWINCH',
          'unhandled failure: an unhandled failure: RangeError: seven is too many',
          'logged error: a logged error: [shop] out of tea',
          'logged failure: a logged error: [shop] cannot brew: Error: no water',
          'warning: a warning: MaxListenersExceededWarning: Possible EventEmitter memory leak detected',
          'late exception: an error that nobody caught: Error: too late',
          'late rejection: an error that nobody caught: Error: never awaited',
          'call on the global reactor: a call on the global reactor: <a call>',
        ],
      );
    },
  );

  t.test('tests that clean up, or flush what they expect, pass', async (t) => {
    const blamed = reports.map(([, name]) => name);
    const passed = names(/^ok \d+ - (.*) # /gm).filter((name) => !blamed.includes(name));
    t.same(passed, [
      'closes in its teardown',
      'flushes the errors that it provokes',
      'flushes the warning that it provokes',
      'handles a failure late',
      'has tests inside, whose handles it closes itself',
      'does not answer for the handles of others',
      'is not run',
      'passes after those',
    ]);
  });

  t.test('an exception or rejection while a test runs ends that test, and no other', async (t) => {
    t.same(names(/^not ok \d+ - (\w.*) # /gm), ['throws', 'rejects']);
    t.match(output, /thrown aside/);
    t.match(output, /rejected aside/);
  });
});

t.test('with PLAIT_DEBUG=1 the report says where a handle was made', async (t) => {
  const { output } = await run(
    t,
    `
    t.test('leaky', async function leaky() {
      const timer = setTimeout(() => {}, 1e6);
      later(() => clearTimeout(timer));
    });
    
    `,
    { PLAIT_DEBUG: '1' },
  );
  t.match(output, /a handle: Timeout\n\s+made at\n.*leaky.*tests\.mjs/);
});

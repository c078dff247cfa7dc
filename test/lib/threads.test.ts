/**
 * Work in other threads: the pool, what crosses, what threads may ask, and threads that die.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  AlreadyCalled,
  blockingCallFromThread,
  callMultipleInThread,
  CancelledError,
  ConnectionRefusedError,
  Deferred,
  deferLater,
  deferToThread,
  deferToThreadPool,
  type IThreadPool,
  mainReactor,
  NotCloneableError,
  Reactor,
  reactor as theReactor,
  succeed,
  ThreadDied,
  threadModule,
  ThreadPool,
  type ThreadPoolOptions,
  ThreadPoolStopped,
  type ThreadTask,
  type ThreadWork,
  transfer,
  WrongThreadError,
} from 'plait';
import { flushLoggedErrors, failureResultOf } from 'plait/testing';
import { run } from '../child.ts';
import './thread-coverage.ts';
import t, { type Test } from '../fixture.ts';
import type * as Asks from './thread-asks.ts';
import type * as Work from './thread-work.ts';

const WORK = new URL('./thread-work.ts', import.meta.url);
const work = threadModule<typeof Work>(WORK);
const asks = threadModule<typeof Asks>(new URL('./thread-asks.ts', import.meta.url));

/** What of the test runner's flags a thread needs to run the sources. */
const EXEC_ARGV = process.execArgv.filter((flag) => /typescript\.mjs|^--conditions/.test(flag));

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A reactor with a pool of its own, which is stopped when the test ends. To start a thread takes long in tests. */
function threads(t: Test, options: ThreadPoolOptions = {}) {
  const reactor = new Reactor();
  const pool = new ThreadPool({ reactor, execArgv: EXEC_ARGV, ...options });
  t.teardown(() => pool.stop({ abort: true }).asPromise());
  const inThread = <A extends unknown[], R>(task: ThreadWork<A, R>, ...args: A) =>
    deferToThreadPool(reactor, pool, task, ...args);
  return { reactor, pool, inThread };
}

/** The error that it fails with. */
async function errorOf(deferred: PromiseLike<unknown>): Promise<Error> {
  try {
    await deferred;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it has not failed');
}

/** A number that threads share, for them to wait for. */
const flag = () => new Int32Array(new SharedArrayBuffer(4));

function open(flag: Int32Array) {
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
}

/** What the threads of these tests may call. */
function calls(reactor: Reactor, notes: string[]) {
  return {
    note: (text: string) => notes.push(text),
    double: (n: number) => deferLater(reactor, 0.001, () => 2 * n),
    shout: (text: Buffer) => succeed(Buffer.from(text.toString().toUpperCase())),
    broken(n: number): Deferred<never> {
      const cause = new RangeError('as ever');
      throw new ConnectionRefusedError(`broken ${n}`, { cause, code: 'ECONNREFUSED' });
    },
    secret: () => () => {},
    never: () => new Deferred<void>(() => notes.push('cancelled')),
  };
}
export type Calls = ReturnType<typeof calls>;

/** Lets threads call these, while the test runs. */
function allow(t: Test, reactor: Reactor, functions: Parameters<Reactor['allowFromThread']>[0]) {
  const allowed = reactor.allowFromThread(functions);
  t.teardown(() => allowed[Symbol.dispose]());
}

t.test('deferToThread', async (t) => {
  const { inThread, pool } = threads(t, { max: 1 });

  t.test('calls an exported function in another thread, and fires with its result', async (t) => {
    t.teardown(() => theReactor.getThreadPool().stop().asPromise());
    t.equal(await deferToThread(work.add, 3, 4), 7);
    t.not(await deferToThread(work.where), 0);
    t.equal(await deferToThread({ module: WORK.href, export: 'add' }, 1, 2), 3);
    t.equal(await deferToThread({ module: 'node:path', export: 'join' }, 'a', 'b'), join('a', 'b'));
  });

  t.test('takes a function that needs nothing of where it was written', async (t) => {
    t.equal(await inThread((a: number, b: number) => a * b, 6, 7), 42);
    t.equal(
      await inThread(async function (text: string) {
        const { createHash } = await import('node:crypto');
        return createHash('md5').update(text).digest('hex');
      }, ''),
      'd41d8cd98f00b204e9800998ecf8427e',
    );
    const outside = 7;
    const error = await errorOf(inThread(() => outside));
    t.ok(error instanceof ReferenceError);
    t.match(error.message, /^outside is not defined \(a function that is sent to a thread takes/);
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- so many of them nobody writes
    const made = (_: unknown, i: number) => new Function(`return ${i}`) as () => number;
    const many = Array.from({ length: 1010 }, made);
    for (const fn of many) await inThread(fn);
  });

  t.test('fails, and does nothing, for what cannot be done in another thread', async (t) => {
    const name = 'TypeError';
    const cannot: [unknown, RegExp][] = [
      [add.bind(null), /cannot send bound add to another thread: it is bound, or not written in/],
      [Math.max, /cannot send max to another thread/],
      [class Tea extends Error {}, /cannot send Tea to another thread: it is a class/],
      [Object.values({ brew() {} })[0], /cannot send brew to another thread: it is a method/],
      [async function* () {}, /cannot send a function to another thread: it is an async generator/],
      [
        undefined,
        /work for a thread must be a function, or a module and the name of its export, not undefined/,
      ],
      ['add', /not "add"/],
      [{ module: WORK.href }, /work for a thread must be a function/],
      [{ module: './work.ts', export: 'add' }, /a thread's module is a URL.*, not '.\/work.ts'/],
      [{ module: 'lodash', export: 'add' }, /a thread's module is a URL/],
      [{ module: 'http://example.org/', export: 'add' }, /a thread's module is a URL/],
    ];
    for (const [task, message] of cannot) {
      const error = failureResultOf(inThread(task as () => unknown));
      t.match(error, { value: { name, message } });
    }
    t.throws(() => threadModule('./work.ts'), { name });
    t.equal(pool.waiting, 0);
    t.equal((work as unknown as Record<symbol, unknown>)[Symbol.iterator], undefined);
  });

  t.test('fails if the module or its export is not there', async (t) => {
    const task = (module: URL | string, name: string): ThreadTask => ({ module, export: name });
    t.match(await errorOf(inThread(task(new URL('./no-such-file.ts', WORK), 'add'))), {
      message: /no-such-file/,
    });
    for (const name of ['subtract', 'notAFunction', 'toString', '__proto__']) {
      t.match(await errorOf(inThread(task(WORK, name))), {
        name: 'TypeError',
        message: new RegExp(`^cannot call ${name} of file:.*: it exports no such function$`),
      });
    }
  });

  t.test('finds what a source was built to', async (t) => {
    const dir = t.testdir({ 'built.mjs': 'export const one = () => 1;' });
    const built = threadModule<{ one(): number }>(pathToFileURL(join(dir, 'built.mts')));
    t.equal(await inThread(built.one), 1);
  });

  t.test('FND-06: a task may be a generator function', async (t) => {
    const text: string = await inThread(work.stepwise, 'tea');
    t.equal(text, 'TEA, caught');
    t.match(await errorOf(inThread(work.failsStepwise)), {
      name: 'RangeError',
      message: 'stepwise',
    });
    const sent = function* (n: number): Generator<unknown, number> {
      return ((yield Promise.resolve(n)) as number) + 1;
    };
    t.equal(await inThread(sent, 6), 7);
  });

  t.test('THR-01: waits for a promise or Deferred, and fails with what is thrown', async (t) => {
    t.equal(await inThread(work.promised, 'tea'), 'TEA');
    t.equal(await inThread(asks.later, 'tea'), 'TEA');
    const own = await errorOf(inThread(work.fail, 'own'));
    t.match(own, { name: 'TooMany', message: '7 is too many', limit: 6 });
    t.match(own.stack, /at .*fail.*thread-work/);
    t.ok(own.cause instanceof AlreadyCalled);
    const refused = await errorOf(inThread(work.fail, 'plait'));
    t.ok(refused instanceof ConnectionRefusedError);
    t.match(refused, {
      name: 'ConnectionRefusedError',
      message: 'nobody home',
      code: 'ECONNREFUSED',
    });
    const several = (await errorOf(inThread(work.fail, 'several'))) as AggregateError;
    t.ok(several instanceof AggregateError);
    t.ok(several.errors[0] instanceof SyntaxError);
    t.equal(several.errors[1], 'two');
    t.match(await errorOf(inThread(work.fail, 'deep')), { message: 'round and round' });
    t.match(await errorOf(inThread(work.fail, 'string')), {
      message: "thrown value: 'no error at all'",
    });
    t.match(await errorOf(inThread(work.fail, 'strange')), { message: /thrown value: .*Function/ });
  });

  t.test('THR-01: refuses what cannot be cloned, in either direction', async (t) => {
    const given = failureResultOf(inThread((x: unknown) => x, Symbol('tea')));
    t.match(given.value, {
      name: 'NotCloneableError',
      message:
        /^cannot send the arguments of a function to another thread: Symbol\(tea\) could not/,
    });
    const error = await errorOf(inThread(work.notCloneable));
    t.ok(error instanceof NotCloneableError);
    t.match(
      error.message,
      /^cannot send what notCloneable of file:.* returned to another thread: /,
    );
    t.equal(await inThread(work.add, 1, 1), 2, 'the thread lives on');
    t.throws(() => transfer(7 as never), {
      name: 'TypeError',
      message: /only objects can be moved/,
    });
  });

  t.test('leaves a Buffer a Buffer, and takes arguments as they are now', async (t) => {
    const gate = flag();
    const blocked = inThread(work.wait, gate, 'waited');
    const tea = Buffer.from('a pot of tea');
    const numbers = Uint8Array.of(1, 2, 3);
    const cut = inThread(work.bytes, tea);
    const whole = inThread(work.bytes, Buffer.from(new ArrayBuffer(4)));
    const total = inThread(work.sum, numbers);
    tea.fill('.');
    numbers.fill(100);
    open(gate);
    t.equal(await blocked, 'waited');
    const answer = await cut;
    t.ok(Buffer.isBuffer(answer));
    t.equal(answer.toString(), ' pot of tea');
    t.equal((await whole).length, 3);
    t.equal(await total, 6);
  });

  t.test('THR-01: moves 64 MiB where it is told to, and else copies them', async (t) => {
    const size = 64 * 2 ** 20;
    for (const move of [true, false]) {
      const memory = await inThread(work.fill, size, move);
      t.equal(memory.byteLength, size);
      t.equal(new Uint8Array(memory)[size - 1], 7);
      t.equal(await inThread(work.sizeKept), move ? 0 : size);
      const view = new Uint8Array(memory);
      t.equal(await inThread(work.sum, (move ? transfer(view) : view).subarray(0)), 7);
      t.equal(await inThread(work.sum, move ? transfer(view) : view), 7);
      t.equal(memory.byteLength, move ? 0 : size);
    }
    const parts = { one: new ArrayBuffer(8), two: new ArrayBuffer(8) };
    const sizes = await inThread(
      (given: typeof parts) => [given.one.byteLength, given.two.byteLength],
      transfer(parts, [parts.one]),
    );
    t.same(sizes, [8, 8]);
    t.same([parts.one.byteLength, parts.two.byteLength], [0, 8]);
  });

  t.test('takes work out of the line that is cancelled', async (t) => {
    // A result may be there a little before its thread is free.
    while (pool.working > 0) await turn();
    const gate = flag();
    const first = inThread(work.wait, gate, 'first');
    const second = inThread(work.wait, gate, 'second');
    const third = inThread(work.wait, gate, 'third');
    t.equal(pool.waiting, 2);
    second.cancel();
    t.ok(failureResultOf(second).check(CancelledError));
    t.equal(pool.waiting, 1);
    open(gate);
    t.equal(await first, 'first');
    t.equal(await third, 'third');
  });

  t.test('ends a thread whose work is cancelled, whatever that does', async (t) => {
    for (const task of [work.spin, work.wait]) {
      const running = flag();
      const deferred = inThread(task as ThreadTask<[Int32Array]>, running);
      if (task === work.spin) while (Atomics.load(running, 0) === 0) await turn();
      else while (pool.waiting > 0) await turn();
      const next = inThread(work.add, 1, 1);
      deferred.cancel();
      deferred.cancel();
      t.ok(failureResultOf(deferred).check(CancelledError));
      t.equal(await next, 2);
    }
  });

  t.test('drops a result that comes when it was cancelled', async (t) => {
    const reactor = new Reactor();
    let tell: (success: boolean, result: never) => void = () => t.fail('not asked');
    const pool: IThreadPool = {
      callInThreadWithCallback(onResult: typeof tell) {
        tell = onResult;
        return { cancel() {} };
      },
    } as IThreadPool;
    const deferred = deferToThreadPool(reactor, pool, work.add, 1, 1);
    tell(true, 2 as never);
    deferred.cancel();
    await turn();
    t.ok(failureResultOf(deferred).check(CancelledError));
  });
});

function add(a: number, b: number): number {
  return a + b;
}

t.test('a thread that dies', async (t) => {
  t.test('THR-02: fails its own work only, and is replaced', async (t) => {
    const { inThread } = threads(t, { max: 2, resourceLimits: { maxOldGenerationSizeMb: 64 } });
    const gate = flag();
    const other = inThread(work.wait, gate, 'unharmed');
    const deaths = [
      [inThread(work.exit, 3), /^the thread that did exit of file:.* died: .*exited with code: 3$/],
      [inThread(work.throwLater), /died: thrown for nobody$/],
      [inThread(work.fillMemory), /died: .*memory/],
    ] as const;
    const errors = [];
    for (const [deferred, message] of deaths) {
      const error = await errorOf(deferred);
      t.ok(error instanceof ThreadDied);
      t.match(error.message, message);
      errors.push(error);
    }
    t.match(errors[1]?.cause, { name: 'RangeError' });
    t.match(errors[2], { code: 'ERR_WORKER_OUT_OF_MEMORY' });
    open(gate);
    t.equal(await other, 'unharmed');
    t.equal(await inThread(work.add, 1, 1), 2);
  });

  t.test('THR-02: again and again, and work goes on', async (t) => {
    const { inThread, pool } = threads(t, { max: 2 });
    for (let i = 0; i < 3; i++) {
      const both = [inThread(work.exit, 1), inThread(work.throwLater)];
      const sum = inThread(work.add, i, 1);
      for (const deferred of both) t.ok((await errorOf(deferred)) instanceof ThreadDied);
      t.equal(await sum, i + 1);
    }
    t.ok(pool.threads <= 2);
    while (pool.working > 0) await turn(); // or the test never ends
  });

  t.test('THR-02: when its work is done, is logged', async (t) => {
    const { inThread, pool } = threads(t, { max: 1 });
    for (const thrown of [new RangeError('late'), 'no error']) {
      await inThread(work.leaveThrowing, thrown);
      while (pool.threads > 0) await turn();
      let logged = flushLoggedErrors();
      while (logged.length === 0) {
        await turn();
        logged = flushLoggedErrors();
      }
      t.match(logged, [
        { format: 'a thread died that had nothing to do', namespace: 'plait.threads' },
      ]);
    }
    t.equal(await inThread(work.add, 1, 1), 2);
  });

  t.test('before it has begun, fails its work', async (t) => {
    const { code, stdout, stderr } = await run(
      t,
      `
      import { deferToThreadPool, reactor, ThreadPool } from 'plait';
      const pool = new ThreadPool({ execArgv: ['--import=data:text/javascript,process.exit(9)'] });
      for (let i = 0; i < 2; i++) {
        await deferToThreadPool(reactor, pool, () => 1).addErrback((failure) => {
          console.log(failure.type.name);
        });
      }
      `,
    );
    t.equal(stdout, 'ThreadDied\nThreadDied\n');
    t.equal(stderr, '');
    t.equal(code, 0);
  });
});

t.test('a pool of threads', async (t) => {
  const { inThread, pool } = threads(t, { max: 1 });

  t.test('has as many threads as there is work for, up to its size', async (t) => {
    const { inThread, pool } = threads(t, { max: 2 });
    t.same([pool.threads, pool.working, pool.waiting, pool.max, pool.name], [0, 0, 0, 2, 'plait']);
    const gate = flag();
    const all = [1, 2, 3].map((n) => inThread(work.wait, gate, `${n}`));
    t.same([pool.working, pool.waiting], [2, 1]);
    while (pool.threads < 2) await turn();
    pool.adjustPoolsize(3);
    pool.adjustPoolsize(3);
    t.same([pool.working, pool.waiting], [3, 0]);
    open(gate);
    t.same(await Promise.all(all), ['1', '2', '3']);
    for (const max of [0, -1, 1.5, NaN, '3' as never]) {
      const name = typeof (max as unknown) === 'number' ? 'RangeError' : 'TypeError';
      t.throws(() => pool.adjustPoolsize(max), { name });
      t.throws(() => new ThreadPool({ max }), { name });
    }
    t.throws(() => new ThreadPool({ idle: -1 }), { name: 'RangeError' });
  });

  t.test('lets go of threads that have had nothing to do', async (t) => {
    const { inThread, pool } = threads(t, { idle: 0 });
    await inThread(work.add, 1, 1);
    while (pool.threads > 0) await turn();
    t.equal(await inThread(work.add, 1, 1), 2);
  });

  t.test('that stops does what it was asked for, takes no more, and may start again', async (t) => {
    const gate = flag();
    const all = [inThread(work.wait, gate, 'one'), inThread(work.wait, gate, 'two')];
    const stopped = pool.stop();
    const again = pool.stop();
    t.equal(pool.started, false);
    t.ok(failureResultOf(inThread(work.add, 1, 1)).check(ThreadPoolStopped));
    t.throws(() => pool.callInThread(work.add, 1, 1), {
      name: 'ThreadPoolStopped',
      message: 'the pool of threads plait is stopped',
    });
    open(gate);
    t.same(await Promise.all(all), ['one', 'two']);
    await stopped;
    await again;
    await pool.stop();
    pool.start();
    t.equal(await inThread(work.add, 1, 1), 2);
  });

  t.test('that is made to stop fails what is not done', async (t) => {
    pool.start();
    const running = flag();
    const all = [inThread(work.spin, running), inThread(work.add, 1, 1)];
    while (Atomics.load(running, 0) === 0) await turn();
    const errors = all.map((deferred) => errorOf(deferred));
    await pool.stop({ abort: true });
    for (const error of errors) t.ok((await error) instanceof ThreadPoolStopped);
  });

  t.test('calls back, with how it went; what that throws is logged', async (t) => {
    pool.start();
    const seen: unknown[] = [];
    const done = new Deferred<void>();
    pool.callInThreadWithCallback((...how) => seen.push(how), work.add, 1, 2);
    pool.callInThreadWithCallback((...how) => seen.push(how), work.fail, 'own');
    pool.callInThreadWithCallback(
      () => {
        done.callback();
        throw new TypeError('no');
      },
      work.add,
      1,
      1,
    );
    const call = pool.callInThreadWithCallback(() => t.fail('cancelled'), work.add, 1, 1);
    call.cancel();
    call.cancel();
    await done;
    t.match(seen, [
      [true, 3],
      [false, { value: { name: 'TooMany' } }],
    ]);
    t.equal(flushLoggedErrors(TypeError).length, 1);
  });

  t.test('that nobody waits for does not keep the process alive', async (t) => {
    const { code, stdout, stderr } = await run(
      t,
      `
      import { deferToThread, reactor } from 'plait';
      console.log(await deferToThread((n) => n + 1, 1));
      process.on('exit', () => console.log(reactor.getThreadPool().threads));
      `,
    );
    t.equal(stdout, '2\n1\n');
    t.equal(stderr, '');
    t.equal(code, 0);
  });
});

t.test('a reactor', async (t) => {
  t.test('stops its threads when it stops, and has others when it runs again', async (t) => {
    const reactor = new Reactor();
    for (let i = 0; i < 2; i++) {
      const stopped = reactor.run({ installSignalHandlers: false });
      const pool = reactor.getThreadPool();
      t.equal(reactor.getThreadPool(), pool);
      t.equal(pool.max, 10);
      reactor.suggestThreadPoolSize(1);
      t.equal(pool.max, 1);
      const seen: number[] = [];
      reactor.addSystemEventTrigger('before', 'shutdown', () =>
        deferToThreadPool(reactor, pool, (n: number) => n, 1).addCallback((n) => seen.push(n)),
      );
      reactor.stop();
      await stopped;
      t.same(seen, [1]);
      t.equal(pool.started, false);
      await pool.stop();
      t.equal(pool.threads, 0);
    }
  });

  t.test('does work that nobody waits for, and logs what it throws', async (t) => {
    const reactor = new Reactor();
    t.teardown(() => reactor.getThreadPool().stop().asPromise());
    const shared = flag();
    const bump = (shared: Int32Array, n: number) => {
      Atomics.add(shared, 0, n);
    };
    reactor.callInThread(bump, shared, 1);
    reactor.callInThread(() => {
      throw new RangeError('7 is too many');
    });
    callMultipleInThread(
      [
        [bump, shared, 10],
        [bump, shared, 100],
      ],
      reactor,
    );
    callMultipleInThread(
      [
        [work.fail, 'own'],
        [bump, shared, 1000],
      ],
      reactor,
    );
    callMultipleInThread([], reactor);
    while (reactor.getThreadPool().working > 0) await turn();
    t.equal(shared[0], 111);
    t.match(flushLoggedErrors(), [
      { format: 'a call in a thread failed' },
      { format: 'a call in a thread failed' },
    ]);
    t.throws(() => callMultipleInThread([[undefined as never]]), { name: 'TypeError' });
  });

  t.test(
    'REA-07: makes calls from threads in order, one batch a pass, and logs what they throw',
    async (t) => {
      const reactor = new Reactor();
      const storage = new AsyncLocalStorage<string>();
      const seen: unknown[] = [];
      storage.run('mine', () => {
        reactor.callFromThread(
          (...args: number[]) => {
            seen.push(args, storage.getStore());
            reactor.callFromThread(() => seen.push('next pass'));
          },
          1,
          2,
        );
      });
      reactor.callFromThread(() => {
        throw new RangeError('7 is too many');
      });
      reactor.callFromThread(() => seen.push('second'));
      t.same(seen, []);
      await turn();
      t.same(seen, [[1, 2], 'mine', 'second']);
      await turn();
      t.equal(seen.at(-1), 'next pass');
      t.equal(flushLoggedErrors(RangeError).length, 1);
      t.throws(() => reactor.callFromThread('tea' as never), {
        name: 'TypeError',
        message: 'callFromThread: fn must be a function, not "tea"',
      });
    },
  );

  t.test('lets threads call what it was told to, until that is taken back', (t) => {
    const reactor = new Reactor();
    const one = () => 1;
    const allowed = reactor.allowFromThread({ one });
    t.equal(reactor.allowedFromThread('one'), one);
    t.throws(() => reactor.allowFromThread({ two: one, one }), {
      name: 'RangeError',
      message: "threads may already call another function by the name 'one'",
    });
    t.throws(() => reactor.allowFromThread({ two: 2 as never }), { name: 'TypeError' });
    t.throws(() => reactor.allowedFromThread('two'), {
      name: 'RangeError',
      message: "threads may call nothing by the name 'two'; there is 'one'",
    });
    allowed[Symbol.dispose]();
    allowed[Symbol.dispose]();
    t.throws(() => reactor.allowedFromThread('one'), {
      message: /there is nothing: see allowFrom/,
    });
    t.end();
  });
});

t.test('a thread', async (t) => {
  const { inThread, reactor } = threads(t, { max: 1 });

  t.test('calls functions of the main thread, in order, before its result is there', async (t) => {
    const notes: string[] = [];
    allow(t, reactor, calls(reactor, notes));
    t.equal(await inThread(asks.tell, 100), 'done');
    t.same(
      notes,
      Array.from({ length: 100 }, (_, i) => `note ${i}`),
    );
    t.match(flushLoggedErrors(ConnectionRefusedError), [
      { format: 'a function called from a thread failed' },
    ]);
  });

  t.test('waits for what comes of a function of the main thread', async (t) => {
    allow(t, reactor, calls(reactor, []));
    t.same(await Promise.all([1, 2, 3].map((n) => inThread(asks.ask, n))), [2, 4, 6]);
    t.equal(await inThread(asks.askForBytes), 'true TEA');
    t.equal(
      await inThread(asks.askForFailure),
      'true; ConnectionRefusedError; broken 2; ECONNREFUSED; RangeError: as ever',
    );
  });

  t.test('is told what it cannot ask', async (t) => {
    allow(t, reactor, calls(reactor, []));
    t.match(await inThread(asks.askWrongly, 'name'), /RangeError: threads may call nothing by the/);
    t.match(
      await inThread(asks.askWrongly, 'argument'),
      /^NotCloneableError: cannot send the arguments of double to another thread/,
    );
    t.match(
      await inThread(asks.askWrongly, 'result'),
      /^NotCloneableError: cannot send what secret returned to another thread/,
    );
    t.match(await inThread(asks.askWrongly, 'tell'), /^NotCloneableError/);
    const alone = new ThreadPool({ execArgv: EXEC_ARGV });
    t.teardown(() => alone.stop().asPromise());
    t.match(
      await deferToThreadPool(reactor, alone, asks.askWrongly, 'name'),
      /^CancelledError: cannot call __proto__ from a thread: its pool has no reactor/,
    );
    await deferToThreadPool(reactor, alone, asks.tell, 1);
    t.match(flushLoggedErrors(RangeError), [
      {
        failure: {
          value: { message: /^cannot call note from a thread: its pool was made without/ },
        },
      },
      {},
    ]);
  });

  t.test('THR-05: is refused where it would wait for itself', async (t) => {
    const name = 'WrongThreadError';
    t.throws(() => mainReactor<Calls>(), { name, message: /can be called only from a thread of/ });
    t.throws(() => blockingCallFromThread(reactor as never, 'double' as never, ...([1] as never)), {
      name,
      message: /^cannot wait for a reactor on its own thread/,
    });
    t.match(
      await inThread(asks.askOwnReactor),
      /^WrongThreadError: cannot wait for a reactor on its/,
    );
    t.ok(WrongThreadError);
  });

  t.test(
    'that waits is let go when its pool stops, and what it waits for is cancelled',
    async (t) => {
      const { inThread, pool, reactor } = threads(t, { max: 1 });
      const notes: string[] = [];
      allow(t, reactor, {
        ...calls(reactor, notes),
        never() {
          notes.push('asked');
          return new Deferred<void>(() => notes.push('cancelled'));
        },
      });
      const asking = inThread(asks.askForEver);
      while (!notes.includes('asked')) await turn();
      const late = inThread(asks.askForEver);
      const stopped = pool.stop();
      t.match(await asking, /^CancelledError/);
      t.match(
        await late,
        /^CancelledError: cannot call never from a thread: its pool .* is stopped/,
      );
      await stopped;
      t.same(notes, ['asked', 'cancelled']);
    },
  );

  t.test('that is ended while it waits leaves nothing to wait for', async (t) => {
    const notes: string[] = [];
    allow(t, reactor, {
      never() {
        notes.push('asked');
        return new Deferred<void>(() => notes.push('cancelled'));
      },
    });
    const asking = inThread(asks.askForEver);
    while (!notes.includes('asked')) await turn();
    asking.cancel();
    t.ok(failureResultOf(asking).check(CancelledError));
    t.same(notes, ['asked', 'cancelled']);
    t.equal(await inThread(work.add, 1, 1), 2);
  });
});

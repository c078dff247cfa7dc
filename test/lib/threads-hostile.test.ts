/** Threads whose code is not to be trusted: what they post is input; and threads of a pool that stops. */
import { Deferred, deferToThreadPool, Reactor, ThreadPool, ThreadPoolStopped } from 'plait';
import { flushLoggedErrors } from 'plait/testing';
import './thread-coverage.ts';
import { MARK, readMessage } from '../../lib/threads/messages.ts';
import t, { type Test } from '../fixture.ts';
import type * as Asks from './thread-asks.ts';
import { threadModule } from 'plait';

const asks = threadModule<typeof Asks>(new URL('./thread-asks.ts', import.meta.url));
const EXEC_ARGV = process.execArgv.filter((flag) => /typescript\.mjs|^--conditions/.test(flag));

function threads(t: Test) {
  const reactor = new Reactor();
  const pool = new ThreadPool({ reactor, max: 2, execArgv: EXEC_ARGV });
  t.teardown(() => pool.stop({ abort: true }).asPromise());
  return { reactor, pool };
}

/** In a thread: posts each message, in which `ID` stands for the order at hand. */
const postAll = (messages: unknown[], forever: boolean): string => {
  const { parentPort } = process.getBuiltinModule('node:worker_threads');
  const state = (globalThis as Record<symbol, unknown>)[Symbol.for('plait.thread')];
  const { order } = state as { order: string };
  for (const message of messages) {
    const { id } = Object(message) as { id?: unknown };
    parentPort?.postMessage(id === 'ID' ? { ...(message as object), id: order } : message);
  }
  while (forever);
  return 'its own result';
};

t.test('FND-85: what a thread posts is checked before anything is done with it', async (t) => {
  const { reactor, pool } = threads(t);
  const M = 'plait.thread';
  const packed = { values: [], buffers: [] };
  const marked = [
    { [M]: 'done', id: 1, outcome: null },
    { [M]: 'done', id: 'ID', outcome: null },
    { [M]: 'done', id: 'ID', outcome: { thrown: 7 } },
    { [M]: 'done', id: 'ID', outcome: { result: undefined } },
    { [M]: 'done', id: 'ID', outcome: { result: { values: [7], buffers: [0] } } },
    { [M]: 'call', id: 'ID', name: 7, args: packed },
    { [M]: 'call', id: 'ID', name: 'x', args: null },
    { [M]: 'call', id: 'ID', name: 'x', args: packed, reply: 7 },
    { [M]: 'call', id: 'ID', name: 'x', args: packed, reply: { port: {}, flag: {} } },
    { [M]: 'call', id: 'ID', name: 'x', args: packed, reply: null },
    { [M]: 'tea', id: 'ID' },
    { [M]: undefined },
  ];
  const strange = [null, 7, 'done', [], { done: true }];
  const result = await deferToThreadPool(reactor, pool, postAll, [...marked, ...strange], false);
  t.equal(result, 'its own result');
  const logged = flushLoggedErrors(TypeError);
  t.equal(logged.length, marked.length);
  t.match(logged[0], { format: 'a thread has posted a message that cannot be read' });
});

t.test('FND-85: a message that is marked has the shape of what it says that it is', (t) => {
  const { port1, port2 } = new MessageChannel();
  const packed = { values: [], buffers: [] };
  const reply = { port: port1, flag: new Int32Array(new SharedArrayBuffer(4)) };
  const done = { [MARK]: 'done', id: 'ID', outcome: { result: packed } };
  const call = { [MARK]: 'call', id: 'ID', name: 'x', args: packed, reply };
  for (const good of [done, call, { ...call, reply: undefined }]) t.equal(readMessage(good), good);
  for (const bad of [
    { ...done, id: 7 },
    { ...call, id: 7 },
    { ...call, id: undefined },
    { ...call, [MARK]: 'tea' },
    { ...call, [MARK]: true },
    { ...done, [MARK]: 'call' },
    { ...call, [MARK]: 'done' },
    { ...call, reply: { ...reply, port: {} } },
    { ...call, reply: { ...reply, flag: undefined } },
    { ...call, reply: { ...reply, flag: [0] } },
    { ...call, reply: { ...reply, flag: new Uint8Array(4) } },
    { ...call, reply: { ...reply, flag: new Int32Array(0) } },
  ])
    t.throws(() => readMessage(bad), { name: 'TypeError', message: /has another shape/ });
  t.equal(readMessage({ other: 1 }), undefined);
  port1.close();
  port2.close();
  t.end();
});

t.test('FND-85: a thread can answer the order that it has, and no other', async (t) => {
  const { reactor, pool } = threads(t);
  const forged = Array.from({ length: 200 }, (_, id) =>
    [id, String(id)].map((each) => ({
      'plait.thread': 'done',
      id: each,
      outcome: { result: { values: ['FORGED'], buffers: [] } },
    })),
  ).flat();
  const work = () => deferToThreadPool(reactor, pool, postAll, forged, false);
  t.same(await Promise.all([work(), work(), work()]), Array(3).fill('its own result'));
  flushLoggedErrors(TypeError);
});

t.test('FND-85: errors that hold themselves again and again are read within a bound', async (t) => {
  const { reactor, pool } = threads(t);
  const many = (): never => {
    const error: AggregateError & { errors: unknown[] } = new AggregateError([], 'many');
    error.errors = Array<unknown>(9).fill(error);
    error.cause = error;
    throw error;
  };
  const error = await deferToThreadPool(reactor, pool, many)
    .asPromise()
    .catch((thrown: unknown) => thrown as AggregateError);
  const count = (one: unknown): number =>
    one instanceof Error
      ? 1 +
        count(one.cause) +
        ((one as { errors?: unknown[] }).errors ?? []).reduce((sum: number, e) => sum + count(e), 0)
      : 0;
  t.match(error, { message: 'many', name: 'AggregateError' });
  t.ok(count(error) <= 100 && count(error) > 50, String(count(error)));

  // The same from a thread that has packed it by itself: as a graph that is small, and has no end.
  const forge = async (ends: boolean): Promise<void> => {
    const { parentPort } = process.getBuiltinModule('node:worker_threads');
    const state = (globalThis as Record<symbol, unknown>)[Symbol.for('plait.thread')];
    const packed: Record<string, unknown> = {
      type: 'Error',
      name: 'Error',
      message: 'x',
      fields: {},
    };
    packed['errors'] = ends ? 7 : Array(9).fill({ error: packed });
    const { order: id } = state as { order: string };
    parentPort?.postMessage({ 'plait.thread': 'done', id, outcome: { thrown: { error: packed } } });
  };
  for (const [ends, message] of [
    [false, /came to cannot be read: there are too many errors in one/],
    [true, /came to cannot be read: .*map is not a function/],
  ] as const)
    await t.rejects(deferToThreadPool(reactor, pool, forge, ends).asPromise(), {
      name: 'TypeError',
      message,
    });
});

t.test('FND-85: a thread that has answered and goes on is ended with its pool', async (t) => {
  const { reactor, pool } = threads(t);
  const early = {
    'plait.thread': 'done',
    id: 'ID',
    outcome: { result: { values: ['early'], buffers: [] } },
  };
  t.equal(await deferToThreadPool(reactor, pool, postAll, [early, early], true), 'early');
  const stopped = pool.stop();
  await pool.stop({ abort: true });
  await stopped;
  t.equal(pool.threads, 0);
  t.throws(() => pool.callInThread(postAll, [], false), ThreadPoolStopped);
});

t.test('FND-82: a pool stops, though a canceller throws that a thread waits for', async (t) => {
  const { reactor, pool } = threads(t);
  let asked = () => {};
  const waits = new Promise<void>((resolve) => (asked = resolve));
  const allowed = reactor.allowFromThread({
    double() {
      asked();
      return new Deferred<string>(() => {
        throw new RangeError('7 is too many');
      });
    },
  });
  const work = deferToThreadPool(reactor, pool, asks.ask, 7);
  const ended = work.addBoth((result) => (result as { value?: Error }).value?.name);
  await waits;
  allowed[Symbol.dispose]();
  await pool.stop();
  t.equal(await ended, 'CancelledError');
  t.equal(flushLoggedErrors(RangeError).length, 1);
});

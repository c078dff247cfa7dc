/** What is clean only because it was never scanned: sources of a scan that give nothing, or less than they hold. */
import { once } from 'node:events';
import { truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { ConnectionDone } from 'plait';
import {
  ClamdCancelled,
  type ScanOptions,
  type ScanSource,
  UnreadableFile,
  UnusableSource,
} from 'plait/protocols/clamd';
import { failureResultOf, successResultOf } from 'plait/testing';
import t from '../fixture.ts';
import { begin, chunksIn, finish, Line, turn } from './clamd-line.ts';

const BYTES = Buffer.from('bytes');
/** So many bytes that they have a memory of their own, which can be taken away. */
const SIZE = 100_000;

/** A scan against a clamd that finds everything clean; what it fails with, or its verdict. */
async function outcome(source: unknown, options: ScanOptions = {}, line = new Line()) {
  const scanning = begin(source as ScanSource, options, line);
  await finish(scanning);
  if (!scanning.verdict.called) line.answers('stream: OK\0');
  return await scanning.verdict.asPromise().then(
    (verdict) => verdict,
    (error: unknown) => error as Error,
  );
}

/** A scan to which no connection can be made. */
function refused(source: ScanSource): void {
  const { verdict } = begin(source, {}, new Line(false));
  verdict.cancel();
  failureResultOf(verdict, ClamdCancelled);
}

function* pieces(...given: string[]): Generator<Buffer> {
  for (const piece of given) yield Buffer.from(piece);
}

async function* later(...given: string[]): AsyncGenerator<Buffer> {
  for (const piece of given) {
    await turn();
    yield Buffer.from(piece);
  }
}

/** A buffer that `resize` makes smaller. */
function resizableBuffer(): ArrayBuffer & { resize(size: number): void } {
  const options = { maxByteLength: SIZE };
  return Reflect.construct(ArrayBuffer, [SIZE, options]) as never;
}

/** The bytes of a buffer go to another thread, or so. */
function detach({ buffer }: Uint8Array): void {
  structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
}

const CLEAN = { status: 'clean', bytesSent: 5 };

t.test('FND-80: a source of which nothing was read can be scanned again', async (t) => {
  const makers: Record<string, () => ScanSource> = {
    generator: () => pieces('by', 'tes'),
    'async generator': () => later('by', 'tes'),
    Readable: () => Readable.from([Buffer.from('by'), Buffer.from('tes')]),
    'web stream': () => new Blob(['bytes']).stream(),
    iterator: () => [BYTES].values(),
    array: () => [BYTES],
    Buffer: () => BYTES,
  };
  for (const [name, make] of Object.entries(makers)) {
    const source = make();
    refused(source);
    refused(source);
    t.same(await outcome(source), CLEAN, name);
  }
});

t.test('FND-80: a source that has been used is an error before anything is sent', async (t) => {
  const generator = pieces('bytes');
  t.same(await outcome(generator), CLEAN);
  const asynchronous = later('bytes');
  await outcome(asynchronous);
  const readable = Readable.from([BYTES]);
  await outcome(readable);
  const stream = new Blob(['bytes']).stream();
  await outcome(stream);
  const same = [BYTES].values();
  const wrapped = { [Symbol.iterator]: () => same };
  await outcome(wrapped);
  const cut = pieces('one', 'two');
  const early = begin(cut);
  early.line.answers('INSTREAM size limit exceeded. ERROR\0');
  successResultOf(early.verdict);
  for (const source of [generator, asynchronous, readable, stream, wrapped, cut]) {
    for (const options of [{}, { allowEmpty: true }]) {
      const line = new Line();
      const error = await outcome(source, options, line);
      t.type(error, UnusableSource);
      t.match(error, { reason: 'used', message: /^cannot scan the source: / });
      t.equal(line.sent, '');
    }
  }
  t.same(await outcome(new Set([BYTES])), CLEAN);
  const set = new Set([BYTES]);
  for (let i = 0; i < 3; i++) t.same(await outcome(set), CLEAN, 'a set gives its bytes again');
});

t.test('FND-80: two scans do not share a source', async (t) => {
  for (const source of [pieces('one', 'two'), later('one', 'two'), Readable.from([BYTES, BYTES])]) {
    const first = begin(source, {}, new Line(false));
    const second = begin(source, {}, new Line(false));
    first.line.made();
    second.line.made();
    t.match(failureResultOf(second.verdict, UnusableSource).value, { reason: 'used' });
    t.equal(second.line.sent, '');
    await finish(first);
    first.line.answers('stream: OK\0');
    t.match(successResultOf(first.verdict), { status: 'clean' });
  }
});

t.test('FND-80: a stream that was read, closed, broken or locked is an error', async (t) => {
  const broken = new Error('broken');
  const ended = Readable.from([BYTES]);
  await ended.toArray();
  const destroyed = Readable.from([BYTES]);
  destroyed.destroy();
  const failed = Readable.from([BYTES]);
  failed.destroy(broken);
  await once(failed, 'error');
  const peeked = Readable.from([Buffer.from('virus'), BYTES]);
  await once(peeked, 'readable');
  peeked.read();

  const locked = new Blob(['bytes']).stream();
  locked.getReader();
  const drained = new Blob(['bytes']).stream();
  const emptied = drained.getReader();
  while (!(await emptied.read()).done);
  emptied.releaseLock();
  const tasted = new Blob(['bytes']).stream();
  const reader = tasted.getReader();
  await reader.read();
  reader.releaseLock();
  const cancelled = new Blob(['bytes']).stream();
  await cancelled.cancel();
  const errored = new ReadableStream({ start: (controller) => controller.error(broken) });
  const cases: [source: unknown, reason: string][] = [
    [ended, 'used'],
    [destroyed, 'closed'],
    [failed, 'closed'],
    [peeked, 'used'],
    [locked, 'locked'],
    [drained, 'used'],
    [tasted, 'used'],
    [cancelled, 'used'],
    [errored, 'closed'],
  ];
  for (const [index, [source, reason]] of cases.entries()) {
    const line = new Line();
    const error = await outcome(source, { allowEmpty: true }, line);
    t.type(error, UnusableSource, `case ${index}`);
    t.match(error, { reason }, `case ${index}`);
    t.notOk(line.asked);
  }
  t.match(await outcome(failed), { cause: broken });

  // And where that happens while the connection is being made.
  const line = new Line(false);
  const stream = new Blob(['bytes']).stream();
  const { verdict } = begin(stream, {}, line);
  stream.getReader();
  line.made();
  t.match(failureResultOf(verdict, UnusableSource).value, { reason: 'locked' });
  t.equal(line.sent, '');
});

t.test('FND-80: a buffer without its memory is an error', async (t) => {
  const views: Record<string, () => Uint8Array> = {
    'a whole buffer': () => new Uint8Array(SIZE),
    'a part of one': () => new Uint8Array(new ArrayBuffer(SIZE), 10, 20),
    'a Buffer': () => Buffer.from(new ArrayBuffer(SIZE)),
  };
  for (const [name, make] of Object.entries(views)) {
    for (const wrap of [(view: Uint8Array) => view, (view: Uint8Array) => [BYTES, view]]) {
      const view = make();
      const line = new Line();
      const source = wrap(view);
      detach(view);
      const error = await outcome(source, { allowEmpty: true }, line);
      t.match(error, { reason: 'detached' }, name);
      t.notOk(line.asked);
    }
    const view = make();
    detach(view);
    const yielded = await outcome((function* () { yield BYTES; yield view; })()); // prettier-ignore
    t.match(yielded, { reason: 'detached' }, `${name}, yielded`);
  }
  const resizable = resizableBuffer();
  const outside = new Uint8Array(resizable, 50, 50);
  resizable.resize(20);
  t.match(await outcome(outside), { reason: 'detached' });
});

t.test('FND-80: a buffer that loses its memory during the scan is never clean', async (t) => {
  // Before the connection is there.
  for (const source of [(view: Uint8Array) => view, (view: Uint8Array) => [view]]) {
    const view = new Uint8Array(SIZE);
    const line = new Line(false);
    const { verdict } = begin(source(view), { allowEmpty: true }, line);
    detach(view);
    line.made();
    t.match(failureResultOf(verdict, UnusableSource).value, { reason: 'detached' });
    t.equal(line.sent, '');
  }
  const resizable = resizableBuffer();
  const tracking = new Uint8Array(resizable);
  const shrinking = begin(tracking, {}, new Line(false));
  resizable.resize(0);
  shrinking.line.made();
  t.match(failureResultOf(shrinking.verdict, UnusableSource).value, { reason: 'changed' });

  const array = [BYTES];
  const cleared = begin(array, {}, new Line(false));
  array.length = 0;
  cleared.line.made();
  cleared.line.drains();
  t.same(chunksIn(cleared.line.sent).chunks, ['bytes'], 'an array is taken as it was given');
  cleared.line.answers('stream: OK\0');
  t.same(successResultOf(cleared.verdict), CLEAN);

  // While it is on its way: of a piece that is cut, and of one that has gone out whole.
  for (const [chunkSize, pulls] of [
    [1000, 1],
    [SIZE, 0],
    [SIZE, 1],
  ] as const) {
    // prettier-ignore
    for (const source of [(view: Uint8Array) => view, (view: Uint8Array) => [view].values()]) {
      const view = new Uint8Array(SIZE);
      const { line, verdict } = begin(source(view), { chunkSize });
      for (let i = 0; i < pulls; i++) line.transport.producer?.resumeProducing();
      detach(view);
      line.drains();
      if (!verdict.called) line.answers('stream: OK\0');
      t.match(failureResultOf(verdict, UnusableSource).value, { reason: 'changed' });
      t.ok(line.transport.disconnecting);
    }
  }
});

t.test('FND-80: nothing is clean only where the caller gave nothing', async (t) => {
  const nothing: [name: string, source: () => ScanSource][] = [
    ['generator', () => pieces()],
    ['empty pieces', () => pieces('', '')],
    ['async generator', () => later()],
    ['async empty pieces', () => later('', '')],
    ['exhausted elsewhere', () => { const it = pieces('virus'); Array.from(it); return it; }], // prettier-ignore
    ['closed elsewhere', () => { const it = pieces('virus'); it.return(undefined); return it; }], // prettier-ignore
    ['Set', () => new Set<Buffer>()],
    ['Readable', () => Readable.from([])],
    ['web stream', () => new Blob([]).stream()],
    ['file', () => ({ path: '/dev/null' })],
  ];
  for (const [name, make] of nothing) {
    const line = new Line();
    const error = await outcome(make(), {}, line);
    t.type(error, UnusableSource, name);
    t.match(error, { reason: 'empty', message: /has given no bytes; .* allowEmpty/ }, name);
    t.notOk(chunksIn(line.sent).ended, 'the stream is not ended');
    t.ok(line.transport.aborting);
    t.same(await outcome(make(), { allowEmpty: true }), { status: 'clean', bytesSent: 0 }, name);
  }
  const path = join(t.testdir({ empty: '' }), 'empty');
  for (const given of [Buffer.alloc(0), new Uint8Array(0), [], [Buffer.alloc(0)], { path }])
    t.same(await outcome(given), { status: 'clean', bytesSent: 0 });
  for (const allowEmpty of ['no', 1, null])
    t.match(await outcome(BYTES, { allowEmpty } as never), { name: 'TypeError' });
});

t.test('FND-80: bytes that a generator returns would not be scanned', async (t) => {
  const returns = (function* () { yield BYTES; return Buffer.from('virus'); })(); // prettier-ignore
  t.match(await outcome(returns), { name: 'TypeError', message: /returned bytes/ });
});

t.test('FND-80: a buffer that says less of itself than it holds is scanned whole', async (t) => {
  class Liar extends Uint8Array {
    static get [Symbol.species](): never {
      throw new Error('not to be asked');
    }
    override get length() {
      return 0;
    }
    override get byteLength() {
      return 0;
    }
    override subarray(): never {
      throw new Error('not to be asked');
    }
  }
  const liar = () => Reflect.construct(Liar, [[...BYTES]]) as Uint8Array;
  t.same(await outcome(liar()), CLEAN);
  t.same(await outcome([liar()]), CLEAN);
  const line = new Line();
  t.same(await outcome(Readable.from([liar()]), {}, line), CLEAN);
  t.same(chunksIn(line.sent).chunks, ['bytes']);
  const own = Buffer.from('bytes');
  for (const name of ['length', 'byteLength', 'byteOffset'])
    Object.defineProperty(own, name, { value: 3 });
  const other = new Line();
  t.same(await outcome(own, { chunkSize: 3 }, other), CLEAN);
  t.same(chunksIn(other.sent).chunks, ['byt', 'es']);
  const detached = new Uint8Array(SIZE);
  detach(detached);
  Object.defineProperty(detached, 'length', { value: SIZE });
  t.match(await outcome(detached), { reason: 'detached' });
});

t.test(
  'FND-80: an array is read by its places, and one that cannot be seen may not be empty',
  async (t) => {
    const array = [BYTES];
    Object.defineProperty(array, Symbol.iterator, { value: () => [].values() });
    t.same(await outcome(array), CLEAN);
    t.match(await outcome(new Proxy([], {})), { reason: 'empty' });
  },
);

t.test('FND-80: bytes that are returned in any form would not be scanned', async (t) => {
  for (const returned of [
    new ArrayBuffer(5),
    [BYTES],
    pieces('x'),
    later('x'),
    'x',
    new DataView(new ArrayBuffer(5)),
  ]) {
    const source = (function* () {
      yield BYTES;
      return returned;
    })();
    t.ok((await outcome(source)) instanceof TypeError);
  }
  for (const returned of [undefined, null, 5, {}]) {
    const source = (function* () {
      yield BYTES;
      return returned;
    })();
    t.same(await outcome(source), CLEAN);
  }
});

t.test('FND-80: a file that shrinks while it is read is never clean', async (t) => {
  const path = join(t.testdir({}), 'file');
  for (const [size, left] of [
    [SIZE, 0],
    [SIZE, 30_000],
    [1000, 0],
  ] as const) {
    // prettier-ignore
    writeFileSync(path, Buffer.alloc(size));
    const line = new Line(false);
    const scanning = begin({ path }, { chunkSize: 20_000, allowEmpty: true }, line);
    while (!line.asked) await turn();
    truncateSync(path, left);
    line.made();
    await finish(scanning);
    const { value } = failureResultOf(scanning.verdict, UnreadableFile);
    t.match(
      value.message,
      new RegExp(`: it had ${size} bytes when it was opened, and then ${left}$`),
    );
    t.notOk(chunksIn(line.sent).ended);
  }
});

t.test('FND-80: a file handle at its end, or closed, is never clean', async (t) => {
  const path = join(t.testdir({ file: 'virus' }), 'file');
  const handle = await open(path);
  await handle.readFile();
  t.match(await outcome(handle.createReadStream({ autoClose: false })), { reason: 'empty' });
  await handle.close();
  t.throws(() => handle.createReadStream());
  t.match(await outcome(handle), { name: 'TypeError' });
});

t.test('FND-80: empty pieces without end are an error', async (t) => {
  function* none() {
    for (;;) yield Buffer.alloc(0);
  }
  async function* noneLater() {
    for (;;) yield Buffer.alloc(0);
  }
  t.match(await outcome(none()), { reason: 'empty' });
  t.match(await outcome(noneLater()), { reason: 'empty' });
});

t.test(
  'FND-80: a source is left alone where it is refused, and closed where it was read',
  async (t) => {
    let returned = 0;
    const iterator = {
      next: () => ({ done: false as const, value: 'text' as never }),
      return: () => { returned++; return { done: true as const, value: undefined }; }, // prettier-ignore
      [Symbol.iterator]: () => iterator,
    };
    refused(iterator);
    t.equal(returned, 0);
    const { verdict } = begin(iterator);
    failureResultOf(verdict, TypeError);
    t.equal(returned, 1);
    const readable = Readable.from([BYTES]);
    const stream = new Blob(['bytes']).stream();
    refused(readable);
    refused(stream);
    t.notOk(readable.destroyed);
    t.notOk(stream.locked);
  },
);

t.test('FND-80: nothing may follow the reply', (t) => {
  for (const behind of ['stream: X FOUND\0', 'stream: OK\0', 'x', '\0', '\n']) {
    const { line, verdict } = begin(BYTES);
    line.drains().answers(`stream: OK\0${behind}`).closes(new ConnectionDone());
    t.match(successResultOf(verdict), {
      status: 'error',
      kind: 'unexpected',
      reply: `stream: OK\0${behind}`,
      bytesSent: 5,
    });
  }
  t.end();
});

import { once } from 'node:events';
import { open, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import {
  BadFileError,
  CancelledError,
  ConnectError,
  ConnectionDone,
  ConnectionLost,
  ConnectionRefusedError,
  Deferred,
  Failure,
  IPv4Address,
  LimitExceeded,
  PlaitError,
  Reactor,
  TimeoutError,
} from 'plait';
import {
  BadReply,
  ClamdCancelled,
  ClamdError,
  ClamdTimedOut,
  eicar,
  FakeClamd,
  type FakeClamdOptions,
  NoReply,
  ping,
  scan,
  type ScanOptions,
  type ScanSource,
  UnreadableFile,
  UnusableSource,
  type Verdict,
  version,
} from 'plait/protocols/clamd';
import {
  assertNoResult,
  checkFraming,
  chunkings,
  Clock,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import { Conversation } from '../../protocols/clamd/conversation.ts';
import { CHUNK_LIMIT, writeChunkSize } from '../../protocols/clamd/grammar.ts';
import t, { type Test } from '../fixture.ts';
import {
  answered,
  begin,
  chunksIn,
  finish,
  Line,
  type Scanning,
  turn,
  VirtualReactor,
} from './clamd-line.ts';

// ── Verdicts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'CLM-01: a stream is clean once all of `stream: OK` has arrived, however it was cut',
  (t) => {
    for (const pieces of chunkings(Buffer.from('stream: OK\0'))) {
      const { line, verdict } = begin(Buffer.from('harmless'));
      line.drains();
      for (const piece of pieces) {
        assertNoResult(verdict);
        line.answers(piece);
      }
      t.same(successResultOf(verdict), { status: 'clean', bytesSent: 8 });
    }
    t.end();
  },
);

t.test('CLM-02: of an infected stream the bare name of the signature is told', (t) => {
  const names: [reply: string, name: string][] = [
    ['stream: Eicar-Test-Signature FOUND', 'Eicar-Test-Signature'],
    ['stream: A: B(x) FOUND', 'A: B(x)'],
    ['stream: stream: OK FOUND', 'stream: OK'],
    ['stream: X FOUND FOUND', 'X FOUND'],
    ['stream:  spaced  FOUND', ' spaced '],
    ['stream: two\nlines FOUND', 'two\nlines'],
    ['stream: Trojan.Größe.木馬 FOUND', 'Trojan.Größe.木馬'],
  ];
  for (const [reply, name] of names) {
    const verdict = answered(`${reply}\0`);
    t.same(verdict, { status: 'infected', signatures: [name], bytesSent: 5 });
  }
  const latin1 = Buffer.from('stream: Größe FOUND\0', 'latin1');
  t.same(
    answered(latin1),
    { status: 'infected', signatures: ['Größe'], bytesSent: 5 },
    'no byte is lost',
  );
  t.end();
});

t.test('CLM-03: nothing but the exact words is ever clean', (t) => {
  const errors: [reply: string, kind: string][] = [
    ['', 'unexpected'],
    ['OK', 'unexpected'],
    ['stream:', 'unexpected'],
    ['stream: ', 'unexpected'],
    ['stream: OK extra', 'unexpected'],
    ['stream: OK ', 'unexpected'],
    ['stream: OK\n', 'unexpected'],
    ['stream: ok', 'unexpected'],
    ['Stream: OK', 'unexpected'],
    [' stream: OK', 'unexpected'],
    ['\ufeffstream: OK', 'unexpected'],
    ['stream:OK', 'unexpected'],
    ['1: stream: OK', 'unexpected'],
    ['PONG', 'unexpected'],
    ['stream:  FOUND', 'unexpected'],
    ['stream: FOUND', 'unexpected'],
    ['X FOUND', 'unexpected'],
    ['stream: X ERROR', 'scan-failed'],
    ['stream: OK ERROR', 'scan-failed'],
    ['Access denied. ERROR', 'scan-failed'],
    ['UNKNOWN COMMAND', 'unknown-command'],
    ['COMMAND UNAVAILABLE', 'unavailable'],
    ['COMMAND READ TIMED OUT', 'command-timeout'],
    ['INSTREAM size limit exceeded. ERROR', 'size-limit'],
  ];
  for (const [reply, kind] of errors) {
    const verdict = answered(`${reply}\0`);
    t.match(verdict, { status: 'error', kind, reply, bytesSent: 5 }, JSON.stringify(reply));
  }
  const verdict = answered('INSTREAM size limit exceeded. ERROR\0');
  t.match(verdict, {
    message:
      'INSTREAM to clamd: the stream is longer than clamd allows (StreamMaxLength); it answered "INSTREAM size limit exceeded. ERROR", after 5 bytes of the stream',
  });
  t.match(answered('\x1b[2J\u0085\0'), { message: /answered "\\u001b\[2J\\u0085", after/ });
  t.end();
});

t.test('CLM-03: an answer that is cut off is a failure, never clean', (t) => {
  for (const reply of ['stream: OK', 'stream: X FOUND', 'str', 'PONG\n', 'stream: OK\n']) {
    const { line, verdict } = begin(Buffer.from('bytes'));
    line.drains().answers(reply).closes();
    const { value } = failureResultOf(verdict, NoReply);
    t.match(value, { received: reply, command: 'INSTREAM', bytesSent: 5 });
    const told = JSON.stringify(reply);
    t.equal(
      value.message,
      `INSTREAM to clamd: clamd closed the connection when only ${told}, which has no NUL at its end, had arrived, after 5 bytes of the stream`,
    );
  }
  t.end();
});

t.test('clamd ends one of its errors with a newline, whatever was asked for', (t) => {
  const { line, verdict } = begin(Buffer.from('bytes'));
  line.drains().answers('COMMAND READ TIMED OUT\n');
  assertNoResult(verdict);
  line.closes();
  t.match(successResultOf(verdict), { status: 'error', kind: 'command-timeout' });
  t.end();
});

t.test('what comes later than the reply changes nothing', (t) => {
  const { line, verdict } = begin(Buffer.from('bytes'));
  line.drains().answers('stream: OK\0').answers('more\0').closes(new ConnectionLost());
  t.same(successResultOf(verdict), { status: 'clean', bytesSent: 5 });
  t.end();
});

t.test('a stream that clamd has not had to its end is not clean, whatever it says', (t) => {
  const { line, verdict } = begin([Buffer.from('first'), Buffer.from('second')]);
  line.answers('stream: OK\0');
  t.match(successResultOf(verdict), {
    status: 'error',
    kind: 'unexpected',
    reply: 'stream: OK',
    bytesSent: 5,
  });
  t.ok(line.transport.aborting, 'the rest is not sent');

  const early = begin([Buffer.from('first'), Buffer.from('second')]);
  early.line.answers('stream: X FOUND\0');
  t.same(successResultOf(early.verdict), { status: 'infected', signatures: ['X'], bytesSent: 5 });
  t.end();
});

t.test('CLM-13: a reply without end is cut off at 64 KiB', (t) => {
  const { line, verdict } = begin(Buffer.from('bytes'));
  line.drains();
  let fed = 0;
  for (; !verdict.called && fed < 10 * 2 ** 20; fed += 1000) line.answers(Buffer.alloc(1000, 'x'));
  t.ok(fed <= 67_000, `${fed} bytes were taken`);
  const { value } = failureResultOf(verdict, BadReply);
  t.type(value.cause, LimitExceeded);
  t.match(
    value.message,
    /^INSTREAM to clamd: the reply is longer than the limit of 65536 bytes; it/,
  );
  t.ok(value.message.length < 400);
  t.ok(line.transport.aborting);
  t.equal(answered(`stream: ${'x'.repeat(65_522)} FOUND\0`).status, 'infected', 'but not before');
  t.end();
});

// ── Connections that fail ────────────────────────────────────────────────────────────────────────────────────────────

t.test('CLM-05: a connection that is lost before the reply is one failure', (t) => {
  const reasons = [
    new ConnectionDone(),
    new ConnectionLost('connection to 127.0.0.1:3310 was lost: reset by the other side'),
  ];
  for (const reason of reasons) {
    for (const all of [false, true]) {
      const { line, clock, verdict } = begin([Buffer.from('first'), Buffer.from('second')]);
      if (all) line.drains();
      line.closes(reason);
      const { value } = failureResultOf(verdict, NoReply);
      t.equal(value.cause, reason);
      t.equal(value.received, '');
      t.ok(value instanceof ClamdError && value instanceof PlaitError);
      t.match(value.message, new RegExp(` before it answered, after ${all ? 11 : 5} bytes of the`));
      t.same(clock.getDelayedCalls(), []);
    }
  }
  t.end();
});

t.test('where no connection can be made, the error says so', async (t) => {
  const reactor = new Reactor();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const refused = scan(eicar(), { endpoint: `tcp:127.0.0.1:${port}`, reactor });
  await t.rejects(refused.asPromise(), {
    name: 'ConnectionRefusedError',
    message: `cannot connect to 127.0.0.1:${port}: connection refused (ECONNREFUSED)`,
    code: 'ECONNREFUSED',
  });
  t.type(
    await ping({ endpoint: `tcp:127.0.0.1:${port}`, reactor })
      .asPromise()
      .catch((e: unknown) => e),
    ConnectionRefusedError,
  );
  const missing = version({ endpoint: 'unix:/nonexistent/clamd.ctl', reactor });
  t.type(await missing.asPromise().catch((e: unknown) => e), BadFileError);
  t.same(reactor.getDelayedCalls(), []);
});

t.test('arguments that cannot be used fail, and nothing is begun', (t) => {
  const cases: [source: unknown, options: object, error: RegExp][] = [
    ['a path?', {}, /^TypeError: cannot scan 'a path\?': give a Uint8Array, { path: '…' } or/],
    [undefined, {}, /^TypeError: cannot scan undefined/],
    [7, {}, /^TypeError: cannot scan 7/],
    [{}, {}, /^TypeError: cannot scan {}/],
    [{ path: 7 }, {}, /^TypeError: cannot scan {/],
    [
      Buffer.of(1),
      { chunkSize: 0 },
      /^RangeError: chunkSize must be a whole number of bytes from 1/,
    ],
    [Buffer.of(1), { chunkSize: 1.5 }, /^RangeError: chunkSize/],
    [Buffer.of(1), { chunkSize: NaN }, /^RangeError: chunkSize/],
    [
      Buffer.of(1),
      { chunkSize: 2 ** 32 },
      /^RangeError: chunkSize .* to 4294967295, not 4294967296$/,
    ],
    [Buffer.of(1), { timeout: NaN }, /^RangeError: timeout must be 0 seconds or more and finite/],
    [Buffer.of(1), { timeout: -1 }, /^RangeError: timeout/],
    [Buffer.of(1), { timeout: Infinity }, /^RangeError: timeout/],
    [Buffer.of(1), { timeout: '5' }, /^TypeError: timeout must be a number of seconds, not "5"/],
    [Buffer.of(1), { idleTimeout: -1 }, /^RangeError: idleTimeout must be 0 seconds/],
    [Buffer.of(1), { allowEmpty: 'yes' }, /^TypeError: allowEmpty must be true or false/],
    [Buffer.of(1), { endpoint: 'clamd' }, /^EndpointSyntaxError: .*"clamd"/],
  ];
  for (const [source, options, error] of cases) {
    const line = new Line();
    const { clock, verdict } = begin(source as ScanSource, options, line);
    t.match(String(failureResultOf(verdict).value), error);
    t.notOk(line.asked);
    t.same(clock.getDelayedCalls(), []);
  }
  t.end();
});

// ── Streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'CLM-09: pieces are sent with their exact length, cut where too long, left out where empty',
  (t) => {
    const cases: [source: ScanSource, chunks: string[]][] = [
      [Buffer.from('abcdefghij'), ['abcd', 'efgh', 'ij']],
      [Buffer.from('abcdefgh'), ['abcd', 'efgh']],
      [new Uint8Array(Buffer.from('xabc').buffer, Buffer.from('xabc').byteOffset, 0), []],
      [Buffer.alloc(0), []],
      [[], []],
      [
        [Buffer.alloc(0), Buffer.from('ab'), Buffer.alloc(0), Buffer.from('c'), Buffer.alloc(0)],
        ['ab', 'c'],
      ],
      [new Set([Buffer.from('abcde')]), ['abcd', 'e']],
      [Buffer.from('xxab').subarray(2), ['ab']],
    ];
    for (const [source, chunks] of cases) {
      const { line, verdict } = begin(source, { chunkSize: 4 });
      line.drains();
      t.same(chunksIn(line.sent), { chunks, ended: true });
      assertNoResult(verdict);
      line.answers('stream: OK\0');
      t.same(successResultOf(verdict), { status: 'clean', bytesSent: chunks.join('').length });
    }
    const { line, verdict } = begin(Buffer.alloc(65_536 + 258, 'x'));
    line.drains();
    const bytes = line.transport.value();
    t.same(bytes.subarray(10, 14), Buffer.of(0, 1, 0, 0), '64 KiB unless it is said otherwise');
    t.same(bytes.subarray(14 + 65_536, 18 + 65_536), Buffer.of(0, 0, 1, 2));
    verdict.addErrback(() => {}).cancel();
    t.end();
  },
);

t.test('CLM-09: a huge piece is cut without being copied, and lengths have no sign', (t) => {
  const huge = Buffer.allocUnsafeSlow(2 ** 28 + 1);
  const line = new Line();
  const sent: Uint8Array[] = [];
  line.transport.write = (data) => void sent.push(data as Uint8Array);
  const { verdict } = begin(huge, { chunkSize: 2 ** 27 }, line);
  line.drains();
  const chunks = sent.filter(({ buffer }) => buffer === huge.buffer);
  t.same(
    chunks.map(({ length }) => length),
    [2 ** 27, 2 ** 27, 1],
  );
  line.answers('stream: OK\0');
  t.same(successResultOf(verdict), { status: 'clean', bytesSent: huge.length });
  t.same(writeChunkSize(0x8000_0001), Buffer.of(0x80, 0, 0, 1));
  t.same(writeChunkSize(CHUNK_LIMIT), Buffer.of(0xff, 0xff, 0xff, 0xff));
  t.end();
});

t.test('of a source no more is taken than the connection takes', (t) => {
  let taken = 0;
  function* source() {
    for (; taken < 1000; taken++) yield Buffer.from('piece');
  }
  const { line, verdict } = begin(source());
  t.equal(taken, 0, 'the first is out, and the second not asked for');
  for (let i = 1; i < 5; i++) {
    line.transport.producer!.resumeProducing();
    t.equal(taken, i);
  }
  line.answers('INSTREAM size limit exceeded. ERROR\0');
  t.match(successResultOf(verdict), { kind: 'size-limit', bytesSent: 25 });
  t.ok(line.transport.aborting);
  t.equal(taken, 4);
  line.transport.producer!.resumeProducing();
  t.equal(taken, 4, 'nor anything afterwards');
  t.end();
});

/** A source that tells whether it was closed. */
class Source implements AsyncIterableIterator<unknown> {
  asked = 0;
  closed = 0;
  /** Who waits for the next piece. */
  waiting: Deferred<IteratorResult<unknown>> | undefined;

  [Symbol.asyncIterator]() {
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    this.asked++;
    this.waiting = new Deferred();
    return this.waiting.asPromise();
  }

  async return(): Promise<IteratorResult<unknown>> {
    this.closed++;
    return { done: true, value: undefined };
  }

  /** Gives the next piece, to whom it matters. */
  async gives(value: unknown): Promise<void> {
    this.waiting?.callback({ done: value === undefined, value });
    this.waiting = undefined;
    await turn();
  }
}

t.test('a source may take its time, and is asked for one piece at a time', async (t) => {
  const source = new Source();
  const { line, verdict } = begin(source as AsyncIterable<Uint8Array>);
  line.transport.producer!.resumeProducing();
  line.transport.producer!.resumeProducing();
  t.equal(line.sent, 'zINSTREAM\0');
  t.equal(source.asked, 1);
  await source.gives(Buffer.from('one'));
  t.same(chunksIn(line.sent).chunks, ['one']);
  t.equal(source.waiting, undefined);
  line.transport.producer!.resumeProducing();
  await source.gives(Buffer.from(''));
  await source.gives(Buffer.from('two'));
  line.transport.producer!.resumeProducing();
  await source.gives(undefined);
  t.same(chunksIn(line.sent), { chunks: ['one', 'two'], ended: true });
  t.equal(line.transport.producer, undefined);
  line.answers('stream: OK\0');
  t.same(successResultOf(verdict), { status: 'clean', bytesSent: 6 });
  t.equal(source.closed, 0, 'it has come to its end');
});

t.test('however a scan ends early, its source is closed once', async (t) => {
  const endings: Record<string, (scanning: Scanning) => void> = {
    'an early reply': ({ line }) => void line.answers('INSTREAM size limit exceeded. ERROR\0'),
    'a lost connection': ({ line }) => void line.closes(new ConnectionLost()),
    'the deadline': ({ clock }) => clock.advance(120),
    'a cancellation': ({ verdict }) => verdict.cancel(),
    'a reply that is too long': ({ line }) => void line.answers(Buffer.alloc(70_000, 'x')),
  };
  for (const [name, end] of Object.entries(endings)) {
    for (const given of ['nothing', 'a piece', 'while it reads']) {
      const source = new Source();
      const scanning = begin(source as AsyncIterable<Uint8Array>);
      const { line, clock, verdict } = scanning;
      if (given !== 'nothing') await source.gives(Buffer.from('bytes'));
      if (given === 'while it reads') line.transport.producer!.resumeProducing();
      end(scanning);
      t.ok(verdict.called, `${name}, after ${given}`);
      verdict.addErrback(() => {});
      t.equal(source.closed, 1);
      const { sent } = line;
      await source.gives(Buffer.from('late'));
      t.equal(line.sent, sent, 'a piece that comes late is not sent');
      t.same(clock.getDelayedCalls(), []);
    }
  }
  const refused = new Source();
  const line = new Line(false);
  const { verdict } = begin(refused as AsyncIterable<Uint8Array>, {}, line);
  verdict.addErrback(() => {}).cancel();
  t.equal(refused.closed, 0, 'but not if nothing was read of it');
});

t.test(
  'a source that fails makes the scan fail with its error, and aborts the connection',
  async (t) => {
    const broken = new Error('the disk is on fire');
    const atOnce = begin(
      (function* () {
        yield Buffer.from('bytes');
        throw broken;
      })(),
    );
    atOnce.line.transport.producer!.resumeProducing();
    t.equal(failureResultOf(atOnce.verdict).value, broken);
    t.ok(atOnce.line.transport.aborting);
    t.notOk(chunksIn(atOnce.line.sent).ended);
    t.same(atOnce.clock.getDelayedCalls(), []);

    const source = new Source();
    const later = begin(source as AsyncIterable<Uint8Array>);
    source.waiting!.errback(broken);
    await turn();
    t.equal(failureResultOf(later.verdict).value, broken);
    t.equal(source.closed, 0, 'who has thrown is closed already');

    const rejecting = {
      next: () => Promise.reject(broken),
      [Symbol.asyncIterator]: () => rejecting,
    };
    const { verdict } = begin(rejecting);
    await turn();
    t.equal(failureResultOf(verdict).value, broken);

    const unwilling = {
      [Symbol.iterator]() {
        throw broken;
      },
    };
    t.equal(failureResultOf(begin(unwilling as never).verdict).value, broken);
  },
);

t.test('a source must yield bytes', async (t) => {
  for (const value of ['text', 7, null, [1], new Float64Array(1)]) {
    const source = new Source();
    const { line, verdict } = begin(source as AsyncIterable<Uint8Array>);
    await source.gives(value);
    t.match(failureResultOf(verdict, TypeError).value.message, /must yield Uint8Arrays, not /);
    t.equal(source.closed, 1);
    t.ok(line.transport.aborting);
  }
  const { verdict } = begin(['text'] as unknown as Iterable<Uint8Array>);
  failureResultOf(verdict, TypeError);
  const lying = { next: () => undefined, [Symbol.iterator]: () => lying };
  failureResultOf(begin(lying as never).verdict, TypeError);
  const liar = { next: () => Promise.resolve(undefined), [Symbol.asyncIterator]: () => liar };
  const late = begin(liar as never);
  await turn();
  failureResultOf(late.verdict, TypeError);
  t.ok(late.line.transport.aborting);
});

t.test('a generator may end the scan that reads it', (t) => {
  let closed = false;
  let verdict: Deferred<Verdict> | undefined = undefined;
  function* source() {
    try {
      yield Buffer.from('bytes');
      verdict?.cancel();
      yield Buffer.from('more');
    } finally {
      closed = true;
    }
  }
  const scanning = begin(source());
  verdict = scanning.verdict;
  scanning.line.transport.producer!.resumeProducing();
  failureResultOf(scanning.verdict, ClamdCancelled);
  t.ok(closed);
  t.same(chunksIn(scanning.line.sent).chunks, ['bytes']);
  t.end();
});

t.test('a source that cannot be closed is logged', async (t) => {
  const source = new Source();
  source.return = () => Promise.reject(new Error('stuck'));
  const { verdict } = begin(source as AsyncIterable<Uint8Array>);
  verdict.addErrback(() => {}).cancel();
  await turn();
  const [event] = flushLoggedErrors('Error');
  t.match(event, {
    namespace: 'plait.clamd',
    level: 'warn',
    failure: { value: { message: 'stuck' } },
  });
});

t.test(
  'a Readable and a web stream are scanned, and destroyed where the scan ends early',
  async (t) => {
    for (const make of [
      () => Readable.from([Buffer.from('ab'), Buffer.from('c')]),
      () => new Blob(['abc']).stream(),
    ]) {
      const { line, verdict } = begin(make() as AsyncIterable<Uint8Array>);
      while (!chunksIn(line.sent).ended) {
        await turn();
        line.transport.producer?.resumeProducing();
      }
      t.equal(chunksIn(line.sent).chunks.join(''), 'abc');
      line.answers('stream: OK\0');
      t.same(successResultOf(verdict), { status: 'clean', bytesSent: 3 });
    }

    // These never have anything to read.
    const readable = new Readable({ read() {} });
    let cancelled = false;
    const web = new ReadableStream({ cancel: () => void (cancelled = true) });
    for (const source of [readable, web as unknown as AsyncIterable<Uint8Array>]) {
      const { verdict } = begin(source);
      await turn();
      verdict.cancel();
      failureResultOf(verdict, ClamdCancelled);
      await turn();
    }
    t.ok(readable.destroyed);
    t.ok(cancelled);
    const locked = new Blob(['abc']).stream();
    locked.getReader();
    failureResultOf(begin(locked as unknown as AsyncIterable<Uint8Array>).verdict, UnusableSource);
  },
);

// ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a file is read piece by piece, and closed', async (t) => {
  const path = join(t.testdir({}), 'file');
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
  await writeFile(path, bytes);
  for (const chunkSize of [65_536, 30_000, 100_000]) {
    const scanning = begin({ path }, { chunkSize });
    await finish(scanning);
    const { chunks } = chunksIn(scanning.line.sent);
    t.equal(chunks.join(''), bytes.toString('latin1'));
    t.equal(chunks.length, Math.ceil(100_000 / chunkSize));
    scanning.line.answers('stream: OK\0');
    t.same(successResultOf(scanning.verdict), { status: 'clean', bytesSent: 100_000 });
  }
  const empty = join(t.testdirName, 'empty');
  await writeFile(empty, '');
  const scanning = begin({ path: empty });
  await finish(scanning);
  t.same(chunksIn(scanning.line.sent), { chunks: [], ended: true });
  scanning.verdict.addErrback(() => {}).cancel();
});

t.test(
  'a file that cannot be read fails the scan, before clamd is asked where possible',
  async (t) => {
    const folder = t.testdir({});
    const missing = begin({ path: join(folder, 'none') });
    await finish(missing);
    const { value } = failureResultOf(missing.verdict, UnreadableFile);
    t.match(value, { path: join(folder, 'none'), code: 'ENOENT', cause: { syscall: 'open' } });
    t.equal(
      value.message,
      `cannot scan ${JSON.stringify(join(folder, 'none'))}: no such file (ENOENT)`,
    );
    t.notOk(missing.line.asked);

    const directory = begin({ path: folder });
    await finish(directory);
    t.match(failureResultOf(directory.verdict, UnreadableFile).value, { code: 'EISDIR' });
    t.ok(directory.line.transport.aborting);
    await t.rejects(begin({ path: 'a\0b' }).verdict.asPromise(), { message: /null bytes/ });
  },
);

t.test(
  'a file is closed where the scan ends early, and where it ends before it is open',
  async (t) => {
    const path = join(t.testdir({}), 'file');
    await writeFile(path, Buffer.alloc(1_000_000));
    // Descriptors are given out lowest first: a file left open would show.
    const lowest = async () => {
      const handle = await open(path);
      const { fd } = handle;
      await handle.close();
      return fd;
    };
    const before = await lowest();

    const early = begin({ path });
    early.verdict.cancel();
    t.match(failureResultOf(early.verdict, ClamdCancelled).value, { phase: 'opening' });
    for (let turns = 1; turns < 6; turns++) {
      const late = begin({ path });
      for (let i = 0; i < turns; i++) {
        await turn();
        late.line.transport.producer?.resumeProducing();
      }
      late.verdict.addErrback(() => {}).cancel();
    }
    const refused = begin({ path }, {}, new Line(false));
    while (!refused.line.asked) await turn();
    refused.verdict.cancel();
    t.match(failureResultOf(refused.verdict, ClamdCancelled).value, { phase: 'connecting' });
    // Closing goes through the thread pool, behind what was asked for before.
    for (let i = 0; i < 20 && (await lowest()) !== before; i++);
    t.equal(await lowest(), before);
  },
);

// ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('the deadline covers all of it, and the error says how far it had come', (t) => {
  const connecting = begin(Buffer.from('bytes'), {}, new Line(false));
  const sending = begin([Buffer.from('first'), Buffer.from('second')], { timeout: 5 });
  const waiting = begin(Buffer.from('bytes'), { timeout: 0.5 });
  waiting.line.drains();
  for (const { clock } of [connecting, sending, waiting]) clock.advance(0.25);
  for (const { verdict } of [connecting, sending, waiting]) assertNoResult(verdict);
  for (const { clock } of [connecting, sending, waiting]) clock.advance(119.75);

  const errors = [connecting, sending, waiting].map(({ verdict, clock }) => {
    t.same(clock.getDelayedCalls(), []);
    return failureResultOf(verdict, ClamdTimedOut).value;
  });
  t.match(errors, [
    { phase: 'connecting', bytesSent: 0, command: 'INSTREAM' },
    { phase: 'sending', bytesSent: 5 },
    { phase: 'waiting', bytesSent: 5 },
  ]);
  t.same(
    errors.map((error) => error.message),
    [
      'INSTREAM to clamd: not done after 120 seconds, while the connection was being made',
      'INSTREAM to clamd: not done after 5 seconds, while the stream was being sent, after 5 bytes of the stream',
      'INSTREAM to clamd: not done after 0.5 seconds, while waiting for the reply, after 5 bytes of the stream',
    ],
  );
  for (const error of errors) t.ok(error instanceof TimeoutError && error instanceof PlaitError);
  t.ok(sending.line.transport.aborting && waiting.line.transport.aborting);
  t.end();
});

t.test('an endpoint that fails in its own way when it is cancelled is taken at its word', (t) => {
  const clock = new VirtualReactor();
  const own = new Error('too late: it is connected');
  const endpoint = { connect: () => new Deferred<never>((deferred) => deferred.errback(own)) };
  const answer = ping({ endpoint, reactor: clock, timeout: 1 });
  clock.advance(1);
  t.equal(failureResultOf(answer).value, own);
  t.end();
});

t.test('FND-1C: a scan of which nothing is heard for too long is given up', (t) => {
  const pieces = Array.from({ length: 9 }, () => Buffer.from('piece'));
  const options = { timeout: null, idleTimeout: 10 };
  const { line, clock, verdict } = begin(pieces, options, new Line(false));
  clock.advance(9);
  line.made();
  for (let i = 0; i < 8; i++) {
    clock.advance(9);
    line.transport.producer!.resumeProducing();
  }
  clock.advance(9);
  line.drains();
  clock.advance(9);
  line.answers('stream');
  clock.advance(9);
  assertNoResult(verdict);
  clock.advance(1);
  const { value } = failureResultOf(verdict, ClamdTimedOut);
  t.match(value, { idle: true, phase: 'waiting', bytesSent: 45 });
  t.equal(
    value.message,
    'INSTREAM to clamd: nothing happened for 10 seconds, while waiting for the reply, after 45 bytes of the stream',
  );
  t.ok(line.transport.aborting);

  const stuck = begin(Buffer.from('bytes'), { timeout: null }, new Line(false));
  stuck.clock.advance(119);
  assertNoResult(stuck.verdict);
  stuck.clock.advance(1);
  t.match(failureResultOf(stuck.verdict, ClamdTimedOut).value, { idle: true, phase: 'connecting' });

  const both = begin(Buffer.from('bytes'), { timeout: 5, idleTimeout: 5 });
  both.clock.advance(5);
  t.match(failureResultOf(both.verdict, ClamdTimedOut).value, { idle: false });
  t.same(both.clock.getDelayedCalls(), []);
  t.end();
});

t.test('without a timeout it waits for ever', (t) => {
  const { clock, verdict } = begin(Buffer.from('bytes'), { timeout: null, idleTimeout: null });
  t.same(clock.getDelayedCalls(), []);
  clock.advance(1e9);
  assertNoResult(verdict);
  verdict.addErrback(() => {}).cancel();
  t.end();
});

t.test('cancelling aborts the connection at once, and a signal does the same', (t) => {
  const { line, clock, verdict } = begin(Buffer.from('bytes'));
  line.drains();
  verdict.cancel();
  const { value } = failureResultOf(verdict, ClamdCancelled);
  t.match(value, { phase: 'waiting', bytesSent: 5 });
  t.ok(value instanceof CancelledError);
  t.match(
    value.message,
    /^INSTREAM to clamd: cancelled while waiting for the reply, after 5 bytes/,
  );
  t.ok(line.transport.aborting);
  t.same(clock.getDelayedCalls(), []);
  line.answers('stream: OK\0').closes();

  const abort = new AbortController();
  const signalled = begin(Buffer.from('bytes'), { signal: abort.signal });
  abort.abort();
  failureResultOf(signalled.verdict, ClamdCancelled);
  t.ok(signalled.line.transport.aborting);

  const source = new Source();
  const line2 = new Line();
  const { verdict: never } = begin(
    source as AsyncIterable<Uint8Array>,
    { signal: abort.signal },
    line2,
  );
  t.equal(failureResultOf(never, ClamdCancelled).value.cause, abort.signal.reason);
  t.notOk(line2.asked);
  t.equal(source.closed, 0);
  t.end();
});

// ── Other commands ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Asks something over a connection to nowhere. */
function asked<T>(command: (options: { endpoint: Line; reactor: VirtualReactor }) => Deferred<T>): {
  line: Line;
  clock: VirtualReactor;
  answer: Deferred<T>;
} {
  const line = new Line();
  const clock = new VirtualReactor();
  return { line, clock, answer: command({ endpoint: line, reactor: clock }) };
}

t.test('CLM-11: ping is true for PONG, and fails for all else', (t) => {
  for (const pieces of chunkings(Buffer.from('PONG\0'))) {
    const { line, clock, answer } = asked(ping);
    t.equal(line.sent, 'zPING\0');
    line.answers(...pieces);
    t.equal(successResultOf(answer), true);
    t.ok(line.transport.disconnecting);
    t.notOk(line.transport.aborting);
    t.same(clock.getDelayedCalls(), []);
  }
  for (const [reply, kind] of [
    ['PING', 'unexpected'],
    ['PONG\n', 'unexpected'],
    ['', 'unexpected'],
    ['UNKNOWN COMMAND', 'unknown-command'],
  ]) {
    const { line, answer } = asked(ping);
    line.answers(`${reply}\0`);
    t.match(failureResultOf(answer, BadReply).value, { command: 'PING', kind, reply });
  }
  const newline = asked(ping);
  newline.line.answers('PONG\n').closes();
  t.match(failureResultOf(newline.answer, NoReply).value, {
    message:
      'PING to clamd: clamd closed the connection when only "PONG\\n", which has no NUL at its end, had arrived',
  });
  const silent = asked(ping);
  silent.clock.advance(120);
  t.match(failureResultOf(silent.answer, ClamdTimedOut).value, {
    message: 'PING to clamd: not done after 120 seconds, while waiting for the reply',
  });
  t.end();
});

t.test('version is what clamd calls itself, and fails for all else', (t) => {
  for (const reply of ['ClamAV 1.4.6', 'ClamAV 1.4.6/27500/Sun Jan  4 08:26:01 2026']) {
    const { line, answer } = asked(version);
    t.equal(line.sent, 'zVERSION\0');
    line.answers(`${reply}\0`);
    t.equal(successResultOf(answer), reply);
  }
  for (const reply of ['', 'ClamAV ', 'PONG', 'UNKNOWN COMMAND']) {
    const { line, answer } = asked(version);
    line.answers(`${reply}\0`);
    t.match(failureResultOf(answer, BadReply).value, { command: 'VERSION', reply });
  }
  t.end();
});

// ── The fake ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the fake answers when these pieces arrive, and whether it then closes. */
function fake(
  pieces: (string | Buffer)[],
  options: FakeClamdOptions = {},
): { reply: string; closing: boolean; clock: Clock; transport: StringTransport } {
  const clock = new Clock();
  const transport = new StringTransport();
  const protocol = new FakeClamd({ reactor: clock, ...options }).buildProtocol(transport.getPeer());
  protocol.makeConnection(transport);
  for (const piece of pieces) {
    if (!transport.disconnecting) protocol.dataReceived(Buffer.from(piece as string));
  }
  if (transport.disconnecting) {
    if (clock.getDelayedCalls().length > 0) throw new Error('a timer is left');
    protocol.connectionLost(new Failure(new ConnectionDone()));
  }
  return {
    reply: transport.value().toString(),
    closing: transport.disconnecting,
    clock,
    transport,
  };
}

function instream(prefix: 'z' | 'n', ...chunks: (string | Buffer)[]): Buffer {
  const parts = [Buffer.from(prefix === 'z' ? 'zINSTREAM\0' : 'nINSTREAM\n')];
  for (const chunk of [...chunks.map((piece) => Buffer.from(piece as string)), Buffer.alloc(0)]) {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(chunk.length);
    parts.push(size, chunk);
  }
  return Buffer.concat(parts);
}

t.test('the fake answers each command as clamd does, however it was cut, and closes', (t) => {
  const bytes = eicar();
  t.equal(bytes.length, 68);
  const found = 'stream: Eicar-Test-Signature FOUND';
  const cases: [wire: Buffer, reply: string][] = [
    [Buffer.from('zPING\0'), 'PONG\0'],
    [Buffer.from('nPING\n'), 'PONG\n'],
    [Buffer.from('nPING\r\n'), 'PONG\n'],
    [Buffer.from('zVERSION\0'), 'ClamAV 0.0.0-fake\0'],
    [Buffer.from('zPING\0zVERSION\0'), 'PONG\0'],
    [Buffer.from('zping\0'), 'UNKNOWN COMMAND\0'],
    [Buffer.from('zPING\n\0'), 'UNKNOWN COMMAND\0'],
    [Buffer.from('z\0'), 'UNKNOWN COMMAND\0'],
    [Buffer.from('n\n'), 'UNKNOWN COMMAND\n'],
    [Buffer.from('zSHUTDOWN\0'), 'UNKNOWN COMMAND\0'],
    [instream('z'), 'stream: OK\0'],
    [instream('z', 'harmless', 'bytes'), 'stream: OK\0'],
    [instream('n', 'harmless'), 'stream: OK\n'],
    [instream('z', bytes), `${found}\0`],
    [instream('n', bytes), `${found}\n`],
    [instream('z', ...Array.from(bytes, (byte) => Buffer.of(byte))), `${found}\0`],
    [instream('z', bytes, '\n'), 'stream: OK\0'],
    [instream('z', 'x', bytes), 'stream: OK\0'],
    [instream('z', bytes.subarray(0, 67)), 'stream: OK\0'],
  ];
  for (const [wire, reply] of cases) {
    const differing = [...chunkings(wire)].filter((pieces) => {
      const answer = fake(pieces);
      return answer.reply !== reply || !answer.closing;
    });
    t.same(differing, [], `${JSON.stringify(wire.toString('latin1').slice(0, 20))}: ${reply}`);
  }
  t.end();
});

t.test('cut and closed anywhere, both sides make the same of their bytes', (t) => {
  const clock = new Clock();
  const factory = new FakeClamd({ reactor: clock });
  const address = new IPv4Address('TCP', '192.0.2.1', 1);
  const commands: [wire: Buffer, reply: string][] = [
    [Buffer.from('zPING\0'), '"PONG\\u0000"'],
    [Buffer.from('nVERSION\nzPING\0'), '"ClamAV 0.0.0-fake\\n"'],
    [instream('z', 'harm', 'less'), '"stream: OK\\u0000"'],
  ];
  for (const [wire, reply] of commands) {
    const { events } = checkFraming(() => factory.buildProtocol(address), wire);
    t.same(events.slice(-2), [`= wrote ${reply} in all`, '= closed the connection']);
  }
  t.same(clock.getDelayedCalls(), []);

  const outcome = ({ reply }: Conversation): unknown => {
    let result: unknown;
    reply.addBoth((given) => (result = given instanceof Failure ? given.value.message : given));
    return result;
  };
  const replies: [wire: string, outcome: RegExp][] = [
    ['PONG\0', /'PONG'/],
    ['PONG\0PONG\0', /'PONG'/],
    ['PON', /only "PON", which has no NUL/],
    ['INSTREAM size limit exceeded. ERROR\n', /size limit/],
  ];
  for (const [wire, expected] of replies) {
    const { events } = checkFraming(() => new Conversation('PING', () => {}), wire, {
      state: outcome,
    });
    t.match(events.at(-1), expected);
  }
  t.end();
});

t.test('without a prefix a command is a packet, as for clamd', (t) => {
  const cases: [packet: string, reply: string][] = [
    ['PING', 'PONG\n'],
    ['PING\n', 'PONG\n'],
    ['PING\r\n', 'PONG\n'],
    ['PING\0', 'PONG\n'],
    ['VERSION\nPING\n', 'ClamAV 0.0.0-fake\n'],
    ['INSTREAM\n', 'UNKNOWN COMMAND\n'],
    ['FOO', 'UNKNOWN COMMAND\n'],
    ['\n', 'UNKNOWN COMMAND\n'],
    [' PING', 'UNKNOWN COMMAND\n'],
    ['Z', 'UNKNOWN COMMAND\n'],
  ];
  for (const [packet, reply] of cases) t.match(fake([packet]), { reply, closing: true });
  t.equal(fake(['PI', 'NG']).reply, 'UNKNOWN COMMAND\n');
  t.match(fake(['']), { reply: '', closing: false });
  t.end();
});

t.test('the fake refuses a stream as soon as a chunk goes over its limit', (t) => {
  const options = { streamMaxLength: 10 };
  const refusal = 'INSTREAM size limit exceeded. ERROR\0';
  t.equal(fake([instream('z', 'x'.repeat(10))], options).reply, 'stream: OK\0');
  t.equal(fake([instream('z', 'x'.repeat(11))], options).reply, refusal);
  t.equal(fake([instream('z', 'x'.repeat(10), 'y')], options).reply, refusal);
  t.match(fake(['zINSTREAM\0\0\0\0\x0b'], options), { reply: refusal, closing: true });
  const tooMuch = Buffer.from('zINSTREAM\0\xff\xff\xff\xff', 'latin1');
  t.match(fake([tooMuch]), { reply: refusal, closing: true }, 'with the limit that clamd has');
  t.end();
});

t.test('the fake takes no command that is longer than clamd takes, and says nothing', (t) => {
  t.equal(fake([`z${'A'.repeat(4102)}\0`]).reply, 'UNKNOWN COMMAND\0');
  t.match(fake([`z${'A'.repeat(4103)}\0`]), { reply: '', closing: true });
  t.match(fake([`n${'A'.repeat(4104)}`]), { reply: '', closing: true });
  t.end();
});

t.test('the fake knows what it is told, and can be told to know nothing', (t) => {
  const signatures = new Map([
    ['A', Buffer.from('ab')],
    ['B', Buffer.from('abc')],
    ['Empty', Buffer.from('')],
  ]);
  t.equal(fake([instream('z', 'ab')], { signatures }).reply, 'stream: A FOUND\0');
  t.equal(fake([instream('z', 'a', 'bc')], { signatures }).reply, 'stream: B FOUND\0');
  t.equal(fake([instream('z')], { signatures }).reply, 'stream: Empty FOUND\0');
  t.equal(fake([instream('z', 'abcd')], { signatures }).reply, 'stream: OK\0');
  t.equal(fake([instream('z', eicar())], { signatures: new Map() }).reply, 'stream: OK\0');
  t.equal(fake(['zVERSION\0'], { version: 'ClamAV 9' }).reply, 'ClamAV 9\0');
  t.end();
});

t.test('the fake hangs up on who says nothing, or stops within the stream', (t) => {
  for (const said of [[], ['zPI']]) {
    const { clock, transport } = fake(said);
    clock.advance(29);
    t.notOk(transport.disconnecting);
    clock.advance(1);
    t.equal(transport.value().toString(), 'COMMAND READ TIMED OUT\n');
    t.ok(transport.disconnecting);
  }
  const { clock, transport } = fake(['zINSTREAM\0', '\0\0\0\x0aabc'], { readTimeout: 100 });
  clock.advance(99);
  t.notOk(transport.disconnecting);
  clock.advance(1);
  t.equal(transport.value().toString(), 'COMMAND READ TIMED OUT\n');
  t.ok(transport.disconnecting);
  t.end();
});

t.test('a fake that is left in the middle keeps no timer', (t) => {
  const clock = new Clock();
  const protocol = new FakeClamd({ reactor: clock }).buildProtocol(new StringTransport().getPeer());
  protocol.makeConnection(new StringTransport());
  t.equal(clock.getDelayedCalls().length, 1);
  protocol.connectionLost(new Failure(new ConnectionDone()));
  t.same(clock.getDelayedCalls(), []);
  t.end();
});

t.test('a fake with limits that cannot be is not made', (t) => {
  for (const options of [
    { streamMaxLength: NaN },
    { readTimeout: -1 },
    { commandReadTimeout: Infinity },
  ]) {
    t.throws(() => new FakeClamd(options), {
      name: 'RangeError',
      message: /must be a finite number/,
    });
  }
  t.end();
});

// ── Over TCP ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A fake that listens until the test ends. */
async function startFake(t: Test, options: FakeClamdOptions = {}): Promise<ScanOptions> {
  const reactor = new Reactor();
  const factory = new FakeClamd({ reactor, ...options });
  const port = reactor.listenTCP(0, factory, { interface: '127.0.0.1' });
  t.teardown(() => port.stopListening().asPromise());
  await port.ready;
  return { endpoint: `tcp:${port.getHost()}`, reactor };
}

/** A server that does with each connection what the test says. */
async function startServer(t: Test, serve: (socket: Socket) => void): Promise<ScanOptions> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { endpoint: `tcp:127.0.0.1:${port}`, reactor: new Reactor() };
}

t.test('over TCP: many scans at once, of streams of many sizes', async (t) => {
  const options = await startFake(t);
  t.equal(await ping(options), true);
  t.equal(await version(options), 'ClamAV 0.0.0-fake');
  const verdicts = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      scan(i % 10 === 0 ? eicar() : Buffer.alloc(i * 10_000), {
        ...options,
        chunkSize: 1 + i * 500,
      }),
    ),
  );
  for (const [i, { status }] of verdicts.entries()) {
    if (status !== (i % 10 === 0 ? 'infected' : 'clean')) t.fail(`${i} is ${status}`);
  }
  t.same((options.reactor as Reactor).getDelayedCalls(), []);
});

t.test('over TCP: a stream that is too long is given up, and the reason is known', async (t) => {
  const options = await startFake(t, { streamMaxLength: 1_000_000 });
  let taken = 0;
  let closed = false;
  function* source() {
    try {
      for (; taken < 64 * 16; taken++) yield Buffer.alloc(65_536);
    } finally {
      closed = true;
    }
  }
  const verdict = await scan(source(), options);
  t.match(verdict, { status: 'error', kind: 'size-limit' });
  t.ok('bytesSent' in verdict && verdict.bytesSent > 1_000_000 && verdict.bytesSent < 64 * 2 ** 20);
  t.ok(closed);
});

t.test('over TCP: a reply wins over the write that fails behind it', async (t) => {
  // The server is a thread of its own, so that it can answer and go away between two writes of the client.
  const gone = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(
    `const { workerData: gone, parentPort } = require('node:worker_threads');
     const server = require('node:net').createServer((socket) => {
       socket.on('error', () => {});
       socket.once('data', () => {
         socket.write('INSTREAM size limit exceeded. ERROR\\0', () => {
           socket.resetAndDestroy();
           server.close();
         });
       });
       socket.on('close', () => {
         Atomics.store(gone, 0, 1);
         Atomics.notify(gone, 0);
       });
     });
     server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
    { eval: true, workerData: gone },
  );
  const [port] = (await once(worker, 'message')) as [number];
  const exited = once(worker, 'exit');
  function* source() {
    yield Buffer.from('first');
    Atomics.wait(gone, 0, 0, 10_000);
    yield Buffer.from('second');
    yield Buffer.from('third');
  }
  const verdict = await scan(source(), {
    endpoint: `tcp:127.0.0.1:${port}`,
    reactor: new Reactor(),
  });
  t.match(verdict, { status: 'error', kind: 'size-limit', bytesSent: 11 });
  await exited;
});

t.test('over TCP: a connection that is reset, or closed at once, is a failure', async (t) => {
  const ways: ((socket: Socket) => void)[] = [
    (socket) => socket.destroy(),
    (socket) => socket.resetAndDestroy(),
    (socket) => socket.once('data', () => socket.resetAndDestroy()),
    (socket) => socket.once('data', () => socket.end('stream: O')),
    (socket) => socket.end('stream: OK').resume(),
  ];
  for (const serve of ways) {
    const options = await startServer(t, serve);
    const error: unknown = await scan([Buffer.alloc(10), Buffer.alloc(5_000_000)], options)
      .asPromise()
      .catch((thrown: unknown) => thrown);
    // Where the reset comes close behind the connection, that is said not to have come about.
    t.ok(error instanceof NoReply || error instanceof ConnectError, String(error));
    t.same((options.reactor as Reactor).getDelayedCalls(), []);
  }
});

t.test('over TCP: from a server that does not read, the source is not read either', async (t) => {
  const options = await startServer(t, (socket) => socket.pause());
  let taken = 0;
  let closed = false;
  function* source() {
    try {
      for (; ; taken++) yield Buffer.alloc(65_536);
    } finally {
      closed = true;
    }
  }
  const verdict = scan(source(), options);
  let idle = 0;
  for (let before = -1; idle < 100; before = taken) {
    await turn();
    idle = taken === before && taken > 0 ? idle + 1 : 0;
  }
  t.comment(`${taken} pieces were taken`);
  t.ok(taken < 1000);
  verdict.cancel();
  t.match(failureResultOf(verdict, ClamdCancelled).value, { phase: 'sending' });
  t.ok(closed);
});

t.test('over TCP: a server that never answers is given up in time', async (t) => {
  const options = await startServer(t, (socket) => socket.resume());
  const error: unknown = await scan(Buffer.from('bytes'), { ...options, timeout: 0.05 })
    .asPromise()
    .catch((thrown: unknown) => thrown);
  t.type(error, ClamdTimedOut);
});

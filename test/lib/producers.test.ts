/** Sending files, and what stands between producers and consumers. */
import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import {
  BasicProducerConsumerProxy,
  CancelledError,
  Connection,
  ConsumerStopped,
  ConsumerToProtocolAdapter,
  FileSender,
  type IConsumer,
  type IPullProducer,
  type IPushProducer,
  ProducerConsumerProxy,
  Protocol,
  ProtocolToConsumerAdapter,
  type ReadableFile,
  Reactor,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
} from 'plait';
import { FileSender as FileSenderOfBasic } from 'plait/protocols/basic';
import { failureResultOf, flushLoggedErrors, StringTransport } from 'plait/testing';
import t, { type Test } from '../fixture.ts';

type Producer = IPushProducer | IPullProducer;

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 200_000) throw new Error(`it never came to ${condition.toString()}`);
    await turn();
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

/** The path of a new file. */
function file(t: Test, content: string | Buffer): string {
  const directory = mkdtempSync(join(tmpdir(), 'plait-files-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'file');
  writeFileSync(path, content);
  return path;
}

/** A consumer that asks for the next piece when it is told to. */
class Taker extends StringTransport {
  readonly pieces: string[] = [];
  override write(data: Uint8Array | string): void {
    super.write(data);
    this.pieces.push(Buffer.from(data as Uint8Array).toString());
  }
  override registerProducer(producer: Producer, streaming: boolean): void {
    super.registerProducer(producer, streaming);
    if (!streaming) producer.resumeProducing();
  }
  /** Waits for so many pieces, asking for each but the first. */
  async take(count: number): Promise<string[]> {
    for (let i = this.pieces.length; i < count; i++) {
      await until(() => this.pieces.length > i);
      this.producer?.resumeProducing();
    }
    return this.pieces;
  }
  /** Asks until the producer is done. */
  async takeAll(): Promise<string> {
    while (this.producer !== undefined) {
      this.producer.resumeProducing();
      await turn();
    }
    return this.value().toString();
  }
}

// ── FileSender ───────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a file is sent over a connection as it is, and the last byte is told', async (t) => {
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
  const path = file(t, content);
  const reactor = new Reactor();
  let last: Buffer | undefined;
  const sender = new FileSender();
  class Serve extends Protocol {
    override connectionMade(): void {
      sender.beginFileTransfer(path, this.transport).addCallback((byte) => {
        last = byte;
      });
      // It waits for the producer.
      this.transport.loseConnection();
    }
  }
  const server = new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' });
  await using port = await server.listen({
    buildProtocol: () => new Serve(),
    doStart() {},
    doStop() {},
  });
  const { port: number } = port.getHost() as unknown as { port: number };
  await using connection = await Connection.connect(
    new TCP4ClientEndpoint(reactor, '127.0.0.1', number),
  );
  const pieces: Buffer[] = [];
  for await (const piece of connection) pieces.push(piece);
  t.ok(Buffer.concat(pieces).equals(content));
  t.same(last, content.subarray(-1));
  t.equal(FileSenderOfBasic, FileSender);
});

t.test('each source is sent piece by piece, when a piece is asked for', async (t) => {
  const path = file(t, 'abcdefg');
  const handle = await open(path);
  t.teardown(() => handle.close());
  const sources = [
    path,
    pathToFileURL(path),
    handle,
    Readable.from([Buffer.from('abc'), 'def', Buffer.from('g')]),
    ['abc', '', 'def', new Uint8Array([103])],
    Readable.toWeb(Readable.from([Buffer.from('abc'), Buffer.from('def'), Buffer.from('g')])),
  ];
  for (const source of sources) {
    const taker = new Taker();
    const sent = new FileSender({ chunkSize: 3 }).beginFileTransfer(
      source as AsyncIterable<string>,
      taker,
    );
    await until(() => taker.pieces.length === 1);
    await settle();
    t.same(taker.pieces, ['abc']);
    t.equal(await taker.takeAll(), 'abcdefg');
    t.equal(String(await sent), 'g');
  }
  const { bytesRead } = await handle.read(Buffer.alloc(1));
  t.equal(bytesRead, 0, 'the open file is still open, and read to its end');
});

t.test('a transform changes what is sent', async (t) => {
  const taker = new Taker();
  const sender = new FileSender();
  const sent = sender.beginFileTransfer(['tea', 'nothing', 'milk'], taker, (piece) =>
    piece.equals(Buffer.from('nothing')) ? '' : piece.toString().toUpperCase(),
  );
  t.throws(() => sender.beginFileTransfer([], taker), {
    message: 'cannot send a file: another one is being sent',
  });
  t.equal(await taker.takeAll(), 'TEAMILK');
  t.equal(String(await sent), 'K');

  const again = sender.beginFileTransfer([], taker);
  t.equal((await again).length, 0, 'nothing was sent');
});

t.test(
  'a file that grows or shrinks while it is sent is sent as it is when it is read',
  async (t) => {
    const growing = file(t, 'abcd');
    const taker = new Taker();
    const sent = new FileSender({ chunkSize: 2 }).beginFileTransfer(growing, taker);
    await taker.take(1);
    appendFileSync(growing, 'ef');
    t.equal(await taker.takeAll(), 'abcdef');
    t.equal(String(await sent), 'f');

    const shrinking = file(t, 'abcdefgh');
    const other = new Taker();
    const less = new FileSender({ chunkSize: 2 }).beginFileTransfer(shrinking, other);
    await until(() => other.pieces.length === 1);
    truncateSync(shrinking, 3);
    t.equal(await other.takeAll(), 'abc');
    t.equal(String(await less), 'c');
  },
);

/** An open file that fails at the second piece, or waits for a word. */
function badFile(second: () => Promise<{ bytesRead: number }>): ReadableFile {
  let count = 0;
  return {
    read: async (buffer) => {
      if (++count > 1) return second();
      buffer.set(Buffer.from('abc'));
      return { bytesRead: 3 };
    },
  };
}

t.test('what reading fails with is told, and the consumer is free', async (t) => {
  const sender = new FileSender();
  const missing = new Taker();
  t.match(
    await sender.beginFileTransfer('/nowhere/at all', missing).asPromise().catch(String),
    /ENOENT/,
  );
  t.equal(missing.producer, undefined);

  const eio = Object.assign(new Error('EIO'), { code: 'EIO' });
  const broken = new Taker();
  const sent = sender.beginFileTransfer(
    badFile(() => Promise.reject(eio)),
    broken,
  );
  await broken.take(1);
  t.equal(await sent.asPromise().catch((error: unknown) => error), eio);
  t.equal(broken.producer, undefined);
  t.equal(broken.disconnecting, false);
});

t.test('what cannot be sent is a TypeError', async (t) => {
  const sender = new FileSender();
  const taker = new Taker();
  t.throws(() => sender.beginFileTransfer(7 as never, taker), TypeError);
  t.throws(() => sender.beginFileTransfer({} as never, taker), TypeError);
  for (const [pieces, transform] of [
    [['tea', 7], undefined],
    [['tea'], () => 7],
  ] as const) {
    const sent = sender.beginFileTransfer(pieces as never, taker, transform as never);
    const error = sent.asPromise().catch((reason: unknown) => reason);
    await taker.takeAll();
    t.ok((await error) instanceof TypeError);
  }
  for (const chunkSize of [0, -1, 1.5, NaN])
    t.throws(() => new FileSender({ chunkSize }), RangeError);
});

t.test(
  'a consumer that is gone, and cancelling, end it, and what was opened is closed',
  async (t) => {
    const stops = [
      [(taker: Taker) => taker.producer?.stopProducing(), ConsumerStopped],
      [(_taker: Taker, cancel: () => void) => cancel(), CancelledError],
    ] as const;
    for (const [stop, error] of stops) {
      // Between two pieces.
      const stream = Readable.from(['abc', 'def']);
      const idle = new Taker();
      const sent = new FileSender().beginFileTransfer(stream, idle);
      await until(() => idle.pieces.length === 1);
      stop(idle, () => sent.cancel());
      t.ok(failureResultOf(sent).value instanceof error);
      await until(() => stream.destroyed);

      // While a piece is being read.
      let answer: ((read: { bytesRead: number }) => void) | undefined;
      const busy = new Taker();
      const file = badFile(() => new Promise((resolve) => (answer = resolve)));
      const sender = new FileSender();
      const cut = sender.beginFileTransfer(file, busy);
      await busy.take(1);
      await until(() => answer !== undefined);
      stop(busy, () => cut.cancel());
      t.ok(failureResultOf(cut).value instanceof error);
      answer?.({ bytesRead: 3 });
      await settle();
      t.same(busy.pieces, ['abc']);

      // While one fails to be read.
      let refuse: ((error: Error) => void) | undefined;
      const failing = new Taker();
      const failed = sender.beginFileTransfer(
        badFile(() => new Promise((_resolve, reject) => (refuse = reject))),
        failing,
      );
      await failing.take(1);
      await until(() => refuse !== undefined);
      stop(failing, () => failed.cancel());
      t.ok(failureResultOf(failed).value instanceof error);
      refuse?.(new Error('EIO'));
      await settle();
    }
  },
);

t.test('a file is closed when the consumer cannot take it', async (t) => {
  const taker = new Taker();
  taker.registerProducer(new FileSender(), true);
  const sender = new FileSender();
  let closed = false;
  const source = {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false as const, value: 'tea' }),
      return: () => {
        closed = true;
        throw new RangeError('cannot close');
      },
    }),
  };
  t.throws(() => sender.beginFileTransfer(source as Iterable<string>, taker));
  await settle();
  t.equal(closed, true);
  t.equal(flushLoggedErrors(RangeError).length, 1, 'what closing fails with is logged');

  const throwing: IConsumer = {
    registerProducer: (producer: Producer) => {
      void producer.resumeProducing();
    },
    unregisterProducer() {},
    write: () => {
      throw new RangeError('full');
    },
  };
  const sent = sender.beginFileTransfer(['tea'], throwing);
  t.ok((await sent.asPromise().catch((error: unknown) => error)) instanceof RangeError);
});

// ── Proxies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A push producer that notes what it is told. */
class Push implements IPushProducer {
  readonly told: string[] = [];
  pauseProducing(): void {
    this.told.push('pause');
  }
  resumeProducing(): void {
    this.told.push('resume');
  }
  stopProducing(): void {
    this.told.push('stop');
  }
}

/** A pull producer of so many pieces, which it gives at once. */
class Pull implements IPullProducer {
  given = 0;
  stopped = false;
  readonly #consumer: IConsumer;
  readonly #count: number;
  constructor(consumer: IConsumer, count: number) {
    this.#consumer = consumer;
    this.#count = count;
  }
  resumeProducing(): void {
    if (this.given < this.#count) this.#consumer.write(`${++this.given} `);
    else this.#consumer.unregisterProducer();
  }
  stopProducing(): void {
    this.stopped = true;
  }
}

for (const Proxy of [BasicProducerConsumerProxy, ProducerConsumerProxy]) {
  t.test(`${Proxy.name}: what is written passes, and waits while it is paused`, async (t) => {
    const consumer = new StringTransport();
    const proxy = new Proxy(consumer);
    t.equal(consumer.streaming, true);
    proxy.write('a');
    proxy.pauseProducing();
    proxy.write('b');
    proxy.write(Buffer.from('c'));
    t.equal(consumer.value().toString(), 'a');
    proxy.resumeProducing();
    t.equal(consumer.value().toString(), 'abc');
    proxy.resumeProducing();
    proxy.write('d');
    t.equal(consumer.value().toString(), 'abcd');
  });

  t.test(`${Proxy.name}: the end of the producer is the end for the consumer`, async (t) => {
    const consumer = new StringTransport();
    const proxy = new Proxy(consumer);
    proxy.unregisterProducer();
    t.equal(consumer.producer, proxy, 'there was no producer');
    const push = new Push();
    proxy.registerProducer(push, true);
    t.throws(() => proxy.registerProducer(new Push(), true));
    proxy.unregisterProducer();
    t.equal(consumer.producer, undefined);
    t.same(push.told, []);
  });

  t.test(`${Proxy.name}: when the consumer is gone, the producer stops`, async (t) => {
    const consumer = new StringTransport();
    const proxy = new Proxy(consumer);
    const push = new Push();
    proxy.registerProducer(push, true);
    proxy.pauseProducing();
    proxy.write('a');
    proxy.stopProducing();
    proxy.stopProducing();
    proxy.write('b');
    proxy.resumeProducing();
    t.equal(push.told.at(-1), 'stop');
    t.equal(consumer.value().length, 0);
    const late = new Push();
    proxy.registerProducer(late, true);
    t.same(late.told, ['stop']);
  });

  t.test(`${Proxy.name}: a pull producer feeds a consumer that is pushed to`, async (t) => {
    const consumer = new StringTransport();
    const proxy = new Proxy(consumer);
    const pull = new Pull(proxy, 100_000);
    proxy.registerProducer(pull, false);
    t.equal(pull.given, 100_000, 'without growing the stack');
    t.equal(consumer.value().toString().split(' ').length, 100_001);
    t.equal(consumer.producer, undefined);
  });

  t.test(`${Proxy.name}: a consumer that pulls is given a piece each time it asks`, async (t) => {
    const consumer = new Taker();
    const proxy = new Proxy(consumer, false);
    t.equal(consumer.streaming, false);
    const pull = new Pull(proxy, 3);
    proxy.registerProducer(pull, false);
    t.equal(consumer.pieces.length, 1);
    t.equal(await consumer.takeAll(), '1 2 3 ');
  });

  t.test(`${Proxy.name}: a push producer feeds a consumer that pulls`, async (t) => {
    const consumer = new Taker();
    const proxy = new Proxy(consumer, false);
    proxy.registerProducer(new Push(), true);
    for (const piece of ['a', 'b', 'c']) proxy.write(piece);
    t.same(consumer.pieces, ['a']);
    consumer.producer?.resumeProducing();
    t.same(consumer.pieces, ['a', 'bc']);
    consumer.producer?.resumeProducing();
    proxy.write('d');
    t.same(consumer.pieces, ['a', 'bc', 'd']);
  });
}

t.test('BasicProducerConsumerProxy passes on what the consumer asks', async (t) => {
  const proxy = new BasicProducerConsumerProxy(new StringTransport());
  const push = new Push();
  proxy.pauseProducing();
  proxy.registerProducer(push, true);
  t.same(push.told, ['pause'], 'it is paused when it comes');
  proxy.resumeProducing();
  proxy.pauseProducing();
  proxy.write('a');
  proxy.resumeProducing();
  t.same(push.told, ['pause', 'resume', 'pause', 'resume']);
  proxy.pauseProducing();
  const { consumer } = proxy as unknown as { consumer: StringTransport };
  proxy.write('b');
  proxy.unregisterProducer();
  t.equal(consumer.value().toString(), 'ab', 'nobody will ask for it any more');
});

t.test('BasicProducerConsumerProxy: what passes can be changed', async (t) => {
  class Shouting extends BasicProducerConsumerProxy {
    override write(data: Uint8Array | string) {
      super.write(data.toString().toUpperCase());
    }
  }
  const taker = new Taker();
  const sent = new FileSender().beginFileTransfer(['tea', ' and ', 'milk'], new Shouting(taker));
  t.equal(String(await sent), 'k', 'the sender does not know');
  t.equal(taker.value().toString(), 'TEA AND MILK');
});

t.test(
  'ProducerConsumerProxy pauses its producer when the buffer is full, not before',
  async (t) => {
    const consumer = new StringTransport();
    const proxy = new ProducerConsumerProxy(consumer);
    proxy.bufferSize = 10;
    const push = new Push();
    proxy.registerProducer(push, true);
    proxy.pauseProducing();
    proxy.write('12345');
    t.same(push.told, []);
    proxy.write('67890');
    proxy.write('more');
    t.same(push.told, ['pause']);
    proxy.resumeProducing();
    t.same(push.told, ['pause', 'resume']);
    t.equal(consumer.value().toString(), '1234567890more');
    proxy.resumeProducing();
    t.same(push.told, ['pause', 'resume']);
  },
);

t.test('ProducerConsumerProxy asks a pull producer ahead, up to its buffer', async (t) => {
  const consumer = new StringTransport();
  const proxy = new ProducerConsumerProxy(consumer);
  proxy.bufferSize = 10;
  proxy.pauseProducing();
  const pull = new Pull(proxy, 8);
  proxy.registerProducer(pull, false);
  t.equal(pull.given, 5);
  proxy.pauseProducing();
  proxy.resumeProducing();
  t.equal(pull.given, 8);
  t.equal(consumer.value().toString(), '1 2 3 4 5 6 7 8 ');
});

t.test('ProducerConsumerProxy gives what waits before it lets go of the consumer', async (t) => {
  const consumer = new StringTransport();
  const proxy = new ProducerConsumerProxy(consumer);
  proxy.registerProducer(new Push(), true);
  proxy.pauseProducing();
  proxy.write('last');
  proxy.unregisterProducer();
  t.equal(consumer.producer, proxy);
  proxy.resumeProducing();
  t.equal(consumer.value().toString(), 'last');
  t.equal(consumer.producer, undefined);
});

// ── Adapters ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a protocol is a consumer that takes all', async (t) => {
  const received: string[] = [];
  const adapter = new ProtocolToConsumerAdapter({
    dataReceived: (data) => void received.push(data.toString()),
  });
  adapter.registerProducer(new Push(), true);
  adapter.write('a');
  adapter.unregisterProducer();
  const pull = new Pull(adapter, 10_000);
  adapter.registerProducer(pull, false);
  t.equal(pull.given, 10_000);
  await new FileSender().beginFileTransfer(['b', 'c'], adapter);
  t.same([received[0], ...received.slice(-2)], ['a', 'b', 'c']);
});

t.test('a consumer is a protocol whose connection is read as fast as it takes it', async (t) => {
  const consumer = new StringTransport();
  const adapter = new ConsumerToProtocolAdapter(consumer);
  const transport = new StringTransport();
  adapter.makeConnection(transport);
  adapter.dataReceived(Buffer.from('tea'));
  t.equal(consumer.value().toString(), 'tea');
  (consumer.producer as IPushProducer).pauseProducing();
  t.equal(transport.producerState, 'paused');
  adapter.connectionLost();
  t.equal(consumer.producer, undefined);
});

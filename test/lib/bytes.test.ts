/** Bytes and names: what a kept piece keeps in memory, ASCII's letters, and buffers without their memory. */
import { PassThrough, Readable } from 'node:stream';
import {
  asciiLowerCase,
  asciiUpperCase,
  ClientFactory,
  DatagramProtocol,
  Factory,
  FileSender,
  getProcessOutput,
  getProcessOutputAndValue,
  isDetached,
  Protocol,
  Reactor,
  ReceiveBuffer,
  unpinned,
} from 'plait';
import { LineOnlyReceiver, LineReceiver } from 'plait/protocols/basic';
import {
  Exchange,
  Headers,
  makeRequest,
  RequestGenerationFailed,
  RequestNotSent,
  RequestTransmissionFailed,
} from 'plait/protocols/http';
import { failureResultOf, StringTransport, successResultOf } from 'plait/testing';
import t from '../fixture.ts';

// ── What is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────

const LINE = 'ten bytes!';
/** A chunk of 60 KiB, with a memory of its own, as a socket gives it. */
function chunkOfLines(delimiter: string): Buffer {
  return Buffer.alloc(5000 * (LINE.length + delimiter.length), LINE + delimiter);
}

/** How much memory a view keeps. */
function held(piece: Uint8Array): number {
  return piece.buffer.byteLength;
}

t.test('FND-18: a small piece keeps no more than itself, a large one is not copied', (t) => {
  const chunk = Buffer.alloc(60_000);
  for (const size of [0, 1, 10, 64, 65, 200, 4096, 29_999]) {
    const received = new ReceiveBuffer();
    received.feed(chunk);
    for (const piece of [received.take(size), received.takeSome(size)])
      t.ok(held(piece ?? Buffer.alloc(0)) <= size);
  }
  for (const size of [30_000, 59_999, 60_000]) {
    const received = new ReceiveBuffer();
    received.feed(chunk);
    t.equal(received.take(size)?.buffer, chunk.buffer);
  }
  // What was put together of several chunks, too.
  const received = new ReceiveBuffer();
  received.feed(chunk);
  received.feed(chunk);
  t.equal(held(received.take(10) ?? chunk), 10);
  t.equal(held(received.takeUntil(Buffer.of(0), 0) ?? chunk), 0);
  t.equal(received.take(100_000)?.length, 100_000);
  t.equal(held(received.takeAll()), 19_989);
  t.equal(held(unpinned(chunk.subarray(7, 17))), 10);
  t.equal(unpinned(chunk.subarray(1)).buffer, chunk.buffer);
  t.equal(held(unpinned(Buffer.from('from the pool'))), 13);
  t.end();
});

t.test('FND-18: lines and raw bytes that a program keeps hold no chunk', (t) => {
  const kept: Buffer[] = [];
  class Only extends LineOnlyReceiver {
    override lineReceived(line: Buffer) {
      kept.push(line);
    }
  }
  class Both extends LineReceiver {
    override lineReceived(line: Buffer) {
      kept.push(line);
      if (kept.length % 1000 === 0) this.setRawMode();
    }
    override rawDataReceived(data: Buffer) {
      kept.push(unpinned(data.subarray(0, 10)));
      this.setLineMode(data.subarray(12));
    }
  }
  for (const protocol of [new Only(), new Both()]) {
    protocol.makeConnection(new StringTransport());
    for (let i = 0; i < 4; i++) protocol.dataReceived(chunkOfLines('\r\n'));
  }
  t.equal(kept.length, 40_000);
  t.equal(
    kept.every((line) => line.toString('latin1') === LINE && held(line) <= 200),
    true,
  );
  t.end();
});

t.test('FND-18: lines hold no chunk over a socket, however they arrive', async (t) => {
  const kept: Buffer[] = [];
  const reactor = new Reactor();
  let done = () => {};
  const over = new Promise<void>((resolve) => (done = resolve));
  class Keep extends LineOnlyReceiver {
    override lineReceived(line: Buffer) {
      kept.push(line);
    }
    override connectionLost() {
      done();
    }
  }
  class Send extends Protocol {
    override connectionMade() {
      this.transport.write(chunkOfLines('\r\n'));
      this.transport.loseConnection();
    }
  }
  const port = reactor.listenTCP(0, Factory.forProtocol(Keep), { interface: '127.0.0.1' });
  await port.ready;
  const where = port.getHost();
  if (!('port' in where)) throw new Error('it has no port');
  reactor.connectTCP('127.0.0.1', where.port, ClientFactory.forProtocol(Send));
  await over;
  await port.stopListening();
  t.equal(kept.length, 5000);
  t.ok(kept.every((line) => held(line) <= 200));
});

t.test('FND-18: what a program writes holds no pool', async (t) => {
  const reactor = new Reactor();
  const args = ['-c', 'printf "ten "; printf "bytes!"; printf x >&2'];
  const { out, err } = await getProcessOutputAndValue('/bin/sh', { args, reactor });
  t.equal(out.toString(), LINE);
  t.ok(held(out) <= 200 && held(err) <= 200);
  t.ok(held(await getProcessOutput('/bin/echo', { args: [LINE], reactor })) <= 200);
});

t.test('FND-18: a small body holds no block, and header values no chunk', (t) => {
  const head = `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(100)}\r\nContent-Length: 10\r\n\r\n`;
  for (const size of [1, 5, 10, 1000]) {
    const exchange = new Exchange(makeRequest('http://a/'));
    exchange.makeConnection(new StringTransport());
    const wire = Buffer.from(head + LINE);
    for (let at = 0; at < wire.length; at += size) {
      const chunk = Buffer.alloc(60_000);
      exchange.dataReceived(chunk.subarray(0, wire.copy(chunk, 0, at, at + size)));
    }
    const { body } = successResultOf(exchange.response);
    t.equal(body.toString(), LINE);
    t.ok(held(body) <= 200, `${held(body)} bytes`);
  }
  t.end();
});

// ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Characters that become letters of ASCII where case is folded as Unicode does it. */
const KELVIN = '\u212a';
const LONG_S = '\u017f';

t.test('FND-19: names fold the letters of ASCII, and no others', (t) => {
  t.equal(asciiLowerCase('ABC-xyz'), 'abc-xyz');
  t.equal(asciiLowerCase(`AB${KELVIN}\u0130\u00c4Z`), `ab${KELVIN}\u0130\u00c4z`);
  t.equal(asciiUpperCase('abc-XYZ'), 'ABC-XYZ');
  t.equal(asciiUpperCase(`ab${LONG_S}\u0131\u00dfz`), `AB${LONG_S}\u0131\u00dfZ`);

  const headers = new Headers([['Cookie', 'a=1']]);
  const odd = `Coo${KELVIN}ie`;
  t.equal(headers.get(odd), undefined);
  t.equal(headers.hasHeader(odd), false);
  t.same(headers.getRawHeaders(odd), []);
  headers.removeHeader(odd);
  headers.addRawHeader(odd, 'b=2');
  t.equal(headers.get('COOKIE'), 'a=1');
  headers.removeHeader('cookie');
  t.same([...headers], [[odd, 'b=2']]);

  for (const method of [`po${LONG_S}t`, `PO${LONG_S}T`, `option${LONG_S}`])
    t.throws(() => makeRequest('http://a/', { method }), RequestGenerationFailed);
  for (const name of [odd, `Ho${LONG_S}t`, `tran${LONG_S}fer-encoding`])
    t.throws(() => makeRequest('http://a/', { headers: { [name]: 'x' } }), RequestGenerationFailed);
  t.equal(makeRequest('http://a/', { method: 'post' }).method, 'POST');
  t.end();
});

// ── Buffers without their memory ─────────────────────────────────────────────────────────────────────────────────────

function detached(): Buffer {
  const bytes = Buffer.from(new ArrayBuffer(1000));
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

t.test('FND-80: a buffer that was transferred is not taken for an empty one', async (t) => {
  t.equal(isDetached(detached()), true);
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(1), new Uint8Array(0)])
    t.equal(isDetached(bytes), false);

  const transport = new StringTransport();
  t.throws(() => transport.write(detached()), {
    message: /^cannot write a buffer that was transferred$/,
  });
  t.throws(() => transport.writeSequence(['a', detached()]), TypeError);
  t.equal(transport.value().length, 0);

  const sender = new FileSender();
  const sent = sender.beginFileTransfer([Buffer.from('x'), detached()], transport);
  while (transport.producer !== undefined) {
    transport.producer.resumeProducing();
    await new Promise((resolve) => setImmediate(resolve));
  }
  failureResultOf(sent, TypeError);

  t.throws(() => makeRequest('http://a/', { method: 'PUT', body: detached() }), {
    message: /the body is a buffer that was transferred/,
  });
});

t.test(
  'FND-80: transports, datagrams and files refuse a buffer that was transferred',
  async (t) => {
    const reactor = new Reactor();
    const transport = reactor.adoptDuplex(new PassThrough(), new Protocol());
    t.throws(() => transport.write(detached()), TypeError);
    transport.write(Buffer.alloc(0));
    transport.abortConnection();

    const port = reactor.listenUDP(0, new DatagramProtocol(), { interface: '127.0.0.1' });
    await port.ready;
    t.throws(() => port.write(detached(), { host: '127.0.0.1', port: 9 }), TypeError);
    await port.stopListening();

    const sender = new FileSender();
    const ended = Readable.from([Buffer.of(1)]);
    await ended.toArray();
    const destroyed = new Readable();
    destroyed.destroy();
    for (const stream of [ended, destroyed]) {
      const consumer = new StringTransport();
      t.throws(() => sender.beginFileTransfer(stream, consumer), {
        message: /the stream has come to its end, or was destroyed/,
      });
      t.equal(consumer.producer, undefined);
    }
  },
);

t.test('FND-80: a body that changes its length is not sent under the old one', (t) => {
  const exchangeOf = (body: Buffer) =>
    new Exchange(makeRequest('http://a/', { method: 'PUT', body }));
  const take = (body: Buffer) =>
    structuredClone(body.buffer, { transfer: [body.buffer as ArrayBuffer] });

  const before = Buffer.from(new ArrayBuffer(1000));
  const unsent = exchangeOf(before);
  take(before);
  const transport = new StringTransport();
  unsent.makeConnection(transport);
  t.match(
    failureResultOf(unsent.response, RequestNotSent).value.message,
    /had 1000 bytes, and now/,
  );
  t.equal(transport.value().length, 0);
  t.ok(transport.aborting);

  const during = Buffer.from(new ArrayBuffer(1_000_000));
  const halfSent = exchangeOf(during);
  const wire = new StringTransport();
  halfSent.makeConnection(wire);
  wire.producer?.resumeProducing();
  take(during);
  wire.producer?.resumeProducing();
  failureResultOf(halfSent.response, RequestTransmissionFailed);
  t.ok(wire.aborting);
  wire.producer?.resumeProducing();
  t.end();
});

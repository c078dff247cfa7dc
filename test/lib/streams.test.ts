/** Connections as streams and as something to await, and protocols over streams. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { Duplex, PassThrough, Readable, Transform, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  connectDuplex,
  Connection,
  ConnectionAborted,
  ConnectionDone,
  ConnectionLost,
  connectWebStreams,
  type Deferred,
  DuplexProtocol,
  duplexFactory,
  type DuplexOptions,
  Failure,
  Factory,
  IncompleteReadError,
  inlineCallbacks,
  IPv4Address,
  type IProtocolFactory,
  type IPushProducer,
  LimitExceeded,
  PipeAddress,
  Protocol,
  Reactor,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  type TransportDuplex,
  type WebStreams,
  webStreamsFactory,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import { failureResultOf, flushLoggedErrors, StringTransport } from 'plait/testing';
import t, { type Test } from '../fixture.ts';

const KIB = 1024;
const MIB = 2 ** 20;

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 200_000) throw new Error(`it never came to ${condition.toString()}`);
    await turn();
  }
}

/** Enough for whatever is under way on this machine. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn();
}

/** A server of `factory`, and how to reach it. */
async function serve(t: Test, factory: IProtocolFactory) {
  const reactor = new Reactor();
  const port = await new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' }).listen(factory);
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError('not a TCP port');
  const peers: Socket[] = [];
  t.teardown(async () => {
    for (const peer of peers) peer.destroy();
    await port.stopListening();
  });
  return {
    reactor,
    address,
    endpoint: new TCP4ClientEndpoint(reactor, '127.0.0.1', address.port),
    /** A socket of Node's that is connected, and reads nothing yet. */
    call: async (): Promise<Socket> => {
      const socket = new Socket({ allowHalfOpen: true });
      peers.push(socket);
      socket.on('error', () => {});
      socket.connect(address.port, '127.0.0.1');
      await until(() => socket.readyState === 'open' || socket.closed);
      return socket;
    },
  };
}

/** A Duplex of plait's, and the socket of Node's at its other end. */
async function joined(t: Test, options?: DuplexOptions) {
  let accepted: TransportDuplex | undefined;
  const { call } = await serve(
    t,
    duplexFactory((duplex) => void (accepted = duplex), options),
  );
  const peer = await call();
  await until(() => accepted !== undefined);
  return { duplex: accepted as TransportDuplex, peer };
}

/** A Connection, and the socket of Node's at its other end. */
async function connected(t: Test) {
  let accepted: Connection | undefined;
  const { call } = await serve(
    t,
    Connection.factory((connection) => {
      accepted = connection;
      return connection.closed;
    }),
  );
  const peer = await call();
  await until(() => accepted !== undefined);
  return { connection: accepted as Connection, peer };
}

async function webJoined(t: Test) {
  let accepted: WebStreams | undefined;
  const { call } = await serve(
    t,
    webStreamsFactory((streams) => void (accepted = streams)),
  );
  const peer = await call();
  await until(() => accepted !== undefined);
  return { ...(accepted as WebStreams), peer };
}

/** What a promise rejects with. */
async function rejection(promise: PromiseLike<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not reject');
}

/** Pieces of random bytes, with their digest when all are made. */
function randomPieces(total: number, size: number) {
  const hash = createHash('sha256');
  let made = 0;
  function* pieces() {
    while (made < total) {
      const piece = randomBytes(Math.min(size, total - made));
      made += piece.length;
      hash.update(piece);
      yield piece;
    }
  }
  return { pieces: pieces(), digest: () => hash.digest('hex'), made: () => made };
}

async function digestOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of source) hash.update(piece);
  return hash.digest('hex');
}

async function textOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  // Otherwise the end of what is read would be the end of the socket.
  const all = source instanceof Readable ? source.iterator({ destroyOnReturn: false }) : source;
  for await (const piece of all as AsyncIterable<Uint8Array>) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

/** What a socket of Node's was closed with. */
async function errorOf(peer: Socket): Promise<Error | null> {
  peer.resume();
  await until(() => peer.closed);
  return peer.errored;
}

// ── A connection as a Duplex ─────────────────────────────────────────────────────────────────────────────────────────

t.test(
  '64 MiB go through pipeline and back unchanged, and little of it waits anywhere',
  async (t) => {
    let most = 0;
    const seen: TransportDuplex[] = [];
    const look = () => {
      for (const { transport, readableLength, writableLength } of seen)
        most = Math.max(most, transport.bufferedBytes + readableLength + writableLength);
    };
    const { endpoint } = await serve(
      t,
      duplexFactory((duplex) => {
        seen.push(duplex);
        return pipeline(duplex, duplex);
      }),
    );
    const client = await connectDuplex(endpoint);
    seen.push(client);
    const sent = randomPieces(64 * MIB, 100_003);
    const watch = new Transform({
      transform(chunk, _encoding, done) {
        look();
        done(null, chunk);
      },
    });
    const [digest] = await Promise.all([
      digestOf(client.pipe(watch)),
      pipeline(Readable.from(sent.pieces), client),
    ]);
    t.equal(digest, sent.digest());
    t.ok(most < MIB, `at most ${most} bytes waited`);
    await until(() => seen.every(({ closed }) => closed));
  },
);

t.test('whoever does not read a Duplex holds up the other side', async (t) => {
  const { duplex, peer } = await joined(t);
  const sent = randomPieces(64 * MIB, 64 * KIB);
  const sending = pipeline(Readable.from(sent.pieces), peer);
  let before = -1;
  while (before !== sent.made()) {
    before = sent.made();
    for (let i = 0; i < 10; i++) await settle();
  }
  t.ok(sent.made() < 32 * MIB, `${sent.made()} bytes were made`);
  t.ok(duplex.readableLength < 256 * KIB);
  peer.resume();
  t.equal(await digestOf(duplex), sent.digest());
  await sending;
});

t.test('a peer that does not read makes writing to a Duplex wait', async (t) => {
  const { duplex, peer } = await joined(t);
  const sent = randomPieces(64 * MIB, 64 * KIB);
  const sending = pipeline(Readable.from(sent.pieces), duplex);
  let before = -1;
  while (before !== sent.made()) {
    before = sent.made();
    for (let i = 0; i < 10; i++) await settle();
  }
  t.ok(sent.made() < 32 * MIB, `${sent.made()} bytes were made`);
  t.ok(duplex.transport.bufferedBytes + duplex.writableLength < 512 * KIB);
  const digest = digestOf(peer);
  await sending;
  peer.end();
  t.equal(await digest, sent.digest());
});

t.test('end sends the end, and reading goes on', async (t) => {
  const { duplex, peer } = await joined(t);
  duplex.write('tea');
  duplex.end(' please');
  t.equal(await textOf(peer), 'tea please');
  peer.end('no tea');
  t.equal(await textOf(duplex), 'no tea');
  await until(() => duplex.closed);
});

t.test('what was sent just before the end is read, however slowly', async (t) => {
  const { duplex, peer } = await joined(t);
  const sent = randomPieces(3 * MIB, 3 * MIB);
  peer.end([...sent.pieces][0]!);
  peer.resume();
  await settle();
  const hash = createHash('sha256');
  for await (const piece of duplex) {
    hash.update(piece);
    await turn();
  }
  t.equal(hash.digest('hex'), sent.digest());
});

t.test(
  'when the other side ends, writing goes on, unless the Duplex is not to stay half open',
  async (t) => {
    const closing = await joined(t, { allowHalfOpen: false });
    closing.peer.end('bye');
    const answer = textOf(closing.peer);
    t.equal(await textOf(closing.duplex), 'bye');
    t.equal(await answer, '');

    const open = await joined(t);
    open.peer.end('question');
    const more = textOf(open.peer);
    open.duplex.resume();
    await once(open.duplex, 'end');
    await settle();
    t.equal(open.duplex.destroyed, false);
    open.duplex.end('answer');
    t.equal(await more, 'answer');
    await until(() => open.duplex.closed);
  },
);

t.test('destroy closes in order, and what was given to the connection is sent', async (t) => {
  const { duplex, peer } = await joined(t);
  duplex.write('tea');
  duplex.destroy();
  t.equal(await textOf(peer), 'tea');
  peer.end();
  await until(() => duplex.closed);
  t.equal(duplex.errored, null);
  duplex.destroy();
});

t.test('destroy aborts if something that was written is lost by it', async (t) => {
  const write = (duplex: TransportDuplex, text: string) =>
    new Promise<Error | null | undefined>((resolve) => duplex.write(text, resolve));
  for (const pieces of [1, 2]) {
    const { protocol, transport, duplex } = alone();
    (transport.producer as IPushProducer).pauseProducing();
    const written = Array.from({ length: pieces }, () => write(duplex, 'tea'));
    duplex.destroy();
    t.equal(transport.aborting, pieces > 1, 'the transport has got the first piece');
    protocol.connectionLost(new Failure(new ConnectionDone()));
    await until(() => duplex.closed);
    for (const error of await Promise.all(written)) t.equal(error instanceof Error, pieces > 1);
  }
});

t.test('destroy with an error aborts', async (t) => {
  const { duplex, peer } = await joined(t);
  duplex.on('error', () => {});
  duplex.destroy(new RangeError('no tea'));
  t.match(await errorOf(peer), { code: 'ECONNRESET' });
  await until(() => duplex.closed);
  t.match(duplex.errored, { message: 'no tea' });
});

t.test('pipeline that fails elsewhere aborts the connection', async (t) => {
  const { duplex, peer } = await joined(t);
  const broken = new Transform({
    transform(_chunk, _encoding, done) {
      done(new RangeError('cannot brew'));
    },
  });
  peer.write('water');
  t.match(await rejection(pipeline(duplex, broken, duplex)), { message: 'cannot brew' });
  t.match(await errorOf(peer), { code: 'ECONNRESET' });
  await until(() => duplex.closed);
});

t.test('a reset destroys the Duplex with ConnectionLost', async (t) => {
  const { duplex, peer } = await joined(t);
  peer.resetAndDestroy();
  const [error] = (await once(duplex, 'error')) as Error[];
  t.ok(error instanceof ConnectionLost);
  t.match(error, { code: 'ECONNRESET' });
  await until(() => duplex.closed);
  const late = await new Promise((resolve) => duplex.write('late', resolve));
  t.match(late, { code: 'ERR_STREAM_DESTROYED' });
});

t.test('an error for which nobody listens is logged', async (t) => {
  const lost = await joined(t);
  lost.peer.resetAndDestroy();
  await until(() => lost.duplex.closed);
  t.same(flushLoggedErrors(), [], 'that a connection was lost is no error of the program');

  const { duplex } = await joined(t);
  duplex.destroy(new RangeError('no tea'));
  await until(() => duplex.closed);
  t.equal(flushLoggedErrors(RangeError).length, 1);
});

t.test(
  'what the handler of a Duplex throws is logged, and ends that connection only',
  async (t) => {
    const handlers = [
      () => {
        throw new RangeError('no tea');
      },
      () => Promise.reject(new RangeError('no tea')),
      (duplex: Duplex) => void duplex.end('tea'),
    ];
    const { call } = await serve(
      t,
      duplexFactory((duplex) => handlers.shift()?.(duplex)),
    );
    for (let i = 0; i < 2; i++) {
      const peer = await call();
      t.match(await errorOf(peer), { code: 'ECONNRESET' });
      t.ok(flushLoggedErrors(RangeError).length > 0);
    }
    const peer = await call();
    t.equal(await textOf(peer), 'tea');
    peer.end();
  },
);

t.test('a Duplex tells where it leads', async (t) => {
  const peers: string[] = [];
  const { endpoint } = await serve(
    t,
    duplexFactory((duplex, peer) => {
      peers.push(peer.toString());
      duplex.end();
      duplex.resume();
    }),
  );
  const client = await connectDuplex(endpoint);
  client.resume().end();
  await until(() => client.closed);
  t.same(peers, [client.transport.getHost().toString()]);
});

t.test('connecting to nobody fails as the endpoint does', async (t) => {
  const reactor = new Reactor();
  const { address } = await serve(
    t,
    duplexFactory(() => {}),
  );
  const nobody = new TCP4ClientEndpoint(reactor, '127.0.0.1', 1);
  t.ok(address.port > 1);
  for (const connect of [connectDuplex, connectWebStreams, Connection.connect.bind(Connection)])
    t.match(await rejection(connect(nobody)), { code: 'ECONNREFUSED' });
});

/** A DuplexProtocol over a transport that is not there. */
function alone(options?: DuplexOptions) {
  const protocol = new DuplexProtocol(options);
  const transport = new StringTransport({ lenient: true });
  protocol.makeConnection(transport);
  return { protocol, transport, duplex: protocol.duplex };
}

t.test('a connection that is closed in order without an end gives what it brought', async (t) => {
  const { protocol, duplex } = alone();
  duplex.write('tea');
  protocol.dataReceived(Buffer.from('last'));
  protocol.connectionLost(new Failure(new ConnectionDone()));
  t.equal(await textOf(duplex), 'last');
  await until(() => duplex.closed);
  t.equal(duplex.errored, null);

  const late = alone({ allowHalfOpen: true });
  late.duplex.resume();
  late.protocol.readConnectionLost();
  await once(late.duplex, 'end');
  late.protocol.connectionLost(new Failure(new ConnectionDone()));
  const error = await new Promise((resolve) => late.duplex.write('late', resolve));
  t.match(error, { code: 'ERR_STREAM_WRITE_AFTER_END' });
  await until(() => late.duplex.closed);
  flushLoggedErrors();
});

t.test(
  'what was written and not sent when a connection is closed is an error, once all is read',
  async (t) => {
    const { protocol, transport, duplex } = alone();
    transport.producer?.resumeProducing();
    (transport.producer as IPushProducer).pauseProducing();
    const written = new Promise<Error | null | undefined>((resolve) =>
      duplex.write('never', resolve),
    );
    protocol.dataReceived(Buffer.from('last'));
    protocol.connectionLost(new Failure(new ConnectionDone()));
    const pieces: string[] = [];
    duplex.on('data', (piece: Buffer) => pieces.push(piece.toString()));
    const [error] = (await once(duplex, 'error')) as Error[];
    t.ok(error instanceof ConnectionLost);
    t.same(pieces, ['last']);
    t.ok((await written) instanceof Error);
  },
);

t.test('writing and ending after the connection is gone', async (t) => {
  const { protocol, duplex } = alone({ allowHalfOpen: true });
  protocol.dataReceived(Buffer.from('unread'));
  protocol.connectionLost(new Failure(new ConnectionDone()));
  duplex.on('error', () => {});
  t.ok((await new Promise((resolve) => duplex.write('late', resolve))) instanceof ConnectionLost);

  const ended = alone({ allowHalfOpen: true });
  ended.protocol.dataReceived(Buffer.from('unread'));
  ended.protocol.connectionLost(new Failure(new ConnectionDone()));
  ended.duplex.end();
  await once(ended.duplex, 'finish');
  t.equal(await textOf(ended.duplex), 'unread');
});

// ── A connection as Web streams ──────────────────────────────────────────────────────────────────────────────────────

t.test('64 MiB go through Web streams and back unchanged', async (t) => {
  const { endpoint } = await serve(
    t,
    webStreamsFactory(({ readable, writable }) => readable.pipeTo(writable)),
  );
  const { readable, writable, transport } = await connectWebStreams(endpoint);
  const sent = randomPieces(64 * MIB, 100_003);
  let most = 0;
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      most = Math.max(most, transport.bufferedBytes);
      const { done = false, value } = sent.pieces.next();
      if (done) controller.close();
      else controller.enqueue(value as Uint8Array);
    },
  });
  const [digest] = await Promise.all([digestOf(readable), source.pipeTo(writable)]);
  t.equal(digest, sent.digest());
  t.ok(most < 512 * KIB, `at most ${most} bytes waited`);
});

t.test('whoever does not read a Web stream holds up the other side', async (t) => {
  const { peer, readable, writable } = await webJoined(t);
  const sent = randomPieces(64 * MIB, 64 * KIB);
  const sending = pipeline(Readable.from(sent.pieces), peer);
  let before = -1;
  while (before !== sent.made()) {
    before = sent.made();
    for (let i = 0; i < 10; i++) await settle();
  }
  t.ok(sent.made() < 32 * MIB, `${sent.made()} bytes were made`);
  peer.resume();
  t.equal(await digestOf(readable), sent.digest());
  await sending;
  await writable.close();
});

t.test('closing, cancelling and aborting Web streams', async (t) => {
  const closed = await webJoined(t);
  await closed.writable.getWriter().close();
  t.equal(await textOf(closed.peer), '');
  closed.peer.end('more');
  t.equal(await textOf(closed.readable), 'more');

  const cancelled = await webJoined(t);
  await cancelled.readable.cancel();
  cancelled.peer.write('in vain');
  const writer = cancelled.writable.getWriter();
  await writer.write('tea');
  const text = textOf(cancelled.peer);
  await settle();
  await writer.close();
  t.equal(await text, 'tea');
  cancelled.peer.end();

  const last = await webJoined(t);
  const ended = textOf(last.peer);
  await last.writable.close();
  await ended;
  await last.readable.cancel();
  await until(() => !last.transport.connected);

  const aborted = await webJoined(t);
  await aborted.writable.abort(new RangeError('no tea'));
  t.match(await errorOf(aborted.peer), { code: 'ECONNRESET' });
  t.ok((await rejection(textOf(aborted.readable))) instanceof ConnectionAborted);

  const both = await webJoined(t);
  both.peer.end();
  t.equal(await textOf(both.readable), '');
  await both.writable.close();
});

t.test('a reset makes both Web streams fail with ConnectionLost', async (t) => {
  const { peer, readable, writable, transport } = await webJoined(t);
  const writer = writable.getWriter();
  const waiting = writer.write(Buffer.alloc(16 * MIB));
  const failed = rejection(waiting);
  const closed = rejection(writer.closed);
  await settle();
  peer.resetAndDestroy();
  t.ok((await failed) instanceof ConnectionLost);
  t.ok((await closed) instanceof ConnectionLost);
  t.ok((await rejection(textOf(readable))) instanceof ConnectionLost);
  t.equal(transport.connected, false);
});

t.test('a connection that is closed in order, without an end, ends its Web streams', async (t) => {
  const factory = webStreamsFactory((streams) => void (made = streams));
  let made: WebStreams | undefined;
  const protocol = factory.buildProtocol(new PipeAddress());
  protocol?.makeConnection(new StringTransport({ lenient: true }));
  const { readable, writable } = made as unknown as WebStreams;
  protocol?.dataReceived(Buffer.from('last'));
  protocol?.connectionLost(new Failure(new ConnectionDone()));
  t.equal(await textOf(readable), 'last');
  t.ok((await rejection(writable.getWriter().write('late'))) instanceof ConnectionLost);
});

t.test('what the handler of Web streams throws is logged, and aborts', async (t) => {
  const { call } = await serve(
    t,
    webStreamsFactory(() => Promise.reject(new RangeError('no tea'))),
  );
  const peer = await call();
  t.match(await errorOf(peer), { code: 'ECONNRESET' });
  t.equal(flushLoggedErrors(RangeError).length, 1);

  const lost = await serve(
    t,
    webStreamsFactory(({ readable }) => textOf(readable)),
  );
  const other = await lost.call();
  other.resetAndDestroy();
  await settle();
  t.same(flushLoggedErrors(), []);
});

// ── A connection to be awaited ───────────────────────────────────────────────────────────────────────────────────────

t.test('a conversation reads from top to bottom', async (t) => {
  const { endpoint } = await serve(
    t,
    Connection.factory(async (connection) => {
      for (;;) {
        const line = await connection.readLine();
        if (line === null) return;
        await connection.write(`you said ${line}\r\n`);
      }
    }),
  );
  await using connection = await Connection.connect(endpoint);
  const ask = inlineCallbacks(function* () {
    yield* connection.write('hello\r\nworld\r\n');
    const first = yield* connection.readLine();
    const second = yield* connection.readUntil('\n');
    yield* connection.end();
    return [first?.toString(), second?.toString(), yield* connection.readLine()];
  });
  t.same(await ask(), ['you said hello', 'you said world\r', null]);
  await connection.closed;
});

t.test('what is read is as it came, however it is read', async (t) => {
  const { connection, peer } = await connected(t);
  peer.write('abcdefgh\r\n');
  t.equal(String(await connection.readExactly(2)), 'ab');
  t.equal((await connection.readExactly(0)).length, 0);
  t.equal(String(await connection.read(3)), 'cde');
  t.equal(String(await connection.readLine()), 'fgh');
  const later = connection.readExactly(6);
  peer.write('123');
  await settle();
  peer.end('456789');
  t.equal(String(await later), '123456');
  t.equal(String(await connection.read()), '789');
  t.equal(await connection.read(), null);
  t.equal(await connection.readLine(), null);
  t.equal((await connection.readExactly(0)).length, 0);
  await connection.close();
});

t.test('an end within what is read says how much had come', async (t) => {
  const line = await connected(t);
  line.peer.end('no end');
  const error = await rejection(line.connection.readLine());
  t.ok(error instanceof IncompleteReadError);
  t.match(error, { message: 'the connection ended within a line, after 6 bytes of it' });
  t.match(error, { partial: Buffer.from('no end') });
  const exact = await rejection(line.connection.readExactly(3));
  t.match(exact, { message: 'the connection ended within 3 bytes, after 0 bytes of it' });
  await line.connection.close();
});

t.test('a line has a limit, and so has what waits', async (t) => {
  const { connection, peer } = await connected(t);
  peer.write('x'.repeat(200));
  t.ok((await rejection(connection.readLine(100))) instanceof LimitExceeded);
  t.equal((await connection.readExactly(200)).length, 200);
  await connection.close();
});

t.test('whoever does not read a Connection holds up the other side', async (t) => {
  const { connection, peer } = await connected(t);
  const sent = randomPieces(64 * MIB, 64 * KIB);
  const sending = pipeline(Readable.from(sent.pieces), peer);
  let before = -1;
  while (before !== sent.made()) {
    before = sent.made();
    for (let i = 0; i < 10; i++) await settle();
  }
  t.ok(sent.made() < 32 * MIB, `${sent.made()} bytes were made`);
  t.equal(await digestOf(connection), sent.digest());
  await sending;
  await connection.close();
});

t.test('writing to a Connection waits while the peer does not read', async (t) => {
  const { connection, peer } = await connected(t);
  const small = connection.write('tea');
  t.equal(small.called, true, 'it need not wait');
  let fired = false;
  const large = connection.write(Buffer.alloc(16 * MIB));
  large.addCallback(() => {
    fired = true;
  });
  const given = connection.write('more');
  given.addErrback(() => {});
  given.cancel();
  await settle();
  t.equal(fired, false);
  peer.resume();
  await large;
  t.equal(connection.transport.bufferedBytes, 0);
  peer.end();
  await connection.close();
});

t.test('one read may wait at a time, and to cancel it loses nothing', async (t) => {
  const { connection, peer } = await connected(t);
  const waiting = connection.readExactly(4);
  t.throws(() => connection.read(), { message: 'cannot read: another read is waiting' });
  peer.write('ab');
  await settle();
  waiting.cancel();
  t.match(failureResultOf(waiting).value, { name: 'CancelledError' });
  peer.write('cd');
  t.equal(String(await connection.readExactly(4)), 'abcd');
  await connection.close();
});

t.test('bad arguments are refused before anything is read', async (t) => {
  const { connection } = await connected(t);
  for (const size of [-1, 0.5, NaN, Infinity])
    t.throws(() => connection.readExactly(size), RangeError);
  for (const most of [0, -1, 0.5, NaN]) t.throws(() => connection.read(most), RangeError);
  t.throws(() => connection.readUntil(''), RangeError);
  t.throws(() => connection.write(7 as never), TypeError);
  await connection.close();
});

t.test('a reset: what had come is read, then reading and writing fail', async (t) => {
  const { connection, peer } = await connected(t);
  const closed = rejection(connection.closed);
  peer.write('last');
  await settle();
  const waiting = connection.write(Buffer.alloc(16 * MIB));
  const ending = connection.end();
  peer.resetAndDestroy();
  t.ok((await rejection(waiting)) instanceof ConnectionLost);
  t.ok((await rejection(ending)) instanceof ConnectionLost);
  t.ok((await closed) instanceof ConnectionLost);
  t.equal(String(await connection.read()), 'last');
  for (const late of [
    connection.read(),
    connection.readLine(),
    connection.write('late'),
    connection.end(),
    connection.closed,
  ])
    t.ok((await rejection(late)) instanceof ConnectionLost);
  await connection.close();
  await connection.abort();
});

t.test('after end and close nothing can be written', async (t) => {
  const { connection, peer } = await connected(t);
  peer.resume();
  await connection.end();
  t.match(await rejection(connection.write('late')), { name: 'ConnectionDone' });
  t.match(await rejection(connection.end()), { name: 'ConnectionDone' });
  const closed = connection.closed;
  const forgotten = connection.closed;
  forgotten.addErrback(() => {});
  forgotten.cancel();
  await connection.close();
  await closed;
  await connection.closed;
});

t.test('to leave a loop over a Connection closes it', async (t) => {
  const left = await connected(t);
  left.peer.write('one');
  const rest = textOf(left.peer);
  for await (const chunk of left.connection) {
    t.equal(String(chunk), 'one');
    await left.connection.write('enough');
    left.peer.end();
    break;
  }
  t.equal(left.connection.transport.connected, false);
  t.equal(await rest, 'enough');

  const lost = await connected(t);
  lost.peer.write('one');
  const chunks: string[] = [];
  const error = await rejection(
    (async () => {
      for await (const chunk of lost.connection) {
        chunks.push(String(chunk));
        lost.peer.resetAndDestroy();
      }
    })(),
  );
  t.ok(error instanceof ConnectionLost);
  t.same(chunks, ['one']);
});

t.test('a handler that ends closes its connection, one that fails aborts it', async (t) => {
  const handlers = [
    () => {},
    () => Promise.reject(new RangeError('no tea')),
    async (connection: Connection) => {
      await connection.readLine();
    },
  ];
  const { call } = await serve(
    t,
    Connection.factory((connection) => handlers.shift()?.(connection)),
  );
  const first = await call();
  t.equal(await textOf(first), '');
  first.end();
  const second = await call();
  t.match(await errorOf(second), { code: 'ECONNRESET' });
  t.equal(flushLoggedErrors(RangeError).length, 1);
  const third = await call();
  await settle();
  third.resetAndDestroy();
  await settle();
  t.same(flushLoggedErrors(), [], 'that a connection was lost is no error of the handler');
});

// ── A protocol over a Duplex ─────────────────────────────────────────────────────────────────────────────────────────

/** Two Duplexes, each of which gives what is written to the other, from inside the call. */
function pair(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  const make = (other: () => Duplex) =>
    new Duplex({
      read() {},
      write(chunk, _encoding, done) {
        other().push(chunk);
        done();
      },
      final(done) {
        other().push(null);
        done();
      },
    });
  ends.push(
    make(() => ends[1] as Duplex),
    make(() => ends[0] as Duplex),
  );
  return ends as [Duplex, Duplex];
}

/** Notes what it is told, and does nothing in a call that belongs to another. */
class Noting extends Protocol {
  readonly notes: string[] = [];
  #inside = false;
  note(text: string, act = () => {}) {
    this.notes.push(this.#inside ? `${text} inside` : text);
    this.#inside = true;
    act();
    this.#inside = false;
  }
  override dataReceived(data: Buffer) {
    this.note(String(data), () => {
      if (data.length < 4) this.transport.write(`${data}.`);
    });
  }
  override connectionLost(reason: Failure) {
    this.note(reason.value.name);
  }
}

t.test('protocols talk over a Duplex, and nothing is told from inside a call', async (t) => {
  const reactor = new Reactor();
  const [left, right] = pair();
  const [a, b] = [new Noting(), new Noting()];
  const transport = reactor.adoptDuplex(left, a);
  reactor.adoptDuplex(right, b, { peer: new IPv4Address('TCP', '10.0.0.1', 7) });
  t.equal(transport.getPeer().toString(), 'pipe');
  t.equal(b.transport.getPeer().toString(), new IPv4Address('TCP', '10.0.0.1', 7).toString());
  (b.transport as typeof transport & { setTcpNoDelay(on: boolean): void }).setTcpNoDelay(true);
  (b.transport as typeof transport & { setTcpKeepAlive(on: boolean): void }).setTcpKeepAlive(true);
  transport.write('');
  transport.write('a');
  await settle();
  transport.loseConnection();
  await until(() => [a, b].every(({ notes }) => notes.includes('ConnectionDone')));
  t.same(b.notes, ['a', 'a..', 'ConnectionDone']);
  t.same(a.notes, ['a.', 'a...', 'ConnectionDone']);
});

t.test('a protocol over a pair of Web streams', async (t) => {
  const reactor = new Reactor();
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const back = new TransformStream<Uint8Array, Uint8Array>();
  reactor.adoptDuplex({ readable: there.readable, writable: back.writable }, new Echo());
  const writer = there.writable.getWriter();
  void writer.write(Buffer.from('tea')).then(() => writer.close());
  t.equal(await textOf(back.readable), 'tea');
  for (const wrong of [{}, { readable: there.readable }, 'tea'])
    t.throws(() => reactor.adoptDuplex(wrong as never, new Echo()), TypeError);
});

t.test(
  'a Duplex of texts and of other bytes brings bytes; one of objects is refused',
  async (t) => {
    const reactor = new Reactor();
    const protocol = new Noting();
    const source = new PassThrough({ objectMode: true });
    const duplex = Duplex.from({ readable: source, writable: new Writable({ write() {} }) });
    reactor.adoptDuplex(duplex, protocol);
    source.write('text');
    source.write(new Uint8Array([98, 121, 116, 101]));
    source.write('');
    await settle();
    source.write({ tea: true });
    await until(() => protocol.notes.includes('ConnectionLost'));
    t.same(protocol.notes.slice(0, 2), ['text', 'byte']);
  },
);

t.test('a Duplex that fails, or was destroyed before, is a connection that is lost', async (t) => {
  const reactor = new Reactor();
  for (const break_ of [
    (duplex: Duplex) => duplex.destroy(new RangeError('broken')),
    (duplex: Duplex) => duplex.destroy(),
  ]) {
    const protocol = new Noting();
    const [duplex] = pair();
    reactor.adoptDuplex(duplex, protocol);
    break_(duplex);
    await until(() => protocol.notes.length > 0);
    t.same(protocol.notes, ['ConnectionLost']);
  }
  const [destroyed] = pair();
  destroyed.destroy();
  const protocol = new Noting();
  reactor.adoptDuplex(destroyed, protocol);
  protocol.transport.write('late');
  await until(() => protocol.notes.length > 0);
  t.same(protocol.notes, ['ConnectionLost']);

  const throwing = pair()[0];
  throwing.write = () => {
    throw new RangeError('cannot write');
  };
  const other = new Noting();
  reactor.adoptDuplex(throwing, other);
  other.transport.write('tea');
  await until(() => other.notes.length > 0);
  t.same(other.notes, ['ConnectionLost']);
});

t.test('a Duplex is closed with the reactor', async (t) => {
  const reactor = new Reactor();
  const [duplex] = pair();
  const protocol = new Noting();
  const stopped: Deferred<void> = reactor.run({ installSignalHandlers: false });
  reactor.adoptDuplex(duplex, protocol);
  reactor.stop();
  await stopped;
  await until(() => duplex.destroyed);
  t.same(protocol.notes, ['ConnectionLost']);
  t.ok(Factory);
});

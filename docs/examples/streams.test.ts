/** What docs/howto/streams.md shows, as tests. */
import { createHash } from 'node:crypto';
import { duplexPair } from './duplex-pair.ts';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import {
  Connection,
  connectDuplex,
  connectWebStreams,
  duplexFactory,
  IPv4Address,
  type IProtocolFactory,
  Reactor,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  webStreamsFactory,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import t, { type Test } from 'tap';

const reactor = new Reactor();

async function serve(t: Test, factory: IProtocolFactory) {
  const port = await new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' }).listen(factory);
  t.teardown(() => port.stopListening().asPromise());
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError(`${address} has no port`);
  return new TCP4ClientEndpoint(reactor, '127.0.0.1', address.port);
}

t.test('a connection as a Duplex', async (t) => {
  // #region duplex-server
  const factory = duplexFactory(async (duplex, peer) => {
    await pipeline(duplex, createGzip(), duplex); // sends back what comes, compressed
    console.log(`served ${peer}`);
  });
  // #endregion
  const log = console.log;
  console.log = () => {};
  t.teardown(() => void (console.log = log));
  const endpoint = await serve(t, factory);
  // #region duplex-client
  const duplex = await connectDuplex(endpoint);
  duplex.end('tea '.repeat(10_000));
  const text = await duplex.pipe(createGunzip()).toArray();
  // #endregion
  t.equal(Buffer.concat(text as Buffer[]).toString(), 'tea '.repeat(10_000));
});

t.test('a connection as Web streams', async (t) => {
  const endpoint = await serve(
    t,
    webStreamsFactory(({ readable, writable }) => readable.pipeTo(writable)),
  );
  // #region web
  const { readable, writable } = await connectWebStreams(endpoint);
  const writer = writable.getWriter();
  await writer.write('tea');
  await writer.close();
  const text = await new Response(readable).text();
  // #endregion
  t.equal(text, 'tea');
});

t.test('a connection to be awaited', async (t) => {
  // #region connection-server
  const factory = Connection.factory(async (connection) => {
    for (;;) {
      const line = await connection.readLine(1000);
      if (line === null) return; // the connection is closed when this function is done
      await connection.write(`you said ${line}\r\n`); // waits while the peer does not read
    }
  });
  // #endregion
  const endpoint = await serve(t, factory);
  // #region connection-client
  await using connection = await Connection.connect(endpoint);
  await connection.write('hello\r\n');
  const answer = await connection.readLine();
  // #endregion
  t.equal(String(answer), 'you said hello');
});

t.test('the bytes of a connection, one chunk after the other', async (t) => {
  const endpoint = await serve(
    t,
    Connection.factory(async (connection) => {
      await connection.write('tea');
    }),
  );
  // #region iterate
  const hash = createHash('sha256');
  const connection = await Connection.connect(endpoint);
  for await (const chunk of connection) hash.update(chunk);
  await connection.close();
  // #endregion
  t.equal(hash.digest('hex'), createHash('sha256').update('tea').digest('hex'));
});

t.test('a protocol over any Duplex', async (t) => {
  const [channel, other] = duplexPair();
  // #region adopt
  const transport = reactor.adoptDuplex(channel, new Echo());
  // #endregion
  other.end('tea');
  t.equal(Buffer.concat((await other.toArray()) as Buffer[]).toString(), 'tea');
  t.equal(transport.getPeer().toString(), 'pipe');
});

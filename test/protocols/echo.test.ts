import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import {
  ConnectionDone,
  Deferred,
  Factory,
  type Failure,
  type IListeningPort,
  type IProtocolFactory,
  IPv4Address,
  Reactor,
} from 'plait';
import { Echo, EchoFactory } from 'plait/protocols/echo';
import { StringTransport } from 'plait/testing';
import t, { type Test } from '../fixture.ts';

/** Listens with `factory`, and returns a client that is connected to it. */
async function connected(
  t: Test,
  factory: IProtocolFactory,
): Promise<{ socket: Socket; port: IListeningPort }> {
  const port = new Reactor().listenTCP(0, factory, { interface: '127.0.0.1' });
  await port.ready;
  const host = port.getHost();
  if (!(host instanceof IPv4Address)) throw new Error(`listens on ${host}`);
  const socket = connect({ port: host.port, host: host.host, allowHalfOpen: true });
  t.teardown(async () => {
    socket.destroy();
    await port.stopListening();
  });
  await once(socket, 'connect');
  return { socket, port };
}

/** All that arrives until the server closes. */
async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
  if (!socket.readableEnded) await once(socket, 'end');
  return Buffer.concat(chunks);
}

t.test('what arrives is sent back, as it arrived', (t) => {
  const echo = new EchoFactory().buildProtocol(new IPv4Address('TCP', '127.0.0.1', 1));
  t.ok(echo instanceof Echo);
  const transport = new StringTransport();
  echo?.makeConnection(transport);
  echo?.dataReceived(Buffer.from('hel'));
  t.equal(transport.value().toString(), 'hel');
  echo?.dataReceived(Buffer.from([0, 0xff, 13]));
  t.same(transport.value(), Buffer.from([0x68, 0x65, 0x6c, 0, 0xff, 13]));
  t.equal(transport.producer, undefined, 'nothing stands in the way of closing');
  t.end();
});

t.test('a client that closes its side gets all of its echo, and then the end', async (t) => {
  const { socket } = await connected(t, Factory.forProtocol(Echo));
  const bytes = randomBytes(5_000_000);
  socket.end(bytes);
  t.ok((await readAll(socket)).equals(bytes));
});

t.test('a client that does not read is not read from, and loses nothing', async (t) => {
  let most = 0;
  class Watched extends Echo {
    override dataReceived(data: Buffer) {
      super.dataReceived(data);
      most = Math.max(most, this.transport.bufferedBytes);
    }
  }
  const { socket } = await connected(t, Factory.forProtocol(Watched));
  const bytes = randomBytes(1_000_000);
  const total = 50;
  let accepted = 0;
  socket.pause();
  for (let i = 0; i < total; i++) socket.write(bytes, () => accepted++);
  // The kernel's buffers fill up; then nothing moves for as long as anybody looks.
  let idle = 0;
  for (let before = -1; idle < 100; before = socket.bytesWritten + most) {
    await new Promise((resolve) => setImmediate(resolve));
    idle = socket.bytesWritten + most === before ? idle + 1 : 0;
  }
  t.ok(accepted < total, `${accepted} of ${total} pieces were accepted`);
  t.ok(most <= 4 * 65_536, `at most ${most} bytes waited in the server`);

  socket.end();
  const echoed = await readAll(socket);
  t.equal(echoed.length, total * bytes.length);
  let same = true;
  for (let at = 0; at < echoed.length; at += bytes.length) {
    same &&= echoed.subarray(at, at + bytes.length).equals(bytes);
  }
  t.ok(same);
});

t.test('a subclass may hang up when it has sent the echo', async (t) => {
  const lost = new Deferred<Error>();
  class Once extends Echo {
    override dataReceived(data: Buffer) {
      super.dataReceived(data);
      this.transport.loseConnection();
    }
    override connectionLost(reason: Failure) {
      lost.callback(reason.value);
    }
  }
  const { socket } = await connected(t, Factory.forProtocol(Once));
  socket.write('hello');
  t.equal((await readAll(socket)).toString(), 'hello');
  socket.end();
  t.type(await lost, ConnectionDone);
});

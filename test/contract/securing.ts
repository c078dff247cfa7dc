/**
 * How a connection that is under way is secured: `startTLS` over every kind of wire, inside each hook, and with TLS
 * within TLS. Both ends are plait's: the engine's own faults are shown in `tls.test.ts`.
 */
import { randomBytes } from 'node:crypto';
import { type ITLSTransport, type ITransport, SSLError } from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import type { Test } from '../fixture.ts';
import type { Kind, World } from './kinds.ts';
import { HalfCloser, Recorder, serving } from './recorder.ts';
import { logged, Rules, type Stage } from './rules.ts';
import { CLIENT, SERVER } from './tls-kind.ts';

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  rules.show(t, kind, 'securing', (stage) => stage);
}

const rules = new Rules<Stage>();

/** The transport, which can be secured. */
function tls(protocol: { transport: ITransport }): ITLSTransport {
  return protocol.transport as ITLSTransport;
}

async function connect(world: World, server: Recorder, client: Recorder): Promise<void> {
  const factory = serving(server);
  const port = world.listen(factory);
  await port.ready;
  world.connect(port.getHost(), serving(client));
  await world.until(() => server.events.length > 0 && client.events.length > 0);
}

/** Secures both ends, from outside of any hook. */
function secure(server: Recorder, client: Recorder): void {
  tls(server).startTLS(SERVER);
  tls(client).startTLS(CLIENT);
}

rules.state(
  'the same protocol goes on, secured, after what it said in the clear',
  async (stage) => {
    const { t, world } = stage;
    const sent = randomBytes(300_000);
    const server = new Recorder({
      data: (protocol, data) => {
        protocol.transport.write(data);
        if (protocol.text() === 'secure me') tls(protocol).startTLS(SERVER);
      },
    });
    const client = new Recorder({
      made: ({ transport }) => transport.write('secure me'),
      data: (protocol) => {
        if (protocol.text() !== 'secure me') return;
        tls(protocol).startTLS(CLIENT);
        protocol.transport.write(sent);
      },
    });
    await connect(world, server, client);
    t.equal(tls(client).getPeerCertificate(), undefined);
    await world.until(() => client.count === sent.length + 9);
    t.ok(client.bytes().subarray(9).equals(sent));
    t.match(tls(client).getPeerCertificate()?.subject, 'CN=localhost');
    t.equal(tls(client).negotiatedProtocol, undefined);
    client.transport.loseConnection();
    await world.until(() => client.lost && server.lost);
    t.same(client.events, ['made', 'data', 'lost ConnectionDone']);
    t.same(server.events, ['made', 'data', 'lost ConnectionDone']);
  },
);

rules.state('TLS-16: it can be started inside each hook', async ({ t, world }) => {
  for (const hook of ['made', 'data'] as const) {
    const server = new Recorder({ [hook]: (protocol: Recorder) => start(protocol, 'server') });
    const client = new Recorder({ [hook]: (protocol: Recorder) => start(protocol, 'client') });
    const started = new Set<Recorder>();
    const start = (protocol: Recorder, side: 'client' | 'server'): void => {
      if (started.has(protocol)) return;
      started.add(protocol);
      // The answer is still in the clear, and tells the client that it may start.
      if (hook === 'data' && side === 'server') protocol.transport.write('!');
      tls(protocol).startTLS(side === 'client' ? CLIENT : SERVER);
      protocol.transport.write(`from the ${side}`);
    };
    await connect(world, server, client);
    if (hook === 'data') client.transport.write('!');
    const bang = hook === 'data' ? '!' : '';
    await world.until(() => client.text() === `${bang}from the server`);
    await world.until(() => server.text() === `${bang}from the client`);
    client.transport.loseConnection();
    await world.until(() => client.lost && server.lost);
  }
  const late = new Recorder({ lost: (protocol) => tls(protocol).startTLS(CLIENT) });
  await connect(world, new Recorder(), late);
  late.transport.abortConnection();
  await world.until(() => late.lost);
  t.same(late.events, ['made', 'lost ConnectionAborted'], 'when it is lost, it does nothing');
});

rules.state(
  'a connection that closes, or whose peer has ended, cannot be secured',
  async (stage) => {
    const { t, world } = stage;
    const [closing, ending] = [new Recorder(), new HalfCloser()];
    const peers = [new HalfCloser(), new HalfCloser()];
    await connect(world, peers[0]!, closing);
    await connect(world, peers[1]!, ending);
    closing.transport.loseConnection();
    t.throws(() => tls(closing).startTLS(CLIENT), SSLError);
    peers[1]!.transport.loseWriteConnection();
    await world.until(() => ending.events.includes('readLost'));
    t.throws(() => tls(ending).startTLS(CLIENT), /the other side has ended it/);
    ending.transport.loseConnection();
    for (const peer of peers) peer.transport.loseConnection();
    await world.until(() => closing.lost && ending.lost && peers.every(({ lost }) => lost));
  },
);

rules.state('a producer goes on, at the pace of the secured connection', async ({ t, world }) => {
  const piece = randomBytes(50_000);
  let secured = false;
  const server = new Recorder({
    data: (protocol, data) => {
      const early = protocol.count - 2 * piece.length;
      if (secured || early < 0) return;
      secured = true;
      protocol.chunks[protocol.chunks.length - 1] = data.subarray(0, data.length - early);
      protocol.count -= early;
      tls(protocol).startTLS(SERVER, { early: data.subarray(data.length - early) });
    },
  });
  const client = new Recorder();
  await connect(world, server, client);
  let [left, paused] = [40, false];
  const produce = (): void => {
    while (!paused && left > 0) {
      if (left-- === 38) tls(client).startTLS(CLIENT);
      client.transport.write(piece);
    }
    if (left === 0) client.transport.unregisterProducer();
  };
  const producer = {
    pauseProducing: () => (paused = true),
    resumeProducing: () => {
      paused = false;
      produce();
    },
    stopProducing: () => {},
  };
  client.transport.registerProducer(producer, true);
  produce();
  await world.until(() => server.count >= 40 * piece.length || server.lost);
  t.equal(server.reason?.value.message, undefined);
  t.ok(server.bytes().equals(Buffer.concat(Array.from({ length: 40 }, () => piece))));
  client.transport.loseConnection();
  await world.until(() => client.lost && server.lost);
});

rules.state('a paused connection is secured all the same, and stays paused', async (stage) => {
  const { t, world } = stage;
  const [server, client] = [new Recorder(), new Recorder()];
  await connect(world, server, client);
  client.transport.pauseProducing();
  await world.settle();
  secure(server, client);
  server.transport.write('secret');
  await world.until(() => tls(client).getPeerCertificate() !== undefined);
  await world.settle();
  t.equal(client.count, 0);
  client.transport.resumeProducing();
  await world.until(() => client.text() === 'secret');
  client.transport.loseConnection();
  await world.until(() => client.lost && server.lost);
});

rules.state('sides can be swapped, and TLS put within TLS', async ({ t, world }) => {
  const [server, client] = [new Recorder(), new Recorder()];
  await connect(world, server, client);
  tls(server).startTLS(CLIENT, { normal: false });
  tls(client).startTLS(SERVER, { normal: false });
  server.transport.write('once');
  await world.until(() => client.text() === 'once');
  t.match(tls(server).getPeerCertificate()?.subject, 'CN=localhost');
  secure(server, client);
  const sent = randomBytes(200_000);
  client.transport.write(sent);
  await world.until(() => server.count === sent.length);
  t.ok(server.bytes().equals(sent));
  t.match(tls(client).getPeerCertificate()?.subject, 'CN=localhost');
  client.transport.loseConnection();
  await world.until(() => client.lost && server.lost);
  t.same(client.events, ['made', 'data', 'lost ConnectionDone']);
  t.same(server.events, ['made', 'data', 'lost ConnectionDone']);
});

rules.state('TLS-16: lines that come with the command are not heard', async ({ t, world }) => {
  const heard: string[] = [];
  class Mail extends LineReceiver {
    override lineReceived(line: Buffer): void {
      heard.push(line.toString());
      if (line.toString() !== 'STARTTLS') return;
      this.sendLine('220 go ahead');
      tls(this).startTLS(SERVER);
    }
    override connectionLost(): void {
      heard.push('lost');
    }
  }
  const port = world.listen(serving(new Mail()));
  await port.ready;
  // In the same piece, and in the next: both belong to the handshake, which cannot make sense of them.
  for (const later of ['', 'MAIL FROM:<inj@x>\r\n']) {
    const client = new Recorder({ made: ({ transport }) => transport.write(command) });
    const command = later === '' ? 'STARTTLS\r\nMAIL FROM:<inj@x>\r\n' : 'STARTTLS\r\n';
    const each = world.listen(serving(new Mail()));
    await each.ready;
    world.connect(each.getHost(), serving(client));
    await world.until(() => client.count >= 14);
    if (later !== '') client.transport.write(later);
    await world.until(() => client.lost && heard.includes('lost'));
    t.same(heard.splice(0), ['STARTTLS', 'lost']);
    t.ok(client.text().startsWith('220 go ahead\r\n'));
  }
  t.same(logged(), []);
});

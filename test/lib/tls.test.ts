/** TLS connections: handshakes that fail in each way, closing, and what the engine must not do to the process. */
import { createHash, randomBytes } from 'node:crypto';
import { connect as connectTCP, type Socket } from 'node:net';
import {
  connect as connectTLS,
  type ConnectionOptions,
  createServer as createTLSServer,
  type TLSSocket,
} from 'node:tls';
import {
  CertificateError,
  ConnectionLost,
  connectProtocol,
  type IListeningPort,
  type IProtocol,
  type ITLSContextFactory,
  type ITLSTransport,
  Protocol,
  Reactor,
  SSL4ClientEndpoint,
  SSL4ServerEndpoint,
  SSLError,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TLSMemoryBIOFactory,
  type TLSSettings,
  VerificationError,
  wrapClientTLS,
  wrapServerTLS,
} from 'plait';
import { flushLoggedErrors } from 'plait/testing';
import { ProtocolWrapper, WrappingFactory } from 'plait/protocols/policies';
import { inet } from '../contract/kinds.ts';
import { Recorder, RecordingFactory, serving } from '../contract/recorder.ts';
import { CLIENT, pem, SERVER, settings } from '../contract/tls-kind.ts';
import t, { type Test } from '../fixture.ts';

const MIB = 2 ** 20;
const LOCAL = { interface: '127.0.0.1' };
const serverContext = { key: pem('server.key'), cert: pem('server.pem') };
const clientContext = { ca: [pem('ca.pem')] };

function portOf(port: IListeningPort): number {
  return inet(port.getHost()).port;
}

async function until(condition: () => boolean): Promise<void> {
  for (const patience = Date.now() + 600_000; !condition();) {
    if (Date.now() > patience) throw new Error(`it never came to ${condition.toString()}`);
    await turn();
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A server of plait's; its protocols are those that `make` makes. */
async function serve<P extends IProtocol = Recorder>(
  t: Test,
  make: () => P = () => new Recorder() as unknown as P,
  contextFactory: ITLSContextFactory = SERVER,
  options: { handshakeTimeout?: number | null } = {},
): Promise<{ reactor: Reactor; port: number; built: P[]; listening: IListeningPort }> {
  const reactor = new Reactor();
  const built: P[] = [];
  const factory = new RecordingFactory({
    build: () => {
      built.push(make());
      return built.at(-1)!;
    },
  });
  const listening = reactor.listenSSL(0, factory, contextFactory, { ...LOCAL, ...options });
  t.teardown(() => listening.stopListening({ connections: 'abort' }).asPromise());
  await listening.ready;
  return { reactor, port: portOf(listening), built, listening };
}

/** What comes of a raw TLS client: what it read, and how it ended. */
async function call(
  port: number,
  options: ConnectionOptions = {},
  use: (socket: TLSSocket) => void = () => {},
): Promise<{ socket: TLSSocket; text: string; error: string }> {
  const socket = connectTLS({
    port,
    host: '127.0.0.1',
    ca: [pem('ca.pem')],
    servername: 'localhost',
    ...options,
  });
  const heard = { socket, text: '', error: '' };
  socket.on('data', (data: Buffer) => (heard.text += data.toString('latin1')));
  socket.on('error', (error: NodeJS.ErrnoException) => (heard.error = error.code ?? error.message));
  socket.on('secureConnect', () => use(socket));
  await new Promise((resolve) => socket.on('close', resolve));
  return heard;
}

/** A protocol that answers and hangs up. */
const greeter = (): Recorder =>
  new Recorder({
    made: ({ transport }) => {
      transport.write('hello');
      transport.loseConnection();
    },
  });

// ── Settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('TLS-19: keys and certificates that cannot be used are refused at once', async (t) => {
  const reactor = new Reactor();
  const factory = new RecordingFactory();
  const wrong: [TLSSettings['context'], new (...args: never[]) => Error][] = [
    [{ key: 'no key', cert: pem('server.pem') }, CertificateError],
    [{ key: pem('server.key'), cert: 'no certificate' }, CertificateError],
    [{ key: pem('wrong.key'), cert: pem('server.pem') }, CertificateError],
    [{ key: pem('server-encrypted.key'), cert: pem('server.pem') }, CertificateError],
    [
      { key: pem('server-encrypted.key'), cert: pem('server.pem'), passphrase: '?' },
      CertificateError,
    ],
    [{ cert: pem('server.pem') }, CertificateError],
    [{ ...serverContext, ciphers: 'no such cipher' }, SSLError],
  ];
  for (const [context, Class] of wrong) {
    t.throws(() => reactor.listenSSL(0, factory, settings({ context }), LOCAL), Class);
    const endpoint = new SSL4ServerEndpoint(reactor, 0, settings({ context }), LOCAL);
    await t.rejects(endpoint.listen(factory).asPromise(), Class);
    const below = new TCP4ServerEndpoint(reactor, 0, LOCAL);
    await t.rejects(wrapServerTLS(settings({ context }), below).listen(factory).asPromise());
  }
  const bad = settings({ context: { ca: ['no certificate'] } });
  t.throws(() => reactor.connectSSL('127.0.0.1', 1, factory, bad), CertificateError);
  const fail = {
    tlsSettings: () => {
      throw new RangeError('no settings');
    },
  };
  t.throws(() => reactor.connectSSL('127.0.0.1', 1, factory, fail), /no settings/);
  t.throws(() => reactor.listenSSL(0, factory, SERVER, { handshakeTimeout: -1 }), RangeError);
  t.same(factory.events, [], 'nothing was bound, nothing tried');
});

t.test(
  'a context factory that fails later ends that connection, and nothing goes in the clear',
  async (t) => {
    let calls = 0;
    const once: ITLSContextFactory = {
      tlsSettings: (side) => {
        if (calls++ > 0) throw new RangeError('no settings any more');
        return SERVER.tlsSettings(side);
      },
    };
    const { port, built } = await serve(t, greeter, once);
    const heard = await call(port);
    t.not(heard.error, '');
    await until(() => built[0]!.lost);
    t.same(built[0]!.events, ['made', 'lost RangeError']);
    t.match(flushLoggedErrors()[0]?.failure?.value.message, 'no settings any more');
  },
);

// ── Handshakes ───────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('TLS-11: what is no TLS ends the connection, by an SSLError', async (t) => {
  const { port, built } = await serve(t);
  const record = Buffer.concat([Buffer.from([22, 3, 1, 255, 255]), randomBytes(65_535)]);
  const openings = [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), Buffer.from([0x80]), record];
  for (const opening of [...openings, randomBytes(4096), Buffer.alloc(0)]) {
    const socket: Socket = connectTCP(port, '127.0.0.1', () => socket.end(opening));
    socket.on('error', () => {}).resume();
    const count = built.length;
    await until(() => built.length > count && built.at(-1)!.lost);
    t.same(built.at(-1)!.events, ['made', 'lost SSLError']);
    t.match(built.at(-1)!.reason?.value.message, /^cannot speak TLS with 127\.0\.0\.1:\d+: /);
    t.ok(built.at(-1)!.reason?.value.cause instanceof Error);
    await until(() => socket.closed);
  }
});

t.test('REA-32: clients that reset in the middle of a handshake harm nobody', async (t) => {
  const { port, built } = await serve(t);
  const hello = await clientHello();
  const socks: Socket[] = [];
  for (let i = 0; i < 300; i++) {
    const socket: Socket = connectTCP(port, '127.0.0.1', () => {
      socket.write(hello.subarray(0, (i * 7) % (hello.length + 1)), () => {
        if (i % 2 === 0) socket.resetAndDestroy();
        else setImmediate(() => socket.resetAndDestroy());
      });
    });
    socks.push(socket.on('error', () => {}));
    if (i % 50 === 49) await until(() => socks.every(({ closed }) => closed));
  }
  await until(() => built.every(({ lost }) => lost));
  t.ok(built.length > 0);
  for (const { events } of built) t.same(events, ['made', 'lost SSLError']);
  const heard = await call(port, {}, (socket) => socket.end());
  t.equal(heard.error, '', 'others are served');
});

/** What a client says first. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const server = new Reactor();
    const hello = new Recorder({
      data: ({ transport }, data) => {
        transport.abortConnection();
        void port.stopListening().addCallback(() => resolve(data));
      },
    });
    const port = server.listenTCP(0, serving(hello), LOCAL);
    port.ready.addCallback(() => {
      connectTLS({ port: portOf(port), host: '127.0.0.1' }).on('error', () => {});
    });
  });
}

t.test('a handshake that is not done in time fails, and leaves no timer', async (t) => {
  const { reactor, port, built } = await serve(t, undefined, SERVER, { handshakeTimeout: 0.05 });
  const socket = connectTCP(port, '127.0.0.1')
    .on('error', () => {})
    .resume();
  await until(() => built[0]?.lost === true);
  t.ok(built[0]!.reason?.value instanceof SSLError);
  t.match(built[0]!.reason?.value.message, /no handshake after 0\.05 seconds$/);
  await until(() => socket.closed);
  await call(port, {}, (socket) => socket.end());
  await until(() => built[1]!.lost);
  t.same(reactor.getDelayedCalls(), []);
  const patient = await serve(t, undefined, SERVER, { handshakeTimeout: null });
  const other = connectTCP(patient.port, '127.0.0.1')
    .on('error', () => {})
    .resume();
  await until(() => patient.built.length === 1);
  t.same(patient.reactor.getDelayedCalls(), []);
  other.destroy();
  await until(() => patient.built[0]!.lost);
});

t.test('TLS-20: who fails to judge the other side refuses it', async (t) => {
  const { port, built } = await serve(
    t,
    () => new Recorder({ made: ({ transport }) => transport.write('secret') }),
  );
  const verdicts: [() => unknown, RegExp][] = [
    [
      () => {
        throw new RangeError('no idea');
      },
      /check of the other side failed: no idea/,
    ],
    [() => Promise.resolve(), /must return an Error or undefined at once, not object/],
    [() => Promise.reject(new Error('later')), /at once, not object/],
    [() => true, /at once, not boolean/],
    [() => new VerificationError('not you'), /^not you$/],
  ];
  for (const [checkPeer, message] of verdicts) {
    const client = new Recorder({ made: ({ transport }) => transport.write('password') });
    const given = { context: clientContext, checkPeer } as unknown as TLSSettings;
    new Reactor().connectSSL('127.0.0.1', port, serving(client), settings(given));
    await until(() => client.lost);
    t.same(client.events, ['made', 'lost VerificationError']);
    t.match(client.reason?.value.message, message);
  }
  await until(() => built.every(({ lost }) => lost));
  for (const { count } of built) t.equal(count, 0, 'nothing was sent');
});

t.test('who is not trusted is told to the check, with the certificate', async (t) => {
  const seen: unknown[] = [];
  const checkPeer: TLSSettings['checkPeer'] = ({ problem, certificate, protocol }) => {
    seen.push((problem as NodeJS.ErrnoException | undefined)?.code, certificate?.subject, protocol);
    return problem;
  };
  const { port } = await serve(
    t,
    undefined,
    settings({ context: { key: pem('expired.key'), cert: pem('expired.pem') } }),
  );
  const client = new Recorder();
  new Reactor().connectSSL(
    '127.0.0.1',
    port,
    serving(client),
    settings({ context: clientContext, checkPeer }),
  );
  await until(() => client.lost);
  t.same(seen.splice(0), ['CERT_HAS_EXPIRED', 'CN=localhost', undefined]);

  // On a server, of clients that show one, one of somebody else, or none.
  const asking = settings({
    context: { ...serverContext, ca: [pem('ca.pem')] },
    requestCertificate: true,
    checkPeer,
  });
  const server = await serve(t, greeter, asking);
  for (const [name, code] of [
    ['client', undefined],
    ['other-client', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ['', 'UNABLE_TO_GET_ISSUER_CERT'],
  ] as const) {
    const own = name === '' ? {} : { key: pem(`${name}.key`), cert: pem(`${name}.pem`) };
    const heard = await call(server.port, own);
    t.equal(heard.text, code === undefined ? 'hello' : '');
    t.same(seen.splice(0), [code, name === '' ? undefined : 'CN=a client', undefined]);
  }
});

t.test(
  'TLS-09: without a protocol in common there is an alert, for that connection alone',
  async (t) => {
    const given = { context: serverContext, protocols: ['h2', 'http/1.1'] };
    const { port, built } = await serve(t, greeter, settings(given));
    t.match((await call(port, { ALPNProtocols: ['smtp'] })).error, /NO_APPLICATION_PROTOCOL|ALERT/);
    await until(() => built[0]!.lost);
    t.same(built[0]!.events, ['made', 'lost SSLError']);
    const long = 'x'.repeat(255);
    for (const offered of [['http/1.1', 'h2'], ['h2', long], undefined]) {
      const heard = await call(port, offered === undefined ? {} : { ALPNProtocols: offered });
      t.equal(heard.text, 'hello');
    }
    const client = new Recorder();
    const offer = settings({ context: clientContext, protocols: ['http/1.1'] });
    new Reactor().connectSSL('127.0.0.1', port, serving(client), offer);
    await until(() => client.lost);
    t.equal((client.transport as ITLSTransport).negotiatedProtocol, 'http/1.1');
  },
);

t.test(
  'TLS-10: names are compared in lower case, and a callback that throws refuses',
  async (t) => {
    const asked: string[] = [];
    const other = { context: { key: pem('sni-a.key'), cert: pem('sni-a.pem') } };
    const given: TLSSettings = {
      context: serverContext,
      forName: (name) => {
        asked.push(name);
        if (name === 'throws.example') throw new RangeError('no such host');
        return name === 'a.example' ? other : undefined;
      },
    };
    const { port, built } = await serve(t, greeter, settings(given));
    const subject = async (servername: string): Promise<string> => {
      let name = '';
      const lax = { servername, rejectUnauthorized: false };
      await call(port, lax, (socket) => (name = socket.getPeerX509Certificate()!.subject));
      return name;
    };
    t.equal(await subject('A.Example'), 'CN=a.example');
    t.equal(await subject('b.example'), 'CN=localhost');
    t.equal(await subject(''), 'CN=localhost', 'none at all');
    const refused = await call(port, { servername: 'throws.example' });
    t.match(refused.error, /ALERT_INTERNAL_ERROR/);
    t.match(flushLoggedErrors()[0]?.failure?.value.message, 'no such host');
    t.not((await call(port, { servername: 'x'.repeat(65_000) })).error, '');
    t.same(asked, ['a.example', 'b.example', 'throws.example']);
    await until(() => built.every(({ lost }) => lost));
    t.equal(await subject('a.example'), 'CN=a.example', 'others are served');
  },
);

t.test('TLS-13: renegotiation is refused, and a flood of it survived', async (t) => {
  const echo = () => new Recorder({ data: ({ transport }, data) => transport.write(data) });
  const { port } = await serve(t, echo);
  const heard = await call(port, { maxVersion: 'TLSv1.2' }, (socket) => {
    let left = 100;
    const again = (): void => {
      if (left-- === 0) return void socket.end();
      if (socket.renegotiate({}, () => {}) === false) socket.destroy();
      setImmediate(again);
    };
    again();
  });
  t.type(heard.error, 'string');
  const fine = await call(port, {}, (socket) => {
    socket.once('data', () => socket.end());
    socket.write('still there?');
  });
  t.equal(fine.text, 'still there?');
});

t.test(
  'a session is taken up again under the same key only, and its peer is judged again',
  async (t) => {
    const { port, built } = await serve(t, greeter);
    const judged: (string | undefined)[] = [];
    const visit = async (sessionKey: string | undefined): Promise<Recorder> => {
      const given: TLSSettings = {
        context: clientContext,
        checkPeer: ({ certificate, problem }) => {
          judged.push(certificate?.subject);
          return problem;
        },
        ...(sessionKey === undefined ? {} : { sessionKey }),
      };
      const client = new Recorder();
      new Reactor().connectSSL('127.0.0.1', port, serving(client), settings(given));
      await until(() => client.lost);
      t.equal(client.text(), 'hello');
      return client;
    };
    for (const key of ['a', 'a', 'a', 'b', undefined, undefined]) await visit(key);
    t.same(judged, new Array(6).fill('CN=localhost'));
    await until(() => built.every(({ lost }) => lost));
  },
);

// ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('TLS-14: an end that nobody has said is ConnectionLost, paused or not', async (t) => {
  for (const paused of [false, true]) {
    const { port, built } = await serve(
      t,
      () => new Recorder({ data: ({ transport }) => paused && transport.pauseProducing() }),
    );
    const raw = connectTCP({ port, host: '127.0.0.1', allowHalfOpen: true });
    const socket = connectTLS({ socket: raw, ca: [pem('ca.pem')], servername: 'localhost' });
    socket.on('error', () => {}).resume();
    socket.write('half of it');
    await until(() => built[0]?.count === 10);
    raw.end();
    if (paused) {
      for (let i = 0; i < 20; i++) await turn();
      built[0]!.transport.resumeProducing();
    }
    await until(() => built[0]!.lost);
    t.same(built[0]!.events, ['made', 'data', 'lost ConnectionLost']);
    t.ok(built[0]!.reason?.value instanceof ConnectionLost);
    t.match(built[0]!.reason?.value.message, /close_notify/);
    socket.destroy();
    raw.destroy();
    await until(() => raw.closed);
  }
});

t.test('TLS-15: all that was written arrives at a slow reader, and then an end', async (t) => {
  const sent = randomBytes(10 * MIB);
  const { port, built } = await serve(
    t,
    () =>
      new Recorder({
        made: ({ transport }) => {
          transport.write(sent);
          transport.loseConnection();
          transport.write('and this');
        },
      }),
  );
  const options = { port, host: '127.0.0.1', ca: [pem('ca.pem')], servername: 'localhost' };
  const socket = connectTLS({ ...options, allowHalfOpen: true } as ConnectionOptions);
  const digest = createHash('sha1');
  let [count, ended] = [0, false];
  socket
    .on('end', () => (ended = true))
    .on('data', (data: Buffer) => {
      count += data.length;
      digest.update(data);
      socket.pause();
      setImmediate(() => socket.resume());
    });
  await until(() => ended);
  t.equal(count, sent.length + 8);
  t.equal(digest.digest('hex'), createHash('sha1').update(sent).update('and this').digest('hex'));
  socket.end();
  await until(() => built[0]!.lost && socket.closed);
  t.same(built[0]!.events, ['made', 'lost ConnectionDone']);
});

t.test('a peer that says it has ended is answered, so that its end is in order too', async (t) => {
  const { port, built } = await serve(t);
  const raw = connectTCP(port, '127.0.0.1');
  const socket = connectTLS({ socket: raw, ca: [pem('ca.pem')], servername: 'localhost' });
  let ended = false;
  socket.on('end', () => (ended = true)).resume();
  socket.on('secureConnect', () => socket.end('bye'));
  await until(() => built[0]?.lost === true && raw.closed);
  t.same(built[0]!.events, ['made', 'data', 'lost ConnectionDone']);
  t.ok(ended);
});

// ── Around it ────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test(
  'a protocol hears of the handshake before anything else, once; what it throws ends it',
  async (t) => {
    class Listener extends Recorder {
      handshakeCompleted(): void {
        this.events.push('secured');
      }
    }
    class Faulty extends Protocol {
      handshakeCompleted(): void {
        throw new RangeError('not that');
      }
    }
    const { port, built } = await serve(t, () => new Listener());
    const client = new Listener({ made: ({ transport }) => transport.write('hi') });
    const made = connectProtocol(
      new SSL4ClientEndpoint(new Reactor(), '127.0.0.1', port, CLIENT),
      client,
    );
    t.equal(await made, client);
    await until(() => built[0]?.count === 2);
    client.transport.loseConnection();
    await until(() => client.lost && built[0]!.lost);
    t.same(client.events, ['made', 'secured', 'lost ConnectionDone']);
    t.same(built[0]!.events, ['made', 'secured', 'data', 'lost ConnectionDone']);
    new Reactor().connectSSL('127.0.0.1', port, serving(new Faulty()), CLIENT);
    await until(() => built[1]?.lost === true);
    t.match(flushLoggedErrors()[0]?.failure?.value.message, 'not that');
  },
);

t.test('wrapClientTLS and wrapServerTLS secure any endpoint, and TLS within TLS', async (t) => {
  const reactor = new Reactor();
  const sent = randomBytes(MIB);
  const options = { clock: reactor };
  for (const depth of [1, 2]) {
    const echo = new Recorder({ data: ({ transport }, data) => transport.write(data) });
    let inside: ReturnType<typeof wrapServerTLS> = new TCP4ServerEndpoint(reactor, 0, LOCAL);
    for (let i = 0; i < depth; i++) inside = wrapServerTLS(SERVER, inside, options);
    const port = await inside.listen(serving(echo));
    let way: ReturnType<typeof wrapClientTLS> = new TCP4ClientEndpoint(
      reactor,
      '127.0.0.1',
      portOf(port),
    );
    for (let i = 0; i < depth; i++) way = wrapClientTLS(CLIENT, way, options);
    const client = await connectProtocol(way, new Recorder());
    const transport = client.transport as ITLSTransport;
    transport.write(sent);
    transport.setTcpNoDelay(true);
    transport.setTcpKeepAlive(true);
    await until(() => client.count === sent.length);
    t.ok(client.bytes().equals(sent));
    t.match(transport.getPeerCertificate()?.subject, 'CN=localhost');
    transport.loseConnection();
    await until(() => client.lost && echo.lost);
    t.same(
      [client.events, echo.events],
      [
        ['made', 'data', 'lost ConnectionDone'],
        ['made', 'data', 'lost ConnectionDone'],
      ],
    );
    await port.stopListening();
  }
  t.same(reactor.getDelayedCalls(), []);
});

t.test('a wrapped factory hears of its connector, and refuses by null', async (t) => {
  const { port } = await serve(t, greeter);
  const reactor = new Reactor();
  const factory = new RecordingFactory();
  reactor.connectTCP(
    '127.0.0.1',
    port,
    new TLSMemoryBIOFactory(CLIENT, true, factory, { clock: reactor }),
  );
  await until(() => factory.events.includes('stop'));
  t.same(factory.events, ['start', 'connecting', 'build', 'lost ConnectionDone', 'stop']);
  t.equal(factory.built[0]!.text(), 'hello');
  const refusing = new RecordingFactory({ build: () => null });
  reactor.connectTCP(
    '127.0.0.1',
    port,
    new TLSMemoryBIOFactory(CLIENT, true, refusing, { clock: reactor }),
  );
  await until(() => refusing.events.includes('stop'));
  t.same(refusing.events, ['start', 'connecting', 'build', 'lost ConnectionDone', 'stop']);
});

t.test(
  'a wrapped factory hears that nobody is there, and a wrapped connection can be aborted',
  async (t) => {
    const { port } = await serve(t, greeter);
    const reactor = new Reactor();
    const lonely = new RecordingFactory();
    const nobody = new TLSMemoryBIOFactory(CLIENT, true, lonely, { clock: reactor });
    reactor.connectTCP('127.0.0.2', port, nobody, { bindAddress: { host: '192.0.2.1' } });
    await until(() => lonely.events.includes('stop'));
    t.same(lonely.events, ['start', 'connecting', 'failed ConnectBindError', 'stop']);

    const rude = new RecordingFactory({
      build: () => new Recorder({ data: ({ transport }) => transport.abortConnection() }),
    });
    const wrapped = new TLSMemoryBIOFactory(CLIENT, true, rude, { clock: reactor });
    reactor.connectTCP('127.0.0.1', port, wrapped);
    await until(() => rude.events.includes('stop'));
    t.same(rude.events, ['start', 'connecting', 'build', 'lost ConnectionAborted', 'stop']);
  },
);

t.test('a wrapper of a policy passes TLS on', async (t) => {
  const { port, built } = await serve(t);
  const reactor = new Reactor();
  const inner = new Recorder({
    made: ({ transport }) => {
      (transport as ITLSTransport).startTLS(CLIENT);
      transport.write('through a wrapper');
    },
  });
  const factory = new WrappingFactory(serving(inner));
  reactor.connectTCP('127.0.0.1', port, factory);
  await until(() => built[0]?.count === 17);
  const wrapper = inner.transport;
  if (!(wrapper instanceof ProtocolWrapper)) throw new Error('there is no wrapper');
  t.match(wrapper.getPeerCertificate()?.subject, 'CN=localhost');
  t.equal(wrapper.negotiatedProtocol, undefined);
  inner.transport.loseConnection();
  await until(() => inner.lost && built[0]!.lost);
});

t.test(
  'a server that cuts the connection in its handshake is an SSLError to the client',
  async (t) => {
    const server = createTLSServer({ ...serverContext, minVersion: 'TLSv1.3' }).listen(
      0,
      '127.0.0.1',
    );
    await until(() => server.listening);
    const { port } = server.address() as { port: number };
    const old = settings({ context: { ...clientContext, maxVersion: 'TLSv1.2' } });
    const client = new Recorder();
    new Reactor().connectSSL('127.0.0.1', port, serving(client), old);
    await until(() => client.lost);
    t.same(client.events, ['made', 'lost SSLError']);
    t.match(client.reason?.value.message, /alert/);
    server.close();
  },
);

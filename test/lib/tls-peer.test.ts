/**
 * The certificates of the other side: what is read of them, that it costs no memory for ever, and that renegotiations do
 * not change them.
 */
import { X509Certificate } from 'node:crypto';
import {
  type AddressInfo,
  connect,
  createServer as createPlainServer,
  type Socket,
} from 'node:net';
import { connect as connectTLS, createServer, TLSSocket, type TLSSocketOptions } from 'node:tls';
import {
  CertificateOptions,
  ClientFactory,
  ConnectionClosed,
  ConnectionDone,
  type ITLSTransport,
  optionsForClientTLS,
  Reactor,
  SSLError,
  type TLSSettings,
  VerificationError,
} from 'plait';
import { forgetSessions, keepSession, takeSession } from '../../lib/io/tls-context.ts';
import { inet } from '../contract/kinds.ts';
import { Recorder, type Script } from '../contract/recorder.ts';
import { pem, SERVER, settings } from '../contract/tls-kind.ts';
import t, { type Test } from '../fixture.ts';

const DEEP = { key: pem('deep.key'), cert: pem('deep.pem'), ca: [pem('ca.pem')] };
const CHAIN = ['CN=deep', 'CN=deep-2', 'CN=deep-1', 'CN=plait test root'];

function chainOf(certificate: X509Certificate | undefined): string[] {
  const subjects: string[] = [];
  for (let next = certificate; next !== undefined; next = next.issuerCertificate)
    subjects.push(next.subject);
  return subjects;
}

/** What two sides that both have certificates make of each other, until both have lost the connection. */
async function meet(both: Partial<TLSSettings>, script: Script<Recorder> = {}): Promise<Error[]> {
  const reactor = new Reactor();
  const [client, server] = [new Recorder(script), new Recorder(script)];
  const given = settings({ context: DEEP, requestCertificate: true, ...both });
  const served = { buildProtocol: () => server, doStart() {}, doStop() {} };
  const port = reactor.listenSSL(0, served, given, { interface: '127.0.0.1' });
  await port.ready;
  const factory = new ClientFactory();
  factory.buildProtocol = () => client;
  reactor.connectSSL('127.0.0.1', inet(port.getHost()).port, factory, given);
  while (!client.lost || !server.lost) await new Promise((resolve) => setImmediate(resolve));
  await port.stopListening();
  return [client, server].map(({ reason }) => reason?.value as Error);
}

/** A method of TLS sockets that the test replaces, and that is put back when it ends. */
function putBack<N extends 'getPeerCertificate' | 'getPeerX509Certificate'>(
  t: Test,
  name: N,
): TLSSocket[N] {
  const native = Reflect.get(TLSSocket.prototype, name) as TLSSocket[N];
  t.teardown(() => {
    TLSSocket.prototype[name] = native;
  });
  return native;
}

t.test('FND-17: both sides read the whole chain, each time, and leak none of it', async (t) => {
  putBack(t, 'getPeerX509Certificate');
  TLSSocket.prototype.getPeerX509Certificate = () => {
    throw new Error('it leaks, and takes the chain apart');
  };
  const chains: string[][] = [];
  const reasons = await meet(
    {
      checkPeer: ({ certificate }) => {
        chains.push(chainOf(certificate));
        return undefined; // it is for servers only
      },
    },
    {
      made: ({ transport }) => transport.write('here'),
      data: ({ transport }) => {
        for (let times = 0; times < 2; times++)
          chains.push(chainOf((transport as ITLSTransport).getPeerCertificate()));
        transport.loseConnection();
      },
    },
  );
  t.same(chains, [CHAIN, CHAIN, CHAIN, CHAIN, CHAIN, CHAIN]);
  for (const reason of reasons) t.ok(reason instanceof ConnectionDone, String(reason));
});

t.test('a certificate that Node cannot read refuses the other side', async (t) => {
  const native = putBack(t, 'getPeerCertificate');
  const unreadable = new Error('no such curve');
  // On a client the engine itself reads it first.
  TLSSocket.prototype.getPeerCertificate = function (this: TLSSocket, detailed?: boolean) {
    if ((this as { _tlsOptions?: TLSSocketOptions })._tlsOptions?.isServer === true)
      throw unreadable;
    return native.call(this, detailed);
  } as typeof native;
  const [client, server] = await meet({});
  t.ok(client instanceof ConnectionClosed, String(client));
  t.ok(server instanceof SSLError, String(server));
  t.equal((server as Error).cause, unreadable);
});

// ── Renegotiation ────────────────────────────────────────────────────────────────────────────────────────────────────

interface Renegotiating {
  /** How many renegotiations the client allows; undefined for the default. */
  readonly allows?: number;
  /** How often the server asks. */
  readonly asks: number;
}

/**
 * What a client reads, and how its connection ends, of a server of Node's that speaks TLS 1.2, says `ready`, asks for
 * renegotiations, says `done` after each, and hangs up.
 */
async function renegotiated(
  t: Test,
  { allows, asks }: Renegotiating,
): Promise<{ text: string; reason: Error }> {
  const served = {
    key: pem('server.key'),
    cert: pem('server.pem'),
    maxVersion: 'TLSv1.2',
  } as const;
  const server = createServer(served, (socket) => {
    socket.on('error', () => {});
    let left = asks;
    const ask = (): void => {
      if (left-- === 0) return void socket.end();
      socket.renegotiate({ rejectUnauthorized: false }, (error) => {
        if (error === null) socket.write('done', ask);
      });
    };
    socket.write('ready', ask);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
  const { port } = server.address() as AddressInfo;
  const client = new Recorder();
  const factory = new ClientFactory();
  factory.buildProtocol = () => client;
  const options = optionsForClientTLS('localhost', {
    trustRoot: pem('ca.pem'),
    ...(allows !== undefined && { extraCertificateOptions: { renegotiations: allows } }),
  });
  new Reactor().connectSSL('127.0.0.1', port, factory, options);
  while (!client.lost) await new Promise((resolve) => setImmediate(resolve));
  return { text: client.text(), reason: client.reason?.value as Error };
}

t.test('FND-57: a client that allows it renegotiates when its server asks', async (t) => {
  const { text, reason } = await renegotiated(t, { allows: 2, asks: 2 });
  t.equal(text, 'readydonedone');
  t.ok(reason instanceof ConnectionDone, String(reason));
});

t.test('FND-57: a client that has refused to renegotiate names the option', async (t) => {
  for (const allows of [undefined, 0]) {
    const { text, reason } = await renegotiated(t, {
      ...(allows !== undefined && { allows }),
      asks: 1,
    });
    t.equal(text, 'ready');
    t.ok(reason instanceof SSLError, String(reason));
    t.match(reason.message, /was refused a renegotiation, which the option renegotiations allows/);
  }
});

t.test('FND-57: no more renegotiations than allowed', async (t) => {
  const { text, reason } = await renegotiated(t, { allows: 1, asks: 2 });
  t.match(text, /^readydone/);
  t.ok(reason instanceof SSLError, String(reason));
  t.match(reason.message, /more than 1 renegotiations/);
  for (const renegotiations of [-1, 1.5, NaN, Infinity, '1' as unknown as number])
    t.throws(() => new CertificateOptions({ renegotiations }), RangeError);
});

t.test('FND-57: a server that becomes another by a renegotiation is refused', async (t) => {
  const native = putBack(t, 'getPeerCertificate');
  const { raw } = new X509Certificate(pem('deep.pem'));
  // A server of Node's cannot change its certificate.
  TLSSocket.prototype.getPeerCertificate = function (this: TLSSocket, detailed?: boolean) {
    return detailed === true ? native.call(this, detailed) : { raw };
  } as typeof native;
  const { text, reason } = await renegotiated(t, { allows: 5, asks: 1 });
  t.ok(reason instanceof VerificationError, String(reason));
  t.equal(text, 'ready');
});

t.test('FND-57: what else ends a connection is not put down to a renegotiation', async (t) => {
  const served = { key: pem('server.key'), cert: pem('server.pem') };
  const limits = { maxVersion: 'TLSv1.2' } as const;
  const asking = createServer({ ...served, ...limits }, (socket) => {
    socket.on('error', () => {});
    socket.renegotiate({ rejectUnauthorized: false }, () => {});
  });
  const resetting = createServer({ ...served, ...limits, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {}).resume();
    socket.on('end', () => raw?.resetAndDestroy());
  });
  let raw: Socket | undefined;
  resetting.on('connection', (socket: Socket) => (raw = socket.on('error', () => {})));
  // Answers the alert by which the client refuses with what is no TLS.
  const between = createPlainServer((socket) => {
    const above = connect((asking.address() as AddressInfo).port, '127.0.0.1');
    for (const each of [socket, above]) each.on('error', () => {});
    above.on('data', (data) => socket.write(data));
    socket.on('data', (data) => {
      if (data[0] === 21) socket.end('this is no TLS');
      else above.write(data);
    });
    socket.on('close', () => above.destroy());
  });
  for (const server of [asking, resetting, between]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => new Promise((resolve) => server.close(resolve)));
  }
  class Half extends Recorder {
    readConnectionLost(): void {}
    writeConnectionLost(): void {}
    handshakeCompleted(): void {
      if (this.halves) (this.transport as ITLSTransport).loseWriteConnection();
    }
    halves = false;
  }
  for (const [server, halves, what] of [
    [between, false, /wrong version number/],
    [resetting, true, /reset/i],
  ] as const) {
    const client = Object.assign(new Half(), { halves });
    const factory = new ClientFactory();
    factory.buildProtocol = () => client;
    const options = optionsForClientTLS('localhost', { trustRoot: pem('ca.pem') });
    const { port } = server.address() as AddressInfo;
    new Reactor().connectSSL('127.0.0.1', port, factory, options);
    while (!client.lost) await new Promise((resolve) => setImmediate(resolve));
    const { message } = client.reason?.value as Error;
    t.match(message, what);
    t.notMatch(message, /renegotiation/);
  }
});

t.test('FND-57: a server that refuses to renegotiate is not told of an option', async (t) => {
  const server = new Recorder();
  const reactor = new Reactor();
  const factory = { buildProtocol: () => server, doStart() {}, doStop() {} };
  const port = reactor.listenSSL(0, factory, SERVER, { interface: '127.0.0.1' });
  await port.ready;
  const socket = connectTLS({
    port: inet(port.getHost()).port,
    ca: [pem('ca.pem')],
    servername: 'localhost',
    host: '127.0.0.1',
    maxVersion: 'TLSv1.2',
  });
  socket.on('error', () => {});
  socket.on('secureConnect', () => socket.renegotiate({}, () => socket.destroy()));
  while (!server.lost) await new Promise((resolve) => setImmediate(resolve));
  const { message } = server.reason?.value as Error;
  t.match(message, /alert/);
  t.notMatch(message, /option/);
  await port.stopListening();
});

/** A certificate, for which the next ones vouch. */
function certificateOf(...names: readonly string[]): X509Certificate {
  const [name = '', ...others] = names;
  const issuer = others.length === 0 ? undefined : certificateOf(...others);
  const certificate = new X509Certificate(pem(`${name}.pem`));
  return Object.defineProperty(certificate, 'issuerCertificate', { value: issuer });
}

t.test(
  'FND-73: a kept session ends with its certificate, and with those that vouch for it',
  (t) => {
    t.teardown(forgetSessions);
    const taken = (...names: readonly string[]): boolean => {
      keepSession('key', Buffer.from('session'), certificateOf(...names));
      return takeSession('key') !== undefined;
    };
    t.equal(taken('server', 'intermediate', 'ca'), true);
    t.equal(taken('expired', 'ca'), false);
    t.equal(taken('server', 'expired', 'ca'), false);
    t.equal(taken('server', 'intermediate', 'expired'), false);
    const unreadable = certificateOf('server');
    Object.defineProperty(unreadable, 'validTo', { value: 'some day' });
    keepSession('key', Buffer.from('session'), unreadable);
    t.equal(takeSession('key'), undefined, 'what is not certain is no');
    const broken = new X509Certificate(pem('server.pem'));
    Object.defineProperty(broken, 'issuerCertificate', {
      get() {
        throw new Error('it cannot be read');
      },
    });
    keepSession('key', Buffer.from('session'), broken);
    t.equal(takeSession('key'), undefined);
    t.end();
  },
);

t.test(
  'FND-73: a session that is kept is replaced by a later one, used once, and one of 256',
  (t) => {
    t.teardown(forgetSessions);
    const [first, renewed] = [certificateOf('server'), certificateOf('client')];
    keepSession('key', Buffer.from('old'), first);
    keepSession('key', Buffer.from('new'), renewed);
    const kept = takeSession('key');
    t.equal(String(kept?.session), 'new');
    t.equal(kept?.certificate, renewed);
    t.equal(takeSession('key'), undefined);
    for (let i = 0; i < 256; i++) keepSession(`${i}`, Buffer.from('x'), first);
    keepSession('0', Buffer.from('again'), first); // the youngest now
    keepSession('256', Buffer.from('x'), first);
    t.equal(takeSession('1'), undefined, 'the oldest has gone');
    t.ok(takeSession('0'));
    t.ok(takeSession('2'));
    forgetSessions();
    t.equal(takeSession('3'), undefined);
    t.end();
  },
);

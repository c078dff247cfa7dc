/** The certificates of the other side: what is read of them, and that it costs no memory for ever. */
import type { X509Certificate } from 'node:crypto';
import { TLSSocket, type TLSSocketOptions } from 'node:tls';
import {
  ClientFactory,
  ConnectionClosed,
  ConnectionDone,
  type ITLSTransport,
  Reactor,
  SSLError,
  type TLSSettings,
} from 'plait';
import { inet } from '../contract/kinds.ts';
import { Recorder, type Script } from '../contract/recorder.ts';
import { pem, settings } from '../contract/tls-kind.ts';
import t from '../fixture.ts';

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

t.test('FND-17: both sides read the whole chain, each time, and leak none of it', async (t) => {
  const native = TLSSocket.prototype.getPeerX509Certificate;
  t.teardown(() => (TLSSocket.prototype.getPeerX509Certificate = native));
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
  const native = TLSSocket.prototype.getPeerCertificate;
  t.teardown(() => (TLSSocket.prototype.getPeerCertificate = native));
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

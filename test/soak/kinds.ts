/**
 * What a soak does again and again: for each kind, how it is set up, and one cycle of it, from nothing to nothing. Both
 * ends are in this process, so that what either leaves behind shows.
 */
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Address,
  clientFromString,
  connectProtocol,
  DatagramProtocol,
  Deferred,
  deferLater,
  deferToThreadPool,
  Factory,
  FileSender,
  getProcessOutput,
  type IListeningPort,
  type IStreamClientEndpoint,
  inlineCallbacks,
  IPv4Address,
  type ITLSContextFactory,
  type ITLSTransport,
  Protocol,
  Reactor,
  SSL4ClientEndpoint,
  TCP4ClientEndpoint,
  ThreadPool,
  type TLSSettings,
  trustRootFromCertificates,
  UNIXClientEndpoint,
} from 'plait';
import { FakeClamd, scan } from 'plait/protocols/clamd';
import { getPage } from 'plait/protocols/http';

/** What is soaked. */
export interface Kind {
  /** One of it, made and gone again. */
  cycle(): Promise<unknown>;
  /** Takes away what all cycles share. */
  stop(): Promise<unknown>;
  /** How many cycles are under way at a time. Default: 25. */
  readonly atOnce?: number;
}

const LOCAL = { interface: '127.0.0.1' };

const pem = (name: string): string =>
  readFileSync(new URL(`../../../test/fixtures/tls/${name}`, import.meta.url), 'utf8');

function settings(given: TLSSettings): ITLSContextFactory {
  return { tlsSettings: () => given };
}

const SERVER = { key: pem('server.key'), cert: pem('server.pem'), ca: [pem('ca.pem')] };
const CLIENT = { key: pem('client.key'), cert: pem('client-full.pem'), ca: [pem('ca.pem')] };
const clientSettings: TLSSettings = { context: CLIENT, checkPeer: ({ problem }) => problem };
/** A server that looks at names gives out no tickets: each handshake is a whole one. */
const whole = settings({ context: SERVER, forName: () => undefined });
const client = settings(clientSettings);
const resuming = settings({ ...clientSettings, sessionKey: 'soak' });
const asking = settings({
  context: SERVER,
  requestCertificate: true,
  checkPeer: ({ certificate, problem }) =>
    certificate === undefined ? new Error('no certificate was shown') : problem,
});

class Echo extends Protocol {
  override dataReceived(data: Buffer): void {
    this.transport.write(data);
  }
}

/** Asks once, and is done when the answer has come and the connection is gone. */
class Asker extends Protocol {
  readonly lost = new Deferred<void>();
  #answered = false;

  override connectionMade(): void {
    this.transport.write('ping');
  }

  override dataReceived(): void {
    this.#answered = true;
    this.transport.loseConnection();
  }

  override connectionLost(reason: { value: Error }): void {
    if (this.#answered) this.lost.callback();
    else this.lost.errback(reason.value);
  }
}

function portOf(port: IListeningPort): number {
  const address: Address = port.getHost();
  if (address instanceof IPv4Address) return address.port;
  throw new TypeError(`${address} has no port`);
}

/** Connections to a server, each of which asks once. */
async function asked(
  port: IListeningPort,
  endpoint: () => IStreamClientEndpoint,
  Client: new () => Asker = Asker,
): Promise<Kind> {
  await port.ready;
  const to = endpoint();
  return {
    cycle: async () => (await connectProtocol(to, new Client())).lost,
    stop: () => port.stopListening().asPromise(),
  };
}

function secured(server: ITLSContextFactory, toServer: ITLSContextFactory): Promise<Kind> {
  const reactor = new Reactor();
  const port = reactor.listenSSL(0, Factory.forProtocol(Echo), server, LOCAL);
  return asked(port, () => new SSL4ClientEndpoint(reactor, '127.0.0.1', portOf(port), toServer));
}

/** Becomes secure by a word. */
class StartTLSServer extends Protocol {
  #secure = false;

  override dataReceived(data: Buffer): void {
    this.transport.write(data);
    if (!this.#secure) (this.transport as ITLSTransport).startTLS(whole);
    this.#secure = true;
  }
}

class StartTLSAsker extends Asker {
  #secure = false;

  override dataReceived(): void {
    if (this.#secure) {
      super.dataReceived();
      return;
    }
    this.#secure = true;
    (this.transport as ITLSTransport).startTLS(client);
    this.transport.write('ping');
  }
}

/** Answers each request by a page. */
class Page extends Protocol {
  override dataReceived(): void {
    this.transport.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nping');
    this.transport.loseConnection();
  }
}

async function pages(scheme: 'http' | 'https'): Promise<Kind> {
  const reactor = new Reactor();
  const factory = Factory.forProtocol(Page);
  const port =
    scheme === 'http'
      ? reactor.listenTCP(0, factory, LOCAL)
      : reactor.listenSSL(0, factory, whole, LOCAL);
  await port.ready;
  const url = `${scheme}://127.0.0.1:${portOf(port)}/`;
  const trustRoot = trustRootFromCertificates([pem('ca.pem')]);
  return {
    cycle: () => getPage(url, { reactor, trustRoot }).asPromise(),
    stop: () => port.stopListening().asPromise(),
  };
}

function folder(): string {
  return mkdtempSync(join(tmpdir(), 'plait-soak-'));
}

/** Takes one datagram, and closes. */
class Datagrams extends DatagramProtocol {
  readonly came = new Deferred<void>();

  override startProtocol(): void {
    const { host, port } = this.transport.getHost();
    this.transport.write('ping', { host, port });
  }

  override datagramReceived(): void {
    this.came.callback();
  }
}

const kept: unknown[] = [];

/** By name; those that begin with `planted` leave something behind, to show that it is found. */
export const kinds: Readonly<Record<string, () => Kind | Promise<Kind>>> = {
  tcp: () => {
    const reactor = new Reactor();
    const port = reactor.listenTCP(0, Factory.forProtocol(Echo), LOCAL);
    return asked(port, () => new TCP4ClientEndpoint(reactor, '127.0.0.1', portOf(port)));
  },
  unix: async () => {
    const reactor = new Reactor();
    const where = folder();
    const path = join(where, 'socket');
    const port = reactor.listenUNIX(path, Factory.forProtocol(Echo), { wantPID: true });
    const kind = await asked(port, () => new UNIXClientEndpoint(reactor, path));
    return {
      ...kind,
      stop: async () => {
        await kind.stop();
        rmSync(where, { recursive: true });
      },
    };
  },
  tls: () => secured(whole, client),
  'tls-client-certificate': () => secured(asking, client),
  'tls-resumed': () => secured(settings({ context: SERVER }), resuming),
  starttls: () => {
    const reactor = new Reactor();
    const port = reactor.listenTCP(0, Factory.forProtocol(StartTLSServer), LOCAL);
    const endpoint = () => new TCP4ClientEndpoint(reactor, '127.0.0.1', portOf(port));
    return asked(port, endpoint, StartTLSAsker);
  },
  http: () => pages('http'),
  https: () => pages('https'),
  clamd: async () => {
    const reactor = new Reactor();
    const port = reactor.listenTCP(0, new FakeClamd({ reactor }), LOCAL);
    await port.ready;
    const endpoint = clientFromString(reactor, `tcp:127.0.0.1:${portOf(port)}`);
    return {
      cycle: () => scan(Buffer.from('harmless'), { reactor, endpoint }).asPromise(),
      stop: () => port.stopListening().asPromise(),
    };
  },
  process: () => {
    const reactor = new Reactor();
    return {
      cycle: () => getProcessOutput('/bin/true', { reactor }).asPromise(),
      stop: () => Promise.resolve(),
      atOnce: 4,
    };
  },
  thread: () => {
    const reactor = new Reactor();
    const pool = new ThreadPool({ reactor, max: 2 });
    pool.start();
    return {
      cycle: () => deferToThreadPool(reactor, pool, (n: number) => n + 1, 1).asPromise(),
      stop: () => pool.stop().asPromise(),
    };
  },
  udp: () => {
    const reactor = new Reactor();
    return {
      cycle: async () => {
        const protocol = new Datagrams();
        const port = reactor.listenUDP(0, protocol, LOCAL);
        await protocol.came;
        await port.stopListening();
      },
      stop: () => Promise.resolve(),
    };
  },
  timer: () => {
    const reactor = new Reactor();
    return {
      cycle: async () => {
        reactor.callLater(3600, () => {}).cancel();
        await deferLater(reactor, 0);
      },
      stop: () => Promise.resolve(),
    };
  },
  coroutine: () => {
    const reactor = new Reactor();
    const child = inlineCallbacks(function* (n: number) {
      yield* deferLater(reactor, 0);
      return n;
    });
    const parent = inlineCallbacks(function* () {
      const cut = child(1);
      cut.addErrback(() => {});
      cut.cancel();
      return yield* child(2);
    });
    return { cycle: () => parent().asPromise(), stop: () => Promise.resolve() };
  },
  file: async () => {
    const reactor = new Reactor();
    const where = folder();
    const path = join(where, 'file');
    writeFileSync(path, Buffer.alloc(100_000, 'x'));
    class Served extends Protocol {
      override connectionMade(): void {
        void this.#send();
      }

      async #send(): Promise<void> {
        const file = await open(path);
        await new FileSender().beginFileTransfer(file, this.transport);
        await file.close();
        this.transport.loseConnection();
      }
    }
    const port = reactor.listenTCP(0, Factory.forProtocol(Served), LOCAL);
    await port.ready;
    class Taker extends Asker {
      override dataReceived(): void {}
      override connectionLost(): void {
        this.lost.callback();
      }
    }
    const endpoint = new TCP4ClientEndpoint(reactor, '127.0.0.1', portOf(port));
    return {
      cycle: async () => (await connectProtocol(endpoint, new Taker())).lost,
      stop: async () => {
        await port.stopListening();
        rmSync(where, { recursive: true });
      },
      atOnce: 8,
    };
  },
  'planted-native': () => planted(() => Buffer.alloc(64 * 1024, 1)),
  'planted-heap': () =>
    planted(() => Array.from({ length: 2000 }, (_, i) => `${i} ${kept.length}`)),
  'planted-descriptor': () => planted(() => openSync('/dev/null', 'r')),
  'planted-handle': () => planted(() => setInterval(() => {}, 1e9).ref()),
};

function planted(leak: () => unknown): Kind {
  return {
    cycle: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      kept.push(leak());
    },
    stop: () => Promise.resolve(),
    atOnce: 1,
  };
}

/** Connections of each kind that are made, used and closed again and again, after which all must be as it was. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Address,
  ClientFactory,
  Deferred,
  Factory,
  type IConnector,
  type IListeningPort,
  IPv4Address,
  IPv6Address,
  Protocol,
  Reactor,
  UNIXAddress,
} from 'plait';
import { secure } from './identity.ts';

/** How many are under way at a time. */
const AT_ONCE = 25;

/** How much larger the heap may be afterwards, in bytes. */
const HEAP_SLACK = 1024 * 1024;

class Echo extends Protocol {
  override dataReceived(data: Buffer): void {
    this.transport.write(data);
  }
}

class Asker extends Protocol {
  override connectionMade(): void {
    this.transport.write('ping');
  }

  override dataReceived(): void {
    this.transport.loseConnection();
  }
}

/** Connects again each time a connection is gone, as often as it is to. */
class Again extends ClientFactory {
  override protocol = Asker;
  left: number;
  readonly done = new Deferred<void>();

  constructor(left: number) {
    super();
    this.left = left;
  }

  override clientConnectionFailed(_connector: IConnector, reason: { value: Error }): void {
    if (!this.done.called) this.done.errback(reason.value);
  }

  override clientConnectionLost(connector: IConnector): void {
    if (--this.left > 0) connector.connect();
    else this.done.callback();
  }
}

interface Kind {
  readonly kind: string;
  listen(reactor: Reactor, factory: Factory): IListeningPort;
  connect(reactor: Reactor, to: Address, factory: ClientFactory): IConnector;
}

function portOf(address: Address): number {
  if (address instanceof IPv4Address || address instanceof IPv6Address) return address.port;
  throw new TypeError(`${address} has no port`);
}

function kindsIn(folder: string): Kind[] {
  const path = join(folder, 'socket');
  return [
    {
      kind: 'tcp',
      listen: (reactor, factory) => reactor.listenTCP(0, factory, { interface: '127.0.0.1' }),
      connect: (reactor, to, factory) => reactor.connectTCP('127.0.0.1', portOf(to), factory),
    },
    {
      kind: 'tcp6',
      listen: (reactor, factory) => reactor.listenTCP(0, factory, { interface: '::1' }),
      connect: (reactor, to, factory) => reactor.connectTCP('::1', portOf(to), factory),
    },
    {
      kind: 'unix',
      listen: (reactor, factory) => reactor.listenUNIX(path, factory),
      connect: (reactor, to, factory) =>
        reactor.connectUNIX(to instanceof UNIXAddress ? (to.name ?? '') : '', factory),
    },
    {
      kind: 'tls',
      listen: (reactor, factory) =>
        reactor.listenSSL(0, factory, secure('server'), { interface: '127.0.0.1' }),
      connect: (reactor, to, factory) =>
        reactor.connectSSL('127.0.0.1', portOf(to), factory, secure('client')),
    },
  ];
}

/** Makes and closes `count` connections one way, some at a time. */
async function run(kind: Kind, count: number): Promise<Reactor> {
  const reactor = new Reactor();
  const port = kind.listen(reactor, Factory.forProtocol(Echo));
  await port.ready;
  const factories = Array.from({ length: AT_ONCE }, () => new Again(Math.ceil(count / AT_ONCE)));
  await Promise.all(
    factories.map((factory) => {
      kind.connect(reactor, port.getHost(), factory);
      return factory.done.asPromise();
    }),
  );
  await port.stopListening();
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  return reactor;
}

function heap(): number {
  global.gc?.();
  global.gc?.();
  return process.memoryUsage().heapUsed;
}

/** For each kind, what is left: a line that begins with `!` if it is too much. */
export async function cycles(count: number): Promise<{ kind: string; left: string }[]> {
  const folder = mkdtempSync(join(tmpdir(), 'plait-'));
  const results: { kind: string; left: string }[] = [];
  for (const kind of kindsIn(folder)) {
    await run(kind, Math.min(count, 500)); // what is made once and kept is no leak
    const [handles, before] = [process.getActiveResourcesInfo().sort().join(), heap()];
    const reactor = await run(kind, count);
    const growth = heap() - before;
    const after = process.getActiveResourcesInfo().sort().join();
    const calls = reactor.getDelayedCalls().length;
    const well = handles === after && calls === 0 && growth <= HEAP_SLACK;
    results.push({
      kind: kind.kind,
      left: `${well ? '' : '! '}heap ${(growth / 1024).toFixed(0)} KiB, ${calls} timers, handles ${handles === after ? 'as before' : `${handles} → ${after}`}`,
    });
  }
  rmSync(folder, { recursive: true });
  return results;
}

/**
 * The programs of docs/examples/ that need arguments or run until they are stopped. Those of docs/comparison.md are
 * there three times, for plait, asyncio and Twisted; they are given the same, and must say the same. And what a page
 * says that an example prints, it prints.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  clientFromString,
  connectProtocol,
  Deferred,
  Factory,
  type Failure,
  type IListeningPort,
  Protocol,
  Reactor,
} from 'plait';
import { eicar, FakeClamd } from 'plait/protocols/clamd';
import t, { type Test } from './fixture.ts';
import { needs } from './interop/servers.ts';
import { startExample } from './programs.ts';

/** Runs a test for each of the programs, as far as this machine can. */
function forEachKind(
  programs: Readonly<Record<'plait' | 'asyncio' | 'Twisted', string>>,
  check: (t: Test, program: string) => Promise<void>,
) {
  for (const program of Object.values(programs)) {
    void t.test(program, async (t) => {
      if (program.endsWith('.py') && !needs(t, 'python')) return;
      await check(t, program);
    });
  }
}

const SLEEP = { plait: 'sleep.ts', asyncio: 'sleep_asyncio.py', Twisted: 'sleep_twisted.py' };
const ECHO = { plait: 'echo.ts', asyncio: 'echo_asyncio.py', Twisted: 'echo_twisted.py' };
const CLAMD = { plait: 'clamd.ts', asyncio: 'clamd_asyncio.py', Twisted: 'clamd_twisted.py' };

forEachKind(SLEEP, async (t, program) => {
  const { code, stdout, stderr } = await startExample(t, program).ended;
  t.equal(stderr.toString(), '');
  t.equal(code, 0);
  t.same(stdout.toString().split('\n'), [
    'long: asleep',
    'short: asleep',
    'short: awake after 0.1 seconds',
    'long: awake after 0.2 seconds',
    '',
  ]);
});

/** Waits until as many bytes have come back as it has sent. */
class EchoClient extends Protocol {
  readonly echoed = new Deferred<Buffer>();
  readonly #received: Buffer[] = [];
  readonly #bytes: Buffer;
  #missing: number;

  constructor(bytes: Buffer) {
    super();
    this.#bytes = bytes;
    this.#missing = bytes.length;
  }

  override connectionMade() {
    this.transport.write(this.#bytes);
  }

  override dataReceived(data: Buffer) {
    this.#received.push(data);
    this.#missing -= data.length;
    if (this.#missing === 0) this.transport.loseConnection();
  }

  override connectionLost(reason: Failure) {
    this.echoed.callback(Buffer.concat(this.#received));
  }
}

forEachKind(ECHO, async (t, program) => {
  const running = startExample(t, program, '0');
  const [, address] = /^listening on (127\.0\.0\.1:\d+)$/.exec(await running.firstLine()) ?? [];
  const endpoint = clientFromString(new Reactor(), `tcp:${address}`);
  const bytes = randomBytes(200_000);
  const clients = await Promise.all([
    connectProtocol(endpoint, new EchoClient(bytes)),
    connectProtocol(endpoint, new EchoClient(Buffer.from('hello'))),
  ]);
  const echoes = await Promise.all(clients.map(({ echoed }) => echoed));
  t.ok(echoes[0]?.equals(bytes));
  t.equal(echoes[1]?.toString(), 'hello');
  await running.stop();
  t.equal((await running.ended).stderr.toString(), '');
});

/** Reads, and says nothing. */
class Silent extends Protocol {}

/** Closes when the first bytes have arrived. */
class HangsUp extends Protocol {
  override dataReceived() {
    this.transport.loseConnection();
  }
}

/** Answers with something that only looks as if the stream were clean. */
class Mumbles extends Protocol {
  override dataReceived() {
    this.transport.write('stream: OK, I suppose\0');
  }
}

forEachKind(CLAMD, async (t, program) => {
  const reactor = new Reactor();
  const listen = (factory: Factory): IListeningPort =>
    reactor.listenTCP(0, factory, { interface: '127.0.0.1' });
  const ports = {
    clamd: listen(new FakeClamd({ reactor, streamMaxLength: 200_000 })),
    silent: listen(Factory.forProtocol(Silent)),
    hangsUp: listen(Factory.forProtocol(HangsUp)),
    mumbles: listen(Factory.forProtocol(Mumbles)),
    nobody: listen(new Factory()),
  };
  await Promise.all(Object.values(ports).map(({ ready }) => ready));
  const folder = t.testdir({ clean: 'harmless', large: '' });
  writeFileSync(join(folder, 'eicar'), eicar());
  writeFileSync(join(folder, 'large'), Buffer.alloc(10_000_000));
  await ports.nobody.stopListening();

  const scan = async (port: IListeningPort, file: string, ...more: string[]) => {
    const [, number = ''] = port.getHost().toString().split(':');
    const args = [number, join(folder, file), ...more];
    const { code, stdout, stderr } = await startExample(t, program, ...args).ended;
    t.equal(stderr.toString(), '', `${args}`);
    return [code, stdout.toString()];
  };
  t.same(await scan(ports.clamd, 'clean'), [0, 'clean\n']);
  t.same(await scan(ports.clamd, 'eicar'), [1, 'infected: Eicar-Test-Signature\n']);
  const failures = await Promise.all([
    scan(ports.clamd, 'large'),
    scan(ports.clamd, 'missing'),
    scan(ports.hangsUp, 'clean'),
    scan(ports.mumbles, 'clean'),
    scan(ports.nobody, 'clean'),
    scan(ports.silent, 'clean', '0.2'),
  ]);
  for (const [code, output] of failures) {
    t.equal(code, 2);
    t.match(output, /^error: .*\S.*\n$/);
  }
  for (const port of Object.values(ports)) await port.stopListening();
});

t.test('check-page fetches a page and has it scanned', async (t) => {
  const reactor = new Reactor();
  const clamd = reactor.listenTCP(0, new FakeClamd({ reactor }), { interface: '127.0.0.1' });
  await clamd.ready;
  const site = createServer((request, response) => {
    response.end(request.url === '/virus' ? eicar() : 'harmless');
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  const url = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  for (const [path, status] of [
    ['/', 'clean'],
    ['/virus', 'infected'],
  ] as const) {
    const args = [url + path, `tcp:${clamd.getHost()}`];
    const { stdout, stderr } = await startExample(t, 'check-page.ts', ...args).ended;
    t.equal(stderr.toString(), '');
    t.equal(stdout.toString(), `${url}${path} is ${status}\n`);
  }
  site.close();
  await clamd.stopListening();
});

t.test('deferreds prints what docs/reference/deferred.md shows', async (t) => {
  const page = readFileSync('docs/reference/deferred.md', 'utf8');
  const shown = [...page.matchAll(/```text\n(.*?)```/gs)].map(([, text = '']) => text);
  const { stdout } = await startExample(t, 'deferreds.ts').ended;
  t.equal(stdout.toString(), shown.join(''));
});

t.test(
  'FND-67: the phases of a shutdown come in the order in which the page numbers them',
  async (t) => {
    const { code, stdout } = await startExample(t, 'shutdown.ts').ended;
    t.equal(code, 0);
    const numbers = String(stdout)
      .split('\n')
      .map((line) => line.slice(0, 2));
    t.same(
      numbers.filter((number) => number.trim() !== ''),
      ['1.', '2.', '3.', '4.', '5.', '6.'],
    );
  },
);

/** The client against ClamAV's own clamd; and the fake beside it, which must answer the same. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type NetConnectOpts } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IPv4Address, Reactor } from 'plait';
import {
  eicar,
  FakeClamd,
  type FakeClamdOptions,
  NoReply,
  ping,
  scan,
  type ScanOptions,
  version,
} from 'plait/protocols/clamd';
import t, { type Test } from '../fixture.ts';
import { needs, startClamd } from './servers.ts';

/** As small as allows for a big stream, lest the one that is too long takes long. */
const LIMIT = 8 * 2 ** 20;
const CONFIG = { streamMaxLength: String(LIMIT) };
/** What clamd adds to the name of a signature that ClamAV has not signed. */
const NAME = 'Eicar-Test-Signature.UNOFFICIAL';

/** A clamd, real or not, by the places where it listens. */
interface Places {
  readonly tcp: { readonly host: string; readonly port: number };
  readonly unix: { readonly path: string };
}

/** A fake that is set up as the real one is. */
async function startFake(t: Test, options: FakeClamdOptions = {}): Promise<Places> {
  const reactor = new Reactor();
  const factory = new FakeClamd({
    reactor,
    signatures: new Map([[NAME, eicar()]]),
    streamMaxLength: LIMIT,
    ...options,
  });
  const folder = mkdtempSync(join(tmpdir(), 'plait-'));
  const path = join(folder, 'clamd.ctl');
  const ports = [
    reactor.listenTCP(0, factory, { interface: '127.0.0.1' }),
    reactor.listenUNIX(path, factory),
  ] as const;
  t.teardown(async () => {
    for (const port of ports) await port.stopListening();
    rmSync(folder, { recursive: true });
  });
  for (const port of ports) await port.ready;
  const address = ports[0].getHost();
  if (!(address instanceof IPv4Address)) throw new Error(`listens on ${address}`);
  return { tcp: { host: address.host, port: address.port }, unix: { path } };
}

/** The options with which the client talks to each of its sockets. */
function clientsOf({ tcp, unix }: Places): { tcp: ScanOptions; unix: ScanOptions } {
  const shared = { reactor: new Reactor(), timeout: 60 };
  return {
    tcp: { ...shared, endpoint: `tcp:${tcp.host}:${tcp.port}` },
    unix: { ...shared, endpoint: `unix:${unix.path}` },
  };
}

/** `length` bytes in pieces of all sizes. */
function* pieces(length: number): Generator<Buffer> {
  const bytes = Buffer.alloc(200_000, 'harmless');
  let size = 1;
  for (let rest = length; rest > 0; rest -= size) {
    size = Math.min(rest, 1 + ((size * 7919) % bytes.length));
    yield bytes.subarray(0, size);
  }
}

/** What the client must find out about a clamd, whichever it is. */
async function checkClient(t: Test, options: ScanOptions): Promise<void> {
  t.equal(await ping(options), true);
  t.match(await version(options), /^ClamAV \d/);
  t.same(await scan(Buffer.from('harmless'), options), { status: 'clean', bytesSent: 8 });
  t.same(await scan(Buffer.alloc(0), options), { status: 'clean', bytesSent: 0 });

  const infected = { status: 'infected', signatures: [NAME], bytesSent: 68 };
  const path = join(t.testdir({}), 'file');
  writeFileSync(path, eicar());
  t.same(await scan(eicar(), options), infected);
  t.same(await scan({ path }, options), infected);
  t.same(await scan(eicar(), { ...options, chunkSize: 1 }), infected);

  t.same(
    await scan(pieces(LIMIT), options),
    { status: 'clean', bytesSent: LIMIT },
    'as long as it may be',
  );
  const tooLong = await scan(pieces(LIMIT + 1), options);
  t.match(tooLong, { status: 'error', kind: 'size-limit' });

  // Each time clamd answers and is gone while the client sends; the answer must not be lost in that.
  for (let i = 0; i < 20; i++) {
    const verdict = await scan(pieces(64 * 2 ** 20), options);
    const fields = { status: 'error', reply: 'INSTREAM size limit exceeded. ERROR' };
    t.match(verdict, { ...fields, kind: 'size-limit' });
    t.ok('bytesSent' in verdict && verdict.bytesSent > LIMIT / 2);
  }
  const many = Array.from({ length: 20 }, (_, i) =>
    scan(i % 2 ? eicar() : pieces(99_999), options),
  );
  const statuses = (await Promise.all(many)).map(({ status }) => status);
  t.same(
    statuses,
    Array.from({ length: 20 }, (_, i) => (i % 2 ? 'infected' : 'clean')),
  );
  t.same(options.reactor?.getDelayedCalls(), []);
}

t.test('the client and clamd, over TCP and over a UNIX socket', async (t) => {
  if (!needs(t, 'clamd')) return;
  const { host, port, path } = await startClamd(t, CONFIG);
  const clients = clientsOf({ tcp: { host, port }, unix: { path } });
  for (const [socket, options] of Object.entries(clients)) {
    await t.test(socket, (t) => checkClient(t, options));
  }
});

t.test('the client and the fake, over TCP and over a UNIX socket', async (t) => {
  const clients = clientsOf(await startFake(t));
  for (const [socket, options] of Object.entries(clients)) {
    await t.test(socket, (t) => checkClient(t, options));
  }
});

t.test('a clamd that is killed within the stream', async (t) => {
  if (!needs(t, 'clamd')) return;
  const clamd = await startClamd(t);
  const { tcp: options } = clientsOf({ tcp: clamd, unix: clamd });
  async function* source() {
    yield Buffer.alloc(1000);
    process.kill(clamd.process.pid!, 'SIGKILL');
    await clamd.process.ended;
    yield Buffer.alloc(1000);
    await new Promise(() => {});
  }
  const error: unknown = await scan(source(), options)
    .asPromise()
    .catch((thrown: unknown) => thrown);
  t.type(error, NoReply);
});

// ── The same bytes to both ───────────────────────────────────────────────────────────────────────────────────────────

/** Sends bytes, and returns all that comes back until the other side closes. */
async function exchange(where: NetConnectOpts, bytes: Buffer, andEnd: boolean): Promise<string> {
  const socket = connect({ ...where, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('end', () => socket.destroy());
  // A reset is how clamd closes where it has not read everything.
  socket.on('error', () => {});
  if (andEnd) socket.end(bytes);
  else socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(chunks).toString('latin1');
}

function chunks(...contents: (string | Buffer)[]): Buffer {
  return Buffer.concat(
    contents.flatMap((content) => {
      const size = Buffer.alloc(4);
      size.writeUInt32BE(content.length);
      return [size, Buffer.from(content as string)];
    }),
  );
}

t.test('the fake answers as clamd does, byte for byte', async (t) => {
  if (!needs(t, 'clamd')) return;
  const config = 'CommandReadTimeout 1\nReadTimeout 2';
  const { host, port, path } = await startClamd(t, { ...CONFIG, config });
  const real: Places = { tcp: { host, port }, unix: { path } };
  const fake = await startFake(t, {
    version: await version(clientsOf(real).tcp),
    commandReadTimeout: 1,
    readTimeout: 2,
  });
  const virus = eicar();
  const size = (length: number) => chunks(Buffer.alloc(length)).subarray(0, 4);
  const streams = [
    chunks(''),
    chunks('harmless', ''),
    chunks('harmless', '', 'and more'),
    chunks(virus, ''),
    chunks(...Array.from(virus, (byte) => Buffer.of(byte)), ''),
    chunks(virus, '\n', ''),
    chunks('x', virus, ''),
    chunks(virus.subarray(0, 67), ''),
    chunks(Buffer.alloc(LIMIT), ''),
    Buffer.concat([chunks(Buffer.alloc(LIMIT)), size(1)]),
    size(LIMIT + 1),
    Buffer.from([0xff, 0xff, 0xff, 0xff]),
  ];
  const texts = [
    ...['PING', 'PING\n', 'PING\r\n', 'PING\0', 'VERSION', 'VERSION\n', 'INSTREAM', 'INSTREAM\n'],
    ...['nPING\n', 'nPING\r\n', 'nPING\r\r\n', 'nVERSION\n', 'zPING\0', 'zVERSION\0'],
    ...['\n', 'n\n', 'z\0', 'FOO', 'nFOO\n', 'zFOO\0', 'zping\0', 'ZPING\0', ' PING\n', 'PING \n'],
    ...['zPING\n\0', 'zPINGx\0', 'zPING x\0', 'zzPING\0', 'nPING \n', 'PING\nVERSION\n'],
    ...['zPING\0zVERSION\0', 'zPING\0nVERSION\n', 'zSTREAM\0', 'zSESSION\0', '\xff\xfe\n'],
    ...[`z${'A'.repeat(4102)}\0`, `z${'A'.repeat(4103)}\0`, `n${'A'.repeat(8000)}\n`],
  ];
  const wires = [
    ...texts.map((text) => Buffer.from(text, 'latin1')),
    ...streams.flatMap((stream) => [
      Buffer.concat([Buffer.from('zINSTREAM\0'), stream]),
      Buffer.concat([Buffer.from('nINSTREAM\n'), stream]),
    ]),
  ];
  // Where a command or stream stops in the middle, and the client waits: so does the other side, for a time.
  const broken = [
    '',
    'z',
    'zPI',
    'nPING',
    'zINSTREAM\0',
    'zINSTREAM\0\0\0',
    'zINSTREAM\0\0\0\0\x0aab',
  ];
  for (const [which, where] of Object.entries(real) as [keyof Places, NetConnectOpts][]) {
    const outcomes = (place: NetConnectOpts) =>
      Promise.all([
        ...broken.map((text) => exchange(place, Buffer.from(text), false)),
        ...broken.map((text) => exchange(place, Buffer.from(text), true)),
      ]);
    const [expected, found] = await Promise.all([outcomes(where), outcomes(fake[which])]);
    t.same(found, expected, `${which}: conversations that stop`);
    t.same([...new Set(expected)], ['COMMAND READ TIMED OUT\n', ''], 'waited for, or not');
    for (const wire of wires) {
      const name = JSON.stringify(wire.toString('latin1', 0, 30));
      const reply = await exchange(where, wire, false);
      t.equal(await exchange(fake[which], wire, false), reply, `${which}: ${name}: ${reply}`);
    }
  }
});

/** The real programs start, answer, and are gone afterwards: what the interop tests rely on. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import t from '../fixture.ts';
import { curl, eicar, needs, openssl, python, Running, startClamd, startNginx } from './servers.ts';

/** Sends bytes, and returns all that comes back until the other side closes. */
async function exchange(where: NetConnectOpts, ...parts: (string | Uint8Array)[]): Promise<string> {
  const socket = connect(where);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (const part of parts) socket.write(part);
  await once(socket, 'close');
  return Buffer.concat(chunks).toString();
}

function instream(body: Uint8Array): Uint8Array[] {
  const size = Buffer.alloc(4);
  size.writeUInt32BE(body.length);
  return [Buffer.from('zINSTREAM\0'), size, body, Buffer.alloc(4)];
}

t.test('clamd answers on both sockets, finds the test file, and keeps its limit', async (t) => {
  if (!needs(t, 'clamd')) return;
  const { host, port, path, folder, process } = await startClamd(t, { streamMaxLength: '1K' });
  t.equal(await exchange({ host, port }, 'zPING\0'), 'PONG\0');
  t.equal(await exchange({ path }, 'zPING\0'), 'PONG\0');
  t.equal(
    await exchange({ host, port }, ...instream(eicar())),
    'stream: Eicar-Test-Signature.UNOFFICIAL FOUND\0',
  );
  t.equal(await exchange({ path }, ...instream(Buffer.from('harmless'))), 'stream: OK\0');
  t.equal(
    await exchange({ path }, ...instream(Buffer.alloc(2000))),
    'INSTREAM size limit exceeded. ERROR\0',
  );
  const file = join(folder, 'file');
  writeFileSync(file, eicar());
  t.equal(
    await exchange({ path }, `zSCAN ${file}\0`),
    `${file}: Eicar-Test-Signature.UNOFFICIAL FOUND\0`,
  );
  await process.stop();
  t.match(await process.ended, { code: 0, signal: null });
});

t.test('nginx serves files and what its configuration says, to curl', async (t) => {
  if (!needs(t, 'nginx', 'curl')) return;
  const { url, process } = await startNginx(
    t,
    'location /old { return 302 /new; } location /gone { return 410 gone; }',
    { files: { new: 'moved here\n', 'deep/file.bin': Buffer.alloc(100_000, 7) } },
  );
  t.equal((await curl(t, `${url}/`)).stdout.toString(), 'it works\n');
  t.equal((await curl(t, '--location', `${url}/old`)).stdout.toString(), 'moved here\n');
  t.same((await curl(t, `${url}/deep/file.bin`)).stdout, Buffer.alloc(100_000, 7));
  t.match(await curl(t, '--fail', `${url}/gone`), { code: 22, stderr: /410/ });
  await process.stop();
  t.match(await process.ended, { signal: null });
});

t.test('python is one that has Twisted, and may stay to talk to', async (t) => {
  if (!needs(t, 'python')) return;
  const version = await python(t, 'import twisted; print(twisted.__version__)').ended;
  t.match(version.stdout.toString(), /^\d+\.\d+/, version.stderr.toString());
  const echo = python(
    t,
    `
import sys
from twisted.internet import protocol, reactor
class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(sys.argv[1].encode() + data)
        self.transport.loseConnection()
port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface='127.0.0.1')
reactor.callWhenRunning(lambda: print(port.getHost().port))
reactor.run()
`,
    ['> '],
  );
  const port = Number(await echo.firstLine());
  t.equal(await exchange({ host: '127.0.0.1', port }, 'hello'), '> hello');
});

t.test('openssl runs, many times in one test', async (t) => {
  if (!needs(t, 'openssl')) return;
  await Promise.all(Array.from({ length: 12 }, () => openssl(t, 'version')));
  t.match((await openssl(t, 'version')).stdout.toString(), /^OpenSSL/);
});

t.test('a server that cannot start says why, and one that does not stop is killed', async (t) => {
  const node = (text: string) => new Running(t, process.execPath, ['-e', text]);
  const broken = node('console.error("no config"); process.exit(3)');
  await t.rejects(broken.accepts({ path: '/nowhere' }), {
    message: /^nothing came to listen on \/nowhere: ended with 3: no config/,
  });
  await t.rejects(broken.firstLine(), { message: /ended without a line of output/ });
  await t.rejects(new Running(t, '/no/such/program', []).accepts({ path: '/nowhere' }), {
    message: /ENOENT/,
  });
  const stubborn = node(
    'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)',
  );
  t.equal(await stubborn.firstLine(), 'up');
  await stubborn.stop(0.1);
  t.match(await stubborn.ended, { code: null, signal: 'SIGKILL' });
});

t.test('a missing program skips a test, and fails it where everything is installed', async (t) => {
  // The name is none of those that the tests use, so it is missing everywhere.
  const nobody = 'clamdd' as 'clamd';
  const before = process.env['CI'];
  t.teardown(() => {
    if (before === undefined) delete process.env['CI'];
    else process.env['CI'] = before;
  });
  const plans: unknown[] = [];
  const fails: unknown[] = [];
  const double = {
    plan: (...args: unknown[]) => plans.push(args),
    fail: (reason: string) => fails.push(reason),
  } as unknown as typeof t;
  delete process.env['CI'];
  t.equal(needs(double, nobody), false);
  t.match(plans, [[0, /^no clamdd on this machine/]]);
  t.same(fails, []);
  process.env['CI'] = 'true';
  t.equal(needs(double, nobody), false);
  t.match(fails, [/^no clamdd on this machine/]);
  t.equal(plans.length, 1);
});

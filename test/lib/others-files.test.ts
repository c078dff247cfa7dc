/**
 * Files that were not made by the program, and what may lie there in their place: they are never waited for, never read
 * without end, never taken for what they are not.
 */
import { execFileSync } from 'node:child_process';
import fs, {
  appendFileSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DiffieHellmanParameters } from '../../lib/ciphers.ts';
import { clientFromString, serverFromString } from '../../lib/endpoint-strings.ts';
import { CannotListenError, CertificateError, UnsupportedSocketType } from '../../lib/errors.ts';
import { FileSender } from '../../lib/file-sender.ts';
import { PortNames } from '../../lib/io/port-names.ts';
import { Factory, Protocol } from '../../lib/protocol.ts';
import { Reactor } from '../../lib/reactor.ts';
import { StringTransport } from '../../lib/testing/string-transport.ts';
import { platformTrust } from '../../lib/trust.ts';
import { scan, UnreadableFile } from '../../protocols/clamd/index.ts';
import t, { type Test } from '../fixture.ts';

const POSIX = process.platform === 'win32' ? 'Windows has no FIFOs' : false;
const pem = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));

/** A folder with a short path, as sockets want it. */
function shortFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  return folder;
}

/** What can lie at a path in place of a file, by what it is. */
function oddities(t: Test): Record<string, string> {
  const folder = t.testdir({});
  const at = (name: string): string => join(folder, name);
  execFileSync('mkfifo', [at('fifo.pem')]);
  mkdirSync(at('directory.pem'));
  symlinkSync('loop.pem', at('loop.pem'));
  symlinkSync('nowhere', at('dangling.pem'));
  symlinkSync('/dev/zero', at('zero.pem'));
  writeFileSync(at('huge.pem'), readFileSync(pem('ca.pem')));
  truncateSync(at('huge.pem'), 2 ** 40); // it takes no room
  writeFileSync(at('empty.pem'), '');
  writeFileSync(at('binary.pem'), Buffer.alloc(1000, 0xff));
  return Object.fromEntries(
    ['fifo', 'directory', 'loop', 'dangling', 'zero', 'huge', 'empty', 'binary']
      .map((name) => [name, at(`${name}.pem`)])
      .concat([
        ['no text', '/proc/self/mem'],
        ['too long', at('x'.repeat(5000))],
      ]),
  ) as Record<string, string>;
}

t.test(
  'certificates, keys and parameters are read of regular files, and of nothing that waits or has no end',
  { skip: POSIX },
  (t) => {
    const reactor = new Reactor();
    const readers: Record<string, (path: string) => unknown> = {
      privateKey: (path) => serverFromString(reactor, `ssl:0:privateKey=${path}`),
      certKey: (path) =>
        serverFromString(reactor, `ssl:0:privateKey=${pem('server.key')}:certKey=${path}`),
      extraCertChain: (path) =>
        serverFromString(
          reactor,
          `ssl:0:privateKey=${pem('server.key')}:certKey=${pem('server.pem')}:extraCertChain=${path}`,
        ),
      trustRoots: (path) => clientFromString(reactor, `tls:localhost:1:trustRoots=${path}`),
      certificate: (path) => clientFromString(reactor, `tls:localhost:1:certificate=${path}`),
      dhParameters: (path) => DiffieHellmanParameters.fromFile(path),
      SSL_CERT_FILE: (path) => platformTrust({ SSL_CERT_FILE: path }),
      NODE_EXTRA_CA_CERTS: (path) =>
        platformTrust({ SSL_CERT_FILE: pem('ca.pem'), NODE_EXTRA_CA_CERTS: path }),
    };
    for (const [what, path] of Object.entries(oddities(t)))
      for (const [name, read] of Object.entries(readers))
        t.throws(() => read(path), CertificateError, `${name} at ${what}`);
    t.throws(
      () => DiffieHellmanParameters.fromFile(oddities(t)['fifo'] as string),
      /it is a FIFO, and no regular file/,
    );
    t.end();
  },
);

t.test('a folder of certificates with odd files in it', { skip: POSIX }, (t) => {
  const reactor = new Reactor();
  for (const [what, path] of Object.entries(oddities(t))) {
    if (!existsSync(path) && what !== 'dangling' && what !== 'loop') continue;
    const folder = t.testdir({});
    copyFileSync(pem('ca.pem'), join(folder, 'good.pem'));
    symlinkSync(path, join(folder, 'odd.pem'));
    if (what === 'empty' || what === 'binary') continue; // those count for nothing, beside others
    t.throws(() => platformTrust({ SSL_CERT_DIR: folder }), CertificateError, what);
    t.throws(
      () => clientFromString(reactor, `tls:localhost:1:trustRoots=${folder}`),
      CertificateError,
      what,
    );
  }
  t.end();
});

t.test('a folder of so many files is no folder of certificates', (t) => {
  const { readdirSync } = fs;
  fs.readdirSync = (() => Array.from({ length: 10_001 }, (_, i) => `${i}.other`)) as never;
  syncBuiltinESMExports();
  t.teardown(() => {
    fs.readdirSync = readdirSync;
    syncBuiltinESMExports();
  });
  t.throws(
    () => platformTrust({ SSL_CERT_DIR: '/nowhere' }),
    /longer than the limit of 10000 files/,
  );
  t.end();
});

t.test('the trust of at most sixteen environments is kept', (t) => {
  const folder = t.testdir({ 'ca.pem': readFileSync(pem('ca.pem')) });
  const first = { SSL_CERT_FILE: `${folder}/ca.pem` };
  const kept = platformTrust(first);
  t.equal(platformTrust(first), kept);
  for (let i = 1; i <= 16; i++)
    platformTrust({ SSL_CERT_FILE: `${folder}/${'./'.repeat(i)}ca.pem` });
  t.not(platformTrust(first), kept);
  t.end();
});

t.test('a list of services that is none knows no names', { skip: POSIX }, (t) => {
  for (const [what, path] of Object.entries(oddities(t)))
    t.equal(new PortNames(path).portOf('http'), undefined, what);
  t.end();
});

t.test(
  'a FIFO is neither sent nor scanned by its path: a thread would wait for its writer',
  { skip: POSIX },
  async (t) => {
    const { fifo = '' } = oddities(t);
    const reactor = new Reactor();
    // More than there are threads.
    for (let i = 0; i < 6; i++) {
      const transport = new StringTransport();
      const sent = new FileSender().beginFileTransfer(fifo, transport);
      transport.producer?.resumeProducing();
      await t.rejects(sent.asPromise(), { name: 'TypeError', message: /it is a FIFO/ });
      const endpoint = clientFromString(reactor, 'tcp:127.0.0.1:1');
      await t.rejects(scan({ path: fifo }, { reactor, endpoint }).asPromise(), UnreadableFile);
    }
  },
);

t.test('a device without end is sent at the pace of its consumer', { skip: POSIX }, async (t) => {
  const transport = new StringTransport();
  const sent = new FileSender({ chunkSize: 1000 }).beginFileTransfer('/dev/zero', transport);
  for (let pieces = 1; pieces <= 3; pieces++) {
    transport.producer?.resumeProducing();
    while (transport.value().length < pieces * 1000)
      await new Promise((resolve) => setImmediate(resolve));
  }
  transport.producer?.stopProducing();
  await t.rejects(sent.asPromise(), { name: 'ConsumerStopped' });
  t.equal(transport.value().length, 3000);
});

t.test(
  'what the system makes up while it is read is sent whole',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const transport = new StringTransport();
    const sent = new FileSender().beginFileTransfer('/proc/self/cmdline', transport);
    const done = sent.asPromise();
    for (let over = false; !over;) {
      transport.producer?.resumeProducing();
      over = await Promise.race([
        done.then(() => true),
        new Promise<boolean>((resolve) => setImmediate(() => resolve(false))),
      ]);
    }
    t.same(transport.value(), readFileSync('/proc/self/cmdline'));
  },
);

t.test(
  'what lies at the path of a UNIX socket, or of its lock, stays',
  { skip: POSIX },
  async (t) => {
    const reactor = new Reactor();
    const folder = shortFolder(t);
    const path = join(folder, 'socket');
    const lying: Record<string, () => void> = {
      'a file': () => writeFileSync(path, 'mine'),
      'a directory': () => mkdirSync(path),
      'a link that leads nowhere': () => symlinkSync('nowhere', path),
      'a loop': () => symlinkSync('socket', path),
      'a FIFO': () => execFileSync('mkfifo', [path]),
    };
    for (const [what, make] of Object.entries(lying)) {
      for (const wantPID of [false, true]) {
        execFileSync('rm', ['-rf', path]);
        make();
        const { ino, mode } = lstatSync(path);
        const port = reactor.listenUNIX(path, Factory.forProtocol(Protocol), { wantPID });
        await t.rejects(port.ready.asPromise(), CannotListenError, `${what}, wantPID: ${wantPID}`);
        t.match(lstatSync(path), { ino, mode });
        t.notOk(existsSync(`${path}.lock`));
      }
      execFileSync('rm', ['-rf', path]);
      const lock = `${path}.lock`;
      execFileSync('rm', ['-rf', lock]);
      make();
      execFileSync('mv', [path, lock]);
      const { ino } = lstatSync(lock);
      const port = reactor.listenUNIX(path, Factory.forProtocol(Protocol), { wantPID: true });
      await t.rejects(port.ready.asPromise(), CannotListenError, `${what} as a lock`);
      t.equal(lstatSync(lock).ino, ino);
      t.notOk(existsSync(path));
      execFileSync('rm', ['-rf', lock]);
    }
  },
);

t.test(
  'the socket of another program, and its lock, stay; also where its name was taken away',
  { skip: POSIX },
  async (t) => {
    const reactor = new Reactor();
    const path = join(shortFolder(t), 'socket');
    const other = createServer().listen(path);
    await new Promise((resolve) => other.once('listening', resolve));
    const port = reactor.listenUNIX(path, Factory.forProtocol(Protocol), { wantPID: true });
    await t.rejects(port.ready.asPromise(), CannotListenError);
    t.ok(lstatSync(path).isSocket());
    await new Promise((resolve) => other.close(resolve));
    // Ours is replaced while it listens.
    const mine = reactor.listenUNIX(path, Factory.forProtocol(Protocol));
    await mine.ready;
    execFileSync('rm', [path]);
    writeFileSync(path, 'of another');
    await mine.stopListening();
    t.equal(readFileSync(path, 'utf8'), 'of another');
  },
);

t.test(
  'adopted descriptors that are closed, files or directories are refused, and stay as they are',
  (t) => {
    const reactor = new Reactor();
    const factory = Factory.forProtocol(Protocol);
    const file = join(t.testdir({ file: 'text' }), 'file');
    for (const path of [file, '/dev/null', t.testdirName]) {
      const fd = fs.openSync(path, 'r');
      t.throws(() => reactor.adoptStreamConnection(fd, 'AF_INET', factory), UnsupportedSocketType);
      t.throws(() => reactor.adoptStreamPort(fd, 'AF_INET', factory), UnsupportedSocketType);
      fs.fstatSync(fd);
      fs.closeSync(fd);
      t.throws(() => reactor.adoptStreamConnection(fd, 'AF_INET', factory), UnsupportedSocketType);
      t.throws(() => reactor.adoptStreamPort(fd, 'AF_UNIX', factory), UnsupportedSocketType);
    }
    appendFileSync(file, 'more');
    t.equal(readFileSync(file, 'utf8'), 'textmore');
    t.end();
  },
);

/** Standard I/O as a connection: in this process over pipes, files and sockets, and in programs of their own. */
import { type ChildProcess, spawn, spawnSync, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { performance } from 'node:perf_hooks';
import {
  AlreadyListened,
  ConnectError,
  ConnectionDone,
  ConnectionLost,
  Factory,
  type Failure,
  NoProtocol,
  NotSupportedError,
  PipeAddress,
  Protocol,
  Reactor,
  StandardIO,
  StandardIOEndpoint,
} from 'plait';
import { flushLoggedErrors } from 'plait/testing';
import { NodeIO } from '../../lib/io/node.ts';
import { HalfCloser, Recorder } from '../contract/recorder.ts';
import t, { type Test } from '../fixture.ts';

const POSIX = process.platform === 'win32' ? 'there are no FIFOs on Windows' : false;

async function until(condition: () => boolean): Promise<void> {
  const patience = performance.now() + 600_000;
  while (!condition()) {
    if (performance.now() > patience) throw new Error(`it never came to ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

/** Both ends of a pipe. */
function pipe(t: Test): { reader: number; writer: number } {
  const path = join(folder(t), 'fifo');
  spawnSync('mkfifo', [path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { reader, writer: openSync(path, constants.O_WRONLY | constants.O_NONBLOCK) };
}

/** A program that shouts back. */
const SHOUT = `import { Protocol, StandardIO } from 'plait';
  class Shout extends Protocol {
    connectionMade() { this.transport.write('ready\\n'); }
    dataReceived(data) {
      if (data.toString() === 'bye') this.transport.loseConnection();
      else this.transport.write(data.toString().toUpperCase());
    }
    connectionLost(reason) { console.error('lost ' + reason.value.name); }
  }
  new StandardIO(new Shout());`;

/** A program in a process of its own, and what it has said. */
class Program {
  readonly process: ChildProcess;
  readonly ended: Promise<{ code: unknown; signal: unknown }>;
  out = '';
  err = '';

  constructor(t: Test, text: string, stdio: StdioOptions = 'pipe') {
    const file = join(t.testdir({ 'program.mjs': text }), 'program.mjs');
    this.process = spawn(process.execPath, [...process.execArgv, file], { stdio });
    t.teardown(() => this.process.kill('SIGKILL'));
    this.process.stdout?.on('data', (data: Buffer) => (this.out += data.toString()));
    this.process.stderr?.on('data', (data: Buffer) => (this.err += data.toString()));
    this.process.stdin?.on('error', () => {});
    this.ended = once(this.process, 'close').then(([code, signal]: unknown[]) => ({
      code,
      signal,
    }));
  }

  get stdin(): Writable {
    return this.process.stdin!;
  }
}

t.test(
  'pipes change their protocol, and end with what a hook fails with later',
  { skip: POSIX },
  async (t) => {
    const [input, output] = [pipe(t), pipe(t)];
    const stdio = new StandardIO(new HalfCloser(), {
      stdin: input.reader,
      stdout: output.writer,
      reactor: new Reactor(),
    });
    let reason: Failure | undefined;
    class Broken extends Protocol {
      override async dataReceived() {
        await Promise.resolve();
        throw new RangeError('broken');
      }
      override connectionLost(lost: Failure) {
        reason = lost;
      }
    }
    stdio.switchProtocol(new Broken());
    writeSync(input.writer, 'in');
    await until(() => reason !== undefined);
    t.ok(reason?.value instanceof RangeError);
    t.equal(flushLoggedErrors(RangeError).length, 1);
  },
);

t.test('two pipes are a connection, with both its ends', { skip: POSIX }, async (t) => {
  const [input, output] = [pipe(t), pipe(t)];
  const recorder = new HalfCloser();
  const stdio = new StandardIO(recorder, {
    stdin: input.reader,
    stdout: output.writer,
    reactor: new Reactor(),
  });
  t.ok(stdio.getHost() instanceof PipeAddress);
  t.ok(stdio.getPeer() instanceof PipeAddress);
  writeSync(input.writer, 'in');
  await until(() => recorder.count === 2);
  stdio.write('o');
  stdio.writeSequence(['u', Buffer.from('t')]);
  t.equal(stdio.bufferedBytes, 3);
  const buffer = Buffer.alloc(10);
  await until(() => stdio.bufferedBytes === 0);
  t.equal(readSync(output.reader, buffer), 3);
  t.equal(buffer.toString('utf8', 0, 3), 'out');
  stdio.pauseProducing();
  writeSync(input.writer, 'more');
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(recorder.count, 2);
  stdio.resumeProducing();
  await until(() => recorder.count === 6);
  let asked = 0;
  const producer = {
    resumeProducing() {
      if (++asked > 3) stdio.unregisterProducer();
      else stdio.write('.');
    },
    stopProducing() {},
  };
  stdio.registerProducer(producer, false);
  await until(() => asked === 4);
  t.equal(readSync(output.reader, buffer), 3);
  stdio.loseWriteConnection();
  await until(() => recorder.events.includes('writeLost'));
  t.equal(readSync(output.reader, buffer), 0, 'the end of the pipe');
  closeSync(input.writer);
  await until(() => recorder.lost);
  t.same(recorder.events.slice(-2), ['readLost', 'lost ConnectionDone']);
  t.equal(stdio.connected, false);
  closeSync(output.reader);
});

t.test('standard input that ends ends the connection', { skip: POSIX }, async (t) => {
  const [input, output] = [pipe(t), pipe(t)];
  const recorder = new Recorder();
  new Reactor().standardIO(recorder, { stdin: input.reader, stdout: output.writer });
  closeSync(input.writer);
  await until(() => recorder.lost);
  t.ok(recorder.reason?.value instanceof ConnectionDone);
  closeSync(output.reader);
});

t.test(
  'a reader that goes away ends the connection when something is written',
  { skip: POSIX },
  async (t) => {
    const [input, output] = [pipe(t), pipe(t)];
    const recorder = new Recorder();
    new Reactor().standardIO(recorder, { stdin: input.reader, stdout: output.writer });
    closeSync(output.reader);
    recorder.transport.write('x');
    await until(() => recorder.lost);
    t.ok(recorder.reason?.value instanceof ConnectionLost);
    t.equal((recorder.reason?.value as NodeJS.ErrnoException).code, 'EPIPE');
    closeSync(input.writer);
  },
);

t.test('closing and stopping let go of both descriptors', { skip: POSIX }, async (t) => {
  for (const close of ['loseConnection', 'abortConnection', 'stopProducing'] as const) {
    const [input, output] = [pipe(t), pipe(t)];
    const recorder = new Recorder();
    const stdio = new StandardIO(recorder, {
      stdin: input.reader,
      stdout: output.writer,
      reactor: new Reactor(),
    });
    writeSync(input.writer, 'first');
    await until(() => recorder.count === 5);
    writeSync(input.writer, 'ignored');
    stdio.write('last');
    stdio[close]();
    t.equal(stdio.disconnecting, true);
    await until(() => recorder.lost);
    t.throws(() => writeSync(input.writer, 'x'), { code: 'EPIPE' });
    const buffer = Buffer.alloc(10);
    // What is so little has gone out before it can be aborted.
    t.equal(readSync(output.reader, buffer), 4);
    closeSync(input.writer);
    closeSync(output.reader);
  }
});

t.test('files can be read from and written to', async (t) => {
  const directory = folder(t);
  writeFileSync(join(directory, 'in'), 'x'.repeat(200_000));
  class Copier extends HalfCloser {
    override readConnectionLost() {
      super.readConnectionLost();
      this.transport.loseConnection();
    }
  }
  const copier = new Copier({ data: ({ transport }, data) => transport.write(data) });
  new Reactor().standardIO(copier, {
    stdin: openSync(join(directory, 'in'), 'r'),
    stdout: openSync(join(directory, 'out'), 'w'),
  });
  await until(() => copier.lost);
  t.equal(readFileSync(join(directory, 'out')).length, 200_000);
  t.same(copier.events, ['made', 'data', 'readLost', 'lost ConnectionDone']);
});

t.test('one socket may be both', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const client = connect(port, '127.0.0.1');
  const other = await accepted;
  // The descriptor of a socket that Node knows cannot be told; the descriptor is looked for.
  const { fd } = (client as unknown as { _handle: { fd: number } })._handle;
  client.pause();
  const program = new Program(t, SHOUT, [fd, fd, 'pipe']);
  // From here on it is the program's alone.
  client.destroy();
  other.end('hello');
  const got: Buffer[] = [];
  for await (const data of other) got.push(data as Buffer);
  t.equal(Buffer.concat(got).toString(), 'ready\nHELLO');
  t.match(await program.ended, { code: 0 });
  t.equal(program.err, 'lost ConnectionDone\n');
  server.close();
});

t.test('what cannot be used is refused', (t) => {
  const reactor = new Reactor();
  const recorder = new Recorder();
  for (const wrong of [-1, 1.5, NaN, '0' as unknown as number]) {
    const error = typeof wrong === 'number' ? RangeError : TypeError;
    t.throws(() => reactor.standardIO(recorder, { stdin: wrong }), error);
    t.throws(() => new StandardIO(recorder, { stdout: wrong, reactor }), error);
  }
  t.throws(() => reactor.standardIO(recorder, { stdin: 9999 }), ConnectError);
  t.throws(() => reactor.standardIO(recorder, { stdout: 9999 }), {
    message: /^cannot use the descriptors 0 and 9999: EBADF/,
  });
  const file = openSync(join(folder(t), 'file'), 'w+');
  t.throws(() => reactor.standardIO(recorder, { stdin: file, stdout: file }), ConnectError);
  closeSync(file);
  const io = new NodeIO();
  Object.defineProperty(io, 'stdio', { value: undefined });
  t.throws(
    () => new Reactor({ io }).standardIO(recorder),
    new NotSupportedError('the body node has no standard I/O'),
  );
  t.same(recorder.events, []);
  t.end();
});

t.test('an endpoint serves standard I/O once', async (t) => {
  const recorder = new Recorder();
  const used: unknown[] = [];
  const reactor = {
    standardIO: (protocol: unknown) => {
      used.push(protocol);
      return recorder.transport;
    },
  };
  const endpoint = new StandardIOEndpoint(reactor);
  const nobody = { buildProtocol: () => null, doStart() {}, doStop() {} };
  await t.rejects(endpoint.listen(nobody).asPromise(), NoProtocol);
  const port = await endpoint.listen({ buildProtocol: () => recorder, doStart() {}, doStop() {} });
  t.same(used, [recorder]);
  t.equal(await port.ready, port);
  t.ok(port.getHost() instanceof PipeAddress);
  t.throws(() => port.startListening(), AlreadyListened);
  await port.stopListening();
  await port[Symbol.asyncDispose]();
  await t.rejects(endpoint.listen(Factory.forProtocol(Recorder)).asPromise(), AlreadyListened);
  const failing = new StandardIOEndpoint({
    standardIO: () => {
      throw new ConnectError('not open');
    },
  });
  await t.rejects(failing.listen(Factory.forProtocol(Recorder)).asPromise(), ConnectError);
});

// ── In a program of its own ──────────────────────────────────────────────────────────────────────────────────────────

t.test('a program serves whoever has started it, and can end', async (t) => {
  const talk = new Program(t, SHOUT);
  await until(() => talk.out === 'ready\n');
  talk.stdin.write('hello');
  await until(() => talk.out === 'ready\nHELLO');
  talk.stdin.end();
  t.match(await talk.ended, { code: 0, signal: null });
  t.equal(talk.err, 'lost ConnectionDone\n');
});

t.test('FND-72: standard I/O opened again hears of an end that came before', async (t) => {
  const talk = new Program(
    t,
    `import { Protocol, StandardIO } from 'plait';
    let left = 20;
    process.on('warning', (warning) => console.error(warning.name));
    class Again extends Protocol {
      connectionMade() { this.transport.write('.'); if (left % 2) this.transport.loseConnection(); }
      connectionLost(reason) {
        if (--left > 0) new StandardIO(new Again());
        else console.error('lost ' + reason.value.name);
      }
    }
    new StandardIO(new Again());`,
  );
  talk.stdin.end();
  t.match(await talk.ended, { code: 0, signal: null });
  t.equal(talk.out, '.'.repeat(20));
  t.equal(talk.err, 'lost ConnectionDone\n', 'and no listener is left behind by any');
});

t.test('nobody reads the output: the program hears of it, and lives', async (t) => {
  const talk = new Program(t, SHOUT);
  await until(() => talk.out === 'ready\n');
  talk.process.stdout?.destroy();
  talk.stdin.write('x');
  t.match(await talk.ended, { code: 0, signal: null });
  t.equal(talk.err, 'lost ConnectionLost\n');
});

t.test('real pipes and files as 0 and 1', { skip: POSIX }, async (t) => {
  const directory = t.testdir({ 'program.mjs': SHOUT });
  writeFileSync(join(directory, 'in'), 'file');
  const program = `"$NODE" "$DIR/program.mjs"`;
  const run = async (line: string) => {
    const env = {
      ...process.env,
      NODE: process.execPath,
      DIR: directory,
    };
    const child = spawn('/bin/sh', ['-c', line], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    child.stderr.on('data', (data: Buffer) => (out += data.toString()));
    await once(child, 'close');
    return out;
  };
  t.match(
    await run(`printf bye | ${program} | cat`),
    /^ready\n(.*\n)*lost ConnectionDone\n|^lost ConnectionDone\nready\n/,
  );
  t.match(await run(`${program} < "$DIR/in" > "$DIR/out"; cat "$DIR/out"`), 'ready\nFILE');
});

t.test(
  'a terminal is left as it was',
  { skip: spawnSync('script', ['--version']).error ? 'no script(1)' : POSIX },
  async (t) => {
    const directory = t.testdir({ 'program.mjs': SHOUT });
    const line = `stty -a > "$DIR/before"; "$NODE" "$DIR/program.mjs"; stty -a > "$DIR/after"; cat > "$DIR/rest"`;
    const env = {
      ...process.env,
      NODE: process.execPath,
      DIR: directory,
      LINE: line,
    };
    const child = spawn('script', ['-qec', `sh -c "$LINE"`, '/dev/null'], {
      env,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString()));
    await until(() => out.includes('ready'));
    child.stdin.write('hello\n');
    await until(() => out.includes('HELLO'));
    child.stdin.write('\u0004');
    await until(() => out.includes('lost ConnectionDone'));
    child.stdin.write('rest\n\u0004');
    child.stdin.end();
    await once(child, 'close');
    t.equal(
      readFileSync(join(directory, 'after'), 'utf8'),
      readFileSync(join(directory, 'before'), 'utf8'),
    );
    t.equal(readFileSync(join(directory, 'rest'), 'utf8'), 'rest\n');
  },
);

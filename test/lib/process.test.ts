/** Child processes: how they are started, talked to and ended, and who hears of it. */
import {
  existsSync,
  mkdtempSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import {
  CancelledError,
  ConnectionDone,
  type Deferred,
  Factory,
  type Failure,
  getProcessOutput,
  getProcessOutputAndValue,
  getProcessValue,
  type IHalfCloseableProtocol,
  type IProcessProtocol,
  LimitExceeded,
  NoProtocol,
  NotSupportedError,
  PipeAddress,
  ProcessDone,
  ProcessEndpoint,
  ProcessExitedAlready,
  ProcessInterrupted,
  ProcessProtocol,
  ProcessTerminated,
  Protocol,
  Reactor,
  type SpawnProcessOptions,
  SpawnError,
  UnexpectedErrorOutput,
} from 'plait';
import { flushLoggedErrors } from 'plait/testing';
import { NodeIO } from '../../lib/io/node.ts';
import t, { type Test } from '../fixture.ts';

const MIB = 2 ** 20;
const SH = '/bin/sh';

/** Writes down what it is told. */
class Recorder extends ProcessProtocol {
  readonly events: string[] = [];
  readonly chunks = new Map<number, Buffer[]>();
  exit: Error | undefined;
  end: Error | undefined;
  made: ((recorder: Recorder) => void) | undefined;
  got: ((recorder: Recorder, fd: number) => void) | undefined;

  bytes(fd = 1): Buffer {
    return Buffer.concat(this.chunks.get(fd) ?? []);
  }

  text(fd = 1): string {
    return this.bytes(fd).toString();
  }

  get over(): boolean {
    return this.end !== undefined;
  }

  override connectionMade(): void {
    this.events.push('made');
    this.made?.(this);
  }

  override childDataReceived(fd: number, data: Buffer): void {
    const note = `data ${fd}`;
    if (!this.events.includes(note)) this.events.push(note);
    this.chunks.set(fd, [...(this.chunks.get(fd) ?? []), data]);
    this.got?.(this, fd);
  }

  override childConnectionLost(fd: number): void {
    this.events.push(`lost ${fd}`);
    super.childConnectionLost(fd);
  }

  override processExited(reason: Failure): void {
    this.events.push('exited');
    this.exit = reason.value;
  }

  override processEnded(reason: Failure): void {
    this.events.push('ended');
    this.end = reason.value;
  }
}

async function until(condition: () => boolean): Promise<void> {
  const patience = performance.now() + 600_000;
  while (!condition()) {
    if (performance.now() > patience) throw new Error(`it never came to ${condition.toString()}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Runs a shell script. */
function sh(
  script: string,
  options: SpawnProcessOptions = {},
  recorder = new Recorder(),
): Recorder {
  const args = ['sh', '-c', script, ...(options.args ?? [])];
  new Reactor().spawnProcess(recorder, SH, { env: null, ...options, args });
  return recorder;
}

async function ran(...run: Parameters<typeof sh>): Promise<Recorder> {
  const recorder = sh(...run);
  await until(() => recorder.over);
  return recorder;
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(path, { recursive: true }));
  return path;
}

// ── How it goes ──────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a process is made, writes, is read, exits and ends, in that order', async (t) => {
  const recorder = new Recorder();
  recorder.made = ({ transport }) => {
    transport.write('hello ');
    transport.writeSequence(['wor', Buffer.from('ld')]);
    t.ok((transport.pid ?? 0) > 0);
    transport.closeStdin();
  };
  await ran('cat; echo oops >&2', {}, recorder);
  t.equal(recorder.text(), 'hello world');
  t.equal(recorder.text(2), 'oops\n');
  t.equal(recorder.events[0], 'made');
  t.equal(recorder.events.at(-1), 'ended');
  t.same([...recorder.events].sort(), [
    'data 1',
    'data 2',
    'ended',
    'exited',
    'lost 0',
    'lost 1',
    'lost 2',
    'made',
  ]);
  t.ok(recorder.end instanceof ProcessDone);
  t.equal(recorder.end, recorder.exit);
  t.equal(recorder.transport.pid, null);
  t.equal(recorder.transport.bufferedBytes, 0);
});

t.test(
  'the hooks of a protocol are called by what they are for, and do nothing by themselves',
  async (t) => {
    const events: string[] = [];
    class Hooks extends ProcessProtocol {
      override outReceived(data: Buffer) {
        events.push(`out ${data}`);
      }
      override errReceived(data: Buffer) {
        events.push(`err ${data}`);
      }
      override inConnectionLost() {
        events.push('in lost');
      }
      override outConnectionLost() {
        events.push('out lost');
      }
      override errConnectionLost() {
        events.push('err lost');
      }
      override processEnded() {
        events.push('ended');
      }
    }
    const options = { args: ['sh', '-c', 'printf a; printf b >&2; printf c >&3'] };
    const childFDs = { 0: 'w', 1: 'r', 2: 'r', 3: 'r' } as const;
    new Reactor().spawnProcess(new Hooks(), SH, { ...options, childFDs });
    await until(() => events.includes('ended'));
    t.same(
      [...events].sort(),
      ['ended', 'err b', 'err lost', 'in lost', 'out a', 'out lost'].sort(),
    );
    let ended = false;
    class Silent extends ProcessProtocol {
      override processEnded(reason: Failure) {
        super.processEnded(reason);
        ended = true;
      }
    }
    new Reactor().spawnProcess(new Silent(), SH, options);
    await until(() => ended);
  },
);

t.test('PRC-09: exit codes and signals are told apart', async (t) => {
  const done = await ran('exit 0');
  t.match(done.end, { exitCode: 0, signal: null, status: 0 });
  for (const code of [1, 3, 255]) {
    const { end, exit } = await ran(`exit ${code}`);
    t.ok(end instanceof ProcessTerminated);
    t.equal(exit, end);
    t.match(end, { exitCode: code, signal: null, status: code * 256 });
    t.equal(end?.message, `process ended by exit code ${code}`);
  }
  for (const [number, name] of [
    [9, 'SIGKILL'],
    [11, 'SIGSEGV'],
    [15, 'SIGTERM'],
  ] as const) {
    const { end } = await ran(`kill -${number} $$`);
    t.ok(end instanceof ProcessTerminated);
    t.match(end, { exitCode: null, signal: name, status: number });
  }
});

t.test('a process is sent signals, by name or number, until it has ended', async (t) => {
  for (const signal of ['TERM', 'SIGINT', 'HUP', 9, 'KILL']) {
    const recorder = sh('exec sleep 1000');
    t.throws(() => recorder.transport.signalProcess('NONSENSE'), {
      name: 'RangeError',
      message: "there is no signal 'NONSENSE'",
    });
    for (const wrong of [-1, 65, 1.5, NaN, '', '__proto__'])
      t.throws(() => recorder.transport.signalProcess(wrong), RangeError);
    recorder.transport.signalProcess(0);
    recorder.transport.signalProcess(signal);
    await until(() => recorder.over);
    t.ok(
      (recorder.end as ProcessTerminated).signal?.endsWith(signal === 9 ? 'KILL' : String(signal)),
    );
    t.throws(() => recorder.transport.signalProcess('KILL'), ProcessExitedAlready);
  }
  const stopped = sh('kill -STOP $$; exit 7');
  const state = () =>
    readFileSync(`/proc/${stopped.transport.pid}/stat`, 'utf8').split(') ')[1]?.[0];
  if (process.platform === 'linux') await until(() => state() === 'T');
  stopped.transport.signalProcess('CONT');
  await until(() => stopped.over);
  t.match(stopped.end, { exitCode: 7 });
});

t.test('what the system says of a signal is told', async (t) => {
  class Refusing extends NodeIO {
    code = 'ESRCH';
    override spawn(...spawned: Parameters<NodeIO['spawn']>) {
      const child = super.spawn(...spawned);
      const kill = () => {
        throw Object.assign(new Error('refused'), { code: this.code });
      };
      return { ...child, kill };
    }
  }
  const io = new Refusing();
  const recorder = new Recorder();
  new Reactor({ io }).spawnProcess(recorder, SH, { args: ['sh', '-c', 'read x'] });
  t.throws(() => recorder.transport.signalProcess('TERM'), ProcessExitedAlready);
  io.code = 'EPERM';
  t.throws(() => recorder.transport.signalProcess('TERM'), {
    name: 'NotSupportedError',
    message: /^cannot send TERM to process \d+: not permitted \(EPERM\)$/,
  });
  recorder.transport.closeStdin();
  await until(() => recorder.over);
});

t.test(
  'PRC-08: output is complete and ends before the process does, exits as soon as it exits',
  async (t) => {
    const recorder = await ran('head -c 1048576 /dev/zero; exit 4');
    t.equal(recorder.bytes().length, MIB);
    t.match(recorder.end, { exitCode: 4 });

    const held = new Recorder();
    held.made = ({ transport }) => transport.pauseProducing();
    sh('head -c 100000 /dev/zero', {}, held);
    await until(() => held.exit !== undefined);
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    t.equal(
      held.bytes().length,
      0,
      'a paused protocol is given nothing, though the child has exited',
    );
    t.equal(held.over, false);
    held.transport.resumeProducing();
    await until(() => held.over);
    t.equal(held.bytes().length, 100_000);

    const grand = sh('(read x; echo late) <&3 & exit 5', {
      childFDs: { 0: 'w', 1: 'r', 2: 'r', 3: 'w' },
    });
    await until(() => grand.exit !== undefined);
    t.match(grand.exit, { exitCode: 5 });
    t.equal(grand.over, false);
    grand.transport.writeToChild(3, 'x\n');
    await until(() => grand.over);
    t.equal(grand.text(), 'late\n');
    t.ok(grand.events.indexOf('exited') < grand.events.indexOf('lost 1'));
    t.equal(grand.events.at(-1), 'ended');
  },
);

t.test('a slow reader gets it all, and a flood waits for it', async (t) => {
  const recorder = new Recorder();
  recorder.got = ({ transport }) => {
    transport.pauseProducing();
    setImmediate(() => transport.resumeProducing());
  };
  await ran('head -c 1048576 /dev/zero', {}, recorder);
  t.equal(recorder.bytes().length, MIB);

  const flooded = new Recorder();
  flooded.got = ({ transport }) => transport.pauseProducing();
  sh('exec yes', {}, flooded);
  await until(() => flooded.bytes().length > 0);
  const before = process.memoryUsage().rss;
  const bytes = flooded.bytes().length;
  for (let i = 0; i < 2000; i++) await new Promise((resolve) => setImmediate(resolve));
  t.equal(flooded.bytes().length, bytes);
  t.ok(process.memoryUsage().rss - before < 16 * MIB);
  flooded.transport.stopProducing();
  await until(() => flooded.over);
  t.match(flooded.end, { signal: 'SIGPIPE' });
});

t.test('closing: each pipe by itself, and all at once', async (t) => {
  const recorder = sh('cat >/dev/null; echo done >&2');
  recorder.transport.closeStdout();
  await until(() => recorder.events.includes('lost 1'));
  recorder.transport.closeStdout();
  recorder.transport.closeChildFD(77);
  t.same(recorder.events, ['made', 'lost 1']);
  recorder.transport.closeStdin();
  await until(() => recorder.over);
  t.equal(recorder.text(2), 'done\n');
  const all = sh('trap "" PIPE; cat; sleep 0.05; echo unseen; exit 3');
  all.transport.loseConnection();
  await until(() => all.over);
  t.same(all.events.slice(-2), ['exited', 'ended']);
  t.match(all.end, { exitCode: 3 });
  const err = sh('cat >/dev/null');
  err.transport.closeStderr();
  err.transport.closeStdin();
  await until(() => err.over);
});

t.test('what is written before closing arrives, as much as it may be', async (t) => {
  const recorder = new Recorder();
  recorder.made = ({ transport }) => {
    transport.write(Buffer.alloc(MIB, 'x'));
    t.ok(transport.bufferedBytes > 0);
    transport.closeStdin();
    transport.write('and this, in the same turn');
  };
  await ran('sleep 0.02; wc -c', {}, recorder);
  t.equal(Number(recorder.text()), MIB + 26);
});

t.test(
  'a child that has closed its standard input, or is gone, ends the writing and nothing else',
  async (t) => {
    const recorder = sh('exec 0<&-; echo closed; read x <&3; echo end', {
      childFDs: { 0: 'w', 1: 'r', 2: 'r', 3: 'w' },
    });
    await until(() => recorder.text() === 'closed\n');
    recorder.transport.write('into nowhere');
    await until(() => recorder.events.includes('lost 0'));
    recorder.transport.write('nor this');
    recorder.transport.writeSequence(['nor', 'this']);
    recorder.transport.writeToChild(0, 'nor this');
    recorder.transport.closeStdin();
    t.equal(recorder.transport.pid === null, false);
    recorder.transport.writeToChild(3, '\n');
    await until(() => recorder.over);
    t.equal(recorder.text(), 'closed\nend\n');
    const gone = new Recorder();
    gone.made = ({ transport }) => transport.write(Buffer.alloc(4 * MIB));
    await ran('exit 0', {}, gone);
    t.ok(gone.end instanceof ProcessDone);
    gone.transport.write('late');
  },
);

t.test('standard input is fed by producers, at the pace of the child', async (t) => {
  class Producer {
    paused = 0;
    stopped = 0;
    left = 64;
    running = true;
    readonly #recorder: Recorder;
    constructor(recorder: Recorder) {
      this.#recorder = recorder;
    }
    resumeProducing() {
      this.running = true;
      const mayWrite = () => this.running;
      while (mayWrite() && this.left > 0) {
        this.left--;
        this.#recorder.transport.write(Buffer.alloc(32 * 1024));
      }
      if (this.left > 0) return;
      this.#recorder.transport.unregisterProducer();
      this.#recorder.transport.closeStdin();
    }
    pauseProducing() {
      this.paused++;
      this.running = false;
    }
    stopProducing() {
      this.stopped++;
    }
  }
  const recorder = new Recorder();
  const producer = new Producer(recorder);
  recorder.made = ({ transport }) => {
    transport.registerProducer(producer, true);
    producer.resumeProducing();
    t.ok(transport.bufferedBytes < 128 * 1024);
  };
  await ran('wc -c', {}, recorder);
  t.equal(Number(recorder.text()), 64 * 32 * 1024);
  t.ok(producer.paused > 1);
  t.equal(producer.stopped, 0);
  recorder.transport.registerProducer(producer, true);
  t.equal(producer.stopped, 1, 'there is no standard input any more');
  recorder.transport.unregisterProducer();
  const none = new Recorder();
  none.made = ({ transport }) => {
    transport.registerProducer(
      {
        resumeProducing() {},
        stopProducing() {
          throw new RangeError('in stopProducing');
        },
      },
      false,
    );
  };
  await ran('exit 0', { childFDs: { 1: 'r' } }, none);
  t.same(flushLoggedErrors(RangeError).length, 1);
});

// ── How it is started ────────────────────────────────────────────────────────────────────────────────────────────────

t.test('PRC-03: arguments arrive verbatim, and never see a shell', async (t) => {
  const args = [
    'a;b',
    '$(id)',
    '`id`',
    '"',
    "'",
    'line\nbreak',
    '*',
    '',
    'é',
    '\\',
    '%PATH%',
    '-n',
    '&|<>',
  ];
  const out = await getProcessOutput(process.execPath, {
    args: ['-e', 'process.stdout.write(JSON.stringify(process.argv.slice(1)))', '--', ...args],
    env: null,
    reactor: new Reactor(),
  });
  t.same(JSON.parse(out.toString()), args);
  const recorder = new Recorder();
  new Reactor().spawnProcess(recorder, SH, { args: ['another name', '-c', 'echo "$0"'] });
  await until(() => recorder.over);
  t.equal(recorder.text(), 'another name\n');
});

t.test('PRC-03: what cannot be is refused before anything has happened', (t) => {
  const reactor = new Reactor();
  const recorder = new Recorder();
  const refuses = (
    wanted: { name: string; message: RegExp | string },
    executable: unknown,
    options: unknown = {},
  ) => {
    t.throws(() => reactor.spawnProcess(recorder, executable as string, options as object), wanted);
  };
  const range = (message: RegExp | string) => ({ name: 'RangeError', message });
  const type = (message: RegExp | string) => ({ name: 'TypeError', message });
  refuses(range("executable must not hold a NUL: '/bin/sh\\x00x'"), '/bin/sh\0x');
  refuses(range(/executable must be the name or path of a program/), '');
  refuses(type(/executable must be a string/), 5);
  refuses(range(/args\[1\] must not hold a NUL/), SH, { args: ['sh', 'a\0b'] });
  refuses(type(/args\[0\] must be a string/), SH, { args: [5] });
  refuses(type(/args must be an array/), SH, { args: 'ls -l' });
  refuses(range(/args must not be empty/), SH, { args: [] });
  refuses(range(/a name in env must not hold a NUL/), SH, { env: { 'a\0': 'b' } });
  refuses(range(/env\.a must not hold a NUL/), SH, { env: { a: 'b\0' } });
  refuses(range(/must not be empty or hold "="/), SH, { env: { 'a=b': 'c' } });
  refuses(range(/must not be empty or hold "="/), SH, { env: { '': 'c' } });
  refuses(type(/env\.a must be a string/), SH, { env: { a: undefined } });
  refuses(type(/env must be an object/), SH, { env: 'a=b' });
  refuses(range(/path must not hold a NUL/), SH, { path: '/tmp\0' });
  refuses(range(/uid must be a whole number/), SH, { uid: -1 });
  refuses(range(/gid must be a whole number/), SH, { gid: 1.5 });
  refuses(range(/from 0 to 255, not 256/), SH, { childFDs: { 256: 'r' } });
  refuses(range(/from 0 to 255, not x/), SH, { childFDs: { x: 'r' } });
  refuses(range(/'r', 'w' or a descriptor, not 'x'/), SH, { childFDs: { 1: 'x' } });
  refuses(range(/not -1/), SH, { childFDs: { 1: -1 } });
  refuses({ name: 'NotSupportedError', message: /standard input/ }, SH, { childFDs: { 0: 'r' } });
  refuses({ name: 'NotSupportedError', message: /pseudo-terminals/ }, SH, { usePTY: true });
  t.same(recorder.events, []);
  class Bare extends NodeIO {
    declare spawn: never;
  }
  const io = new Bare();
  Object.defineProperty(io, 'spawn', { value: undefined });
  t.throws(
    () => new Reactor({ io }).spawnProcess(recorder, SH),
    new NotSupportedError('the body node can start no processes'),
  );
  t.throws(() => getProcessOutput('a\0'), RangeError);
  t.throws(() => getProcessOutput(SH, { maxBytes: NaN }), RangeError);
  t.throws(() => getProcessOutputAndValue(SH, { stdinBytes: 5 as unknown as string }), TypeError);
  t.end();
});

t.test('the environment is empty by default, given, or inherited', async (t) => {
  const reactor = new Reactor();
  const env = async (given?: Record<string, string> | null) => {
    const options = given === undefined ? { reactor } : { reactor, env: given };
    const out = await getProcessOutput('/usr/bin/env', { ...options, args: ['-0'] });
    // Coverage and the test runner put these into every child.
    const all = out.toString().split('\0').slice(0, -1);
    return all.filter((line) => !/^(NODE_|_TAPJS_)/.test(line));
  };
  t.same(await env(), []);
  t.same(await env({ A: 'x=y', __proto__x: '1' }), ['A=x=y', '__proto__x=1']);
  process.env['PLAIT_TEST_INHERITED'] = 'yes';
  t.ok((await env(null)).includes('PLAIT_TEST_INHERITED=yes'));
  delete process.env['PLAIT_TEST_INHERITED'];
});

t.test(
  'a process runs in the directory, and as the user and group, that it is told to',
  async (t) => {
    const path = folder(t);
    const reactor = new Reactor();
    const pwd = await getProcessOutput(SH, { args: ['-c', 'pwd -P'], path, reactor });
    t.equal(
      pwd
        .toString()
        .trim()
        .endsWith(path.slice(path.lastIndexOf('/'))),
      true,
    );
    const uid = process.getuid?.() ?? 0;
    const gid = process.getgid?.() ?? 0;
    const recorder = await ran('id -u; id -g', { uid, gid });
    t.equal(recorder.text(), `${uid}\n${gid}\n`);
  },
);

t.test(
  'PRC-02: what cannot be started ends with SpawnError, in a later turn, and is told nothing else',
  async (t) => {
    const directory = folder(t);
    const plain = join(directory, 'plain');
    writeFileSync(plain, '#!/bin/sh\n', { mode: 0o644 });
    const cases: [string, SpawnProcessOptions, RegExp][] = [
      [
        '/nonexistent/program',
        {},
        /^cannot start '\/nonexistent\/program': no such file \(ENOENT\)$/,
      ],
      ['no-such-program-anywhere', {}, /ENOENT/],
      [plain, {}, /permission denied \(EACCES\)/],
      [directory, {}, /EACCES/],
      [SH, { path: join(directory, 'gone') }, /no such file \(ENOENT\)/],
      [SH, { path: plain }, /ENOTDIR/],
      [SH, { childFDs: { 1: 9999 } }, /EBADF/],
      [SH, { args: ['x'.repeat(300_000)] }, /E2BIG/],
    ];
    for (const [executable, options, message] of cases) {
      const recorder = new Recorder();
      const transport = new Reactor().spawnProcess(recorder, executable, options);
      t.same(recorder.events, []);
      t.equal(transport.pid, null);
      transport.write('x');
      transport.pauseProducing();
      transport.loseConnection();
      t.throws(() => transport.signalProcess('TERM'), ProcessExitedAlready);
      await until(() => recorder.over);
      t.same(recorder.events, ['ended']);
      t.ok(recorder.end instanceof SpawnError);
      t.match(recorder.end?.message, message);
    }
    const gone = new Recorder();
    new Reactor().spawnProcess(gone, SH, { path: join(directory, 'gone') });
    await until(() => gone.over);
    t.match((gone.end?.cause as Error).message, /no directory/);
  },
);

t.test(
  'PRC-07: a child sees its own descriptors, and no others',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const directory = folder(t);
    const file = join(directory, 'file');
    const ours = openSync(file, 'w');
    const unmapped = openSync(file, 'r');
    const comm = openSync('/proc/self/comm', 'r');
    // What this process was itself given by its parent, above the numbers that Node looks through.
    const inherited = readdirSync('/proc/self/fd').filter((fd) => {
      if (Number(fd) <= 15 || !existsSync(`/proc/self/fdinfo/${fd}`)) return false;
      const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
      return (Number.parseInt(flags ?? '0', 8) & 0o2000000) === 0;
    });
    const seen = (recorder: Recorder, fd = 1) =>
      recorder
        .text(fd)
        .split('\n')
        .filter((line) => line !== '' && !inherited.includes(line));
    // ls itself has the folder open.
    t.same(seen(await ran('ls /proc/self/fd')), ['0', '1', '2', '3']);
    const recorder = await ran('ls /proc/self/fd; echo mapped >&4; read x <&6; echo "$x" >&2', {
      childFDs: { 0: 'w', 1: 'r', 2: 'r', 4: ours, 6: comm },
    });
    t.same(seen(recorder), ['0', '1', '2', '3', '4', '6']);
    t.equal(readFileSync(file, 'utf8'), 'mapped\n');
    t.equal(recorder.text(2).length > 1, true);
    for (const fd of [ours, unmapped, comm]) closeSync(fd);
    const none = await ran('ls -l /proc/self/fd >&5', { childFDs: { 5: 'r' } });
    t.match(none.text(5), /0 -> \/dev\/null/);
    t.match(none.text(5), /2 -> \/dev\/null/);
  },
);

t.test(
  'a descriptor above 2 is read or written, and what the child says the wrong way is dropped',
  async (t) => {
    const recorder = sh('echo dropped >&4; read x <&4; echo "got $x" >&3', {
      childFDs: { 3: 'r', 4: 'w' },
    });
    t.throws(() => recorder.transport.writeToChild(3, 'x'), RangeError);
    t.throws(() => recorder.transport.writeToChild(9, 'x'), {
      message: "cannot write to descriptor 9 of the child: it is not in childFDs as 'w'",
    });
    recorder.transport.write('dropped: there is no standard input');
    recorder.transport.writeToChild(4, 'this\n');
    await until(() => recorder.over);
    t.equal(recorder.text(3), 'got this\n');
    t.equal(recorder.events.includes('data 4'), false);
  },
);

// ── Hooks that throw, many children, the reactor's end ───────────────────────────────────────────────────────────────

t.test('a hook that throws is logged, and the rest still happens', async (t) => {
  const failing = (hooks: Partial<IProcessProtocol>) => {
    const recorder = new Recorder();
    return Object.assign(recorder, hooks);
  };
  const boom = (): never => {
    throw new RangeError('boom');
  };
  for (const hook of [
    'makeConnection',
    'childDataReceived',
    'childConnectionLost',
    'processExited',
  ] as const) {
    const recorder = await ran('echo x; echo y >&2', {}, failing({ [hook]: boom }));
    // FND-11: a process whose protocol is half built is killed, and that is the reason.
    if (hook === 'makeConnection') t.ok(recorder.end instanceof RangeError, hook);
    else t.ok(recorder.end instanceof ProcessDone, hook);
    const count = {
      makeConnection: 1,
      childDataReceived: 2,
      childConnectionLost: 3,
      processExited: 1,
    };
    t.equal(flushLoggedErrors(RangeError).length, count[hook], hook);
  }
  let ended = 0;
  sh('exit 0', {}, failing({ processEnded: () => (ended++, boom()) }));
  await until(() => ended === 1);
  t.equal(flushLoggedErrors(RangeError).length, 1);
});

t.test(
  'PRC-01: many short children each exit and end once, and leave no zombie and no descriptor',
  async (t) => {
    const linux = process.platform === 'linux';
    const fds = () => (linux ? readdirSync('/proc/self/fd').length : 0);
    const reactor = new Reactor();
    await ran('exit 0');
    const before = fds();
    const all: Recorder[] = [];
    let running = 0;
    while (all.length < 300) {
      await until(() => running < 30);
      const recorder = new Recorder();
      const end = recorder.processEnded.bind(recorder);
      recorder.processEnded = (reason) => {
        running--;
        end(reason);
      };
      running++;
      all.push(recorder);
      reactor.spawnProcess(recorder, all.length % 3 === 0 ? '/bin/false' : '/bin/true');
    }
    await until(() => running === 0);
    const sound = all.filter(
      ({ events }) =>
        events.filter((event) => event === 'exited').length === 1 &&
        events.filter((event) => event === 'ended').length === 1 &&
        events.at(-1) === 'ended',
    );
    t.equal(sound.length, 300);
    t.equal(all.filter(({ end }) => end instanceof ProcessDone).length, 200);
    await until(() => fds() <= before);
    if (linux) {
      const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
      const states = children
        .split(' ')
        .filter((pid) => pid !== '')
        .map((pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.[0]);
      t.equal(states.includes('Z'), false);
    }
  },
);

t.test(
  'PRC-06: a reactor that stops closes the pipes, and leaves a child that wants to live alone',
  async (t) => {
    const reactor = new Reactor();
    const recorder = new Recorder();
    const args = ['sh', '-c', 'trap "" TERM PIPE; echo ready; read x; read y <&3; exit 9'];
    const child = join(folder(t), 'fifo');
    await getProcessValue('/usr/bin/mkfifo', { args: [child], reactor });
    const lifeline = openSync(child, 'r+');
    reactor.spawnProcess(recorder, SH, { args, childFDs: { 0: 'w', 1: 'r', 2: 'r', 3: lifeline } });
    await until(() => recorder.text() === 'ready\n');
    reactor.run({ installSignalHandlers: false });
    let stopped = false;
    reactor.addSystemEventTrigger('after', 'shutdown', () => (stopped = true));
    const pid = recorder.transport.pid ?? 0;
    reactor.stop();
    await until(() => stopped && !reactor.running);
    t.same([...recorder.events].sort(), ['data 1', 'lost 0', 'lost 1', 'lost 2', 'made']);
    process.kill(pid, 'SIGTERM');
    process.kill(pid, 0);
    writeFileSync(lifeline, 'y\n');
    await until(() => recorder.over);
    t.match(recorder.end, { exitCode: 9 });
    closeSync(lifeline);
  },
);

// ── Running a program for its result ─────────────────────────────────────────────────────────────────────────────────

/** What it fails with. */
async function failureOf<T>(deferred: Deferred<T>): Promise<Error> {
  try {
    await deferred;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it has not failed');
}

t.test('getProcessOutput gives what a program writes, whatever its exit code', async (t) => {
  const reactor = new Reactor();
  const output = (script: string, options: object = {}) =>
    getProcessOutput(SH, { args: ['-c', script], reactor, ...options });
  t.equal((await output('cat; echo out; exit 3')).toString(), 'out\n');
  t.equal((await output('echo err >&2', { errortoo: true })).toString(), 'err\n');
  const error = await failureOf(output('echo oh >&2; exit 3'));
  t.ok(error instanceof UnexpectedErrorOutput);
  t.equal(error.message, 'got stderr: "oh\\n"');
  t.match(await (error as Error & Pick<UnexpectedErrorOutput, 'processEnded'>).processEnded, {
    exitCode: 3,
  });
  t.ok((await failureOf(getProcessOutput('/nonexistent', { reactor }))) instanceof SpawnError);
  t.equal((await getProcessOutput('/bin/echo')).toString(), '\n');
});

t.test('getProcessValue gives the exit code', async (t) => {
  const reactor = new Reactor();
  const value = (script: string) => getProcessValue(SH, { args: ['-c', script], reactor });
  t.equal(await value('echo x; echo y >&2; exit 0'), 0);
  t.equal(await value('exit 42'), 42);
  t.match(await failureOf(value('kill -9 $$')), { name: 'ProcessTerminated', signal: 'SIGKILL' });
  t.ok((await failureOf(getProcessValue('/nonexistent', { reactor }))) instanceof SpawnError);
});

t.test('getProcessOutputAndValue gives all of it', async (t) => {
  const reactor = new Reactor();
  const both = (script: string, options: object = {}) =>
    getProcessOutputAndValue(SH, { args: ['-c', script], reactor, ...options });
  const { out, err, code } = await both('cat; echo err >&2; exit 5', { stdinBytes: 'in' });
  t.same([out.toString(), err.toString(), code], ['in', 'err\n', 5]);
  const killed = await failureOf(both('echo o; echo e >&2; kill -15 $$'));
  t.ok(killed instanceof ProcessInterrupted);
  t.match(killed, { signal: 'SIGTERM', exitCode: null, status: 15 });
  const { out: o, err: e } = killed as Error & Pick<ProcessInterrupted, 'out' | 'err'>;
  t.same([o.toString(), e.toString()], ['o\n', 'e\n']);
  t.ok(
    (await failureOf(getProcessOutputAndValue('/nonexistent', { reactor }))) instanceof SpawnError,
  );
});

t.test(
  'too much output is an error, and the program is killed, and its children lose their pipes',
  async (t) => {
    const reactor = new Reactor();
    for (const run of [getProcessOutput, getProcessOutputAndValue]) {
      const error = await failureOf<unknown>(
        run(SH, { args: ['-c', 'yes & yes'], maxBytes: 1000, reactor, env: null }),
      );
      t.ok(error instanceof LimitExceeded);
      t.equal(error.message, "the output of '/bin/sh' is longer than the limit of 1000 bytes");
    }
    t.equal(
      (await getProcessOutput('/bin/echo', { args: ['123'], maxBytes: 4, reactor })).length,
      4,
    );
  },
);

t.test('a cancelled run kills the program', async (t) => {
  const reactor = new Reactor();
  const pidFile = join(folder(t), 'pid');
  const run = getProcessOutput(SH, {
    args: ['-c', `echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 1000`],
    reactor,
    env: null,
  });
  await until(() => existsSync(pidFile));
  const pid = Number(readFileSync(pidFile, 'utf8'));
  run.cancel();
  t.ok((await failureOf(run)) instanceof CancelledError);
  await until(() => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  });
});

// ── As an endpoint ───────────────────────────────────────────────────────────────────────────────────────────────────

class Lines extends Protocol {
  text = '';
  reason: Error | undefined;
  greeting = '';
  override connectionMade(): void {
    this.transport.write(this.greeting);
  }
  override dataReceived(data: Buffer): void {
    this.text += data.toString();
  }
  override connectionLost(reason: Failure): void {
    this.reason = reason.value;
  }
}

function script(text: string, options: object = {}): ProcessEndpoint {
  return new ProcessEndpoint(new Reactor(), SH, {
    args: ['sh', '-c', text],
    env: null,
    ...options,
  });
}

t.test('a protocol talks to a program as to a connection', async (t) => {
  const protocol = await script('read x; echo "you said $x"; read y || exit 0').connect(
    Factory.forProtocol(Lines),
  );
  const { transport } = protocol;
  t.ok(transport.getHost() instanceof PipeAddress);
  t.ok(transport.getPeer() instanceof PipeAddress);
  transport.writeSequence(['he', 'llo\n']);
  await until(() => protocol.text === 'you said hello\n');
  t.equal(transport.connected, true);
  t.equal(transport.disconnecting, false);
  transport.pauseProducing();
  transport.resumeProducing();
  transport.registerProducer({ resumeProducing() {}, stopProducing() {} }, false);
  transport.unregisterProducer();
  t.equal(transport.bufferedBytes, 0);
  transport.stopProducing();
  t.equal(transport.disconnecting, true);
  await until(() => protocol.reason !== undefined);
  t.ok(protocol.reason instanceof ConnectionDone);
  t.equal(transport.connected, false);
  transport.abortConnection();
});

t.test('the connection is lost with how the process ended', async (t) => {
  const failed = await script('echo dead; exit 3').connect(Factory.forProtocol(Lines));
  await until(() => failed.reason !== undefined);
  t.match(failed.reason, { name: 'ProcessTerminated', exitCode: 3 });
  t.equal(failed.text, 'dead\n');
  const aborted = await script('exec sleep 1000').connect(Factory.forProtocol(Lines));
  aborted.transport.abortConnection();
  await until(() => aborted.reason !== undefined);
  t.match(aborted.reason, { name: 'ProcessTerminated', signal: 'SIGKILL' });
});

t.test('a half-closeable protocol hears of each end', async (t) => {
  class Half extends Lines implements IHalfCloseableProtocol {
    readonly events: string[] = [];
    readConnectionLost() {
      this.events.push('read');
    }
    writeConnectionLost() {
      this.events.push('write');
    }
  }
  const half = await script('cat; echo end').connect(Factory.forProtocol(Half));
  half.transport.write('x');
  half.transport.loseWriteConnection();
  await until(() => half.reason !== undefined);
  t.equal(half.text, 'xend\n');
  t.same(half.events, ['write', 'read']);
  const quick = await script('cat; sleep 0.01; echo unseen').connect(Factory.forProtocol(Half));
  quick.transport.loseConnection();
  await until(() => quick.reason !== undefined);
  t.same([quick.events, quick.text], [[], '']);
});

t.test('standard error is logged or dropped', async (t) => {
  for (const errFlag of ['log', 'drop'] as const) {
    const seen: string[] = [];
    const { globalLogPublisher, formatEvent } = await import('plait');
    const observer = (event: Parameters<typeof formatEvent>[0]) => seen.push(formatEvent(event));
    globalLogPublisher.addObserver(observer);
    const protocol = await script('echo oops >&2', { errFlag }).connect(Factory.forProtocol(Lines));
    await until(() => protocol.reason !== undefined);
    globalLogPublisher.removeObserver(observer);
    const wanted = errFlag === 'log' ? ['/bin/sh wrote to stderr: oops\\n'] : [];
    t.same(
      seen.filter((text) => text.includes('stderr')),
      wanted,
    );
  }
});

t.test('an endpoint says why there is no connection', async (t) => {
  const missing = new ProcessEndpoint(new Reactor(), '/nonexistent/program');
  t.ok((await failureOf(missing.connect(Factory.forProtocol(Lines)))) instanceof SpawnError);
  const cancelled = missing.connect(Factory.forProtocol(Lines));
  cancelled.cancel();
  t.equal((await failureOf(cancelled)).name, 'ConnectingCancelledError');
  const refusing = { buildProtocol: () => null, doStart() {}, doStop() {} };
  t.ok((await failureOf(script('exit 0').connect(refusing))) instanceof NoProtocol);
  const wrong = new ProcessEndpoint(new Reactor(), 'a\0');
  t.ok((await failureOf(wrong.connect(Factory.forProtocol(Lines)))) instanceof RangeError);
  class Failing extends Lines {
    override connectionMade() {
      throw new RangeError('in connectionMade');
    }
  }
  t.equal(
    (await failureOf(script('sleep 1000').connect(Factory.forProtocol(Failing)))).message,
    'in connectionMade',
  );
  class Choking extends Lines {
    override dataReceived() {
      throw new RangeError('in dataReceived');
    }
  }
  const choking = await script('echo x; cat').connect(Factory.forProtocol(Choking));
  await until(() => choking.reason !== undefined);
  t.equal(choking.reason?.message, 'in dataReceived');
  t.equal(flushLoggedErrors(RangeError).length, 1);
});

/** Logging never ends or blocks the program, and shows nothing that forges, floods or gives away. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import {
  debuglogObserver,
  Failure,
  FileLogObserver,
  FilteringLogObserver,
  type LogEvent,
  Logger,
  loggerObserver,
  LogPublisher,
  textFileLogObserver,
} from 'plait';
import t, { type Test } from '../fixture.ts';

/** A folder of its own. */
function scratch(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'plait-log-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/**
 * Runs a program by a shell, which says where standard error goes; `$RUN` is the program. Returns its exit code (124 if
 * it had to be killed) and what it has written to descriptor 3.
 */
async function shell(t: Test, program: string, command: string) {
  const folder = scratch(t);
  const words = [process.execPath, ...process.execArgv, program, folder];
  const RUN = words.map((word) => `'${word}'`).join(' ');
  const child = spawn(
    'bash',
    ['-c', command.replaceAll('$RUN', `timeout -s KILL 60 ${RUN}`).replaceAll('$DIR', folder)],
    {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    },
  );
  t.teardown(() => child.kill('SIGKILL'));
  let said = '';
  child.stdio[3]?.on('data', (data: Buffer) => (said += data.toString()));
  child.stdout?.resume();
  child.stderr?.pipe(process.stderr);
  const [code] = (await once(child, 'close')) as [number];
  const file = join(folder, 'file');
  return { code, said, file: existsSync(file) ? readFileSync(file, 'utf8') : undefined };
}

/** What was written to standard error while `fn` ran. */
async function stderrOf(fn: () => unknown): Promise<string> {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back
  const { write } = process.stderr;
  let text = '';
  process.stderr.write = (chunk: string | Uint8Array) => {
    text += chunk.toString();
    return true;
  };
  try {
    await fn();
  } finally {
    process.stderr.write = write;
  }
  return text;
}

/** Logs in many ways, over several turns, by observers of which most cannot work; and then says that it lives. */
const LOGS = `
  import { execFileSync } from 'node:child_process';
  import { writeSync } from 'node:fs';
  import {
    debuglogObserver, fail, Failure, globalLogPublisher, Logger, LogPublisher, textFileLogObserver,
  } from 'plait';
  const log = new Logger('shop');
  const fifo = process.argv[2] + '/fifo';
  execFileSync('mkfifo', [fifo]);
  const bad = ['/nowhere/at all', 'a\\0b', new URL('http://me:secret@host/x'), '/', fifo, '/dev/full'];
  for (const path of bad) globalLogPublisher.addObserver(textFileLogObserver(path));
  globalLogPublisher.addObserver(debuglogObserver());
  globalLogPublisher.addObserver(() => { throw new Error('broken'); });
  globalLogPublisher.addObserver(async () => { throw new Error('broken'); });
  globalLogPublisher.addObserver({ emit: () => fail(new Error('broken')) });
  for (let turn = 0; turn < 5; turn++) {
    for (let i = 0; i < 200; i++) log.warn('tea {x}', { x: 'y'.repeat(100) });
    log.failure('cannot brew', new Failure(new RangeError('no water')));
    new Failure(new RangeError('no tea')).printTraceback();
    new Failure(new RangeError('no tea')).printBriefTraceback();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const again = new LogPublisher();
  const echo = new Logger('echo', again);
  for (let i = 0; i < 3; i++) again.addObserver(() => echo.info('told'));
  echo.info('begin');
  fail(new Error('unhandled'));
  await new Promise((resolve) => setTimeout(resolve, 50));
  writeSync(3, 'alive');`;

t.test('FND-81: whatever becomes of the log, the program goes on, and ends', async (t) => {
  const ways: [string, string][] = [
    ['gone', '{ $RUN 2>&1 >/dev/null; echo $? >$DIR/code; } | true; exit $(cat $DIR/code)'],
    ['a full disk', '$RUN 2>/dev/full'],
    ['all of them closed', '$RUN 0<&- 1>&- 2>&-'],
    ['a pipe that is not read', 'mkfifo $DIR/f; exec 4<>$DIR/f; $RUN 2>$DIR/f'],
    ['a file', '$RUN 2>$DIR/file'],
    [
      'a slow reader',
      '{ $RUN 2>&1 >/dev/null; echo $? >$DIR/code; } | { sleep 0.5; cat >$DIR/file; }; exit $(cat $DIR/code)',
    ],
  ];
  process.env['NODE_DEBUG'] = 'shop';
  t.teardown(() => delete process.env['NODE_DEBUG']);
  const program = join(t.testdir({ 'program.mjs': LOGS }), 'program.mjs');
  const ends = ways.map(
    async ([name, command]) => [name, await shell(t, program, command)] as const,
  );
  for (const [name, { code, said, file }] of await Promise.all(ends)) {
    t.same([code, said], [0, 'alive'], name);
    if (file === undefined) continue;
    t.equal(file.match(/shop#warn\] tea/g)?.length, 2000, `${name}: all was written, twice`);
    t.equal(file.match(/^cannot write the log to /gm)?.length, 6, 'complained of once each');
    t.match(file, 'cannot write the log to a\\x00b: ');
    t.match(file, /unhandled failure in a Deferred/);
    t.notMatch(file, 'secret');
  }
});

t.test(
  'FND-81: a standard error that throws, or fails at once, is no error of the program',
  (t) => {
    const { stderr } = process;
    for (const write of [
      () => {
        throw new RangeError('broken');
      },
      () => stderr.emit('error', new RangeError('broken')),
    ]) {
      stderr.write = write;
      try {
        new Failure(new Error('no tea')).printTraceback();
        new Failure(new Error('no tea')).printBriefTraceback();
        debuglogObserver()({ time: 0, level: 'info', namespace: 'broken', format: 'tea' });
      } finally {
        Reflect.deleteProperty(stderr, 'write');
      }
    }
    t.end();
  },
);

t.test('FND-81: what a full pipe does not take is dropped, counted, and told', async (t) => {
  const program = join(
    t.testdir({
      'program.mjs': `
        import { Logger } from 'plait';
        const log = new Logger('shop');
        for (let i = 0; i < 200; i++) log.warn('tea {x}', { x: 'y'.repeat(10000) });
        process.stdout.write('full');
        await new Promise((resolve) => process.stdin.once('data', resolve));
        process.stdin.destroy();
        for (let i = 0; i < 100; i++) await new Promise((resolve) => setTimeout(resolve, 5));
        log.warn('later');`,
    }),
    'program.mjs',
  );
  const child = spawn(process.execPath, [...process.execArgv, program]);
  t.teardown(() => child.kill('SIGKILL'));
  child.stderr.pause();
  await once(child.stdout, 'data');
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  child.stderr.resume();
  child.stdin.write('read');
  t.same(await once(child, 'close'), [0, null]);
  const shown = text.match(/#warn\] tea/g)?.length ?? 0;
  const dropped = /^(\d+) events were dropped: standard error/m.exec(text)?.[1];
  t.ok(shown > 50 && shown < 200, `${shown} were shown, ${dropped} dropped`);
  t.equal(shown + Number(dropped), 200);
  t.ok(text.includes('[shop#warn] later\n'));
});

t.test('FND-81: what a pipe has not taken is given up when its reader goes', async (t) => {
  const program = join(
    t.testdir({
      'program.mjs': `
        import { Logger } from 'plait';
        const log = new Logger('shop');
        const before = process.listenerCount('exit');
        for (let i = 0; i < 200; i++) log.warn('tea {x}', { x: 'y'.repeat(10000) });
        process.stdout.write(String(process.listenerCount('exit') - before));
        await new Promise((resolve) => process.stdin.once('data', resolve));
        process.stdin.destroy();
        // Until it is tried again.
        for (let i = 0; i < 2000 && process.listenerCount('exit') > before; i++)
          await new Promise((resolve) => setTimeout(resolve, 5));
        log.warn('later');
        process.stdout.write(String(process.listenerCount('exit') - before));`,
    }),
    'program.mjs',
  );
  const child = spawn(process.execPath, [...process.execArgv, program]);
  t.teardown(() => child.kill('SIGKILL'));
  child.stderr.pause();
  let said = '';
  child.stdout.on('data', (piece: Buffer) => (said += piece.toString()));
  await once(child.stdout, 'data');
  t.equal(said, '1', 'what waits is written before the end');
  child.stderr.destroy();
  await once(child.stderr, 'close');
  child.stdin.write('gone');
  t.same(await once(child, 'close'), [0, null]);
  t.equal(said, '10', 'nothing waits any more');
});

t.test('FND-81: observers that log, reject or return nonsense end at last', async (t) => {
  let told = 0;
  const publisher = new LogPublisher();
  const log = new Logger('shop', publisher);
  for (let i = 0; i < 3; i++)
    publisher.addObserver(() => {
      told++;
      log.info('told');
    });
  log.info('open');
  t.equal(told, 3 + 9 + 27 + 81, 'as often as it is told within itself');
  const alone = (event: LogEvent): void => {
    told++;
    publisher.emit(event);
  };
  told = 0;
  publisher.addObserver(alone);
  publisher.emit({ time: 0, level: 'info', namespace: 'shop', format: 'open' });
  t.ok(told > 4 && told < 1000);

  const rejects: (event: LogEvent) => void = (): unknown => Promise.reject(new Error('broken'));
  const logger = { debug: rejects, info: rejects, warn: rejects, error: rejects };
  const passed: LogEvent[] = [];
  const confused = [() => Promise.reject(new Error('broken')), () => 7] as never;
  const other = new LogPublisher(
    rejects,
    { emit: rejects },
    loggerObserver(logger),
    new FilteringLogObserver((event) => void passed.push(event), confused),
  );
  new Logger('shop', other).info('open');
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(passed.length, 1, 'a predicate that cannot say lets it pass');
});

t.test('FND-81: files that are taken away, full FIFOs, and streams that break', async (t) => {
  const folder = scratch(t);
  const path = join(folder, 'log');
  const observer = textFileLogObserver(path);
  const log = new Logger('shop', observer);
  log.info('one');
  await observer.flush();
  renameSync(path, `${path}.1`);
  log.info('two');
  await observer.flush();
  unlinkSync(`${path}.1`);
  log.info('three');
  await observer.close();
  t.match(readFileSync(path, 'utf8'), /^\S+ \[shop#info\] three\n$/, 'it is made anew');

  const fifo = join(folder, 'fifo');
  spawnSync('mkfifo', [fifo]);
  const reader = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
  const lines = new FileLogObserver(fifo, ({ format }) => `${format}\n`);
  const fifoLog = new Logger('shop', lines);
  for (let i = 0; i < 20; i++) fifoLog.info('x'.repeat(9999));
  const flushed = lines.flush();
  let size = 0;
  const buffer = Buffer.alloc(10000);
  while (size < 200000) {
    try {
      size += readSync(reader, buffer);
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  await flushed;
  t.equal(size, 200000);
  await lines.close();
  closeSync(reader);

  for (const write of [
    (_chunk: unknown, _encoding: unknown, done: (error: Error) => void) => done(new Error('full')),
    () => {
      throw new Error('full');
    },
  ]) {
    const said = await stderrOf(async () => {
      const stream = new Writable({ write });
      const broken = textFileLogObserver(stream);
      new Logger('shop', broken).info('lost');
      await broken.close();
      await new Promise((resolve) => setImmediate(resolve));
    });
    t.ok(said === '' || said === 'cannot write the log to a stream: full\n', said);
  }
  const angry = new FileLogObserver(
    path,
    (event) => {
      if (event.namespace === 'plait.log') throw new Error('not mine');
      return 'line\n';
    },
    { maxWaiting: 1 },
  );
  for (let i = 0; i < 3; i++) new Logger('shop', angry).info('');
  await angry.close();
});

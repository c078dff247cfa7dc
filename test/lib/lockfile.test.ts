/** Locks between processes: what lies at their path may be anything, and may change at any time. */
import { execFile } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { DeferredFilesystemLock, Factory, FilesystemLock, Reactor } from 'plait';
import { Clock, failureResultOf } from 'plait/testing';
import t, { type Test } from '../fixture.ts';

/** No process has such a number on Linux. */
const DEAD = '4194305';

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'plait-lockfile-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

t.test('FND-03: a link that is no lock is an error at once, and stays as it is', (t) => {
  const name = join(folderOf(t), 'current');
  const targets = [
    '/srv/app/releases/5',
    'nightly',
    'rubbish',
    '-1',
    '0',
    '007',
    '1\n',
    ' 1',
    '1.5',
    '1e3',
    'NaN',
    'Infinity',
    '2147483648',
    '99999999999999999999',
    '１',
    '..',
  ];
  for (const target of targets) {
    symlinkSync(target, name);
    const clock = new Clock();
    const lock = new DeferredFilesystemLock(name, clock);
    const { value } = failureResultOf(lock.deferUntilLocked(1), RangeError);
    t.match(value.message, name, 'which');
    t.match(value.message, JSON.stringify(target), 'why');
    t.throws(() => lock.lock(), RangeError);
    t.throws(() => lock.unlock(), RangeError);
    t.equal(lock.isLocked, false);
    t.equal(readlinkSync(name), target);
    t.same(clock.getDelayedCalls(), []);
    unlinkSync(name);
  }
  t.end();
});

t.test('FND-03: a link with a number for its target that leads somewhere is no lock', (t) => {
  const folder = folderOf(t);
  mkdirSync(join(folder, DEAD));
  const name = join(folder, 'current');
  symlinkSync(DEAD, name);
  t.throws(() => new FilesystemLock(name).lock(), RangeError);
  t.equal(readlinkSync(name), DEAD);
  t.same(readdirSync(folder).sort(), [DEAD, 'current']);
  t.end();
});

t.test('FND-03: a file or a directory is an error at once, and stays as it is', (t) => {
  const folder = folderOf(t);
  const file = join(folder, 'file');
  writeFileSync(file, DEAD);
  for (const path of [file, folder]) {
    failureResultOf(new DeferredFilesystemLock(path, new Clock()).deferUntilLocked(), 'EINVAL');
    t.throws(() => new FilesystemLock(path).unlock());
  }
  t.equal(lstatSync(file).size, DEAD.length);
  t.end();
});

t.test('FND-03: a lock that comes and goes is tried a few times, and later again', (t) => {
  const name = join(folderOf(t), 'lock');
  symlinkSync(DEAD, name);
  // To make a link of this name, it is there; to read it, it is not: for ever.
  const clock = new Clock();
  const lock = new DeferredFilesystemLock(`${name}/`, clock);
  const waiting = lock.deferUntilLocked(2);
  clock.advance(1);
  clock.advance(1);
  failureResultOf(waiting, Error);
  t.same(clock.getDelayedCalls(), []);
  t.equal(readlinkSync(name), DEAD);
  t.end();
});

t.test('FND-03: a lock that becomes something else while one waits for it fails the wait', (t) => {
  const name = join(folderOf(t), 'lock');
  symlinkSync('1', name);
  const clock = new Clock();
  const waiting = new DeferredFilesystemLock(name, clock).deferUntilLocked(5);
  unlinkSync(name);
  symlinkSync('nightly', name);
  clock.advance(1);
  failureResultOf(waiting, RangeError);
  t.same(clock.getDelayedCalls(), []);
  t.equal(readlinkSync(name), 'nightly');
  t.end();
});

t.test('FND-03: a lock of a living process is respected, whoever it belongs to', (t) => {
  const name = join(folderOf(t), 'lock');
  for (const owner of [1, process.ppid, process.pid]) {
    symlinkSync(String(owner), name);
    t.equal(new FilesystemLock(name).lock(), false);
    t.equal(readlinkSync(name), String(owner));
    unlinkSync(name);
  }
  t.end();
});

t.test('FND-23: a lock is unclean only if this object has removed what was left', (t) => {
  const name = join(folderOf(t), 'lock');
  symlinkSync(DEAD, name);
  const lock = new FilesystemLock(name);
  t.equal(lock.lock(), true);
  t.equal(lock.clean, false);
  lock.unlock();
  t.equal(lock.lock(), true);
  t.equal(lock.clean, true);
  lock.unlock();
  t.end();
});

t.test('FND-03: one process at a time removes a dead one’s lock', (t) => {
  const name = join(folderOf(t), 'lock');
  const breaking = `${name}.breaking`;
  const lock = new FilesystemLock(name);
  symlinkSync(DEAD, name);
  symlinkSync(String(process.ppid), breaking);
  t.equal(lock.lock(), false, 'another one is about to remove it');
  t.equal(readlinkSync(name), DEAD);
  t.equal(readlinkSync(breaking), String(process.ppid));
  unlinkSync(breaking);

  symlinkSync(DEAD, breaking);
  t.equal(lock.lock(), true, 'it died while it did so');
  t.equal(lock.clean, false);
  t.same(readdirSync(dirname(name)), ['lock'], 'nothing else is left');
  lock.unlock();

  symlinkSync(DEAD, name);
  symlinkSync('nightly', breaking);
  t.throws(() => lock.lock(), RangeError);
  t.equal(readlinkSync(breaking), 'nightly', 'what is no lock stays');
  t.end();
});

t.test('FND-23: what another has removed in the same moment makes no lock unclean', (t) => {
  const name = join(folderOf(t), 'lock');
  const kill = process.kill.bind(process);
  t.teardown(() => (process.kill = kill));
  /** Another process acts when it was seen that the owner is dead. */
  const meanwhile = (act: () => void) => {
    process.kill = (pid, signal) => {
      process.kill = kill;
      act();
      return kill(pid, signal);
    };
  };
  const lock = new FilesystemLock(name);
  symlinkSync(DEAD, name);
  meanwhile(() => unlinkSync(name));
  t.equal(lock.lock(), true);
  t.equal(lock.clean, true, 'the other has removed it');
  lock.unlock();

  symlinkSync(DEAD, name);
  meanwhile(() => {
    unlinkSync(name);
    symlinkSync('1', name);
  });
  t.equal(lock.lock(), false, 'the other has the lock now');
  t.equal(readlinkSync(name), '1');

  const breaking = `${name}.breaking`;
  unlinkSync(name);
  symlinkSync(DEAD, name);
  symlinkSync(DEAD, breaking);
  meanwhile(() =>
    meanwhile(() => {
      unlinkSync(breaking);
      symlinkSync('1', breaking);
    }),
  );
  t.equal(lock.lock(), false, 'the other is about to remove it');
  t.equal(readlinkSync(breaking), '1');
  t.end();
});

t.test('a lock whose link was taken away is lost: that is told once', (t) => {
  const name = join(folderOf(t), 'lock');
  const lock = new FilesystemLock(name);
  for (const other of [undefined, '1', 'nightly']) {
    t.equal(lock.lock(), true);
    unlinkSync(name);
    if (other !== undefined) symlinkSync(other, name);
    t.throws(() => lock.unlock(), RangeError);
    t.equal(lock.isLocked, false);
    t.doesNotThrow(() => lock[Symbol.dispose]());
    if (other !== undefined) {
      t.equal(readlinkSync(name), other);
      unlinkSync(name);
    }
  }
  t.end();
});

t.test(
  'FND-03: of several processes that find a dead one’s lock, one takes it at a time',
  async (t) => {
    const folder = folderOf(t);
    const name = join(folder, 'lock');
    symlinkSync(DEAD, name);
    // Each takes the lock fifty times, dies with it now and then, and finds out whether it was alone.
    const script = `
    import { FilesystemLock } from 'plait';
    import { closeSync, openSync, rmSync } from 'node:fs';
    const [name, inside] = process.argv.slice(-2);
    for (let taken = 0; taken < 50; ) {
      const lock = new FilesystemLock(name);
      if (!lock.lock()) continue;
      closeSync(openSync(inside, 'wx'));
      rmSync(inside);
      if (++taken < 50) lock.unlock();
    }`;
    const args = [
      '--import=./test/typescript.mjs',
      '--conditions=plait-source',
      '--input-type=module',
      '-e',
      script,
      '--',
      name,
      join(folder, 'inside'),
    ];
    const runs = Array.from({ length: 3 }, () => promisify(execFile)(process.execPath, args));
    await Promise.all(runs);
    t.same(
      readdirSync(folder),
      ['lock'],
      'nothing is left but the lock of the last, which is dead',
    );
    const lock = new FilesystemLock(name);
    t.equal(lock.lock(), true);
    t.equal(lock.clean, false);
    lock.unlock();
  },
);

t.test('FND-03: a UNIX port does not take what is no lock for one', async (t) => {
  const folder = folderOf(t);
  const path = join(folder, 'socket');
  const reactor = new Reactor();
  for (const target of ['nightly', '/srv/app', '0']) {
    symlinkSync(target, `${path}.lock`);
    await t.rejects(reactor.listenUNIX(path, new Factory(), { wantPID: true }).ready.asPromise(), {
      name: 'CannotListenError',
      message: new RegExp(JSON.stringify(target)),
    });
    t.equal(readlinkSync(`${path}.lock`), target);
    unlinkSync(`${path}.lock`);
  }
  writeFileSync(`${path}.lock`, '');
  await t.rejects(reactor.listenUNIX(path, new Factory(), { wantPID: true }).ready.asPromise(), {
    name: 'CannotListenError',
  });
  t.equal(existsSync(path), false);
  t.same(readdirSync(folder), ['socket.lock']);
});

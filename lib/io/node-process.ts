/**
 * Child processes, by `node:child_process`, which is loaded with the first of them. There is never a shell. The pipes
 * are Node's: on POSIX pairs of UNIX sockets, which a child can use like any descriptor, but not open anew by a name
 * such as `/dev/stdout`. To Windows batch files Node passes no arguments without a shell, and so they are refused
 * (CVE-2024-27980).
 */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { devNull } from 'node:os';
import { PipeAddress } from '../address.ts';
import { inheritedDescriptors } from './inherited-descriptors.ts';
import type { SpawnedProcess, SpawnEvents, SpawnTarget, Wire } from './io.ts';
import { NodeWire } from './node-wire.ts';

/** One end of a pipe whose other end a child has. */
class ChildWire extends NodeWire {
  readonly #socket: Socket;
  readonly #reads: boolean;
  #held = false;

  constructor(socket: Socket, reads: boolean) {
    const address = new PipeAddress();
    super(socket, address, address);
    this.#socket = socket;
    this.#reads = reads;
    // When a child exits, Node lets its pipes run, lest they are not read to their end; but here they are.
    socket.on('resume', () => {
      if (this.#held) socket.pause();
    });
  }

  override pause(): void {
    this.#held = true;
    super.pause();
  }

  override resume(): void {
    this.#held = false;
    super.resume();
  }

  override discard(): void {
    this.#held = false;
    super.discard();
  }

  /** One that is read has nothing to send: it is closed at once, and the child is told when it writes. */
  override close(): void {
    if (this.#reads) this.#socket.destroy();
    else super.close();
  }
}

/** Starts a process. */
export function spawnChild(target: SpawnTarget, events: SpawnEvents): SpawnedProcess {
  let child: ChildProcess;
  let nothing: number | undefined;
  try {
    const hidden = inheritedDescriptors().filter((fd) => !target.childFDs.has(fd));
    if (hidden.length > 0) nothing = openSync(devNull, 'r+');
    const { spawn } = process.getBuiltinModule('node:child_process');
    child = spawn(target.executable, target.args.slice(1), spawnOptions(target, hidden, nothing));
  } catch (error) {
    return neverStarted(events, withoutValues(error as Error));
  } finally {
    if (nothing !== undefined) closeSync(nothing);
  }
  const { pid } = child;
  if (pid === undefined) {
    // Of some errors Node tells later.
    child.once('error', (error) => events.failed(explained(error, target)));
    // Where it had no descriptors left, there are none at all.
    const pipes = (child.stdio as ChildProcess['stdio'] | undefined) ?? [];
    for (const pipe of pipes) pipe?.on('error', () => {}).destroy();
    return { ...NEVER, unref: () => child.unref() };
  }
  // Signals are not sent by way of the child, which might emit this; nothing else can fail any more.
  child.on('error', () => {});
  child.once('exit', (code, signal) => events.exited(signal === null ? code : null, signal));
  const wires = new Map<number, Wire>();
  for (const [fd, use] of target.childFDs) {
    // Beyond the first five, Node's type knows none.
    const pipe = (child.stdio as readonly unknown[])[fd] as Socket;
    if (typeof use !== 'number') wires.set(fd, new ChildWire(pipe, use === 'r'));
  }
  return {
    pid,
    wires,
    kill(signal) {
      process.kill(pid, signal);
    },
    unref() {
      child.unref();
    },
  };
}

/** Node shows the argument, or the variable of the environment, that it does not take: which may be a password. */
function withoutValues(error: Error): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (code?.startsWith('ERR_INVALID_ARG') !== true) return error;
  return Object.assign(new TypeError(error.message.replace(/\.? Received .*$/s, '')), { code });
}

const NEVER: SpawnedProcess = { pid: undefined, wires: new Map(), kill() {}, unref() {} };

function neverStarted(events: SpawnEvents, error: Error): SpawnedProcess {
  setImmediate(() => events.failed(error));
  return NEVER;
}

/** @param nothing takes the place of what is `hidden` from the child */
function spawnOptions(
  { args, env, path, uid, gid, childFDs }: SpawnTarget,
  hidden: readonly number[],
  nothing: number | undefined,
): SpawnOptions {
  const length = Math.max(2, ...childFDs.keys(), ...hidden) + 1;
  const stdio = Array.from<unknown, 'pipe' | 'ignore' | number>({ length }, () => 'ignore');
  for (const fd of hidden) stdio[fd] = nothing ?? 'ignore';
  for (const [fd, use] of childFDs) stdio[fd] = typeof use === 'number' ? use : 'pipe';
  return {
    argv0: args[0],
    // Node would take a missing environment for its own.
    env: env === null ? process.env : { ...env },
    cwd: path,
    stdio,
    windowsHide: true,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  };
}

/** For the system a missing program and a missing directory to run in are the same. */
function explained(error: Error, { path }: SpawnTarget): Error {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === undefined || existsSync(path))
    return error;
  return Object.assign(new Error(`no directory ${JSON.stringify(path)} to run in`), {
    code: 'ENOENT',
    syscall: 'chdir',
    cause: error,
  });
}

/**
 * How a child process lives: from its start until it has been reaped and the last of its pipes is closed. Each pipe is
 * a connection like any other, with a Stream to itself; what is decided here is who hears of what, and when it is over.
 * Twisted: `twisted.internet.process.Process`.
 */
import { constants } from 'node:os';
import { inspect } from 'node:util';
import {
  checkBoolean,
  checkOptions,
  checkWhole,
  optional,
  wrongKind,
  wrongValue,
} from '../arguments.ts';
import {
  explain,
  NotSupportedError,
  ProcessDone,
  ProcessExitedAlready,
  ProcessTerminated,
  SpawnError,
} from '../errors.ts';
import { Failure } from '../failure.ts';
import type {
  ChildFD,
  IProcessProtocol,
  IProcessTransport,
  IProtocol,
  IPullProducer,
  IPushProducer,
  SignalID,
  SpawnProcessOptions,
} from '../interfaces.ts';
import type { IO, SpawnedProcess, SpawnTarget } from '../io/io.ts';
import { watchHook } from '../hooks.ts';
import type { OpenKind } from '../inspect.ts';
import { Logger } from '../log.ts';
import { logHookFailure } from '../log-prefix.ts';
import type { Closable, Home } from './home.ts';
import { Stream } from './stream.ts';
import { INSPECT, inspected, type Inspecting } from '../one-line.ts';

const log = new Logger('plait.process');

const DEFAULT_FDS: Readonly<Record<number, ChildFD>> = { 0: 'w', 1: 'r', 2: 'r' };

/** A child is given no descriptor above this: those between are looked through one by one. */
const HIGHEST_FD = 255;

/** A child process. Made by `spawnProcess`. */
export class Process implements IProcessTransport, Closable {
  readonly #home: Home;
  readonly #protocol: IProcessProtocol;
  readonly #target: SpawnTarget;
  readonly #process: SpawnedProcess;
  /** By the child's descriptor; those that are still open. */
  readonly #pipes = new Map<number, Stream>();
  /** How it ended; undefined as long as it has not. */
  #reason: Failure | undefined;
  #over = false;
  #cutBy: Failure | undefined;
  /** What `connectionMade` has thrown. */
  #unmadeBy: Failure | undefined;

  constructor(home: Home, io: IO, target: SpawnTarget, protocol: IProcessProtocol) {
    if (io.spawn === undefined)
      throw new NotSupportedError(`the body ${io.name} can start no processes`);
    this.#home = home;
    this.#protocol = protocol;
    this.#target = target;
    this.#process = io.spawn(target, {
      exited: (exitCode, signal) => this.#exited(exitReason(exitCode, signal)),
      failed: (error) => this.#failed(error),
    });
    home.opened(this);
    if (this.#process.pid === undefined) return;
    // The reactor does not count the pipes as connections; it is the process that it closes.
    const pipeHome: Home = {
      soon: (fn) => home.soon(fn),
      ...(home.callLater === undefined ? {} : { callLater: home.callLater }),
      opened() {},
      closed() {},
      listening() {},
    };
    for (const [fd, wire] of this.#process.wires) {
      const pipe = new Stream(pipeHome, wire);
      this.#pipes.set(fd, pipe);
      pipe.begin(this.#pipeProtocol(fd));
    }
    try {
      watchHook(protocol.makeConnection(this), 'makeConnection', this);
    } catch (error) {
      this.#unmade(new Failure(error));
    }
  }

  /** Its protocol has failed in `connectionMade`: a process without a protocol is killed, and that is the reason given. */
  #unmade(reason: Failure): void {
    this.#logFailure('makeConnection', reason);
    this.#unmadeBy ??= reason;
    this.loseConnection();
    // Its number may be another's by now.
    if (this.pid === null) return;
    try {
      this.#process.kill(constants.signals.SIGKILL);
    } catch {
      // It has ended by itself.
    }
  }

  get kind(): OpenKind {
    return 'process';
  }

  toString(): string {
    return `<process ${this.pid ?? '(none)'} ${this.#target.executable}>`;
  }

  #pipeProtocol(fd: number): IProtocol {
    const protocol = this.#protocol;
    const reads = this.#target.childFDs.get(fd) === 'r';
    return {
      makeConnection() {},
      connectionMade() {},
      dataReceived: (data) => (reads ? protocol.childDataReceived(fd, data) : undefined),
      connectionLost: () => {
        this.#pipes.delete(fd);
        this.#guarded('childConnectionLost', () => protocol.childConnectionLost(fd));
        this.#endIfOver();
      },
    };
  }

  /** @internal Why the pipes were closed before their ends, if the reactor has stopped. */
  get cutBy(): Failure | undefined {
    return this.#cutBy;
  }

  get pid(): number | null {
    return this.#reason === undefined ? (this.#process.pid ?? null) : null;
  }

  // ── Ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #exited(reason: Error): void {
    const failure = new Failure(reason);
    this.#reason = failure;
    this.#guarded('processExited', () => this.#protocol.processExited(failure));
    this.#endIfOver();
  }

  #failed(cause: Error): void {
    const what = inspect(this.#target.executable);
    this.#reason = new Failure(
      new SpawnError(`cannot start ${what}: ${explain(cause)}`, { cause }),
    );
    this.#endIfOver();
  }

  #endIfOver(): void {
    const reason = this.#reason;
    if (reason === undefined || this.#over || this.#pipes.size > 0) return;
    this.#over = true;
    this.#home.closed(this);
    const why = this.#unmadeBy ?? reason;
    this.#guarded('processEnded', () => this.#protocol.processEnded(why));
  }

  /** The reactor stops: the pipes are closed. The process goes on as it likes, and is no reason for ours to go on. */
  connectionLost(reason: Failure): void {
    this.#cutBy = reason;
    this.#process.unref();
    for (const pipe of [...this.#pipes.values()]) pipe.connectionLost(reason);
  }

  /**
   * @internal A hook has failed after it returned, and counts as having thrown: one over data has the pipe closed that
   * the data came from, `connectionMade` has the process killed.
   */
  hookFailed(hook: string, failure: Failure): void {
    if (hook === 'makeConnection') {
      this.#unmade(failure);
      return;
    }
    const pipe = this.#pipes.get(hook === 'outReceived' ? 1 : hook === 'errReceived' ? 2 : -1);
    if (pipe === undefined) this.#logFailure(hook, failure);
    else pipe.hookFailed('dataReceived', failure);
  }

  #guarded(hook: string, call: () => unknown): void {
    try {
      watchHook(call(), hook, this);
    } catch (error) {
      this.#logFailure(hook, new Failure(error));
    }
  }

  #logFailure(hook: string, failure: Failure): void {
    logHookFailure(log, hook, failure, { protocol: this.#protocol, process: this.toString() });
  }

  signalProcess(signal: SignalID): void {
    const number = signalNumber(signal);
    const { pid } = this;
    if (pid === null) {
      throw new ProcessExitedAlready(
        `cannot send ${signal} to ${inspect(this.#target.executable)}: the process has ended`,
      );
    }
    try {
      this.#process.kill(number);
    } catch (error) {
      const cause = error as NodeJS.ErrnoException;
      const Class = cause.code === 'ESRCH' ? ProcessExitedAlready : NotSupportedError;
      throw new Class(`cannot send ${signal} to process ${pid}: ${explain(cause)}`, { cause });
    }
  }

  // ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  write(data: Uint8Array | string): void {
    this.#pipes.get(0)?.write(data);
  }

  writeSequence(pieces: Iterable<Uint8Array | string>): void {
    this.#pipes.get(0)?.writeSequence(pieces);
  }

  get bufferedBytes(): number {
    return this.#pipes.get(0)?.bufferedBytes ?? 0;
  }

  writeToChild(childFD: number, data: Uint8Array | string): void {
    if (this.#target.childFDs.get(childFD) !== 'w') {
      throw new RangeError(
        `cannot write to descriptor ${String(childFD)} of the child: it is not in childFDs as 'w'`,
      );
    }
    this.#pipes.get(childFD)?.write(data);
  }

  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    const stdin = this.#target.childFDs.get(0) === 'w' ? this.#pipes.get(0) : undefined;
    if (stdin !== undefined) stdin.registerProducer(producer, streaming);
    else this.#guarded('stopProducing', () => producer.stopProducing());
  }

  unregisterProducer(): void {
    this.#pipes.get(0)?.unregisterProducer();
  }

  // ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  closeChildFD(childFD: number): void {
    this.#pipes.get(childFD)?.loseConnection();
  }

  closeStdin(): void {
    this.closeChildFD(0);
  }

  closeStdout(): void {
    this.closeChildFD(1);
  }

  closeStderr(): void {
    this.closeChildFD(2);
  }

  loseConnection(): void {
    this.closeStdin();
    this.closeStderr();
    this.closeStdout();
  }

  // ── Being a producer ─────────────────────────────────────────────────────────────────────────────────────────────

  pauseProducing(): void {
    for (const pipe of this.#readPipes()) pipe.pauseProducing();
  }

  resumeProducing(): void {
    for (const pipe of this.#readPipes()) pipe.resumeProducing();
  }

  stopProducing(): void {
    this.loseConnection();
  }

  *#readPipes(): Generator<Stream> {
    for (const [fd, pipe] of this.#pipes) if (this.#target.childFDs.get(fd) === 'r') yield pipe;
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function exitReason(exitCode: number | null, signal: string | null): Error {
  if (exitCode === 0 && signal === null) return new ProcessDone();
  const number = signal === null ? undefined : SIGNALS.get(signal);
  const status = exitCode === null ? (number ?? null) : exitCode * 256;
  return new ProcessTerminated(exitCode, signal, status);
}

// ── Checks before anything has happened ──────────────────────────────────────────────────────────────────────────────

const SIGNALS: ReadonlyMap<string, number> = new Map(Object.entries(constants.signals));

/** POSIX's real-time signals, which have no names here, end with it. */
const HIGHEST_SIGNAL = 64;

function signalNumber(signal: SignalID): number {
  const number =
    typeof signal === 'number'
      ? signal
      : (SIGNALS.get(signal) ?? SIGNALS.get(`SIG${signal}`) ?? NaN);
  if (!Number.isInteger(number) || number < 0 || number > HIGHEST_SIGNAL)
    throw new RangeError(`there is no signal ${inspect(signal)}`);
  return number;
}

/**
 * What `spawnProcess` is to start.
 *
 * @throws TypeError, RangeError and NotSupportedError, as it says
 */
export function spawnTarget(executable: string, options: SpawnProcessOptions): SpawnTarget {
  const { args = [executable], env = {}, path, uid, gid, usePTY = false, childFDs } = options;
  checkText('executable', executable, true);
  if (executable === '')
    throw wrongValue('executable', 'the name or path of a program', executable);
  checkBoolean(usePTY, 'usePTY');
  if (usePTY) throw new NotSupportedError('usePTY is not supported: Node has no pseudo-terminals');
  if (!Array.isArray(args)) throw wrongKind('args', 'an array', args);
  if (args.length === 0)
    throw new RangeError('args must not be empty: they begin with the name of the program');
  args.forEach((argument, index) => checkText(`args[${index}]`, argument));
  if (path !== undefined) checkText('path', path, true);
  return {
    executable,
    args: [...(args as readonly string[])],
    env: env === null ? null : checkEnvironment(env),
    path,
    uid: checkID('uid', uid),
    gid: checkID('gid', gid),
    childFDs: checkFDs(childFDs ?? DEFAULT_FDS),
  };
}

/**
 * The system would see only what stands before a NUL. Arguments and variables are not shown: they may be passwords.
 *
 * @param mayBeShown true for the names of programs and folders
 */
function checkText(what: string, text: unknown, mayBeShown = false): void {
  if (typeof text !== 'string') throw wrongKind(what, 'a string', text);
  if (!text.includes('\0')) return;
  const shown = mayBeShown ? `: ${inspect(text.slice(0, 300))}` : '';
  throw new RangeError(`${what} must not hold a NUL${shown}`);
}

function checkEnvironment(env: Readonly<Record<string, string>>): Record<string, string> {
  if (typeof env !== 'object' || Array.isArray(env)) throw wrongKind('env', 'an object', env);
  // Without a prototype, so that a name such as __proto__ is one like any other.
  const checked = Object.create(null) as Record<string, string>;
  for (const [name, value] of Object.entries(env)) {
    checkText('a name in env', name);
    if (name === '' || name.includes('='))
      // What stands behind a "=" is meant as a value.
      throw new RangeError(
        `a name in env must not be empty or hold "=": ${inspect(name.replace(/=.*$/s, '=…'))}`,
      );
    checkText(`env.${name}`, value);
    checked[name] = value;
  }
  return checked;
}

function checkID(what: string, id: number | undefined): number | undefined {
  return optional(id, (given, name) => checkWhole(given, name, 0, 2 ** 31 - 1), what);
}

function checkFDs(childFDs: Readonly<Record<number, ChildFD>>): ReadonlyMap<number, ChildFD> {
  checkOptions(childFDs, 'childFDs', 'an object');
  const checked = new Map<number, ChildFD>();
  for (const [key, use] of Object.entries(childFDs)) {
    const fd = Number(key);
    if (!Number.isInteger(fd) || fd < 0 || fd > HIGHEST_FD)
      throw new RangeError(`a descriptor in childFDs is from 0 to ${HIGHEST_FD}, not ${key}`);
    const isOurs = Number.isInteger(use) && (use as number) >= 0;
    if (use !== 'r' && use !== 'w' && !isOurs) {
      throw new RangeError(`childFDs[${fd}] must be 'r', 'w' or a descriptor, not ${inspect(use)}`);
    }
    if (fd === 0 && use === 'r')
      throw new NotSupportedError("childFDs[0] cannot be 'r': standard input is only written to");
    checked.set(fd, use);
  }
  return checked;
}

/**
 * Running a program to its end, for what it writes or how it ends, as one Deferred. Twisted: `getProcessOutput` and its
 * siblings of `twisted.internet.utils`.
 */
import { inspect } from 'node:util';
import {
  checkBoolean,
  checkBytesOrString,
  checkNumber,
  checkOptions,
  optional,
} from './arguments.ts';
import { unpinned } from './bytes.ts';
import { Deferred } from './defer.ts';
import {
  LimitExceeded,
  type ProcessDone,
  ProcessInterrupted,
  ProcessTerminated,
  UnexpectedErrorOutput,
} from './errors.ts';
import { Failure } from './failure.ts';
import type { IReactorProcess } from './interfaces.ts';
import { ProcessProtocol } from './process-protocol.ts';
import { reactor as theReactor } from './reactor.ts';

/** How many bytes of output are gathered, unless told otherwise. */
const MOST_BYTES = 16 * 1024 * 1024;

/** Options of {@link getProcessValue}, and of its siblings. */
export interface RunProcessOptions {
  /** The arguments, without the name of the program. Default: none. */
  readonly args?: readonly string[];
  /** The environment; null for that of this process. Default: an empty one. */
  readonly env?: Readonly<Record<string, string>> | null;
  /** The directory to run in. Default: that of this process. */
  readonly path?: string;
  /** Default: the process's own. */
  readonly reactor?: IReactorProcess;
}

/** Options of {@link getProcessOutputAndValue}. */
export interface ProcessOutputAndValueOptions extends RunProcessOptions {
  /** What the program reads from its standard input, which is then closed. */
  readonly stdinBytes?: Uint8Array | string;
  /** How many bytes of output there may be, of both kinds together. Default: 16 MiB. */
  readonly maxBytes?: number;
}

/** Options of {@link getProcessOutput}. */
export interface ProcessOutputOptions extends RunProcessOptions {
  /** True to have standard error in the result too, in the order in which it came. Default: false. */
  readonly errortoo?: boolean;
  /** How many bytes of output there may be. Default: 16 MiB. */
  readonly maxBytes?: number;
}

/** What a program has written, and its exit code. */
export interface ProcessOutputAndValue {
  readonly out: Buffer;
  readonly err: Buffer;
  readonly code: number;
}

/** A process that is run for a result. */
abstract class Run<T> extends ProcessProtocol {
  readonly result: Deferred<T>;
  readonly #executable: string;
  readonly #stdin: Uint8Array | string | undefined;
  readonly #maxBytes: number;
  #bytes = 0;
  /** Why it was cut short. */
  #cut: Error | undefined;

  constructor(executable: string, maxBytes = MOST_BYTES, stdin?: Uint8Array | string) {
    super();
    checkNumber(maxBytes, 'maxBytes');
    optional(stdin, checkBytesOrString, 'stdinBytes');
    this.#executable = executable;
    this.#maxBytes = maxBytes;
    this.#stdin = stdin;
    this.result = new Deferred<T>(() => this.#kill());
  }

  /** Its output is a part of the result. */
  protected readonly gathers: boolean = true;

  /** What comes of it, once it has ended. */
  protected abstract ended(reason: ProcessDone | ProcessTerminated): T | Failure;

  protected abstract gather(childFD: number, data: Buffer): void;

  override connectionMade(): void {
    if (this.#stdin !== undefined) this.transport.write(this.#stdin);
    this.transport.closeStdin();
  }

  override childDataReceived(childFD: number, data: Buffer): void {
    if (this.#cut !== undefined || this.result.called) return;
    this.#bytes += data.length;
    if (this.#bytes <= this.#maxBytes) {
      this.gather(childFD, data);
      return;
    }
    this.#cut = new LimitExceeded(`the output of ${inspect(this.#executable)}`, this.#maxBytes);
    this.#kill();
  }

  /** Where the reactor stops, what comes after that is never read: half an output is no result. */
  override childConnectionLost(): void {
    const { cutBy } = this.transport as { readonly cutBy?: Failure };
    if (cutBy !== undefined && this.gathers && !this.result.called) this.result.errback(cutBy);
  }

  /** Its pipes are closed too, as children of its own may have them; first, since another user's cannot be killed. */
  #kill(): void {
    this.transport.loseConnection();
    if (this.transport.pid !== null) this.transport.signalProcess('KILL');
  }

  override processEnded(reason: Failure): void {
    if (this.result.called) return;
    const error = reason.value as ProcessDone | ProcessTerminated;
    if (this.#cut !== undefined) this.result.errback(this.#cut);
    else if (!('exitCode' in error)) this.result.errback(reason);
    else {
      const result = this.ended(error);
      if (result instanceof Failure) this.result.errback(result);
      else this.result.callback(result);
    }
  }
}

class ValueRun extends Run<number> {
  protected override readonly gathers = false;

  protected override gather(): void {}

  protected override ended(reason: ProcessDone | ProcessTerminated): number | Failure {
    return reason.exitCode ?? new Failure(reason);
  }
}

class OutputRun extends Run<Buffer> {
  readonly #errortoo: boolean;
  readonly #pieces: Buffer[] = [];
  #errorsEnded: Deferred<Error> | undefined;

  constructor(executable: string, { maxBytes, errortoo = false }: ProcessOutputOptions) {
    super(executable, maxBytes);
    this.#errortoo = errortoo;
  }

  protected override gather(childFD: number, data: Buffer): void {
    if (childFD === 1 || this.#errortoo) {
      this.#pieces.push(data);
      return;
    }
    this.#errorsEnded = new Deferred<Error>();
    this.result.errback(new UnexpectedErrorOutput(data, this.#errorsEnded));
    this.transport.loseConnection();
  }

  override processEnded(reason: Failure): void {
    this.#errorsEnded?.callback(reason.value);
    super.processEnded(reason);
  }

  protected override ended(): Buffer {
    return unpinned(Buffer.concat(this.#pieces));
  }
}

class OutputAndValueRun extends Run<ProcessOutputAndValue> {
  readonly #out: Buffer[] = [];
  readonly #err: Buffer[] = [];

  protected override gather(childFD: number, data: Buffer): void {
    (childFD === 1 ? this.#out : this.#err).push(data);
  }

  protected override ended(
    reason: ProcessDone | ProcessTerminated,
  ): ProcessOutputAndValue | Failure {
    const out = unpinned(Buffer.concat(this.#out));
    const err = unpinned(Buffer.concat(this.#err));
    if (reason instanceof ProcessTerminated && reason.exitCode === null)
      return new Failure(new ProcessInterrupted(reason, out, err));
    return { out, err, code: reason.exitCode as number };
  }
}

function start<T>(run: Run<T>, executable: string, options: RunProcessOptions): Deferred<T> {
  const { args = [], reactor = theReactor, env, path } = options;
  reactor.spawnProcess(run, executable, {
    args: [executable, ...args],
    ...(env === undefined ? {} : { env }),
    ...(path === undefined ? {} : { path }),
  });
  return run.result;
}

/**
 * Runs a program, and fires with what it has written to standard output, whatever its exit code. Its standard input is
 * empty. Fails with UnexpectedErrorOutput as soon as it writes to standard error, with LimitExceeded if it writes too
 * much (and it is killed), with SpawnError if it could not be started. Cancelling kills it.
 *
 * @throws TypeError, RangeError as `spawnProcess` does
 */
export function getProcessOutput(
  executable: string,
  options: ProcessOutputOptions = {},
): Deferred<Buffer> {
  checkOptions(options, 'getProcessOutput: options');
  optional(options.errortoo, checkBoolean, 'getProcessOutput: errortoo');
  return start(new OutputRun(executable, options), executable, options);
}

/**
 * Runs a program, and fires with its exit code; what it writes is dropped. Fails with ProcessTerminated if a signal has
 * ended it (Twisted: gives None), with SpawnError if it could not be started. Cancelling kills it.
 *
 * @throws TypeError, RangeError as `spawnProcess` does
 */
export function getProcessValue(
  executable: string,
  options: RunProcessOptions = {},
): Deferred<number> {
  checkOptions(options, 'getProcessValue: options');
  return start(new ValueRun(executable, Infinity), executable, options);
}

/**
 * Runs a program, and fires with what it has written and its exit code. Fails with ProcessInterrupted if a signal has
 * ended it, with LimitExceeded if it writes too much (and it is killed), with SpawnError if it could not be started.
 * Cancelling kills it.
 *
 * @throws TypeError, RangeError as `spawnProcess` does
 */
export function getProcessOutputAndValue(
  executable: string,
  options: ProcessOutputAndValueOptions = {},
): Deferred<ProcessOutputAndValue> {
  const { maxBytes, stdinBytes } = checkOptions(options, 'getProcessOutputAndValue: options');
  return start(new OutputAndValueRun(executable, maxBytes, stdinBytes), executable, options);
}

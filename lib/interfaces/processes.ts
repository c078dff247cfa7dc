/** The contracts about processes and standard input and output, types only. */
import type { Failure } from '../failure.ts';
import type { HookOwner, HookResult } from './hooks.ts';
import type { IConsumer, IProtocol, IPushProducer, ITransport } from './streams.ts';

/**
 * What a descriptor of a child is: `r`, a pipe that we read from; `w`, a pipe that we write to; or one of our own
 * descriptors, which the child is given.
 */
export type ChildFD = 'r' | 'w' | number;

/** Options of `spawnProcess`. */
export interface SpawnProcessOptions {
  /** The arguments, beginning with the name by which the program is called. Default: `[executable]`. */
  readonly args?: readonly string[];
  /** The environment; null for that of this process. Default: an empty one. */
  readonly env?: Readonly<Record<string, string>> | null;
  /** The directory to run in. Default: that of this process. */
  readonly path?: string;
  /** Run as this user, and this group; both by number. */
  readonly uid?: number;
  readonly gid?: number;
  /** Not offered: NotSupportedError if it is true. */
  readonly usePTY?: boolean;
  /**
   * The child's descriptors. Default: `{ 0: 'w', 1: 'r', 2: 'r' }`. Of the first three, those that are left out are
   * `/dev/null`. The child has no others; but in place of those above 15 that this process was itself given by its
   * parent there is `/dev/null` too.
   */
  readonly childFDs?: Readonly<Record<number, ChildFD>>;
}

/** Starts processes. */
export interface IReactorProcess {
  /**
   * Starts `executable` (a path, or a name that is looked up in the PATH of the child's environment), without a shell,
   * and calls `protocol.makeConnection` before it returns. If it cannot be started, `protocol.processEnded` is called
   * in a later turn with SpawnError, and nothing else is.
   *
   * Throws, before anything has happened: TypeError and RangeError for arguments that cannot be (a NUL anywhere, a name
   * in the environment that is empty or holds `=`, no `args[0]`), NotSupportedError.
   */
  spawnProcess(
    protocol: IProcessProtocol,
    executable: string,
    options?: SpawnProcessOptions,
  ): IProcessTransport;
}

/** A signal, by its name with or without SIG, or by its number. */
export type SignalID = string | number;

/** A child process, as its protocol sees it. What is written goes to its standard input. */
export interface IProcessTransport extends IConsumer, IPushProducer, HookOwner {
  /** Null if it could not be started, and when it has ended. */
  readonly pid: number | null;
  /** Does nothing if there is no standard input, or it is closed. */
  write(data: Uint8Array | string): void;
  writeSequence(pieces: Iterable<Uint8Array | string>): void;
  /** How many bytes for standard input have not yet been handed to the operating system. */
  readonly bufferedBytes: number;
  /** Writes to a descriptor that is `w`; RangeError for any other. Does nothing once it is closed. */
  writeToChild(childFD: number, data: Uint8Array | string): void;
  /** Sends what was written to it, and closes the pipe. Does nothing if it is closed, or none. */
  closeChildFD(childFD: number): void;
  closeStdin(): void;
  closeStdout(): void;
  closeStderr(): void;
  /** Closes the first three. The process goes on as it likes. */
  loseConnection(): void;
  /**
   * Sends a signal. Throws ProcessExitedAlready if the process has ended, RangeError for a signal that there is not, and
   * NotSupportedError if the system refuses.
   */
  signalProcess(signal: SignalID): void;
  /** Reads no more from the child, so that it has to wait, until `resumeProducing`. */
  pauseProducing(): void;
  resumeProducing(): void;
  /** As `loseConnection`. */
  stopProducing(): void;
}

/** What a process is told to. Each is called in a turn of its own, but for `makeConnection`. */
export interface IProcessProtocol {
  /** The process has been started. Called once, from inside `spawnProcess`. */
  makeConnection(process: IProcessTransport): HookResult;
  /** The child has written to a descriptor that is `r`. The protocol owns the buffer. */
  childDataReceived(childFD: number, data: Buffer): HookResult;
  /** The pipe is closed, by whichever side. Called once for each. */
  childConnectionLost(childFD: number): HookResult;
  /** The process has ended, and been reaped; there may be output of it, or of its own children, still to come. */
  processExited(reason: Failure): HookResult;
  /** The process has ended, and all pipes are closed. Called once, and last. */
  processEnded(reason: Failure): HookResult;
}

/** Which descriptors standard I/O goes over. */
export interface StandardIOOptions {
  /** Default: 0. */
  readonly stdin?: number;
  /** Default: 1. */
  readonly stdout?: number;
}

/** Makes a connection of a pair of descriptors. */
export interface IReactorStandardIO {
  /**
   * Makes what is read from one descriptor and written to another a connection of `protocol`. Throws RangeError for what
   * cannot be a descriptor, ConnectError for one that cannot be used, NotSupportedError.
   */
  standardIO(protocol: IProtocol, options?: StandardIOOptions): ITransport;
}

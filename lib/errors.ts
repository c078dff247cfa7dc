/**
 * The error tree: every error that plait raises or errbacks with, in one place, read as a catalogue.
 * It holds no logic but the table from Node's error codes to classes. Twisted's counterparts are
 * `twisted.internet.error` and the exceptions of `twisted.internet.defer` and `twisted.internet.task`.
 *
 * ```text
 * PlaitError
 * ├─ BindError ─ CannotListenError                     a port could not be bound
 * ├─ ConnectError                                      a connection could not be made
 * │  ├─ ConnectBindError, UnknownHostError, NoRouteError, ConnectionRefusedError, TCPTimedOutError,
 * │  │  BadFileError, ServiceNameUnknownError, DNSLookupError, SSLError
 * │  ├─ UserError ─ TimeoutError                       we gave up, not the network
 * │  └─ SpawnError                                      a process could not be started
 * ├─ ConnectInProgressError, ConnectingCancelledError, NotConnectingError, NotConnectedError, NoProtocol
 * ├─ ConnectionClosed                                  a connection that was made has ended
 * │  ├─ ConnectionDone ─ ProcessDone                   … in order
 * │  └─ ConnectionLost                                 … out of order
 * │     └─ ConnectionAborted, FileDescriptorOverrun, ConnectionFdescWentAway,
 * │        ProcessTerminated ─ ProcessInterrupted
 * ├─ UnexpectedErrorOutput                             a process has written to standard error
 * ├─ NotSupportedError                                 the body, or the platform, cannot do it
 * ├─ VerifyError ─ PeerVerifyError;  CertificateError;  VerificationError
 * ├─ EndpointPrefixTaken                               two kinds of endpoint descriptions begin alike
 * ├─ AlreadyListened, NotListeningError, InvalidAddressError, MessageLengthError, MulticastJoinError
 * ├─ ReactorNotRunning, ReactorAlreadyRunning, ReactorNotRestartable, ReactorAlreadyInstalledError,
 * │  UnsupportedAddressFamily, UnsupportedSocketType, ProcessExitedAlready, PotentialZombieWarning, SystemExit
 * ├─ ThreadDied, ThreadPoolStopped, NotCloneableError, WrongThreadError
 * ├─ LimitExceeded                                     a peer sent more than it may
 * ├─ IncompleteReadError                               a connection ended in the middle of what was read
 * ├─ ConsumerStopped                                   the consumer has stopped its producer
 * ├─ AlreadyCalled, AlreadyCancelled                   a delayed call that is over
 * ├─ AlreadyCalledError, CancelledError, FirstError, NotACoroutineError, QueueOverflow, QueueUnderflow, QueueShutDown,
 * │  BrokenBarrierError, AlreadyTryingToLockError
 * └─ SchedulerError ─ SchedulerStopped;  TaskFinished ─ TaskDone, TaskStopped, TaskFailed;  NotPaused
 *
 * AggregateError ─ FailureGroup                         everything failed
 * SyntaxError ─ EndpointSyntaxError                     an endpoint's description cannot be understood
 * ```
 */

import type { Deferred } from './defer.ts';
import { keepErrorNames } from './error-names.ts';
import type { Failure } from './failure.ts';
import { cut, hideSecrets, onOneLine, show } from './printable.ts';

/** What a {@link PlaitError} can be given besides its message. */
export interface ErrorDetails extends ErrorOptions {
  /** Node's code (`ECONNREFUSED`); taken from `cause` where it is not given. */
  readonly code?: string;
  readonly syscall?: string;
  readonly address?: string;
  readonly port?: number;
}

/**
 * The root of the tree. An error made from one of Node's keeps it as `cause` and repeats its `code`, `syscall`,
 * `address` and `port`. What Node's error holds besides that may be secret, as a command's arguments may, is not printed
 * with it.
 */
export class PlaitError extends Error {
  /** Node's error code, where the operating system gave one. */
  declare readonly code?: string;
  declare readonly syscall?: string;
  declare readonly address?: string;
  declare readonly port?: number;

  constructor(message?: string, details?: ErrorDetails) {
    super(
      message,
      details !== undefined && 'cause' in details ? { cause: details.cause } : undefined,
    );
    if (details === undefined) return;
    const cause = details.cause as ErrorDetails | null | undefined;
    hideSecrets(cause);
    for (const key of ['code', 'syscall', 'address', 'port'] as const) {
      const value =
        details[key] ?? (cause instanceof Error ? (cause as ErrorDetails)[key] : undefined);
      if (value !== undefined) Object.defineProperty(this, key, { value, enumerable: true });
    }
  }

  /** The class's name, for subclasses too. A minifier does not change those of plait's classes. */
  override get name(): string {
    return this.constructor.name;
  }
}

// ── Listening ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** A socket could not be bound. */
export class BindError extends PlaitError {}

/** A port could not listen: the address is in use, not ours, or not allowed. Twisted: `CannotListenError`. */
export class CannotListenError extends BindError {
  /** The interface (or the path) asked for; `''` means any. */
  readonly interface: string;

  constructor(where: string, port: number | undefined, cause: Error) {
    const place = port === undefined ? where : `${where === '' ? 'any interface' : where}:${port}`;
    super(`cannot listen on ${place}: ${explain(cause)}`, {
      cause,
      address: where,
      ...(port === undefined ? {} : { port }),
    });
    this.interface = where;
  }
}

/** The port of an endpoint that can listen only once is already in use. */
export class AlreadyListened extends PlaitError {}

/** The port is not listening, or not any more. */
export class NotListeningError extends PlaitError {}

/** An endpoint's description cannot be understood. Twisted: `ValueError`. */
export class EndpointSyntaxError extends SyntaxError {
  /** Where in the description, counted from 0. */
  readonly position: number;

  constructor(message: string, position: number) {
    super(message);
    this.position = position;
  }

  override get name(): string {
    return 'EndpointSyntaxError';
  }
}

/** The word that endpoint descriptions begin with is taken by another parser. */
export class EndpointPrefixTaken extends PlaitError {}

/** An address that is not of the kind asked for: a host name where a literal is needed, a path too long. */
export class InvalidAddressError extends PlaitError {}

/** A datagram is too long to be sent. */
export class MessageLengthError extends PlaitError {}

/** A multicast group could not be joined or left. */
export class MulticastJoinError extends PlaitError {}

// ── Connecting ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a {@link ConnectError} can be given besides its message. */
export interface ConnectErrorDetails extends ErrorDetails {
  /** What came of each address; taken from `cause` where it is not given. */
  readonly errors?: readonly Error[];
}

/** A connection could not be made. */
export class ConnectError extends PlaitError {
  /**
   * Where several addresses of a host were tried: what each failed with, in the order in which they did. Twisted's
   * `HostnameEndpoint` keeps the last only.
   */
  declare readonly errors: readonly Error[];

  constructor(message?: string, details: ConnectErrorDetails = {}) {
    super(message, details);
    const { cause } = details;
    const errors = details.errors ?? (cause instanceof ConnectError ? cause.errors : []);
    // Where there are none, a log need not show it.
    Object.defineProperty(this, 'errors', { value: errors, enumerable: errors.length > 0 });
  }
}

/** The local end of a connection could not be bound. */
export class ConnectBindError extends ConnectError {}

/** The host is not known. */
export class UnknownHostError extends ConnectError {}

/** There is no route to the host. */
export class NoRouteError extends ConnectError {}

/** The host answered that nothing listens there. */
export class ConnectionRefusedError extends ConnectError {}

/** The operating system gave up waiting for the host. */
export class TCPTimedOutError extends ConnectError {}

/** The UNIX socket's file is missing, not a socket, or not for us. */
export class BadFileError extends ConnectError {}

/** No port is known for the service name. */
export class ServiceNameUnknownError extends ConnectError {}

/** The host name could not be looked up. Twisted's is an `IOError`; here it is a `ConnectError`. */
export class DNSLookupError extends ConnectError {}

/** TLS could not be set up. */
export class SSLError extends ConnectError {}

/** The attempt was given up by the program. */
export class UserError extends ConnectError {}

/** The time allowed has passed: for a connection to be made, for a Deferred to fire. */
export class TimeoutError extends UserError {}

/** A process could not be started: no such program, not allowed, no such directory to run in. */
export class SpawnError extends ConnectError {}

/** A connection attempt is already going on. */
export class ConnectInProgressError extends PlaitError {}

/** The Deferred of an endpoint's `connect` was cancelled. */
export class ConnectingCancelledError extends PlaitError {
  /** Where to. */
  readonly destination: unknown;

  constructor(destination: { toString(): string }) {
    super(`connecting to ${destination.toString()} was cancelled`);
    this.destination = destination;
  }
}

/** There is no attempt going on that could be stopped. */
export class NotConnectingError extends PlaitError {}

/** A protocol was asked to do what needs a connection, before it was given one. */
export class NotConnectedError extends PlaitError {}

/** The factory built no protocol for the connection. */
export class NoProtocol extends PlaitError {}

// ── Connections that ended ─────────────────────────────────────────────────────────────────────────────────────────

/** A connection has ended. */
export class ConnectionClosed extends PlaitError {}

/** A connection has ended in order: either side closed it. */
export class ConnectionDone extends ConnectionClosed {
  constructor(message = 'connection was closed cleanly', details?: ErrorDetails) {
    super(message, details);
  }
}

/** A connection has ended out of order: reset, broken, or cut by the reactor's stop. */
export class ConnectionLost extends ConnectionClosed {
  constructor(message = 'connection to the other side was lost', details?: ErrorDetails) {
    super(message, details);
  }
}

/** This side aborted the connection. */
export class ConnectionAborted extends ConnectionLost {
  constructor(message = 'connection was aborted by this side', details?: ErrorDetails) {
    super(message, details);
  }
}

/** More descriptors arrived than were asked for. */
export class FileDescriptorOverrun extends ConnectionLost {}

/** The descriptor under a connection was closed by other code. */
export class ConnectionFdescWentAway extends ConnectionLost {}

/** A process has ended by a signal or with a code other than zero. */
export class ProcessTerminated extends ConnectionLost {
  /** Null if a signal ended it. */
  readonly exitCode: number | null;
  /** The name of the signal that ended it, as in `SIGKILL`; null if it exited. Twisted gives its number. */
  readonly signal: string | null;
  /** Both in one number, as `wait` gives it; null where that is not known. */
  readonly status: number | null;

  constructor(exitCode: number | null, signal: string | null, status: number | null = null) {
    super(`process ended by ${signal === null ? `exit code ${exitCode}` : `signal ${signal}`}`);
    this.exitCode = exitCode;
    this.signal = signal;
    this.status = status;
  }
}

/** A process whose output was gathered has ended by a signal; with what it had written until then. */
export class ProcessInterrupted extends ProcessTerminated {
  readonly out: Buffer;
  readonly err: Buffer;

  constructor({ exitCode, signal, status }: ProcessTerminated, out: Buffer, err: Buffer) {
    super(exitCode, signal, status);
    this.out = out;
    this.err = err;
  }
}

/** A process has ended with exit code zero. */
export class ProcessDone extends ConnectionDone {
  readonly exitCode: number = 0;
  readonly signal: null = null;
  readonly status: number = 0;

  constructor() {
    super('process finished with exit code 0');
  }
}

/** A process has written to standard error where that was not expected. Twisted: an `IOError`. */
export class UnexpectedErrorOutput extends PlaitError {
  /** Fires with ProcessDone or ProcessTerminated once the process has ended and its pipes are closed. */
  readonly processEnded: Deferred<Error>;

  /** @param text what came first */
  constructor(text: Buffer, processEnded: Deferred<Error>) {
    super(`got stderr: ${JSON.stringify(text.toString().slice(0, 500))}`);
    this.processEnded = processEnded;
  }
}

// ── TLS ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A certificate could not be verified. */
export class VerifyError extends PlaitError {}

/** The peer's certificate could not be verified. */
export class PeerVerifyError extends VerifyError {}

/** A certificate or key cannot be used. */
export class CertificateError extends PlaitError {}

/** The peer is not who it should be. */
export class VerificationError extends PlaitError {}

// ── The reactor ────────────────────────────────────────────────────────────────────────────────────────────────────

/** `stop` or `crash` of a reactor that does not run. */
export class ReactorNotRunning extends PlaitError {}

/** `run` of a reactor that runs. */
export class ReactorAlreadyRunning extends PlaitError {}

/** Kept for the name's sake: plait's reactors may run again, so it is never thrown. */
export class ReactorNotRestartable extends PlaitError {}

/** A body was chosen after the reactor was first used. */
export class ReactorAlreadyInstalledError extends PlaitError {}

/** The body has no sockets of this address family. */
export class UnsupportedAddressFamily extends PlaitError {}

/** The body has no sockets of this type. */
export class UnsupportedSocketType extends PlaitError {}

/** The body of the reactor, or the platform, cannot do what was asked for. */
export class NotSupportedError extends PlaitError {}

/** The process has ended and can be sent nothing. */
export class ProcessExitedAlready extends PlaitError {}

/** A thread has ended in the middle of its work: by `process.exit`, for want of memory, or of an uncaught error. */
export class ThreadDied extends PlaitError {}

/** The pool takes no more work: it was stopped. */
export class ThreadPoolStopped extends PlaitError {}

/** A value cannot cross from one thread to another: it is or holds a function, a promise, a socket or the like. */
export class NotCloneableError extends PlaitError {}

/** This can only be done in another thread than this one. */
export class WrongThreadError extends PlaitError {}

/** A child process may be left unreaped. */
export class PotentialZombieWarning extends PlaitError {}

/** Thrown or failed with in `react`'s main, it ends the program with `exitCode`, and is not logged. */
export class SystemExit extends PlaitError {
  readonly exitCode: number;

  constructor(exitCode = 0) {
    super(`exit with code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

// ── Bytes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** More bytes arrived than the limit allows for what is being read. */
export class LimitExceeded extends PlaitError {
  readonly limit: number;

  /**
   * @param what what was being read, as in `a line`
   * @param unit what is counted
   */
  constructor(what: string, limit: number, unit = 'bytes') {
    super(`${what} is longer than the limit of ${limit} ${unit}`);
    this.limit = limit;
  }
}

/** A connection ended before all had arrived that was to be read. asyncio: `IncompleteReadError`. */
export class IncompleteReadError extends PlaitError {
  /** What had arrived. */
  readonly partial: Buffer;

  /** @param what what was being read, as in `a line` */
  constructor(what: string, partial: Buffer) {
    super(`the connection ended within ${what}, after ${partial.length} bytes of it`);
    this.partial = partial;
  }
}

/** Nothing more can be written: the consumer has told its producer to stop. */
export class ConsumerStopped extends PlaitError {}

// ── Timers, Deferreds, tasks ───────────────────────────────────────────────────────────────────────────────────────

/** The delayed call has already been made. */
export class AlreadyCalled extends PlaitError {}

/** The delayed call has already been cancelled. */
export class AlreadyCancelled extends PlaitError {}

/** A Deferred was fired twice. */
export class AlreadyCalledError extends PlaitError {}

/** A Deferred was cancelled. */
export class CancelledError extends PlaitError {
  constructor(message = 'the Deferred was cancelled', details?: ErrorDetails) {
    super(message, details);
  }
}

/** The first failure among several Deferreds that are waited for together. */
export class FirstError extends PlaitError {
  /** What failed. */
  readonly subFailure: Failure;
  /** Which one, counted from 0. */
  readonly index: number;

  constructor(subFailure: Failure, index: number) {
    super(`number ${index} failed first: ${briefly(subFailure)}`, {
      cause: subFailure.value,
    });
    this.subFailure = subFailure;
    this.index = index;
  }
}

/** How many failures are told of in a message. */
const MOST_TOLD = 100;

/** How much of a message that tells of others is told in that of an error around it. */
const LONGEST_INNER = 1000;

/** Each level of failures inside one another has a message of its own: they must not grow with the levels. */
function briefly(failure: Failure): string {
  const { value } = failure;
  const text = failure.getBriefTraceback();
  return value instanceof FirstError || value instanceof FailureGroup
    ? cut(text, LONGEST_INNER)
    : text;
}

/** Everything failed, of which one should have succeeded. Its `errors` are the values of its `failures`. */
export class FailureGroup extends AggregateError {
  readonly failures: readonly Failure[];

  constructor(failures: readonly Failure[]) {
    super(
      failures.map((failure) => failure.value),
      `all ${failures.length} failed: ${failures.slice(0, MOST_TOLD).map(briefly).join('; ')}${failures.length > MOST_TOLD ? `; and ${failures.length - MOST_TOLD} more` : ''}`,
    );
    this.failures = failures;
  }

  override get name(): string {
    return 'FailureGroup';
  }
}

/** `ensureDeferred` was given something that is no coroutine. */
export class NotACoroutineError extends PlaitError {}

/** A `DeferredQueue` is full. */
export class QueueOverflow extends PlaitError {}

/** Too many wait for a `DeferredQueue`. */
export class QueueUnderflow extends PlaitError {}

/** The file system lock is being waited for already, by the same object. */
export class AlreadyTryingToLockError extends PlaitError {}

/** A queue takes nothing more, and has nothing more to give. */
export class QueueShutDown extends PlaitError {}

/** A barrier was broken, or reset, while it was waited at. */
export class BrokenBarrierError extends PlaitError {}

/** The Cooperator cannot take the task. */
export class SchedulerError extends PlaitError {}

/** The Cooperator was stopped. */
export class SchedulerStopped extends SchedulerError {}

/** The task is over. */
export class TaskFinished extends PlaitError {}

/** The task came to its end. */
export class TaskDone extends TaskFinished {}

/** The task was stopped. */
export class TaskStopped extends TaskFinished {}

/** The task failed. */
export class TaskFailed extends TaskFinished {}

/** The task is not paused. */
export class NotPaused extends PlaitError {}

// ── From Node's codes to classes ───────────────────────────────────────────────────────────────────────────────────

/** What Node's codes say, in words. */
const EXPLANATIONS: ReadonlyMap<string, string> = new Map([
  ['EACCES', 'permission denied'],
  ['EADDRINUSE', 'address already in use'],
  ['EADDRNOTAVAIL', 'address not available on this machine'],
  ['EAI_AGAIN', 'name servers do not answer'],
  ['ECONNABORTED', 'connection aborted'],
  ['ECONNREFUSED', 'connection refused'],
  ['ECONNRESET', 'connection reset by the other side'],
  ['EHOSTDOWN', 'host is down'],
  ['EHOSTUNREACH', 'no route to host'],
  ['EINVAL', 'invalid argument'],
  ['EMFILE', 'too many open files'],
  ['ENAMETOOLONG', 'name too long'],
  ['ENETUNREACH', 'network is unreachable'],
  ['ENOENT', 'no such file'],
  ['ENOTFOUND', 'host name not found'],
  ['ENOTSOCK', 'not a socket'],
  ['EPERM', 'not permitted'],
  ['EPIPE', 'the other side has closed'],
  ['ETIMEDOUT', 'timed out'],
]);

/** What went wrong, in words, with Node's code behind them. */
export function explain(error: Error): string {
  const code = (error as ErrorDetails).code;
  const words = code === undefined ? undefined : EXPLANATIONS.get(code);
  return words === undefined ? onOneLine(show(error.message)) : `${words} (${code})`;
}

type ConnectErrorClass = new (message?: string, details?: ErrorDetails) => ConnectError;

const CONNECT_ERRORS: ReadonlyMap<string, ConnectErrorClass> = new Map<string, ConnectErrorClass>([
  ['EACCES', BadFileError],
  ['EADDRINUSE', ConnectBindError],
  ['EADDRNOTAVAIL', ConnectBindError],
  ['EAI_AGAIN', DNSLookupError],
  ['ECONNREFUSED', ConnectionRefusedError],
  ['EHOSTUNREACH', NoRouteError],
  ['ENETUNREACH', NoRouteError],
  ['ENOENT', BadFileError],
  ['ENOTDIR', BadFileError],
  ['ENOTFOUND', DNSLookupError],
  ['ENOTSOCK', BadFileError],
  ['ETIMEDOUT', TCPTimedOutError],
]);

/**
 * The error for a connection that could not be made, from the one that Node gave. An error that is already of the
 * tree is returned as it is.
 *
 * @param destination where to, for the message
 */
export function getConnectError(cause: Error, destination: string): Error {
  if (cause instanceof PlaitError) return cause;
  const { code = '', syscall } = cause as ErrorDetails;
  const Class = syscall === 'bind' ? ConnectBindError : (CONNECT_ERRORS.get(code) ?? ConnectError);
  return new Class(`cannot connect to ${destination}: ${explain(cause)}`, { cause });
}

// ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The names that errors have, whatever a minifier calls their classes. */
// prettier-ignore
keepErrorNames({
  PlaitError, BindError, CannotListenError, AlreadyListened, NotListeningError, EndpointSyntaxError,
  EndpointPrefixTaken, InvalidAddressError, MessageLengthError, MulticastJoinError, ConnectError, ConnectBindError,
  UnknownHostError, NoRouteError, ConnectionRefusedError, TCPTimedOutError, BadFileError, ServiceNameUnknownError,
  DNSLookupError, SSLError, UserError, TimeoutError, SpawnError, ConnectInProgressError, ConnectingCancelledError,
  NotConnectingError, NotConnectedError, NoProtocol, ConnectionClosed, ConnectionDone, ConnectionLost,
  ConnectionAborted, FileDescriptorOverrun, ConnectionFdescWentAway, ProcessTerminated, ProcessInterrupted,
  ProcessDone, UnexpectedErrorOutput, VerifyError, PeerVerifyError, CertificateError, VerificationError,
  ReactorNotRunning, ReactorAlreadyRunning, ReactorNotRestartable, ReactorAlreadyInstalledError,
  UnsupportedAddressFamily, UnsupportedSocketType, NotSupportedError, ProcessExitedAlready, ThreadDied,
  ThreadPoolStopped, NotCloneableError, WrongThreadError, PotentialZombieWarning, SystemExit, LimitExceeded,
  IncompleteReadError, ConsumerStopped, AlreadyCalled, AlreadyCancelled, AlreadyCalledError, CancelledError,
  FirstError, FailureGroup, NotACoroutineError, QueueOverflow, QueueUnderflow, AlreadyTryingToLockError,
  QueueShutDown, BrokenBarrierError, SchedulerError, SchedulerStopped, TaskFinished, TaskDone, TaskStopped,
  TaskFailed, NotPaused,
});

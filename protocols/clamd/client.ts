/**
 * `scan`, `ping` and `version`: what a program asks of clamd. Each makes a connection, has one conversation over it,
 * and keeps the time. Twisted has no clamd client.
 */
import { inspect } from 'node:util';
import {
  CancelledError,
  checkSeconds,
  clientFromString,
  connectProtocol,
  ConnectingCancelledError,
  Failure,
  inlineCallbacks,
  maybeDeferred,
  reactor as processReactor,
  type ClientEndpointReactor,
  type Coroutine,
  Deferred,
  type IDelayedCall,
  type IReactorTime,
  type IStreamClientEndpoint,
  type Seconds,
} from 'plait';
import { Conversation } from './conversation.ts';
import { BadReply, ClamdCancelled, ClamdTimedOut, type Phase, UnusableSource } from './errors.ts';
import {
  CHUNK_LIMIT,
  errorKind,
  readScanReply,
  type CommandName,
  type ReplyErrorKind,
} from './grammar.ts';
import { openSource, type ScanSource } from './source.ts';
import { Upload, type UploadOptions } from './upload.ts';

/** Options of every command. */
export interface ClamdOptions {
  /**
   * Where clamd listens: an endpoint, or the description of one, such as `tcp:127.0.0.1:3310` (the default) or
   * `unix:/run/clamav/clamd.ctl`.
   */
  readonly endpoint?: string | IStreamClientEndpoint;
  /** Makes the connection and tells the time. Default: the process's own. */
  readonly reactor?: ClientEndpointReactor;
  /** Seconds for all of it, from connecting to the reply; null for no end. Default: 120. */
  readonly timeout?: Seconds | null;
  /**
   * Seconds in which nothing happens: no connection, no piece sent, nothing of a reply; null for no end. While clamd
   * scans nothing happens either. Default: 120.
   */
  readonly idleTimeout?: Seconds | null;
  /** Cancels the command when it is aborted. */
  readonly signal?: AbortSignal;
}

/** Options of {@link scan}. */
export interface ScanOptions extends ClamdOptions {
  /** How many bytes a chunk may have: larger pieces of the source are cut. Default: 65,536. */
  readonly chunkSize?: number;
  /**
   * True if a source that gives no bytes is an empty one. Else only a buffer, an array and a file may have none: of an
   * iterator or a stream it cannot be told whether it is empty, or was read before. Default: false.
   */
  readonly allowEmpty?: boolean;
}

/** What clamd says of a stream. Let `clean` pass, and nothing else. */
export type Verdict =
  | {
      readonly status: 'clean';
      /** How many bytes the source had, all of which were sent. */
      readonly bytesSent: number;
    }
  | {
      readonly status: 'infected';
      /** The bare names of what was found, without `FOUND`. */
      readonly signatures: string[];
      /** How many bytes of the source had been sent. */
      readonly bytesSent: number;
    }
  | ScanError;

/** clamd has answered that it could not scan the stream, or has answered something else altogether. */
export interface ScanError {
  readonly status: 'error';
  readonly kind: ReplyErrorKind;
  /** In words, with clamd's reply. */
  readonly message: string;
  /** clamd's reply. */
  readonly reply: string;
  /** How many bytes of the source had been sent. */
  readonly bytesSent: number;
}

const ENDPOINT = 'tcp:127.0.0.1:3310';
const TIMEOUT: Seconds = 120;
/** clamd's own ReadTimeout and MaxScanTime. */
const IDLE_TIMEOUT: Seconds = 120;
const CHUNK_SIZE = 64 * 1024;

/**
 * Has clamd scan bytes, which are sent while they are read, at the pace at which clamd takes them; no more than a
 * chunk is held. Fires with the verdict, which is an error too if clamd could not scan: test for `clean`.
 *
 * It never throws, but fails
 * - with the ConnectError of the class that `connectTCP` fails with where no connection can be made;
 * - with NoReply if the connection is lost before the reply is complete, and BadReply if that is longer than 64 KiB;
 * - with UnreadableFile for a file, and with what the source throws; with TypeError if it yields other than bytes;
 * - with UnusableSource for a source that would not give all that it held: one that was read before, say, or has no
 *   bytes where that cannot be told from it;
 * - with ClamdTimedOut, a TimeoutError, or ClamdCancelled, a CancelledError;
 * - with TypeError, RangeError or SyntaxError for arguments that cannot be used.
 *
 * Then the connection is aborted, if there is one. However it ends, a source that was read from is closed: a file and a
 * stream, and an iterator by its `return`. One that was not, since there was no connection, can be scanned again.
 *
 * @param source what to scan: a Uint8Array, a file by its path, or anything that yields Uint8Arrays
 * @example
 * scan({ path: '/etc/hostname' }, { endpoint: 'unix:/run/clamav/clamd.ctl', timeout: 10 })
 *   .addCallback((verdict) => console.log(verdict.status === 'clean' ? 'let it pass' : verdict))
 *   .addErrback((failure) => console.error(failure.getErrorMessage()));
 */
export function scan(source: ScanSource, options: ScanOptions = {}): Deferred<Verdict> {
  return maybeDeferred(() => {
    const chunkSize = checkedChunkSize(options.chunkSize ?? CHUNK_SIZE);
    const { allowEmpty = false, signal } = options;
    if (typeof allowEmpty !== 'boolean')
      throw new TypeError(`allowEmpty must be true or false, not ${inspect(allowEmpty)}`);
    return perform(options, (endpoint, progressed) =>
      upload(source, { chunkSize, allowEmpty, progressed }, endpoint, signal),
    );
  });
}

/**
 * Fires with true if clamd is there and answers. Fails as {@link scan} does, and with BadReply for any other answer
 * than `PONG`.
 */
export function ping(options: ClamdOptions = {}): Deferred<true> {
  return ask('PING', options, (reply) => reply === 'PONG').addCallback((): true => true);
}

/**
 * Fires with clamd's version, such as `ClamAV 1.4.6/27500/Sun Jan  4 08:26:01 2026`, where the database's version and
 * date are left out if it has none. Fails as {@link scan} does, and with BadReply for any other answer.
 */
export function version(options: ClamdOptions = {}): Deferred<string> {
  return ask('VERSION', options, (reply) => /^ClamAV ./.test(reply));
}

function checkedChunkSize(size: number): number {
  if (Number.isInteger(size) && size >= 1 && size <= CHUNK_LIMIT) return size;
  throw new RangeError(
    `chunkSize must be a whole number of bytes from 1 to ${CHUNK_LIMIT}, not ${String(size)}`,
  );
}

/** Sends a command without a stream; any reply that `isAnswer` does not take is an error. */
function ask(
  command: CommandName,
  options: ClamdOptions,
  isAnswer: (reply: string) => boolean,
): Deferred<string> {
  return maybeDeferred(() =>
    perform(options, (endpoint, progressed) =>
      converse(endpoint, new Conversation(command, progressed), options.signal),
    ),
  ).addCallback((reply) => {
    if (isAnswer(reply)) return reply;
    throw new BadReply(errorKind(reply), reply, { command });
  });
}

/** Finds out where to, and sees to time-outs and signal. */
function perform<T>(
  options: ClamdOptions,
  talk: (endpoint: IStreamClientEndpoint, progressed: () => void) => Deferred<T>,
): Deferred<T> {
  const { endpoint = ENDPOINT, reactor = processReactor, signal } = options;
  const timeout = checkedSeconds('timeout', options.timeout, TIMEOUT);
  const idleTimeout = checkedSeconds('idleTimeout', options.idleTimeout, IDLE_TIMEOUT);
  const where = typeof endpoint === 'string' ? clientFromString(reactor, endpoint) : endpoint;
  const idle = idleTimeout === null ? undefined : new IdleTimeout(idleTimeout, reactor);
  const result = talk(where, () => idle?.reset());
  // In this order, since where both are up it is the deadline.
  if (timeout !== null) result.addTimeout(timeout, reactor, timedOut);
  idle?.limit(result);
  return signal === undefined ? result : result.cancelOn(signal);
}

function checkedSeconds(
  name: string,
  given: Seconds | null | undefined,
  usual: Seconds,
): Seconds | null {
  if (given === undefined || given === null) return given === null ? null : usual;
  return checkSeconds(given, name);
}

/** Cancels what makes no progress. */
class IdleTimeout {
  readonly #seconds: Seconds;
  readonly #reactor: IReactorTime;
  #call: IDelayedCall | undefined;

  constructor(seconds: Seconds, reactor: IReactorTime) {
    this.#seconds = seconds;
    this.#reactor = reactor;
  }

  /** Something has happened. */
  reset(): void {
    if (this.#call?.active() === true) this.#call.reset(this.#seconds);
  }

  limit<T>(result: Deferred<T>): void {
    if (result.called) return;
    let expired = false;
    this.#call = this.#reactor.callLater(this.#seconds, () => {
      expired = true;
      Deferred.cancelGuarded(result);
    });
    result.addBoth((outcome) => {
      if (this.#call?.active() === true) this.#call.cancel();
      return expired ? timedOut(outcome, this.#seconds, true) : outcome;
    });
  }
}

/** After the time has passed it was cancelled; the failure that came of it says how far it had come. */
function timedOut<T>(result: T | Failure, timeout: Seconds, idle = false): T | Failure {
  const cause = result instanceof Failure ? result.check(ClamdCancelled) : undefined;
  if (cause === undefined) return result;
  throw new ClamdTimedOut(timeout, cause, idle);
}

/** Connects, sends the command and waits for the reply. */
const converse = inlineCallbacks(function* (
  endpoint: IStreamClientEndpoint,
  conversation: Conversation,
  signal: AbortSignal | undefined,
): Coroutine<string> {
  const { command } = conversation;
  if (signal?.aborted === true)
    throw new ClamdCancelled('connecting', { command, cause: signal.reason, code: 'ABORT_ERR' });
  yield* cancelledWhile('connecting', command, connectProtocol(endpoint, conversation));
  return yield* conversation.reply;
});

const upload = inlineCallbacks(function* (
  source: ScanSource,
  options: UploadOptions,
  endpoint: IStreamClientEndpoint,
  signal: AbortSignal | undefined,
): Coroutine<Verdict> {
  const { chunkSize, progressed } = options;
  const chunks = yield* cancelledWhile('opening', 'INSTREAM', openSource(source, chunkSize));
  const stream = new Upload(chunks, options);
  try {
    const conversation = new Conversation('INSTREAM', progressed, stream);
    return verdict(yield* converse(endpoint, conversation, signal), stream);
  } finally {
    stream.stop();
  }
});

/** A cancellation of `step` says what was going on. */
function cancelledWhile<T>(phase: Phase, command: CommandName, step: Deferred<T>): Deferred<T> {
  return step.addErrback((failure) => {
    const cause = failure.check(CancelledError, ConnectingCancelledError);
    return cause === undefined
      ? failure
      : new Failure(new ClamdCancelled(phase, { command, cause }));
  });
}

function verdict(reply: string, { bytesSent, complete, intact }: Upload): Verdict {
  const read = readScanReply(reply);
  if (read.status === 'infected') return { ...read, bytesSent };
  if (read.status === 'clean' && complete) {
    if (!intact) throw new UnusableSource('changed');
    return { ...read, bytesSent };
  }
  // Of a stream that clamd has not had to its end it cannot know that it is clean.
  const kind = read.status === 'error' ? read.kind : 'unexpected';
  const { message } = new BadReply(kind, reply, { command: 'INSTREAM', bytesSent });
  return { status: 'error', kind, message, reply, bytesSent };
}

/**
 * What can go wrong between a program and clamd so that there is no answer at all. (An answer that tells of an error
 * is a value for `scan`, see `Verdict`, and a {@link BadReply} for the other commands.)
 *
 * ```text
 * PlaitError
 * ├─ ClamdError                no answer to be had
 * │  ├─ NoReply                the connection was lost before the reply was complete
 * │  └─ BadReply               the reply is too long, or none that clamd gives to this command
 * ├─ UnreadableFile            the file to be scanned cannot be opened or read
 * ├─ UnusableSource            the source would not give all the bytes that it held
 * ├─ TimeoutError
 * │  └─ ClamdTimedOut          the time for all of it has passed
 * └─ CancelledError
 *    └─ ClamdCancelled         the program has cancelled it
 * ```
 *
 * To these come plait's own ConnectErrors (ConnectionRefusedError, BadFileError …) where no connection could be made,
 * and for `scan` whatever its source throws.
 */
import {
  CancelledError,
  ConnectionDone,
  type ErrorDetails,
  explain,
  keepErrorNames,
  PlaitError,
  type Seconds,
  TimeoutError,
} from 'plait';
import type { CommandName, ReplyErrorKind } from './grammar.ts';

/** How far a command has come. */
export type Phase = 'opening' | 'connecting' | 'sending' | 'waiting';

const DOING: Readonly<Record<Phase, string>> = {
  opening: 'the source was being opened',
  connecting: 'the connection was being made',
  sending: 'the stream was being sent',
  waiting: 'waiting for the reply',
};

/** What is known of a command that failed. */
export interface ClamdErrorDetails extends ErrorDetails {
  readonly command: CommandName;
  /** How many bytes of the stream had been sent. Default: 0. */
  readonly bytesSent?: number;
}

/** clamd gave no answer. */
export class ClamdError extends PlaitError {
  readonly command: CommandName;
  /** How many bytes of the stream had been sent; 0 for a command that has none. */
  readonly bytesSent: number;

  /** @param problem what went wrong; the message says the command before it, and how much was sent behind it */
  constructor(problem: string, details: ClamdErrorDetails) {
    const { command, bytesSent = 0 } = details;
    super(`${attempt(command)}: ${problem}${afterSending(bytesSent)}`, details);
    this.command = command;
    this.bytesSent = bytesSent;
  }
}

/** The connection was lost before the reply was complete. */
export class NoReply extends ClamdError {
  /** What had arrived of the reply. */
  readonly received: string;

  constructor(received: string, details: ClamdErrorDetails & { readonly cause: Error }) {
    const { cause } = details;
    const lost = cause instanceof ConnectionDone ? 'clamd closed the connection' : cause.message;
    const arrived =
      received === ''
        ? 'before it answered'
        : `when only ${quoted(received)}, which has no NUL at its end, had arrived`;
    super(`${lost} ${arrived}`, details);
    this.received = received;
  }
}

/** What clamd has sent is no answer to the command, or tells of an error. */
export class BadReply extends ClamdError {
  readonly kind: ReplyErrorKind;
  /** As it arrived, as far as it was read. */
  readonly reply: string;

  constructor(kind: ReplyErrorKind, reply: string, details: ClamdErrorDetails) {
    const { cause } = details;
    const problem = cause instanceof Error ? cause.message : PROBLEMS[kind];
    super(`${problem}; it answered ${quoted(reply)}`, details);
    this.kind = kind;
    this.reply = reply;
  }
}

const PROBLEMS: Readonly<Record<ReplyErrorKind, string>> = {
  'size-limit': 'the stream is longer than clamd allows (StreamMaxLength)',
  'command-timeout': 'clamd has waited too long for the rest',
  'unknown-command': 'clamd does not know the command',
  unavailable: 'clamd does not allow the command',
  'scan-failed': 'clamd could not scan',
  unexpected: 'that is no answer that clamd gives to it',
};

/** The file to be scanned cannot be opened, or not be read to its end. */
export class UnreadableFile extends PlaitError {
  readonly path: string;

  constructor(path: string, cause: Error) {
    super(`cannot scan ${quoted(path, 4096)}: ${explain(cause)}`, { cause });
    this.path = path;
  }
}

/**
 * Why a source cannot be scanned:
 *
 * - `used`: bytes were read from it before, or another scan reads it;
 * - `closed`: the stream was destroyed, or has failed;
 * - `locked`: the web stream has another reader;
 * - `detached`: the memory of a buffer was transferred, or has become too small for it;
 * - `changed`: a buffer got another length, or lost its memory, during the scan;
 * - `empty`: it has given no bytes, and may have been used.
 */
export type UnusableReason = 'used' | 'closed' | 'locked' | 'detached' | 'changed' | 'empty';

const UNUSABLE: Readonly<Record<UnusableReason, string>> = {
  used: 'bytes were read from it before, or another scan reads it',
  closed: 'it was destroyed, or has failed',
  locked: 'it has another reader',
  detached: 'the memory of a buffer was transferred, or has become too small for it',
  changed: 'a buffer in it got another length, or lost its memory, during the scan',
  empty: 'it has given no bytes; where that is right, say allowEmpty',
};

/** The source would not give all the bytes that it held, so the rest of them would be taken for clean. */
export class UnusableSource extends PlaitError {
  readonly reason: UnusableReason;

  constructor(reason: UnusableReason, details: ErrorDetails = {}) {
    super(`cannot scan the source: ${UNUSABLE[reason]}`, details);
    this.reason = reason;
  }
}

/** The program has cancelled the command. */
export class ClamdCancelled extends CancelledError {
  readonly command: CommandName;
  readonly phase: Phase;
  readonly bytesSent: number;

  constructor(phase: Phase, details: ClamdErrorDetails) {
    const { command, bytesSent = 0 } = details;
    super(
      `${attempt(command)}: cancelled while ${DOING[phase]}${afterSending(bytesSent)}`,
      details,
    );
    this.command = command;
    this.phase = phase;
    this.bytesSent = bytesSent;
  }
}

/** The time for the command has passed, or nothing has happened for too long. */
export class ClamdTimedOut extends TimeoutError {
  readonly command: CommandName;
  readonly phase: Phase;
  readonly bytesSent: number;
  /** True if it was the idle time-out. */
  readonly idle: boolean;

  /**
   * @param timeout how many seconds it had
   * @param cause how it was stopped
   * @param idle true if nothing has happened for so long
   */
  constructor(timeout: Seconds, cause: ClamdCancelled, idle = false) {
    const { command, phase, bytesSent } = cause;
    const problem = idle
      ? `nothing happened for ${timeout} seconds`
      : `not done after ${timeout} seconds`;
    super(`${attempt(command)}: ${problem}, while ${DOING[phase]}${afterSending(bytesSent)}`, {
      cause,
    });
    this.idle = idle;
    this.command = command;
    this.phase = phase;
    this.bytesSent = bytesSent;
  }
}

function attempt(command: CommandName): string {
  return `${command} to clamd`;
}

function afterSending(bytes: number): string {
  return bytes === 0 ? '' : `, after ${bytes} bytes of the stream`;
}

/** `text` for a message, in quotes: what is not printable is escaped, and it is cut where it is long. */
export function quoted(text: string, most = 100): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return JSON.stringify(cut).replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

keepErrorNames({
  BadReply,
  ClamdCancelled,
  ClamdError,
  ClamdTimedOut,
  NoReply,
  UnreadableFile,
  UnusableSource,
});

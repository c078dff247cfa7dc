/**
 * What clamd and its clients say to each other, as bytes, for both sides; it does no I/O. See clamd(8).
 *
 * ```text
 * command  = "z" name NUL | "n" name LF | name          the last kind is whatever one packet holds; LF is optional
 * stream   = *( size bytes ) zero                       follows INSTREAM; size and zero have four bytes, big-endian
 * reply    = text ( NUL | LF )                          ends as the command did
 *
 * PING      PONG
 * VERSION   ClamAV …
 * INSTREAM  stream: OK | stream: NAME FOUND | … ERROR
 * any       UNKNOWN COMMAND | COMMAND READ TIMED OUT …
 * ```
 *
 * A command may have 4,102 bytes, as with clamd itself, and a reply 64 KiB, which no command here comes near.
 *
 * A rule for editors: a reply is an error unless it is, byte for byte, one that is known. Nothing is trimmed, no case
 * is ignored, and names are read from both ends, since they may contain anything.
 */
import { isUtf8 } from 'node:buffer';
import { ReceiveBuffer } from 'plait';

const NUL = Buffer.of(0);
const LF = Buffer.of(10);
const CR = 13;
const Z = 0x7a;
const N = 0x6e;

/** How many bytes a command may have, its prefix and terminator not counted. */
export const COMMAND_LIMIT = 4102;

/** How many bytes a reply may have, its terminator not counted. */
export const REPLY_LIMIT: number = 64 * 1024;

/** The largest chunk that INSTREAM's four bytes can announce. */
export const CHUNK_LIMIT = 0xffff_ffff;

/** Ends a stream: a chunk of no bytes. */
export const END_OF_STREAM: Buffer = Buffer.alloc(4);

// ── A client's side ──────────────────────────────────────────────────────────────────────────────────────────────────

/** The commands that there are functions for. */
export type CommandName = 'PING' | 'VERSION' | 'INSTREAM';

/** A command as it is sent. */
export function writeCommand(name: CommandName): Buffer {
  return Buffer.from(`z${name}\0`);
}

/** What stands before a chunk of `length` bytes. */
export function writeChunkSize(length: number): Buffer {
  const size = Buffer.allocUnsafe(4);
  size.writeUInt32BE(length);
  return size;
}

/** Cuts a reply out of what arrives. */
export class ReplyReader {
  readonly #received = new ReceiveBuffer();

  /**
   * The reply without its terminator, once that has arrived.
   *
   * @throws LimitExceeded if the reply is longer than {@link REPLY_LIMIT}
   */
  read(data: Buffer): string | undefined {
    this.#received.feed(data);
    const reply = this.#received.takeUntil(NUL, REPLY_LIMIT, 'the reply');
    return reply === undefined ? undefined : decode(reply);
  }

  /** What has arrived of a reply that will not be completed, at most `most` bytes of it; it is taken away. */
  takeRest(most = Infinity): string {
    return decode(this.#received.takeAll().subarray(0, most));
  }
}

/** Names of signatures are in no particular encoding; but in one that keeps each byte. */
function decode(bytes: Buffer): string {
  return bytes.toString(isUtf8(bytes) ? 'utf8' : 'latin1');
}

/**
 * What is wrong, when clamd's reply is not the one that is hoped for:
 *
 * - `size-limit`: the stream is longer than clamd's StreamMaxLength;
 * - `command-timeout`: clamd has waited too long for the rest of the command or the stream;
 * - `unknown-command`: clamd does not know the command;
 * - `unavailable`: clamd does not carry out this command now, or for this client;
 * - `scan-failed`: clamd says ERROR for another reason, which the reply tells;
 * - `unexpected`: the reply is none that clamd gives to this command.
 */
export type ReplyErrorKind =
  | 'size-limit'
  | 'command-timeout'
  | 'unknown-command'
  | 'unavailable'
  | 'scan-failed'
  | 'unexpected';

const ERRORS: ReadonlyMap<string, ReplyErrorKind> = new Map([
  ['INSTREAM size limit exceeded. ERROR', 'size-limit'],
  ['COMMAND READ TIMED OUT', 'command-timeout'],
  ['UNKNOWN COMMAND', 'unknown-command'],
  ['COMMAND UNAVAILABLE', 'unavailable'],
]);

/** Which error a reply is that is nothing better. */
export function errorKind(reply: string): ReplyErrorKind {
  return ERRORS.get(reply) ?? (reply.endsWith(' ERROR') ? 'scan-failed' : 'unexpected');
}

/** What clamd has found out about a stream. */
export type ScanReply =
  | { readonly status: 'clean' }
  | { readonly status: 'infected'; readonly signatures: string[] }
  | { readonly status: 'error'; readonly kind: ReplyErrorKind };

/** Reads the reply to INSTREAM. Only `stream: OK` is clean. */
export function readScanReply(reply: string): ScanReply {
  if (reply === 'stream: OK') return { status: 'clean' };
  const name = /^stream: (.+) FOUND$/s.exec(reply)?.[1];
  if (name !== undefined) return { status: 'infected', signatures: [name] };
  return { status: 'error', kind: errorKind(reply) };
}

/**
 * The reply that `rest`, which has no terminator, nevertheless is. clamd ends `COMMAND READ TIMED OUT` with a newline,
 * however the command was framed. Only errors are taken this way.
 */
export function unterminatedError(rest: string): string | undefined {
  const reply = rest.endsWith('\n') ? rest.slice(0, -1) : '';
  return ERRORS.has(reply) ? reply : undefined;
}

// ── A server's side ──────────────────────────────────────────────────────────────────────────────────────────────────

/** A command that has arrived. */
export interface Command {
  /** Perhaps not the name of any. */
  readonly name: string;
  /** True if it had a prefix, without which some commands are not accepted. */
  readonly prefixed: boolean;
  /** What the reply is to end with. */
  readonly terminator: '\0' | '\n';
}

/** A part of a stream that has arrived: that a chunk begins, some of its bytes, or that it was the last. */
export type StreamPart =
  | { readonly type: 'chunk'; readonly length: number }
  | { readonly type: 'bytes'; readonly bytes: Buffer }
  | { readonly type: 'end' };

/** Reads one command, and the stream that may follow it. */
export class CommandReader {
  readonly #received = new ReceiveBuffer();
  #prefix: number | undefined;
  /** How many bytes of the chunk have not arrived; undefined where the size of a chunk is next. */
  #missing: number | undefined;

  feed(data: Buffer): void {
    this.#received.feed(data);
  }

  /**
   * The command, once it is complete.
   *
   * @throws LimitExceeded if it is longer than {@link COMMAND_LIMIT}
   */
  takeCommand(): Command | undefined {
    this.#prefix ??= this.#received.takeSome(1)?.[0];
    switch (this.#prefix) {
      case undefined:
        return undefined;
      case Z: {
        const name = this.#received.takeUntil(NUL, COMMAND_LIMIT, 'the command');
        return name && { name: name.toString('latin1'), prefixed: true, terminator: '\0' };
      }
      case N: {
        const name = this.#received.takeUntil(LF, COMMAND_LIMIT, 'the command');
        return name && { name: chomp(name), prefixed: true, terminator: '\n' };
      }
      default: {
        // As clamd does it: a command without a prefix ends with the packet, or with a newline in it.
        const packet = Buffer.concat([Buffer.of(this.#prefix), this.#received.takeAll()]);
        const end = packet.findIndex((byte) => byte === 0 || byte === 10);
        const name = end < 0 ? packet : packet.subarray(0, end);
        return { name: chomp(name), prefixed: false, terminator: '\n' };
      }
    }
  }

  /** The next part of the stream, or undefined if nothing of it is waiting. */
  takePart(): StreamPart | undefined {
    if (this.#missing === undefined) {
      const length = this.#received.take(4)?.readUInt32BE();
      if (length === undefined) return undefined;
      if (length === 0) return { type: 'end' };
      this.#missing = length;
      return { type: 'chunk', length };
    }
    const bytes = this.#received.takeSome(this.#missing);
    if (bytes === undefined) return undefined;
    this.#missing = this.#missing === bytes.length ? undefined : this.#missing - bytes.length;
    return { type: 'bytes', bytes };
  }
}

/** `line` without the carriage returns at its end. */
function chomp(line: Buffer): string {
  let end = line.length;
  while (line[end - 1] === CR) end--;
  return line.toString('latin1', 0, end);
}

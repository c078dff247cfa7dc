/**
 * Protocols that cut what arrives into messages: the bases that most line-oriented protocols are built on. They know
 * where a message ends, and nothing of what it says. Netstrings and length-prefixed strings belong here too, and are
 * not here yet. Twisted: `twisted.protocols.basic`.
 *
 * Rules for editors: nothing is delivered after `loseConnection` or `connectionLost`; no call into a subclass is made
 * from inside another one; what waits is bounded by `maxLength`; and each byte is looked at once, however it arrives.
 */
import {
  type IPushProducer,
  type ITransport,
  LimitExceeded,
  NotConnectedError,
  Protocol,
  ReceiveBuffer,
  type HookResult,
  watchHook,
} from 'plait';

export { FileSender, type FileSenderOptions, type FileSource, type FileTransform } from 'plait';

const CRLF = Buffer.from('\r\n');

/** What both kinds of line receiver have. */
abstract class LineProtocol extends Protocol {
  /** What ends a line: one byte or more. Default: CR LF. */
  delimiter: Uint8Array = CRLF;
  /** How many bytes a line may have, its delimiter not counted. Default: 16,384. */
  maxLength = 16_384;

  /**
   * A line has arrived. It may be kept: it holds no more memory than twice its length.
   *
   * @param line without its delimiter; may be empty
   */
  abstract lineReceived(line: Buffer): HookResult;

  /**
   * A line is longer than `maxLength`. Closes the connection, unless it is overridden.
   *
   * @param line all that waits, from the beginning of that line on: a part of it, or other lines behind it too. It
   *   will not be delivered again
   */
  lineLengthExceeded(line: Buffer): HookResult {
    transportOf(this).loseConnection();
  }

  /**
   * Sends a line and the delimiter. A delimiter within the line is sent as it is.
   *
   * @throws NotConnectedError before there is a connection
   */
  sendLine(line: Uint8Array | string): void {
    transportOf(this).writeSequence([line, this.delimiter]);
  }

  /**
   * Called by the transport, once.
   *
   * @throws RangeError or TypeError for a delimiter or a maxLength that cannot be used; the connection is then aborted
   */
  override makeConnection(transport: ITransport): HookResult {
    try {
      checkSettings(this);
    } catch (error) {
      transport.abortConnection();
      throw error;
    }
    super.makeConnection(transport);
  }
}

/** Both may be changed at any time, so they are checked where they are used. */
function checkSettings({ delimiter, maxLength }: LineProtocol): void {
  if (!((delimiter as unknown) instanceof Uint8Array))
    throw new TypeError(`delimiter must be a Uint8Array, not ${typeof delimiter}`);
  if (delimiter.length === 0) throw new RangeError('delimiter must have at least one byte');
  if (!(maxLength >= 0))
    throw new RangeError(`maxLength must be 0 or more bytes, not ${String(maxLength)}`);
}

/** The connection of a protocol. Throws NotConnectedError where there was none yet. */
function transportOf(protocol: Protocol): ITransport {
  const { transport } = protocol as Partial<Protocol>;
  if (transport !== undefined) return transport;
  throw new NotConnectedError(`${protocol.constructor.name} is not connected: it has no transport`);
}

/** True once the connection is closing or gone; not so for a protocol that is tried out without a transport. */
function isOver(transport: ITransport | undefined): boolean {
  return transport !== undefined && (transport.disconnecting || !transport.connected);
}

/** The next line, or undefined if it has not arrived; if it is too long, the protocol is told so. */
function takeLine(protocol: LineProtocol, waiting: ReceiveBuffer): Buffer | undefined {
  checkSettings(protocol);
  try {
    return waiting.takeUntil(protocol.delimiter, protocol.maxLength);
  } catch (error) {
    if (!(error instanceof LimitExceeded)) throw error;
  }
  const outcome = protocol.lineLengthExceeded(waiting.takeAll());
  watchHook(outcome, 'lineLengthExceeded', protocol.transport);
  return undefined;
}

/**
 * Receives lines, or raw bytes, and can change from one to the other at any point of the stream. It can be paused
 * between two lines of one chunk. Twisted: `LineReceiver`.
 *
 * @example
 * class Shout extends LineReceiver {
 *   override lineReceived(line: Buffer) {
 *     this.sendLine(line.toString().toUpperCase());
 *   }
 * }
 */
export abstract class LineReceiver extends LineProtocol implements IPushProducer {
  readonly #waiting = new ReceiveBuffer();
  #raw = false;
  #paused = false;
  /** A line or raw bytes are being delivered further down the stack, where the rest will be delivered too. */
  #delivering = false;

  /**
   * Bytes have arrived in raw mode: all there are, cut anywhere. Override it where `setRawMode` is used.
   *
   * @throws Error unless it is overridden
   */
  rawDataReceived(data: Buffer): HookResult {
    throw new Error(
      `${this.constructor.name} has no rawDataReceived for the ${data.length} bytes that arrived in raw mode`,
    );
  }

  /** Delivers what follows as raw bytes. What waits is delivered when the call that this is made from has returned. */
  setRawMode(): void {
    this.#raw = true;
  }

  /**
   * Delivers what follows as lines.
   *
   * @param extra bytes given to `rawDataReceived` that are not raw any more: they come first
   */
  setLineMode(extra?: Buffer): void {
    this.#raw = false;
    if (extra !== undefined && extra.length > 0) this.dataReceived(extra);
  }

  /** Takes away what has arrived and was not delivered. */
  clearLineBuffer(): Buffer {
    return this.#waiting.takeAll();
  }

  /** Called by `startTLS`: what waits belongs to the handshake. */
  takeUnread(): Buffer {
    return this.#waiting.takeAll();
  }

  override dataReceived(data: Buffer): HookResult {
    if (isOver(this.transport)) return;
    this.#waiting.feed(data);
    this.#deliver();
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      while (!this.#paused && this.#waiting.length > 0 && !isOver(this.transport)) {
        if (this.#raw) {
          const outcome = this.rawDataReceived(this.#waiting.takeAll());
          watchHook(outcome, 'rawDataReceived', this.transport);
          continue;
        }
        const line = takeLine(this, this.#waiting);
        if (line === undefined) return;
        watchHook(this.lineReceived(line), 'lineReceived', this.transport);
      }
    } finally {
      this.#delivering = false;
    }
  }

  // ── Being paused ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** True after `pauseProducing`, until `resumeProducing`. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Delivers nothing more, not even what has already arrived, and stops reading from the connection. */
  pauseProducing(): void {
    const transport = transportOf(this);
    this.#paused = true;
    transport.pauseProducing();
  }

  /** Delivers what waits, at once unless it is called from a hook of this protocol, and reads on. */
  resumeProducing(): void {
    const transport = transportOf(this);
    this.#paused = false;
    transport.resumeProducing();
    this.#deliver();
  }

  /** Delivers nothing more, for good, and closes the connection. */
  stopProducing(): void {
    const transport = transportOf(this);
    this.#paused = true;
    transport.stopProducing();
  }
}

/**
 * Receives lines, and nothing else: for protocols that need neither raw bytes nor pauses. Twisted: `LineOnlyReceiver`.
 *
 * @example
 * class Count extends LineOnlyReceiver {
 *   #lines = 0;
 *   override lineReceived() {
 *     this.sendLine(`${++this.#lines}`);
 *   }
 * }
 */
export abstract class LineOnlyReceiver extends LineProtocol {
  readonly #waiting = new ReceiveBuffer();

  /** Called by `startTLS`: what waits belongs to the handshake. */
  takeUnread(): Buffer {
    return this.#waiting.takeAll();
  }

  override dataReceived(data: Buffer): HookResult {
    if (isOver(this.transport)) return;
    this.#waiting.feed(data);
    while (this.#waiting.length > 0 && !isOver(this.transport)) {
      const line = takeLine(this, this.#waiting);
      if (line === undefined) return;
      watchHook(this.lineReceived(line), 'lineReceived', this.transport);
    }
  }
}

/**
 * Telling the log what goes over connections. Twisted: `TrafficLoggingFactory` of `twisted.protocols.policies`, which
 * writes files, and `SpewingFactory`.
 */
import {
  type Address,
  type Failure,
  FileLogObserver,
  type IProtocol,
  type IProtocolFactory,
  Logger,
  type LogObserver,
  textFileLogObserver,
} from 'plait';
import { ProtocolWrapper, WrappingFactory } from './wrapping.ts';

/** How many bytes of a piece the text of its event shows. */
const SHOWN = 1024;

/** Logs what passes. Made by {@link TrafficLoggingFactory}. */
class TrafficLoggingProtocol extends ProtocolWrapper {
  readonly #log: Logger;
  readonly #connection: number;
  readonly #close: () => void;

  constructor(
    factory: WrappingFactory,
    protocol: IProtocol,
    log: Logger,
    connection: number,
    close: () => void,
  ) {
    super(factory, protocol);
    this.#log = log;
    this.#connection = connection;
    this.#close = close;
  }

  override connectionMade(): void {
    this.#tell('connected to {peer}', { peer: this.getPeer() });
    super.connectionMade();
  }

  override dataReceived(data: Buffer): void {
    this.#piece('received', data);
    super.dataReceived(data);
  }

  override write(data: Uint8Array | string): void {
    super.write(data);
    this.#piece('sent', data);
  }

  override writeSequence(pieces: Iterable<Uint8Array | string>): void {
    const all = [...pieces];
    super.writeSequence(all);
    for (const piece of all) this.#piece('sent', piece);
  }

  override connectionLost(reason: Failure): void {
    this.#tell('lost: {reason}', { reason: reason.getBriefTraceback() });
    try {
      super.connectionLost(reason);
    } finally {
      this.#close();
    }
  }

  #piece(direction: 'received' | 'sent', piece: Uint8Array | string): void {
    const data = Buffer.from(piece as Uint8Array);
    const shown = JSON.stringify(data.toString('latin1', 0, SHOWN));
    const text = data.length > SHOWN ? `${shown} and more` : shown;
    this.#tell('{direction} {size} bytes: {text}', { direction, size: data.length, text, data });
  }

  #tell(format: string, fields: Readonly<Record<string, unknown>>): void {
    this.#log.info(`connection {connection} ${format}`, {
      ...fields,
      connection: this.#connection,
    });
  }
}

function loggerFor(observer: LogObserver): Logger {
  return new Logger('plait.protocols.policies', observer);
}

/**
 * Logs each connection that is made, each piece that arrives or is written, and how it ended, at level info. Events
 * about a piece have the fields `connection` (a number, from 1), `direction` (`received` or `sent`), `size`, `data` (a
 * copy) and `text` (the first 1,024 bytes). Passwords pass too: mind where the log goes. Twisted:
 * `TrafficLoggingFactory`.
 *
 * @example
 * const factory = new TrafficLoggingFactory(Factory.forProtocol(Protocol), (event) => {
 *   console.log(formatEvent(event));
 * });
 */
export class TrafficLoggingFactory extends WrappingFactory {
  readonly #to: Logger | string;
  #connections = 0;

  /**
   * @param to a Logger, or an observer that is given the events and nothing else; or the name of a file: then each
   *   connection has a file of its own, with its number at the end, as in `traffic-1`
   */
  constructor(wrappedFactory: IProtocolFactory, to: Logger | LogObserver | string) {
    super(wrappedFactory);
    this.#to = to instanceof Logger || typeof to === 'string' ? to : loggerFor(to);
  }

  override wrap(protocol: IProtocol, address: Address): ProtocolWrapper {
    const number = ++this.#connections;
    if (typeof this.#to !== 'string')
      return new TrafficLoggingProtocol(this, protocol, this.#to, number, () => {});
    const observer = this.open(`${this.#to}-${number}`);
    return new TrafficLoggingProtocol(this, protocol, loggerFor(observer), number, () => {
      if (observer instanceof FileLogObserver) observer.close();
    });
  }

  /**
   * Opens the file of a connection, where there is to be one for each. Override it for another format: a
   * `FileLogObserver` is closed when the connection is lost.
   */
  open(name: string): LogObserver {
    return textFileLogObserver(name);
  }

  /** Numbers connections from 1 again; a file of that number is gone on with. */
  resetCounter(): void {
    this.#connections = 0;
  }
}

/**
 * Logs all that goes over connections to the program's own log, at level info: for a look at what a program says. As
 * {@link TrafficLoggingFactory}. Twisted: `SpewingFactory`, which logs what is received and that the connection is
 * closed.
 */
export class SpewingFactory extends TrafficLoggingFactory {
  constructor(wrappedFactory: IProtocolFactory) {
    super(wrappedFactory, new Logger('plait.protocols.policies'));
  }
}

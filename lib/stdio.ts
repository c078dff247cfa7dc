/**
 * Standard input and output as a connection: a program that talks to whoever has started it. Twisted:
 * `twisted.internet.stdio` and `StandardIOEndpoint`.
 */
import { type Address, PipeAddress } from './address.ts';
import { checkMethods, checkOptions, checkProtocol } from './arguments.ts';
import type { Deferred } from './defer.ts';
import { AlreadyListened, NoProtocol } from './errors.ts';
import { Failure } from './failure.ts';
import { hookFailed } from './hooks.ts';
import type {
  IListeningPort,
  IProtocol,
  IProtocolFactory,
  IPullProducer,
  IPushProducer,
  IReactorStandardIO,
  IStreamServerEndpoint,
  ITransport,
  StandardIOOptions,
  SwitchProtocolOptions,
} from './interfaces.ts';
import { fail, succeed } from './maybe.ts';
import { buildFrom } from './protocol.ts';
import { reactor as theReactor } from './reactor.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/**
 * Makes standard input and output (or any two descriptors) the connection of a protocol: pipes, files, terminals or
 * sockets. It ends when standard input does, unless the protocol is half-closeable. That nobody reads the output any
 * more shows when something is written. The first three descriptors are never closed, as in Twisted: the other side
 * sees the end when the process ends.
 *
 * @example
 * class Shout extends Protocol {
 *   override dataReceived(data: Buffer) {
 *     this.transport.write(data.toString().toUpperCase());
 *   }
 * }
 * const shoutFromHere = () => new StandardIO(new Shout());
 */
export class StandardIO implements ITransport {
  readonly #transport: ITransport;

  /**
   * @throws RangeError, ConnectError and NotSupportedError, as `reactor.standardIO` does
   */
  constructor(
    protocol: IProtocol,
    options: StandardIOOptions & { readonly reactor?: IReactorStandardIO } = {},
  ) {
    const { reactor = theReactor, ...descriptors } = checkOptions(options, 'StandardIO: options');
    checkMethods(reactor, 'StandardIO: reactor', 'a reactor', ['standardIO']);
    checkProtocol(protocol, 'StandardIO: protocol');
    this.#transport = reactor.standardIO(protocol, descriptors);
  }

  write(data: Uint8Array | string): void {
    this.#transport.write(data);
  }

  writeSequence(pieces: Iterable<Uint8Array | string>): void {
    this.#transport.writeSequence(pieces);
  }

  loseConnection(): void {
    this.#transport.loseConnection();
  }

  abortConnection(): void {
    this.#transport.abortConnection();
  }

  loseWriteConnection(): void {
    this.#transport.loseWriteConnection();
  }

  switchProtocol(protocol: IProtocol, options?: SwitchProtocolOptions): void {
    this.#transport.switchProtocol(protocol, options);
  }

  getHost(): Address {
    return this.#transport.getHost();
  }

  getPeer(): Address {
    return this.#transport.getPeer();
  }

  get connected(): boolean {
    return this.#transport.connected;
  }

  get disconnecting(): boolean {
    return this.#transport.disconnecting;
  }

  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }

  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    this.#transport.registerProducer(producer, streaming);
  }

  unregisterProducer(): void {
    this.#transport.unregisterProducer();
  }

  hookFailed(hook: string, failure: Failure): void {
    hookFailed(this.#transport, hook, failure);
  }

  pauseProducing(): void {
    this.#transport.pauseProducing();
  }

  resumeProducing(): void {
    this.#transport.resumeProducing();
  }

  stopProducing(): void {
    this.#transport.stopProducing();
  }

  toString(): string {
    return told(this, this.connected ? 'open' : 'lost');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** What "listening" on standard I/O comes to: there is one connection, and it has been made. */
class StandardIOPort implements IListeningPort {
  get ready(): Deferred<IListeningPort> {
    return succeed<IListeningPort>(this);
  }

  startListening(): never {
    throw new AlreadyListened('cannot start to listen: standard I/O is one connection, once');
  }

  stopListening(): Deferred<void> {
    return succeed();
  }

  getHost(): Address {
    return new PipeAddress();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stopListening().asPromise();
  }

  toString(): string {
    return told(this, 'standard I/O');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Serves whoever has started the program, over standard input and output. It listens once, for the one connection
 * there is: `listen` fails with AlreadyListened the second time.
 */
export class StandardIOEndpoint implements IStreamServerEndpoint {
  readonly #reactor: IReactorStandardIO;
  #listened = false;

  constructor(reactor: IReactorStandardIO) {
    this.#reactor = checkMethods(reactor, 'StandardIOEndpoint: reactor', 'a reactor', [
      'standardIO',
    ]);
  }

  /** Fails with what the factory throws, with NoProtocol, and with ConnectError for descriptors that are not open. */
  listen(factory: IProtocolFactory): Deferred<IListeningPort> {
    if (this.#listened)
      return fail(new AlreadyListened('cannot listen on standard I/O: it is in use already'));
    try {
      const protocol = buildFrom(factory, new PipeAddress());
      if (protocol === null) return fail(new NoProtocol('the factory built no protocol'));
      this.#listened = true;
      this.#reactor.standardIO(protocol);
    } catch (error) {
      this.#listened = false;
      return fail(new Failure(error));
    }
    return succeed<IListeningPort>(new StandardIOPort());
  }

  /** As a description for `serverFromString`, as far as one says it all. */
  toString(): string {
    return 'stdio:';
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Child processes as places to connect to: a protocol talks to a program over its standard input and output. Twisted:
 * `ProcessEndpoint` of `twisted.internet.endpoints`.
 */
import { type Address, PipeAddress } from './address.ts';
import { Deferred } from './defer.ts';
import { ConnectingCancelledError, ConnectionDone, NoProtocol, ProcessDone } from './errors.ts';
import { Failure } from './failure.ts';
import { watchHook } from './hooks.ts';
import type {
  IProcessTransport,
  IProtocol,
  IProtocolFactory,
  IPullProducer,
  IPushProducer,
  IReactorProcess,
  IStreamClientEndpoint,
  ITransport,
  SpawnProcessOptions,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { ProcessProtocol } from './process-protocol.ts';
import { isHalfCloseableProtocol, buildFrom } from './protocol.ts';

const log = new Logger('plait.process');

/** Options of {@link ProcessEndpoint}. */
export interface ProcessEndpointOptions extends SpawnProcessOptions {
  /** What becomes of what the program writes to standard error. Default: `log`, at level info. */
  readonly errFlag?: 'log' | 'drop';
}

/** A process, as a protocol of one connection sees it. */
class ProcessConnection implements ITransport {
  readonly #process: IProcessTransport;
  connected = true;
  disconnecting = false;

  readonly #hookFailed: (hook: string, failure: Failure) => void;

  constructor(process: IProcessTransport, failed: (hook: string, failure: Failure) => void) {
    this.#process = process;
    this.#hookFailed = failed;
  }

  hookFailed(hook: string, failure: Failure): void {
    this.#hookFailed(hook, failure);
  }

  write(data: Uint8Array | string): void {
    this.#process.write(data);
  }

  writeSequence(pieces: Iterable<Uint8Array | string>): void {
    this.#process.writeSequence(pieces);
  }

  loseConnection(): void {
    this.disconnecting = true;
    this.#process.loseConnection();
  }

  abortConnection(): void {
    this.loseConnection();
    if (this.#process.pid !== null) this.#process.signalProcess('KILL');
  }

  loseWriteConnection(): void {
    this.#process.closeStdin();
  }

  getHost(): Address {
    return new PipeAddress();
  }

  getPeer(): Address {
    return new PipeAddress();
  }

  get bufferedBytes(): number {
    return this.#process.bufferedBytes;
  }

  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    this.#process.registerProducer(producer, streaming);
  }

  unregisterProducer(): void {
    this.#process.unregisterProducer();
  }

  pauseProducing(): void {
    this.#process.pauseProducing();
  }

  resumeProducing(): void {
    this.#process.resumeProducing();
  }

  stopProducing(): void {
    this.loseConnection();
  }
}

/** Runs a protocol of connections over a process. */
class Conversation<P extends IProtocol> extends ProcessProtocol {
  readonly #protocol: P;
  readonly #executable: string;
  readonly #logs: boolean;
  #connection: ProcessConnection | undefined;
  /** What the protocol has thrown over data. */
  #failure: Failure | undefined;
  readonly connected: Deferred<P>;

  constructor(protocol: P, executable: string, errFlag: 'log' | 'drop') {
    super();
    this.#protocol = protocol;
    this.#executable = executable;
    this.#logs = errFlag === 'log';
    // There is an attempt to cancel only where the program cannot be started.
    this.connected = new Deferred<P>((deferred) =>
      deferred.errback(new ConnectingCancelledError(executable)),
    );
  }

  override connectionMade(): void {
    const connection = new ProcessConnection(this.transport, (hook, failure) => {
      log.failure(`${hook} failed`, failure);
      this.#failed(failure);
    });
    this.#connection = connection;
    try {
      watchHook(this.#protocol.makeConnection(connection), 'makeConnection', connection);
    } catch (error) {
      connection.abortConnection();
      this.connected.errback(new Failure(error));
      return;
    }
    this.connected.callback(this.#protocol);
  }

  override outReceived(data: Buffer): void {
    if (this.#connection?.disconnecting === true) return;
    try {
      watchHook(this.#protocol.dataReceived(data), 'dataReceived', this.#connection);
    } catch (error) {
      this.#failed(new Failure(error));
      throw error;
    }
  }

  /** The protocol has failed: it ends, for that reason. */
  #failed(failure: Failure): void {
    this.#failure ??= failure;
    this.#connection?.loseConnection();
  }

  override errReceived(data: Buffer): void {
    if (!this.#logs) return;
    const fields = { executable: this.#executable, text: data.toString() };
    log.info('{executable} wrote to stderr: {text}', fields);
  }

  override inConnectionLost(): void {
    if (this.#connection?.disconnecting === true) return;
    if (isHalfCloseableProtocol(this.#protocol))
      watchHook(this.#protocol.writeConnectionLost(), 'writeConnectionLost', this.#connection);
  }

  override outConnectionLost(): void {
    if (this.#connection?.disconnecting === true) return;
    if (isHalfCloseableProtocol(this.#protocol))
      watchHook(this.#protocol.readConnectionLost(), 'readConnectionLost', this.#connection);
  }

  override processEnded(reason: Failure): void {
    const connection = this.#connection;
    if (connection === undefined) {
      if (!this.connected.called) this.connected.errback(reason);
      return;
    }
    connection.connected = false;
    const done = reason.check(ProcessDone) !== undefined;
    const clean = done ? new Failure(new ConnectionDone()) : reason;
    watchHook(this.#protocol.connectionLost(this.#failure ?? clean), 'connectionLost', connection);
  }
}

/**
 * Starts a program, and connects a protocol to its standard input and output. The connection is lost when the process
 * has ended and its pipes are closed: with ConnectionDone if its exit code is 0, else with ProcessTerminated. A
 * half-closeable protocol hears of each end by itself. `abortConnection` kills the process; `loseConnection` closes the
 * pipes, and leaves it to the program to end.
 */
export class ProcessEndpoint implements IStreamClientEndpoint {
  readonly #reactor: IReactorProcess;
  readonly #executable: string;
  readonly #options: ProcessEndpointOptions;

  constructor(reactor: IReactorProcess, executable: string, options: ProcessEndpointOptions = {}) {
    this.#reactor = reactor;
    this.#executable = executable;
    this.#options = options;
  }

  /** Fails with SpawnError, with NoProtocol, and with what `spawnProcess` or the factory throws. */
  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> {
    const { errFlag = 'log', ...options } = this.#options;
    const failed = new Deferred<P>();
    try {
      const protocol = buildFrom(factory, new PipeAddress());
      if (protocol === null) throw new NoProtocol('the factory built no protocol');
      const conversation = new Conversation(protocol, this.#executable, errFlag);
      this.#reactor.spawnProcess(conversation, this.#executable, options);
      return conversation.connected;
    } catch (error) {
      failed.errback(new Failure(error));
      return failed;
    }
  }
}

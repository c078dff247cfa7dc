/**
 * Child processes as places to connect to: a protocol talks to a program over its standard input and output. Twisted:
 * `ProcessEndpoint` of `twisted.internet.endpoints`.
 */
import { type Address, PipeAddress } from './address.ts';
import { Deferred } from './defer.ts';
import {
  ConnectingCancelledError,
  ConnectionDone,
  ConnectionLost,
  NoProtocol,
  ProcessDone,
} from './errors.ts';
import { Failure } from './failure.ts';
import { Fifo } from './fifo.ts';
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
  SwitchProtocolOptions,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { logHookFailure } from './log-prefix.ts';
import { ProcessProtocol } from './process-protocol.ts';
import { buildFrom, isBufferingProtocol, isHalfCloseableProtocol } from './protocol.ts';
import { checkSwitch, takeOver } from './wrapping.ts';
import { INSPECT, inspected, type Inspecting } from './one-line.ts';
import { described } from './endpoint-description.ts';

const log = new Logger('plait.process');

/**
 * What becomes of what a program writes to standard error, as an `errFlag` of {@link ProcessEndpoint}: `LOG` or `DROP`.
 * The plain words do as well.
 *
 * @example
 * StandardErrorBehavior.DROP;   // 'drop'
 */
export const StandardErrorBehavior = { LOG: 'log', DROP: 'drop' } as const;

/** Options of {@link ProcessEndpoint}. */
export interface ProcessEndpointOptions extends SpawnProcessOptions {
  /** What becomes of what the program writes to standard error. Default: `log`, at level info. */
  readonly errFlag?: 'log' | 'drop';
}

/** A process, as a protocol of one connection sees it. */
class ProcessConnection implements ITransport {
  readonly #process: IProcessTransport;
  readonly #switch: ITransport['switchProtocol'];
  connected = true;
  disconnecting = false;
  paused = false;

  readonly #hookFailed: (hook: string, failure: Failure) => void;

  constructor(
    process: IProcessTransport,
    switchProtocol: ITransport['switchProtocol'],
    failed: (hook: string, failure: Failure) => void,
  ) {
    this.#process = process;
    this.#switch = switchProtocol;
    this.#hookFailed = failed;
  }

  hookFailed(hook: string, failure: Failure): void {
    this.#hookFailed(hook, failure);
  }

  switchProtocol(protocol: IProtocol, options?: SwitchProtocolOptions): void {
    this.#switch(protocol, options);
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
    try {
      if (this.#process.pid !== null) this.#process.signalProcess('KILL');
    } catch (error) {
      // It runs as another user, say. Its pipes are closed all the same.
      log.failure('{process} could not be killed', new Failure(error), 'warn', {
        process: this.#process,
      });
    }
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
    this.paused = true;
    this.#process.pauseProducing();
  }

  resumeProducing(): void {
    this.paused = false;
    this.resumed();
    this.#process.resumeProducing();
  }

  /** For whom something waits until it is resumed. */
  resumed(): void {}

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
  /** The one that has taken over, or the first. */
  #current: IProtocol;
  /** What waits for the protocol that has taken over. */
  #waiting: { readonly data: Fifo<Buffer> } | undefined;
  /** What the protocol has thrown over data. */
  #failure: Failure | undefined;
  readonly connected: Deferred<P>;

  constructor(protocol: P, executable: string, errFlag: 'log' | 'drop') {
    super();
    this.#protocol = this.#current = protocol;
    this.#executable = executable;
    this.#logs = errFlag === 'log';
    // There is an attempt to cancel only where the program cannot be started.
    this.connected = new Deferred<P>((deferred) =>
      deferred.errback(new ConnectingCancelledError(executable)),
    );
  }

  override connectionMade(): void {
    const connection = new ProcessConnection(
      this.transport,
      (next, options) => this.#switchProtocol(next, options),
      (hook, failure) => {
        logHookFailure(log, hook, failure, {
          protocol: this.#current,
          process: this.#executable,
        });
        this.#failed(failure);
        // As where it throws: the conversation has not begun.
        if (hook === 'makeConnection') this.#connection?.abortConnection();
      },
    );
    this.#connection = connection;
    const { connected } = this;
    const built = this.#protocol;
    try {
      watchHook(built.makeConnection(connection), 'makeConnection', connection);
    } catch (error) {
      this.#failure = new Failure(error);
      connection.abortConnection();
      connected.errback(this.#failure);
      return;
    }
    connected.callback(built);
  }

  #switchProtocol(next: IProtocol, { unread }: SwitchProtocolOptions = {}): void {
    checkSwitch(next, unread);
    const connection = this.#connection;
    if (connection?.connected !== true)
      throw new ConnectionLost('cannot switch the protocol: the connection is lost');
    const before: IProtocol = this.#current;
    const waiting = (this.#waiting = { data: this.#waiting?.data ?? new Fifo<Buffer>() });
    try {
      const rest = unread ?? (isBufferingProtocol(before) ? before.takeUnread() : []);
      if (rest.length > 0) waiting.data.putBack(Buffer.from(rest));
      takeOver(before, next, connection, (protocol) => (this.#current = protocol));
    } catch (error) {
      connection.hookFailed('switchProtocol', new Failure(error));
    }
    connection.resumed = () => process.nextTick(() => this.#handOver());
    connection.resumed();
  }

  /** Gives the protocol that has taken over what waits for it, unless that has paused. */
  #handOver(): void {
    const waiting = this.#waiting;
    while (waiting !== undefined && this.#waiting === waiting) {
      if (this.#connection?.paused === true) return;
      if (waiting.data.size === 0) {
        this.#waiting = undefined;
        return;
      }
      try {
        this.#deliver(waiting.data.take());
      } catch (error) {
        // No pipe delivers this: nothing above could catch it.
        this.#connection?.hookFailed('dataReceived', new Failure(error));
      }
    }
  }

  #deliver(data: Buffer): void {
    if (this.#connection?.disconnecting === true) return;
    watchHook(this.#current.dataReceived(data), 'dataReceived', this.#connection);
  }

  override outReceived(data: Buffer): void {
    if (this.#waiting !== undefined) {
      this.#waiting.data.add(data);
      return;
    }
    try {
      this.#deliver(data);
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
    if (isHalfCloseableProtocol(this.#current))
      watchHook(this.#current.writeConnectionLost(), 'writeConnectionLost', this.#connection);
  }

  override outConnectionLost(): void {
    if (this.#connection?.disconnecting === true) return;
    this.#handOver();
    if (isHalfCloseableProtocol(this.#current))
      watchHook(this.#current.readConnectionLost(), 'readConnectionLost', this.#connection);
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
    this.#handOver();
    watchHook(this.#current.connectionLost(this.#failure ?? clean), 'connectionLost', connection);
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

  /** As a description for `clientFromString`, as far as one says it all. */
  toString(): string {
    return described('process', this.#executable);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

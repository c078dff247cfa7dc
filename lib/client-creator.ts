/**
 * Connecting for one conversation, without a factory of one's own: a protocol's class, and a Deferred of its instance.
 * Endpoints and `connectProtocol` do the same for any kind of transport; this is for those who know it from Twisted:
 * `ClientCreator` of `twisted.internet.protocol`.
 */
import { checkFunction, checkMethods } from './arguments.ts';
import { Deferred } from './defer.ts';
import { Failure } from './failure.ts';
import type {
  ConnectSSLOptions,
  ConnectTCPOptions,
  ConnectUNIXOptions,
  IClientFactory,
  IConnector,
  IDelayedCall,
  IProtocol,
  IReactorSSL,
  IReactorTCP,
  IReactorTime,
  IReactorUNIX,
} from './interfaces.ts';
import { logPrefixOf } from './log-prefix.ts';
import { fail } from './maybe.ts';
import type { ITLSContextFactory } from './tls-settings.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/** Has one protocol, and tells in the next pass of the reactor how the attempt went. */
class InstanceFactory<P extends IProtocol> implements IClientFactory {
  readonly #clock: IReactorTime;
  readonly #instance: P;
  /** Set before anybody else has `connected`. */
  #connector!: IConnector;
  /** What will be told. */
  #telling: IDelayedCall | undefined;
  readonly connected: Deferred<P>;

  constructor(clock: IReactorTime, instance: P) {
    this.#clock = clock;
    this.#instance = instance;
    this.connected = new Deferred<P>(() => {
      this.#connector.disconnect();
      if (this.#telling?.active() === true) this.#telling.cancel();
    });
  }

  /** That of the protocol: this factory is none of the user's. */
  logPrefix(): string {
    return logPrefixOf(this.#instance);
  }

  startedConnecting(connector: IConnector): void {
    this.#connector = connector;
  }

  buildProtocol(): P {
    this.#tellSoon(() => this.connected.callback(this.#instance));
    return this.#instance;
  }

  clientConnectionFailed(_connector: IConnector, reason: Failure): void {
    this.#tellSoon(() => this.connected.errback(reason));
  }

  #tellSoon(tell: () => void): void {
    // What the cancelled attempt has to say, or one that was tried again, is of no interest.
    if (this.connected.called || this.#telling !== undefined) return;
    this.#telling = this.#clock.callLater(0, tell);
  }

  clientConnectionLost(): void {}
  doStart(): void {}
  doStop(): void {}
}

/**
 * Connects instances of a class of protocols. Each method fires with the instance in the pass of the reactor after its
 * `connectionMade`, or fails with what `clientConnectionFailed` is told, with a RangeError for arguments that cannot
 * be, or with CancelledError: cancelling gives the attempt up, or closes the connection.
 *
 * @example
 * new ClientCreator(new Reactor(), Protocol)
 *   .connectTCP('127.0.0.1', 7)
 *   .addCallbacks((protocol) => protocol.transport.loseConnection(), console.log);
 */
export class ClientCreator<P extends IProtocol, A extends unknown[]> {
  readonly #reactor: IReactorTime & Partial<IReactorTCP & IReactorSSL & IReactorUNIX>;
  readonly #make: () => P;

  /** @param args what each instance is constructed with */
  constructor(
    reactor: IReactorTime & Partial<IReactorTCP & IReactorSSL & IReactorUNIX>,
    protocolClass: new (...args: A) => P,
    ...args: A
  ) {
    this.#reactor = checkMethods(reactor, 'ClientCreator: reactor', 'a reactor', ['callLater']);
    checkFunction(protocolClass, 'ClientCreator: protocolClass');
    this.#make = () => new protocolClass(...args);
  }

  connectTCP(host: string, port: number | string, options?: ConnectTCPOptions): Deferred<P> {
    return this.#connect('connectTCP', (factory) =>
      this.#reactor.connectTCP?.(host, port, factory, options),
    );
  }

  /** The handshake may be going on when it fires; if that fails, it is the reason of `connectionLost`. */
  connectSSL(
    host: string,
    port: number | string,
    contextFactory: ITLSContextFactory,
    options?: ConnectSSLOptions,
  ): Deferred<P> {
    return this.#connect('connectSSL', (factory) =>
      this.#reactor.connectSSL?.(host, port, factory, contextFactory, options),
    );
  }

  connectUNIX(path: string, options?: ConnectUNIXOptions): Deferred<P> {
    return this.#connect('connectUNIX', (factory) =>
      this.#reactor.connectUNIX?.(path, factory, options),
    );
  }

  #connect(
    method: string,
    start: (factory: IClientFactory) => IConnector | undefined,
  ): Deferred<P> {
    try {
      const factory = new InstanceFactory(this.#reactor, this.#make());
      const connector = start(factory);
      if (connector === undefined) throw new TypeError(`the reactor has no ${method}`);
      factory.startedConnecting(connector);
      return factory.connected;
    } catch (error) {
      return fail(new Failure(error));
    }
  }

  toString(): string {
    return told(this, '');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

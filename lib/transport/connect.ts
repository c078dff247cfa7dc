/**
 * How outgoing connections are born: a connector, which makes one connection at a time and tells its factory how that
 * went. Twisted: `twisted.internet.base.BaseConnector`.
 */
import type { Address } from '../address.ts';
import {
  ConnectError,
  getConnectError,
  NotConnectingError,
  TimeoutError,
  UserError,
} from '../errors.ts';
import { Failure } from '../failure.ts';
import { watchHook } from '../hooks.ts';
import type {
  ConnectorState,
  IClientFactory,
  IConnector,
  IDelayedCall,
  IProtocol,
  IReactorTime,
  Seconds,
} from '../interfaces.ts';
import type { Attempt, ConnectEvents, Wire } from '../io/io.ts';
import type { OpenKind } from '../inspect.ts';
import { Logger } from '../log.ts';
import { logHookFailure } from '../log-prefix.ts';
import { buildFrom } from '../protocol.ts';
import type { Closable, Home } from './home.ts';
import { Stream } from './stream.ts';
import type { Securing } from './tls.ts';
import { INSPECT, inspected, type Inspecting } from '../one-line.ts';

const log = new Logger('plait.transport');

/** Makes connections to one destination. Made by `connectTCP` and its like. */
export class Connector implements IConnector, Closable {
  readonly #home: Home & IReactorTime;
  readonly #dial: (events: ConnectEvents) => Attempt;
  readonly #destination: Address;
  readonly #factory: IClientFactory;
  readonly #timeout: Seconds | null;
  readonly #securing: Securing | undefined;
  #state: ConnectorState = 'disconnected';
  #attempt: Attempt | undefined;
  #timer: IDelayedCall | undefined;
  #stream: Stream | undefined;
  /** `disconnect` was called while the protocol was being built. */
  #unwanted = false;
  #factoryStarted = false;
  /** This attempt was not begun, because the reactor stops. */
  #refused = false;
  /** The factory is being told so. It may ask for as many more as it likes: it has its answer. */
  #refusing = false;

  /**
   * @param dial begins an attempt
   * @param securing makes the connections TLS connections
   */
  constructor(
    home: Home & IReactorTime,
    dial: (events: ConnectEvents) => Attempt,
    destination: Address,
    factory: IClientFactory,
    timeout: Seconds | null,
    securing?: Securing,
  ) {
    this.#home = home;
    this.#dial = dial;
    this.#destination = destination;
    this.#factory = factory;
    this.#timeout = timeout;
    this.#securing = securing;
  }

  get kind(): OpenKind {
    return 'attempt';
  }

  toString(): string {
    return `<connector ${this.#state} to ${this.#destination}>`;
  }

  get state(): ConnectorState {
    return this.#state;
  }

  getDestination(): Address {
    return this.#destination;
  }

  connect(): void {
    if (this.#state !== 'disconnected')
      throw new Error(`cannot connect: the connector is ${this.#state}`);
    if (this.#refusing) return;
    if (!this.#factoryStarted) {
      watchHook(this.#factory.doStart(), 'startFactory', this);
      this.#factoryStarted = true;
    }
    this.#state = 'connecting';
    this.#home.opened(this);
    if (this.#timeout !== null)
      this.#timer = this.#home.callLater(this.#timeout, () => this.#timedOut());
    this.#attempt = this.#begin({
      connected: (wire) => {
        this.#connected(wire);
      },
      failed: (error) => {
        this.#failed(getConnectError(error, this.#destination.toString()));
      },
    });
    this.#tell('startedConnecting', () => this.#factory.startedConnecting(this));
  }

  /** What keeps an attempt from being begun is told in a later turn, like all that comes of one. */
  #begin(events: ConnectEvents): Attempt {
    const { cut } = this.#home;
    if (cut !== undefined) {
      this.#refused = true;
      return this.#failLater(cut.value, events);
    }
    try {
      return this.#dial(events);
    } catch (error) {
      return this.#failLater(new Failure(error).value, events);
    }
  }

  #failLater(error: Error, events: ConnectEvents): Attempt {
    let over = false;
    this.#home.soon(() => {
      if (!over) events.failed(error);
    });
    return {
      cancel() {
        over = true;
      },
    };
  }

  stopConnecting(): void {
    if (this.#state !== 'connecting') {
      throw new NotConnectingError(
        `cannot stop connecting to ${this.#destination}: the connector is ${this.#state}`,
      );
    }
    this.#giveUp(new UserError(`connecting to ${this.#destination} was given up`));
  }

  disconnect(): void {
    if (this.#state === 'connecting') this.stopConnecting();
    else if (this.#state !== 'connected') return;
    else if (this.#stream === undefined) this.#unwanted = true;
    else this.#stream.loseConnection();
  }

  /** The reactor stops. */
  connectionLost(reason: Failure): void {
    this.#giveUp(reason.value);
  }

  #timedOut(): void {
    this.#giveUp(
      new TimeoutError(
        `cannot connect to ${this.#destination}: no connection after ${this.#timeout} seconds`,
      ),
    );
  }

  #giveUp(error: Error): void {
    this.#attempt?.cancel();
    this.#failed(error);
  }

  #failed(error: Error): void {
    this.#attemptEnded();
    this.#state = 'disconnected';
    this.#refusing = this.#refused;
    this.#refused = false;
    this.#tell('clientConnectionFailed', () =>
      this.#factory.clientConnectionFailed(this, new Failure(error)),
    );
    this.#refusing = false;
    this.#stopUnlessConnecting();
  }

  #attemptEnded(): void {
    if (this.#timer?.active() === true) this.#timer.cancel();
    this.#timer = this.#attempt = undefined;
    this.#home.closed(this);
  }

  #connected(wire: Wire): void {
    this.#attemptEnded();
    this.#state = 'connected';
    this.#unwanted = false;
    let protocol: IProtocol | null;
    try {
      protocol = buildFrom(this.#factory, wire.peer);
    } catch (error) {
      this.#logFailure('buildProtocol', new Failure(error), wire.peer);
      wire.destroy();
      this.#failed(
        new ConnectError(`connected to ${this.#destination}, but no protocol could be built`, {
          cause: error,
        }),
      );
      return;
    }
    const stream = new Stream(this.#home, wire, (reason) => this.#lost(reason), 'client');
    this.#stream = stream;
    if (protocol === null) stream.refuse();
    else stream.begin(protocol, this.#securing);
    if (this.#unwanted as boolean) stream.loseConnection();
  }

  #lost(reason: Failure): void {
    this.#stream = undefined;
    this.#state = 'disconnected';
    this.#tell('clientConnectionLost', () => this.#factory.clientConnectionLost(this, reason));
    this.#stopUnlessConnecting();
  }

  /** The factory is done with, unless it has asked for another connection. */
  #stopUnlessConnecting(): void {
    if (this.#state !== 'disconnected' || !this.#factoryStarted) return;
    this.#factoryStarted = false;
    this.#tell('stopFactory', () => this.#factory.doStop());
  }

  /** @internal A hook of the factory's has failed after it returned. */
  hookFailed(hook: string, failure: Failure): void {
    this.#logFailure(hook, failure);
  }

  #logFailure(hook: string, failure: Failure, peer?: Address): void {
    const where = { factory: this.#factory, destination: this.#destination };
    logHookFailure(log, hook, failure, peer === undefined ? where : { ...where, peer });
  }

  #tell(hook: string, call: () => unknown): void {
    try {
      watchHook(call(), hook, this);
    } catch (error) {
      this.#logFailure(hook, new Failure(error));
    }
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

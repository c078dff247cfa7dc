/**
 * What users subclass: protocols, which hold one conversation, and factories, which build them. Start reading plait
 * here. Twisted: `twisted.internet.protocol`.
 */
import type { Address } from './address.ts';
import { checkFunction, checkMethods } from './arguments.ts';
import type { Failure } from './failure.ts';
import { isPending, watchHook } from './hooks.ts';
import type {
  HookResult,
  IBufferingProtocol,
  IClientFactory,
  IConnector,
  IDrainableProtocol,
  IHalfCloseableProtocol,
  IHandshakeListener,
  IProtocol,
  IProtocolFactory,
  IReplaceableProtocol,
  ITransport,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { logPrefixOf } from './log-prefix.ts';
import { count, INSPECT, inspectedWithFields, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.protocol');

/**
 * One conversation over one connection. Override the hooks; each does nothing by itself.
 *
 * @example
 * class Shout extends Protocol {
 *   override dataReceived(data: Buffer) {
 *     this.transport.write(data.toString().toUpperCase());
 *   }
 * }
 */
export class Protocol implements IProtocol {
  /** The connection; set before `connectionMade`. It stays when the connection is lost, and then ignores writes. */
  declare transport: ITransport;
  /** The factory that built this protocol, if one did. */
  declare factory: IProtocolFactory;
  /** True once the connection has been made. Whether it still lives, the transport knows. */
  connected = false;

  /** Called by the transport, once. */
  makeConnection(transport: ITransport): HookResult {
    this.connected = true;
    this.transport = transport;
    watchHook(this.connectionMade(), 'makeConnection', transport);
  }

  /** The connection is there: greet, if this side speaks first. */
  connectionMade(): HookResult {}

  /** Bytes have arrived, cut anywhere. The buffer is the protocol's to keep. */
  dataReceived(data: Buffer): HookResult {}

  /**
   * The connection is gone. Called once, and last.
   *
   * @param reason ConnectionDone if it was closed in order; ConnectionLost, ConnectionAborted or an error thrown by
   *   this protocol if not
   */
  connectionLost(reason: Failure): HookResult {}

  /** What stands for this protocol in the log. */
  logPrefix(): string {
    return this.constructor.name;
  }

  toString(): string {
    return told(this, connectionOf(this));
  }

  [INSPECT](...how: Inspecting): string {
    return inspectedWithFields(this, ['connected', 'transport', 'factory'], ...how);
  }
}

/** Whether a protocol has a connection, and which. */
function connectionOf(protocol: Protocol): string {
  const { transport } = protocol as { transport?: ITransport };
  if (transport === undefined) return 'not connected';
  return `${transport.connected ? 'connected to' : 'lost'} ${transport.getPeer()}`;
}

/** True if `protocol` outlives the end of one direction, because it has both hooks of IHalfCloseableProtocol. */
export function isHalfCloseableProtocol(protocol: object): protocol is IHalfCloseableProtocol {
  const { readConnectionLost, writeConnectionLost } = protocol as Partial<IHalfCloseableProtocol>;
  return typeof readConnectionLost === 'function' && typeof writeConnectionLost === 'function';
}

/** True if `protocol` has the hook of IDrainableProtocol. */
export function isDrainableProtocol(protocol: object): protocol is IDrainableProtocol {
  return typeof (protocol as Partial<IDrainableProtocol>).connectionDraining === 'function';
}

/** True if `protocol` wants to know when a TLS handshake is done. */
export function isHandshakeListener(protocol: object): protocol is IHandshakeListener {
  return typeof (protocol as Partial<IHandshakeListener>).handshakeCompleted === 'function';
}

/** True if `protocol` keeps bytes that it was given and has not dealt with, and can give them back. */
export function isBufferingProtocol(
  protocol: object | undefined,
): protocol is object & IBufferingProtocol {
  return typeof (protocol as Partial<IBufferingProtocol> | undefined)?.takeUnread === 'function';
}

/**
 * Asks `factory` for a protocol, for a factory that wraps another one, or whatever else takes connections: null if the
 * connection is refused.
 *
 * @throws what `buildProtocol` throws; TypeError if it returns a promise or a generator, which is no protocol
 */
export function buildFrom<P extends IProtocol>(
  factory: Pick<IProtocolFactory<P>, 'buildProtocol'>,
  address: Address,
): P | null {
  checkMethods(factory, 'buildFrom: factory', 'a Factory, or an object', ['buildProtocol']);
  const built: unknown = factory.buildProtocol(address);
  // A function that returns nothing refuses too, as in Python.
  if (built === null || built === undefined) return null;
  if (typeof built === 'object' && !isPending(built)) return built as P;
  const what =
    typeof built === 'object'
      ? 'a promise or a generator, which is no protocol: it cannot be waited for'
      : `a ${typeof built}, which is no protocol`;
  throw new TypeError(`${factory.constructor.name}.buildProtocol returned ${what}`);
}

/** True if `protocol` wants to know when another one takes over its connection. */
export function isReplaceableProtocol(protocol: object): protocol is IReplaceableProtocol {
  return typeof (protocol as Partial<IReplaceableProtocol>).protocolReplaced === 'function';
}

/** A class of protocols that is constructed without arguments. */
export type ProtocolClass<P extends IProtocol> = new () => P;

/** A factory of the class `F` that builds `P`. */
export type FactoryOf<F extends Factory, P extends IProtocol> = Factory extends F
  ? Factory<P>
  : F & Factory<P>;

/** Builds a protocol for each connection, and keeps what they share. */
export class Factory<P extends IProtocol = IProtocol> implements IProtocolFactory {
  /** The class that `buildProtocol` makes an instance of. Give it, or override `buildProtocol`. */
  protocol?: ProtocolClass<P>;
  /** How many ports (or connectors) use this factory. */
  numPorts = 0;
  /** True to have its start and stop logged. */
  noisy = true;

  /**
   * A factory of this class that builds `protocol`, which needs no arguments. For one that does, override
   * `buildProtocol`.
   */
  static forProtocol<P extends IProtocol, F extends Factory>(
    this: new () => F,
    protocol: ProtocolClass<P>,
  ): FactoryOf<F, P> {
    checkFunction(protocol, 'Factory.forProtocol: protocol');
    const factory = new this();
    factory.protocol = protocol;
    return factory as never;
  }

  /** A protocol for the connection with `address`, or null to refuse it. */
  buildProtocol(address: Address): P | null {
    if (this.protocol === undefined) {
      throw new TypeError(
        `${this.constructor.name} has no protocol: set it, or override buildProtocol`,
      );
    }
    const protocol = new this.protocol();
    (protocol as { factory?: IProtocolFactory }).factory = this;
    return protocol;
  }

  /** What stands for this factory in the log. */
  logPrefix(): string {
    return this.constructor.name;
  }

  /** The first port has begun to use this factory. */
  startFactory(): HookResult {}

  /** The last port has stopped to use this factory. */
  stopFactory(): HookResult {}

  /** Called by each port; calls `startFactory` the first time, and returns what that does. */
  doStart(): HookResult {
    let started: HookResult = undefined;
    if (this.numPorts === 0) {
      if (this.noisy) log.debug('starting factory {factory}', { factory: logPrefixOf(this) });
      started = this.startFactory();
    }
    this.numPorts++;
    return started;
  }

  /** Called by each port; calls `stopFactory` the last time, and returns what that does. */
  doStop(): HookResult {
    if (this.numPorts === 0) return undefined;
    this.numPorts--;
    if (this.numPorts > 0) return undefined;
    if (this.noisy) log.debug('stopping factory {factory}', { factory: logPrefixOf(this) });
    return this.stopFactory();
  }

  toString(): string {
    return told(
      this,
      `${this.protocol === undefined ? '' : `of ${this.protocol.name}, `}${count(this.numPorts, 'port')}`,
    );
  }

  [INSPECT](...how: Inspecting): string {
    return inspectedWithFields(this, ['protocol', 'numPorts', 'noisy'], ...how);
  }
}

/** A factory for listening ports. The name is kept for readers who come from Twisted. */
export class ServerFactory<P extends IProtocol = IProtocol> extends Factory<P> {}

/** A factory for outgoing connections, which hears how they fare. Override the hooks; each does nothing by itself. */
export class ClientFactory<P extends IProtocol = IProtocol>
  extends Factory<P>
  implements IClientFactory
{
  /** An attempt begins. `connector.stopConnecting()` gives it up. */
  startedConnecting(connector: IConnector): HookResult {}

  /** No connection came about. `connector.connect()` tries again. */
  clientConnectionFailed(connector: IConnector, reason: Failure): HookResult {}

  /** The connection is gone. `connector.connect()` makes another. */
  clientConnectionLost(connector: IConnector, reason: Failure): HookResult {}
}

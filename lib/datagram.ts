/**
 * What users subclass to speak in datagrams: protocols that are told of each one that arrives, and send others by
 * their transport. There is no factory and no connection: one protocol serves all peers that write to its port.
 * Streams are in `protocol`. Twisted: `DatagramProtocol` and its kin in `twisted.internet.protocol`.
 */
import type { Failure } from './failure.ts';
import { watchHook } from './hooks.ts';
import type {
  DatagramSource,
  HookOwner,
  HookResult,
  IDatagramProtocol,
  IUDPTransport,
} from './interfaces.ts';
import { Logger } from './log.ts';
import { logPrefixOf } from './log-prefix.ts';
import { count, INSPECT, inspectedWithFields, type Inspecting, told } from './one-line.ts';

const log = new Logger('plait.protocol');

/** What starts and stops with the ports that use it. Override the hooks; each does nothing by itself. */
export class AbstractDatagramProtocol {
  /** How many ports use this protocol. */
  numPorts = 0;
  /** True to have its start and stop logged. */
  noisy = true;

  /** The first port is bound, and the transport can be used. What it throws ends the port. */
  startProtocol(): HookResult {}

  /** The last port is closed. Nothing is delivered after it, and nothing can be sent. */
  stopProtocol(): HookResult {}

  /**
   * A datagram has arrived, whole, unless it was longer than the port's `maxPacketSize`. Its bytes are the protocol's
   * to keep. It may be empty. What this throws is logged, and the port lives on.
   *
   * @param from the sender by its own account: nothing keeps it from giving the address of another
   */
  datagramReceived(data: Buffer, from: DatagramSource): HookResult {}

  /** Called by each port; calls `startProtocol` the first time. */
  doStart(): HookResult {
    if (this.numPorts === 0) {
      if (this.noisy) log.debug('starting {protocol}', { protocol: logPrefixOf(this) });
      watchHook(this.startProtocol(), 'startProtocol', this.#owner());
    }
    this.numPorts++;
  }

  /** Called by each port; calls `stopProtocol` the last time, and returns what that does. */
  doStop(): HookResult {
    if (this.numPorts === 0) return undefined;
    this.numPorts--;
    if (this.numPorts > 0) return undefined;
    if (this.noisy) log.debug('stopping {protocol}', { protocol: logPrefixOf(this) });
    return this.stopProtocol();
  }

  /** Its port, where a subclass has one. */
  #owner(): HookOwner | undefined {
    return (this as { readonly transport?: HookOwner }).transport;
  }

  toString(): string {
    return told(this, `on ${count(this.numPorts, 'port')}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspectedWithFields(this, ['transport', 'numPorts', 'noisy'], ...how);
  }
}

/**
 * What a port delivers its datagrams to.
 *
 * @example
 * class Shout extends DatagramProtocol {
 *   override datagramReceived(data: Buffer, from: DatagramSource) {
 *     this.transport.write(data.toString().toUpperCase(), from);
 *   }
 * }
 */
export class DatagramProtocol extends AbstractDatagramProtocol implements IDatagramProtocol {
  /** The port; set before `startProtocol`. It stays when the port is closed, and then ignores writes. */
  declare transport: IUDPTransport;

  /**
   * Something could not be sent or received; the port lives on. Without this hook it is logged, as a warning and not
   * too often. Twisted throws from `write` instead; asyncio's name is `error_received`.
   *
   * @param reason MessageLengthError, NoRouteError, LimitExceeded when too much waits to be sent, or a PlaitError with
   *   the system's `code`
   */
  errorReceived?(reason: Failure): HookResult;

  /**
   * Called by the port when it is bound.
   *
   * @throws Error if another port uses this protocol: its `transport` is one
   */
  makeConnection(transport: IUDPTransport): HookResult {
    if (this.numPorts > 0) {
      throw new Error(`cannot use ${this.constructor.name} on a second port at the same time`);
    }
    this.transport = transport;
    this.doStart();
  }

  /** The port is connected, and the other side has said that nothing listens there. */
  connectionRefused(): HookResult {}

  /** What stands for this protocol in the log. */
  logPrefix(): string {
    return this.constructor.name;
  }
}

/** A protocol whose port calls `connect`, and which then hears of that address alone. */
export class ConnectedDatagramProtocol extends DatagramProtocol {
  /** Connecting failed. The port is open still, and not connected. */
  connectionFailed(reason: Failure): HookResult {}
}

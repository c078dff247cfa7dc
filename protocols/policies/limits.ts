/**
 * Refusing connections when there are enough: in all, or from one host. Twisted: `LimitTotalConnectionsFactory` and
 * `LimitConnectionsByPeer` of `twisted.protocols.policies`.
 *
 * A connection counts from `makeConnection` until `connectionLost`, which always comes, so that no count is ever lost.
 */
import { type Address, Factory, type IProtocol, type IProtocolFactory, Logger } from 'plait';
import { type ProtocolWrapper, WrappingFactory } from './wrapping.ts';

const log = new Logger('plait.protocols.policies');

/** A limit on how many there may be: a whole number from 0, or Infinity. */
export function checkLimit(limit: number, name: string): number {
  if (limit === Infinity || (Number.isInteger(limit) && limit >= 0)) return limit;
  throw new RangeError(`${name} must be a whole number from 0, or Infinity, not ${limit}`);
}

/** Options of {@link LimitTotalConnectionsFactory}. */
export interface LimitTotalConnectionsOptions {
  /** How many connections there may be. Default: any number. */
  readonly connectionLimit?: number;
  /**
   * Builds the protocol for one that is too many: to say so, and hang up. Default: such a connection is refused.
   * At most as many of these live at a time as `connectionLimit` says; more are refused.
   */
  readonly overflowProtocol?: () => IProtocol;
}

/** Refuses connections beyond a number. Twisted: `LimitTotalConnectionsFactory`, which wraps no factory but is one. */
export class LimitTotalConnectionsFactory extends WrappingFactory {
  readonly #connectionLimit: number;
  readonly #overflow: WrappingFactory;

  /** @throws RangeError for a limit that is no whole number */
  constructor(wrappedFactory: IProtocolFactory, options: LimitTotalConnectionsOptions = {}) {
    super(wrappedFactory);
    const { connectionLimit = Infinity, overflowProtocol } = options;
    this.#connectionLimit = checkLimit(connectionLimit, 'connectionLimit');
    const overflow = new Factory();
    overflow.buildProtocol = () => overflowProtocol?.() ?? null;
    this.#overflow = new WrappingFactory(overflow);
  }

  /** How many connections there are; those that are too many do not count. */
  get connectionCount(): number {
    return this.protocols.size;
  }

  override buildProtocol(address: Address): ProtocolWrapper | null {
    if (this.protocols.size < this.#connectionLimit) return super.buildProtocol(address);
    log.info('{peer} is one too many: {count} are connected', {
      peer: address,
      count: this.protocols.size,
    });
    if (this.#overflow.protocols.size >= this.#connectionLimit) return null;
    return this.#overflow.buildProtocol(address);
  }

  override disconnectAllConnections(): void {
    super.disconnectAllConnections();
    this.#overflow.disconnectAllConnections();
  }
}

/** Options of {@link LimitConnectionsByPeer}. */
export interface LimitConnectionsByPeerOptions {
  /** How many connections there may be from one host. */
  readonly maxConnectionsPerPeer: number;
}

/**
 * Refuses connections of a host that has enough of them. All clients of a UNIX socket count as one host. Twisted:
 * `LimitConnectionsByPeer`.
 */
export class LimitConnectionsByPeer extends WrappingFactory {
  readonly #limit: number;
  readonly #hosts = new WeakMap<ProtocolWrapper, string>();
  /** How many there are from each host that has any. */
  readonly #counts = new Map<string, number>();

  /** @throws RangeError for a limit that is no whole number */
  constructor(wrappedFactory: IProtocolFactory, options: LimitConnectionsByPeerOptions) {
    super(wrappedFactory);
    this.#limit = checkLimit(options.maxConnectionsPerPeer, 'maxConnectionsPerPeer');
  }

  override buildProtocol(address: Address): ProtocolWrapper | null {
    const count = this.#counts.get(hostOf(address)) ?? 0;
    if (count < this.#limit) return super.buildProtocol(address);
    log.info('{peer} is one too many: {count} are connected from there', { peer: address, count });
    return null;
  }

  override wrap(protocol: IProtocol, address: Address): ProtocolWrapper {
    const wrapper = super.wrap(protocol, address);
    this.#hosts.set(wrapper, hostOf(address));
    return wrapper;
  }

  override registerProtocol(wrapper: ProtocolWrapper): void {
    if (!this.protocols.has(wrapper)) this.#count(wrapper, 1);
    super.registerProtocol(wrapper);
  }

  override unregisterProtocol(wrapper: ProtocolWrapper): void {
    if (this.protocols.has(wrapper)) this.#count(wrapper, -1);
    super.unregisterProtocol(wrapper);
  }

  #count(wrapper: ProtocolWrapper, change: 1 | -1): void {
    const host = this.#hosts.get(wrapper) ?? '';
    const count = (this.#counts.get(host) ?? 0) + change;
    if (count === 0) this.#counts.delete(host);
    else this.#counts.set(host, count);
  }
}

/** The host of an address, whatever its port; an IPv4 host has one name on a port for both families, too. */
function hostOf(address: Address): string {
  if ('host' in address) return address.host.replace(/^::ffff:(?=\d+\.)/i, '');
  return 'hostname' in address ? address.hostname : '';
}

/** The contracts about looking up names, types only. */
import type { AddressType, IPv4Address, IPv6Address } from '../address.ts';
import type { Deferred } from '../defer.ts';
import type { Seconds } from './time.ts';

/** The classes of the addresses that a name may be resolved to. */
export type ResolvedAddressClass = typeof IPv4Address | typeof IPv6Address;

/** The resolution of a name, while it goes on. */
export interface IHostResolution {
  /** The name that is resolved. */
  readonly name: string;
  /** Calls it off: the receiver hears nothing more. Does nothing once it is complete. */
  cancel(): void;
}

/** Hears of the addresses of a name, as they become known. */
export interface IResolutionReceiver {
  /** Called first, once. */
  resolutionBegan(resolution: IHostResolution): void;
  /** Called for each address, the preferred ones first. */
  addressResolved(address: IPv4Address | IPv6Address): void;
  /**
   * Called last, once. A name that has no address is no error to Twisted's resolvers; here they may say why it has
   * none.
   */
  resolutionComplete(error?: Error): void;
}

/** Resolves names to any number of addresses. */
export interface IHostnameResolver {
  /**
   * Looks up the addresses of `hostName`, and tells `receiver`. A literal resolves to itself.
   *
   * @param portNumber the port that the addresses are given. Default: 0
   * @param addressTypes only addresses of these classes. Default: both
   * @param transportSemantics what the addresses are for. Default: TCP
   * @throws RangeError for what cannot be a host name
   */
  resolveHostName(
    receiver: IResolutionReceiver,
    hostName: string,
    portNumber?: number,
    addressTypes?: readonly ResolvedAddressClass[],
    transportSemantics?: AddressType,
  ): IHostResolution;
}

/** Resolves a name to one address. */
export interface IResolverSimple {
  /**
   * Fires with an IP literal; fails with DNSLookupError.
   *
   * @param timeout how many seconds to wait for each attempt; their sum bounds the whole
   */
  getHostByName(name: string, timeout?: readonly Seconds[]): Deferred<string>;
}

/** A reactor whose resolver can be replaced. */
export interface IReactorPluggableNameResolver {
  /** What the reactor resolves names with. */
  readonly nameResolver: IHostnameResolver;
  /** Resolves names with `resolver` from now on; returns the former one. */
  installNameResolver(resolver: IHostnameResolver): IHostnameResolver;
}

/** A reactor whose resolver can be replaced by one that gives a single address. */
export interface IReactorPluggableResolver {
  /** Resolves names with `resolver` from now on; returns the former one. */
  installResolver(resolver: IResolverSimple): IResolverSimple;
}

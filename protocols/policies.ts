/**
 * The door `plait/protocols/policies`: what a program demands of its connections whatever they talk about. A silent one
 * is closed, a fast one is slowed down, too many are refused, and all can be listened in on. All but the mixin are
 * factories around another factory, for ports and connectors, and may be put around one another; none of them reads a
 * byte of what is said. It holds no code. Twisted: `twisted.protocols.policies`.
 */
export {
  LimitConnectionsByPeer,
  type LimitConnectionsByPeerOptions,
  LimitTotalConnectionsFactory,
  type LimitTotalConnectionsOptions,
} from './policies/limits.ts';
export { ThrottlingFactory, type ThrottlingOptions } from './policies/throttling.ts';
export {
  type ProtocolBase,
  type Timeout,
  type TimeoutClass,
  TimeoutFactory,
  type TimeoutFactoryOptions,
  TimeoutMixin,
  TimeoutProtocol,
} from './policies/timeout.ts';
export { SpewingFactory, TrafficLoggingFactory } from './policies/traffic.ts';
export { ProtocolWrapper, WrappingFactory } from './policies/wrapping.ts';

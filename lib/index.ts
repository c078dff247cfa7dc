/**
 * plait: Twisted for TypeScript. This is the front door; it holds no code.
 *
 * The map, from the bottom up (a file imports only from its own floor or lower ones):
 *
 * - `errors`, `failure`: what can go wrong, and an error that travels as a value.
 * - `address`, `bytes`, `log`, `interfaces`: addresses, received bytes, log events, and every contract.
 * - `defer`: Deferred, a value that is not there yet; `chain` is what it is made of, `maybe` makes one of what is there
 *   already, `unhandled` reports failures that nobody took. `time` is the queue of calls to be made later.
 * - `inline`, `gather`: coroutines, and several Deferreds at once. `locks`, `events`, `queues`: waiting for one another
 *   (`waiters` is the line in which they wait). `protocol`: what users subclass.
 * - `io/`: the bodies, which alone touch the operating system, below one seam. `transport/`: how a connection lives,
 *   and how it is born.
 * - `reactor`, `reactor-base`: the object through which a program asks for all of it.
 * - `endpoints`, `endpoint-strings`, `task`, `cooperate`, `scope`, `run`: places to listen and connect, calls in the
 *   future, work in small pieces, work that ends together, whole programs.
 * - `service`, `client-service`, `reconnecting`: parts of a program that are started and stopped, clients that connect
 *   again.
 *
 * Test doubles are in `plait/testing`, protocols in `plait/protocols/*`.
 */
export {
  type Address,
  type AddressType,
  HostnameAddress,
  IPv4Address,
  IPv6Address,
  isIPAddress,
  PipeAddress,
  UNIXAddress,
} from './address.ts';
export { exactly, line, type Parse, ReceiveBuffer, until } from './bytes.ts';
export { getKeepContext, setKeepContext } from './chain.ts';
export {
  type Canceller,
  Deferred,
  type DeferredState,
  getDebugging,
  setDebugging,
  type Settled,
} from './defer.ts';
export {
  backoffPolicy,
  type BackoffOptions,
  ClientService,
  type ClientServiceOptions,
  type RetryPolicy,
  type WhenConnectedOptions,
} from './client-service.ts';
export {
  coiterate,
  cooperate,
  CooperativeTask,
  Cooperator,
  type CooperatorOptions,
} from './cooperate.ts';
export { clientFromString, quoteStringArgument, serverFromString } from './endpoint-strings.ts';
export {
  connectProtocol,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TCP6ClientEndpoint,
  TCP6ServerEndpoint,
  type TCPClientOptions,
  type TCPServerOptions,
  UNIXClientEndpoint,
  UNIXServerEndpoint,
  type UNIXServerOptions,
} from './endpoints.ts';
export * from './errors.ts';
export {
  AsyncResult,
  DeferredBarrier,
  DeferredCondition,
  DeferredEvent,
  shield,
} from './events.ts';
export { type ErrorClass, type ErrorPattern, Failure, type MatchedError } from './failure.ts';
export { DeferredFilesystemLock } from './filesystem-lock.ts';
export {
  asCompleted,
  DeferredList,
  type DeferredListOptions,
  type DeferredListValue,
  type GatherOptions,
  gatherResults,
  type Outcome,
  type Outcomes,
  race,
  type Values,
  wait,
  type Waited,
  type WaitOptions,
  type WaitUntil,
} from './gather.ts';
export { type Coroutine, ensureDeferred, inlineCallbacks, withSignal } from './inline.ts';
export type * from './interfaces.ts';
export {
  eventAsText,
  formatEvent,
  globalLogPublisher,
  type LogEvent,
  type LogFields,
  Logger,
  type LogLevel,
  LOG_LEVELS,
  type LogObserver,
  LogPublisher,
  stderrObserver,
} from './log.ts';
export {
  ClientFactory,
  Factory,
  type FactoryOf,
  isHalfCloseableProtocol,
  Protocol,
  type ProtocolClass,
  ServerFactory,
} from './protocol.ts';
export { DeferredLock, DeferredSemaphore } from './locks.ts';
export { execute, fail, logError, maybeDeferred, passthru, succeed } from './maybe.ts';
export { reactor, Reactor } from './reactor.ts';
export type { ReactorEvents } from './reactor-base.ts';
export { ReconnectingClientFactory } from './reconnecting.ts';
export { react, type ReactOptions } from './run.ts';
export {
  DeferredQueue,
  LifoQueue,
  PriorityQueue,
  type QueueOptions,
  type QueueStore,
} from './queues.ts';
export { Scope, scope, type ScopeOptions } from './scope.ts';
export { MultiService, Service, StreamServerEndpointService, TimerService } from './service.ts';
export { deferLater, LoopingCall } from './task.ts';
export { CallQueue, DelayedCall } from './time.ts';
export {
  observeUnhandledFailures,
  reportUnhandledFailures,
  setUnhandledFailureHook,
  type UnhandledFailure,
  type UnhandledFailureHook,
  unhandledFailures,
} from './unhandled.ts';

/**
 * plait: Twisted for TypeScript. This is the front door; it holds no code.
 *
 * The map, from the bottom up (a file imports only from its own floor or lower ones):
 *
 * - `errors`, `failure`: what can go wrong, and an error that travels as a value.
 * - `arguments`: checks of what functions are given.
 * - `address`, `bytes`, `log`, `interfaces`: addresses, received bytes, log events, and every contract.
 * - `defer`: Deferred, a value that is not there yet; `chain` is what it is made of, `maybe` makes one of what is there
 *   already, `unhandled` reports failures that nobody took. `time` is the queue of calls to be made later.
 * - `inline`, `gather`: coroutines, and several Deferreds at once. `locks`, `events`, `queues`: waiting for one another
 *   (`waiters` is the line in which they wait). `protocol`, `datagram`: what users subclass.
 * - `ssl`: who we are and whom we trust, over TLS; it is made of `certificates`, `trust`, `ciphers`, and of `verify-peer`,
 *   which compares the `certificate-names` (read by `der`) with the `host-identity`. `server-names`: several at once.
 *   `private-certificates` makes certificates and keys: `private-keys` reads keys, `certificate-signing` writes what is
 *   signed, by `der-writer`.
 * - `io/`: the bodies, which alone touch the operating system, below one seam. `transport/`: how a connection lives,
 *   and how it is born.
 * - `reactor`, `reactor-base`: the object through which a program asks for all of it.
 * - `endpoints`, `hostname-endpoint`, `tls-endpoints` (over `tls-wrapper`), `process-endpoints`, `stdio`: places to
 *   listen and to connect. `endpoint-strings` makes them of text, with `endpoint-description`, `endpoint-plugins`,
 *   `endpoint-credentials` and `systemd`. `resolver`: names to addresses. `client-creator`: a connection without a factory.
 * - `task`, `cooperate`, `scope`, `run`: calls in the future, work in small pieces, work that ends together, whole
 *   programs. `process-protocol`, `process-output`: other programs (`which`: where they are).
 * - `inspect`, `pending`: what has not happened yet, and where it was asked for.
 * - `threads`: work in other threads; `threads/` is what it is made of. `signals`, `slow-callbacks`: what a program does on
 *   signals, and which of its functions take long.
 * - `service`, `client-service`, `reactor-services`, `reconnecting`: parts of a program that are started and stopped, clients that connect
 *   again.
 * - `streams`, `web-streams`, `connection`: connections as streams, and to be awaited (`write-gate` makes their writers
 *   wait). `file-sender`, `pcp`: producers.
 * - `logging`, `log-files`, `log-json`, `log-bridges`: where log events go.
 *
 * Test doubles are in `plait/testing`, protocols in `plait/protocols/*`.
 */

/// <reference types="node" preserve="true" />

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
export {
  type ArgumentError,
  checkArray,
  checkBoolean,
  checkBytes,
  checkBytesOrString,
  checkClientEndpoint,
  checkClientFactory,
  checkClock,
  checkConsumer,
  checkFactory,
  checkFunction,
  checkInstance,
  checkIterable,
  checkLimit,
  checkMethods,
  checkNumber,
  checkOneOf,
  checkOptions,
  checkProtocol,
  checkSeconds,
  checkServerEndpoint,
  checkSignal,
  checkString,
  checkTimeLimit,
  checkTransport,
  checkWhole,
  optional,
  shownArgument,
  wrongKind,
  wrongType,
  wrongValue,
} from './arguments.ts';
export {
  asciiLowerCase,
  asciiUpperCase,
  exactly,
  isDetached,
  line,
  type Parse,
  ReceiveBuffer,
  unpinned,
  until,
} from './bytes.ts';
export type { DigestAlgorithm, SigningOptions } from './certificate-signing.ts';
export {
  Certificate,
  DistinguishedName,
  DistinguishedName as DN,
  type NameAttributes,
  PublicKey,
} from './certificates.ts';
export { getKeepContext, setKeepContext } from './chain.ts';
export {
  AcceptableCiphers,
  DiffieHellmanParameters,
  TLSVersion,
  type VersionOptions,
} from './ciphers.ts';
export { type Canceller, Deferred, type DeferredState, type Settled } from './defer.ts';
export { ClientCreator } from './client-creator.ts';
export {
  backoffPolicy,
  type BackoffOptions,
  ClientService,
  type ClientServiceOptions,
  type RetryPolicy,
  type WhenConnectedOptions,
} from './client-service.ts';
export {
  AbstractDatagramProtocol,
  ConnectedDatagramProtocol,
  DatagramProtocol,
} from './datagram.ts';
export { Connection } from './connection.ts';
export {
  coiterate,
  cooperate,
  CooperativeTask,
  Cooperator,
  type CooperateOptions,
  type CooperatorOptions,
} from './cooperate.ts';
export { type EndpointArguments, quoteStringArgument } from './endpoint-description.ts';
export type {
  ClientEndpointReactor,
  IStreamClientEndpointStringParser,
  IStreamServerEndpointStringParser,
  ServerEndpointReactor,
} from './endpoint-plugins.ts';
export { serviceFromString, StreamServerEndpointService, strports } from './endpoint-service.ts';
export {
  clientFromString,
  registerClientEndpointParser,
  registerServerEndpointParser,
  serverFromString,
} from './endpoint-strings.ts';
export {
  AdoptedStreamServerEndpoint,
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
export { keepErrorNames } from './error-names.ts';
export * from './errors.ts';
export {
  AsyncResult,
  DeferredBarrier,
  DeferredCondition,
  DeferredEvent,
  shield,
} from './events.ts';
export {
  FileSender,
  type FileSenderOptions,
  type FileSource,
  type FileTransform,
  type ReadableFile,
} from './file-sender.ts';
export { type ErrorClass, type ErrorPattern, Failure, type MatchedError } from './failure.ts';
export { DeferredFilesystemLock } from './filesystem-lock.ts';
export { FilesystemLock } from './lockfile.ts';
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
export { hookFailed, watchHook } from './hooks.ts';
export {
  HostnameEndpoint,
  type HostnameEndpointOptions,
  type HostnameEndpointReactor,
} from './hostname-endpoint.ts';
export { type Coroutine, ensureDeferred, inlineCallbacks, withSignal } from './inline.ts';
export type { Inspection, OpenKind, PendingCall } from './inspect.ts';
export type * from './interfaces.ts';
export { getDebugging, type PendingDeferred, pendingDeferreds, setDebugging } from './pending.ts';
export {
  eventAsText,
  formatEvent,
  globalLogPublisher,
  type ILogObserver,
  LimitedHistoryLogObserver,
  type LogEvent,
  type LogFields,
  Logger,
  type LogLevel,
  LOG_LEVELS,
  type LogObserver,
  LogPublisher,
  type Operation,
  stderrObserver,
} from './log.ts';
export { logPrefixOf } from './log-prefix.ts';
export {
  consoleObserver,
  debuglogObserver,
  diagnosticsChannelObserver,
  type ForeignLogger,
  loggerObserver,
  type LoggerObserverOptions,
  redirectConsole,
} from './log-bridges.ts';
export {
  type EventFormatter,
  FileLogObserver,
  type FileLogOptions,
  jsonFileLogObserver,
  textFileLogObserver,
} from './log-files.ts';
export { eventAsJSON, eventFromJSON, eventsFromJSONLogFile } from './log-json.ts';
export {
  type BeginLoggingOptions,
  capturedLogs,
  type CapturedLogs,
  FilteringLogObserver,
  globalLogBeginner,
  type ILogPredicate,
  type LogBeginner,
  LogLevelFilterPredicate,
  type LogPredicate,
  type PredicateResult,
} from './logging.ts';
export {
  BasicProducerConsumerProxy,
  ConsumerToProtocolAdapter,
  ProducerConsumerProxy,
  ProtocolToConsumerAdapter,
} from './pcp.ts';
export {
  CertificateRequest,
  type DistinguishedNameVerifier,
  KeyPair,
  PrivateCertificate,
} from './private-certificates.ts';
export {
  ProcessEndpoint,
  type ProcessEndpointOptions,
  StandardErrorBehavior,
} from './process-endpoints.ts';
export {
  getProcessOutput,
  getProcessOutputAndValue,
  getProcessValue,
  type ProcessOutputAndValue,
  type ProcessOutputAndValueOptions,
  type ProcessOutputOptions,
  type RunProcessOptions,
} from './process-output.ts';
export { ProcessProtocol } from './process-protocol.ts';
export {
  buildFrom,
  ClientFactory,
  Factory,
  type FactoryOf,
  isBufferingProtocol,
  isDrainableProtocol,
  isHalfCloseableProtocol,
  isHandshakeListener,
  isReplaceableProtocol,
  Protocol,
  type ProtocolClass,
  ServerFactory,
} from './protocol.ts';
export { forwardHooks, isStandIn, StandIn, takeOver } from './wrapping.ts';
export { DeferredLock, DeferredSemaphore } from './locks.ts';
export { currentSignal } from './frames.ts';
export { execute, fail, logError, maybeDeferred, passthru, succeed } from './maybe.ts';
export { reactor, Reactor } from './reactor.ts';
export type { ReactorEvents } from './reactor-base.ts';
export {
  MulticastServer,
  type ReactorServiceOptions,
  SSLClient,
  SSLServer,
  TCPClient,
  TCPServer,
  UDPServer,
  UNIXClient,
  UNIXServer,
} from './reactor-services.ts';
export { ReconnectingClientFactory } from './reconnecting.ts';
export { ComplexResolverSimplifier, GAIResolver, SimpleResolverComplexifier } from './resolver.ts';
export { react, type ReactOptions } from './run.ts';
export {
  DeferredQueue,
  LifoQueue,
  PriorityQueue,
  type QueueOptions,
  type QueueStore,
} from './queues.ts';
export { Scope, scope, type ScopeOptions } from './scope.ts';
export { connectWebStreams, type WebStreams, webStreamsFactory } from './web-streams.ts';
export {
  connectDuplex,
  duplexFactory,
  type DuplexOptions,
  DuplexProtocol,
  TransportDuplex,
} from './streams.ts';
export { ServerNames } from './server-names.ts';
export { CooperatorService, MultiService, Service, TimerService } from './service.ts';
export { StandardIO, StandardIOEndpoint } from './stdio.ts';
export {
  CertificateOptions,
  type CertificateOptionsInit,
  type ClientTLSOptions,
  optionsForClientTLS,
} from './ssl.ts';
export { deferLater, LoopingCall } from './task.ts';
export type { DebugOptions, SlowCallback } from './slow-callbacks.ts';
export {
  blockingCallFromThread,
  callMultipleInThread,
  deferToThread,
  deferToThreadPool,
  isInIOThread,
  type MainReactor,
  mainReactor,
  type OnThreadResult,
  type ThreadCall,
  type ThreadModule,
  threadModule,
  ThreadPool,
  type ThreadPoolOptions,
  type ThreadSteps,
  type ThreadTask,
  type ThreadWork,
  transfer,
} from './threads.ts';
export { ListenFDs } from './systemd.ts';
export { CallQueue, DelayedCall } from './time.ts';
export { which } from './which.ts';
export {
  SSL4ClientEndpoint,
  SSL4ServerEndpoint,
  type SSLClientOptions,
  type SSLServerOptions,
  wrapClientTLS,
  wrapServerTLS,
} from './tls-endpoints.ts';
export { TLSMemoryBIOFactory, TLSMemoryBIOProtocol, type TLSWrapOptions } from './tls-wrapper.ts';
export type {
  ITLSContextFactory,
  TLSContextOptions,
  TLSPeer,
  TLSSettings,
} from './tls-settings.ts';
export {
  type CertificateSource,
  platformTrust,
  TrustRoot,
  trustRootFromCertificates,
  type TrustSource,
} from './trust.ts';
export {
  observeUnhandledFailures,
  reportUnhandledFailures,
  setUnhandledFailureHook,
  type UnhandledFailure,
  type UnhandledFailureHook,
  unhandledFailures,
} from './unhandled.ts';
export type { PeerVerifier } from './verify-peer.ts';

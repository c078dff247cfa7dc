/**
 * The door `plait/testing`: doubles that stand in for time and the network, a simulated network, and looks at what has
 * come of a test. They are part of the product: what plait tests itself with, its users test their protocols with. It
 * holds no code.
 *
 * - time: `Clock`
 * - one end of a conversation: `StringTransport`, `FakeDatagramTransport`, `AccumulatingProtocol`
 * - both ends: `connectedServerAndClient`, `connect`, `loopback`; `loopbackTCP`, `loopbackUNIX` over real sockets
 * - a reactor that notes what it is asked for: `MemoryReactor`, `ConnectionCompleter`
 * - a whole network: `Simulation`, `simulate`
 * - certificates of an authority of their own: `testCertificates`
 * - bytes cut anywhere: `eachChunking`, `checkFraming`
 * - what has come of it: `successResultOf`, `flushLoggedErrors`, `checkClean`
 */

/// <reference types="node" preserve="true" />

export { AccumulatingProtocol, waitUntilAllDisconnected } from './accumulating-protocol.ts';
export { chunkings, type ChunkingOptions, eachChunking } from './chunkings.ts';
export { checkClean, DirtyReactorAggregateError, leftovers } from './clean-reactor.ts';
export { Clock } from './clock.ts';
export { connectableEndpoint, ConnectionCompleter } from './connection-completer.ts';
export { EventLoggingObserver } from './event-logging-observer.ts';
export { loopbackTCP, type LoopbackTCPOptions, loopbackUNIX } from './loopback-sockets.ts';
export { checkFraming, type FramingOptions, type FramingReport } from './framing.ts';
export { collectLoggedErrors, flushLoggedErrors } from './logged-errors.ts';
export {
  FakeDatagramTransport,
  type FakeDatagramTransportOptions,
  MemoryDatagramSocket,
  type SentDatagram,
} from './memory-datagrams.ts';
export { MemoryProcess } from './memory-io.ts';
export {
  type AdoptedConnectionRecord,
  type AdoptedPortRecord,
  MemoryReactor,
  MemoryReactorClock,
  type ProcessRecord,
  RaisingMemoryReactor,
  type RaisingMemoryReactorOptions,
  type SSLClientRecord,
  type SSLServerRecord,
  type TCPClientRecord,
  type TCPServerRecord,
  type TriggerRecord,
  type UDPPortRecord,
  type UNIXClientRecord,
  type UNIXServerRecord,
} from './memory-reactor.ts';
export {
  collapsingPumpPolicy,
  identityPumpPolicy,
  type PumpPolicy,
  type PumpTarget,
} from './memory-wire.ts';
export { NonStreamingProducer } from './non-streaming-producer.ts';
export {
  connect,
  type Connected,
  connectedServerAndClient,
  type ConnectedOptions,
  FakeTransport,
  IOPump,
  loopback,
  loopback as loopbackAsync,
  type LoopbackOptions,
  type ProtocolSource,
  type PumpClock,
} from './pump.ts';
export { assertNoResult, type ExpectedError, failureResultOf, successResultOf } from './results.ts';
export {
  type Conditions,
  type ConditionsLike,
  type FaultKind,
  type FaultLevel,
  type FaultRates,
  type Halt,
  LEVELS,
  Random,
  SimHost,
  SimReactor,
  Simulation,
  type SimulationOptions,
  Trace,
  type TraceEvent,
} from './sim/index.ts';
export {
  simulate,
  type SimulateOptions,
  type SimulateReport,
  SimulationFailed,
  type SimProgram,
} from './sim/simulate.ts';
export {
  type ProducerState,
  type StartedTLS,
  StringTransport,
  type StringTransportOptions,
  StringTransportWithDisconnection,
} from './string-transport.ts';
export {
  TestAuthority,
  type TestCertificateOptions,
  type TestCertificates,
  testCertificates,
  type TestClient,
  type TestClientOptions,
  type TestIdentity,
  type TestServer,
  type TestServerOptions,
} from './test-certificates.ts';

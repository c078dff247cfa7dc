/**
 * The door `plait/testing`: doubles that stand in for time and the network, and looks at what has come of a test.
 * They are part of the product: what plait tests itself with, its users test their protocols with. It holds no code.
 */
export { Clock } from './clock.ts';
export { collectLoggedErrors, flushLoggedErrors } from './logged-errors.ts';
export { assertNoResult, type ExpectedError, failureResultOf, successResultOf } from './results.ts';
export {
  type ProducerState,
  StringTransport,
  type StringTransportOptions,
  StringTransportWithDisconnection,
} from './string-transport.ts';

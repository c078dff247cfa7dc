/** The simulated network of `plait/testing`; it holds no code. */
export {
  type Conditions,
  type ConditionsLike,
  type FaultKind,
  type FaultLevel,
  type FaultRates,
  LEVELS,
} from './faults.ts';
export type { SimEvent } from './kernel.ts';
export { Random } from './random.ts';
export {
  type Halt,
  SimHost,
  SimReactor,
  Simulation,
  type SimulationOptions,
} from './simulation.ts';
export {
  simulate,
  SimulationFailed,
  type SimulateOptions,
  type SimulateReport,
  type SimProgram,
} from './simulate.ts';
export { Trace, type TraceEvent } from './trace.ts';

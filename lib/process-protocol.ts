/**
 * What users subclass to run a program: it is told what the program writes, and how it ends. Twisted: `ProcessProtocol`
 * of `twisted.internet.protocol`.
 */
import type { Failure } from './failure.ts';
import { watchHook } from './hooks.ts';
import type { HookResult, IProcessProtocol, IProcessTransport } from './interfaces.ts';
import { briefly, INSPECT, inspectedWithFields, type Inspecting, told } from './one-line.ts';

/**
 * The conversation with a child process. Override the hooks; each does nothing by itself. What one throws is logged;
 * one that throws over data has the pipe closed that the data came from.
 *
 * @example
 * class Listing extends ProcessProtocol {
 *   readonly names: string[] = [];
 *   override outReceived(data: Buffer) {
 *     this.names.push(data.toString());
 *   }
 *   override processEnded(reason: Failure) {
 *     reason.trap(ProcessDone);
 *   }
 * }
 */
export class ProcessProtocol implements IProcessProtocol {
  /** The process; set before `connectionMade`, and not at all where it could not be started. */
  declare transport: IProcessTransport;

  /** Called by the transport, once. */
  makeConnection(process: IProcessTransport): HookResult {
    this.transport = process;
    watchHook(this.connectionMade(), 'makeConnection', process);
  }

  /** The process has been started: write to it, if it waits for input, and close its standard input. */
  connectionMade(): HookResult {}

  /** The child has written to standard output. The buffer is the protocol's to keep. */
  outReceived(data: Buffer): HookResult {}

  /** The child has written to standard error. */
  errReceived(data: Buffer): HookResult {}

  /** The child has written to any descriptor: calls `outReceived` for 1, `errReceived` for 2. */
  childDataReceived(childFD: number, data: Buffer): HookResult {
    const owner = this.transport;
    if (childFD === 1) watchHook(this.outReceived(data), 'outReceived', owner);
    else if (childFD === 2) watchHook(this.errReceived(data), 'errReceived', owner);
  }

  /** The child's standard input is closed. That the child has closed it shows when it is written to, or ends. */
  inConnectionLost(): HookResult {}

  /** The child's standard output is closed: there will be no more of it. */
  outConnectionLost(): HookResult {}

  /** The child's standard error is closed. */
  errConnectionLost(): HookResult {}

  /** A pipe is closed: calls `inConnectionLost` for 0, `outConnectionLost` for 1, `errConnectionLost` for 2. */
  childConnectionLost(childFD: number): HookResult {
    const owner = this.transport;
    if (childFD === 0) watchHook(this.inConnectionLost(), 'childConnectionLost', owner);
    else if (childFD === 1) watchHook(this.outConnectionLost(), 'childConnectionLost', owner);
    else if (childFD === 2) watchHook(this.errConnectionLost(), 'childConnectionLost', owner);
  }

  /**
   * The process has ended, and been reaped. Its output may still be on its way.
   *
   * @param reason as for `processEnded`
   */
  processExited(reason: Failure): HookResult {}

  /**
   * The process has ended, and all its pipes are closed. Called once, and last.
   *
   * @param reason ProcessDone for exit code 0, ProcessTerminated for any other and for a signal; SpawnError if it could
   *   not be started, and then this is all that is called
   */
  processEnded(reason: Failure): HookResult {}

  toString(): string {
    const { transport } = this as { transport?: IProcessTransport };
    return told(this, transport === undefined ? 'not connected' : `with ${briefly(transport)}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspectedWithFields(this, ['transport'], ...how);
  }
}

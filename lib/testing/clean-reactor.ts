/**
 * Whether a test has left anything behind on a reactor: calls that wait, ports, connections, attempts, processes,
 * threads. It needs no test runner. Twisted: the check for a dirty reactor in `twisted.trial` (its janitor).
 */
import { ConnectionLost } from '../errors.ts';
import { Failure } from '../failure.ts';
import { type Reactor, reactor as processReactor } from '../reactor.ts';
import { ReactorBase } from '../reactor-base.ts';
import { Connector } from '../transport/connect.ts';
import { Process } from '../transport/process.ts';
import type { Closable } from '../transport/home.ts';
import { Stream } from '../transport/stream.ts';
import { MemoryReactor } from './memory-reactor.ts';

/** How many turns of the event loop what is closing has to close. */
const MOST_TURNS = 200;

/** A test has left something behind. Twisted: `DirtyReactorAggregateError`. */
export class DirtyReactorAggregateError extends Error {
  override readonly name = 'DirtyReactorAggregateError';
  /** What was left, a line for each thing. */
  readonly left: readonly string[];

  constructor(left: readonly string[]) {
    super(`the reactor is not clean: ${left.join('; ')}`);
    this.left = left;
  }
}

/**
 * What is open on `reactor` or waits there, a line for each thing: calls, ports, connections, attempts to connect,
 * processes, threads. Empty if it is clean.
 *
 * @example
 * const reactor = new MemoryReactor();
 * reactor.listenTCP(8000, Factory.forProtocol(Protocol));
 * leftovers(reactor); // [ 'a port: <Port listening 0.0.0.0:8000>' ]
 */
export function leftovers(reactor: Reactor): string[] {
  const { open, threadPool } = ReactorBase.contents(reactor);
  const threads = threadPool?.threads ?? 0;
  return [
    ...reactor.getDelayedCalls().map((call) => `a delayed call: ${call.toString()}`),
    ...open.map(describe),
    ...(threads === 0 ? [] : [`threads: ${threads} of the pool`]),
  ];
}

function describe(thing: Closable): string {
  if (thing instanceof Stream) return `a connection: ${thing.getHost()} with ${thing.getPeer()}`;
  if (thing instanceof Connector) return `an attempt to connect: ${thing.getDestination()}`;
  if (thing instanceof Process) return `a process: ${thing.pid ?? 'one that has ended'}`;
  return `a port: ${thing as unknown as { toString(): string }}`;
}

/**
 * Makes sure that nothing is left on `reactor`. What is being closed has some turns of Node's event loop to be gone; what
 * is still there then is cancelled, closed, or killed, so that the next test does not hear of it.
 *
 * Rejects with DirtyReactorAggregateError, which names what was left.
 *
 * @param reactor default: the process's own
 * @example
 * const reactor = new MemoryReactorClock();
 * await checkClean(reactor);
 */
export async function checkClean(reactor: Reactor = processReactor): Promise<void> {
  if (reactor instanceof MemoryReactor) reactor.flush();
  for (let turn = 0; turn < MOST_TURNS && isClosing(reactor); turn++)
    await new Promise((resolve) => setImmediate(resolve));
  const left = leftovers(reactor);
  if (left.length === 0) return;
  await clean(reactor);
  throw new DirtyReactorAggregateError(left);
}

/** Something is open that may be about to close; calls that wait are not. */
function isClosing(reactor: Reactor): boolean {
  const { open, threadPool } = ReactorBase.contents(reactor);
  return open.length > 0 || (threadPool?.threads ?? 0) > 0;
}

async function clean(reactor: Reactor): Promise<void> {
  const { open, threadPool } = ReactorBase.contents(reactor);
  const reason = new Failure(new ConnectionLost('connection was cut: the test is over'));
  for (const thing of open) {
    if (thing instanceof Process && thing.pid !== null) thing.signalProcess('KILL');
    thing.connectionLost(reason);
  }
  for (const call of reactor.getDelayedCalls()) call.cancel();
  await threadPool?.stop({ abort: true });
  if (reactor instanceof MemoryReactor) reactor.flush();
}

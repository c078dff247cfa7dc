/**
 * What a reactor has to do still: the calls, connections and the like that are pending, as data and as text. Neither
 * Twisted nor asyncio has it in one place.
 */
import type { IDelayedCall, Seconds } from './interfaces.ts';
import type { PendingDeferred } from './pending.ts';
import { onOneLine } from './printable.ts';

/** The kinds of things that a reactor has open. */
export type OpenKind = 'connection' | 'port' | 'attempt' | 'process';

/** Something that a reactor has open. */
export interface OpenThing {
  readonly kind: OpenKind;
  /** Which one: its addresses, what it is doing, whose it is. */
  readonly what: string;
}

/** A call that waits for its time. */
export interface PendingCall {
  /** The name of the function; `''` if it has none. */
  readonly name: string;
  /** Seconds from now until it is due. */
  readonly in: Seconds;
  readonly what: string;
}

/** What {@link inspection} is made of. */
export interface Inspection {
  readonly running: boolean;
  /** The calls that wait for their time, the next one first. */
  readonly delayedCalls: readonly PendingCall[];
  readonly connections: readonly string[];
  readonly ports: readonly string[];
  /** Connections that are being made. */
  readonly attempts: readonly string[];
  readonly processes: readonly string[];
  /** Of the whole process, and only while debugging is on: what has no result yet, and what it waits for. */
  readonly deferreds: readonly PendingDeferred[];
  /** All of it, a line each. */
  toString(): string;
}

/** What a reactor has to do still. */
export function inspection(
  running: boolean,
  now: Seconds,
  calls: readonly IDelayedCall[],
  open: readonly OpenThing[],
  deferreds: readonly PendingDeferred[],
): Inspection {
  const of = (kind: OpenKind): string[] =>
    open.filter((thing) => thing.kind === kind).map(({ what }) => what);
  const delayedCalls = [...calls]
    .sort((one, other) => one.getTime() - other.getTime())
    .map((call) => ({
      name: /^<DelayedCall \w+ (?:bound )*(\S+) at /.exec(`${call as unknown}`)?.[1] ?? '',
      in: call.getTime() - now,
      what: `${call as unknown}`,
    }));
  const parts = {
    delayedCalls,
    connections: of('connection'),
    ports: of('port'),
    attempts: of('attempt'),
    processes: of('process'),
    deferreds,
  };
  return { running, ...parts, toString: () => asText(running, parts) };
}

function asText(running: boolean, parts: Omit<Inspection, 'running' | 'toString'>): string {
  const lines = [`the reactor is ${running ? 'running' : 'not running'}`];
  const list = (title: string, items: readonly string[]): void => {
    if (items.length > 0) lines.push(`${title}:`, ...items.map((item) => `  ${onOneLine(item)}`));
  };
  list(
    'calls that wait',
    parts.delayedCalls.map(
      ({ name, in: delay }) => `in ${delay.toFixed(3)} s: ${name || '(no name)'}`,
    ),
  );
  list('ports', parts.ports);
  list('connections being made', parts.attempts);
  list('connections', parts.connections);
  list('processes', parts.processes);
  list('without a result', parts.deferreds.map(describePending));
  if (lines.length === 1) lines.push('nothing is pending');
  return lines.join('\n');
}

/** A line about a Deferred without a result. */
export function describePending({ kind, madeAt, waitsFor }: PendingDeferred): string {
  const waiting = waitsFor === undefined ? '' : `, waits for what was made at ${waitsFor}`;
  return `a ${kind} made at ${madeAt}${waiting}`;
}

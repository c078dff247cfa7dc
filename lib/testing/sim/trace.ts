/**
 * What happened in a simulation, as a timeline that a person can read: who did what, when, to whom. Equal seeds give
 * equal timelines, to the byte.
 */
import type { Seconds } from '../../interfaces.ts';
import { INSPECT, inspected, type Inspecting } from '../../one-line.ts';

/** One thing that happened. */
export interface TraceEvent {
  /** Seconds since the simulation began. */
  readonly time: Seconds;
  /** The host that it happened on; `''` for the network. */
  readonly host: string;
  /** What happened: `connect`, `send`, `deliver`, `timer`, `fault` … */
  readonly what: string;
  /** What it happened to. */
  readonly subject: string;
  /** The first of the bytes, where there are any. */
  readonly data?: Uint8Array | undefined;
  /** How many bytes there are. */
  readonly size?: number | undefined;
  /** What tells those bytes from others of the same length, where there are more than are kept. */
  readonly digest?: string | undefined;
}

/** How many bytes of data are kept and shown. */
const SHOWN = 40;

/** The timeline of a run. It keeps nothing until it is told how much. */
export class Trace {
  readonly #limit: number;
  #events: TraceEvent[] = [];
  /** How many were left out, since more happened than is kept. */
  omitted = 0;

  /** @param limit how many events are kept, the latest; 0 for none */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** True if it keeps anything: whoever has to build text for it can spare that otherwise. */
  get wanted(): boolean {
    return this.#limit > 0;
  }

  add(time: Seconds, host: string, what: string, subject: string, data?: Uint8Array): void {
    if (this.#limit === 0) return;
    this.#events.push({ time, host, what, subject, ...(data && summary(data)) });
    if (this.#events.length >= 2 * this.#limit) this.#trim();
  }

  #trim(): void {
    const surplus = this.#events.length - this.#limit;
    if (surplus <= 0) return;
    this.omitted += surplus;
    this.#events = this.#events.slice(surplus);
  }

  /** What happened, in order. */
  get events(): readonly TraceEvent[] {
    this.#trim();
    return this.#events;
  }

  /** A line for each thing that happened. */
  toString(): string {
    const lines = this.events.map(asLine);
    if (this.omitted > 0) lines.unshift(`… ${this.omitted} earlier events are left out`);
    return lines.join('\n');
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** What is kept of bytes. It is a copy: they belong to somebody else, who may change them. */
function summary(bytes: Uint8Array): Pick<TraceEvent, 'data' | 'size' | 'digest'> {
  const data = Uint8Array.from(bytes.subarray(0, SHOWN));
  if (bytes.length <= SHOWN) return { data, size: bytes.length };
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return { data, size: bytes.length, digest: (hash >>> 0).toString(16).padStart(8, '0') };
}

function asLine({ time, host, what, subject, data, size, digest }: TraceEvent): string {
  const line = `${time.toFixed(6).padStart(12)}  ${host.padEnd(8)}  ${what.padEnd(10)} ${subject}`;
  if (data === undefined) return line.trimEnd();
  return `${line}  ${size} B ${preview(data)}${digest === undefined ? '' : `… ${digest}`}`;
}

/** Bytes as text, as far as they are text. */
function preview(data: Uint8Array): string {
  const text = Buffer.from(data).toString('latin1');
  return JSON.stringify(text).replace(
    /[\u007f-\u00ff]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16)}`,
  );
}

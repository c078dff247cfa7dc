/**
 * Shows that a protocol makes the same of its bytes however they are cut, wherever it is paused, and wherever the
 * connection ends. Neither Twisted nor anybody else offers this.
 */
import { AssertionError } from 'node:assert';
import { inspect } from 'node:util';
import { ConnectionDone } from '../errors.ts';
import { Failure } from '../failure.ts';
import { watchHook } from '../hooks.ts';
import type { IProtocol } from '../interfaces.ts';
import { bytesOf, type ChunkingOptions, chunkings, describe } from './chunkings.ts';
import { StringTransport } from './string-transport.ts';

/** Up to this many bytes, each disturbance is tried with all ways to cut in two. */
const FEW_BYTES = 128;

/** Options of {@link checkFraming}. */
export interface FramingOptions<P> extends ChunkingOptions {
  /** The methods whose calls are events. Default: those named `…Received` and `…Exceeded`, but for `dataReceived`. */
  readonly watch?: readonly string[];
  /**
   * Of those, the ones that get bytes as they come, so that only all of them together must be the same. Default: those
   * with `raw` or `Data` in their names.
   */
  readonly streams?: readonly string[];
  /** More that is to be the same at the end: what has been gathered, what state it is in. */
  readonly state?: (protocol: P) => unknown;
  /** False not to pause it at each event. Default: true, if it has `pauseProducing` and `resumeProducing`. */
  readonly pauses?: boolean;
  /** False not to close the connection at each event, and after each byte. Default: true. */
  readonly closes?: boolean;
}

/** What {@link checkFraming} has tried, and seen. */
export interface FramingReport {
  /** How many runs there were. */
  readonly runs: number;
  /** What the protocol made of the bytes, a line for each event. */
  readonly events: readonly string[];
}

/** What is done at which event. */
interface Disturbance {
  readonly what: 'pause' | 'close';
  /** At which event, counted from 0. */
  readonly at: number;
}

interface Pausable {
  pauseProducing(): void;
  resumeProducing(): void;
}

/**
 * Gives `bytes` to one fresh protocol after another, cut in all the ways of `chunkings`, and makes sure that each makes
 * the same of them: the same calls of its own methods with the same arguments, the same bytes written, the same
 * connections closed. Then it pauses the protocol at each event, and closes the connection at each event and after each
 * byte: nothing may come twice, nothing be missing, and nothing be delivered that comes after. As in life, a transport
 * that is paused or closing delivers nothing, and one that was not told to pause goes on.
 *
 * @param make a protocol that is in the same state each time, and needs no time and no turn to do its work
 * @throws AssertionError that names the first way to cut that makes a difference
 * @throws Error if there is nothing to compare; and what the protocol throws when it is given all as one piece
 * @example
 * class Greeter extends LineReceiver {
 *   override lineReceived(line: Buffer) {
 *     this.sendLine(`hello ${line}`);
 *   }
 * }
 * checkFraming(() => new Greeter(), 'Ann\r\nBob\r\n').events[0]; // 'lineReceived("Ann")'
 */
export function checkFraming<P extends IProtocol>(
  make: () => P,
  bytes: Uint8Array | string,
  options: FramingOptions<P> = {},
): FramingReport {
  const { pauses = true, closes = true } = options;
  const all = bytesOf(bytes);
  const whole = new Run(make(), options);
  const events = whole.feed([all]);
  if (whole.thrown !== undefined) throw whole.thrown.value;
  if (whole.isSilent) {
    throw new Error(
      'there is nothing to compare: the protocol calls none of its methods that are watched, and writes nothing; name methods by the option `watch`, or give a `state`',
    );
  }
  let runs = 1;
  const compare = (
    input: Buffer,
    cuts: ChunkingOptions,
    disturbance?: Disturbance,
    expected?: readonly string[],
  ): void => {
    let same = expected;
    for (const pieces of chunkings(input, cuts)) {
      runs++;
      const got = new Run(make(), options, disturbance).feed(pieces);
      same ??= got;
      if (!equal(got, same)) throw difference(same, got, pieces, disturbance);
    }
  };

  compare(all, options, undefined, events);
  // There is one round for each event and each byte: over long input it cannot try as much.
  const few: ChunkingOptions = { cuts: all.length <= FEW_BYTES ? 1 : 0 };
  for (let at = 0; at < whole.calls; at++) {
    if (pauses && isPausable(make())) compare(all, few, { what: 'pause', at }, events);
    if (closes) compare(all, few, { what: 'close', at });
  }
  if (closes)
    for (let length = 1; length < all.length; length++) compare(all.subarray(0, length), few);
  return { runs, events };
}

/** One protocol and what it makes of its bytes. */
class Run<P extends IProtocol> {
  /** How many calls there were, but for those of streams. */
  calls = 0;
  /** What the protocol has thrown, which ends its connection. */
  thrown: Failure | undefined;
  readonly #protocol: P;
  readonly #options: FramingOptions<P>;
  readonly #disturbance: Disturbance | undefined;
  readonly #transport = new StringTransport({ lenient: true });
  readonly #events: string[] = [];
  /** What the stream that was called last has got, until something else is called. */
  #stream: { readonly name: string; readonly bytes: Buffer[] } | undefined;
  #paused = false;
  #written = 0;

  constructor(protocol: P, options: FramingOptions<P>, disturbance?: Disturbance) {
    this.#protocol = protocol;
    this.#options = options;
    this.#disturbance = disturbance;
    for (const name of options.watch ?? methodsOf(protocol).filter(isEvent)) this.#watch(name);
    this.#watchGivingBack();
  }

  #watch(name: string): void {
    const protocol = this.#protocol as unknown as Record<string, (...args: unknown[]) => unknown>;
    const method = protocol[name];
    if (typeof method !== 'function')
      throw new TypeError(`cannot watch ${name}: the protocol has no such method`);
    const streams = this.#options.streams?.includes(name) ?? /raw|Data/.test(name);
    protocol[name] = (...args) => {
      const [data] = args;
      const isStream = streams && data instanceof Uint8Array;
      if (isStream) this.#streamed(name, data);
      else this.#note(`${name}(${args.map(show).join(', ')})`);
      const result: unknown = method.apply(protocol, args);
      this.#noteWritten();
      if (!isStream) this.#disturb();
      return result;
    };
  }

  /** What a LineReceiver gives back by `setLineMode(extra)` was not raw: how much that is depends on the cuts. */
  #watchGivingBack(): void {
    const protocol = this.#protocol as { setLineMode?: (extra?: Buffer) => unknown };
    const { setLineMode } = protocol;
    if (typeof setLineMode !== 'function') return;
    protocol.setLineMode = (extra) => {
      if (this.#stream?.name === 'rawDataReceived' && extra !== undefined) {
        const raw = Buffer.concat(this.#stream.bytes);
        this.#stream.bytes.splice(0, Infinity, raw.subarray(0, raw.length - extra.length));
      }
      return setLineMode.call(protocol, extra);
    };
  }

  #streamed(name: string, data: Uint8Array): void {
    this.#notPaused();
    if (this.#stream?.name !== name) this.#endStream();
    this.#stream ??= { name, bytes: [] };
    this.#stream.bytes.push(Buffer.from(data));
  }

  #endStream(): void {
    if (this.#stream === undefined) return;
    const { name, bytes } = this.#stream;
    this.#stream = undefined;
    this.#events.push(`${name}(${show(Buffer.concat(bytes))})`);
  }

  #note(event: string): void {
    this.#endStream();
    this.#notPaused();
    this.#events.push(event);
  }

  #notPaused(): void {
    if (this.#paused) this.#events.push('! delivered while it is paused');
  }

  /** What has been written since the last look belongs to the event that it follows. */
  #noteWritten(): void {
    const written = this.#transport.value().subarray(this.#written);
    this.#written += written.length;
    // Where the pieces of a stream are answered one by one, only all the answers together can be the same.
    if (written.length > 0 && this.#stream === undefined)
      this.#events.push(`= wrote ${show(written)}`);
  }

  #disturb(): void {
    const disturbance = this.#disturbance;
    if (disturbance?.at !== this.calls++) return;
    if (disturbance.what === 'close') {
      this.#transport.loseConnection();
    } else {
      this.#paused = true;
      (this.#protocol as unknown as Pausable).pauseProducing();
    }
  }

  feed(pieces: readonly Buffer[]): readonly string[] {
    const protocol = this.#protocol;
    this.#guarded(() => protocol.makeConnection(this.#transport));
    this.#noteWritten();
    for (const piece of pieces) {
      if (!this.#mayDeliver()) break;
      this.#guarded(() => protocol.dataReceived(Buffer.from(piece)));
      if (this.#transport.producerState === 'paused') this.#resume();
    }
    this.#resume();
    this.#guarded(() => protocol.connectionLost(this.thrown ?? new Failure(new ConnectionDone())));
    this.#conclude();
    return this.#events;
  }

  /** A transport that is closing, or paused by the protocol itself, delivers nothing. */
  #mayDeliver(): boolean {
    const { disconnecting, producerState } = this.#transport;
    return this.thrown === undefined && !disconnecting && producerState === 'producing';
  }

  /** Ends the pause that was a disturbance. */
  #resume(): void {
    if (!this.#paused || this.thrown !== undefined) return;
    this.#paused = false;
    this.#guarded(() => (this.#protocol as unknown as Pausable).resumeProducing());
  }

  #guarded(call: () => unknown): void {
    try {
      watchHook(call(), 'a hook', this.#transport);
    } catch (error) {
      this.thrown ??= new Failure(error);
      this.#note(`! threw ${String(error)}`);
    }
  }

  #conclude(): void {
    this.#endStream();
    this.#noteWritten();
    this.#events.push(`= wrote ${show(this.#transport.value())} in all`);
    if (this.#transport.aborting) this.#events.push('= aborted the connection');
    else if (this.#transport.disconnecting) this.#events.push('= closed the connection');
    const { state } = this.#options;
    if (state !== undefined) this.#events.push(`= ${show(state(this.#protocol))}`);
  }

  /** Nothing has come of the bytes that could be seen. */
  get isSilent(): boolean {
    return this.#events.length === 1 && this.#written === 0;
  }
}

/** Whether a method is watched by default. */
function isEvent(name: string): boolean {
  return /(Received|Exceeded)$/.test(name) && name !== 'dataReceived';
}

/** The names of all methods, those of its bases too. */
function methodsOf(protocol: object): string[] {
  const names = new Set<string>();
  for (
    let at: object | null = protocol;
    at !== null && at !== Object.prototype;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    for (const name of Object.getOwnPropertyNames(at)) {
      if (typeof Object.getOwnPropertyDescriptor(at, name)?.value === 'function') names.add(name);
    }
  }
  return [...names];
}

function isPausable(protocol: object): protocol is Pausable {
  const { pauseProducing, resumeProducing } = protocol as Partial<Pausable>;
  return typeof pauseProducing === 'function' && typeof resumeProducing === 'function';
}

function show(value: unknown): string {
  if (!(value instanceof Uint8Array)) return inspect(value, { depth: 5, breakLength: Infinity });
  return JSON.stringify(Buffer.from(value).toString('latin1'));
}

function equal(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((event, index) => event === other[index]);
}

function difference(
  expected: readonly string[],
  actual: readonly string[],
  pieces: readonly Buffer[],
  disturbance: Disturbance | undefined,
): AssertionError {
  const at = expected.findIndex((event, index) => event !== actual[index]);
  const place = at < 0 ? expected.length : at;
  const when =
    disturbance === undefined ? '' : `, with a ${disturbance.what} at event ${disturbance.at + 1}`;
  return new AssertionError({
    message:
      `the bytes mean something else when they are cut ${describe(pieces)}${when}: event ${place + 1} is ` +
      `${actual[place] ?? 'missing'}, and was ${expected[place] ?? 'not there'}`,
    expected,
    actual,
    stackStartFn: checkFraming,
  });
}

/**
 * A client and a server of the same protocol, joined in memory: what one writes the other is given when the test says
 * so. Their transports are real ones, over a {@link MemoryWire}: what holds for a connection holds here, from producers
 * to half-closing. Twisted: `twisted.test.iosim`, and `twisted.protocols.loopback`.
 */
import { type Address, IPv4Address } from '../address.ts';
import { checkSeconds } from '../arguments.ts';
import { Deferred } from '../defer.ts';
import { NoProtocol } from '../errors.ts';
import { neededNow } from '../hooks.ts';
import type {
  IProtocol,
  IProtocolFactory,
  IReactorTime,
  ITLSTransport,
  Seconds,
} from '../interfaces.ts';
import type { Home } from '../transport/home.ts';
import { Stream } from '../transport/stream.ts';
import type { ProtocolClass } from '../protocol.ts';
import { MemoryWire, identityPumpPolicy, type PumpPolicy } from './memory-wire.ts';
import { Turns } from './turns.ts';
import { briefly, INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

const CLIENT = new IPv4Address('TCP', '10.0.0.1', 49_152);
const SERVER = new IPv4Address('TCP', '192.168.1.1', 80);

/** How many turns without anything `settle` takes for the end. */
const QUIET_TURNS = 5;

/** How many turns `settle` waits for what never comes. */
const MOST_TURNS = 10_000;

/** What a protocol is made by: its class, which takes no arguments, or a factory. */
export type ProtocolSource<P extends IProtocol> =
  ProtocolClass<P> | Pick<IProtocolFactory<P>, 'buildProtocol'>;

/** A clock that a {@link IOPump} lets make its calls: `Clock`, `MemoryReactorClock`. */
export interface PumpClock extends Pick<IReactorTime, 'callLater'> {
  advance(amount: Seconds): void;
  advanceAsync?(amount: Seconds, between?: () => unknown): Promise<void>;
}

/** Where transports in memory live. */
export function memoryHome(turns: Turns, callLater?: IReactorTime['callLater']): Home {
  return {
    soon: (fn) => turns.soon(fn),
    opened() {},
    closed() {},
    listening() {},
    ...(callLater === undefined ? {} : { callLater }),
  };
}

/**
 * One end of a connection in memory: a transport as it is in life, which also shows what waits to be moved. Twisted:
 * `FakeTransport`.
 */
export class FakeTransport extends Stream {
  readonly #wire: MemoryWire;

  /** @internal made by {@link connectedServerAndClient} and {@link loopback} */
  constructor(home: Home, wire: MemoryWire, side: 'client' | 'server') {
    super(home, wire, undefined, side);
    this.#wire = wire;
  }

  /** Takes what was written since the last pump: the other side never gets it. */
  getOutBuffer(): Buffer {
    return Buffer.concat(this.#wire.takeUnsent());
  }
}

/** Moves what two ends have written. Twisted: `IOPump`. */
export class IOPump<T extends ITLSTransport | undefined = ITLSTransport> {
  readonly clientIO: T;
  readonly serverIO: T;
  readonly #turns: Turns;
  readonly #clock: PumpClock | undefined;

  /** @internal made by {@link connectedServerAndClient} and `ConnectionCompleter` */
  constructor(turns: Turns, clientIO: T, serverIO: T, clock?: PumpClock) {
    this.#turns = turns;
    this.clientIO = clientIO;
    this.serverIO = serverIO;
    this.#clock = clock;
  }

  /**
   * Takes one step: what both have written until now arrives, what was to be done soon is done, and so are calls of the
   * clock that are due. What comes of that waits for the next step. False if there was nothing to do.
   */
  pump(): boolean {
    this.#clock?.advance(0);
    return this.#turns.round();
  }

  /**
   * Pumps until there is nothing to do any more. False if there was nothing at all.
   *
   * @throws Error if there is no end to it
   */
  flush(): boolean {
    return Turns.flush(() => this.pump());
  }

  /**
   * The same for what does not happen in memory alone: a TLS engine, promises, files. Pumps, and lets Node's event loop
   * turn, until `until` holds.
   *
   * @param until default: a few turns have passed without anything to do, which is enough for a TLS handshake
   * @throws Error (the promise rejects) if that never comes
   */
  async settle(until?: () => boolean): Promise<void> {
    let quiet = 0;
    for (let turn = 0; turn < MOST_TURNS; turn++) {
      quiet = this.flush() ? 0 : quiet + 1;
      if (until === undefined ? quiet > QUIET_TURNS : neededNow(until(), 'until')) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
    throw new Error(`what was waited for has not come in ${MOST_TURNS} turns`);
  }

  /** Lets `amount` seconds pass, and pumps until there is nothing to do; Error if there is no clock. */
  advance(amount: Seconds): void {
    checkSeconds(amount, 'advance: amount');
    if (this.#clock === undefined)
      throw new Error('cannot let time pass: the connection was made without a clock');
    this.flush();
    this.#clock.advance(amount);
    this.flush();
  }

  /**
   * The same for protocols that are `async` in places: lets `amount` seconds pass step by step, as {@link
   * Clock.advanceAsync} does, and settles at each step before the time moves on.
   *
   * @throws Error if there is no clock, or one without `advanceAsync`, or there is no end to it (the promise rejects)
   *
   * @example
   * const clock = new Clock();
   * class Slow extends Protocol {
   *   override async dataReceived(data: Buffer) {
   *     await deferLater(clock, 2);
   *     this.transport.write(data);
   *   }
   * }
   * const { client, pump } = connectedServerAndClient(Slow, AccumulatingProtocol, { clock });
   * client.transport.write('tea');
   * await pump.advanceAsync(2);
   * client.data.toString();   // 'tea'
   */
  async advanceAsync(amount: Seconds): Promise<void> {
    checkSeconds(amount, 'advance: amount');
    if (this.#clock?.advanceAsync === undefined)
      throw new Error('cannot let time pass step by step: there is no clock with advanceAsync');
    await this.#clock.advanceAsync(amount, () => this.settle());
    await this.settle();
  }

  toString(): string {
    return told(this, `between ${briefly(this.clientIO)} and ${briefly(this.serverIO)}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Options of {@link connectedServerAndClient}. */
export interface ConnectedOptions {
  /** False to leave what both say first to the first pump. Default: true: they have exchanged it. */
  readonly greet?: boolean;
  /** The clock that the protocols were given: its calls that are due are made by the pump. */
  readonly clock?: PumpClock;
  /** How what is written arrives. Default: `collapsingPumpPolicy`, all as one piece. */
  readonly pumpPolicy?: PumpPolicy;
  /** What `getHost` and `getPeer` say. Default: 10.0.0.1:49152 and 192.168.1.1:80. */
  readonly addresses?: readonly [client: Address, server: Address];
}

/** What {@link connectedServerAndClient} makes. */
export interface Connected<S extends IProtocol, C extends IProtocol> {
  readonly client: C;
  readonly server: S;
  readonly pump: IOPump<FakeTransport>;
}

/**
 * Makes a server's protocol and a client's, and a connection between them. Twisted: `connectedServerAndClient`, whose
 * order of arguments this has.
 *
 * @throws NoProtocol if a factory builds none; what the factories throw
 * @example
 * class Shout extends Protocol {
 *   override dataReceived(data: Buffer) {
 *     this.transport.write(data.toString().toUpperCase());
 *   }
 * }
 * const { client, pump } = connectedServerAndClient(Shout, AccumulatingProtocol);
 * client.transport.write('hello');
 * pump.flush();
 * client.data.toString(); // 'HELLO'
 */
export function connectedServerAndClient<S extends IProtocol, C extends IProtocol>(
  server: ProtocolSource<S>,
  client: ProtocolSource<C>,
  options: ConnectedOptions = {},
): Connected<S, C> {
  const { addresses = [CLIENT, SERVER] } = options;
  const serverProtocol = build(server, addresses[0]);
  const clientProtocol = build(client, addresses[1]);
  const pump = connect(serverProtocol, clientProtocol, options);
  return { client: clientProtocol, server: serverProtocol, pump };
}

/**
 * Makes a connection between two protocols that are there already. Twisted: `connect` of `iosim`, which is given
 * transports as well.
 *
 * @example
 * const [server, client] = [new AccumulatingProtocol(), new AccumulatingProtocol()];
 * const pump = connect(server, client);
 * client.transport.write('hello');
 * pump.flush();
 * server.data.toString(); // 'hello'
 */
export function connect(
  server: IProtocol,
  client: IProtocol,
  options: ConnectedOptions = {},
): IOPump<FakeTransport> {
  const { greet = true, clock } = options;
  const turns = new Turns();
  const [clientIO, serverIO] = join(turns, client, server, options);
  const pump = new IOPump(turns, clientIO, serverIO, clock);
  if (greet) pump.flush();
  return pump;
}

function build<P extends IProtocol>(source: ProtocolSource<P>, address: Address): P {
  if (typeof source === 'function') return new source();
  const protocol = source.buildProtocol(address);
  if (protocol === null)
    throw new NoProtocol(`the factory built no protocol for a connection with ${address}`);
  return protocol;
}

/** Connects two protocols, the server first. */
function join(
  turns: Turns,
  client: IProtocol,
  server: IProtocol,
  { clock, pumpPolicy, addresses = [CLIENT, SERVER] }: ConnectedOptions,
): [client: FakeTransport, server: FakeTransport] {
  const [clientWire, serverWire] = MemoryWire.pair(turns, { addresses, pumpPolicy });
  const home = memoryHome(
    turns,
    clock === undefined ? undefined : (delay, fn, ...args) => clock.callLater(delay, fn, ...args),
  );
  const clientIO = new FakeTransport(home, clientWire, 'client');
  const serverIO = new FakeTransport(home, serverWire, 'server');
  serverIO.begin(server);
  clientIO.begin(client);
  return [clientIO, serverIO];
}

/** Options of {@link loopback}. */
export interface LoopbackOptions {
  /** How what is written arrives. Default: `identityPumpPolicy`, each piece as it was written. */
  readonly pumpPolicy?: PumpPolicy;
  /** On whose clock the conversation goes on when one of them writes later. Default: Node's own next turn. */
  readonly reactor?: Pick<IReactorTime, 'callLater'>;
}

/**
 * Lets two protocols talk until both have lost their connection, and then fires. All that they say without waiting for
 * anything else has been said when this returns. Cancelling aborts the connection. Twisted: `loopbackAsync`.
 *
 * @example
 * class Bye extends Protocol {
 *   override connectionMade() {
 *     this.transport.write('bye');
 *     this.transport.loseConnection();
 *   }
 * }
 * const listener = new AccumulatingProtocol();
 * successResultOf(loopback(new Bye(), listener));
 * listener.data.toString(); // 'bye'
 */
export function loopback(
  server: IProtocol,
  client: IProtocol,
  options: LoopbackOptions = {},
): Deferred<void> {
  const { pumpPolicy = identityPumpPolicy, reactor } = options;
  const turns = new Turns();
  const ends = join(turns, client, server, { pumpPolicy });
  const over = (): boolean => ends.every((end) => !end.connected);
  const done = new Deferred<void>(() => {
    for (const end of ends) end.abortConnection();
  });
  const go = (): void => {
    turns.woken = () => {};
    Turns.flush(() => turns.round());
    if (over()) {
      if (!done.called) done.callback();
      return;
    }
    turns.woken = () => {
      if (reactor === undefined) setImmediate(go);
      else reactor.callLater(0, go);
    };
  };
  go();
  return done;
}

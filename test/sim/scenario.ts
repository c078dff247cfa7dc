/**
 * What the scenarios of the simulation share: a stage with watched machines, on which exchanges are held against a
 * model, and a tally of how they ended. A scenario is a program for `simulate`: several clients at once, servers, and a
 * network that is calm, rough or hostile by chance. Each exchange must end within its deadline, in the answer that the
 * model knows, or in one error of a class that its scenario allows; where the network is calm, in the answer.
 */
import {
  type Address,
  type Deferred,
  deferLater,
  Failure,
  gatherResults,
  type IClientFactory,
  type IProtocol,
  type IProtocolFactory,
  type ITransport,
  type Seconds,
  succeed,
  ConnectionDone,
  ConnectionLost,
  ConnectError,
  TimeoutError,
} from 'plait';
import { type Random, type SimHost, type SimProgram, type Simulation } from 'plait/testing';

/** A class of errors. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- whatever it is made from
export type ErrorClass = abstract new (...args: any[]) => Error;

/** How the network behaves in a run; a quarter of the runs each for the first two. */
export const CLIMATES = ['calm', 'rough', 'hostile', 'hostile'] as const;
export type Climate = (typeof CLIMATES)[number];

/** What any connection may end in, and any attempt to make one. */
export const NETWORK_ERRORS: readonly ErrorClass[] = [
  ConnectError,
  ConnectionDone,
  ConnectionLost,
  TimeoutError,
];

/** In place of an answer: it was cancelled, and said so. */
export const CANCELLED: unique symbol = Symbol('cancelled');

/** A part of the library, played client against server. */
export interface Scenario {
  readonly name: string;
  /** The part of the exchanges that must end in the right answer where the network is hostile. Default: a half. */
  readonly fair?: number;
  /** Sets all up, and fires when all exchanges are over and all ports closed. */
  play(stage: Stage): Deferred<unknown>;
}

/** How often exchanges ended how, by climate. */
export class Tally {
  readonly #counts = new Map<string, number>();

  count(climate: Climate, outcome: string): void {
    const key = `${climate} ${outcome}`;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  /** How many exchanges there were; with an outcome, how many ended so. */
  of(climate: Climate, outcome = ''): number {
    let sum = 0;
    for (const [key, count] of this.#counts) {
      if (outcome === '' ? key.startsWith(`${climate} `) : key === `${climate} ${outcome}`)
        sum += count;
    }
    return sum;
  }

  /** The part of the exchanges that ended in the right answer, from 0 to 1. */
  share(climate: Climate): number {
    return this.of(climate, 'right') / Math.max(1, this.of(climate));
  }

  /** Each outcome, the most frequent first: `412 right, 7 ConnectionLost`. */
  toString(): string {
    const sums = new Map<string, number>();
    for (const [key, count] of this.#counts) {
      const outcome = key.slice(key.indexOf(' ') + 1);
      sums.set(outcome, (sums.get(outcome) ?? 0) + count);
    }
    return [...sums]
      .sort(([, one], [, other]) => other - one)
      .map(([outcome, count]) => `${count} ${outcome}`)
      .join(', ');
  }
}

/** Seconds in which what is left of connections must be over, and how often that is looked at. */
const QUIET: Seconds = 500;
const LOOK: Seconds = 10;

/** A transport's mark, and what is read at once: the sum may wait to be sent to a peer. */
const MARK = 64 * 1024;
const READ_SIZE = 64 * 1024;

/** The program of a scenario. */
export function programOf(scenario: Scenario, tally: Tally): SimProgram {
  return (sim) => {
    const stage = new Stage(sim, tally);
    return scenario
      .play(stage)
      .addCallback(() => stage.quiet())
      .addCallback(() => stage.check());
  };
}

/** What is known of a connection that is watched. */
export interface Connection {
  readonly side: 'client' | 'server';
  readonly host: string;
  /** The protocol that the reactor talks to. */
  readonly protocol: IProtocol;
  made: number;
  lost: number;
  /** How many bytes were delivered. */
  received: number;
  transport: ITransport | undefined;
}

/** Where a scenario is played. */
export class Stage {
  readonly sim: Simulation;
  readonly random: Random;
  readonly climate: Climate;
  readonly connections: Connection[] = [];
  /** How many connections a factory has refused. */
  refused = 0;
  /** Nobody but the network ends a connection before its time. */
  strict = false;
  /** How often a connection was asked for, by host. */
  readonly dialed = new Map<string, number>();
  /** Called whenever bytes have been delivered, or a connection was made. */
  onChange: ((connection: Connection) => void) | undefined;
  /** Called when a factory has refused somebody. */
  onRefused: ((peer: Address) => void) | undefined;
  readonly #tally: Tally;
  readonly #watched = new WeakSet<object>();
  readonly #hosts = new Set<string>();
  readonly #faults: string[] = [];

  constructor(sim: Simulation, tally: Tally) {
    this.sim = sim;
    this.#tally = tally;
    this.random = sim.random;
    this.climate = CLIMATES[this.random.int(CLIMATES.length)] as Climate;
    sim.conditions = this.climate;
  }

  get calm(): boolean {
    return this.climate === 'calm';
  }

  /** A machine whose connections are watched. */
  host(name: string): SimHost {
    const host = this.sim.host(name);
    if (this.#hosts.has(name)) return host;
    this.#hosts.add(name);
    const { reactor } = host;
    const listenTCP = reactor.listenTCP.bind(reactor);
    reactor.listenTCP = (port, factory, options) =>
      listenTCP(port, this.#watch(factory, 'server', name), options);
    const connectTCP = reactor.connectTCP.bind(reactor);
    reactor.connectTCP = (where, port, factory, options) => {
      this.dialed.set(name, (this.dialed.get(name) ?? 0) + 1);
      return connectTCP(where, port, this.#watch(factory, 'client', name), options);
    };
    const listenUNIX = reactor.listenUNIX.bind(reactor);
    reactor.listenUNIX = (path, factory, options) =>
      listenUNIX(path, this.#watch(factory, 'server', name), options);
    const connectUNIX = reactor.connectUNIX.bind(reactor);
    reactor.connectUNIX = (path, factory, options) =>
      connectUNIX(path, this.#watch(factory, 'client', name), options);
    return host;
  }

  #watch<F extends IProtocolFactory | IClientFactory>(
    factory: F,
    side: 'client' | 'server',
    host: string,
  ): F {
    if (this.#watched.has(factory)) return factory;
    this.#watched.add(factory);
    const build = factory.buildProtocol.bind(factory);
    factory.buildProtocol = (address: Address) => {
      const protocol = build(address);
      if (protocol == null) {
        this.refused++;
        this.onRefused?.(address);
      } else this.#attend(protocol, side, host);
      return protocol;
    };
    return factory;
  }

  /** Notes what a reactor tells a protocol, and that it is told in order. */
  #attend(protocol: IProtocol, side: 'client' | 'server', host: string): void {
    const connection: Connection = {
      side,
      host,
      protocol,
      made: 0,
      lost: 0,
      received: 0,
      transport: undefined,
    };
    this.connections.push(connection);
    const makeConnection = protocol.makeConnection.bind(protocol);
    const dataReceived = protocol.dataReceived.bind(protocol);
    const connectionLost = protocol.connectionLost.bind(protocol);
    protocol.makeConnection = (transport) => {
      if (connection.made++ > 0) this.fault('makeConnection was called twice');
      connection.transport = transport;
      this.onChange?.(connection);
      makeConnection(transport);
    };
    protocol.dataReceived = (data) => {
      if (connection.made === 0 || connection.lost > 0)
        this.fault('dataReceived was called before makeConnection or after connectionLost');
      if (connection.transport?.disconnecting === true)
        this.fault('dataReceived was called after loseConnection');
      connection.received += data.length;
      this.onChange?.(connection);
      dataReceived(data);
      const buffered = connection.transport?.bufferedBytes ?? 0;
      if (side === 'server' && buffered > MARK + Math.min(READ_SIZE, this.sim.conditions.window))
        this.fault(`${buffered} bytes wait to be sent on a connection of ${host}`);
    };
    protocol.connectionLost = (reason) => {
      if (connection.made === 0 || connection.lost++ > 0)
        this.fault('connectionLost was called before makeConnection or twice');
      if (!(reason instanceof Failure) || !reason.check(ConnectionDone, ConnectionLost))
        this.fault(`connectionLost was told ${String(reason)}`);
      if (connection.transport?.connected === true)
        this.fault('a transport says that it is connected in connectionLost');
      connectionLost(reason);
    };
  }

  /** The connections of a side that are open. */
  open(side: 'client' | 'server'): Connection[] {
    return this.connections.filter((each) => each.side === side && each.made > each.lost);
  }

  /** Something is not as it must be; the run has failed. */
  fault(what: string): void {
    this.#faults.push(`at ${this.sim.seconds().toFixed(6)}: ${what}`);
  }

  /**
   * Holds one exchange against the model.
   *
   * @param deadline how many seconds it may take
   * @param check says what is wrong with the answer; undefined if it is right
   * @param errors what it may fail with, unless the network is calm
   * @returns fires when it is over, however that was
   */
  exchange<T>(
    name: string,
    deadline: Seconds,
    work: Deferred<T | typeof CANCELLED>,
    check: (answer: T) => string | undefined,
    errors: readonly ErrorClass[] = NETWORK_ERRORS,
  ): Deferred<void> {
    const began = this.sim.seconds();
    const over = (outcome: string): void => {
      const took = this.sim.seconds() - began;
      if (took > deadline + 1e-6)
        this.fault(`${name} took ${took} seconds, and should have taken at most ${deadline}`);
      this.#tally.count(this.climate, outcome);
    };
    return work.addCallbacks(
      (answer) => {
        const wrong = answer === CANCELLED ? undefined : check(answer);
        if (wrong !== undefined) this.fault(`${name}: ${wrong}`);
        over('right');
      },
      (failure: Failure) => {
        const { value } = failure;
        if (!failure.check(...errors)) this.fault(`${name} failed with ${failure.getTraceback()}`);
        else if (
          this.strict &&
          value instanceof ConnectionDone &&
          !this.struck('truncate', 'exhaust')
        )
          this.fault(`${name} was cut short, and no fault has done it`);
        else if (this.calm)
          this.fault(`${name} failed in a calm network: ${failure.getErrorMessage()}`);
        over(value.name);
      },
    );
  }

  /**
   * Cancels one in ten, at a moment by chance. That it says so is the right answer then, and so is one that was quicker.
   *
   * @param within seconds after which it is not cancelled any more
   * @param error how it says so
   */
  perhapsCancelled<T>(
    host: string,
    work: Deferred<T>,
    within: Seconds,
    error: ErrorClass,
  ): Deferred<T | typeof CANCELLED> {
    if (!this.random.chance(0.1)) return work;
    const call = this.host(host).reactor.callLater(this.random.between(0, within), () => {
      work.cancel();
    });
    return work.addBoth((result) => {
      if (!call.active())
        return result instanceof Failure && result.check(error) ? CANCELLED : result;
      call.cancel();
      return result;
    });
  }

  /** True if a fault of one of these kinds has struck in this run. */
  struck(...kinds: readonly string[]): boolean {
    return this.sim.faults.some((name) => kinds.includes(name.slice(0, name.indexOf(' '))));
  }

  /** Fires when all of them have. */
  all(works: readonly Deferred<unknown>[]): Deferred<unknown> {
    return gatherResults(works);
  }

  /** Some bytes by chance. */
  bytes(most: number): Buffer {
    const bytes = Buffer.alloc(this.random.size(most));
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.random.int(256);
    return bytes;
  }

  /** One of them by chance. */
  pick<T>(things: readonly T[]): T {
    return things[this.random.int(things.length)] as T;
  }

  /** Waits until all connections are over; then no machine has a call waiting. */
  quiet(waited: Seconds = 0): Deferred<unknown> {
    const open = this.connections.some(({ made, lost }) => made > lost);
    if (open && waited < QUIET)
      return deferLater(this.sim.host('quiet').reactor, LOOK).addCallback(() =>
        this.quiet(waited + LOOK),
      );
    for (const name of this.#hosts) this.checkCalls(name);
    return succeed();
  }

  /** On this machine no call may be waiting now. */
  checkCalls(name: string): void {
    for (const call of this.sim.host(name).reactor.getDelayedCalls())
      this.fault(`${name} has a call waiting for nothing: ${String(call)}`);
  }

  /** @throws Error with all faults, if there are any */
  check(): void {
    for (const { side, host, made, lost } of this.connections) {
      if (made !== 1 || lost !== 1)
        this.fault(`a ${side}'s connection of ${host} was made ${made} times and lost ${lost}`);
    }
    if (this.#faults.length > 0) throw new Error(this.#faults.join('\n  '));
  }
}

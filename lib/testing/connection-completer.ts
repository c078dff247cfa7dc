/**
 * Ends the attempts to connect of a {@link MemoryReactor}, one by one, as a network would: well or badly. Twisted:
 * `ConnectionCompleter` of `twisted.test.iosim`.
 */
import { type Address, ipAddress, UNIXAddress } from '../address.ts';
import { ConnectionRefusedError } from '../errors.ts';
import { Failure } from '../failure.ts';
import { TCP4ClientEndpoint } from '../endpoints.ts';
import type { IProtocol, IStreamClientEndpoint, ITLSTransport, ITransport } from '../interfaces.ts';
import type { ConnectTarget } from '../io/io.ts';
import type { MemoryAttempt, MemoryListener } from './memory-io.ts';
import { type MemoryReactor, MemoryReactorClock } from './memory-reactor.ts';
import { Factory, Protocol } from '../protocol.ts';
import { MemoryWire, type PumpPolicy } from './memory-wire.ts';
import { IOPump } from './pump.ts';
import { INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

/**
 * An endpoint to connect to in memory, and what ends its attempts: where it leads, a protocol listens that does nothing.
 * Twisted: `connectableEndpoint` of `iosim`.
 *
 * @example
 * const [endpoint, completer] = connectableEndpoint();
 * const connected = connectProtocol(endpoint, new Protocol());
 * completer.succeedOnce();
 * successResultOf(connected).connected;   // true
 */
export function connectableEndpoint(): [IStreamClientEndpoint, ConnectionCompleter] {
  const reactor = new MemoryReactorClock();
  reactor.listenTCP(4321, Factory.forProtocol(Protocol), { interface: '127.0.0.1' });
  const endpoint = new TCP4ClientEndpoint(reactor, '127.0.0.1', 4321);
  return [endpoint, new ConnectionCompleter(reactor)];
}

/**
 * Ends attempts to connect. Each attempt counts, of whatever kind, also those that a connector makes again; the first
 * comes first.
 *
 * @example
 * const reactor = new MemoryReactor();
 * const endpoint = new TCP4ClientEndpoint(reactor, 'example.com', 80);
 * const connected = connectProtocol(endpoint, new Protocol());
 * const server = new AccumulatingProtocol();
 * const pump = new ConnectionCompleter(reactor).succeedOnce(server);
 * successResultOf(connected).transport.write('hello');
 * pump.flush();
 * server.data.toString(); // 'hello'
 */
export class ConnectionCompleter {
  readonly #reactor: MemoryReactor;
  readonly #pumpPolicy: PumpPolicy | undefined;

  /** @param options.pumpPolicy how what is written arrives. Default: all as one piece */
  constructor(reactor: MemoryReactor, options: { readonly pumpPolicy?: PumpPolicy } = {}) {
    this.#reactor = reactor;
    this.#pumpPolicy = options.pumpPolicy;
  }

  /** How many attempts go on. */
  get pending(): number {
    return this.#reactor.memory.attempts.size;
  }

  /**
   * The first attempt that goes on becomes a connection: with a port of the same reactor that listens there, or with
   * `server`. Both ends are told before this returns, the server first; what they say waits for the pump. Where a
   * factory builds no protocol, the pump has no transport.
   *
   * @throws Error if no attempt goes on, or nobody listens
   */
  succeedOnce(server?: IProtocol): IOPump<ITLSTransport | undefined> {
    const { memory } = this.#reactor;
    const attempt = this.#first();
    const listener = server === undefined ? this.#listener(attempt.target) : undefined;
    attempt.cancel();
    const peer = addressOf(attempt.target);
    const [clientWire, serverWire] = MemoryWire.pair(memory.turns, {
      addresses: [memory.clientAddress(peer), peer],
      pumpPolicy: this.#pumpPolicy,
    });
    const serverIO =
      server === undefined
        ? this.#opened(() => listener?.events.accepted(serverWire))
        : memory.serve(serverWire, server);
    const clientIO = this.#opened(() => attempt.events.connected(clientWire));
    return new IOPump(memory.turns, clientIO, serverIO);
  }

  /**
   * The first attempt that goes on fails.
   *
   * @param reason default: ConnectionRefusedError
   * @throws Error if no attempt goes on
   */
  failOnce(reason: Failure | Error = new ConnectionRefusedError('connection refused')): void {
    const attempt = this.#first();
    attempt.cancel();
    attempt.events.failed(reason instanceof Failure ? reason.value : reason);
  }

  #first(): MemoryAttempt {
    const [attempt] = this.#reactor.memory.attempts;
    if (attempt === undefined) throw new Error('no attempt to connect goes on');
    return attempt;
  }

  #listener(target: ConnectTarget): MemoryListener {
    for (const listener of this.#reactor.memory.listeners) {
      const { address } = listener;
      if ('path' in target) {
        if (address instanceof UNIXAddress && address.name === target.path) return listener;
      } else if ('port' in address && address.port === target.port) return listener;
    }
    throw new Error(
      `nobody listens at ${addressOf(target)}: hand succeedOnce the protocol of the other end`,
    );
  }

  /** What comes to be a connection while `act` goes on. */
  #opened(act: () => void): ITLSTransport | undefined {
    let opened: ITLSTransport | undefined;
    // All connections of a MemoryReactor are Streams.
    const note = (transport: ITransport): void => void (opened ??= transport as ITLSTransport);
    this.#reactor.events.on('connected', note);
    act();
    this.#reactor.events.off('connected', note);
    return opened;
  }

  toString(): string {
    return told(this, `${this.pending} pending`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** What is connected to. */
function addressOf(target: ConnectTarget): Address {
  return 'path' in target
    ? new UNIXAddress(target.path)
    : ipAddress('TCP', target.host, target.port);
}

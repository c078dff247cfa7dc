/**
 * What the simulator costs: exchanges of echo, on connections one after another and beside one another, and an hour in
 * which a hundred connections do nothing. For a look, not for a test: it measures CPU.
 */
import { connectProtocol, Factory, Protocol, TCP4ClientEndpoint } from 'plait';
import { EchoFactory } from 'plait/protocols/echo';
import { TimeoutFactory } from 'plait/protocols/policies';
import { type FaultLevel, Simulation } from 'plait/testing';

const CLIENTS = 10;
const EXCHANGES = 5000;
const IDLE = 100;
const HOUR = 3600;

class Caller extends Protocol {
  left = EXCHANGES;
  readonly #ping = Buffer.alloc(32, 'ping');
  #missing = 0;

  override connectionMade(): void {
    this.#call();
  }

  #call(): void {
    this.#missing = this.#ping.length;
    this.transport.write(this.#ping);
  }

  override dataReceived(data: Buffer): void {
    this.#missing -= data.length;
    if (this.#missing > 0) return;
    if (--this.left > 0) this.#call();
    else this.transport.loseConnection();
  }
}

/** CPU seconds that `work` takes. */
function cost(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

function connect(sim: Simulation, protocol: Protocol): void {
  const [address] = sim.host('server').addresses;
  const endpoint = new TCP4ClientEndpoint(sim.host('client').reactor, address, 7);
  connectProtocol(endpoint, protocol);
}

/** Exchanges per second of CPU. */
export function echoSpeed(conditions: FaultLevel): number {
  const sim = new Simulation({ seed: 1, conditions, trace: 0 });
  sim.host('server').reactor.listenTCP(7, new EchoFactory());
  const callers = Array.from({ length: CLIENTS }, () => new Caller());
  for (const caller of callers) connect(sim, caller);
  const took = cost(() => sim.run());
  if (callers.some(({ left }) => left > 0)) throw new Error('not all exchanges were made');
  return (CLIENTS * EXCHANGES) / took;
}

/** CPU seconds for making, and an hour of, a hundred connections on which nothing is said, with a timeout for each. */
export function idleCost(): number {
  const sim = new Simulation({ seed: 1, conditions: 'calm', trace: 0 });
  const { reactor } = sim.host('server');
  const idle = new TimeoutFactory(Factory.forProtocol(Protocol), {
    timeout: 2 * HOUR,
    clock: reactor,
  });
  reactor.listenTCP(7, idle);
  for (let i = 0; i < IDLE; i++) {
    connect(sim, new Protocol());
  }
  const took = cost(() => sim.advance(HOUR));
  const { size } = idle.protocols;
  if (size !== IDLE) throw new Error(`only ${size} are connected`);
  return took;
}

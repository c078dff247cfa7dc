/**
 * What the types of the test doubles must say. Nothing here is run: the type checker is the test. A line `is<…>(…)` must
 * compile, since the value has exactly that type; one behind `@ts-expect-error` must not.
 */
import {
  type Deferred,
  Factory,
  type IReactorCore,
  type IReactorMulticast,
  type IReactorPluggableNameResolver,
  type IReactorProcess,
  type IReactorSocket,
  type IReactorSSL,
  type IReactorTCP,
  type IReactorTime,
  type IReactorUDP,
  type IReactorUNIX,
  type ITLSTransport,
  type IUDPTransport,
  Protocol,
} from 'plait';
import {
  AccumulatingProtocol,
  checkClean,
  checkFraming,
  Clock,
  ConnectionCompleter,
  connectedServerAndClient,
  FakeDatagramTransport,
  type FakeTransport,
  type IOPump,
  loopback,
  MemoryReactor,
  MemoryReactorClock,
  RaisingMemoryReactor,
  StringTransport,
  type TCPServerRecord,
} from 'plait/testing';

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the argument's type is exactly `Expected`. */
declare function is<Expected>(): <Actual>(
  value: Actual & (Same<Actual, Expected> extends true ? unknown : never),
) => void;

class Server extends Protocol {
  readonly names: string[] = [];
}

class Needy extends Protocol {
  readonly size: number;
  constructor(size: number) {
    super();
    this.size = size;
  }
}

// ── Both ends keep their types ───────────────────────────────────────────────────────────────────────────────────────
const joined = connectedServerAndClient(Server, AccumulatingProtocol);
is<Server>()(joined.server);
is<AccumulatingProtocol>()(joined.client);
is<IOPump<FakeTransport>>()(joined.pump);
is<Needy>()(connectedServerAndClient({ buildProtocol: () => new Needy(1) }, Server).server);
is<Server>()(connectedServerAndClient(Factory.forProtocol(Server), Server).server);
connectedServerAndClient(Server, Server, { clock: new Clock() });
connectedServerAndClient(Server, Server, { clock: new MemoryReactorClock() });
// @ts-expect-error a class that needs arguments cannot be made
connectedServerAndClient(Needy, Server);
// @ts-expect-error an instance is neither a class nor a factory
connectedServerAndClient(new Server(), Server);
// @ts-expect-error a reactor whose time stands still is no clock for a pump
connectedServerAndClient(Server, Server, { clock: new MemoryReactor() });
is<Deferred<void>>()(loopback(new Server(), new Server()));
is<Deferred<AccumulatingProtocol>>()(joined.client.closedDeferred);

// ── A MemoryReactor is a reactor ─────────────────────────────────────────────────────────────────────────────────────
const reactor = new MemoryReactorClock();
reactor satisfies IReactorCore &
  IReactorTime &
  IReactorTCP &
  IReactorSSL &
  IReactorUNIX &
  IReactorUDP &
  IReactorMulticast &
  IReactorSocket &
  IReactorProcess &
  IReactorPluggableNameResolver;
is<TCPServerRecord[]>()(reactor.tcpServers);
// @ts-expect-error a record has names, not numbers
void reactor.tcpServers[0]?.[0];
// @ts-expect-error time stands still
new MemoryReactor().advance(1);
new RaisingMemoryReactor({ listenException: new RangeError() });
// @ts-expect-error what is thrown is an Error
new RaisingMemoryReactor({ listenException: 'no' });
is<ITLSTransport | undefined>()(new ConnectionCompleter(reactor).succeedOnce().serverIO);
is<Promise<void>>()(checkClean(reactor));

// ── Transports are transports ────────────────────────────────────────────────────────────────────────────────────────
new StringTransport() satisfies ITLSTransport;
new FakeDatagramTransport() satisfies IUDPTransport;

// ── The state that is compared is that of the protocol ───────────────────────────────────────────────────────────────
checkFraming(() => new Server(), 'x', { state: ({ names }) => names.length });
// @ts-expect-error it has no such thing
checkFraming(() => new Server(), 'x', { state: ({ missing }) => missing });

/** Names: the resolver (lib/resolver.ts), HostnameEndpoint and ClientCreator, which stand on it. */
import fc from 'fast-check';
import {
  type Address,
  CancelledError,
  ClientCreator,
  ComplexResolverSimplifier,
  ConnectError,
  ConnectingCancelledError,
  ConnectionLost,
  ConnectionRefusedError,
  connectProtocol,
  Deferred,
  DNSLookupError,
  Factory,
  fail,
  Failure,
  GAIResolver,
  HostnameEndpoint,
  type HostnameEndpointOptions,
  type IClientFactory,
  type IConnector,
  type IDelayedCall,
  type IHostnameResolver,
  type IListeningPort,
  type IProtocol,
  type IReactorPluggableNameResolver,
  type IReactorTCP,
  type IReactorTime,
  type IResolutionReceiver,
  type IResolverSimple,
  IPv4Address,
  IPv6Address,
  NoProtocol,
  NoRouteError,
  Protocol,
  Reactor,
  type ResolvedAddressClass,
  SimpleResolverComplexifier,
  succeed,
  TimeoutError,
  UserError,
} from 'plait';
import {
  assertNoResult,
  Clock,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import { ipAddress } from '../../lib/address.ts';
import { NodeIO } from '../../lib/io/node.ts';
import t, { type Test } from '../fixture.ts';

const LOOPBACK = '127.0.0.1';
const tooMany = () => new RangeError('7 is too many');
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The number of a port that is bound. */
const numberOf = (port: IListeningPort) => (port.getHost() as { port?: number }).port ?? 0;

/** Writes down what a resolver tells it. */
class Listener implements IResolutionReceiver {
  readonly heard: string[] = [];
  error: Error | undefined;
  /** What to do when it has begun. */
  begun: (resolution: { cancel(): void }) => void = () => {};

  resolutionBegan(resolution: { name: string; cancel(): void }): void {
    this.heard.push(`began ${resolution.name}`);
    this.begun(resolution);
  }

  addressResolved(address: IPv4Address | IPv6Address): void {
    this.heard.push(`${address.type} ${address}`);
  }

  resolutionComplete(error?: Error): void {
    this.heard.push('complete');
    this.error = error;
  }
}

/** A body's `resolve` that answers when the test says so. */
class Question {
  readonly asked: {
    host: string;
    family: 4 | 6 | undefined;
    done: (error: Error | undefined, addresses: readonly string[]) => void;
    cancelled: boolean;
  }[] = [];

  readonly resolve: ConstructorParameters<typeof GAIResolver>[0] = (host, done, family) => {
    const question = { host, family, done, cancelled: false };
    this.asked.push(question);
    return {
      cancel() {
        question.cancelled = true;
      },
    };
  };

  get last() {
    return this.asked.at(-1) as (typeof this.asked)[0];
  }
}

// ── Resolvers ────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('the system as a resolver', async (t) => {
  t.test('tells of each address, in the order of the system, each once', async (t) => {
    const question = new Question();
    const listener = new Listener();
    const resolver = new GAIResolver(question.resolve);
    const resolution = resolver.resolveHostName(listener, 'tea.test', 80);
    t.equal(resolution.name, 'tea.test');
    t.match(question.last, { host: 'tea.test', family: undefined });
    t.same(listener.heard, ['began tea.test']);
    question.last.done(undefined, ['2001:db8::7', '192.0.2.7', '192.0.2.7', 'fe80::1%eth0']);
    t.same(listener.heard.slice(1), [
      'TCP [2001:db8::7]:80',
      'TCP 192.0.2.7:80',
      'TCP [fe80::1%eth0]:80',
      'complete',
    ]);
    t.equal(listener.error, undefined);
    resolution.cancel();
    t.equal(question.last.cancelled, false, 'it was over');
  });

  t.test('is asked for the families that are wanted, for what they are wanted', async (t) => {
    const kinds: [ResolvedAddressClass[], 4 | 6 | undefined, string[]][] = [
      [[IPv4Address], 4, ['UDP 192.0.2.7:53']],
      [[IPv6Address], 6, ['UDP [2001:db8::7]:53']],
      [[IPv6Address, IPv4Address], undefined, ['UDP [2001:db8::7]:53', 'UDP 192.0.2.7:53']],
    ];
    for (const [types, family, heard] of kinds) {
      const question = new Question();
      const listener = new Listener();
      new GAIResolver(question.resolve).resolveHostName(listener, 'tea.test', 53, types, 'UDP');
      t.equal(question.last.family, family);
      question.last.done(undefined, ['2001:db8::7', '192.0.2.7']);
      t.same(listener.heard.slice(1, -1), heard);
    }
  });

  t.test('says why there is no address', async (t) => {
    const cause = Object.assign(new Error('getaddrinfo'), { code: 'ENOTFOUND' });
    for (const [error, addresses, message] of [
      [cause, [], 'cannot look up tea.test: host name not found (ENOTFOUND)'],
      [undefined, [], 'no address is known for tea.test'],
      [undefined, ['192.0.2.7'], 'no address is known for tea.test'],
    ] as const) {
      const question = new Question();
      const listener = new Listener();
      new GAIResolver(question.resolve).resolveHostName(listener, 'tea.test', 0, [IPv6Address]);
      question.last.done(error, addresses);
      t.same(listener.heard, ['began tea.test', 'complete']);
      t.match(listener.error, { name: 'DNSLookupError', message, cause: error });
    }
  });

  t.test('is not asked about literals', async (t) => {
    const question = new Question();
    const resolver = new GAIResolver(question.resolve);
    const listener = new Listener();
    resolver.resolveHostName(listener, '::1', 80);
    t.same(listener.heard, ['began ::1', 'TCP [::1]:80', 'complete']);
    const other = new Listener();
    resolver.resolveHostName(other, '::1', 80, [IPv4Address]);
    t.same(other.heard, ['began ::1', 'complete']);
    t.match(other.error, { message: 'no address is known for ::1' });
    t.same(question.asked, []);
  });

  t.test('is asked for names in ASCII', async (t) => {
    const question = new Question();
    new GAIResolver(question.resolve).resolveHostName(new Listener(), 'BÜCHER。test');
    t.equal(question.last.host, 'xn--bcher-kva.test');
  });

  t.test('TLS-03: is not asked for what cannot be a name', async (t) => {
    const question = new Question();
    const listener = new Listener();
    const resolver = new GAIResolver(question.resolve);
    for (const host of ['localhost\0.evil.test', '', '127.1', '0x7f.1', '2130706433', 'tea..test'])
      t.throws(() => resolver.resolveHostName(listener, host), RangeError);
    t.same(question.asked, []);
    t.same(listener.heard, []);
  });

  t.test('cancelled, says no more', async (t) => {
    const question = new Question();
    const resolver = new GAIResolver(question.resolve);
    const listener = new Listener();
    const resolution = resolver.resolveHostName(listener, 'tea.test');
    resolution.cancel();
    resolution.cancel();
    t.equal(question.last.cancelled, true);
    question.last.done(undefined, ['192.0.2.7']);
    t.same(listener.heard, ['began tea.test']);

    const early = new Listener();
    early.begun = (begun) => begun.cancel();
    resolver.resolveHostName(early, 'tea.test');
    t.equal(question.asked.length, 1, 'cancelled when it begins, asks nothing');
    t.same(early.heard, ['began tea.test']);

    const between = new Listener();
    between.addressResolved = () => current.cancel();
    const current = resolver.resolveHostName(between, 'tea.test');
    question.last.done(undefined, ['192.0.2.7', '192.0.2.8']);
    t.same(between.heard, ['began tea.test']);
  });

  t.test('goes on where a receiver fails, and logs that', async (t) => {
    const question = new Question();
    const failing: IResolutionReceiver = {
      resolutionBegan() {
        throw tooMany();
      },
      addressResolved() {
        throw tooMany();
      },
      resolutionComplete() {
        throw tooMany();
      },
    };
    new GAIResolver(question.resolve).resolveHostName(failing, 'tea.test');
    question.last.done(undefined, ['192.0.2.7', '::1']);
    t.equal(flushLoggedErrors(RangeError).length, 4);
  });
});

t.test('a simple resolver as one of many addresses', async (t) => {
  const simple = (answer: () => Deferred<string>): IHostnameResolver =>
    new SimpleResolverComplexifier({ getHostByName: answer });
  const heard = (
    resolver: IHostnameResolver,
    host = 'tea.test',
    types?: ResolvedAddressClass[],
  ) => {
    const listener = new Listener();
    resolver.resolveHostName(listener, host, 80, types);
    return [...listener.heard, listener.error?.message];
  };

  t.test('tells of the one address', async (t) => {
    const resolver = simple(() => succeed('192.0.2.7'));
    t.same(heard(resolver), ['began tea.test', 'TCP 192.0.2.7:80', 'complete', undefined]);
    t.same(heard(resolver, '::1'), ['began ::1', 'TCP [::1]:80', 'complete', undefined]);
  });

  t.test('says why there is none', async (t) => {
    const none = 'no address is known for tea.test';
    const own = new DNSLookupError('out of tea');
    for (const [answer, message, types] of [
      [() => fail(own), 'out of tea'],
      [() => fail(tooMany()), 'cannot look up tea.test: 7 is too many'],
      [
        () => {
          throw tooMany();
        },
        'cannot look up tea.test: 7 is too many',
      ],
      [() => succeed('tea'), none],
      [() => succeed(undefined as never), none],
      [() => succeed('192.0.2.7'), none, [IPv6Address]],
    ] as [() => Deferred<string>, string, ResolvedAddressClass[]?][])
      t.same(heard(simple(answer), 'tea.test', types), ['began tea.test', 'complete', message]);
    t.throws(
      () =>
        heard(
          simple(() => fail(own)),
          'tea pot',
        ),
      RangeError,
    );
  });

  t.test('cancelled, cancels its Deferred', async (t) => {
    let cancelled = 0;
    const listener = new Listener();
    const resolver = simple(
      () =>
        new Deferred<string>(() => {
          cancelled++;
        }),
    );
    resolver.resolveHostName(listener, 'tea.test').cancel();
    t.equal(cancelled, 1);
    t.same(listener.heard, ['began tea.test']);
  });
});

t.test('a resolver of many addresses as a simple one', async (t) => {
  const question = new Question();
  const simple = new ComplexResolverSimplifier(new GAIResolver(question.resolve));

  t.test('has an IPv4 address if there is any, or else the first', async (t) => {
    for (const [addresses, chosen] of [
      [['2001:db8::7', '192.0.2.7', '192.0.2.8'], '192.0.2.7'],
      [['fe80::1%eth0', '2001:db8::8'], 'fe80::1%eth0'],
    ] as const) {
      const d = simple.getHostByName('tea.test');
      assertNoResult(d);
      question.last.done(undefined, addresses);
      t.equal(successResultOf(d), chosen);
    }
    t.equal(successResultOf(simple.getHostByName('::1')), '::1');
  });

  t.test('fails, and can be cancelled', async (t) => {
    const failing = simple.getHostByName('tea.test');
    question.last.done(new Error('no'), []);
    failureResultOf(failing, DNSLookupError);
    const cancelled = simple.getHostByName('tea.test');
    cancelled.cancel();
    t.equal(question.last.cancelled, true);
    failureResultOf(cancelled, CancelledError);
  });

  t.test('is not misled by a resolver that talks on', async (t) => {
    let receiver: IResolutionReceiver | undefined;
    const talker: IHostnameResolver = {
      resolveHostName(given, name) {
        receiver = given;
        const resolution = { name, cancel() {} };
        given.resolutionBegan(resolution);
        given.addressResolved(new IPv4Address('TCP', '192.0.2.7', 80));
        given.resolutionComplete();
        given.resolutionComplete(tooMany());
        return resolution;
      },
    };
    t.equal(
      successResultOf(new ComplexResolverSimplifier(talker).getHostByName('tea.test')),
      '192.0.2.7',
    );
    receiver?.resolutionComplete();
  });
});

// ── The reactor's ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Answers when the test says so. */
class Manual implements IHostnameResolver {
  readonly lookups: {
    name: string;
    types: readonly ResolvedAddressClass[] | undefined;
    receiver: IResolutionReceiver;
    cancelled: boolean;
  }[] = [];

  resolveHostName(
    receiver: IResolutionReceiver,
    name: string,
    port?: number,
    types?: readonly ResolvedAddressClass[],
  ) {
    const lookup = { name, types, receiver, cancelled: false };
    this.lookups.push(lookup);
    const resolution = {
      name,
      cancel() {
        lookup.cancelled = true;
      },
    };
    receiver.resolutionBegan(resolution);
    return resolution;
  }

  /** The lookup of a family. */
  of(type: ResolvedAddressClass) {
    return this.lookups.findLast(({ types }) => types?.includes(type) === true);
  }
}

/** Tells at once. */
const answering = (...literals: string[]): IHostnameResolver => ({
  resolveHostName(receiver, name, port = 0) {
    const resolution = { name, cancel() {} };
    receiver.resolutionBegan(resolution);
    for (const literal of literals) receiver.addressResolved(ipAddress('TCP', literal, port));
    receiver.resolutionComplete();
    return resolution;
  },
});

/** A reactor on a body's clock that stands still until it is moved. */
function onClock(): { reactor: Reactor; advance: (seconds: number) => void } {
  let now = 0;
  let wake = (): void => {};
  class Still extends NodeIO {
    override now(): number {
      return now;
    }
    override alarm(fn: () => void) {
      wake = fn;
      return { set() {}, clear() {} };
    }
  }
  const advance = (seconds: number): void => {
    now += seconds;
    wake();
  };
  return { reactor: new Reactor({ io: new Still() }), advance };
}

/** Hears how its attempt went. */
class Telling extends Factory<Protocol> implements IClientFactory {
  override noisy = false;
  override protocol = Protocol;
  readonly failed = new Deferred<Error>();
  startedConnecting(): void {}
  clientConnectionFailed(_connector: IConnector, { value }: Failure): void {
    this.failed.callback(value);
  }
  clientConnectionLost(): void {}
}

t.test('the resolver of a reactor can be replaced', async (t) => {
  t.test('by one of many addresses, for resolve and for connectTCP', async (t) => {
    const reactor = new Reactor();
    const manual = new Manual();
    const former = reactor.installNameResolver(manual);
    t.ok(former instanceof GAIResolver);
    t.equal(reactor.nameResolver, manual);
    const d = reactor.resolve('tea.test');
    const factory = new Telling();
    reactor.connectTCP('tea.test', 80, factory);
    for (const { name, receiver } of manual.lookups) {
      t.equal(name, 'tea.test');
      receiver.resolutionComplete(new DNSLookupError('out of tea'));
    }
    t.equal(failureResultOf(d, DNSLookupError).value.message, 'out of tea');
    t.equal(successResultOf(factory.failed).message, 'out of tea');
    t.equal(reactor.installNameResolver(former), manual);
    t.equal(reactor.nameResolver, former);
  });

  t.test('by a simple one', async (t) => {
    const reactor = new Reactor();
    const asked: unknown[] = [];
    const simple: IResolverSimple = {
      getHostByName(...args) {
        asked.push(args);
        return succeed(LOOPBACK);
      },
    };
    const former = reactor.installResolver(simple);
    t.equal(successResultOf(reactor.resolve('tea.test')), LOOPBACK);
    t.equal(successResultOf(reactor.resolve('tea.test', [5])), LOOPBACK);
    t.same(asked, [
      ['tea.test', [1, 3, 11, 45]],
      ['tea.test', [5]],
    ]);
    t.ok(reactor.nameResolver instanceof SimpleResolverComplexifier);
    const port = reactor.listenTCP(0, Factory.forProtocol(Protocol), { interface: LOOPBACK });
    await port.ready;
    const number = numberOf(port);
    const made = new Deferred<void>();
    class Hello extends Protocol {
      override connectionMade(): void {
        this.transport.loseConnection();
      }
      override connectionLost(): void {
        made.callback();
      }
    }
    const factory = new Telling();
    factory.protocol = Hello;
    reactor.connectTCP('tea.test', number, factory);
    await made;
    await port.stopListening();
    t.equal(reactor.installResolver(former), simple);
    t.match(await reactor.resolve('localhost'), /^127\.|^::1$/);
  });

  t.test('by nothing else', async (t) => {
    const reactor = new Reactor();
    for (const wrong of [null, undefined, {}, 7] as never[]) {
      t.throws(() => reactor.installNameResolver(wrong), {
        name: 'TypeError',
        message: /^resolver must be an object with resolveHostName, not /,
      });
      t.throws(() => reactor.installResolver(wrong), /getHostByName/);
    }
  });

  t.test('an answer from inside the question does no harm', async (t) => {
    const reactor = new Reactor();
    reactor.installNameResolver(answering());
    const told: string[] = [];
    const factory = new Telling();
    factory.startedConnecting = () => told.push('started');
    factory.failed.addCallback((error) => told.push(error.message));
    reactor.connectTCP('tea.test', 80, factory);
    t.same(told, ['started']);
    await turn();
    t.same(told, ['started', 'no address is known for tea.test']);
    const stopped = new Telling();
    const connector = reactor.connectTCP('tea.test', 80, stopped);
    connector.stopConnecting();
    t.ok(successResultOf(stopped.failed) instanceof UserError);
    await turn();
    reactor.installNameResolver({
      resolveHostName() {
        throw tooMany();
      },
    });
    const failing = new Telling();
    reactor.connectTCP('tea.test', 80, failing);
    t.equal((await failing.failed).message, 'cannot look up tea.test: 7 is too many');
  });

  t.test('resolve fails when its time has passed', async (t) => {
    const { reactor, advance } = onClock();
    const manual = new Manual();
    reactor.installNameResolver(manual);
    const d = reactor.resolve('tea.test');
    advance(59);
    assertNoResult(d);
    advance(1);
    const { message } = failureResultOf(d, DNSLookupError).value;
    t.equal(message, 'cannot look up tea.test: no answer after 60 seconds');
    t.equal(manual.lookups[0]?.cancelled, true);
    t.same(reactor.getDelayedCalls(), []);
    reactor.installResolver({
      getHostByName: () => new Deferred((deferred) => deferred.callback('192.0.2.7')),
    });
    const saved = reactor.resolve('tea.test', [1, 1]);
    advance(2);
    t.equal(successResultOf(saved), '192.0.2.7', 'what it had when it was cancelled will do');
    t.throws(() => reactor.resolve('tea.test', [1, NaN]), RangeError);
    reactor.installResolver({ getHostByName: () => succeed('tea') });
    t.match(failureResultOf(reactor.resolve('tea.test'), DNSLookupError).value.message, /'tea'$/);
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('is not asked for what cannot be a name', async (t) => {
    const reactor = new Reactor();
    const manual = new Manual();
    reactor.installNameResolver(manual);
    for (const host of ['localhost\0.evil.test', '127.1', 'tea pot', '１２７.0.0.1']) {
      t.throws(() => reactor.resolve(host), RangeError);
      t.throws(() => reactor.connectTCP(host, 80, new Telling()), RangeError);
      const endpoint = new HostnameEndpoint(reactor, host, 80);
      failureResultOf(endpoint.connect(Factory.forProtocol(Protocol)), RangeError);
    }
    t.same(manual.lookups, []);
  });
});

t.test("the default body's lookups", async (t) => {
  const io = new NodeIO();
  const lookUp = (host: string, family?: 4 | 6) => {
    const d = new Deferred<readonly string[]>();
    const attempt = io.resolve(
      host,
      (error, found) => d.callback(error ? [error.message] : found),
      family,
    );
    return { d, attempt };
  };

  t.test('give the addresses of one family, or of both', async (t) => {
    t.match(await lookUp('localhost', 4).d, [/^127\./]);
    for (const literal of await lookUp('localhost').d) t.match(literal, /^127\.|^::1$/);
  });

  t.test('that ask the same are one, and all are answered but those called off', async (t) => {
    const all = [lookUp('localhost', 4), lookUp('localhost', 4), lookUp('localhost', 4)];
    all[1]?.attempt.cancel();
    t.match(await all[0]?.d, [/^127\./]);
    t.match(await all[2]?.d, [/^127\./]);
    assertNoResult(all[1]?.d as Deferred<unknown>);
    all[0]?.attempt.cancel();
  });

  t.test('that are called off before they were begun cost nothing', async (t) => {
    const names = Array.from({ length: 2000 }, (_, i) => `tea-${i}.invalid`);
    const many = names.map((name) => lookUp(name));
    const requests = () =>
      process.getActiveResourcesInfo().filter((type) => type === 'GetAddrInfoReqWrap').length;
    t.ok(requests() <= 64, `${requests()} at once`);
    for (const { attempt } of many) attempt.cancel();
    t.match(await lookUp('localhost', 4).d, [/^127\./], 'those after them are not held up');
    for (const { d } of many) assertNoResult(d);
  });

  t.test('say what went wrong', async (t) => {
    t.match(await lookUp('tea.invalid').d, [/^getaddrinfo /]);
  });
});

// ── HostnameEndpoint ─────────────────────────────────────────────────────────────────────────────────────────────────

type Doing = 'connecting' | 'connected' | 'failed' | 'stopped' | 'refused';

/** One attempt of the double's. */
class FakeConnector implements IConnector {
  readonly literal: string;
  readonly port: number;
  readonly options: object;
  readonly factory: IClientFactory;
  readonly at: number;
  doing: Doing = 'connecting';
  transport: StringTransport | undefined;

  constructor(literal: string, port: number, factory: IClientFactory, options: object, at: number) {
    this.literal = literal;
    this.port = port;
    this.factory = factory;
    this.options = options;
    this.at = at;
    factory.doStart();
    factory.startedConnecting(this);
  }

  get state() {
    if (this.doing === 'connected' || this.doing === 'connecting') return this.doing;
    return 'disconnected' as const;
  }

  connect(): void {}

  getDestination(): Address {
    return ipAddress('TCP', this.literal, this.port);
  }

  stopConnecting(): void {
    this.end('stopped', new UserError('given up'));
  }

  disconnect(): void {
    if (this.doing === 'connecting') this.stopConnecting();
    else this.transport?.loseConnection();
  }

  end(doing: Doing, error: Error): void {
    this.doing = doing;
    this.factory.clientConnectionFailed(this, new Failure(error));
    this.factory.doStop();
  }

  fail(error: Error = new ConnectionRefusedError(`refused by ${this.literal}`)): void {
    if (this.doing === 'connecting') this.end('failed', error);
  }

  /** Connects, even if it was stopped, as a careless reactor might. */
  succeed(): void {
    const protocol: IProtocol | null = this.factory.buildProtocol(this.getDestination());
    this.doing = protocol === null ? 'refused' : 'connected';
    if (protocol === null) {
      this.factory.clientConnectionLost(this, new Failure(new UserError('refused')));
      this.factory.doStop();
      return;
    }
    this.transport = new StringTransport();
    protocol.makeConnection(this.transport);
  }
}

/** A reactor with hands: it has a clock, a resolver and attempts, and the test works them. */
class Hands extends Clock implements IReactorTCP, IReactorPluggableNameResolver {
  /** The resolver, unless another is put in its place. */
  readonly manual = new Manual();
  nameResolver: IHostnameResolver = this.manual;
  readonly attempts: FakeConnector[] = [];
  /** What happens to an attempt. */
  onAttempt: (attempt: FakeConnector) => void = () => {};

  installNameResolver(resolver: IHostnameResolver): IHostnameResolver {
    const former = this.nameResolver;
    this.nameResolver = resolver;
    return former;
  }

  listenTCP(): IListeningPort {
    throw tooMany();
  }

  connectTCP(host: string, port: number, factory: IClientFactory, options = {}): IConnector {
    const attempt = new FakeConnector(host, port, factory, options, this.seconds());
    this.attempts.push(attempt);
    this.onAttempt(attempt);
    return attempt;
  }
}

/** Counts what it builds, and its starts and stops. */
class Counting extends Factory<Protocol> {
  override noisy = false;
  override protocol = Protocol;
  built = 0;
  starts = 0;
  override startFactory(): void {
    this.starts++;
  }
  override buildProtocol(address: Address): Protocol | null {
    this.built++;
    return super.buildProtocol(address);
  }
}

/** When, in seconds, an answer comes, and what it is: addresses, or nothing for one without. */
type Answer = readonly [at: number, ...literals: string[]] | 'never';
/** After how many seconds, and how, an attempt ends. */
type Fate = readonly [after: number, how: 'connects' | 'fails'] | 'hangs';

interface Plan {
  readonly v6: Answer;
  readonly v4: Answer;
  /** By address; others hang. */
  readonly fates?: Readonly<Record<string, Fate>>;
  readonly options?: HostnameEndpointOptions;
}

/** Plays a plan to its end, and says when each attempt began and what came of it. */
function play(plan: Plan): { begun: string[]; outcome: string; hands: Hands; factory: Counting } {
  const hands = new Hands();
  const manual = hands.manual;
  const planned: IDelayedCall[] = [];
  hands.onAttempt = (attempt) => {
    const fate = plan.fates?.[attempt.literal] ?? 'hangs';
    if (fate === 'hangs') return;
    const [after, how] = fate;
    const end = () => {
      if (attempt.doing !== 'connecting') return;
      if (how === 'fails') attempt.fail();
      else attempt.succeed();
    };
    planned.push(hands.callLater(after, end));
  };
  const factory = new Counting();
  const d = new HostnameEndpoint(hands, 'tea.test', 80, plan.options).connect(factory);
  for (const [type, answer] of [
    [IPv6Address, plan.v6],
    [IPv4Address, plan.v4],
  ] as const) {
    if (answer === 'never') continue;
    const [at, ...literals] = answer;
    const lookup = manual.of(type);
    const tell = () => {
      if (lookup === undefined || lookup.cancelled) return;
      for (const literal of literals)
        lookup.receiver.addressResolved(ipAddress('TCP', literal, 80));
      lookup.receiver.resolutionComplete();
    };
    planned.push(hands.callLater(at, tell));
  }
  let outcome = 'none';
  d.addCallbacks(
    () => {
      const winner = hands.attempts.find(({ doing }) => doing === 'connected');
      outcome = `${milliseconds(hands.seconds())} ${winner?.literal}`;
    },
    ({ value }) => {
      outcome = `${milliseconds(hands.seconds())} ${value.name}`;
    },
  );
  for (let i = 0; i < 1000 && outcome === 'none'; i++) {
    const next = Math.min(...hands.getDelayedCalls().map((call) => call.getTime()));
    hands.advance(Math.max(next - hands.seconds(), 0));
  }
  for (const call of planned) if (call.active()) call.cancel();
  const begun = hands.attempts.map(({ at, literal }) => `${milliseconds(at)} ${literal}`);
  return { begun, outcome, hands, factory };
}

const milliseconds = (seconds: number) => Math.round(seconds * 1000);

const A = '192.0.2.1';
const B = '192.0.2.2';
const C = '192.0.2.3';
const X = '2001:db8::1';
const Y = '2001:db8::2';
const Z = '2001:db8::3';

t.test('HostnameEndpoint keeps the rules of RFC 8305', async (t) => {
  const rules: [rule: string, plan: Plan, begun: string[], outcome: string][] = [
    [
      'IPv6 addresses are used as soon as they are there',
      { v6: [0.1, X], v4: [0.5, A], fates: { [X]: [0.05, 'connects'] } },
      [`100 ${X}`],
      `150 ${X}`,
    ],
    [
      'IPv4 addresses wait 50 ms for IPv6 ones, which then go first',
      { v6: [0.14, X], v4: [0.1, A], fates: { [X]: [0.05, 'connects'] } },
      [`140 ${X}`],
      `190 ${X}`,
    ],
    [
      '… and no longer',
      { v6: [0.16, X], v4: [0.1, A], fates: { [A]: [0.05, 'connects'] } },
      [`150 ${A}`],
      `200 ${A}`,
    ],
    [
      '… nor once it is known that there are none',
      { v6: [0.12], v4: [0.1, A], fates: { [A]: [0.05, 'connects'] } },
      [`120 ${A}`],
      `170 ${A}`,
    ],
    [
      'the families take turns',
      { v6: [0, X, Y, Z], v4: [0, A, B], fates: { [Z]: [0.01, 'connects'] } },
      [`0 ${X}`, `250 ${A}`, `500 ${Y}`, `750 ${B}`, `1000 ${Z}`],
      `1010 ${Z}`,
    ],
    [
      'within one the order is the one of the resolver',
      { v6: [0], v4: [0, C, A, B], fates: { [B]: [0, 'connects'] } },
      [`0 ${C}`, `250 ${A}`, `500 ${B}`],
      `500 ${B}`,
    ],
    [
      'the next attempt begins at once when the last has failed',
      { v6: [0, X, Y], v4: [0, A], fates: { [X]: [0.02, 'fails'], [A]: [0.03, 'fails'] } },
      [`0 ${X}`, `20 ${A}`, `50 ${Y}`],
      '30000 TimeoutError',
    ],
    [
      '… but not when an earlier one has',
      { v6: [0, X, Y], v4: [0, A], fates: { [X]: [0.3, 'fails'], [Y]: [0.1, 'connects'] } },
      [`0 ${X}`, `250 ${A}`, `500 ${Y}`],
      `600 ${Y}`,
    ],
    [
      'an earlier attempt may win after others have begun',
      { v6: [0, X], v4: [0, A], fates: { [X]: [0.3, 'connects'], [A]: [0.1, 'connects'] } },
      [`0 ${X}`, `250 ${A}`],
      `300 ${X}`,
    ],
    [
      'late IPv6 addresses join, and have the next turn',
      { v6: [0.2, X], v4: [0, A, B], fates: { [X]: [0.1, 'connects'] } },
      [`50 ${A}`, `300 ${X}`],
      `400 ${X}`,
    ],
    [
      'late addresses are tried at once when nothing else is left to try',
      { v6: [0, X], v4: [1, A], fates: { [X]: [0.1, 'fails'], [A]: [0.1, 'connects'] } },
      [`0 ${X}`, `1000 ${A}`],
      `1100 ${A}`,
    ],
    [
      '… and when the last attempt has had its time',
      { v6: [0, X], v4: [0.5, A], fates: { [A]: [0.1, 'connects'] } },
      [`0 ${X}`, `500 ${A}`],
      `600 ${A}`,
    ],
    [
      '… but not before',
      { v6: [0, X], v4: [0.1, A], fates: { [A]: [0.1, 'connects'] } },
      [`0 ${X}`, `250 ${A}`],
      `350 ${A}`,
    ],
    [
      'both delays can be set',
      {
        v6: [0.5, X],
        v4: [0.1, A, B],
        fates: { [X]: [0.1, 'connects'] },
        options: { attemptDelay: 1, resolutionDelay: 0.2 },
      },
      [`300 ${A}`, `1300 ${X}`],
      `1400 ${X}`,
    ],
    [
      'an answer that never comes does not matter',
      { v6: 'never', v4: [0.1, A], fates: { [A]: [0.1, 'connects'] } },
      [`150 ${A}`],
      `250 ${A}`,
    ],
    ['no answer at all does', { v6: 'never', v4: 'never' }, [], '30000 TimeoutError'],
    ['nor does a name without addresses', { v6: [0.1], v4: [0.2] }, [], '200 DNSLookupError'],
    [
      'all may fail',
      { v6: [0, X], v4: [0, A], fates: { [X]: [0.1, 'fails'], [A]: [0.1, 'fails'] } },
      [`0 ${X}`, `100 ${A}`],
      '200 ConnectionRefusedError',
    ],
    [
      '… which is not known before the last answer',
      { v6: [0, X], v4: [2], fates: { [X]: [0.1, 'fails'] } },
      [`0 ${X}`],
      '2000 ConnectionRefusedError',
    ],
    [
      'all of it is bounded',
      { v6: [0, X], v4: [0, A], options: { timeout: 2 } },
      [`0 ${X}`, `250 ${A}`],
      '2000 TimeoutError',
    ],
    [
      'from a local address only those of its family are tried',
      {
        v6: [0, X],
        v4: [0, A, X, B],
        fates: { [B]: [0, 'connects'] },
        options: { bindAddress: { host: LOOPBACK } },
      },
      [`0 ${A}`, `250 ${B}`],
      `250 ${B}`,
    ],
    [
      '… of either',
      {
        v6: [0, X],
        v4: [0, A],
        fates: { [X]: [0, 'connects'] },
        options: { bindAddress: { host: '::1', port: 0 } },
      },
      [`0 ${X}`],
      `0 ${X}`,
    ],
  ];
  for (const [rule, plan, begun, outcome] of rules) {
    const played = play(plan);
    t.same(played.begun, begun, rule);
    t.equal(played.outcome, outcome, rule);
    t.same(played.hands.getDelayedCalls(), [], `${rule}: no timer is left`);
    for (const { literal, options } of played.hands.attempts)
      t.match(options, { timeout: null }, literal);
  }
});

t.test('HostnameEndpoint', async (t) => {
  /** An endpoint whose name has these addresses. */
  const known = (literals: string[], options: HostnameEndpointOptions = {}) => {
    const hands = new Hands();
    hands.nameResolver = answering(...literals);
    return {
      hands,
      factory: new Counting(),
      endpoint: new HostnameEndpoint(hands, 'tea.test', 80, options),
    };
  };

  t.test('builds one protocol, for the first connection, and gives up the others', async (t) => {
    const { hands, factory, endpoint } = known([X, A, Y]);
    const d = endpoint.connect(factory);
    hands.pump([0.25, 0.25]);
    const [first, second, third] = hands.attempts;
    second?.succeed();
    const protocol = successResultOf(d);
    t.equal(protocol.transport, second?.transport);
    t.equal(protocol.factory, factory);
    t.equal(first?.doing, 'stopped');
    t.equal(third?.doing, 'stopped');
    t.same(hands.getDelayedCalls(), []);
    third?.succeed();
    t.equal(third?.doing, 'refused', 'what connects all the same is closed');
    t.equal(factory.built, 1);
    t.equal(factory.starts, 1);
    t.equal(factory.numPorts, 1);
    second?.factory.doStop();
    t.equal(factory.numPorts, 0);
  });

  t.test('asks for the addresses of both families at once, of IPv6 first', async (t) => {
    const hands = new Hands();
    const manual = hands.manual;
    new HostnameEndpoint(hands, 'BÜCHER.test', 80).connect(new Counting()).addErrback(() => {});
    t.match(manual.lookups, [
      { name: 'xn--bcher-kva.test', types: [IPv6Address] },
      { name: 'xn--bcher-kva.test', types: [IPv4Address] },
    ]);
    t.equal(manual.lookups.length, 2);
    hands.advance(30);
  });

  t.test('needs no resolver for a literal', async (t) => {
    for (const literal of [A, X, 'fe80::1%eth0']) {
      const hands = new Hands();
      const factory = new Counting();
      const d = new HostnameEndpoint(hands, literal, 80).connect(factory);
      t.equal(hands.manual.lookups.length, 0);
      t.equal(hands.attempts[0]?.literal, literal);
      const refused = new ConnectionRefusedError('refused');
      hands.attempts[0]?.fail(refused);
      t.equal(failureResultOf(d).value, refused);
      t.same(hands.getDelayedCalls(), []);
    }
  });

  t.test('tells what became of each address', async (t) => {
    const { hands, factory, endpoint } = known([X, A]);
    const d = endpoint.connect(factory);
    const cause = Object.assign(new Error('connect'), { code: 'ENETUNREACH' });
    const noRoute = new NoRouteError('no route', { cause });
    hands.attempts[0]?.fail(noRoute);
    hands.attempts[1]?.fail();
    const error = failureResultOf(d, ConnectError).value;
    t.equal(error.constructor, ConnectError);
    t.equal(
      error.message,
      `cannot connect to tea.test:80: ${X}: network is unreachable (ENETUNREACH); ${A}: refused by ${A}`,
    );
    t.same(error.errors, [noRoute, hands.attempts[1] && error.errors[1]]);
    t.equal(error.code, undefined);
    t.equal(factory.numPorts, 0);
    t.equal(factory.built, 0);
  });

  t.test('fails with the class and code that the failures share', async (t) => {
    const refused = (literal: string) =>
      new ConnectionRefusedError(literal, { code: 'ECONNREFUSED', address: literal });
    const both = known([X, A]);
    const d = both.endpoint.connect(both.factory);
    for (const literal of [X, A]) both.hands.attempts.at(-1)?.fail(refused(literal));
    const error = failureResultOf(d, ConnectionRefusedError).value;
    t.match(error, { code: 'ECONNREFUSED', errors: [{ message: X }, { message: A }] });
    t.equal(error.address, undefined);
    const one = known([A]);
    const single = one.endpoint.connect(one.factory);
    one.hands.attempts[0]?.fail(refused(A));
    const { value } = failureResultOf(single, ConnectionRefusedError);
    t.match(value, { code: 'ECONNREFUSED', address: A, errors: [{ message: A }] });
    t.equal(value.message, `cannot connect to tea.test:80: ${A}: ${A}`);
  });

  t.test('ends with a failure that is not about the address', async (t) => {
    const { hands, factory, endpoint } = known([X, A]);
    const d = endpoint.connect(factory);
    const stopped = new ConnectionLost('the reactor has stopped');
    hands.attempts[0]?.fail(stopped);
    t.equal(failureResultOf(d).value, stopped);
    t.equal(hands.attempts.length, 1);
    t.same(hands.getDelayedCalls(), []);
  });

  t.test('tells at a timeout what it knows', async (t) => {
    const { hands, factory, endpoint } = known([X, A], { timeout: 1 });
    const d = endpoint.connect(factory);
    hands.attempts[0]?.fail();
    hands.advance(1);
    const error = failureResultOf(d, TimeoutError).value;
    t.equal(
      error.message,
      `cannot connect to tea.test:80 in 1 seconds: ${X}: refused by ${X}; ${A}: no answer`,
    );
    t.equal(error.errors.length, 1);
    t.equal(hands.attempts[1]?.doing, 'stopped');
    const hanging = new Hands();
    const none = new HostnameEndpoint(hanging, 'tea.test', 80, { timeout: 5 }).connect(factory);
    hanging.advance(5);
    t.match(failureResultOf(none, TimeoutError).value.message, /: its name was not looked up in 5/);
    for (const { cancelled } of hanging.manual.lookups) t.equal(cancelled, true);
    const patient = new Hands();
    const never = new HostnameEndpoint(patient, A, 80, { timeout: null }).connect(factory);
    t.same(patient.getDelayedCalls(), []);
    never.cancel();
    failureResultOf(never, ConnectingCancelledError);
  });

  t.test('REA-16: cancelled at any stage, leaves nothing', async (t) => {
    const stages: [string, (hands: Hands, manual: Manual) => void][] = [
      ['while it looks up', () => {}],
      [
        'while IPv4 addresses wait',
        (hands, manual) => {
          manual.of(IPv4Address)?.receiver.addressResolved(new IPv4Address('TCP', A, 80));
          hands.advance(0.01);
        },
      ],
      [
        'with attempts going on',
        (hands, manual) => {
          for (const literal of [X, Y])
            manual.of(IPv6Address)?.receiver.addressResolved(new IPv6Address('TCP', literal, 80));
          hands.advance(0.25);
        },
      ],
      [
        'between attempts',
        (hands, manual) => {
          manual.of(IPv6Address)?.receiver.addressResolved(new IPv6Address('TCP', X, 80));
          hands.attempts[0]?.fail();
        },
      ],
    ];
    for (const [stage, act] of stages) {
      const hands = new Hands();
      const manual = hands.manual;
      const factory = new Counting();
      const d = new HostnameEndpoint(hands, 'tea.test', 80).connect(factory);
      act(hands, manual);
      d.cancel();
      t.equal(
        failureResultOf(d, ConnectingCancelledError).value.message,
        'connecting to tea.test:80 was cancelled',
        stage,
      );
      t.same(hands.getDelayedCalls(), [], stage);
      t.notOk(
        hands.attempts.some(({ doing }) => doing === 'connecting'),
        stage,
      );
      t.ok(
        manual.lookups.every(({ cancelled }) => cancelled),
        stage,
      );
      t.equal(factory.numPorts, 0, stage);
      for (const { receiver } of manual.lookups) {
        receiver.addressResolved(new IPv4Address('TCP', B, 80));
        receiver.resolutionComplete();
      }
      for (const attempt of hands.attempts) attempt.succeed();
      t.equal(factory.built, 0, stage);
      t.same(hands.getDelayedCalls(), [], stage);
    }
  });

  t.test('cancelled while the protocol is built or made a connection, keeps none', async (t) => {
    const { hands, endpoint } = known([X, A]);
    const factory = new Counting();
    factory.buildProtocol = () => {
      d.cancel();
      return new Protocol();
    };
    const d = endpoint.connect(factory);
    hands.attempts[0]?.succeed();
    failureResultOf(d, ConnectingCancelledError);
    t.equal(hands.attempts[0]?.doing, 'refused');
    t.equal(factory.numPorts, 0);

    const made = known([X]);
    class Leaver extends Protocol {
      override connectionMade(): void {
        late.cancel();
      }
    }
    const late = made.endpoint.connect(Factory.forProtocol(Leaver));
    made.hands.attempts[0]?.succeed();
    failureResultOf(late, ConnectingCancelledError);
    t.equal(made.hands.attempts[0]?.transport?.disconnecting, true);
  });

  t.test('fails where no protocol is to be had', async (t) => {
    const none = known([X, A]);
    none.factory.buildProtocol = () => null;
    const d = none.endpoint.connect(none.factory);
    none.hands.advance(0.25);
    none.hands.attempts[0]?.succeed();
    failureResultOf(d, NoProtocol);
    t.equal(none.hands.attempts[1]?.doing, 'stopped');
    const broken = known([X]);
    broken.factory.buildProtocol = () => {
      throw tooMany();
    };
    const thrown = broken.endpoint.connect(broken.factory);
    broken.hands.attempts[0]?.succeed();
    failureResultOf(thrown, RangeError);
    const unstarted = known([X]);
    unstarted.factory.startFactory = () => {
      throw tooMany();
    };
    failureResultOf(unstarted.endpoint.connect(unstarted.factory), RangeError);
    t.same(unstarted.hands.attempts, []);
    const unstopped = known([]);
    unstopped.factory.stopFactory = () => {
      throw tooMany();
    };
    failureResultOf(unstopped.endpoint.connect(unstopped.factory), DNSLookupError);
    t.equal(flushLoggedErrors(RangeError).length, 1);
  });

  t.test('bears with any resolver and any reactor', async (t) => {
    const hands = new Hands();
    hands.nameResolver = {
      resolveHostName() {
        throw tooMany();
      },
    };
    const failing = new HostnameEndpoint(hands, 'tea.test', 80).connect(new Counting());
    const { message } = failureResultOf(failing, DNSLookupError).value;
    t.equal(message, 'cannot look up tea.test: 7 is too many');
    const own = new DNSLookupError('out of tea');
    const manual = new Manual();
    hands.nameResolver = manual;
    const d = new HostnameEndpoint(hands, 'tea.test', 80).connect(new Counting());
    for (const { receiver } of manual.lookups) {
      receiver.resolutionComplete(own);
      receiver.resolutionComplete();
      receiver.addressResolved(new IPv4Address('TCP', A, 80));
    }
    t.equal(failureResultOf(d).value, own);
    // Everything at once, from inside the calls.
    const many = Array.from({ length: 20_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
    const quick = known(many);
    quick.hands.onAttempt = (attempt) => attempt.fail();
    const all = failureResultOf(quick.endpoint.connect(quick.factory), ConnectionRefusedError);
    t.equal(all.value.errors.length, 20_000);
    t.match(all.value.message, /^.{200,900}; and 19990 more$/);
    const lucky = known([X, A]);
    lucky.hands.onAttempt = (attempt) => attempt.succeed();
    successResultOf(lucky.endpoint.connect(lucky.factory));
    t.equal(lucky.hands.attempts.length, 1);
    t.same(lucky.hands.getDelayedCalls(), []);
    const cancelled = known([X]);
    cancelled.hands.onAttempt = (attempt) => attempt.succeed();
    cancelled.hands.callLater = () => {
      throw tooMany();
    };
    const early = cancelled.endpoint.connect(cancelled.factory);
    failureResultOf(early, RangeError);
  });

  t.test('refuses what cannot be', async (t) => {
    const hands = new Hands();
    const wrong: [unknown, unknown, object?][] = [
      ['', 80],
      ['tea.test', 0],
      ['tea.test', 65_536],
      ['tea.test', 80, { timeout: -1 }],
      ['tea.test', 80, { attemptDelay: NaN }],
      ['tea.test', 80, { attemptDelay: 0.009 }],
      ['tea.test', 80, { resolutionDelay: Infinity }],
      ['tea.test', 80, { bindAddress: { host: 'tea' } }],
      ['tea.test', 80, { bindAddress: { host: A, port: -1 } }],
    ];
    for (const [host, port, options] of wrong) {
      const connect = () =>
        new HostnameEndpoint(hands, host as string, port as number, options).connect(
          new Counting(),
        );
      // A name is looked at when it is connected to, all else where it is given.
      if (host === '') failureResultOf(connect(), RangeError);
      else t.throws(connect, RangeError);
    }
    t.same(hands.attempts, []);
    t.same(hands.getDelayedCalls(), []);
  });

  t.test('whatever happens, there is one outcome, and nothing is left', async (t) => {
    const time = fc.integer({ min: 0, max: 120 }).map((n) => n * 0.005);
    const pool = { 4: [A, B, C], 6: [X, Y, Z] };
    const answer = (family: 4 | 6) =>
      fc.oneof(
        { weight: 1, arbitrary: fc.constant<Answer>('never') },
        {
          weight: 6,
          arbitrary: fc
            .tuple(time, fc.subarray(pool[family]))
            .map(([at, literals]): Answer => [at, ...literals]),
        },
      );
    const fate = fc.oneof(
      fc.constant<Fate>('hangs'),
      fc.tuple(time, fc.constantFrom('connects' as const, 'fails' as const, 'fails' as const)),
    );
    const plan = fc.record({
      v6: answer(6),
      v4: answer(4),
      fates: fc
        .tuple(fate, fate, fate, fate, fate, fate)
        .map((fates) => Object.fromEntries([A, B, C, X, Y, Z].map((at, i) => [at, fates[i]]))),
      options: fc.record({ timeout: fc.constantFrom(0.3, 1, 3) }),
    }) as fc.Arbitrary<Plan>;
    const property = fc.property(plan, (given) => {
      const { hands, outcome, factory } = play(given);
      const { attempts } = hands;
      const connected = attempts.filter(({ doing }) => doing === 'connected');
      const due = (at: number, before: FakeConnector): boolean => {
        const [after = Infinity, how] = (given.fates?.[before.literal] ?? []) as [number?, string?];
        const endedAt = how === 'fails' ? before.at + after : Infinity;
        return at >= Math.min(before.at + 0.25, endedAt) - 1e-9;
      };
      const faults = [
        outcome === 'none' && 'no outcome',
        connected.length !== factory.built && 'a protocol without a connection',
        connected.length > 1 && 'several connections',
        (connected.length === 1) === / \w*Error$/.test(outcome) && 'both, or neither',
        attempts.some(({ doing }) => doing === 'connecting') && 'an attempt is left',
        new Set(attempts.map(({ literal }) => literal)).size !== attempts.length && 'tried twice',
        attempts.some(({ at }, i) => i > 0 && !due(at, attempts[i - 1] as FakeConnector)) &&
          'too soon after the last',
        factory.starts !== 1 && 'not started once',
        factory.numPorts !== connected.length && 'not stopped',
        // What is left are the plan's own answers and fates.
        hands.manual.lookups.some(
          ({ cancelled, types }) =>
            !cancelled && given[types?.[0] === IPv6Address ? 'v6' : 'v4'] === 'never',
        ) && 'a lookup is left',
      ].filter(Boolean);
      if (faults.length > 0) throw new Error(faults.join(', '));
    });
    const { failed, seed, error } = { error: undefined, ...fc.check(property, { numRuns: 300 }) };
    t.notOk(failed, `seed ${seed}`);
    if (failed) t.comment(fc.check(property, { seed, numRuns: 300 }).counterexample, error);
  });
});

t.test('HostnameEndpoint over real sockets', async (t) => {
  const listening = async (t: Test, reactor: Reactor, host = LOOPBACK) => {
    const factory = new Counting();
    const port = reactor.listenTCP(0, factory, { interface: host });
    t.teardown(() => port.stopListening().asPromise());
    await port.ready;
    return { number: numberOf(port), factory };
  };

  t.test('connects where one of the addresses is refused', async (t) => {
    const reactor = new Reactor();
    const { number } = await listening(t, reactor);
    reactor.installNameResolver(answering('::1', '127.0.0.2', LOOPBACK));
    const endpoint = new HostnameEndpoint(reactor, 'tea.test', number);
    const protocol = await connectProtocol(endpoint, new Protocol());
    t.match(protocol.transport.getPeer(), { host: LOOPBACK });
    protocol.transport.abortConnection();
    await turn();
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('connects by a name of this machine', async (t) => {
    const reactor = new Reactor();
    const { number } = await listening(t, reactor);
    const endpoint = new HostnameEndpoint(reactor, 'localhost', number);
    const protocol = await connectProtocol(endpoint, new Protocol());
    t.match(protocol.transport.getPeer(), { host: LOOPBACK });
    protocol.transport.loseConnection();
    await turn();
  });

  t.test('has one connection where several are made in one turn', async (t) => {
    const reactor = new Reactor();
    const { number, factory } = await listening(t, reactor, '0.0.0.0');
    reactor.installNameResolver(answering('127.0.0.1', '127.0.0.2', '127.0.0.3'));
    const endpoint = new HostnameEndpoint(reactor, 'tea.test', number, { attemptDelay: 0.01 });
    for (let i = 0; i < 20; i++) {
      const client = new Counting();
      const protocol = await endpoint.connect(client);
      t.equal(client.built, 1);
      protocol.transport.loseConnection();
    }
    await turn();
    t.ok(factory.built >= 20);
    t.same(reactor.getDelayedCalls(), []);
  });

  t.test('REA-16: tells of a refusal by all, and of a name that is not known', async (t) => {
    const reactor = new Reactor();
    const port = reactor.listenTCP(0, new Counting(), { interface: LOOPBACK });
    await port.ready;
    const number = numberOf(port);
    await port.stopListening();
    reactor.installNameResolver(answering(LOOPBACK, '127.0.0.2'));
    const error = await new HostnameEndpoint(reactor, 'tea.test', number)
      .connect(new Counting())
      .addErrback((failure) => failure.trap(ConnectionRefusedError));
    t.match(error, {
      name: 'ConnectionRefusedError',
      code: 'ECONNREFUSED',
      message: `cannot connect to tea.test:${number}: 127.0.0.1: connection refused (ECONNREFUSED); 127.0.0.2: connection refused (ECONNREFUSED)`,
    });
    await t.rejects(
      new HostnameEndpoint(new Reactor(), 'tea.invalid', 80).connect(new Counting()).asPromise(),
      DNSLookupError,
    );
    t.same(reactor.getDelayedCalls(), []);
  });
});

// ── ClientCreator ────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('ClientCreator', async (t) => {
  class Named extends Protocol {
    readonly name: string;
    made = false;
    constructor(name: string) {
      super();
      this.name = name;
    }
    override connectionMade(): void {
      this.made = true;
    }
  }

  t.test('fires with the instance, in the next pass', async (t) => {
    const hands = new Hands();
    const d = new ClientCreator(hands, Named, 'tea').connectTCP('tea.test', 80, { timeout: 5 });
    const [attempt] = hands.attempts;
    t.match(attempt, { literal: 'tea.test', port: 80, options: { timeout: 5 } });
    attempt?.succeed();
    assertNoResult(d);
    hands.advance(0);
    t.match(successResultOf(d), { name: 'tea', made: true });
    attempt?.factory.clientConnectionLost(attempt, new Failure(tooMany()));
    t.same(hands.getDelayedCalls(), []);
  });

  t.test('fails with why there is no connection', async (t) => {
    const hands = new Hands();
    const d = new ClientCreator(hands, Named, 'tea').connectTCP('tea.test', 80);
    hands.attempts[0]?.fail();
    assertNoResult(d);
    hands.advance(0);
    failureResultOf(d, ConnectionRefusedError);
  });

  t.test('can be cancelled, before and after the connection is made', async (t) => {
    const hands = new Hands();
    const creator = new ClientCreator(hands, Named, 'tea');
    const early = creator.connectTCP('tea.test', 80);
    early.cancel();
    failureResultOf(early, CancelledError);
    t.equal(hands.attempts[0]?.doing, 'stopped');
    const late = creator.connectTCP('tea.test', 80);
    hands.attempts[1]?.succeed();
    late.cancel();
    failureResultOf(late, CancelledError);
    t.equal(hands.attempts[1]?.transport?.disconnecting, true);
    t.same(hands.getDelayedCalls(), []);
  });

  t.test('fails where it cannot begin', async (t) => {
    class Broken extends Protocol {
      constructor() {
        super();
        throw tooMany();
      }
    }
    const reactor = new Reactor();
    failureResultOf(new ClientCreator(reactor, Broken).connectTCP(LOOPBACK, 80), RangeError);
    failureResultOf(new ClientCreator(reactor, Protocol).connectTCP('', 80), RangeError);
    const clock: IReactorTime = new Clock();
    for (const d of [
      new ClientCreator(clock, Protocol).connectTCP(LOOPBACK, 80),
      new ClientCreator(clock, Protocol).connectUNIX('/run/tea'),
      new ClientCreator(clock, Protocol).connectSSL('tea.test', 443, {} as never),
    ])
      t.match(
        failureResultOf(d, TypeError).value.message,
        /^the reactor has no connect(TCP|UNIX|SSL)$/,
      );
  });

  t.test('connects over UNIX sockets', async (t) => {
    const d = new ClientCreator(new Reactor(), Protocol).connectUNIX('/nowhere/tea', {
      timeout: 5,
    });
    await t.rejects(d.asPromise(), { name: 'BadFileError' });
  });
});

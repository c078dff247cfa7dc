/** What docs/howto/endpoints.md and docs/reference/endpoints.md show, as tests. */
import {
  ClientCreator,
  clientFromString,
  ConnectError,
  connectProtocol,
  type Coroutine,
  Deferred,
  DNSLookupError,
  type EndpointArguments,
  Factory,
  type IHostnameResolver,
  HostnameEndpoint,
  type IProtocol,
  type IProtocolFactory,
  inlineCallbacks,
  type IListeningPort,
  IPv4Address,
  type IStreamClientEndpoint,
  type IStreamServerEndpoint,
  Protocol,
  Reactor,
  registerClientEndpointParser,
  serverFromString,
  succeed,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import t from 'tap';

/** The number of a port that is bound. */
const numberOf = (port: IListeningPort) => (port.getHost() as { port?: number }).port ?? 0;

/** Says a word, and fires with what comes back. */
class Caller extends Protocol {
  readonly answered = new Deferred<string>();

  override connectionMade() {
    this.transport.write('tea');
  }
  override dataReceived(data: Buffer) {
    this.answered.callback(data.toString());
    this.transport.loseConnection();
  }
}

// #region ask
/** Asks whatever listens there; what it is, and how it is reached, this function need not know. */
const ask = inlineCallbacks(function* (endpoint: IStreamClientEndpoint): Coroutine<string> {
  const caller = yield* connectProtocol(endpoint, new Caller());
  return yield* caller.answered;
});
// #endregion

t.test('a server and a client by descriptions', async (t) => {
  const reactor = new Reactor();
  const options = { listen: 'tcp:0:interface=127.0.0.1' };
  // #region serve
  /** Serves echo at a place that the program's configuration names. */
  const serve = (description: string) =>
    serverFromString(reactor, description).listen(Factory.forProtocol(Echo));
  // #endregion
  const port = await serve(options.listen);
  const number = numberOf(port);
  t.equal(await ask(clientFromString(reactor, `tcp:localhost:${number}:timeout=5`)), 'tea');
  const late = new Deferred<string>();
  new ClientCreator(reactor, Caller)
    .connectTCP('127.0.0.1', number)
    .addCallback((caller) => caller.answered.chainDeferred(late));
  t.equal(await late, 'tea');
  await port.stopListening();
});

t.test('a host by its name', async (t) => {
  const reactor = new Reactor();
  const told: string[] = [];
  const show = (line: string) => told.push(line);
  // #region hostname
  const visit = inlineCallbacks(function* (host: string, port: number) {
    const endpoint = new HostnameEndpoint(reactor, host, port, { timeout: 10 });
    try {
      show(yield* ask(endpoint));
    } catch (error) {
      if (error instanceof DNSLookupError) show(`who is ${host}?`);
      else if (error instanceof ConnectError) show(`${error.errors.length} addresses tried`);
      else throw error;
    }
  });
  // #endregion
  const server = reactor.listenTCP(0, Factory.forProtocol(Echo), { interface: '127.0.0.1' });
  await server.ready;
  const port = numberOf(server);
  await visit('localhost', port);
  await server.stopListening();
  await visit('localhost', port);
  await visit('nowhere.invalid', port);
  t.equal(told[0], 'tea');
  t.match(told[1], /^[12] addresses tried$/);
  t.equal(told[2], 'who is nowhere.invalid?');
});

// #region endpoint
/** Tries one place, and another if there is no connection. */
class Fallback implements IStreamClientEndpoint {
  readonly #places: readonly [IStreamClientEndpoint, IStreamClientEndpoint];

  constructor(...places: [IStreamClientEndpoint, IStreamClientEndpoint]) {
    this.#places = places;
  }

  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> {
    const [first, second] = this.#places;
    return first.connect(factory).addErrback((failure) => {
      failure.trap(ConnectError);
      return second.connect(factory);
    });
  }
}
// #endregion

t.test('an endpoint of your own, with a description', async (t) => {
  const reactor = new Reactor();
  const port = await serverFromString(reactor, 'tcp:0:interface=127.0.0.1').listen(
    Factory.forProtocol(Echo),
  );
  const number = numberOf(port);
  // #region plugin
  const unregister = registerClientEndpointParser({
    prefix: 'either',
    parseStreamClient(reactor, args: EndpointArguments) {
      const [first, second] = [args.needed('first'), args.needed('second')];
      return new Fallback(clientFromString(reactor, first), clientFromString(reactor, second));
    },
  });
  const description = `either:unix\\:/nowhere/echo.sock:tcp\\:127.0.0.1\\:${number}`;
  const answer = await ask(clientFromString(reactor, description));
  // #endregion
  t.equal(answer, 'tea');
  unregister();
  t.throws(() => clientFromString(reactor, description), { name: 'EndpointSyntaxError' });
  await port.stopListening();
});

t.test('names of your own', async (t) => {
  const reactor = new Reactor();
  const server: IStreamServerEndpoint = serverFromString(reactor, 'tcp:0:interface=127.0.0.1');
  const port = await server.listen(Factory.forProtocol(Echo));
  const number = numberOf(port);
  // #region simple
  const hosts = new Map([['shop.test', '127.0.0.1']]);
  reactor.installResolver({
    getHostByName(name) {
      const address = hosts.get(name);
      if (address === undefined) throw new DNSLookupError(`${name} is not in the list`);
      return succeed(address);
    },
  });
  // #endregion
  t.equal(await ask(new HostnameEndpoint(reactor, 'shop.test', number)), 'tea');
  await t.rejects(reactor.resolve('nobody.test').asPromise(), /not in the list/);
  await port.stopListening();
});

t.test('a resolver that passes most questions on', async (t) => {
  const reactor = new Reactor();
  // #region resolver
  class Local implements IHostnameResolver {
    readonly #former: IHostnameResolver;

    constructor(former: IHostnameResolver) {
      this.#former = former;
    }

    resolveHostName(...question: Parameters<IHostnameResolver['resolveHostName']>) {
      const [receiver, name, port = 0, types = [IPv4Address]] = question;
      if (!name.endsWith('.local.test')) return this.#former.resolveHostName(...question);
      const resolution = { name, cancel() {} };
      receiver.resolutionBegan(resolution);
      if (types.includes(IPv4Address)) {
        receiver.addressResolved(new IPv4Address('TCP', '127.0.0.1', port));
      }
      receiver.resolutionComplete();
      return resolution;
    }
  }
  const former = reactor.nameResolver;
  reactor.installNameResolver(new Local(former));
  // #endregion
  t.equal(await reactor.resolve('shop.local.test'), '127.0.0.1');
  t.match(await reactor.resolve('localhost'), /^127\.|^::1$/);
});

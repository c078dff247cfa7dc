/** How what needs a reactor is called, for tests of its arguments. Each call has a reactor in memory of its own. */
import * as plait from 'plait';
import { Clock, MemoryReactorClock, StringTransport } from 'plait/testing';
import {
  BOOLEAN,
  call,
  type Call,
  FUNCTION,
  isFunction,
  isNumber,
  isObject,
  isString,
  kind,
  type Kind,
  limit,
  maybe,
  options,
  SECONDS,
  SECONDS_OR_NULL,
  STRING,
  whole,
} from '../wrong-arguments.ts';

const made: MemoryReactorClock[] = [];
const r = (): MemoryReactorClock => {
  const reactor = new MemoryReactorClock();
  made.push(reactor);
  return reactor;
};
const REACTOR = kind(r);
const CLOCK = kind(() => new Clock());
const FACTORY = kind(() => plait.Factory.forProtocol(plait.Protocol));
const CLIENT_FACTORY = kind(() => plait.ClientFactory.forProtocol(plait.Protocol));
const PROTOCOL = kind(() => new plait.Protocol());
const DATAGRAMS = kind(() => new plait.DatagramProtocol());
const CONTEXT = kind(() => plait.optionsForClientTLS('tea.test'));
const isPort =
  (lowest: number) =>
  (value: unknown): boolean =>
    isString(value) ||
    (isNumber(value) && Number.isInteger(value) && value >= lowest && value <= 65535);
const LISTEN_PORT: Kind<number | string> = kind<number | string>(() => 7, isPort(0));
const CONNECT_PORT: Kind<number | string> = kind<number | string>(() => 7, isPort(1));
const HOST = kind(
  () => '127.0.0.1',
  () => false,
);
/** Looked at when it is connected to. */
const ANY_HOST = kind(() => '127.0.0.1', isString);
const PATH = kind(
  () => '/tmp/tea',
  (v) => isString(v) && v === '5',
);
const ANY_PATH = kind(() => '/tmp/tea', isString);
const FD = whole(0, 2 ** 31 - 1, 9);
const FAMILY = kind(() => 'AF_INET' as const);
const BIND = kind(() => ({ host: '127.0.0.1', port: 0 }));
const LISTEN = {
  backlog: whole(1),
  interface: kind(
    () => '127.0.0.1',
    (v) => v === '',
  ),
};
const LISTEN_LATE = { backlog: whole(1), interface: kind(() => '127.0.0.1', isString) };
const CONNECT = { timeout: SECONDS_OR_NULL, bindAddress: BIND };
const HANDSHAKE = { handshakeTimeout: SECONDS_OR_NULL };
const CLIENT = kind(() => new plait.TCP4ClientEndpoint(r(), '127.0.0.1', 7));
const SERVER = kind(() => new plait.TCP4ServerEndpoint(r(), 7));
const TRANSPORT = kind(() => new StringTransport());

/** Looks at what a reactor's options hold, of which many have their own errors. */
export function connectionTable(): Call[] {
  return [
    call('listenTCP', { port: LISTEN_PORT, factory: FACTORY, options: options(LISTEN) }, (a) =>
      r().listenTCP(a.port, a.factory, a.options),
    ),
    // The rest is that of `listenTCP`, and looked at after the context.
    call('listenSSL', { contextFactory: CONTEXT, options: options(HANDSHAKE) }, (a) =>
      r().listenSSL(7, FACTORY.good(), a.contextFactory, a.options),
    ),
    call(
      'listenUNIX',
      {
        path: PATH,
        factory: FACTORY,
        options: options({ backlog: whole(1), mode: whole(0, 0o777), wantPID: BOOLEAN }),
      },
      (a) => r().listenUNIX(a.path, a.factory, a.options),
    ),
    call(
      'connectTCP',
      { host: HOST, port: CONNECT_PORT, factory: CLIENT_FACTORY, options: options(CONNECT) },
      (a) => r().connectTCP(a.host, a.port, a.factory, a.options as never),
    ),
    call(
      'connectSSL',
      {
        host: HOST,
        port: CONNECT_PORT,
        factory: CLIENT_FACTORY,
        contextFactory: CONTEXT,
        options: options({ ...CONNECT, ...HANDSHAKE }),
      },
      (a) => r().connectSSL(a.host, a.port, a.factory, a.contextFactory, a.options as never),
    ),
    call(
      'connectUNIX',
      {
        path: PATH,
        factory: CLIENT_FACTORY,
        options: options({ timeout: SECONDS_OR_NULL, checkPID: BOOLEAN }),
      },
      (a) => r().connectUNIX(a.path, a.factory, a.options),
    ),
    call(
      'listenUDP',
      {
        port: whole(0, 65535, 7),
        protocol: DATAGRAMS,
        options: options({
          interface: kind(
            () => '127.0.0.1',
            (v) => v === '',
          ),
          maxPacketSize: whole(1),
          maxBufferedBytes: whole(1),
        }),
      },
      (a) => r().listenUDP(a.port, a.protocol, a.options),
    ),
    call('adoptStreamPort', { fd: FD, family: FAMILY, factory: FACTORY }, (a) =>
      r().adoptStreamPort(a.fd, a.family, a.factory),
    ),
    call('adoptStreamConnection', { fd: FD, family: FAMILY, factory: FACTORY }, (a) =>
      r().adoptStreamConnection(a.fd, a.family, a.factory),
    ),
    call('adoptDuplex', { protocol: PROTOCOL }, (a) => r().adoptDuplex({} as never, a.protocol)),
    call(
      'spawnProcess',
      {
        protocol: kind(() => new plait.ProcessProtocol()),
        executable: kind(
          () => '/bin/true',
          (v) => v === '5',
        ),
      },
      (a) => r().spawnProcess(a.protocol, a.executable),
    ),
    call('callLater', { delay: SECONDS, fn: FUNCTION }, (a) => r().callLater(a.delay, a.fn)),
    call(
      'run',
      {
        options: options({
          installSignalHandlers: BOOLEAN,
          shutdownTimeout: SECONDS_OR_NULL,
          threadGrace: SECONDS_OR_NULL,
        }),
      },
      (a) => {
        const reactor = new plait.Reactor();
        reactor.run(a.options);
        reactor.crash();
      },
    ),
    call(
      'addSystemEventTrigger',
      { phase: kind(() => 'before' as const), eventType: STRING, fn: FUNCTION },
      (a) => r().addSystemEventTrigger(a.phase, a.eventType, a.fn),
    ),
    call(
      'removeSystemEventTrigger',
      { id: kind(() => ({ phase: 'before', eventType: 'tea' }) as const) },
      (a) => r().removeSystemEventTrigger(a.id),
    ),
    call('fireSystemEvent', { eventType: STRING }, (a) =>
      new plait.Reactor().fireSystemEvent(a.eventType),
    ),
    call('callWhenRunning', { fn: FUNCTION }, (a) => r().callWhenRunning(a.fn)),
    call('addSignalHandler', { name: kind(() => 'SIGUSR2'), fn: FUNCTION }, (a) =>
      new plait.Reactor().addSignalHandler(a.name, a.fn)[Symbol.dispose](),
    ),
    call('removeSignalHandler', { name: STRING }, (a) => r().removeSignalHandler(a.name)),
    call('callFromThread', { fn: FUNCTION }, (a) => r().callFromThread(a.fn)),
    call(
      'allowFromThread',
      {
        functions: kind(
          () => ({}),
          (v) => isObject(v) && !Array.isArray(v) && !Buffer.isBuffer(v),
        ),
      },
      (a) => r().allowFromThread(a.functions)[Symbol.dispose](),
    ),
    call('suggestThreadPoolSize', { size: whole(1) }, (a) => r().suggestThreadPoolSize(a.size)),
    call(
      'new ThreadPool',
      { options: options({ max: whole(1), idle: SECONDS, name: STRING, reactor: REACTOR }) },
      (a) => new plait.ThreadPool(a.options as never),
    ),
    call('ThreadPool.adjustPoolsize', { max: whole(1) }, (a) =>
      new plait.ThreadPool().adjustPoolsize(a.max),
    ),
    call('ThreadPool.stop', { options: options({ abort: BOOLEAN }) }, (a) =>
      new plait.ThreadPool().stop(a.options),
    ),
    // ── Endpoints
    call(
      'TCP4ServerEndpoint',
      { reactor: REACTOR, port: LISTEN_PORT, options: options(LISTEN_LATE) },
      (a) => new plait.TCP4ServerEndpoint(a.reactor, a.port, a.options),
    ),
    call(
      'TCP6ServerEndpoint',
      { reactor: REACTOR, port: LISTEN_PORT, options: options(LISTEN_LATE) },
      (a) => new plait.TCP6ServerEndpoint(a.reactor, a.port, a.options),
    ),
    call('TCP4ServerEndpoint.listen', { factory: FACTORY }, (a) =>
      new plait.TCP4ServerEndpoint(r(), 7).listen(a.factory),
    ),
    call(
      'TCP4ClientEndpoint',
      { reactor: REACTOR, host: ANY_HOST, port: CONNECT_PORT, options: options(CONNECT) },
      (a) => new plait.TCP4ClientEndpoint(a.reactor, a.host, a.port, a.options as never),
    ),
    call('TCP4ClientEndpoint.connect', { factory: FACTORY }, (a) =>
      new plait.TCP4ClientEndpoint(r(), '127.0.0.1', 7).connect(a.factory),
    ),
    call(
      'UNIXServerEndpoint',
      {
        reactor: REACTOR,
        path: ANY_PATH,
        options: options({ backlog: whole(1), mode: whole(0), wantPID: BOOLEAN }),
      },
      (a) => new plait.UNIXServerEndpoint(a.reactor, a.path, a.options),
    ),
    call(
      'UNIXClientEndpoint',
      {
        reactor: REACTOR,
        path: ANY_PATH,
        options: options({ timeout: SECONDS_OR_NULL, checkPID: BOOLEAN }),
      },
      (a) => new plait.UNIXClientEndpoint(a.reactor, a.path, a.options),
    ),
    call(
      'AdoptedStreamServerEndpoint',
      { reactor: REACTOR, fd: whole(0), family: kind(() => 'AF_INET' as const, isString) },
      (a) => new plait.AdoptedStreamServerEndpoint(a.reactor, a.fd, a.family),
    ),
    call(
      'SSL4ServerEndpoint',
      {
        reactor: REACTOR,
        port: LISTEN_PORT as Kind<number>,
        contextFactory: CONTEXT,
        options: options({ ...LISTEN_LATE, ...HANDSHAKE }),
      },
      (a) => new plait.SSL4ServerEndpoint(a.reactor, a.port, a.contextFactory, a.options),
    ),
    call(
      'SSL4ClientEndpoint',
      {
        reactor: REACTOR,
        host: ANY_HOST,
        port: CONNECT_PORT as Kind<number>,
        contextFactory: CONTEXT,
        options: options({ ...CONNECT, ...HANDSHAKE }),
      },
      (a) =>
        new plait.SSL4ClientEndpoint(
          a.reactor,
          a.host,
          a.port,
          a.contextFactory,
          a.options as never,
        ),
    ),
    call(
      'HostnameEndpoint',
      {
        reactor: REACTOR,
        host: ANY_HOST,
        port: whole(1, 65535, 7),
        options: options({
          ...CONNECT,
          attemptDelay: kind(
            () => 1,
            (v) => isNumber(v) && v >= 0.01 && v < Infinity,
          ),
          resolutionDelay: SECONDS,
        }),
      },
      (a) => new plait.HostnameEndpoint(a.reactor, a.host, a.port, a.options as never),
    ),
    call('HostnameEndpoint.connect', { factory: FACTORY }, (a) =>
      new plait.HostnameEndpoint(r(), '127.0.0.1', 7).connect(a.factory),
    ),
    call(
      'wrapClientTLS',
      {
        contextFactory: CONTEXT,
        endpoint: CLIENT,
        options: options({ clock: CLOCK, ...HANDSHAKE }),
      },
      (a) => plait.wrapClientTLS(a.contextFactory, a.endpoint, a.options),
    ),
    call(
      'wrapServerTLS',
      {
        contextFactory: CONTEXT,
        endpoint: SERVER,
        options: options({ clock: CLOCK, ...HANDSHAKE }),
      },
      (a) => plait.wrapServerTLS(a.contextFactory, a.endpoint, a.options),
    ),
    call('connectProtocol', { endpoint: CLIENT, protocol: PROTOCOL }, (a) =>
      plait.connectProtocol(a.endpoint, a.protocol),
    ),
    call(
      'clientFromString',
      {
        description: kind(
          () => 'tcp:127.0.0.1:7',
          () => false,
        ),
      },
      (a) => {
        try {
          plait.clientFromString(r(), a.description);
        } catch (error) {
          if (error instanceof plait.EndpointSyntaxError)
            throw new TypeError(`description: ${error.message}`);
          throw error;
        }
      },
    ),
    call(
      'StandardIOEndpoint',
      {
        reactor: kind(
          () => new plait.Reactor(),
          () => false,
        ),
      },
      (a) => new plait.StandardIOEndpoint(a.reactor),
    ),
    call('Factory.forProtocol', { protocol: kind(() => plait.Protocol, isFunction) }, (a) =>
      plait.Factory.forProtocol(a.protocol),
    ),
    // ── Services
    call(
      'ClientService',
      {
        endpoint: CLIENT,
        factory: FACTORY,
        options: options({
          retryPolicy: FUNCTION,
          clock: CLOCK,
          prepareConnection: FUNCTION,
          grace: SECONDS_OR_NULL,
        }),
      },
      (a) => new plait.ClientService(a.endpoint, a.factory, a.options as never),
    ),
    call(
      'ClientService.whenConnected',
      { options: options({ failAfterFailures: limit(1) }) },
      (a) => new plait.ClientService(CLIENT.good(), FACTORY.good()).whenConnected(a.options),
    ),
    call(
      'backoffPolicy',
      {
        options: options({
          initialDelay: SECONDS,
          maxDelay: SECONDS,
          factor: kind(
            () => 2,
            (v) => isNumber(v) && v >= 0,
          ),
          jitter: FUNCTION,
        }),
      },
      (a) => plait.backoffPolicy(a.options as never),
    ),
    call(
      'StreamServerEndpointService',
      { endpoint: SERVER, factory: FACTORY, stop: options({}) },
      (a) => new plait.StreamServerEndpointService(a.endpoint, a.factory, a.stop),
    ),
    call(
      'TimerService',
      { step: SECONDS, fn: FUNCTION },
      (a) => new plait.TimerService(a.step, a.fn),
    ),
    call('TimerService.clock', { clock: CLOCK }, (a) => {
      new plait.TimerService(1, () => {}).clock = a.clock;
    }),
    call('MultiService.addService', { service: kind(() => new plait.Service()) }, (a) =>
      new plait.MultiService().addService(a.service),
    ),
    call('MultiService.getServiceNamed', { name: kind(() => 'tea', isString) }, (a) => {
      const all = new plait.MultiService();
      const one = new plait.Service();
      one.setName('tea');
      all.addService(one);
      try {
        return all.getServiceNamed(a.name);
      } catch (error) {
        if (/^there is no service/.test((error as Error).message)) return undefined;
        throw error;
      }
    }),
    call('Service.setName', { name: STRING }, (a) => new plait.Service().setName(a.name)),
    call('Service.setServiceParent', { parent: kind(() => new plait.MultiService()) }, (a) =>
      new plait.Service().setServiceParent(a.parent),
    ),
    call(
      'CooperatorService',
      { options: options({ clock: CLOCK }) },
      (a) => new plait.CooperatorService(a.options),
    ),
    call(
      'ClientCreator',
      { reactor: REACTOR, protocolClass: kind(() => plait.Protocol, isFunction) },
      (a) => new plait.ClientCreator(a.reactor, a.protocolClass),
    ),
    // ── Streams and files
    call('Connection', { transport: TRANSPORT }, (a) => new plait.Connection(a.transport)),
    call('Connection.factory', { handler: FUNCTION }, (a) => plait.Connection.factory(a.handler)),
    call(
      'duplexFactory',
      { handler: FUNCTION, options: options({ allowHalfOpen: BOOLEAN, highWaterMark: whole(0) }) },
      (a) => plait.duplexFactory(a.handler, a.options),
    ),
    call('webStreamsFactory', { handler: FUNCTION }, (a) => plait.webStreamsFactory(a.handler)),
    call('FilesystemLock', { name: STRING }, (a) => new plait.FilesystemLock(a.name)),
    call(
      'DeferredFilesystemLock',
      { name: STRING, clock: maybe(CLOCK) },
      (a) => new plait.DeferredFilesystemLock(a.name, a.clock),
    ),
    call(
      'registerClientEndpointParser',
      { parser: kind(() => ({ prefix: 'tea-x', parseStreamClient: () => CLIENT.good() })) },
      (a) => {
        plait.registerClientEndpointParser(a.parser)();
      },
    ),
    call(
      'react',
      {
        main: kind(
          () => () => {},
          () => true,
        ),
      },
      (a) => {
        if (!isFunction(a.main))
          try {
            plait.react(a.main, { argv: [] });
          } catch (error) {
            if (!/main must be a function/.test((error as Error).message)) throw error;
          }
      },
    ),
  ];
}

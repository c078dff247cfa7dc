/** What docs/reference/service.md shows, as tests. */
import {
  backoffPolicy,
  ClientService,
  Factory,
  IPv4Address,
  inlineCallbacks,
  MultiService,
  Protocol,
  Reactor,
  ReconnectingClientFactory,
  Service,
  StreamServerEndpointService,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
  TCPServer,
  TimerService,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import { Clock, successResultOf } from 'plait/testing';
import t from 'tap';

t.test('a program is a set of services', async (t) => {
  const reactor = new Reactor();
  const cleanings: string[] = [];
  // #region program
  const program = new MultiService();

  const endpoint = new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' });
  const server = new StreamServerEndpointService(endpoint, Factory.forProtocol(Echo));
  server.setServiceParent(program);

  const cleaner = new TimerService(3600, () => cleanings.push('done'));
  cleaner.clock = reactor;
  cleaner.setServiceParent(program);

  program.startService();
  const port = await server.whenListening();
  // #endregion
  const address = port.getHost();
  if (!(address instanceof IPv4Address)) throw new TypeError('not a TCP port');
  // #region kinds
  const web = new TCPServer(0, Factory.forProtocol(Echo), { reactor, interface: '127.0.0.1' });
  web.setServiceParent(program);
  const listening = await web.port?.ready;
  // #endregion
  t.not(listening?.getHost(), undefined);
  // #region client
  const factory = new Factory<Protocol>();
  factory.protocol = Protocol;
  const client = new ClientService(
    new TCP4ClientEndpoint(reactor, '127.0.0.1', address.port),
    factory,
    { clock: reactor, retryPolicy: backoffPolicy({ initialDelay: 0.1, maxDelay: 30 }) },
  );
  client.setServiceParent(program);

  const ask = inlineCallbacks(function* () {
    const connection = yield* client.whenConnected({ failAfterFailures: 3 });
    connection.transport.write('hello');
  });
  // #endregion
  await ask();
  // #region stop
  await program.stopService();
  // #endregion
  t.same(cleanings, ['done']);
  t.same(reactor.getDelayedCalls(), []);
});

t.test('a service of its own', (t) => {
  const log: string[] = [];
  // #region own
  class Journal extends Service {
    override startService() {
      super.startService();
      log.push('opened');
    }
    override stopService() {
      log.push('closed');
      return super.stopService();
    }
  }
  // #endregion
  const journal = new Journal();
  journal.startService();
  successResultOf(journal.stopService());
  t.same(log, ['opened', 'closed']);
  t.end();
});

t.test('a factory that connects again', (t) => {
  // #region reconnecting
  class Patient extends ReconnectingClientFactory<Protocol> {
    override maxDelay = 60;
    override buildProtocol() {
      this.resetDelay(); // it was a success
      return new Protocol();
    }
  }
  // #endregion
  const patient = new Patient();
  patient.clock = new Clock();
  t.type(patient.buildProtocol(), Protocol);
  t.end();
});

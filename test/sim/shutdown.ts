/**
 * A reactor that stops while all kinds of things are under way: connections being made, conversations, scans, names
 * being looked up, a service between two attempts. Each ends at once, in an answer or in one typed error; nothing on
 * that machine is left open, and those on other machines hear of it.
 */
import {
  backoffPolicy,
  CancelledError,
  ClientService,
  connectProtocol,
  type Deferred,
  deferLater,
  Factory,
  HostnameEndpoint,
  Protocol,
  TCP4ClientEndpoint,
} from 'plait';
import { ClamdError, FakeClamd, scan } from 'plait/protocols/clamd';
import { EchoFactory } from 'plait/protocols/echo';
import { TimeoutFactory } from 'plait/protocols/policies';
import { Caller } from './echo.ts';
import { type ErrorClass, NETWORK_ERRORS, type Scenario, type Stage } from './scenario.ts';

/** When it stops, at the latest: while all is under way, or when most is over. */
const LATEST = [3, 30] as const;
/** What is not on the machine that stops has this long. */
const DEADLINE = 120;
const ERRORS: readonly ErrorClass[] = [...NETWORK_ERRORS, CancelledError, ClamdError];

export const shutdown: Scenario = {
  name: 'shutdown',
  fair: 0.2,
  play(stage) {
    const { reactor: server } = stage.host('server');
    const idle = { timeout: 60, clock: server };
    const ports = [
      server.listenTCP(7, new TimeoutFactory(new EchoFactory(), idle)),
      server.listenTCP(3310, new FakeClamd({ reactor: server })),
    ];
    const stopping = stage.pick(['alice', 'server']);
    const { reactor } = stage.host(stopping);
    const stopped = reactor.run({ installSignalHandlers: false });
    const mine = [call(stage, 'alice'), call(stage, 'alice'), scanSomething(stage)];
    // A lookup outlives the reactor's run, and what is begun after that is not cut off.
    const named = connectByName(stage);
    let pending = mine.length;
    for (const work of mine) work.addCallback(() => pending--);
    const service = keepConnected(stage);
    const over = deferLater(
      stage.host('watch').reactor,
      stage.random.between(0, stage.pick(LATEST)),
    )
      .addCallback(() => {
        reactor.stop();
        return stopped;
      })
      .addCallback(() => {
        checkClosed(stage, stopping);
        if (stopping === 'alice' && pending > 0)
          stage.fault(`alice has stopped, and ${pending} of what it was doing is not over`);
      });
    return stage
      .all([...mine, named, call(stage, 'bob'), over])
      .addCallback(() => service.stopService())
      .addCallback(() => stage.all(ports.map((port) => port.stopListening())));
  },
};

/** When `run` is over nothing on the machine is open. */
function checkClosed(stage: Stage, name: string): void {
  const { descriptors } = stage.host(name);
  if (descriptors > 0) stage.fault(`${name} has stopped, and ${descriptors} descriptors are open`);
  const open = stage.connections.filter((each) => each.host === name && each.made > each.lost);
  if (open.length > 0) stage.fault(`${name} has stopped, and ${open.length} protocols do not know`);
}

function endpointTo(stage: Stage, name: string, port: number): TCP4ClientEndpoint {
  const [address] = stage.host('server').addresses;
  return new TCP4ClientEndpoint(stage.host(name).reactor, address, port, { timeout: 30 });
}

function call(stage: Stage, name: string): Deferred<void> {
  const pieces = Array.from({ length: 5 }, () => stage.bytes(300));
  const caller = new Caller(pieces, stage.pick(['close', 'half-close']));
  const { reactor } = stage.host(name);
  const work = connectProtocol(endpointTo(stage, name, 7), caller).addCallback(() =>
    caller.done.addTimeout(DEADLINE - 30, reactor),
  );
  return settle(stage, `a call from ${name}`, work, () => caller.wrong);
}

function scanSomething(stage: Stage): Deferred<void> {
  const { reactor } = stage.host('alice');
  const endpoint = endpointTo(stage, 'alice', 3310);
  const pieces = Array.from({ length: 10 }, () => stage.bytes(500));
  const work = scan(pieces, { reactor, endpoint, timeout: DEADLINE });
  return settle(stage, 'a scan', work, ({ status }) =>
    status === 'clean' || status === 'error' ? undefined : `it is ${status}`,
  );
}

function connectByName(stage: Stage): Deferred<void> {
  const { reactor } = stage.host('alice');
  const addresses = ['192.0.2.1', '2001:db8::1', ...stage.host('server').addresses];
  stage.sim.setName('many.example', { addresses });
  const endpoint = new HostnameEndpoint(reactor, 'many.example', 7, { timeout: 30 });
  const work = connectProtocol(endpoint, new Protocol()).addCallback((protocol) => {
    protocol.transport.loseConnection();
  });
  return settle(stage, 'a connection by name', work, () => undefined);
}

function keepConnected(stage: Stage): ClientService<Protocol> {
  const { reactor } = stage.host('alice');
  const service = new ClientService(endpointTo(stage, 'alice', 7), Factory.forProtocol(Protocol), {
    retryPolicy: backoffPolicy({ maxDelay: 2 }),
    clock: reactor,
  });
  // As in a program: what is to be stopped before the reactor is.
  reactor.addSystemEventTrigger('before', 'shutdown', () => service.stopService());
  service.startService();
  return service;
}

/** That a machine stops is no fault of the network, so that this may happen where it is calm, too. */
function settle<T>(
  stage: Stage,
  name: string,
  work: Deferred<T>,
  check: (answer: T) => string | undefined,
): Deferred<void> {
  const kept: Deferred<T | undefined> = work.addErrback((failure) =>
    stage.calm && failure.check(...ERRORS) ? undefined : failure,
  );
  return stage.exchange(
    name,
    DEADLINE,
    kept,
    (answer) => (answer === undefined ? undefined : check(answer)),
    ERRORS,
  );
}

/**
 * The policies, one around another around echo: no more connections than are allowed, in all and from one host; no
 * faster than is allowed; silent ones closed in time; and a log that agrees with what was delivered.
 */
import {
  type Address,
  ConnectionDone,
  connectProtocol,
  Deferred,
  type Failure,
  type IDelayedCall,
  type LogEvent,
  Protocol,
  TCP4ClientEndpoint,
} from 'plait';
import { EchoFactory } from 'plait/protocols/echo';
import {
  LimitConnectionsByPeer,
  LimitTotalConnectionsFactory,
  ThrottlingFactory,
  TimeoutFactory,
  TrafficLoggingFactory,
} from 'plait/protocols/policies';
import { Caller } from './echo.ts';
import { NETWORK_ERRORS, type Scenario, type Stage } from './scenario.ts';

const PORT = 7;
const DEADLINE = 120;
/** How many connections there may be, in all and from one host. */
const MOST = 4;
const MOST_PER_HOST = 2;
/** Bytes a second that are read and written. */
const PACE = 400;
/** Seconds of silence. */
const PATIENCE = 40;

export const policies: Scenario = {
  name: 'policies',
  play(stage) {
    const { reactor } = stage.host('server');
    const logged = new Map<unknown, number>();
    const note = (event: LogEvent) => {
      const size = event['direction'] === 'received' ? Number(event['size']) : 0;
      logged.set(event['connection'], (logged.get(event['connection']) ?? 0) + size);
    };
    const clock = reactor;
    const slow = new ThrottlingFactory(new EchoFactory(), {
      readLimit: PACE,
      writeLimit: PACE,
      clock,
    });
    const patient = new TimeoutFactory(slow, { timeout: PATIENCE, clock });
    const total = new LimitTotalConnectionsFactory(patient, { connectionLimit: MOST });
    const few = new LimitConnectionsByPeer(total, { maxConnectionsPerPeer: MOST_PER_HOST });
    const port = reactor.listenTCP(PORT, new TrafficLoggingFactory(few, note));
    watchLimits(stage);
    const hosts = ['alice', 'bob', 'carol'];
    stage.onRefused = (peer) => {
      const open = stage.open('server');
      const same = open.filter(({ transport }) => hostOf(transport!.getPeer()) === hostOf(peer));
      if (open.length < MOST && same.length < MOST_PER_HOST)
        stage.fault(`${String(peer)} was refused, and only ${open.length} connections are open`);
    };
    const works = Array.from({ length: 6 }, () => call(stage, stage.pick(hosts)));
    works.push(chat(stage, 'erin'));
    works.push(...Array.from({ length: stage.random.int(2) }, () => sulk(stage, 'dave')));
    return stage
      .all(works)
      .addBoth(() => port.stopListening({ connections: 'abort' }))
      .addCallback(() => {
        const delivered = stage.connections
          .filter(({ side }) => side === 'server')
          .map(({ received }) => received);
        if (delivered.join() !== [...logged.values()].join())
          stage.fault(`the log says ${[...logged.values()].join()} bytes, not ${delivered.join()}`);
        if (total.connectionCount !== 0) stage.fault('a connection is counted that is gone');
      });
  },
};

/** Whenever something has happened, no limit is exceeded. */
function watchLimits(stage: Stage): void {
  let received = 0;
  let since = 0;
  let largest = 0;
  const last = new Map<object, number>();
  stage.onChange = (connection) => {
    if (connection.side === 'client') return;
    const open = stage.open('server');
    if (open.length > MOST) stage.fault(`${open.length} connections are open`);
    const peers = new Map<string, number>();
    for (const { transport } of open) {
      const peer = hostOf(transport!.getPeer());
      peers.set(peer, (peers.get(peer) ?? 0) + 1);
    }
    for (const [peer, count] of peers)
      if (count > MOST_PER_HOST) stage.fault(`${count} connections of ${peer} are open`);
    const size = connection.received - (last.get(connection) ?? 0);
    last.set(connection, connection.received);
    if (received === 0) since = stage.sim.seconds();
    received += size;
    largest = Math.max(largest, size);
    // A second's worth at once, and the piece that it was too much with.
    const allowed = (stage.sim.seconds() - since + 1) * PACE + largest;
    if (received > allowed)
      stage.fault(`${received} bytes were read, and no more than ${allowed} should have been`);
  };
}

function hostOf(address: Address): string {
  return (address as { host: string }).host;
}

/** Calls; one that is refused hears nothing at all, and there must be a reason for it. */
function call(stage: Stage, name: string): Deferred<void> {
  const pieces = Array.from({ length: stage.random.size(3) }, () => stage.bytes(600));
  const caller = new Caller(pieces, stage.pick(['close', 'half-close', 'abort']));
  return perform(stage, name, caller);
}

/** Says something now and then, and must not be hung up on. */
function chat(stage: Stage, name: string): Deferred<void> {
  const { reactor } = stage.host(name);
  const pieces = Array.from({ length: 4 }, () => stage.bytes(20));
  let call: IDelayedCall | undefined;
  const later = (send: () => void) => {
    call = reactor.callLater(PATIENCE * 0.4, () => send());
  };
  return perform(stage, name, new Caller(pieces, 'close', later)).addCallback(() => {
    if (call?.active() === true) call.cancel();
  });
}

function perform(stage: Stage, name: string, caller: Caller): Deferred<void> {
  const { reactor } = stage.host(name);
  const work = connectProtocol(endpointTo(stage, name), caller)
    .addCallback(() => caller.done.addTimeout(DEADLINE - 30, reactor))
    .addErrback((failure) => {
      // Turned away in order, which is right: it is the limit's answer, or the network's doing.
      if (failure.check(ConnectionDone) && stage.refused-- > 0) return undefined;
      return failure;
    });
  return stage.exchange(`a call from ${name}`, DEADLINE, work, () => caller.wrong);
}

/** Says nothing, and is hung up on, neither too soon nor too late. */
function sulk(stage: Stage, name: string): Deferred<void> {
  const { reactor } = stage.host(name);
  const lost = new Deferred<void>();
  class Silent extends Protocol {
    override connectionLost(reason: Failure): void {
      if (lost.called) return;
      if (reason.check(ConnectionDone)) lost.callback();
      else lost.errback(reason);
    }
  }
  let began = 0;
  const work = connectProtocol(endpointTo(stage, name), new Silent()).addCallback((silent) => {
    began = stage.sim.seconds();
    return lost.addTimeout(DEADLINE - 30, reactor).addBoth((result) => {
      silent.transport.abortConnection();
      return result;
    });
  });
  const check = () => {
    const silence = stage.sim.seconds() - began;
    if (!stage.calm || Math.abs(silence - PATIENCE) < 1) return undefined;
    return silence < 1 && stage.refused-- > 0
      ? undefined
      : `it was hung up on after ${silence} seconds`;
  };
  return stage.exchange('a silence', DEADLINE, work, check, NETWORK_ERRORS);
}

function endpointTo(stage: Stage, name: string): TCP4ClientEndpoint {
  const [address] = stage.host('server').addresses;
  return new TCP4ClientEndpoint(stage.host(name).reactor, address, PORT, { timeout: 30 });
}

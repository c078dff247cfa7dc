/**
 * `HostnameEndpoint` over names that have good addresses and bad ones, in any order: if one of them answers it is found
 * in time, however many do not; only one connection comes of it; and nothing is left of the other attempts.
 */
import {
  connectProtocol,
  type Deferred,
  ConnectingCancelledError,
  Factory,
  HostnameEndpoint,
  Protocol,
} from 'plait';
import { TimeoutFactory } from 'plait/protocols/policies';
import { type ErrorClass, NETWORK_ERRORS, type Scenario, type Stage } from './scenario.ts';

const PORT = 80;
const TIMEOUT = 20;
const ERRORS: readonly ErrorClass[] = [...NETWORK_ERRORS, ConnectingCancelledError];

export const hostname: Scenario = {
  name: 'hostname',
  play(stage) {
    // One answers, one refuses, one is cut off, and one is nobody's.
    const { reactor } = stage.host('live');
    const idle = { timeout: 60, clock: reactor };
    const port = reactor.listenTCP(PORT, new TimeoutFactory(Factory.forProtocol(Protocol), idle), {
      interface: '::',
    });
    const good = stage.host('live').addresses;
    const bad = [...stage.host('refuser').addresses, '192.0.2.1', '2001:db8::1'];
    const works = [];
    for (let i = 0; i < 3; i++) {
      const client = `client${i}`;
      stage.host(client);
      stage.sim.partition(client, 'void');
      works.push(connect(stage, client, good, [...bad, ...stage.host('void').addresses]));
    }
    return stage.all(works).addBoth(() => port.stopListening());
  },
};

function connect(
  stage: Stage,
  client: string,
  good: readonly string[],
  bad: readonly string[],
): Deferred<void> {
  const { random } = stage;
  const chosen = [...good, ...bad].filter(() => random.chance(0.5));
  const addresses = chosen
    .map((address) => ({ address, rank: random.next() }))
    .sort((one, other) => one.rank - other.rank)
    .map(({ address }) => address);
  const name = `${client}.example`;
  stage.sim.setName(name, addresses.length === 0 ? { error: 'ENOTFOUND' } : { addresses });
  const live = addresses.some((address) => good.includes(address));
  const { reactor } = stage.host(client);
  const endpoint = new HostnameEndpoint(reactor, name, PORT, { timeout: TIMEOUT });
  const connecting = connectProtocol(endpoint, new Protocol());
  const cancelled = random.chance(0.15);
  if (cancelled) {
    const call = reactor.callLater(random.between(0, 3), () => connecting.cancel());
    connecting.addBoth((result) => {
      if (call.active()) call.cancel();
      return result;
    });
  }
  const began = stage.sim.seconds();
  // The look-up, and for each address before it the delay, and the attempt itself.
  const enough = stage.calm ? 0.3 + 0.25 * addresses.length : TIMEOUT;
  let answered = false;
  const left = (most: number): void => {
    const { descriptors } = stage.host(client);
    if (descriptors > most) stage.fault(`${descriptors - most} attempts of ${client} go on`);
  };
  const work = connecting.addCallbacks(
    (protocol) => {
      answered = true;
      left(1);
      protocol.transport.loseConnection();
      const host = (protocol.transport.getPeer() as { host: string }).host;
      const took = stage.sim.seconds() - began;
      if (!good.includes(host)) stage.fault(`it is connected to ${host}, which does not answer`);
      if (took > enough) stage.fault(`it has taken ${took} seconds to find ${addresses.join()}`);
      return undefined;
    },
    (failure) => {
      left(0);
      if (cancelled && failure.check(ConnectingCancelledError)) return undefined;
      // Without a good address the right answer is a typed error.
      return !live && failure.check(...NETWORK_ERRORS) ? undefined : failure;
    },
  ) as Deferred<void>;
  const check = () => (answered && !live ? 'it is connected, and nobody answers' : undefined);
  return stage.exchange(`to ${addresses.join()}`, TIMEOUT, work, check, ERRORS);
}

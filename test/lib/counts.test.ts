/**
 * A hundred thousand of what queues, nests or repeats: nothing is lost, the stack does not grow, and the time is in
 * proportion to the number.
 */
import { getEventListeners } from 'node:events';
import { Deferred } from '../../lib/defer.ts';
import { AlreadyCalledError, CancelledError, FailureGroup, FirstError } from '../../lib/errors.ts';
import { Failure } from '../../lib/failure.ts';
import { DeferredList, gatherResults, race } from '../../lib/gather.ts';
import type { Coroutine } from '../../lib/inline.ts';
import { scope, type Scope } from '../../lib/scope.ts';
import { MemoryReactor } from '../../lib/testing/memory-reactor.ts';
import { MultiService, Service } from '../../lib/service.ts';
import { Protocol } from '../../lib/protocol.ts';
import { connectedServerAndClient } from '../../lib/testing/pump.ts';
import { flushLoggedErrors } from '../../lib/testing/logged-errors.ts';
import { failureResultOf, successResultOf } from '../../lib/testing/results.ts';
import { StringTransport } from '../../lib/testing/string-transport.ts';
import { StandIn } from '../../lib/wrapping.ts';
import t from '../fixture.ts';
import { growsLinearly } from '../growth.ts';

const MANY = 100_000;

t.test('a hundred thousand Deferreds are chained, each to the next', (t) => {
  for (const fails of [false, true]) {
    const first = new Deferred<string>();
    const between: Deferred<void>[] = [];
    let last = first;
    for (let n = 0; n < MANY; n++) {
      const next = new Deferred<string>();
      between.push(last.chainDeferred(next));
      last = next;
    }
    if (fails) first.errback(new RangeError('no'));
    else first.callback('yes');
    if (fails) failureResultOf(last, RangeError);
    else t.equal(successResultOf(last), 'yes');
    t.equal(successResultOf(first as Deferred<unknown>), undefined);
    t.ok(between.every(({ state }) => state === 'succeeded'));
  }
  t.end();
});

t.test('a Deferred chained to one that does not go on, or has been fired', (t) => {
  const first = new Deferred<string>();
  const paused = new Deferred<string>();
  paused.pause();
  first.chainDeferred(paused);
  first.callback('tea');
  t.equal(first.state, 'succeeded');
  paused.unpause();
  t.equal(successResultOf(paused), 'tea');

  const fired = new Deferred<string>();
  fired.callback('tea');
  const late = new Deferred<string>();
  late.chainDeferred(fired);
  late.callback('coffee');
  failureResultOf(late, AlreadyCalledError);
  t.equal(successResultOf(fired), 'tea');

  const cancelled = new Deferred<string>();
  const slow = new Deferred<string>();
  slow.chainDeferred(cancelled);
  cancelled.cancel();
  failureResultOf(cancelled, CancelledError);
  slow.callback('nobody wants it');
  t.equal(successResultOf(slow as Deferred<unknown>), undefined);
  t.end();
});

t.test('a hundred thousand Deferreds are cancelled by one signal, and it has one listener', (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  const all = Array.from({ length: MANY }, () => new Deferred<number>().cancelOn(signal));
  t.equal(getEventListeners(signal, 'abort').length, 1);
  // Those that have a result leave, in any order.
  for (let n = 0; n < MANY; n += 2) all[n]?.callback(n);
  for (let n = MANY - 1; n > MANY / 2; n -= 2) all[n]?.callback(n);
  controller.abort();
  let cancelled = 0;
  for (const deferred of all)
    deferred.addErrback((failure) => {
      failure.trap(CancelledError);
      cancelled++;
    });
  t.equal(cancelled, MANY / 4);
  t.equal(getEventListeners(signal, 'abort').length, 0);

  // One that is cancelled gives another its result.
  const again = new AbortController();
  const other = new Deferred<string>();
  const one = new Deferred<string>(() => other.callback('tea')).cancelOn(again.signal);
  other.cancelOn(again.signal);
  again.abort();
  failureResultOf(one, CancelledError);
  t.equal(successResultOf(other), 'tea');
  t.end();
});

t.test('lists, gathers and races, thousands inside one another, are cancelled', (t) => {
  for (const around of [
    (inner: Deferred<unknown>) => gatherResults([inner], { consumeErrors: true }),
    (inner: Deferred<unknown>) => new DeferredList([inner], { consumeErrors: true }),
    (inner: Deferred<unknown>) => race([inner]),
  ] as ((inner: Deferred<unknown>) => Deferred<unknown>)[]) {
    const first = new Deferred<unknown>();
    let last = first;
    for (let n = 0; n < MANY / 20; n++) last = around(last);
    last.cancel();
    t.ok(first.called);
    t.ok(last.called);
    last.addErrback((failure) => void failure.trap(FirstError, FailureGroup));
  }
  t.end();
});

t.test('a race is over when it is cancelled, though those in it go on', (t) => {
  const stubborn = new Deferred<number>(() => stubborn.pause());
  stubborn.addErrback(() => {});
  const raced = race([stubborn]);
  raced.cancel();
  failureResultOf(raced, CancelledError);
  stubborn.unpause();
  t.end();
});

t.test('ten thousand scopes inside one another are run, and are cancelled', (t) => {
  for (const depth of [500, 10_000]) {
    const nested = (leaf: Deferred<string>): Deferred<string> => {
      let body = (_s: Scope): unknown => leaf;
      for (let n = 0; n < depth; n++) {
        const inner = body;
        body = function* (s): Coroutine<unknown> {
          return yield* s.scope(inner);
        };
      }
      return scope(body) as Deferred<string>;
    };
    const leaf = new Deferred<string>();
    const run = nested(leaf);
    leaf.callback('tea');
    t.equal(successResultOf(run), 'tea');
    const cancelled = nested(new Deferred<string>());
    cancelled.cancel();
    failureResultOf(cancelled, CancelledError);
  }
  t.end();
});

t.test('the messages of failures inside one another do not grow with their number', (t) => {
  let failure = new Failure(new RangeError('no'));
  for (let n = 0; n < 1000; n++) failure = new Failure(new FirstError(failure, n));
  t.ok(failure.value.message.length < 2000);
  let group = new Failure(new RangeError('no'));
  for (let n = 0; n < 1000; n++) group = new Failure(new FailureGroup([group]));
  t.ok(group.value.message.length < 2000);
  const many = new FailureGroup(new Array<Failure>(MANY).fill(new Failure(new RangeError('no'))));
  t.match(many.message, /^all 100000 failed: RangeError: no; .*; and 99900 more$/);
  t.equal(many.errors.length, MANY);
  t.end();
});

t.test(
  'a service has a hundred thousand parts, found by their names, and taken out one by one',
  (t) => {
    const whole = new MultiService();
    const parts = Array.from({ length: MANY }, (_, n) => {
      const part = new Service();
      part.name = `number ${n}`;
      part.setServiceParent(whole);
      return part;
    });
    t.ok(parts.every((part, n) => whole.getServiceNamed(`number ${n}`) === part));
    for (const part of parts.reverse()) successResultOf(part.disownServiceParent());
    t.equal([...whole].length, 0);
    t.throws(() => whole.getServiceNamed('number 7'), /no service named/);
    t.end();
  },
);

t.test('a hundred thousand small pieces go through a pump, in order', (t) => {
  let [received, next] = [0, 0];
  class Reader extends Protocol {
    override dataReceived(data: Buffer): void {
      for (const byte of data) if (byte === next++ % 251) received++;
    }
  }
  const { client, pump } = connectedServerAndClient(Reader, Protocol);
  for (let n = 0; n < MANY; n++) client.transport.write(Buffer.of(n % 251));
  pump.flush();
  t.equal(received, MANY);
  t.end();
});

/** Hands over to another one while it is made a connection, and that to the next, until there were `count`. */
class Relayed extends Protocol {
  readonly made: number[];
  readonly count: number;
  readonly act: () => void;

  constructor(made: number[], count: number, act: () => void = () => {}) {
    super();
    this.made = made;
    this.count = count;
    this.act = act;
  }

  override connectionMade(): void {
    const { made, count, act } = this;
    made.push(made.length);
    if (made.length < count) this.transport.switchProtocol(new Relayed(made, count, act));
    else act();
  }

  override dataReceived(data: Buffer): void {
    this.made.push(data.length);
  }
}

t.test('a hundred thousand protocols hand over, each while it is made a connection', (t) => {
  for (const wrap of [false, true]) {
    const made: number[] = [];
    const relayed = new Relayed(made, MANY);
    const buildProtocol = (): Protocol | StandIn => (wrap ? new StandIn(relayed) : relayed);
    const factory = { buildProtocol, doStart() {}, doStop() {} };
    const { client, pump } = connectedServerAndClient<Protocol | StandIn, Protocol>(
      factory,
      Protocol,
    );
    t.equal(made.length, MANY);
    client.transport.write('now');
    pump.flush();
    t.equal(made[MANY], 3, 'it is the last that gets what comes');
  }
  const alone: number[] = [];
  new Relayed(alone, MANY).makeConnection(new StringTransport());
  t.equal(alone.length, MANY);
  t.end();
});

t.test('one that fails, handed over to very deep inside, loses its connection', (t) => {
  const made: number[] = [];
  const fails = (): void => {
    throw new RangeError('not made');
  };
  const factory = { buildProtocol: () => new Relayed(made, 200, fails), doStart() {}, doStop() {} };
  const { server, client } = connectedServerAndClient(factory, Protocol);
  t.equal(made.length, 200);
  t.equal(flushLoggedErrors(RangeError).length, 1);
  t.equal(server.transport.connected, false);
  t.equal(client.transport.connected, false);
  t.end();
});

t.test('very many small pieces wait for the protocol that takes over, and come in order', (t) => {
  const bytes: number[] = [];
  class Next extends Protocol {
    override dataReceived(data: Buffer): void {
      bytes.push(...data);
    }
  }
  class First extends Protocol {
    override dataReceived(data: Buffer): void {
      this.transport.switchProtocol(new Next(), { unread: data });
    }
  }
  const { client, pump } = connectedServerAndClient(First, Protocol);
  for (let n = 0; n < 60_000; n++) client.transport.write(Buffer.of(n % 251));
  pump.flush();
  t.equal(bytes.length, 60_000);
  t.ok(bytes.every((byte, n) => byte === n % 251));
  t.end();
});

t.test('a hundred thousand triggers of a MemoryReactor are removed, one by one', (t) => {
  t.ok(
    growsLinearly((many) => {
      const reactor = new MemoryReactor();
      const add = () => reactor.addSystemEventTrigger('before', 'shutdown', () => {});
      const ids = Array.from({ length: many }, add);
      t.same([reactor.triggers.length, reactor.triggers[7]], [many, ids[7]]);
      for (const id of ids) reactor.removeSystemEventTrigger(id);
      t.equal(reactor.triggers.length, 0);
    }, 12_500),
  );
  t.end();
});

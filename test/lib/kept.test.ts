/** What is kept for the next time: how much of it, for how long, and what it keeps alive. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cooperate,
  Deferred,
  LogPublisher,
  optionsForClientTLS,
  platformTrust,
  Reactor,
  Service,
  MultiService,
} from 'plait';
import { Clock, MemoryReactorClock, StringTransport } from 'plait/testing';
import t from '../fixture.ts';

/** True once what `make` has made, and let go of, is collected. */
async function isCollected(make: () => object): Promise<boolean> {
  const weak = new WeakRef((() => make())());
  for (let n = 0; n < 50; n++) {
    await new Promise((resolve) => setImmediate(resolve));
    global.gc?.();
    if (weak.deref() === undefined) return true;
  }
  return false;
}

t.test('FND-73: whom the system trusts is read once, and kept for 16 environments', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'plait-kept-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const empty = join(folder, 'empty');
  writeFileSync(empty, '');
  const trusted = (name: string) =>
    platformTrust({ NODE_EXTRA_CA_CERTS: '', SSL_CERT_DIR: '', OF: name });
  t.equal(trusted('a'), trusted('b'), 'other variables are of no interest');
  const first = platformTrust({});
  t.equal(platformTrust({}), first);
  const folders = Array.from({ length: 16 }, (_, n) => ':'.repeat(n + 1));
  for (const each of folders) {
    try {
      platformTrust({ SSL_CERT_DIR: each });
    } catch {
      // There is no certificate in it, and it is not kept.
    }
  }
  t.equal(platformTrust({}), first, 'what cannot be used takes nobody’s place');
  t.end();
});

t.test('FND-73: nothing that is over is kept alive by what goes on', async (t) => {
  const reactor = new MemoryReactorClock();
  const clock = new Clock();
  const controller = new AbortController();
  const publisher = new LogPublisher();
  const parts = new MultiService();
  const ways: Record<string, () => object> = {
    'a call that was made': () => {
      const held = {};
      clock.callLater(1, () => held);
      clock.advance(1);
      return held;
    },
    'a call that was cancelled': () => {
      const held = {};
      clock.callLater(1000, () => held).cancel();
      return held;
    },
    'a Deferred whose signal goes on': () => {
      const deferred = new Deferred<object>();
      deferred.cancelOn(controller.signal);
      deferred.callback({});
      return deferred;
    },
    'an observer that was removed': () => {
      const observer = (): void => {};
      publisher.addObserver(observer);
      publisher.removeObserver(observer);
      return observer;
    },
    'a service that was disowned': () => {
      const service = new Service();
      service.setServiceParent(parts);
      void service.disownServiceParent();
      return service;
    },
    'work that is done': () => {
      const work = [1, 2][Symbol.iterator]();
      cooperate(work, { clock });
      clock.advance(0);
      clock.advance(0);
      return work;
    },
    'a clock by which work went': () => {
      const own = new Clock();
      cooperate([1][Symbol.iterator](), { clock: own });
      own.advance(0);
      return own;
    },
    'a trigger that was removed': () => {
      const trigger = (): void => {};
      reactor.removeSystemEventTrigger(
        reactor.addSystemEventTrigger('before', 'shutdown', trigger),
      );
      return trigger;
    },
    'a producer that has gone': () => {
      const producer = { pauseProducing() {}, resumeProducing() {}, stopProducing() {} };
      const transport = new StringTransport();
      transport.registerProducer(producer, true);
      transport.unregisterProducer();
      clock.callLater(1e6, () => transport);
      return producer;
    },
    'a reactor that was not used': () => new Reactor(),
    'options of a client of TLS': () => optionsForClientTLS('a.example'),
  };
  for (const [name, make] of Object.entries(ways)) t.ok(await isCollected(make), name);
  for (const call of clock.getDelayedCalls()) call.cancel();
});

t.test('FND-73: many calls that were cancelled are not kept until their time', async (t) => {
  const clock = new Clock();
  const held: WeakRef<object>[] = [];
  for (let n = 0; n < 500; n++) {
    const thing = { n };
    held.push(new WeakRef(thing));
    clock.callLater(1e6, (kept: object) => kept, thing).cancel();
  }
  t.ok(await isCollected(() => ({})));
  global.gc?.();
  t.ok(held.filter((weak) => weak.deref() !== undefined).length <= 1);
  t.same(clock.getDelayedCalls(), []);
});

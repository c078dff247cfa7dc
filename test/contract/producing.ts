/**
 * How a connection is fed: push and pull producers, at the pace at which the bytes go away; and the connection as a
 * producer for another.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { IPullProducer, IPushProducer, ITransport } from 'plait';
import type { Test } from '../fixture.ts';
import { type ConnectionStage, onBothSides } from './connection.ts';
import type { Kind } from './kinds.ts';
import { HalfCloser, Recorder } from './recorder.ts';
import { fail, logged, needsReset, Rules } from './rules.ts';

const KIB = 1024;
const MIB = 2 ** 20;

/** What a producer does inside a hook. */
interface Hooks {
  readonly pause?: () => void;
  readonly resume?: () => void;
  readonly stop?: () => void;
}

/** Writes down what it is told; a push and a pull producer in one. */
class Producer implements IPushProducer, IPullProducer {
  readonly events: string[] = [];
  readonly #hooks: Hooks;

  constructor(hooks: Hooks = {}) {
    this.#hooks = hooks;
  }

  pauseProducing(): void {
    this.events.push('pause');
    this.#hooks.pause?.();
  }

  resumeProducing(): void {
    this.events.push('resume');
    this.#hooks.resume?.();
  }

  stopProducing(): void {
    this.events.push('stop');
    this.#hooks.stop?.();
  }
}

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  onBothSides(t, kind, rules);
}

const rules = new Rules<ConnectionStage>();

rules.state('REA-10: a push producer keeps little waiting for a slow reader', async (stage) => {
  const { t, world } = stage;
  const pieces = 512;
  const sent = createHash('sha1');
  let written = 0;
  let most = 0;
  let paused = false;
  const protocol = new Recorder();
  const peer = await stage.join(protocol, { paused: true });
  const { transport } = protocol;
  const produce = () => {
    while (!paused && written < pieces) {
      const piece = Buffer.alloc(64 * KIB, written++);
      sent.update(piece);
      transport.write(piece);
      most = Math.max(most, transport.bufferedBytes);
    }
    if (written === pieces) transport.unregisterProducer();
  };
  const producer = new Producer({
    pause: () => (paused = true),
    resume: () => {
      paused = false;
      produce();
    },
  });
  transport.registerProducer(producer, true);
  produce();
  await world.settle();
  t.ok(written < pieces / 2, `a reader that does not read stops it, after ${written} pieces`);
  peer.resume();
  for (let i = 0; i < 4; i++) {
    await world.until(() => peer.count > ((i + 1) * pieces * 64 * KIB) / 8);
    peer.pause();
    await world.settle();
    peer.resume();
  }
  await world.until(() => peer.count === pieces * 64 * KIB);
  t.equal(createHash('sha1').update(peer.bytes()).digest('hex'), sent.digest('hex'));
  t.ok(most <= 128 * KIB, `${most} bytes waited: at most 64 KiB and one piece`);
  const events = producer.events.join(' ');
  t.match(events, /^(pause resume ?)+(pause)?$/, 'each pause has one resume');
  await world.settle();
  t.equal(producer.events.join(' '), events, 'it is left alone once it is unregistered');
});

rules.state(
  'a push producer is paused at once above 64 KiB, and resumed when all is sent',
  async (stage) => {
    const { t, world } = stage;
    const waiting: number[] = [];
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const { transport } = protocol;
    const producer = new Producer({ resume: () => waiting.push(transport.bufferedBytes) });
    transport.registerProducer(producer, true);
    transport.write(Buffer.alloc(64 * KIB));
    t.same(producer.events, [], '64 KiB are not too much');
    transport.write('!');
    t.same(producer.events, ['pause'], 'one byte more is');
    transport.write(Buffer.alloc(MIB));
    t.same(producer.events, ['pause'], 'it is paused once');
    await world.until(() => producer.events.length > 1);
    t.same(producer.events, ['pause', 'resume']);
    t.same(waiting, [0]);
    await world.until(() => peer.count === 64 * KIB + 1 + MIB);
    transport.unregisterProducer();
  },
);

rules.state(
  'a push producer that comes late is paused at once where too much waits',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    await stage.join(protocol);
    protocol.transport.write(Buffer.alloc(MIB));
    const producer = new Producer();
    protocol.transport.registerProducer(producer, true);
    t.same(producer.events, ['pause']);
    await world.until(() => producer.events.includes('resume'));
    protocol.transport.unregisterProducer();
  },
);

rules.state(
  'FND-72: the producer after one that has gone while it was paused is paused and resumed',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const { transport } = protocol;
    for (let round = 0; round < 3; round++) {
      const gone = new Producer();
      transport.registerProducer(gone, true);
      transport.write(Buffer.alloc(MIB));
      t.same(gone.events, ['pause']);
      transport.unregisterProducer();
      await world.until(
        () => peer.count === (2 * round + 1) * MIB && transport.bufferedBytes === 0,
      );
      t.same(gone.events, ['pause'], 'one that has gone is left alone');
      const producer = new Producer();
      transport.registerProducer(producer, true);
      t.same(producer.events, [], 'nothing waits');
      transport.write(Buffer.alloc(MIB));
      t.same(producer.events, ['pause']);
      await world.until(() => producer.events.length > 1);
      t.same(producer.events, ['pause', 'resume']);
      await world.until(
        () => peer.count === (2 * round + 2) * MIB && transport.bufferedBytes === 0,
      );
      transport.unregisterProducer();
    }
  },
);

rules.state(
  'a pull producer is asked when it is registered, and whenever all is sent',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const { transport } = protocol;
    const sent = Array.from({ length: 20 }, (_, i) => randomBytes(i * 10_000 + 1));
    const left = [...sent];
    const waiting: number[] = [];
    const producer = new Producer({
      resume: () => {
        waiting.push(transport.bufferedBytes);
        const piece = left.shift();
        if (piece === undefined) transport.unregisterProducer();
        else transport.write(piece);
      },
    });
    transport.registerProducer(producer, false);
    t.same(producer.events, ['resume'], 'before registerProducer returns');
    await world.until(() => peer.count === Buffer.concat(sent).length);
    await world.until(() => producer.events.length === sent.length + 1);
    await world.settle();
    t.ok(peer.bytes().equals(Buffer.concat(sent)));
    t.same(waiting, new Array(sent.length + 1).fill(0));
    t.equal(producer.events.length, sent.length + 1, 'it is left alone once it is unregistered');
  },
);

rules.state('REA-13: a pull producer that writes nothing is not asked again', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder();
  const peer = await stage.join(protocol);
  const producer = new Producer();
  protocol.transport.registerProducer(producer, false);
  await world.settle();
  t.same(producer.events, ['resume']);
  protocol.transport.write('by another way');
  await world.until(() => peer.count > 0 && producer.events.length === 2);
  await world.settle();
  t.same(producer.events, ['resume', 'resume']);
  protocol.transport.unregisterProducer();
});

rules.state(
  'a pull producer waits for what others write, and is not asked after an abort',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol, { paused: true });
    const { transport } = protocol;
    /** All is sent, and the producer has not been asked yet. */
    const sent = async () => {
      for (let i = 0; i < 100 && transport.bufferedBytes > 0; i++)
        await new Promise((resolve) => process.nextTick(resolve));
    };
    const producer = new Producer({ resume: () => transport.write('x') });
    transport.registerProducer(producer, false);
    await sent();
    transport.write(Buffer.allocUnsafe(20 * MIB));
    await world.settle();
    t.same(producer.events, ['resume'], 'much waits still');
    peer.resume();
    await world.until(() => producer.events.length > 1);
    await sent();
    const { length } = producer.events;
    transport.abortConnection();
    await world.until(() => protocol.lost);
    t.same(producer.events.slice(length), ['stop']);
  },
);

rules.state('REA-13: writing at each resume takes no stack, and starves nobody', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder();
  const peer = await stage.join(protocol);
  const { transport } = protocol;
  let turns = 0;
  let running = true;
  const count = () => {
    turns++;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  let written = 0;
  const producer = new Producer({
    resume: () => {
      transport.write('x');
      if (++written === 2000) transport.unregisterProducer();
    },
  });
  transport.registerProducer(producer, false);
  await world.until(() => peer.count === 2000);
  running = false;
  t.ok(turns > 100, `others had ${turns} turns`);

  // A push producer that is paused by each of its writes, and resumed at each.
  written = 0;
  const big = Buffer.alloc(64 * KIB + 1);
  const write = () => {
    if (written++ < 100) transport.write(big);
    else transport.unregisterProducer();
  };
  transport.registerProducer(new Producer({ resume: write }), true);
  write();
  await world.until(() => peer.count === 2000 + 100 * big.length);
});

rules.state(
  'REA-13: there is one producer at a time, and to unregister none does nothing',
  async (stage) => {
    const { t } = stage;
    const protocol = new Recorder();
    await stage.join(protocol);
    const { transport } = protocol;
    transport.unregisterProducer();
    const first = new Producer();
    const second = new Producer();
    transport.registerProducer(first, true);
    t.throws(() => transport.registerProducer(second, true), /another one is registered/);
    t.throws(() => transport.registerProducer(second, false), /another one is registered/);
    transport.unregisterProducer();
    transport.unregisterProducer();
    transport.registerProducer(second, false);
    t.same(first.events, []);
    t.same(second.events, ['resume']);
    transport.unregisterProducer();
  },
);

rules.state('loseConnection waits for a producer that has something to give', async (stage) => {
  const { t, world } = stage;
  for (const streaming of [true, false]) {
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const { transport } = protocol;
    let left = 20;
    const produce = () => {
      if (left-- > 0) transport.write(Buffer.alloc(64 * KIB + 1));
      else transport.unregisterProducer();
    };
    const producer = new Producer({ resume: produce });
    transport.registerProducer(producer, streaming);
    // It is paused by that.
    if (streaming) produce();
    transport.loseConnection();
    t.equal(transport.connected, true);
    await world.until(() => protocol.lost && peer.ended);
    t.equal(peer.count, 20 * (64 * KIB + 1));
    t.notOk(producer.events.includes('stop'));
    t.same(protocol.events, ['made', 'lost ConnectionDone']);
  }
});

rules.state('loseWriteConnection waits for the producer too', async (stage) => {
  const { t, world } = stage;
  const protocol = new HalfCloser();
  const peer = await stage.join(protocol);
  const { transport } = protocol;
  transport.registerProducer(new Producer(), false);
  transport.loseWriteConnection();
  await world.settle();
  t.equal(peer.ended, false);
  transport.write('the rest');
  await world.until(() => peer.count === 8);
  await world.settle();
  t.equal(peer.ended, false);
  transport.unregisterProducer();
  await world.until(() => peer.ended && protocol.events.includes('writeLost'));
});

rules.state('FND-02: closing does not wait for a push producer that may go on', async (stage) => {
  const { t, world } = stage;
  for (const how of ['loseConnection', 'loseWriteConnection'] as const) {
    for (const moment of ['before', 'behind'] as const) {
      const protocol = new HalfCloser();
      const peer = await stage.join(protocol);
      const { transport } = protocol;
      const producer = new Producer();
      if (moment === 'before') transport.write('all of it');
      transport.registerProducer(producer, true);
      if (moment === 'behind') transport.write('all of it');
      transport[how]();
      await world.until(() => peer.ended);
      t.equal(peer.text(), 'all of it');
      if (how === 'loseConnection') await world.until(() => protocol.lost);
      else await world.until(() => protocol.events.includes('writeLost'));
      t.same(producer.events, how === 'loseConnection' ? ['stop'] : []);
    }
  }
});

rules.state(
  'FND-02: one that was paused, and goes on without writing, is waited for no longer once it has written',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const { transport } = protocol;
    const producer = new Producer();
    transport.registerProducer(producer, true);
    transport.write(Buffer.alloc(MIB));
    transport.loseConnection();
    await world.until(() => producer.events.includes('resume'));
    await world.settle();
    t.equal(transport.connected, true, 'it has time to go on');
    transport.write('!');
    await world.until(() => protocol.lost && peer.ended);
    t.same(producer.events, ['pause', 'resume', 'stop']);
    t.equal(peer.count, MIB + 1);
  },
);

rules.state('FND-01: connections that feed each other close with each other', async (stage) => {
  const { t, world } = stage;
  for (const held of [false, true]) {
    const [front, back] = [new Recorder(), new Recorder()];
    const [client, server] = [
      await stage.join(front, { paused: held }),
      await stage.join(back, { paused: held }),
    ];
    front.transport.registerProducer(back.transport, true);
    back.transport.registerProducer(front.transport, true);
    // Too much for the client to take at once: the connection behind is told to pause.
    if (held) front.transport.write(Buffer.alloc(4 * MIB));
    front.transport.write('bye');
    // What is paused does not see an end.
    if (held) back.transport.abortConnection();
    else server.end();
    await world.until(() => back.lost);
    front.transport.loseConnection();
    client.resume();
    await world.until(() => front.lost && client.ended);
    t.equal(client.text().slice(-3), 'bye');
    t.same(front.events, ['made', 'lost ConnectionDone']);
  }
});

rules.state('FND-01: a lost connection is no producer that stands in the way', async (stage) => {
  const { t, world } = stage;
  const [front, back] = [new Recorder(), new Recorder()];
  await stage.join(front);
  const server = await stage.join(back);
  front.transport.registerProducer(back.transport, false);
  front.transport.loseConnection();
  await world.settle();
  t.equal(front.transport.connected, true, 'a pull producer is waited for');
  server.end();
  await world.until(() => back.lost);
  t.equal(front.transport.connected, true);
  // As connectionLost of the other connection does.
  front.transport.loseConnection();
  await world.until(() => front.lost);

  const other = new Recorder();
  await stage.join(other);
  other.transport.registerProducer(back.transport, true);
  const producer = new Producer();
  other.transport.registerProducer(producer, false);
  t.same(producer.events, ['resume'], 'another may take its place');
  other.transport.unregisterProducer();
});

rules.state(
  'a producer is stopped when the connection is lost, and told nothing else',
  async (stage) => {
    const { t, world } = stage;
    for (const streaming of [true, false]) {
      const protocol = new Recorder({ lost: () => t.same(producer.events.at(-1), 'stop') });
      const peer = await stage.join(protocol, { paused: true });
      const { transport } = protocol;
      const useAll = () => {
        transport.write('x');
        transport.unregisterProducer();
        transport.loseConnection();
      };
      const producer: Producer = new Producer({ stop: useAll });
      transport.registerProducer(producer, streaming);
      transport.write(Buffer.allocUnsafe(20 * MIB));
      peer.end();
      await world.until(() => protocol.lost);
      await world.settle();
      t.same(producer.events, [streaming ? 'pause' : 'resume', 'stop']);
    }
  },
);

rules.state(
  'a producer is stopped by a reset',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const producer = new Producer();
    protocol.transport.registerProducer(producer, true);
    await world.settle();
    peer.reset();
    await world.until(() => protocol.lost);
    t.same(producer.events, ['stop']);
  },
  needsReset,
);

rules.state('a producer is stopped by an abort, later and once', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder();
  await stage.join(protocol, { paused: true });
  const { transport } = protocol;
  const producer = new Producer();
  transport.registerProducer(producer, true);
  transport.write(Buffer.allocUnsafe(20 * MIB));
  transport.abortConnection();
  t.same(producer.events, ['pause']);
  await world.until(() => protocol.lost);
  await world.settle();
  t.same(producer.events, ['pause', 'stop']);
  t.same(protocol.events, ['made', 'lost ConnectionAborted']);
});

rules.state('a producer that comes too late is stopped at once', async (stage) => {
  const { t, world } = stage;
  const late = [new Producer(), new Producer()];
  const register = ({ transport }: { transport: ITransport }) => {
    transport.registerProducer(late[0]!, true);
    transport.registerProducer(late[1]!, false);
  };
  const protocol = new Recorder({ lost: register });
  const peer = await stage.join(protocol);
  peer.end();
  await world.until(() => protocol.lost);
  for (const producer of late) t.same(producer.events, ['stop']);
  register(protocol);
  for (const producer of late) t.same(producer.events, ['stop', 'stop']);
});

rules.state(
  'REA-06: what a producer throws is logged, and why the connection is lost',
  async (stage) => {
    const { t, world } = stage;
    const cases: [hook: keyof Hooks, streaming: boolean][] = [
      ['pause', true],
      ['resume', true],
      ['resume', false],
    ];
    for (const [hook, streaming] of cases) {
      const protocol = new Recorder();
      const peer = await stage.join(protocol);
      const { transport } = protocol;
      const producer = new Producer({ [hook]: () => fail(`cannot ${hook}`) });
      transport.registerProducer(producer, streaming);
      transport.write(Buffer.alloc(64 * KIB + 1));
      t.equal(protocol.lost, false, 'it is not lost inside the call');
      await world.until(() => protocol.lost);
      await world.until(() => peer.ended || peer.closed);
      t.same(logged(), [`cannot ${hook}`]);
      t.same(protocol.events, ['made', 'lost RangeError']);
      t.equal(producer.events.filter((event) => event === 'stop').length, 1);
    }
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    protocol.transport.registerProducer(new Producer({ stop: () => fail('cannot stop') }), true);
    peer.end();
    await world.until(() => protocol.lost);
    t.same(logged(), ['cannot stop']);
    t.same(protocol.events, ['made', 'lost ConnectionDone']);
  },
);

rules.state('anything can be asked for inside a producer’s hooks', async (stage) => {
  const { t, world } = stage;
  const acts: Record<string, (transport: ITransport) => void> = {
    ConnectionDone: (transport) => {
      transport.unregisterProducer();
      transport.loseConnection();
    },
    ConnectionAborted: (transport) => transport.abortConnection(),
  };
  for (const [reason, act] of Object.entries(acts)) {
    for (const hook of ['pause', 'resume'] as const) {
      const protocol = new Recorder();
      const peer = await stage.join(protocol);
      const { transport } = protocol;
      let next: Producer | undefined;
      const producer = new Producer({
        [hook]: () => {
          act(transport);
          if (reason === 'ConnectionDone') {
            next = new Producer({ resume: () => transport.unregisterProducer() });
            transport.registerProducer(next, false);
          }
        },
      });
      transport.registerProducer(producer, true);
      transport.write(Buffer.alloc(64 * KIB + 1));
      await world.until(() => protocol.lost);
      await world.until(() => peer.ended || peer.closed);
      t.same(protocol.events, ['made', `lost ${reason}`]);
      if (reason === 'ConnectionDone') {
        t.same(next?.events, ['resume']);
        t.equal(peer.count, 64 * KIB + 1);
      }
    }
  }
});

rules.state('a connection is itself a producer', async (stage) => {
  const { t, world } = stage;
  // From a fast peer to a slow one, through two connections of ours.
  const outgoing = new Recorder({ lost: () => incoming.transport.loseConnection() });
  const incoming = new Recorder({
    made: () => {
      outgoing.transport.registerProducer(incoming.transport, true);
    },
    data: (_, data) => {
      outgoing.transport.write(data);
      most = Math.max(most, outgoing.transport.bufferedBytes);
    },
    lost: () => {
      outgoing.transport.unregisterProducer();
      outgoing.transport.loseConnection();
    },
  });
  let most = 0;
  const slow = await stage.join(outgoing, { paused: true });
  const fast = await stage.join(incoming);
  const sent = randomBytes(16 * MIB);
  fast.say(sent);
  fast.end();
  await world.settle();
  t.ok(fast.unsent > 4 * MIB, `${fast.unsent} bytes wait where they come from`);
  slow.resume();
  await world.until(() => slow.ended && outgoing.lost);
  t.ok(slow.bytes().equals(sent));
  t.ok(most <= 1 * MIB, `${most} bytes waited in between`);
});

rules.state('as a producer it can be stopped, and as a consumer', async (stage) => {
  const { t, world } = stage;
  const stopped = new Recorder();
  const peers = [await stage.join(stopped)];
  stopped.transport.write('all of it');
  stopped.transport.stopProducing();
  const fed = new Recorder();
  peers.push(await stage.join(fed));
  fed.transport.registerProducer(new Producer(), true);
  fed.transport.write('all of it');
  (fed.transport as ITransport & { stopConsuming(): void }).stopConsuming();
  await world.until(() => stopped.lost && fed.lost && peers.every(({ ended }) => ended));
  for (const peer of peers) t.equal(peer.text(), 'all of it');
  for (const { events } of [stopped, fed]) t.same(events, ['made', 'lost ConnectionDone']);
});

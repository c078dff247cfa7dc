/**
 * How a connection ends: closed, half-closed, aborted or reset, by either side, at odd moments.
 */
import { randomBytes } from 'node:crypto';
import type { ITCPTransport, ITransport } from 'plait';
import type { Test } from '../fixture.ts';
import { type ConnectionStage, onBothSides } from './connection.ts';
import type { Kind, Peer } from './kinds.ts';
import { HalfCloser, Recorder } from './recorder.ts';
import { type Exception, needsReset, Rules } from './rules.ts';

const MIB = 2 ** 20;

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  onBothSides(t, kind, rules);
}

const rules = new Rules<ConnectionStage>();

const farewell: Exception = ({ name }) =>
  name === 'tls' ? 'a program that closes says so first, which is an end in order' : '';

// ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-01: after loseConnection nothing is delivered, and it is lost later',
  async (stage) => {
    const { t, world } = stage;
    const seen: string[][] = [];
    const protocol = new Recorder({
      data: (protocol) => {
        protocol.transport.loseConnection();
        seen.push([...protocol.events]);
      },
    });
    const peer = await stage.join(protocol);
    for (let i = 0; i < 10; i++) {
      peer.say(`line ${i}\r\n`);
      await world.settle();
    }
    await world.until(() => peer.ended);
    peer.end();
    await world.until(() => protocol.lost);
    t.equal(protocol.text(), 'line 0\r\n');
    t.same(seen, [['made', 'data']], 'it is not lost inside the call');
    t.same(protocol.events, ['made', 'data', 'lost ConnectionDone']);
  },
);

for (const queued of [0, MIB, 10 * MIB]) {
  rules.state(
    `REA-02: with ${queued / MIB} MiB waiting, loseConnection sends all, and what is written after it too`,
    async (stage) => {
      const { t, world } = stage;
      const before = randomBytes(queued);
      const protocol = new Recorder();
      const peer = await stage.join(protocol, { paused: true });
      const { transport } = protocol;
      transport.write(before);
      transport.loseConnection();
      t.equal(transport.disconnecting, true);
      transport.write('in the same turn');
      if (queued > 4 * MIB) {
        await world.settle();
        transport.write(', and later');
      }
      transport.loseConnection();
      peer.resume();
      await world.until(() => peer.ended && protocol.lost);
      const after = queued > 4 * MIB ? 'in the same turn, and later' : 'in the same turn';
      t.ok(peer.bytes().equals(Buffer.concat([before, Buffer.from(after)])));
      t.equal(peer.error, '');
      t.same(protocol.events, ['made', 'lost ConnectionDone']);
    },
  );
}

rules.state('what arrives while it is closing is dropped, and disturbs nothing', async (stage) => {
  const { t, world } = stage;
  const sent = randomBytes(10 * MIB);
  const protocol = new Recorder();
  const peer = await stage.join(protocol, { paused: true });
  protocol.transport.write(sent);
  protocol.transport.loseConnection();
  for (let i = 0; i < 64; i++) {
    peer.say(Buffer.alloc(65_536));
    await world.settle();
  }
  peer.resume();
  await world.until(() => peer.ended);
  peer.end();
  await world.until(() => protocol.lost);
  t.ok(peer.bytes().equals(sent));
  t.equal(peer.error, '');
  t.same(protocol.events, ['made', 'lost ConnectionDone']);
});

rules.state('a peer that goes on sending gets all that was sent to it', async (stage) => {
  const { t, world } = stage;
  const sent = randomBytes(300_000);
  const protocol = new Recorder();
  const peer = await stage.join(protocol, { paused: true });
  peer.say('chatter');
  protocol.transport.write(sent);
  protocol.transport.loseConnection();
  for (let i = 0; i < 10; i++) {
    await world.settle();
    peer.say('chatter');
    if (protocol.transport.bufferedBytes === 0) protocol.transport.write('too late');
  }
  peer.resume();
  await world.until(() => peer.ended || peer.closed);
  peer.end();
  await world.until(() => protocol.lost);
  t.ok(peer.bytes().equals(sent));
  t.equal(peer.error, '');
  t.same(protocol.events, ['made', 'lost ConnectionDone']);
});

rules.state('it can be closed inside each hook', async (stage) => {
  const { t, world } = stage;
  const close = ({ transport }: Recorder) => transport.loseConnection();
  const inMade = new Recorder({ made: close, lost: close });
  const inReadLost = new HalfCloser({ readLost: close });
  const inWriteLost = new HalfCloser({
    made: ({ transport }) => transport.loseWriteConnection(),
    writeLost: close,
  });
  const peers = [
    await stage.join(inMade),
    await stage.join(inReadLost),
    await stage.join(inWriteLost),
  ];
  peers[1]!.end();
  await world.until(() => inMade.lost && inReadLost.lost && inWriteLost.lost);
  await world.until(() => peers.every(({ ended }) => ended));
  t.same(inMade.events, ['made', 'lost ConnectionDone']);
  t.same(inReadLost.events, ['made', 'readLost', 'lost ConnectionDone']);
  t.same(inWriteLost.events, ['made', 'writeLost', 'lost ConnectionDone']);
});

rules.state(
  'REA-31: once it is lost nothing has any effect, and its addresses are known',
  async (stage) => {
    const { t, world } = stage;
    const useAll = (protocol: Recorder) => {
      const transport = protocol.transport as ITCPTransport;
      transport.write('x');
      transport.writeSequence(['x', 'y']);
      transport.loseConnection();
      transport.abortConnection();
      transport.loseWriteConnection();
      transport.pauseProducing();
      transport.resumeProducing();
      transport.stopProducing();
      transport.unregisterProducer();
      transport.setTcpNoDelay(false);
      transport.setTcpKeepAlive(true);
      t.equal(transport.getTcpNoDelay(), false);
      t.equal(transport.getTcpKeepAlive(), true);
      t.equal(transport.bufferedBytes, 0);
      t.equal(transport.connected, false);
      t.equal(String(transport.getHost()), host);
      t.equal(String(transport.getPeer()), other);
    };
    const protocol = new Recorder({ lost: useAll });
    const peer = await stage.join(protocol);
    const host = String(protocol.transport.getHost());
    const other = String(protocol.transport.getPeer());
    peer.close();
    await world.until(() => protocol.lost);
    useAll(protocol);
    await world.settle();
    useAll(protocol);
    t.same(protocol.events, ['made', 'lost ConnectionDone']);
  },
);

rules.state('TCP options can be set while it lives', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder();
  const peer = await stage.join(protocol);
  const transport = protocol.transport as ITCPTransport;
  t.equal(transport.getTcpNoDelay(), true);
  t.equal(transport.getTcpKeepAlive(), false);
  transport.setTcpNoDelay(false);
  transport.setTcpKeepAlive(true);
  t.equal(transport.getTcpNoDelay(), false);
  t.equal(transport.getTcpKeepAlive(), true);
  transport.write('still there');
  await world.until(() => peer.count === 11);
});

rules.state(
  'REA-09: a peer’s end comes after all of its bytes, and ends the connection',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const sent = randomBytes(MIB);
    peer.say(sent);
    peer.end();
    await world.until(() => protocol.lost && peer.ended);
    t.ok(protocol.bytes().equals(sent));
    t.same(protocol.events, ['made', 'data', 'lost ConnectionDone']);
  },
);

rules.state(
  'an answer written when the last bytes arrive is sent before the end',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder({ data: ({ transport }, data) => transport.write(data) });
    const peer = await stage.join(protocol);
    peer.say('ping');
    peer.end();
    await world.until(() => protocol.lost && peer.ended);
    t.equal(peer.text(), 'ping');
  },
);

rules.state(
  'a peer that goes on sending and never ends is waited for a while, and not for ever',
  async (stage) => {
    const { t } = stage;
    const peers: Peer[] = [];
    await new Promise<void>((resolve) => {
      const protocol = new Recorder({
        data: ({ transport }) => {
          transport.loseConnection();
          peers[0]?.say('not finished yet');
        },
        lost: () => resolve(),
      });
      void stage.join(protocol).then((peer) => {
        peers.push(peer);
        peer.say('a long story');
      });
    });
    t.equal(peers[0]?.ended, true);
  },
  // It takes real time, and is no different on the others.
  ({ name }) => (name === 'tcp' ? '' : 'it is shown on tcp'),
);

// ── Resets and aborts ────────────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'a reset is ConnectionLost, after what arrived before it',
  async (stage) => {
    const { t, world } = stage;
    for (const waiting of [0, 20 * MIB]) {
      const protocol = new Recorder();
      const peer = await stage.join(protocol, { paused: true });
      protocol.transport.write(Buffer.allocUnsafe(waiting));
      await world.settle();
      peer.say('last words');
      peer.reset();
      await world.until(() => protocol.lost);
      t.match(protocol.reason?.value.message, /^connection to .* was lost: /);
      t.match((protocol.reason?.value as NodeJS.ErrnoException).code, /^(ECONNRESET|EPIPE)$/);
      t.equal(protocol.text(), 'last words');
      t.same(protocol.events, ['made', 'data', 'lost ConnectionLost'], `${waiting} bytes wait`);
    }
  },
  needsReset,
);

rules.state(
  'a reset out of the blue is ConnectionLost, also where an end alone would not be the end',
  async (stage) => {
    const { t, world } = stage;
    for (const protocol of [new Recorder(), new HalfCloser()]) {
      const peer = await stage.join(protocol);
      await world.settle();
      peer.reset();
      await world.until(() => protocol.lost);
      t.same(protocol.events, ['made', 'lost ConnectionLost']);
    }
  },
  needsReset,
);

rules.state('to write to a peer that is gone loses the connection, once', async (stage) => {
  const { t, world } = stage;
  const protocol = new HalfCloser();
  const peer = await stage.join(protocol);
  peer.close();
  await world.until(() => protocol.events.includes('readLost'));
  for (let i = 0; !protocol.lost; i++) {
    if (i > 100) throw new Error('it is never lost');
    protocol.transport.write('anybody there?');
    await world.settle();
  }
  t.same(protocol.events, ['made', 'readLost', 'lost ConnectionLost']);
});

rules.state(
  'what a peer said before it went away is delivered, though our writes fail',
  async (stage) => {
    const { t, world } = stage;
    const said = randomBytes(50_000);
    for (const protocol of [new Recorder(), new HalfCloser()]) {
      const peer = await stage.join(protocol, { paused: true });
      protocol.transport.write('unread');
      await world.settle();
      peer.say(said);
      peer.close();
      protocol.transport.write('too late');
      await world.until(() => protocol.lost);
      t.ok(protocol.bytes().equals(said));
      t.same(protocol.events, ['made', 'data', 'lost ConnectionLost']);
      t.match((protocol.reason?.value as NodeJS.ErrnoException).code, /^(ECONNRESET|EPIPE)$/);
    }
  },
  farewell,
);

rules.state(
  'a connection that is paused when a write fails is lost at once',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder({ made: ({ transport }) => transport.pauseProducing() });
    const later = new Recorder({ data: ({ transport }) => transport.pauseProducing() });
    for (const each of [protocol, later]) {
      const peer = await stage.join(each, { paused: true });
      each.transport.write('unread');
      await world.settle();
      peer.say('last words');
      peer.close();
      each.transport.write('too late');
      await world.until(() => each.lost);
      t.equal(each.events.at(-1), 'lost ConnectionLost');
    }
    t.equal(protocol.count, 0);
  },
  farewell,
);

rules.state('REA-03: abortConnection drops what waits, and is felt as a reset', async (stage) => {
  const { t, world, kind } = stage;
  let inside: string[] = [];
  const held: WeakRef<Buffer>[] = [];
  const protocol = new Recorder({
    data: (protocol) => {
      for (let i = 0; i < 100; i++) {
        const piece = Buffer.allocUnsafe(MIB);
        held.push(new WeakRef(piece));
        protocol.transport.write(piece);
      }
      protocol.transport.abortConnection();
      inside = [...protocol.events];
    },
  });
  const peer = await stage.join(protocol, { paused: true });
  peer.say('go');
  await world.settle();
  peer.say('more');
  await world.until(() => protocol.lost);
  t.same(inside, ['made', 'data'], 'it is not lost inside the call');
  t.same(protocol.events, ['made', 'data', 'lost ConnectionAborted']);
  t.equal(protocol.text(), 'go');
  t.equal(protocol.transport.bufferedBytes, 0);
  peer.resume();
  await world.until(() => peer.closed || peer.ended || peer.error !== '');
  if (kind.resets) t.equal(peer.error, 'ECONNRESET');
  t.ok(peer.count < 100 * MIB);
  (globalThis as { gc?: () => void }).gc?.();
  t.same(
    held.filter((piece) => piece.deref() !== undefined),
    [],
    'what waited is free',
  );
});

rules.state(
  'abortConnection works with an orderly close under way, at any point of it',
  async (stage) => {
    const { t, world, kind } = stage;
    const ways: ((transport: ITransport) => Promise<void>)[] = [
      async (transport) => transport.loseConnection(),
      async (transport) => {
        transport.write(Buffer.allocUnsafe(20 * MIB));
        transport.loseConnection();
        await world.settle();
      },
      async (transport) => transport.loseWriteConnection(),
      async (transport) => {
        transport.loseWriteConnection();
        await new Promise((resolve) => setImmediate(resolve));
      },
      async (transport) => {
        transport.loseWriteConnection();
        await world.settle();
      },
      async (transport) => transport.abortConnection(),
    ];
    for (const [i, way] of ways.entries()) {
      const protocol = new HalfCloser();
      const peer = await stage.join(protocol, { paused: true });
      await way(protocol.transport);
      protocol.transport.abortConnection();
      protocol.transport.loseConnection();
      await world.until(() => protocol.lost);
      const events = protocol.events.join();
      t.equal(events, `made,${i === 4 ? 'writeLost,' : ''}lost ConnectionAborted`, `way ${i}`);
      peer.resume();
      await world.until(() => peer.ended || peer.closed);
      t.ok(peer.count < 20 * MIB);
      // With much of it unread, or once it was told of the end, a peer sees no more than an end.
      if (kind.resets && ![1, 3, 4].includes(i)) t.equal(peer.error, 'ECONNRESET', `way ${i}`);
    }
  },
);

rules.state('it can be aborted inside each hook', async (stage) => {
  const { t, world } = stage;
  const abort = ({ transport }: Recorder) => transport.abortConnection();
  const inMade = new Recorder({ made: abort, lost: abort });
  const inReadLost = new HalfCloser({ readLost: abort });
  const inWriteLost = new HalfCloser({
    made: ({ transport }) => transport.loseWriteConnection(),
    writeLost: abort,
  });
  await stage.join(inMade);
  const peer = await stage.join(inReadLost);
  await stage.join(inWriteLost);
  peer.end();
  await world.until(() => inMade.lost && inReadLost.lost && inWriteLost.lost);
  t.same(inMade.events, ['made', 'lost ConnectionAborted']);
  t.same(inReadLost.events, ['made', 'readLost', 'lost ConnectionAborted']);
  t.same(inWriteLost.events, ['made', 'writeLost', 'lost ConnectionAborted']);
});

// ── Half-close ───────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state(
  'REA-09: a half-closeable protocol answers in full after the peer’s end',
  async (stage) => {
    const { t, world } = stage;
    const sent = randomBytes(MIB);
    const protocol = new HalfCloser({
      readLost: (protocol) => {
        protocol.transport.write(protocol.bytes());
        protocol.transport.loseConnection();
      },
    });
    const peer = await stage.join(protocol);
    peer.say(sent);
    peer.end();
    await world.until(() => protocol.lost && peer.ended);
    t.ok(peer.bytes().equals(sent));
    t.same(protocol.events, ['made', 'data', 'readLost', 'lost ConnectionDone']);
  },
);

rules.state('after the peer’s end it stays open for as long as it likes', async (stage) => {
  const { t, world } = stage;
  const protocol = new HalfCloser();
  const peer = await stage.join(protocol);
  peer.end();
  await world.until(() => protocol.events.includes('readLost'));
  await world.settle();
  protocol.transport.write('still here');
  await world.until(() => peer.count === 10);
  t.equal(protocol.transport.connected, true);
  t.same(protocol.events, ['made', 'readLost']);
});

rules.state('loseWriteConnection sends all and then an end, and reading goes on', async (stage) => {
  const { t, world } = stage;
  const sent = randomBytes(MIB);
  const protocol = new HalfCloser();
  const peer = await stage.join(protocol);
  const { transport } = protocol;
  transport.write(sent);
  transport.loseWriteConnection();
  transport.write('in the same turn');
  transport.loseWriteConnection();
  await world.until(() => peer.ended);
  await world.until(() => protocol.events.includes('writeLost'));
  t.ok(peer.bytes().equals(Buffer.concat([sent, Buffer.from('in the same turn')])));
  transport.write('too late');
  t.equal(transport.bufferedBytes, 0);
  peer.say('I see');
  await world.until(() => protocol.text() === 'I see');
  t.same(protocol.events, ['made', 'writeLost', 'data']);
  t.equal(transport.connected, true);
});

rules.state('when both directions have ended the connection is done', async (stage) => {
  const { t, world } = stage;
  const writeFirst = new HalfCloser({ made: ({ transport }) => transport.loseWriteConnection() });
  const readFirst = new HalfCloser({
    readLost: ({ transport }) => transport.loseWriteConnection(),
  });
  for (const protocol of [writeFirst, readFirst]) {
    const peer = await stage.join(protocol);
    await world.settle();
    peer.end();
    await world.until(() => protocol.lost && peer.ended);
  }
  t.same(writeFirst.events, ['made', 'writeLost', 'readLost', 'lost ConnectionDone']);
  t.same(readFirst.events, ['made', 'readLost', 'writeLost', 'lost ConnectionDone']);
});

rules.state(
  'any protocol can end its writing, and then the peer’s end is the end',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder({ made: ({ transport }) => transport.loseWriteConnection() });
    const peer = await stage.join(protocol);
    await world.until(() => peer.ended);
    peer.say('bye');
    await world.until(() => protocol.count === 3);
    peer.end();
    await world.until(() => protocol.lost);
    t.same(protocol.events, ['made', 'data', 'lost ConnectionDone']);
  },
);

rules.state('loseConnection overtakes a half-close', async (stage) => {
  const { t, world } = stage;
  const atOnce = new HalfCloser();
  const later = new HalfCloser();
  const peers = [await stage.join(atOnce), await stage.join(later)];
  for (const { transport } of [atOnce, later]) {
    transport.write('all of it');
    transport.loseWriteConnection();
  }
  atOnce.transport.loseConnection();
  await world.settle();
  later.transport.loseConnection();
  await world.until(() => atOnce.lost && later.lost && peers.every(({ ended }) => ended));
  t.same(atOnce.events, ['made', 'lost ConnectionDone']);
  t.same(later.events, ['made', 'writeLost', 'lost ConnectionDone']);
  for (const peer of peers) t.equal(peer.text(), 'all of it');
});

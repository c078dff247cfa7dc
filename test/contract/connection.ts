/**
 * How a connection lives: the rules that hold for each end of every kind of wire, whichever side made it. How it is
 * born is in `listening.ts` and `connecting.ts`; how it is fed by a producer in `producing.ts`.
 */
import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import type { IProtocol, ITransport } from 'plait';
import type { Test } from '../fixture.ts';
import type { Kind, Peer, PeerOptions } from './kinds.ts';
import { HalfCloser, Recorder, serving } from './recorder.ts';
import { fail, logged, needsReset, Rules, type Stage } from './rules.ts';

const MIB = 2 ** 20;

/** Which end of a connection is plait's: the one that took it, or the one that asked for it. */
export type Side = 'accepted' | 'asked for';

/** One end of a connection is to be plait's, the other a raw peer. */
export interface ConnectionStage extends Stage {
  readonly side: Side;
  /** Makes a connection for `protocol`, and returns its other end. */
  join(protocol: IProtocol, options?: PeerOptions): Promise<Peer>;
}

/** Shows rules about a connection on both ends of it. */
export function onBothSides(
  t: Pick<Test, 'test'>,
  kind: Kind,
  rules: Rules<ConnectionStage>,
): void {
  for (const side of ['accepted', 'asked for'] as const) {
    rules.show(t, kind, side, (stage) => ({
      ...stage,
      side,
      join: (protocol, options) => join(stage, side, protocol, options),
    }));
  }
}

async function join(
  { world }: Stage,
  side: Side,
  protocol: IProtocol,
  options?: PeerOptions,
): Promise<Peer> {
  const factory = serving(protocol);
  let peer: Peer;
  if (side === 'accepted') {
    const port = world.listen(factory);
    await port.ready;
    peer = await world.call(port.getHost(), options);
  } else {
    const port = await world.answer(options);
    world.connect(port.address, factory);
    peer = await port.peer();
  }
  await world.until(() => factory.events.includes('build'));
  return peer;
}

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  onBothSides(t, kind, rules);
}

const rules = new Rules<ConnectionStage>();

// ── Bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state('it is made, delivers what arrives, and is lost once', async (stage) => {
  const { t, world, kind } = stage;
  const protocol = new Recorder({ made: ({ transport }) => transport.write('hello') });
  const peer = await stage.join(protocol);
  t.equal(protocol.transport.connected, true);
  t.equal(protocol.transport.disconnecting, false);
  t.ok(protocol.transport.getHost() instanceof kind.address);
  t.ok(protocol.transport.getPeer() instanceof kind.address);
  peer.say('how are you');
  await world.until(() => protocol.count === 11 && peer.count === 5);
  peer.end();
  await world.until(() => protocol.lost && peer.ended);
  t.equal(peer.text(), 'hello');
  t.equal(protocol.text(), 'how are you');
  t.equal(protocol.transport.connected, false);
  await world.settle();
  t.same(protocol.events, ['made', 'data', 'lost ConnectionDone']);
});

rules.state('bytes arrive whole and in order, however they are written', async (stage) => {
  const { t, world } = stage;
  const sent = [randomBytes(1), randomBytes(40_000), randomBytes(3), randomBytes(MIB)];
  const protocol = new Recorder({
    made: ({ transport }) => {
      for (const piece of sent) transport.write(piece);
      transport.write('é');
      transport.writeSequence(['a', Buffer.from('b'), new Uint8Array([99])]);
    },
    data: ({ transport }, data) => {
      transport.write(data.subarray(0, 1));
      transport.write(data.subarray(1));
    },
  });
  const peer = await stage.join(protocol);
  const written = Buffer.concat([...sent, Buffer.from('éabc')]);
  await world.until(() => peer.count === written.length);
  t.ok(peer.bytes().equals(written));
  const echoed = randomBytes(MIB);
  peer.say(echoed);
  await world.until(() => peer.count === written.length + MIB);
  t.ok(peer.bytes().subarray(written.length).equals(echoed));
});

rules.state(
  'REA-20: only strings and bytes can be written, and nothing of the rest',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const transport = protocol.transport as unknown as { write(data: unknown): void };
    for (const wrong of [null, undefined, 5, {}, [1], new Float32Array(4), new ArrayBuffer(4)]) {
      t.throws(() => transport.write(wrong), TypeError, inspect(wrong));
      t.throws(() => protocol.transport.writeSequence(['x', wrong as string]), TypeError);
    }
    protocol.transport.writeSequence([]);
    protocol.transport.write('');
    protocol.transport.write(new Uint8Array(0));
    t.equal(protocol.transport.bufferedBytes, 0);
    protocol.transport.write('good');
    await world.until(() => peer.count > 0);
    t.equal(peer.text(), 'good');
  },
);

rules.state(
  'REA-21: what was delivered is the protocol’s, what was sent the caller’s',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder();
    const peer = await stage.join(protocol);
    const sent: Buffer[] = [];
    for (let i = 0; i < 1000; i++) {
      sent.push(Buffer.alloc(64, i));
      peer.say(sent[i]!);
      if (i % 10 === 0) await world.until(() => protocol.count === (i + 1) * 64);
    }
    await world.until(() => protocol.count === 64_000);
    t.ok(protocol.bytes().equals(Buffer.concat(sent)), 'a buffer that was delivered never changes');

    const own = Buffer.from('as it was');
    protocol.transport.write(own);
    await world.until(() => protocol.transport.bufferedBytes === 0);
    own.fill('!');
    await world.until(() => peer.count > 0);
    t.equal(peer.text(), 'as it was');
  },
);

// ── Exceptions ───────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state('REA-06: what dataReceived throws is logged, and why it is lost', async (stage) => {
  const { t, world } = stage;
  const scripts: ((protocol: Recorder) => void)[] = [
    () => {},
    ({ transport }) => transport.write('dropped'),
    ({ transport }) => transport.loseConnection(),
    ({ transport }) => transport.abortConnection(),
    ({ transport }) => transport.pauseProducing(),
  ];
  for (const script of scripts) {
    const protocol = new Recorder({
      data: (protocol) => {
        script(protocol);
        fail('not that');
      },
    });
    const peer = await stage.join(protocol);
    peer.say('that');
    await world.until(() => protocol.lost);
    await world.until(() => peer.ended || peer.closed);
    await world.settle();
    t.same(protocol.events, ['made', 'data', 'lost RangeError']);
    t.equal(protocol.reason?.value.message, 'not that');
    t.same(logged(), ['not that']);
  }
});

rules.state('REA-06: what connectionLost throws is logged', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder({ lost: () => fail('not lost') });
  const peer = await stage.join(protocol);
  peer.end();
  await world.until(() => protocol.lost && peer.ended);
  t.same(logged(), ['not lost']);
});

rules.state('REA-06: what the hooks of half-close throw is why it is lost', async (stage) => {
  const { t, world } = stage;
  const reading = new HalfCloser({ readLost: () => fail('not read') });
  const peer = await stage.join(reading);
  peer.end();
  const writing = new HalfCloser({
    made: ({ transport }) => transport.loseWriteConnection(),
    writeLost: () => fail('not written'),
  });
  await world.until(() => reading.lost);
  t.same(logged(), ['not read']);
  await stage.join(writing);
  await world.until(() => writing.lost);
  t.same(logged(), ['not written']);
  t.same(reading.events, ['made', 'readLost', 'lost RangeError']);
  t.same(writing.events, ['made', 'writeLost', 'lost RangeError']);
});

// ── Pausing ──────────────────────────────────────────────────────────────────────────────────────────────────────────

rules.state('while it is paused nothing is delivered, and afterwards everything', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder({
    made: ({ transport }) => transport.pauseProducing(),
    data: ({ transport }) => transport.pauseProducing(),
  });
  const peer = await stage.join(protocol);
  const sent = randomBytes(MIB);
  peer.say(sent);
  await world.settle();
  t.equal(protocol.count, 0);
  while (protocol.count < MIB) {
    const before = protocol.chunks.length;
    protocol.transport.resumeProducing();
    t.equal(protocol.chunks.length, before, 'it is not delivered inside the call');
    await world.until(() => protocol.chunks.length > before);
    t.equal(protocol.chunks.length, before + 1, 'one piece each time');
  }
  t.ok(protocol.bytes().equals(sent));
});

rules.state('a paused connection holds up its peer', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder({ made: ({ transport }) => transport.pauseProducing() });
  const peer = await stage.join(protocol);
  for (let i = 0; i < 32; i++) peer.say(Buffer.allocUnsafe(MIB));
  await world.settle();
  t.ok(peer.unsent > 16 * MIB, `${peer.unsent} bytes wait at the peer`);
  protocol.transport.resumeProducing();
  await world.until(() => protocol.count === 32 * MIB);
});

rules.state('an end that comes while it is paused is seen when it is resumed', async (stage) => {
  const { t, world } = stage;
  for (const words of ['', 'last words']) {
    const protocol = new HalfCloser({
      made: ({ transport }) => transport.pauseProducing(),
      readLost: ({ transport }) => transport.loseConnection(),
    });
    const peer = await stage.join(protocol);
    if (words !== '') peer.say(words);
    peer.end();
    await world.settle();
    t.same(protocol.events, ['made']);
    protocol.transport.resumeProducing();
    protocol.transport.pauseProducing();
    await world.settle();
    t.same(protocol.events, ['made'], 'paused again at once');
    protocol.transport.resumeProducing();
    protocol.transport.resumeProducing();
    t.same(protocol.events, ['made'], 'not inside the call');
    await world.until(() => protocol.lost);
    t.equal(protocol.text(), words);
    const data = words === '' ? [] : ['data'];
    t.same(protocol.events, ['made', ...data, 'readLost', 'lost ConnectionDone']);
  }
});

rules.state(
  'what is written as it is resumed goes out before the end that waits',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder({ made: ({ transport }) => transport.pauseProducing() });
    const peer = await stage.join(protocol);
    peer.end();
    await world.settle();
    protocol.transport.resumeProducing();
    protocol.transport.write('bye');
    await world.until(() => protocol.lost && peer.ended);
    t.equal(peer.text(), 'bye');
  },
);

rules.state('the end that follows what it was paused at waits too', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder({ data: ({ transport }) => transport.pauseProducing() });
  const peer = await stage.join(protocol);
  peer.say('last words');
  peer.end();
  await world.until(() => protocol.count === 10);
  await world.settle();
  t.same(protocol.events, ['made', 'data']);
  protocol.transport.resumeProducing();
  await world.until(() => protocol.lost);
  t.same(protocol.events, ['made', 'data', 'lost ConnectionDone']);
});

rules.state(
  'a reset is seen at once, paused or not',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder({ made: ({ transport }) => transport.pauseProducing() });
    const peer = await stage.join(protocol);
    await world.settle();
    peer.reset();
    await world.until(() => protocol.lost);
    t.same(protocol.events, ['made', 'lost ConnectionLost']);
  },
  needsReset,
);

rules.state('it can be closed while it is paused, whatever arrives', async (stage) => {
  const { t, world } = stage;
  const sent = randomBytes(10 * MIB);
  const protocol = new Recorder({ made: ({ transport }) => transport.pauseProducing() });
  const peer = await stage.join(protocol);
  peer.pause();
  peer.say(Buffer.allocUnsafe(10 * MIB));
  await world.settle();
  protocol.transport.write(sent);
  protocol.transport.loseConnection();
  protocol.transport.pauseProducing();
  await world.settle();
  protocol.transport.resumeProducing();
  await world.until(() => peer.unsent === 0); // a peer that says all before it listens
  peer.resume();
  await world.until(() => peer.ended);
  peer.end();
  await world.until(() => protocol.lost);
  t.ok(peer.bytes().equals(sent));
  t.same(protocol.events, ['made', 'lost ConnectionDone']);
});

rules.state('it can be aborted while it is paused', async (stage) => {
  const { t, world } = stage;
  const protocol = new Recorder({ made: ({ transport }) => transport.pauseProducing() });
  const peer = await stage.join(protocol);
  peer.say('unheard');
  await world.settle();
  protocol.transport.abortConnection();
  await world.until(() => protocol.lost && (peer.ended || peer.closed));
  t.same(protocol.events, ['made', 'lost ConnectionAborted']);
});

// ── The reactor’s stop ───────────────────────────────────────────────────────────────────────────────────────────────

rules.state('when the reactor stops it is lost, in whatever state it is', async (stage) => {
  const { t, world } = stage;
  const states: ((transport: ITransport) => void)[] = [
    () => {},
    (transport) => transport.write(Buffer.allocUnsafe(20 * MIB)),
    (transport) => transport.pauseProducing(),
    (transport) => transport.loseWriteConnection(),
    (transport) => {
      transport.write(Buffer.allocUnsafe(20 * MIB));
      transport.loseConnection();
    },
  ];
  const protocols: Recorder[] = [];
  for (const state of states) {
    const protocol = new Recorder({ lost: ({ transport }) => transport.write('too late') });
    await stage.join(protocol, { paused: true });
    state(protocol.transport);
    protocols.push(protocol);
  }
  await world.settle();
  await world.stop();
  for (const { events } of protocols) t.same(events, ['made', 'lost ConnectionLost']);
  t.match(protocols[0]?.reason?.value.message, /the reactor has stopped/);
});

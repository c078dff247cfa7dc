/** How a connection changes its protocol while it lives. */
import { ConnectionLost, type IProtocol } from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import type { Test } from '../fixture.ts';
import { type ConnectionStage, onBothSides } from './connection.ts';
import type { Kind } from './kinds.ts';
import { HalfCloser, Recorder } from './recorder.ts';
import { fail, logged, Rules } from './rules.ts';

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  onBothSides(t, kind, rules);
}

const rules = new Rules<ConnectionStage>();

rules.state('FND-25: another protocol takes over, and gets what comes', async (stage) => {
  const { t, world } = stage;
  const [before, next] = [new Recorder(), new Recorder()];
  const peer = await stage.join(before);
  peer.say('one');
  await world.until(() => before.count === 3);
  before.transport.switchProtocol(next);
  t.same(next.events, ['made'], 'it is made a connection at once');
  t.equal(next.transport, before.transport);
  peer.say('two');
  await world.until(() => next.count === 3);
  next.transport.write('three');
  await world.until(() => peer.text() === 'three');
  peer.end();
  await world.until(() => next.lost);
  t.same(before.events, ['made', 'data']);
  t.same(next.events, ['made', 'data', 'lost ConnectionDone']);
  t.throws(() => before.transport.switchProtocol(new Recorder()), ConnectionLost);
});

rules.state(
  'FND-25: what was left unread comes first, and never from inside a call',
  async (stage) => {
    const { t, world } = stage;
    const next = new Recorder();
    const before = new Recorder({
      data: ({ transport }, data) => {
        transport.switchProtocol(next, { unread: data.subarray(3) });
        t.equal(next.count, 0);
        // Each waits for its turn.
        t.equal(next.text(), '');
      },
    });
    const peer = await stage.join(before);
    peer.say('oneTWO');
    await world.until(() => next.count === 3);
    peer.say('THREE');
    await world.until(() => next.count === 8);
    t.equal(next.text(), 'TWOTHREE');
    next.transport.loseConnection();
    await world.until(() => next.lost);
  },
);

rules.state('FND-25: a protocol that buffers gives back what it has', async (stage) => {
  const { t, world } = stage;
  const next = new Recorder();
  const lines: string[] = [];
  class Upgrading extends LineReceiver {
    override lineReceived(line: Buffer): void {
      lines.push(line.toString());
      if (lines.length === 2) this.transport.switchProtocol(next);
    }
  }
  const peer = await stage.join(new Upgrading());
  peer.say('GET\r\nUpgrade\r\nthis is\r\nbinary');
  await world.until(() => next.text() === 'this is\r\nbinary');
  t.same(lines, ['GET', 'Upgrade']);
  next.transport.loseConnection();
  await world.until(() => next.lost);
});

rules.state('FND-25: one after the other, and at once in connectionMade', async (stage) => {
  const { t, world } = stage;
  const third = new Recorder();
  const second: Recorder = new Recorder({
    data: ({ transport }, data) => transport.switchProtocol(third, { unread: data.subarray(1) }),
  });
  const first = new Recorder({ made: ({ transport }) => transport.switchProtocol(second) });
  const peer = await stage.join(first);
  peer.say('abc');
  await world.until(() => third.count === 2);
  t.same(first.events, ['made']);
  t.same(second.events, ['made', 'data']);
  t.equal(third.text(), 'bc');
  third.transport.loseConnection();
  await world.until(() => third.lost);
  t.equal(second.lost, false);
});

rules.state('FND-25: while it is paused nothing is delivered, not even the rest', async (stage) => {
  const { t, world } = stage;
  const [before, next] = [new Recorder(), new HalfCloser()];
  const peer = await stage.join(before);
  before.transport.pauseProducing();
  before.transport.switchProtocol(next, { unread: Buffer.from('rest,') });
  await world.settle();
  t.equal(next.count, 0);
  next.transport.resumeProducing();
  peer.say('more');
  await world.until(() => next.text() === 'rest,more');
  peer.end();
  await world.until(() => next.events.includes('readLost'));
  next.transport.loseConnection();
  await world.until(() => next.lost);
});

rules.state('FND-25: the end of the peer stands behind what was left unread', async (stage) => {
  const { t, world } = stage;
  for (const halves of [true, false]) {
    const [before, next] = [new HalfCloser(), halves ? new HalfCloser() : new Recorder()];
    const peer = await stage.join(before);
    peer.end();
    await world.until(() => before.events.includes('readLost'));
    before.transport.switchProtocol(next, { unread: Buffer.from('rest') });
    await world.until(() => (halves ? next.events.includes('readLost') : next.lost));
    t.equal(next.text(), 'rest');
    if (halves) {
      t.same(next.events, ['made', 'data', 'readLost']);
      next.transport.loseConnection();
      await world.until(() => next.lost);
    }
  }
});

rules.state('FND-25: what takes over while the connection closes hears of that', async (stage) => {
  const { t, world } = stage;
  const [before, next] = [new Recorder(), new Recorder()];
  await stage.join(before);
  before.transport.loseConnection();
  before.transport.switchProtocol(next, { unread: Buffer.from('too late') });
  await world.until(() => next.lost);
  t.same(next.events, ['made', 'lost ConnectionDone']);
  t.equal(before.lost, false);
});

rules.state('FND-25: what is no protocol is refused before anything happens', async (stage) => {
  const { t, world } = stage;
  const before = new Recorder();
  const peer = await stage.join(before);
  const { transport } = before;
  t.throws(() => transport.switchProtocol({} as IProtocol), TypeError);
  t.throws(() => transport.switchProtocol(null as unknown as IProtocol), TypeError);
  t.throws(
    () => transport.switchProtocol(new Recorder(), { unread: 'text' as unknown as Buffer }),
    TypeError,
  );
  peer.say('still here');
  await world.until(() => before.count === 10);
  transport.loseConnection();
  await world.until(() => before.lost);
});

rules.state('FND-25: a timer of the one before is told that it is over', async (stage) => {
  const { t, world } = stage;
  let replaced = 0;
  class Timed extends Recorder {
    protocolReplaced(): void {
      replaced++;
    }
  }
  const [before, next] = [new Timed(), new Recorder()];
  await stage.join(before);
  before.transport.switchProtocol(next);
  t.equal(replaced, 1);
  next.transport.loseConnection();
  await world.until(() => next.lost);
});

rules.state(
  'FND-11: what connectionMade throws ends the connection, for that reason',
  async (stage) => {
    const { t, world } = stage;
    const protocol = new Recorder({ made: () => fail('half built') });
    const peer = await stage.join(protocol);
    peer.say('hello?');
    await world.until(() => protocol.lost && (peer.ended || peer.closed));
    t.same(protocol.events, ['made', 'lost RangeError']);
    t.same(logged(), ['half built']);
  },
);

rules.state('FND-25: so does what that of one that takes over throws', async (stage) => {
  const { t, world } = stage;
  const [before, next] = [new Recorder(), new Recorder({ made: () => fail('no upgrade') })];
  await stage.join(before);
  before.transport.switchProtocol(next);
  t.same(next.events, ['made']);
  await world.until(() => next.lost);
  t.same(next.events, ['made', 'lost RangeError']);
  t.same(logged(), ['no upgrade']);
});

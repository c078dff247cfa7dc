/**
 * What each method of a transport does in each state of its connection: one table, shown on every kind of wire. It
 * stands in docs/reference/transports.md too. How StringTransport keeps to it is in `lib/testing/doubles.test.ts`.
 */
import type { ITLSTransport } from 'plait';
import type { Test } from '../fixture.ts';
import { type ConnectionStage, onBothSides } from './connection.ts';
import type { Kind, Peer } from './kinds.ts';
import { HalfCloser, Recorder } from './recorder.ts';
import { Rules } from './rules.ts';
import { SERVER } from './tls-kind.ts';

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  onBothSides(t, kind, rules);
}

const rules = new Rules<ConnectionStage>();

/** Each state of a connection, and how it comes to be in it. */
const STATES = {
  open: () => {},
  /** In the same turn. */
  closing: ({ transport }: Scene) => transport.loseConnection(),
  /** In an earlier turn, but there are bytes that have not gone out. */
  'closing, bytes waiting': async ({ transport, settle }: Scene) => {
    transport.write(Buffer.alloc(ENOUGH));
    transport.loseConnection();
    await settle();
  },
  /** In an earlier turn, but a producer has something to give. */
  'closing, fed': async ({ transport, producer, settle }: Scene) => {
    transport.registerProducer(producer, false);
    transport.loseConnection();
    await settle();
  },
  'half-closing': ({ transport }: Scene) => transport.loseWriteConnection(),
  'half-closed': async ({ transport, protocol, until }: Scene) => {
    transport.loseWriteConnection();
    await until(() => protocol.events.includes('writeLost'));
  },
  aborting: ({ transport }: Scene) => transport.abortConnection(),
  closed: async ({ transport, protocol, until }: Scene) => {
    transport.abortConnection();
    await until(() => protocol.lost);
  },
} as const;

type State = keyof typeof STATES;

/** More than the kernel takes of a peer that reads nothing. */
const ENOUGH = 10 * 2 ** 20;

/** A connection in some state. */
interface Scene {
  readonly protocol: HalfCloser;
  readonly transport: ITLSTransport;
  readonly peer: Peer;
  /** A pull producer that gives nothing. */
  readonly producer: { resumeProducing(): void; stopProducing(): void };
  readonly stopped: () => boolean;
  readonly settle: () => Promise<void>;
  readonly until: (condition: () => boolean) => Promise<void>;
}

/** What comes of each method. */
const METHODS = {
  write: (scene: Scene) => isSent(scene, () => scene.transport.write('!!')),
  writeSequence: (scene: Scene) => isSent(scene, () => scene.transport.writeSequence(['!', '!'])),
  loseConnection: (scene: Scene) => itEnds(scene, () => scene.transport.loseConnection()),
  loseWriteConnection: (scene: Scene) => itEnds(scene, () => scene.transport.loseWriteConnection()),
  abortConnection: (scene: Scene) => itEnds(scene, () => scene.transport.abortConnection()),
  stopProducing: (scene: Scene) => itEnds(scene, () => scene.transport.stopProducing()),
  'pauseProducing, resumeProducing': ({ transport }: Scene) =>
    outcome(() => {
      transport.pauseProducing();
      transport.resumeProducing();
    }),
  registerProducer: ({ transport, producer, stopped }: Scene) =>
    outcome(() => {
      transport.registerProducer(producer, false);
      return stopped() ? 'stopped' : 'registered';
    }),
  unregisterProducer: ({ transport }: Scene) => outcome(() => transport.unregisterProducer()),
  startTLS: ({ transport }: Scene) => outcome(() => transport.startTLS(SERVER)),
  switchProtocol: ({ transport }: Scene) => {
    const next = new Recorder();
    return outcome(() => {
      transport.switchProtocol(next);
      return next.events.join();
    });
  },
  setTcpNoDelay: ({ transport }: Scene) => outcome(() => transport.setTcpNoDelay(false)),
  'getHost, getPeer': ({ transport }: Scene) =>
    outcome(() => `${transport.getHost()}, ${transport.getPeer()}`.replace(/^.+, .+$/, 'known')),
  disconnecting: ({ transport }: Scene) => outcome(() => String(transport.disconnecting)),
  connected: ({ transport }: Scene) => outcome(() => String(transport.connected)),
  'what the peer says': async ({ transport, protocol, peer, settle }: Scene) => {
    peer.say('?');
    await settle();
    if (protocol.count === 0 && !transport.disconnecting) await settle();
    return protocol.count > 0 ? 'delivered' : 'dropped';
  },
} as const;

type Method = keyof typeof METHODS;

function outcome(call: () => string | void): string {
  try {
    return call() ?? 'nothing thrown';
  } catch (error) {
    return (error as Error).name;
  }
}

async function isSent(scene: Scene, write: () => void): Promise<string> {
  const { transport, peer, until } = scene;
  write();
  // The end stands behind all that is sent.
  transport.unregisterProducer();
  transport.loseConnection();
  peer.resume();
  await until(() => peer.ended || peer.closed);
  return peer.bytes().subarray(-2).toString() === '!!' ? 'sent' : 'dropped';
}

async function itEnds({ transport, protocol, peer, settle, until }: Scene, end: () => void) {
  end();
  transport.unregisterProducer();
  peer.resume();
  if (transport.disconnecting) await until(() => protocol.lost);
  else await until(() => peer.ended);
  await settle();
  return protocol.events.filter((event) => !/made|data/.test(event)).join();
}

/** In every state the same, but for these. */
function row(usual: string, others: Partial<Record<State, string>> = {}): (state: State) => string {
  return (state) => others[state] ?? usual;
}

const NOT_SENT = { 'half-closed': 'dropped', aborting: 'dropped', closed: 'dropped' } as const;
const ABORTED = { aborting: 'lost ConnectionAborted', closed: 'lost ConnectionAborted' } as const;
const CLOSES = row('lost ConnectionDone', {
  'half-closing': 'lost ConnectionDone',
  'half-closed': 'writeLost,lost ConnectionDone',
  ...ABORTED,
});

/** Method × state. */
const TABLE: Readonly<Record<Method, (state: State) => string>> = {
  write: row('sent', NOT_SENT),
  writeSequence: row('sent', NOT_SENT),
  loseConnection: CLOSES,
  stopProducing: CLOSES,
  loseWriteConnection: row('lost ConnectionDone', {
    open: 'writeLost',
    'half-closing': 'writeLost',
    'half-closed': 'writeLost',
    ...ABORTED,
  }),
  abortConnection: row('lost ConnectionAborted', {
    'half-closed': 'writeLost,lost ConnectionAborted',
  }),
  'pauseProducing, resumeProducing': row('nothing thrown'),
  registerProducer: row('registered', {
    'closing, fed': 'Error',
    'half-closed': 'stopped',
    closed: 'stopped',
  }),
  unregisterProducer: row('nothing thrown'),
  startTLS: row('SSLError', { open: 'nothing thrown', closed: 'nothing thrown' }),
  switchProtocol: row('made', { closed: 'ConnectionLost' }),
  setTcpNoDelay: row('nothing thrown'),
  'getHost, getPeer': row('known'),
  disconnecting: row('true', { open: 'false', 'half-closing': 'false', 'half-closed': 'false' }),
  connected: row('true', { closed: 'false' }),
  'what the peer says': row('dropped', {
    open: 'delivered',
    'half-closing': 'delivered',
    'half-closed': 'delivered',
  }),
};

/** It takes megabytes to be in this state: only what depends on it is shown. */
const HEAVY: readonly Method[] = ['write', 'abortConnection', 'registerProducer', 'startTLS'];

for (const state of Object.keys(STATES) as State[]) {
  rules.state(`FND-20, FND-69: what each method does when it is ${state}`, async (stage) => {
    const { t, world, kind } = stage;
    const waiting = state === 'closing, bytes waiting';
    for (const method of waiting ? HEAVY : (Object.keys(METHODS) as Method[])) {
      if (method === 'what the peer says' && (state === 'aborting' || state === 'closed')) continue;
      const protocol = new HalfCloser();
      const peer = await stage.join(protocol, { paused: waiting });
      let stopped = false;
      const producer = { resumeProducing() {}, stopProducing: () => void (stopped = true) };
      const scene: Scene = {
        protocol,
        transport: protocol.transport as ITLSTransport,
        peer,
        producer,
        stopped: () => stopped,
        settle: () => world.settle(),
        until: (condition) => world.until(condition),
      };
      await STATES[state](scene);
      t.equal(await METHODS[method](scene), TABLE[method](state), `${kind.name}: ${method}`);
      protocol.transport.abortConnection();
      peer.resume();
      await world.until(() => protocol.lost || !protocol.transport.connected);
      peer.close();
    }
  });
}

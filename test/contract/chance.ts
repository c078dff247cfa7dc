/**
 * Whatever the two ends of a connection do, and in whatever order: what must hold all the same.
 */
import fc from 'fast-check';
import { howMany } from '../campaign.ts';
import type { Test } from '../fixture.ts';
import { type ConnectionStage, onBothSides } from './connection.ts';
import type { Kind, Peer, World } from './kinds.ts';
import { HalfCloser, Recorder } from './recorder.ts';
import { Rules } from './rules.ts';

export function contract(t: Pick<Test, 'test'>, kind: Kind): void {
  onBothSides(t, kind, rules);
}

const rules = new Rules<ConnectionStage>();

/** What is done in one step, by plait's end or by the peer. */
type Step =
  | readonly ['write' | 'say', number]
  | readonly ['lose' | 'loseWrite' | 'abort' | 'pause' | 'resume']
  | readonly ['peer ends' | 'peer closes' | 'peer resets' | 'peer pauses' | 'peer resumes']
  | readonly ['turns'];

const sizes = fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 30_000 }));

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.tuple(fc.constantFrom('write', 'say'), sizes) },
    { weight: 2, arbitrary: fc.constant(['turns']) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom('pause', 'resume', 'peer pauses', 'peer resumes')),
    },
    {
      weight: 1,
      arbitrary: fc.tuple(
        fc.constantFrom('lose', 'loseWrite', 'abort', 'peer ends', 'peer closes', 'peer resets'),
      ),
    },
  ),
  { maxLength: 15 },
);

/** The bytes of one direction: each piece goes on where the one before ended, so that no two places look alike. */
class Bytes {
  readonly #pieces: Buffer[] = [];
  #count = 0;

  next(size: number): Buffer {
    const piece = Buffer.alloc(size);
    for (let i = 0; i < size; i++, this.#count++)
      piece[i] = (this.#count * 31 + (this.#count >> 8)) & 255;
    this.#pieces.push(piece);
    return piece;
  }

  /** True if these are the first of them, in order. */
  begin(bytes: Buffer): boolean {
    return Buffer.concat(this.#pieces).subarray(0, bytes.length).equals(bytes);
  }

  /** True if these are all of them. */
  are(bytes: Buffer): boolean {
    return Buffer.concat(this.#pieces).equals(bytes);
  }
}

/** One conversation. */
class Play {
  readonly written = new Bytes();
  readonly said = new Bytes();
  readonly #world: World;
  readonly #protocol: Recorder;
  readonly #peer: Peer;
  #mayWrite = true;
  #maySay = true;
  /** It was closed, and has had time to be. */
  #closed = false;
  #losing = false;
  /** The peer spoke to what was closed: the answer is a reset, which may cost a paused peer what it has not read. */
  spokeInVain = false;
  /** How much had been delivered when it was paused. */
  #pausedAt: number | undefined;

  constructor(world: World, protocol: Recorder, peer: Peer) {
    this.#world = world;
    this.#protocol = protocol;
    this.#peer = peer;
  }

  async step([what, size = 0]: readonly [string, number?]): Promise<void> {
    const { transport } = this.#protocol;
    const peer = this.#peer;
    const acts: Record<string, () => unknown> = {
      write: () => {
        if (this.#mayWrite && transport.connected) transport.write(this.written.next(size));
      },
      say: () => {
        if (!this.#maySay) return;
        this.spokeInVain ||= this.#closed;
        peer.say(this.said.next(size));
      },
      lose: () => {
        transport.loseConnection();
        this.#losing = true;
        this.#mayWrite = false;
      },
      loseWrite: () => {
        transport.loseWriteConnection();
        this.#mayWrite = false;
      },
      abort: () => {
        transport.abortConnection();
        this.#mayWrite = false;
      },
      pause: () => {
        transport.pauseProducing();
        this.#pausedAt ??= this.#protocol.count;
      },
      resume: () => {
        transport.resumeProducing();
        this.#pausedAt = undefined;
      },
      'peer ends': () => {
        peer.end();
        this.#maySay = false;
      },
      'peer closes': () => {
        peer.close();
        this.#maySay = false;
      },
      'peer resets': () => {
        peer.reset();
        this.#maySay = false;
      },
      'peer pauses': () => peer.pause(),
      'peer resumes': () => peer.resume(),
      turns: () => {
        this.#closed = this.#losing;
        return this.#world.settle();
      },
    };
    await acts[what]!();
    if (this.#pausedAt !== undefined && this.#pausedAt !== this.#protocol.count)
      throw new Error('something was delivered while it was paused');
  }

  /** Both ends come to an end, in order if they still can. */
  async finish(): Promise<void> {
    const { transport } = this.#protocol;
    transport.resumeProducing();
    transport.loseConnection();
    this.#peer.resume();
    await this.#world.until(() => this.#peer.ended || this.#peer.closed);
    this.#peer.end();
    await this.#world.until(() => this.#protocol.lost);
    await this.#world.settle();
  }
}

const ORDERLY =
  /^made(,data|,writeLost)*(,readLost(,writeLost)?)?,lost Connection(Done|Lost|Aborted)$/;

/** Plays one conversation, and looks at what must hold of each. */
async function converse(stage: ConnectionStage, script: Step[], halfCloses: boolean) {
  const protocol = halfCloses ? new HalfCloser() : new Recorder();
  const peer = await stage.join(protocol);
  const play = new Play(stage.world, protocol, peer);
  for (const step of script) await play.step(step);
  await play.finish();

  const events = protocol.events.join();
  if (!ORDERLY.test(events) || events.split('writeLost').length > 2)
    throw new Error(`the hooks were called in this order: ${events}`);
  if (!play.said.begin(protocol.bytes())) throw new Error('other bytes were delivered than said');
  if (!play.written.begin(peer.bytes())) throw new Error('other bytes were sent than written');
  const done = script.map(([what]) => what);
  const violent = (['abort', 'peer closes', 'peer resets'] as const).some((w) => done.includes(w));
  // A protocol that cannot live on after the end of the peer loses what has not gone out by then, as with Twisted.
  if (violent || play.spokeInVain || (!halfCloses && done.includes('peer ends'))) return;
  if (!play.written.are(peer.bytes())) throw new Error('not all that was written was sent');
  if (!events.endsWith('ConnectionDone')) throw new Error(`it was ${events}`);
}

/** Conversations that once went wrong: a close, and a peer that is paused and goes on talking. */
const FOUND: readonly Step[][] = [
  [['write', 1], ['lose'], ['say', 1], ['peer pauses']],
  [['peer pauses'], ['write', 1], ['lose'], ['say', 1]],
  [['peer pauses'], ['write', 1], ['lose'], ['turns'], ['say', 1], ['turns']],
  [['peer pauses'], ['say', 1], ['write', 30_000], ['lose'], ['turns'], ['peer resumes']],
  [['peer pauses'], ['write', 1], ['say', 1], ['lose'], ['turns'], ['peer ends']],
];

rules.state('FND-1F: a close costs a paused peer nothing that it was sent', async (stage) => {
  for (const script of FOUND)
    for (const halfCloses of [false, true]) await converse(stage, script, halfCloses);
  stage.t.pass('in every conversation that once went wrong');
});

rules.state('whatever both ends do, hooks keep their places, and bytes theirs', async (stage) => {
  const { t } = stage;
  const shown = fc.asyncProperty(steps, fc.boolean(), (script, halfCloses) =>
    converse(stage, script, halfCloses),
  );
  // A longer run, and one again: `npm run contract -- --runs 1000 --kind unix --seed 1 --path 3:1`.
  const { PLAIT_SEED: seed, PLAIT_PATH: path } = process.env;
  await fc.assert(shown, {
    numRuns: howMany(30, 400),
    endOnFailure: false,
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path }),
  });
  t.pass('in every conversation that was tried');
});

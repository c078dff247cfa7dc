/**
 * Scripts whose traces once differed, made small, and what it was. They are played again by the tests.
 */
import type { Script } from './script.ts';

export interface FoundScript {
  readonly what: string;
  readonly script: Script;
}

const NO_CLIENT = { started: [], failed: [], lost: [], reconnects: 0 };
const QUIET = { made: [], readLost: [], writeLost: [], lost: [], halves: true, build: 'protocol' };
const CONNECT = { do: 'connect', c: 0 };

function script(parts: object): Script {
  return { side: 'server', family: 'tcp', client: NO_CLIENT, ...parts } as unknown as Script;
}

export const FOUND_SCRIPTS: readonly FoundScript[] = [
  {
    // Seed 41604.
    what: 'What is written behind loseWriteConnection, with an idle push producer, is sent, and the end behind it. The correction that had Twisted wait for that producer kept the bytes back; plait does not wait for it any more, and there is nothing to correct.',
    script: script({
      manners: [
        {
          ...QUIET,
          made: [{ act: 'write', n: 1 }],
          data: [[{ act: 'sequence', sizes: [7] }, { act: 'push' }]],
        },
      ],
      moments: [
        CONNECT,
        { do: 'say', c: 0, n: 1 },
        { do: 'act', c: 0, acts: [{ act: 'loseWrite' }, { act: 'write', n: 1 }] },
      ],
    }),
  },
  {
    // Seed 42374.
    what: 'A push producer that is not paused does not hold up loseConnection: the write that comes later finds the connection closed. The cause was that of the first.',
    script: script({
      side: 'client',
      manners: [
        {
          ...QUIET,
          made: [{ act: 'push' }, { act: 'write', n: 1 }],
          data: [[{ act: 'write', n: 1 }, { act: 'lose' }]],
        },
      ],
      moments: [
        { do: 'say', c: 0, n: 1 },
        { do: 'act', c: 0, acts: [{ act: 'write', n: 1 }] },
      ],
    }),
  },
  {
    // Seed 43551.
    what: 'Both directions have ended, and the protocol is paused: the wire is closed, and that is told. Twisted does not see the end of the peer before it reads. See ended-while-paused: the peer does not end then.',
    script: script({
      family: 'unix',
      manners: [{ ...QUIET, made: [{ act: 'pause' }], data: [], halves: false }],
      moments: [CONNECT, { do: 'end', c: 0 }, { do: 'act', c: 0, acts: [{ act: 'loseWrite' }] }],
    }),
  },
  {
    // Seed 43247.
    what: 'What a pull producer writes behind loseConnection is sent by both. The peer was not waited for until it had all of it: it is now, by the bytes that the operating system was given.',
    script: script({
      manners: [
        {
          ...QUIET,
          made: [{ act: 'write', n: 1 }],
          data: [[{ act: 'pull', pieces: 4, size: 1, last: 'nothing' }, { act: 'lose' }]],
          halves: false,
        },
      ],
      moments: [CONNECT, { do: 'say', c: 0, n: 1 }],
    }),
  },
  {
    // Seed 21021.
    what: 'As the second, with a producer that came after a write.',
    script: script({
      side: 'client',
      manners: [
        {
          ...QUIET,
          made: [{ act: 'sequence', sizes: [9] }, { act: 'push' }],
          data: [[{ act: 'write', n: 1 }, { act: 'lose' }]],
        },
      ],
      moments: [
        { do: 'say', c: 0, n: 1 },
        { do: 'act', c: 0, acts: [{ act: 'write', n: 1 }] },
      ],
    }),
  },
  {
    // Seed 22648.
    what: 'What is written behind loseWriteConnection, with a pull producer that has nothing left, is sent by both. The cause was that of the fourth.',
    script: script({
      manners: [
        {
          ...QUIET,
          made: [{ act: 'pull', pieces: 4, size: 1, last: 'nothing' }],
          data: [[{ act: 'write', n: 1 }, { act: 'loseWrite' }]],
        },
      ],
      moments: [
        CONNECT,
        { do: 'say', c: 0, n: 1 },
        { do: 'act', c: 0, acts: [{ act: 'write', n: 1 }] },
      ],
    }),
  },
  {
    // Seed 870875549.
    what: 'A pull producer that is registered after abortConnection on a connection whose writing had ended is stopped, and not asked first. plait took the aborted connection for one that closes in order.',
    script: script({
      manners: [
        {
          ...QUIET,
          halves: false,
          made: [{ act: 'loseWrite' }],
          data: [[{ act: 'abort' }, { act: 'pull', pieces: 2, size: 1, last: 'unregister, lose' }]],
        },
      ],
      moments: [CONNECT, { do: 'say', c: 0, n: 1 }],
    }),
  },
  {
    // Seed 99872206.
    what: 'A push producer that is registered after abortConnection, behind much that will not be sent, is stopped without being paused before.',
    script: script({
      family: 'unix',
      manners: [
        {
          ...QUIET,
          made: [{ act: 'write', n: 85_505 }, { act: 'abort' }, { act: 'push' }],
          data: [],
        },
      ],
      moments: [CONNECT],
    }),
  },
  {
    // Seed 103872937.
    what: 'A paused protocol resumes and is fed by a pull producer, while an end of the peer waits to be read: how much is pulled before that is a matter of turns. The peer does not end then.',
    script: script({
      side: 'client',
      family: 'unix',
      manners: [],
      client: { started: [], failed: [], lost: [], reconnects: 2 },
      moments: [
        { do: 'act', c: 0, acts: [{ act: 'pause' }] },
        { do: 'say, end', c: 0, n: 1 },
        {
          do: 'act',
          c: 0,
          acts: [{ act: 'resume' }, { act: 'pull', pieces: 3, size: 1, last: 'lose, unregister' }],
        },
      ],
    }),
  },
];

/**
 * Where the connections of plait differ from Twisted's on purpose, and why: the one list of what the oracle over sockets
 * lets pass. The words are those of the other list (`../differences.ts`): `corrected`, Twisted is corrected before it
 * plays a script (socket_corrections.py, by the same name); `written alike`, both traces name the same thing alike;
 * `left out`, no script does it, or the peer does not do it at that moment. Each has an example that shows what both
 * really do, and a test plays them.
 */
import type { Act, Manners, Moment, PlainAct, Script } from './script.ts';

export interface SocketDifference {
  readonly name: string;
  /** What plait does, what Twisted does, and why plait's way is better. */
  readonly reason: string;
  readonly how: 'corrected' | 'written alike' | 'left out';
  readonly script: Script;
  /** The lines that only one of the traces has. */
  readonly plait: readonly string[];
  readonly twisted: readonly string[];
}

const MANNERS: Manners = {
  made: [],
  data: [],
  readLost: [],
  writeLost: [],
  lost: [],
  halves: true,
  build: 'protocol',
};

function plain(...names: PlainAct[]): Act[] {
  return names.map((act) => ({ act }));
}

function act(...names: PlainAct[]): Moment {
  return { do: 'act', c: 0, acts: plain(...names) };
}

/** A server to which somebody has connected. */
function server(manners: Partial<Manners>, ...moments: Moment[]): Script {
  return {
    side: 'server',
    family: 'tcp',
    manners: [{ ...MANNERS, ...manners }],
    client: { started: [], failed: [], lost: [], reconnects: 0 },
    moments: [{ do: 'connect', c: 0 }, ...moments],
  };
}

/** The same over TLS. */
function secured(manners: Partial<Manners>, ...moments: Moment[]): Script {
  return { ...server({ halves: false, ...manners }, ...moments), family: 'tls' };
}

export const SOCKET_DIFFERENCES: readonly SocketDifference[] = [
  {
    name: 'both-ended',
    reason:
      'A connection both of whose directions have ended is closed. With Twisted a half-closeable protocol has to lose it by itself, or it stays for ever.',
    how: 'corrected',
    script: server({}, act('loseWrite'), { do: 'end', c: 0 }),
    plait: ['  0 lost ConnectionDone'],
    twisted: [],
  },
  {
    name: 'never-inside',
    reason:
      'connectionLost always comes in a later turn. With Twisted it comes from inside loseConnection if the write side has been ended before.',
    how: 'corrected',
    script: server({}, act('loseWrite'), act('lose', 'keepAlive')),
    plait: ['  0 keepAlive true'],
    twisted: ['  0 refused keepAlive'],
  },
  {
    name: 'write-end-told-once',
    reason:
      'loseWriteConnection does nothing when the writing has been ended already. With Twisted the connection is lost.',
    how: 'corrected',
    script: server({}, act('loseWrite'), act('loseWrite')),
    plait: [],
    twisted: ['  0 lost ConnectionLost'],
  },
  {
    name: 'unregistered-ends-writing',
    reason:
      'loseWriteConnection that has waited for a producer is carried out when that is unregistered. With Twisted the end is never sent.',
    how: 'corrected',
    script: server(
      { made: [{ act: 'pull', pieces: 9, size: 1, last: 'nothing' }] },
      act('loseWrite'),
      act('unregister'),
    ),
    plait: ['  0 writeLost', '  0 peer: end'],
    twisted: ['  0 pull: resume', '  in vain: writeConnectionLost (0)'],
  },
  {
    name: 'pulled-when-sent',
    reason:
      'A pull producer is asked for a piece when one is sent. Twisted asks once more when the closing begins, though the last answer is still out.',
    how: 'corrected',
    script: server({ made: [{ act: 'pull', pieces: 1, size: 1, last: 'nothing' }] }, act('lose')),
    plait: [],
    twisted: ['  0 pull: resume'],
  },
  {
    name: 'end-told-once',
    reason:
      'That the peer has ended is told once. Twisted tells it again when a paused protocol resumes.',
    how: 'corrected',
    script: server({}, { do: 'end', c: 0 }, act('pause', 'resume')),
    plait: [],
    twisted: ['  0 readLost'],
  },
  {
    name: 'closing-unread',
    reason:
      'What the peer sends while the connection closes is read and dropped, and it sees an end. Twisted closes with bytes unread, so the peer may see a reset in place of the end, and lose what was sent last.',
    how: 'written alike',
    script: server(
      { made: [{ act: 'pull', pieces: 1, size: 1, last: 'nothing' }] },
      act('lose'),
      { do: 'say', c: 0, n: 1 },
      act('unregister'),
    ),
    plait: [],
    twisted: ['  0 pull: resume'],
  },
  {
    name: 'ended-while-paused',
    reason:
      'A connection both of whose directions have ended may be lost though the protocol reads nothing. Twisted does not notice the end of the peer before it reads.',
    how: 'left out',
    script: server({ halves: false, made: plain('pause') }, { do: 'end', c: 0 }, act('loseWrite')),
    plait: ['  0 lost ConnectionDone'],
    twisted: [],
  },
  {
    name: 'paused-at-once',
    reason:
      'A push producer that is registered while too much waits to be sent is paused there and then. With Twisted it is not before the next write.',
    how: 'corrected',
    script: server({ made: [{ act: 'write', n: 100_000 }, ...plain('push')] }),
    plait: ['  0 push: pause', '  0 push: resume'],
    twisted: [],
  },
  {
    name: 'paused-once',
    reason: 'A push producer that is paused is not told so again. Twisted tells it at each write.',
    how: 'corrected',
    script: server({
      made: [...plain('push'), { act: 'write', n: 100_000 }, { act: 'write', n: 1 }],
    }),
    plait: [],
    twisted: ['  0 push: pause'],
  },
  {
    name: 'abort-disconnects',
    reason:
      'A transport that was aborted says that it is disconnecting. Twisted’s does not, though nothing is delivered any more.',
    how: 'written alike',
    script: server({}, act('abort', 'ask')),
    plait: ['  0 disconnecting true'],
    twisted: ['  0 disconnecting false'],
  },
  {
    name: 'unmade-is-lost',
    reason:
      'What connectionMade throws ends the connection, for that reason. With Twisted a server’s stays open, with half a protocol.',
    how: 'corrected',
    script: server({ made: plain('throw') }),
    plait: ['  0 lost Boom', '  0 peer: end'],
    twisted: [],
  },
  {
    name: 'options-after-end',
    reason:
      'To set an option of a connection that is gone does nothing. With Twisted it is an AttributeError.',
    how: 'left out',
    script: server({}, act('abort'), act('noDelay')),
    plait: [],
    twisted: ['  0 refused noDelay'],
  },
  {
    name: 'client-build-throws',
    reason:
      'Over UNIX sockets too, a client’s buildProtocol that throws closes the connection, and clientConnectionFailed is called. With Twisted the connection stays open, and nobody is told.',
    how: 'left out',
    script: { ...server({ build: 'throw' }), side: 'client', family: 'unix', moments: [] },
    plait: ['  clientConnectionFailed ConnectError', '  stopFactory', '  0 peer: end'],
    twisted: ['  in vain: the peer to be turned away (0)'],
  },
  {
    name: 'client-lost-throws',
    reason:
      'A client’s factory is told that the connection is lost also where connectionLost throws. Twisted forgets it then.',
    how: 'left out',
    script: {
      ...server({ halves: false, lost: plain('throw') }, { do: 'end', c: 0 }),
      side: 'client',
    },
    plait: ['  clientConnectionLost ConnectionDone', '  stopFactory'],
    twisted: [],
  },
  {
    name: 'reset-while-paused',
    reason:
      'A reset may be noticed though the protocol reads nothing. Twisted does not notice before it reads or writes.',
    how: 'left out',
    script: server({ made: plain('pause') }, { do: 'reset', c: 0 }),
    plait: ['  0 lost ConnectionLost'],
    twisted: [],
  },
  {
    name: 'half-closed-unfed',
    reason:
      'A producer that is registered when the writing has ended is stopped at once. With Twisted it is asked for a piece, which is dropped, and never again: a FileSender waits for as long as the connection lives.',
    how: 'corrected',
    script: server({}, act('loseWrite'), {
      do: 'act',
      c: 0,
      acts: [{ act: 'pull', pieces: 2, size: 1, last: 'nothing' }],
    }),
    plait: ['  0 pull: stop'],
    twisted: ['  0 pull: resume'],
  },
  {
    name: 'tls-closing-writes',
    reason:
      'What is written in the turn of loseConnection, or while bytes wait to be sent or a producer is registered, is sent, over TLS as over TCP. Twisted’s TLS drops what is written after loseConnection unless a producer is registered.',
    how: 'left out',
    script: secured(
      {},
      {
        do: 'act',
        c: 0,
        acts: [...plain('lose'), { act: 'write', n: 1 }],
      },
    ),
    plait: ['  0 peer: got 1'],
    twisted: [],
  },
  {
    name: 'tls-closing-delivers',
    reason:
      'What the peer says after loseConnection is dropped, over TLS as over TCP. Twisted’s TLS delivers it until the peer has answered the close.',
    how: 'corrected',
    // More than a record of TLS holds.
    script: secured({ data: [plain('lose')] }, { do: 'say', c: 0, n: 20_000 }),
    plait: ['  0 data 16384'],
    twisted: ['  0 data 20000'],
  },
  {
    name: 'tls-abort-reason',
    reason:
      'A TLS connection that was aborted is lost by ConnectionAborted, as one over TCP. With Twisted’s TLS it is ConnectionLost.',
    how: 'written alike',
    script: secured({}, act('abort')),
    plait: ['  0 lost ConnectionAborted'],
    twisted: ['  0 lost ConnectionLost'],
  },
  {
    name: 'tls-thrown-reason',
    reason:
      'A TLS connection is lost by what dataReceived has thrown, as one over TCP. With Twisted’s TLS it is ConnectionLost, unless the peer has ended it.',
    how: 'written alike',
    script: secured({ data: [plain('throw')] }, { do: 'say', c: 0, n: 1 }),
    plait: ['  0 lost Boom'],
    twisted: ['  0 lost ConnectionLost'],
  },
  {
    name: 'tls-abort-after-end',
    reason: 'To abort a TLS connection that is gone does nothing. With Twisted it is an error.',
    how: 'corrected',
    script: secured({}, { do: 'end', c: 0 }, act('abort')),
    plait: [],
    twisted: ['  0 refused abort'],
  },
  {
    name: 'tls-paused',
    reason:
      'A TLS connection that is paused closes like any other. With Twisted it waits for the peer’s answer, which it does not read.',
    how: 'left out',
    script: secured({}, act('pause', 'lose')),
    plait: ['  0 lost ConnectionDone'],
    twisted: ['  in vain: the connection to be closed (0)'],
  },
];

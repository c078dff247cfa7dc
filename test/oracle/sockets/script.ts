/**
 * What a script of the oracle over sockets is made of: plain JSON, so that Python reads the same. A script says what a
 * raw peer does, moment by moment, and what the protocols on the side under test do in their callbacks. After each
 * moment everybody waits until all that follows from it has happened (`play.ts`); so a script means one thing only.
 */

/** What a protocol, a port or a connector is asked to do. */
export type Act =
  /** `write` of n bytes, or `writeSequence`. */
  | { readonly act: 'write'; readonly n: number }
  | { readonly act: 'sequence'; readonly sizes: readonly number[] }
  | { readonly act: PlainAct }
  /**
   * Forwards between this connection and another one from now on: each is the other's push producer, is written what
   * that receives, and is lost when that is.
   */
  | { readonly act: 'bridge'; readonly to: number }
  /** Registers a pull producer of pieces, and what it does after the last one. */
  | {
      readonly act: 'pull';
      readonly pieces: number;
      readonly size: number;
      readonly last: 'unregister' | 'unregister, lose' | 'lose, unregister' | 'nothing' | 'throw';
    };

export type PlainAct =
  | 'lose'
  | 'abort'
  | 'loseWrite'
  | 'pause'
  | 'resume'
  | 'stop'
  | 'stopConsuming'
  /** Registers a push producer, which says what it is told. */
  | 'push'
  | 'unregister'
  | 'throw'
  | 'noDelay'
  | 'keepAlive'
  /** Writes whether the transport says that it is disconnecting. */
  | 'ask'
  | 'stopListening'
  | 'disconnect'
  | 'stopConnecting'
  | 'reconnect';

/** What the protocol of one connection does in its callbacks. */
export interface Manners {
  readonly made: readonly Act[];
  /** The first of these when data comes, the second when it comes again, and so on. */
  readonly data: readonly (readonly Act[])[];
  readonly readLost: readonly Act[];
  readonly writeLost: readonly Act[];
  readonly lost: readonly Act[];
  /** Whether it wants to hear of the halves. */
  readonly halves: boolean;
  readonly build: 'protocol' | 'none' | 'throw';
}

/** What a client's factory does, each time that it is told. */
export interface ClientManners {
  readonly started: readonly Act[];
  readonly failed: readonly Act[];
  readonly lost: readonly Act[];
  /** How often `reconnect` is heeded. */
  readonly reconnects: number;
}

/** What the peer does on connection `c`, or has the side under test do. */
export type Moment =
  | { readonly do: 'connect'; readonly c: number }
  | { readonly do: 'say'; readonly c: number; readonly n: number }
  /** Says, and ends or says more, before the other side has seen any of it. */
  | { readonly do: 'say, say'; readonly c: number; readonly n: number }
  | { readonly do: 'say, end'; readonly c: number; readonly n: number }
  | {
      readonly do: 'end' | 'close' | 'reset' | 'deaf' | 'listen';
      readonly c: number;
    }
  /** The side under test acts, as it would when a delayed call is made. */
  | { readonly do: 'act'; readonly c: number; readonly acts: readonly Act[] };

/** One script. */
export interface Script {
  /** Whether the side under test listens, connects to the peer, or connects to where nobody listens. */
  readonly side: 'server' | 'client' | 'refused';
  /** `tls` is TLS over TCP, with the certificate of test/fixtures/tls. */
  readonly family: 'tcp' | 'unix' | 'tls';
  /** By the number of the connection; those after the last behave as it does. */
  readonly manners: readonly Manners[];
  readonly client: ClientManners;
  readonly moments: readonly Moment[];
}

/** Where to listen, or to connect to. */
export type Place = { readonly port: number } | { readonly path: string };

/** What the side under test is asked for. All is asked for by the number of a run: many go on at once. */
export type Question =
  /** Listens at a place (port 0), or connects to it. `corrected`: see differences.ts. */
  | {
      readonly ask: 'begin';
      readonly run: number;
      readonly script: Script;
      readonly place: Place;
      readonly corrected: boolean;
    }
  | {
      readonly ask: 'act';
      readonly run: number;
      readonly c: number;
      readonly acts: readonly Act[];
    }
  /** Goes on until nothing has happened for some turns of the loop, and tells what has. */
  | { readonly ask: 'turns'; readonly run: number }
  /** Cuts whatever is left. */
  | { readonly ask: 'over'; readonly run: number };

/** How a connection stands, as its protocol and its own calls have it. */
export interface Standing {
  /** Bytes received, and bytes that were written before any kind of closing. */
  readonly received: number;
  readonly written: number;
  /** How many bytes the operating system has been given. */
  readonly sent: number;
  readonly made: boolean;
  readonly paused: boolean;
  readonly halves: boolean;
  readonly readLost: boolean;
  readonly writeLost: boolean;
  readonly lost: boolean;
  /** A producer is registered that a close waits for: a pull producer, or a push producer that was told to pause. */
  readonly fed: boolean;
  readonly losing: boolean;
  readonly aborting: boolean;
  readonly endingWrites: boolean;
}

export interface Answer {
  readonly port?: number;
  /** What has happened since the last answer: the connection (-1: none), and a line. */
  readonly lines?: readonly (readonly [c: number, line: string])[];
  readonly standings?: readonly Standing[];
  /** Names of differences that were corrected on the way. */
  readonly used?: readonly string[];
  /** A client is making a connection. */
  readonly connecting?: boolean;
}

/** plait or Twisted. */
export interface Subject {
  ask(question: Question): Promise<Answer>;
}

/** The byte at a place in what either side says: so each can tell if one is lost, or out of order. */
export function pattern(from: number, n: number): Buffer {
  const bytes = Buffer.alloc(n);
  for (let i = 0; i < n; i++) bytes[i] = (from + i) % 251;
  return bytes;
}

const PLAIN: Manners = {
  made: [],
  data: [],
  readLost: [],
  writeLost: [],
  lost: [],
  halves: false,
  build: 'protocol',
};

/** What the protocol of a connection does; a script that is being made small may say nothing of it. */
export function mannersOf({ manners }: Script, c: number): Manners {
  return manners[Math.min(c, manners.length - 1)] ?? PLAIN;
}

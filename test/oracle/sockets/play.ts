/**
 * Plays one script: the peer on one side, plait or Twisted on the other. After each moment everybody waits, by
 * observation, until all that follows from it has happened: what has been said has been received, an end has been seen,
 * and so on; so it does not matter how long anything takes. What has then happened is written to the trace, for each
 * connection by itself, with adjacent pieces of data joined.
 */
import { join } from 'node:path';
import { Peer, type PeerEnd } from './peer.ts';
import {
  type Answer,
  mannersOf,
  type Moment,
  type Place,
  type Script,
  type Standing,
  type Subject,
} from './script.ts';

/** What must come, and has not come by then, is not waited for any longer. */
const MOST_MILLISECONDS = 1500;

/** Turns of the peer's loop in which nothing comes. */
const QUIET_TURNS = 3;

/** Nobody listens here: it takes privileges to. */
const NOWHERE = { port: 1 };

export interface PlayOptions {
  /** A number that no other script has that is being played. */
  readonly run: number;
  /** For the sockets of the file system. */
  readonly folder: string;
  readonly corrected: boolean;
}

export interface Played {
  readonly trace: string[];
  readonly used: readonly string[];
}

export async function play(
  script: Script,
  subject: Subject,
  options: PlayOptions,
): Promise<Played> {
  const player = new Player(script, subject, options);
  try {
    await player.begin();
    for (const moment of script.moments) await player.moment(moment);
  } finally {
    await player.over();
  }
  return { trace: player.trace, used: [...player.used] };
}

class Player {
  readonly trace: string[] = [];
  readonly used = new Set<string>();
  readonly #script: Script;
  readonly #subject: Subject;
  readonly #options: PlayOptions;
  readonly #peer = new Peer();
  #place: Place = NOWHERE;
  #lines: (readonly [number, string])[] = [];
  #standings: readonly Standing[] = [];
  #connecting = false;

  constructor(script: Script, subject: Subject, options: PlayOptions) {
    this.#script = script;
    this.#subject = subject;
    this.#options = options;
    this.#peer.bridged = JSON.stringify(script).includes('"bridge"');
  }

  async begin(): Promise<void> {
    const { side, family } = this.#script;
    const { run, folder, corrected } = this.#options;
    const path = family === 'unix' ? join(folder, String(run)) : undefined;
    let place: Place = path === undefined ? NOWHERE : { path };
    if (side === 'client') place = await this.#peer.listen(path, family === 'tls');
    const question = { ask: 'begin', run, script: this.#script, place, corrected } as const;
    const { port } = await this.#subject.ask(question);
    this.#place = path === undefined && side === 'server' ? { port: port! } : place;
    await this.#settle();
  }

  async moment(moment: Moment): Promise<void> {
    const { c } = moment;
    this.trace.push(JSON.stringify(moment));
    if (moment.do === 'connect') {
      if (this.#script.side === 'server' && this.#peer.ends.length === c) {
        this.#peer.connect(this.#place, this.#script.family === 'tls');
      }
    } else if (moment.do === 'act') {
      await this.#subject.ask({ ask: 'act', run: this.#options.run, c, acts: moment.acts });
    } else {
      const end = this.#peer.ends[c];
      if (end !== undefined && end.gone === undefined) await this.#peerDoes(moment, end);
    }
    await this.#settle();
  }

  async over(): Promise<void> {
    const over = this.#subject.ask({ ask: 'over', run: this.#options.run });
    await this.#peer.close();
    await over;
  }

  async #peerDoes(moment: Exclude<Moment, { do: 'connect' | 'act' }>, end: PeerEnd) {
    const standing = this.#standings[moment.c];
    if (moment.do === 'deaf' || moment.do === 'listen') {
      // How much a UNIX socket holds is little, and the kernel's affair.
      if (this.#script.family === 'tcp') end.hear(moment.do === 'listen');
    } else if (moment.do === 'close' || moment.do === 'reset')
      this.#goAway(moment.do, end, moment.c);
    else if (!end.ended && standing?.lost !== true) {
      if ('n' in moment) {
        // Two that are read at once may be told as one.
        const more = moment.do === 'say, say' || end.said > (standing?.received ?? 0);
        if (standing?.paused && more && this.#answers(moment.c)) return;
        end.say(moment.n);
        if (moment.do === 'say') return;
        // What the other side does about the first must not get in between.
        if (this.#answers(moment.c)) await this.#settle();
        if (moment.do === 'say, say') end.say(moment.n);
      }
      if (moment.do !== 'say, say' && !this.#isLeftOut('end', moment.c)) end.end();
    }
  }

  #goAway(how: 'close' | 'reset', end: PeerEnd, c: number): void {
    // What is closed with bytes unread resets the connection; and whether Node has read them is its own affair.
    const unread = end.deaf && (this.#standings[c]?.written ?? 0) > 0;
    const reset = (how === 'reset' || unread) && this.#script.family === 'tcp';
    if (this.#isLeftOut(reset ? 'reset' : 'close', c)) return;
    if (reset) end.reset();
    else end.close();
  }

  /** True if differences.ts says so of what the peer would do now. */
  #isLeftOut(what: 'end' | 'close' | 'reset', c: number): boolean {
    const standing = this.#standings[c];
    if (standing === undefined || !this.#options.corrected) return false;
    const { paused, losing, fed, halves, readLost } = standing;
    // Where it waits to be read, how much is pulled before that is a matter of turns.
    if (what === 'end')
      return paused && (this.#does('loseWrite') || this.#does('pull') || this.#answers(c));
    if (what === 'close') return halves || paused || (losing && fed);
    return paused || (losing && fed) || readLost;
  }

  /** Somewhere in the script, by whichever connection. */
  #does(act: string): boolean {
    return JSON.stringify(this.#script).includes(`"${act}"`);
  }

  get #secured(): boolean {
    return this.#script.family === 'tls';
  }

  #answers(c: number): boolean {
    return mannersOf(this.#script, c).data.some((acts) => acts.length > 0);
  }

  // ── Waiting until all has happened ───────────────────────────────────────────────────────────────────────────────

  async #settle(): Promise<void> {
    const deadline = performance.now() + MOST_MILLISECONDS;
    for (;;) {
      const seen = this.#peer.seen;
      const answer = await this.#subject.ask({ ask: 'turns', run: this.#options.run });
      this.#take(answer);
      await this.#peerTurns();
      this.#letGo();
      const missing = this.#missing();
      const still = answer.lines?.length === 0 && this.#peer.seen === seen;
      if (missing === undefined && still) break;
      if (missing === undefined) continue;
      if (performance.now() > deadline) {
        this.trace.push(`  in vain: ${missing}`);
        break;
      }
      if (still) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.#write();
  }

  #take({ lines = [], standings = [], used = [], connecting = false }: Answer): void {
    this.#lines.push(...lines);
    this.#standings = standings;
    this.#connecting = connecting;
    for (const name of used) this.used.add(name);
  }

  async #peerTurns(): Promise<void> {
    let seen = this.#peer.seen;
    for (let turns = 0; turns < QUIET_TURNS; turns++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#peer.seen === seen) continue;
      seen = this.#peer.seen;
      turns = -1;
    }
  }

  /** The peer that is closed on while it talks says that it will not any more; plait waits a while for that. */
  #letGo(): void {
    for (const [c, end] of this.#peer.ends.entries()) {
      const standing = this.#standings[c];
      if (standing === undefined || end.gone !== undefined || end.ended) continue;
      const closing = (standing.losing && (!standing.fed || end.over)) || !standing.made;
      if (closing && end.said > standing.received) end.end();
    }
  }

  /** What must come yet. */
  #missing(): string | undefined {
    if (this.#connecting) return 'an attempt to connect to come to its end';
    const count = Math.max(this.#peer.ends.length, this.#standings.length);
    for (let c = 0; c < count; c++) {
      const end = this.#peer.ends[c];
      const standing = this.#standings[c];
      if (end === undefined) return `a client to arrive at the peer (${c})`;
      if (standing === undefined) {
        // Where the port is stopped, it is turned away.
        if (!end.over && end.gone === undefined) return `connection ${c}`;
        continue;
      }
      const what = standing.made ? missingOf(standing, end) : missingUnmade(end);
      if (what !== undefined) return `${what} (${c})`;
    }
    return undefined;
  }

  // ── The trace ────────────────────────────────────────────────────────────────────────────────────────────────────

  #write(): void {
    const own = this.#lines.map(([c, line]) => `${c < 0 ? ' ' : `  ${c}`} ${line}`);
    this.trace.push(...joined(own));
    this.#lines = [];
    for (const [c, end] of this.#peer.ends.entries()) {
      const heard = end.lines
        .map((line) => this.#heard(c, end, line))
        .filter((line) => line !== '')
        .map((line) => `  ${c} peer: ${line}`);
      this.trace.push(...joined(heard));
      end.lines = [];
    }
  }

  /** To close with bytes unread resets the connection, unless they are read first: see differences.ts. */
  #heard(c: number, end: PeerEnd, line: string): string {
    const standing = this.#standings[c];
    const ending = line === 'end' || line === 'reset';
    // A reset right behind an end may be seen in its place.
    if (ending && standing?.aborting && (standing.endingWrites || this.#secured)) return 'over';
    const unread = standing !== undefined && standing.received < end.said;
    if (!unread || !(standing.losing || standing.lost) || !this.#options.corrected) return line;
    this.used.add('closing-unread');
    return ending ? 'over' : '';
  }
}

function missingUnmade(end: PeerEnd): string | undefined {
  return end.over || end.deaf || end.gone !== undefined ? undefined : 'the peer to be turned away';
}

/** What must come on a connection that is made. */
function missingOf(standing: Standing, end: PeerEnd): string | undefined {
  const { losing, aborting, fed, lost, paused, readLost } = standing;
  const heard = !end.deaf && end.gone === undefined;
  if (lost) return heard && !end.over ? 'the peer to see that it is lost' : undefined;
  if (aborting) return 'the connection to be lost';
  if (losing && (!fed || end.over)) return 'the connection to be closed';
  const reads = !paused && !losing && !readLost;
  if (reads && end.gone === 'reset') return 'a reset to be noticed';
  if (reads && standing.received < end.said) return 'what was said to be received';
  if (reads && (end.ended || end.gone === 'close')) return 'an end to be noticed';
  if (!heard) return undefined;
  if (end.received < Math.max(standing.written, standing.sent))
    return 'what was written to be received';
  if (!standing.endingWrites || fed || losing) return undefined;
  if (standing.halves && !standing.writeLost) return 'writeConnectionLost';
  return end.over ? undefined : 'the peer to see an end';
}

/** With adjacent pieces of data written as one: into which a stream is cut is nobody's affair. */
function joined(lines: readonly string[]): string[] {
  const all: string[] = [];
  for (const line of lines) {
    const [, head, size] = /^(.* (?:data|peer: got) )(\d+)$/.exec(line) ?? [];
    const last = all.at(-1);
    if (head !== undefined && last?.startsWith(head) === true) {
      all[all.length - 1] = head + String(Number(last.slice(head.length)) + Number(size));
    } else all.push(line);
  }
  return all;
}

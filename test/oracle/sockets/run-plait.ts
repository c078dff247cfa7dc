/**
 * The side under test, with plait: servers and clients that do what a script says, and log what they are told. It is
 * the twin of run_twisted.py: what one writes the other must write too.
 */
import {
  ClientFactory,
  type Failure,
  globalLogPublisher,
  type IConnector,
  type IListeningPort,
  type IProtocol,
  type IPushProducer,
  type ITCPTransport,
  type LogEvent,
  Protocol,
  Reactor,
} from 'plait';
import { collectLoggedErrors } from 'plait/testing';
import { CLIENT, SERVER } from '../../contract/tls-kind.ts';
import {
  type Act,
  type Answer,
  type Manners,
  mannersOf,
  pattern,
  type Question,
  type Script,
  type Standing,
  type Subject,
} from './script.ts';

/** So many turns in which nothing happens are taken to mean that nothing more will. */
const QUIET_TURNS = 4;

/** What does not come to an end is cut off. */
const MOST_LINES = 300;

/** What scripts throw; it knows where, since many run at once. */
class Boom extends Error {
  override name = 'Boom';
  readonly run: Run;
  readonly c: number;

  constructor(run: Run, c: number) {
    super('thrown by a script');
    this.run = run;
    this.c = c;
  }
}

/** All of one script. */
class Run {
  readonly script: Script;
  /** Nothing is done that is left out: see differences.ts. */
  readonly corrected: boolean;
  readonly ends: End[] = [];
  lines: [number, string][] = [];
  said = 0;
  port: IListeningPort | undefined;
  connector: IConnector | undefined;
  reconnects = 0;
  /** Nothing more is logged. */
  over = false;

  constructor(script: Script, corrected: boolean) {
    this.script = script;
    this.corrected = corrected;
  }

  get secured(): boolean {
    return this.script.family === 'tls';
  }

  line(c: number, text: string): void {
    if (this.over || this.lines.length > MOST_LINES) return;
    this.said++;
    this.lines.push([c, text]);
  }

  /** What is written over TLS when it closes: see `tls-closing-writes` of differences.ts. */
  isLeftOut({ act }: Act, { losing }: Standing): boolean {
    return this.corrected && this.secured && losing && (act === 'write' || act === 'sequence');
  }

  manners(c: number): Manners {
    return mannersOf(this.script, c);
  }

  /** What there is without a connection. */
  perform(acts: readonly Act[], c = -1): void {
    for (const act of acts) {
      try {
        this.#one(act, c);
      } catch (error) {
        if (error instanceof Boom) throw error;
        this.line(c, `refused ${act.act}`);
      }
    }
  }

  #one(act: Act, c: number): void {
    const end = this.ends[c];
    if (act.act === 'throw') throw new Boom(this, c);
    else if (act.act === 'stopListening') {
      this.port?.stopListening().addCallback(() => this.line(-1, 'stopped'));
    } else if (act.act === 'disconnect') {
      const last = this.ends.at(-1)?.standing;
      if (last !== undefined && !last.lost) last.losing = true;
      this.connector?.disconnect();
    } else if (act.act === 'stopConnecting') this.connector?.stopConnecting();
    else if (act.act === 'reconnect') {
      if (this.reconnects++ < this.script.client.reconnects) this.connector?.connect();
    } else if (end?.standing.made) end.do(act);
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** One end of a connection, whatever its protocol wants to hear. */
class End {
  readonly run: Run;
  readonly c: number;
  readonly standing: Writable<Standing>;
  readonly #manners: Manners;
  #transport: ITCPTransport | undefined;
  #chunks = 0;
  #place = 0;
  /** What is received is written there. */
  #bridged: End | undefined;
  /** How many bytes the transport has accepted. */
  #accepted = 0;
  /** The push producer that is registered; it owes something if it was told to go on while the connection closes. */
  #pushed: 'open' | 'paused' | 'owing' | undefined;

  constructor(run: Run, c: number) {
    this.run = run;
    this.c = c;
    this.#manners = run.manners(c);
    this.standing = {
      received: 0,
      written: 0,
      sent: 0,
      made: false,
      paused: false,
      halves: this.#manners.halves,
      readLost: false,
      writeLost: false,
      lost: false,
      fed: false,
      losing: false,
      aborting: false,
      endingWrites: false,
    };
  }

  line(text: string): void {
    this.run.line(this.c, text);
  }

  // ── What the protocol is told ────────────────────────────────────────────────────────────────────────────────────

  made(transport: ITCPTransport): void {
    this.#transport = transport;
    this.standing.made = true;
    this.line('made');
    this.#perform(this.#manners.made);
  }

  data(data: Buffer): void {
    const right = data.equals(pattern(this.standing.received, data.length));
    this.standing.received += data.length;
    this.line(right ? `data ${data.length}` : 'wrong data');
    const bridged = this.#bridged;
    if (bridged !== undefined) bridged.#write(() => bridged.#transport!.write(data));
    this.#perform(this.#manners.data[this.#chunks++] ?? []);
  }

  readLost(): void {
    this.standing.readLost = true;
    this.line('readLost');
    this.#perform(this.#manners.readLost);
  }

  writeLost(): void {
    this.standing.writeLost = true;
    this.line('writeLost');
    this.#perform(this.#manners.writeLost);
  }

  lost(reason: Failure): void {
    this.standing.lost = true;
    this.line(`lost ${reason.value.name}`);
    const bridged = this.#bridged;
    this.#bridged = undefined;
    if (bridged !== undefined) {
      bridged.#bridged = undefined;
      bridged.do({ act: 'lose' });
    }
    this.#perform(this.#manners.lost);
  }

  #perform(acts: readonly Act[]): void {
    this.run.perform(acts, this.c);
  }

  // ── What the protocol does ───────────────────────────────────────────────────────────────────────────────────────

  /** How it stands now. */
  stand(): Standing {
    const { lost, fed } = this.standing;
    const sent = this.#accepted - (this.#transport?.bufferedBytes ?? 0);
    const waits = this.#pushed === 'paused' || this.#pushed === 'owing';
    return { ...this.standing, sent: this.run.secured ? 0 : sent, fed: !lost && (fed || waits) };
  }

  #write(write: () => void): void {
    const transport = this.#transport!;
    if (this.#pushed === 'owing') this.#pushed = 'open';
    const before = transport.bufferedBytes;
    write();
    this.#accepted += transport.bufferedBytes - before;
  }

  do(act: Act): void {
    const transport = this.#transport!;
    const { standing } = this;
    if (this.run.isLeftOut(act, standing)) return;
    switch (act.act) {
      case 'write':
        this.#write(() => transport.write(this.#next(act.n)));
        break;
      case 'sequence':
        this.#write(() => transport.writeSequence(act.sizes.map((n) => this.#next(n))));
        break;
      case 'bridge':
        this.#bridge(act.to);
        break;
      case 'pull':
        this.#pull(act);
        break;
      case 'push':
        this.#push(transport);
        break;
      case 'unregister':
        standing.fed = false;
        this.#pushed = undefined;
        transport.unregisterProducer();
        break;
      case 'lose':
      case 'stop':
        standing.losing = true;
        if (act.act === 'lose') transport.loseConnection();
        else transport.stopProducing();
        break;
      case 'stopConsuming':
        standing.losing = true;
        standing.fed = false;
        this.#pushed = undefined;
        (transport as ITCPTransport & { stopConsuming(): void }).stopConsuming();
        break;
      case 'abort':
        standing.aborting = true;
        transport.abortConnection();
        break;
      case 'loseWrite':
        standing.endingWrites = true;
        transport.loseWriteConnection();
        break;
      case 'pause':
        standing.paused = true;
        transport.pauseProducing();
        break;
      case 'resume':
        standing.paused = false;
        transport.resumeProducing();
        break;
      case 'ask':
        this.line(
          `disconnecting ${transport.disconnecting || (standing.aborting && this.run.corrected)}`,
        );
        break;
      case 'noDelay':
        if (this.run.corrected && standing.lost) break;
        transport.setTcpNoDelay(!transport.getTcpNoDelay());
        break;
      case 'keepAlive':
        if (this.run.corrected && standing.lost) break;
        transport.setTcpKeepAlive(!transport.getTcpKeepAlive());
        this.line(`keepAlive ${transport.getTcpKeepAlive()}`);
        break;
      case 'throw':
      case 'stopListening':
      case 'disconnect':
      case 'stopConnecting':
      case 'reconnect':
    }
  }

  #bridge(to: number): void {
    const other = this.run.ends[to];
    if (to === this.c || other?.standing.made !== true) return;
    for (const [end, with_] of [
      [this, other],
      [other, this],
    ] as const) {
      end.#transport!.registerProducer(with_.#transport!, true);
      end.#bridged = with_;
    }
  }

  #next(n: number): Buffer {
    const bytes = pattern(this.#place, n);
    const { losing, aborting, endingWrites, lost } = this.standing;
    this.#place += n;
    if (!losing && !aborting && !endingWrites && !lost) this.standing.written += n;
    return bytes;
  }

  #push(transport: ITCPTransport): void {
    const { standing } = this;
    const had = this.#pushed;
    const producer: IPushProducer = {
      pauseProducing: () => {
        this.#pushed = 'paused';
        this.line('push: pause');
      },
      resumeProducing: () => {
        this.#pushed = standing.losing || standing.endingWrites ? 'owing' : 'open';
        this.line('push: resume');
      },
      stopProducing: () => {
        this.#pushed = undefined;
        this.line('push: stop');
      },
    };
    // It may be told to pause there and then.
    this.#pushed = 'open';
    try {
      transport.registerProducer(producer, true);
    } catch (error) {
      this.#pushed = had;
      throw error;
    }
  }

  #pull({ pieces, size, last }: Extract<Act, { act: 'pull' }>): void {
    const transport = this.#transport!;
    let left = pieces;
    // It is asked at once: before it is known whether it may be registered at all.
    const fed = this.standing.fed;
    this.standing.fed = !this.standing.lost;
    const producer = {
      resumeProducing: () => {
        this.line('pull: resume');
        // What is written in a call that throws may have gone out by then, or not.
        if (last === 'throw' && left === 1) throw new Boom(this.run, this.c);
        if (left-- > 0) this.#write(() => transport.write(this.#next(size)));
        if (left !== 0) return;
        for (const each of last.split(', ')) {
          if (each !== 'nothing') this.do({ act: each as 'lose' | 'unregister' });
        }
      },
      stopProducing: () => {
        this.standing.fed = false;
        this.line('pull: stop');
      },
    };
    try {
      transport.registerProducer(producer, false);
    } catch (error) {
      this.standing.fed = fed;
      throw error;
    }
  }
}

/** Tells an end what it is told. */
class Plain extends Protocol {
  protected readonly end: End;

  constructor(end: End) {
    super();
    this.end = end;
  }

  override connectionMade(): void {
    this.end.made(this.transport as ITCPTransport);
  }

  override dataReceived(data: Buffer): void {
    this.end.data(data);
  }

  override connectionLost(reason: Failure): void {
    this.end.lost(reason);
  }
}

/** One that hears of the halves too. */
class Halves extends Plain {
  readConnectionLost(): void {
    this.end.readLost();
  }

  writeConnectionLost(): void {
    this.end.writeLost();
  }
}

class ScriptFactory extends ClientFactory {
  readonly #run: Run;

  constructor(run: Run) {
    super();
    this.#run = run;
  }

  override startFactory(): void {
    this.#run.line(-1, 'startFactory');
  }

  override stopFactory(): void {
    this.#run.line(-1, 'stopFactory');
  }

  override buildProtocol(): IProtocol | null {
    const run = this.#run;
    const c = run.ends.length;
    const end = new End(run, c);
    run.ends.push(end);
    const { build, halves } = run.manners(c);
    run.line(c, `buildProtocol: ${build}`);
    if (build === 'throw') throw new Boom(run, c);
    if (build === 'none') return null;
    return halves ? new Halves(end) : new Plain(end);
  }

  override startedConnecting(connector: IConnector): void {
    this.#run.connector = connector;
    this.#told('startedConnecting', this.#run.script.client.started);
  }

  override clientConnectionFailed(_: IConnector, reason: Failure): void {
    const { name } = reason.value;
    const written = this.#run.corrected && name === 'BadFileError' ? 'ConnectError' : name;
    this.#told(`clientConnectionFailed ${written}`, this.#run.script.client.failed);
  }

  override clientConnectionLost(_: IConnector, reason: Failure): void {
    this.#told(`clientConnectionLost ${reason.value.name}`, this.#run.script.client.lost);
  }

  #told(line: string, acts: readonly Act[]): void {
    this.#run.line(-1, line);
    this.#run.perform(acts);
  }
}

/** plait, in this process. */
export class Plait implements Subject {
  readonly #reactor = new Reactor();
  readonly #runs = new Map<number, Run>();
  readonly #stopCollecting = collectLoggedErrors();
  readonly #observer = ({ failure }: LogEvent): void => {
    const error = failure?.value;
    if (error instanceof Boom) error.run.line(error.c, 'logged Boom');
  };

  constructor() {
    globalLogPublisher.addObserver(this.#observer);
  }

  close(): void {
    globalLogPublisher.removeObserver(this.#observer);
    this.#stopCollecting();
  }

  async ask(question: Question): Promise<Answer> {
    if (question.ask === 'begin') return this.#begin(question);
    const run = this.#runs.get(question.run);
    if (run === undefined) throw new Error(`there is no run ${question.run}`);
    if (question.ask === 'turns') return await quiet(run);
    if (question.ask === 'over') return await this.#over(question.run, run);
    // From a call of its own, as a delayed call is.
    return await new Promise((resolve) => {
      setImmediate(() => {
        run.perform(question.acts, question.c);
        resolve({});
      });
    });
  }

  async #begin(question: Extract<Question, { ask: 'begin' }>): Promise<Answer> {
    const { run: number, script, place, corrected } = question;
    const run = new Run(script, corrected);
    this.#runs.set(number, run);
    const factory = new ScriptFactory(run);
    if (script.side === 'server') {
      const at = { interface: '127.0.0.1' };
      const port =
        'path' in place
          ? this.#reactor.listenUNIX(place.path, factory)
          : script.family === 'tls'
            ? this.#reactor.listenSSL(0, factory, SERVER, at)
            : this.#reactor.listenTCP(0, factory, at);
      run.port = port;
      await port.ready;
      return 'path' in place ? {} : { port: (port.getHost() as { port: number }).port };
    }
    if ('path' in place) this.#reactor.connectUNIX(place.path, factory);
    else if (script.family === 'tls')
      this.#reactor.connectSSL('127.0.0.1', place.port, factory, CLIENT);
    else this.#reactor.connectTCP('127.0.0.1', place.port, factory);
    return {};
  }

  async #over(number: number, run: Run): Promise<Answer> {
    run.over = true;
    this.#runs.delete(number);
    run.reconnects = Infinity;
    if (run.connector?.state === 'connecting') run.connector.stopConnecting();
    for (const end of run.ends.filter(({ standing }) => standing.made)) {
      end.do({ act: 'unregister' });
      end.do({ act: 'abort' });
    }
    await run.port?.stopListening();
    return {};
  }
}

async function quiet(run: Run): Promise<Answer> {
  for (let turns = 0, seen = run.said; turns < QUIET_TURNS; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (run.said !== seen) [turns, seen] = [-1, run.said];
  }
  const { lines, ends, connector } = run;
  run.lines = [];
  const connecting = connector?.state === 'connecting';
  return { lines, standings: ends.map((end) => end.stand()), connecting };
}

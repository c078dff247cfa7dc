/**
 * A clamd that scans nothing: it speaks clamd's protocol, and knows a few streams byte for byte, of which one is the
 * test virus. For tests and demonstrations, where it stands in for the real one; never for protection. It answers
 * PING, VERSION and INSTREAM as clamd 1.4 does, and every other command with `UNKNOWN COMMAND`.
 */
import {
  type Address,
  Factory,
  type Failure,
  type IDelayedCall,
  type IReactorTime,
  LimitExceeded,
  Protocol,
  reactor as processReactor,
  type Seconds,
} from 'plait';
import { type Command, CommandReader, type StreamPart } from './grammar.ts';

/**
 * The EICAR test file: 68 harmless bytes that every scanner reports. They are put together when they are asked for,
 * lest a scanner reports this file, or a bundle that it is part of.
 */
export function eicar(): Buffer {
  const halves = ['X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD', 'ANTIVIRUS-TEST-FILE!$H+H*'];
  return Buffer.from(halves.join('-'), 'latin1');
}

/** Options of {@link FakeClamd}; the names in capitals are those of clamd.conf. */
export interface FakeClamdOptions {
  /**
   * What it finds, by name: a stream that is equal to these bytes, as with an entry of a `.hdb` database. Default:
   * {@link eicar}, by the name of `Eicar-Test-Signature`.
   */
  readonly signatures?: ReadonlyMap<string, Uint8Array>;
  /** What it answers to VERSION. Default: `ClamAV 0.0.0-fake`. */
  readonly version?: string;
  /** How many bytes a stream may have: StreamMaxLength. Default: 104,857,600. */
  readonly streamMaxLength?: number;
  /** Seconds for a command to arrive: CommandReadTimeout. Default: 30. */
  readonly commandReadTimeout?: Seconds;
  /** Seconds that a stream may stand still: ReadTimeout. Default: 120. */
  readonly readTimeout?: Seconds;
  /** Tells the time. Default: the process's own reactor. */
  readonly reactor?: IReactorTime;
}

/**
 * Builds a {@link FakeClamdProtocol} for each connection.
 *
 * @example
 * const reactor = new Reactor();
 * const clamd = reactor.listenTCP(0, new FakeClamd({ reactor }), { interface: '127.0.0.1' });
 * clamd.ready
 *   .addCallback(() => scan(eicar(), { endpoint: `tcp:${clamd.getHost()}`, reactor }))
 *   .addCallback((verdict) => console.log(verdict)) // infected, with Eicar-Test-Signature
 *   .addBoth(() => clamd.stopListening());
 */
export class FakeClamd extends Factory<FakeClamdProtocol> {
  readonly #settings: Required<FakeClamdOptions>;

  /** @throws RangeError for a limit or a number of seconds that cannot be */
  constructor(options: FakeClamdOptions = {}) {
    super();
    const {
      signatures = new Map([['Eicar-Test-Signature', eicar()]]),
      version = 'ClamAV 0.0.0-fake',
      streamMaxLength = 100 * 1024 * 1024,
      commandReadTimeout = 30,
      readTimeout = 120,
      reactor = processReactor,
    } = options;
    this.#settings = {
      signatures,
      version,
      streamMaxLength,
      commandReadTimeout,
      readTimeout,
      reactor,
    };
    for (const name of ['streamMaxLength', 'commandReadTimeout', 'readTimeout'] as const) {
      const value = this.#settings[name];
      if (!(value >= 0 && value < Infinity))
        throw new RangeError(`${name} must be a finite number from 0, not ${String(value)}`);
    }
  }

  override buildProtocol(address: Address): FakeClamdProtocol {
    const protocol = new FakeClamdProtocol(this.#settings);
    protocol.factory = this;
    return protocol;
  }
}

/** One connection of a {@link FakeClamd}: one command, one reply. Nothing of a stream is kept. */
export class FakeClamdProtocol extends Protocol {
  readonly #settings: Required<FakeClamdOptions>;
  readonly #reader = new CommandReader();
  #command: Command | undefined;
  /** How many more bytes the stream may have. */
  #quota: number;
  readonly #search: Search;
  #timer: IDelayedCall | undefined;

  constructor(settings: Required<FakeClamdOptions>) {
    super();
    this.#settings = settings;
    this.#quota = settings.streamMaxLength;
    this.#search = new Search(settings.signatures);
  }

  override connectionMade(): void {
    const { reactor, commandReadTimeout } = this.#settings;
    this.#timer = reactor.callLater(commandReadTimeout, () => this.#timedOut());
  }

  override dataReceived(data: Buffer): void {
    this.#reader.feed(data);
    if (this.#command === undefined) this.#readCommand();
    if (this.#command !== undefined) this.#readStream(this.#command);
  }

  override connectionLost(reason: Failure): void {
    this.#stopTimer();
  }

  #readCommand(): void {
    let command: Command | undefined;
    try {
      command = this.#reader.takeCommand();
    } catch (error) {
      if (!(error instanceof LimitExceeded)) throw error;
      // clamd does not answer it either.
      this.#close('');
      return;
    }
    if (command === undefined) return;
    if (command.name === 'INSTREAM' && command.prefixed) this.#command = command;
    else if (command.name === 'PING') this.#reply('PONG', command);
    else if (command.name === 'VERSION') this.#reply(this.#settings.version, command);
    else this.#reply('UNKNOWN COMMAND', command);
  }

  #readStream(command: Command): void {
    if (this.#timer?.active() === true) this.#timer.reset(this.#settings.readTimeout);
    while (!this.transport.disconnecting) {
      const part = this.#reader.takePart();
      if (part === undefined) return;
      const reply = this.#scan(part);
      if (reply !== undefined) this.#reply(reply, command);
    }
  }

  /** What is to be answered after this part, if it was the last or one too many. */
  #scan(part: StreamPart): string | undefined {
    switch (part.type) {
      case 'chunk':
        this.#quota -= part.length;
        return this.#quota < 0 ? 'INSTREAM size limit exceeded. ERROR' : undefined;
      case 'bytes':
        this.#search.feed(part.bytes);
        return undefined;
      case 'end': {
        const name = this.#search.found();
        return name === undefined ? 'stream: OK' : `stream: ${name} FOUND`;
      }
    }
  }

  #reply(text: string, command: Command): void {
    this.#close(text + command.terminator);
  }

  /** Whatever the command ends with, this ends with a newline: so it is with clamd. */
  #timedOut(): void {
    this.#close('COMMAND READ TIMED OUT\n');
  }

  #close(reply: string): void {
    this.#stopTimer();
    this.transport.write(reply);
    this.transport.loseConnection();
  }

  #stopTimer(): void {
    if (this.#timer?.active() === true) this.#timer.cancel();
  }
}

/** Compares a stream with each signature while it arrives. */
class Search {
  /** Those that are equal to the stream so far. */
  #candidates: [name: string, bytes: Uint8Array][];
  #length = 0;

  constructor(signatures: ReadonlyMap<string, Uint8Array>) {
    this.#candidates = [...signatures];
  }

  feed(data: Buffer): void {
    const start = this.#length;
    this.#length += data.length;
    this.#candidates = this.#candidates.filter(([, bytes]) =>
      data.equals(bytes.subarray(start, this.#length)),
    );
  }

  /** The name of a signature that the whole stream is equal to. */
  found(): string | undefined {
    return this.#candidates.find(([, bytes]) => bytes.length === this.#length)?.[0];
  }
}

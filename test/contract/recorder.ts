/**
 * Protocols and factories that write down what they are told, in order, and do what a rule wants done at a point.
 */
import {
  type Address,
  ClientFactory,
  type Failure,
  type IConnector,
  type IHalfCloseableProtocol,
  type IProtocol,
  Protocol,
} from 'plait';

/** What a rule does inside a hook. */
export interface Script<P> {
  readonly made?: (protocol: P) => void;
  readonly data?: (protocol: P, data: Buffer) => void;
  readonly readLost?: (protocol: P) => void;
  readonly writeLost?: (protocol: P) => void;
  readonly lost?: (protocol: P, reason: Failure) => void;
}

/** Writes down its hooks: `made`, `data`, `readLost`, `writeLost`, `lost <class of the reason>`. */
export class Recorder extends Protocol {
  /** What came, in order; data that came in pieces stands once. */
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  count = 0;
  reason: Failure | undefined;
  readonly #script: Script<Recorder>;
  /** The hook that is being called. */
  #inside = '';

  constructor(script: Script<Recorder> = {}) {
    super();
    this.#script = script;
  }

  /** Everything that has arrived. */
  bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  text(): string {
    return this.bytes().toString();
  }

  get lost(): boolean {
    return this.reason !== undefined;
  }

  override connectionMade(): void {
    this.#note('made', () => this.#script.made?.(this));
  }

  override dataReceived(data: Buffer): void {
    this.chunks.push(data);
    this.count += data.length;
    this.#note('data', () => this.#script.data?.(this, data));
  }

  override connectionLost(reason: Failure): void {
    this.reason = reason;
    this.#note(`lost ${reason.value.name}`, () => this.#script.lost?.(this, reason));
  }

  protected noteReadLost(): void {
    this.#note('readLost', () => this.#script.readLost?.(this));
  }

  protected noteWriteLost(): void {
    this.#note('writeLost', () => this.#script.writeLost?.(this));
  }

  #note(event: string, script: () => void): void {
    // No hook may be called while another one is still going on.
    const note = this.#inside === '' ? event : `${event} inside ${this.#inside}`;
    if (note !== 'data' || this.events.at(-1) !== 'data') this.events.push(note);
    this.#inside = event;
    try {
      script();
    } finally {
      this.#inside = '';
    }
  }
}

/** A Recorder that outlives the end of one direction. */
export class HalfCloser extends Recorder implements IHalfCloseableProtocol {
  readConnectionLost(): void {
    this.noteReadLost();
  }

  writeConnectionLost(): void {
    this.noteWriteLost();
  }
}

/** What a rule does inside a factory's hook. */
export interface FactoryScript {
  readonly start?: () => void;
  readonly stop?: () => void;
  readonly connecting?: (connector: IConnector) => void;
  readonly build?: (address: Address) => IProtocol | null;
  readonly failed?: (connector: IConnector, reason: Failure) => void;
  readonly lost?: (connector: IConnector, reason: Failure) => void;
}

/** Writes down its hooks; builds a Recorder for each connection unless its script builds something else. */
export class RecordingFactory extends ClientFactory {
  /** `start`, `connecting`, `build`, `failed <class>`, `lost <class>`, `stop`. */
  readonly events: string[] = [];
  readonly built: Recorder[] = [];
  readonly addresses: Address[] = [];
  reason: Failure | undefined;
  readonly #script: FactoryScript;

  constructor(script: FactoryScript = {}) {
    super();
    this.#script = script;
  }

  override startFactory(): void {
    this.events.push('start');
    this.#script.start?.();
  }

  override stopFactory(): void {
    this.events.push('stop');
    this.#script.stop?.();
  }

  override startedConnecting(connector: IConnector): void {
    this.events.push('connecting');
    this.#script.connecting?.(connector);
  }

  override buildProtocol(address: Address): IProtocol | null {
    this.events.push('build');
    this.addresses.push(address);
    const protocol =
      this.#script.build === undefined ? new Recorder() : this.#script.build(address);
    if (protocol instanceof Recorder) this.built.push(protocol);
    return protocol;
  }

  override clientConnectionFailed(connector: IConnector, reason: Failure): void {
    this.reason = reason;
    this.events.push(`failed ${reason.value.name}`);
    this.#script.failed?.(connector, reason);
  }

  override clientConnectionLost(connector: IConnector, reason: Failure): void {
    this.reason = reason;
    this.events.push(`lost ${reason.value.name}`);
    this.#script.lost?.(connector, reason);
  }
}

/** A factory that builds this one protocol. */
export function serving(protocol: IProtocol): RecordingFactory {
  return new RecordingFactory({ build: () => protocol });
}

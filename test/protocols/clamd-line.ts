/** A clamd that the test plays, for the tests of clamd's client. */
import {
  ConnectingCancelledError,
  ConnectionDone,
  Deferred,
  Failure,
  type IProtocol,
  type IProtocolFactory,
  type IReactorTCP,
  type IReactorUNIX,
  type IStreamClientEndpoint,
} from 'plait';
import { scan, type ScanOptions, type ScanSource, type Verdict } from 'plait/protocols/clamd';
import { Clock, StringTransport, successResultOf } from 'plait/testing';

/** Time that the test moves; nothing connects through it. */
export class VirtualReactor extends Clock implements IReactorTCP, IReactorUNIX {
  listenTCP = never;
  connectTCP = never;
  listenUNIX = never;
  connectUNIX = never;
  readonly nameResolver = { resolveHostName: never };
}

function never(): never {
  throw new Error('nothing connects through this reactor');
}

/** A connection to nowhere: the test says what arrives, and looks at what was sent. */
export class Line implements IStreamClientEndpoint {
  readonly transport = new StringTransport();
  /** True once the connection was asked for. */
  asked = false;
  #connected: Deferred<IProtocol> | undefined;
  #protocol: IProtocol | undefined;
  readonly #immediately: boolean;

  /** @param immediately false to have the connection made by `made` */
  constructor(immediately = true) {
    this.#immediately = immediately;
  }

  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> {
    this.asked = true;
    const connected = new Deferred<P>((deferred) =>
      deferred.errback(new ConnectingCancelledError(this.transport.getPeer())),
    );
    this.#protocol = factory.buildProtocol(this.transport.getPeer()) ?? undefined;
    this.#connected = connected;
    if (this.#immediately) this.made();
    return connected;
  }

  /** The connection is made, and asks for the first piece as real ones do. */
  made(): void {
    this.#protocol!.makeConnection(this.transport);
    this.transport.producer?.resumeProducing();
    this.#connected!.callback(this.#protocol!);
  }

  /** Lets everything go away that is written, for as long as there is more at once. */
  drains(): this {
    for (let i = 0; i < 100 && this.transport.producer !== undefined; i++)
      this.transport.producer.resumeProducing();
    return this;
  }

  answers(...pieces: (string | Buffer)[]): this {
    for (const piece of pieces) this.#protocol!.dataReceived(Buffer.from(piece as string));
    return this;
  }

  closes(reason: Error = new ConnectionDone()): this {
    this.transport.producer?.stopProducing();
    this.#protocol!.connectionLost(new Failure(reason));
    return this;
  }

  get sent(): string {
    return this.transport.value().toString('latin1');
  }
}

export interface Scanning {
  readonly line: Line;
  readonly clock: VirtualReactor;
  readonly verdict: Deferred<Verdict>;
}

/** Begins a scan over a connection to nowhere. */
export function begin(source: ScanSource, options: ScanOptions = {}, line = new Line()): Scanning {
  const clock = new VirtualReactor();
  const verdict = scan(source, { endpoint: line, reactor: clock, ...options });
  return { line, clock, verdict };
}

/** The verdict on a small stream to which these bytes are the answer. */
export function answered(...pieces: (string | Buffer)[]): Verdict {
  const { line, clock, verdict } = begin(Buffer.from('bytes'));
  line.drains().answers(...pieces);
  const result = successResultOf(verdict);
  if (clock.getDelayedCalls().length > 0) throw new Error('a timer is left');
  if (!line.transport.disconnecting) throw new Error('the connection is left open');
  return result;
}

/** A turn of the event loop, in which promises settle. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** The chunks in what was sent, and whether the end of the stream was. */
export function chunksIn(sent: string): { chunks: string[]; ended: boolean } {
  const bytes = Buffer.from(sent, 'latin1');
  const command = 'zINSTREAM\0';
  if (!sent.startsWith(command)) throw new Error(`no command in ${sent.slice(0, 50)}`);
  const chunks: string[] = [];
  for (let at = command.length; at < bytes.length;) {
    const size = bytes.readUInt32BE(at);
    if (size === 0) return { chunks, ended: at + 4 === bytes.length };
    chunks.push(bytes.toString('latin1', at + 4, at + 4 + size));
    at += 4 + size;
  }
  return { chunks, ended: false };
}

/** Lets a scan go on until it has come to a result. */
export async function finish({ line, verdict }: Scanning): Promise<void> {
  while (!verdict.called && !chunksIn(line.sent || 'zINSTREAM\0').ended) {
    await turn();
    line.transport.producer?.resumeProducing();
  }
}

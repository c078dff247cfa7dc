/**
 * A protocol that keeps what it is told, and a way to wait for the end of connections. Twisted:
 * `AccumulatingProtocol` and `waitUntilAllDisconnected` of `twisted.internet.testing`.
 */
import { Deferred } from '../defer.ts';
import type { Failure } from '../failure.ts';
import type { IDelayedCall, IReactorTime, ITransport, Seconds } from '../interfaces.ts';
import { Protocol } from '../protocol.ts';
import { count, INSPECT, inspected, type Inspecting, told } from '../one-line.ts';

/** How often {@link waitUntilAllDisconnected} looks, in seconds. */
const INTERVAL: Seconds = 0.01;

/**
 * Keeps all that it receives, and how its connection began and ended.
 *
 * @example
 * const protocol = new AccumulatingProtocol();
 * protocol.makeConnection(new StringTransport());
 * protocol.dataReceived(Buffer.from('one, '));
 * protocol.dataReceived(Buffer.from('two'));
 * protocol.data.toString(); // 'one, two'
 */
export class AccumulatingProtocol extends Protocol {
  /** `connectionMade` was called. */
  made = false;
  /** `connectionLost` was called. */
  closed = false;
  /** What `connectionLost` was called with. */
  closedReason: Failure | undefined;
  #received: Buffer[] = [];
  #madeReaders: Deferred<this>[] = [];
  #closedReaders: Deferred<this>[] = [];

  /** All that has been received. */
  get data(): Buffer {
    const [only = Buffer.alloc(0)] = this.#received;
    if (this.#received.length <= 1) return only;
    const all = Buffer.concat(this.#received);
    this.#received = [all];
    return all;
  }

  /** Forgets what was received. */
  clear(): void {
    this.#received = [];
  }

  /** Fires with the protocol when the connection is made. Each look gives a Deferred of its own. */
  get madeDeferred(): Deferred<this> {
    const made = new Deferred<this>();
    if (this.made) made.callback(this);
    else this.#madeReaders.push(made);
    return made;
  }

  /** Fires with the protocol when the connection is lost, however that was. Each look gives a Deferred of its own. */
  get closedDeferred(): Deferred<this> {
    const closed = new Deferred<this>();
    if (this.closed) closed.callback(this);
    else this.#closedReaders.push(closed);
    return closed;
  }

  override connectionMade(): void {
    this.made = true;
    for (const reader of this.#madeReaders.splice(0)) reader.callback(this);
  }

  override dataReceived(data: Buffer): void {
    this.#received.push(data);
  }

  override connectionLost(reason: Failure): void {
    this.closed = true;
    this.closedReason = reason;
    for (const reader of this.#closedReaders.splice(0)) reader.callback(this);
  }

  override toString(): string {
    return told(
      this,
      `${this.closed ? 'closed' : 'open'}, ${count(this.data.length, 'byte')} received`,
    );
  }

  override [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * Fires when the transports of all these protocols are closed. Their `connectionLost` need not be awaited by anything of
 * their own, so any protocols will do. Cancelling ends it.
 *
 * @param reactor looks again and again on its clock
 */
export function waitUntilAllDisconnected(
  reactor: Pick<IReactorTime, 'callLater'>,
  protocols: Iterable<{ readonly transport: Pick<ITransport, 'connected'> }>,
): Deferred<void> {
  const all = [...protocols];
  const done = new Deferred<void>(() => next?.cancel());
  let next: IDelayedCall | undefined;
  const look = (): void => {
    if (all.every(({ transport }) => !transport.connected)) done.callback();
    else next = reactor.callLater(INTERVAL, look);
  };
  look();
  return done;
}

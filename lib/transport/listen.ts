/**
 * How incoming connections are born: a port that listens, over any body and any kind of wire. Twisted:
 * `twisted.internet.tcp.Port` and `twisted.internet.unix.Port`.
 */
import type { Address } from '../address.ts';
import { Deferred } from '../defer.ts';
import { CannotListenError, NotListeningError } from '../errors.ts';
import { Failure } from '../failure.ts';
import type { IListeningPort, IProtocol, IProtocolFactory } from '../interfaces.ts';
import type { IO, ListenTarget, Wire, WireListener } from '../io/io.ts';
import { Logger } from '../log.ts';
import { succeed } from '../maybe.ts';
import { type Closable, type Home, Stream } from './stream.ts';

const log = new Logger('plait.transport');

/** What a port is doing. */
type State = 'closed' | 'binding' | 'listening' | 'closing';

/** Takes connections and builds a protocol for each. Made by `listenTCP` and its like. */
export class Port implements IListeningPort, Closable, AsyncDisposable {
  readonly #home: Home;
  readonly #io: IO;
  readonly #target: ListenTarget;
  readonly #factory: IProtocolFactory;
  #state: State = 'closed';
  #listener: WireListener | undefined;
  #address: Address | undefined;
  /** How the latest attempt to listen ended; undefined while it is going on. */
  #outcome: Failure | 'listening' | undefined;
  #readers: Deferred<IListeningPort>[] = [];
  /** Somebody has asked how it ended. */
  #looked = false;
  #stopped: Deferred<void>[] = [];
  #factoryStarted = false;

  constructor(home: Home, io: IO, target: ListenTarget, factory: IProtocolFactory) {
    this.#home = home;
    this.#io = io;
    this.#target = target;
    this.#factory = factory;
  }

  /** Each look gives a Deferred of its own, so that several may wait. */
  get ready(): Deferred<IListeningPort> {
    const ready = new Deferred<IListeningPort>();
    this.#looked = true;
    if (this.#outcome === undefined) this.#readers.push(ready);
    else if (this.#outcome === 'listening') ready.callback(this);
    else ready.errback(this.#outcome);
    return ready;
  }

  startListening(): void {
    if (this.#state !== 'closed')
      throw new Error(`cannot start to listen: the port is ${this.#state}`);
    this.#state = 'binding';
    this.#outcome = this.#listener = this.#address = undefined;
    this.#looked = false;
    this.#home.opened(this);
    this.#listener = this.#io.listen(this.#target, {
      listening: (address) => {
        this.#listening(address);
      },
      failed: (error) => {
        this.#failed(this.#cannotListen(error));
      },
      accepted: (wire) => {
        this.#accepted(wire);
      },
      closed: () => {
        this.#closed();
      },
    });
    this.#closeListener();
  }

  #cannotListen(error: Error): CannotListenError {
    return 'path' in this.#target
      ? new CannotListenError(this.#target.path, undefined, error)
      : new CannotListenError(this.#target.host, this.#target.port, error);
  }

  #listening(address: Address): void {
    this.#address = address;
    try {
      this.#factory.doStart();
    } catch (error) {
      const failure = new Failure(error);
      log.failure('startFactory failed', failure);
      this.#close(failure);
      return;
    }
    this.#factoryStarted = true;
    this.#state = this.#outcome = 'listening';
    this.#home.listening(this);
    for (const reader of this.#takeReaders()) reader.callback(this);
  }

  #failed(error: Error): void {
    const failure = new Failure(error);
    this.#outcome = failure;
    // Nobody may ever look; a port that does not listen is not to go unnoticed.
    this.#home.soon(() => {
      if (!this.#looked)
        log.failure('a port could not listen, and nobody looked at its ready', failure, 'error');
    });
    this.#over(failure);
  }

  #takeReaders(): Deferred<IListeningPort>[] {
    const readers = this.#readers;
    this.#readers = [];
    return readers;
  }

  #accepted(wire: Wire): void {
    let protocol: IProtocol | null | undefined;
    try {
      protocol = this.#factory.buildProtocol(wire.peer);
    } catch (error) {
      log.failure('buildProtocol failed', new Failure(error));
      wire.destroy();
      return;
    }
    // A function that returns nothing refuses too, as in Python.
    if (protocol == null) wire.close();
    else new Stream(this.#home, wire).begin(protocol);
  }

  stopListening(): Deferred<void> {
    if (this.#state === 'closed') return succeed();
    const stopped = new Deferred<void>();
    this.#stopped.push(stopped);
    if (this.#state !== 'closing')
      this.#close(new Failure(this.#cannotListen(new NotListeningError('the port was stopped'))));
    return stopped;
  }

  /** @param why what whoever waits for it to listen is told */
  #close(why: Failure): void {
    this.#state = 'closing';
    this.#outcome = why;
    this.#closeListener();
  }

  /** There is no listener yet where the body has reported something before it returned one. */
  #closeListener(): void {
    if (this.#state === 'closing') this.#listener?.close();
  }

  /** The listener is closed. */
  #closed(): void {
    if (this.#factoryStarted) {
      this.#factoryStarted = false;
      try {
        this.#factory.doStop();
      } catch (error) {
        log.failure('stopFactory failed', new Failure(error));
      }
    }
    this.#over(this.#outcome as Failure);
  }

  /** It does not listen, for the reason given. */
  #over(why: Failure): void {
    this.#state = 'closed';
    this.#home.closed(this);
    const stopped = this.#stopped;
    this.#stopped = [];
    for (const reader of this.#takeReaders()) reader.errback(why);
    for (const deferred of stopped) deferred.callback();
  }

  /** The reactor stops. */
  connectionLost(): void {
    void this.stopListening();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stopListening().asPromise();
  }

  getHost(): Address {
    if (this.#address === undefined) {
      throw new NotListeningError(
        'the port is not bound yet: its address is known when `ready` fires',
      );
    }
    return this.#address;
  }

  toString(): string {
    const where =
      this.#address ?? ('path' in this.#target ? this.#target.path : `port ${this.#target.port}`);
    return `<Port ${this.#state} ${where}>`;
  }
}

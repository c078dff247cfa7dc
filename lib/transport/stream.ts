/**
 * How a connection lives: one end of it, from the moment it is made until `connectionLost`, over any body and any kind
 * of wire. All that is subtle about a connection is decided here, once: when bytes are delivered, what closing waits
 * for, who is told what, and in which order. Twisted: `twisted.internet.abstract.FileDescriptor` and
 * `twisted.internet.tcp.Connection`.
 *
 * Rules for editors:
 * 1. Every call into a user's code is guarded: what it throws is logged and, where it came from the conversation
 *    itself, ends this connection with the error as its reason. Nothing thrown leaves this file.
 * 2. `#lose` is the one way out. It runs once; after it nothing is delivered.
 * 3. Nothing is delivered from inside a call of the user's: closing is always reported in a later turn.
 */
import type { X509Certificate } from 'node:crypto';
import type { Address } from '../address.ts';
import { wrongType } from '../arguments.ts';
import { isDetached } from '../bytes.ts';
import { ConnectionLost, SSLError } from '../errors.ts';
import { Failure } from '../failure.ts';
import { Fifo } from '../fifo.ts';
import type {
  HookOwner,
  IProtocol,
  IPullProducer,
  IPushProducer,
  IReactorTime,
  ITLSTransport,
  StartTLSOptions,
  SwitchProtocolOptions,
} from '../interfaces.ts';
import type { Wire, WireEvents } from '../io/io.ts';
import { watchHook } from '../hooks.ts';
import type { OpenKind } from '../inspect.ts';
import { Logger } from '../log.ts';
import { logHookFailure, logPrefixOf } from '../log-prefix.ts';
import type { TLSWire } from '../io/tls.ts';
import {
  isBufferingProtocol,
  isDrainableProtocol,
  isHalfCloseableProtocol,
  isHandshakeListener,
} from '../protocol.ts';
import type { ITLSContextFactory } from '../tls-settings.ts';
import { checkSwitch, takeOver } from '../wrapping.ts';
import { Feed } from './feed.ts';
import type { Closable, Home } from './home.ts';
import { whyLost } from './reasons.ts';
import { secure, type Securing } from './tls.ts';
import { INSPECT, inspected, type Inspecting } from '../one-line.ts';

const log = new Logger('plait.transport');

const NOTHING = Buffer.alloc(0);

/** One end of a connection. */
export class Stream implements ITLSTransport, WireEvents, Closable, HookOwner {
  readonly #home: Home;
  readonly #side: 'client' | 'server';
  /** What is written to: the wire that the connection was made with, or the TLS over it. */
  #wire: Wire;
  /** The lowest TLS, which is told what happens to the wire that the connection was made with. */
  #lowestTLS: TLSWire | undefined;
  /** The highest TLS: the one that is written to. */
  #tls: TLSWire | undefined;
  /** Takes back the times that were set for handshakes. */
  #releaseTLS: (() => void) | undefined;
  readonly #onLost: ((reason: Failure, stream: Stream) => void) | undefined;
  /** Undefined when there is no protocol left to deliver to. */
  #protocol: IProtocol | undefined;
  /** What that was called in the log, when the connection is lost. */
  #name: string | undefined;
  #connected = true;
  /** `loseConnection` was called: deliver nothing, and close when all is sent. */
  #disconnecting = false;
  /** `abortConnection` was called. */
  #aborting = false;
  /** `loseWriteConnection` was called; `ended` once that, or `loseConnection`, has been carried out. */
  #writing: 'open' | 'ending' | 'ended' = 'open';
  /** The producer that is registered. */
  #feed: Feed | undefined;
  /** A hook has failed, and that will be the reason for which the connection ends. */
  #doom: Failure | undefined;
  /** What waits for the protocol that has taken over. */
  #handover: { readonly data: Fifo<Buffer>; ended: boolean } | undefined;
  #paused = false;
  /** The peer's end has been delivered. */
  #peerEnded = false;
  #noDelay = true;
  #keepAlive = false;

  /**
   * @param onLost called last, after the protocol's `connectionLost`
   * @param side which one this is in a handshake, unless `startTLS` is told to swap them
   */
  constructor(
    home: Home,
    wire: Wire,
    onLost?: (reason: Failure, stream: Stream) => void,
    side: 'client' | 'server' = 'server',
  ) {
    this.#home = home;
    this.#wire = wire;
    this.#onLost = onLost;
    this.#side = side;
  }

  /**
   * Begins to deliver to `protocol`, and tells it that the connection is made. What that throws is logged, and the
   * reason for which the connection ends: its protocol is only half made.
   *
   * @param securing makes it a TLS connection from the first byte on
   */
  begin(protocol: IProtocol, securing?: Securing): void {
    const { slow } = this.#home;
    this.#protocol = protocol;
    this.#home.opened(this);
    this.#wire.start(slow === undefined ? this : slow.watch(this, protocol));
    if (securing !== undefined) this.#beginTLS(securing);
    try {
      const outcome: unknown =
        slow === undefined
          ? protocol.makeConnection(this)
          : slow.timeMethod(protocol, 'connectionMade', () => protocol.makeConnection(this));
      watchHook(outcome, 'makeConnection', this);
    } catch (error) {
      this.hookFailed('makeConnection', new Failure(error));
    }
  }

  /** There is no protocol for the connection: it is closed, and ends like any other. */
  refuse(): void {
    this.#home.opened(this);
    this.#wire.start(this);
    this.loseConnection();
  }

  // ── From the wire ────────────────────────────────────────────────────────────────────────────────────────────────

  wireData(data: Buffer): void {
    if (this.#lowestTLS === undefined) this.#deliver(data);
    else this.#lowestTLS.wireData(data);
  }

  wireEnd(): void {
    if (this.#lowestTLS === undefined) this.#deliverEnd();
    else this.#lowestTLS.wireEnd();
  }

  wireDrained(): void {
    if (this.#lowestTLS === undefined) this.#drained();
    else this.#lowestTLS.wireDrained();
  }

  wireClosed(error?: Error): void {
    if (this.#lowestTLS === undefined) this.#closed(error);
    else this.#lowestTLS.wireClosed(error);
  }

  #closed(error: Error | undefined): void {
    // What came before the end is delivered before it.
    this.#handOver();
    this.#lose(new Failure(whyLost(this.#wire.peer, error, this.#aborting)));
  }

  #deliver(data: Buffer): void {
    if (this.#disconnecting || this.#protocol === undefined) return;
    if (this.#handover !== undefined) {
      this.#handover.data.add(data);
      return;
    }
    this.#deliverTo(this.#protocol, data);
  }

  #deliverTo(protocol: IProtocol | undefined, data: Buffer): void {
    try {
      if (protocol !== undefined) watchHook(protocol.dataReceived(data), 'dataReceived', this);
    } catch (error) {
      this.#failed('dataReceived', error);
    }
  }

  #deliverEnd(): void {
    this.#peerEnded = true;
    if (this.#handover !== undefined) {
      this.#handover.ended = true;
      return;
    }
    const protocol = this.#protocol;
    if (this.#disconnecting || protocol === undefined) return;
    if (!isHalfCloseableProtocol(protocol)) {
      this.#lose(new Failure(whyLost(this.#wire.peer, undefined, false)));
      return;
    }
    try {
      watchHook(protocol.readConnectionLost(), 'readConnectionLost', this);
    } catch (error) {
      this.#failed('readConnectionLost', error);
    }
  }

  #drained(): void {
    if (this.#feed === undefined) this.finishIfSent();
    else if (!this.#aborting) this.#feed.drained();
  }

  /** The reactor stops, or the peer could not be trusted: it ends now. */
  connectionLost(reason: Failure): void {
    this.#lose(reason);
  }

  // ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  write(data: Uint8Array | string): void {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    if (!(bytes instanceof Uint8Array))
      throw wrongType('write: data', 'a Uint8Array or a string', data);
    if (bytes.length === 0) {
      if (isDetached(bytes)) throw new TypeError('cannot write a buffer that was transferred');
      return;
    }
    if (!this.#connected || this.#aborting || this.#writing === 'ended') return;
    this.#wire.write(bytes);
    this.#feed?.wrote();
  }

  writeSequence(pieces: Iterable<Uint8Array | string>): void {
    const all = [...pieces];
    for (const piece of all) {
      if (typeof piece !== 'string' && !((piece as unknown) instanceof Uint8Array))
        throw wrongType('writeSequence: each of pieces', 'a Uint8Array or a string', piece);
    }
    for (const piece of all) this.write(piece);
  }

  get bufferedBytes(): number {
    return this.#connected ? this.#wire.bufferedBytes : 0;
  }

  // ── Closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

  get connected(): boolean {
    return this.#connected;
  }

  get disconnecting(): boolean {
    return this.#disconnecting;
  }

  loseConnection(): void {
    if (!this.#connected) return;
    if (this.#disconnecting) {
      // The connection that feeds this one may have been lost since.
      if (this.#feed?.isGone === true) this.#finishSoon();
      return;
    }
    this.#disconnecting = true;
    this.#feed?.forgive();
    this.#wire.discard();
    this.#finishSoon();
  }

  /** What is written in the rest of this turn is still sent. */
  #finishSoon(): void {
    this.#home.soon(() => this.finishIfSent());
  }

  /**
   * Its port stops, and wants it to come to an end: a protocol that has something to finish is told, else it is closed.
   * Not to be called from inside a call of the user's.
   */
  drain(): void {
    const protocol = this.#protocol;
    if (this.#disconnecting || protocol === undefined || !isDrainableProtocol(protocol)) {
      this.loseConnection();
      return;
    }
    try {
      watchHook(protocol.connectionDraining(), 'connectionDraining', this);
    } catch (error) {
      this.#failed('connectionDraining', error);
    }
  }

  abortConnection(): void {
    if (!this.#connected || this.#aborting) return;
    this.#aborting = this.#disconnecting = true;
    this.#feed?.end();
    this.#wire.reset();
  }

  loseWriteConnection(): void {
    if (!this.#connected || this.#writing !== 'open') return;
    this.#feed?.forgive();
    if (!this.#disconnecting) this.#writing = 'ending';
    this.#finishSoon();
  }

  /**
   * Carries out what `loseConnection` or `loseWriteConnection` asked for, once all is sent and no producer has anything
   * left to give.
   *
   * @internal
   */
  finishIfSent(): void {
    if (!this.#connected || this.#aborting || this.#wire.bufferedBytes > 0) return;
    // Once writing has ended, there is nothing that a producer could still add.
    if (this.#feed?.isAwaited === true && this.#writing !== 'ended') {
      if (this.ending) this.#feed.hurry();
      return;
    }
    if (this.#disconnecting) {
      this.#writing = 'ended';
      this.#wire.close();
    } else if (this.#writing === 'ending') {
      this.#writing = 'ended';
      this.#wire.end(() => this.#writeEnded());
    }
  }

  #writeEnded(): void {
    const protocol = this.#protocol;
    if (this.#disconnecting || protocol === undefined || !isHalfCloseableProtocol(protocol)) return;
    try {
      watchHook(protocol.writeConnectionLost(), 'writeConnectionLost', this);
    } catch (error) {
      this.#failed('writeConnectionLost', error);
    }
  }

  /**
   * @internal A hook has failed where the end may not be told at once, since that may be inside of a call of the user's.
   * Until then nothing more is delivered, or sent.
   */
  hookFailed(hook: string, reason: Failure): void {
    this.logFailure(hook, reason);
    if (!this.#connected) return;
    this.#doom ??= reason;
    this.#disconnecting = true;
    this.#writing = 'ended';
    this.#wire.destroy();
    this.#home.soon(() => this.#lose(reason));
  }

  /** A hook has thrown: that is logged, and the reason for which the connection ends. */
  #failed(hook: string, error: unknown): void {
    this.#lose(this.logFailure(hook, new Failure(error)));
  }

  #lose(reason: Failure): void {
    if (!this.#connected) return;
    this.#connected = false;
    reason = this.#doom ?? reason;
    this.#releaseTLS?.();
    const feed = this.#feed;
    this.#feed = undefined;
    feed?.end();
    if (feed !== undefined) this.#guarded('stopProducing', () => feed.producer.stopProducing());
    this.#wire.destroy();
    this.#home.closed(this);
    const protocol = this.#protocol;
    if (protocol !== undefined) this.#name = logPrefixOf(protocol);
    this.#protocol = undefined;
    if (protocol !== undefined)
      this.#guarded('connectionLost', () => protocol.connectionLost(reason));
    this.#onLost?.(reason, this);
  }

  #guarded(hook: string, call: () => unknown): void {
    try {
      watchHook(call(), hook, this);
    } catch (error) {
      this.logFailure(hook, new Failure(error));
    }
  }

  /** @internal Logs what a hook has failed with, over this connection. */
  logFailure(hook: string, failure: Failure): Failure {
    const { host, peer } = this.#wire;
    logHookFailure(log, hook, failure, { protocol: this.#protocol ?? this.#name, host, peer });
    return failure;
  }

  // ── Another protocol ─────────────────────────────────────────────────────────────────────────────────────────────

  switchProtocol(next: IProtocol, { unread }: SwitchProtocolOptions = {}): void {
    checkSwitch(next, unread);
    const before = this.#protocol;
    if (before === undefined)
      throw new ConnectionLost('cannot switch the protocol: the connection is lost');
    // What has not come to the one before is behind what that gives back.
    const { data = new Fifo<Buffer>(), ended = this.#peerEnded } = this.#handover ?? {};
    this.#handover = { data, ended };
    try {
      const rest = unread ?? (isBufferingProtocol(before) ? before.takeUnread() : NOTHING);
      if (rest.length > 0) data.putBack(Buffer.from(rest));
      takeOver(before, next, this, (protocol) => (this.#protocol = protocol));
    } catch (error) {
      this.hookFailed('switchProtocol', new Failure(error));
    }
    this.#home.soon(() => this.#handOver());
  }

  /** Delivers what waits for the protocol that has taken over, unless that has paused. */
  #handOver(): void {
    const waiting = this.#handover;
    if (waiting === undefined || this.#paused) return;
    const stays = (): boolean => this.#handover !== waiting || this.#paused;
    while (waiting.data.size > 0) {
      const piece = waiting.data.take();
      if (!this.#disconnecting) this.#deliverTo(this.#protocol, piece);
      // It may have handed over in its turn, or paused.
      if (stays()) return;
    }
    this.#handover = undefined;
    if (waiting.ended) this.#deliverEnd();
  }

  // ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  startTLS(contextFactory: ITLSContextFactory, options: StartTLSOptions = {}): void {
    if (!this.#connected) return;
    if (this.#disconnecting || this.#writing !== 'open' || this.#peerEnded) {
      const why = this.#peerEnded ? 'the other side has ended it' : 'the connection is closing';
      throw new SSLError(`cannot start TLS with ${this.#wire.peer}: ${why}`);
    }
    const { normal = true, early = NOTHING, handshakeTimeout } = options;
    const other = this.#side === 'client' ? 'server' : 'client';
    const protocol = this.#protocol;
    const unread = isBufferingProtocol(protocol) ? protocol.takeUnread() : NOTHING;
    // What waits for a protocol that has taken over has come in the clear, too.
    const waiting = this.#handover?.data ?? [];
    const below = this.#tls;
    const { wire, release } = secure(this.#home, this.#wire, {
      contextFactory,
      handshakeTimeout,
      side: normal ? this.#side : other,
      early: Buffer.concat([early, unread, ...waiting]),
      secured: () => this.#secured(),
    });
    this.#handover?.data.clear();
    const releaseBelow = this.#releaseTLS;
    this.#releaseTLS = () => {
      releaseBelow?.();
      release();
    };
    if (below === undefined) this.#lowestTLS = wire;
    else below.start(wire);
    if (this.#paused) {
      // The handshake has to be read; it is what comes after it that waits.
      wire.pause();
      this.#wire.resume();
    }
    this.#wire = this.#tls = wire;
    wire.start({
      wireData: (data) => this.#deliver(data),
      wireEnd: () => this.#deliverEnd(),
      wireDrained: () => this.#drained(),
      wireClosed: (error) => this.#closed(error),
    });
  }

  #beginTLS({ contextFactory, handshakeTimeout }: Securing): void {
    try {
      this.startTLS(contextFactory, { handshakeTimeout });
    } catch (error) {
      // Nothing may go out in the clear.
      const reason = new Failure(error);
      this.logFailure('startTLS', reason);
      this.#disconnecting = true;
      this.#writing = 'ended';
      this.#home.soon(() => this.#lose(reason));
    }
  }

  #secured(): void {
    const protocol = this.#protocol;
    if (this.#disconnecting || protocol === undefined || !isHandshakeListener(protocol)) return;
    try {
      watchHook(protocol.handshakeCompleted(), 'handshakeCompleted', this);
    } catch (error) {
      this.#failed('handshakeCompleted', error);
    }
  }

  getPeerCertificate(): X509Certificate | undefined {
    return this.#tls?.certificate;
  }

  get negotiatedProtocol(): string | undefined {
    return this.#tls?.protocol;
  }

  // ── Being fed by a producer ──────────────────────────────────────────────────────────────────────────────────────

  registerProducer(producer: IPushProducer | IPullProducer, streaming: boolean): void {
    if (this.#feed?.isGone === false) {
      throw new Error(
        'cannot register a producer: another one is registered, and has not been unregistered',
      );
    }
    // On a half-closed connection nothing that it writes would ever be sent, nor would it be asked for more.
    const closing = this.#disconnecting && !this.#aborting;
    if (!this.#connected || (this.#writing === 'ended' && !closing)) {
      this.#guarded('stopProducing', () => producer.stopProducing());
      return;
    }
    this.#feed?.end();
    this.#feed = new Feed(this.#home, this, producer, streaming);
    // What waits to be sent by an aborted connection is no reason to pause.
    if (!streaming || !this.#aborting) this.#feed.begin();
  }

  unregisterProducer(): void {
    if (this.#feed === undefined) return;
    this.#feed.end();
    this.#feed = undefined;
    if (this.ending) this.#finishSoon();
  }

  /** @internal It closes, or ends its direction, as soon as all is sent. */
  get ending(): boolean {
    return this.#disconnecting || this.#writing === 'ending';
  }

  /** @internal */
  producerFailed(reason: Failure): void {
    this.#home.soon(() => this.#lose(reason));
  }

  // ── Being a producer ─────────────────────────────────────────────────────────────────────────────────────────────

  pauseProducing(): void {
    if (!this.#connected || this.#disconnecting) return;
    this.#paused = true;
    this.#wire.pause();
  }

  resumeProducing(): void {
    if (!this.#connected || this.#disconnecting) return;
    this.#paused = false;
    this.#wire.resume();
    if (this.#handover !== undefined) this.#home.soon(() => this.#handOver());
  }

  stopProducing(): void {
    this.loseConnection();
  }

  /** As a consumer: nothing more is wanted. */
  stopConsuming(): void {
    this.unregisterProducer();
    this.loseConnection();
  }

  // ── Addresses and options ────────────────────────────────────────────────────────────────────────────────────────

  getHost(): Address {
    return this.#wire.host;
  }

  get kind(): OpenKind {
    return 'connection';
  }

  toString(): string {
    const state = !this.#connected ? 'lost' : this.#disconnecting ? 'closing' : 'open';
    const whose = this.#protocol === undefined ? '' : ` for a ${logPrefixOf(this.#protocol)}`;
    return `<connection ${state} ${this.#wire.host} with ${this.#wire.peer}${whose}>`;
  }

  getPeer(): Address {
    return this.#wire.peer;
  }

  get clock(): IReactorTime | undefined {
    return this.#home.clock;
  }

  getTcpNoDelay(): boolean {
    return this.#noDelay;
  }

  setTcpNoDelay(enabled: boolean): void {
    this.#noDelay = enabled;
    if (this.#connected) this.#wire.setNoDelay(enabled);
  }

  getTcpKeepAlive(): boolean {
    return this.#keepAlive;
  }

  setTcpKeepAlive(enabled: boolean): void {
    this.#keepAlive = enabled;
    if (this.#connected) this.#wire.setKeepAlive(enabled);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * TLS as a wire over a wire: what is written to it goes, encrypted, to the wire below, and what comes from below is
 * decrypted. The wire below may be anything: a socket, a pipe, a simulated network, or another TLS. The engine is
 * Node's, put over a small Duplex that stands for the wire below. Twisted: `TLSMemoryBIOProtocol`.
 *
 * Besides what `io.ts` asks of each wire:
 * 1. Nothing of the application is sent or delivered before the handshake is done and the peer has been found good.
 * 2. An end without close_notify is an error: somebody may have cut the conversation short.
 * 3. Every function that is given to the engine is guarded. What is thrown inside the engine would end the process.
 *
 * Three things that the engine has are not in Node's documentation, and are used because there is no other way to them
 * on the side of a server: the events `secure` and `_tlsError`, and `ssl.verifyError()`. If the last two were missing,
 * an error would say less, and a certificate that was asked for would be refused.
 */
import type { X509Certificate } from 'node:crypto';
import type { ConnectionOptions, SecureContext, TLSSocket, TLSSocketOptions } from 'node:tls';
import { type Address, isIPAddress } from '../address.ts';
import { asciiLowerCase } from '../bytes.ts';
import { Failure } from '../failure.ts';
import { Fifo } from '../fifo.ts';
import type { Seconds } from '../interfaces.ts';
import { Logger } from '../log.ts';
import type { TLSSettings } from '../tls-settings.ts';
import type { Veil, Wire, WireEvents } from './io.ts';
import { Below } from './tls-below.ts';
import { compile, keepSession, nodeTLS, takeSession } from './tls-context.ts';
import {
  afterRefusal,
  handshakeError,
  judge,
  judgeRenegotiation,
  peerCertificate,
  problemOf,
  verifyError,
} from './tls-peer.ts';

const log = new Logger('plait.tls');

/** How much the engine is given at once: a few records. */
const PIECE_BYTES = 64 * 1024;

/** How long a close_notify that nobody waits for may take to go out. */
const LINGER: Seconds = 2;

/** An alert: fatal, internal_error (RFC 8446 section 6). */
const INTERNAL_ERROR = Buffer.from([21, 3, 3, 0, 2, 2, 80]);

/** What is told of a TLS wire besides what is told of each wire. */
export interface TLSWireOptions {
  /** Called once, when the handshake is done and the peer was found good, before anything is delivered. */
  readonly secured?: () => void;
  /** Bytes of the other side that were read already: they come first. */
  readonly early?: Buffer;
}

function byTheProcess(delay: Seconds, fn: () => void): () => void {
  const timer = setTimeout(fn, delay * 1000);
  return () => {
    clearTimeout(timer);
  };
}

/** One end of a secured connection. */
export class TLSWire implements Wire, WireEvents {
  readonly #wire: Wire;
  readonly #below: Below;
  readonly #socket: TLSSocket;
  readonly #isClient: boolean;
  readonly #options: TLSWireOptions;
  /** On a server, those for the name that the client has asked for. */
  #settings: TLSSettings;
  #events: WireEvents | undefined;
  #certificate: X509Certificate | undefined;
  #protocol: string | undefined;
  /** The handshake is done and the peer was found good. */
  #secured = false;
  /** How many handshakes there were after that. */
  #renegotiations = 0;
  /** Why it is broken; whatever comes later says less. */
  #error: Error | undefined;
  #closed = false;
  /** Written, and not yet given to the engine. */
  readonly #queue = new Fifo<Uint8Array>();
  #queuedBytes = 0;
  /** How many bytes the engine has, and has not called back for. */
  #engineBytes = 0;
  /** Something was written, and `wireDrained` has not been reported since. */
  #owesDrain = false;
  #flushing = false;
  #paused = false;
  #discarding = false;
  /** Something has been discarded. */
  #discarded = false;
  /** `end` was called; `ended` is called when the end has gone out. */
  #ended: (() => void) | undefined;
  /** `close` was called. */
  #closing = false;
  /** The engine has been told to say close_notify. */
  #saysGoodbye = false;
  /** Everything of that has been handed to the wire below. */
  #saidGoodbye = false;
  /** close_notify has arrived. */
  #peerEnded = false;
  /** The end has come while it was paused. */
  #endWaits = false;
  /** The end has been reported. */
  #endTold = false;
  /** The wire below has reported its end, and all that came before has been decrypted. */
  #belowEnded = false;
  /** The wire below is gone. */
  #belowClosed = false;
  /** Forgets the time in which the wire below must be closed. */
  #patience: (() => void) | undefined;
  /** For a wire below that is simulated. */
  readonly #veil: Veil | undefined;
  /** A session that will be kept if the peer is good. */
  #session: Buffer | undefined;

  /**
   * Begins the handshake. The wire below must have been started; its events are to be passed on to this one.
   *
   * @throws CertificateError or SSLError for settings that cannot be used; nothing has happened then
   */
  constructor(
    wire: Wire,
    settings: TLSSettings,
    side: 'client' | 'server',
    options: TLSWireOptions = {},
  ) {
    const secureContext = compile(settings, side);
    this.#wire = wire;
    this.#veil = wire.veil?.();
    this.#owesDrain = wire.bufferedBytes > 0;
    this.#settings = settings;
    this.#isClient = side === 'client';
    this.#options = options;
    this.#below = new Below(wire, (done) => {
      this.#goodbyeSaid();
      done();
    });
    if (options.early !== undefined && options.early.length > 0) this.#below.feed(options.early);
    // Before the engine listens to the same: all that came before the end has been decrypted then.
    this.#below.on('end', () => (this.#belowEnded = true));
    this.#socket = this.#isClient ? this.#connect(secureContext) : this.#accept(secureContext);
    this.#listen(this.#socket);
  }

  // ── The engine ───────────────────────────────────────────────────────────────────────────────────────────────────

  #connect(secureContext: SecureContext): TLSSocket {
    const { serverName, protocols, sessionKey } = this.#settings;
    const kept = sessionKey === undefined ? undefined : takeSession(sessionKey);
    this.#certificate = kept?.certificate;
    const options: ConnectionOptions = {
      socket: this.#below,
      secureContext,
      rejectUnauthorized: false,
      // The name is for checkPeer to check; what is returned here is no more than a note on the socket.
      checkServerIdentity: () => undefined,
      ...(serverName === undefined || isIPAddress(serverName) ? {} : { servername: serverName }),
      ...(protocols === undefined || protocols.length === 0
        ? {}
        : { ALPNProtocols: [...protocols] }),
      ...(kept === undefined ? {} : { session: kept.session }),
    };
    const socket = nodeTLS().connect(options);
    socket.on('secureConnect', () => {
      const { authorizationError } = socket;
      if (this.#secured) this.#renegotiated();
      else this.#handshaken(socket.authorized ? undefined : problemOf(authorizationError));
    });
    if (sessionKey !== undefined) socket.on('session', (fresh) => this.#sessionCame(fresh));
    return socket;
  }

  #accept(secureContext: SecureContext): TLSSocket {
    const { protocols, requestCertificate = false, forName } = this.#settings;
    const options: TLSSocketOptions = {
      isServer: true,
      secureContext,
      requestCert: requestCertificate,
      rejectUnauthorized: false,
    };
    if (forName !== undefined) {
      options.SNICallback = (name, done) => {
        try {
          done(null, this.#contextFor(name));
        } catch (thrown) {
          const error = new Failure(thrown);
          const { peer } = this.#wire;
          log.failure('no settings for {name}, which {peer} asks for', error, { name, peer });
          // Nothing is encrypted yet.
          this.#wire.write(INTERNAL_ERROR);
          done(error.value);
        }
      };
    }
    if (protocols !== undefined && protocols.length > 0) {
      (options as { ALPNCallback?: unknown }).ALPNCallback = (asked: { protocols: string[] }) =>
        (this.#settings.protocols ?? protocols).find((one) => asked.protocols.includes(one));
    }
    const { TLSSocket: Socket } = nodeTLS();
    const socket = new Socket(this.#below, options);
    socket.once('secure', () => {
      this.#handshaken(requestCertificate ? verifyError(socket) : undefined);
    });
    socket.on('_tlsError', (error: Error) => this.#failed(error));
    return socket;
  }

  /** The context for the name that a client asks for; undefined for the one that is there. */
  #contextFor(name: string): SecureContext | undefined {
    const settings = this.#settings.forName?.(asciiLowerCase(name));
    if (settings === undefined) return undefined;
    const context = compile(settings, 'server');
    this.#settings = settings;
    return context;
  }

  #listen(socket: TLSSocket): void {
    const push = socket.push.bind(socket);
    // The engine says here, while it decrypts, that it has read close_notify: later that cannot be told from an end.
    socket.push = (chunk: unknown, encoding?: BufferEncoding) => {
      if (chunk === null && !this.#belowEnded) this.#peerEnded = true;
      return push(chunk, encoding);
    };
    socket.on('error', (error: Error) => this.#failed(error));
    socket.on('close', () => this.#engineClosed());
    socket.on('end', () => this.#engineEnded());
    socket.on('data', (data: Buffer) => {
      if (this.#discarding) this.#discarded = true;
      else if (!this.#closed && this.#secured) {
        this.#veil?.tell('read', data);
        this.#events?.wireData(data);
      }
    });
  }

  /** @param problem why there is no path from the peer's certificate to a root that is trusted */
  #handshaken(problem: Error | undefined): void {
    if (this.#error !== undefined || this.#closed) return;
    const socket = this.#socket;
    // Of a session that was taken up again, Node does not show the certificate.
    const known = socket.isSessionReused() ? this.#certificate : undefined;
    let certificate: X509Certificate | undefined;
    try {
      certificate = peerCertificate(socket) ?? known;
    } catch (thrown) {
      this.#failed(new Failure(thrown).value); // what the engine has accepted, and Node cannot read
      return;
    }
    const protocol = typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : undefined;
    const refusal = judge(this.#settings, { certificate, problem, protocol });
    if (refusal !== undefined) {
      this.#fail(refusal);
      return;
    }
    this.#certificate = certificate;
    this.#protocol = protocol;
    this.#secured = true;
    if (this.#session !== undefined) this.#sessionCame(this.#session);
    if (this.#paused) socket.pause();
    this.#options.secured?.();
    // What the handshake has still to say goes first.
    this.#flushSoon();
  }

  /** The server has asked for another handshake, which is done. */
  #renegotiated(): void {
    const count = ++this.#renegotiations;
    const refusal = judgeRenegotiation(this.#settings, count, this.#certificate, this.#socket);
    if (refusal !== undefined) this.#fail(refusal);
  }

  #sessionCame(session: Buffer): void {
    const { sessionKey } = this.#settings;
    if (!this.#secured) this.#session = session;
    else if (sessionKey !== undefined && this.#certificate !== undefined)
      keepSession(sessionKey, session, this.#certificate);
  }

  /** The engine has met with an error. */
  #failed(cause: Error): void {
    if (this.#secured) this.#fail(this.#named(cause));
    else this.#fail(handshakeError(this.#wire.peer, cause));
  }

  /** An error that comes after a client has refused a renegotiation tells of that. */
  #named(cause: Error): Error {
    return this.#isClient && this.#below.alerted && !this.#saysGoodbye
      ? afterRefusal(cause)
      : cause;
  }

  /**
   * Ends it with an error, which is reported when the wire below is closed; an alert of the engine's is sent first.
   */
  #fail(error: Error): void {
    if (this.#error !== undefined || this.#closed) return;
    this.#error = error;
    this.#drop();
    if (this.#belowClosed) this.#close();
    else this.#leave();
  }

  /** Called by whoever has set a time for the handshake: it has passed. */
  giveUp(error: Error): void {
    if (!this.#secured) this.#fail(error);
  }

  /** The engine is done with. */
  #engineClosed(): void {
    if (this.#closed || this.#saysGoodbye || this.#error !== undefined) return;
    if (this.#peerEnded || this.#belowEnded) this.#engineEnded();
    else this.#failed(new Error('the engine has stopped'));
  }

  /** Nothing more will be decrypted. */
  #engineEnded(): void {
    if (this.#closed || this.#error !== undefined) return;
    if (!this.#secured) {
      // An alert of the engine's may be on its way.
      this.#failed(new Error('the other side closed the connection'));
    } else if (!this.#peerEnded && !this.#discarding) {
      this.#failed(new Error('the other side closed it without saying so (no close_notify)'));
    } else {
      this.#end();
    }
  }

  #end(): void {
    if (this.#endTold || this.#closed) return;
    this.#endWaits = this.#paused;
    if (this.#paused) return;
    this.#endTold = true;
    this.#flush();
    if (!this.#discarding) this.#events?.wireEnd();
    this.#closeIfEnded();
  }

  /** Both directions have ended. */
  #closeIfEnded(): void {
    if (this.#closed || !this.#endTold) return;
    if (this.#belowClosed) this.#close();
    else if (this.#saidGoodbye) this.#wire.close();
  }

  // ── From the wire below ──────────────────────────────────────────────────────────────────────────────────────────

  wireData(data: Buffer): void {
    if (!this.#closed && this.#error === undefined) this.#below.feed(data);
  }

  wireEnd(): void {
    if (!this.#closed && !this.#below.destroyed) this.#below.push(null);
  }

  wireDrained(): void {
    this.#below.drained();
    this.#toldDrained();
  }

  wireClosed(error?: Error): void {
    this.#belowClosed = true;
    this.#patience?.();
    if (error !== undefined && this.#error === undefined)
      this.#error = this.#secured ? this.#named(error) : handshakeError(this.#wire.peer, error);
    // After an end in order there may be something left to be delivered.
    const waits = this.#secured && !this.#closing && !this.#discarding && !this.#endTold;
    if (this.#error === undefined && waits && !this.#below.destroyed) this.#below.push(null);
    else this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#drop();
    if (!this.#secured && this.#error === undefined && !this.#closing && !this.#discarding)
      this.#error = handshakeError(this.#wire.peer, new Error('the connection was closed'));
    this.#events?.wireClosed(this.#error);
  }

  /** Lets go of the engine, and of what has not been sent. */
  #drop(): void {
    this.#queue.clear();
    this.#queuedBytes = this.#engineBytes = 0;
    this.#socket.destroy();
    this.#below.destroy();
  }

  // ── As a wire ────────────────────────────────────────────────────────────────────────────────────────────────────

  get host(): Address {
    return this.#wire.host;
  }

  get peer(): Address {
    return this.#wire.peer;
  }

  /** The certificate of the other side, once the handshake is done. */
  get certificate(): X509Certificate | undefined {
    return this.#secured ? this.#certificate : undefined;
  }

  /** The protocol agreed on by ALPN, once the handshake is done. */
  get protocol(): string | undefined {
    return this.#protocol;
  }

  get bufferedBytes(): number {
    const waiting = this.#queuedBytes + this.#engineBytes;
    // What the engine says of its own accord counts for nothing.
    return this.#owesDrain ? waiting + this.#wire.bufferedBytes : waiting;
  }

  /** May be called again: from then on another one is told. */
  start(events: WireEvents): void {
    this.#events = events;
  }

  write(data: Uint8Array): void {
    if (data.length === 0 || this.#saysGoodbye || this.#closed || this.#error !== undefined) return;
    this.#queue.add(data);
    this.#queuedBytes += data.length;
    this.#owesDrain = true;
    this.#flushSoon();
  }

  /** Once for all that is written in this turn, so that it becomes one record. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    process.nextTick(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  /** Gives the engine a piece if it has none. */
  #flush(): void {
    if (!this.#secured || this.#engineBytes > 0 || this.#error !== undefined || this.#closed)
      return;
    const piece = this.#take();
    if (piece === undefined) {
      if (this.#closing || this.#ended !== undefined) this.#sayGoodbye();
      return;
    }
    this.#engineBytes = piece.length;
    this.#veil?.tell('write', piece);
    this.#socket.write(piece, () => {
      this.#engineBytes = 0;
      this.#flush();
      this.#toldDrained();
    });
  }

  /** The next piece for the engine. */
  #take(): Uint8Array | undefined {
    const { first } = this.#queue;
    if (first === undefined) return undefined;
    if (first.length > PIECE_BYTES) {
      this.#queue.take();
      this.#queue.putBack(first.subarray(PIECE_BYTES));
      this.#queuedBytes -= PIECE_BYTES;
      return first.subarray(0, PIECE_BYTES);
    }
    const pieces: Uint8Array[] = [];
    let size = 0;
    while (size + (this.#queue.first?.length ?? Infinity) <= PIECE_BYTES) {
      const piece = this.#queue.take();
      size += piece.length;
      pieces.push(piece);
    }
    this.#queuedBytes -= size;
    return pieces.length === 1 ? first : Buffer.concat(pieces, size);
  }

  #toldDrained(): void {
    if (!this.#owesDrain || this.#closed || this.bufferedBytes > 0) return;
    this.#owesDrain = false;
    this.#events?.wireDrained();
  }

  pause(): void {
    this.#paused = true;
    // The handshake goes on; it pauses when that is done.
    if (this.#secured) this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#socket.resume();
    if (!this.#endWaits) return;
    this.#endWaits = false;
    process.nextTick(() => this.#end());
  }

  discard(): void {
    this.#discarding = true;
    this.#paused = false;
    // It is decrypted all the same: there may be something for the engine in it.
    this.#socket.resume();
    if (this.#belowClosed) process.nextTick(() => this.#close());
  }

  end(ended: () => void): void {
    if (this.#ended !== undefined) return;
    this.#ended = ended;
    this.#flushSoon();
  }

  close(): void {
    if (this.#closing || this.#closed) return;
    this.#closing = true;
    this.discard();
    if (this.#saidGoodbye) this.#wire.close();
    else if (this.#secured || this.#queuedBytes > 0) this.#flushSoon();
    // There is nothing that a handshake would be good for.
    else this.#leave();
  }

  /** Closes the wire below in order, and in time. */
  #leave(): void {
    this.#setPatience();
    this.#wire.close();
  }

  #setPatience(): void {
    const giveUp = (): void => {
      this.#wire.destroy();
    };
    this.#patience ??= this.#veil?.later(LINGER, giveUp) ?? byTheProcess(LINGER, giveUp);
  }

  /** The other side has not known that it talks in vain: a close could cost it what it was sent. */
  #linger(): void {
    this.#setPatience();
    this.#wire.discard();
    this.#wire.end(() => {});
  }

  #sayGoodbye(): void {
    if (this.#saysGoodbye) return;
    this.#saysGoodbye = true;
    this.#socket.end();
  }

  /** The engine has handed its last to the wire below. */
  #goodbyeSaid(): void {
    if (this.#saidGoodbye || this.#closed || this.#error !== undefined) return;
    this.#saidGoodbye = true;
    if (this.#closing) {
      if (!this.#discarded) this.#wire.close();
      else this.#linger();
      return;
    }
    this.#wire.end(() => {
      if (this.#closed || this.#error !== undefined) return;
      this.#ended?.();
      this.#closeIfEnded();
    });
  }

  destroy(): void {
    if (this.#closed || this.#belowClosed) {
      if (!this.#closed) process.nextTick(() => this.#close());
      return;
    }
    this.#discarding = true;
    // The other side has said goodbye. Without an answer it could not tell this end from one that somebody has forged.
    const answers = this.#peerEnded && !this.#saysGoodbye && this.#error === undefined;
    if (answers && this.#wire.bufferedBytes <= PIECE_BYTES) {
      this.#closing = true;
      this.#queue.clear();
      this.#queuedBytes = 0;
      this.#setPatience();
      this.#sayGoodbye();
    } else if (!this.#saidGoodbye || !this.#peerEnded) {
      this.#drop();
      this.#wire.destroy();
    } else {
      this.#wire.close();
    }
  }

  reset(): void {
    this.#discarding = true;
    this.#drop();
    this.#wire.reset();
  }

  setNoDelay(enabled: boolean): void {
    this.#wire.setNoDelay(enabled);
  }

  setKeepAlive(enabled: boolean): void {
    this.#wire.setKeepAlive(enabled);
  }
}

/**
 * One request and its response, on a connection of their own: the protocol behind `request` and `getPage`. It knows no
 * redirects and no time, and how the connection is made is not its business. Twisted: `HTTP11ClientProtocol` with
 * `readBody`.
 *
 * Whatever happens, `response` is fired once, and by then the connection is closed or being closed.
 */
import {
  ConnectionClosed,
  ConnectionDone,
  Deferred,
  LimitExceeded,
  Protocol,
  type Failure,
  SSLError,
  type IPullProducer,
  type ITLSContextFactory,
  type ITLSTransport,
  type Seconds,
  unpinned,
} from 'plait';
import {
  DataLoss,
  PartialDownloadError,
  RequestCancelled,
  RequestNotSent,
  RequestTransmissionFailed,
  ResponseFailed,
  ResponseNeverReceived,
  notConnected,
  type Phase,
  type RequestErrorDetails,
} from './errors.ts';
import {
  ResponseReader,
  checkedLimit,
  writeRequestHead,
  type ResponseEvent,
  type ResponseLimits,
} from './grammar.ts';
import { Headers } from './headers.ts';
import type { Request, Response, ResponseHead } from './message.ts';

/** The key of the method by which `console.log` shows an object. */
const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom');

/** How much a server may send. */
export interface ExchangeLimits extends ResponseLimits {
  /** Bytes of the body, all of which are kept in memory. Default: 67,108,864, which is 64 MiB. */
  readonly maxBodySize?: number;
}

/** How the connection is to be secured before anything is sent. */
export interface Securing {
  readonly contextFactory: ITLSContextFactory;
  /** Seconds for the handshake; null for no end. Default: 30. */
  readonly handshakeTimeout?: Seconds | null;
}

const MAX_BODY_SIZE = 64 * 1024 * 1024;

/** How many bytes of the request's body are written at a time, each when the one before has been sent. */
const PIECE_BYTES = 256 * 1024;

/**
 * Sends a request when the connection is made, reads the response, and closes the connection.
 *
 * @example
 * const exchange = new Exchange(makeRequest('http://example.com/'));
 * exchange.makeConnection(new StringTransport());
 * exchange.dataReceived(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi'));
 * exchange.response.addCallback(({ body }) => body.toString());   // 'hi'
 */
export class Exchange extends Protocol implements IPullProducer {
  /**
   * Fires with the whole response as soon as it is there. Fails with RequestTransmissionFailed or a ResponseFailed,
   * or with RequestCancelled when it is cancelled, which resets the connection.
   */
  readonly response: Deferred<Response> = new Deferred<Response>(() => {
    this.#fail(new RequestCancelled(this.#details()));
  });
  readonly #request: Request;
  readonly #securing: Securing | undefined;
  readonly #head: Buffer;
  readonly #reader: ResponseReader;
  readonly #body: BodyBuffer;
  /** How long the request's body was when its length was written into the head. */
  readonly #bodyLength: number;
  readonly #needsNoBody: (response: Response) => boolean;
  /** The body is not wanted: the exchange is over with the head. */
  #headOnly = false;
  /** How much of the request's body has been written. */
  #written = 0;
  /** True from the first byte of the request's body until the last one has been sent. */
  #sending = false;
  #responseHead: ResponseHead | undefined;
  /** True once `response` has been fired. */
  #over = false;

  /**
   * @param securing if given, TLS is started on the connection first, by its `startTLS`
   * @param needsNoBody asked when the head of the response is there: true to take it without its body, however long or
   *   broken that is
   * @throws TypeError for a request that cannot be sent; RangeError for a limit that is none
   */
  constructor(
    request: Request,
    limits: ExchangeLimits = {},
    securing?: Securing,
    needsNoBody: (response: Response) => boolean = () => false,
  ) {
    super();
    this.#needsNoBody = needsNoBody;
    this.#request = request;
    this.#securing = securing;
    this.#head = writeRequestHead(request);
    this.#bodyLength = request.body?.length ?? 0;
    this.#reader = new ResponseReader(request.method, limits);
    this.#body = new BodyBuffer(checkedLimit('maxBodySize', limits.maxBodySize, MAX_BODY_SIZE));
  }

  /** How far it has come. */
  get phase(): Phase {
    if ((this.transport as unknown) === undefined) return 'connecting';
    if (this.#reader.bytesFed > 0) return this.#responseHead === undefined ? 'headers' : 'body';
    if (this.#isSecuring()) return 'securing';
    return this.#sending ? 'sending' : 'waiting';
  }

  /** What is written before the TLS handshake is done waits for it; before that no certificate is known. */
  #isSecuring(): boolean {
    if (this.#securing === undefined) return false;
    return (this.transport as Partial<ITLSTransport>).getPeerCertificate?.() === undefined;
  }

  override connectionMade(): void {
    if (this.#over) {
      this.transport.abortConnection();
      return;
    }
    try {
      this.#startTLS();
    } catch (error) {
      this.#fail(notConnected(this.#details(error as Error)));
      return;
    }
    if (this.#bodyChanged(RequestNotSent)) return;
    this.transport.write(this.#head);
    if (this.#request.body === undefined) return;
    this.#sending = true;
    this.transport.registerProducer(this, false);
  }

  #startTLS(): void {
    if (this.#securing === undefined) return;
    const transport = this.transport as Partial<ITLSTransport>;
    if (transport.startTLS === undefined) throw new SSLError('the transport has no startTLS');
    const { contextFactory, handshakeTimeout } = this.#securing;
    transport.startTLS(contextFactory, { handshakeTimeout });
  }

  /** The transport has sent what was written before. */
  resumeProducing(): void {
    const { body = new Uint8Array() } = this.#request;
    if (this.#over || this.#bodyChanged(RequestTransmissionFailed)) return;
    if (this.#written === body.length) {
      this.#sending = false;
      this.transport.unregisterProducer();
      return;
    }
    const piece = body.subarray(this.#written, this.#written + PIECE_BYTES);
    this.#written += piece.length;
    this.transport.write(piece);
  }

  /** True, after the exchange has failed, for a body that would no longer be as long as the head says. */
  #bodyChanged(Class: typeof RequestNotSent | typeof RequestTransmissionFailed): boolean {
    const length = this.#request.body?.length ?? 0;
    if (length === this.#bodyLength) return false;
    const problem = `the body had ${this.#bodyLength} bytes, and now has ${length}`;
    this.#fail(new Class(problem, this.#details()));
    return true;
  }

  /** The connection is lost; `connectionLost` says why. */
  stopProducing(): void {}

  override dataReceived(data: Buffer): void {
    if (this.#over) return;
    this.#reader.feed(data);
    this.#read();
  }

  override connectionLost(reason: Failure): void {
    if (this.#over) return;
    if (reason.check(ConnectionDone) === undefined) {
      const cause = reason.value;
      const insecure = this.phase === 'securing' && !(cause instanceof ConnectionClosed);
      this.#fail(insecure ? notConnected(this.#details(cause)) : this.#describe(cause));
      return;
    }
    this.#reader.feedEnd();
    this.#read();
  }

  #read(): void {
    try {
      for (;;) {
        const event = this.#reader.next();
        if (event === undefined) break;
        this.#take(event);
        if (this.#over) return;
      }
      if (this.#headOnly) this.#finish(this.#responseSoFar(new Headers(), true));
    } catch (error) {
      if (this.#headOnly) this.#finish(this.#responseSoFar(new Headers(), true));
      else this.#fail(this.#describe(error as Error));
    }
  }

  #take(event: ResponseEvent): void {
    switch (event.type) {
      case 'interim':
        break;
      case 'head':
        this.#responseHead = event.head;
        this.#headOnly = this.#needsNoBody(this.#responseSoFar(new Headers(), true));
        if (this.#headOnly) break;
        if (event.framing.kind === 'length') this.#body.expect(event.framing.length);
        break;
      case 'data':
        if (!this.#headOnly) this.#body.add(event.data);
        break;
      case 'end':
        this.#headOnly = false;
        this.#finish(this.#responseSoFar(event.trailers, event.potentialDataLoss));
        break;
    }
  }

  #responseSoFar(trailers: Headers, potentialDataLoss: boolean): Response {
    const { method, url } = this.#request;
    return {
      ...(this.#responseHead as ResponseHead),
      method,
      url: url.href,
      body: this.#body.take(),
      trailers,
      potentialDataLoss,
    };
  }

  #finish(response: Response): void {
    this.#over = true;
    // A server may answer before it has read all of the request, and never read the rest; or not end what is not wanted.
    if (this.#headOnly || this.#sending || this.transport.bufferedBytes > 0)
      this.transport.abortConnection();
    else this.transport.loseConnection();
    this.response.callback(response);
  }

  #fail(error: Error): void {
    this.#over = true;
    this.#body.clear();
    if (this.phase !== 'connecting') this.transport.abortConnection();
    this.response.errback(error);
  }

  #details(): RequestErrorDetails;
  #details(cause: Error): RequestErrorDetails & { readonly cause: Error };
  #details(cause?: Error): RequestErrorDetails {
    const { method, url } = this.#request;
    const details = { method, url: url.href, phase: this.phase };
    return cause === undefined ? details : { ...details, cause };
  }

  /** The error for the caller, by how far it has come. */
  #describe(cause: Error): Error {
    const details = this.#details(cause);
    const cut = cause instanceof DataLoss || cause instanceof ConnectionClosed;
    if (!cut)
      return new ResponseFailed(`the response is not acceptable: ${cause.message}`, details);
    switch (details.phase) {
      case 'sending': {
        const problem = `the connection was lost while the request was being sent: ${cause.message}`;
        return new RequestTransmissionFailed(problem, details);
      }
      case 'body': {
        const problem = `the response was cut short: ${cause.message}`;
        return new PartialDownloadError(problem, this.#responseSoFar(new Headers(), true), details);
      }
      case 'headers':
        return new ResponseFailed(`the response was cut short: ${cause.message}`, details);
      case 'waiting':
      case 'securing':
      case 'connecting':
      case 'preparing':
        return new ResponseNeverReceived(`no response: ${cause.message}`, details);
    }
  }

  override toString(): string {
    return `<${this.constructor.name} ${this.#request.method} ${this.#over ? 'over' : this.phase}>`;
  }

  [INSPECT](): string {
    return this.toString();
  }
}

/** Blocks for small pieces are of this size at first, and of twice the last one's from then on. */
const SMALLEST_BLOCK = 4 * 1024;
const LARGEST_BLOCK = 1024 * 1024;

/**
 * The bytes of a body as they come. A piece is kept as it is where it is most of the buffer that it lies in; a smaller
 * one is copied, since it would keep the whole of it in memory, and many would cost an object each.
 */
class BodyBuffer {
  readonly #limit: number;
  #pieces: Buffer[] = [];
  #block: Buffer = Buffer.alloc(0);
  #used = 0;
  #blockSize = SMALLEST_BLOCK;
  #length = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws LimitExceeded if so many are too many */
  expect(length: number): void {
    if (length > this.#limit) throw new LimitExceeded('the body of the response', this.#limit);
  }

  /** @throws LimitExceeded */
  add(data: Buffer): void {
    this.expect(this.#length + data.length);
    this.#length += data.length;
    if (data.length >= SMALLEST_BLOCK && data.length * 2 >= data.buffer.byteLength) {
      this.#seal();
      this.#pieces.push(data);
      return;
    }
    for (let rest = data; rest.length > 0;) {
      if (this.#used === this.#block.length) this.#nextBlock();
      const copied = rest.copy(this.#block, this.#used);
      this.#used += copied;
      rest = rest.subarray(copied);
    }
  }

  /** All of them, once. */
  take(): Buffer {
    this.#seal();
    const [only] = this.#pieces;
    // A small body would hold its whole block.
    const all =
      only !== undefined && this.#pieces.length === 1
        ? only
        : Buffer.concat(this.#pieces, this.#length);
    this.clear();
    return unpinned(all);
  }

  clear(): void {
    this.#pieces = [];
    this.#block = Buffer.alloc(0);
    this.#used = this.#length = 0;
  }

  #nextBlock(): void {
    this.#seal();
    this.#block = Buffer.allocUnsafeSlow(this.#blockSize);
    this.#blockSize = Math.min(this.#blockSize * 2, LARGEST_BLOCK);
  }

  /** Ends the block: what of it is used is a piece. */
  #seal(): void {
    if (this.#used > 0) this.#pieces.push(this.#block.subarray(0, this.#used));
    this.#block = this.#block.subarray(this.#used);
    this.#used = 0;
  }
}

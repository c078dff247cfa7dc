/**
 * `request` against a small server that answers in every way that HTTP/1.1 has: with a length, in chunks, until the
 * connection is closed, after interim responses, by redirects, with errors, at greater length than is wanted. What a
 * page holds follows from its path, so that a body of another request, or a byte that is missing, shows.
 */
import {
  type Deferred,
  Factory,
  type IDelayedCall,
  type IReactorTime,
  LimitExceeded,
  succeed,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import {
  InfiniteRedirection,
  request,
  RequestCancelled,
  RequestTimedOut,
  RequestTransmissionFailed,
  type Response,
  ResponseFailed,
} from 'plait/protocols/http';
import { TimeoutFactory } from 'plait/protocols/policies';
import type { Random } from 'plait/testing';
import { type ErrorClass, NETWORK_ERRORS, type Scenario, type Stage } from './scenario.ts';

const DEADLINE = 90;
const MOST_BODY = 2500;
const ERRORS: readonly ErrorClass[] = [
  ...NETWORK_ERRORS,
  RequestTimedOut,
  RequestTransmissionFailed,
  ResponseFailed,
];

/** What the page at `path` holds. */
function pageAt(path: string): Buffer {
  const length = Number(path.split('/')[2]);
  return Buffer.alloc(length, `${path} `);
}

/** One request at a time; keeps the connection unless it is told otherwise. */
class Server extends LineReceiver {
  readonly #random: Random;
  readonly #clock: IReactorTime;
  #line: string | undefined;
  #headers = new Map<string, string>();
  #body: Buffer[] = [];
  #missing = 0;
  #timer: IDelayedCall | undefined;

  constructor(random: Random, clock: IReactorTime) {
    super();
    this.#random = random;
    this.#clock = clock;
  }

  override lineReceived(line: Buffer): void {
    const text = line.toString('latin1');
    if (this.#line === undefined) {
      this.#line = text;
    } else if (text !== '') {
      const colon = text.indexOf(':');
      this.#headers.set(text.slice(0, colon).toLowerCase(), text.slice(colon + 1).trim());
    } else {
      this.#missing = Number(this.#headers.get('content-length') ?? 0);
      if (this.#missing === 0) this.#answer();
      else this.setRawMode();
    }
  }

  override rawDataReceived(data: Buffer): void {
    const mine = data.subarray(0, this.#missing);
    this.#body.push(Buffer.from(mine));
    this.#missing -= mine.length;
    if (this.#missing > 0) return;
    this.#answer();
    this.setLineMode(data.subarray(mine.length));
  }

  #answer(): void {
    const [method = '', path = ''] = (this.#line ?? '').split(' ');
    const close = this.#headers.get('connection') === 'close';
    const sent = Buffer.concat(this.#body);
    this.#line = undefined;
    this.#headers.clear();
    this.#body = [];
    const pieces = answerTo(method, path, sent);
    if (path.startsWith('/abort/')) {
      this.transport.writeSequence(pieces);
      this.#timer = this.#clock.callLater(this.#random.next(), () => {
        this.transport.abortConnection();
      });
      return;
    }
    const hangsUp = path.startsWith('/close/') || (close && this.#random.chance(0.5));
    this.#say(pieces, hangsUp);
  }

  /** Sends the pieces, some of them later. */
  #say(pieces: readonly (Buffer | string)[], hangsUp: boolean): void {
    for (const [index, piece] of pieces.entries()) {
      this.transport.write(piece);
      if (index + 1 === pieces.length || !this.#random.chance(0.2)) continue;
      this.#timer = this.#clock.callLater(this.#random.next(), () => {
        this.#say(pieces.slice(index + 1), hangsUp);
      });
      return;
    }
    if (hangsUp) this.transport.loseConnection();
  }

  override connectionLost(): void {
    if (this.#timer?.active() === true) this.#timer.cancel();
  }
}

/** All of the answer, in pieces as they are written. */
function answerTo(method: string, path: string, sent: Buffer): (Buffer | string)[] {
  const [, kind = '', detail = ''] = path.split('/');
  const head = (status: string, ...headers: string[]) =>
    [`HTTP/1.1 ${status}`, `X-Path: ${path}`, ...headers, '', ''].join('\r\n');
  const length = ({ length }: Buffer) => `Content-Length: ${length}`;
  if (kind === 'upload') return [head('200 OK', length(sent)), sent];
  if (kind === 'redirect') {
    const hops = Number(detail);
    const to = hops === 1 ? '/length/100' : `/redirect/${hops - 1}`;
    return [head('302 Found', `Location: ${to}`, 'Content-Length: 2'), 'go'];
  }
  const page = pageAt(path);
  if (method === 'HEAD') return [head('200 OK', length(page))];
  switch (kind) {
    case 'chunked':
      return [head('200 OK', 'Transfer-Encoding: chunked'), ...chunksOf(page)];
    case 'close':
    case 'abort':
      return [head('200 OK'), page];
    case 'interim':
      return ['HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n', head('200 OK', length(page)), page];
    case 'missing':
      return [head('404 Not Found', length(page)), page];
    case 'long-headers':
      return [head('200 OK', `X-Long: ${'x'.repeat(2200)}`, length(page)), page];
    default:
      return [head('200 OK', length(page)), page];
  }
}

function* chunksOf(page: Buffer): Generator<Buffer | string> {
  let size = 1;
  for (let rest = page; rest.length > 0; rest = rest.subarray(size)) {
    size = Math.min(rest.length, size * 3);
    yield Buffer.concat([
      Buffer.from(`${size.toString(16)}\r\n`),
      rest.subarray(0, size),
      Buffer.from('\r\n'),
    ]);
  }
  yield '0\r\nX-Trailer: yes\r\n\r\n';
}

export const http: Scenario = {
  name: 'http',
  play(stage) {
    const { reactor } = stage.host('server');
    const servers = new Factory<Server>();
    servers.buildProtocol = () => new Server(stage.random, reactor);
    const port = reactor.listenTCP(
      80,
      new TimeoutFactory(servers, { timeout: 120, clock: reactor }),
      { interface: '::' },
    );
    const works = Array.from({ length: 4 }, () => fetch(stage));
    return stage.all(works).addBoth(() => port.stopListening());
  },
};

const KINDS = [
  'length',
  'length',
  'chunked',
  'chunked',
  'close',
  'interim',
  'missing',
  'redirect',
  'upload',
  'HEAD',
  'abort',
  'too-long',
  'long-headers',
] as const;

function fetch(stage: Stage): Deferred<void> {
  const { random } = stage;
  const host = stage.pick(['alice', 'bob']);
  const { reactor } = stage.host(host);
  const where = stage.pick(['server', stage.host('server').addresses[0]]);
  const options = {
    reactor,
    timeout: DEADLINE,
    maxBodySize: MOST_BODY,
    maxHeaderSize: 2000,
    redirectLimit: 3,
  };
  const size = random.int(MOST_BODY);
  const kind = stage.pick(KINDS);
  const get = (path: string, more: object = {}) =>
    request(`http://${where}${path}`, { ...options, ...more });
  const play = (
    path: string,
    work: Deferred<Response>,
    check: (response: Response) => string | undefined,
  ) => {
    const perhaps = stage.perhapsCancelled(host, work, 3, RequestCancelled);
    return stage.exchange(`${kind} ${path}`, DEADLINE, perhaps, check, ERRORS);
  };
  switch (kind) {
    case 'redirect': {
      const hops = 1 + random.int(5);
      const path = `/redirect/${hops}`;
      if (hops > 3) return play(path, isRefused(get(path), InfiniteRedirection), refused);
      return play(path, get(path), holds(stage, 200, '/length/100'));
    }
    case 'upload': {
      const path = `/upload/${random.int(1000)}`;
      const body = stage.bytes(2000);
      return play(path, get(path, { method: 'POST', body }), holds(stage, 200, path, body));
    }
    case 'HEAD': {
      const path = `/length/${size}`;
      return play(path, get(path, { method: 'HEAD' }), holds(stage, 200, path, Buffer.alloc(0)));
    }
    case 'abort': {
      const path = `/abort/${size}`;
      return play(path, isRefused(get(path), ResponseFailed), (response) =>
        stage.struck('truncate') && response !== REFUSED ? undefined : refused(response),
      );
    }
    case 'too-long': {
      const framing = stage.pick(['length', 'chunked', 'close'] as const);
      const path = `/${framing}/${MOST_BODY + random.size(1000)}`;
      const work = isRefused(get(path), ResponseFailed, LimitExceeded);
      // Of one that ends with the connection, what the network has left may be short enough.
      const cut = framing === 'close' && !stage.calm;
      return play(path, work, (response) =>
        cut && response !== REFUSED ? holds(stage, 200, path)(response) : refused(response),
      );
    }
    case 'long-headers': {
      const path = `/long-headers/${size}`;
      return play(path, isRefused(get(path), ResponseFailed, LimitExceeded), refused);
    }
    case 'length':
    case 'chunked':
    case 'close':
    case 'interim':
    case 'missing': {
      const path = `/${kind}/${size}`;
      return play(path, get(path), holds(stage, kind === 'missing' ? 404 : 200, path));
    }
  }
}

/** What is wrong with a response that should be the page at `path`. */
function holds(
  stage: Stage,
  code: number,
  path: string,
  page: Buffer = pageAt(path),
): (response: Response) => string | undefined {
  return (response) => {
    if (response === REFUSED) return 'it was refused';
    const { body, headers, potentialDataLoss } = response;
    if (response.code !== code) return `the status is ${response.code}`;
    if (headers.get('x-path') !== path) return `it is the page of ${headers.get('x-path')}`;
    // Nobody can say where a body ends that has neither length nor chunks.
    const cut = potentialDataLoss && stage.struck('truncate');
    const expected = cut ? page.subarray(0, body.length) : page;
    if (potentialDataLoss !== path.startsWith('/close/')) return 'it says that data may be lost';
    return body.equals(expected) ? undefined : `the body has ${body.length} bytes, and is another`;
  };
}

/** Stands for the error that was hoped for. */
const REFUSED = {} as Response;

function refused(response: Response): string | undefined {
  return response === REFUSED ? undefined : 'it should have been refused';
}

/** With the error that is the right answer. */
function isRefused(
  work: Deferred<Response>,
  error: ErrorClass,
  cause?: ErrorClass,
): Deferred<Response> {
  return work.addErrback((failure) => {
    const { value } = failure;
    const right = value instanceof error && (cause === undefined || value.cause instanceof cause);
    return right ? succeed(REFUSED) : failure;
  });
}

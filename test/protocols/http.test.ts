import { createHash, randomBytes, type X509Certificate } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import {
  CancelledError,
  CertificateError,
  ConnectionDone,
  ConnectionLost,
  ConnectionRefusedError,
  type Deferred,
  type ErrorClass,
  Failure,
  type IClientFactory,
  type IConnector,
  type IHostnameResolver,
  type ITLSContextFactory,
  type IProtocol,
  type IReactorTCP,
  IPv4Address,
  LimitExceeded,
  Reactor,
  SSLError,
  TimeoutError,
  UserError,
  VerificationError,
  type ConnectTCPOptions,
  HostnameAddress,
} from 'plait';
import {
  DataLoss,
  Exchange,
  getPage,
  HTTPError,
  InfiniteRedirection,
  makeRequest,
  PageRedirect,
  ParseError,
  PartialDownloadError,
  RedirectRefused,
  RedirectWithNoLocation,
  request,
  RequestCancelled,
  RequestError,
  RequestGenerationFailed,
  RequestNotSent,
  type RequestOptions,
  RequestTimedOut,
  RequestTransmissionFailed,
  ResponseFailed,
  ResponseNeverReceived,
  SchemeNotSupported,
} from 'plait/protocols/http';
import {
  assertNoResult,
  checkFraming,
  Clock,
  failureResultOf,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import t, { type Test } from '../fixture.ts';

// ── A reactor whose connections lead to the test ─────────────────────────────────────────────────────────────────────

/** A connection that somebody has asked for: the test says what comes of it. */
class Attempt implements IConnector {
  state: 'connecting' | 'connected' | 'disconnected' = 'connecting';
  readonly transport = new StringTransport();
  readonly host: string;
  readonly port: number;
  readonly options: ConnectTCPOptions;
  readonly #factory: IClientFactory;
  #protocol: IProtocol | null = null;

  constructor(host: string, port: number, factory: IClientFactory, options: ConnectTCPOptions) {
    this.host = host;
    this.port = port;
    this.options = options;
    this.#factory = factory;
  }

  connect(): void {}

  stopConnecting(): void {
    this.fails(new UserError('given up'));
  }

  disconnect(): void {
    if (this.state === 'connecting') this.stopConnecting();
    else this.transport.loseConnection();
  }

  getDestination() {
    return new HostnameAddress(this.host, this.port);
  }

  /** No connection comes about. */
  fails(error: Error): void {
    this.state = 'disconnected';
    this.#factory.clientConnectionFailed(this, new Failure(error));
  }

  /** The connection is made. */
  made(): this {
    this.state = 'connected';
    this.#protocol = this.#factory.buildProtocol(this.getDestination());
    this.#protocol?.makeConnection(this.transport);
    return this;
  }

  /** What was written goes away, and with it what is written when it has. */
  sends(): this {
    while (this.transport.producer !== undefined) {
      this.transport.producer.resumeProducing();
    }
    return this;
  }

  /** Bytes arrive from the server. */
  answers(...pieces: (string | Buffer)[]): this {
    for (const piece of pieces) {
      if (this.transport.disconnecting) break;
      this.#protocol?.dataReceived(
        typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece,
      );
    }
    return this;
  }

  /** The connection is gone. */
  closes(reason: Error = new ConnectionDone()): void {
    this.#protocol?.connectionLost(new Failure(reason));
    this.#factory.clientConnectionLost(this, new Failure(reason));
  }

  get sent(): string {
    return this.transport.value().toString('latin1');
  }
}

/** A clock, and connections that lead nowhere. */
class FakeReactor extends Clock implements IReactorTCP {
  readonly attempts: Attempt[] = [];
  /** The names that were looked up, by the address that each was given. */
  readonly #names = new Map<string, string>();
  readonly nameResolver: IHostnameResolver = {
    resolveHostName: (receiver, name, port = 0, [type] = []) => {
      const resolution = { name, cancel() {} };
      receiver.resolutionBegan(resolution);
      if (type === IPv4Address) {
        const literal = `192.0.2.${this.#names.size + 1}`;
        this.#names.set(literal, name);
        receiver.addressResolved(new IPv4Address('TCP', literal, port));
      }
      receiver.resolutionComplete();
      return resolution;
    },
  };

  listenTCP(): never {
    throw new Error('nobody listens here');
  }

  connectTCP(
    host: string,
    port: number,
    factory: IClientFactory,
    options: ConnectTCPOptions = {},
  ): IConnector {
    const attempt = new Attempt(this.#names.get(host) ?? host, port, factory, options);
    this.attempts.push(attempt);
    return attempt;
  }

  get last(): Attempt {
    return this.attempts.at(-1)!;
  }
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';

/** The head of the request that went out last, as lines without the one that is always the same. */
function headersSent(reactor: FakeReactor): string[] {
  return reactor.last.sent.split('\r\n\r\n', 1)[0]!.split('\r\n');
}

/** Nothing is left: no timer, and every connection closed or being closed. */
function allClosed(t: Test, reactor: FakeReactor): void {
  t.equal(reactor.getDelayedCalls().length, 0, 'no timer is left');
  t.ok(
    reactor.attempts.every(
      ({ state, transport }) => state === 'disconnected' || transport.disconnecting,
    ),
    'every connection is closed',
  );
}

t.test('a page is there as soon as it is complete, and the connection is closed', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://example.com/a?b=c#d', { reactor });
  t.equal(reactor.last.host, 'example.com');
  t.equal(reactor.last.port, 80);
  reactor.last.made();
  t.equal(
    reactor.last.sent,
    'GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: plait\r\nAccept: */*\r\nConnection: close\r\n\r\n',
  );
  reactor.last.answers(OK.slice(0, -1));
  assertNoResult(page);
  reactor.last.answers('o');
  t.equal(successResultOf(page).toString(), 'hello');
  t.equal(reactor.last.transport.aborting, false, 'in order');
  allClosed(t, reactor);
  reactor.last.closes();
});

t.test('a response has all that came', async (t) => {
  const reactor = new FakeReactor();
  const response = request(new URL('http://user:pw@example.com:81/x#y'), {
    reactor,
    method: 'put',
    body: 'ab',
  });
  reactor.last.made().sends();
  reactor.last
    .answers(
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 418 Tea\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n',
    )
    .answers('5;a=b\r\nhe', 'llo\r\n0\r\nT: u\r\n\r\n');
  const { method, url, version, code, phrase, headers, body, trailers, potentialDataLoss } =
    successResultOf(response);
  t.same(
    {
      method,
      url,
      version,
      code,
      phrase,
      x: headers.get('x'),
      body: String(body),
      t: trailers.get('t'),
      potentialDataLoss,
    },
    {
      method: 'PUT',
      url: 'http://example.com:81/x',
      version: '1.1',
      code: 418,
      phrase: 'Tea',
      x: 'y',
      body: 'hello',
      t: 'u',
      potentialDataLoss: false,
    },
  );
  allClosed(t, reactor);
});

t.test('a body that ends with the connection is delivered, and marked as doubtful', async (t) => {
  const reactor = new FakeReactor();
  const response = request('http://a/', { reactor });
  reactor.last.made().answers('HTTP/1.0 200 OK\r\n\r\nhel', 'lo').closes();
  const { body, potentialDataLoss } = successResultOf(response);
  t.equal(body.toString(), 'hello');
  t.equal(potentialDataLoss, true);
  allClosed(t, reactor);
});

t.test('HEAD gives an empty page, whatever length the server announces', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://a/', { reactor, method: 'HEAD', maxBodySize: 10 });
  reactor.last.made().answers('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
  t.equal(successResultOf(page).length, 0);
  allClosed(t, reactor);
});

t.test('a page that came compressed stays so, and nothing asks for it', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://a/', { reactor });
  t.notMatch(reactor.last.made().sent, /accept-encoding/i);
  const gzip = Buffer.from([0x1f, 0x8b, 8, 0, 0]);
  reactor.last.answers(
    'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n',
    gzip,
  );
  t.same(successResultOf(page), gzip);
});

// ── What is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────

t.test('a request carries what was given, and what was not given is derived', async (t) => {
  const sent = (url: string, options: RequestOptions = {}) => {
    const reactor = new FakeReactor();
    const response = request(url, { reactor, ...options });
    reactor.last.made().sends().answers(OK);
    successResultOf(response);
    return reactor.last.sent;
  };
  t.match(sent('http://a/', { agent: 'Probe/1' }), /\r\nUser-Agent: Probe\/1\r\n/);
  t.match(
    sent('http://a/', { headers: { 'user-agent': 'x', Accept: 'y' } }),
    /\r\nuser-agent: x\r\nAccept: y\r\n/,
  );
  t.match(
    sent('http://a/', { headers: { Host: 'virtual.example:8' } }),
    /\r\nHost: virtual\.example:8\r\n/,
  );
  t.match(
    sent('http://a/', { headers: { Connection: 'close' } }),
    /\r\nConnection: close\r\n\r\n$/,
  );
  t.match(sent('http://a/', { method: 'post' }), /^POST .*\r\nContent-Length: 0\r\n/s);
  t.notMatch(sent('http://a/', { method: 'delete' }), /Content-Length/);
  t.match(sent('http://a/', { method: 'purge' }), /^purge \/ /);
  t.match(
    sent('http://a/', { method: 'POST', body: 'h\u00e9' }),
    /Content-Length: 3\r\n.*\r\n\r\nh\xc3\xa9$/s,
  );
  t.match(
    sent('http://a/', {
      method: 'POST',
      body: Buffer.from('x'),
      headers: { 'content-length': '1' },
    }),
    /x$/,
  );
  t.match(sent('http://a/', { body: new Uint8Array(0) }), /^GET .*Content-Length: 0\r\n/s);
  t.match(sent('HTTP://a'), /^GET \/ HTTP/);
  t.match(
    sent('http://b\u00fccher.example/stra\u00dfe?\u00fc'),
    /^GET \/stra%C3%9Fe\?%C3%BC .*Host: xn--bcher-kva\.example\r\n/s,
  );
  t.match(sent('http://a/%0d%0aX:%20y'), /^GET \/%0d%0aX:%20y HTTP/);
  t.match(
    sent('http://us%20er:p%3Aw%40@a/'),
    new RegExp(
      `Host: a\r\n.*Authorization: Basic ${Buffer.from('us er:p:w@').toString('base64')}\r\n`,
      's',
    ),
  );
  t.match(sent('http://user@a/'), new RegExp(`Basic ${Buffer.from('user:').toString('base64')}`));
});

t.test('hosts and ports are those of the URL', async (t) => {
  const goesTo = (url: string) => {
    const reactor = new FakeReactor();
    const response = request(url, {
      reactor,
      bindAddress: { host: '127.0.0.2' },
      connectTimeout: 7,
    });
    t.match(reactor.last.options, { bindAddress: { host: '127.0.0.2' } });
    reactor.advance(6.9);
    assertNoResult(response);
    response.cancel();
    failureResultOf(response, RequestCancelled);
    return `${reactor.last.host} ${reactor.last.port}`;
  };
  t.equal(goesTo('http://[::1]:8080/'), '::1 8080');
  t.equal(goesTo('http://127.1/'), '127.0.0.1 80');
  t.equal(goesTo('http://0x7f000001/'), '127.0.0.1 80');
  t.equal(goesTo('http://Example.COM.:65535'), 'example.com. 65535');
  t.equal(goesTo('http://a_b.example/'), 'a_b.example 80');
});

/** It fails before a connection is asked for, and the message says so. */
function refused(
  t: Test,
  url: unknown,
  options: RequestOptions,
  message: RegExp,
  type = RequestGenerationFailed,
): void {
  const reactor = new FakeReactor();
  const page = getPage(url as string, { reactor, ...options });
  const { value } = failureResultOf(page, RequestNotSent);
  t.ok(value instanceof type, String(value));
  t.match(value.message, message);
  t.notMatch(`${value.message} ${value.url}`, /secret/);
  t.equal(value.phase, 'preparing');
  t.equal(reactor.attempts.length, 0);
  allClosed(t, reactor);
}

t.test('HTC-01: what cannot be sent is refused before there is a connection', async (t) => {
  for (const bad of ['\r', '\n', '\r\nX: y', '\0', ' ', '\t']) {
    refused(
      t,
      'http://a/',
      { method: `GET${bad}` },
      /^GET.* http:\/\/a\/: the method ".*" cannot be sent/,
    );
    refused(t, `http://a/${bad}b`, {}, /control character, a space or a backslash/);
    refused(t, `http://a${bad}b/`, {}, /control character, a space or a backslash/);
    refused(
      t,
      'http://a/',
      { headers: { [`X${bad}`]: 'y' } },
      /^GET http:\/\/a\/: the header name ".*" cannot be sent/,
    );
    refused(t, 'http://a/', { headers: { Host: `b${bad}` } }, /Host .*cannot be sent/);
    if (bad === ' ' || bad === '\t') continue;
    const headers = { 'X-Token': `secret${bad}` };
    refused(
      t,
      'http://a/',
      { headers },
      /^GET http:\/\/a\/: the value of header X-Token cannot be sent/,
    );
    refused(
      t,
      'http://a/',
      { agent: `secret${bad}` },
      /the value of header User-Agent cannot be sent/,
    );
  }
  refused(
    t,
    'http://a/',
    { headers: { X: '\u010d\u010a' } },
    /the value of header X cannot be sent/,
  );
  refused(t, 'http://a/', { method: '' }, /the method "" cannot be sent/);
  refused(t, 'http://a/', { method: 'connect' }, /CONNECT makes a tunnel/);
  refused(t, 'http://a/', { method: 'TRACE', body: 'x' }, /TRACE has no body/);
  refused(t, 'http://a/', { headers: { Host: 'a@b' } }, /the Host header cannot be sent/);
  refused(t, 'http://a/', { headers: { Host: '' } }, /the Host "" cannot be sent/);
  refused(
    t,
    'http://a/',
    { headers: { Connection: 'keep-alive' } },
    /Connection and Upgrade cannot be given/,
  );
  refused(
    t,
    'http://a/',
    { headers: { upgrade: 'websocket' } },
    /Connection and Upgrade cannot be given/,
  );
  refused(
    t,
    'http://a/',
    { headers: { X: 1 as unknown as string } },
    /must be a string, not number/,
  );
  refused(
    t,
    'http://a/',
    { body: {} as unknown as string },
    /the body must be a string or a Uint8Array, not object/,
  );
});

t.test('HTC-27: what contradicts itself is refused before there is a connection', async (t) => {
  const body = 'hello';
  const post = (headers: Record<string, string> | [string, string][], message: RegExp) =>
    refused(t, 'http://a/', { method: 'POST', body, headers }, message);
  post(
    { 'Content-Length': '5', 'content-length': '5' },
    /header content-length is given twice, as Content-Length too/,
  );
  post({ 'Content-Length': '4' }, /Content-Length "4" is not the length of the body, 5/);
  post({ 'Transfer-Encoding': 'chunked' }, /Transfer-Encoding cannot be given/);
  post({ 'X-Y': '1', 'x-y': '2' }, /header x-y is given twice, as X-Y too/);
  post(
    [
      ['Host', 'a'],
      ['Host', 'b'],
    ],
    /the Host "a, b" cannot be sent/,
  );
  refused(
    t,
    'http://u:secret@a/',
    { headers: { authorization: 'x' } },
    /credentials both in the URL and/,
  );
  refused(
    t,
    'http://a/',
    { headers: { 'User-Agent': 'x' }, agent: 'y' },
    /User-Agent is given both/,
  );
});

t.test(
  'URLs that are none, or lead nowhere, are refused without showing their credentials',
  async (t) => {
    const bad = (url: unknown, message: RegExp) => refused(t, url, {}, message);
    bad('', /the URL is not absolute: it must begin with http:\/\//);
    bad('/path', /the URL is not absolute/);
    bad('//a/', /the URL is not absolute/);
    bad('http:a', /no host/);
    bad('http:/a', /no host/);
    bad('http:///a', /no host/);
    bad('http://', /no host/);
    bad('http://?x', /no host/);
    bad('http://user:secret@', /malformed/);
    bad('http://user:secret@a:99999/', /^GET http:\/\/a:99999\/: the URL is malformed$/);
    bad('http://user:secret@a b/', /^GET http:\/\/a b\/: there is a control character, a space/);
    bad('http://user:sec@ret@a/x y', /^GET http:\/\/a\/x y: there is a control character, a space/);
    bad('http://user:secret\\@a/', /backslash/);
    bad('http://us%3Aer:secret@a/', /a colon in the user name/);
    bad('http://user:secret%0a@a/', /a control character in the credentials/);
    bad('http://user:secret%ff@a/', /not percent-encoded UTF-8/);
    bad('http://a:0/', /the port in the URL is 0/);
    bad('http://a..b/', /the host "a\.\.b" in the URL is no name/);
    bad('http://a*b/', /the host "a\*b" in the URL is no name/);
    bad(`http://${'a'.repeat(64)}.example/`, /is no name/);
    bad(`http://${'a.'.repeat(127)}a/`, /is no name/);
    bad('http://a%00b/', /malformed/);
    bad('http://1.2.3.256/', /malformed/);
    bad('http://[::1/', /malformed/);
    bad(undefined, /the URL must be a string or a URL, not undefined/);
    bad(5, /the URL must be a string or a URL, not number/);
    for (const url of [
      'ftp://a/',
      'file:///etc/passwd',
      'javascript:alert(1)',
      'localhost:8000/',
      'httpx://a/',
    ]) {
      refused(t, url, {}, /the scheme "\w+" is not supported/, SchemeNotSupported);
    }
  },
);

t.test('cut and closed anywhere, a response comes to the same', async (t) => {
  const outcome = ({ response }: Exchange): unknown => {
    let result: unknown;
    response.addBoth((given) => {
      if (given instanceof Failure) result = `${given.value.name}: ${given.value.message}`;
      else result = [given.code, String(given.body), [...given.trailers], given.potentialDataLoss];
    });
    return result;
  };
  const wires: [wire: string, expected: string | RegExp][] = [
    [OK, "[ 200, 'hello', [], false ]"],
    ['HTTP/1.1 204 No\r\nA: b\r\n\r\nextra', "[ 204, '', [], false ]"],
    ['HTTP/1.0 200 OK\r\n\r\nuntil the end', "[ 200, 'until the end', [], true ]"],
    ['HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n', '[ 404, '],
    [
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;x\r\n!\r\n0\r\nT: v\r\n\r\n',
      "[ 200, 'hi!', [ [ 'T', 'v' ] ], false ]",
    ],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel', /PartialDownloadError/],
    ['HTTP/1.1 200 OK\nA: b\r\n\r\n', /ResponseFailed/],
  ];
  for (const [wire, expected] of wires) {
    const fresh = () => new Exchange(makeRequest('http://example.com/'));
    const { events } = checkFraming(fresh, wire, { state: outcome });
    t.match(events.at(-1), expected, wire);
  }
});

// ── https, without a network ─────────────────────────────────────────────────────────────────────────────────────────

/** A transport whose handshake is done when the test says so. */
class SecureTransport extends StringTransport {
  get asked(): { contextFactory: ITLSContextFactory; options: object } | undefined {
    return this.startedTLS.at(-1);
  }

  set certificate(certificate: object) {
    this.peerCertificate = certificate as X509Certificate;
  }
}

/** A request over such a transport, after the connection has been made. */
function securely(url: string, options: RequestOptions = {}) {
  const transport = new SecureTransport();
  const exchange: { page: Deferred<Buffer>; reactor: FakeReactor; transport: SecureTransport } = {
    transport,
    reactor: new FakeReactor(),
    page: undefined as never,
  };
  exchange.page = getPage(url, { reactor: exchange.reactor, ...options });
  Object.defineProperty(exchange.reactor.last, 'transport', { value: transport });
  exchange.reactor.last.made();
  return exchange;
}

t.test(
  'https: TLS is started before anything is written, for the host and port of the URL',
  async (t) => {
    const { page, reactor, transport } = securely('https://Example.com/a', { connectTimeout: 7 });
    t.equal(reactor.last.port, 443);
    const settings = transport.asked!.contextFactory.tlsSettings('client');
    t.equal(settings.serverName, 'example.com');
    t.same(settings.protocols, ['http/1.1']);
    t.match(settings.sessionKey, '443');
    t.match(settings.checkPeer!({} as never)?.message, 'no certificate');
    t.same(transport.asked!.options, { handshakeTimeout: 7 });
    t.match(reactor.last.sent, /^GET \/a HTTP\/1.1\r\nHost: example.com\r\n/);
    transport.certificate = {};
    reactor.last.answers(OK);
    t.equal(String(successResultOf(page)), 'hello');
    allClosed(t, reactor);

    const seen: unknown[] = [];
    const own = { tlsSettings: () => ({ context: {} }) };
    const contextFactory = (...args: unknown[]) => (seen.push(args), own);
    const other = securely('https://[::1]:8443/', { contextFactory });
    t.equal(other.transport.asked!.contextFactory, own);
    t.same(seen, [['::1', 8443]]);
    other.page.cancel();
    failureResultOf(other.page, RequestCancelled);
  },
);

t.test('https: a handshake that fails is the reason, and nothing was sent', async (t) => {
  const { page, reactor } = securely('https://user:secret@a.example/b');
  const cause = new VerificationError('the certificate is not for a.example');
  reactor.last.closes(cause);
  const { value } = failureResultOf(page, VerificationError);
  t.equal(value.message, 'GET https://a.example/b: the certificate is not for a.example');
  t.equal(value.cause, cause);
  allClosed(t, reactor);

  const odd = securely('https://a.example/');
  odd.reactor.last.closes(new Error('refused by a check of the program'));
  const { value: unsent } = failureResultOf(odd.page, RequestNotSent);
  t.match(unsent, { phase: 'securing', cause: { message: 'refused by a check of the program' } });

  const late = securely('https://a.example/', { timeout: 5 });
  late.reactor.advance(5);
  t.match(failureResultOf(late.page, RequestTimedOut).value, {
    phase: 'securing',
    message: /while the connection was being secured$/,
  });
  allClosed(t, late.reactor);

  const lost = securely('https://a.example/');
  lost.reactor.last.closes(new ConnectionLost());
  failureResultOf(lost.page, ResponseNeverReceived);
  const done = securely('https://a.example/');
  done.transport.certificate = {};
  done.reactor.last.closes(new ConnectionLost());
  t.equal(failureResultOf(done.page, ResponseNeverReceived).value.phase, 'waiting');
});

t.test('https that cannot be begun fails before anything is sent', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('https://user:secret@a/b', { reactor });
  Object.defineProperty(reactor.last.transport, 'startTLS', { value: undefined });
  reactor.last.made();
  const { value } = failureResultOf(page, SSLError);
  t.equal(value.message, 'GET https://a/b: the transport has no startTLS');
  t.equal(reactor.last.sent, '');
  allClosed(t, reactor);

  const none = new FakeReactor();
  const contextFactory = () => {
    throw new Error('no idea');
  };
  const failed = failureResultOf(
    getPage('https://a/', { reactor: none, contextFactory }),
    RequestNotSent,
  );
  t.match(failed.value, { message: 'GET https://a/: no idea' });
  const trustRoot = 'none';
  const distrust = failureResultOf(
    getPage('https://a/', { reactor: none, trustRoot }),
    CertificateError,
  );
  t.equal(distrust.value.message, 'GET https://a/: there is no certificate in the PEM');
  failureResultOf(getPage('https://a/', { reactor: none, trustRoot, contextFactory }), TypeError);
  failureResultOf(getPage('https://a/', { reactor: none, contextFactory: {} as never }), TypeError);
  t.equal(none.attempts.length, 0);
  allClosed(t, none);
});

t.test('from https to http and back, credentials stay with their origin', async (t) => {
  const headers = { Authorization: 'Bearer x', Cookie: 'a=b', 'X-Token': 'y', Accept: 'text/x' };
  for (const [from, to] of [
    ['https://a.example/', 'http://a.example/'],
    ['http://a.example/', 'https://a.example/'],
    ['https://a.example/', 'https://a.example:8443/'],
  ] as const) {
    const reactor = new FakeReactor();
    const transports: SecureTransport[] = [];
    const connect = reactor.connectTCP.bind(reactor);
    reactor.connectTCP = (...args) => {
      const attempt = connect(...args);
      const transport = new SecureTransport();
      transports.push(transport);
      return Object.defineProperty(attempt, 'transport', { value: transport });
    };
    const page = getPage(from, { reactor, headers });
    reactor.last.made();
    transports[0]!.certificate = {};
    t.match(reactor.last.sent, 'Authorization: Bearer x');
    reactor.last.answers(`HTTP/1.1 302 Found\r\nLocation: ${to}\r\nContent-Length: 0\r\n\r\n`);
    reactor.last.made();
    t.equal(transports[1]!.asked !== undefined, to.startsWith('https:'));
    t.notMatch(reactor.last.sent, /Bearer|Cookie|Token/);
    t.match(reactor.last.sent, 'Accept: text/x');
    transports[1]!.certificate = {};
    reactor.last.answers(OK);
    t.equal(String(successResultOf(page)), 'hello');
    allClosed(t, reactor);
  }
});

t.test('FND-37: numbers that are no limits, and signals that are none, are refused', async (t) => {
  const reactor = new FakeReactor();
  const signal = {} as AbortSignal;
  failureResultOf(getPage('http://a/', { reactor, signal }), TypeError);
  t.equal(reactor.attempts.length, 0);
  allClosed(t, reactor);
  for (const options of [
    { timeout: -1 },
    { timeout: NaN },
    { timeout: Infinity },
    { timeout: '5' as unknown as number },
    { connectTimeout: -1 },
    { maxBodySize: -1 },
    { maxBodySize: 1.5 },
    { maxHeaderSize: NaN },
    { redirectLimit: -1 },
  ] as RequestOptions[]) {
    const reactor = new FakeReactor();
    const [[name, value] = []] = Object.entries(options);
    const [error, code] =
      typeof value === 'number'
        ? [RangeError, 'ERR_OUT_OF_RANGE']
        : [TypeError, 'ERR_INVALID_ARG_TYPE'];
    const { value: refused } = failureResultOf(
      getPage('http://a/', { reactor, ...options }),
      error,
    );
    t.match(refused, { message: new RegExp(`^${name} must be .*, not `), code });
    t.equal(reactor.attempts.length, 0);
    allClosed(t, reactor);
  }
});

t.test('a large body is sent piece by piece, as fast as it goes away', async (t) => {
  const reactor = new FakeReactor();
  const body = randomBytes(1_000_000);
  const response = request('http://a/', { reactor, method: 'PUT', body });
  const { transport } = reactor.last.made();
  let turns = 0;
  let most = 0;
  while (transport.producer !== undefined) {
    const before = transport.value().length;
    transport.producer.resumeProducing();
    most = Math.max(most, transport.value().length - before);
    turns++;
  }
  t.equal(turns, 5);
  t.equal(most, 256 * 1024);
  t.same(transport.value().subarray(-1_000_000), body);
  reactor.last.answers(OK);
  successResultOf(response);
  t.equal(transport.aborting, false);
});

t.test('a server may answer before it has read the whole request', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://a/', { reactor, method: 'PUT', body: Buffer.alloc(1_000_000) });
  reactor.last.made().answers('HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nsorry');
  t.equal(failureResultOf(page, HTTPError).value.status, 413);
  t.equal(reactor.last.transport.aborting, true, 'what is left of the request is dropped');
  allClosed(t, reactor);
});

// ── Responses that are not the page ──────────────────────────────────────────────────────────────────────────────────

t.test('a status other than 2xx is an error that carries the response', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://u:secret@a/b#c', { reactor });
  reactor.last.made().answers('HTTP/1.1 404 Not Found\r\nX: y\r\nContent-Length: 4\r\n\r\ngone');
  const { value } = failureResultOf(page, HTTPError);
  t.equal(value.message, 'GET http://a/b: 404 Not Found');
  t.match(value, { name: 'HTTPError', status: 404, phrase: 'Not Found', url: 'http://a/b' });
  t.equal(value.headers.get('x'), 'y');
  t.equal(value.body.toString(), 'gone');
  allClosed(t, reactor);
  for (const [line, message] of [
    ['199 Odd', undefined],
    ['304 ', 'GET http://a/: 304'],
    ['300 \x9b[2J', 'GET http://a/: 300 \\x9b[2J'],
    ['500 ' + 'x'.repeat(1000), `GET http://a/: 500 ${'x'.repeat(100)}\u2026`],
    ['999 Go away', 'GET http://a/: 999 Go away'],
  ] as const) {
    if (message === undefined) continue;
    const other = getPage('http://a/', { reactor });
    reactor.last.made().answers(`HTTP/1.1 ${line}\r\nContent-Length: 0\r\n\r\n`);
    t.equal(failureResultOf(other, HTTPError).value.message, message);
  }
  for (const code of [200, 201, 204, 206, 299]) {
    const other = getPage('http://a/', { reactor });
    reactor.last.made().answers(`HTTP/1.1 ${code} \r\nContent-Length: 0\r\n\r\n`);
    t.equal(successResultOf(other).length, 0);
  }
});

// ── Redirects ────────────────────────────────────────────────────────────────────────────────────────────────────────

const redirect = (code: number, location: string) =>
  `HTTP/1.1 ${code} Moved\r\nLocation: ${location}\r\nContent-Length: 2\r\n\r\ngo`;

t.test('each redirect is resolved against the URL that answered', async (t) => {
  const reactor = new FakeReactor();
  const response = request('http://a.example/x/y?z', { reactor });
  reactor.last.made();
  const hop = (location: string) => {
    reactor.last.answers(redirect(302, location));
    return `${reactor.last.host}:${reactor.last.port} ${reactor.last.made().sent.split(' ')[1]}`;
  };
  t.equal(hop('w'), 'a.example:80 /x/w');
  t.equal(hop('http://b.example:8080/deep/er/'), 'b.example:8080 /deep/er/');
  t.equal(hop('../up?q#f'), 'b.example:8080 /deep/up?q');
  t.equal(hop('?only'), 'b.example:8080 /deep/up?only');
  t.equal(hop('//c.example/'), 'c.example:80 /');
  t.equal(hop('caf\xc3\xa9'), 'c.example:80 /caf%c3%a9');
  t.equal(hop('#fragment'), 'c.example:80 /caf%c3%a9');
  reactor.last.answers(OK);
  t.equal(successResultOf(response).url, 'http://c.example/caf%c3%a9');
  t.equal(reactor.attempts.length, 8);
  allClosed(t, reactor);
});

t.test('HTC-09: methods and bodies after a redirect are as browsers have them', async (t) => {
  const after = (code: number, method: string, body?: string) => {
    const reactor = new FakeReactor();
    const headers = {
      'Content-Type': 'text/plain',
      'Content-Language': 'en',
      'X-Y': 'z',
      Expect: 'x',
    };
    const response = request('http://a/', {
      reactor,
      method,
      headers,
      ...(body === undefined ? {} : { body }),
    });
    reactor.last.made().sends();
    reactor.last.answers(redirect(code, '/next'));
    reactor.last.made().sends();
    const { sent } = reactor.last;
    response.cancel();
    failureResultOf(response, CancelledError);
    allClosed(t, reactor);
    const names = [...sent.matchAll(/^(content-[a-z]+|expect|x-y):/gim)].map(([, name]) =>
      name!.toLowerCase(),
    );
    return `${sent.split(' ')[0]} ${names.join(' ')} ${sent.split('\r\n\r\n')[1]}`.trim();
  };
  const all = 'content-type content-language x-y expect content-length';
  for (const code of [301, 302]) {
    t.equal(after(code, 'POST', 'hello'), 'GET x-y');
    t.equal(after(code, 'PUT', 'hello'), `PUT ${all} hello`);
    t.match(after(code, 'HEAD'), /^HEAD /);
  }
  t.equal(after(303, 'POST', 'hello'), 'GET x-y');
  t.equal(after(303, 'DELETE'), 'GET x-y');
  t.match(after(303, 'HEAD'), /^HEAD /);
  for (const code of [307, 308]) {
    t.equal(after(code, 'POST', 'hello'), `POST ${all} hello`);
    t.match(after(code, 'DELETE'), /^DELETE /);
  }
});

t.test('HTC-03: what belongs to one origin never goes to another', async (t) => {
  const secrets = {
    Authorization: 'secret',
    Cookie: 'secret',
    Cookie2: 'secret',
    'Proxy-Authorization': 'secret',
    'WWW-Authenticate': 'secret',
    'X-Api-Key': 'secret',
    Referer: 'secret',
  };
  const harmless = { Accept: 'a/b', 'accept-language': 'en', 'User-Agent': 'me' };
  for (const elsewhere of [
    'http://b.example/',
    'http://a.example:8080/',
    'http://evila.example/',
    '//x.a.example/',
  ]) {
    const reactor = new FakeReactor();
    const page = getPage('http://a.example/', { reactor, headers: { ...secrets, ...harmless } });
    reactor.last.made().answers(redirect(307, '/same'));
    reactor.last.made();
    for (const name of Object.keys(secrets))
      t.ok(headersSent(reactor).includes(`${name}: secret`), 'same origin');
    reactor.last.answers(redirect(307, elsewhere));
    const { host } = new URL(elsewhere, 'http://a.example');
    t.same((reactor.last.made(), headersSent(reactor)), [
      'GET / HTTP/1.1',
      `Host: ${host}`,
      'Accept: a/b',
      'accept-language: en',
      'User-Agent: me',
      'Connection: close',
    ]);
    reactor.last.answers(redirect(307, 'http://a.example/back'));
    reactor.last.made();
    t.notMatch(reactor.last.sent, /secret/, 'not even back where they came from');
    reactor.last.answers(OK);
    successResultOf(page);
  }
});

t.test(
  'HTC-03: credentials of a URL stay with its origin, and the body keeps its type',
  async (t) => {
    const reactor = new FakeReactor();
    const page = getPage('http://u:p@a.example/', {
      reactor,
      method: 'POST',
      body: '{}',
      headers: { 'Content-Type': 'x/json' },
      resendBody: true,
    });
    reactor.last.made().sends();
    t.match(reactor.last.sent, /Authorization: Basic dTpw\r\n/);
    reactor.last.answers(redirect(308, 'http://a.example:80/again'));
    reactor.last.made().sends();
    t.match(reactor.last.sent, /Authorization: Basic dTpw\r\n/);
    reactor.last.answers(redirect(308, 'http://b.example/'));
    reactor.last.made().sends();
    t.same(headersSent(reactor), [
      'POST / HTTP/1.1',
      'Host: b.example',
      'User-Agent: plait',
      'Accept: */*',
      'Content-Type: x/json',
      'Content-Length: 2',
      'Connection: close',
    ]);
    t.match(reactor.last.sent, /\r\n\r\n\{\}$/);
    reactor.last.answers(OK);
    successResultOf(page);
  },
);

t.test('HTC-07: redirects to where a request must not go are not followed', async (t) => {
  const not = (headers: string, type: typeof PageRedirect, message: RegExp) => {
    const reactor = new FakeReactor();
    const response = request('http://a/', { reactor });
    reactor.last.made().answers(`HTTP/1.1 302 Found\r\n${headers}Content-Length: 2\r\n\r\ngo`);
    const { value } = failureResultOf(response, type);
    t.match(value.message, message);
    t.notMatch(value.message, /secret/);
    t.equal(value.status, 302);
    t.equal(value.body.toString(), 'go');
    t.equal(reactor.attempts.length, 1);
    allClosed(t, reactor);
    return value;
  };
  for (const location of [
    'file:///etc/passwd',
    'gopher://a/',
    'javascript:alert(1)',
    'unix:/run/x',
    'ftp://a/',
    'data:,x',
    'ws://a/',
  ]) {
    const scheme = location.split(':')[0];
    const message = new RegExp(
      `^GET http://a/: 302 Found: a redirect to ".*" was not followed: the scheme "${scheme}"`,
    );
    t.equal(not(`Location: ${location}\r\n`, RedirectRefused, message).location, location);
  }
  not('', RedirectWithNoLocation, /a redirect that does not say where to/);
  not('Location:\r\n', RedirectWithNoLocation, /a redirect that does not say where to/);
  not('Location: /a\r\nLocation: /a\r\n', RedirectRefused, /there are 2 Locations/);
  not('Location: http:\\b\r\n', RedirectRefused, /"http:\\b" was not followed: there is no host/);
  not('Location: \\\\\\b/\r\n', RedirectRefused, /no host/);
  not('Location: http:b\r\n', RedirectRefused, /no host/);
  not('Location: ///b\r\n', RedirectRefused, /no host/);
  not('Location: //\r\n', RedirectRefused, /no host/);
  not('Location: http://b:99999/\r\n', RedirectRefused, /malformed/);
  not('Location: http://b..c/\r\n', RedirectRefused, /is no name/);
  not('Location: http://\xfc.example/\r\n', RedirectRefused, /malformed/);
  not(
    'Location: http://u:secret@b/\r\n',
    RedirectRefused,
    /"http:\/\/b\/" was not followed: there are credentials in it/,
  );
  not('Location: //u:secret@a/\r\n', RedirectRefused, /there are credentials in it/);
});

t.test('HTC-08: the twenty-first redirect is too many', async (t) => {
  const count = (locations: (hop: number) => string, options: RequestOptions = {}) => {
    const reactor = new FakeReactor();
    const page = getPage('http://a/', { reactor, ...options });
    for (let hop = 1; hop <= 50 && !page.called; hop++) {
      reactor.last.made().answers(redirect(302, locations(hop)));
      if (page.result instanceof Failure) break;
      if (reactor.last.transport.disconnecting) break;
    }
    const { value } = failureResultOf(page, InfiniteRedirection);
    allClosed(t, reactor);
    return { requests: reactor.attempts.length, value };
  };
  const { requests, value } = count(() => '/');
  t.equal(requests, 21);
  t.equal(
    value.message,
    'GET http://a/: 302 Moved: more than 20 redirects, the first from GET http://a/',
  );
  t.match(value, { status: 302, location: '/' });
  t.equal(count((hop) => `/${'x'.repeat(hop * 300)}`).requests, 21, 'a URL that grows');
  t.equal(count((hop) => `http://h${hop}.example/`).requests, 21);
  t.equal(count(() => '/', { redirectLimit: 0 }).requests, 1);
  t.equal(count(() => '/', { redirectLimit: 3 }).requests, 4);
});

t.test('with followRedirect false a redirect is the answer', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://a/', { reactor, followRedirect: false });
  reactor.last.made().answers(redirect(301, 'gopher://b/'));
  const { value } = failureResultOf(page, PageRedirect);
  t.match(value, { name: 'PageRedirect', status: 301, location: 'gopher://b/' });
  const response = request('http://a/', { reactor, followRedirect: false });
  reactor.last.made().answers(redirect(301, 'gopher://b/'));
  t.equal(successResultOf(response).headers.get('location'), 'gopher://b/');
  t.equal(reactor.attempts.length, 2);
  allClosed(t, reactor);
});

// ── Every way to fail ────────────────────────────────────────────────────────────────────────────────────────────────

/** Brings a request to each point where it can be, and then does `then` to it. */
const POINTS = {
  connecting: () => {},
  sending: (reactor: FakeReactor) => reactor.last.made(),
  waiting: (reactor: FakeReactor) => reactor.last.made().sends(),
  headers: (reactor: FakeReactor) => {
    POINTS.waiting(reactor);
    reactor.last.answers('HTTP/1.1 200 O');
  },
  body: (reactor: FakeReactor) => {
    POINTS.waiting(reactor);
    reactor.last.answers('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello');
  },
} as const;

const DOING = {
  connecting: 'the connection was being made',
  sending: 'the request was being sent',
  waiting: 'waiting for the response',
  headers: 'the headers of the response were arriving',
  body: 'the body of the response was arriving',
} as const;

function at(point: keyof typeof POINTS, options: RequestOptions = {}) {
  const reactor = new FakeReactor();
  const page = getPage('http://u:secret@a/b', {
    reactor,
    method: 'POST',
    body: 'x'.repeat(300_000),
    ...options,
  });
  POINTS[point](reactor);
  assertNoResult(page);
  return { reactor, page };
}

for (const point of Object.keys(POINTS) as (keyof typeof POINTS)[]) {
  t.test(`HTC-22: cancelled while ${DOING[point]}, it fails once and closes at once`, async (t) => {
    for (const how of ['cancel', 'signal', 'addTimeout'] as const) {
      const controller = new AbortController();
      const { reactor, page } = at(point, how === 'signal' ? { signal: controller.signal } : {});
      if (how === 'addTimeout') page.addTimeout(1, reactor);
      if (how === 'cancel') page.cancel();
      if (how === 'signal') controller.abort();
      if (how === 'addTimeout') reactor.advance(1);
      let { value } = failureResultOf<[]>(page);
      if (how === 'addTimeout') {
        t.ok(value instanceof TimeoutError);
        value = value.cause as Error;
      }
      t.ok(value instanceof RequestCancelled && value instanceof CancelledError);
      t.equal(value.message, `POST http://a/b: cancelled while ${DOING[point]}`);
      t.match(value, { method: 'POST', url: 'http://a/b', phase: point });
      allClosed(t, reactor);
      if (point !== 'connecting') {
        t.equal(reactor.last.transport.aborting, true);
        reactor.last.answers('late').closes();
      }
    }
  });

  t.test(`HTC-22: the deadline passes while ${DOING[point]}`, async (t) => {
    const { reactor, page } = at(point, { timeout: 9, connectTimeout: 10 });
    reactor.advance(8.9);
    assertNoResult(page);
    reactor.advance(0.1);
    const { value } = failureResultOf(page, RequestTimedOut);
    t.ok(value instanceof TimeoutError);
    t.equal(value.message, `POST http://a/b: not done after 9 seconds, while ${DOING[point]}`);
    t.match(value, { method: 'POST', url: 'http://a/b', phase: point });
    allClosed(t, reactor);
  });
}

t.test(
  'HTC-22: a server that drips a byte every ten seconds does not put off the deadline',
  async (t) => {
    for (const wire of [
      'HTTP/1.1 200 OK\r\n'.padEnd(100, 'X: y\r\n'),
      `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(100)}`,
    ]) {
      const reactor = new FakeReactor();
      const page = getPage('http://a/', { reactor });
      reactor.last.made();
      for (const byte of wire) {
        reactor.last.answers(byte);
        reactor.advance(10);
      }
      t.equal(
        failureResultOf(page, RequestTimedOut).value.message.includes('not done after 60 seconds'),
        true,
      );
      allClosed(t, reactor);
    }
  },
);

t.test('one deadline covers all redirects; none means none', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://a/', { reactor, timeout: 10 });
  for (let hop = 0; hop < 3; hop++) {
    reactor.advance(3);
    reactor.last.made().answers(redirect(302, `/${hop}`));
  }
  reactor.advance(1);
  t.match(failureResultOf(page, RequestTimedOut).value, { url: 'http://a/2', phase: 'connecting' });
  allClosed(t, reactor);
  const patient = getPage('http://a/', { reactor, timeout: null });
  reactor.last.made();
  t.equal(reactor.getDelayedCalls().length, 0);
  reactor.advance(1e6);
  reactor.last.answers(OK);
  successResultOf(patient);
});

t.test(
  'a signal that is aborted already prevents the request, and keeps no listener afterwards',
  async (t) => {
    const reactor = new FakeReactor();
    const reason = new Error('not today');
    const { value } = failureResultOf(
      getPage('http://a/', { reactor, signal: AbortSignal.abort(reason) }),
      RequestCancelled,
    );
    t.match(value, { phase: 'preparing', cause: reason });
    t.equal(reactor.attempts.length, 0);
    allClosed(t, reactor);

    const { signal } = new AbortController();
    const page = getPage('http://a/', { reactor, signal });
    t.equal(getEventListeners(signal, 'abort').length, 1);
    reactor.last.made().answers(OK);
    successResultOf(page);
    t.equal(getEventListeners(signal, 'abort').length, 0);
  },
);

t.test(
  'a request that is cancelled before its connection is made closes it, and sends nothing',
  async (t) => {
    const exchange = new Exchange(makeRequest('http://a/'));
    exchange.response.cancel();
    t.equal(failureResultOf(exchange.response, RequestCancelled).value.phase, 'connecting');
    const transport = new StringTransport();
    exchange.makeConnection(transport);
    t.equal(transport.value().length, 0);
    t.equal(transport.aborting, true);
    exchange.connectionLost(new Failure(new ConnectionLost()));
  },
);

t.test('no connection: the error is of the class that says why', async (t) => {
  const reactor = new FakeReactor();
  const page = getPage('http://u:secret@a:81/b', { reactor });
  const cause = new ConnectionRefusedError('cannot connect to a:81: connection refused', {
    cause: Object.assign(new Error('x'), { code: 'ECONNREFUSED' }),
  });
  reactor.last.fails(cause);
  const { value } = failureResultOf(page, ConnectionRefusedError);
  t.match(value.message, /^GET http:\/\/a:81\/b: cannot connect to a:81: 192\.0\.2\.1: /);
  t.match(value, { code: 'ECONNREFUSED', errors: [cause] });
  const late = getPage('http://a/', { reactor });
  reactor.advance(30);
  t.match(failureResultOf(late, TimeoutError).value.message, /^GET http:\/\/a\/: cannot connect/);
  const cut = getPage('http://a/', { reactor });
  reactor.last.fails(new ConnectionLost('the reactor has stopped'));
  const { value: notSent } = failureResultOf(cut, RequestNotSent);
  t.match(notSent, {
    message: 'GET http://a/: the reactor has stopped',
    phase: 'connecting',
    cause: ConnectionLost,
  });
  allClosed(t, reactor);
});

t.test('the connection is lost at each point: the error says how far it had come', async (t) => {
  const lost = (point: Exclude<keyof typeof POINTS, 'connecting'>, reason: Error) => {
    const { reactor, page } = at(point);
    reactor.last.closes(reason);
    const { value } = failureResultOf(page, RequestError);
    t.match(value, { method: 'POST', url: 'http://a/b', phase: point });
    t.equal(reactor.getDelayedCalls().length, 0);
    return value;
  };
  const done = new ConnectionDone();
  const broken = new ConnectionLost('connection reset by the other side (ECONNRESET)');
  t.match(lost('sending', broken), {
    name: 'RequestTransmissionFailed',
    message: `POST http://a/b: the connection was lost while the request was being sent: ${broken.message}`,
    cause: broken,
  });
  t.match(lost('sending', done), { name: 'RequestTransmissionFailed', cause: DataLoss });
  t.ok(lost('sending', done) instanceof RequestTransmissionFailed);
  t.match(lost('waiting', broken), {
    message: `POST http://a/b: no response: ${broken.message}`,
    cause: broken,
  });
  t.match(lost('waiting', done), { name: 'ResponseNeverReceived', cause: DataLoss });
  t.ok(lost('waiting', done) instanceof ResponseNeverReceived);
  t.match(lost('headers', broken), {
    message: `POST http://a/b: the response was cut short: ${broken.message}`,
  });
  t.match(lost('headers', done), { name: 'ResponseFailed', cause: DataLoss });
  for (const reason of [broken, done]) {
    const partial = lost('body', reason);
    if (!(partial instanceof PartialDownloadError)) throw partial;
    t.equal(partial.status, 200);
    t.equal(partial.body.toString(), 'hello');
    t.equal(partial.response.headers.get('content-length'), '10');
    t.match(partial.message, /^POST http:\/\/a\/b: the response was cut short: /);
  }
});

t.test(
  'HTC-17: a body without framing is not whole if the connection was lost out of order',
  async (t) => {
    const reactor = new FakeReactor();
    const page = getPage('http://a/', { reactor });
    reactor.last.made().answers('HTTP/1.1 200 OK\r\n\r\nhello').closes(new ConnectionLost());
    t.equal(failureResultOf(page, PartialDownloadError).value.body.toString(), 'hello');
  },
);

t.test('bytes that are no response, or too many, fail it at once', async (t) => {
  const fails = (
    wire: string | Buffer,
    cause: typeof ParseError | typeof LimitExceeded,
    options: RequestOptions = {},
  ) => {
    const reactor = new FakeReactor();
    const page = getPage('http://a/', { reactor, ...options });
    reactor.last.made().answers(wire);
    const { value } = failureResultOf(page, ResponseFailed);
    t.match(value.message, /^GET http:\/\/a\/: the response is not acceptable: /);
    t.ok(value.cause instanceof cause, `${value}`);
    t.equal(reactor.last.transport.aborting, true);
    allClosed(t, reactor);
    return value.phase;
  };
  t.equal(fails('SSH-2.0-x\r\n', ParseError), 'headers');
  t.equal(
    fails('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', ParseError),
    'headers',
  );
  t.equal(
    fails('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n', ParseError),
    'body',
  );
  t.equal(fails(`HTTP/1.1 200 ${'x'.repeat(100_000)}`, LimitExceeded), 'headers');
  t.equal(
    fails('HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n', LimitExceeded, { maxBodySize: 10 }),
    'body',
  );
  t.equal(fails('HTTP/1.1 200 OK\r\n\r\n01234567890', LimitExceeded, { maxBodySize: 10 }), 'body');
  t.equal(
    fails(`HTTP/1.1 200 OK\r\nContent-Length: ${2 ** 26 + 1}\r\n\r\n`, LimitExceeded),
    'body',
  );
  t.equal(
    fails('HTTP/1.1 200 OK\r\nX: y\r\nX: y\r\n\r\n', LimitExceeded, { maxHeaderCount: 1 }),
    'headers',
  );
  t.equal(
    fails('HTTP/1.1 200 OK\r\nX: y\r\nX: y\r\n\r\n', LimitExceeded, { maxHeaderSize: 10 }),
    'headers',
  );
  const reactor = new FakeReactor();
  const page = getPage('http://a/', { reactor, maxBodySize: 10 });
  reactor.last
    .made()
    .answers(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      '5\r\nhello\r\n'.repeat(2),
      '0\r\n\r\n',
    );
  t.equal(successResultOf(page).length, 10, 'the limit itself is allowed');
});

t.test('a body that comes in small pieces takes no more memory than its bytes', async (t) => {
  const memory = async () => {
    // What is dropped is not given back at once.
    for (let turn = 0; turn < 3; turn++) {
      globalThis.gc?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  /** How many bytes each byte of the body has cost while it was kept. */
  const costOf = async (head: string, piece: () => string | Buffer, pieces: number, end = '') => {
    const reactor = new FakeReactor();
    const page = getPage('http://a/', { reactor });
    reactor.last.made().answers(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n`);
    const before = await memory();
    for (let i = 0; i < pieces; i++) reactor.last.answers(piece());
    const grown = (await memory()) - before;
    reactor.last.answers(end);
    const body = successResultOf(page);
    t.ok(body.every((byte) => byte === 0x61));
    return grown / body.length;
  };
  const chunks = '1\r\na\r\n'.repeat(10_000);
  const ofChunks = await costOf('Transfer-Encoding: chunked', () => chunks, 200, '0\r\n\r\n');
  t.ok(ofChunks < 4, `${ofChunks.toFixed(1)} for one, in chunks of a byte`);
  const part = () => Buffer.alloc(65_536, 'a').subarray(0, 2_000);
  const ofParts = await costOf('Content-Length: 2000001', part, 1_000, 'a');
  t.ok(ofParts < 4, `${ofParts.toFixed(1)} for one, as small parts of large buffers`);
  const large = () => Buffer.alloc(65_536, 'a');
  const ofLarge = await costOf('Content-Length: 6553601', large, 100, 'a');
  t.ok(ofLarge < 2, `${ofLarge.toFixed(1)} for one, as large buffers`);
});

// ── Over real sockets ────────────────────────────────────────────────────────────────────────────────────────────────

interface Server {
  readonly url: string;
  /** How many bytes the server has got rid of, on the connection that came last. */
  written(): number;
  /** Fires when all connections have been closed by the client. */
  allGone(): Promise<void>;
}

/** A server that hands each connection to `answer` when the first bytes of a request are there. */
async function serve(
  t: Test,
  answer: (socket: Socket, request: Buffer) => unknown,
  host = '127.0.0.1',
): Promise<Server> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.once('data', (request) => {
      answer(socket, request);
    });
  });
  server.listen(0, host);
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}/`,
    written: () => sockets.at(-1)?.bytesWritten ?? 0,
    allGone: async () => {
      for (const socket of sockets) {
        if (!socket.closed) await new Promise((resolve) => socket.on('close', resolve));
      }
    },
  };
}

/** Writes `start` and then `piece` for ever, as fast as it goes away. */
function pour(socket: Socket, start: string, piece: string | Buffer): void {
  const more = () => {
    while (!socket.destroyed && socket.write(piece));
  };
  socket.write(start);
  socket.on('drain', more);
  more();
}

/** What a Deferred fails with. */
async function errorOf<E extends Error>(
  deferred: Deferred<unknown>,
  type: ErrorClass<E>,
): Promise<E> {
  try {
    await deferred;
  } catch (error) {
    if (error instanceof type) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

t.test('a page from a server that keeps its connections open', async (t) => {
  const reactor = new Reactor();
  const server = await serve(t, (socket) => socket.write(OK));
  t.equal(String(await getPage(server.url, { reactor })), 'hello');
  t.equal(
    String(await getPage(server.url.replace('127.0.0.1', 'localhost'), { reactor })),
    'hello',
  );
  await server.allGone();
  t.equal(reactor.getDelayedCalls().length, 0);
});

t.test('a large body comes and goes unharmed', async (t) => {
  const reactor = new Reactor();
  const body = randomBytes(8 * 1024 * 1024);
  const server = await serve(t, (socket, first) => {
    const head = first.subarray(0, first.indexOf('\r\n\r\n') + 4);
    const pieces = [first.subarray(head.length)];
    let missing = body.length - pieces[0]!.length;
    socket.on('data', (data: Buffer) => {
      pieces.push(data);
      missing -= data.length;
      if (missing > 0) return;
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      for (const piece of pieces) {
        if (piece.length === 0) continue;
        socket.write(`${piece.length.toString(16)}\r\n`);
        socket.write(piece);
        socket.write('\r\n');
      }
      socket.write('0\r\n\r\n');
    });
  });
  const page = await getPage(server.url, { reactor, method: 'POST', body });
  const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  t.equal(page.length, body.length);
  t.equal(hash(page), hash(body));
  await server.allGone();
});

t.test('IPv6 literals work', async (t) => {
  const server = await serve(t, (socket) => socket.write(OK), '::1').catch(() => undefined);
  if (server === undefined) {
    t.pass('there is no IPv6 on this machine');
    return;
  }
  t.equal(String(await getPage(server.url, { reactor: new Reactor() })), 'hello');
  await server.allGone();
});

t.test('nobody listens', async (t) => {
  const reactor = new Reactor();
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  const error = await errorOf(
    getPage(`http://127.0.0.1:${port}/`, { reactor }),
    ConnectionRefusedError,
  );
  t.match(error.message, /^GET http:\/\/127\.0\.0\.1:\d+\/: cannot connect .*connection refused/);
  t.equal(reactor.getDelayedCalls().length, 0);
});

const HEAD = 'HTTP/1.1 200 OK\r\n';

const LENGTH = `${HEAD}Content-Length: 10\r\n\r\n`;
const CHUNKED = `${HEAD}Transfer-Encoding: chunked\r\n\r\n`;

/** What a bad server does, and what comes of it. */
const FAULTS: readonly [
  name: string,
  answer: (socket: Socket) => unknown,
  type: ErrorClass<ResponseFailed>,
  message: RegExp,
][] = [
  [
    'closes without a word',
    (it) => it.end(),
    ResponseNeverReceived,
    /no response: .* before a byte/,
  ],
  ['resets without a word', (it) => it.resetAndDestroy(), ResponseNeverReceived, /no response: /],
  ['speaks another protocol', (it) => it.write('SSH-2.0-x\r\n'), ResponseFailed, /this is no HTTP/],
  ['sends random bytes', (it) => it.write(Buffer.alloc(9, 7)), ResponseFailed, /this is no HTTP/],
  [
    'sends two Content-Lengths',
    (it) => it.write(`${HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`),
    ResponseFailed,
    /2 Content-Lengths: "5, 6"/,
  ],
  ['closes within the headers', (it) => it.end(`${HEAD}X: y`), ResponseFailed, /cut short/],
  [
    'closes within the body',
    (it) => it.end(`${LENGTH}hello`),
    PartialDownloadError,
    /5 of 10 bytes/,
  ],
  [
    'closes within a chunk',
    (it) => it.end(`${CHUNKED}A\r\nhello`),
    PartialDownloadError,
    /last chunk/,
  ],
  [
    'resets within the body',
    (it) => it.write(`${LENGTH}hello`, () => it.resetAndDestroy()),
    PartialDownloadError,
    /cut short/,
  ],
  [
    'sends a status line without end',
    (it) => pour(it, HEAD.trim(), 'x'.repeat(65_536)),
    ResponseFailed,
    /status line .* 16384/,
  ],
  [
    'sends a header line without end',
    (it) => pour(it, `${HEAD}X: `, 'x'.repeat(65_536)),
    ResponseFailed,
    /a header line .* 16384/,
  ],
  [
    'sends headers without end',
    (it) => pour(it, HEAD, `X: ${'y'.repeat(1000)}\r\n`),
    ResponseFailed,
    /header section .* 65536/,
  ],
  [
    'sends interim responses without end',
    (it) => pour(it, '', 'HTTP/1.1 102 Wait\r\n\r\n'.repeat(1000)),
    ResponseFailed,
    /interim/,
  ],
  [
    'sends a body without end',
    (it) => pour(it, `${HEAD}\r\n`, Buffer.alloc(65_536)),
    ResponseFailed,
    /the body of .* 1048576/,
  ],
  [
    'sends chunks without end',
    (it) => pour(it, CHUNKED, '1\r\na\r\n'.repeat(10_000)),
    ResponseFailed,
    /the body of .* 1048576/,
  ],
  [
    'sends trailers without end',
    (it) => pour(it, `${CHUNKED}0\r\n`, `X: ${'y'.repeat(1000)}\r\n`),
    ResponseFailed,
    /trailer section .* 65536/,
  ],
  [
    'announces too large a body',
    (it) => it.write(`${HEAD}Content-Length: 9007199254740991\r\n\r\n`),
    ResponseFailed,
    /the body of .* 1048576/,
  ],
];

for (const [name, answer, type, message] of FAULTS) {
  t.test(`a server that ${name} costs one error and little memory`, async (t) => {
    const reactor = new Reactor();
    const server = await serve(t, answer);
    const error = await errorOf(getPage(server.url, { reactor, maxBodySize: 1_048_576 }), type);
    t.equal(error.constructor, type);
    t.match(error.message, message);
    t.match(error.message, /^GET http:\/\/127\.0\.0\.1:\d+\/: /);
    t.equal(reactor.getDelayedCalls().length, 0);
    await server.allGone();
    t.ok(server.written() < 32 * 1024 * 1024, `the server got rid of ${server.written()} bytes`);
  });
}

t.test('a server that never answers is given up in time', async (t) => {
  const reactor = new Reactor();
  const server = await serve(t, () => {});
  const error = await errorOf(getPage(server.url, { reactor, timeout: 0.05 }), RequestTimedOut);
  t.equal(error.phase, 'waiting');
  await server.allGone();
  t.equal(reactor.getDelayedCalls().length, 0);
});

t.test('a server that never reads is given up in time', async (t) => {
  const reactor = new Reactor();
  const server = await serve(t, (socket) => socket.pause());
  const body = Buffer.alloc(32 * 1024 * 1024);
  const error = await errorOf(
    getPage(server.url, { reactor, method: 'POST', body, timeout: 0.2 }),
    RequestTimedOut,
  );
  t.equal(error.phase, 'sending');
  t.equal(reactor.getDelayedCalls().length, 0);
});

t.test('HTC-22: cancelled over real sockets, nothing is left', async (t) => {
  const reactor = new Reactor();
  let waiting: (() => void) | undefined;
  const server = await serve(t, (socket, head) => {
    if (head.includes('/body')) socket.write(`${HEAD}Content-Length: 10\r\n\r\nhello`);
    waiting?.();
  });
  for (const [url, phase] of [
    [server.url.replace('127.0.0.1', 'localhost'), 'connecting'],
    [server.url, 'connecting'],
    [`${server.url}wait`, 'waiting'],
    [`${server.url}body`, 'body'],
  ] as const) {
    const reached = new Promise<void>((resolve) => (waiting = resolve));
    const page = getPage(url, { reactor });
    if (phase !== 'connecting') await reached;
    // A few turns, until what the server wrote has arrived.
    for (let turn = 0; phase === 'body' && turn < 20; turn++) await new Promise(setImmediate);
    page.cancel();
    const error = await errorOf(page, RequestCancelled);
    t.equal(error.phase, phase);
    t.equal(reactor.getDelayedCalls().length, 0);
    await server.allGone();
  }
});

t.test('a redirect leads from one server to another', async (t) => {
  const reactor = new Reactor();
  let seen = '';
  const second = await serve(t, (socket, head) => {
    seen = head.toString();
    socket.write(OK);
  });
  const first = await serve(t, (socket) => socket.write(redirect(302, `${second.url}there`)));
  const response = await request(first.url, { reactor, headers: { Cookie: 'secret' } });
  t.equal(response.url, `${second.url}there`);
  t.match(seen, /^GET \/there HTTP\/1\.1\r\n/);
  t.notMatch(seen, /secret/);
  await first.allGone();
  await second.allGone();
});

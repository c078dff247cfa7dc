/** Where redirects lead, over real connections to servers that the tests make. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTLSServer } from 'node:tls';
import { TimeoutError } from 'plait';
import {
  getPage,
  Headers,
  type PageRedirect,
  RedirectRefused,
  request,
  type RequestOptions,
  ResponseFailed,
} from 'plait/protocols/http';
import { pem } from '../contract/tls-kind.ts';
import { redirected } from '../../protocols/http/redirect.ts';
import t, { type Test } from '../fixture.ts';

interface Peer {
  readonly origin: string;
  /** What was asked for, in order, with headers and body. */
  readonly requests: string[];
}

/** A server that answers each request with what `answer` makes of its first line. */
async function serve(t: Test, answer: (path: string, socket: Socket) => string): Promise<Peer> {
  const requests: string[] = [];
  const server: Server = createServer((socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (data) => {
      text += data.toString('latin1');
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (!text.includes('\r\n\r\n') || text.split('\r\n\r\n')[1]?.length !== length) return;
      requests.push(text);
      socket.write(answer(text.split(' ')[1] ?? '', socket), 'latin1');
      text = '';
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';

function redirect(code: number, location: string, rest = 'Content-Length: 0\r\n\r\n'): string {
  return `HTTP/1.1 ${code} Moved\r\nLocation: ${location}\r\n${rest}`;
}

t.test('FND-54: a Location is escaped and followed as browsers do', async (t) => {
  const cases: [location: string, path: string][] = [
    ['/a b', '/a%20b'],
    ['/a b?c d#e f', '/a%20b?c%20d'],
    ['/caf\xc3\xa9?\xc3\xa9', '/caf%c3%a9?%c3%a9'],
    ['/caf\xe9', '/caf%e9'],
    ['\\a\\b', '/a/b'],
    ['/a?b\\c', '/a?b%5Cc'],
    ['/a\tb', '/ab'],
    ['/a\r\n b', '/a%20b'],
    ['next', '/dir/next'],
    ['../up', '/up'],
    ['?q', '/dir/page?q'],
    ['/"<>`{}|^', '/%22%3C%3E%60%7B%7D|%5E'],
    ['/%zz%', '/%zz%'],
  ];
  for (const [location, path] of cases) {
    const peer = await serve(t, (asked) => (asked === '/dir/page' ? redirect(302, location) : OK));
    const response = await request(`${peer.origin}/dir/page`);
    t.equal(peer.requests[1]?.split(' ')[1], path, JSON.stringify(location));
    t.equal(response.body.toString(), 'hello');
  }
});

t.test('FND-54: a message shows what it blames as it was given', async (t) => {
  const refused = async (location: string) => {
    const peer = await serve(t, () => redirect(302, location));
    return getPage(peer.origin).then(
      () => '',
      (error: unknown) => (error as Error).message.replace(/^.*a redirect to /, ''),
    );
  };
  t.match(await refused('ftp://x/a b'), /^"ftp:\/\/x\/a b" was not followed: the scheme "ftp"/);
  t.match(await refused('http://B..c/ d'), /^"http:\/\/B\.\.c\/ d" was not followed: .*"b\.\.c"/);
  t.match(await refused('http://u:pw@h/'), /^"http:\/\/h\/" was not followed: there are credent/);
  t.match(await refused('http:\\\\u:pw@h/@'), /^"http:\\\\h\/@" was not followed: there are cred/);
  t.match(await refused('ht\ttp://u:pw@h/'), /^"[^p]*\/\/h\/" was not followed/);
  for (const url of ['http://me:pw@h/a b', 'http://me:pw@h /', 'http://me:pw@[h/', '//me:pw@h/'])
    await t.rejects(
      () => getPage(url).asPromise(),
      { message: /^GET [^:]*(?:http:)?\/\/(?!me|.*pw)/ },
      url,
    );
  await t.rejects(() => getPage('http://h/a b').asPromise(), { message: /^GET http:\/\/h\/a b: / });
});

t.test('FND-55: a redirect is followed as soon as its head is there', async (t) => {
  const rests = [
    'Content-Length: 100\r\n\r\ncut short',
    'Content-Length: 99999999999\r\n\r\n',
    'Transfer-Encoding: chunked\r\n\r\n5\r\nhel',
    'Transfer-Encoding: chunked\r\n\r\nnonsense\r\n',
    '\r\nwithout an end',
  ];
  for (const rest of rests) {
    for (const closes of [true, false]) {
      const peer = await serve(t, (asked, socket) => {
        if (asked !== '/') return OK;
        if (closes) setImmediate(() => socket.end());
        return redirect(302, '/next', rest);
      });
      t.equal((await getPage(peer.origin)).toString(), 'hello', JSON.stringify(rest));
    }
  }
  const endless = await serve(t, (asked, socket) => {
    if (asked !== '/') return OK;
    const more = (): void => {
      while (!socket.destroyed && socket.write('x'.repeat(65536)));
    };
    socket.on('drain', more);
    setImmediate(more);
    return redirect(302, '/next', '\r\n');
  });
  t.equal((await getPage(endless.origin)).toString(), 'hello');
  const whole = await serve(t, () => redirect(302, 'ftp://x/', 'Content-Length: 2\r\n\r\ngo'));
  const error = await getPage(whole.origin).then(
    () => undefined,
    (error: unknown) => error as PageRedirect,
  );
  t.equal(error?.body.toString(), 'go', 'one that is refused is waited for');
  t.equal((await request(whole.origin, { followRedirect: false })).body.toString(), 'go');
});

t.test(
  'FND-55: a redirect that is not followed is told, also if its body is cut short',
  async (t) => {
    const cut = 'Content-Length: 100\r\n\r\ncut';
    const refused = await serve(t, (_, socket) => {
      setImmediate(() => socket.end());
      return redirect(302, 'ftp://x/', cut);
    });
    await t.rejects(() => request(refused.origin).asPromise(), {
      name: 'RedirectRefused',
      message: /the scheme "ftp" is not supported, only http and https are$/,
      body: Buffer.from('cut'),
    });
    const endless = await serve(t, (_, socket) => {
      setImmediate(() => socket.end());
      return redirect(302, '/', cut);
    });
    await t.rejects(() => request(endless.origin, { redirectLimit: 1 }).asPromise(), {
      name: 'InfiniteRedirection',
    });
    const plain = await serve(t, (_, socket) => {
      setImmediate(() => socket.end());
      return `HTTP/1.1 200 OK\r\n${cut}`;
    });
    await t.rejects(() => request(plain.origin).asPromise(), { name: 'PartialDownloadError' });
  },
);

t.test('FND-56: one byte of garbage and then silence fails at once', async (t) => {
  const peer = await serve(t, () => 'x');
  const error = await request(peer.origin, { timeout: 100 }).then(
    () => undefined,
    (error: unknown) => error,
  );
  t.ok(error instanceof ResponseFailed && !(error instanceof TimeoutError));
});

t.test('FND-58: an unknown scheme is told which there are', async (t) => {
  await t.rejects(() => getPage('ftp://x/').asPromise(), {
    message: /"ftp" is not supported, only http and https/,
  });
  for (const url of ['x', '//x', '/x', ''])
    await t.rejects(() => getPage(url).asPromise(), { message: /http:\/\/ or https:\/\/$/ });
});

t.test('FND-84: a body goes to another origin only if that was asked for', async (t) => {
  const other = await serve(t, () => OK);
  const ask = async (code: number, options: RequestOptions, to = `${other.origin}/x`) => {
    const peer = await serve(t, (asked) => (asked === '/' ? redirect(code, to) : OK));
    const before = other.requests.length;
    const page = await request(peer.origin, options).then(
      (response) => response.code,
      (error: unknown) => error,
    );
    return { page, sent: [...peer.requests.slice(1), ...other.requests.slice(before)] };
  };
  const body = 'secret';
  const cookie = {
    Cookie: 'a=1',
    Authorization: 'Basic x',
    'Proxy-Authorization': 'y',
    'X-Z': 'z',
  };
  const cases: [number, RequestOptions][] = [
    [307, { method: 'POST', body }],
    [308, { method: 'POST', body }],
    [307, { method: 'PUT', body }],
    [301, { method: 'PUT', body }],
    [302, { method: 'PATCH', body }],
    [308, { method: 'DELETE', body }],
    [307, { method: 'GET', body }],
    [307, { method: 'POST' }],
  ];
  for (const [code, options] of cases) {
    const refused = await ask(code, options);
    t.ok(refused.page instanceof RedirectRefused, `${options.method} ${code}`);
    t.match(String(refused.page), 'resendBody');
    t.same(refused.sent, []);
    const same = await ask(code, options, '/x');
    t.equal(same.page, 200, 'the same origin is another thing');
    const asked = await ask(code, { ...options, headers: cookie, resendBody: true });
    t.equal(asked.page, 200);
    t.equal(asked.sent.length, 1);
    t.notMatch(asked.sent[0], /cookie|authorization|x-z/i);
    t.equal(asked.sent[0]?.endsWith(body), options.body !== undefined);
  }
  for (const [code, method] of [
    [303, 'POST'],
    [302, 'POST'],
    [307, 'GET'],
    [307, 'DELETE'],
  ] as const) {
    const { page, sent } = await ask(code, { method, ...(method === 'POST' ? { body } : {}) });
    t.equal(page, 200, `${method} ${code} takes no body along`);
    t.notMatch(sent[0], body);
  }
});

t.test('FND-84: from https to http no body is sent again, even if that was asked for', (t) => {
  const url = new URL('https://a.example/');
  const head = { version: '1.1', code: 307, phrase: '', trailers: new Headers() } as const;
  const headers = new Headers({ Location: 'http://a.example/' });
  const rest = { body: Buffer.alloc(0), potentialDataLoss: false, method: 'POST', url: url.href };
  const post = { method: 'POST', url, headers: new Headers(), body: Buffer.from('secret') };
  const response = { ...head, ...rest, headers };
  for (const resend of [true, false])
    t.throws(() => redirected(post, response, resend), { message: /again without TLS by POST/ });
  const get = { ...post, method: 'GET', body: undefined };
  t.equal(redirected(get, response, false)?.url.href, 'http://a.example/');
  t.end();
});

t.test('FND-84: a TLS server cannot make a client repeat its body without TLS', async (t) => {
  const clear = await serve(t, () => OK);
  const server = createTLSServer({ key: pem('server.key'), cert: pem('server.pem') }, (socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(redirect(307, `${clear.origin}/x`)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => new Promise((resolve) => server.close(resolve)));
  const url = `https://localhost:${(server.address() as AddressInfo).port}/`;
  const trustRoot = pem('ca.pem');
  for (const resendBody of [true, false]) {
    const error = await request(url, {
      method: 'POST',
      body: 'secret',
      resendBody,
      trustRoot,
    }).then(
      () => undefined,
      (error: unknown) => error,
    );
    t.ok(error instanceof RedirectRefused, String(error));
    t.match(String(error), /again without TLS by POST/);
  }
  t.same(clear.requests, []);
  t.equal((await request(url, { trustRoot })).code, 200, 'a GET goes on');
  t.equal(clear.requests.length, 1);
});

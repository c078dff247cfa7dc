/** Pages from the real nginx. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTLSServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { gunzipSync } from 'node:zlib';
import {
  gatherResults,
  optionsForClientTLS,
  PrivateCertificate,
  Reactor,
  SSLError,
  VerificationError,
} from 'plait';
import {
  getPage,
  HTTPError,
  InfiniteRedirection,
  PartialDownloadError,
  request,
  type RequestOptions,
  RequestTimedOut,
} from 'plait/protocols/http';
import t, { type Test } from '../fixture.ts';
import { needs, startNginx } from './servers.ts';

const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** A server behind nginx, that answers everything with `answer` and closes. */
async function upstream(t: Test, answer: string): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** What it fails with, where it should. */
async function errorOf(url: string, options: RequestOptions): Promise<unknown> {
  try {
    await getPage(url, options);
  } catch (error) {
    return error;
  }
  throw new Error(`${url} did not fail`);
}

t.test('pages of nginx, which keeps its connections open', async (t) => {
  if (!needs(t, 'nginx')) return;
  const big = randomBytes(20 * 1024 * 1024);
  const { url } = await startNginx(
    t,
    `location /old { return 302 /new; }
     location /forever { return 301 /forever; }
     location /odd { return 204; }
     location /gone { return 410 "gone\\n"; }`,
    { files: { new: 'moved here\n', big } },
  );
  const reactor = new Reactor();

  t.equal(String(await getPage(`${url}/`, { reactor })), 'it works\n');
  const response = await request(`${url}/old`, { reactor });
  t.equal(response.body.toString(), 'moved here\n');
  t.equal(response.url, `${url}/new`);
  t.match(response.headers.get('server'), /^nginx/);
  t.equal(response.potentialDataLoss, false);
  t.equal((await getPage(`${url}/odd`, { reactor })).length, 0);

  const head = await request(`${url}/big`, { reactor, method: 'HEAD' });
  t.equal(head.headers.get('content-length'), String(big.length));
  t.equal(head.body.length, 0);
  t.equal(hash(await getPage(`${url}/big`, { reactor })), hash(big));
  const part = await request(`${url}/big`, { reactor, headers: { Range: 'bytes=10-19' } });
  t.equal(part.code, 206);
  t.same(part.body, big.subarray(10, 20));
  const same = { 'If-None-Match': head.headers.get('etag') ?? '' };
  t.equal((await request(`${url}/big`, { reactor, headers: same })).code, 304);

  t.match(await errorOf(`${url}/none`, { reactor }), {
    message: `GET ${url}/none: 404 Not Found`,
    status: 404,
    body: /nginx/,
  });
  const gone = await errorOf(`${url}/gone`, { reactor });
  t.ok(gone instanceof HTTPError && gone.body.toString() === 'gone\n');
  t.ok((await errorOf(`${url}/forever`, { reactor })) instanceof InfiniteRedirection);
  t.equal(reactor.getDelayedCalls().length, 0);

  const many = Array.from({ length: 100 }, () => getPage(`${url}/new`, { reactor }));
  t.ok((await gatherResults(many)).every((page) => page.toString() === 'moved here\n'));
  t.equal(reactor.getDelayedCalls().length, 0);
});

t.test('chunked pages of nginx, and compressed ones, which stay so', async (t) => {
  if (!needs(t, 'nginx')) return;
  const reactor = new Reactor();
  const body = 'no length\n'.repeat(10_000);
  const port = await upstream(t, `HTTP/1.0 200 OK\r\nContent-Type: text/x\r\n\r\n${body}`);
  const { url } = await startNginx(
    t,
    `gzip on; gzip_min_length 1; gzip_types text/plain;
     location /up { proxy_pass http://127.0.0.1:${port}; proxy_buffering off; }`,
    { files: { text: 'abc\n'.repeat(1000) } },
  );
  const chunked = await request(`${url}/up`, { reactor });
  t.equal(chunked.headers.get('transfer-encoding'), 'chunked');
  t.equal(chunked.body.toString(), body);

  t.equal((await getPage(`${url}/text`, { reactor })).length, 4000, 'nobody has asked for gzip');
  const headers = { 'Accept-Encoding': 'gzip' };
  const zipped = await request(`${url}/text`, { reactor, headers });
  t.equal(zipped.headers.get('content-encoding'), 'gzip');
  t.equal(gunzipSync(zipped.body).toString(), 'abc\n'.repeat(1000));
});

t.test('nginx is slow, goes away, or refuses what it is sent', async (t) => {
  if (!needs(t, 'nginx')) return;
  const reactor = new Reactor();
  const { url, process } = await startNginx(
    t,
    `client_max_body_size 1k;
     location /slow { limit_rate 1k; alias html/big; }`,
    { files: { big: randomBytes(1024 * 1024) } },
  );
  const post = { reactor, method: 'POST', body: Buffer.alloc(8 * 1024 * 1024) };
  t.match(await errorOf(`${url}/`, post), { status: 413 });

  const slow = await errorOf(`${url}/slow`, { reactor, timeout: 0.3 });
  t.ok(slow instanceof RequestTimedOut);
  t.equal((slow as RequestTimedOut).phase, 'body');

  const cut = errorOf(`${url}/slow`, { reactor });
  await getPage(`${url}/`, { reactor });
  await process.stop();
  const error = await cut;
  t.ok(error instanceof PartialDownloadError, String(error));
  t.equal(reactor.getDelayedCalls().length, 0);
});

// ── https ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const certificates = join(import.meta.dirname, '../fixtures/tls');
const pem = (name: string) => readFileSync(join(certificates, name), 'utf8');
const trustRoot = pem('ca.pem');
const serving = (name: string) => ({ cert: pem(`${name}.pem`), key: pem(`${name}.key`) });

t.test('https pages of nginx', async (t) => {
  if (!needs(t, 'nginx')) return;
  const big = randomBytes(4 * 1024 * 1024);
  const config = (name: string) => `
    ssl_certificate ${certificates}/${name}.pem;
    ssl_certificate_key ${certificates}/${name}.key;
    location /old { return 302 /new; }
    location /whole { limit_rate 256k; alias html/big; }`;
  const files = { new: 'moved here\n', big };
  const { port, process } = await startNginx(t, config('server'), { files, listen: 'ssl http2' });
  const reactor = new Reactor();
  const options = { reactor, trustRoot };
  for (const host of ['localhost', '127.0.0.1', 'LOCALHOST']) {
    t.equal(String(await getPage(`https://${host}:${port}/`, options)), 'it works\n', host);
  }
  t.equal(String(await getPage(`https://localhost:${port}/old`, options)), 'moved here\n');
  t.equal(hash(await getPage(`https://localhost:${port}/big`, options)), hash(big));
  const many = Array.from({ length: 30 }, () => getPage(`https://localhost:${port}/new`, options));
  t.ok((await gatherResults(many)).every((page) => page.toString() === 'moved here\n'));

  const untrusted = await errorOf(`https://localhost:${port}/`, { reactor });
  t.ok(untrusted instanceof VerificationError, String(untrusted));
  t.match(untrusted, {
    message: /^GET https:\/\/localhost:\d+\/: the certificate of the server was refused: /,
  });
  const plain = await errorOf(
    `https://localhost:${await upstream(t, 'HTTP/1.0 200 OK\r\n\r\n')}/`,
    options,
  );
  t.ok(plain instanceof SSLError, String(plain));
  t.match(await errorOf(`http://localhost:${port}/`, options), { status: 400 });

  const cut = errorOf(`https://localhost:${port}/whole`, options);
  await getPage(`https://localhost:${port}/`, options);
  await process.stop();
  const error = await cut;
  t.ok(error instanceof PartialDownloadError, String(error));
  t.equal(reactor.getDelayedCalls().length, 0);
});

/** A TLS server that counts the bytes that it is sent, and answers the first of them. */
async function secureServer(
  t: Test,
  options: TlsOptions,
  answer: string | null,
): Promise<{ port: number; received: () => number }> {
  let received = 0;
  const sockets = new Set<TLSSocket>();
  const server = createTLSServer(options, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (data: Buffer) => {
      received += data.length;
      if (answer !== null) socket.end(answer);
    });
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, received: () => received };
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';

t.test('TLS-06: servers that are not who they should be are sent nothing', async (t) => {
  const reactor = new Reactor();
  for (const [name, message] of [
    ['expired', /CERT_HAS_EXPIRED/],
    ['not-yet-valid', /CERT_NOT_YET_VALID/],
    ['self-signed', /DEPTH_ZERO_SELF_SIGNED_CERT/],
    ['other-ca-server', /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
    ['wrong-usage', /INVALID_PURPOSE/],
    ['many-names', /is not for localhost: it is for "a.example"/],
    ['cn-only', /is not for localhost: it has no alternative names/],
    ['nul-san', /is not for localhost/],
    ['small-rsa', /its key has 1024 bits/],
  ] as const) {
    // A server may still have the small key; from OpenSSL 3.5 on it must ask for the level at which that is allowed.
    const weak = name === 'small-rsa' ? { ciphers: 'DEFAULT:@SECLEVEL=0' } : {};
    const { port, received } = await secureServer(t, { ...serving(name), ...weak }, OK);
    const error = await errorOf(`https://user:secret@localhost:${port}/`, {
      reactor,
      trustRoot,
      method: 'POST',
      body: 'secret',
    });
    t.ok(error instanceof VerificationError, `${name}: ${error}`);
    t.match((error as Error).message, message);
    t.notMatch((error as Error).message, 'secret');
    t.equal(received(), 0);
  }
  const old = await secureServer(
    t,
    {
      ...serving('server'),
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL:@SECLEVEL=0',
    },
    OK,
  );
  t.ok(
    (await errorOf(`https://localhost:${old.port}/`, { reactor, trustRoot })) instanceof SSLError,
  );
  const h2 = await secureServer(t, { ...serving('server'), ALPNProtocols: ['h2'] }, OK);
  t.ok(
    (await errorOf(`https://localhost:${h2.port}/`, { reactor, trustRoot })) instanceof SSLError,
  );
  t.equal(old.received() + h2.received(), 0);
  t.equal(reactor.getDelayedCalls().length, 0);
});

t.test(
  'client certificates, redirects between http and https, and silence, with servers of Node',
  async (t) => {
    const reactor = new Reactor();
    const seen: string[] = [];
    const plain = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', (data) => {
        seen.push(data.toString());
        socket.end(OK);
      });
    });
    plain.listen(0, '127.0.0.1');
    await once(plain, 'listening');
    const secure = createSecureServer(
      { ...serving('server'), ca: pem('ca.pem'), requestCert: true, rejectUnauthorized: false },
      (incoming, response) => {
        const { authorized } = incoming.socket as { authorized?: boolean };
        if (incoming.url !== '/down')
          response.end(`${authorized} ${incoming.headers.authorization}`);
        else
          response
            .writeHead(302, {
              Location: `http://localhost:${(plain.address() as AddressInfo).port}/`,
            })
            .end();
      },
    );
    secure.listen(0, '127.0.0.1');
    await once(secure, 'listening');
    t.teardown(() => {
      plain.close();
      secure.close();
      secure.closeAllConnections();
    });
    const { port } = secure.address() as AddressInfo;
    const clientCertificate = PrivateCertificate.loadPEM(pem('client.pem') + pem('client.key'));
    const contextFactory = (hostname: string, port: number) =>
      optionsForClientTLS(hostname, { trustRoot, port, clientCertificate });
    const url = `https://user:secret@localhost:${port}`;
    t.match(String(await getPage(`${url}/`, { reactor, contextFactory })), /^true Basic /);
    t.match(String(await getPage(`${url}/`, { reactor, trustRoot })), /^false Basic /);
    t.equal(String(await getPage(`${url}/down`, { reactor, trustRoot })), 'hello');
    t.equal(seen.length, 1);
    t.notMatch(seen[0], /authorization/i);

    const silent = await secureServer(t, serving('server'), null);
    t.match(
      await errorOf(`https://localhost:${silent.port}/`, { reactor, trustRoot, timeout: 0.2 }),
      { phase: 'waiting' },
    );
    const answer = 'HTTP/1.1 200 OK\r\n\r\nall of it';
    const whole = await secureServer(t, serving('server'), answer);
    const page = await getPage(`https://localhost:${whole.port}/`, { reactor, trustRoot });
    t.equal(String(page), 'all of it');

    // TLS-14: a FIN that is not preceded by close_notify, after a body that has no length.
    const cut = createTLSServer(serving('server'));
    const raw: Socket[] = [];
    cut.on('connection', (socket: Socket) => raw.push(socket));
    cut.on('secureConnection', (socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.write(answer, () => raw[0]?.end()));
    });
    cut.listen(0, '127.0.0.1');
    await once(cut, 'listening');
    t.teardown(() => cut.close());
    const { port: cutPort } = cut.address() as AddressInfo;
    const error = await errorOf(`https://localhost:${cutPort}/`, { reactor, trustRoot });
    t.ok(error instanceof PartialDownloadError, String(error));
    t.equal(String((error as PartialDownloadError).body), 'all of it');
    t.equal(reactor.getDelayedCalls().length, 0);
  },
);

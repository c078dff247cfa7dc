/** Pages from the real nginx. */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { gatherResults, Reactor } from 'plait';
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

/**
 * Fetches pages: those whose URLs are given, or else some that this program serves itself, of which not all go well.
 * `node dist/docs/examples/get-page.js http://127.0.0.1:8000/`
 */
import {
  CancelledError,
  ConnectionRefusedError,
  Factory,
  inlineCallbacks,
  Protocol,
  react,
  type Reactor,
  TCP4ServerEndpoint,
  TimeoutError,
} from 'plait';
import { getPage, HTTPError, request } from 'plait/protocols/http';

// #region page
const titleOf = inlineCallbacks(function* (url: string) {
  const page = yield* getPage(url);
  return /<title>(.*?)<\/title>/.exec(page.toString())?.[1] ?? '(no title)';
});
// #endregion

// #region errors
const tryTitleOf = inlineCallbacks(function* (url: string) {
  try {
    return yield* titleOf(url);
  } catch (error) {
    if (error instanceof HTTPError) return `the server answers ${error.status} ${error.phrase}`;
    if (error instanceof ConnectionRefusedError) return 'nobody listens there';
    throw error;
  }
});
// #endregion

// #region request
const vote = inlineCallbacks(function* (url: string) {
  const response = yield* request(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ vote: 'yes' }),
    timeout: 5,
  });
  return `${response.code} ${response.headers.get('content-type')}: ${response.body.toString()}`;
});
// #endregion

// #region time
const impatient = inlineCallbacks(function* (url: string) {
  try {
    yield* getPage(url, { timeout: 0.2 });
  } catch (error) {
    if (error instanceof TimeoutError) console.log(error.message);
  }
});

const fickle = inlineCallbacks(function* (reactor: Reactor, url: string) {
  const page = getPage(url);
  reactor.callLater(0.2, () => page.cancel());
  try {
    yield* page;
  } catch (error) {
    if (error instanceof CancelledError) console.log(error.message);
  }
});
// #endregion

/** A server that knows four answers by heart. It is no example of how to write one. */
class Site extends Protocol {
  #received = '';

  override dataReceived(data: Buffer) {
    this.#received += data.toString('latin1');
    const [line = ''] = this.#received.split('\r\n', 1);
    if (line.startsWith('POST')) {
      if (!this.#received.endsWith('}')) return;
      this.#answer('201 Created', 'Content-Type: text/plain', 'thank you');
    } else if (!this.#received.endsWith('\r\n\r\n')) {
      return;
    } else if (line.startsWith('GET / ')) {
      this.#answer('200 OK', 'Content-Type: text/html', '<title>Home, sweet home</title>');
    } else if (line.startsWith('GET /old ')) {
      this.#answer('301 Moved Permanently', 'Location: /', '');
    } else if (!line.startsWith('GET /slow ')) {
      this.#answer('404 Not Found', 'Content-Type: text/plain', 'nothing here');
    }
  }

  #answer(status: string, header: string, body: string) {
    this.transport.write(
      `HTTP/1.1 ${status}\r\n${header}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  }
}

const main = inlineCallbacks(function* (reactor: Reactor, urls: string[]) {
  for (const url of urls) console.log(`${url}: ${yield* tryTitleOf(url)}`);
  if (urls.length > 0) return;

  const endpoint = new TCP4ServerEndpoint(reactor, 0, { interface: '127.0.0.1' });
  const port = yield* endpoint.listen(Factory.forProtocol(Site));
  const site = `http://${port.getHost()}`;
  for (const path of ['/', '/old', '/nowhere']) {
    console.log(`${site}${path}: ${yield* tryTitleOf(site + path)}`);
  }
  console.log(yield* vote(`${site}/ballot`));
  yield* impatient(`${site}/slow`);
  yield* fickle(reactor, `${site}/slow`);
  yield* port.stopListening();
  console.log(`${site}/: ${yield* tryTitleOf(`${site}/`)}`);
});

void react((reactor, ...urls) => main(reactor, urls));

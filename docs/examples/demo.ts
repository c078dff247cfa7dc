/**
 * `npm run demo [-- FILE] [--clamd DESCRIPTION] [--url URL]`: the programs that plait exists for, one after the other,
 * all on one reactor.
 *
 *     npm run demo
 *     npm run demo -- path/to/file
 *     npm run demo -- --clamd tcp:127.0.0.1:3310
 *     npm run demo -- --clamd unix:/run/clamav/clamd.ctl --url http://127.0.0.1:8080/
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  clientFromString,
  connectProtocol,
  Deferred,
  deferLater,
  Factory,
  type Failure,
  gatherResults,
  inlineCallbacks,
  type IListeningPort,
  Protocol,
  react,
  type Reactor,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import {
  eicar,
  FakeClamd,
  scan,
  type ScanSource,
  type Verdict,
  version,
} from 'plait/protocols/clamd';
import { Echo } from 'plait/protocols/echo';
import { getPage } from 'plait/protocols/http';

const LOOPBACK = { interface: '127.0.0.1' };
const HARMLESS = fileURLToPath(new URL('../../../docs/examples/harmless.txt', import.meta.url));

function title(text: string): void {
  console.log(`\n── ${text} ${'─'.repeat(Math.max(3, 72 - text.length))}`);
}

/** Two sleeps at once, in callbacks and in coroutines. They take as long as the longer one. */
const sleep = inlineCallbacks(function* (reactor: Reactor) {
  title('1. A sleep that does not block');
  const start = reactor.seconds();
  const say = (text: string): void => {
    console.log(`   ${(reactor.seconds() - start).toFixed(1)} s  ${text}`);
  };

  reactor.callLater(0.1, say, 'callLater: a callback, while everything else goes on');
  const withCallbacks = deferLater(reactor, 0.2).addCallback(() => {
    say('deferLater: the callback of a Deferred');
    return 'callbacks';
  });
  const nap = inlineCallbacks(function* (seconds: number) {
    say(`a coroutine goes to sleep for ${seconds} s`);
    yield* deferLater(reactor, seconds);
    say('the coroutine wakes up on the next line');
    return 'coroutine';
  });
  const done = yield* gatherResults([withCallbacks, nap(0.3)]);
  say(`both are done: ${done.join(' and ')}`);
});

/** Says a few lines to an echo server, and collects what comes back. */
class Talker extends Protocol {
  readonly heard = new Deferred<string>();
  readonly #words: string;
  #back = '';

  constructor(words: string) {
    super();
    this.#words = words;
  }

  override connectionMade(): void {
    this.transport.write(this.#words);
  }

  override dataReceived(data: Buffer): void {
    this.#back += data.toString();
    if (this.#back.length >= this.#words.length) this.transport.loseConnection();
  }

  override connectionLost(reason: Failure): void {
    console.log(`   client: ${reason.getErrorMessage()}`);
    this.heard.callback(this.#back);
  }
}

const echo = inlineCallbacks(function* (reactor: Reactor) {
  title('2. An echo server and its client, over TCP');
  const port = yield* reactor.listenTCP(0, Factory.forProtocol(Echo), LOOPBACK).ready;
  console.log(`   server: listening on ${port.getHost()}`);
  const endpoint = clientFromString(reactor, `tcp:${port.getHost()}`);
  const talker = yield* connectProtocol(endpoint, new Talker('Is anybody there?'));
  console.log(`   client: connected from ${talker.transport.getHost()}`);
  console.log(`   client: heard ${JSON.stringify(yield* talker.heard)}`);
  yield* port.stopListening();
});

function verdictInWords(verdict: Verdict): string {
  switch (verdict.status) {
    case 'clean':
      return 'clean';
    case 'infected':
      return `INFECTED with ${verdict.signatures.join(', ')}`;
    case 'error':
      return `could not be scanned: ${verdict.message}`;
  }
}

const virusScan = inlineCallbacks(function* (
  reactor: Reactor,
  path: string | undefined,
  clamd: string | undefined,
) {
  title('3. A virus scan, by clamd’s INSTREAM');
  let fake: IListeningPort | undefined;
  if (clamd === undefined) {
    fake = yield* reactor.listenTCP(0, new FakeClamd({ reactor }), LOOPBACK).ready;
    console.log(
      '   no --clamd given: using plait’s own fake clamd, which knows the test virus only',
    );
  }
  const endpoint = clamd ?? `tcp:${fake?.getHost()}`;
  console.log(`   ${endpoint} says it is ${yield* version({ endpoint, reactor })}`);
  const things: [name: string, source: ScanSource][] = [
    [path ?? 'the bundled harmless.txt', { path: path ?? HARMLESS }],
    ['the EICAR test string', eicar()],
  ];
  for (const [name, source] of things) {
    const verdict = yield* scan(source, { endpoint, reactor, timeout: 60 });
    console.log(`   ${name}: ${verdictInWords(verdict)}`);
  }
  if (fake !== undefined) yield* fake.stopListening();
});

/** A web server that has one page, in a few lines; a real one comes with a later release. */
class OnePage extends LineReceiver {
  override lineReceived(line: Buffer): void {
    if (line.length > 0) return; // the request line and the headers
    const body = '<title>plait</title>\n<p>This page was served by the demo itself.</p>\n';
    this.transport.write(
      `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    this.transport.loseConnection();
  }
}

const page = inlineCallbacks(function* (reactor: Reactor, url: string | undefined) {
  title('4. getPage');
  let server: IListeningPort | undefined;
  if (url === undefined)
    server = yield* reactor.listenTCP(0, Factory.forProtocol(OnePage), LOOPBACK).ready;
  const address = url ?? `http://${server?.getHost()}/`;
  const body = yield* getPage(address, { reactor, timeout: 30 });
  console.log(`   ${address}: ${body.length} bytes, which begin with`);
  console.log(`   ${JSON.stringify(body.toString().slice(0, 66))}`);
  if (server !== undefined) yield* server.stopListening();
});

react(
  inlineCallbacks(function* (reactor: Reactor, ...argv: string[]) {
    const { values, positionals } = parseArgs({
      args: argv,
      allowPositionals: true,
      options: { clamd: { type: 'string' }, url: { type: 'string' } },
    });
    yield* sleep(reactor);
    yield* echo(reactor);
    yield* virusScan(reactor, positionals[0], values.clamd);
    yield* page(reactor, values.url);
    console.log('\nThat was all, on one reactor and in one thread. Next: docs/tour.md');
  }),
);

/**
 * Has a clamd on a port of 127.0.0.1 scan a file, with nothing but what plait gives to every protocol (programs would
 * call `scan` of `plait/protocols/clamd`): `node dist/docs/examples/clamd.js 3310 some.file`. The exit code is that of
 * clamdscan: 0 for clean, 1 for infected, 2 for an error. It needs arguments, so it is run by test/examples.test.ts.
 */
// #region program
import { closeSync, openSync, readSync } from 'node:fs';
import {
  connectProtocol,
  Deferred,
  type Failure,
  inlineCallbacks,
  type IPullProducer,
  react,
  type Reactor,
  SystemExit,
  TCP4ClientEndpoint,
} from 'plait';
import { LineOnlyReceiver } from 'plait/protocols/basic';

const CHUNK = 64 * 1024;

class Scan extends LineOnlyReceiver implements IPullProducer {
  override delimiter = Buffer.of(0);
  readonly reply = new Deferred<string>(() => this.transport.abortConnection());
  readonly #file: number;

  constructor(file: number) {
    super();
    this.#file = file;
  }

  override connectionMade() {
    this.transport.write('zINSTREAM\0');
    this.transport.registerProducer(this, false);
  }

  /** Called each time all is sent. A chunk of no bytes ends the stream. */
  resumeProducing() {
    const chunk = Buffer.alloc(4 + CHUNK);
    const size = readSync(this.#file, chunk, { offset: 4 });
    chunk.writeUInt32BE(size);
    this.transport.write(chunk.subarray(0, 4 + size));
    if (size === 0) this.transport.unregisterProducer();
  }

  stopProducing() {}

  override lineReceived(line: Buffer) {
    this.transport.abortConnection();
    this.reply.callback(line.toString());
  }

  override connectionLost(reason: Failure) {
    if (!this.reply.called) this.reply.errback(reason);
  }
}

const ask = inlineCallbacks(function* (reactor: Reactor, port: number, path: string) {
  const file = openSync(path, 'r');
  try {
    const endpoint = new TCP4ClientEndpoint(reactor, '127.0.0.1', port);
    const scan = yield* connectProtocol(endpoint, new Scan(file));
    return yield* scan.reply;
  } finally {
    closeSync(file);
  }
});

const main = inlineCallbacks(function* (
  reactor: Reactor,
  port: string,
  path: string,
  seconds = '30',
) {
  let reply: string;
  try {
    reply = yield* ask(reactor, Number(port), path).addTimeout(Number(seconds), reactor);
  } catch (error) {
    reply = String(error);
  }
  const found = /^stream: (.+) FOUND$/.exec(reply);
  if (reply === 'stream: OK') {
    console.log('clean');
  } else if (found) {
    console.log(`infected: ${found[1]}`);
    throw new SystemExit(1);
  } else {
    console.log(`error: ${reply}`);
    throw new SystemExit(2);
  }
});

react(main);
// #endregion

/**
 * Sends lines to an echo server, and says what comes back. `node dist/docs/examples/echo-client.js tcp:127.0.0.1:8000`;
 * without an argument it starts the one of echo-server.ts.
 */
import {
  clientFromString,
  connectProtocol,
  Deferred,
  type Failure,
  inlineCallbacks,
  react,
  type Reactor,
} from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { serveEcho } from './echo-server.ts';

// #region client
class Talker extends LineReceiver {
  readonly closed = new Deferred<string>();
  readonly #words: string[];

  constructor(words: string[]) {
    super();
    this.#words = words;
  }

  override connectionMade() {
    this.#sayNext();
  }

  override lineReceived(line: Buffer) {
    console.log(`heard ${line}`);
    this.#sayNext();
  }

  override connectionLost(reason: Failure) {
    this.closed.callback(reason.getErrorMessage());
  }

  #sayNext() {
    const word = this.#words.shift();
    if (word === undefined) this.transport.loseConnection();
    else this.sendLine(word);
  }
}

const talk = inlineCallbacks(function* (reactor: Reactor, server: string) {
  const endpoint = clientFromString(reactor, server);
  const talker = yield* connectProtocol(endpoint, new Talker(['is', 'anybody', 'there?']));
  console.log(yield* talker.closed);
});
// #endregion

const main = inlineCallbacks(function* (reactor: Reactor, server?: string) {
  if (server !== undefined) return yield* talk(reactor, server);
  const port = yield* serveEcho(reactor, 0).ready;
  yield* talk(reactor, `tcp:${port.getHost()}`);
  yield* port.stopListening();
});

react(main);

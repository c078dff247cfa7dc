/** The client of docs/tour.md, with a server for it to talk to. `node dist/docs/examples/tour.js` */
import {
  clientFromString,
  connectProtocol,
  Deferred,
  Factory,
  type Failure,
  gatherResults,
  inlineCallbacks,
  type IStreamClientEndpoint,
  react,
  type Reactor,
} from 'plait';
import { LineOnlyReceiver } from 'plait/protocols/basic';
import { Echo } from 'plait/protocols/echo';

// #region client
class EchoClient extends LineOnlyReceiver {
  #waiting: Deferred<string>[] = [];

  say(words: string): Deferred<string> {
    const answer = new Deferred<string>();
    this.#waiting.push(answer);
    this.sendLine(words);
    return answer;
  }

  override lineReceived(line: Buffer) {
    this.#waiting.shift()?.callback(line.toString());
  }

  override connectionLost(reason: Failure) {
    for (const answer of this.#waiting.splice(0)) answer.errback(reason);
  }
}
// #endregion

// #region callbacks
function greet(endpoint: IStreamClientEndpoint): Deferred<void> {
  return connectProtocol(endpoint, new EchoClient())
    .addCallback((client) =>
      client.say('hello').addCallback((answer) => {
        console.log(`callbacks: ${answer}`);
        client.transport.loseConnection();
      }),
    )
    .addErrback((failure) => console.log(`callbacks: ${failure.getErrorMessage()}`));
}
// #endregion

// #region coroutine
const talk = inlineCallbacks(function* (endpoint: IStreamClientEndpoint) {
  const client = yield* connectProtocol(endpoint, new EchoClient());
  try {
    console.log(`coroutine: ${yield* client.say('hello')}`);
    const [one, two] = yield* gatherResults([client.say('one'), client.say('two')]);
    console.log(`coroutine: ${one} and ${two}`);
  } finally {
    client.transport.loseConnection();
  }
});
// #endregion

// #region main
const main = inlineCallbacks(function* (reactor: Reactor) {
  const port = reactor.listenTCP(0, Factory.forProtocol(Echo), { interface: '127.0.0.1' });
  yield* port.ready;
  const endpoint = clientFromString(reactor, `tcp:${port.getHost()}`);
  yield* greet(endpoint);
  yield* talk(endpoint);
  yield* port.stopListening();
  yield* greet(endpoint);
});

react(main);
// #endregion

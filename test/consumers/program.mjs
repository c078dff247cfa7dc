/**
 * A small program of plait's, for bundlers and every kind of module: a server and a client, a coroutine, a page, a
 * logged error, a thread. Each line that it prints is compared. Its argument is the file that threads run, if it is to
 * say that.
 */
import {
  ConnectionRefusedError,
  deferLater,
  deferToThread,
  Factory,
  inlineCallbacks,
  Logger,
  Protocol,
  reactor,
  TCP4ClientEndpoint,
  TCP4ServerEndpoint,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import { getPage, HTTPError } from 'plait/protocols/http';

const HOST = '127.0.0.1';
const say = (what, text) => console.log(`${what}: ${text}`);

class Client extends Protocol {
  connectionMade() {
    this.transport.write('hello');
  }

  dataReceived(data) {
    say('echo', data);
    this.transport.loseConnection();
  }
}

/** Answers one request with what it is made with, and closes. */
class Page extends Protocol {
  dataReceived() {
    this.transport.write(`HTTP/1.1 ${this.factory.answer}\r\nConnection: close\r\n\r\ntea`);
    this.transport.loseConnection();
  }
}

function* serve(factory) {
  const port = yield new TCP4ServerEndpoint(reactor, 0, { interface: HOST }).listen(factory);
  return port;
}

const pageOf = inlineCallbacks(function* (answer) {
  const factory = Factory.forProtocol(Page);
  factory.answer = answer;
  const port = yield* serve(factory);
  try {
    return yield getPage(`http://${HOST}:${port.getHost().port}/`);
  } finally {
    yield port.stopListening();
  }
});

const main = inlineCallbacks(function* () {
  const port = yield* serve(Factory.forProtocol(Echo));
  const where = port.getHost().port;
  const ended = new Promise((resolve) => {
    Client.prototype.connectionLost = (reason) => resolve([reason]);
  });
  yield new TCP4ClientEndpoint(reactor, HOST, where).connect(Factory.forProtocol(Client));
  const [reason] = yield ended;
  say('ended', `${reason.value.name} ${reason.check('ConnectionDone') !== undefined}`);
  yield port.stopListening();

  say('later', yield deferLater(reactor, 0.001, () => 'tea'));
  say('page', yield pageOf('200 OK'));
  try {
    yield pageOf('404 Not Found');
  } catch (error) {
    say('no page', `${error.name} ${error instanceof HTTPError}`);
  }

  try {
    yield new TCP4ClientEndpoint(reactor, HOST, where).connect(Factory.forProtocol(Client));
  } catch (error) {
    say('refused', `${error.name} ${error instanceof ConnectionRefusedError}`);
    new Logger('program').failure('no connection', error);
  }

  const [worker] = process.argv.slice(2);
  if (worker !== undefined) reactor.getThreadPool().worker = worker;
  try {
    say('thread', yield deferToThread((n) => n ** 2, 12));
  } catch (error) {
    say('no thread', `${error.name} ${error.message}`);
  }
  yield reactor.getThreadPool().stop();
});

main().addErrback((failure) => {
  say('failed', failure.getTraceback());
  process.exit(1);
});

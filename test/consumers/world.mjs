/**
 * The part of plait that needs no sockets: Deferreds, coroutines, locks, scopes, time, the simulation. What it prints
 * is the same on every runtime.
 */
import {
  ClientFactory,
  Deferred,
  DeferredLock,
  DeferredQueue,
  deferLater,
  Factory,
  gatherResults,
  inlineCallbacks,
  Protocol,
  scope,
} from 'plait';
import { Clock, simulate } from 'plait/testing';

const say = (what, value) => console.log(`${what}: ${JSON.stringify(value)}`);

const first = new Deferred();
first.addCallback((n) => n + 1).addErrback(() => 'never');
first.addCallback((n) => say('chain', n));
first.callback(41);

const failed = new Deferred();
failed.addErrback((failure) => say('failure', failure.value.name));
failed.cancel();

const clock = new Clock();
const lock = new DeferredLock();
const order = [];
const visit = inlineCallbacks(function* (name) {
  yield lock.acquire();
  try {
    yield deferLater(clock, 1);
    order.push([name, clock.seconds()]);
  } finally {
    lock.release();
  }
});
const visits = gatherResults(['a', 'b', 'c'].map((name) => visit(name)));
await clock.advanceAsync(5);
await visits;
say('lock', order);

const queue = new DeferredQueue();
const taken = gatherResults([queue.get(), queue.get()]);
queue.put(1);
queue.put(2);
say('queue', await taken);

const scoped = scope(
  function* (s) {
    s.spawn(() => new Deferred(() => say('cancelled', clock.seconds())));
    yield deferLater(clock, 1);
    throw new RangeError('enough');
  },
  { clock, timeout: 10 },
);
scoped.addErrback((failure) => say('scope', failure.value.name));
clock.advance(1);
await scoped;

class Echo extends Protocol {
  dataReceived(data) {
    this.transport.write(data);
  }
}

class Asker extends Protocol {
  answer = '';
  connectionMade() {
    this.transport.write('tea, please');
  }
  dataReceived(data) {
    this.answer += data;
    if (this.answer.length === 11) this.transport.loseConnection();
  }
  connectionLost(reason) {
    this.factory.done.callback([this.answer, reason.value.name]);
  }
}

class Asking extends ClientFactory {
  protocol = Asker;
  done = new Deferred();
  clientConnectionFailed(_, reason) {
    this.done.callback(['', reason.value.name]);
  }
}

const answers = [];
await simulate({ runs: 50, seed: 7 }, (sim) => {
  const port = sim.host('server').reactor.listenTCP(8000, Factory.forProtocol(Echo));
  const client = sim.host('client').reactor;
  const asking = new Asking();
  client.connectTCP('server', 8000, asking);
  return asking.done.addCallback((answer) => {
    answers.push([...answer, client.seconds()]);
    return port.stopListening();
  });
});
say('simulated', answers);

/** docs/howto/find-a-race.md: a program with a race, found, shrunk, and run again. */
import { ClientFactory, Deferred, Factory, type Failure, Protocol } from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { simulate, SimulationFailed, type Simulation } from 'plait/testing';
import t from '../../test/fixture.ts';

// #region stock
/** The cups that are left. Each line of a connection asks for one. */
class Stock extends Factory {
  left = 1;
  readonly sim: Simulation;
  constructor(sim: Simulation) {
    super();
    this.sim = sim;
  }
  override buildProtocol(): Protocol {
    return new Sale(this);
  }
}

class Sale extends LineReceiver {
  readonly stock: Stock;
  constructor(stock: Stock) {
    super();
    this.stock = stock;
  }
  override lineReceived(): void {
    const { stock } = this;
    if (stock.left === 0) {
      this.answer('sold out');
    } else {
      // The till takes a while, and the cup is taken from the shelf only then.
      stock.sim.host('shop').reactor.callLater(0.05, () => {
        stock.left--;
        this.answer('here you are');
      });
    }
  }
  answer(text: string): void {
    this.sendLine(text);
    this.transport.loseConnection();
  }
}
// #endregion

// #region customer
/** Asks for a cup, and tells what came of it: an answer, or `nothing` if the network had other plans. */
class Customer extends Protocol {
  heard = '';
  readonly done: Deferred<string>;
  constructor(done: Deferred<string>) {
    super();
    this.done = done;
  }
  override connectionMade(): void {
    this.transport.write('a cup, please\r\n');
  }
  override dataReceived(data: Buffer): void {
    this.heard += data.toString();
  }
  override connectionLost(): void {
    this.done.callback(this.heard.trim() || 'nothing');
  }
}

class Visit extends ClientFactory {
  readonly done = new Deferred<string>();
  override buildProtocol(): Protocol {
    return new Customer(this.done);
  }
  override clientConnectionFailed(_connector: unknown, _reason: Failure): void {
    this.done.callback('nothing');
  }
}
// #endregion

// #region program
async function shop(sim: Simulation): Promise<void> {
  const stock = new Stock(sim);
  const port = sim.host('shop').reactor.listenTCP(7, stock);
  const visits = ['anna', 'ben'].map((name) => {
    const visit = new Visit();
    const { reactor } = sim.host(name);
    // They come at times that follow from the seed.
    reactor.callLater(sim.random.between(0, 2), () => reactor.connectTCP('shop', 7, visit));
    return visit.done;
  });
  const heard = [await visits[0], await visits[1]];
  await port.stopListening({ connections: 'abort' });
  if (stock.left < 0) throw new Error(`sold ${1 - stock.left} cups of one: ${heard.join('; ')}`);
}
// #endregion

t.test('the race is found', async (t) => {
  delete process.env['PLAIT_SEED'];
  // #region find
  const found = await simulate({ runs: 200, conditions: 'calm' }, shop).catch(
    (error: unknown) => error,
  );
  // #endregion
  t.type(found, SimulationFailed);
  const { seed, message, timeline } = found as SimulationFailed;
  t.match(message, /the program fails with no fault of the network at all\n {2}sold 2 cups of one/);
  t.equal(seed, '126:', 'as the page says');

  process.env['PLAIT_SEED'] = seed;
  const again: unknown = await simulate({ conditions: 'calm' }, shop).catch(
    (error: unknown) => error,
  );
  delete process.env['PLAIT_SEED'];
  t.equal((again as SimulationFailed).timeline, timeline);
});

t.test('and gone where the cup is taken from the shelf first', async (t) => {
  class Mended extends Sale {
    override lineReceived(): void {
      // #region mended
      const { stock } = this;
      if (stock.left === 0) {
        this.answer('sold out');
      } else {
        stock.left--;
        stock.sim.host('shop').reactor.callLater(0.05, () => this.answer('here you are'));
      }
      // #endregion
    }
  }
  t.intercept(Stock.prototype, 'buildProtocol', {
    value(this: Stock) {
      return new Mended(this);
    },
  });
  const report = await simulate({ runs: 200, conditions: 'calm' }, shop);
  t.equal(report.runs, 200);
});

t.test('the network as one likes it', async (t) => {
  const done: string[] = [];
  await simulate(
    // #region conditions
    { runs: 20, conditions: { level: 'calm', latency: [0.01, 0.5], faults: { reset: 0.1 } } },
    // #endregion
    () => done.push('run'),
  );
  t.equal(done.length, 20);

  // #region by-hand
  const { Simulation } = await import('plait/testing');
  const sim = new Simulation({ seed: 1, conditions: 'ideal' });
  const [a, b] = [sim.host('a'), sim.host('b')];
  const port = b.reactor.listenTCP(7, new Factory());
  sim.run(); // until nothing is left to happen
  sim.partition('a', 'b');
  const visit = new Visit();
  a.reactor.connectTCP('b', 7, visit);
  sim.advance(31); // a connection is given up after 30 seconds
  sim.heal('a', 'b');
  void port.stopListening();
  const answer = await sim.finish(visit.done);
  console.assert(answer === 'nothing' && sim.leftovers().length === 0);
  console.assert(sim.trace.toString().includes('partition  a-b'));
  // #endregion
  t.equal(answer, 'nothing');
  t.same(sim.leftovers(), []);
});

/** Tests of auction.ts without a network; see docs/tutorial/testing.md. */
// #region imports
import {
  ConnectionDone,
  connectProtocol,
  deferLater,
  Failure,
  TCP4ClientEndpoint,
  TimeoutError,
} from 'plait';
import {
  assertNoResult,
  checkClean,
  checkFraming,
  Clock,
  ConnectionCompleter,
  connectedServerAndClient,
  eachChunking,
  failureResultOf,
  MemoryReactorClock,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import t from 'tap';
import { AuctionClient, AuctionServer } from './auction.ts';
// #endregion

t.test('a bid is answered', async (t) => {
  // #region transport
  const transport = new StringTransport();
  const server = new AuctionServer(new Clock());
  server.makeConnection(transport);

  server.dataReceived(Buffer.from('BID 10\r\n'));
  t.equal(transport.value().toString(), 'OK\r\n');

  transport.clear();
  server.dataReceived(Buffer.from('BID 5\r\nI am rich\r\n'));
  t.equal(transport.value().toString(), 'TOO LOW 10\r\nWHAT?\r\n');
  // #endregion
});

t.test('after a minute without a higher bid it is sold', async (t) => {
  // #region clock
  const clock = new Clock();
  const transport = new StringTransport();
  const server = new AuctionServer(clock);
  server.makeConnection(transport);

  server.dataReceived(Buffer.from('BID 10\r\n'));
  clock.advance(59);
  server.dataReceived(Buffer.from('BID 11\r\n'));
  clock.advance(59);
  t.equal(transport.disconnecting, false);
  clock.advance(1);
  t.match(transport.value().toString(), /SOLD 11\r\n$/);
  t.equal(transport.disconnecting, true);
  // #endregion
});

t.test('nothing waits when the connection is lost', async (t) => {
  // #region lost
  const clock = new Clock();
  const server = new AuctionServer(clock);
  server.makeConnection(new StringTransport());
  server.dataReceived(Buffer.from('BID 10\r\n'));
  server.connectionLost(new Failure(new ConnectionDone()));
  t.same(clock.getDelayedCalls(), []);
  // #endregion
});

t.test('the client is told what has come of a bid', async (t) => {
  // #region results
  const client = new AuctionClient();
  client.makeConnection(new StringTransport());
  const first = client.bid(10);
  const second = client.bid(20);
  assertNoResult(first);

  client.dataReceived(Buffer.from('OK\r\n'));
  t.equal(successResultOf(first), true);
  assertNoResult(second);

  client.connectionLost(new Failure(new ConnectionDone()));
  failureResultOf(second, ConnectionDone);
  failureResultOf(client.sold, ConnectionDone);
  // #endregion
});

t.test('client and server understand each other', async (t) => {
  // #region pump
  const clock = new Clock();
  const { client, pump } = connectedServerAndClient(
    { buildProtocol: () => new AuctionServer(clock) },
    AuctionClient,
    { clock },
  );
  const bids = [10, 5, 20].map((amount) => client.bid(amount));
  pump.flush();
  t.same(bids.map(successResultOf), [true, false, true]);

  pump.advance(60);
  t.equal(successResultOf(client.sold), 20);
  t.equal(client.transport.connected, false);
  // #endregion
});

t.test('it does not matter how the bytes are cut', async (t) => {
  // #region chunking
  eachChunking('BID 10\r\nBID 11\r\n', (pieces) => {
    const server = new AuctionServer(new Clock());
    server.makeConnection(new StringTransport());
    for (const piece of pieces) server.dataReceived(piece);
    t.equal(server.highest, 11);
  });
  // #endregion
});

t.test('nor where it is paused, and where it ends', async (t) => {
  // #region framing
  const { events } = checkFraming(() => new AuctionServer(new Clock()), 'BID 10\r\nBID 9\r\n', {
    state: ({ highest }) => highest,
  });
  t.same(events, [
    'lineReceived("BID 10")',
    '= wrote "OK\\r\\n"',
    'lineReceived("BID 9")',
    '= wrote "TOO LOW 10\\r\\n"',
    '= wrote "OK\\r\\nTOO LOW 10\\r\\n" in all',
    '= 10',
  ]);
  // #endregion
});

t.test('an async function between a clock and a time-out', async (t) => {
  // #region async
  const clock = new Clock();
  const client = new AuctionClient();
  client.makeConnection(new StringTransport());
  const insist = async () => {
    for (let amount = 10; ; amount += 10) {
      const accepted = await client.bid(amount).addTimeout(30, clock);
      if (accepted) return amount;
      await deferLater(clock, 5);
    }
  };
  const bought = insist();
  client.dataReceived(Buffer.from('TOO LOW 15\r\n'));
  await clock.advanceAsync(5); // it has heard that, waited, and bid again: its time-out ends at 35
  client.dataReceived(Buffer.from('TOO LOW 25\r\n'));
  const failed = t.rejects(bought, TimeoutError); // the third bid, at 10, is never answered
  await clock.advanceAsync(35);
  await failed;
  t.equal(clock.seconds(), 40);
  t.same(clock.getDelayedCalls(), []);
  // #endregion
});

t.test('connecting, and failing to', async (t) => {
  // #region reactor
  const reactor = new MemoryReactorClock();
  const endpoint = new TCP4ClientEndpoint(reactor, 'auction.example', 4000);
  const refused = connectProtocol(endpoint, new AuctionClient());
  t.equal(reactor.tcpClients[0]?.port, 4000);

  const completer = new ConnectionCompleter(reactor);
  completer.failOnce();
  t.equal(failureResultOf(refused).value.name, 'ConnectionRefusedError');

  const connected = connectProtocol(endpoint, new AuctionClient());
  const pump = completer.succeedOnce(new AuctionServer(reactor));
  const client = successResultOf(connected);
  const bid = client.bid(10);
  pump.flush();
  t.equal(successResultOf(bid), true);
  // #endregion

  // #region clean
  reactor.advance(60);
  t.equal(successResultOf(client.sold), 10);
  await checkClean(reactor);
  // #endregion
});

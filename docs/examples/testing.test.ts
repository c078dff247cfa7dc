/** What plait/testing has besides what idle-echo.test.ts uses; see docs/reference/testing.md. */
import { deferLater, maybeDeferred } from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import {
  assertNoResult,
  Clock,
  collectLoggedErrors,
  failureResultOf,
  flushLoggedErrors,
  StringTransport,
  successResultOf,
} from 'plait/testing';
import t from 'tap';

t.test('what a Deferred has come to', async (t) => {
  // #region results
  const clock = new Clock();
  const tea = deferLater(clock, 180, () => 'tea');
  clock.advance(179);
  assertNoResult(tea);
  clock.advance(1);
  t.equal(successResultOf(tea), 'tea');

  const broken = maybeDeferred(JSON.parse, '{');
  const failure = failureResultOf(broken, SyntaxError);
  t.match(failure.value.message, /JSON/);
  // #endregion
});

t.test('what a protocol does with its transport', async (t) => {
  // #region transport
  class OneAtATime extends LineReceiver {
    override lineReceived(line: Buffer) {
      this.sendLine(`got ${line}`);
      this.pauseProducing();
    }
  }

  const transport = new StringTransport();
  const protocol = new OneAtATime();
  protocol.makeConnection(transport);
  protocol.dataReceived(Buffer.from('one\r\ntw'));
  protocol.dataReceived(Buffer.from('o\r\n'));
  t.equal(transport.value().toString(), 'got one\r\n');
  t.equal(transport.producerState, 'paused');

  transport.clear();
  protocol.resumeProducing();
  t.equal(transport.value().toString(), 'got two\r\n');
  // #endregion
});

t.test('what was logged', async (t) => {
  // #region logged
  const stop = collectLoggedErrors();
  const clock = new Clock();
  clock.callLater(1, () => {
    throw new RangeError('no milk');
  });
  clock.advance(1);
  const [event] = flushLoggedErrors(RangeError);
  t.equal(event?.failure?.value.message, 'no milk');
  t.same(stop(), []);
  // #endregion
});

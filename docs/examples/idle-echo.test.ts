/** Tests of idle-echo.ts, without a network and without waiting. */
// #region test
import { ConnectionDone, Failure } from 'plait';
import { Clock, StringTransport } from 'plait/testing';
import t from 'tap';
import { IdleEcho } from './idle-echo.ts';

function connect() {
  const clock = new Clock();
  const transport = new StringTransport();
  const echo = new IdleEcho(clock);
  echo.makeConnection(transport);
  return { clock, transport, echo };
}

t.test('what arrives is sent back', async (t) => {
  const { echo, transport } = connect();
  echo.dataReceived(Buffer.from('hello'));
  t.equal(transport.value().toString(), 'hello');
});

t.test('after 30 seconds of silence it hangs up', async (t) => {
  const { clock, transport, echo } = connect();
  clock.advance(29);
  echo.dataReceived(Buffer.from('still here'));
  clock.advance(29);
  t.equal(transport.disconnecting, false);
  clock.advance(1);
  t.equal(transport.disconnecting, true);
});

t.test('a lost connection leaves no timer behind', async (t) => {
  const { clock, echo } = connect();
  echo.connectionLost(new Failure(new ConnectionDone()));
  t.same(clock.getDelayedCalls(), []);
});
// #endregion

/** A connection whose protocol is changed while it lives. */
import { test } from 'tap';
import { connectedServerAndClient } from 'plait/testing';
import { AccumulatingProtocol } from 'plait/testing';
import { Echo } from 'plait/protocols/echo';
import { LineReceiver } from 'plait/protocols/basic';

// #region upgrade
class Greeter extends LineReceiver {
  override lineReceived(line: Buffer) {
    if (line.toString() === 'UPGRADE') {
      this.sendLine('OK');
      this.transport.switchProtocol(new Echo());
    }
  }
}
// #endregion

test('another protocol takes over, with what came behind the command', (t) => {
  const { client, pump } = connectedServerAndClient(Greeter, AccumulatingProtocol);
  client.transport.write('UPGRADE\r\nhello');
  pump.flush();
  t.equal(client.data.toString(), 'OK\r\nhello');
  client.transport.loseConnection();
  pump.flush();
  t.end();
});

/** What docs/reference/policies.md shows, as tests. */
import { Factory, formatEvent, Protocol } from 'plait';
import { LineReceiver } from 'plait/protocols/basic';
import { Echo } from 'plait/protocols/echo';
import {
  LimitConnectionsByPeer,
  ThrottlingFactory,
  TimeoutFactory,
  TimeoutMixin,
  TrafficLoggingFactory,
} from 'plait/protocols/policies';
import { Clock, StringTransport } from 'plait/testing';
import t from 'tap';

t.test('policies are put around one another', async (t) => {
  const clock = new Clock();
  const traffic: string[] = [];
  // #region compose
  const quiet = new TimeoutFactory(Factory.forProtocol(Echo), { timeout: 60, clock });
  const slow = new ThrottlingFactory(quiet, { readLimit: 1024, maxConnectionCount: 100, clock });
  const fair = new LimitConnectionsByPeer(slow, { maxConnectionsPerPeer: 2 });
  const logged = new TrafficLoggingFactory(fair, (event) => traffic.push(formatEvent(event)));
  // #endregion
  const transport = new StringTransport();
  logged.buildProtocol(transport.getPeer())?.makeConnection(transport);
  logged.buildProtocol(transport.getPeer())?.makeConnection(new StringTransport());
  t.equal(logged.buildProtocol(transport.getPeer()), null);
  const [first, second] = [...logged.protocols];
  first?.dataReceived(Buffer.alloc(1024, '.'));
  t.equal(transport.producerState, 'paused');
  clock.advance(1);
  t.equal(transport.producerState, 'producing');
  t.equal(traffic.length, 4);
  second?.loseConnection();
  clock.advance(60);
  t.equal(transport.disconnecting, true);
});

// #region mixin
class Login extends TimeoutMixin(LineReceiver) {
  override connectionMade() {
    this.sendLine('who are you?');
    this.setTimeout(30);
  }
  override lineReceived(line: Buffer) {
    this.setTimeout(null); // whoever has said a name may be silent
    this.sendLine(`welcome, ${line}`);
  }
  override timeoutConnection() {
    this.sendLine('too late');
    this.transport.loseConnection();
  }
}
// #endregion

t.test('a protocol may have a timeout of its own', async (t) => {
  const told = (line: string | undefined, seconds: number) => {
    const transport = new StringTransport();
    const clock = new Clock();
    const login = new Login();
    login.clock = clock;
    login.makeConnection(transport);
    if (line !== undefined) login.dataReceived(Buffer.from(line));
    clock.advance(seconds);
    return transport.value().toString().split('\r\n').slice(0, -1);
  };
  t.same(told(undefined, 30), ['who are you?', 'too late']);
  t.same(told('Ada\r\n', 3000), ['who are you?', 'welcome, Ada']);
  t.ok(new Login() instanceof Protocol);
});

/**
 * What comes late: calls on connections that close or are gone, in the doubles as in life; closings that wait for what
 * may be gone itself; and calls from inside of the calls that closing makes.
 */
import { SSLError } from 'plait';
import {
  AccumulatingProtocol,
  StringTransport,
  StringTransportWithDisconnection,
} from 'plait/testing';
import t from '../fixture.ts';
import { SERVER } from '../contract/tls-kind.ts';

t.test('FND-20: a StringTransport sends, while it closes, what a transport sends', (t) => {
  const written = (end: (transport: StringTransport) => void): string => {
    const transport = new StringTransport();
    transport.write('before');
    end(transport);
    transport.write(', after');
    transport.writeSequence([', and', ' later']);
    return transport.value().toString();
  };
  const all = 'before, after, and later';
  // There are no turns here: whatever is written is written in the same one.
  t.equal(
    written((transport) => transport.loseConnection()),
    all,
  );
  t.equal(
    written((transport) => transport.loseWriteConnection()),
    all,
  );
  t.equal(
    written((transport) => transport.abortConnection()),
    'before',
  );
  t.equal(
    written((transport) => (transport.connected = false)),
    'before',
  );
  const late = new StringTransport();
  late.abortConnection();
  t.throws(() => late.write(7 as never), TypeError, 'what is wrong is wrong in each state');
  t.throws(() => late.startTLS(SERVER), SSLError);
  t.end();
});

t.test('FND-20: a StringTransport that is closed does what a closed transport does', (t) => {
  const transport = new StringTransportWithDisconnection();
  const protocol = new AccumulatingProtocol();
  transport.protocol = protocol;
  protocol.makeConnection(transport);
  transport.loseConnection();
  const told: string[] = [];
  const producer = { resumeProducing() {}, stopProducing: () => void told.push('stop') };
  transport.registerProducer(producer, false);
  t.same(told, ['stop']);
  t.equal(transport.producer, undefined);
  transport.unregisterProducer();
  transport.startTLS(SERVER);
  t.same(transport.startedTLS, []);
  transport.loseWriteConnection();
  transport.abortConnection();
  t.same([transport.writeDisconnecting, transport.aborting], [false, false]);
  t.throws(() => transport.switchProtocol(protocol), { name: 'ConnectionLost' });
  t.end();
});

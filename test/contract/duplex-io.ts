/**
 * A body whose connections are Duplexes of Node's, made of the connections of the default body: so the contract is
 * shown of both, a protocol over a Duplex and a Duplex over a protocol's connection.
 */
import { DuplexProtocol } from 'plait';
import type {
  Attempt,
  ConnectEvents,
  ConnectTarget,
  ListenerEvents,
  ListenTarget,
  Wire,
  WireListener,
} from '../../lib/io/io.ts';
import { DuplexWire } from '../../lib/io/duplex-wire.ts';
import { NodeIO } from '../../lib/io/node.ts';
import type { Home } from '../../lib/transport/home.ts';
import { Stream } from '../../lib/transport/stream.ts';

const HOME: Home = {
  soon: (fn) => {
    setImmediate(fn);
  },
  opened() {},
  closed() {},
  listening() {},
};

function through(wire: Wire): Wire {
  const protocol = new DuplexProtocol({ allowHalfOpen: true });
  new Stream(HOME, wire).begin(protocol);
  return new DuplexWire(protocol.duplex, wire.host, wire.peer);
}

/** Node's own sockets, seen as Duplexes. */
export class DuplexIO extends NodeIO {
  override readonly name: string = 'duplex';

  override listen(target: ListenTarget, events: ListenerEvents): WireListener {
    const accepted = (wire: Wire): void => events.accepted(through(wire));
    return super.listen(target, Object.setPrototypeOf({ accepted }, events) as ListenerEvents);
  }

  override connect(target: ConnectTarget, events: ConnectEvents): Attempt {
    const connected = (wire: Wire): void => events.connected(through(wire));
    return super.connect(target, Object.setPrototypeOf({ connected }, events) as ConnectEvents);
  }
}

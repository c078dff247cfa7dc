/**
 * An echo server on a port of 127.0.0.1: `node dist/docs/examples/echo.js 8000`. It runs until it is stopped, so it is
 * run by test/examples.test.ts.
 */
// #region program
// #region readme
import { Factory, Protocol, reactor } from 'plait';

class Echo extends Protocol {
  override dataReceived(data: Buffer) {
    this.transport.write(data);
  }
}

const port = Number(process.argv[2] ?? 8000);
reactor.listenTCP(port, Factory.forProtocol(Echo), { interface: '127.0.0.1' });
reactor.run();
// #endregion
reactor.events.on('listening', (listening) => {
  console.log(`listening on ${listening.getHost()}`);
});
// #endregion

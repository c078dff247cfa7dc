/** An echo server. echo-client.ts starts it, and talks to it. */
// #region server
import type { IListeningPort, IReactorTCP } from 'plait';
import { EchoFactory } from 'plait/protocols/echo';

export function serveEcho(reactor: IReactorTCP, port: number): IListeningPort {
  return reactor.listenTCP(port, new EchoFactory(), { interface: '127.0.0.1' });
}
// #endregion

/**
 * The echo service of RFC 862: whatever arrives is sent back, until the other side closes. It has no client; any will
 * do. Twisted: `Echo` of `twisted.protocols.wire`.
 */
import { Factory, type IHalfCloseableProtocol, type IPushProducer, Protocol } from 'plait';

/**
 * Sends back what arrives. From a peer that does not read its echo nothing more is read until it does, so that no
 * memory fills up; and a peer that has said that it will send no more still gets all of its echo.
 *
 * @example
 * const reactor = new Reactor();
 * const port = reactor.listenTCP(0, Factory.forProtocol(Echo), { interface: '127.0.0.1' });
 * port.ready.addCallback(() => port.stopListening());
 */
export class Echo extends Protocol implements IHalfCloseableProtocol {
  /** More is waiting to be sent than the transport likes: nothing is read until it has gone. */
  #full = false;
  readonly #reader: IPushProducer = {
    pauseProducing: () => {
      this.#full = true;
      this.transport.pauseProducing();
    },
    resumeProducing: () => {
      this.#full = false;
      this.transport.unregisterProducer();
      this.transport.resumeProducing();
    },
    stopProducing: () => {},
  };

  override dataReceived(data: Buffer): void {
    this.transport.write(data);
    if (this.#full) return;
    this.transport.registerProducer(this.#reader, true);
    this.#unregisterUnlessFull();
  }

  /** While a producer is registered, loseConnection would wait for it. */
  #unregisterUnlessFull(): void {
    if (!this.#full) this.transport.unregisterProducer();
  }

  /** The peer will send no more: closes when all is sent back. */
  readConnectionLost(): void {
    this.transport.loseConnection();
  }

  writeConnectionLost(): void {}
}

/** Builds an {@link Echo} for each connection. */
export class EchoFactory extends Factory<Echo> {
  override protocol = Echo;
}

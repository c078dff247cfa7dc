/** What docs/howto/producers.md shows, as tests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BasicProducerConsumerProxy,
  FileSender,
  type IPullProducer,
  type IPushProducer,
  type ITransport,
  Protocol,
} from 'plait';
import { StringTransport } from 'plait/testing';
import t from 'tap';

/** Asks its pull producer until that is done. */
class Eager extends StringTransport {
  async takeAll() {
    while (this.producer !== undefined) {
      this.producer.resumeProducing();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return this.value().toString();
  }
}

// #region push
/** Sends every number, as fast as the peer reads them. */
class Numbers extends Protocol implements IPushProducer {
  #next = 0;
  #paused = false;

  override connectionMade() {
    this.transport.registerProducer(this, true);
    this.resumeProducing();
  }
  resumeProducing() {
    this.#paused = false;
    while (this.#mayWrite()) this.transport.write(`${this.#next++}\r\n`);
  }
  #mayWrite() {
    return !this.#paused;
  }
  pauseProducing() {
    this.#paused = true; // more than 64 KiB wait: called from inside write
  }
  stopProducing() {
    this.#paused = true; // the connection is lost
  }
}
// #endregion

t.test('a push producer writes until it is paused', async (t) => {
  class Full extends StringTransport {
    override write(data: string) {
      super.write(data);
      if (this.value().length > 100) (this.producer as IPushProducer).pauseProducing();
    }
  }
  const transport = new Full();
  const numbers = new Numbers();
  numbers.makeConnection(transport);
  t.ok(transport.value().length < 110);
  numbers.stopProducing();
});

// #region pull
/** Sends a list of lines, one each time it is asked. */
class Lines implements IPullProducer {
  readonly #transport: ITransport;
  readonly #lines: string[];

  constructor(transport: ITransport, lines: string[]) {
    this.#transport = transport;
    this.#lines = lines;
    transport.registerProducer(this, false);
  }
  resumeProducing() {
    const line = this.#lines.shift();
    if (line === undefined) this.#transport.unregisterProducer();
    else this.#transport.write(`${line}\r\n`);
  }
  stopProducing() {}
}
// #endregion

t.test('a pull producer writes when it is asked', async (t) => {
  const transport = new Eager();
  new Lines(transport, ['tea', 'milk']);
  t.equal(await transport.takeAll(), 'tea\r\nmilk\r\n');
});

t.test('FileSender sends a file', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'menu');
  writeFileSync(path, 'tea, milk\n');
  const transport = new Eager();
  // #region file
  const sent = new FileSender().beginFileTransfer(path, transport);
  sent.addCallback((lastByte) => {
    if (lastByte.toString() !== '\n') transport.write('\n');
    transport.loseConnection();
  });
  // #endregion
  t.equal(await transport.takeAll(), 'tea, milk\n');
  await sent;
  t.equal(transport.disconnecting, true);
});

t.test('a proxy changes what passes', async (t) => {
  const transport = new Eager();
  // #region proxy
  class Shouting extends BasicProducerConsumerProxy {
    override write(data: Uint8Array | string) {
      super.write(data.toString().toUpperCase());
    }
  }
  const sent = new FileSender().beginFileTransfer(['tea', 'milk'], new Shouting(transport));
  // #endregion
  await sent;
  t.equal(transport.value().toString(), 'TEAMILK');
});

t.test('a protocol holds up its peer', async (t) => {
  // #region pause
  class Careful extends Protocol {
    override dataReceived(data: Buffer) {
      this.transport.pauseProducing();
      void store(data).then(() => this.transport.resumeProducing());
    }
  }
  // #endregion
  let stored = () => {};
  const store = (_data: Buffer) => new Promise<void>((resolve) => (stored = resolve));
  const transport = new StringTransport();
  const careful = new Careful();
  careful.makeConnection(transport);
  careful.dataReceived(Buffer.from('tea'));
  t.equal(transport.producerState, 'paused');
  stored();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(transport.producerState, 'producing');
});

/**
 * The server that is loaded: started as `node --expose-gc server.js KIND`, it prints its port, and for each line that it
 * reads a line of what it has come to: its memory in bytes, its open connections, and the CPU time it has used in
 * microseconds.
 */
import { createInterface } from 'node:readline';
import { Factory, IPv4Address, type IPushProducer, Protocol, Reactor } from 'plait';

let open = 0;

class Echo extends Protocol {
  override connectionMade(): void {
    open++;
  }

  override dataReceived(data: Buffer): void {
    this.transport.write(data);
  }

  override connectionLost(): void {
    open--;
  }
}

/** Sends as many bytes as its client asks for, at the pace at which they go away. */
class Fountain extends Protocol implements IPushProducer {
  #left = 0;
  #flowing = false;

  override connectionMade(): void {
    open++;
  }

  override dataReceived(data: Buffer): void {
    this.#left = Number(data.toString());
    this.transport.registerProducer(this, true);
    this.resumeProducing();
  }

  resumeProducing(): void {
    this.#flowing = true;
    // Of its own for each piece, as a program's bytes are: a shared one would hide what is kept.
    while (this.#mayFlow()) {
      const piece = Buffer.alloc(Math.min(this.#left, 16_384), 1);
      this.#left -= piece.length;
      this.transport.write(piece);
    }
    if (this.#left > 0) return;
    this.transport.unregisterProducer();
    this.transport.loseConnection();
  }

  #mayFlow(): boolean {
    return this.#flowing && this.#left > 0;
  }

  pauseProducing(): void {
    this.#flowing = false;
  }

  stopProducing(): void {
    this.#left = 0;
  }

  override connectionLost(): void {
    open--;
  }
}

const kind = process.argv[2] === 'fountain' ? Fountain : Echo;
const port = new Reactor().listenTCP(0, Factory.forProtocol(kind), { backlog: 4096 });
port.ready.addCallback(() => {
  const address = port.getHost();
  if (address instanceof IPv4Address) console.log(address.port);
});
createInterface({ input: process.stdin })
  .on('line', () => {
    global.gc?.();
    const { user, system } = process.cpuUsage();
    console.log(`${process.memoryUsage().rss} ${open} ${user + system}`);
  })
  .on('close', () => {
    process.exit();
  });

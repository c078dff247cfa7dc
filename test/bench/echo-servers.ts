/**
 * The echo servers that are compared: started as `node echo-servers.js NAME`, it prints its port, and for each line that
 * it reads what CPU time it has used so far, in microseconds, and what its memory is, in bytes.
 */
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { Factory, IPv4Address, Protocol, Reactor } from 'plait';

class Echo extends Protocol {
  override dataReceived(data: Buffer): void {
    this.transport.write(data);
  }
}

const servers: Record<string, (ready: (port: number) => void) => void> = {
  plait(ready) {
    const port = new Reactor().listenTCP(0, Factory.forProtocol(Echo), { interface: '127.0.0.1' });
    port.ready.addCallback(() => {
      const address = port.getHost();
      if (address instanceof IPv4Address) ready(address.port);
    });
  },
  'node:net'(ready) {
    // What a Node user writes today.
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('data', (data) => socket.write(data));
      socket.on('error', () => {});
    });
    server.listen(0, '127.0.0.1', () => {
      ready((server.address() as AddressInfo).port);
    });
  },
};

servers[process.argv[2] ?? '']?.((port) => {
  console.log(port);
});
createInterface({ input: process.stdin })
  .on('line', () => {
    global.gc?.();
    const { user, system } = process.cpuUsage();
    const { heapUsed, external, rss } = process.memoryUsage();
    console.log(`${user + system} ${heapUsed + external} ${rss}`);
  })
  .on('close', () => {
    process.exit();
  });

/**
 * Clients that load a server, and look at every byte: started as `node driver.js PORT CONNECTIONS MESSAGES FIRST`, it
 * opens that many connections, from several addresses of this machine since each has only so many ports; prints `open`
 * when all are there; sends on each that many messages of 1 KiB, one after the other; waits for a line before it closes
 * them; and prints how many bytes came back right. Plain sockets, no plait.
 */
import { createHash, type Hash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

const SIZE = 1024;
const HOSTS = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'];
/** How many connections are opened at a time. */
const STEP = 200;

const [port = 0, connections = 0, messages = 0, first = 0] = process.argv.slice(2).map(Number);

class Client {
  readonly #socket: Socket;
  readonly #sent: Hash = createHash('sha256');
  readonly #received: Hash = createHash('sha256');
  readonly #number: number;
  #asked = 0;
  #waiting = 0;
  bytes = 0;

  constructor(number: number, opened: () => void, done: () => void) {
    this.#number = number;
    const host = HOSTS[number % HOSTS.length] as string;
    this.#socket = connect({ host, port, noDelay: true }, opened);
    this.#socket.on('error', (error) => {
      console.error(`connection ${number}: ${error.message}`);
      process.exit(1);
    });
    this.#socket.on('data', (data) => {
      this.#received.update(data);
      this.bytes += data.length;
      this.#waiting -= data.length;
      if (this.#waiting > 0) return;
      if (this.#asked < messages) this.ask();
      else done();
    });
  }

  ask(): void {
    // No two messages are alike, so that another's bytes, or the same ones twice, would show.
    const message = Buffer.alloc(SIZE, `${this.#number}:${this.#asked++};`);
    this.#sent.update(message);
    this.#waiting += SIZE;
    this.#socket.write(message);
  }

  close(): boolean {
    this.#socket.destroy();
    return this.#sent.digest('hex') === this.#received.digest('hex');
  }
}

const clients: Client[] = [];

async function open(): Promise<void> {
  while (clients.length < connections) {
    const step = Math.min(STEP, connections - clients.length);
    await new Promise<void>((resolve) => {
      let left = step;
      for (let i = 0; i < step; i++) {
        const client = new Client(first + clients.length, () => --left === 0 && resolve(), done);
        clients.push(client);
      }
    });
  }
}

let unfinished = connections;

function done(): void {
  if (--unfinished > 0) return;
  console.log('echoed');
}

await open();
console.log('open');
const lines = createInterface({ input: process.stdin });
let asked = 0;
for await (const line of lines) {
  if (asked++ === 0) {
    for (const client of clients) client.ask();
  } else {
    const right = clients.filter((client) => client.close()).length;
    console.log(`${right} ${clients.reduce((sum, { bytes }) => sum + bytes, 0)} ${line}`);
    break;
  }
}
lines.close();
process.stdin.destroy();

/**
 * Loads an echo server: `node echo-load.js PORT CONNECTIONS SIZE WINDOW SECONDS` keeps WINDOW messages of SIZE bytes
 * in flight on each connection, checks that every byte comes back, and prints how many messages did.
 */
import { connect } from 'node:net';

const [port = 0, connections = 1, size = 1, window = 1, seconds = 1] = process.argv
  .slice(2)
  .map(Number);
const message = Buffer.from(Array.from({ length: size }, (_, i) => i % 251));
let echoed = 0;
let over = false;

for (let i = 0; i < connections; i++) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let at = 0;
  socket.on('data', (data) => {
    let messages = 0;
    for (let from = 0; from < data.length;) {
      const length = Math.min(size - at, data.length - from);
      if (message.compare(data, from, from + length, at, at + length) !== 0) {
        console.error('a byte has changed on the way');
        process.exit(1);
      }
      from += length;
      at += length;
      if (at < size) break;
      at = 0;
      messages++;
    }
    echoed += messages;
    if (over) return;
    for (; messages > 0; messages--) socket.write(message);
  });
  socket.on('connect', () => {
    for (let k = 0; k < window; k++) socket.write(message);
  });
}
setTimeout(() => {
  over = true;
  console.log(echoed);
  process.exit();
}, seconds * 1000);

/**
 * Makes and closes connections, run as `node connection-load.js PORT AT_ONCE SECONDS`: each says one byte, waits for it
 * to come back, and closes; prints how many there were. Run as `node connection-load.js PORT COUNT hold` it opens that
 * many, prints `open`, and holds them until its input ends. It uses node:net, and is the same for every server.
 */
import { connect } from 'node:net';

const [port = '', count = '', mode = ''] = process.argv.slice(2);
let made = 0;

function dial(): ReturnType<typeof connect> {
  made++;
  return connect({ port: Number(port), host: '127.0.0.1', noDelay: true });
}

if (mode === 'hold') {
  let left = Number(count);
  const next = (): void => {
    if (made < Number(count)) dial().on('connect', opened);
  };
  const opened = (): void => {
    if (--left === 0) console.log('open');
    else next();
  };
  for (let i = 0; i < 50; i++) next();
  process.stdin.resume().on('end', () => process.exit());
} else {
  const end = performance.now() + Number(mode) * 1000;
  let done = 0;
  let open = 0;
  const again = (): void => {
    if (performance.now() >= end) {
      if (open === 0) console.log(done);
      return;
    }
    open++;
    const socket = dial();
    socket.write('x');
    socket.on('data', () => socket.end());
    socket.on('close', () => {
      done++;
      open--;
      again();
    });
  };
  for (let i = 0; i < Number(count); i++) again();
}

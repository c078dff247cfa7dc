/** Signals: what docs/howto/signals.md shows. It sends itself those that others would send. */
import { reactor } from 'plait';

let settings = 0;
const readSettings = () => ++settings;

// #region handler
const handler = reactor.addSignalHandler('SIGHUP', () => {
  readSettings();
  console.log('settings read again');
});
// #endregion

// #region shutdown
reactor.addSystemEventTrigger('before', 'shutdown', () => {
  console.log(`${reactor.exitSignal} received: tidying up`);
});
reactor.run().addCallback(() => console.log('stopped'));
// #endregion

reactor.callLater(0.01, () => {
  process.kill(process.pid, 'SIGHUP');
  reactor.callLater(0.1, () => {
    // #region remove
    handler[Symbol.dispose](); // or: reactor.removeSignalHandler('SIGHUP')
    // #endregion
    process.kill(process.pid, 'SIGTERM');
  });
});

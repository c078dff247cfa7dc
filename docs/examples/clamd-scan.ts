/**
 * Has files scanned by clamd: `node dist/docs/examples/clamd-scan.js unix:/run/clamav/clamd.ctl FILE…`. Without
 * arguments it asks a fake clamd, about things of which not all are well.
 */
// #region scan
import { ConnectError, inlineCallbacks, react, type Reactor, TimeoutError } from 'plait';
import { ClamdError, eicar, FakeClamd, scan, type ScanSource } from 'plait/protocols/clamd';

const isClean = inlineCallbacks(function* (upload: ScanSource, endpoint: string) {
  const verdict = yield* scan(upload, { endpoint, timeout: 30 });
  if (verdict.status === 'infected') console.log(`infected with ${verdict.signatures.join(', ')}`);
  if (verdict.status === 'error') console.log(`not scanned: ${verdict.kind}: ${verdict.message}`);
  return verdict.status === 'clean'; // and nothing else
});
// #endregion

// #region errors
const tryIsClean = inlineCallbacks(function* (upload: ScanSource, endpoint: string) {
  try {
    return yield* isClean(upload, endpoint);
  } catch (error) {
    if (error instanceof TimeoutError) console.log(`clamd is too slow: ${error.message}`);
    else if (error instanceof ConnectError) console.log(`clamd is not there: ${error.message}`);
    else if (error instanceof ClamdError) console.log(`clamd gave no answer: ${error.message}`);
    else throw error; // the upload itself went wrong
    return false;
  }
});
// #endregion

// #region sources
async function* download() {
  yield Buffer.from('piece by piece, ');
  await new Promise((resolve) => setImmediate(resolve));
  yield Buffer.from('as it comes');
}

const sources: ScanSource[] = [
  Buffer.from('harmless'),
  { path: import.meta.filename },
  download(),
  eicar(), // the test virus
  Buffer.alloc(2_000_000),
];
// #endregion

const main = inlineCallbacks(function* (reactor: Reactor, endpoint?: string, ...files: string[]) {
  if (endpoint !== undefined) {
    for (const path of files) console.log(path, yield* tryIsClean({ path }, endpoint));
    return;
  }
  // #region fake
  const clamd = new FakeClamd({ reactor, streamMaxLength: 1_000_000 });
  const port = yield* reactor.listenTCP(0, clamd, { interface: '127.0.0.1' }).ready;
  for (const source of sources) console.log(yield* tryIsClean(source, `tcp:${port.getHost()}`));
  // #endregion
  const gone = `tcp:${port.getHost()}`;
  yield* port.stopListening();
  console.log(yield* tryIsClean(eicar(), gone));
});

react(main);

/**
 * `ping`, `version` and `scan` against the fake clamd: each stream has the verdict that its bytes deserve, however the
 * network cuts it, and none is called clean that has not been scanned to its end.
 */
import { TCP4ClientEndpoint, type Deferred } from 'plait';
import {
  BadReply,
  ClamdCancelled,
  ClamdTimedOut,
  eicar,
  FakeClamd,
  NoReply,
  ping,
  scan,
  type ScanSource,
  type Verdict,
  version,
} from 'plait/protocols/clamd';
import { type ErrorClass, NETWORK_ERRORS, type Scenario, type Stage } from './scenario.ts';

const DEADLINE = 60;
const PATH = '/run/clamd.ctl';
const VERSION = 'ClamAV 1.4.6/simulated';
const LONGEST_STREAM = 2000;
const ERRORS: readonly ErrorClass[] = [...NETWORK_ERRORS, NoReply, ClamdTimedOut];

const SIGNATURES = new Map<string, Uint8Array>([
  ['Eicar-Test-Signature', eicar()],
  ['Sim.One', Buffer.from('one')],
  ['Sim.Large', Buffer.alloc(1500, 'large')],
]);

export const clamd: Scenario = {
  name: 'clamd',
  play(stage) {
    const { reactor } = stage.host('server');
    const fake = new FakeClamd({
      signatures: SIGNATURES,
      version: VERSION,
      streamMaxLength: LONGEST_STREAM,
      reactor,
    });
    const ports = [reactor.listenTCP(3310, fake), reactor.listenUNIX(PATH, fake)];
    return stage
      .all(ports.map((port) => port.ready))
      .addCallback(() => stage.all(Array.from({ length: 4 }, () => ask(stage))))
      .addBoth(() => stage.all(ports.map((port) => port.stopListening())));
  },
};

function ask(stage: Stage): Deferred<void> {
  const host = stage.pick(['alice', 'alice', 'bob', 'server']);
  const { reactor } = stage.host(host);
  const [address] = stage.host('server').addresses;
  const endpoint =
    host === 'server' ? `unix:${PATH}` : new TCP4ClientEndpoint(reactor, address, 3310);
  const options = { reactor, endpoint, timeout: DEADLINE };
  switch (stage.random.int(6)) {
    case 0:
      return stage.exchange(
        'PING',
        DEADLINE,
        timely(stage, ping(options)),
        (answer) => undefined,
        ERRORS,
      );
    case 1:
      return stage.exchange(
        'VERSION',
        DEADLINE,
        timely(stage, version(options)),
        (answer) => (answer === VERSION ? undefined : `it answered ${answer}`),
        ERRORS,
      );
    default: {
      const bytes = payload(stage);
      const chunkSize = 40 + stage.random.size(1000);
      const scanning = scan(sourceOf(stage, bytes), { ...options, chunkSize, allowEmpty: true });
      const work = stage.perhapsCancelled(host, scanning, 3, ClamdCancelled);
      return stage.exchange(
        'INSTREAM',
        DEADLINE,
        work,
        (verdict) => judge(stage, bytes, verdict),
        ERRORS,
      );
    }
  }
}

/** clamd may lose its patience with what is stuck on its way; that is an answer too, though not to the question. */
function timely<T>(stage: Stage, work: Deferred<T>): Deferred<T> {
  return work.addErrback((failure) => {
    const bad = failure.check(BadReply);
    if (bad?.kind === 'command-timeout' && !stage.calm)
      throw new NoReply('', { command: bad.command, cause: bad });
    return failure;
  });
}

/** What is to be scanned: a known signature, or one with a little more, or anything. */
function payload(stage: Stage): Buffer {
  const known = Buffer.from(stage.pick([...SIGNATURES.values()]));
  switch (stage.random.int(4)) {
    case 0:
    case 1:
      return known;
    case 2:
      return Buffer.concat([known, stage.bytes(3)]);
    default:
      return stage.bytes(2600);
  }
}

function sourceOf(stage: Stage, bytes: Buffer): ScanSource {
  const pieces: Buffer[] = [];
  for (let rest = bytes; rest.length > 0;) {
    const size = stage.random.size(rest.length);
    pieces.push(rest.subarray(0, size));
    rest = rest.subarray(size);
  }
  switch (stage.random.int(8)) {
    case 0:
      return (async function* () {
        yield* pieces;
      })();
    case 1:
    case 2:
      return bytes;
    default:
      return pieces;
  }
}

function judge(stage: Stage, bytes: Buffer, verdict: Verdict): string | undefined {
  const found = [...SIGNATURES].find(([, signature]) => bytes.equals(signature))?.[0];
  const tooLong = bytes.length > LONGEST_STREAM;
  switch (verdict.status) {
    case 'clean':
      if (verdict.bytesSent !== bytes.length) return `clean, after ${verdict.bytesSent} bytes`;
      return found === undefined && !tooLong ? undefined : `clean, and should be ${found}`;
    case 'infected':
      return verdict.signatures.length === 1 && verdict.signatures[0] === found
        ? undefined
        : `${verdict.signatures.join()}, and should be ${found}`;
    case 'error':
      if (verdict.kind === 'size-limit' && tooLong) return undefined;
      // What is stuck on its way exhausts its patience.
      return verdict.kind === 'command-timeout' && !stage.calm ? undefined : verdict.message;
  }
}

/** What docs/howto/processes.md and docs/reference/process.md show, as tests. */
import {
  Factory,
  type Failure,
  getProcessOutput,
  getProcessOutputAndValue,
  inlineCallbacks,
  PipeAddress,
  ProcessDone,
  ProcessEndpoint,
  ProcessProtocol,
  ProcessTerminated,
  Protocol,
  Reactor,
  StandardIO,
} from 'plait';
import t from 'tap';

t.test('a program is run for its output', async (t) => {
  const reactor = new Reactor();
  // #region output
  const count = inlineCallbacks(function* (text: string) {
    const { out, code } = yield* getProcessOutputAndValue('/usr/bin/wc', {
      args: ['-w'],
      stdinBytes: text,
      reactor,
    });
    return code === 0 ? Number(out.toString()) : 0;
  });
  // #endregion
  t.equal(await count('three little words'), 3);
  // #region timeout
  const hostname = getProcessOutput('/bin/hostname', { reactor }).addTimeout(30, reactor);
  // #endregion
  await hostname.asPromise().catch(() => {});
});

// #region protocol
class Sorter extends ProcessProtocol {
  sorted = '';
  override connectionMade() {
    this.transport.write('pear\napple\n');
    this.transport.closeStdin();
  }
  override outReceived(data: Buffer) {
    this.sorted += data.toString();
  }
  override processEnded(reason: Failure) {
    if (reason.check(ProcessDone)) console.log(this.sorted);
    else if (reason.check(ProcessTerminated)) console.log('sort has failed');
    else console.log('sort could not be started');
  }
}
// #endregion

t.test('a protocol talks to a program', async (t) => {
  const reactor = new Reactor();
  const printed = new Promise<unknown>((resolve) =>
    t.intercept(console, 'log', { value: resolve }),
  );
  // #region spawn
  reactor.spawnProcess(new Sorter(), '/usr/bin/sort', {
    args: ['sort', '-r'],
    env: { LC_ALL: 'C' },
  });
  // #endregion
  t.equal(await printed, 'pear\napple\n');
});

t.test('a program is an endpoint', async (t) => {
  const reactor = new Reactor();
  // #region endpoint
  class Shout extends Protocol {
    override connectionMade() {
      this.transport.write('hello\n');
      this.transport.loseWriteConnection();
    }
    override dataReceived(data: Buffer) {
      console.log(data.toString());
    }
  }
  const tr = new ProcessEndpoint(reactor, '/usr/bin/tr', { args: ['tr', 'a-z', 'A-Z'] });
  const connected = tr.connect(Factory.forProtocol(Shout));
  // #endregion
  const printed = new Promise<unknown>((resolve) =>
    t.intercept(console, 'log', { value: resolve }),
  );
  const { transport } = await connected;
  t.equal(await printed, 'HELLO\n');
  t.ok(transport.getPeer() instanceof PipeAddress);
});

t.test('a program serves its standard input and output', (t) => {
  // #region stdio
  class Upper extends Protocol {
    override dataReceived(data: Buffer) {
      this.transport.write(data.toString().toUpperCase());
    }
  }
  const serve = () => new StandardIO(new Upper());
  // #endregion
  t.type(serve, 'function');
  t.end();
});

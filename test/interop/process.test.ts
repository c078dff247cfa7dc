/** The same children, run by Twisted's spawnProcess and by ours: what the protocols are told is equal. */
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Failure, ProcessProtocol, Reactor } from 'plait';
import t from '../fixture.ts';
import { needs, python } from './servers.ts';

/** Shell scripts; each is sent a line, and the end of its input. */
const SCRIPTS = [
  'exit 0',
  'cat',
  'exit 3',
  'exit 255',
  'kill -9 $$',
  'kill -15 $$',
  'echo out; echo err >&2; read x; echo "$x"',
  'exec 1>&-; read x; echo "$x" >&2',
  'head -c 300000 /dev/zero | tr "\\0" x; exit 1',
  '(sleep 0.3; echo late) & exit 5',
];

/** Prints, for each script, what its protocol was told. */
const TWISTED = `
import json, sys
from twisted.internet import reactor, defer, protocol

class Recorder(protocol.ProcessProtocol):
    def __init__(self):
        self.events, self.data, self.done = [], {}, defer.Deferred()
    def connectionMade(self):
        self.events.append("made")
        self.transport.write(b"line\\n")
        self.transport.closeStdin()
    def childDataReceived(self, fd, data):
        self.data[fd] = self.data.get(fd, b"") + data
    def childConnectionLost(self, fd):
        self.events.append("lost %d" % fd)
    def processExited(self, reason):
        self.events.append("exited")
        self.exit = reason
    def processEnded(self, reason):
        self.events.append("ended")
        self.done.callback(None)

@defer.inlineCallbacks
def main():
    for script in json.load(open(sys.argv[1])):
        r = Recorder()
        reactor.spawnProcess(r, "/bin/sh", ["sh", "-c", script], env=None)
        yield r.done
        v = r.exit.value
        print(json.dumps({
            "events": r.events,
            "out": r.data.get(1, b"").decode(), "err": r.data.get(2, b"").decode(),
            "reason": [type(v).__name__, v.exitCode, v.status],
        }))
    reactor.stop()

reactor.callWhenRunning(main)
reactor.run()
`;

interface Told {
  readonly events: readonly string[];
  readonly out: string;
  readonly err: string;
  readonly reason: readonly unknown[];
}

class Recorder extends ProcessProtocol {
  readonly events: string[] = [];
  readonly data: Record<number, string> = {};
  reason: readonly unknown[] = [];
  over = false;

  override connectionMade(): void {
    this.events.push('made');
    this.transport.write('line\n');
    this.transport.closeStdin();
  }

  override childDataReceived(fd: number, data: Buffer): void {
    this.data[fd] = (this.data[fd] ?? '') + data.toString();
  }

  override childConnectionLost(fd: number): void {
    this.events.push(`lost ${fd}`);
  }

  override processExited({ value }: Failure): void {
    this.events.push('exited');
    const { exitCode, status } = value as Error & { exitCode: unknown; status: unknown };
    this.reason = [value.name, exitCode, status];
  }

  override processEnded(): void {
    this.events.push('ended');
    this.over = true;
  }
}

async function told(script: string): Promise<Told> {
  const recorder = new Recorder();
  const args = ['sh', '-c', script];
  new Reactor().spawnProcess(recorder, '/bin/sh', { args, env: null });
  const patience = performance.now() + 600_000;
  while (!recorder.over) {
    if (performance.now() > patience) throw new Error(`${script} has not ended`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { events, data, reason } = recorder;
  return { events, out: data[1] ?? '', err: data[2] ?? '', reason };
}

/** What does not depend on which of several pipes was looked at first. */
function certain({ events, ...rest }: Told): object {
  const late = events.indexOf('lost 1') > events.indexOf('exited');
  return {
    ...rest,
    first: events[0],
    last: events.at(-1),
    events: [...events].sort(),
    // Only where a child of the child holds the pipe for long.
    late: rest.out === 'late\n' && late,
  };
}

t.test('protocols of processes are told the same by Twisted and by plait', async (t) => {
  if (!needs(t, 'python')) return;
  const directory = t.testdir({ 'run.py': TWISTED, 'scripts.json': JSON.stringify(SCRIPTS) });
  const theirs = await python(t, join(directory, 'run.py'), [join(directory, 'scripts.json')])
    .ended;
  const lines = theirs.stdout.toString().split('\n').slice(0, -1);
  t.equal(lines.length, SCRIPTS.length, theirs.stderr.toString());
  for (const [index, script] of SCRIPTS.entries()) {
    const twisted = JSON.parse(lines[index] ?? '{}') as Told;
    t.same(certain(await told(script)), certain(twisted), script);
  }
});

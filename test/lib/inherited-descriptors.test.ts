/** What a process was given by its parent does not reach its own children. */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from '../fixture.ts';

/** Starts a child of its own by plait, twice; the second is given descriptor 20 by name. Prints what each has there. */
const PROGRAM = `
import { closeSync } from 'node:fs';
import { ProcessProtocol, Reactor } from 'plait';
class Shown extends ProcessProtocol {
  text = '';
  ended = new Promise((resolve) => (this.processEnded = () => resolve(this.text)));
  childDataReceived(fd, data) { this.text += data; }
}
const look = async (childFDs) => {
  const shown = new Shown();
  const args = ['sh', '-c', 'for fd in 20 30; do readlink /proc/self/fd/$fd || echo none; done'];
  new Reactor().spawnProcess(shown, '/bin/sh', { args, env: null, ...(childFDs && { childFDs }) });
  return (await shown.ended).trim().split('\\n');
};
const said = [await look(), await look({ 0: 'w', 1: 'r', 2: 'r', 20: 20 })];
closeSync(30);
said.push(await look());
console.log(JSON.stringify(said));
`;

t.test(
  'FND-26: a descriptor above 15 that was inherited does not reach children',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'plait-inherited-'));
    t.teardown(() => rmSync(folder, { recursive: true }));
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'secret');
    const fd = openSync(secret, 'r');
    const stdio = Array.from({ length: 31 }, (): 'ignore' | 'pipe' | number => 'ignore');
    [stdio[1], stdio[2], stdio[20], stdio[30]] = ['pipe', 2, fd, fd];
    const args = ['--import=./test/typescript.mjs', '--conditions=plait-source'];
    const program = ['--input-type=module', '-e', PROGRAM];
    const child = spawn(process.execPath, [...args, ...program], { stdio });
    closeSync(fd);
    if (child.stdout === null) throw new Error('no output to read');
    t.same(JSON.parse(await text(child.stdout)), [
      ['/dev/null', '/dev/null'],
      [secret, '/dev/null'],
      ['/dev/null', 'none'],
    ]);
  },
);

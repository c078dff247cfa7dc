/** A short run of what `npm run soak` does for ten minutes, and whether it would find what it looks for. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from './fixture.ts';

// On a busy machine it takes its time; nothing in it is measured by the clock.
t.setTimeout(900_000);

/** What the soak says of so many cycles of each kind. */
async function soak(kinds: Readonly<Record<string, number>>): Promise<string> {
  const args = Object.entries(kinds).map(([kind, cycles]) => `${kind}=${cycles}`);
  try {
    const running = promisify(execFile)(process.execPath, ['dist/test/soak/main.js', ...args]);
    return (await running).stdout;
  } catch (error) {
    return (error as { stdout: string }).stdout; // it ends with 1 where there is a fault
  }
}

const FEW: Readonly<Record<string, number>> = {
  tcp: 200,
  unix: 200,
  tls: 60,
  'tls-client-certificate': 60,
  'tls-resumed': 60,
  starttls: 60,
  http: 120,
  https: 60,
  clamd: 120,
  process: 20,
  thread: 200,
  udp: 200,
  timer: 200,
  coroutine: 200,
  file: 60,
};

t.test(
  'FND-17: what is made and lost again leaves no memory, descriptors and handles behind',
  async (t) => {
    const said = await soak(FEW);
    t.comment(said);
    t.notMatch(said, /NOT OK/);
    t.equal(said.match(/^ {2}ok /gm)?.length, Object.keys(FEW).length);
  },
);

t.test('a soak finds memory that is kept, descriptors, and handles', async (t) => {
  const said = await soak({
    'planted-native': 60,
    'planted-heap': 60,
    'planted-descriptor': 20,
    'planted-handle': 20,
  });
  t.match(said, /NOT OK planted-native.*\n +process memory grows.*\n +heap memory grows/);
  t.match(said, /NOT OK planted-heap.*\n(?: +process.*\n)? +heap memory grows/);
  t.match(said, /NOT OK planted-descriptor.*\n +left behind: [0-9]+ \/dev\/null/);
  t.match(said, /NOT OK planted-handle.*\n +left behind:.* 50 Timeout/);
  t.notMatch(said, / ok /);
});

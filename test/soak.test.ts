/** A short run of what `npm run soak` does for ten minutes, and whether it would find what it looks for. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { inCampaign } from './campaign.ts';
import t from './fixture.ts';

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

/** In `npm test`; the others, and more of each, in a campaign. */
const FEW: Readonly<Record<string, number>> = {
  tcp: 100,
  'tls-resumed': 40,
  starttls: 40,
  http: 60,
  clamd: 60,
  process: 10,
  thread: 100,
  udp: 100,
  timer: 100,
  file: 60,
};

const MORE: Readonly<Record<string, number>> = {
  tcp: 2000,
  unix: 2000,
  tls: 600,
  'tls-client-certificate': 600,
  'tls-resumed': 600,
  starttls: 600,
  http: 1200,
  https: 600,
  clamd: 1200,
  process: 200,
  thread: 2000,
  udp: 2000,
  timer: 2000,
  coroutine: 2000,
  file: 600,
};

t.test(
  'FND-17: what is made and lost again leaves no memory, descriptors and handles behind',
  async (t) => {
    const kinds = inCampaign ? MORE : FEW;
    const said = await soak(kinds);
    t.comment(said);
    t.notMatch(said, /NOT OK/);
    t.equal(said.match(/^ {2}ok /gm)?.length, Object.keys(kinds).length);
  },
);

const skip = inCampaign ? false : 'it is part of npm run ci';

t.test('a soak finds memory that is kept, descriptors, and handles', { skip }, async (t) => {
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

/**
 * The versions of Node that plait supports beside the one that runs the tests: on each of them the files listed here
 * pass, and the sources and the tests of types compile against its types. Part of `npm run ci`; in `npm test` a word
 * says so. To run it alone: `npm ci --prefix test/peers`, and
 * `npx tap --disable-coverage --test-env=PLAIT_CAMPAIGN=1 test/matrix.test.ts`. PLAIT_NODES=24,26 says which versions.
 */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inCampaign } from './campaign.ts';
import t, { type Test } from './fixture.ts';
import { failuresIn, peer, ROOT, runProgram } from './peers.ts';

const VERSIONS = process.env['PLAIT_NODES']?.split(',') ?? ['22', '24', '26'];

/** The suites that go through everything, and the files about what Node does otherwise from version to version. */
const FILES = [
  'contract',
  'oracle',
  'oracle-sockets',
  'sim',
  'lib/async-functions',
  'lib/coroutine',
  'lib/defer',
  'lib/log-shown',
  'lib/ports',
  'lib/process',
  'lib/ssl',
  'lib/stdio',
  'lib/streams',
  'lib/task',
  'lib/tls',
  'protocols/http-redirect',
  'interop/http',
  'interop/tls',
];

const FLAGS = ['--import=./test/typescript.mjs', '--conditions=plait-source', '--expose-gc'];

/** A file that takes longer, in seconds, hangs. */
const LONGEST = 900;

t.setTimeout(1_500_000);
t.jobs = 1;

const skip = inCampaign ? false : 'it is part of npm run ci';

for (const version of VERSIONS) {
  t.test(`Node ${version}: the types`, { skip }, async (t) => {
    const types = peer(t, `types-node${version}`);
    if (types === undefined) return;
    const project = projectWith(t, types);
    const compiler = join(ROOT, 'node_modules/typescript7/lib/tsc.js');
    const { code, output } = await runProgram(process.execPath, [compiler, '-p', project], LONGEST);
    t.equal(code === 0 ? '' : output, '');
  });

  for (const file of FILES) {
    t.test(`Node ${version}: ${file}`, { skip }, async (t) => {
      const folder = peer(t, `node${version}`);
      if (folder === undefined) return;
      const args = [...FLAGS, `test/${file}.test.ts`];
      const { code, output } = await runProgram(join(folder, 'bin/node'), args, LONGEST);
      t.equal(code === 0 ? '' : failuresIn(output), '');
      t.match(output, /^# \{ total: .*\bpass: [1-9]/m, 'something was tested');
    });
  }
}

/** A project as ours, with other types of Node. */
function projectWith(t: Test, types: string): string {
  const folder = t.testdir({});
  mkdirSync(join(folder, 'types'));
  symlinkSync(types, join(folder, 'types/node'));
  const project = {
    extends: join(ROOT, 'tsconfig.json'),
    compilerOptions: { rootDir: ROOT, types: ['node'], typeRoots: ['./types'] },
    include: ['lib', 'protocols', 'test/types'].map((name) => join(ROOT, name)),
    exclude: [],
  };
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project));
  return folder;
}

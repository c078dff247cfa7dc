/** A short run of what `npm run load` holds plait to at full size. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { howMany } from './campaign.ts';
import t from './fixture.ts';

t.test(
  'many connections, a slow reader, and connections made and closed leave nothing',
  async (t) => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--expose-gc',
      'dist/test/load/main.js',
      `connections=${howMany(500, 5000)}`,
      `slow=${howMany(128, 512)}`,
      `cycles=${howMany(250, 2500)}`,
    ]);
    t.comment(stdout);
    t.notMatch(stdout, /NOT OK/);
    t.equal(stdout.match(/^ {2}ok /gm)?.length, 10);
  },
);

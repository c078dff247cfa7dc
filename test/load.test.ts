/** A short run of what `npm run load` holds plait to at full size. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import t from './fixture.ts';

t.test(
  'many connections, a slow reader, and connections made and closed leave nothing',
  async (t) => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--expose-gc',
      'dist/test/load/main.js',
      'connections=500',
      'slow=128',
      'cycles=250',
    ]);
    t.comment(stdout);
    t.notMatch(stdout, /NOT OK/);
    t.equal(stdout.match(/^ {2}ok /gm)?.length, 10);
  },
);

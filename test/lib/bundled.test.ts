/** plait in a program that was bundled, or made smaller: the files that it looks for, and the names of errors. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { keepErrorNames, NotSupportedError, PlaitError, ThreadPool } from 'plait';
import { ownWorker } from '../../lib/threads/loading.ts';
import t, { type Test } from '../fixture.ts';

const WORKER = new URL('../../lib/threads/worker.ts', import.meta.url);

t.test(
  'FND-35: the name of an error is that which it is exported by, whatever its class is called',
  (t) => {
    class J extends PlaitError {}
    class K extends J {}
    const arrow = () => {};
    keepErrorNames({ Overdrawn: J, arrow, renamed: arrow, MAX: 7 });
    t.equal(new J('no').name, 'Overdrawn');
    t.match(String(new J('no')), /^Overdrawn: no/);
    t.equal(new K('no').name, 'K', 'a subclass has its own');
    t.equal(arrow.name, 'arrow', 'what is no error is left alone');
    t.end();
  },
);

/** A folder with a plait of this name in it, and a file where it would be run from. */
function packageNamed(t: Test, name: string): { folder: string; here: string } {
  const folder = t.testdir({
    'package.json': JSON.stringify({ name }),
    dist: { bundle: { 'worker.js': '' } },
  });
  return { folder, here: pathToFileURL(join(folder, 'dist/bundle/index.js')).href };
}

t.test('FND-31: the worker beside plait is taken, and that beside a bundle is not', (t) => {
  t.equal(ownWorker(), WORKER.href);
  const plait = packageNamed(t, 'plait');
  t.equal(ownWorker(plait.here), new URL('./worker.js', plait.here).href);
  const unknown = [null, 'webpack://program/index.js', 'file:///nowhere/dist/bundle/index.js'];
  for (const here of unknown)
    t.throws(() => ownWorker(here), { name: 'NotSupportedError', message: /sets pool\.worker/ });
  writeFileSync(join(plait.folder, 'package.json'), '{"name":"program"}');
  t.throws(() => ownWorker(plait.here), NotSupportedError, 'another package has its own worker.js');
  t.end();
});

t.test('FND-31: a pool is told which file its threads run, by a path or a URL', async (t) => {
  const pool = new ThreadPool({ worker: fileURLToPath(WORKER) });
  t.equal(pool.worker, WORKER.href);
  const work = () =>
    new Promise((resolve, reject) => {
      pool.callInThreadWithCallback(
        (success, result) => {
          if (success) resolve(result);
          else reject((result as { value: Error }).value);
        },
        (n: number) => n ** 2,
        12,
      );
    });
  t.equal(await work(), 144);

  // Not below the project, where it would be found.
  const elsewhere = mkdtempSync(join(tmpdir(), 'plait-'));
  t.teardown(() => {
    rmSync(elsewhere, { recursive: true });
  });
  pool.worker = join(elsewhere, 'worker.js');
  await t.rejects(work(), { name: 'NotSupportedError', message: /there is no file .*sets pool/ });
  writeFileSync(join(elsewhere, 'worker.js'), '');
  await t.rejects(work(), { name: 'NotSupportedError', message: /piscina is not installed/ });

  pool.worker = WORKER;
  t.equal(await work(), 144, 'what comes later is done by the file that it is told later');
  for (const wrong of ['worker.js', 'https://example.com/worker.js', new URL('data:text/plain,x')])
    t.throws(() => (pool.worker = wrong), {
      name: 'TypeError',
      message: /a file: URL or an absolute path/,
    });
  t.throws(() => new ThreadPool({ worker: 'worker.js' }), TypeError);
  pool.worker = undefined;
  t.equal(await work(), 144);
  await pool.stop();
});

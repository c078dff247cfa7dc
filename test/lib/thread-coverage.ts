/**
 * Takes the coverage of worker threads too, for test files that import this first. The test runner takes that of a
 * process's main thread; Node writes what a worker has run when the worker ends, however it ends, to a folder that the
 * environment names. From there it is put to the runner's when the process exits.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What the runner says to itself. */
const { _TAPJS_PROCESSINFO_COVERAGE_: isOn, _TAPJS_PROCESSINFO_CWD_: root = '.' } = process.env;

if (isOn === '1') {
  const folder = mkdtempSync(join(tmpdir(), 'plait-coverage-'));
  process.env['NODE_V8_COVERAGE'] = folder;
  const ours = ['lib', 'protocols'].map((name) => `${pathToFileURL(resolve(root, name)).href}/`);
  process.on('exit', () => {
    const result = readdirSync(folder).flatMap((name) => {
      const written = readFileSync(join(folder, name), 'utf8');
      return (JSON.parse(written) as { result: { url: string }[] }).result;
    });
    rmSync(folder, { recursive: true });
    const kept = join(root, '.tap/coverage');
    mkdirSync(kept, { recursive: true });
    writeFileSync(
      join(kept, `threads-${process.pid}.json`),
      JSON.stringify({
        result: result.filter(({ url }) => ours.some((folder) => url.startsWith(folder))),
      }),
    );
  });
}

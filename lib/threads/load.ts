/** Where the threads of a pool come from: the package that runs them, loaded when there is work. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Piscina } from 'piscina';

/**
 * Loads the library when there is work for it. By `require`, since a failed `import` is remembered: where there were no
 * descriptors for a moment, there would be no threads for ever. That its package could not be read is remembered by
 * `require` as well, so it is then looked for by its files.
 */
// eslint-disable-next-line @typescript-eslint/require-await -- what it throws is to be a rejection
export async function loadPiscina(): Promise<typeof Piscina> {
  const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);
  const load = (what: string) => (require(what) as { Piscina: typeof Piscina }).Piscina;
  try {
    return load('piscina');
  } catch (error) {
    const folder = require.resolve
      .paths('piscina')
      ?.map((parent) => join(parent, 'piscina'))
      .find((each) => existsSync(join(each, 'package.json')));
    if (folder === undefined) throw error;
    const { main } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      main: string;
    };
    return load(join(folder, main));
  }
}

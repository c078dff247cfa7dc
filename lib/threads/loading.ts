/**
 * What threads are made of that is not part of plait's own code: the file that each of them runs, and the library that
 * starts them. Both are looked for when there is work for a thread, and not before: importing plait needs no file, and a
 * bundle of it runs wherever it is put.
 */
import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import type { Piscina } from 'piscina';
import { NotSupportedError } from '../errors.ts';
import type { Seconds } from '../interfaces.ts';
import type { ThreadPoolOptions } from './pool.ts';

/** Where this file is, by what made it: undefined in a bundle of CommonJS, and in any other the place of that. */
const HERE: unknown = import.meta.url;

const HOW =
  'a program that is a bundle sets pool.worker to the path or URL of what plait/worker is, as in reactor.getThreadPool().worker';

/**
 * The URL of a file for threads to run.
 *
 * @throws TypeError if it is neither a `file:` URL nor an absolute path
 */
export function checkWorker(file: string | URL): string {
  if (typeof file === 'string' && isAbsolute(file)) return pathToFileURL(file).href;
  const text = String(file);
  if (URL.canParse(text) && /^file:/i.test(text)) return new URL(text).href;
  throw new TypeError(
    `the file that threads run is a file: URL or an absolute path, not ${inspect(text)}`,
  );
}

/**
 * The file that threads run where the program has not said which: that of the package that this file is part of.
 *
 * @param here where this file is
 * @throws NotSupportedError in a bundle, whose neighbours are not plait's
 */
export function ownWorker(here: unknown = HERE): string {
  const place = typeof here === 'string' && here.startsWith('file:') ? here : undefined;
  if (place !== undefined && isOwn(place)) {
    const worker = new URL(place.endsWith('.ts') ? './worker.ts' : './worker.js', place);
    if (existsSync(worker)) return worker.href;
  }
  throw new NotSupportedError(`cannot start a thread: plait's worker.js is not here; ${HOW}`);
}

/** Whether this is a file of an installed plait, or of its sources. Two or three folders up there is its manifest. */
function isOwn(place: string): boolean {
  return ['../../package.json', '../../../package.json'].some((manifest) => {
    try {
      const { name } = JSON.parse(readFileSync(new URL(manifest, place), 'utf8')) as {
        name?: unknown;
      };
      return name === 'plait';
    } catch {
      return false;
    }
  });
}

/**
 * The file that threads run: `given`, or plait's own.
 *
 * @throws NotSupportedError if it is not there
 */
export function workerFile(given: string | undefined): string {
  if (given === undefined) return ownWorker();
  if (existsSync(new URL(given))) return given;
  throw new NotSupportedError(`cannot start a thread: there is no file ${given}; ${HOW}`);
}

/**
 * The library that starts threads. It is loaded by `require`, since a failed `import` is remembered: where there were no
 * descriptors for a moment, there would be no threads for ever. That its package could not be read is remembered by
 * `require` as well, so it is then looked for by its files.
 *
 * @param worker the file that threads run, beside which it is installed
 * @throws NotSupportedError if it is not installed there
 */
export function loadPiscina(worker: string): typeof Piscina {
  const require = process.getBuiltinModule('node:module').createRequire(worker);
  const load = (what: string) => (require(what) as { Piscina: typeof Piscina }).Piscina;
  try {
    return load('piscina');
  } catch (error) {
    const folder = require.resolve
      .paths('piscina')
      ?.map((parent) => join(parent, 'piscina'))
      .find((each) => existsSync(join(each, 'package.json')));
    if (folder === undefined) {
      if ((error as { code?: unknown }).code !== 'MODULE_NOT_FOUND') throw error;
      const why = `the package piscina is not installed where ${worker} finds it`;
      throw new NotSupportedError(`cannot start a thread: ${why}`, { cause: error });
    }
    const { main } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      main: string;
    };
    return load(join(folder, main));
  }
}

/**
 * A pool of threads of the library's.
 *
 * @param worker the file that they run, if the program has said which
 * @throws NotSupportedError if that or the library is not there
 */
export function makePiscina(
  { resourceLimits, execArgv }: Pick<ThreadPoolOptions, 'resourceLimits' | 'execArgv'>,
  idle: Seconds,
  max: number,
  worker: string | undefined,
): Piscina {
  const filename = workerFile(worker);
  const Piscina = loadPiscina(filename);
  return new Piscina({
    filename,
    name: 'work',
    minThreads: 0,
    maxThreads: max,
    idleTimeout: idle * 1000,
    // A thread without work is to do what it left to be done later, not to stand still.
    atomics: 'disabled',
    recordTiming: false,
    stricterFIFO: true,
    ...(resourceLimits === undefined ? {} : { resourceLimits }),
    ...(execArgv === undefined ? {} : { execArgv: [...execArgv] }),
  });
}

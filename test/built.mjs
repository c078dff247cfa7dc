/**
 * `--import` this into a thread or a process that is to run what has been built in place of the sources: to load those
 * takes half a second of CPU time, which is much where many are started. Run `npm run build` after a change.
 */
import { register } from 'node:module';

const root = new URL('../', import.meta.url).href;

const hooks = `
import { existsSync } from 'node:fs';
const root = ${JSON.stringify(root)};
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  if (!found.url.startsWith(root) || !found.url.endsWith('.ts')) return found;
  const path = found.url.slice(root.length).replace(/\\.ts$/, '.js');
  const built = new URL('dist/' + (path === 'lib/threads/worker.js' ? 'bundle/worker.js' : path), root);
  if (!existsSync(built)) throw new Error('not built: ' + built.pathname + ': npm run build');
  return { ...found, url: built.href, format: 'module' };
}`;

register(`data:text/javascript,${encodeURIComponent(hooks)}`);

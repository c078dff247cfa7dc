/**
 * Runs TypeScript under every version of Node alike, for the tests: the types of each source are stripped once, and what
 * is left is kept in node_modules/.cache. The loader that tap brings does so in every process again, which took most of
 * the time of a test run.
 */
import * as module from 'node:module';

if (module.registerHooks !== undefined) {
  const { load } = await import('./typescript-hooks.mjs');
  module.registerHooks({ load });
} else {
  // Node 20 has hooks in a thread of their own only, which Node 26 deprecates.
  module.register('./typescript-hooks.mjs', import.meta.url);
}

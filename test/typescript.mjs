/**
 * Runs TypeScript under Node 20, for the tests: each source is transpiled once, and kept in node_modules/.cache. The
 * loader that tap brings does so in every process again, which took most of the time of a test run.
 */
import { register } from 'node:module';

register('./typescript-hooks.mjs', import.meta.url);

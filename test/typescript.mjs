/**
 * Runs TypeScript under Node 20, for the tests: the types of each source are stripped once, and what is left is kept in
 * node_modules/.cache. The loader that tap brings does so in every process again, which took most of the time of a test
 * run.
 */
import { register } from 'node:module';

register('./typescript-hooks.mjs', import.meta.url);

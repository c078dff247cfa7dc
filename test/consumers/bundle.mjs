/**
 * Bundles a program by rollup or webpack: `node bundle.mjs BUNDLER esm|cjs plain|minified INPUT OUTPUT`. The bundlers are
 * those of the project and of test/peers; what they warn of is printed.
 */
import { createRequire } from 'node:module';
import { basename, dirname } from 'node:path';

const require = createRequire(new URL('../peers/package.json', import.meta.url));
const [bundler, format, size, input, file] = process.argv.slice(2);
const minified = size === 'minified';

async function byRollup() {
  const { rollup } = await import('@rollup/wasm-node');
  const commonjs = require('@rollup/plugin-commonjs');
  const { nodeResolve } = require('@rollup/plugin-node-resolve');
  const { minify } = require('terser');
  const smaller = {
    name: 'smaller',
    renderChunk: (code) => minify(code, { module: format === 'esm', toplevel: true }),
  };
  const bundle = await rollup({
    input,
    plugins: [nodeResolve({ preferBuiltins: true }), commonjs(), ...(minified ? [smaller] : [])],
    onwarn: ({ message }) => console.error(message),
  });
  await bundle.write({ file, format, inlineDynamicImports: true });
  await bundle.close();
}

async function byWebpack() {
  const { webpack } = require('webpack');
  const compiler = webpack({
    entry: input,
    target: 'node20',
    mode: minified ? 'production' : 'development',
    devtool: false,
    experiments: { outputModule: format === 'esm' },
    output: {
      path: dirname(file),
      filename: basename(file),
      module: format === 'esm',
      library: { type: format === 'esm' ? 'module' : 'commonjs2' },
    },
  });
  const stats = await new Promise((resolve, reject) => {
    compiler.run((error, stats) => (error === null ? resolve(stats) : reject(error)));
  });
  if (stats.hasErrors() || stats.hasWarnings()) console.error(stats.toString('errors-warnings'));
}

await (bundler === 'rollup' ? byRollup() : byWebpack());

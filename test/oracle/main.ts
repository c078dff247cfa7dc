/**
 * A longer run of the oracle, on demand: `npm run oracle -- --runs 100000 --seed 1`. Prints what was compared, and the
 * first script whose traces differ, made small; the exit code is then 1. `--differences` prints the list of what it lets
 * pass, in Markdown.
 */
import { parseArgs } from 'node:util';
import { DIFFERENCES } from './differences.ts';
import { faultAsText, reportAsText, runOracle, whyNoTwisted } from './oracle.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    differences: { type: 'boolean', default: false },
  },
});

function wholeNumber(name: string, text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  throw new RangeError(`--${name} must be a whole number of at most ten digits, not ${text}`);
}

async function run(): Promise<void> {
  const [seed, runs] = [wholeNumber('seed', values.seed), wholeNumber('runs', values.runs)];
  const reason = whyNoTwisted();
  if (reason !== undefined) throw new Error(`the oracle cannot be asked: ${reason}`);
  console.log(`seed ${seed}`);
  let told = performance.now();
  const report = await runOracle(seed, runs, (done) => {
    if (performance.now() - told < 10_000) return;
    told = performance.now();
    console.log(`${done} scripts compared`);
  });
  console.log(reportAsText(report));
  if (report.fault === undefined) return;
  console.log(faultAsText(report.fault));
  process.exitCode = 1;
}

if (values.differences) {
  console.log('| Difference | What plait does, and why | In the oracle |\n|---|---|---|');
  for (const { name, reason, how } of DIFFERENCES) console.log(`| ${name} | ${reason} | ${how} |`);
} else {
  await run();
}

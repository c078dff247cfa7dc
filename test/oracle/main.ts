/**
 * A longer run of the oracle, on demand: `npm run oracle -- --runs 100000 --seed 1`. Prints what was compared, and the
 * first script whose traces differ, made small; the exit code is then 1. `--sockets` runs the oracle over sockets.
 * `--differences` prints the list of what the oracle lets pass, in Markdown.
 */
import { parseArgs } from 'node:util';
import { DIFFERENCES } from './differences.ts';
import { faultAsText, reportAsText, runOracle, whyNoTwisted } from './oracle.ts';
import { SOCKET_DIFFERENCES } from './sockets/differences.ts';
import * as sockets from './sockets/oracle.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '20000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    sockets: { type: 'boolean', default: false },
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
  const tell = (done: number): void => {
    if (performance.now() - told < 10_000) return;
    told = performance.now();
    console.log(`${done} scripts compared`);
  };
  const fault = await (values.sockets ? overSockets : ofDeferreds)(seed, runs, tell);
  if (fault === undefined) return;
  console.log(fault);
  process.exitCode = 1;
}

type Run = (
  seed: number,
  runs: number,
  tell: (done: number) => void,
) => Promise<string | undefined>;

const ofDeferreds: Run = async (seed, runs, tell) => {
  const report = await runOracle(seed, runs, tell);
  console.log(reportAsText(report));
  return report.fault && faultAsText(report.fault);
};

const overSockets: Run = async (seed, runs, tell) => {
  const report = await sockets.runSocketOracle(seed, runs, tell);
  console.log(sockets.reportAsText(report));
  return report.fault && sockets.faultAsText(report.fault);
};

if (values.differences) {
  console.log('| Difference | What plait does, and why | In the oracle |\n|---|---|---|');
  const list = values.sockets ? SOCKET_DIFFERENCES : DIFFERENCES;
  for (const { name, reason, how } of list) console.log(`| ${name} | ${reason} | ${how} |`);
} else {
  await run();
}

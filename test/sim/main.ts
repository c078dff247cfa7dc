/**
 * The protocols in simulation, on demand: `npm run sim -- --runs 100000`. Plays each scenario for so many seeds (or one,
 * by `--scenario`), prints what happened and how much CPU it took, and stops with exit code 1 at the first seed that
 * fails, with its timeline; `--brief` shows of it only what has failed. `--seed` begins elsewhere. `--mutants` runs the
 * scenarios against planted faults, `--mutant` against one of them, by its name. `--speed` measures the simulator.
 */
import { parseArgs } from 'node:util';
import { simulate, SimulationFailed } from 'plait/testing';
import { runMutants } from './mutants.ts';
import { programOf, type Scenario, Tally } from './scenario.ts';
import { SCENARIOS } from './scenarios.ts';
import { echoSpeed, idleCost } from './speed.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '2000' },
    seed: { type: 'string', default: '1' },
    scenario: { type: 'string', multiple: true },
    mutants: { type: 'boolean', default: false },
    mutant: { type: 'string', multiple: true },
    speed: { type: 'boolean', default: false },
    brief: { type: 'boolean', default: false },
  },
});

function wholeNumber(name: string, text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw new RangeError(`--${name} must be a whole number of at most ten digits, not ${text}`);
}

function percent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}

const brevity = values.brief ? { shrink: false, trace: 1 } : {};

/** Seeds that are played between two looks at the clock. */
const BATCH = 1000;

/** Plays a scenario, and says every ten seconds how far it has come. */
async function playOne(scenario: Scenario, first: number, runs: number): Promise<void> {
  const tally = new Tally();
  const sum = { runs: 0, events: 0, faults: 0, seconds: 0 };
  const began = process.cpuUsage();
  let told = performance.now();
  // One seed is played again, and no other.
  const replayed = (process.env['PLAIT_SEED'] ?? '') !== '';
  for (let done = 0; done < (replayed ? 1 : runs); done += BATCH) {
    const options = { runs: Math.min(BATCH, runs - done), seed: first + done, ...brevity };
    const report = await simulate(options, programOf(scenario, tally));
    for (const key of ['runs', 'events', 'faults', 'seconds'] as const) sum[key] += report[key];
    if (performance.now() - told < 10_000) continue;
    told = performance.now();
    console.log(`${scenario.name}: ${sum.runs} runs`);
  }
  const { user, system } = process.cpuUsage(began);
  const cpu = ((user + system) / 1e6).toFixed(1);
  console.log(
    `${scenario.name}: ${sum.runs} runs, ${sum.events} events, ${sum.faults} faults, ` +
      `${Math.round(sum.seconds)} simulated seconds, ${cpu} s CPU\n` +
      `  right: calm ${percent(tally.share('calm'))}, rough ${percent(tally.share('rough'))}, ` +
      `hostile ${percent(tally.share('hostile'))}\n  ${tally}`,
  );
}

async function play(): Promise<boolean> {
  const [seed, runs] = [wholeNumber('seed', values.seed), wholeNumber('runs', values.runs)];
  const unknown = values.scenario?.find((name) => !SCENARIOS.some((each) => each.name === name));
  if (unknown !== undefined) throw new RangeError(`there is no scenario ${unknown}`);
  for (const scenario of SCENARIOS) {
    const { name } = scenario;
    if (values.scenario !== undefined && !values.scenario.includes(name)) continue;
    try {
      await playOne(scenario, seed, runs);
    } catch (error) {
      if (!(error instanceof SimulationFailed)) throw error;
      const { message } = error.cause as Error;
      console.log(
        `${name} fails with seed ${error.seed}\n${values.brief ? message : error.message}`,
      );
      return false;
    }
  }
  return true;
}

async function findPlanted(names: readonly string[] | undefined): Promise<boolean> {
  const missed = await runMutants(names, (line) => console.log(line));
  console.log(missed.length === 0 ? 'all were found' : `${missed.length} were missed`);
  return missed.length === 0;
}

function measure(): boolean {
  for (const conditions of ['ideal', 'calm'] as const) {
    const speed = Math.round(echoSpeed(conditions));
    console.log(`echo, ${conditions}: ${speed} exchanges per second of CPU`);
  }
  console.log(`an hour of 100 idle connections: ${(1000 * idleCost()).toFixed(1)} ms of CPU`);
  return true;
}

async function run(): Promise<boolean> {
  if (values.speed) return measure();
  return values.mutants || values.mutant !== undefined ? findPlanted(values.mutant) : play();
}

if (!(await run())) process.exitCode = 1;

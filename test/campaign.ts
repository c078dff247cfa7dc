/**
 * How long random tests run. `npm test` gives a taste; `npm run ci` runs the same files as campaigns, by PLAIT_CAMPAIGN.
 * PLAIT_RUNS=… gives a number of its own, and PLAIT_SEED=… the seed; without it each run takes a fresh one and prints it.
 */

/** True where `npm run ci` runs this test. */
export const inCampaign: boolean = (process.env['PLAIT_CAMPAIGN'] ?? '') !== '';

/** How many runs to make: `taste` in `npm test`, `campaign` in `npm run ci`, or what PLAIT_RUNS says. */
export function howMany(taste: number, campaign: number): number {
  return Number(process.env['PLAIT_RUNS'] ?? (inCampaign ? campaign : taste));
}

/** The seed that PLAIT_SEED names, or a fresh one. */
export function freshSeed(): number {
  return Number(process.env['PLAIT_SEED'] ?? Date.now() % 1_000_000_000);
}

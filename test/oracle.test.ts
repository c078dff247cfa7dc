/**
 * Deferreds against Twisted: the same random scripts are run by plait and by Debian's python3-twisted, and must leave
 * equal traces. A failing script is made small and printed with its seed: PLAIT_SEED=… starts from that one, and
 * PLAIT_RUNS=… says how many are run. `npm run oracle` runs more.
 */
import { readFileSync } from 'node:fs';
import { freshSeed, howMany } from './campaign.ts';
import t from './fixture.ts';
import { DIFFERENCES } from './oracle/differences.ts';
import { KINDS } from './oracle/draft.ts';
import {
  compare,
  faultAsText,
  runOracle,
  showDifference,
  Twisted,
  whyNoTwisted,
} from './oracle/oracle.ts';
import type { Script } from './oracle/script.ts';

const inCI = process.env['CI'] !== undefined;
const seed = freshSeed();
const runs = howMany(3000, 20_000);
const skip = inCI ? false : (whyNoTwisted() ?? false);

t.test('random scripts leave the same trace with plait and with Twisted', { skip }, async (t) => {
  t.comment(`PLAIT_SEED=${seed}`);
  const { fault, used, performed } = await runOracle(seed, runs);
  t.equal(fault === undefined ? '' : faultAsText(fault), '');

  const names = DIFFERENCES.map(({ name }) => name);
  const unknown = [...used.keys()].filter((name) => !names.includes(name));
  t.same(unknown, [], 'whatever was corrected is in the list of differences');
  if (runs < 3000 || fault !== undefined) return;
  t.same(
    KINDS.filter((kind) => !performed.has(kind)),
    [],
    'every kind of step was performed',
  );
});

t.test('each intended difference is what really happens', { skip }, async (t) => {
  const twisted = new Twisted();
  t.teardown(() => twisted.close());
  for (const { name, examples } of DIFFERENCES) {
    for (const { plait, twisted: twisteds, ...example } of examples) {
      t.same(await showDifference(twisted, example), { plait, twisted: twisteds }, name);
    }
  }
});

t.test('docs/design.md lists each intended difference with its reason', (t) => {
  const page = readFileSync(new URL('../docs/design.md', import.meta.url), 'utf8');
  for (const { name, reason, how } of DIFFERENCES) {
    const row = page.split('\n').find((line) => line.startsWith(`| ${name} `)) ?? '';
    t.ok(row.includes(reason) && row.includes(how), name);
  }
  t.end();
});

/** Scripts that random ones were made small to, when they found a fault; some are too rare to wait for. */
const FOUND: Readonly<Record<string, Script>> = {
  'cancelling what waits for a DeferredList reaches its Deferreds': [
    { step: 'new', d: 0 },
    { step: 'list', of: [0], d: 1, options: [] },
    { step: 'inline', label: 1, ops: [{ op: 'wait', d: 1 }], d: 2 },
    { step: 'succeed', d: 3, value: 1 },
    { step: 'addBoth', d: 3, body: { label: 2, steps: [], then: { end: 'deferred', d: 2 } } },
    { step: 'cancel', d: 3 },
  ],
  'cancelling a coroutine comes to an end though it waits for what waits for it': [
    { step: 'new', d: 0 },
    { step: 'inline', label: 1, ops: [{ op: 'wait', d: 0 }], d: 1 },
    { step: 'inline', label: 2, ops: [{ op: 'wait', d: 1 }], d: 2 },
    {
      step: 'addErrback',
      d: 0,
      body: {
        label: 3,
        steps: [{ step: 'inline', label: 4, ops: [{ op: 'wait', d: 0 }], d: 3 }],
        then: { end: 'deferred', d: 3 },
      },
    },
    { step: 'cancel', d: 2 },
    { step: 'cancel', d: 0 },
    { step: 'cancel', d: 3 },
  ],
  'what a delayed call asks for after moving the clock on is made': [
    {
      step: 'callLater',
      call: 0,
      seconds: 1,
      args: [],
      body: {
        label: 1,
        steps: [
          { step: 'advance', seconds: 1 },
          { step: 'deferLater', d: 0, seconds: 0 },
        ],
        then: { end: 'same' },
      },
    },
    { step: 'advance', seconds: 1 },
  ],
  'a Deferred goes on after resuming a coroutine that was fired by somebody else': [
    { step: 'new', d: 0 },
    { step: 'inline', label: 1, ops: [{ op: 'wait', d: 0 }], d: 1 },
    { step: 'addBoth', d: 0, body: { label: 2, steps: [], then: { end: 'wrap' } } },
    { step: 'callback', d: 1, value: 1 },
    { step: 'callback', d: 0, value: 2 },
  ],
  'those who wait behind a long line see what the one before has left': [
    { step: 'semaphore', lock: 0, tokens: 1 },
    { step: 'acquire', lock: 0, d: 0 },
    { step: 'crowd', lock: 0, count: 2000, inside: true, coroutines: false, cancel: 0 },
    {
      step: 'lockRun',
      lock: 0,
      d: 1,
      args: [],
      body: { label: 1, steps: [], then: { end: 'throw', error: { name: 'Bang', message: 'no' } } },
    },
    {
      step: 'lockRun',
      lock: 0,
      d: 2,
      args: [],
      body: { label: 2, steps: [], then: { end: 'deferred', d: 1 } },
    },
    {
      step: 'addCallback',
      d: 2,
      body: { label: 3, steps: [], then: { end: 'value', value: 1 } },
    },
    { step: 'release', lock: 0 },
  ],
  'a failure that comes back from the Deferred that it was chained to is unhandled': [
    { step: 'fail', d: 0, error: { name: 'Bang', message: 'no' } },
    { step: 'new', d: 1 },
    { step: 'chain', d: 0, other: 1 },
    { step: 'addCallback', d: 0, body: { label: 1, steps: [], then: { end: 'deferred', d: 1 } } },
  ],
  'chaining leaves nothing to a callback that the other Deferred adds at once': [
    { step: 'succeed', d: 0, value: 1 },
    { step: 'new', d: 1 },
    {
      step: 'addBoth',
      d: 1,
      body: {
        label: 1,
        steps: [
          { step: 'addCallback', d: 0, body: { label: 2, steps: [], then: { end: 'same' } } },
        ],
        then: { end: 'same' },
      },
    },
    { step: 'chain', d: 0, other: 1 },
  ],
  'what waits for an async function that waits for it is not cancelled': [
    { step: 'new', d: 0 },
    {
      step: 'addBoth',
      d: 0,
      body: {
        label: 1,
        steps: [],
        then: { end: 'async', label: 2, ops: [{ op: 'wait', d: 0 }] },
      },
    },
    { step: 'callback', d: 0, value: 1 },
    { step: 'cancel', d: 0 },
  ],
  'an async function is cancelled in what it awaits': [
    { step: 'new', d: 0 },
    { step: 'succeed', d: 1, value: 1 },
    {
      step: 'addBoth',
      d: 1,
      body: {
        label: 1,
        steps: [],
        then: { end: 'async', label: 2, ops: [{ op: 'wait', d: 0 }] },
      },
    },
    { step: 'cancel', d: 1 },
  ],
  'chaining leaves nothing, though the other Deferred pauses the first': [
    { step: 'new', d: 0 },
    { step: 'fail', d: 1, error: { name: 'Boom', message: 'no' } },
    {
      step: 'addErrback',
      d: 0,
      body: { label: 1, steps: [{ step: 'pause', d: 1 }], then: { end: 'nothing' } },
    },
    { step: 'chain', d: 1, other: 0 },
  ],
};

t.test('scripts that have found a fault', { skip }, async (t) => {
  const twisted = new Twisted();
  t.teardown(() => twisted.close());
  for (const [name, script] of Object.entries(FOUND)) {
    const [pair] = await compare(twisted, [script]);
    t.same(pair?.plait, pair?.twisted, name);
  }
});

/**
 * The language in which operations on Deferreds are written down as data, so that plait and Twisted can both run them,
 * and the kinds of step that it has. `draft.ts` makes scripts at random and `shrink.ts` makes them smaller;
 * `run-plait.ts` and `run_twisted.py` run them.
 *
 * A script is a list of steps over numbered Deferreds. A step that names a Deferred which is not there does nothing but
 * say so in the trace: so any part of a script may be left out, and the rest is still a script.
 */

/** What Deferreds are fired with. */
export type Value = null | boolean | number | string | Value[];

/** The errors that scripts throw; Bang is a subclass of Boom. */
export type OwnError = 'Boom' | 'Bang' | 'Fizz';

/** The errors that scripts catch; `any` is every error. */
export type Pattern =
  OwnError | 'CancelledError' | 'AlreadyCalledError' | 'TimeoutError' | 'AlreadyCalled' | 'any';

export interface ErrorSpec {
  name: OwnError;
  message: string;
}

/** A function: what it does with what it is given, first and last. */
export interface Body {
  /** Names it in the trace. */
  label: number;
  steps: Step[];
  then: End;
}

/** The kinds of step, and what each has besides its name. `d` is the Deferred that it makes or works on. */
export interface Steps {
  /** Making Deferreds. */
  new: { d: number; canceller?: Body };
  succeed: { d: number; value: Value };
  fail: { d: number; error: ErrorSpec };
  maybe: { d: number; value: Value; body: Body };
  ensure: { d: number; other: number };
  notCoroutine: { value: Value };
  /** Firing them. */
  callback: { d: number; value: Value };
  callbackFailure: { d: number; error: ErrorSpec };
  callbackDeferred: { d: number; other: number };
  errback: { d: number; error: ErrorSpec };
  errbackFailure: { d: number; error: ErrorSpec };
  cancel: { d: number };
  /** Adding to their chains. */
  addCallback: { d: number; body: Body };
  addErrback: { d: number; body: Body };
  addBoth: { d: number; body: Body };
  addCallbackWith: { d: number; body: Body; args: Value[] };
  addErrbackWith: { d: number; body: Body; args: Value[] };
  addBothWith: { d: number; body: Body; args: Value[] };
  addCallbacks: { d: number; ok: Body; bad: Body | null };
  addNothing: { d: number; value: Value };
  chain: { d: number; other: number };
  pause: { d: number };
  unpause: { d: number };
  timeout: { d: number; seconds: number };
  timeoutHook: { d: number; seconds: number; body: Body };
  /** Several of them. */
  list: { d: number; of: number[]; options: ListOption[] };
  firstOf: { d: number; of: number[]; options: ListOption[] };
  firstFailure: { d: number; of: number[]; options: ListOption[] };
  gather: { d: number; of: number[]; consume: boolean };
  /** Coroutines: made by `inlineCallbacks`, and of a generator by `ensureDeferred`. */
  inline: { d: number; label: number; ops: Op[] };
  coroutine: { d: number; label: number; ops: Op[] };
  /** `inlineCallbacks` of a function that is no generator. */
  inlinePlain: { d: number; body: Body };
  /** Time. */
  deferLater: { d: number; seconds: number };
  deferLaterCall: { d: number; seconds: number; body: Body; args: Value[] };
  callLater: { call: number; seconds: number; body: Body; args: Value[] };
  callCancel: { call: number };
  callReset: { call: number; seconds: number };
  callDelay: { call: number; seconds: number };
  callLook: { call: number };
  loop: { loop: number; body: Body; args: Value[] };
  /** A looping call whose function is given how many calls were due. */
  loopCount: { loop: number; body: Body };
  loopStart: { loop: number; d: number; seconds: number; now: boolean };
  loopStop: { loop: number };
  loopReset: { loop: number };
  loopLook: { loop: number };
  advance: { seconds: number };
  pump: { times: number[] };
  /** Locks and queues. */
  lock: { lock: number };
  semaphore: { lock: number; tokens: number };
  acquire: { lock: number; d: number };
  release: { lock: number };
  lockRun: { lock: number; d: number; body: Body; args: Value[] };
  lockLook: { lock: number };
  queue: { queue: number; size: number | null; backlog: number | null };
  put: { queue: number; value: Value };
  putWait: { queue: number; value: Value; d: number };
  get: { queue: number; d: number };
  queueLook: { queue: number };
  condition: { condition: number };
  conditionAcquire: { condition: number; d: number };
  conditionRelease: { condition: number };
  conditionWait: { condition: number; d: number };
  notify: { condition: number; count: number };
  notifyAll: { condition: number };
  conditionLook: { condition: number };
  /** Very many who wait. */
  crowd: { lock: number } & Crowd;
  crowdGet: { queue: number } & Crowd;
}

/** So many wait in line, and each that is served serves the next, or all are served from outside. */
export interface Crowd {
  count: number;
  inside: boolean;
  /** Each of them is a coroutine, not a callback. */
  coroutines: boolean;
  /** Every so manyth is cancelled before the first is served; 0 for none. */
  cancel: number;
}

export type ListOption = 'fireOnOneCallback' | 'fireOnOneErrback' | 'consumeErrors';

/** How a function ends, after its steps. */
export interface Ends {
  /** Returns what it was given. */
  same: object;
  nothing: object;
  value: { value: Value };
  /** Returns what it was given, in a list. */
  wrap: object;
  throw: { error: ErrorSpec };
  failure: { error: ErrorSpec };
  deferred: { d: number };
  /** Throws the error of the failure that it was given. */
  raise: object;
  trap: { names: Pattern[]; value: Value };
  /** Returns whether the failure that it was given matches. */
  check: { names: Pattern[] };
  /** It is a generator function, and this is what it does. */
  generator: { label: number; ops: Op[] };
  /** It is an async function, and this is what it does. */
  async: { label: number; ops: Op[] };
}

/** What a coroutine does. */
export interface Ops {
  steps: { steps: Step[] };
  /** A plain `yield` of a Deferred. */
  wait: { d: number };
  /** `yield*` of a Deferred; in Python `yield from`, which is what `await` does. */
  waitFrom: { d: number };
  yield: { value: Value };
  yieldFailure: { error: ErrorSpec };
  /** try, catch and finally. */
  attempt: { ops: Op[]; names: Pattern[]; handler: Op[]; finally: Op[] | null };
  again: { times: number; ops: Op[] };
  return: { value: Value };
  returnDeferred: { d: number };
  /** Returns what it was last given. */
  give: object;
  throw: { error: ErrorSpec };
}

export type StepKind = keyof Steps;
export type EndKind = keyof Ends;
export type OpKind = keyof Ops;

export type StepOf<K extends StepKind> = { step: K } & Steps[K];
export type Step = { [K in StepKind]: StepOf<K> }[StepKind];
export type End = { [K in EndKind]: { end: K } & Ends[K] }[EndKind];
export type Op = { [K in OpKind]: { op: K } & Ops[K] }[OpKind];

export type Script = Step[];

/** Steps beyond this many are not performed: a script that would go on and on is cut off, on both sides alike. */
export const MOST_STEPS = 400;

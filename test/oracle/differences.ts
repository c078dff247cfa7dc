/**
 * Where plait differs from Twisted on purpose, and why: the one list of what the oracle lets pass. Each difference has
 * examples that show what both really do, and a test runs them.
 *
 * How the oracle lets it pass: `corrected`, Twisted is corrected before it runs a script (corrections.py says where, by
 * the same name); `written alike`, both traces name the same thing alike; `left out`, no script does it.
 */
import type { Body, End, ErrorSpec, Op, Script, Step } from './script.ts';

export interface Example {
  readonly script: Script;
  /** The lines that only plait's trace has. */
  readonly plait: readonly string[];
  /** The lines that only Twisted's trace has. */
  readonly twisted: readonly string[];
  /** With every error's message, and what is otherwise written alike. */
  readonly raw?: true;
}

export interface Difference {
  readonly name: string;
  /** What plait does, what Twisted does, and why plait's way is better. */
  readonly reason: string;
  readonly how: 'corrected' | 'written alike' | 'left out';
  readonly examples: readonly Example[];
}

const boom: ErrorSpec = { name: 'Boom', message: 'no' };
const same: End = { end: 'same' };

function body(label: number, steps: Step[], then: End = same): Body {
  return { label, steps, then };
}

function inline(d: number, ...ops: Op[]): Step {
  return { step: 'inline', d, label: d, ops };
}

export const DIFFERENCES: readonly Difference[] = [
  {
    name: 'result-kept',
    reason:
      'A coroutine that waits for a Deferred sees its result and leaves it there, for others who wait for it. With Twisted it takes the result away, and the next one gets None.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          inline(1, { op: 'wait', d: 0 }),
          inline(2, { op: 'wait', d: 0 }),
          { step: 'callback', d: 0, value: 5 },
        ],
        plait: ['c2 got 5', '= d0 5'],
        twisted: ['c2 got none', '= d0 none'],
      },
    ],
  },
  {
    name: 'observed-once',
    reason:
      'A failure that a coroutine was given is the coroutine’s to report, and stays so when its Deferred runs another callback that lets the failure pass. Twisted then reports it after all.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'fail', d: 0, error: boom },
          inline(1, {
            op: 'attempt',
            ops: [{ op: 'waitFrom', d: 0 }],
            names: ['any'],
            handler: [],
            finally: null,
          }),
          { step: 'addCallback', d: 0, body: body(1, []) },
        ],
        plait: [],
        twisted: ['unhandled Boom: no'],
      },
    ],
  },
  {
    name: 'await-inside',
    reason:
      'A coroutine gets the result at the point of the chain where it began to wait, also if it does so from within the chain. Twisted’s `await` gives it the result that is just being worked on.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'succeed', d: 0, value: 5 },
          {
            step: 'addCallback',
            d: 0,
            body: body(1, [inline(1, { op: 'waitFrom', d: 0 })], { end: 'value', value: 6 }),
          },
        ],
        plait: ['  = d1 unfired', 'c1 got 6', '= d1 none'],
        twisted: ['  c1 got 5', '  = d1 none'],
      },
    ],
  },
  {
    name: 'wait-in-turn',
    reason:
      'Those who wait for a Deferred get its result in the order in which they came. Twisted keeps one waiting longer if the chain is run by its coming.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'new', d: 1 },
          { step: 'pause', d: 1 },
          { step: 'addBoth', d: 0, body: body(1, [], { end: 'deferred', d: 1 }) },
          { step: 'callback', d: 0, value: 3 },
          inline(2, { op: 'wait', d: 0 }, { op: 'wait', d: 1 }),
          { step: 'callback', d: 1, value: 4 },
          inline(3, { op: 'wait', d: 1 }, { op: 'wait', d: 1 }),
        ],
        plait: ['c2 got none', '= d0 4'],
        twisted: ['c2 got none', '= d0 none'],
      },
    ],
  },
  {
    name: 'ring',
    reason:
      'A Deferred that is to wait for itself, by way of others too, fails at once with TypeError. With Twisted it waits for ever.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'addCallback', d: 0, body: body(1, [], { end: 'deferred', d: 0 }) },
          { step: 'callback', d: 0, value: 5 },
        ],
        plait: ['= d0 Failure(refused)', 'unhandled refused'],
        twisted: ['= d0 waits for d0, paused 1'],
      },
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'new', d: 1 },
          { step: 'addCallback', d: 0, body: body(1, [], { end: 'deferred', d: 1 }) },
          { step: 'addCallback', d: 1, body: body(2, [], { end: 'deferred', d: 0 }) },
          { step: 'callback', d: 0, value: 5 },
          { step: 'callback', d: 1, value: 6 },
        ],
        plait: ['= d0 Failure(refused)', '= d1 none', 'unhandled refused'],
        twisted: ['= d1 waits for d0, paused 1'],
      },
    ],
  },
  {
    name: 'pause-inside',
    reason:
      'pause() holds back what comes next in the chain, also when it is called from within the chain. With Twisted the rest still runs.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'addCallback', d: 0, body: body(1, [{ step: 'pause', d: 0 }]) },
          { step: 'addCallback', d: 0, body: body(2, []) },
          { step: 'callback', d: 0, value: 5 },
        ],
        plait: ['unpause d0'],
        twisted: ['unpause d0'],
      },
    ],
  },
  {
    name: 'hand-over-to-paused',
    reason:
      'A Deferred that gives its result to another one runs the rest of its own chain. Twisted forgets to if the other one is paused, until something else is added.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'succeed', d: 1, value: 1 },
          { step: 'addCallback', d: 1, body: body(1, [], { end: 'deferred', d: 0 }) },
          { step: 'pause', d: 1 },
          { step: 'addBoth', d: 0, body: body(2, []) },
          { step: 'callback', d: 0, value: 5 },
          { step: 'callLater', call: 0, seconds: 0, body: body(3, []), args: [] },
          { step: 'advance', seconds: 0 },
        ],
        plait: ['f2(none)'],
        twisted: [],
      },
    ],
  },
  {
    name: 'unpause-unpaused',
    reason:
      'unpause() without pause() throws RangeError. With Twisted it makes the count negative, and the Deferred stops.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'unpause', d: 0 },
          { step: 'addBoth', d: 0, body: body(1, []) },
          { step: 'callback', d: 0, value: 5 },
        ],
        plait: ['! refused', 'f1(5)', '= d0 5'],
        twisted: ['= d0 unfired, paused -1', '= d0 5, paused -1'],
      },
    ],
  },
  {
    name: 'fired-list',
    reason:
      'Cancelling a DeferredList that has fired and waits for what its callback returned cancels that, as with any Deferred. With Twisted it does nothing.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'list', d: 1, of: [], options: [] },
          { step: 'addCallback', d: 1, body: body(1, [], { end: 'deferred', d: 0 }) },
          { step: 'cancel', d: 1 },
        ],
        plait: ['= d0 none', '= d1 Failure(CancelledError)', 'unhandled CancelledError'],
        twisted: [],
      },
    ],
  },
  {
    name: 'ring-of-lists',
    reason:
      'Cancelling a DeferredList that waits for what waits for it does nothing. With Twisted it recurs until the stack is full.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'addCallback', d: 0, body: body(1, [], { end: 'deferred', d: 1 }) },
          { step: 'list', d: 1, of: [0], options: [] },
          { step: 'callback', d: 0, value: 5 },
          { step: 'cancel', d: 1 },
        ],
        plait: [],
        twisted: ['logged RecursionError'],
      },
    ],
  },
  {
    name: 'coroutine-cancel',
    reason:
      'Cancelling a coroutine cancels what it waits for, and no more: its Deferred is fired when the generator has come to its end, there and then. With Twisted it counts as called at once, and its callbacks run when cancel() returns; cancelling it is put off while it is paused, is lost while it runs (here what it waits for next is cancelled), and what a canceller throws becomes its failure, though the generator goes on (here it is thrown from cancel(), as from that of any Deferred).',
    how: 'corrected',
    examples: [
      {
        raw: true,
        script: [
          { step: 'new', d: 0, canceller: body(1, [{ step: 'callback', d: 0, value: 5 }]) },
          { step: 'new', d: 1 },
          inline(2, { op: 'wait', d: 0 }, { op: 'wait', d: 1 }),
          { step: 'cancel', d: 2 },
        ],
        plait: ['  = d0 called 5'],
        twisted: ['  = d0 called none', '  = d2 called unfired'],
      },
      {
        script: [
          { step: 'new', d: 0, canceller: body(1, [{ step: 'callback', d: 0, value: 5 }]) },
          inline(2, { op: 'waitFrom', d: 0 }),
          { step: 'addBoth', d: 0, body: body(3, []) },
          { step: 'addBoth', d: 2, body: body(4, []) },
          { step: 'cancel', d: 2 },
        ],
        plait: ['  f4(none)', '  f3(5)', '  = d0 5', '  = d2 none'],
        twisted: ['  f3(none)', '  = d0 none', 'f4(none)', '= d2 none'],
      },
      {
        script: [
          { step: 'new', d: 0 },
          inline(1, { op: 'wait', d: 0 }),
          { step: 'pause', d: 1 },
          { step: 'cancel', d: 1 },
        ],
        plait: ['= d0 Failure(CancelledError)', '= d1 Failure(CancelledError), paused 1'],
        twisted: ['= d0 none'],
      },
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'new', d: 1 },
          inline(
            2,
            { op: 'wait', d: 0 },
            { op: 'steps', steps: [{ step: 'cancel', d: 2 }] },
            { op: 'wait', d: 1 },
          ),
          { step: 'callback', d: 0, value: 5 },
        ],
        plait: [
          '= d1 Failure(CancelledError)',
          '= d2 Failure(CancelledError)',
          'unhandled CancelledError',
        ],
        twisted: ['= d0 none'],
      },
      {
        script: [
          { step: 'new', d: 0, canceller: body(1, [], { end: 'throw', error: boom }) },
          inline(2, { op: 'wait', d: 0 }),
          { step: 'cancel', d: 2 },
          { step: 'callback', d: 0, value: 5 },
        ],
        plait: ['! Boom: no', '= d0 5', '= d2 none'],
        twisted: ['= d2 Failure(Boom: no)', '= d0 none', 'unhandled Boom: no'],
      },
    ],
  },
  {
    name: 'canceller-failed',
    reason:
      'Where it is not the program that cancels (a timeout, a DeferredList, a coroutine that was cancelled while it ran), what a canceller throws is logged and the Deferred that it belongs to fails with CancelledError, so that what waits for it ends. With Twisted it stays as it is, and what waits for it waits for ever.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0, canceller: body(1, [], { end: 'throw', error: boom }) },
          { step: 'list', d: 1, of: [0], options: ['consumeErrors'] },
          { step: 'cancel', d: 1 },
        ],
        plait: ['= d0 none', '= d1 [[false, Failure(CancelledError)]]'],
        twisted: [],
      },
    ],
  },
  {
    name: 'generator-returned',
    reason:
      'A generator that a callback returns is run as a coroutine. With Twisted it is the value, and nothing runs it.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'succeed', d: 1, value: 5 },
          {
            step: 'addCallback',
            d: 1,
            body: body(1, [], {
              end: 'generator',
              label: 2,
              ops: [{ op: 'wait', d: 0 }, { op: 'give' }],
            }),
          },
          { step: 'callback', d: 0, value: 6 },
        ],
        plait: [
          'c2 starts',
          'c2 waits for d0',
          '= d1 waits for an inner Deferred, paused 1',
          'c2 got 6',
          '= d1 6',
        ],
        twisted: ['= d1 generator'],
      },
    ],
  },
  {
    name: 'async-returned',
    reason:
      'The promise that an async function returns is waited for, and such a function goes on when the stack is empty, as everywhere in JavaScript. With Twisted it is the value, and nothing runs it.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'succeed', d: 0, value: 5 },
          {
            step: 'addCallback',
            d: 0,
            body: body(1, [], { end: 'async', label: 2, ops: [{ op: 'return', value: 6 }] }),
          },
        ],
        plait: ['  c2 starts', '= d0 waits for an inner Deferred, paused 1', '= d0 6'],
        twisted: ['= d0 generator'],
      },
    ],
  },
  {
    name: 'call-fails-later',
    reason:
      'What a delayed call returns is watched: a Deferred that fails counts as thrown by it, and is logged there and then. With Twisted it is reported as unhandled, when it is collected.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'fail', d: 0, error: boom },
          {
            step: 'callLater',
            call: 0,
            seconds: 1,
            body: body(1, [], { end: 'deferred', d: 0 }),
            args: [],
          },
          { step: 'advance', seconds: 1 },
        ],
        plait: ['logged Boom: no'],
        twisted: ['unhandled Boom: no'],
      },
    ],
  },
  {
    name: 'coroutine-fired',
    reason:
      'If somebody else has fired a coroutine’s Deferred, what the coroutine comes to is dropped and AlreadyCalledError is logged. With Twisted that becomes the failure of the Deferred that it waited for last, which has done nothing wrong.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          inline(1, { op: 'wait', d: 0 }),
          { step: 'callback', d: 1, value: 5 },
          { step: 'callback', d: 0, value: 6 },
        ],
        plait: ['logged AlreadyCalledError', '= d0 6'],
        twisted: ['= d0 Failure(AlreadyCalledError)', 'unhandled AlreadyCalledError'],
      },
    ],
  },
  {
    name: 'deferred-returned',
    reason:
      'A coroutine may return a Deferred, which is then waited for, as a callback may. With Twisted an assertion fails, in whatever fired what the coroutine waited for last.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'new', d: 0 },
          { step: 'new', d: 1 },
          inline(2, { op: 'wait', d: 0 }, { op: 'returnDeferred', d: 1 }),
          { step: 'callback', d: 0, value: 5 },
          { step: 'callback', d: 1, value: 6 },
        ],
        plait: ['= d0 5', '= d2 waits for d1, paused 1', '= d1 none', '= d2 6'],
        twisted: ['= d0 Failure(refused)', '= d1 6', 'unhandled refused'],
      },
    ],
  },
  {
    name: 'plain-function',
    reason:
      'A function made by inlineCallbacks always returns a Deferred, which fails if the function is no generator (unless it returns a Failure) or throws. With Twisted that is thrown from the call.',
    how: 'corrected',
    examples: [
      {
        script: [{ step: 'inlinePlain', d: 0, body: body(1, [], { end: 'throw', error: boom }) }],
        plait: ['= d0 Failure(Boom: no)', 'unhandled Boom: no'],
        twisted: ['! Boom: no'],
      },
    ],
  },
  {
    name: 'failed-call',
    reason:
      'What a delayed call throws is logged, on a Clock as on a reactor, and the other calls are made. With Twisted it ends the Clock’s advance().',
    how: 'corrected',
    examples: [
      {
        script: [
          {
            step: 'callLater',
            call: 0,
            seconds: 1,
            body: body(1, [], { end: 'throw', error: boom }),
            args: [],
          },
          { step: 'callLater', call: 1, seconds: 1, body: body(2, []), args: [] },
          { step: 'advance', seconds: 1 },
        ],
        plait: ['logged Boom: no', 'f2()'],
        twisted: ['! Boom: no'],
      },
    ],
  },
  {
    name: 'equal-times',
    reason:
      'Calls that are due at the same time are made in the order in which they were asked for, or last moved. With Twisted’s Clock one that was moved keeps the place that it had.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'callLater', call: 0, seconds: 1, body: body(1, []), args: [] },
          { step: 'callLater', call: 1, seconds: 2, body: body(2, []), args: [] },
          { step: 'callReset', call: 0, seconds: 2 },
          { step: 'advance', seconds: 2 },
        ],
        plait: ['f2()'],
        twisted: ['f2()'],
      },
    ],
  },
  {
    name: 'refusals',
    reason:
      'Wrong use is answered with TypeError, RangeError or Error, which say what is wrong. Twisted has assertions there, which Python can be told to skip.',
    how: 'written alike',
    examples: [
      {
        raw: true,
        script: [
          { step: 'new', d: 0 },
          { step: 'callbackDeferred', d: 0, other: 0 },
          { step: 'addNothing', d: 0, value: 5 },
          { step: 'lock', lock: 0 },
          { step: 'release', lock: 0 },
          { step: 'loop', loop: 0, body: body(1, []), args: [] },
          { step: 'loopStop', loop: 0 },
        ],
        plait: [
          '! TypeError: a Deferred cannot be fired with a Deferred: return it from a callback, or chainDeferred it',
          '! TypeError: a callback must be a function, not 5',
          '! RangeError: cannot release what nobody has acquired',
          '! Error: cannot stop a LoopingCall that is not running',
        ],
        twisted: [
          '! AssertionError: ',
          '! AssertionError: ',
          '! AssertionError: Tried to release an unlocked lock',
          '! AssertionError: Tried to stop a LoopingCall that was not running.',
        ],
      },
    ],
  },
  {
    name: 'messages',
    reason:
      'Every error says what went wrong. Twisted leaves most messages empty; and its TimeoutError is one of two classes of that name, where plait has one.',
    how: 'written alike',
    examples: [
      {
        raw: true,
        script: [
          { step: 'new', d: 0 },
          { step: 'timeout', d: 0, seconds: 2 },
          { step: 'advance', seconds: 2 },
          { step: 'new', d: 1, canceller: body(1, []) },
          { step: 'cancel', d: 1 },
          { step: 'callback', d: 1, value: 5 },
        ],
        plait: [
          '= d0 called Failure(TimeoutError: not done after 2 seconds)',
          '= d1 called Failure(CancelledError: the Deferred was cancelled)',
          '! AlreadyCalledError: this Deferred has already been fired',
          'unhandled CancelledError: the Deferred was cancelled',
          'unhandled TimeoutError: not done after 2 seconds',
        ],
        twisted: [
          "= d0 called Failure(TimeoutError: (2, 'Deferred'))",
          '= d1 called Failure(CancelledError: )',
          '! AlreadyCalledError: ',
          'unhandled CancelledError: ',
          "unhandled TimeoutError: (2, 'Deferred')",
        ],
      },
    ],
  },
  {
    name: 'trap',
    reason: 'trap() and check() return the error, which is typed. Twisted’s return its class.',
    how: 'written alike',
    examples: [
      {
        raw: true,
        script: [
          { step: 'fail', d: 0, error: { name: 'Bang', message: 'no' } },
          {
            step: 'addErrback',
            d: 0,
            body: body(1, [], { end: 'trap', names: ['Boom'], value: 5 }),
          },
        ],
        plait: ['  trap returned Bang: no'],
        twisted: ['  trap returned Boom'],
      },
    ],
  },
  {
    name: 'fired-by-hand',
    reason:
      'deferLater without a function, and gatherResults, keep a value that somebody else fires them with. Twisted’s have a callback of their own that makes None of it, or fails.',
    how: 'left out',
    examples: [
      {
        script: [
          { step: 'deferLater', d: 0, seconds: 1 },
          { step: 'callback', d: 0, value: 5 },
        ],
        plait: ['= d0 5'],
        twisted: ['= d0 none'],
      },
    ],
  },
  {
    name: 'loop-restarted',
    reason:
      'A LoopingCall that is stopped and started again while its function is still being called, or waits for something, begins anew: what the first start returned fires when that call is over. With Twisted it never fires, and that call goes on beside the new ones.',
    how: 'corrected',
    examples: [
      {
        script: [
          {
            step: 'loop',
            loop: 0,
            args: [],
            body: body(1, [
              { step: 'loopStop', loop: 0 },
              { step: 'loopStart', loop: 0, d: 1, seconds: 1, now: false },
            ]),
          },
          { step: 'loopStart', loop: 0, d: 0, seconds: 1, now: false },
          { step: 'advance', seconds: 1 },
        ],
        plait: ['= d0 LoopingCall'],
        twisted: [],
      },
    ],
  },
  {
    name: 'loop-counted',
    reason:
      'A LoopingCall made by withCount that is started again counts from that start on. With Twisted it counts from its last call before, so that its first call may be left out.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'loopCount', loop: 0, body: body(1, []) },
          { step: 'loopStart', loop: 0, d: 0, seconds: 1, now: true },
          { step: 'loopStop', loop: 0 },
          { step: 'loopStart', loop: 0, d: 1, seconds: 1, now: true },
        ],
        plait: ['f1(1)'],
        twisted: [],
      },
    ],
  },
  {
    name: 'woken-by-loop',
    reason:
      'Who waits for a lock, a semaphore, a queue, a condition or a list is woken inside the one before only 64 levels deep, and beyond that by a loop, when the one before has gone on; so any number may wait. With Twisted each is woken inside the one before, until the stack is full.',
    how: 'corrected',
    examples: [
      {
        script: [
          { step: 'lock', lock: 0 },
          { step: 'acquire', lock: 0, d: 0 },
          { step: 'crowd', lock: 0, count: 64, inside: true, coroutines: false, cancel: 0 },
          { step: 'lockRun', lock: 0, d: 1, body: body(1, [], { end: 'nothing' }), args: [] },
          {
            step: 'lockRun',
            lock: 0,
            d: 2,
            body: body(2, [{ step: 'lockLook', lock: 0 }]),
            args: [],
          },
          { step: 'release', lock: 0 },
        ],
        plait: ['  = d1 none'],
        twisted: ['  = d1 DeferredLock', '= d1 none'],
      },
    ],
  },
];

/** What a test learns of a Deferred without waiting (lib/testing/results.ts), and of the errors that were logged. */
import { AssertionError } from 'node:assert';
import {
  Deferred,
  fail,
  Failure,
  globalLogPublisher,
  Logger,
  stderrObserver,
  succeed,
} from 'plait';
import {
  assertNoResult,
  collectLoggedErrors,
  failureResultOf,
  flushLoggedErrors,
  successResultOf,
} from 'plait/testing';
import t from '../../fixture.ts';

// Before all tests, since the fixture collects during each of them.
t.throws(
  () => flushLoggedErrors(),
  { message: 'cannot flush logged errors: collectLoggedErrors() has not been called' },
  'flushing while nothing is collected is an error',
);

const tooMany = () => new RangeError('7 is too many');

t.test('successResultOf', async (t) => {
  t.test('returns the value and takes it', async (t) => {
    const d = succeed({ cups: 7 });
    t.same(successResultOf(d), { cups: 7 });
    t.equal(d.result, undefined);
    t.equal(successResultOf(d), undefined);
  });

  t.test(
    'of a Deferred that was not fired says so, and lets the value pass when it comes',
    async (t) => {
      const d = new Deferred<string>();
      t.throws(() => successResultOf(d), {
        name: 'AssertionError',
        message: 'expected a value, but the Deferred has no result',
      });
      d.callback('late');
      t.equal(successResultOf(d), 'late');
    },
  );

  t.test('of one that waits for another, or is paused, finds no result', async (t) => {
    const inner = new Deferred<number>();
    const outer: Deferred<number> = succeed(1).addCallback(() => inner);
    t.throws(() => successResultOf(outer), { message: /has no result/ });
    inner.callback(2);
    t.equal(successResultOf(outer), 2);
    const paused = succeed(3);
    paused.pause();
    t.throws(() => successResultOf(paused), { message: /has no result/ });
  });

  t.test('of a failure tells which, has it as cause, and counts it as handled', async (t) => {
    const error = tooMany();
    t.throws(() => successResultOf(fail<string>(error)), {
      message: 'expected a value, but the Deferred failed with RangeError: 7 is too many',
      cause: error,
    });
  });

  t.test('points at the line of the test', async (t) => {
    try {
      successResultOf(new Deferred());
      t.fail('did not throw');
    } catch (error) {
      t.ok(error instanceof AssertionError);
      t.match((error as Error).stack?.split('\n')[1], /results\.test\.ts/);
    }
  });
});

t.test('failureResultOf', async (t) => {
  t.test('returns the failure and takes it', async (t) => {
    const error = tooMany();
    const d = fail(error);
    t.equal(failureResultOf(d).value, error);
    t.equal(successResultOf(d), undefined);
  });

  t.test('compares with classes, names and codes', async (t) => {
    const refused = Object.assign(new Error('nobody home'), { code: 'ECONNREFUSED' });
    const failure: Failure<RangeError> = failureResultOf(fail(tooMany()), RangeError);
    t.equal(failure.value.message, '7 is too many');
    t.equal(failureResultOf(fail(tooMany()), TypeError, 'RangeError').value.name, 'RangeError');
    t.equal(failureResultOf(fail(refused), 'ECONNREFUSED').value, refused);
  });

  t.test('of another error tells both', async (t) => {
    const error = tooMany();
    t.throws(() => failureResultOf(fail(error), TypeError, 'ENOENT'), {
      message:
        'expected a failure with TypeError or ENOENT, but the Deferred failed with RangeError: 7 is too many',
      cause: error,
    });
  });

  t.test('of a value shows it', async (t) => {
    t.throws(() => failureResultOf(succeed({ cups: 7 })), {
      message: 'expected a failure, but the Deferred has the value { cups: 7 }',
    });
  });

  t.test(
    'of a Deferred that was not fired says so, and lets the failure pass when it comes',
    async (t) => {
      const d = new Deferred();
      t.throws(() => failureResultOf(d), {
        message: 'expected a failure, but the Deferred has no result',
      });
      d.errback(tooMany());
      t.equal(failureResultOf(d, RangeError).value.message, '7 is too many');
    },
  );
});

t.test('assertNoResult', async (t) => {
  t.test('leaves the Deferred as it is', async (t) => {
    const d = new Deferred<string>();
    assertNoResult(d);
    assertNoResult(d);
    d.callback('late');
    t.equal(successResultOf(d), 'late');
    const e = new Deferred<string>();
    assertNoResult(e);
    e.errback(tooMany());
    t.equal(failureResultOf(e).value.name, 'RangeError');
  });

  t.test('shows a value that it finds, and leaves it', async (t) => {
    const d = succeed(7);
    t.throws(() => assertNoResult(d), {
      message: 'expected no result yet, but the Deferred has the value 7',
    });
    t.equal(successResultOf(d), 7);
  });

  t.test('tells of a failure that it finds, which then counts as handled', async (t) => {
    t.throws(() => assertNoResult(fail(tooMany())), {
      message: 'expected no result yet, but the Deferred failed with RangeError: 7 is too many',
    });
  });
});

t.test('logged errors', async (t) => {
  const log = new Logger('shop');

  t.test('are taken once, in the order in which they were logged', async (t) => {
    log.error('out of {what}', { what: 'tea' });
    log.critical('on fire');
    log.failure('cannot brew', new Failure(tooMany()), 'debug');
    t.same(
      flushLoggedErrors().map((event) => event.format),
      ['out of {what}', 'on fire', 'cannot brew'],
    );
    t.same(flushLoggedErrors(), []);
  });

  t.test('do not include what is no error', async (t) => {
    log.debug('brewing');
    log.info('brewed');
    log.warn('hot');
    t.same(flushLoggedErrors(), []);
  });

  t.test('are chosen by their error, be it a failure or a field', async (t) => {
    log.failure('first', new Failure(tooMany()));
    log.error('second: {error}', { error: new TypeError('tea is no number') });
    log.error('third: {error}', { error: 'no Error' });
    log.error('fourth');
    t.same(
      flushLoggedErrors(TypeError, 'RangeError').map((event) => event.format),
      ['first', 'second: {error}'],
    );
    t.same(flushLoggedErrors(Error), []);
    t.equal(flushLoggedErrors().length, 2);
  });

  t.test(
    'are not written to standard error while they are collected, and are again afterwards',
    async (t) => {
      // This very test runs while the fixture collects; begin from how a program has it.
      globalLogPublisher.addObserver(stderrObserver);
      const stop = collectLoggedErrors();
      t.notOk(globalLogPublisher.observers.includes(stderrObserver));
      const inner = collectLoggedErrors();
      inner();
      t.notOk(globalLogPublisher.observers.includes(stderrObserver));
      stop();
      t.ok(globalLogPublisher.observers.includes(stderrObserver));
      stop();
      globalLogPublisher.removeObserver(stderrObserver);
    },
  );

  t.test('of a collection within another belong to the inner one', async (t) => {
    const stop = collectLoggedErrors();
    log.error('inner');
    t.same(
      stop().map((event) => event.format),
      ['inner'],
    );
    t.same(stop(), []);
    log.error('outer');
    t.same(
      flushLoggedErrors().map((event) => event.format),
      ['outer'],
    );
  });
});

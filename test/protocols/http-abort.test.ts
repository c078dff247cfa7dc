/** What the error of a request or a command says that a signal has cancelled. */
import { type Deferred, Protocol, TCP4ClientEndpoint } from 'plait';
import { ping } from 'plait/protocols/clamd';
import { getPage } from 'plait/protocols/http';
import { ConnectionCompleter, failureResultOf, MemoryReactorClock } from 'plait/testing';
import t from '../fixture.ts';

const REASON = new Error('the user has left');

for (const moment of ['before', 'while it connects', 'while it waits'] as const) {
  for (const protocol of ['http', 'clamd'] as const) {
    t.test(`FND-34: ${protocol} aborted ${moment} says why, by Node's code`, (t) => {
      for (const reason of [REASON, undefined]) {
        const reactor = new MemoryReactorClock();
        const controller = new AbortController();
        const { signal } = controller;
        if (moment === 'before') controller.abort(reason);
        const result =
          protocol === 'http'
            ? getPage('http://127.0.0.1/', { reactor, signal })
            : ping({ endpoint: new TCP4ClientEndpoint(reactor, '127.0.0.1', 80), reactor, signal });
        if (moment === 'while it waits')
          new ConnectionCompleter(reactor).succeedOnce(new Protocol());
        if (moment !== 'before') controller.abort(reason);
        reactor.advance(1);
        const { value } = failureResultOf(result as Deferred<unknown>);
        t.equal(value.cause, signal.reason);
        t.equal((value as { code?: unknown }).code, 'ABORT_ERR');
        t.match(value.name, /Cancelled$/);
      }
      t.end();
    });
  }
}

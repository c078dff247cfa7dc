/**
 * Fetches a page and has clamd scan it: `node dist/docs/examples/check-page.js http://127.0.0.1:8000/ tcp:127.0.0.1:3310`.
 * It needs arguments, so it is run by test/examples.test.ts.
 */
// #region program
import { inlineCallbacks, react } from 'plait';
import { scan } from 'plait/protocols/clamd';
import { getPage } from 'plait/protocols/http';

const check = inlineCallbacks(function* (url: string, clamd: string) {
  const page = yield* getPage(url);
  const verdict = yield* scan(page, { endpoint: clamd });
  return `${url} is ${verdict.status}`;
});

react((reactor, url, clamd) => check(url, clamd).addTimeout(30, reactor).addCallback(console.log));
// #endregion

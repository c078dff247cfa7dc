/**
 * Host names by the system's own resolver, for the default body. The system works in the few threads that Node has for
 * slow work, and a question put to it cannot be taken back. So only some are put at a time; those that wait can be
 * called off, and a question that nobody waits for any more is still there for the next who asks the same. However
 * many are called off, they do not pile up.
 */
import { AsyncResource } from 'node:async_hooks';
import type { Attempt } from './io.ts';

/** Loaded at the first lookup: many programs need none. */
const dns = () => process.getBuiltinModule('node:dns');

/** Called once, with why there is no answer, or with the addresses. */
type Done = (error: Error | undefined, addresses: readonly string[]) => void;

/** A question: a host's addresses, all of them or those of one family. */
interface Question {
  readonly host: string;
  readonly family: 4 | 6 | undefined;
  /** What is called with the answer. */
  readonly asking: Set<Done>;
}

/** How many questions are put at a time: one for each of Node's threads. */
const MOST_AT_ONCE = Math.max(4, Number(process.env['UV_THREADPOOL_SIZE']) || 0);

/** Questions without an answer, those put and those that wait, the first asked first. */
const questions = new Map<string, Question>();
/** The ones of those that have been put. */
const put = new Set<Question>();

/** Looks a host up. */
export function lookUp(host: string, family: 4 | 6 | undefined, done: Done): Attempt {
  const key = `${family ?? 0} ${host}`;
  let question = questions.get(key);
  if (question === undefined) {
    question = { host, family, asking: new Set() };
    questions.set(key, question);
  }
  const { asking } = question;
  // Each is told in the context in which it asked, not in that of the one who asked first.
  const told = AsyncResource.bind<Done, undefined>((error, addresses) => done(error, addresses));
  asking.add(told);
  putNext();
  return {
    cancel() {
      asking.delete(told);
      if (asking.size === 0 && questions.get(key) === question && !put.has(question)) {
        questions.delete(key);
      }
    },
  };
}

function putNext(): void {
  if (put.size >= MOST_AT_ONCE) return;
  for (const [key, question] of questions) {
    if (put.has(question)) continue;
    ask(key, question);
    if (put.size >= MOST_AT_ONCE) return;
  }
}

function ask(key: string, question: Question): void {
  const { host, family = 0, asking } = question;
  put.add(question);
  dns().lookup(host, { all: true, verbatim: true, family }, (error, found) => {
    put.delete(question);
    questions.delete(key);
    putNext();
    const addresses = error === null ? found.map(({ address }) => address) : [];
    // One that is called off by another that was just called is not called.
    for (const done of asking) done(error ?? undefined, addresses);
  });
}

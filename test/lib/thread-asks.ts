/**
 * What the threads of threads.test.ts ask of the main thread, and what they do with Deferreds.
 */
import {
  blockingCallFromThread,
  ConnectionRefusedError,
  deferLater,
  type MainReactor,
  mainReactor,
  reactor,
} from 'plait';
export { isInIOThread } from 'plait';
import type { Calls } from './threads.test.ts';

export function later(text: string) {
  return deferLater(reactor, 0.001, () => text.toUpperCase());
}

const main = (): MainReactor<Calls> => mainReactor<Calls>();

export function tell(count: number): string {
  for (let i = 0; i < count; i++) main().callFromThread('note', `note ${i}`);
  main().callFromThread('broken', 1);
  return 'done';
}

export function ask(n: number): number {
  return blockingCallFromThread(main(), 'double', n);
}

export function askForBytes(): string {
  const answer = blockingCallFromThread(main(), 'shout', Buffer.from('tea'));
  return `${Buffer.isBuffer(answer)} ${answer}`;
}

export function askForFailure(): string {
  try {
    blockingCallFromThread(main(), 'broken', 2);
    return 'no error';
  } catch (error) {
    const { name, message, code, cause } = error as ConnectionRefusedError;
    return [error instanceof ConnectionRefusedError, name, message, code, String(cause)].join('; ');
  }
}

/** Of whatever is wrong, the error. */
export function askWrongly(what: 'name' | 'argument' | 'result' | 'tell'): string {
  const any = main() as MainReactor<Record<string, (...args: unknown[]) => unknown>>;
  try {
    if (what === 'name') blockingCallFromThread(any, '__proto__');
    if (what === 'argument') blockingCallFromThread(any, 'double', () => {});
    if (what === 'result') blockingCallFromThread(any, 'secret');
    if (what === 'tell') any.callFromThread('double', () => {});
    return 'no error';
  } catch (error) {
    return String(error);
  }
}

export function askOwnReactor(): string {
  try {
    blockingCallFromThread(reactor as never, 'double' as never, ...([1] as never));
    return 'no error';
  } catch (error) {
    return String(error);
  }
}

export function askForEver(): string {
  try {
    blockingCallFromThread(main(), 'never');
    return 'no error';
  } catch (error) {
    return String(error);
  }
}

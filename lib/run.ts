/**
 * Running a whole program: a reactor that starts, does one thing, and stops. Twisted: `twisted.internet.task.react`;
 * asyncio: `run`.
 */
import { constants } from 'node:os';
import { types } from 'node:util';
import { checkArray, checkFunction, checkMethods, checkOptions } from './arguments.ts';
import { Deferred } from './defer.ts';
import { type CancelledError, ReactorNotRunning, SystemExit } from './errors.ts';
import { Failure } from './failure.ts';
import {
  beginProgram,
  close,
  endProgram,
  enter,
  Frame,
  frames,
  isGeneratorFunction,
  track,
} from './frames.ts';
import { cancellationsOf } from './give-up.ts';
import { ranAs } from './hooks.ts';
import type { RunOptions } from './interfaces.ts';
import { Logger } from './log.ts';
import { maybeDeferred } from './maybe.ts';
import { reactor as theReactor, type Reactor } from './reactor.ts';
import { forgetUnhandled, unhandledFailures, type UnhandledFailure } from './unhandled.ts';

const log = new Logger('plait.run');

/** Options of {@link react}; how long a shutdown may take is as for `run`. */
export interface ReactOptions extends Pick<RunOptions, 'shutdownTimeout' | 'threadGrace'> {
  /** What `main` is given after the reactor. Default: the program's arguments. */
  readonly argv?: readonly string[];
  /** Default: the process's own. */
  readonly reactor?: Reactor;
}

/**
 * Runs the reactor, calls `main(reactor, ...argv)`, waits for what comes of it, and stops the reactor. Fires with the
 * exit code, which is also set as the process's: 0; 1 if main failed, which is logged; that of a SystemExit; or, if a
 * signal stopped the reactor, 128 plus its number. Stopping the reactor, by a signal or by `reactor.stop()`, cancels what
 * main waits for, and its cleaning up is waited for; that it was cancelled is no failure, and neither is what lists and
 * races make of it.
 *
 * It can be called any number of times, one after the other.
 *
 * @example
 * react(() => console.log('hello from the reactor'));
 */
export function react(
  main: (reactor: Reactor, ...argv: string[]) => unknown,
  options: ReactOptions = {},
): Deferred<number> {
  const { argv = process.argv.slice(2), reactor = theReactor } = checkOptions(
    options,
    'react: options',
  );
  checkFunction(main, 'react: main');
  checkArray(argv, 'react: argv');
  checkMethods(reactor, 'react: reactor', 'a reactor', ['run', 'stop']);
  let code: number | undefined;
  const stopped = reactor.run(options);
  const program = new Frame();
  const work = runMain(program, main, [reactor, ...argv]);
  let stopping = false;
  let known: ReadonlySet<UnhandledFailure> = new Set();
  reactor.addSystemEventTrigger('before', 'shutdown', () => {
    stopping = true;
    known = new Set(unhandledFailures());
    // Main may have made a Deferred by its signal.
    if (!program.followed || program.over) program.abort();
    Deferred.cancelGuarded(work);
    forgetCancelled();
    return finished;
  });
  /** A list leaves the failures of what was cancelled with it where they are. */
  const forgetCancelled = (): void => forgetUnhandled(known, isMereCancellation);
  const finished = work.addBoth((result) => {
    code =
      result instanceof Failure ? exitCode(result as Failure, reactor.exitSignal, stopping) : 0;
    if (stopping) forgetCancelled();
    else stop(reactor);
  });
  return stopped.addCallback(() => {
    endProgram(program);
    // Main may not have come to an end within the time that a shutdown has.
    code ??= stopping ? (signalCode(reactor.exitSignal) ?? 1) : 0;
    process.exitCode = code;
    return code;
  });
}

/** Calls `main`, in the frame of the program; only a generator function is known to have no need of one. */
function runMain(
  program: Frame,
  main: (reactor: Reactor, ...argv: string[]) => unknown,
  args: [Reactor, ...string[]],
): Deferred<unknown> {
  beginProgram(program);
  if (isGeneratorFunction(main)) return maybeDeferred(main, ...args);
  const { opened: before, tracking } = frames;
  let outcome: unknown;
  enter(program);
  try {
    outcome = ranAs('main')(main(...args));
  } catch (error) {
    outcome = new Failure(error);
  }
  close(before);
  if (!tracking && !types.isPromise(outcome)) track(false);
  if (outcome instanceof Deferred) return outcome as Deferred<unknown>;
  const work = new Deferred<unknown>();
  Deferred.settle(work, outcome, types.isPromise(outcome) ? program : undefined);
  Deferred.run(work);
  return work;
}

/** Unless main has stopped it itself. */
function stop(reactor: Reactor): void {
  try {
    reactor.stop();
  } catch (error) {
    new Failure(error).trap(ReactorNotRunning);
  }
}

/** @param stopping the reactor was stopped before main had ended, which has cancelled it */
function exitCode(failure: Failure, signal: string | undefined, stopping: boolean): number {
  const exit = failure.check(SystemExit);
  if (exit !== undefined) return exit.exitCode;
  const code = signalCode(signal);
  // That it was cancelled says no more than that the reactor was stopped. Any other error is one.
  if (stopping && isMereCancellation(failure)) return code ?? 0;
  log.failure('main failed', failure);
  return 1;
}

/** True unless one of them stands for what a canceller has failed with. An AbortError is the cause of a mere one, too. */
function isMereCancellation(failure: Failure): boolean {
  const cancellations = cancellationsOf(failure) ?? [];
  const isMere = ({ cause }: CancelledError): boolean =>
    !(cause instanceof Error) || cause.name === 'AbortError';
  return cancellations.length > 0 && cancellations.every(isMere);
}

/** What a program ends with that a signal has stopped. */
function signalCode(name: string | undefined): number | undefined {
  const signals = constants.signals as Readonly<Record<string, number | undefined>>;
  return name === undefined ? undefined : 128 + (signals[name] ?? 0);
}

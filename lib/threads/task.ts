/**
 * What a thread can be asked to do. A function cannot cross to another thread with what it closes over, so it is named:
 * the module in which it is, and the name by which that exports it. A function that needs nothing of where it was
 * written can be sent as its source. Twisted has no counterpart.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { wrongType } from '../arguments.ts';

/** Where the types of a task are kept; it has no value. */
declare const SIGNATURE: unique symbol;

/** A function that another thread can find, with the types of its arguments and of what it returns. */
export interface ThreadTask<A extends unknown[] = unknown[], R = unknown> {
  /** The URL of its module: `file:`, `node:` or `data:`. */
  readonly module: string | URL;
  /** The name by which the module exports it. */
  readonly export: string;
  readonly [SIGNATURE]?: (...args: A) => R;
}

/** What can be done in a thread: a function that is named, or a function that needs nothing of where it was written. */
export type ThreadWork<A extends unknown[], R> = ThreadTask<A, R> | ((...args: A) => R);

/** The functions that a module exports, as tasks. */
export type ThreadModule<M> = {
  readonly [K in keyof M as M[K] extends (...args: never[]) => unknown ? K : never]: M[K] extends (
    ...args: infer A
  ) => infer R
    ? ThreadTask<A, R>
    : never;
};

/** A task as it is sent. */
export type Step =
  { readonly module: string; readonly export: string } | { readonly source: string };

/**
 * The exported functions of a module, as tasks for threads. Nothing is loaded here: the thread that is given a task
 * loads the module. Where a build has made `work.js` of `work.ts`, the one stands for the other.
 *
 * ```ts
 * import type * as Work from './work.ts';
 *
 * const work = threadModule<typeof Work>(new URL('./work.ts', import.meta.url));
 * const digest = yield* deferToThread(work.hash, bytes);
 * ```
 *
 * @throws TypeError if it is not an absolute URL
 */
export function threadModule<M>(module: string | URL): ThreadModule<M> {
  const url = checkModule(module);
  return new Proxy({} as ThreadModule<M>, {
    get: (_, name) => (typeof name === 'string' ? { module: url, export: name } : undefined),
  });
}

/**
 * A task as it is sent.
 *
 * @throws TypeError for what cannot be done in another thread
 */
export function toStep(work: ThreadWork<never[], unknown>): Step {
  if (typeof work === 'function') return { source: sourceOf(work) };
  const { module, export: name } = Object(work) as Partial<ThreadTask>;
  if (typeof name !== 'string' || (typeof module !== 'string' && !(module instanceof URL))) {
    throw wrongType(
      'work for a thread',
      'a function, or a module and the name of its export',
      work,
    );
  }
  return { module: checkModule(module), export: name };
}

/** What a step is called in messages. */
export function nameOf(step: Step): string {
  if ('source' in step) return 'a function';
  return `${step.export} of ${step.module.slice(0, 200)}`;
}

// ── Modules ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const checked = new Map<string, string>();

function checkModule(module: string | URL): string {
  const text = String(module);
  const known = checked.get(text);
  if (known !== undefined) return known;
  if (!URL.canParse(text) || !/^(file|node|data):/i.test(text)) {
    throw new TypeError(
      `a thread's module is a URL, as new URL('./work.js', import.meta.url) and import.meta.resolve make it, not ${inspect(text)}`,
    );
  }
  const url = builtFrom(new URL(text));
  if (checked.size < 1000) checked.set(text, url);
  return url;
}

/** Of a source that is not there, what it was built to. */
function builtFrom(url: URL): string {
  if (
    url.protocol === 'file:' &&
    /\.[cm]?ts$/.test(url.pathname) &&
    !existsSync(fileURLToPath(url))
  ) {
    const built = new URL(url);
    built.pathname = url.pathname.replace(/ts$/, 'js');
    if (existsSync(fileURLToPath(built))) return built.href;
  }
  return url.href;
}

// ── Functions ────────────────────────────────────────────────────────────────────────────────────────────────────────

const sources = new WeakMap<object, string>();

/** The source of a function that can stand alone, as far as one can see from outside. */
function sourceOf(fn: (...args: never[]) => unknown): string {
  const known = sources.get(fn);
  if (known !== undefined) return known;
  const source = Function.prototype.toString.call(fn);
  const refuse = (why: string) =>
    new TypeError(
      `cannot send ${fn.name === '' ? 'a function' : fn.name} to another thread: ${why}; name it by its module and export`,
    );
  if (/\{\s*\[native code\]\s*\}$/.test(source))
    throw refuse('it is bound, or not written in JavaScript');
  if (/^class\b/.test(source)) throw refuse('it is a class');
  if (/^async\s*(function\s*)?\*/.test(source)) throw refuse('it is an async generator');
  try {
    compile(source);
  } catch (error) {
    throw refuse(`it is a method, or cannot be compiled here (${String(error)})`);
  }
  sources.set(fn, source);
  return source;
}

/** The function of this source, in a scope that has nothing but what is global. */
export function compile(source: string): (...args: unknown[]) => unknown {
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call -- to compile a function of the program's own is the point
  return new Function(`'use strict'; return (${source}\n)`)() as (...args: unknown[]) => unknown;
}

/**
 * Makes a script that shows a fault smaller, for as long as it still shows it. It knows nothing of the kinds of step:
 * every list in a script may lose some of its items, every step may be replaced by the steps within it, and what is
 * optional may go.
 */
/** Which of the scripts is the first to show the fault; -1 if none does. */
export type FirstFaulty<S> = (scripts: S[]) => Promise<number>;

/** How many scripts are tried at once. */
const BATCH = 64;

/** A script no part of which can be left out. */
export async function shrink<S>(script: S, firstFaulty: FirstFaulty<S>): Promise<S> {
  let smallest = script;
  for (;;) {
    const found = await firstSmaller(smallest, firstFaulty);
    if (found === undefined) return smallest;
    smallest = found;
  }
}

async function firstSmaller<S>(script: S, firstFaulty: FirstFaulty<S>): Promise<S | undefined> {
  const variants = smallerVariants(script);
  for (let from = 0; from < variants.length; from += BATCH) {
    const batch = variants.slice(from, from + BATCH);
    const at = await firstFaulty(batch);
    if (at >= 0) return batch[at];
  }
  return undefined;
}

type Path = readonly (string | number)[];
type Node = Record<string | number, unknown>;

/** Every script that is smaller by one change; those that leave out most come first. */
function smallerVariants<S>(script: S): S[] {
  const size = JSON.stringify(script).length;
  const variants = new Map<string, S>();
  for (const change of changesOf(script)) {
    const copy = structuredClone(script);
    change(copy);
    const text = JSON.stringify(copy);
    if (text.length < size) variants.set(text, copy);
  }
  return [...variants]
    .sort(([one], [other]) => one.length - other.length)
    .map(([, variant]) => variant);
}

type Change = (script: unknown) => void;

function changesOf(script: unknown): Change[] {
  const changes: Change[] = [];
  const visit = (node: unknown, path: Path) => {
    if (typeof node !== 'object' || node === null) {
      if (typeof node === 'number' && node > 9) changes.push((copy) => set(copy, path, 1));
      return;
    }
    if (Array.isArray(node)) changes.push(...cuts(node, path));
    else changes.push(...reductions(node as Node, path));
    for (const [key, child] of Object.entries(node)) {
      visit(child, [...path, Array.isArray(node) ? Number(key) : key]);
    }
  };
  visit(script, []);
  return changes;
}

/** Leaves out half of the list, a quarter, and so on down to one item; or puts what is within an item in its place. */
function cuts(list: readonly unknown[], path: Path): Change[] {
  const changes: Change[] = [];
  for (let length = list.length; length >= 1; length = Math.floor(length / 2)) {
    for (let from = 0; from < list.length; from += length) {
      changes.push((copy) => (get(copy, path) as unknown[]).splice(from, length));
    }
  }
  for (const [index, item] of list.entries()) {
    const within = stepsWithin(item, isTagged(item, 'op') ? 'op' : 'step');
    if (within.length > 0) {
      changes.push((copy) => (get(copy, path) as unknown[]).splice(index, 1, ...within));
    }
  }
  return changes;
}

/** Makes an optional part null, or a function's end the plainest one. */
function reductions(node: Node, path: Path): Change[] {
  const changes: Change[] = [];
  for (const key of ['canceller', 'finally', 'bad']) {
    if (typeof node[key] !== 'object' || node[key] === null) continue;
    changes.push((copy) => set(copy, [...path, key], null));
  }
  if (node['then'] !== undefined) {
    changes.push((copy) => set(copy, [...path, 'then'], { end: 'same' }));
  }
  return changes;
}

function isTagged(item: unknown, tag: string): boolean {
  return typeof item === 'object' && item !== null && tag in item;
}

/** The steps (or operations of a coroutine) directly within one. */
function stepsWithin(item: unknown, tag: string): unknown[] {
  if (typeof item !== 'object' || item === null) return [];
  return Object.values(item as Node).flatMap((child) =>
    Array.isArray(child)
      ? (structuredClone(child) as unknown[]).filter((each) => isTagged(each, tag))
      : stepsWithin(child, tag),
  );
}

function get(root: unknown, path: Path): unknown {
  return path.reduce((node, key) => (node as Node)[key], root);
}

function set(root: unknown, path: Path, value: unknown): void {
  (get(root, path.slice(0, -1)) as Node)[path.at(-1)!] = value;
}

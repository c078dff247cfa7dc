/** Small folder trees for the tests of the checkers: a healthy one, into which one fault is put at a time. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The text of each file by its path; null for a file that is to go. */
export type Tree = Readonly<Record<string, string | null>>;

/** Writes the files of a tree into a folder. */
export function writeTree(root: string, tree: Tree): void {
  for (const [path, text] of Object.entries(tree)) {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    if (text === null) rmSync(file);
    else writeFileSync(file, text);
  }
}

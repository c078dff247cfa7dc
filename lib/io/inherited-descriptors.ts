/**
 * The descriptors that this process was itself given by its parent, and would hand on to its children. Node marks those
 * up to 15 to be closed in children, and all that it opens; JavaScript cannot mark the rest. So children are given
 * `/dev/null` in their places. Twisted closes them.
 *
 * Only on Linux can they be found.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** Up to here Node has looked when the process began. */
const LOOKED_THROUGH = 15;

/** No place is made in a child for higher ones: its table of descriptors would have to reach up to them. */
const HIGHEST = 4096;

/** The flag of a descriptor that is closed in children. */
const CLOSE_ON_EXEC = 0o2000000;

let found: readonly number[] | undefined;

/** Those that children would get. What was not there at first can be none of them. */
export function inheritedDescriptors(): readonly number[] {
  found = (found ?? openDescriptors()).filter(reachesChildren);
  return found;
}

function openDescriptors(): number[] {
  try {
    return readdirSync('/proc/self/fd')
      .map(Number)
      .filter((fd) => fd > LOOKED_THROUGH && fd <= HIGHEST);
  } catch {
    return [];
  }
}

function reachesChildren(fd: number): boolean {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
    const [, flags = ''] = /^flags:\s*([0-7]+)/m.exec(info) as RegExpExecArray;
    return (Number.parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    return false; // it has been closed
  }
}

/** Where programs are, by the variable PATH. Twisted: `twisted.python.procutils`. */
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, sep } from 'node:path';

/**
 * The files called `name` in the folders that the variable PATH lists which may be executed, in that order; on Windows
 * also those with an extension that PATHEXT lists. An absolute path is looked at itself. Reads the file system at once.
 *
 * @param environment default: that of the process
 * @example
 * which('no-such-program').length;   // 0
 */
export function which(name: string, environment: NodeJS.ProcessEnv = process.env): string[] {
  if (typeof name !== 'string')
    throw new TypeError(`the name of a program must be a string, not ${typeof name}`);
  const { PATH: path, PATHEXT = '' } = environment;
  if (path === undefined) return [];
  const endings = ['', ...PATHEXT.split(delimiter).filter((ending) => ending !== '')];
  return path
    .split(delimiter)
    .map((folder) => join(folder, name))
    .flatMap((file) => endings.map((ending) => file + ending).filter(isProgram));
}

/** An empty folder is the one that the process is in. */
function join(folder: string, name: string): string {
  if (folder === '' || isAbsolute(name)) return name;
  return folder.endsWith(sep) ? folder + name : folder + sep + name;
}

/** Folders may be entered, but are no programs; Twisted lists them. */
function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

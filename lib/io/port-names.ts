/**
 * The names of TCP ports (`http` is 80), as the system lists them in its file of services. Python: `getservbyname`.
 */
import { readRegularFile } from '../regular-file.ts';

/** A longer file is no list of services: the usual one has 13 KB. */
const LONGEST_FILE = 2 ** 20;

/** Where the list is: on Windows it is beside the system's own files. */
export const SERVICES_FILE: string =
  process.platform === 'win32'
    ? `${process.env['SystemRoot'] ?? 'C:\\Windows'}\\System32\\drivers\\etc\\services`
    : '/etc/services';

/** A list of services, read when it is first asked, and not again. */
export class PortNames {
  readonly #file: string;
  #ports: ReadonlyMap<string, number> | undefined;

  constructor(file: string) {
    this.#file = file;
  }

  /** The TCP port of the service `name`, or of that alias; undefined if it is not listed, or nothing is. */
  portOf(name: string): number | undefined {
    this.#ports ??= this.#read();
    return this.#ports.get(name);
  }

  #read(): ReadonlyMap<string, number> {
    try {
      return parsePortNames(readRegularFile(this.#file, LONGEST_FILE).toString('latin1'));
    } catch {
      return new Map(); // a system without a list knows no names
    }
  }
}

/** The names and aliases of TCP ports in the text of a list; of several that have one name, the first counts. */
export function parsePortNames(text: string): Map<string, number> {
  const ports = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [name = '', place = '', ...aliases] = line.replace(/#.*/, '').trim().split(/\s+/);
    const digits = /^([0-9]{1,5})\/tcp$/i.exec(place)?.[1];
    const port = Number(digits);
    if (!(port >= 1 && port <= 65_535)) continue;
    for (const each of [name, ...aliases]) if (!ports.has(each)) ports.set(each, port);
  }
  return ports;
}

/** The list of this system. */
export const portNames: PortNames = new PortNames(SERVICES_FILE);

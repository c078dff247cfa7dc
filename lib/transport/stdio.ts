/**
 * How a connection is born of a pair of descriptors: standard input and output, or any two. From then on it lives like
 * any other. Twisted: `twisted.internet._posixstdio`.
 */
import { checkWhole } from '../arguments.ts';
import { ConnectError, explain, NotSupportedError } from '../errors.ts';
import type { IProtocol, ITransport, StandardIOOptions } from '../interfaces.ts';
import type { IO, Wire } from '../io/io.ts';
import type { Home } from './home.ts';
import { Stream } from './stream.ts';

/**
 * Makes a pair of descriptors the connection of `protocol`.
 *
 * @throws RangeError, ConnectError, NotSupportedError, as `IReactorStandardIO` says
 */
export function openStandardIO(
  home: Home,
  io: IO,
  protocol: IProtocol,
  { stdin = 0, stdout = 1 }: StandardIOOptions,
): ITransport {
  checkWhole(stdin, 'standardIO: stdin', 0, 2 ** 31 - 1);
  checkWhole(stdout, 'standardIO: stdout', 0, 2 ** 31 - 1);
  if (io.stdio === undefined)
    throw new NotSupportedError(`the body ${io.name} has no standard I/O`);
  let wire: Wire;
  try {
    wire = io.stdio(stdin, stdout);
  } catch (cause) {
    const why = explain(cause as Error);
    throw new ConnectError(`cannot use the descriptors ${stdin} and ${stdout}: ${why}`, { cause });
  }
  const stream = new Stream(home, wire);
  stream.begin(protocol);
  return stream;
}

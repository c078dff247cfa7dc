/**
 * How a connection is born that another program has made, and whose descriptor the process was given. (To adopt a
 * listening socket is the business of `listen`.) Twisted: `Server._fromConnectedSocket` of `twisted.internet.tcp`.
 */
import { checkWhole, shownArgument } from '../arguments.ts';
import { UnsupportedAddressFamily, UnsupportedSocketType } from '../errors.ts';
import type { AddressFamily, IProtocol, IProtocolFactory, ITransport } from '../interfaces.ts';
import type { IO } from '../io/io.ts';
import { buildFrom } from '../protocol.ts';
import type { Home } from './home.ts';
import { Stream } from './stream.ts';

const FAMILIES: readonly string[] = ['AF_INET', 'AF_INET6', 'AF_UNIX'] satisfies AddressFamily[];

/**
 * Throws for what can be no descriptor, or no family, before anything has happened.
 *
 * @throws RangeError, UnsupportedAddressFamily
 */
export function checkAdoptable(called: string, fd: number, family: AddressFamily): void {
  checkWhole(fd, `${called}: fd`, 0, 2 ** 31 - 1);
  if (!FAMILIES.includes(family)) {
    throw new UnsupportedAddressFamily(
      `${called}: family must be ${FAMILIES.join(', ')}, not ${shownArgument(family)}`,
    );
  }
}

/**
 * Makes the connected socket `fd` the connection of a protocol that `factory` builds. The descriptor is closed where
 * that fails, unless it is no open socket.
 *
 * @throws what `buildProtocol` throws, and as `IReactorSocket` says
 */
export function adoptConnection(
  home: Home,
  io: IO,
  fd: number,
  family: AddressFamily,
  factory: IProtocolFactory,
): ITransport {
  const wire = io.adoptConnection?.(fd, family);
  if (wire === undefined)
    throw new UnsupportedSocketType(`the body ${io.name} can adopt no sockets`);
  let protocol: IProtocol | null;
  try {
    protocol = buildFrom(factory, wire.peer);
  } catch (error) {
    wire.destroy();
    throw error;
  }
  const stream = new Stream(home, wire);
  if (protocol === null) stream.refuse();
  else stream.begin(protocol);
  return stream;
}

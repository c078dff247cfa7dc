/**
 * Stand-ins for protocols: what is a transport's protocol in place of another one, and passes everything on. The hooks
 * that a protocol may have besides those of IProtocol are listed here, and nowhere else.
 */
import { inspect } from 'node:util';
import { Failure } from './failure.ts';
import { hookFailed, watchHook } from './hooks.ts';
import type { HookResult, IProtocol, IProtocolStandIn, ITransport } from './interfaces.ts';
import { logPrefixOf } from './log-prefix.ts';
import { isReplaceableProtocol } from './protocol.ts';
import { wake } from './waiters.ts';
import { INSPECT, inspected, type Inspecting, nameOf, told } from './one-line.ts';

/**
 * The hooks that a protocol has or has not, which a transport asks for. Those in one group mean something only together.
 */
export const OPTIONAL_HOOKS = [
  ['readConnectionLost', 'writeConnectionLost'],
  ['handshakeCompleted'],
  ['connectionDraining'],
  ['takeUnread'],
] as const satisfies readonly (readonly string[])[];

type Hook = (...args: unknown[]) => unknown;
type Hooks = Record<string, Hook | undefined>;

/**
 * Gives `standIn` the optional hooks that `protocol` has, and none that it has not: each calls that of `protocol`, and
 * returns what this returns. For whatever stands between a transport and a protocol; to be called again when it stands
 * for another one.
 *
 * @example
 * class Drainable extends Protocol {
 *   connectionDraining() {
 *     this.transport.loseConnection();
 *   }
 * }
 * const standIn = new Protocol();
 * forwardHooks(standIn, new Drainable());
 * isDrainableProtocol(standIn);        // true
 * isHalfCloseableProtocol(standIn);    // false
 */
export function forwardHooks(standIn: object, protocol: object): void {
  const [own, inner] = [standIn as Hooks, protocol as Hooks];
  for (const group of OPTIONAL_HOOKS) {
    const has = group.every((hook) => typeof inner[hook] === 'function');
    for (const hook of group) {
      if (has) own[hook] = (...args) => (inner[hook] as Hook)(...args);
      else if (Object.hasOwn(own, hook)) Reflect.deleteProperty(own, hook);
    }
  }
}

/** True if `protocol` stands in for another one, and can be made to stand in for one that takes over. */
export function isStandIn(protocol: object): protocol is IProtocolStandIn {
  return typeof (protocol as Partial<IProtocolStandIn>).replaceProtocol === 'function';
}

/**
 * Looks whether a connection can be handed over so.
 *
 * @throws TypeError
 */
export function checkSwitch(next: unknown, unread: unknown): void {
  const { makeConnection, dataReceived } = (next ?? {}) as Partial<IProtocol>;
  if (typeof makeConnection !== 'function' || typeof dataReceived !== 'function')
    throw new TypeError(`switchProtocol needs a protocol, not ${inspect(next, { depth: 0 })}`);
  if (unread !== undefined && !(unread instanceof Uint8Array))
    throw new TypeError(`unread must be a Uint8Array, not ${inspect(unread, { depth: 0 })}`);
}

/**
 * Has `next` take over from `before`: a protocol is told by `protocolReplaced`, `set` is called, and `next` is made a
 * connection over `transport`. A stand-in stays where it is, and what it stands in for is replaced.
 */
export function takeOver(
  before: IProtocol,
  next: IProtocol,
  transport: ITransport,
  set: (protocol: IProtocol) => void,
): void {
  if (isStandIn(before)) {
    before.replaceProtocol(next, transport);
    set(before);
    return;
  }
  if (isReplaceableProtocol(before))
    watchHook(before.protocolReplaced(), 'protocolReplaced', transport);
  set(next);
  makeInTurn(transport, () => next.makeConnection(transport));
}

/**
 * Calls `make`, which makes a protocol a connection, at once and throws what it throws. Where very many protocols hand over
 * inside one another, each while it is made a connection, it is called before the outermost has handed over, and the
 * transport hears of what it throws.
 */
export function makeInTurn(transport: ITransport, make: () => HookResult): void {
  let isLater = false;
  let thrown: { readonly error: unknown } | undefined;
  wake(() => {
    try {
      watchHook(make(), 'makeConnection', transport);
    } catch (error) {
      if (isLater) hookFailed(transport, 'makeConnection', new Failure(error));
      else thrown = { error };
    }
    return false;
  });
  isLater = true;
  if (thrown !== undefined) throw thrown.error;
}

/** Passes everything on to a protocol. Override what is to be otherwise. */
export class StandIn implements IProtocol, IProtocolStandIn {
  #protocol: IProtocol;

  constructor(protocol: IProtocol) {
    this.#protocol = protocol;
    forwardHooks(this, protocol);
  }

  /** Whom it stands in for. */
  get wrappedProtocol(): IProtocol {
    return this.#protocol;
  }

  /** That of the protocol: a stand-in is none of the user's. */
  logPrefix(): string {
    return logPrefixOf(this.#protocol);
  }

  makeConnection(transport: ITransport): HookResult {
    return this.#protocol.makeConnection(transport);
  }

  connectionMade(): HookResult {
    return this.#protocol.connectionMade();
  }

  dataReceived(data: Buffer): HookResult {
    return this.#protocol.dataReceived(data);
  }

  connectionLost(reason: Failure): HookResult {
    return this.#protocol.connectionLost(reason);
  }

  replaceProtocol(protocol: IProtocol, transport: ITransport): void {
    takeOver(this.#protocol, protocol, transport, (behind) => {
      this.#protocol = behind;
      forwardHooks(this, behind);
    });
  }

  toString(): string {
    return told(this, `for a ${nameOf(this.wrappedProtocol)}`);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

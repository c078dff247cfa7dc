/**
 * Datagrams to groups: a port that joins and leaves them, and says how far what it sends to them goes. How it lives is
 * in `udp`. Twisted: `MulticastPort` of `twisted.internet.udp`.
 */
import type { Deferred } from '../defer.ts';
import { explain, InvalidAddressError, MulticastJoinError, PlaitError } from '../errors.ts';
import type { IMulticastTransport } from '../interfaces.ts';
import { fail, succeed } from '../maybe.ts';
import { Port } from './udp.ts';

/** A port that can be in multicast groups. Made by `listenMulticast`. Twisted: `MulticastPort`. */
export class MulticastPort extends Port implements IMulticastTransport {
  #ttl = 1;
  #loopback = true;
  #outgoing = '';

  override startListening(): void {
    // A new socket has its options anew.
    this.#ttl = 1;
    this.#loopback = true;
    this.#outgoing = '';
    super.startListening();
  }

  joinGroup(group: string, where = ''): Deferred<void> {
    return this.#member('join', group, where);
  }

  leaveGroup(group: string, where = ''): Deferred<void> {
    return this.#member('leave', group, where);
  }

  #member(doing: 'join' | 'leave', group: string, where: string): Deferred<void> {
    try {
      const socket = this.live(`${doing} a group`);
      this.literal(doing, group);
      const address = where === '' ? undefined : this.#interface(`${doing} a group on`, where);
      try {
        if (doing === 'join') socket.joinGroup(group, address);
        else socket.leaveGroup(group, address);
      } catch (cause) {
        const on = where === '' ? '' : ` on ${where}`;
        throw new MulticastJoinError(
          `cannot ${doing} the group ${group}${on}: ${explain(cause as Error)}`,
          { cause },
        );
      }
      return succeed();
    } catch (error) {
      return fail(error as Error);
    }
  }

  getTTL(): number {
    return this.#ttl;
  }

  setTTL(ttl: number): void {
    if (!Number.isInteger(ttl) || ttl < 0 || ttl > 255)
      throw new RangeError(`a TTL is a whole number from 0 to 255, not ${String(ttl)}`);
    this.live('set the TTL').setMulticastTTL(ttl);
    this.#ttl = ttl;
  }

  getLoopbackMode(): boolean {
    return this.#loopback;
  }

  setLoopbackMode(enabled: boolean): void {
    this.live('set the loopback mode').setMulticastLoopback(enabled);
    this.#loopback = enabled;
  }

  getOutgoingInterface(): string {
    return this.#outgoing;
  }

  setOutgoingInterface(where: string): Deferred<void> {
    try {
      const socket = this.live('choose an interface');
      socket.setMulticastInterface(this.#interface('send from', where));
      this.#outgoing = where;
      return succeed();
    } catch (error) {
      return fail(
        error instanceof PlaitError
          ? error
          : new InvalidAddressError(`cannot send from ${where}: ${explain(error as Error)}`, {
              cause: error,
            }),
      );
    }
  }

  /** The interface as a body wants it: an address, or, for IPv6, any address with a zone. */
  #interface(doing: string, where: string): string {
    const zone = this.family() === 'IPv6' && /^[\w.-]+$/.test(where);
    return this.literal(doing, zone ? `::%${where}` : where);
  }
}

/**
 * Addresses: where a connection goes or comes from, as plain values. Twisted: `twisted.internet.address`.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import {
  checkOneOf,
  checkOptions,
  checkString,
  checkWhole,
  wrongType,
  wrongValue,
} from './arguments.ts';
import { INSPECT, inspected, type Inspecting } from './one-line.ts';

/** The transport an Internet address is for. */
export type AddressType = 'TCP' | 'UDP';

const TYPES: readonly AddressType[] = ['TCP', 'UDP'];

/** An IPv4 address with its port. */
export class IPv4Address {
  readonly type: AddressType;
  readonly host: string;
  readonly port: number;

  /** @throws TypeError, RangeError for what can be no part of an address */
  constructor(type: AddressType, host: string, port: number) {
    this.type = checkOneOf(type, 'IPv4Address: type', TYPES);
    this.host = checkString(host, 'IPv4Address: host');
    this.port = checkPort(port, 0, 'IPv4Address: port');
  }

  toString(): string {
    return `${this.host}:${this.port}`;
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** An IPv6 address with its port. */
export class IPv6Address {
  readonly type: AddressType;
  readonly host: string;
  readonly port: number;
  readonly flowInfo: number;
  /** The zone (`eth0`, or its number) of a link-local address; `''` for none. */
  readonly scopeID: string;

  /** @throws TypeError, RangeError for what can be no part of an address */
  constructor(type: AddressType, host: string, port: number, flowInfo = 0, scopeID = '') {
    this.type = checkOneOf(type, 'IPv6Address: type', TYPES);
    this.host = checkString(host, 'IPv6Address: host');
    this.port = checkPort(port, 0, 'IPv6Address: port');
    this.flowInfo = checkWhole(flowInfo, 'IPv6Address: flowInfo', 0);
    this.scopeID = checkString(scopeID, 'IPv6Address: scopeID');
  }

  toString(): string {
    const zone = this.scopeID === '' ? '' : `%${this.scopeID}`;
    return `[${this.host}${zone}]:${this.port}`;
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * The path of a UNIX socket; null for the unnamed end that a client has. A name outside of the file system begins with a
 * NUL, and is shown with an `@` in its place.
 */
export class UNIXAddress {
  readonly name: string | null;

  /** @throws TypeError */
  constructor(name: string | null) {
    this.name = name === null ? null : checkString(name, 'UNIXAddress: name');
  }

  toString(): string {
    return `unix:${this.name?.replace(/^\0/, '@') ?? '(unnamed)'}`;
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** A host by name, not yet resolved. */
export class HostnameAddress {
  readonly hostname: string;
  readonly port: number;

  /** @throws TypeError, RangeError for what can be no part of an address */
  constructor(hostname: string, port: number) {
    this.hostname = checkString(hostname, 'HostnameAddress: hostname');
    this.port = checkPort(port, 0, 'HostnameAddress: port');
  }

  toString(): string {
    return `${this.hostname}:${this.port}`;
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** The ends of a pipe, which have no name. */
export class PipeAddress {
  toString(): string {
    return 'pipe';
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Any of the addresses. */
export type Address = IPv4Address | IPv6Address | UNIXAddress | HostnameAddress | PipeAddress;

/** The IPv4 or IPv6 address that a literal (`127.0.0.1`, `::1`, `fe80::1%eth0`) stands for, with its port. */
export function ipAddress(
  type: AddressType,
  host: string,
  port: number,
): IPv4Address | IPv6Address {
  if (!host.includes(':')) return new IPv4Address(type, host, port);
  const [literal = host, zone = ''] = host.split('%');
  return new IPv6Address(type, literal, port, 0, zone);
}

/** True if `host` is an IPv4 or IPv6 literal. */
export function isIPAddress(host: string): boolean {
  return typeof host === 'string' && (isIPv4(host) || isIPv6(host));
}

/**
 * `host` as it may be looked up: an IP literal as it is, without the brackets that an IPv6 address has in a URL; a name in
 * ASCII, in the way of URLs (IDNA, by UTS #46), for one that is not. RangeError for what can be neither, before any system call could see only a part of it: what holds a NUL, a space, a slash …; a
 * name of more than 253 characters, or with a label that is empty or has more than 63. A name whose last label is a
 * number (`127.1`, `0x7f.1`, `2130706433`, `127.0.0.1.`, and the same in full-width digits) is refused too: the
 * system's resolver would take it for an IPv4 address where others that check it see a name. One dot may end a name.
 */
export function checkHost(host: string, what = 'host'): string {
  checkString(host, what);
  if (isIPAddress(host)) return host;
  const bracketed = /^\[(.*)\]$/.exec(host)?.[1];
  if (bracketed !== undefined && isIPv6(bracketed)) return bracketed;
  const name = host.length > 255 ? '' : asciiName(host);
  const labels = name.replace(/\.$/, '');
  if (
    labels.length > 253 ||
    !/^[\w-]{1,63}(\.[\w-]{1,63})*$/.test(labels) ||
    /(^|\.)(\d+|0x[\da-f]*)$/i.test(labels)
  ) {
    throw wrongValue(what, 'the name of a host or an IP address', host);
  }
  return name;
}

/** A name in ASCII; `''` for one that has no such form. What is ASCII already is left alone. */
function asciiName(name: string): string {
  if (!/[\u0080-\uffff]/.test(name)) return name;
  // The conversion would undo percent signs, and end at what it takes for the end of a host.
  return /[^\w.\-\u0080-\uffff]/.test(name) ? '' : domainToASCII(name);
}

/** `port` if it is a whole number from `lowest` to 65535, else RangeError; TypeError for what is no number. */
export function checkPort(port: number, lowest: 0 | 1 = 0, what = 'port'): number {
  return checkWhole(port, what, lowest, 65535);
}

/** `port` if it can be the number of a port, or the name of a service. */
export function checkPortOrService(port: number | string, lowest: 0 | 1, what: string): void {
  if (typeof port === 'number') checkPort(port, lowest, what);
  else if (typeof port !== 'string')
    throw wrongType(what, 'the number of a port, or the name of a service', port);
}

/** The local end of a connection to be made. `''` for a host is any address. */
export interface BindAddress {
  readonly host: string;
  readonly port?: number;
}

/** `bindAddress` if it is an IP literal, or `''`, and a port, else RangeError; TypeError for one of wrong types. */
export function checkBindAddress(bindAddress: BindAddress, what = 'bindAddress'): BindAddress {
  if (typeof bindAddress !== 'object') throw wrongType(what, 'an object with a host', bindAddress);
  const { host, port = 0 } = checkOptions(bindAddress, what);
  checkString(host, `${what}.host`);
  if (host !== '' && !isIPAddress(host)) throw wrongValue(`${what}.host`, 'an IP address', host);
  checkPort(port, 0, `${what}.port`);
  return bindAddress;
}

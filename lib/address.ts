/**
 * Addresses: where a connection goes or comes from, as plain values. Twisted: `twisted.internet.address`.
 */
import { isIPv4, isIPv6 } from 'node:net';

/** The transport an Internet address is for. */
export type AddressType = 'TCP' | 'UDP';

/** An IPv4 address with its port. */
export class IPv4Address {
  readonly type: AddressType;
  readonly host: string;
  readonly port: number;

  constructor(type: AddressType, host: string, port: number) {
    this.type = type;
    this.host = host;
    this.port = port;
  }

  toString(): string {
    return `${this.host}:${this.port}`;
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

  constructor(type: AddressType, host: string, port: number, flowInfo = 0, scopeID = '') {
    this.type = type;
    this.host = host;
    this.port = port;
    this.flowInfo = flowInfo;
    this.scopeID = scopeID;
  }

  toString(): string {
    return `[${this.host}]:${this.port}`;
  }
}

/** The path of a UNIX socket; null for the unnamed end that a client has. */
export class UNIXAddress {
  readonly name: string | null;

  constructor(name: string | null) {
    this.name = name;
  }

  toString(): string {
    return `unix:${this.name ?? '(unnamed)'}`;
  }
}

/** A host by name, not yet resolved. */
export class HostnameAddress {
  readonly hostname: string;
  readonly port: number;

  constructor(hostname: string, port: number) {
    this.hostname = hostname;
    this.port = port;
  }

  toString(): string {
    return `${this.hostname}:${this.port}`;
  }
}

/** The ends of a pipe, which have no name. */
export class PipeAddress {
  toString(): string {
    return 'pipe';
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
  return isIPv4(host) || isIPv6(host);
}

/**
 * `host` if it can be a host name or an IP literal; RangeError if it is empty, longer than DNS allows, or holds a
 * character that no host name has (a NUL, a space, a slash …), of which some system calls would see only a part.
 */
export function checkHost(host: string): string {
  if (typeof host !== 'string') throw new TypeError(`host must be a string, not ${typeof host}`);
  if (
    host.length === 0 ||
    host.length > 255 ||
    (!isIPAddress(host) && /[^\w.\-\u0080-\uffff]/.test(host))
  ) {
    throw new RangeError(`not a host name: ${JSON.stringify(host.slice(0, 300))}`);
  }
  return host;
}

/** `port` if it is a whole number from `lowest` to 65535, else RangeError. */
export function checkPort(port: number, lowest: 0 | 1 = 0): number {
  if (!Number.isInteger(port) || port < lowest || port > 65535) {
    throw new RangeError(
      `port must be a whole number from ${lowest} to 65535, not ${String(port)}`,
    );
  }
  return port;
}

/**
 * Who a client means to talk to, in one canonical form: what is looked up, what is asked for by SNI, and what the
 * certificate is compared with are then the same. It looks nothing up. Twisted does this in `twisted.internet._idna`
 * and `ClientTLSOptions`.
 *
 * Whatever resolvers, URL parsers and verifiers read differently is refused here: addresses in other than their usual
 * form (`127.1`, `0x7f.1`, `2130706433`), full-width digits, dots other than the ASCII one, NULs and spaces.
 */
import { checkHost, isIPAddress } from './address.ts';

/** A host: by its name, in lower case, as A-labels and without a dot at its end, or by its address. */
export type HostIdentity =
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'address'; readonly text: string; readonly bytes: Buffer };

/**
 * The canonical form of a host name or an IP literal. A dot at the end of a name is dropped, as is the zone of an IPv6
 * address; a name beyond ASCII becomes A-labels (IDNA).
 *
 * @throws TypeError, RangeError for what is neither, or could be read in two ways
 */
export function hostIdentity(host: string): HostIdentity {
  checkHost(host);
  if (!isIPAddress(host)) return { kind: 'name', text: canonicalName(host) };
  if (!host.includes(':')) return { kind: 'address', text: host, bytes: bytesOfIPv4(host) };
  const literal = host.toLowerCase().replace(/%.*$/, '');
  return { kind: 'address', text: literal, bytes: bytesOfIPv6(literal) };
}

/** Loaded when the first name beyond ASCII comes along. */
const url = () => process.getBuiltinModule('node:url');

/** Labels of letters, digits, hyphens and underscores, which host names in use do have. */
const NAME = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;
/** What resolvers take for the end of an IPv4 address. */
const NUMBER = /(?:^|\.)(?:\d+|0x[\da-f]*)$/;

function canonicalName(host: string): string {
  const name = toASCII(host.replace(/\.$/, ''));
  if (name === undefined) throw refused(host, 'not a host name by the rules of IDNA');
  if (!NAME.test(name)) throw refused(host, 'not a host name');
  if (NUMBER.test(name)) throw refused(host, 'an IPv4 address, but not in its usual form');
  return name;
}

/** The name in lower case and as A-labels; undefined if two readers could take it for two names. */
function toASCII(given: string): string | undefined {
  const name = given.toLowerCase();
  if (/^[\x21-\x7e]*$/.test(given)) {
    return !name.includes('xn--') || isAsciiForm(name) ? name : undefined;
  }
  // Full-width letters and digits, other dots, ligatures: all that the conversion would turn into something else.
  if (given !== given.normalize('NFKC') || /[^\p{L}\p{M}\p{N}._-]/u.test(given)) return undefined;
  if (/(?:^|\.)\p{Nd}+$/u.test(name)) return undefined;
  const ascii = url().domainToASCII(name);
  return ascii !== '' && isAsciiForm(ascii) ? ascii : undefined;
}

/** True if it is what its own Unicode form is converted to: `xn--a-` is not, since it stands for `a`. */
function isAsciiForm(name: string): boolean {
  return url().domainToASCII(url().domainToUnicode(name)) === name;
}

function refused(host: string, what: string): RangeError {
  return new RangeError(`${what}: ${JSON.stringify(host)}`);
}

function bytesOfIPv4(literal: string): Buffer {
  return Buffer.from(literal.split('.').map(Number));
}

function bytesOfIPv6(literal: string): Buffer {
  const gap = literal.indexOf('::');
  const first = groupsOf(gap < 0 ? literal : literal.slice(0, gap));
  const last = groupsOf(gap < 0 ? '' : literal.slice(gap + 2));
  return Buffer.concat([first, Buffer.alloc(16 - first.length - last.length), last]);
}

/** The bytes of groups between colons, of which the last may be an IPv4 address. */
function groupsOf(text: string): Buffer {
  if (text === '') return Buffer.alloc(0);
  return Buffer.concat(
    text.split(':').map((group) => {
      if (group.includes('.')) return bytesOfIPv4(group);
      return Buffer.from(group.padStart(4, '0'), 'hex');
    }),
  );
}

/**
 * Who a client means to talk to, in one canonical form: what is looked up, what is asked for by SNI, and what the
 * certificate is compared with are then the same. It looks nothing up. Twisted does this in `twisted.internet._idna`
 * and `ClientTLSOptions`.
 *
 * There is one way from a name to its ASCII form, `checkHost`, which is that of URLs. Whatever resolvers, URL parsers and
 * verifiers read differently is refused: addresses in other than their usual form (`127.1`, `0x7f.1`, `2130706433`, in
 * full-width digits too), NULs and spaces, and A-labels that stand for no name.
 */
import { checkHost, isIPAddress } from './address.ts';
import { asciiLowerCase } from './bytes.ts';

/** A host: by its name, in lower case, as A-labels and without a dot at its end, or by its address. */
export type HostIdentity =
  | { readonly kind: 'name'; readonly text: string }
  | { readonly kind: 'address'; readonly text: string; readonly bytes: Buffer };

/**
 * The canonical form of a host name or an IP literal. A name becomes what `checkHost` makes of it, and so what is looked
 * up; in lower case, and without a dot at its end. The zone of an IPv6 address is dropped.
 *
 * @throws TypeError, RangeError for what is neither, or could be read in two ways
 */
export function hostIdentity(host: string): HostIdentity {
  const checked = checkHost(host);
  if (!isIPAddress(checked)) return { kind: 'name', text: canonicalName(host, checked) };
  if (!checked.includes(':'))
    return { kind: 'address', text: checked, bytes: bytesOfIPv4(checked) };
  const literal = asciiLowerCase(checked).replace(/%.*$/, '');
  return { kind: 'address', text: literal, bytes: bytesOfIPv6(literal) };
}

/** Labels of letters, digits, hyphens and underscores, which host names in use do have. */
const NAME = /^(?=.{1,253}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;

function canonicalName(host: string, checked: string): string {
  const name = asciiLowerCase(checked.replace(/\.$/, ''));
  if (!NAME.test(name)) throw refused(host, 'not a host name');
  if (!name.split('.').every(isLabel)) throw refused(host, 'not a host name by the rules of IDNA');
  return name;
}

/** False for an A-label that stands for no name, or for one that has another A-label, or is plain ASCII. */
function isLabel(label: string): boolean {
  if (!label.startsWith('xn--')) return true;
  const text = decodePunycode(label.slice(4));
  return text !== undefined && isUnicodeLabel(text);
}

/** Spaces, controls, what is not assigned, and what is not seen. The two joiners are looked at apart. */
const NEVER =
  /[\p{Z}\p{Cc}\p{Cn}\p{Co}\p{Cs}]|(?![\u200c\u200d])[\p{Cf}\p{Default_Ignorable_Code_Point}]/u;
/** A joiner that is neither behind a mark, as an Indic virama is, nor between letters that join. */
const LOST_JOINER =
  /(?<!\p{M})\u200d|(?<!\p{M}|[\p{Script=Arabic}\p{Script=Syriac}])\u200c|[\u200c\u200d]$/u;

/**
 * True for what is valid by the rules of UTS #46, as far as they keep two names apart, and is not all digits, which
 * could be read as a part of an address. Versions of Node differ in this, and newer ones take an A-label that cannot be
 * decoded as it is; so nothing of theirs is asked here.
 */
function isUnicodeLabel(text: string): boolean {
  return (
    /[^\0-\x7f]/.test(text) &&
    text === text.normalize('NFKC') &&
    isLowerCase(text) &&
    !NEVER.test(text) &&
    !LOST_JOINER.test(text) &&
    !/^\p{M}|^\p{Nd}+$/u.test(text) &&
    (!RIGHT_TO_LEFT.test(text) || ONE_DIRECTION.test(text))
  );
}

/** UTS #46 leaves the capitals of Cherokee, which are older than its small letters. */
function isLowerCase(text: string): boolean {
  const cased = text.replace(/\p{Script=Cherokee}/gu, '');
  return cased === cased.toLowerCase();
}

/** Letters that are written from right to left. */
const RIGHT = String.raw`(?=\p{L})[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Samaritan}\p{Script=Mandaic}\p{Script=Adlam}]`;
const RIGHT_TO_LEFT = new RegExp(RIGHT, 'u');
/** A label with such letters begins with one, and has no others (RFC 5893 section 2, as far as letters go). */
const ONE_DIRECTION = new RegExp(`^${RIGHT}(?:${RIGHT}|[^\\p{L}])*$`, 'u');

/** What Punycode (RFC 3492) stands for; undefined for what is none. */
function decodePunycode(encoded: string): string | undefined {
  const delimiter = encoded.lastIndexOf('-');
  const points = Array.from(encoded.slice(0, Math.max(0, delimiter)), (c) => c.charCodeAt(0));
  let [point, index, bias] = [128, 0, 72];
  for (let at = delimiter > 0 ? delimiter + 1 : 0; at < encoded.length;) {
    const before = index;
    for (let [weight, k] = [1, 36]; ; k += 36) {
      const digit = digitOf(encoded.charCodeAt(at++));
      index += digit * weight;
      // A label has at most 59 characters, so it is no number beyond those that are exact.
      if (!(index <= 0x7fff_ffff)) return undefined;
      const threshold = Math.min(Math.max(k - bias, 1), 26);
      if (digit < threshold) break;
      weight *= 36 - threshold;
    }
    const count = points.length + 1;
    bias = adapt(index - before, count, before === 0);
    point += Math.floor(index / count);
    if (point > 0x10_ffff) return undefined;
    index %= count;
    points.splice(index++, 0, point);
  }
  return String.fromCodePoint(...points);
}

/** NaN for what is no digit, and behind the end. */
function digitOf(code: number): number {
  if (code >= 0x61 && code <= 0x7a) return code - 0x61;
  return code >= 0x30 && code <= 0x39 ? code - 0x30 + 26 : NaN;
}

function adapt(delta: number, count: number, first: boolean): number {
  let rest = Math.floor(delta / (first ? 700 : 2));
  rest += Math.floor(rest / count);
  let k = 0;
  for (; rest > 455; k += 36) rest = Math.floor(rest / 35);
  return k + Math.floor((36 * rest) / (rest + 38));
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

/**
 * Whether a certificate is for a host, by the names in it (RFC 9525). Only its alternative names count: the common name
 * is never looked at. It does not ask whether the certificate is to be trusted. Twisted leaves this to the package
 * `service_identity`.
 *
 * The names are read from the certificate's own bytes, not from text made of them, and are compared as bytes. A name
 * with anything in it that no host name has (a NUL, say, or a byte beyond ASCII) matches nothing.
 */
import { TAG, bodyOf, certificateParts, readDER } from './der.ts';
import { VerificationError } from './errors.ts';
import type { HostIdentity } from './host-identity.ts';

/** The names of a certificate that a host can be compared with. */
export interface CertificateNames {
  /** dNSName, a character for each byte. */
  readonly names: readonly string[];
  /** iPAddress: 4 or 16 bytes each. */
  readonly addresses: readonly Buffer[];
}

/** subjectAltName, 2.5.29.17. */
const SUBJECT_ALT_NAME = '551d11';
const DNS_NAME = 0x82;
const IP_ADDRESS = 0x87;

/**
 * The alternative names in a certificate.
 *
 * @param der the certificate
 * @throws CertificateError if it cannot be read without doubt
 */
export function certificateNames(der: Buffer): CertificateNames {
  const extension = certificateParts(der).extensions.get(SUBJECT_ALT_NAME);
  if (extension === undefined) return { names: [], addresses: [] };
  const outer = readDER(extension);
  const list = readDER(bodyOf(outer.length === 1 ? outer[0] : undefined, TAG.sequence));
  return {
    names: list.filter(({ tag }) => tag === DNS_NAME).map(({ body }) => body.toString('latin1')),
    addresses: list.filter(({ tag }) => tag === IP_ADDRESS).map(({ body }) => body),
  };
}

/** A name as it may stand in a certificate: a wildcard is its whole first label, with two labels or more behind it. */
const PRESENTED =
  /^(?=.{1,253}$)(?:\*\.[a-z0-9_-]{1,63}\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/i;

/**
 * True if `presented`, a dNSName of a certificate, is a name of the host `name` (RFC 9525 section 6.3). Case does not
 * matter. A wildcard stands for exactly one label.
 *
 * @param name in canonical form, as {@link HostIdentity} has it
 */
export function nameMatches(name: string, presented: string): boolean {
  if (!PRESENTED.test(presented)) return false;
  const pattern = presented.toLowerCase();
  if (!pattern.startsWith('*.')) return pattern === name;
  const dot = name.indexOf('.');
  return dot > 0 && name.slice(dot) === pattern.slice(1);
}

/** True if the certificate with these names is for the host. */
export function isFor(host: HostIdentity, { names, addresses }: CertificateNames): boolean {
  if (host.kind === 'address') return addresses.some((address) => address.equals(host.bytes));
  return names.some((presented) => nameMatches(host.text, presented));
}

const MOST_SHOWN = 10;

/** Why a certificate with these names is not for the host; undefined if it is. */
export function checkIdentity(
  host: HostIdentity,
  found: CertificateNames,
): VerificationError | undefined {
  if (isFor(host, found)) return undefined;
  const shown = [...found.names.map(quoted), ...found.addresses.map(addressText)];
  const rest = shown.length > MOST_SHOWN ? ` and ${shown.length - MOST_SHOWN} more` : '';
  const names =
    shown.length === 0
      ? 'it has no alternative names (the common name does not count)'
      : `it is for ${shown.slice(0, MOST_SHOWN).join(', ')}${rest}`;
  return new VerificationError(`the certificate is not for ${host.text}: ${names}`);
}

function quoted(name: string): string {
  const text = name.length > 100 ? `${name.slice(0, 100)}…` : name;
  return JSON.stringify(text).replace(/[\x7f-\x9f]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`);
}

function addressText(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const hex = bytes.toString('hex');
  return bytes.length === 16 ? (hex.match(/.{4}/g) as string[]).join(':') : `0x${hex}`;
}

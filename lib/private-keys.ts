/**
 * Reading private keys. No error shows anything of a key. Twisted: `KeyPair.load`, which leaves it to pyOpenSSL.
 */
import type { KeyObject } from 'node:crypto';
import { crypto, textOfPEM } from './certificates.ts';
import { CertificateError } from './errors.ts';

/**
 * The private key in PEM: PKCS 8, PKCS 1 or SEC 1, also if encrypted. Other blocks of the PEM are passed over.
 *
 * @throws CertificateError without a passphrase for an encrypted key, with a wrong one, and for what is no key
 */
export function readPrivateKeyPEM(pem: string | Uint8Array, passphrase?: string): KeyObject {
  const text = textOfPEM(pem, 'a private key');
  const block = /-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----[^]*?-----END \1-----/.exec(text);
  if (block === null) throw new CertificateError('there is no private key in the PEM');
  const [key, label = ''] = block;
  const encrypted = label.startsWith('ENCRYPTED') || /^Proc-Type:.*ENCRYPTED/m.test(key);
  if (passphrase !== undefined && typeof passphrase !== 'string') {
    throw new TypeError(`passphrase must be a string, not ${typeof passphrase}`);
  }
  if (encrypted && passphrase === undefined) {
    throw new CertificateError('the private key is encrypted, and there is no passphrase');
  }
  try {
    return crypto().createPrivateKey(encrypted ? { key, passphrase: passphrase as string } : key);
  } catch (cause) {
    // What Node says holds nothing of the key: a number and a few words of OpenSSL's.
    const why = encrypted ? 'the passphrase may be wrong' : 'it is damaged, or of no known kind';
    const said = (cause as Error).message;
    throw new CertificateError(`the private key cannot be read: ${why} (${said})`, { cause });
  }
}

/**
 * The private key in DER (PKCS 8).
 *
 * @throws CertificateError
 */
export function readPrivateKeyDER(der: Uint8Array): KeyObject {
  if (!((der as unknown) instanceof Uint8Array)) {
    throw new TypeError(`a private key as DER must be a Uint8Array, not ${typeof der}`);
  }
  try {
    return crypto().createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  } catch (cause) {
    throw new CertificateError(`the private key cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** A private key as PEM (PKCS 8), not encrypted. */
export function privateKeyAsPEM(key: KeyObject): string {
  return key.export({ format: 'pem', type: 'pkcs8' }).toString();
}

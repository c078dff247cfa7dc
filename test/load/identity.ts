/** Who the server of the load runs is, and whom its clients trust. */
import { readFileSync } from 'node:fs';
import { CertificateOptions, optionsForClientTLS, trustRootFromCertificates } from 'plait';

/** These programs run from `dist`, the certificates lie among the sources. */
const pem = (name: string): string =>
  readFileSync(new URL(`../../../test/fixtures/tls/${name}`, import.meta.url), 'utf8');

/** What one side of a connection brings to the handshake. */
export function secure(side: 'client' | 'server') {
  return side === 'server'
    ? new CertificateOptions({ privateKey: pem('server.key'), certificate: pem('server.pem') })
    : optionsForClientTLS('127.0.0.1', { trustRoot: trustRootFromCertificates([pem('ca.pem')]) });
}

/**
 * What descriptions of endpoints with TLS say of keys and trust: names of files and folders, which are read at once,
 * so that a mistake is known before anything is opened. Twisted: the parsers of `ssl:` and `tls:` in
 * `twisted.internet.endpoints`.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DiffieHellmanParameters } from './ciphers.ts';
import type { EndpointArguments } from './endpoint-description.ts';
import { CertificateError, explain } from './errors.ts';
import { LONGEST_FILE, readRegularFile } from './regular-file.ts';
import { CertificateOptions, optionsForClientTLS, PrivateCertificate } from './ssl.ts';
import type { ITLSContextFactory } from './tls-settings.ts';
import { trustRootFromCertificates } from './trust.ts';

/** What `sslmethod` may say. All mean TLS 1.2 or later: older versions are not to be had by a description. */
const METHODS = ['TLS_METHOD', 'SSLv23_METHOD', 'TLSv1_2_METHOD'];

/**
 * The keys of a server: `privateKey` (a file; default: `server.pem`), `certKey` (its certificate, and those behind it;
 * default: the same file), `extraCertChain`, `dhParameters` and `sslmethod`.
 *
 * @throws CertificateError for files that cannot be read or used
 */
export function serverCredentials(args: EndpointArguments): CertificateOptions {
  const keyFile = args.text('privateKey') ?? 'server.pem';
  const certificateFile = args.text('certKey') ?? keyFile;
  const chainFile = args.text('extraCertChain');
  const dhFile = args.text('dhParameters');
  const method = args.text('sslmethod');
  if (method !== undefined && !METHODS.includes(method)) {
    throw args.bad('sslmethod', `sslmethod can be ${METHODS.join(', ')}`, method);
  }
  return new CertificateOptions({
    privateKey: contentsOf(keyFile, 'privateKey'),
    certificate: contentsOf(certificateFile, 'certKey'),
    ...(chainFile !== undefined && { extraCertChain: contentsOf(chainFile, 'extraCertChain') }),
    ...(dhFile !== undefined && {
      dhParameters: DiffieHellmanParameters.fromFile(dhFile),
    }),
  });
}

/**
 * What a client needs to talk to `host`, and to nobody else: `certificate` and `privateKey` say who it is, and `trust`
 * (a folder of PEM files, or one file) whom it trusts, if not those that the system does.
 *
 * @param names what the arguments are called
 * @throws CertificateError for files that cannot be read or used
 */
export function clientCredentials(
  host: string,
  args: EndpointArguments,
  names: { readonly certificate: string; readonly trust: string },
): ITLSContextFactory {
  const certificateFile = args.text(names.certificate);
  const keyFile = args.text('privateKey') ?? certificateFile;
  const trust = args.text(names.trust);
  if (certificateFile === undefined && keyFile !== undefined) {
    throw args.bad('privateKey', `privateKey needs a ${names.certificate}`, keyFile);
  }
  return optionsForClientTLS(host, {
    ...(trust !== undefined && {
      trustRoot: trustRootFromCertificates(authoritiesIn(trust, names.trust)),
    }),
    ...(certificateFile !== undefined && {
      clientCertificate: PrivateCertificate.loadPEM(
        keyFile === certificateFile
          ? contentsOf(certificateFile, names.certificate)
          : Buffer.concat([
              contentsOf(certificateFile, names.certificate),
              Buffer.from('\n'),
              contentsOf(keyFile as string, 'privateKey'),
            ]),
      ),
    }),
  });
}

/** The contents of the file, or of each `.pem` in the folder. */
function authoritiesIn(path: string, argument: string): Buffer[] {
  const files = reading(path, argument, () =>
    statSync(path).isDirectory()
      ? readdirSync(path)
          .filter((name) => /\.pem$/i.test(name))
          .map((name) => join(path, name))
      : [path],
  );
  if (files.length === 0) {
    throw new CertificateError(`cannot use the ${argument} ${path}: there is no .pem in it`);
  }
  let left = LONGEST_FILE; // of all of them
  return files.map((file) => {
    const contents = contentsOf(file, argument, left);
    left -= contents.length;
    return contents;
  });
}

function contentsOf(path: string, argument: string, most = LONGEST_FILE): Buffer {
  return reading(path, argument, () => readRegularFile(path, most));
}

function reading<T>(path: string, argument: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new CertificateError(
      `cannot read the ${argument} ${JSON.stringify(path)}: ${explain(error as Error)}`,
      { cause: error },
    );
  }
}

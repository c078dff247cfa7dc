/**
 * What descriptions of endpoints with TLS say of keys and trust: names of files and folders, which are read at once,
 * so that a mistake is known before anything is opened. Twisted: the parsers of `ssl:` and `tls:` in
 * `twisted.internet.endpoints`.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Certificate } from './certificates.ts';
import { DiffieHellmanParameters } from './ciphers.ts';
import type { EndpointArguments } from './endpoint-description.ts';
import { CertificateError, explain } from './errors.ts';
import { LONGEST_FILE, readRegularFile } from './regular-file.ts';
import { KeyPair, PrivateCertificate } from './private-certificates.ts';
import { CertificateOptions, type ClientTLSOptions, optionsForClientTLS } from './ssl.ts';
import type { ITLSContextFactory } from './tls-settings.ts';
import { trustRootFromCertificates } from './trust.ts';

/** What `sslmethod` may say. All mean TLS 1.2 or later: older versions are not to be had by a description. */
const METHODS = ['TLS_METHOD', 'SSLv23_METHOD', 'TLSv1_2_METHOD'];

/**
 * The keys of a server: `privateKey` (a file; default: `server.pem`), `certKey` (its certificate, and those behind it;
 * default: the same file), `extraCertChain`, `dhParameters` and `sslmethod`.
 *
 * @throws CertificateError for files that cannot be read or used, with the argument and the file
 */
export function serverCredentials(args: EndpointArguments): CertificateOptions {
  const keyFile = args.text('privateKey') ?? 'server.pem';
  const certificateFile = args.text('certKey');
  const chainFile = args.text('extraCertChain');
  const dhFile = args.text('dhParameters');
  const method = args.text('sslmethod');
  if (method !== undefined && !METHODS.includes(method)) {
    throw args.bad('sslmethod', `sslmethod can be ${METHODS.join(', ')}`, method);
  }
  const key = { argument: 'privateKey', path: keyFile };
  const own = fileOf(key, certificateFile, 'certKey');
  const privateKey = parsed(key, (pem) => KeyPair.loadPEM(pem));
  const [certificate, ...behind] = parsed(own, (pem) => Certificate.loadAllPEM(pem));
  if (chainFile !== undefined) {
    const chain = { argument: 'extraCertChain', path: chainFile };
    behind.push(...parsed(chain, (pem) => Certificate.loadAllPEM(pem)));
  }
  const dhParameters =
    dhFile === undefined
      ? undefined
      : parsed({ argument: 'dhParameters', path: dhFile }, (pem) =>
          DiffieHellmanParameters.fromPEM(pem.toString('latin1')),
        );
  return using(
    together(key, own),
    () =>
      new CertificateOptions({
        privateKey,
        certificate: certificate as Certificate,
        extraCertChain: behind,
        ...(dhParameters !== undefined && { dhParameters }),
      }),
  );
}

/**
 * What a client needs to talk to `host`, and to no other: `certificate` and `privateKey` say who it is, and `trust`
 * (a folder of PEM files, or one file) whom it trusts, if not those that the system does.
 *
 * @param names what the arguments are called
 * @throws CertificateError for files that cannot be read or used, with the argument and the file
 */
export function clientCredentials(
  host: string,
  args: EndpointArguments,
  names: { readonly certificate: string; readonly trust: string },
): ITLSContextFactory {
  const certificateFile = args.text(names.certificate);
  const keyFile = args.text('privateKey');
  const trust = args.text(names.trust);
  if (certificateFile === undefined && keyFile !== undefined) {
    throw args.bad('privateKey', `privateKey needs a ${names.certificate}`, keyFile);
  }
  const options: ClientTLSOptions = {
    ...(trust !== undefined && {
      trustRoot: trustRootFromCertificates(authoritiesIn(trust, names.trust)),
    }),
  };
  if (certificateFile === undefined) return optionsForClientTLS(host, options);
  const own = { argument: names.certificate, path: certificateFile };
  const key = fileOf(own, keyFile, 'privateKey');
  const [certificate, ...chain] = parsed(own, (pem) => Certificate.loadAllPEM(pem));
  const privateKey = parsed(key, (pem) => KeyPair.loadPEM(pem));
  return using(together(own, key), () =>
    optionsForClientTLS(host, {
      ...options,
      clientCertificate: new PrivateCertificate(certificate as Certificate, privateKey, chain),
    }),
  );
}

/** A file, and the argument that has named it. */
interface Named {
  readonly argument: string;
  readonly path: string;
}

/** The file of an argument that may be left out: it is in that of another one then. */
function fileOf(other: Named, path: string | undefined, argument: string): Named {
  if (path !== undefined) return { argument, path };
  return { argument: `${other.argument} (there is no ${argument})`, path: other.path };
}

/** The certificates in the file, or in each `.pem` in the folder. */
function authoritiesIn(path: string, argument: string): Certificate[] {
  const files = reading({ path, argument }, () =>
    statSync(path).isDirectory()
      ? readdirSync(path)
          .filter((name) => /\.pem$/i.test(name))
          .map((name) => join(path, name))
      : [path],
  );
  if (files.length === 0) {
    throw new CertificateError(
      `cannot use the ${argument} ${JSON.stringify(path)}: there is no .pem in it`,
    );
  }
  let left = LONGEST_FILE; // of all of them
  return files.flatMap((file) => {
    const named = { argument, path: file };
    const contents = contentsOf(named, left);
    left -= contents.length;
    return using(shown(named), () => Certificate.loadAllPEM(contents));
  });
}

/** What `parse` makes of a file. */
function parsed<T>(file: Named, parse: (pem: Buffer) => T): T {
  const contents = contentsOf(file);
  return using(shown(file), () => parse(contents));
}

function contentsOf(file: Named, most = LONGEST_FILE): Buffer {
  return reading(file, () => readRegularFile(file.path, most));
}

function reading<T>(file: Named, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new CertificateError(`cannot read the ${shown(file)}: ${explain(error as Error)}`, {
      cause: error,
    });
  }
}

/** @param what the arguments and files that are used, for an error */
function using<T>(what: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    // That the name of a host is none has nothing to do with files.
    if (!(error instanceof CertificateError)) throw error;
    throw new CertificateError(`cannot use the ${what}: ${error.message}`, { cause: error });
  }
}

function shown({ argument, path }: Named): string {
  return `${argument} ${JSON.stringify(path)}`;
}

function together(one: Named, other: Named): string {
  return one.path === other.path ? shown(one) : `${shown(one)} with the ${shown(other)}`;
}

/**
 * One TLS server with several names: which certificate it shows depends on the name that the client asks for (SNI,
 * RFC 6066). Twisted leaves this to packages such as txsni.
 */
import { asciiLowerCase } from './bytes.ts';
import { CertificateError } from './errors.ts';
import { neededNow } from './hooks.ts';
import { hostIdentity } from './host-identity.ts';
import type { ITLSContextFactory, TLSSettings } from './tls-settings.ts';
import { INSPECT, inspected, type Inspecting, told } from './one-line.ts';

/**
 * Chooses among options by the name that a client asks for. Case does not matter. A name may be a wildcard,
 * `*.example.com`, which stands for exactly one label; the name itself goes first.
 *
 * Clients that ask for another name, or for none, get the default. If any of the options want a certificate
 * of clients, all clients are asked for one; whether it is needed, and good, is up to the options that were chosen.
 */
export class ServerNames implements ITLSContextFactory {
  readonly #names: ReadonlyMap<string, TLSSettings>;
  readonly #others: TLSSettings;
  readonly #requestCertificate: boolean;

  /**
   * @param names options by name, as an object or a Map
   * @param others options for clients that ask for no name, or another
   * @throws RangeError for what is no host name, and for a name that is there twice
   * @throws TypeError if some options have acceptableProtocols and some have not
   * @throws CertificateError for options that are not for servers
   */
  constructor(
    names: Readonly<Record<string, ITLSContextFactory>> | ReadonlyMap<string, ITLSContextFactory>,
    others: ITLSContextFactory,
  ) {
    const settings = new Map<string, TLSSettings>();
    const entries = names instanceof Map ? names : new Map(Object.entries(names));
    for (const [given, options] of entries as ReadonlyMap<string, ITLSContextFactory>) {
      const name = canonical(given);
      if (settings.has(name)) throw new RangeError(`the server name ${name} is there twice`);
      settings.set(name, neededNow(options.tlsSettings('server'), 'tlsSettings'));
    }
    this.#names = settings;
    this.#others = neededNow(others.tlsSettings('server'), 'tlsSettings');
    const all = [this.#others, ...settings.values()];
    const withProtocols = all.filter(({ protocols }) => protocols !== undefined).length;
    if (withProtocols !== 0 && withProtocols !== all.length) {
      throw new TypeError('either all options of ServerNames have acceptableProtocols, or none');
    }
    this.#requestCertificate = all.some(({ requestCertificate }) => requestCertificate);
  }

  /** @throws CertificateError for a client: it has no names to choose from */
  tlsSettings(side: 'client' | 'server'): TLSSettings {
    if (side === 'client') throw new CertificateError('ServerNames are options of a server');
    const requestCertificate = this.#requestCertificate;
    return { ...this.#others, requestCertificate, forName: (name) => this.settingsFor(name) };
  }

  /** The settings for a name; undefined for one that is not there. */
  settingsFor(name: string): TLSSettings | undefined {
    const wanted = asciiLowerCase(name).replace(/\.$/, '');
    return this.#names.get(wanted) ?? this.#names.get(wanted.replace(/^[^.]*/, '*'));
  }

  toString(): string {
    return told(this, [...this.#names.keys()].join(', '));
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

function canonical(name: string): string {
  const wildcard = name.startsWith('*.');
  const host = hostIdentity(wildcard ? name.slice(2) : name);
  if (host.kind === 'address') {
    throw new RangeError(`a server name, which clients ask for, is no address: ${name}`);
  }
  return wildcard ? `*.${host.text}` : host.text;
}

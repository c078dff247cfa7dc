/**
 * Endpoints from descriptions, as a program's options and configuration files give them: `tcp:8000`,
 * `tcp:host=example.org:port=80:timeout=5`, `unix:/run/clamd.ctl`. How they are written is in `endpoint-description`.
 * Twisted: `serverFromString` and `clientFromString` of `twisted.internet.endpoints`.
 */
import { clientCredentials, serverCredentials } from './endpoint-credentials.ts';
import type { EndpointArguments } from './endpoint-description.ts';
import {
  type ClientEndpointReactor,
  type IStreamClientEndpointStringParser,
  type IStreamServerEndpointStringParser,
  Parsers,
  type ServerEndpointReactor,
} from './endpoint-plugins.ts';
import {
  AdoptedStreamServerEndpoint,
  TCP4ServerEndpoint,
  TCP6ServerEndpoint,
  UNIXClientEndpoint,
  UNIXServerEndpoint,
} from './endpoints.ts';
import { HostnameEndpoint } from './hostname-endpoint.ts';
import type {
  AddressFamily,
  IReactorSocket,
  IReactorSSL,
  IReactorStandardIO,
  IStreamClientEndpoint,
  IStreamServerEndpoint,
} from './interfaces.ts';
import { StandardIOEndpoint } from './stdio.ts';
import { ListenFDs } from './systemd.ts';
import { SSL4ServerEndpoint, wrapClientTLS } from './tls-endpoints.ts';

/** What is defined of an object of options. */
function given<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as never;
}

/** The options that all places to listen at over TCP share. */
function listenOptions(args: EndpointArguments) {
  return given({ interface: args.text('interface'), backlog: args.integer('backlog') });
}

/** The options that all ways to connect over TCP share. */
function connectOptions(args: EndpointArguments) {
  const host = args.text('bindAddress');
  return given({
    timeout: args.seconds('timeout'),
    bindAddress: host === undefined ? undefined : { host },
  });
}

/** The reactor, if it has the method that a kind of endpoint needs. */
function supporting<I>(reactor: object, method: keyof I & string, kind: string): I {
  if (typeof (reactor as I)[method] !== 'function') {
    throw new TypeError(`the reactor has no ${method}, which ${kind}: needs`);
  }
  return reactor as I;
}

function isFamily(family: string): family is AddressFamily {
  return family === 'AF_INET' || family === 'AF_INET6' || family === 'AF_UNIX';
}

const servers = new Parsers<IStreamServerEndpointStringParser>('listen at', [
  {
    prefix: 'tcp',
    parseStreamServer: (reactor, args) =>
      new TCP4ServerEndpoint(reactor, args.neededInteger('port'), listenOptions(args)),
  },
  {
    prefix: 'tcp6',
    parseStreamServer: (reactor, args) =>
      new TCP6ServerEndpoint(reactor, args.neededInteger('port'), listenOptions(args)),
  },
  {
    prefix: 'unix',
    parseStreamServer: (reactor, args) =>
      new UNIXServerEndpoint(
        reactor,
        args.needed('address'),
        given({
          mode: args.integer('mode', 8),
          backlog: args.integer('backlog'),
          wantPID: args.flag('lockfile') ?? true,
        }),
      ),
  },
  {
    prefix: 'ssl',
    parseStreamServer: (reactor, args) =>
      new SSL4ServerEndpoint(
        supporting<IReactorSSL>(reactor, 'listenSSL', 'ssl'),
        args.neededInteger('port'),
        serverCredentials(args),
        listenOptions(args),
      ),
  },
  {
    prefix: 'systemd',
    parseStreamServer: (reactor, args) => {
      const family = `AF_${args.needed('domain')}`;
      if (!isFamily(family)) {
        throw args.bad('domain', 'domain is one of INET, INET6 and UNIX', family.slice(3));
      }
      const name = args.text('name');
      const which = name ?? args.neededInteger('index');
      return new AdoptedStreamServerEndpoint(
        supporting<IReactorSocket>(reactor, 'adoptStreamPort', 'systemd'),
        ListenFDs.fromEnvironment().descriptor(which),
        family,
      );
    },
  },
  {
    prefix: 'stdio',
    parseStreamServer: (reactor, args) => {
      args.none();
      return new StandardIOEndpoint(supporting<IReactorStandardIO>(reactor, 'standardIO', 'stdio'));
    },
  },
]);

const clients = new Parsers<IStreamClientEndpointStringParser>('connect to', [
  {
    prefix: 'tcp',
    parseStreamClient(reactor, args) {
      const host = args.needed('host');
      return new HostnameEndpoint(reactor, host, args.neededInteger('port'), connectOptions(args));
    },
  },
  {
    prefix: 'unix',
    parseStreamClient: (reactor, args) =>
      new UNIXClientEndpoint(
        reactor,
        args.needed('path'),
        given({ timeout: args.seconds('timeout'), checkPID: args.flag('lockfile') }),
      ),
  },
  {
    prefix: 'ssl',
    parseStreamClient(reactor, args) {
      const host = args.needed('host');
      const port = args.neededInteger('port');
      const credentials = clientCredentials(args.text('hostname') ?? host, args, {
        certificate: 'certKey',
        trust: 'caCertsDir',
      });
      return wrapClientTLS(
        credentials,
        new HostnameEndpoint(reactor, host, port, connectOptions(args)),
        { clock: reactor },
      );
    },
  },
  {
    prefix: 'tls',
    parseStreamClient(reactor, args) {
      const host = args.needed('host');
      const port = args.neededInteger('port');
      const credentials = clientCredentials(host, args, {
        certificate: 'certificate',
        trust: 'trustRoots',
      });
      const through = args.text('endpoint');
      return wrapClientTLS(
        credentials,
        through === undefined
          ? new HostnameEndpoint(reactor, host, port, connectOptions(args))
          : clientFromString(reactor, through),
        { clock: reactor },
      );
    },
  },
]);

/**
 * A place to listen at, by its description. Each begins with its kind; arguments in brackets may be left out, and those
 * before the brackets may be given by their names:
 *
 * - `tcp:PORT[:interface=…][:backlog=…]`, and `tcp6:` for IPv6;
 * - `ssl:PORT[:privateKey=FILE][:certKey=FILE][:extraCertChain=FILE][:dhParameters=FILE][:interface=…][:backlog=…]`;
 * - `unix:ADDRESS[:mode=660][:backlog=…][:lockfile=0]`;
 * - `systemd:DOMAIN:INDEX` or `systemd:DOMAIN:name=…`, where the domain is INET, INET6 or UNIX; `stdio:`;
 * - those that were registered.
 *
 * @throws EndpointSyntaxError if the description cannot be understood, CertificateError for files that it names,
 *   InvalidAddressError if no such socket was handed over
 */
export function serverFromString(
  reactor: ServerEndpointReactor,
  description: string,
): IStreamServerEndpoint {
  return servers.parse(description, (parser, args) => parser.parseStreamServer(reactor, args));
}

/**
 * A place to connect to, by its description:
 *
 * - `tcp:HOST:PORT[:timeout=…][:bindAddress=…]`, a {@link HostnameEndpoint};
 * - `tls:HOST:PORT[:timeout=…][:bindAddress=…][:certificate=FILE][:privateKey=FILE][:trustRoots=PATH][:endpoint=…]`,
 *   the same with TLS, or TLS over what another description stands for;
 * - `ssl:HOST:PORT[:timeout=…][:bindAddress=…][:certKey=FILE][:privateKey=FILE][:caCertsDir=PATH][:hostname=…]`;
 * - `unix:PATH[:timeout=…][:lockfile=1]`;
 * - those that were registered.
 *
 * @throws EndpointSyntaxError if the description cannot be understood, CertificateError for files that it names
 */
export function clientFromString(
  reactor: ClientEndpointReactor,
  description: string,
): IStreamClientEndpoint {
  return clients.parse(description, (parser, args) => parser.parseStreamClient(reactor, args));
}

/**
 * Has descriptions that begin with the parser's prefix understood by `serverFromString`, until the function that is
 * returned is called.
 *
 * @throws EndpointPrefixTaken if there is a parser for the prefix, RangeError for what can be none
 */
export function registerServerEndpointParser(
  parser: IStreamServerEndpointStringParser,
): () => void {
  return servers.register(parser);
}

/**
 * Has descriptions that begin with the parser's prefix understood by `clientFromString`, until the function that is
 * returned is called.
 *
 * @throws EndpointPrefixTaken if there is a parser for the prefix, RangeError for what can be none
 */
export function registerClientEndpointParser(
  parser: IStreamClientEndpointStringParser,
): () => void {
  return clients.register(parser);
}

/**
 * Endpoints whose connections are secured: over TCP, and over whatever another endpoint makes. Twisted:
 * `SSL4ClientEndpoint`, `SSL4ServerEndpoint`, `wrapClientTLS` and `wrapServerTLS` of `twisted.internet.endpoints`.
 */
import { checkPortOrService } from './address.ts';
import {
  checkClientEndpoint,
  checkMethods,
  checkServerEndpoint,
  checkString,
  checkTimeLimit,
} from './arguments.ts';
import type { Deferred } from './defer.ts';
import {
  checkClientOptions,
  checkServerOptions,
  connectOnce,
  listening,
  type TCPClientOptions,
  type TCPServerOptions,
} from './endpoints.ts';
import type {
  HandshakeOptions,
  IListeningPort,
  IProtocol,
  IProtocolFactory,
  IReactorSSL,
  IStreamClientEndpoint,
  IStreamServerEndpoint,
} from './interfaces.ts';
import { maybeDeferred } from './maybe.ts';
import type { ITLSContextFactory } from './tls-settings.ts';
import { checkWrapOptions, TLSMemoryBIOFactory, type TLSWrapOptions } from './tls-wrapper.ts';
import { checkContextFactory } from './transport/tls.ts';
import { INSPECT, inspected, type Inspecting } from './one-line.ts';
import { described } from './endpoint-description.ts';

/** Options of {@link SSL4ServerEndpoint}. */
export interface SSLServerOptions extends TCPServerOptions, HandshakeOptions {}

/** Listens for TLS connections on a TCP port over IPv4. */
export class SSL4ServerEndpoint implements IStreamServerEndpoint {
  readonly #reactor: IReactorSSL;
  readonly #port: number;
  readonly #contextFactory: ITLSContextFactory;
  readonly #options: SSLServerOptions;

  constructor(
    reactor: IReactorSSL,
    port: number,
    contextFactory: ITLSContextFactory,
    options: SSLServerOptions = {},
  ) {
    this.#reactor = checkMethods(reactor, 'SSL4ServerEndpoint: reactor', 'a reactor', [
      'listenSSL',
    ]);
    checkPortOrService(port, 0, 'SSL4ServerEndpoint: port');
    this.#port = port;
    checkContextFactory(contextFactory, 'SSL4ServerEndpoint: contextFactory');
    this.#contextFactory = contextFactory;
    this.#options = checkServerOptions(options, 'SSL4ServerEndpoint');
    checkTimeLimit(options.handshakeTimeout, 'SSL4ServerEndpoint: handshakeTimeout');
  }

  /** Fails also with CertificateError or SSLError, for settings that cannot be used. */
  listen(factory: IProtocolFactory): Deferred<IListeningPort> {
    return listening(() =>
      this.#reactor.listenSSL(this.#port, factory, this.#contextFactory, this.#options),
    );
  }

  /** As a description for `serverFromString`, as far as one says it all. */
  toString(): string {
    return described('ssl', this.#port, ['interface', this.#options.interface]);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/** Options of {@link SSL4ClientEndpoint}. */
export interface SSLClientOptions extends TCPClientOptions, HandshakeOptions {}

/**
 * Connects over TCP, to an IPv4 address of the host if it has one, and secures the connection. Fires with the protocol
 * when the TCP connection is made, as with Twisted: a handshake that fails is the reason of its `connectionLost`.
 */
export class SSL4ClientEndpoint implements IStreamClientEndpoint {
  readonly #reactor: IReactorSSL;
  readonly #host: string;
  readonly #port: number;
  readonly #contextFactory: ITLSContextFactory;
  readonly #options: SSLClientOptions;

  constructor(
    reactor: IReactorSSL,
    host: string,
    port: number,
    contextFactory: ITLSContextFactory,
    options: SSLClientOptions = {},
  ) {
    this.#reactor = checkMethods(reactor, 'SSL4ClientEndpoint: reactor', 'a reactor', [
      'connectSSL',
    ]);
    this.#host = checkString(host, 'SSL4ClientEndpoint: host');
    checkPortOrService(port, 1, 'SSL4ClientEndpoint: port');
    this.#port = port;
    checkContextFactory(contextFactory, 'SSL4ClientEndpoint: contextFactory');
    this.#contextFactory = contextFactory;
    this.#options = checkClientOptions(options, 'SSL4ClientEndpoint');
    checkTimeLimit(options.handshakeTimeout, 'SSL4ClientEndpoint: handshakeTimeout');
  }

  connect<P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> {
    return connectOnce(factory, (once) =>
      this.#reactor.connectSSL(this.#host, this.#port, once, this.#contextFactory, this.#options),
    );
  }

  /** As a description for `clientFromString`, as far as one says it all. */
  toString(): string {
    return described('ssl', this.#host, this.#port);
  }

  [INSPECT](...how: Inspecting): string {
    return inspected(this, ...how);
  }
}

/**
 * An endpoint that connects as `endpoint` does, and secures each connection; TLS within TLS too. The Deferred of its
 * `connect` fires when the connection below is made, and fails also with CertificateError or SSLError for settings that
 * cannot be used.
 *
 * @param contextFactory as from `optionsForClientTLS`
 */
export function wrapClientTLS(
  contextFactory: ITLSContextFactory,
  endpoint: IStreamClientEndpoint,
  options: TLSWrapOptions = {},
): IStreamClientEndpoint {
  checkContextFactory(contextFactory, 'wrapClientTLS: contextFactory');
  checkClientEndpoint(endpoint, 'wrapClientTLS: endpoint');
  checkWrapOptions(options, 'wrapClientTLS');
  return {
    connect: <P extends IProtocol>(factory: IProtocolFactory<P>): Deferred<P> =>
      maybeDeferred(() =>
        endpoint.connect(new TLSMemoryBIOFactory(contextFactory, true, factory, options)),
      ).addCallback(({ wrappedProtocol }) => wrappedProtocol),
  };
}

/**
 * An endpoint that listens as `endpoint` does, and secures each connection. Its `listen` fails also with
 * CertificateError or SSLError, for settings that cannot be used.
 */
export function wrapServerTLS(
  contextFactory: ITLSContextFactory,
  endpoint: IStreamServerEndpoint,
  options: TLSWrapOptions = {},
): IStreamServerEndpoint {
  checkContextFactory(contextFactory, 'wrapServerTLS: contextFactory');
  checkServerEndpoint(endpoint, 'wrapServerTLS: endpoint');
  checkWrapOptions(options, 'wrapServerTLS');
  return {
    listen: (factory) =>
      maybeDeferred(() =>
        endpoint.listen(new TLSMemoryBIOFactory(contextFactory, false, factory, options)),
      ),
  };
}

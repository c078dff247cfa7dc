/**
 * `getPage` and `request`: a page for a URL. Checks what is asked for, makes the connection, follows redirects, and
 * keeps the time. Each request has a connection of its own, without cookies, without proxy, without decompression.
 * Twisted: `twisted.web.client.getPage`, which was removed there since it could not keep credentials to their origin.
 */
import {
  ConnectingCancelledError,
  Failure,
  HostnameEndpoint,
  checkSeconds,
  checkSignal,
  connectProtocol,
  inlineCallbacks,
  maybeDeferred,
  optionsForClientTLS,
  reactor as processReactor,
  type Coroutine,
  type Deferred,
  type HostnameEndpointOptions,
  type HostnameEndpointReactor,
  type IStreamClientEndpoint,
  type ITLSContextFactory,
  type Seconds,
  type TrustSource,
} from 'plait';
import {
  HTTPError,
  InfiniteRedirection,
  PageRedirect,
  PartialDownloadError,
  RequestCancelled,
  RequestTimedOut,
  notConnected,
} from './errors.ts';
import { Exchange, type ExchangeLimits, type Securing } from './exchange.ts';
import { checkedLimit } from './grammar.ts';
import type { Request, Response } from './message.ts';
import { isRedirect, redirected } from './redirect.ts';
import { makeRequest, nameOf, type RequestParts } from './request.ts';

/** Options of {@link getPage} and {@link request}. */
export interface RequestOptions extends RequestParts, ExchangeLimits {
  /** Makes the connections and tells the time. Default: the process's own. */
  readonly reactor?: HostnameEndpointReactor;
  /**
   * Seconds for all of it, from the look-up of the host's name to the last byte, with all redirects; null for no end.
   * Default: 60.
   */
  readonly timeout?: Seconds | null;
  /** Seconds for a connection to be made, each time, and again for it to be secured. Default: 30. */
  readonly connectTimeout?: Seconds;
  /** For https: who may vouch for servers. Default: `platformTrust()`. */
  readonly trustRoot?: TrustSource;
  /**
   * For https: makes the TLS options for a server, in place of `optionsForClientTLS` with `trustRoot`. Called for each
   * connection, since a redirect may lead to another server. Twisted: `IPolicyForHTTPS`.
   */
  readonly contextFactory?: (hostname: string, port: number) => ITLSContextFactory;
  /** The local address, and port if it matters, to connect from. */
  readonly bindAddress?: { readonly host: string; readonly port?: number };
  /** False to take a redirect as the answer. Default: true. */
  readonly followRedirect?: boolean;
  /** How many redirects may follow one another. Default: 20. */
  readonly redirectLimit?: number;
  /**
   * True to send a body again, or a POST, PUT or PATCH without one, where a redirect by 307 or 308 leads to another
   * origin. From https to http that is never done. Default: false, and such a redirect is refused.
   */
  readonly resendBody?: boolean;
  /** Cancels the request when it is aborted. */
  readonly signal?: AbortSignal;
}

const TIMEOUT: Seconds = 60;
const CONNECT_TIMEOUT: Seconds = 30;
const REDIRECT_LIMIT = 20;

/**
 * Fetches a page: fires with the body of the response, once all of it is there.
 *
 * Fails with HTTPError for a status other than 200 to 299, with PageRedirect or one of its kin for a redirect that was
 * not followed, and else as {@link request} does. Every error says which request failed, and how. Cancelling closes
 * the connection at once. Twisted: `twisted.web.client.getPage`.
 *
 * @example
 * getPage('http://127.0.0.1:8000/').addCallbacks(
 *   (page) => console.log(`${page.length} bytes`),
 *   (failure) => console.log(failure.getErrorMessage()),
 * );
 */
export function getPage(url: string | URL, options: RequestOptions = {}): Deferred<Buffer> {
  return request(url, options).addCallback((response) => {
    if (response.code >= 200 && response.code <= 299) return response.body;
    if (isRedirect(response))
      throw new PageRedirect(response, 'a redirect, which was not to be followed');
    throw new HTTPError(response);
  });
}

/**
 * Sends a request: fires with the response, whatever its status, once all of it is there.
 *
 * Redirects are followed unless `followRedirect` is false. It never throws, but fails
 * - with RangeError, TypeError or a RequestNotSent for arguments that make no request;
 * - with the ConnectError of the class that `connectTCP` fails with where no connection can be made;
 * - with VerificationError for a server that is not who it should be, SSLError where TLS cannot be spoken with it, and
 *   CertificateError for a trust root that cannot be used: nothing has been sent then;
 * - with RequestTransmissionFailed, ResponseNeverReceived, ResponseFailed or PartialDownloadError, by how far it came;
 * - with InfiniteRedirection, RedirectWithNoLocation or RedirectRefused;
 * - with RequestTimedOut, a TimeoutError, or RequestCancelled, a CancelledError.
 *
 * Twisted: `Agent.request` with `RedirectAgent` and `readBody`.
 */
export function request(url: string | URL, options: RequestOptions = {}): Deferred<Response> {
  return maybeDeferred(begin, url, options);
}

function begin(url: string | URL, options: RequestOptions): Deferred<Response> {
  const { reactor = processReactor, signal } = options;
  const timeout =
    options.timeout === null ? null : checkSeconds(options.timeout ?? TIMEOUT, 'timeout');
  const settings: Settings = {
    reactor,
    connection: {
      timeout: checkSeconds(options.connectTimeout ?? CONNECT_TIMEOUT, 'connectTimeout'),
      ...(options.bindAddress && { bindAddress: options.bindAddress }),
    },
    contextFactory: contextFactoryOf(options),
    limits: options,
    resendBody: options.resendBody === true,
    redirectLimit: checkedLimit('redirectLimit', options.redirectLimit, REDIRECT_LIMIT),
  };
  if (signal !== undefined) checkSignal(signal, 'signal');
  const first = makeRequest(url, options);
  if (signal?.aborted === true) throw cancelled(first, signal.reason);
  const response =
    options.followRedirect === false ? perform(first, settings) : follow(first, settings);
  if (timeout !== null) response.addTimeout(timeout, reactor, timedOut);
  return signal === undefined ? response : response.cancelOn(signal);
}

/** What the arguments come to, but for the request. */
interface Settings {
  readonly reactor: HostnameEndpointReactor;
  readonly connection: HostnameEndpointOptions & { readonly timeout: Seconds };
  readonly contextFactory: (hostname: string, port: number) => ITLSContextFactory;
  readonly limits: ExchangeLimits;
  readonly resendBody: boolean;
  readonly redirectLimit: number;
}

/** After the time has passed the request was cancelled; the failure that came of it says how far it had come. */
function timedOut(result: Response | Failure, timeout: Seconds): Response | Failure {
  const cause = result instanceof Failure ? result.check(RequestCancelled) : undefined;
  if (cause === undefined) return result;
  const { method, url, phase } = cause;
  throw new RequestTimedOut(timeout, { method, url, phase, cause });
}

function cancelled({ method, url }: Request, cause: unknown): RequestCancelled {
  return new RequestCancelled({
    method,
    url: url.href,
    phase: 'preparing',
    cause,
    code: 'ABORT_ERR',
  });
}

/** Sends the request, and those that the redirects in answer to it ask for. */
const follow = inlineCallbacks(function* (first: Request, settings: Settings): Coroutine<Response> {
  let request = first;
  for (let redirects = 0; ; redirects++) {
    const current = request;
    const followed = (head: Response): boolean =>
      redirects < settings.redirectLimit && leadsOn(current, head, settings);
    let response: Response;
    try {
      response = yield* perform(request, settings, followed);
    } catch (error) {
      // That a redirect is not followed, and why, says more than that its body was cut short.
      if (!(error instanceof PartialDownloadError && isRedirect(error.response))) throw error;
      response = error.response;
    }
    const next = redirected(request, response, settings.resendBody);
    if (next === undefined) return response;
    if (redirects === settings.redirectLimit) {
      throw new InfiniteRedirection(
        response,
        `more than ${redirects} redirects, the first from ${nameOf(first)}`,
      );
    }
    request = next;
  }
});

/** Whether a response is a redirect that will be followed, so that its body is not waited for. */
function leadsOn(request: Request, response: Response, { resendBody }: Settings): boolean {
  try {
    return redirected(request, response, resendBody) !== undefined;
  } catch {
    // The error will have the whole response.
    return false;
  }
}

/** Sends one request, on a connection of its own. */
const perform = inlineCallbacks(function* (
  request: Request,
  settings: Settings,
  needsNoBody?: (head: Response) => boolean,
): Coroutine<Response> {
  const securing = securingOf(request, settings);
  const exchange = new Exchange(request, settings.limits, securing, needsNoBody);
  try {
    yield* connectProtocol(endpointFor(request, settings), exchange);
  } catch (error) {
    throw failed(request, error as Error);
  }
  return yield* exchange.response;
});

/** Where to send it. */
function endpointFor({ url }: Request, { reactor, connection }: Settings): IStreamClientEndpoint {
  return new HostnameEndpoint(reactor, hostOf(url), portOf(url), connection);
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port);
  return protocol === 'https:' ? 443 : 80;
}

/** How the connection is secured, for https. */
function securingOf(request: Request, settings: Settings): Securing | undefined {
  const { url } = request;
  if (url.protocol !== 'https:') return undefined;
  try {
    const contextFactory = settings.contextFactory(hostOf(url), portOf(url));
    if (typeof (contextFactory as Partial<ITLSContextFactory> | null)?.tlsSettings !== 'function') {
      // A promise would fail unhandled.
      Promise.resolve(contextFactory).catch(() => {});
      throw new TypeError('contextFactory must return what has tlsSettings, at once');
    }
    return { contextFactory, handshakeTimeout: settings.connection.timeout };
  } catch (thrown) {
    throw failed(request, new Failure(thrown).value);
  }
}

/** By default the server must be who the URL says, and is spoken HTTP/1.1 with (RFC 7301). */
function contextFactoryOf(options: RequestOptions): Settings['contextFactory'] {
  const { contextFactory, trustRoot } = options;
  if (contextFactory === undefined) {
    const trust = trustRoot === undefined ? {} : { trustRoot };
    return (hostname, port) =>
      optionsForClientTLS(hostname, { ...trust, port, acceptableProtocols: ['http/1.1'] });
  }
  if (trustRoot !== undefined) {
    throw new TypeError('trustRoot and contextFactory cannot both be given');
  }
  if (typeof contextFactory !== 'function') {
    throw new TypeError(`contextFactory must be a function, not ${typeof contextFactory}`);
  }
  return contextFactory;
}

/** The error for the caller. */
function failed({ method, url }: Request, cause: Error): Error {
  const details = { method, url: url.href, phase: 'connecting', cause } as const;
  return cause instanceof ConnectingCancelledError
    ? new RequestCancelled(details)
    : notConnected(details);
}

/**
 * From what a caller asks for to a {@link Request} that can be sent: the URL is read strictly, headers are put
 * together, credentials are taken out of the URL. It does no I/O, and knows nothing of redirects. Twisted's nearest
 * thing is `twisted.web.client.URI` with what `Agent` adds to a request.
 */
import { asciiUpperCase, isDetached } from 'plait';
import { RequestGenerationFailed, SchemeNotSupported, attempt, quoted } from './errors.ts';
import { writeRequestHead } from './grammar.ts';
import { Headers, type HeadersInit } from './headers.ts';
import type { Request } from './message.ts';

/** What can be said of a request besides its URL. */
export interface RequestParts {
  /** Default: `GET`. The usual methods may be written in any case, others are sent as they are. */
  readonly method?: string;
  /**
   * Sent besides `Host`, `User-Agent`, `Accept`, `Content-Length` and `Connection: close`. All but `Connection` may be
   * given here instead, `Content-Length` only if it is true.
   */
  readonly headers?: HeadersInit;
  /** Sent as it is, a string as UTF-8. It must not be changed until the response is there. */
  readonly body?: Uint8Array | string;
  /** The `User-Agent`. Default: `plait`. */
  readonly agent?: string;
}

/**
 * The request for `url`.
 *
 * @throws SchemeNotSupported for a URL that is neither http nor https; RequestGenerationFailed for whatever else
 *   cannot be sent
 */
export function makeRequest(url: string | URL, parts: RequestParts = {}): Request {
  const raw = url instanceof URL ? url.href : url;
  const method = canonicalMethod(parts.method ?? 'GET');
  const shown = typeof raw === 'string' ? withoutCredentials(raw) : '(no URL)';
  try {
    if (typeof raw !== 'string')
      throw new TypeError(`the URL must be a string or a URL, not ${typeof raw}`);
    const scheme = schemeOf(raw);
    if (scheme !== undefined && !isHTTP(scheme)) {
      const problem = `the scheme ${quoted(scheme)} is not supported, only http and https are`;
      throw new SchemeNotSupported(problem, { method, url: shown, phase: 'preparing' });
    }
    const parsed = parseURL(raw);
    const authorization = takeCredentials(parsed);
    const body = bodyBytes(parts.body);
    const headers = allHeaders(parsed, method, body, authorization, parts);
    const request: Request = { method, url: parsed, headers, body };
    checkMethod(request);
    writeRequestHead(request);
    return request;
  } catch (error) {
    if (error instanceof RequestGenerationFailed) throw error;
    const cause = error as Error;
    throw new RequestGenerationFailed(cause.message, {
      method,
      url: shown,
      phase: 'preparing',
      cause,
    });
  }
}

/** A request as errors name it: `GET http://example.com/`. */
export function nameOf({ method, url }: Request): string {
  return attempt(method, url.href);
}

// ── URLs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The scheme of an absolute URL, in lower case and without the colon; undefined for a relative one. */
export function schemeOf(raw: string): string | undefined {
  return /^([a-z][a-z0-9+.-]*):/i.exec(raw)?.[1]?.toLowerCase();
}

/** True for the schemes that this client speaks. */
export function isHTTP(scheme: string): boolean {
  return scheme === 'http' || scheme === 'https';
}

/**
 * Reads a URL whose scheme, if it has one, is http or https. `URL` alone would silently drop tabs and line ends, turn
 * backslashes around, and find a host in `http:host` or `///host`; here these are errors. The fragment is left out.
 *
 * @param base what a relative URL is relative to
 * @throws TypeError
 */
export function parseURL(raw: string, base?: URL): URL {
  if (/[\u0000-\u0020\u007f\\]/.test(raw)) {
    throw new TypeError('there is a control character, a space or a backslash in the URL');
  }
  const absolute = schemeOf(raw) !== undefined;
  if (!absolute && base === undefined)
    throw new TypeError('the URL is not absolute: it must begin with http:// or https://');
  if (absolute ? !/^https?:\/\/[^/?#]/i.test(raw) : /^\/\/(?:$|[/?#])/.test(raw)) {
    throw new TypeError('there is no host in the URL');
  }
  let url: URL;
  try {
    url = new URL(raw, base);
  } catch (cause) {
    // Its message is of no more help, and shows the URL with its credentials.
    throw new TypeError('the URL is malformed', { cause: (cause as { code?: unknown }).code });
  }
  checkHost(url.hostname);
  if (url.port === '0') throw new TypeError('the port in the URL is 0');
  url.hash = '';
  // The one character of a path that `URL` leaves to some servers' rules, and from Node 24 on does not.
  if (url.pathname.includes('^')) url.pathname = url.pathname.replaceAll('^', '%5E');
  return url;
}

/** Labels of letters, digits, hyphens and underscores, as `URL` has made them: in lower case, with IDNA done. */
const HOST_NAME = /^(?=.{1,254}$)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?$/;

function checkHost(host: string): void {
  if (host.startsWith('[') || HOST_NAME.test(host)) return;
  throw new TypeError(`the host ${quoted(host)} in the URL is no name and no address`);
}

/**
 * `raw` for a message: as it was given, but without credentials and fragment, however malformed it is. What is blamed in
 * a message must be seen there, so it is not shown as `URL` would write it.
 */
export function withoutCredentials(raw: string): string {
  // Tabs and line ends are nothing to `URL`, wherever they stand.
  const authority = /^([\x00-\x20]*(?:[a-z][a-z0-9+.-]*:)?[\\/]{2})([^\\/?#]*)/i.exec(raw);
  const url = URL.canParse(raw) ? new URL(raw) : undefined;
  if (authority === null || url === undefined || url.host === '' || /[\t\r\n]/.test(raw)) {
    // Nobody knows where credentials would stand in this, so all before the last @ is taken for some.
    return raw.replace(/^([a-z][a-z0-9+.-]*:)?.*@/is, '$1//').replace(/#.*$/s, '');
  }
  const [whole, start = '', host = ''] = authority;
  const rest = raw.slice(whole.length).replace(/#.*$/s, '');
  return `${start}${host.slice(host.lastIndexOf('@') + 1)}${rest}`;
}

/** Takes user and password out of the URL, and makes Basic credentials of them (RFC 7617). */
function takeCredentials(url: URL): string | undefined {
  if (url.username === '' && url.password === '') return undefined;
  let user: string, password: string;
  try {
    user = decodeURIComponent(url.username);
    password = decodeURIComponent(url.password);
  } catch {
    throw new TypeError('the credentials in the URL are not percent-encoded UTF-8');
  }

  if (user.includes(':') || /[\u0000-\u001f\u007f]/.test(user + password)) {
    throw new TypeError(
      'there is a colon in the user name or a control character in the credentials of the URL',
    );
  }
  url.username = url.password = '';
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

// ── Method, headers, body ────────────────────────────────────────────────────────────────────────────────────────────

const USUAL_METHODS = new Set(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT']);

/** `get` as `GET`, since servers differ in what they make of `get` and `head`. */
function canonicalMethod(given: unknown): string {
  const method = String(given);
  const upper = asciiUpperCase(method);
  return USUAL_METHODS.has(upper) ? upper : method;
}

function checkMethod({ method, body }: Request): void {
  const upper = asciiUpperCase(method);
  if (upper === 'CONNECT')
    throw new TypeError('CONNECT makes a tunnel, which is no request for a page');
  if (upper === 'TRACE' && body !== undefined) throw new TypeError('TRACE has no body');
}

function bodyBytes(body: unknown): Uint8Array | undefined {
  if (body instanceof Uint8Array && isDetached(body))
    throw new TypeError('the body is a buffer that was transferred');
  if (body === undefined || body instanceof Uint8Array) return body;
  if (typeof body === 'string') return Buffer.from(body);
  throw new TypeError(`the body must be a string or a Uint8Array, not ${typeof body}`);
}

function allHeaders(
  url: URL,
  method: string,
  body: Uint8Array | undefined,
  authorization: string | undefined,
  parts: RequestParts,
): Headers {
  const given = new Headers(parts.headers);
  checkGiven(given, parts, authorization);
  const headers = new Headers();
  const add = (name: string, value: string) => {
    if (!given.hasHeader(name)) headers.addRawHeader(name, value);
  };
  add('Host', url.host);
  add('User-Agent', parts.agent ?? 'plait');
  add('Accept', '*/*');
  if (authorization !== undefined) add('Authorization', authorization);
  for (const [name, value] of given) headers.addRawHeader(name, value);
  if (body !== undefined || ['PATCH', 'POST', 'PUT'].includes(method)) {
    add('Content-Length', String(body?.length ?? 0));
  }
  add('Connection', 'close');
  return headers;
}

/** What cannot be said twice, or not at all, since this client says it itself. */
function checkGiven(given: Headers, parts: RequestParts, authorization: string | undefined): void {
  if (authorization !== undefined && given.hasHeader('authorization')) {
    throw new TypeError('there are credentials both in the URL and in the Authorization header');
  }
  if (parts.agent !== undefined && given.hasHeader('user-agent')) {
    throw new TypeError('the User-Agent is given both as agent and as a header');
  }
  if (
    (given.get('connection') ?? 'close').toLowerCase() !== 'close' ||
    given.hasHeader('upgrade')
  ) {
    throw new TypeError(
      'Connection and Upgrade cannot be given: each request has a connection, which is then closed',
    );
  }
  const host = given.get('host');
  if (host !== undefined && !/^[\w.[\]:%-]+$/.test(host)) {
    // Before an @ there may be credentials.
    const shown = host.includes('@') ? 'header' : quoted(host);
    throw new TypeError(`the Host ${shown} cannot be sent: it is no host`);
  }
}

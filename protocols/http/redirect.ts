/**
 * What follows a redirect: the next request, made from the one that was sent and the response to it. It does no I/O
 * and counts nothing. Twisted: `RedirectAgent` and `BrowserLikeRedirectAgent` of `twisted.web.client`.
 *
 * Methods change as browsers have it (RFC 9110 section 15.4): 303 makes a GET of anything but HEAD, 301 and 302 make a
 * GET of a POST, 307 and 308 repeat method and body. A URL is resolved against the one that answered. What belongs to
 * one origin (scheme, host and port) never goes to another; a body does if that was asked for, but never from https to
 * http.
 */
import { asciiLowerCase } from 'plait';
import { RedirectRefused, RedirectWithNoLocation, quoted } from './errors.ts';
import { Headers } from './headers.ts';
import type { Request, Response } from './message.ts';
import { isHTTP, parseURL, schemeOf, withoutCredentials } from './request.ts';

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** True if the response says to look elsewhere. */
export function isRedirect(response: Response): boolean {
  return REDIRECTS.has(response.code);
}

/**
 * The request that a redirect asks for; undefined if the response is none.
 *
 * @param resendBody whether a body may go to another origin
 * @throws RedirectWithNoLocation, RedirectRefused
 */
export function redirected(
  request: Request,
  response: Response,
  resendBody: boolean,
): Request | undefined {
  if (!isRedirect(response)) return undefined;
  const { url, refuse } = locationOf(request, response);
  const toGet =
    response.code === 303
      ? request.method !== 'HEAD'
      : response.code < 303 && request.method === 'POST';
  const method = toGet ? 'GET' : request.method;
  const body = toGet ? undefined : request.body;
  const headers = new Headers();
  const sameOrigin = url.origin === request.url.origin;
  if (!sameOrigin && (body !== undefined || WITH_BODY.has(method))) {
    if (request.url.protocol === 'https:' && url.protocol === 'http:')
      throw refuse(`what was sent by https would be sent again without TLS by ${method}`);
    if (!resendBody)
      throw refuse(`${method} would be sent again to another origin, which resendBody allows`);
  }
  for (const [name, value] of request.headers) {
    const key = asciiLowerCase(name);
    if (key === 'host' && !sameOrigin) headers.addRawHeader(name, url.host);
    else if ((sameOrigin || HARMLESS.has(key)) && !(toGet && isOfBody(key)))
      headers.addRawHeader(name, value);
  }
  return { method, url, headers, body };
}

/** Where a redirect leads to, and what makes the error that it is not followed. */
function locationOf(request: Request, response: Response) {
  const locations = response.headers.getRawHeaders('location');
  const [location] = locations;
  if (location === undefined || location === '') {
    throw new RedirectWithNoLocation(response, 'a redirect that does not say where to');
  }
  const refuse = (problem: string, options?: ErrorOptions) => {
    const text = `a redirect to ${quoted(withoutCredentials(location), 200)} was not followed: ${problem}`;
    return new RedirectRefused(response, text, options);
  };
  if (locations.length > 1) throw refuse(`there are ${locations.length} Locations`);
  const scheme = schemeOf(location);
  if (scheme !== undefined && !isHTTP(scheme))
    throw refuse(`the scheme ${quoted(scheme)} is not supported, only http and https are`);
  let url: URL;
  try {
    url = parseURL(escaped(location), request.url);
  } catch (error) {
    throw refuse((error as Error).message, { cause: error });
  }
  if (url.username !== '' || url.password !== '') throw refuse('there are credentials in it');
  return { url, refuse };
}

/** Methods of which a body is expected, even if there is none. */
const WITH_BODY: ReadonlySet<string> = new Set(['PATCH', 'POST', 'PUT']);

/**
 * What servers send though they should not, as browsers take it: bytes beyond ASCII as `%` and two digits, which keeps
 * their meaning; spaces within as `%20`; tabs left out; a backslash before the query as a slash.
 */
function escaped(location: string): string {
  const parts = /^([^?#]*)(.*)$/s.exec(location.replaceAll('\t', '')) as RegExpExecArray;
  const [, path, rest] = parts as unknown as [string, string, string];
  return (path.replaceAll('\\', '/') + rest.replaceAll('\\', '%5C'))
    .replaceAll(' ', '%20')
    .replace(/[\x80-\xff]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
}

/**
 * All that another origin gets to see. It is a list of what may pass, so that a header that carries a secret under
 * whatever name stays behind. What describes the body goes where the body goes.
 */
const HARMLESS = new Set([
  'accept',
  'accept-language',
  'connection',
  'content-encoding',
  'content-language',
  'content-length',
  'content-type',
  'user-agent',
]);

/** True for headers that make no sense without a body. */
function isOfBody(key: string): boolean {
  return key.startsWith('content-') || key === 'digest' || key === 'expect' || key === 'trailer';
}

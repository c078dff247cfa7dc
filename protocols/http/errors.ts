/**
 * What can go wrong with a request, told apart by how far it has come. Each error says in its message which request it
 * was (method and URL, without credentials), and has what caused it as `cause`. Twisted: the exceptions of
 * `twisted.web._newclient`, `twisted.web.client` and `twisted.web.error`.
 *
 * ```text
 * PlaitError
 * ├─ RequestError                      no response to be had
 * │  ├─ RequestNotSent                 nothing was sent: it is safe to try again
 * │  │  └─ RequestGenerationFailed     the arguments make no request
 * │  │     └─ SchemeNotSupported       … since the URL is neither http nor https
 * │  ├─ RequestTransmissionFailed      the connection was lost while the request was being sent
 * │  └─ ResponseFailed                 what came is no response, or not all of one
 * │     ├─ ResponseNeverReceived       … since nothing came at all
 * │     └─ PartialDownloadError        … since the body was cut short; carries what has arrived
 * ├─ HTTPError                         a response, but not the page asked for: carries it
 * │  └─ PageRedirect                   … but a redirect that was not followed
 * │     └─ InfiniteRedirection, RedirectWithNoLocation, RedirectRefused
 * ├─ ParseError                        bytes that are no HTTP/1.1: the `cause` of a ResponseFailed
 * └─ DataLoss                          bytes that are missing: the `cause` of a ResponseFailed
 * ```
 *
 * To these come plait's own ConnectErrors (ConnectionRefusedError, DNSLookupError …) where no connection could be made,
 * SSLError, VerificationError and CertificateError where it could not be secured, RequestTimedOut, which is a
 * TimeoutError, and RequestCancelled, which is a CancelledError. Where the server sent more than it may, the `cause` of
 * the ResponseFailed is plait's LimitExceeded.
 */
import {
  CancelledError,
  CertificateError,
  ConnectError,
  type ErrorDetails,
  keepErrorNames,
  PlaitError,
  type Seconds,
  TimeoutError,
  VerificationError,
} from 'plait';
import type { Headers } from './headers.ts';
import type { Response } from './message.ts';

/** How far a request has come. */
export type Phase =
  'preparing' | 'connecting' | 'securing' | 'sending' | 'waiting' | 'headers' | 'body';

/** What is known of a request that failed. */
export interface RequestErrorDetails extends ErrorDetails {
  readonly method: string;
  /** Without credentials. */
  readonly url: string;
  readonly phase: Phase;
}

/** A request that got no response. */
export class RequestError extends PlaitError {
  readonly method: string;
  /** The URL asked for, without credentials; after a redirect, the one it led to. */
  readonly url: string;
  /** How far it had come. */
  readonly phase: Phase;

  /** @param problem what went wrong; the message says the method and the URL before it */
  constructor(problem: string, details: RequestErrorDetails) {
    super(`${attempt(details.method, details.url)}: ${problem}`, details);
    this.method = details.method;
    this.url = details.url;
    this.phase = details.phase;
  }
}

/** Nothing was sent, so that it is safe to try again. Twisted: `RequestNotSent`. */
export class RequestNotSent extends RequestError {}

/** The method, the URL, the headers or the body are not such that a request can be made of them. */
export class RequestGenerationFailed extends RequestNotSent {}

/** The URL's scheme is neither http nor https. */
export class SchemeNotSupported extends RequestGenerationFailed {}

/** The connection was lost while the request was being sent. The server may have seen all of it. */
export class RequestTransmissionFailed extends RequestError {}

/** The response is broken, too large, or was cut off. */
export class ResponseFailed extends RequestError {}

/** The connection was lost before the first byte of a response. */
export class ResponseNeverReceived extends ResponseFailed {}

/** The connection was lost within the body. */
export class PartialDownloadError extends ResponseFailed {
  /** The response, with as much of the body as has arrived. */
  readonly response: Response;

  constructor(problem: string, response: Response, details: RequestErrorDetails) {
    super(problem, details);
    this.response = response;
  }

  get status(): number {
    return this.response.code;
  }

  /** What has arrived of the body. */
  get body(): Buffer {
    return this.response.body;
  }
}

/** The time for a request, with all its redirects, has passed. */
export class RequestTimedOut extends TimeoutError {
  readonly method: string;
  readonly url: string;
  /** How far it had come. */
  readonly phase: Phase;

  /** @param timeout how many seconds it had */
  constructor(timeout: Seconds, details: RequestErrorDetails) {
    const { method, url, phase } = details;
    super(
      `${attempt(method, url)}: not done after ${timeout} seconds, while ${DOING[phase]}`,
      details,
    );
    this.method = method;
    this.url = url;
    this.phase = phase;
  }
}

/** A request that was cancelled. */
export class RequestCancelled extends CancelledError {
  readonly method: string;
  readonly url: string;
  /** How far it had come. */
  readonly phase: Phase;

  constructor(details: RequestErrorDetails) {
    const { method, url, phase } = details;
    super(`${attempt(method, url)}: cancelled while ${DOING[phase]}`, details);
    this.method = method;
    this.url = url;
    this.phase = phase;
  }
}

/** What was going on in a phase, for messages. */
export const DOING: Readonly<Record<Phase, string>> = {
  preparing: 'it was being prepared',
  connecting: 'the connection was being made',
  securing: 'the connection was being secured',
  sending: 'the request was being sent',
  waiting: 'waiting for the response',
  headers: 'the headers of the response were arriving',
  body: 'the body of the response was arriving',
};

/** A response that is not the page: its status is none of 200 to 299. Twisted: `twisted.web.error.Error`. */
export class HTTPError extends PlaitError {
  /** 404, say. */
  readonly status: number;
  /** The server's words for it; may be empty. */
  readonly phrase: string;
  /** The whole response. */
  readonly response: Response;

  /** @param problem what is wrong with it; the message says the method, the URL and the status before it */
  constructor(response: Response, problem?: string, options?: ErrorOptions) {
    const { method, url, code, phrase } = response;
    const answer = phrase === '' ? String(code) : `${code} ${printable(phrase)}`;
    super(
      `${attempt(method, url)}: ${answer}${problem === undefined ? '' : `: ${problem}`}`,
      options,
    );
    this.status = code;
    this.phrase = phrase;
    this.response = response;
  }

  get headers(): Headers {
    return this.response.headers;
  }

  get body(): Buffer {
    return this.response.body;
  }

  get url(): string {
    return this.response.url;
  }
}

/** A redirect that was not followed, since that was not wanted. Twisted: `PageRedirect`. */
export class PageRedirect extends HTTPError {
  /** Where to, as the server wrote it; undefined if it did not say. */
  readonly location: string | undefined;

  constructor(response: Response, problem: string, options?: ErrorOptions) {
    super(response, problem, options);
    this.location = response.headers.getRawHeaders('location')[0];
  }
}

/** More redirects than the limit allows. Twisted: `InfiniteRedirection`. */
export class InfiniteRedirection extends PageRedirect {}

/** A redirect that does not say where to. Twisted: `RedirectWithNoLocation`. */
export class RedirectWithNoLocation extends PageRedirect {}

/** A redirect to where a request must not or cannot go; for some the `cause` says more. */
export class RedirectRefused extends PageRedirect {}

/** Bytes that break the grammar of HTTP/1.1. Twisted: `ParseError`, `BadHeaders`, `BadResponseVersion`. */
export class ParseError extends PlaitError {}

/** The connection was closed before the response was complete. */
export class DataLoss extends PlaitError {}

/**
 * The error for a request that had no connection, or none that was secure, so that nothing was sent: of the same class
 * where that is one of plait's for this, so that it can be told by that.
 */
export function notConnected(details: RequestErrorDetails & { readonly cause: Error }): Error {
  const { method, url, cause } = details;
  const kept = [ConnectError, VerificationError, CertificateError];
  if (!kept.some((Class) => cause instanceof Class))
    return new RequestNotSent(cause.message, details);
  const Class = cause.constructor as new (message: string, details: ErrorDetails) => PlaitError;
  return new Class(`${attempt(method, url)}: ${cause.message}`, { cause });
}

/** A request as an error names it: `GET http://example.com/`. */
export function attempt(method: string, url: string): string {
  return `${printable(method, 20)} ${printable(url, 200)}`;
}

/** `text` for a message: control characters escaped, and cut where it is long. */
export function printable(text: string, most = 100): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;

  return cut.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`;
  });
}

/** `text` for a message, in quotes. */
export function quoted(text: string, most = 60): string {
  return `"${printable(text, most)}"`;
}

keepErrorNames({
  DataLoss,
  HTTPError,
  InfiniteRedirection,
  PageRedirect,
  ParseError,
  PartialDownloadError,
  RedirectRefused,
  RedirectWithNoLocation,
  RequestCancelled,
  RequestError,
  RequestGenerationFailed,
  RequestNotSent,
  RequestTimedOut,
  RequestTransmissionFailed,
  ResponseFailed,
  ResponseNeverReceived,
  SchemeNotSupported,
});

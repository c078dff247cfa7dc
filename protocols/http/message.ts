/**
 * The two messages of HTTP as plain values, types only: what is sent, and what comes back.
 */
import type { Headers } from './headers.ts';

/** A request, ready to be written. */
export interface Request {
  readonly method: string;
  /** http or https, without credentials and fragment. */
  readonly url: URL;
  /** All that are sent, `Host` too. */
  readonly headers: Headers;
  readonly body: Uint8Array | undefined;
}

/** What stands before the body of a response. */
export interface ResponseHead {
  /** The version of HTTP that the server speaks. */
  readonly version: '1.0' | '1.1';
  /** The status code: 200, 404 … */
  readonly code: number;
  /** The server's words for the code; may be empty. */
  readonly phrase: string;
  readonly headers: Headers;
}

/** A whole response. Twisted: `twisted.web.iweb.IResponse`. */
export interface Response extends ResponseHead {
  /** The method of the request that it answers; redirects may have changed it. */
  readonly method: string;
  /** The URL that answered, without credentials and fragment: the last one, where redirects were followed. */
  readonly url: string;
  /** As it came: a `Content-Encoding` is not undone. */
  readonly body: Buffer;
  /** What a chunked body had behind it; they are headers by their looks, and not to be trusted as such. */
  readonly trailers: Headers;
  /**
   * True if the body ended because the server closed the connection, so that it is not known whether it is all there.
   * Twisted: `PotentialDataLoss`.
   */
  readonly potentialDataLoss: boolean;
}

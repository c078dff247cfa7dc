/**
 * The door `plait/protocols/http`: pages over HTTP/1.1. Twisted: `twisted.web.client`. It holds no code; read
 * `client.ts` first, then `exchange.ts`, which is the conversation, and `grammar.ts`, which is its bytes.
 */
export { getPage, request, type RequestOptions } from './client.ts';
export {
  DataLoss,
  HTTPError,
  InfiniteRedirection,
  PageRedirect,
  ParseError,
  PartialDownloadError,
  type Phase,
  RedirectRefused,
  RedirectWithNoLocation,
  RequestCancelled,
  RequestError,
  type RequestErrorDetails,
  RequestGenerationFailed,
  RequestNotSent,
  RequestTimedOut,
  RequestTransmissionFailed,
  ResponseFailed,
  ResponseNeverReceived,
  SchemeNotSupported,
} from './errors.ts';
export { Exchange, type ExchangeLimits } from './exchange.ts';
export {
  bodyFraming,
  type Framing,
  RESPONSE_LIMITS,
  type ResponseEvent,
  type ResponseLimits,
  ResponseReader,
  writeRequestHead,
} from './grammar.ts';
export { Headers, type HeadersInit } from './headers.ts';
export type { Request, Response, ResponseHead } from './message.ts';
export { makeRequest, type RequestParts } from './request.ts';

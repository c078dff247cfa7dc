/**
 * The door `plait/protocols/clamd`: have bytes scanned by clamd, the daemon of ClamAV, and a fake one for tests. It
 * holds no code; read `client.ts` first, then `conversation.ts` and `upload.ts`, which are the conversation, and
 * `grammar.ts`, which is its bytes.
 */
export {
  type ClamdOptions,
  ping,
  scan,
  type ScanError,
  type ScanOptions,
  type Verdict,
  version,
} from './client.ts';
export {
  BadReply,
  ClamdCancelled,
  ClamdError,
  type ClamdErrorDetails,
  ClamdTimedOut,
  NoReply,
  type Phase,
  UnreadableFile,
  type UnusableReason,
  UnusableSource,
} from './errors.ts';
export type { CommandName, ReplyErrorKind } from './grammar.ts';
export { eicar, FakeClamd, type FakeClamdOptions, FakeClamdProtocol } from './server.ts';
export type { ScanSource } from './source.ts';

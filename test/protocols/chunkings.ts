/** The ways in which bytes may be cut on their way. A protocol must make the same of all of them. */

/** `bytes` whole, byte by byte, and in two at every place. */
export function* chunkings(bytes: Buffer): Generator<Buffer[]> {
  yield [bytes];
  yield Array.from(bytes, (byte) => Buffer.of(byte));
  for (let at = 1; at < bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
}

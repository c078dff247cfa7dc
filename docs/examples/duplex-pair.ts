/** Two Duplexes that are the ends of one pipe in memory. */
import { Duplex } from 'node:stream';

class End extends Duplex {
  other!: End;
  override _read() {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void) {
    this.other.push(chunk);
    done();
  }
  override _final(done: () => void) {
    this.other.push(null);
    done();
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const [one, two] = [new End(), new End()];
  one.other = two;
  two.other = one;
  return [one, two];
}

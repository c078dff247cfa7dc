/** What a TLS engine has below it: a Duplex of Node's, over any wire. */
import { Duplex } from 'node:stream';
import type { Wire } from './io.ts';

/** The engine is given more while no more than this waits in the wire below. */
const LOW_WATER_MARK = 64 * 1024;

/** The type of a record that is an alert (RFC 5246 section 6.2.1). */
const ALERT = 21;

/** What stands for the wire below in the eyes of the engine. */
export class Below extends Duplex {
  readonly #wire: Wire;
  readonly #ended: (done: () => void) => void;
  /** The engine has sent an alert that can be told from data: in TLS 1.2, a warning or the end. */
  alerted = false;
  #paused = false;
  /** A write that is called back for when the wire below has room. */
  #written: (() => void) | undefined;

  /** @param ended called when the engine has written its last */
  constructor(wire: Wire, ended: (done: () => void) => void) {
    super({ autoDestroy: false, emitClose: true });
    this.#wire = wire;
    this.#ended = ended;
    // Nobody reports an error here, but one without a listener would end the process.
    this.on('error', () => {});
  }

  /** Ciphertext has arrived. */
  feed(data: Buffer): void {
    if (this.destroyed || this.readableEnded || this.push(data)) return;
    this.#paused = true;
    this.#wire.pause();
  }

  override _read(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#wire.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (chunk[0] === ALERT && chunk[1] === 3) this.alerted = true;
    this.#wire.write(chunk);
    if (this.#wire.bufferedBytes <= LOW_WATER_MARK) done();
    else this.#written = done;
  }

  /** The wire below has sent all. */
  drained(): void {
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }

  override _final(done: () => void): void {
    this.#ended(done);
  }
}

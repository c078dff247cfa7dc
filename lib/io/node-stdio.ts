/**
 * A pair of descriptors as a wire: pipes, files, terminals and sockets, whichever they are. The first three descriptors
 * are used through Node's own streams, so that what others write by `console.log` stays in order; they are let go of
 * and never closed, as a later file could get their number. Node gives terminals and pipes their former modes back when
 * the process ends. Other descriptors are closed with the wire.
 */
import { createReadStream, createWriteStream, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { Duplex, type Readable, type Writable } from 'node:stream';
import { PipeAddress } from '../address.ts';
import { DuplexWire } from './duplex-wire.ts';
import type { Wire } from './io.ts';

/** Loaded where it is needed, which is rare. */
const tty = () => process.getBuiltinModule('node:tty');

/** What was sent before a pipe broke has been read when for so many turns nothing came. */
const SILENT_TURNS = 2;

/** A wire that reads from one descriptor and writes to another; throws the system's error for one that is not open. */
export function stdioWire(stdin: number, stdout: number): Wire {
  // Both are looked at before either is opened.
  const [from, to] = [kindOf(stdin), kindOf(stdout)];
  if (stdin === stdout && stdin > 2) {
    if (from !== 'socket') throw new RangeError('only a socket is both read from and written to');
    return new StdioWire(new Socket({ fd: stdin, allowHalfOpen: true }));
  }
  const reader = openReader(stdin, from);
  try {
    return new StdioWire(new Pair(reader, stdin > 2, openWriter(stdout, to), stdout > 2));
  } catch (error) {
    if (stdin > 2) reader.destroy();
    throw error;
  }
}

type Kind = 'terminal' | 'socket' | 'file';

function kindOf(fd: number): Kind {
  const stat = fstatSync(fd);
  if (tty().isatty(fd)) return 'terminal';
  return stat.isFIFO() || stat.isSocket() ? 'socket' : 'file';
}

function openReader(fd: number, kind: Kind): Readable {
  if (fd === 0) return process.stdin;
  if (kind === 'terminal') return new (tty().ReadStream)(fd);
  if (kind === 'file') return createReadStream('', { fd, autoClose: fd > 2 });
  return new Socket({ fd, readable: true, writable: false });
}

function openWriter(fd: number, kind: Kind): Writable {
  if (fd === 1) return process.stdout;
  if (fd === 2) return process.stderr;
  if (kind === 'terminal') return new (tty().WriteStream)(fd);
  if (kind === 'file') return createWriteStream('', { fd, autoClose: fd > 2 });
  return new Socket({ fd, readable: false, writable: true });
}

/** A Readable and a Writable as one. */
class Pair extends Duplex {
  readonly #reader: Readable;
  readonly #writer: Writable;
  readonly #ownsReader: boolean;
  readonly #ownsWriter: boolean;
  #sawEnd = false;
  /** Something has been read since this was last looked at. */
  #heard = false;
  /** Why nothing can be written any more. */
  #broken: Error | undefined;

  constructor(reader: Readable, ownsReader: boolean, writer: Writable, ownsWriter: boolean) {
    super({ allowHalfOpen: true });
    this.#reader = reader;
    this.#writer = writer;
    this.#ownsReader = ownsReader;
    this.#ownsWriter = ownsWriter;
    reader.on('error', this.#readFailed).on('end', this.#ended).on('close', this.#ended);
    reader.on('data', this.#received);
    reader.pause();
    writer.on('error', this.#writerFailed).on('close', this.#writerClosed);
    // Those of the process are used again, and may have ended before: they do not tell that a second time.
    setImmediate(() => {
      if (this.destroyed) return;
      if (reader.readableEnded || reader.destroyed) this.#ended();
      if (writer.destroyed) this.#writerClosed();
    });
  }

  readonly #readFailed = (error: Error): void => {
    this.destroy(error);
  };

  readonly #writerFailed = (error: Error): void => {
    this.#writeFailed(error);
  };

  readonly #ended = (): void => {
    if (this.#sawEnd) return;
    this.#sawEnd = true;
    if (this.#broken === undefined) this.push(null);
    else this.destroy(this.#broken);
  };

  readonly #received = (data: Buffer): void => {
    this.#heard = true;
    if (!this.push(data)) this.#reader.pause();
  };

  readonly #writerClosed = (): void => {
    if (!this.writableEnded && this.#broken === undefined) this.destroy();
  };

  override _read(): void {
    this.#reader.resume();
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    if (this.#broken !== undefined) done();
    else {
      this.#writer.write(chunk, (error) => {
        if (error != null) this.#writeFailed(error);
        done();
      });
    }
  }

  /** Nobody takes what is written any more. What was said before that is still delivered, and then it is over. */
  #writeFailed(error: Error): void {
    if (this.#broken !== undefined) return;
    this.#broken = error;
    let silent = 0;
    const look = (): void => {
      silent = this.#heard ? 0 : silent + 1;
      this.#heard = false;
      if (silent > SILENT_TURNS) this.destroy(error);
      else if (!this.destroyed) setImmediate(look);
    };
    look();
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.#ownsWriter && this.#broken === undefined) this.#writer.end(() => done());
    else done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const [reader, writer] = [this.#reader, this.#writer];
    reader.off('data', this.#received).off('end', this.#ended).off('close', this.#ended);
    writer.off('close', this.#writerClosed);
    if (this.#ownsReader) reader.destroy();
    else reader.off('error', this.#readFailed).pause();
    if (this.#ownsWriter) writer.destroy();
    else {
      // What was written last may still fail, and that must not end the process.
      writer.off('error', ignore).on('error', ignore).off('error', this.#writerFailed);
    }
    done(error);
  }
}

function ignore(): void {}

class StdioWire extends DuplexWire {
  readonly #duplex: Duplex;

  constructor(duplex: Duplex) {
    const address = new PipeAddress();
    super(duplex, address, address);
    this.#duplex = duplex;
  }

  /** Unlike with TCP, what was sent is not lost if the other side goes on sending: there is nothing to wait for. */
  override close(): void {
    super.close();
    this.#duplex.once('finish', () => setImmediate(() => this.#duplex.destroy()));
  }
}

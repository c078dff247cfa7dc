/**
 * A client's conversation with clamd: one command and its reply, on a connection of its own, which is closed when the
 * reply is there. It knows neither endpoints nor deadlines; see `client.ts`.
 */
import { Deferred, Failure, LimitExceeded, Protocol } from 'plait';
import { BadReply, ClamdCancelled, NoReply } from './errors.ts';
import { ReplyReader, unterminatedError, writeCommand, type CommandName } from './grammar.ts';
import type { Upload } from './upload.ts';

/** Sends a command and waits for the reply. */
export class Conversation extends Protocol {
  readonly command: CommandName;
  /**
   * Fires with the reply, without its terminator. Fails with NoReply, with BadReply if it is too long, with
   * ClamdCancelled, and if there is an upload with UnusableSource and with what its source throws. Cancelling aborts
   * the connection: not to be done before there is one.
   */
  readonly reply: Deferred<string>;
  readonly #upload: Upload | undefined;
  readonly #reader = new ReplyReader();
  readonly #progressed: () => void;
  #over = false;

  /**
   * @param progressed called when the connection is made, and when some of the reply arrives
   * @param upload what follows the command
   */
  constructor(command: CommandName, progressed: () => void, upload?: Upload) {
    super();
    this.#progressed = progressed;
    this.command = command;
    this.#upload = upload;
    this.reply = new Deferred<string>(() => {
      const phase = upload === undefined || upload.complete ? 'waiting' : 'sending';
      this.#fail(new ClamdCancelled(phase, this.#details));
    });
  }

  get #details() {
    return { command: this.command, bytesSent: this.#upload?.bytesSent ?? 0 };
  }

  override connectionMade(): void {
    this.#progressed();
    try {
      this.#upload?.claim();
    } catch (error) {
      this.#fail(new Failure(error).value);
      return;
    }
    this.transport.write(writeCommand(this.command));
    this.#upload?.begin(this.transport, (error) => this.#fail(error));
  }

  override dataReceived(data: Buffer): void {
    if (this.#over) return;
    this.#progressed();
    let reply: string | undefined;
    try {
      reply = this.#reader.read(data);
    } catch (error) {
      if (!(error instanceof LimitExceeded)) throw error;
      const beginning = this.#reader.takeRest(1000);
      this.#fail(new BadReply('unexpected', beginning, { ...this.#details, cause: error }));
      return;
    }
    if (reply === undefined) return;
    // clamd sends one reply and closes: a verdict with more behind it is not what it seems to be.
    const behind = this.#upload === undefined ? '' : this.#reader.takeRest();
    this.#succeed(behind === '' ? reply : `${reply}\0${behind}`);
  }

  override connectionLost(reason: Failure): void {
    if (this.#over) return;
    const rest = this.#reader.takeRest();
    const error = unterminatedError(rest);
    if (error !== undefined) this.#succeed(error);
    else this.#fail(new NoReply(rest, { ...this.#details, cause: reason.value }));
  }

  #succeed(reply: string): void {
    this.#over = true;
    const complete = this.#upload?.complete ?? true;
    this.#upload?.stop();
    // What is still to be sent then would not be read.
    if (complete) this.transport.loseConnection();
    else this.transport.abortConnection();
    this.reply.callback(reply);
  }

  #fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#upload?.stop();
    this.transport.abortConnection();
    this.reply.errback(error);
  }
}

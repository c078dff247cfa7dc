/** An auction over lines: `BID 10` is answered by `OK` or `TOO LOW 10`. See docs/tutorial/testing.md. */
// #region server
import { Deferred, type Failure, type IDelayedCall, type IReactorTime } from 'plait';
import { LineReceiver } from 'plait/protocols/basic';

export class AuctionServer extends LineReceiver {
  highest = 0;
  readonly #clock: IReactorTime;
  #hammer: IDelayedCall | undefined;

  constructor(clock: IReactorTime) {
    super();
    this.#clock = clock;
  }

  override lineReceived(line: Buffer) {
    const bid = /^BID (\d{1,9})$/.exec(line.toString());
    if (bid === null) {
      this.sendLine('WHAT?');
    } else if (Number(bid[1]) <= this.highest) {
      this.sendLine(`TOO LOW ${this.highest}`);
    } else {
      this.highest = Number(bid[1]);
      this.sendLine('OK');
      this.#stop();
      this.#hammer = this.#clock.callLater(60, () => this.#sold());
    }
  }

  #sold() {
    this.sendLine(`SOLD ${this.highest}`);
    this.transport.loseConnection();
  }

  override connectionLost(_reason: Failure) {
    this.#stop();
  }

  #stop() {
    if (this.#hammer?.active()) this.#hammer.cancel();
  }
}
// #endregion

// #region client
export class AuctionClient extends LineReceiver {
  /** Those who wait for an answer, in order. */
  readonly #bids: Deferred<boolean>[] = [];
  readonly sold = new Deferred<number>();

  /** Fires with true if the bid is the highest. */
  bid(amount: number): Deferred<boolean> {
    const accepted = new Deferred<boolean>();
    this.#bids.push(accepted);
    this.sendLine(`BID ${amount}`);
    return accepted;
  }

  override lineReceived(line: Buffer) {
    const text = line.toString();
    if (text.startsWith('SOLD ')) this.sold.callback(Number(text.slice(5)));
    else this.#bids.shift()?.callback(text === 'OK');
  }

  override connectionLost(reason: Failure) {
    for (const bid of this.#bids.splice(0)) bid.errback(reason);
    if (!this.sold.called) this.sold.errback(reason);
  }
}
// #endregion

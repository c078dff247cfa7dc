/** A protocol of lines and raw bytes, tried out without a network. `node dist/docs/examples/line-receiver.js` */
// #region upload
import { LineReceiver } from 'plait/protocols/basic';

/** `PUT <n>` on a line, then n raw bytes, then lines again. */
class Upload extends LineReceiver {
  override maxLength = 1000;
  #missing = 0;

  override lineReceived(line: Buffer) {
    const [, size] = /^PUT ([1-9][0-9]{0,8})$/.exec(line.toString('latin1')) ?? [];
    if (size === undefined) {
      this.sendLine('ERR say PUT <bytes>');
      return;
    }
    this.#missing = Number(size);
    this.setRawMode();
  }

  override rawDataReceived(data: Buffer) {
    const body = data.subarray(0, this.#missing);
    this.#missing -= body.length;
    if (this.#missing > 0) return;
    this.sendLine('OK');
    this.setLineMode(data.subarray(body.length)); // the rest is lines again
  }
}
// #endregion

// #region pause
import type { IReactorTime } from 'plait';

/** Answers a line a second, however many arrive. */
class Slow extends LineReceiver {
  readonly #clock: IReactorTime;

  constructor(clock: IReactorTime) {
    super();
    this.#clock = clock;
  }

  override lineReceived(line: Buffer) {
    this.sendLine(`at ${this.#clock.seconds()} s: ${line}`);
    this.pauseProducing();
    this.#clock.callLater(1, () => this.resumeProducing());
  }
}
// #endregion

// #region try
import { Clock, StringTransport } from 'plait/testing';

const transport = new StringTransport();
const upload = new Upload();
upload.makeConnection(transport);
for (const piece of ['GET\r\nPUT 5\r', '\nhel', 'loPUT 2\r\nhi']) {
  upload.dataReceived(Buffer.from(piece));
}
console.log(transport.value().toString()); // ERR say PUT <bytes>, OK, OK
// #endregion

const clock = new Clock();
const slow = new Slow(clock);
const other = new StringTransport();
slow.makeConnection(other);
slow.dataReceived(Buffer.from('one\r\ntwo\r\nthree\r\n'));
clock.pump([1, 1, 1]);
console.log(other.value().toString());

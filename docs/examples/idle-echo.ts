/** An echo that hangs up on those who say nothing. idle-echo.test.ts tests it. */
// #region protocol
import { type Failure, type IDelayedCall, type IReactorTime, Protocol } from 'plait';

export class IdleEcho extends Protocol {
  readonly #clock: IReactorTime;
  #hangUp: IDelayedCall | undefined;

  constructor(clock: IReactorTime) {
    super();
    this.#clock = clock;
  }

  override connectionMade() {
    this.#hangUp = this.#clock.callLater(30, () => this.transport.loseConnection());
  }

  override dataReceived(data: Buffer) {
    this.#hangUp?.reset(30);
    this.transport.write(data);
  }

  override connectionLost(reason: Failure) {
    if (this.#hangUp?.active()) this.#hangUp.cancel();
  }
}
// #endregion

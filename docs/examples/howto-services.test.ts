/** What docs/howto/services.md shows, as tests. */
import {
  CooperatorService,
  Factory,
  MultiService,
  Reactor,
  serviceFromString,
  TimerService,
} from 'plait';
import { Echo } from 'plait/protocols/echo';
import t from 'tap';

t.test('a program of services', async (t) => {
  const reactor = new Reactor();
  const cleanings: string[] = [];
  // #region program
  const program = new MultiService();
  const echo = serviceFromString(reactor, 'tcp:0:interface=127.0.0.1', Factory.forProtocol(Echo));
  echo.setServiceParent(program);
  const cleaner = new TimerService(3600, () => cleanings.push('done'));
  cleaner.clock = reactor;
  cleaner.setServiceParent(program);
  const slow = new CooperatorService();
  slow.setServiceParent(program);

  reactor.callWhenRunning(() => program.startService());
  reactor.addSystemEventTrigger('before', 'shutdown', () => program.stopService());
  // #endregion
  const stopped = reactor.run({ installSignalHandlers: false });
  // #region cooperate
  function* count() {
    for (let i = 0; i < 1000; i++) yield i; // each yield may let others have their turn
  }
  await slow.coiterate(count());
  // #endregion
  await echo.whenListening();
  reactor.stop();
  await stopped;
  t.same(cleanings, ['done']);
  t.equal(program.running, false);
});

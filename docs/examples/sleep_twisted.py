"""Two naps at once, with Twisted: a sleep that does not block."""
# #region program
from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.task import deferLater, react


@inlineCallbacks
def nap(reactor, name, seconds):
    print(f"{name}: asleep")
    yield deferLater(reactor, seconds)
    print(f"{name}: awake after {seconds} seconds")


def main(reactor):
    return gatherResults([nap(reactor, "long", 0.2), nap(reactor, "short", 0.1)])


react(main)
# #endregion

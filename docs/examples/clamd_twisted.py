"""Has a clamd on a port of 127.0.0.1 scan a file, with Twisted: `python3 clamd_twisted.py 3310 some.file`.

The exit code is that of clamdscan: 0 for clean, 1 for infected, 2 for an error. It needs arguments, so it is run by
test/examples.test.ts.
"""
# #region program
import re
import sys

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver

CHUNK = 64 * 1024


class Scan(LineOnlyReceiver):
    delimiter = b"\0"

    def __init__(self, file):
        self.reply = Deferred(lambda _: self.transport.abortConnection())
        self.file = file

    def connectionMade(self):
        self.transport.write(b"zINSTREAM\0")
        self.transport.registerProducer(self, False)

    def resumeProducing(self):
        """Called each time all is sent. A chunk of no bytes ends the stream."""
        chunk = self.file.read(CHUNK)
        self.transport.write(len(chunk).to_bytes(4, "big") + chunk)
        if not chunk:
            self.transport.unregisterProducer()

    def stopProducing(self):
        pass

    def lineReceived(self, line):
        self.transport.abortConnection()
        self.reply.callback(line.decode())

    def connectionLost(self, reason):
        if not self.reply.called:
            self.reply.errback(reason)


@inlineCallbacks
def ask(reactor, port, path):
    with open(path, "rb") as file:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        scan = yield connectProtocol(endpoint, Scan(file))
        return (yield scan.reply)


@inlineCallbacks
def main(reactor, port, path, seconds="30"):
    try:
        reply = yield ask(reactor, int(port), path).addTimeout(float(seconds), reactor)
    except Exception as error:
        reply = repr(error)
    if reply == "stream: OK":
        print("clean")
    elif found := re.fullmatch("stream: (.+) FOUND", reply):
        print("infected:", found[1])
        raise SystemExit(1)
    else:
        print("error:", reply)
        raise SystemExit(2)


react(main, sys.argv[1:])
# #endregion

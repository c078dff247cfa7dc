"""An echo server on a port of 127.0.0.1, with Twisted: `python3 echo_twisted.py 8000`.

It runs until it is stopped, so it is run by test/examples.test.ts.
"""
# #region program
import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


def main(port=8000):
    listening = reactor.listenTCP(int(port), Factory.forProtocol(Echo), interface="127.0.0.1")
    print(f"listening on {listening.getHost().host}:{listening.getHost().port}")
    reactor.run()


main(*sys.argv[1:])
# #endregion

"""
Corrects Twisted's transports where plait differs on purpose, for the scripts that ask for it; the names are those of
differences.ts.
"""

from twisted.internet import abstract, main, tcp
from twisted.logger import Logger
from twisted.python.failure import Failure

FileDescriptor = abstract.FileDescriptor


def corrects(name, transport):
    """True if the script wants it; it then counts as used."""
    run = getattr(transport, "scriptRun", None)
    if run is None or not run.corrected:
        return False
    run.used.add(name)
    return True


def wrap(owner, name):
    """Puts a function, which is given the original one too, in the place of a method."""

    def put(function):
        original = getattr(owner, name)
        setattr(owner, name, lambda self, *args: function(self, original, *args))

    return put


def close_if_both_ended(transport):
    if not (getattr(transport, "scriptReadLost", False) and transport._writeDisconnected):
        return
    if transport.connected and not transport.disconnecting and corrects("both-ended", transport):
        transport.reactor.callLater(0, close, transport)


def lose_later(transport, failure):
    Logger().failure("connectionMade failed", failure)
    transport.stopReading()
    transport.stopWriting()
    transport.disconnecting = 1
    transport.scriptDoomed = True
    transport.reactor.callLater(0, transport.connectionLost, failure)


def close(transport):
    if not transport._aborting:
        transport.connectionLost(Failure(main.CONNECTION_DONE))


def install():
    @wrap(tcp.Connection, "writeSomeData")
    def writeSomeData(self, original, data):
        result = original(self, data)
        if isinstance(result, int) and result > 0:
            self.scriptSent = getattr(self, "scriptSent", 0) + result
        return result

    @wrap(tcp.Connection, "readConnectionLost")
    def readConnectionLost(self, original, reason):
        self.scriptReadLost = True
        original(self, reason)
        close_if_both_ended(self)

    @wrap(tcp.Connection, "_closeWriteConnection")
    def _closeWriteConnection(self, original):
        result = original(self)
        close_if_both_ended(self)
        return result

    @wrap(FileDescriptor, "doWrite")
    def doWrite(self, original):
        closing = self.disconnecting, self._writeDisconnecting
        empty = len(self.dataBuffer) == self.offset and not self._tempDataBuffer
        if self.producer is not None and not self.streamingProducer and empty and any(closing):
            if corrects("pulled-when-sent", self):
                self.stopWriting()
                return None
        return original(self)

    @wrap(FileDescriptor, "unregisterProducer")
    def unregisterProducer(self, original):
        original(self)
        if self._writeDisconnected and self.connected:
            # Its closing is on the way, and there is nothing to write.
            self.stopWriting()
        if self.connected and self._writeDisconnecting and not self._writeDisconnected:
            if corrects("unregistered-ends-writing", self):
                self.startWriting()

    @wrap(FileDescriptor, "resumeProducing")
    def resumeProducing(self, original):
        if getattr(self, "scriptReadLost", False) and self.connected and not self.disconnecting:
            if corrects("end-told-once", self):
                return
        original(self)

    @wrap(FileDescriptor, "loseWriteConnection")
    def loseWriteConnection(self, original):
        if self._writeDisconnecting or not self.connected:
            if corrects("write-end-told-once", self):
                return
        original(self)

    @wrap(FileDescriptor, "loseConnection")
    def loseConnection(self, original):
        if self.connected and not self.disconnecting and self._writeDisconnected:
            if corrects("never-inside", self):
                self.disconnecting = 1
                self.stopReading()
                self.stopWriting()
                self.reactor.callLater(0, close, self)
                return
        original(self)

    @wrap(FileDescriptor, "_maybePauseProducer")
    def _maybePauseProducer(self, original):
        if getattr(self, "_aborting", False) and corrects("abort-disconnects", self):
            return
        if self.producer is not None and self.streamingProducer and self.producerPaused:
            if corrects("paused-once", self):
                return
        original(self)

    @wrap(FileDescriptor, "registerProducer")
    def registerProducer(self, original, producer, streaming):
        half_closed = self._writeDisconnected and self.connected and not self.disconnecting
        if half_closed and self.producer is None and corrects("half-closed-unfed", self):
            producer.stopProducing()
            return
        original(self, producer, streaming)
        if self.producer is producer and streaming:
            self.producerPaused = False
            if self._isSendBufferFull() and corrects("paused-at-once", self):
                self._maybePauseProducer()

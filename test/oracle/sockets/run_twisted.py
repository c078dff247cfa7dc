"""
The side under test, with Twisted: servers and clients that do what a script says, and log what they are told. It is the
twin of run-plait.ts: what one writes the other must write too. A line of standard input is one question, with an id; a
line of standard output is its answer, with the same id.
"""

import json
import os

from OpenSSL import SSL
from twisted.internet import protocol, reactor, ssl, stdio
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import globalLogBeginner
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

import socket_corrections

QUIET_TURNS = 4
MOST_LINES = 300
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../fixtures/tls")
PERIOD = bytes(range(251))
PLAIN = {"made": [], "data": [], "readLost": [], "writeLost": [], "lost": []}
PLAIN.update(halves=False, build="protocol")


def pattern(start, n):
    start %= 251
    return (PERIOD * ((start + n) // 251 + 1))[start : start + n]


def server_context():
    return ssl.DefaultOpenSSLContextFactory(
        os.path.join(FIXTURES, "server.key"), os.path.join(FIXTURES, "server.pem"), SSL.TLS_METHOD
    )


class ClientContext(ssl.ClientContextFactory):
    method = SSL.TLS_METHOD


class Boom(Exception):
    def __init__(self, run, c):
        self.run = run
        self.c = c


class Run:
    """All of one script."""

    def __init__(self, script, corrected):
        self.script = script
        self.corrected = corrected
        self.ends = []
        self.lines = []
        self.said = 0
        self.port = None
        self.connector = None
        self.reconnects = 0
        self.over = False
        self.used = set()
        self.secured = script["family"] == "tls"

    def line(self, c, text):
        if self.over or len(self.lines) > MOST_LINES:
            return
        self.said += 1
        self.lines.append([c, text])

    def manners(self, c):
        manners = self.script["manners"]
        return manners[min(c, len(manners) - 1)] if manners else PLAIN

    def perform(self, acts, c=-1):
        for act in acts:
            try:
                self.one(act, c)
            except Boom:
                raise
            except Exception:
                self.line(c, "refused " + act["act"])

    def one(self, act, c):
        name = act["act"]
        end = self.ends[c] if 0 <= c < len(self.ends) else None
        if name == "throw":
            raise Boom(self, c)
        elif name == "stopListening":
            if self.port is not None:
                stopped = self.port.stopListening()
                if stopped is None:
                    self.line(-1, "stopped")
                else:
                    stopped.addCallback(lambda _: self.line(-1, "stopped"))
        elif name == "disconnect":
            if self.ends and not self.ends[-1].lost:
                self.ends[-1].losing = True
            if self.connector is not None:
                self.connector.disconnect()
        elif name == "stopConnecting":
            if self.connector is not None:
                self.connector.stopConnecting()
        elif name == "reconnect":
            self.reconnects += 1
            if self.reconnects <= self.script["client"]["reconnects"] and self.connector is not None:
                self.connector.connect()
        elif end is not None and end.made:
            end.do(act)


class Push:
    def __init__(self, end):
        self.end = end

    def pauseProducing(self):
        self.end.pushed = "paused"
        self.end.line("push: pause")

    def resumeProducing(self):
        self.end.pushed = "owing" if self.end.losing or self.end.ending else "open"
        self.end.line("push: resume")

    def stopProducing(self):
        self.end.pushed = None
        self.end.line("push: stop")


class Pull:
    def __init__(self, end, act):
        self.end = end
        self.left = act["pieces"]
        self.size = act["size"]
        self.last = act["last"]

    def resumeProducing(self):
        end = self.end
        end.line("pull: resume")
        # What is written in a call that throws may have gone out by then, or not.
        if self.last == "throw" and self.left == 1:
            raise Boom(end.run, end.c)
        if self.left > 0:
            end.write(end.next(self.size))
        self.left -= 1
        if self.left != 0:
            return
        for each in self.last.split(", "):
            if each != "nothing":
                end.do({"act": each})

    def stopProducing(self):
        self.end.fed = False
        self.end.line("pull: stop")


class End(protocol.Protocol):
    """One end of a connection."""

    def __init__(self, run, c):
        self.run = run
        self.c = c
        self.manners = run.manners(c)
        self.chunks = 0
        self.place = 0
        self.received = 0
        self.written = 0
        self.made = self.paused = self.read_lost = self.write_lost = self.lost = False
        self.fed = self.losing = self.aborting = self.ending = False
        self.pushed = None
        self.thrown = False
        self.bridged = None

    def standing(self):
        return {
            "received": self.received,
            "written": self.written,
            "sent": 0 if self.run.secured else getattr(self.transport, "scriptSent", 0),
            "made": self.made,
            "paused": self.paused,
            "halves": self.manners["halves"],
            "readLost": self.read_lost,
            "writeLost": self.write_lost,
            "lost": self.lost,
            "fed": self.fed or self.pushed in ("paused", "owing"),
            "losing": self.losing,
            "aborting": self.aborting,
            "endingWrites": self.ending,
        }

    def line(self, text):
        self.run.line(self.c, text)

    # What the protocol is told

    def connectionMade(self):
        self.transport.scriptRun = self.run
        self.made = True
        self.line("made")
        try:
            self.run.perform(self.manners["made"], self.c)
        except Boom:
            if not self.run.corrected:
                raise
            self.run.used.add("unmade-is-lost")
            socket_corrections.lose_later(self.transport, Failure())

    def dataReceived(self, data):
        if self.losing and self.run.secured and self.run.corrected:
            self.run.used.add("tls-closing-delivers")
            return
        right = data == pattern(self.received, len(data))
        self.received += len(data)
        self.line("data %d" % len(data) if right else "wrong data")
        if self.bridged is not None:
            self.bridged.write(data)
        acts = self.manners["data"]
        self.chunks += 1
        if self.chunks <= len(acts):
            try:
                self.run.perform(acts[self.chunks - 1], self.c)
            except Boom:
                self.thrown = True
                raise

    def connectionLost(self, reason):
        self.lost = True
        name = reason.type.__name__
        if self.aborting and self.run.secured and self.run.corrected and name != "ConnectionAborted":
            self.run.used.add("tls-abort-reason")
            name = "ConnectionAborted"
        if self.thrown and self.run.secured and self.run.corrected and name != "Boom":
            self.run.used.add("tls-thrown-reason")
            name = "Boom"
        self.line("lost " + name)
        if self.bridged is not None:
            bridged, self.bridged = self.bridged, None
            bridged.bridged = None
            bridged.do({"act": "lose"})
        self.run.perform(self.manners["lost"], self.c)

    # What the protocol does

    def do(self, act):
        transport = self.transport
        name = act["act"]
        if name in ("write", "sequence") and self.losing and self.run.secured and self.run.corrected:
            self.run.used.add("tls-closing-writes")
            return
        if name == "abort" and self.lost and self.run.secured and self.run.corrected:
            self.run.used.add("tls-abort-after-end")
            self.aborting = True
            return
        if name == "write":
            self.write(self.next(act["n"]))
        elif name == "sequence":
            if self.pushed == "owing":
                self.pushed = "open"
            transport.writeSequence([self.next(n) for n in act["sizes"]])
        elif name == "bridge":
            self.bridge(act["to"])
        elif name == "pull":
            # It is asked at once: before it is known whether it may be registered at all.
            fed = self.fed
            self.fed = not self.lost
            try:
                transport.registerProducer(Pull(self, act), False)
            except Exception:
                self.fed = fed
                raise
        elif name == "push":
            pushed = self.pushed
            self.pushed = "open"
            try:
                transport.registerProducer(Push(self), True)
            except Exception:
                self.pushed = pushed
                raise
        elif name == "unregister":
            self.fed = False
            self.pushed = None
            transport.unregisterProducer()
        elif name == "lose":
            self.losing = True
            transport.loseConnection()
        elif name == "stop":
            self.losing = True
            transport.stopProducing()
        elif name == "stopConsuming":
            self.losing = True
            self.fed = False
            self.pushed = None
            transport.stopConsuming()
        elif name == "abort":
            self.aborting = True
            transport.abortConnection()
        elif name == "loseWrite":
            self.ending = True
            transport.loseWriteConnection()
        elif name == "pause":
            self.paused = True
            transport.pauseProducing()
        elif name == "resume":
            self.paused = False
            transport.resumeProducing()
        elif name == "ask":
            asked = transport.disconnecting or (self.aborting and self.run.corrected)
            self.line("disconnecting " + ("true" if asked else "false"))
        elif name in ("noDelay", "keepAlive") and self.lost and self.run.corrected:
            pass
        elif name == "noDelay":
            transport.setTcpNoDelay(not transport.getTcpNoDelay())
        elif name == "keepAlive":
            transport.setTcpKeepAlive(not transport.getTcpKeepAlive())
            self.line("keepAlive " + ("true" if transport.getTcpKeepAlive() else "false"))

    def bridge(self, to):
        other = self.run.ends[to] if to < len(self.run.ends) else None
        if other is None or other is self or not other.made:
            return
        for end, peer in (self, other), (other, self):
            end.transport.registerProducer(peer.transport, True)
            end.bridged = peer

    def write(self, data):
        if self.pushed == "owing":
            self.pushed = "open"
        self.transport.write(data)

    def next(self, n):
        data = pattern(self.place, n)
        self.place += n
        if not (self.losing or self.aborting or self.ending or self.lost):
            self.written += n
        return data


@implementer(IHalfCloseableProtocol)
class Halves(End):
    """One that hears of the halves too."""

    def readConnectionLost(self):
        self.read_lost = True
        self.line("readLost")
        self.run.perform(self.manners["readLost"], self.c)

    def writeConnectionLost(self):
        self.write_lost = True
        self.line("writeLost")
        self.run.perform(self.manners["writeLost"], self.c)


class ScriptFactory(protocol.ClientFactory):
    noisy = False

    def __init__(self, run):
        self.run = run

    def startFactory(self):
        self.run.line(-1, "startFactory")

    def stopFactory(self):
        self.run.line(-1, "stopFactory")

    def buildProtocol(self, addr):
        run = self.run
        c = len(run.ends)
        manners = run.manners(c)
        end = (Halves if manners["halves"] else End)(run, c)
        run.ends.append(end)
        run.line(c, "buildProtocol: " + manners["build"])
        if manners["build"] == "throw":
            raise Boom(run, c)
        return None if manners["build"] == "none" else end

    def startedConnecting(self, connector):
        self.run.connector = connector
        self.told("startedConnecting", "started")

    def clientConnectionFailed(self, connector, reason):
        self.told("clientConnectionFailed " + reason.type.__name__, "failed")

    def clientConnectionLost(self, connector, reason):
        self.told("clientConnectionLost " + reason.type.__name__, "lost")

    def told(self, line, hook):
        self.run.line(-1, line)
        self.run.perform(self.run.script["client"][hook])


class Questions(LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1 << 24

    def __init__(self):
        self.runs = {}

    def lineReceived(self, line):
        question = json.loads(line)
        # From a call of its own, as a delayed call is.
        reactor.callLater(0, self.asked, question)

    def connectionLost(self, reason):
        if reactor.running:
            reactor.stop()

    def answer(self, question, **answer):
        answer["id"] = question["id"]
        self.transport.write(json.dumps(answer).encode() + b"\n")

    def asked(self, question):
        ask = question["ask"]
        if ask == "begin":
            self.begin(question)
            return
        run = self.runs[question["run"]]
        if ask == "act":
            run.perform(question["acts"], question["c"])
            self.answer(question)
        elif ask == "turns":
            self.turn(question, run, -1, run.said)
        else:
            self.over(question, run)

    def begin(self, question):
        script = question["script"]
        run = self.runs[question["run"]] = Run(script, question["corrected"])
        factory = ScriptFactory(run)
        place = question["place"]
        port = 0
        if script["side"] == "server":
            if "path" in place:
                run.port = reactor.listenUNIX(place["path"], factory)
            else:
                if run.secured:
                    run.port = reactor.listenSSL(0, factory, server_context(), interface="127.0.0.1")
                else:
                    run.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
                port = run.port.getHost().port
        elif "path" in place:
            reactor.connectUNIX(place["path"], factory)
        elif run.secured:
            reactor.connectSSL("127.0.0.1", place["port"], factory, ClientContext())
        else:
            reactor.connectTCP("127.0.0.1", place["port"], factory)
        self.answer(question, port=port)

    def turn(self, question, run, turns, seen):
        turns = turns + 1 if run.said == seen or len(run.lines) > MOST_LINES else 0
        if turns < QUIET_TURNS:
            reactor.callLater(0, self.turn, question, run, turns, run.said)
            return
        lines, run.lines = run.lines, []
        connecting = run.connector is not None and run.connector.state == "connecting"
        standings = [end.standing() for end in run.ends]
        self.answer(question, lines=lines, standings=standings, used=sorted(run.used), connecting=connecting)

    def over(self, question, run):
        run.over = True
        run.reconnects = 1 << 30
        del self.runs[question["run"]]
        if run.connector is not None and run.connector.state == "connecting":
            run.connector.stopConnecting()
        for end in run.ends:
            if end.made and not end.lost:
                end.transport.unregisterProducer()
                end.transport.abortConnection()
        stopped = run.port.stopListening() if run.port is not None else None
        if stopped is None:
            self.answer(question)
        else:
            stopped.addCallback(lambda _: self.answer(question))


def observe(event):
    failure = event.get("log_failure") or event.get("failure")
    if failure is not None and isinstance(failure.value, Boom):
        failure.value.run.line(failure.value.c, "logged Boom")


if __name__ == "__main__":
    globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)
    socket_corrections.install()
    stdio.StandardIO(Questions())
    reactor.run()

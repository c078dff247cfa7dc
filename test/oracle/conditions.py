"""Waiting to put, and conditions: plait has them and Twisted has not, so they are modelled on Twisted's Deferreds."""

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from world import STEPS, Refused, entry

step = entry(STEPS)


class DeferredQueue(defer.DeferredQueue):
    """Twisted's, until somebody waits to put."""

    def __init__(self, size, backlog):
        super().__init__(size, backlog)
        self.putters = []
        self.has_waited = False
        self.telling = False

    def putWait(self, thing):
        self.has_waited = True
        putter = Deferred(lambda _: self.leave(putter))
        self.putters.append((putter, thing))
        if len(self.putters) == 1:
            self.go_on()
        return putter

    def leave(self, putter):
        self.putters = [each for each in self.putters if each[0] is not putter]

    def most(self):
        return (float("inf") if self.size is None else self.size) + len(self.waiting)

    def put(self, thing):
        if not self.has_waited:
            super().put(thing)
        elif len(self.pending) + len(self.putters) >= self.most():
            raise defer.QueueOverflow()
        elif self.putters:
            self.putters.append((Deferred(), thing))
        else:
            self.pending.append(thing)
            self.go_on()

    def get(self):
        if not self.has_waited:
            return super().get()
        if not self.waiting and self.pending:
            thing = self.pending.pop(0)
            self.go_on_unless_telling()
            return defer.succeed(thing)
        served = len(self.pending) + len(self.putters) > len(self.waiting)
        waits = max(0, len(self.waiting) - len(self.pending))
        if not served and self.backlog is not None and waits >= self.backlog:
            raise defer.QueueUnderflow()
        getter = Deferred(lambda _: self.waiting.remove(getter))
        self.waiting.append(getter)
        if served:
            self.go_on_unless_telling()
        return getter

    def go_on_unless_telling(self):
        if not self.telling:
            self.go_on()

    def go_on(self):
        while True:
            if self.waiting and self.pending:
                self.waiting.pop(0).callback(self.pending.pop(0))
            elif self.putters and len(self.pending) < self.most():
                putter, thing = self.putters.pop(0)
                self.pending.append(thing)
                outer, self.telling = self.telling, True
                putter.callback(None)
                self.telling = outer
            else:
                return


class DeferredCondition:
    """A lock, and waiting inside it to be notified."""

    def __init__(self, run):
        self.lock = defer.DeferredLock()
        self.run = run
        self.waiting = []
        # Those whose turn it is, and who have not been told.
        self.notified = []

    def acquire(self):
        return self.lock.acquire().addCallback(lambda _: self)

    def wait(self):
        self.must_be_locked()
        waiter = Deferred(self.leave)
        self.waiting.append(waiter)
        self.lock.release()
        return self.run(self.wait_and_lock(waiter))

    def leave(self, waiter):
        for line in (self.waiting, self.notified):
            if waiter in line:
                line.remove(waiter)

    def wait_and_lock(self, waiter):
        failure = None
        try:
            yield waiter
        except Exception:
            failure = Failure()
        while True:
            try:
                yield self.lock.acquire()
                break
            except Exception:
                failure = failure or Failure()
        if failure is not None:
            failure.raiseException()

    def notify(self, count):
        self.must_be_locked()
        self.notified += self.waiting[:count]
        del self.waiting[:count]
        while self.notified:
            self.notified.pop(0).callback(None)

    def must_be_locked(self):
        if not self.lock.locked:
            raise Refused()


@step
def condition(world, step):
    def run(generator):
        return run_corrected(generator, defer.ensureDeferred, False)

    from coroutines import run_corrected

    world.things.setdefault(("condition", step["condition"]), DeferredCondition(run))


@step
def conditionAcquire(world, step):
    condition = world.thing("condition", step["condition"])
    if condition is not None and world.fresh(step["d"]):
        world.own.add(step["d"])
        world.add(step["d"], condition.acquire())


@step
def conditionRelease(world, step):
    condition = world.thing("condition", step["condition"])
    if condition is not None:
        condition.lock.release()


@step
def conditionWait(world, step):
    condition = world.thing("condition", step["condition"])
    if condition is not None and world.fresh(step["d"]):
        notified = condition.wait()
        world.own.add(step["d"])
        world.add(step["d"], notified)


@step
def notify(world, step):
    condition = world.thing("condition", step["condition"])
    if condition is not None:
        condition.notify(step["count"])


@step
def notifyAll(world, step):
    condition = world.thing("condition", step["condition"])
    if condition is not None:
        condition.notify(len(condition.waiting))


@step
def conditionLook(world, step):
    condition = world.thing("condition", step["condition"])
    if condition is not None:
        world.line(world.show(bool(condition.lock.locked)))

"""Waiting to put, and conditions: plait has them and Twisted has not, so they are modelled on Twisted's Deferreds."""

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from wakings import DeferredLock, begin, must_put_off, wake
from world import STEPS, Refused, entry

step = entry(STEPS)


class DeferredQueue(defer.DeferredQueue):
    """Twisted's, until somebody waits to put, or is to be woken by a loop."""

    def __init__(self, size, backlog):
        super().__init__(size, backlog)
        self.putters = []
        # How many of those have been told that theirs is in.
        self.accepted = 0
        self.as_plait = False
        self.telling = False

    def putWait(self, thing):
        self.as_plait = True
        putter = Deferred(lambda _: self.leave(putter))
        self.putters.append((putter, thing, False))
        if len(self.putters) == 1:
            wake(self.go_on)
        return putter

    def leave(self, putter):
        self.putters = [each for each in self.putters if each[0] is not putter]

    def most(self):
        return (float("inf") if self.size is None else self.size) + len(self.waiting)

    def things(self):
        return len(self.pending) + self.accepted

    def put(self, thing):
        if not self.as_plait:
            if not self.waiting:
                super().put(thing)
                return
            if not must_put_off(self.go_on):
                begin(lambda: super(DeferredQueue, self).put(thing), self.go_on)
                return
            self.as_plait = True
        if len(self.pending) + len(self.putters) >= self.most():
            raise defer.QueueOverflow()
        if self.putters:
            self.putters.append((Deferred(), thing, True))
            self.accepted += 1
        else:
            self.pending.append(thing)
        if self.waiting:
            wake(self.go_on)

    def get(self):
        if not self.as_plait:
            return super().get()
        if not self.waiting and self.pending:
            thing = self.pending.pop(0)
            self.wake_putters()
            return defer.succeed(thing)
        served = len(self.pending) + len(self.putters) > len(self.waiting)
        waits = max(0, len(self.waiting) - self.things())
        if not served and self.backlog is not None and waits >= self.backlog:
            raise defer.QueueUnderflow()
        getter = Deferred(lambda _: self.waiting.remove(getter))
        self.waiting.append(getter)
        if served:
            self.wake_putters()
        return getter

    def wake_putters(self):
        if self.putters and not self.telling:
            wake(self.go_on)

    def go_on(self):
        if self.waiting and self.pending:
            self.waiting.pop(0).callback(self.pending.pop(0))
        elif self.putters and (self.accepted or len(self.pending) < self.most()):
            putter, thing, is_accepted = self.putters.pop(0)
            self.accepted -= is_accepted
            self.pending.append(thing)
            outer, self.telling = self.telling, True
            putter.callback(None)
            self.telling = outer
        else:
            return False
        return True


class DeferredCondition:
    """A lock, and waiting inside it to be notified."""

    def __init__(self, run):
        self.lock = DeferredLock()
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
        if self.notified:
            wake(self.tell_first)

    def tell_first(self):
        if not self.notified:
            return False
        self.notified.pop(0).callback(None)
        return True

    def must_be_locked(self):
        if self.lock.free():
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
        world.line(world.show(condition.lock.free() == 0))

"""
Locks, semaphores, queues and lists whose waiters are woken inside one another only so many levels deep, and beyond
that by a loop, as plait does. Less deep they are Twisted's own.
"""

from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList

from corrections import now, use

DEEPEST = 64


class Wakings:
    depth = 0
    # The steps of those that were too deep, in the order in which they were put off.
    put_off = {}


wakings = Wakings()


def must_put_off(step):
    """True if there are too many wakings under way to begin one: `step` will be called until it returns False."""
    if wakings.depth < DEEPEST or not use("woken-by-loop"):
        return False
    wakings.put_off[step] = None
    return True


def begin(wake, step):
    """Wakes one, and calls `step` for those whose waking was put off meanwhile."""
    wakings.depth += 1
    try:
        wake()
        if wakings.depth == DEEPEST and now.corrected:
            go_on(step)
            while wakings.put_off:
                put_off = next(iter(wakings.put_off))
                del wakings.put_off[put_off]
                go_on(put_off)
    finally:
        wakings.depth -= 1


def go_on(step):
    while step():
        pass


def wake(step):
    """Calls `step` until it returns False, now or later."""
    if not must_put_off(step):
        begin(lambda: go_on(step), step)


class DeferredSemaphore(defer.DeferredSemaphore):
    def free(self):
        return max(0, self.tokens - len(self.waiting))

    def line(self):
        return max(0, len(self.waiting) - self.tokens)

    def acquire(self):
        if not self.waiting:
            return super().acquire()
        acquired = Deferred(self._cancelAcquire)
        self.waiting.append(acquired)
        return acquired

    def release(self):
        if not self.waiting or self.tokens == self.limit:
            super().release()
        elif must_put_off(self.wake_next):
            self.tokens += 1
        else:
            begin(super().release, self.wake_next)

    def wake_next(self):
        if not self.tokens or not self.waiting:
            return False
        self.tokens -= 1
        self.waiting.pop(0).callback(self)
        return True


class DeferredLock(defer.DeferredLock):
    def free(self):
        return int(not self.locked and not self.waiting)

    def line(self):
        return max(0, len(self.waiting) - int(not self.locked))

    def acquire(self):
        if not self.waiting:
            return super().acquire()
        acquired = Deferred(self._cancelAcquire)
        self.waiting.append(acquired)
        return acquired

    def release(self):
        if not self.waiting or not self.locked:
            super().release()
        elif must_put_off(self.wake_next):
            self.locked = False
        else:
            begin(super().release, self.wake_next)

    def wake_next(self):
        if self.locked or not self.waiting:
            return False
        self.locked = True
        self.waiting.pop(0).callback(self)
        return True


# -- Lists -------------------------------------------------------------------------------------------------------------

collect_uncorrected = DeferredList._cbDeferred


def collect(self, *args):
    self._collecting = True
    try:
        return collect_uncorrected(self, *args)
    finally:
        self._collecting = False


def fired_inside(fire):
    """Fires a list by `fire`: inside of other wakings, if that is because of its Deferreds."""

    def fire_list(self, result=None):
        if not self._collecting:
            fire(self, result)
            return

        def fire_once():
            if not self.called:
                fire(self, result)
            return False

        self._collecting = False
        wake(fire_once)

    return fire_list


DeferredList._collecting = False
DeferredList._cbDeferred = collect
DeferredList.callback = fired_inside(Deferred.callback)
DeferredList.errback = fired_inside(Deferred.errback)

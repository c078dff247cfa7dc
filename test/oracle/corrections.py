"""
Corrects Twisted where plait differs from it on purpose, so that what is left must be equal. Every correction has the
name that it has in differences.ts, where its reason stands, and says when it takes effect.
"""

from twisted.internet import defer, task
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Now:
    """What is being run, and how."""

    # Twisted is corrected; else it is as it is.
    corrected = False
    # The corrections that have taken effect.
    used = set()
    # What the script has made.
    world = None


now = Now()


def use(name):
    """True if Twisted is to be corrected here."""
    if now.corrected:
        now.used.add(name)
    return now.corrected


# -- The loop over the callbacks ---------------------------------------------------------------------------------------

run_uncorrected = Deferred._runCallbacks


class Links(list):
    """The callbacks of a Deferred. Seems empty while the Deferred is paused, so that the loop over it ends."""

    __slots__ = ("owner",)

    def __init__(self, owner, items=()):
        list.__init__(self, items)
        self.owner = owner

    def __bool__(self):
        if len(self) == 0:
            return False
        return not (self.owner.paused and use("pause-inside"))

    def pop(self, index):
        link = list.pop(self, index)
        now.world.links += 1
        if link[0][0] is defer._CONTINUE:
            handed_over[-1].append(self.owner)
        return link


# For each loop over callbacks that is going on: those that have handed their result to one that waited for it.
handed_over = []


def run_callbacks(self):
    if self._runningCallbacks:
        return
    mine = []
    handed_over.append(mine)
    try:
        run_uncorrected(self)
    finally:
        handed_over.pop()
    while mine:
        owner = mine.pop()
        stuck = len(owner.callbacks) > 0 and not owner.paused and not owner._runningCallbacks
        if stuck and use("hand-over-to-paused"):
            run_callbacks(owner)


Deferred._links = None
Deferred.callbacks = property(lambda self: self._links, lambda self, links: setattr(self, "_links", Links(self, links)))
Deferred._runCallbacks = run_callbacks


# -- What a coroutine waits for ----------------------------------------------------------------------------------------

add_both_uncorrected = Deferred.addBoth


def is_unfinished(deferred):
    """In the middle of its chain, though it has a result: just now it hands one over, or a callback is being called."""
    return deferred.called and not deferred.paused and (deferred._runningCallbacks or len(deferred.callbacks) > 0)


def add_both(self, callback, *args, **kwargs):
    """Keeps the result of what a coroutine waits for, and notes that a failure has been observed."""
    if getattr(callback, "__qualname__", "") != "_inlineCallbacks.<locals>.gotResult" or not now.corrected:
        return add_both_uncorrected(self, callback, *args, **kwargs)

    def kept(result):
        use("result-kept")
        if isinstance(result, Failure):
            self._observed = result
        try:
            callback(result)
        except defer.AlreadyCalledError as error:
            use("coroutine-fired")
            now.world.log(error)
        # Not what was given: another Deferred may have taken the result meanwhile.
        return self.result

    if not is_unfinished(self) or self._runningCallbacks:
        return add_both_uncorrected(self, kept)
    # Its turn comes when Twisted has noted that the coroutine waits: see Status.wait.
    use("wait-in-turn")
    self.callbacks.append(((kept, (), {}), (kept, (), {})))
    return self


# The failure that a coroutine was given, who answers for it from then on.
Deferred._observed = None
Deferred.addBoth = add_both


# -- Timeouts and lists ------------------------------------------------------------------------------------------------

convert_uncorrected = defer._cancelledToTimedOutError
cancel_list_uncorrected = defer.DeferredList.cancel


def convert_cancelled(value, timeout):
    """Passes other failures on as they are, not as new ones, so that it can be told that they have been observed."""
    if now.corrected and isinstance(value, Failure) and not value.check(defer.CancelledError):
        return value
    return convert_uncorrected(value, timeout)


def cancel_list(self):
    if self.called and isinstance(self.result, Deferred) and use("fired-list"):
        Deferred.cancel(self)
        return
    if self._cancelling and use("ring-of-lists"):
        return
    self._cancelling = True
    try:
        cancel_list_uncorrected(self)
    finally:
        self._cancelling = False


defer._cancelledToTimedOutError = convert_cancelled
defer.DeferredList._cancelling = False
defer.DeferredList.cancel = cancel_list


# -- Cancelling a coroutine --------------------------------------------------------------------------------------------


def is_being_cancelled(deferred):
    """True for the Deferred of a coroutine while Twisted passes its cancellation on."""
    result = getattr(deferred, "result", None)
    return isinstance(result, Failure) and isinstance(result.value, defer._InternalInlineCallbacksCancelledError)


class Status:
    """
    Takes the place of Twisted's record of a coroutine, and looks on while the coroutine is cancelled by Twisted's own
    code. Where that shows a difference, `visible` becomes true, and the script is run once more without it.
    """

    twisteds_own = True
    visible = False

    def __init__(self, deferred):
        self.generator = None
        self.awaited = None
        self.cancelled = False
        # How far everything had come when the coroutine came to its end.
        self.ended_at = None
        self.deferred = deferred
        deferred._status = self

    def __setattr__(self, name, value):
        if name == "waitingOn":
            self.wait(value)
            return
        if name == "deferred" and now.corrected:
            self.look_on(value, value._canceller)
        object.__setattr__(self, name, value)

    @property
    def waitingOn(self):
        """Asked for by Twisted only to cancel it."""
        return self if now.corrected else self.awaited

    def look_on(self, deferred, canceller):
        def cancel(it):
            if it.paused:
                Status.visible = True
            canceller(it)

        deferred._canceller = cancel

    def running(self):
        return self.generator is None or self.generator.gi_running

    def wait(self, awaited):
        self.awaited = awaited
        if now.corrected and awaited.called:
            run_callbacks(awaited)
        if self.cancelled:
            self.cancelled = False
            try:
                awaited.cancel()
            except Exception as error:
                now.world.log(error)

    def cancel(self):
        """What Twisted calls to cancel what the coroutine waits for."""
        self.ended_at = None
        if self.running():
            Status.visible = True
        try:
            self.awaited.cancel()
        except Exception:
            Status.visible = True
            raise
        if self.ended_at is not None:
            now.world.late.add(id(self.awaited))
            if self.ended_at != now.world.progress():
                Status.visible = True

    def cancel_outer(self, outer):
        """Cancels the coroutine by its Deferred: by Twisted's code, or, if that is corrected, straight on."""
        if not now.corrected or Status.twisteds_own:
            if is_being_cancelled(outer):
                Status.visible = True
            late = set(now.world.late)
            try:
                Deferred.cancel(outer)
            finally:
                now.world.late = late
        elif outer.called:
            Deferred.cancel(outer)
        elif self.running():
            self.cancelled = True
        elif not self.waits_for_itself():
            self.awaited.cancel()

    def waits_for_itself(self):
        seen = set()
        at = self.awaited
        while id(at) not in seen:
            seen.add(id(at))
            status = getattr(at, "_status", None)
            if not at.called and status is not None and not status.running():
                at = status.awaited
            elif at.called and isinstance(at.result, Deferred):
                at = at.result
            else:
                return False
        return True


defer._CancellationStatus = Status


# -- The clock ---------------------------------------------------------------------------------------------------------


class Clock(task.Clock):
    """Equal times are first in, first out, and a call that fails is logged."""

    requests = 0

    def callLater(self, delay, fn, *args, **kwargs):
        def logged():
            try:
                fn(*args, **kwargs)
            except Exception as error:
                if not use("failed-call"):
                    raise
                now.world.log(error)

        self.requests += 1
        call = super().callLater(delay, logged)
        call.request = self.requests
        return call

    def moved(self, call):
        """To be called when a call has been put off or brought forward."""
        if use("equal-times"):
            self.requests += 1
            call.request = self.requests

    def _sortCalls(self):
        # A call without a number has just been asked for.
        self.calls.sort(
            key=lambda call: (call.getTime(), getattr(call, "request", self.requests) if now.corrected else 0)
        )

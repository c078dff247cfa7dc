"""
Corrects Twisted where plait differs from it on purpose, so that what is left must be equal. Every correction has the
name that it has in differences.ts, where its reason stands, and says when it takes effect.
"""

import inspect

from twisted.internet import defer, task
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class Now:
    """What is being run, and how."""

    # Twisted is corrected; else it is as it is.
    corrected = False
    # All is corrected but how coroutines are cancelled.
    twisteds_cancel = False
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
    # Its turn comes when Twisted has noted that the coroutine waits: see Status.waitingOn.
    use("wait-in-turn")
    self.callbacks.append(((kept, (), {}), (kept, (), {})))
    return self


# The failure that a coroutine was given, who answers for it from then on.
Deferred._observed = None
Deferred.addBoth = add_both


# -- Timeouts and lists ------------------------------------------------------------------------------------------------

def cancel_guarded(deferred):
    """
    Cancels as plait does on its own account: what a canceller throws is logged, and the Deferred whose it is fails.
    """
    failed = cancelled_in(deferred)
    try:
        deferred.cancel()
    except Exception as error:
        if not use("canceller-failed"):
            raise
        now.world.log(error)
        if not failed.called:
            failed._suppressAlreadyCalled = True
            failed.errback(defer.CancelledError())


def cancelled_in(deferred):
    """The Deferred whose canceller is called when this one is cancelled; any of them, if they are in a ring."""
    seen = set()
    while id(deferred) not in seen:
        seen.add(id(deferred))
        status = getattr(deferred, "_status", None)
        if deferred.called and isinstance(deferred.result, Deferred):
            deferred = deferred.result
        elif not deferred.called and status is not None and status.awaited is not None:
            deferred = status.awaited
        else:
            break
    return deferred


def members(deferred_list):
    return [] if deferred_list.called else list(deferred_list._deferredList)


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
        if now.corrected:
            for member in members(self):
                cancel_guarded(member)
        else:
            cancel_list_uncorrected(self)
    finally:
        self._cancelling = False


defer._cancelledToTimedOutError = convert_cancelled
defer.DeferredList._cancelling = False
defer.DeferredList.cancel = cancel_list


# -- Cancelling a coroutine --------------------------------------------------------------------------------------------


class Status(defer._CancellationStatus):
    """Twisted's record of a coroutine, which also cancels it."""

    generator = None
    # What it waits for, or waited for last.
    awaited = None
    # Cancelled while it ran: what it waits for next is cancelled instead.
    noted = False

    def __init__(self, deferred):
        super().__init__(deferred)
        deferred._status = self

    @property
    def waitingOn(self):
        return self.awaited

    @waitingOn.setter
    def waitingOn(self, awaited):
        if awaited is None:
            return
        self.awaited = awaited
        if now.corrected and awaited.called:
            run_callbacks(awaited)
        if self.noted:
            self.noted = False
            cancel_guarded(awaited)

    def cancel(self, outer):
        """Cancels what is waited for, by way of Twisted's code or straight."""
        if outer.called or now.twisteds_cancel or not use("coroutine-cancel"):
            Deferred.cancel(outer)
        elif self.running():
            self.noted = True
        elif not self.waits_for_itself():
            self.awaited.cancel()

    def running(self):
        return self.generator is None or self.generator.gi_running

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


def is_being_cancelled(deferred):
    """True for the Deferred of a coroutine while Twisted passes its cancellation on."""
    result = getattr(deferred, "result", None)
    return isinstance(result, Failure) and isinstance(result.value, defer._InternalInlineCallbacksCancelledError)


defer._CancellationStatus = Status


# -- Looping calls -----------------------------------------------------------------------------------------------------


class LoopingCall(task.LoopingCall):
    """One that is started again begins anew, whatever goes on from before."""

    def start(self, interval, now=True):
        if not self.running and self._realLastTime is not None and use("loop-counted"):
            self._realLastTime = None
        return super().start(interval, now)

    def __call__(self):
        if not now.corrected:
            super().__call__()
            return
        mine = self._deferred

        def succeeded(_):
            if self.running and self._deferred is mine:
                self._scheduleFrom(self.clock.seconds())
            else:
                end()
                mine.callback(self)

        def failed(failure):
            end()
            mine.errback(failure)

        def end():
            if self._deferred is mine:
                self.running = False
                self._deferred = None
            else:
                use("loop-restarted")

        self.call = None
        defer.maybeDeferred(self.f, *self.a, **self.kw).addCallbacks(succeeded, failed)


# -- Promises ----------------------------------------------------------------------------------------------------------


class Microtasks:
    """What JavaScript does when the stack is empty, first in, first out."""

    def __init__(self):
        self.jobs = []
        # What Node does when there are no more of them.
        self.ticks = []

    def add(self, job):
        self.jobs.append(job)

    def run(self):
        """True if there was anything to do."""
        found = len(self.jobs) > 0
        while self.jobs or self.ticks:
            (self.jobs or self.ticks).pop(0)()
        return found


class Frame:
    """What an async function awaits, which is cancelled with it."""

    def __init__(self, microtasks):
        self.microtasks = microtasks
        self.noted = {}
        # Cancelled while it awaited no Deferred: the next one is cancelled instead, if it comes at once.
        self.due = False
        self.given_up = False
        self.over = False

    def note(self, deferred):
        if not self.over:
            self.noted[id(deferred)] = deferred

    def heard(self, deferred):
        if self.due and not self.over:
            self.due = False
            cancel_guarded(deferred)

    def forget(self, deferred):
        self.noted.pop(id(deferred), None)

    def end(self):
        self.over = True
        self.noted = {}


class Followed(Status):
    """Cancels the Deferred of an async function's promise, by what its frame has noted."""

    def __init__(self, deferred, frame):
        super().__init__(deferred)
        self.frame = frame
        deferred.cancel = lambda: self.cancel(deferred)

    @property
    def awaited(self):
        noted = list(self.frame.noted.values())
        return noted[-1] if noted else None

    @awaited.setter
    def awaited(self, _):
        pass

    def running(self):
        return self.awaited is None

    def cancel(self, outer):
        if outer.called:
            Deferred.cancel(outer)
        elif self.running():
            self.frame.due = True
            microtasks = self.frame.microtasks
            microtasks.add(lambda: microtasks.ticks.append(lambda: self.give_up(outer)))
        elif not self.waits_for_itself():
            *others, last = list(self.frame.noted.values())
            for each in others:
                cancel_guarded(each)
            last.cancel()

    def give_up(self, outer):
        if self.frame.due and not outer.called:
            self.frame.given_up = True
            outer.errback(defer.CancelledError())


class Promise:
    """JavaScript's, as far as async functions need it: `then` takes what ends, and makes no promise."""

    def __init__(self, microtasks, frame):
        self.microtasks = microtasks
        # That of the function that awaits it, or whose it is.
        self.frame = frame
        self.reactions = []
        self.outcome = None

    def resolve(self, value):
        if isinstance(value, Deferred):
            frame = None
            ready = value.called and not value.paused and not is_unfinished(value)
            if self.frame is not None and not ready:
                frame = self.frame
                frame.note(value)
            self.microtasks.add(lambda: then(value, frame, self))
        else:
            self.fulfill(value)

    def fulfill(self, value):
        self.settle((0, value))

    def reject(self, error):
        self.settle((1, error))

    def settle(self, outcome):
        self.outcome = outcome
        for reaction in self.reactions:
            self.react(reaction)

    def then(self, fulfilled, rejected):
        if self.outcome is None:
            self.reactions.append((fulfilled, rejected))
        else:
            self.react((fulfilled, rejected))

    def react(self, reaction):
        side, value = self.outcome
        self.microtasks.add(lambda: reaction[side](value))


def then(deferred, frame, known):
    """`Deferred.then`: shows the result and leaves it there."""
    promise = Promise(known.microtasks, None)

    def shown(result):
        if frame is not None:
            frame.forget(deferred)
        if isinstance(result, Failure):
            deferred._observed = result
            promise.reject(result.value)
        else:
            promise.fulfill(result)
        return result

    add_both_uncorrected(deferred, shown)
    if frame is not None:
        frame.heard(deferred)
    promise.then(known.fulfill, known.reject)


# -- The clock ---------------------------------------------------------------------------------------------------------


def watch(outcome):
    """What a delayed call returns, and fails later, counts as thrown by it."""

    def see(result):
        if isinstance(result, Failure):
            use("call-fails-later")
            now.world.log(result.value)
            outcome._observed = result
        return result

    if now.corrected and isinstance(outcome, Deferred):
        add_both_uncorrected(outcome, see)


class Clock(task.Clock):
    """Equal times are first in, first out, and a call that fails is logged."""

    requests = 0

    def callLater(self, delay, fn, *args, **kwargs):
        def logged():
            outer, now.world.frame = now.world.frame, None
            try:
                if now.corrected and getattr(fn, "__name__", "") == "timeItOut":
                    # It is addTimeout's, and calls cancel().
                    seen = inspect.getclosurevars(fn).nonlocals
                    seen["timedOut"][0] = True
                    cancel_guarded(seen["self"])
                else:
                    watch(fn(*args, **kwargs))
            except Exception as error:
                if not use("failed-call"):
                    raise
                now.world.log(error)
            finally:
                now.world.frame = outer

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

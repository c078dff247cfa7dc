"""How each kind of step and of end is done with Twisted. The twin of steps.ts: a kind is an entry here and one there."""

from twisted.internet import defer, task
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from conditions import DeferredQueue
from corrections import LoopingCall, use
from wakings import DeferredLock, DeferredSemaphore
from world import ENDS, STEPS, Refused, classes, entry, make_error

step = entry(STEPS)
end = entry(ENDS)


# -- Steps -------------------------------------------------------------------------------------------------------------


@step
def new(world, step):
    if world.fresh(step["d"]):
        world.add(step["d"], Deferred(world.canceller(step["d"], step.get("canceller"))))


@step
def succeed(world, step):
    if world.fresh(step["d"]):
        world.add(step["d"], defer.succeed(step["value"]))


@step
def fail(world, step):
    if world.fresh(step["d"]):
        world.add(step["d"], defer.fail(make_error(step["error"])))


@step
def maybe(world, step):
    if world.fresh(step["d"]):
        world.add(step["d"], maybe_deferred(world, world.function(step["body"]), step["value"]))


def maybe_deferred(world, function, *args):
    """A generator or promise is waited for by a Deferred of its own."""
    deferred = defer.maybeDeferred(function, *args)
    if id(deferred) not in world.inner:
        return deferred
    outer = defer.succeed(None)
    outer.addCallback(lambda _: deferred)
    return outer


@step
def callback(world, step):
    deferred = world.fireable(step["d"])
    if deferred is not None:
        deferred.callback(step["value"])


@step
def callbackFailure(world, step):
    deferred = world.fireable(step["d"])
    if deferred is not None:
        deferred.callback(Failure(make_error(step["error"])))


@step
def errback(world, step):
    deferred = world.fireable(step["d"])
    if deferred is not None:
        deferred.errback(make_error(step["error"]))


@step
def errbackFailure(world, step):
    deferred = world.fireable(step["d"])
    if deferred is not None:
        deferred.errback(Failure(make_error(step["error"])))


@step
def callbackDeferred(world, step):
    deferred = world.fireable(step["d"])
    other = None if deferred is None else world.existing(step["other"])
    if other is not None:
        deferred.callback(other)


@step
def addNothing(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        deferred.addCallback(step["value"])


@step
def addCallback(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        deferred.addCallback(world.function(step["body"], lambda: deferred), *step.get("args", ()))


@step
def addErrback(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        deferred.addErrback(world.function(step["body"], lambda: deferred), *step.get("args", ()))


@step
def addBoth(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        deferred.addBoth(world.function(step["body"], lambda: deferred), *step.get("args", ()))


STEPS["addCallbackWith"] = addCallback
STEPS["addErrbackWith"] = addErrback
STEPS["addBothWith"] = addBoth


@step
def addCallbacks(world, step):
    deferred = world.existing(step["d"])
    if deferred is None:
        return
    sides = [world.function(step["ok"], lambda: deferred)]
    if step.get("bad") is not None:
        sides.append(world.function(step["bad"], lambda: deferred))
    deferred.addCallbacks(*sides)


@step
def chain(world, step):
    deferred = world.existing(step["d"])
    other = None if deferred is None else world.fireable(step["other"])
    if other is not None:
        deferred.chainDeferred(other)


@step
def pause(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        world.pauses[id(deferred)] = world.pauses.get(id(deferred), 0) + 1
        deferred.pause()


@step
def unpause(world, step):
    deferred = world.existing(step["d"])
    if deferred is None:
        return
    pauses = world.pauses.get(id(deferred), 0)
    if pauses == 0 and use("unpause-unpaused"):
        raise Refused()
    world.pauses[id(deferred)] = pauses - 1
    deferred.unpause()


@step
def cancel(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        deferred.cancel()


@step
def timeout(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        deferred.addTimeout(step["seconds"], world.clock)


@step
def timeoutHook(world, step):
    deferred = world.existing(step["d"])
    if deferred is not None:
        deferred.addTimeout(step["seconds"], world.clock, world.function(step["body"], lambda: deferred))


@step
def deferLater(world, step):
    if world.fresh(step["d"]):
        world.own.add(step["d"])
        world.add(step["d"], task.deferLater(world.clock, step["seconds"]))


@step
def deferLaterCall(world, step):
    if not world.fresh(step["d"]):
        return
    function = world.function(step["body"], lambda: world.deferreds.get(step["d"]))
    world.add(step["d"], task.deferLater(world.clock, step["seconds"], function, *step["args"]))


@step
def list_(world, step):
    if world.fresh(step["d"]):
        options = {name: True for name in step["options"]}
        world.add(step["d"], defer.DeferredList(world.children(step["of"]), **options))


STEPS["firstOf"] = STEPS["firstFailure"] = list_


@step
def gather(world, step):
    if world.fresh(step["d"]):
        world.own.add(step["d"])
        world.add(step["d"], defer.gatherResults(world.children(step["of"]), step["consume"]))


@step
def ensure(world, step):
    deferred = world.existing(step["other"])
    if deferred is not None and world.fresh(step["d"]):
        world.add(step["d"], defer.ensureDeferred(deferred))


@step
def notCoroutine(world, step):
    defer.ensureDeferred(step["value"])


# -- The clock ---------------------------------------------------------------------------------------------------------


@step
def advance(world, step):
    world.clock.advance(step["seconds"])


@step
def pump(world, step):
    world.clock.pump(step["times"])


@step
def callLater(world, step):
    if ("call", step["call"]) not in world.things:
        function = world.function(step["body"])
        world.things["call", step["call"]] = world.clock.callLater(step["seconds"], function, *step["args"])


@step
def callCancel(world, step):
    call = world.thing("call", step["call"])
    if call is not None:
        call.cancel()


@step
def callReset(world, step):
    call = world.thing("call", step["call"])
    if call is not None:
        call.reset(step["seconds"])
        world.clock.moved(call)


@step
def callDelay(world, step):
    call = world.thing("call", step["call"])
    if call is not None:
        call.delay(step["seconds"])
        world.clock.moved(call)


@step
def callLook(world, step):
    call = world.thing("call", step["call"])
    if call is not None:
        look(world, bool(call.active()), call.getTime(), len(world.clock.getDelayedCalls()))


def look(world, *facts):
    world.line(" ".join([world.show(fact) for fact in facts]))


# -- Looping calls -----------------------------------------------------------------------------------------------------


@step
def loop(world, step):
    if ("loop", step["loop"]) not in world.things:
        add_loop(world, step, LoopingCall(world.function(step["body"]), *step["args"]))


@step
def loopCount(world, step):
    if ("loop", step["loop"]) not in world.things:
        add_loop(world, step, LoopingCall.withCount(world.function(step["body"])))


def add_loop(world, step, loop):
    loop.clock = world.clock
    world.things["loop", step["loop"]] = loop


@step
def loopStart(world, step):
    loop = world.thing("loop", step["loop"])
    if loop is None or not world.fresh(step["d"]):
        return
    started = loop.start(step["seconds"], step["now"])
    world.own.add(step["d"])
    world.add(step["d"], started)


@step
def loopStop(world, step):
    loop = world.thing("loop", step["loop"])
    if loop is not None:
        loop.stop()


@step
def loopReset(world, step):
    loop = world.thing("loop", step["loop"])
    if loop is not None:
        loop.reset()


@step
def loopLook(world, step):
    loop = world.thing("loop", step["loop"])
    if loop is not None:
        look(world, loop.running, loop.interval)


# -- Locks and queues --------------------------------------------------------------------------------------------------


@step
def lock(world, step):
    world.things.setdefault(("lock", step["lock"]), DeferredLock())


@step
def semaphore(world, step):
    world.things.setdefault(("lock", step["lock"]), DeferredSemaphore(step["tokens"]))


@step
def acquire(world, step):
    lock = world.thing("lock", step["lock"])
    if lock is not None and world.fresh(step["d"]):
        world.own.add(step["d"])
        world.add(step["d"], lock.acquire())


@step
def release(world, step):
    lock = world.thing("lock", step["lock"])
    if lock is not None:
        lock.release()


@step
def lockRun(world, step):
    lock = world.thing("lock", step["lock"])
    if lock is not None and world.fresh(step["d"]):
        world.own.add(step["d"])
        function = world.function(step["body"], lambda: world.deferreds.get(step["d"]), ring="avoid")
        world.add(step["d"], lock.run(function, *step["args"]))


@step
def lockLook(world, step):
    lock = world.thing("lock", step["lock"])
    if isinstance(lock, DeferredLock):
        look(world, lock.free() == 0, lock.line())
    elif lock is not None:
        look(world, lock.free(), lock.line())


@step
def queue(world, step):
    world.things.setdefault(("queue", step["queue"]), DeferredQueue(step["size"], step["backlog"]))


@step
def put(world, step):
    queue = world.thing("queue", step["queue"])
    if queue is not None:
        queue.put(step["value"])


@step
def putWait(world, step):
    queue = world.thing("queue", step["queue"])
    if queue is not None and world.fresh(step["d"]):
        world.own.add(step["d"])
        world.add(step["d"], queue.putWait(step["value"]))


@step
def get(world, step):
    queue = world.thing("queue", step["queue"])
    if queue is not None and world.fresh(step["d"]):
        got = queue.get()
        world.own.add(step["d"])
        world.add(step["d"], got)


@step
def queueLook(world, step):
    queue = world.thing("queue", step["queue"])
    if queue is not None:
        things, waiting = queue.things(), len(queue.waiting)
        look(world, max(0, things - waiting), max(0, waiting - things))


# -- How a function ends -----------------------------------------------------------------------------------------------


@end
def same(world, then, given, owner, ring):
    return given


@end
def nothing(world, then, given, owner, ring):
    return None


@end
def value(world, then, given, owner, ring):
    return then["value"]


@end
def wrap(world, then, given, owner, ring):
    return [given]


@end
def throw(world, then, given, owner, ring):
    raise make_error(then["error"])


@end
def failure(world, then, given, owner, ring):
    return Failure(make_error(then["error"]))


@end
def deferred(world, then, given, owner, ring):
    other = world.existing(then["d"])
    if owner is None or not waits_for(other, owner()):
        return other
    if ring == "avoid":
        world.line("a ring")
        return None
    if use("ring"):
        raise Refused()
    return other


def waits_for(deferred, other):
    while isinstance(deferred, Deferred):
        if deferred is other:
            return True
        deferred = getattr(deferred, "result", None)
    return False


@end
def raise_(world, then, given, owner, ring):
    if isinstance(given, Failure):
        given.raiseException()
    return given


@end
def trap(world, then, given, owner, ring):
    if not isinstance(given, Failure):
        return given
    trapped = given.trap(*classes(then["names"]))
    if world.raw:
        world.line(f"trap returned {trapped.__name__}")
    return then["value"]


@end
def check(world, then, given, owner, ring):
    if not isinstance(given, Failure):
        return given
    return given.check(*classes(then["names"])) is not None

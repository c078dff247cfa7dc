"""How each of a coroutine's operations is done with Twisted. The twin of coroutines.ts."""

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from corrections import Followed, Frame, Promise, add_both_uncorrected, is_unfinished, now, use
from steps import waits_for
from world import ENDS, STEPS, Later, Refused, classes, entry, make_error

OPS = {}
step = entry(STEPS)
end = entry(ENDS)
op = entry(OPS)


@step
def inline(world, step):
    start(world, step, lambda generator: defer.inlineCallbacks(lambda: generator)())


@step
def coroutine(world, step):
    start(world, step, defer.ensureDeferred)


@step
def inlinePlain(world, step):
    if not world.fresh(step["d"]):
        return
    returned = []
    call = world.function(step["body"], framed=False)
    try:
        deferred = defer.inlineCallbacks(lambda: returned.append(call()))()
    except Exception as error:
        if not use("plain-function"):
            raise
        if returned:
            error = returned[0] if isinstance(returned[0], Failure) else Refused()
        deferred = defer.fail(error)
    world.add(step["d"], deferred)


def start(world, step, run):
    if not world.fresh(step["d"]):
        return
    generator = run_coroutine(world, step)
    world.add(step["d"], run_corrected(generator, run, "returnDeferred" in str(step["ops"])))


def run_corrected(generator, run, returns):
    deferred = run(generator)
    status = deferred._status
    status.generator = generator
    deferred.cancel = lambda: status.cancel(deferred)
    if now.corrected and returns:
        add_both_uncorrected(deferred, lambda result: unwrap(result, deferred))
    return deferred


@end
def generator(world, then, given, owner, ring):
    def start(owner):
        returns = "returnDeferred" in str(then["ops"])
        deferred = run_corrected(generator, defer.ensureDeferred, returns)
        world.add_inner(deferred)
        if owner is not None and ring == "wait" and waits_for(deferred, owner()) and use("ring"):
            raise Refused()
        return deferred

    generator = run_generator(world, then, owner if ring == "avoid" else None)
    return Later(start) if use("generator-returned") else generator


def run_generator(world, then, own):
    co = Coroutine(then["label"], own)
    world.line(f"c{co.label} starts")
    done = yield from run_ops(world, co, then["ops"])
    return None if done is None else done[0]


@end
def async_(world, then, given, owner, ring):
    if not use("async-returned"):
        return run_generator(world, then, None)
    frame = world.frame
    promise = run_async(world, then)
    deferred = Deferred()
    if frame is not None:
        Followed(deferred, frame)

    def follow(fire):
        def settled(outcome):
            if frame is not None:
                frame.end()
            if frame is None or not frame.given_up:
                fire(outcome)

        return settled

    promise.then(follow(deferred.callback), follow(deferred.errback))
    world.add_inner(deferred)
    return deferred


def run_async(world, then):
    """Runs a function as JavaScript runs an async one: each `yield` of its operations is an `await`."""
    frame = world.frame
    promise = Promise(world.microtasks, frame)
    world.line(f"c{then['label']} starts")
    run = run_ops(world, Coroutine(then["label"], None, True), then["ops"])

    def go_on(resume):
        try:
            with world.framed(frame):
                awaited = resume()
        except StopIteration as stop:
            value = None if stop.value is None else stop.value[0]
            promise.resolve(value.deferred if isinstance(value, Returned) else value)
        except Exception as error:
            promise.reject(error)
        else:
            known = Promise(world.microtasks, frame)
            known.resolve(awaited)
            known.then(lambda value: go_on(lambda: run.send(value)), lambda error: go_on(lambda: run.throw(error)))

    go_on(lambda: next(run))
    return promise


class Coroutine:
    def __init__(self, label, own=None, is_async=False):
        self.label = label
        # Gives the Deferred that it must not wait for at its end.
        self.own = own
        self.is_async = is_async
        # What is awaited by others that it calls.
        self.frame = Frame(now.world.microtasks)
        self.got = None


def run_coroutine(world, step):
    co = Coroutine(step["label"])
    world.line(f"c{co.label} starts")
    done = yield from run_ops(world, co, step["ops"])
    value = None if done is None else done[0]
    paused = world.pauses.get(id(world.deferreds.get(step["d"])), 0) > 0
    if isinstance(value, Returned) and paused:
        say(world, co, "is paused")
        return None
    return value


def run_ops(world, co, ops):
    for each in ops:
        if world.over:
            return (None,)
        done = yield from OPS[each["op"]](world, co, each)
        if done is not None:
            return done
    return None


def say(world, co, text):
    world.line(f"c{co.label} {text}")


@op
def steps(world, co, op):
    if False:
        yield
    world.depth += 1
    try:
        with world.framed(world.frame if co.is_async else co.frame):
            world.perform(op["steps"])
    finally:
        world.depth -= 1


@op
def wait(world, co, op):
    deferred = world.existing(op["d"])
    if deferred is None:
        return
    say(world, co, f"waits for d{op['d']}")
    co.got = yield deferred
    say(world, co, "got " + world.show(co.got))


@op
def waitFrom(world, co, op):
    deferred = world.existing(op["d"])
    if deferred is None:
        return
    say(world, co, f"waits for d{op['d']}")
    if co.is_async or is_unfinished(deferred) and use("await-inside"):
        co.got = yield deferred
    else:
        result = getattr(deferred, "result", None)
        if now.corrected and not deferred.paused and isinstance(result, Failure):
            deferred._observed = result
        co.got = yield from deferred
    say(world, co, "got " + world.show(co.got))


@op
def yield_(world, co, op):
    co.got = yield op["value"]
    say(world, co, "got " + world.show(co.got))


@op
def yieldFailure(world, co, op):
    if co.is_async:
        raise make_error(op["error"])
    yield Failure(make_error(op["error"]))


@op
def attempt(world, co, op):
    try:
        done = yield from run_ops(world, co, op["ops"])
    except Exception as error:
        if world.over or not isinstance(error, classes(op["names"])):
            raise
        say(world, co, "caught " + world.describe(error))
        co.got = None
        done = yield from run_ops(world, co, op["handler"])
    finally:
        if op["finally"] is not None and not world.over:
            say(world, co, "finally")
            last = yield from run_ops(world, co, op["finally"])
            if last is not None:
                return last
    return done


@op
def again(world, co, op):
    for _ in range(op["times"]):
        done = yield from run_ops(world, co, op["ops"])
        if done is not None:
            return done
    return None


@op
def return_(world, co, op):
    if False:
        yield
    return (op["value"],)


@op
def give(world, co, op):
    if False:
        yield
    return (co.got,)


class Returned:
    """A Deferred that a coroutine returns, and that its own Deferred is to wait for: Twisted does not take it bare."""

    def __init__(self, deferred):
        self.deferred = deferred


def unwrap(result, outer):
    if not isinstance(result, Returned):
        return result
    if waits_for(result.deferred, outer):
        raise Refused()
    return result.deferred


@op
def returnDeferred(world, co, op):
    if False:
        yield
    deferred = world.existing(op["d"])
    if deferred is None:
        return None
    if co.own is not None and waits_for(deferred, co.own()):
        say(world, co, "a ring")
        return (None,)
    return (Returned(deferred) if use("deferred-returned") else deferred,)


@op
def throw_(world, co, op):
    if False:
        yield
    raise make_error(op["error"])

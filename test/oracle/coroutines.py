"""How each of a coroutine's operations is done with Twisted. The twin of coroutines.ts."""

from twisted.internet import defer
from twisted.python.failure import Failure

from corrections import add_both_uncorrected, is_unfinished, now, use
from steps import waits_for
from world import STEPS, Refused, classes, entry, make_error

OPS = {}
step = entry(STEPS)
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
    call = world.function(step["body"])
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
    deferred = run(generator)
    status = deferred._status
    status.generator = generator
    deferred.cancel = lambda: status.cancel(deferred)
    if now.corrected and "returnDeferred" in str(step["ops"]):
        add_both_uncorrected(deferred, lambda result: unwrap(result, deferred))
    world.add(step["d"], deferred)


class Coroutine:
    def __init__(self, label):
        self.label = label
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
    if is_unfinished(deferred) and use("await-inside"):
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
    return (Returned(deferred) if use("deferred-returned") else deferred,)


@op
def throw_(world, co, op):
    if False:
        yield
    raise make_error(op["error"])

"""Very many who wait for a lock, a semaphore or a queue, and what becomes of them. The twin of crowd.ts."""

from twisted.internet import defer

from world import STEPS, entry

step = entry(STEPS)


class Record:
    """What has become of them, in the order in which it did."""

    def __init__(self):
        self.served = []
        self.failed = []
        self.given = []
        self.refused = 0

    def attempt(self, what, *args):
        """Does something that may be refused."""
        try:
            what(*args)
        except Exception:
            self.refused += 1

    def tell(self):
        served, given, failed = [ranges(each) for each in (self.served, self.given, self.failed)]
        return f"served {served} given {given} failed {failed} refused {self.refused}"


def ranges(numbers):
    """Numbers that follow one another are written as the first and the last of them."""
    parts = []
    start = 0
    while start < len(numbers):
        end = start
        while end + 1 < len(numbers) and numbers[end + 1] == numbers[end] + 1:
            end += 1
        parts.append(f"{numbers[start]}" if end == start else f"{numbers[start]}-{numbers[end]}")
        start = end + 1
    return ",".join(parts) if parts else "none"


def join(record, step, deferred, index, serve):
    """One joins the line: `serve` is called with what it waits for."""

    def served(got):
        record.served.append(index)
        serve(got)

    def failed(_):
        record.failed.append(index)

    def wait():
        try:
            got = yield deferred
        except Exception as error:
            failed(error)
            return
        served(got)

    if step["coroutines"]:
        defer.ensureDeferred(wait())
        deferred.addErrback(lambda _: None)
    else:
        deferred.addCallbacks(served, failed)


def cancel_some(line, step):
    if step["cancel"] > 0:
        for deferred in line[:: step["cancel"]]:
            deferred.cancel()


@step
def crowd(world, step):
    lock = world.thing("lock", step["lock"])
    if lock is None:
        return
    record = Record()
    held = [lock.acquire() for _ in range(max(1, lock.free()))]
    line = []

    def release():
        record.attempt(lock.release)

    def serve(_):
        if step["inside"]:
            release()

    for index in range(step["count"]):
        deferred = lock.acquire()
        join(record, step, deferred, index, serve)
        line.append(deferred)
    cancel_some(line, step)
    for each in held:
        each.addCallbacks(lambda _: release(), lambda _: None)
    if not step["inside"]:
        for _ in range(step["count"]):
            release()
    world.show_crowd(record.tell)


@step
def crowdGet(world, step):
    queue = world.thing("queue", step["queue"])
    if queue is None:
        return
    record = Record()
    line = []

    def put(value):
        record.attempt(queue.put, value)

    def get(index):
        def serve(got):
            if isinstance(got, int) and not isinstance(got, bool):
                record.given.append(got)
            if step["inside"]:
                put(index + 1)

        deferred = queue.get()
        line.append(deferred)
        join(record, step, deferred, index, serve)

    for index in range(step["count"]):
        record.attempt(get, index)
    cancel_some(line, step)
    put(0)
    if not step["inside"]:
        for value in range(1, step["count"]):
            put(value)
    world.show_crowd(record.tell)

"""What one script makes with Twisted, and the trace that it writes. The twin of world.ts."""

from contextlib import contextmanager

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled
from twisted.python.failure import Failure

from corrections import Clock, Frame, Microtasks, is_being_cancelled, now, use

MOST_STEPS = 400


# -- Errors ------------------------------------------------------------------------------------------------------------


class Boom(Exception):
    pass


class Bang(Boom):
    pass


class Fizz(Exception):
    pass


class Refused(Exception):
    """What plait throws, under another name, where Twisted does something odd."""


OWN_ERRORS = {"Boom": Boom, "Bang": Bang, "Fizz": Fizz}
ERRORS = {
    **OWN_ERRORS,
    "CancelledError": defer.CancelledError,
    "AlreadyCalledError": defer.AlreadyCalledError,
    "TimeoutError": defer.TimeoutError,
    "AlreadyCalled": AlreadyCalled,
    "any": Exception,
}


def make_error(spec):
    return OWN_ERRORS[spec["name"]](spec["message"])


def classes(names):
    return tuple(ERRORS[name] for name in names)


# What performs each kind of step, and what each kind of end does: filled by steps.py and coroutines.py.
STEPS = {}
ENDS = {}


def entry(table):
    """Decorates a function that belongs into a table by its name."""

    def add(fn):
        table[fn.__name__.rstrip("_")] = fn
        return fn

    return add


class World:
    def __init__(self, raw):
        # Shows every error's message, and what is otherwise written alike.
        self.raw = raw
        self.trace = []
        self.depth = 0
        self.steps = 0
        self.over = False
        self.clock = Clock()
        self.deferreds = {}
        # Those too whose number was given to another one while they were being made.
        self.all = []
        # Deferreds that only Twisted itself should fire.
        self.own = set()
        # Other things, by their kind and number.
        self.things = {}
        self.numbers = {}
        self.shown = {}
        self.pauses = {}
        self.cancelling = set()
        # Deferreds of coroutines and promises that callbacks returned.
        self.inner = {}
        self.microtasks = Microtasks()
        # That of the function on the stack: what an async function notes what it awaits in.
        self.frame = None
        # What became of all who waited in line, for the end of the trace.
        self.crowds = []

    # -- Text ----------------------------------------------------------------------------------------------------------

    def line(self, text):
        if not self.over:
            self.trace.append("  " * self.depth + text)

    def log(self, error):
        self.line("logged " + self.describe(error))

    def describe(self, error):
        name = type(error).__name__
        if isinstance(error, (Boom, Fizz)):
            return f"{name}: {error}"
        if isinstance(error, defer.FirstError):
            return f"FirstError: #{error.index} {self.describe(error.subFailure.value)}"
        if self.raw:
            return f"{name}: {error}"
        return "refused" if isinstance(error, (Refused, AssertionError)) else name

    def show(self, value):
        if value is None:
            return "none"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return str(int(value) if value == int(value) else value)
        if isinstance(value, str):
            return f"'{value}'"
        if isinstance(value, (list, tuple)):
            return "[" + ", ".join([self.show(item) for item in value]) + "]"
        if isinstance(value, Failure):
            return f"Failure({self.describe(value.value)})"
        if isinstance(value, Deferred):
            return self.name(value)
        return type(value).__name__

    def name(self, deferred):
        number = self.numbers.get(id(deferred))
        return "an inner Deferred" if number is None else f"d{number}"

    def state(self, deferred):
        paused = deferred.paused
        if not deferred.called:
            text = "unfired"
        else:
            result = deferred.result
            text = "called " if self.raw else ""
            if self.is_cancelled(deferred):
                text += "unfired"
                paused -= 1
            elif is_being_cancelled(deferred):
                text += "unfired"
            elif isinstance(result, Deferred):
                text += "waits for " + self.name(result)
            else:
                text += self.show(result)
        return f"{text}, paused {paused}" if paused else text

    def show_changes(self):
        for number, deferred in self.deferreds.items():
            if self.numbers[id(deferred)] != number:
                continue
            text = self.state(deferred)
            if self.shown.get(number) != text:
                self.shown[number] = text
                self.line(f"= d{number} {text}")

    # -- Running -------------------------------------------------------------------------------------------------------

    def perform(self, steps):
        for step in steps:
            if self.over:
                return
            self.steps += 1
            if self.steps > MOST_STEPS:
                return
            self.line(step["step"] + where(step))
            try:
                STEPS[step["step"]](self, step)
            except Exception as error:
                self.line("! " + self.describe(error))
            self.show_changes()

    def add(self, number, deferred):
        known = self.numbers.get(id(deferred))
        if known is None:
            self.numbers[id(deferred)] = number
        else:
            self.line(f"the same as d{known}")
            if known in self.own:
                self.own.add(number)
        self.deferreds[number] = deferred
        self.all.append(deferred)

    def add_inner(self, deferred):
        """Adds one that has no number: what comes of a function's generator or promise."""
        self.inner[id(deferred)] = deferred
        self.all.append(deferred)

    def existing(self, number):
        deferred = self.deferreds.get(number)
        if deferred is None:
            self.line(f"there is no d{number}")
        return deferred

    def children(self, numbers):
        """Those that there are."""
        return [self.deferreds[number] for number in numbers if number in self.deferreds]

    def fresh(self, number):
        if number in self.deferreds:
            self.line(f"there is a d{number}")
        return number not in self.deferreds

    def fireable(self, number):
        if number in self.own and now.corrected:
            self.line(f"d{number} fires by itself")
            return None
        return self.existing(number)

    def is_cancelled(self, deferred):
        """True for the Deferred of a coroutine that was cancelled and has not come to its end."""
        result = getattr(deferred, "result", None)
        return (
            isinstance(result, Deferred)
            and id(result) not in self.numbers
            and id(result) not in self.inner
            and hasattr(deferred, "_status")
        )

    def thing(self, kind, number):
        """A lock, a queue, a delayed call."""
        thing = self.things.get((kind, number))
        if thing is None:
            self.line(f"there is no {kind} {number}")
        return thing

    def function(self, body, owner=None, ring="wait", runs=True, framed=True):
        """
        The function that a body describes. `owner` gives the Deferred whose callback it is, if it is one; if `ring` is
        "avoid", it does not return what waits for that. If `runs`, a generator that it returns is run as a coroutine; if
        `framed`, who calls it waits for what it returns.
        """

        def call(*given):
            with self.framed(Frame(self.microtasks) if framed else self.frame):
                outcome = perform(*given)
            return outcome.start(owner) if runs and isinstance(outcome, Later) else outcome

        def perform(*given):
            if self.over:
                return None
            self.line(f"f{body['label']}({', '.join([self.show(value) for value in given])})")
            self.depth += 1
            try:
                self.perform(body["steps"])
                then = body["then"]
                return ENDS[then["end"]](self, then, given[0] if given else None, owner, ring)
            finally:
                self.depth -= 1

        return call

    @contextmanager
    def framed(self, frame):
        """In `frame`, as that of the function on the stack."""
        outer, self.frame = self.frame, frame
        try:
            yield
        finally:
            self.frame = outer

    def canceller(self, number, body):
        """A canceller that is on the stack already only says so: two may cancel one another."""
        if body is None:
            return None
        call = self.function(body, runs=False, framed=False)

        def cancel(deferred):
            if number in self.cancelling:
                self.line("cancelling already")
                return
            self.cancelling.add(number)
            try:
                call(deferred)
            finally:
                self.cancelling.discard(number)

        return cancel

    def show_crowd(self, tell):
        """Writes what has become of a crowd by now, and at the end of the script again."""
        self.line(tell())
        self.crowds.append(tell)

    def run(self, script):
        for step in script:
            self.perform([step])
            self.turn()
        self.finish()

    def turn(self):
        """Lets microtasks have their turn."""
        if self.microtasks.run() and self.steps <= MOST_STEPS:
            self.show_changes()

    def finish(self):
        """Lets every chain run to its end, and writes which failures nobody has handled."""
        while True:
            paused = [n for n, d in self.deferreds.items() if self.pauses.get(id(d), 0) > 0]
            if self.steps > MOST_STEPS or not paused:
                break
            self.perform([{"step": "unpause", "d": number} for number in paused])
            self.turn()
        for tell in self.crowds:
            self.line(tell())
        infos = [d._debugInfo for d in self.all if d._debugInfo is not None]
        if self.steps <= MOST_STEPS:
            unhandled = {id(d): d for d in self.all if self.is_unhandled(d)}
            for text in sorted(self.describe(d._debugInfo.failResult.value) for d in unhandled.values()):
                self.line("unhandled " + text)
        self.over = True
        for info in infos:
            info.failResult = None

    def is_unhandled(self, deferred):
        info = deferred._debugInfo
        if info is None or info.failResult is None:
            return False
        return deferred._observed is not info.failResult or not use("observed-once")


class Later:
    """A generator that a function returns: it runs when the function is over."""

    def __init__(self, start):
        self.start = start


def where(step):
    for kind in ("d", "call", "lock", "queue", "loop", "condition"):
        if kind in step:
            return f" {kind}{step[kind]}"
    return ""

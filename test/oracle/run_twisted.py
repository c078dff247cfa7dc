"""
Runs scripts of Deferred operations with Twisted, and answers with their traces. It is the twin of run-plait.ts: what
one writes the other must write too. A line of standard input is one request, a line of standard output its answer:

    {"script": [...], "corrected": true}  ->  {"trace": [...], "used": ["pause-inside"]}

Where plait differs from Twisted on purpose, Twisted is corrected before it runs the script, unless "corrected" is
false; "used" names the corrections that took effect.
"""

import json
import sys
import threading

from twisted.logger import globalLogBeginner

import conditions  # noqa: F401  fill the tables of what can be performed
import coroutines  # noqa: F401
import crowd  # noqa: F401
from corrections import now
from wakings import wakings
from world import World


def run(request):
    wakings.depth, wakings.put_off = 0, {}
    now.world = world = World(request.get("raw", False))
    world.run(request["script"])
    return world.trace


def answer(request):
    now.used = used = set()
    now.corrected = request["corrected"]
    # Wakings, up to 64 of them, inside one another take a thousand.
    sys.setrecursionlimit(10_000)
    trace = run(request)
    if "coroutine-cancel" in used:
        # Mostly Twisted's own way of cancelling a coroutine shows no difference.
        now.used = set()
        now.twisteds_cancel = True
        if run(request) == trace:
            used.remove("coroutine-cancel")
        now.twisteds_cancel = False
    return {"trace": trace, "used": sorted(used)}


def observe(event):
    # Other events are reports of failures that nobody handled, which come when the garbage is collected.
    if event.get("log_format") == "Exception raised from user supplied canceller":
        now.world.log(event["log_failure"].value)


def main():
    globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    threading.stack_size(1 << 29)
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()

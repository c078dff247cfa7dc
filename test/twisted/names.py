"""
Prints the public names of Twisted's modules whose counterparts plait has, one `module.name` a line: what is defined
in the module, or among its `__all__`, and does not begin with an underscore. `names.txt` is what this prints with
Twisted 22.4:

    python3 test/twisted/names.py > test/twisted/names.txt
"""
import importlib
import inspect

MODULES = """
twisted.application.internet twisted.application.service
twisted.internet.abstract twisted.internet.address twisted.internet.base twisted.internet.defer
twisted.internet.endpoints twisted.internet.error twisted.internet.interfaces twisted.internet.posixbase
twisted.internet.process twisted.internet.protocol twisted.internet.reactor twisted.internet.ssl
twisted.internet.stdio twisted.internet.task twisted.internet.tcp twisted.internet.testing
twisted.internet.threads twisted.internet.udp twisted.internet.unix twisted.internet.utils
twisted.logger
twisted.plugin
twisted.protocols.basic twisted.protocols.loopback twisted.protocols.pcp twisted.protocols.policies
twisted.protocols.tls twisted.protocols.wire
twisted.python.failure twisted.python.lockfile twisted.python.log twisted.python.threadpool
twisted.python.systemd
twisted.test.iosim twisted.trial.unittest
twisted.web.client twisted.web.error twisted.web.http twisted.web.http_headers
""".split()


def public(module):
    """The names of one module."""
    listed = getattr(module, "__all__", None)
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if listed is not None:
            wanted = name in listed
        else:
            # Imported from elsewhere is public elsewhere.
            wanted = getattr(value, "__module__", module.__name__) == module.__name__
        if wanted:
            yield f"{module.__name__}.{name}"


names = set()
for path in MODULES:
    try:
        names.update(public(importlib.import_module(path)))
    except ImportError:
        pass
print("\n".join(sorted(names)))

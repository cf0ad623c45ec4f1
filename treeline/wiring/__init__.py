"""The composition root: one module a function, which gives its use case the adapters of the environment it runs in.

A function `lambdas/<name>/handler.py` asks `treeline.wiring.<name>` for what it works with, once a process: `wired()`
reads the settings, makes the clients and returns the use case with its telemetry. A module imports what its own
function needs and nothing else, as every import is paid for at a cold start.
"""

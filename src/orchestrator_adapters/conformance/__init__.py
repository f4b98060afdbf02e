"""One test suite a port: whoever writes an adapter subclasses it and gives it theirs.

Each suite is a class of async test methods for pytest with anyio's plugin (extra `conformance`). A
subclass overrides the fixture that gives a fresh adapter with its stage: what tests do in the place
of the world around it.
"""

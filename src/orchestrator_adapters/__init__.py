"""The ports of the core over real technologies, one folder or module each.

An adapter maps its library's errors to the core's in one place, bounds every wait, and holds no
decision. `orchestrator_adapters.conformance` holds one test suite a port: whoever writes an adapter
runs it over theirs.
"""

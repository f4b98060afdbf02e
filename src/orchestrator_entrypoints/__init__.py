"""Where the process begins: settings, wiring, the HTTP service, the command line and the demo.

`orchestrator_entrypoints.wiring` is the only place that constructs adapters.
"""

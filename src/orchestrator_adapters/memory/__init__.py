"""Adapters that hold everything in memory, and never suspend.

For backtests, property tests and the embedded parts of the demo: `run_sync` drives them without an
event loop.
"""

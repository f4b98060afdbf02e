"""Sweeps: the same backtest under many policies, on one machine or on a Dask cluster.

What is computed is a `Work` that is sent once to each worker, and then given cells. Whoever
computes, the outcomes are the same; each is written down durably before the next is waited for, so
that a sweep that was killed goes on where it was.
"""

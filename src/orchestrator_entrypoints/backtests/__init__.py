"""Backtests: the same decisions as a run makes, over arrays of days and symbols."""

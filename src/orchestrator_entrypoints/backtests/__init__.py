"""Backtests: the same decisions as a run makes, over history; see `faithful` and `columnar`."""

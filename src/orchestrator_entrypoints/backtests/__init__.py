"""Backtests: the same decisions as a run makes, over history.

`backtest` is the way in; see `backtesting`. The workflow of production decides (`engines`), or
arrays that decide the same (`columnar_engine`).
"""

from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import Fault, FaultKind, FillModel, FillTime
from orchestrator_entrypoints.backtests.frames import Matrix
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult
from orchestrator_entrypoints.backtests.sizer import decide
from orchestrator_entrypoints.backtests.tables import BacktestDataError

__all__ = [
    "BacktestDataError",
    "BacktestPolicy",
    "BacktestResult",
    "Fault",
    "FaultKind",
    "FillModel",
    "FillTime",
    "Matrix",
    "backtest",
    "decide",
]

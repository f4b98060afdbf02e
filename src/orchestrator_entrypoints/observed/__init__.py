"""Ports that are counted, timed and logged, each around another of the same kind.

They decide nothing and change nothing that passes through them.
"""

from orchestrator_entrypoints.observed.budget import ObservedBudget
from orchestrator_entrypoints.observed.market import (
    ObservedCloses,
    ObservedPositions,
    ObservedPrices,
    ObservedSignals,
)
from orchestrator_entrypoints.observed.runs import ObservedRuns
from orchestrator_entrypoints.observed.sink import ObservedSink
from orchestrator_entrypoints.observed.switch import ObservedKillSwitch

__all__ = [
    "ObservedBudget",
    "ObservedCloses",
    "ObservedKillSwitch",
    "ObservedPositions",
    "ObservedPrices",
    "ObservedRuns",
    "ObservedSignals",
    "ObservedSink",
]

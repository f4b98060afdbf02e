"""What stands for a sweep's data and policy, so that a journal of others is not mixed in."""

import os
import subprocess
import sys
from datetime import date
from typing import Any

import pytest

from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.inputs import read_inputs
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.sweeps.backtest_work import BacktestWork

CLOSES = {date(2024, 1, 8): {"KO": 60.5}, date(2024, 1, 9): {"KO": 61.5}}
SIGNALS = {date(2024, 1, 8): {"KO": 0.5}}
SETS = Limits(restricted_symbols=frozenset(map(Symbol, "ABCD")))


def a_work(
    signals: Any = SIGNALS, closes: Any = CLOSES, opens: Any = None, **changes: Any
) -> BacktestWork:
    fills = changes.pop("fills", FillModel())
    return BacktestWork(read_inputs(signals, closes, opens, None), BacktestPolicy(**changes), fills)


@pytest.mark.parametrize(
    "changes",
    [
        {"signals": {date(2024, 1, 8): {"KO": 0.25}}},
        {"closes": {**CLOSES, date(2024, 1, 9): {"KO": 61.25}}},
        {"opens": CLOSES},
        {"lot": 2},
        {"strategy_id": "other"},
        {"limits": SETS},
        {"fills": FillModel(seed=1)},
    ],
)
def test_other_data_or_another_policy_have_another_digest(changes: dict[str, Any]) -> None:
    assert a_work().digest == a_work().digest
    assert a_work(**changes).digest != a_work().digest


def test_a_digest_is_the_same_in_every_process() -> None:
    program = (
        "from tests.unit.test_sweep_work import SETS, a_work; print(a_work(limits=SETS).digest)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2", "3")
    }
    assert told == {a_work(limits=SETS).digest}

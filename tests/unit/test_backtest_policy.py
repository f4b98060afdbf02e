"""What a backtest is decided under is valid from birth, and says which field is not."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator_core.errors import InvalidRequest
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import Fault, FaultKind, FillModel
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.policy_fields import NAMES

DAY = date(2024, 1, 8)
DOCS = Path(__file__).parents[2] / "docs" / "backtests.md"


def test_every_field_that_may_be_written_is_documented() -> None:
    _, _, fields = DOCS.read_text().partition("### Fields of")
    table = [
        line.split("|")[1] for line in fields.partition("## Sweeps")[0].splitlines() if "|" in line
    ]
    written = {name for cell in table for name in re.findall(r"`([a-z_]+)`", cell)}
    assert written == set(NAMES)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capital", 0),
        ("capital", "much"),
        ("max_position_size", -1),
        ("max_position_size", "much"),
        ("lot", 0),
        ("rebalance_every", 1.5),
        ("engine", "fast"),
        ("compounds", "false"),
        ("keeps_runs", 1),
    ],
)
def test_a_policy_is_valid_from_birth(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        BacktestPolicy(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "noon"),
        ("slippage_bps", "much"),
        ("slippage_bps", -5),
        ("slippage_bps", 10_000),
        ("commission_bps", "nan"),
        ("commission_per_share", True),
        ("commission_per_order", -1),
        ("rejection_rate", 1.5),
        ("partial_rate", "often"),
        ("partial_fraction", -0.1),
    ],
)
def test_a_fill_model_is_valid_from_birth(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        FillModel(**{field: value})  # type: ignore[arg-type]


def test_a_seed_and_faults_are_of_their_kinds() -> None:
    for seed in ("a", True, 1.5):
        with pytest.raises(ValueError, match="seed: expected a whole number"):
            FillModel(seed=seed)
    for name in ("rules", "limits"):
        with pytest.raises(TypeError, match=name):
            BacktestPolicy(**{name: None})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="faults"):
        FillModel(faults=[(DAY, "crash")])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("someday", FaultKind.REJECT), "day: expected a day such as"),
        ((DAY, "explosion"), "kind: expected one of time_out, "),
        ((DAY, FaultKind.REJECT, "K O"), "symbols: 'K O' is no symbol"),
        ((DAY, FaultKind.CRASH, "KO"), "symbol: crash befalls the whole day"),
    ],
)
def test_a_fault_is_valid_from_birth(values: Any, words: str) -> None:
    with pytest.raises((ValueError, InvalidRequest), match=f"^{words}"):
        Fault(*values)


def test_dates_are_taken_as_signals_may_give_them() -> None:
    text = DAY.isoformat()
    for given in (text, f"{text} 00:00:00", datetime(2024, 1, 8), np.datetime64(text)):  # noqa: DTZ001
        assert Fault(given, FaultKind.REJECT).day == DAY
    result = backtest({DAY: {"KO": 0.1}}, {DAY: {"KO": 100}, date(2024, 1, 9): {"KO": 100}})
    assert result.run_of(np.datetime64(text)) == result.run_of(text)
    with pytest.raises(ValueError, match="expected a day such as"):
        result.explain("2024-13-01", "KO")

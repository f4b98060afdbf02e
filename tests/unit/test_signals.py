from datetime import date
from decimal import Decimal

import pytest
from attrs import evolve

from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.limits import Limits
from orchestrator_core.model import Contribution, Signal, SignalBatch
from orchestrator_core.signals import check_batch
from tests.unit.builders import TODAY, a_batch, a_request, a_signal

LIMITS = Limits()


def refusal(
    batch: SignalBatch,
    *,
    symbols: tuple[str, ...] = ("A", "B"),
    as_of_date: date | None = None,
    limits: Limits = LIMITS,
) -> str:
    with pytest.raises(MalformedReply) as refused:
        check_batch(batch, a_request(symbols, as_of_date=as_of_date), limits)
    return refused.value.cause


def test_a_batch_that_answers_the_request_passes() -> None:
    batch = a_batch([a_signal("A", 1.0), a_signal("B", -1.0)])
    check_batch(batch, a_request(["A", "B"], as_of_date=TODAY), LIMITS)


def test_fewer_signals_than_symbols_are_fine() -> None:
    check_batch(a_batch([]), a_request(["A"]), LIMITS)


def test_a_symbol_not_asked_for_refuses_the_batch() -> None:
    assert refusal(a_batch([a_signal("C")])) == "C was not asked for"


def test_a_symbol_that_comes_twice_refuses_the_batch() -> None:
    assert refusal(a_batch([a_signal("A"), a_signal("A")])) == "A came twice"


def test_another_date_than_the_one_asked_refuses_the_batch() -> None:
    cause = refusal(a_batch([a_signal("A")]), as_of_date=date(2026, 3, 1))
    assert cause == "asked for 2026-03-01, answered for 2026-03-02"


def test_a_count_unlike_the_declared_one_refuses_the_batch() -> None:
    assert refusal(a_batch([a_signal("A")], num_signals=2)) == "num_signals says 2, 1 came"


@pytest.mark.parametrize("weight", [1.0000001, -1.0000001, 10.0])
def test_a_weight_above_its_limit_refuses_the_batch(weight: float) -> None:
    assert "the limit is 1" in refusal(a_batch([a_signal("A", weight)]))


@pytest.mark.parametrize(("sign", "side"), [(1, "long"), (-1, "short")])
def test_a_side_above_its_limit_refuses_the_batch(sign: int, side: str) -> None:
    batch = a_batch([a_signal("A", sign * 0.6), a_signal("B", sign * 0.41)])
    assert refusal(batch) == f"{side} weights sum to 1.01, the limit is 1"


def test_sums_that_miss_by_rounding_alone_pass() -> None:
    weights = [0.1 + 0.2, 0.7]  # 1.00000000000000004 in exact decimals
    batch = a_batch([a_signal("A", weights[0]), a_signal("B", weights[1])])
    check_batch(batch, a_request(["A", "B"]), LIMITS)


def test_limits_may_be_set_wider() -> None:
    limits = Limits(max_signal_weight=Decimal(10), max_side_weight=Decimal(10))
    check_batch(a_batch([a_signal("A", 10.0)]), a_request(["A"]), limits)


def a_netted(symbol: str, *weights: float) -> Signal:
    contributions = tuple(
        Contribution(StrategyId(f"s{place}"), Decimal(1), 0.01, 1, weight)
        for place, weight in enumerate(weights)
    )
    return evolve(a_signal(symbol, sum(weights)), contributions=contributions)


def test_a_netted_weight_is_judged_by_every_digit() -> None:
    check_batch(a_batch([a_netted("A", 1.0, -1e-40)]), a_request(["A"]), LIMITS)
    assert "the limit is 1" in refusal(a_batch([a_netted("A", 1.0, 1e-40)]))


@pytest.mark.parametrize(("sign", "side"), [(1, "long"), (-1, "short")])
def test_netted_sides_are_summed_by_every_digit(sign: int, side: str) -> None:
    exact = [a_netted("A", sign * 0.600001), a_netted("B", sign * 0.4)]
    check_batch(a_batch(exact), a_request(["A", "B"]), LIMITS)
    above = [exact[0], a_netted("B", sign * 0.4, sign * 1e-40)]
    assert refusal(a_batch(above)).startswith(f"{side} weights sum to 1.0000010000")

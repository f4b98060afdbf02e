from datetime import date
from decimal import Decimal

import pytest

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.requests import RequestPolicy, resolve_request

POLICY = RequestPolicy(
    capital=Decimal(100_000),
    max_position_size=Decimal(20_000),
    max_position_size_ceiling=Decimal(25_000),
    max_capital=Decimal(500_000),
)


def test_what_is_left_out_takes_the_configured_value() -> None:
    request = resolve_request(POLICY, symbols=["aapl", "MSFT"])
    assert request.symbols == ("AAPL", "MSFT")
    assert (request.capital, request.max_position_size) == (Decimal(100_000), Decimal(20_000))
    assert request.as_of_date is None
    assert request.dry_run is False
    assert request.rebalance_key == ""


def test_what_is_given_is_kept_exactly() -> None:
    request = resolve_request(
        POLICY,
        symbols=["A"],
        as_of_date="2026-03-02",
        capital="12345.670",
        max_position_size=Decimal(25_000),
        dry_run=True,
        rebalance_key="noon",
    )
    assert request.as_of_date == date(2026, 3, 2)
    assert str(request.capital) == "12345.670"
    assert request.max_position_size == Decimal(25_000)
    assert request.dry_run is True
    assert request.rebalance_key == "noon"


def test_dry_run_false_asks_for_nothing() -> None:
    assert resolve_request(POLICY, symbols=["A"], dry_run=False).dry_run is False


@pytest.mark.parametrize("value", [0, "0", -5, "NaN", "1e30", float("inf"), "x", ""])
@pytest.mark.parametrize("field", ["capital", "max_position_size"])
def test_an_amount_without_meaning_is_refused_and_never_replaced(
    field: str, value: str | float
) -> None:
    with pytest.raises(InvalidRequest, match="expected") as refused:
        resolve_request(POLICY, symbols=["A"], **{field: value})  # type: ignore[arg-type]
    assert refused.value.field == field


def test_a_limit_may_be_lowered_and_raised_only_to_its_ceiling() -> None:
    assert resolve_request(POLICY, symbols=["A"], max_position_size="1").max_position_size == 1
    with pytest.raises(InvalidRequest, match="at most 25000"):
        resolve_request(POLICY, symbols=["A"], max_position_size="25000.01")


def test_capital_is_bounded_where_a_bound_is_set() -> None:
    with pytest.raises(InvalidRequest, match="at most 500000"):
        resolve_request(POLICY, symbols=["A"], capital=500_001)


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-3-2", "20260302", "2026-W10-1", "yesterday", "", "2026-03-02T00"]
)
def test_a_date_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="expected a date as YYYY-MM-DD"):
        resolve_request(POLICY, symbols=["A"], as_of_date=text)


def test_symbols_given_twice_are_refused_after_trimming() -> None:
    with pytest.raises(InvalidRequest, match="AAPL is given twice"):
        resolve_request(POLICY, symbols=["AAPL", " aapl "])


def test_no_symbols_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one"):
        resolve_request(POLICY, symbols=[])


def test_two_thousand_symbols_are_fine() -> None:
    symbols = [f"S{number}" for number in range(2_000)]
    assert len(resolve_request(POLICY, symbols=symbols).symbols) == 2_000


@pytest.mark.parametrize("key", [" a", "a ", "a\nb", "ü", "k" * 129])
def test_a_malformed_rebalance_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidRequest, match="rebalance_key"):
        resolve_request(POLICY, symbols=["A"], rebalance_key=key)

"""Each control at its edge: one below it, on it, and one above."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import DenialCode, Limits, SessionRule
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import SizingDecision
from orchestrator_core.record import decode_snapshot, encode_snapshot
from orchestrator_entrypoints.setting_rules import LIMITS
from tests.unit.builders import a_policy, a_quote, a_signal, a_snapshot

EVERY_LIMIT = Limits(
    restricted_symbols=frozenset({Symbol("GME"), Symbol("AMC")}),
    allowed_symbols=frozenset({Symbol("AAPL"), Symbol("MSFT")}),
    max_order_qty=7,
    max_order_notional=Decimal("0.10"),
    max_orders_a_run=5,
    max_basket_long=Decimal("1000.50"),
    max_basket_short=Decimal("2E+3"),
    max_basket_gross=Decimal(2_500),
    max_basket_net=Decimal(500),
    max_day_long=Decimal("1001.50"),
    max_day_short=Decimal(2_000),
    max_day_gross=Decimal(2_501),
    max_day_net=Decimal(501),
    price_band=Decimal("0.2"),
    requires_reference=True,
    reduce_only=True,
    market_session=SessionRule.WARN,
)


def decide(weights: dict[str, float], **limits: Any) -> dict[str, SizingDecision]:
    """Plan at a price of 100 and a capital of 100,000: a weight of 0.1 is 100 shares."""
    policy = a_policy(limits=Limits(**limits))
    signals = [a_signal(symbol, weight) for symbol, weight in weights.items()]
    snapshot = a_snapshot(signals, [a_quote(symbol) for symbol in weights], policy=policy)
    return {each.signal.symbol: each for each in plan_orders(snapshot, policy).decisions}


def denials(weights: dict[str, float], **limits: Any) -> dict[str, str | None]:
    return {
        symbol: None if decision.denial is None else str(decision.denial)
        for symbol, decision in decide(weights, **limits).items()
    }


def symbols(*texts: str) -> frozenset[Symbol]:
    return frozenset(map(Symbol, texts))


def test_an_order_in_a_restricted_symbol_is_denied_and_the_run_goes_on() -> None:
    decisions = decide({"AAPL": 0.1, "GME": -0.1}, restricted_symbols=symbols("GME"))
    assert str(decisions["GME"].denial) == "RESTRICTED_SYMBOL symbol=GME"
    assert decisions["AAPL"].is_to_be_sent
    assert not decisions["GME"].is_to_be_sent


def test_only_allowed_symbols_are_traded_where_a_list_is_given() -> None:
    weights = {"AAPL": 0.1, "MSFT": 0.1}
    assert denials(weights, allowed_symbols=None) == {"AAPL": None, "MSFT": None}
    assert denials(weights, allowed_symbols=symbols("AAPL")) == {
        "AAPL": None,
        "MSFT": "SYMBOL_NOT_ALLOWED symbol=MSFT",
    }
    assert None not in denials(weights, allowed_symbols=symbols()).values()


def test_a_symbol_that_is_allowed_and_restricted_is_denied() -> None:
    both = denials({"A": 0.1}, allowed_symbols=symbols("A"), restricted_symbols=symbols("A"))
    assert both == {"A": "RESTRICTED_SYMBOL symbol=A"}


@pytest.mark.parametrize("limits", [Limits(), EVERY_LIMIT])
def test_a_record_keeps_every_limit(limits: Limits) -> None:
    snapshot = a_snapshot([a_signal()], [a_quote()], policy=a_policy(limits=limits))
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_a_record_from_before_a_control_was_planned_without_it() -> None:
    limits = Limits(max_order_qty=7)
    snapshot = a_snapshot([a_signal()], [a_quote()], policy=a_policy(limits=limits))
    encoded = encode_snapshot(snapshot)
    first = {"max_order_qty", "max_order_notional", "max_signal_weight", "max_side_weight"}
    first |= {"max_price_age_seconds", "max_price_lead_seconds"}
    kept = {name: value for name, value in encoded["policy"]["limits"].items() if name in first}
    encoded["policy"]["limits"] = kept
    assert decode_snapshot(encoded) == snapshot


def test_the_page_on_limits_names_every_control_and_its_setting() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    for name in (*DenialCode, *LIMITS):
        assert f"`{name}`" in page

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from orchestrator_core.driver import run_sync
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, Quote, SafetyFlags, Side, Signal

A = Symbol("A")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_signal_is_finite_from_birth(number: float) -> None:
    with pytest.raises(ValueError, match="target_weight: expected a finite number"):
        Signal(A, 0.0, 1, number)
    with pytest.raises(ValueError, match="predicted_return: expected a finite number"):
        Signal(A, number, 1, 0.0)


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "sNaN", "Infinity", "1" * 41, "1e-41"])
def test_a_quote_has_a_price_that_arithmetic_can_take(price: str) -> None:
    with pytest.raises(ValueError, match="price: expected a finite number above zero"):
        Quote(A, Decimal(price), datetime(2026, 3, 2, tzinfo=UTC), "test")


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=1))])
def test_a_quote_is_timed_in_utc(zone: timezone | None) -> None:
    with pytest.raises(ValueError, match="as_of: expected a time in UTC"):
        Quote(A, Decimal(1), datetime(2026, 3, 2, tzinfo=zone), "test")


@pytest.mark.parametrize("qty", [0, -1, 1.0, True, "1"])
def test_an_order_is_of_whole_shares_above_zero(qty: int) -> None:
    with pytest.raises(ValueError, match="qty: expected whole shares above zero"):
        OrderIntent(ClientOrderId("x"), A, Side.BUY, qty)


@pytest.mark.parametrize(
    ("theirs", "ours", "safe"),
    [
        ((True, True), (True, True), True),
        ((True, False), (True, True), True),
        ((False, True), (True, True), False),
        ((False, False), (True, True), False),
        ((True, False), (False, True), True),
        ((False, True), (False, True), True),
        ((False, False), (False, True), False),
        ((False, False), (False, False), True),
    ],
)
def test_a_gateway_is_as_safe_as_claimed_when_orders_end_as_harmless(
    theirs: tuple[bool, bool], ours: tuple[bool, bool], safe: bool
) -> None:
    gateway = SafetyFlags(*theirs, circuit_breaker_enabled=False)
    assert gateway.is_as_safe_as(SafetyFlags(*ours, circuit_breaker_enabled=True)) is safe


class Suspending:
    def __await__(self):  # type: ignore[no-untyped-def]
        yield


def test_driving_an_adapter_that_suspends_is_refused() -> None:
    async def suspend() -> None:
        await Suspending()

    with pytest.raises(RuntimeError, match="an adapter suspended"):
        run_sync(suspend())

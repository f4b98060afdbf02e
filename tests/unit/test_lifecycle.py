from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import IllegalTransition
from orchestrator_core.lifecycle import (
    HOLDS_ID,
    IN_FLIGHT,
    OPEN,
    ORDER_TRANSITIONS,
    OrderStanding,
    OrderState,
    RunStatus,
    advance,
    run_status,
    tally_orders,
)

standings = st.builds(
    OrderStanding,
    state=st.sampled_from(OrderState),
    acknowledged=st.booleans(),
    canceled=st.booleans(),
    filled=st.booleans(),
)


@pytest.mark.parametrize(("current", "new"), list(product(OrderState, OrderState)))
def test_an_order_moves_only_along_its_table(current: OrderState, new: OrderState) -> None:
    if new in ORDER_TRANSITIONS[current]:
        assert advance(current, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"from {current} to {new}"):
            advance(current, new)


def test_an_unknown_fate_is_never_turned_into_not_placed() -> None:
    assert OrderState.NOT_PLACED not in ORDER_TRANSITIONS[OrderState.UNKNOWN]


def test_only_rows_that_never_reach_the_gateway_give_their_id_up() -> None:
    assert set(OrderState) - HOLDS_ID == {
        OrderState.SKIPPED,
        OrderState.DENIED,
        OrderState.HALTED,
        OrderState.NOT_PLACED,
        OrderState.ADOPTED,
    }
    assert IN_FLIGHT < OPEN < HOLDS_ID


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ([], RunStatus.COMPLETED),
        (["skipped", "denied"], RunStatus.COMPLETED),
        (["accepted", "skipped", "denied"], RunStatus.COMPLETED),
        (["accepted", "rejected"], RunStatus.PARTIAL),
        (["accepted", "not_placed"], RunStatus.PARTIAL),
        (["accepted", "halted"], RunStatus.PARTIAL),
        (["rejected"], RunStatus.FAILED),
        (["halted"], RunStatus.FAILED),
        (["not_placed", "skipped"], RunStatus.FAILED),
        (["accepted", "planned"], RunStatus.RUNNING),
        (["rejected", "sending"], RunStatus.RUNNING),
        (["accepted", "unknown"], RunStatus.RUNNING),
        (["accepted", "unresolved"], RunStatus.RUNNING),
        (["accepted", "conflict"], RunStatus.RUNNING),
    ],
)
def test_run_status_is_a_function_of_its_orders(states: list[str], status: RunStatus) -> None:
    tally = tally_orders(OrderStanding(OrderState(state)) for state in states)
    assert run_status(tally) is status


def test_an_order_canceled_on_arrival_counts_as_rejected() -> None:
    tally = tally_orders([OrderStanding(OrderState.ACCEPTED, canceled=True)])
    assert (tally.submitted, tally.accepted, tally.rejected) == (1, 0, 1)
    assert run_status(tally) is RunStatus.FAILED


def test_a_rejection_counts_as_submitted_only_when_the_gateway_knows_the_id() -> None:
    known = tally_orders([OrderStanding(OrderState.REJECTED, acknowledged=True)])
    unknown = tally_orders([OrderStanding(OrderState.REJECTED)])
    assert (known.submitted, known.rejected) == (1, 1)
    assert (unknown.submitted, unknown.rejected) == (0, 1)


@given(st.lists(standings), st.randoms())
def test_counting_does_not_depend_on_the_order_of_orders(
    orders: list[OrderStanding], random: Random
) -> None:
    shuffled = list(orders)
    random.shuffle(shuffled)
    assert tally_orders(orders) == tally_orders(shuffled)


@given(st.lists(standings, min_size=1))
def test_a_run_ends_only_when_nothing_is_open(orders: list[OrderStanding]) -> None:
    is_open = any(standing.state in OPEN for standing in orders)
    assert (run_status(tally_orders(orders)) is RunStatus.RUNNING) == is_open

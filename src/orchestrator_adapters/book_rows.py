"""Books and controls out of column values: what the adapters of the run database share.

Values are native or text, as in `orchestrator_adapters.run_rows`.
"""

from decimal import Decimal

from orchestrator_adapters.order_rows import intent_of_row, report_of_row
from orchestrator_adapters.run_rows import Row, decimal_or_none, time_of
from orchestrator_adapters.run_rules import LAST_ACCEPTED
from orchestrator_core.books import BookedOrder, DayOrder, notional_of
from orchestrator_core.controls import ControlEvent, ControlEventKind
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderIntent, Reference


def day_order_of_row(row: Row) -> DayOrder:
    """Return a day's order of a row of its columns and `cap`, its run's cap on one position."""
    intent, price = _intent_of(row), decimal_or_none(row["sizing_price"])
    notional = notional_of(intent, price, cap=Decimal(row["cap"]))
    return DayOrder(intent.client_order_id, intent.side, notional)


def booked_order_of_row(row: Row) -> BookedOrder:
    """Return an open order of a row of its columns."""
    return BookedOrder(_intent_of(row), OrderState(row["state"]), report_of_row(row))


def _intent_of(row: Row) -> OrderIntent:
    intent = intent_of_row(row)
    if intent is None:
        raise IllegalTransition(f"an order of run {row['run_id']} in a book has no id")
    return intent


def last_accepted_of_row(row: Row) -> Reference:
    """Return the price of a row's accepted order, as what further prices are held against."""
    price, at = Decimal(row["sizing_price"]), time_of(row["claimed_at"])
    return Reference(Symbol(row["symbol"]), price, at, LAST_ACCEPTED)


def control_event_of_row(row: Row, strategy_id: StrategyId) -> ControlEvent:
    """Return what an operator did for the strategy."""
    return ControlEvent(
        strategy_id,
        ControlEventKind(row["event"]),
        time_of(row["occurred_at"]),
        row["operator"],
        row["notes"],
    )

"""All that a trial left behind, and what is found to be wrong with it."""

from collections import defaultdict
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any

from attrs import define, frozen

from tests.chaos.audit import Books, OrderChange, OrderRow, RunRow
from tests.chaos.decisions import Deciding
from tests.chaos.journal import Journal
from tests.chaos.ledger import Entry, Event


class Promise(StrEnum):
    """What is promised."""

    ONE_ORDER = "P1 one order a decision"
    NOTHING_LOST = "P2 every order known in its true state, every run ends"
    DRAINED = "P3 nothing on the wire after drained"
    DOUBT = "P4 nothing leaves in doubt"
    DURABLE = "P5 no answer lost or contradicted"


@frozen
class Finding:
    """One breach of a promise."""

    promise: Promise
    what: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


@define(slots=False)
class Evidence:
    """All that a trial left behind.

    Attributes:
        entries: The gateway's ledger.
        held: Orders at the gateway in the end, by id, as it shows them.
        wall_offset: Seconds from the monotonic clock to the wall clock.
    """

    entries: Sequence[Entry]
    held: dict[str, dict[str, Any]]
    books: Books
    journal: Journal
    deciding: Deciding
    wall_offset: float

    @cached_property
    def arrivals(self) -> list[Entry]:
        """POSTs of orders, by the time of their first byte."""
        found = [entry for entry in self.entries if entry.event is Event.ARRIVED]
        return sorted(found, key=lambda entry: entry.at)

    @cached_property
    def taken(self) -> list[Entry]:
        """Orders as they were taken."""
        return [entry for entry in self.entries if entry.event is Event.TAKEN]

    @cached_property
    def runs(self) -> dict[str, RunRow]:
        return {run.run_id: run for run in self.books.runs}

    @cached_property
    def orders_of_run(self) -> dict[str, list[OrderRow]]:
        found: dict[str, list[OrderRow]] = defaultdict(list)
        for order in self.books.orders:
            found[order.run_id].append(order)
        return found

    @cached_property
    def holders(self) -> dict[str, list[OrderRow]]:
        """Rows that hold an id."""
        found: dict[str, list[OrderRow]] = defaultdict(list)
        for order in self.books.orders:
            if order.holds_id and order.client_order_id is not None:
                found[order.client_order_id].append(order)
        return found

    @cached_property
    def changes(self) -> dict[str, list[OrderChange]]:
        """Changes of orders that held an id, by id, in their order."""
        found: dict[str, list[OrderChange]] = defaultdict(list)
        for change in self.books.order_changes:
            if change.client_order_id is not None:
                found[change.client_order_id].append(change)
        return found

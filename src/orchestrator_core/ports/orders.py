"""Where orders go, what becomes of them there, and how many may go at once."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from attrs import frozen

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.model import (
    OrderIntent,
    OrderReport,
    SafetyFlags,
)


class SubmitKind(StrEnum):
    """What is known after one try to place an order."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_PLACED = "not_placed"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"


@frozen
class SubmitOutcome:
    """What is known of one intent after a try.

    Attributes:
        kind: UNKNOWN whenever the order may have been placed.
        report: The gateway's word, when it acknowledged the order.
        cause: Why it was not accepted; holds no secret.
        retry_after: Seconds to wait before a deferred order is claimed again.
        stops_run: What went wrong will meet every further order too.
        unreachable: The gateway could not be reached at all.
    """

    client_order_id: ClientOrderId
    kind: SubmitKind
    report: OrderReport | None = None
    cause: str | None = None
    retry_after: float | None = None
    stops_run: bool = False
    unreachable: bool = False


@frozen
class Inquiry:
    """An order to be asked about, with what it must turn out to be.

    Attributes:
        gateway_order_id: The id that the gateway answers under; None: ours.
    """

    intent: OrderIntent
    gateway_order_id: str | None = None

    @classmethod
    def about(cls, intent: OrderIntent, report: OrderReport | None) -> "Inquiry":
        """Return the inquiry about an order that the gateway said this of, if anything."""
        return cls(intent, None if report is None else report.gateway_order_id)


class LookUpKind(StrEnum):
    """What the gateway's own record says of an order.

    ACCEPTED and REJECTED rest on a record that agrees with the order in id, symbol, side, quantity
    and type. CONFLICT is a record that contradicts it. UNCLEAR is a record whose word settles
    nothing. ABSENT is no record: no evidence while a try may still be in flight. UNANSWERED is no
    usable answer.
    """

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CONFLICT = "conflict"
    UNCLEAR = "unclear"
    ABSENT = "absent"
    UNANSWERED = "unanswered"


@frozen
class LookUp:
    """What one look at the gateway brought.

    Attributes:
        report: The gateway's word; only where its record agrees with the order.
        cause: Why the order is not known to be accepted; holds no secret.
        retry_after: Seconds that the gateway wants to be left alone.
    """

    client_order_id: ClientOrderId
    kind: LookUpKind
    report: OrderReport | None = None
    cause: str | None = None
    retry_after: float | None = None


@frozen
class CancelOutcome:
    """What is known of one order after a request to cancel it.

    Attributes:
        is_requested: The gateway took the request, or the order has ended already.
        cause: Why it did not.
    """

    client_order_id: ClientOrderId
    is_requested: bool
    cause: str | None = None


class OrderSink(Protocol):
    """Where orders go."""

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        """Try to place each order once; return one outcome an intent, in order.

        Never raises for an order's fate. An intent whose sending has not begun by `deadline`
        (the clock's monotonic seconds) is dropped, NOT_PLACED.
        """
        ...

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        """Return what the gateway has on record, one answer an inquiry, in order. A read.

        Never raises for an order's fate.
        """
        ...

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        """Ask the gateway to cancel each order; return one outcome an inquiry, in order.

        The kill switch does not stop this. Repeating it is harmless. Whether an order was canceled
        before it filled is for a look-up to find out. Never raises for an order's fate.
        """
        ...

    async def safety_flags(self) -> SafetyFlags:
        """Return the brakes that the gateway says are on. A read.

        Raises:
            Unavailable: The gateway cannot be asked.
            MalformedReply: The answer is not of the agreed form.
        """
        ...


@frozen
class Allowance:
    """How much of a wave may go now.

    Attributes:
        granted: How many of the orders asked for, from the first on.
        retry_after: Seconds until more may be had; 0 where all were granted.
    """

    granted: int
    retry_after: float = 0.0


class OrderBudget(Protocol):
    """What all replicas together may send to the gateway: orders in flight, and orders a minute.

    Each method raises `Unavailable` when certainly nothing was done, and `OutcomeUnknown` when it
    may have been. Repeating a call is safe.
    """

    async def take(self, ids: Sequence[ClientOrderId], *, hold_seconds: float) -> Allowance:
        """Take places for the first of these orders, as many as there are.

        An order that holds a place already keeps it, and is granted without another.

        Args:
            ids: In the order of sending.
            hold_seconds: After this a place comes free by itself: its holder may have died.
        """
        ...

    async def give_back(self, ids: Sequence[ClientOrderId]) -> None:
        """Free the places in flight of these orders; what was sent this minute stays counted."""
        ...

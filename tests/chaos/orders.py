"""What the gateway holds, and what each order is worth saying at a moment."""

from typing import Any

from attrs import define, field, frozen

from tests.chaos.faults import Destiny, Fate

PRICE = "100"
SAME = ("symbol", "side", "qty", "order_type", "time_in_force")


@define
class HeldOrder:
    """An order that the gateway took.

    Attributes:
        taken_at: Monotonic seconds.
        canceled_at: When a request to cancel it was heeded.
    """

    body: dict[str, Any]
    broker_id: str
    taken_at: float
    destiny: Destiny
    canceled_at: float | None = None

    def word(self, now: float) -> str:
        """Return the gateway's word for where the order stands."""
        if self.canceled_at is not None:
            return "canceled"
        return self._course(now - self.taken_at)

    def _course(self, age: float) -> str:
        share = age / self.destiny.seconds
        match self.destiny.fate:
            case Fate.REJECTED:
                return "rejected"
            case Fate.CANCELED_ON_ARRIVAL:
                return "canceled"
            case Fate.RESTS:
                return "new"
            case Fate.CANCELED_LATER:
                return "accepted" if share < 1 else "canceled"
            case Fate.PENDING:
                return "pending_new" if share < 1 else "filled"
            case Fate.FILLS:
                return (
                    "accepted" if share < 1 / 2 else "partially_filled" if share < 1 else "filled"
                )

    @property
    def is_rejected(self) -> bool:
        return self.destiny.fate is Fate.REJECTED

    def cancel(self, now: float) -> bool:
        """Cancel the order; say whether it had not ended before."""
        if self.word(now) in {"rejected", "canceled", "filled"}:
            return False
        self.canceled_at = now
        return True

    def document(self, now: float) -> dict[str, Any]:
        """Return what the gateway answers about the order."""
        word, qty = self.word(now), int(self.body["qty"])
        filled = {"filled": qty, "partially_filled": qty // 2}.get(word, 0)
        has_broker_id = word not in {"rejected", "pending_new"}
        return {
            "client_order_id": self.body["client_order_id"],
            "status": word,
            "broker_order_id": self.broker_id if has_broker_id else None,
            "symbol": self.body["symbol"],
            "side": self.body["side"],
            "qty": qty,
            "order_type": self.body["order_type"],
            "limit_price": None,
            "created_at": "2026-03-02T15:00:00Z",
            "message": "",
            "filled_qty": str(filled),
            "filled_avg_price": PRICE if filled else None,
            "error_message": "the broker rejects it" if word == "rejected" else None,
        }


@frozen
class Contradiction:
    """A repeat of an id with another order."""

    held: HeldOrder


@define
class OrderBook:
    """The orders held, one an id."""

    held: dict[str, HeldOrder] = field(factory=dict)
    late: set[str] = field(factory=set)

    def take(
        self, body: dict[str, Any], destiny: Destiny, now: float
    ) -> tuple[HeldOrder | Contradiction, bool]:
        """Return the order under this id, and whether it is new."""
        id_ = body["client_order_id"]
        found = self.held.get(id_)
        if found is not None:
            same = all(found.body.get(name) == body.get(name) for name in SAME)
            return (found if same else Contradiction(found)), False
        order = HeldOrder(body, f"broker-{len(self.held) + 1}", now, destiny)
        self.held[id_] = order
        return order, True

"""One run in memory, as a row and its orders' rows."""

from datetime import datetime

from attrs import define, evolve, field

from orchestrator_adapters.run_rules import FIRST_LEASE_EPOCH
from orchestrator_core.commits import IdempotencyKey, PlanRecord, WaveClaim
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.lifecycle import OrderState, advance
from orchestrator_core.orders import Order
from orchestrator_core.runs import Run


@define(eq=False)
class StoredRun:
    """One run's row and its orders' rows.

    Attributes:
        run: As first opened, with its plan's columns; its orders stand in `orders`.
        number: Counts runs in the order of their opening, from 0.
        places: Where each order id stands among the orders.
        claims: Under which lease epoch and number an order was last claimed.
        claimed_at: When.
        last_claim: Lease epoch and number of the last claim that was not halted.
        lease_expires_at: None once the lease was given back.
        recover_at: When recovery may take a run that was given back open; None: not by itself.
    """

    run: Run
    key: IdempotencyKey | None
    lease_expires_at: datetime | None
    number: int
    lease_epoch: int = FIRST_LEASE_EPOCH
    record: PlanRecord | None = None
    orders: list[Order] = field(factory=list)
    places: dict[ClientOrderId, int] = field(factory=dict)
    claims: dict[ClientOrderId, tuple[int, int]] = field(factory=dict)
    claimed_at: dict[ClientOrderId, datetime] = field(factory=dict)
    last_claim: tuple[int, int] = (0, 0)
    recover_at: datetime | None = None

    @property
    def due_at(self) -> datetime | None:
        """When recovery may take the run."""
        return self.lease_expires_at or self.recover_at

    def order(self, id_: ClientOrderId) -> Order:
        """Return one of this run's orders.

        Raises:
            IllegalTransition: The run has none of that id.
        """
        place = self.places.get(id_)
        if place is None:
            raise IllegalTransition(f"run {self.run.run_id} has no order {id_}")
        return self.orders[place]

    def put(self, id_: ClientOrderId, order: Order) -> None:
        """Let the order stand in its place."""
        self.orders[self.places[id_]] = order

    def stands_in(self, id_: ClientOrderId, state: OrderState) -> bool:
        """Whether the run has this order, in that state."""
        return id_ in self.places and self.order(id_).state is state

    def has_made(self, claim: WaveClaim) -> bool:
        """Whether the holder made this claim, or a later one, before."""
        epoch, number = self.last_claim
        return epoch == self.lease_epoch and claim.number <= number

    def make(self, claim: WaveClaim, *, at: datetime) -> None:
        """Take the claim's orders as SENDING, those that it may take."""
        self.last_claim = self._number_of(claim)
        for id_ in claim.client_order_ids:
            if self.stands_in(id_, claim.takes):
                state = advance(claim.takes, OrderState.SENDING)
                self.put(id_, evolve(self.order(id_), state=state, reason=None))
                self.claims[id_] = self.last_claim
                self.claimed_at[id_] = at

    def sending_by(self, claim: WaveClaim) -> tuple[ClientOrderId, ...]:
        """Return what is SENDING by this claim, in its order."""
        number = self._number_of(claim)
        return tuple(
            id_
            for id_ in claim.client_order_ids
            if self.claims.get(id_) == number and self.stands_in(id_, OrderState.SENDING)
        )

    def _number_of(self, claim: WaveClaim) -> tuple[int, int]:
        return self.lease_epoch, claim.number

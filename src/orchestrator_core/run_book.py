"""What is known of one run's orders, and which of it the database does not have yet."""

from collections.abc import Callable, Iterable, Mapping

from attrs import define, evolve, field

from orchestrator_core.commits import PlanRecord, RunOpening, TakenRun
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.lifecycle import OrderState, advance
from orchestrator_core.model import OrderIntent
from orchestrator_core.orders import Order, Settlement, order_of, settle
from orchestrator_core.runs import Run


@define
class RunBook:
    """One run under way, as its holder knows it.

    Attributes:
        run: As opened, with its plan's columns; its orders are kept beside it.
    """

    run: Run
    _stored: tuple[Order, ...] | None = field(default=None, init=False)
    _orders: dict[ClientOrderId, Order] = field(factory=dict, init=False)
    _unrecorded: dict[ClientOrderId, Settlement] = field(factory=dict, init=False)

    @classmethod
    def opened(cls, opening: RunOpening) -> "RunBook":
        """Return the book of a run that has no plan yet."""
        return cls(
            Run(
                run_id=opening.run_id,
                strategy_id=opening.strategy_id,
                as_of_date=opening.as_of_date,
                request=opening.request,
                started_at=opening.started_at,
            )
        )

    @classmethod
    def taken(cls, taken: TakenRun) -> "RunBook":
        """Return the book of a run that was taken over."""
        book = cls(evolve(taken.run, orders=None))
        if taken.run.orders is not None:
            book.find_stored(taken.run.orders)
        return book

    @property
    def has_stored_plan(self) -> bool:
        """Whether the plan is known to be committed."""
        return self._stored is not None

    @property
    def orders(self) -> Mapping[ClientOrderId, Order]:
        """Orders that were to be sent, by id."""
        return self._orders

    @property
    def settlements(self) -> tuple[Settlement, ...]:
        """What is known and not recorded yet."""
        return tuple(self._unrecorded.values())

    def plan(self, record: PlanRecord) -> None:
        """Take in the plan, before its commit."""
        batch = record.snapshot.batch
        self.run = evolve(
            self.run,
            as_of_date=batch.as_of_date,
            num_signals=len(batch.signals),
            signal_metadata=batch.metadata,
        )
        for decision in record.plan.decisions:
            if decision.intent is not None and decision.is_to_be_sent:
                id_ = decision.intent.client_order_id
                self._orders[id_] = order_of(decision)

    def find_stored(self, stored: tuple[Order, ...]) -> None:
        """Take in the orders as the plan's commit left them: some may be adopted."""
        self._stored = stored
        for order in stored:
            if order.intent is None:
                continue
            id_ = order.intent.client_order_id
            if order.owner is not None:
                self._unrecorded.pop(id_, None)
            if order.owner is not None or id_ not in self._orders:
                self._orders[id_] = order

    def find_no_plan(self) -> None:
        """Forget the plan: it was never committed."""
        self._orders.clear()
        self._unrecorded.clear()

    def is_adopted(self, intent: OrderIntent) -> bool:
        """Whether another run's order stands for this one."""
        return self._orders[intent.client_order_id].owner is not None

    def mark_sending(self, intents: Iterable[OrderIntent]) -> None:
        """Note that the orders were claimed."""
        for intent in intents:
            order = self._orders[intent.client_order_id]
            state = advance(order.state, OrderState.SENDING)
            self._orders[intent.client_order_id] = evolve(order, state=state)

    def settle(self, settlement: Settlement) -> None:
        """Note what became of an order.

        Raises:
            IllegalTransition: The order's state does not allow it.
        """
        id_ = settlement.client_order_id
        self._orders[id_] = settle(self._orders[id_], settlement)
        self._unrecorded[id_] = settlement

    def mark_recorded(self, settlements: Iterable[Settlement]) -> None:
        """Note that these were committed."""
        for settlement in settlements:
            if self._unrecorded.get(settlement.client_order_id) is settlement:
                del self._unrecorded[settlement.client_order_id]

    def as_known(self) -> Run:
        """Return the run with all that is known here."""
        return self._with_orders(self._order_as_known)

    def as_recorded(self) -> Run:
        """Return the run as the database is known to hold it, without asking the database.

        An outcome that is known here and not recorded there is still an order being sent.
        """
        return self._with_orders(self._order_as_recorded)

    def _with_orders(self, look: Callable[[Order], Order]) -> Run:
        stored = self._stored
        return evolve(self.run, orders=None if stored is None else tuple(map(look, stored)))

    def _order_as_known(self, stored: Order) -> Order:
        if stored.intent is None:
            return stored
        return self._orders.get(stored.intent.client_order_id, stored)

    def _order_as_recorded(self, stored: Order) -> Order:
        if stored.intent is None or stored.owner is not None:
            return stored
        id_ = stored.intent.client_order_id
        known = self._orders.get(id_, stored)
        if id_ not in self._unrecorded:
            return known
        if known.state in {OrderState.NOT_PLACED, OrderState.HALTED}:
            return evolve(known, state=OrderState.PLANNED, reason=None)
        return evolve(stored, state=OrderState.SENDING, reason="outcome not recorded yet")

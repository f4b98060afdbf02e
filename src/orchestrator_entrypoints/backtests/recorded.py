"""A run recorded in production, made once more by the workflow of a backtest.

Everything that the recorded run looked at is put in its way again: signals, prices, references, the
account between two looks at each open order, the day's earlier orders, the controls, the time. What
the workflow then decides is compared with what was stored, byte for byte.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from attrs import define, field

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.orders import MemoryOrderSink
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_adapters.memory.signals import MemorySignalSource
from orchestrator_core.books import BookedOrder, DayExposure, DayOrder, StrategyBook
from orchestrator_core.controls import StrategyControls
from orchestrator_core.doubts import FILLING, fill_of_doubt, look_of_doubt
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import initialise
from orchestrator_core.holdings import Holdings, Unsettled
from orchestrator_core.identifiers import ClientOrderId, StrategyId, Symbol, TradingMode
from orchestrator_core.kill_switch import Disengagement
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import (
    NoQuote,
    OrderIntent,
    OrderReport,
    Position,
    Quote,
    Reference,
    SafetyFlags,
    Side,
)
from orchestrator_core.money import ZERO
from orchestrator_core.plans import Snapshot
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import (
    CancelOutcome,
    Inquiry,
    LookUp,
    LookUpKind,
    RunPorts,
    SubmitOutcome,
)
from orchestrator_core.replay import StoredRecord, derive
from orchestrator_core.workflow import execute_run

_FLAGS = {
    TradingMode.DRY: SafetyFlags(dry_run=True, alpaca_paper=True, circuit_breaker_enabled=False),
    TradingMode.PAPER: SafetyFlags(dry_run=False, alpaca_paper=True, circuit_breaker_enabled=False),
    TradingMode.LIVE: SafetyFlags(dry_run=False, alpaca_paper=False, circuit_breaker_enabled=False),
}
_DOUBTFUL = frozenset(OrderState) - {OrderState.ACCEPTED}


def from_record(record: StoredRecord) -> StoredRecord:
    """Make a recorded run once more by the workflow, over memory, and return its record.

    Nothing is sent anywhere. Where the code installed now decides as the recorded run did, the text
    and what the rows decided are the same bytes.

    Raises:
        UnreadableRecord: The record is damaged, or of a form that this version does not know.
        LookupError: The workflow made no plan of it.
    """
    return run_sync(_run_again(record, derive(record).snapshot))


async def _run_again(record: StoredRecord, snapshot: Snapshot) -> StoredRecord:
    clock = VirtualClock(snapshot.decided_at)
    runs, kill_switch = _RecordedRuns(snapshot, clock), MemoryKillSwitch()
    await initialise(Disengagement("backtest", clock.now()), kill_switch=kill_switch, runs=runs)
    market = _RecordedMarket(snapshot)
    ports = RunPorts(
        signals=MemorySignalSource(snapshot.batch),
        prices=market,
        sink=_RecordedSink(snapshot),
        runs=runs,
        kill_switch=kill_switch,
        clock=clock,
        positions=market,
        closes=market,
    )
    run = await execute_run(
        snapshot.request, run_id=record.run_id, ports=ports, policy=_policy_of(snapshot)
    )
    again = await runs.get_record(record.run_id)
    if again is None:
        cause = "nothing was decided" if run.failure is None else run.failure.message
        raise LookupError(f"run {record.run_id}: {cause}")
    return again


def _policy_of(snapshot: Snapshot) -> RunPolicy:
    decision = snapshot.decision
    return RunPolicy(
        environment=decision.environment,
        strategy_id=decision.strategy_id,
        limits=snapshot.policy.limits,
        claimed_flags=_FLAGS[decision.mode],
        code_version=snapshot.code_version,
        sizing=snapshot.policy.sizing.rules,
        leg_wait_seconds=0.0,
    )


@define
class _RecordedMarket:
    """Prices, references and positions as the run saw them."""

    snapshot: Snapshot

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        return {quote.symbol: quote for quote in self.snapshot.quotes if quote.symbol in symbols}

    async def closes(
        self,
        symbols: Sequence[Symbol],
        *,
        before: date,  # noqa: ARG002 - the port's; the run asked before the same date
    ) -> Mapping[Symbol, Reference]:
        return {each.symbol: each for each in self.snapshot.references if each.symbol in symbols}

    async def positions(self) -> Mapping[Symbol, Position]:
        return {symbol: Position(symbol, qty) for symbol, qty in _holdings(self.snapshot).positions}


class _RecordedRuns(MemoryRunRepository):
    """The run database, whose book and controls read as the run read them."""

    def __init__(self, snapshot: Snapshot, clock: VirtualClock) -> None:
        super().__init__(clock)
        self._snapshot = snapshot

    async def read_book(self, strategy_id: StrategyId, as_of_date: date) -> StrategyBook:
        version = (await super().read_book(strategy_id, as_of_date)).version
        holdings = _holdings(self._snapshot)
        live = [
            BookedOrder(
                OrderIntent(each.client_order_id, each.symbol, each.side, each.qty),
                OrderState.ACCEPTED,
            )
            for each in holdings.open_orders
        ]
        doubtful = [_in_doubt(each) for each in holdings.unsettled]
        return StrategyBook(version, tuple(_day_orders(self._snapshot.day)), (*live, *doubtful))

    async def read_controls(
        self,
        strategy_id: StrategyId,  # noqa: ARG002 - the port's
        *,
        count_failures: int,  # noqa: ARG002 - the port's; a run that was decided was not throttled
    ) -> StrategyControls:
        return StrategyControls(self._snapshot.policy.limits.reduce_only)


def _day_orders(day: DayExposure | None) -> list[DayOrder]:
    """Return orders that come to the day's exposure, and hold the ids that it held."""
    if day is None:
        return []
    held = [DayOrder(id_, Side.BUY, ZERO) for id_ in sorted(day.held_ids)]
    worth = [
        DayOrder(ClientOrderId("recorded-long"), Side.BUY, day.long),
        DayOrder(ClientOrderId("recorded-short"), Side.SELL, day.short),
    ]
    return held + worth


def _holdings(snapshot: Snapshot) -> Holdings:
    return snapshot.holdings or Holdings()


def _in_doubt(unsettled: Unsettled) -> BookedOrder:
    """Return an order that makes its symbol unsettled in the words recorded."""
    _, qty = fill_of_doubt(unsettled.why) or (ZERO, 1)
    intent = OrderIntent(unsettled.client_order_id, unsettled.symbol, Side.BUY, qty)
    doubtful = {state.value: state for state in _DOUBTFUL}
    return BookedOrder(intent, doubtful.get(unsettled.why, OrderState.ACCEPTED))


@define
class _RecordedSink:
    """A gateway that takes every order, and says of earlier ones what it said to the run."""

    snapshot: Snapshot
    _taken: MemoryOrderSink = field(factory=MemoryOrderSink, init=False)
    _looked_at: set[ClientOrderId] = field(factory=set, init=False)

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        return await self._taken.submit(intents, deadline=deadline)

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        said = {each.client_order_id: each.why for each in _holdings(self.snapshot).unsettled}
        live = {each.client_order_id for each in _holdings(self.snapshot).open_orders}
        return [
            self._say(inquiry.intent, said.get(inquiry.intent.client_order_id))
            if inquiry.intent.client_order_id in said.keys() | live
            else (await self._taken.look_up([inquiry]))[0]
            for inquiry in inquiries
        ]

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        return await self._taken.cancel(inquiries)

    async def safety_flags(self) -> SafetyFlags:
        return _FLAGS[self.snapshot.decision.mode]

    def _say(self, intent: OrderIntent, why: str | None) -> LookUp:
        """Return what a look at an earlier order brought; None: it lives, none of it filled."""
        id_ = intent.client_order_id
        kind = None if why is None else look_of_doubt(why)
        if kind is not None:
            return LookUp(id_, kind)
        filled, _ = (None if why is None else fill_of_doubt(why)) or (ZERO, 0)
        if why == FILLING and id_ in self._looked_at:
            filled = Decimal(intent.qty)
        self._looked_at.add(id_)
        report = OrderReport("accepted", id_, filled_qty=filled)
        return LookUp(id_, LookUpKind.ACCEPTED, report=report)

"""What the run repository's suite is made of: runs, plans, outcomes, and races."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

import anyio
from attrs import evolve, frozen

from orchestrator_core.commits import (
    ClaimAnswer,
    IdempotencyKey,
    Lease,
    PlanRecord,
    RunClosing,
    RunOpening,
    WaveClaim,
)
from orchestrator_core.errors import OrchestratorError
from orchestrator_core.identifiers import ClientOrderId, Decision, RunId, StrategyId, Symbol
from orchestrator_core.identifiers import TradingMode as Mode
from orchestrator_core.kill_switch import Latch
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Limits
from orchestrator_core.model import OrderReport, Quote, Signal, SignalBatch
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import PlanningPolicy, Snapshot
from orchestrator_core.ports import RunRepository
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import Run, RunFailure
from orchestrator_core.sizing import SizingPolicy

Answer = TypeVar("Answer")

ALPHA = StrategyId("alpha")
START = datetime(2026, 3, 2, 15, 0, 0, 123_456, tzinfo=UTC)
END = START + timedelta(seconds=2, microseconds=7)
DAY = date(2026, 3, 2)
LEASE_SECONDS = 90.0

TRADING = Latch(engaged=False, epoch=1, changed_by="ops", reason="first start", changed_at=START)
STOPPED = Latch(
    engaged=True,
    epoch=2,
    changed_by="O'Neil; DROP TABLE",
    reason="a “quoted” reason\nof two lines",
    changed_at=END,
)


def an_opening(
    symbols: Sequence[str] = ("AAPL",),
    *,
    strategy: StrategyId = ALPHA,
    key: str | None = None,
    fingerprint: str = "same body",
    started_at: datetime = START,
    request: RunRequest | None = None,
) -> RunOpening:
    """Return a fresh run's opening."""
    return RunOpening(
        run_id=RunId(uuid4()),
        strategy_id=strategy,
        as_of_date=DAY,
        request=request or a_request(symbols),
        started_at=started_at,
        lease_seconds=LEASE_SECONDS,
        idempotency=None if key is None else IdempotencyKey(key, fingerprint),
    )


def a_request(
    symbols: Sequence[str] = ("AAPL",),
    *,
    capital: str = "100000",
    as_of_date: date | None = DAY,
    dry_run: bool = False,
    rebalance_key: str = "",
) -> RunRequest:
    """Return a request whose cap never bites."""
    return RunRequest(
        symbols=tuple(Symbol(symbol) for symbol in symbols),
        as_of_date=as_of_date,
        capital=Decimal(capital),
        max_position_size=Decimal(capital),
        dry_run=dry_run,
        rebalance_key=rebalance_key,
    )


def a_record(
    opening: RunOpening,
    signals: Iterable[Signal] | None = None,
    *,
    prices: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    metadata: Mapping[str, Any] | None = None,
    as_of_date: date = DAY,
) -> PlanRecord:
    """Return a plan for the run, made by the core.

    Args:
        opening: The run.
        signals: As received; a small weight for each symbol asked for, where none are given.
        prices: By symbol; 100 where none are given, and no price for a symbol left out.
        limits: The controls; none, where none are given.
        metadata: The strategy's words.
        as_of_date: The signals' date.
    """
    request = opening.request
    received = tuple(signals) if signals is not None else tuple(map(a_signal, request.symbols))
    if prices is None:
        prices = dict.fromkeys(request.symbols, "100")
    policy = PlanningPolicy(
        SizingPolicy(request.capital, request.max_position_size),
        limits or Limits(),
    )
    snapshot = Snapshot(
        decision=Decision(
            environment="conformance",
            mode=Mode.PAPER,
            strategy_id=opening.strategy_id,
            as_of_date=as_of_date,
            rebalance_key=request.rebalance_key,
        ),
        request=request,
        policy=policy,
        batch=SignalBatch(
            signals=received,
            as_of_date=as_of_date,
            num_signals=len(received),
            metadata=metadata if metadata is not None else {"model_version": "m1"},
        ),
        quotes=tuple(
            Quote(Symbol(symbol), Decimal(price), START, "conformance")
            for symbol, price in prices.items()
        ),
        decided_at=START,
        code_version="conformance",
    )
    return PlanRecord(snapshot, plan_orders(snapshot, policy))


def a_signal(symbol: str, weight: float = 0.01) -> Signal:
    """Return a signal for a symbol."""
    return Signal(Symbol(symbol), predicted_return=0.02, rank=1, target_weight=weight)


def a_report(id_: ClientOrderId, status: str = "accepted") -> OrderReport:
    """Return a gateway's word with nothing left out."""
    return OrderReport(
        status=status,
        gateway_order_id=id_,
        broker_order_id="b-1",
        filled_qty=Decimal("1.50"),
        filled_avg_price=Decimal("100.0100"),
        message="it's done — ✓",
    )


def a_settlement(id_: ClientOrderId, state: OrderState) -> Settlement:
    """Return an outcome of that kind."""
    if state is OrderState.ACCEPTED:
        return Settlement(id_, state, report=a_report(id_))
    return Settlement(id_, state, reason=f"it was {state}")


def ids_of(record: PlanRecord) -> tuple[ClientOrderId, ...]:
    """Return the ids of the orders to be sent, in the order of sending."""
    return tuple(intent.client_order_id for intent in record.plan.intents)


def a_closing(
    *settlements: Settlement,
    failure: RunFailure | None = None,
    at: datetime = END,
    frees_key: bool = False,
    look_again: float | None = None,
) -> RunClosing:
    """Return the end of a run."""
    return RunClosing(tuple(settlements), failure, at, frees_key, look_again_seconds=look_again)


@frozen
class StartedRun:
    """A run that has its plan.

    Attributes:
        ids: Orders to be sent, in the order of sending.
        orders: As the plan's commit answered.
        answer: What the first claim brought.
    """

    opening: RunOpening
    lease: Lease
    record: PlanRecord
    ids: tuple[ClientOrderId, ...]
    orders: tuple[Order, ...]
    answer: ClaimAnswer

    @property
    def run_id(self) -> RunId:
        """The run's id."""
        return self.opening.run_id


async def opened(runs: RunRepository, opening: RunOpening) -> Lease:
    """Open a run that nothing stands against; return its lease."""
    lease = await runs.open_run(opening)
    assert isinstance(lease, Lease)
    return lease


async def started(
    runs: RunRepository,
    symbols: Sequence[str] = ("AAPL",),
    *,
    opening: RunOpening | None = None,
    record: PlanRecord | None = None,
    claims: bool = False,
) -> StartedRun:
    """Open a run and commit its plan.

    Args:
        runs: The repository.
        symbols: One order each.
        opening: In the place of one made for the symbols.
        record: In the place of a plan made for the opening.
        claims: Claim all orders as SENDING; the latch must let them through.
    """
    opening = opening or an_opening(symbols)
    record = record or a_record(opening)
    lease = await opened(runs, opening)
    claim = WaveClaim(1, ids_of(record), TRADING.epoch) if claims else None
    commit = await runs.commit_plan(lease, record, claim)
    return StartedRun(opening, lease, record, ids_of(record), commit.orders, commit.answer)


async def stored(runs: RunRepository, run_id: RunId) -> Run:
    """Return a run that must be there."""
    run = await runs.get_run(run_id)
    assert run is not None
    return run


async def only_order(runs: RunRepository, run: StartedRun) -> Order:
    """Return the order of a run that has one."""
    [order] = (await stored(runs, run.run_id)).orders or ()
    return order


async def order_states(runs: RunRepository, run_id: RunId) -> list[OrderState]:
    """Return the states of a run's orders, in the signals' order."""
    run = await stored(runs, run_id)
    assert run.orders is not None
    return [order.state for order in run.orders]


async def let_trade(runs: RunRepository) -> None:
    """Set the first latch, disengaged."""
    assert await runs.swap_latch(None, TRADING)


async def engage(runs: RunRepository) -> Latch:
    """Engage the latch, one epoch later."""
    latch = await runs.read_latch()
    assert latch is not None
    raised = evolve(latch, engaged=True, epoch=latch.epoch + 1, changed_at=END)
    assert await runs.swap_latch(latch, raised)
    return raised


async def at_once(
    *calls: Callable[[], Awaitable[Answer]],
) -> list[Answer | OrchestratorError]:
    """Make all calls at the same time; return their answers, or errors, in order."""
    answers: dict[int, Answer | OrchestratorError] = {}

    async def make(place: int, call: Callable[[], Awaitable[Answer]]) -> None:
        try:
            answers[place] = await call()
        except OrchestratorError as error:
            answers[place] = error

    async with anyio.create_task_group() as group:
        for place, call in enumerate(calls):
            group.start_soon(make, place, call)
    return [answers[place] for place in range(len(calls))]

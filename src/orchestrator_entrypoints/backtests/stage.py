"""One service in memory, living through the days of a backtest.

Each date's run is the production workflow over ports in memory. Between the dates, what production
does between runs is done: recovery takes runs that were left open, and orders are followed to their
end. The clock stands at a time when New York trades, in summer and in winter, so that session
rules judge the date and not the hour.

Where nothing is open after a date, its memory is let go of: no later decision reads it, since the
account holds what was filled.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from attrs import define, evolve, field, frozen

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_core.commits import Lease, PlanCommit, PlanRecord, WaveClaim
from orchestrator_core.engaging import disengage, engage, initialise
from orchestrator_core.errors import TradingHalted
from orchestrator_core.identifiers import RunId, Symbol
from orchestrator_core.kill_switch import Disengagement, Engagement
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import NoQuote, Quote, Reference, SignalBatch
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts
from orchestrator_core.recovery import recover_run
from orchestrator_core.requests import RunRequest
from orchestrator_core.resolving import RESOLVABLE, Resolution, resolve_order
from orchestrator_core.runs import Run
from orchestrator_core.tracking import LAST_LOOK_SECONDS, follow_orders
from orchestrator_core.workflow import execute_run
from orchestrator_entrypoints.backtests.account import Account
from orchestrator_entrypoints.backtests.fills import Fault, FaultKind, Fill, FillModel
from orchestrator_entrypoints.backtests.gateway import Crashed, SimulatedGateway
from orchestrator_entrypoints.backtests.market import DECISION_TIME, Market

OPERATOR = "backtest"

# Pauses double from a second on: in all far more than until an order is left to an operator.
RECOVERY_ROUNDS = 12
FOLLOWED_AT_ONCE = 1_000


@frozen
class Staged:
    """What became of one date's run.

    Attributes:
        record: The plan and what it was derived from; None where there is none.
        run: As it was stored at the end of the day; None where none began.
        halt: Why none began.
    """

    run_id: RunId
    started_at: datetime
    record: PlanRecord | None
    run: Run | None
    fills: tuple[Fill, ...] = ()
    halt: str | None = None


class _WatchedRuns(MemoryRunRepository):
    """The run database in memory; remembers the plan that was committed last."""

    committed: PlanRecord | None = None

    async def commit_plan(
        self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
    ) -> PlanCommit:
        commit = await super().commit_plan(lease, record, claim)
        if not commit.is_stale:
            self.committed = record
        return commit


@define
class _Day:
    """Everything about the market and the signals that a run may ask on one date."""

    batch: SignalBatch
    market: Market
    at: datetime

    async def fetch(self, request: RunRequest) -> SignalBatch:  # noqa: ARG002 - the port's
        return self.batch

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        closes = self.market.closes
        return {
            symbol: Quote(symbol, closes[symbol], self.at, "close")
            if symbol in closes
            else NoQuote(symbol, "no price yet")
            for symbol in symbols
        }

    async def closes(
        self,
        symbols: Sequence[Symbol],
        *,
        before: date,  # noqa: ARG002 - the port's; what is known is of an earlier date
    ) -> Mapping[Symbol, Reference]:
        if self.market.before is None:
            return {}
        end = datetime.combine(self.market.before, time.max, UTC)
        closes = self.market.references
        return {
            symbol: Reference(symbol, closes[symbol], end, "previous_close")
            for symbol in symbols
            if symbol in closes
        }


@define
class Stage:
    """The service, its gateway and its account.

    Attributes:
        account: Moved by fills at the end of each day.
    """

    policy: RunPolicy
    account: Account
    clock: VirtualClock
    gateway: SimulatedGateway
    _runs: _WatchedRuns
    _kill_switch: MemoryKillSwitch = field(factory=MemoryKillSwitch, init=False)
    _count: int = field(default=0, init=False)

    @classmethod
    async def set_up(
        cls, policy: RunPolicy, fills: FillModel, *, cash: Decimal, first: date
    ) -> "Stage":
        """Return a service that may trade, on the first date."""
        clock = VirtualClock(datetime.combine(first, DECISION_TIME))
        stage = cls(
            policy=policy,
            account=Account(cash),
            clock=clock,
            gateway=SimulatedGateway(fills, clock),
            runs=_WatchedRuns(clock),
        )
        await initialise(stage._release(), kill_switch=stage._kill_switch, runs=stage._runs)
        return stage

    async def live_through(
        self, batch: SignalBatch, request: RunRequest, market: Market, faults: tuple[Fault, ...]
    ) -> Staged:
        """Make the run of one date's signals, and bring it and its orders to their end.

        Args:
            batch: The signals.
            request: What the run is held to.
            market: Prices.
            faults: What goes wrong.
        """
        self._wait_until(datetime.combine(batch.as_of_date, DECISION_TIME))
        self._runs.committed = None
        self.gateway.open_day(market.next_prices, faults)
        halts = self.gateway.befalls(FaultKind.KILL_SWITCH)
        if halts:
            await self._engage()
        staged = await self._run(request, self._ports(batch, market))
        self.gateway.come_back()
        if halts:
            await disengage(self._release(), kill_switch=self._kill_switch, runs=self._runs)
        ports = self._ports(batch, market)
        await self._recover(ports)
        await self._resolve(ports)
        await self._end_orders()
        self.account.book(self.gateway.fills)
        run = await self._runs.get_run(staged.run_id)
        fills = tuple(self.gateway.fills)
        self._let_go()
        return evolve(staged, run=run, fills=fills)

    async def _run(self, request: RunRequest, ports: RunPorts) -> Staged:
        self._count += 1
        staged = Staged(RunId(UUID(int=self._count)), self.clock.now(), None, None)
        try:
            await execute_run(request, run_id=staged.run_id, ports=ports, policy=self.policy)
        except TradingHalted as halted:
            return evolve(staged, halt=str(halted))
        except Crashed:
            pass
        return evolve(staged, record=self._runs.committed)

    async def _recover(self, ports: RunPorts) -> None:
        """Take over what was left open until nothing is, or the day's time for it is over."""
        for number in range(RECOVERY_ROUNDS):
            if not await self._runs.open_orders() and not (await self._runs.backlog()).runs_due:
                break
            if await recover_run(ports=ports, policy=self.policy) is None:
                self.clock.advance(2.0**number)

    async def _resolve(self, ports: RunPorts) -> None:
        """Close what recovery leaves to an operator: here it is known that it never arrived."""
        for order in await self._runs.open_orders():
            if order.state in RESOLVABLE:
                word = Resolution(
                    order.client_order_id, OrderState.NOT_PLACED, OPERATOR, "it never arrived"
                )
                await resolve_order(word, ports=ports, policy=self.policy)

    async def _end_orders(self) -> None:
        self.gateway.end_day()
        self.clock.advance(LAST_LOOK_SECONDS)
        while True:
            looks = await follow_orders(
                sink=self.gateway,
                runs=self._runs,
                strategy_id=self.policy.strategy_id,
                limit=FOLLOWED_AT_ONCE,
            )
            if looks.looked < FOLLOWED_AT_ONCE:
                break

    def _let_go(self) -> None:
        if self._runs.forget_runs():
            self.gateway.forget()

    async def _engage(self) -> None:
        engagement = Engagement(OPERATOR, "a fault of this day", self.clock.now())
        await engage(
            engagement,
            kill_switch=self._kill_switch,
            runs=self._runs,
            clock=self.clock,
            wait_seconds=0.0,
        )

    def _release(self) -> Disengagement:
        return Disengagement(OPERATOR, self.clock.now())

    def _ports(self, batch: SignalBatch, market: Market) -> RunPorts:
        day = _Day(batch, market, self.clock.now())
        return RunPorts(
            signals=day,
            prices=day,
            sink=self.gateway,
            runs=self._runs,
            kill_switch=self._kill_switch,
            clock=self.clock,
            positions=self.account,
            closes=day,
        )

    def _wait_until(self, at: datetime) -> None:
        self.clock.advance((at - self.clock.now()) / timedelta(seconds=1))

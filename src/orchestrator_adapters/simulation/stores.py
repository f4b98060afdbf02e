"""The shared stores of a simulated world, with what a real one may do to its users."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from attrs import define, field

from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.orders import LedgerEntry, MemoryOrderSink
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_adapters.simulation.loop import Loop
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import Latch
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import NoQuote, OrderReport, Position, Quote, Side
from orchestrator_core.runs import Run
from orchestrator_core.tracking import has_ended

PRICE = Decimal(100)
TICK = Decimal("0.37")


@define
class MovingPrices:
    """Fresh prices that are never twice the same."""

    loop: Loop
    _asked: int = field(default=0, init=False)

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        self._asked += 1
        price = PRICE + TICK * self._asked
        now = self.loop.time_of_day()
        return {symbol: Quote(symbol, price, now, "simulation") for symbol in symbols}


@define
class LedgerPositions:
    """An account: what it held at first, and what the gateway's orders have filled since.

    Attributes:
        held: Shares at first, by symbol.
        past: Orders whose fills are in those.
    """

    gateway: MemoryOrderSink
    held: Mapping[str, int]
    past: set[ClientOrderId] = field(factory=set, init=False)

    async def positions(self) -> Mapping[Symbol, Position]:
        held = self._held_with(lambda entry: int(entry.report.filled_qty))
        return {symbol: Position(symbol, qty) for symbol, qty in held.items() if qty}

    def reach(self) -> Mapping[Symbol, int]:
        """Return what would be held if all that is open filled."""
        return self._held_with(
            lambda entry: (
                int(entry.report.filled_qty) if has_ended(entry.report.status) else entry.intent.qty
            )
        )

    def _held_with(self, qty_of: Callable[[LedgerEntry], int]) -> dict[Symbol, int]:
        held = {Symbol(symbol): qty for symbol, qty in self.held.items()}
        for id_, entry in self.gateway.ledger.items():
            if id_ not in self.past:
                qty, symbol = qty_of(entry), entry.intent.symbol
                signed = qty if entry.intent.side is Side.BUY else -qty
                held[symbol] = held.get(symbol, 0) + signed
        return held


class SimulatedRuns(MemoryRunRepository):
    """The run database, which can be looked through without being asked."""

    def all_runs(self) -> list[Run]:
        """Return every run as it stands."""
        return [self._runs.as_it_stands(stored) for stored in self._runs]

    def lease_epoch(self, run: Run) -> int:
        """Return the epoch of the run's latest holder."""
        return self._runs[run.run_id].lease_epoch

    @property
    def latch(self) -> Latch | None:
        """The latch as it stands."""
        return self._latch

    def strategy_of(self, run_id: RunId) -> StrategyId:
        """Return whose run it is."""
        return self._runs[run_id].run.strategy_id

    def reports(self) -> dict[ClientOrderId, OrderReport]:
        """Return the stored word on every accepted order."""
        found = {id_: stored.order(id_) for id_, stored in self._runs.holders.items()}
        return {
            id_: order.report
            for id_, order in found.items()
            if order.state is OrderState.ACCEPTED and order.report is not None
        }

    def states(self) -> dict[ClientOrderId, OrderState]:
        """Return the state of every order that holds its id."""
        return {id_: stored.order(id_).state for id_, stored in self._runs.holders.items()}

    def fingerprint(self) -> str:
        """Return a text that is equal for equal contents, as far as any caller can tell."""
        runs = (
            (
                stored.run.run_id,
                stored.lease_epoch,
                stored.lease_expires_at,
                stored.recover_at,
                stored.last_claim,
                stored.run.failure,
                stored.run.completed_at is None,
                [(o.state, o.reason, o.report, o.owner) for o in stored.orders],
            )
            for stored in self._runs
        )
        return repr((self._latch, list(runs), self._following.orders, self._books))


@define
class SharedStore:
    """The store of the kill switch's shared half.

    Attributes:
        switch: What stands there.
    """

    switch: MemoryKillSwitch = field(factory=MemoryKillSwitch)
    _copies: list[str] = field(factory=list, init=False)

    def keep_copy(self) -> None:
        """Let what stands there now be what a replica of the store holds on to."""
        text = self.switch.get_text()
        if text is not None:
            self._copies.append(text)

    def flush(self) -> None:
        """Lose everything."""
        self.switch.put_text(None)

    def fall_back(self) -> None:
        """Let the oldest copy stand there again."""
        if self._copies:
            self.switch.put_text(self._copies[0])

    def fingerprint(self) -> str:
        """Return what stands there."""
        return repr(self.switch.get_text())

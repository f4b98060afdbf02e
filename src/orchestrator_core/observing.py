"""What a run looks at before it decides: signals, controls, book, account, prices, references.

Each is looked at only where the decision depends on it. What cannot be seen ends the run: nothing
is decided on a guess.
"""

from collections.abc import Iterable

from attrs import frozen

from orchestrator_core.books import StrategyBook, day_exposure
from orchestrator_core.controls import StrategyControls
from orchestrator_core.doubts import FILLING, doubt_of_fill, doubt_of_look
from orchestrator_core.errors import (
    MalformedReply,
    OrchestratorError,
    PortError,
    Refused,
    Unavailable,
)
from orchestrator_core.halting import distrust_gateway
from orchestrator_core.holdings import Holdings, OpenQty, Unsettled
from orchestrator_core.identifiers import ClientOrderId, Decision, Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Limits
from orchestrator_core.model import NoQuote, Quote, Reference, SignalBatch
from orchestrator_core.money import WIDE
from orchestrator_core.plans import PlanningPolicy, Snapshot, absent_symbols
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import Inquiry, LookUp, LookUpKind, RunPorts
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import FailureKind, RunFailure
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingMode, SizingPolicy
from orchestrator_core.tracking import has_ended


class RunFailedError(OrchestratorError):
    """The run ends before anything was sent."""

    def __init__(self, failure: RunFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@frozen
class Observer:
    """One run's looks at what is outside."""

    request: RunRequest
    ports: RunPorts
    policy: RunPolicy

    async def fetch_signals(self) -> tuple[SignalBatch, Limits]:
        """Return the signals, checked, and the limits in force.

        Raises:
            RunFailedError: There are none to be traded on, or the strategy waits for an operator.
            PortError: The run database failed.
        """
        together = self.ports.together
        (batch, distrust), controls = await together(
            together(self._fetch(), distrust_gateway(self.request, self.ports, self.policy)),
            self.ports.runs.read_controls(
                self.policy.strategy_id, count_failures=self.policy.failures_counted
            ),
        )
        if distrust is not None:
            raise RunFailedError(RunFailure(FailureKind.GATEWAY_UNSAFE, distrust))
        self._heed_failures(controls)
        return batch, controls.tighten(self.policy.limits_of(self.request))

    async def _fetch(self) -> SignalBatch:
        try:
            batch = await self.ports.signals.fetch(self.request)
            check_batch(batch, self.request, self.policy.limits_of(self.request))
            if self.policy.sizing.closes_absent:
                _require_signals(batch)
        except Refused as error:
            raise _failed(FailureKind.SIGNALS_REFUSED, error) from error
        except MalformedReply as error:
            raise _failed(FailureKind.SIGNALS_MALFORMED, error) from error
        except Unavailable as error:
            raise _failed(FailureKind.SIGNALS_UNAVAILABLE, error) from error
        return batch

    def _heed_failures(self, controls: StrategyControls) -> None:
        if self.request.dry_run or not self.policy.is_throttled_by(controls):
            return
        reason = (
            f"{self.policy.max_failed_runs} runs in a row failed: an operator must re-arm "
            f"{self.policy.strategy_id} before it trades again"
        )
        raise RunFailedError(RunFailure(FailureKind.THROTTLED, reason))

    async def take_snapshot(
        self, batch: SignalBatch, limits: Limits
    ) -> tuple[Snapshot, int | None]:
        """Return all that is decided from, and the version of the book that it depends on.

        Raises:
            RunFailedError: Something that the decision depends on cannot be seen.
            PortError: The run database failed.
        """
        policy, decision = self.policy, self._decision_on(batch)
        is_delta = policy.sizing.mode is SizingMode.DELTA
        book = holdings = None
        if is_delta or limits.reduce_only or limits.has_day_bounds:
            book = await self.ports.runs.read_book(policy.strategy_id, batch.as_of_date)
            if is_delta or limits.reduce_only:
                holdings = await self._holdings(book)
        symbols = self._to_be_priced(batch, holdings if is_delta else None)
        quotes = await self._quotes(symbols)
        references = await self._references(symbols) if limits.needs_references else ()
        sizing = SizingPolicy(self.request.capital, self.request.max_position_size, policy.sizing)
        day = None
        if book is not None and limits.has_day_bounds:
            day = day_exposure(book.day_orders, _ids_of(decision, symbols))
        snapshot = Snapshot(
            decision=decision,
            request=self.request,
            policy=PlanningPolicy(sizing, limits),
            batch=batch,
            quotes=quotes,
            decided_at=self.ports.clock.now(),
            code_version=policy.code_version,
            holdings=holdings,
            day=day,
            references=references,
        )
        return snapshot, None if book is None else book.version

    def _decision_on(self, batch: SignalBatch) -> Decision:
        return Decision(
            environment=self.policy.environment,
            mode=self.policy.mode,
            strategy_id=self.policy.strategy_id,
            as_of_date=batch.as_of_date,
            rebalance_key=self.request.rebalance_key,
        )

    def _to_be_priced(self, batch: SignalBatch, account: Holdings | None) -> list[Symbol]:
        held = frozenset[Symbol]() if account is None else account.symbols
        symbols = [
            signal.symbol for signal in batch.signals if signal.weight != 0 or signal.symbol in held
        ]
        if account is not None and self.policy.sizing.closes_absent:
            symbols += absent_symbols(account, batch, self.request)
        return symbols

    async def _quotes(self, symbols: list[Symbol]) -> tuple[Quote | NoQuote, ...]:
        if not symbols:
            return ()
        try:
            answers = await self.ports.prices.quotes(symbols)
        except PortError as error:
            raise _failed(FailureKind.PRICES_UNAVAILABLE, error) from error
        return tuple(
            answers.get(symbol) or NoQuote(symbol, "the price source left it out")
            for symbol in symbols
        )

    async def _references(self, symbols: list[Symbol]) -> tuple[Reference, ...]:
        """Return the previous close of each symbol, else its last accepted price, if any."""
        found: dict[Symbol, Reference] = {}
        if self.ports.closes is not None:
            today = self.ports.clock.now().date()
            try:
                found.update(await self.ports.closes.closes(symbols, before=today))
            except PortError as error:
                raise _failed(FailureKind.PRICES_UNAVAILABLE, error) from error
        missing = [symbol for symbol in symbols if symbol not in found]
        if missing:
            found.update(await self.ports.runs.last_accepted(missing))
        return tuple(found[symbol] for symbol in symbols if symbol in found)

    async def _holdings(self, book: StrategyBook) -> Holdings:
        """Look at the account, between two looks at each order that may change it."""
        if self.ports.positions is None:
            reason = "no source of positions is wired"
            raise RunFailedError(RunFailure(FailureKind.POSITIONS_UNAVAILABLE, reason))
        live = [order for order in book.open_orders if order.state is OrderState.ACCEPTED]
        inquiries = [Inquiry.about(order.intent, order.report) for order in live]
        before = await self._look_up(inquiries)
        try:
            positions = await self.ports.positions.positions()
        except PortError as error:
            raise _failed(FailureKind.POSITIONS_UNAVAILABLE, error) from error
        after = await self._look_up(inquiries)
        looks = [
            _compare(inquiry, first, second)
            for inquiry, first, second in zip(inquiries, before, after, strict=True)
        ]
        doubtful = [
            Unsettled(order.intent.symbol, order.intent.client_order_id, order.state.value)
            for order in book.open_orders
            if order.state is not OrderState.ACCEPTED
        ]
        return Holdings(
            positions=tuple(sorted((each.symbol, each.qty) for each in positions.values())),
            open_orders=tuple(look for look in looks if isinstance(look, OpenQty)),
            unsettled=(*doubtful, *(look for look in looks if isinstance(look, Unsettled))),
        )

    async def _look_up(self, inquiries: list[Inquiry]) -> tuple[LookUp, ...]:
        return tuple(await self.ports.sink.look_up(inquiries)) if inquiries else ()


def _require_signals(batch: SignalBatch) -> None:
    if not batch.signals:
        cause = "no signals came: taken as an answer, they would close every position"
        raise MalformedReply("signals", "fetch", cause)


def _compare(inquiry: Inquiry, before: LookUp, after: LookUp) -> OpenQty | Unsettled | None:
    """Return what two looks say of an order; None where it fills no more."""
    intent = inquiry.intent

    def unsettled(why: str) -> Unsettled:
        return Unsettled(intent.symbol, intent.client_order_id, why)

    first, second = before.report, after.report
    clear = {LookUpKind.ACCEPTED, LookUpKind.REJECTED}
    if first is None or before.kind not in clear:
        return unsettled(doubt_of_look(before.kind))
    if second is None or after.kind not in clear:
        return unsettled(doubt_of_look(after.kind))
    if (first.status, first.filled_qty) != (second.status, second.filled_qty):
        return unsettled(FILLING)
    status, filled = second.status, second.filled_qty
    if has_ended(status):
        return None
    left = WIDE.subtract(intent.qty, filled)
    if left < 0 or left != int(left):
        return unsettled(doubt_of_fill(filled, intent.qty))
    return OpenQty(intent.symbol, intent.client_order_id, intent.side, int(left)) if left else None


def _ids_of(decision: Decision, symbols: Iterable[Symbol]) -> Iterable[ClientOrderId]:
    return (decision.client_order_id(symbol, leg=leg) for symbol in symbols for leg in (0, 1))


def _failed(kind: FailureKind, error: PortError) -> RunFailedError:
    return RunFailedError(RunFailure(kind, error.cause, error.retry_after))

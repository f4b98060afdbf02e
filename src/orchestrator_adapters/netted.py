"""Several strategies as one source of signals."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from attrs import Attribute, field, frozen

from orchestrator_core.errors import PortError
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.limits import Limits
from orchestrator_core.model import SignalBatch
from orchestrator_core.netting import Part, net_batches
from orchestrator_core.ports import SignalSource, Together, one_after_the_other
from orchestrator_core.requests import RunRequest
from orchestrator_core.signals import check_batch


@frozen
class StrategySource:
    """One strategy of several.

    Attributes:
        share: Fraction of the capital that it decides on.
        signals: Where its signals come from, within a deadline of its own.
    """

    strategy_id: StrategyId
    share: Decimal
    signals: SignalSource


def _require_distinct(
    _instance: object,
    attribute: "Attribute[tuple[StrategySource, ...]]",
    value: tuple[StrategySource, ...],
) -> None:
    names = [each.strategy_id for each in value]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"{attribute.name}: expected distinct names, at least one, got {names}")


def _by_name(strategies: Iterable[StrategySource]) -> tuple[StrategySource, ...]:
    return tuple(sorted(strategies, key=lambda each: each.strategy_id))


@frozen
class NettedSignalSource:
    """Asks every strategy, and answers with their batches netted into one.

    A run trades on all strategies or on none: one that fails, or answers what `check_batch` would
    not take from it alone, fails the whole. Each is awaited to its end even so, and of several
    errors the first by strategy is raised, with the strategy's name in its cause.

    Attributes:
        strategies: At least one, no name twice.
        limits: Held against each strategy's own weights, where a request tightened none.
        together: How the strategies are awaited.
    """

    strategies: tuple[StrategySource, ...] = field(converter=_by_name, validator=_require_distinct)
    limits: Limits
    together: Together = one_after_the_other

    async def fetch(self, request: RunRequest) -> SignalBatch:
        return net_batches(await self._fetch_all(self.strategies, request))

    async def _fetch_all(
        self, strategies: Sequence[StrategySource], request: RunRequest
    ) -> tuple[Part, ...]:
        first, *others = strategies
        if not others:
            return (await self._fetch_one(first, request),)
        part, parts = await self.together(
            self._fetch_one(first, request), self._fetch_all(others, request)
        )
        return (part, *parts)

    async def _fetch_one(self, strategy: StrategySource, request: RunRequest) -> Part:
        try:
            batch = await strategy.signals.fetch(request)
            check_batch(batch, request, request.limits or self.limits)
        except PortError as error:
            cause = f"{strategy.strategy_id}: {error.cause}"
            raise type(error)(
                error.port, error.operation, cause, retry_after=error.retry_after
            ) from error
        return Part(strategy.strategy_id, strategy.share, batch)

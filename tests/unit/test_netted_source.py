"""Several strategies as one source: asked at once, traded on together or not at all."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve, frozen

from orchestrator_adapters.event_loop import at_once
from orchestrator_adapters.memory.signals import MemorySignalSource
from orchestrator_adapters.netted import NettedSignalSource, StrategySource
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import MalformedReply, PortError, Refused, Unavailable
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.limits import Limits
from orchestrator_core.model import SignalBatch
from orchestrator_core.ports import SignalSource, Together, one_after_the_other
from orchestrator_core.requests import RunRequest
from tests.unit.builders import TODAY, a_batch, a_request, a_signal

REQUEST = a_request(["A", "B"])

Answer = SignalBatch | Callable[[RunRequest], SignalBatch]


def a_strategy(name: str, signals: Answer | SignalSource) -> StrategySource:
    if isinstance(signals, SignalBatch) or callable(signals):
        signals = MemorySignalSource(signals)
    return StrategySource(StrategyId(name), Decimal("0.5"), signals)


def raising(error: PortError) -> Callable[[RunRequest], SignalBatch]:
    def answer(_: RunRequest) -> SignalBatch:
        raise error

    return answer


def a_source(
    *strategies: StrategySource,
    limits: Limits | None = None,
    together: Together = one_after_the_other,
) -> NettedSignalSource:
    return NettedSignalSource(strategies, limits or Limits(), together)


def failure_of(source: NettedSignalSource, request: RunRequest = REQUEST) -> PortError:
    with pytest.raises(PortError) as raised:
        run_sync(source.fetch(request))
    return raised.value


GOOD = a_batch([a_signal("A", 0.5)])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_strategy_is_in_the_net(count: int) -> None:
    source = a_source(*(a_strategy(f"s{n}", GOOD) for n in range(count)))
    [signal] = run_sync(source.fetch(REQUEST)).signals
    assert signal.weight == Decimal("0.25") * count
    assert [each.strategy_id for each in signal.contributions] == [f"s{n}" for n in range(count)]


@pytest.mark.parametrize("kind", [Unavailable, Refused, MalformedReply])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_that_fails_fails_the_whole_by_its_name(kind: type[PortError], place: int) -> None:
    answers: list[Answer] = [GOOD, GOOD, GOOD]
    answers[place] = raising(kind("signals", "fetch", "no luck", retry_after=7.0))
    error = failure_of(a_source(*(a_strategy(f"s{n}", each) for n, each in enumerate(answers))))
    assert type(error) is kind
    assert (error.port, error.operation, error.cause, error.retry_after) == (
        "signals",
        "fetch",
        f"s{place}: no luck",
        7.0,
    )


def test_of_several_failures_the_first_by_name_is_told() -> None:
    down = a_strategy("b", raising(Unavailable("signals", "fetch", "down")))
    wrong = a_strategy("a", raising(Refused("signals", "fetch", "wrong")))
    assert str(failure_of(a_source(down, wrong))) == "signals.fetch: a: wrong"


def test_a_strategys_own_weights_are_held_to_the_limits() -> None:
    heavy = a_batch([a_signal("A", 1.5)])
    error = failure_of(a_source(a_strategy("a", GOOD), a_strategy("b", heavy)))
    assert type(error) is MalformedReply
    assert error.cause == "b: A weighs 1.5, the limit is 1"


def test_limits_that_the_request_tightened_come_first() -> None:
    request = evolve(REQUEST, limits=Limits(max_signal_weight=Decimal("0.4")))
    source = a_source(a_strategy("a", GOOD), limits=Limits(max_signal_weight=Decimal(2)))
    assert failure_of(source, request).cause == "a: A weighs 0.5, the limit is 0.4"
    assert run_sync(source.fetch(REQUEST)).num_signals == 1


def test_different_dates_are_named() -> None:
    before = a_batch([], as_of_date=TODAY - timedelta(days=1))
    error = failure_of(a_source(a_strategy("a", GOOD), a_strategy("b", before)))
    assert type(error) is MalformedReply
    assert error.cause.endswith("a for 2026-03-02, b for 2026-03-01")


def test_names_are_distinct() -> None:
    for wrong in ([], [a_strategy("a", GOOD), a_strategy("a", GOOD)]):
        with pytest.raises(ValueError, match="expected distinct names"):
            a_source(*wrong)


@frozen
class Meeting:
    """A strategy that answers once all others are asked too."""

    barrier: asyncio.Barrier

    async def fetch(self, _: RunRequest) -> SignalBatch:
        async with asyncio.timeout(5):
            await self.barrier.wait()
        return GOOD


@pytest.mark.anyio
async def test_all_are_asked_at_once() -> None:
    barrier = asyncio.Barrier(4)
    source = a_source(*(a_strategy(f"s{n}", Meeting(barrier)) for n in range(4)), together=at_once)
    [signal] = (await source.fetch(REQUEST)).signals
    assert signal.weight == 1


@frozen
class Slow:
    """A strategy that answers when it is let."""

    let: asyncio.Event

    async def fetch(self, _: RunRequest) -> SignalBatch:
        await self.let.wait()
        return GOOD


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["a", "z"])
async def test_nothing_runs_on_after_a_failure(name: str) -> None:
    let = asyncio.Event()
    down = a_strategy(name, raising(Unavailable("signals", "fetch", "down")))
    source = a_source(down, a_strategy("m", Slow(let)), a_strategy("n", GOOD), together=at_once)
    before = asyncio.all_tasks()
    asking = asyncio.ensure_future(source.fetch(REQUEST))
    asyncio.get_running_loop().call_later(0.01, let.set)
    with pytest.raises(Unavailable):
        await asking
    assert asyncio.all_tasks() == before


@pytest.mark.anyio
async def test_nothing_runs_on_after_a_cancellation() -> None:
    never = asyncio.Event()
    source = a_source(*(a_strategy(name, Slow(never)) for name in "abc"), together=at_once)
    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await source.fetch(REQUEST)
    assert asyncio.all_tasks() == before

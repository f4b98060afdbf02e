"""What every signal source does."""

from datetime import date
from decimal import Decimal
from typing import Protocol

import pytest

from orchestrator_core.errors import MalformedReply, PortError, Refused, Unavailable
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Signal, SignalBatch
from orchestrator_core.ports import SignalSource
from orchestrator_core.requests import RunRequest

DAY = date(2026, 3, 2)


class SignalsStage(Protocol):
    """The strategy behind a signal source."""

    @property
    def source(self) -> SignalSource:
        """The adapter under test."""
        ...

    async def answer(self, batch: SignalBatch) -> None:
        """Let the strategy answer every request with this batch."""
        ...

    async def fail(self, kind: type[PortError]) -> None:
        """Let the strategy fail so that the port raises `kind`."""
        ...

    async def requests(self) -> list[tuple[tuple[str, ...], date | None]]:
        """Return symbols and date of each request that reached the strategy, oldest first."""
        ...


def _request(*symbols: str, as_of_date: date | None = DAY) -> RunRequest:
    return RunRequest(
        symbols=tuple(Symbol(symbol) for symbol in symbols),
        as_of_date=as_of_date,
        capital=Decimal(100_000),
        max_position_size=Decimal(20_000),
    )


def _batch(*signals: Signal) -> SignalBatch:
    metadata = {
        "as_of_date": DAY.isoformat(),
        "model_version": "m-1",
        "strategy": "alpha_baseline",
        "num_signals": len(signals),
        "note": "größer",
        "nested": {"list": [1, 2.5, None, True]},
    }
    return SignalBatch(signals, as_of_date=DAY, num_signals=len(signals), metadata=metadata)


class SignalSourceConformance:
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> SignalsStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    async def test_a_batch_arrives_exactly_and_in_order(self, stage: SignalsStage) -> None:
        batch = _batch(
            Signal(Symbol("MSFT"), predicted_return=0.1, rank=1, target_weight=1 / 3),
            Signal(Symbol("BRK.B"), predicted_return=-1e-9, rank=3, target_weight=-0.0),
            Signal(Symbol("AAPL"), predicted_return=0.0, rank=2, target_weight=-1.0),
        )
        await stage.answer(batch)
        assert await stage.source.fetch(_request("AAPL", "MSFT", "BRK.B")) == batch

    async def test_an_empty_batch_is_a_batch(self, stage: SignalsStage) -> None:
        await stage.answer(_batch())
        assert (await stage.source.fetch(_request("AAPL"))).signals == ()

    async def test_the_strategy_is_asked_for_the_request(self, stage: SignalsStage) -> None:
        await stage.answer(_batch())
        await stage.source.fetch(_request("MSFT", "AAPL"))
        await stage.source.fetch(_request("TSLA", as_of_date=None))
        assert await stage.requests() == [(("MSFT", "AAPL"), DAY), (("TSLA",), None)]

    @pytest.mark.parametrize("kind", [Unavailable, Refused, MalformedReply])
    async def test_a_failure_is_told_apart(
        self, stage: SignalsStage, kind: type[PortError]
    ) -> None:
        await stage.fail(kind)
        with pytest.raises(kind) as raised:
            await stage.source.fetch(_request("AAPL"))
        assert (raised.value.port, raised.value.operation) == ("signals", "fetch")
        assert raised.value.cause
        assert "\n" not in raised.value.cause

    async def test_it_recovers_by_itself(self, stage: SignalsStage) -> None:
        await stage.fail(Unavailable)
        with pytest.raises(Unavailable):
            await stage.source.fetch(_request("AAPL"))
        await stage.answer(_batch())
        assert (await stage.source.fetch(_request("AAPL"))).num_signals == 0

    async def test_a_thousand_signals_arrive(self, stage: SignalsStage) -> None:
        batch = _batch(
            *(
                Signal(Symbol(f"S{n}"), predicted_return=n / 7, rank=n, target_weight=n / 1e6)
                for n in range(1, 1001)
            )
        )
        await stage.answer(batch)
        fetched = await stage.source.fetch(_request(*(f"S{n}" for n in range(1, 1001))))
        assert fetched == batch

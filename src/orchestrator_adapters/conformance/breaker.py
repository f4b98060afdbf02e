"""What every circuit breaker does."""

from typing import Protocol

import pytest

from orchestrator_core.errors import MalformedReply
from orchestrator_core.ports import Breaker, BreakerState, CircuitBreaker


class BreakerStage(Protocol):
    """The world around a circuit breaker."""

    @property
    def breaker(self) -> CircuitBreaker:
        """The adapter under test, with no state standing."""
        ...

    async def put_text(self, text: str | None) -> None:
        """Let `text` stand there, as the breaker's owner writes it; None deletes it."""
        ...


class CircuitBreakerConformance:
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> BreakerStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    async def test_a_breaker_never_set_is_absent(self, stage: BreakerStage) -> None:
        assert await stage.breaker.read() is None

    async def test_a_deleted_breaker_is_absent(self, stage: BreakerStage) -> None:
        await stage.put_text('{"state":"OPEN"}')
        await stage.put_text(None)
        assert await stage.breaker.read() is None

    @pytest.mark.parametrize("word", ["OPEN", "QUIET_PERIOD"])
    async def test_open_and_its_quiet_period_read_as_open(
        self, stage: BreakerStage, word: str
    ) -> None:
        await stage.put_text(f'{{"state":"{word}","tripped_at":null,"trip_reason":null}}')
        assert await stage.breaker.read() == Breaker(BreakerState.OPEN)

    async def test_a_tripped_breaker_says_why(self, stage: BreakerStage) -> None:
        await stage.put_text(
            '{"state":"TRIPPED","tripped_at":"2026-03-02T15:00:00Z","trip_reason":"drawdown",'
            '"trip_count_today":1}'
        )
        assert await stage.breaker.read() == Breaker(BreakerState.TRIPPED, reason="drawdown")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "OPEN",
            "[]",
            '"OPEN"',
            "{}",
            '{"state":null}',
            '{"state":"open"}',
            '{"state":"CLOSED"}',
            '{"state":true}',
            '{"state":"OPEN","state":"TRIPPED"}',
            '{"state":"TRIPPED","trip_reason":7}',
            "{" * 100_000,
        ],
    )
    async def test_what_is_no_breaker_is_malformed(self, stage: BreakerStage, text: str) -> None:
        await stage.put_text(text)
        with pytest.raises(MalformedReply) as raised:
            await stage.breaker.read()
        assert (raised.value.port, raised.value.operation) == ("breaker", "read")

"""What every clock does."""

from datetime import timedelta

import pytest

from orchestrator_core.ports import Clock


class ClockConformance:
    """Subclass it, and override `clock`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def clock(self) -> Clock:
        raise NotImplementedError("override this fixture: give a clock")

    async def test_the_time_of_day_is_aware_and_in_utc(self, clock: Clock) -> None:
        assert clock.now().utcoffset() == timedelta(0)

    async def test_sleeping_lets_at_least_that_much_time_pass(self, clock: Clock) -> None:
        before = clock.monotonic()
        await clock.sleep(0.01)
        # Timers of an event loop may wake a clock tick early.
        assert clock.monotonic() - before >= 0.009

    async def test_sleeping_for_nothing_returns(self, clock: Clock) -> None:
        before = clock.monotonic()
        await clock.sleep(0)
        await clock.sleep(-1)
        assert clock.monotonic() >= before

    async def test_monotonic_time_never_goes_back(self, clock: Clock) -> None:
        seen = [clock.monotonic() for _ in range(100)]
        assert seen == sorted(seen)

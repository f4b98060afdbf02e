"""What every position source does."""

from collections.abc import Sequence
from typing import Protocol

import pytest

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Position
from orchestrator_core.ports import PositionSource


class PositionsStage(Protocol):
    """The account behind a position source."""

    @property
    def source(self) -> PositionSource:
        """The adapter under test, over an account that holds nothing."""
        ...

    async def hold(self, positions: Sequence[Position]) -> None:
        """Let the account hold exactly these, those of zero shares included."""
        ...


class PositionSourceConformance:
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> PositionsStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    async def test_an_empty_account_holds_nothing(self, stage: PositionsStage) -> None:
        assert dict(await stage.source.positions()) == {}

    async def test_longs_and_shorts_keep_their_sign(self, stage: PositionsStage) -> None:
        long, short = Position(Symbol("AAPL"), 100), Position(Symbol("BRK.B"), -7)
        await stage.hold([long, short])
        assert dict(await stage.source.positions()) == {long.symbol: long, short.symbol: short}

    async def test_a_position_of_no_shares_is_left_out(self, stage: PositionsStage) -> None:
        await stage.hold([Position(Symbol("AAPL"), 0), Position(Symbol("MSFT"), 1)])
        assert set(await stage.source.positions()) == {Symbol("MSFT")}

    async def test_the_account_is_asked_each_time(self, stage: PositionsStage) -> None:
        apple, microsoft = Symbol("AAPL"), Symbol("MSFT")
        await stage.hold([Position(apple, 100), Position(microsoft, 1)])
        before = await stage.source.positions()
        await stage.hold([Position(apple, -3)])
        assert dict(await stage.source.positions()) == {apple: Position(apple, -3)}
        assert set(before) == {apple, microsoft}

    async def test_a_large_account_comes_whole(self, stage: PositionsStage) -> None:
        held = {
            symbol: Position(symbol, qty)
            for qty in range(-1000, 1001)
            if qty
            for symbol in [Symbol(f"S{qty + 1000}")]
        }
        await stage.hold(list(held.values()))
        assert dict(await stage.source.positions()) == held

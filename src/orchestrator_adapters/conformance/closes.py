"""What every source of closing prices does."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pytest

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Reference
from orchestrator_core.ports import CloseSource

AAPL, MSFT, TSLA = Symbol("AAPL"), Symbol("MSFT"), Symbol("TSLA")
TODAY = date(2026, 3, 2)
FRIDAY = date(2026, 2, 27)
END_OF_FRIDAY = datetime(2026, 2, 27, 23, 59, 59, 999_999, tzinfo=UTC)


def a_text(close: str, day: date | str = FRIDAY, symbol: str = "AAPL") -> str:
    """Return a close as feeds write it; `close` is JSON."""
    return f'{{"symbol":"{symbol}","close":{close},"date":"{day}"}}'


class ClosesStage(Protocol):
    """The world around a source of closing prices."""

    @property
    def source(self) -> CloseSource:
        """The adapter under test, with no close standing."""
        ...

    async def put_text(self, symbol: Symbol, text: str) -> None:
        """Let `text` stand under a symbol's key, as another service writes it."""
        ...


class CloseSourceConformance:
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> ClosesStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    async def test_a_close_is_answered_exactly_as_of_the_end_of_its_day(
        self, stage: ClosesStage
    ) -> None:
        price = "189.1234567890123456789"
        await stage.put_text(AAPL, a_text(f'"{price}"'))
        [(symbol, close)] = (await stage.source.closes([AAPL], before=TODAY)).items()
        assert symbol == AAPL
        assert close == Reference(AAPL, Decimal(price), END_OF_FRIDAY, "previous_close")
        assert close.as_of.tzinfo is UTC

    async def test_each_symbol_gets_its_own_close_and_one_without_is_left_out(
        self, stage: ClosesStage
    ) -> None:
        await stage.put_text(AAPL, a_text('"1.5"'))
        await stage.put_text(TSLA, a_text('"2.5"', symbol="TSLA"))
        closes = await stage.source.closes([TSLA, MSFT, AAPL], before=TODAY)
        prices = {symbol: close.price for symbol, close in closes.items()}
        assert prices == {AAPL: Decimal("1.5"), TSLA: Decimal("2.5")}
        assert {symbol: close.symbol for symbol, close in closes.items()} == {
            AAPL: AAPL,
            TSLA: TSLA,
        }

    async def test_only_symbols_that_are_asked_for_are_answered(self, stage: ClosesStage) -> None:
        await stage.put_text(AAPL, a_text("1"))
        assert await stage.source.closes([], before=TODAY) == {}
        assert await stage.source.closes([MSFT], before=TODAY) == {}
        assert set(await stage.source.closes([AAPL, AAPL], before=TODAY)) == {AAPL}

    async def test_a_thousand_symbols_are_answered(self, stage: ClosesStage) -> None:
        symbols = [Symbol(f"S{number}") for number in range(1000)]
        await stage.put_text(symbols[-1], a_text("7", symbol="S999"))
        assert set(await stage.source.closes(symbols, before=TODAY)) == {symbols[-1]}

    async def test_the_last_close_put_counts(self, stage: ClosesStage) -> None:
        for price in ("1", "2"):
            await stage.put_text(AAPL, a_text(price))
        assert (await stage.source.closes([AAPL], before=TODAY))[AAPL].price == Decimal(2)

    async def test_a_price_of_the_same_symbol_is_no_close(self, stage: ClosesStage) -> None:
        text = '{"symbol":"AAPL","mid":"1","timestamp":"2026-02-27T21:00:00Z"}'
        await stage.put_text(AAPL, text)
        await self._expect_none(stage)

    @pytest.mark.parametrize("days", [1, 2, 10])
    async def test_a_close_of_up_to_ten_days_ago_is_used(
        self, stage: ClosesStage, days: int
    ) -> None:
        day = TODAY - timedelta(days)
        await stage.put_text(AAPL, a_text("1", day))
        close = (await stage.source.closes([AAPL], before=TODAY))[AAPL]
        assert close.as_of.date() == day

    @pytest.mark.parametrize("days", [11, 365, 0, -1])
    async def test_an_older_close_and_one_that_is_not_earlier_are_left_out(
        self, stage: ClosesStage, days: int
    ) -> None:
        await stage.put_text(AAPL, a_text("1", TODAY - timedelta(days)))
        await self._expect_none(stage)

    async def test_the_day_that_is_asked_for_decides_not_today(self, stage: ClosesStage) -> None:
        await stage.put_text(AAPL, a_text("1", TODAY))
        assert await stage.source.closes([AAPL], before=TODAY) == {}
        later = TODAY + timedelta(1)
        assert set(await stage.source.closes([AAPL], before=later)) == {AAPL}

    @pytest.mark.parametrize(
        ("text", "price"),
        [
            ('"0.0001"', "0.0001"),
            ('"1e2"', "100"),
            ("189.1", "189.1"),
            ("100", "100"),
            ("0.1234567890123456789", "0.1234567890123456789"),
            (f'"{"1" * 15}.{"1" * 25}"', f"{'1' * 15}.{'1' * 25}"),
        ],
    )
    async def test_a_close_is_read_exactly(self, stage: ClosesStage, text: str, price: str) -> None:
        await stage.put_text(AAPL, a_text(text))
        close = (await stage.source.closes([AAPL], before=TODAY))[AAPL]
        assert close.price == Decimal(price)

    @pytest.mark.parametrize(
        "close",
        [
            *('"0"', '"-1"', "0", "-5", "true", "null", "[]"),
            *('"NaN"', "NaN", '"Infinity"', "Infinity", "1e400000000000000000000", '"1e30"'),
            *('"1_000"', '" 1"', '"one"', '""', '"٣"'),
            f'"{"1" * 41}"',
            f'"0.{"1" * 41}"',
            f'"{"1" * 15}.{"1" * 26}"',
        ],
    )
    async def test_what_is_no_price_is_left_out(self, stage: ClosesStage, close: str) -> None:
        await stage.put_text(AAPL, a_text(close))
        await self._expect_none(stage)

    @pytest.mark.parametrize(
        "day",
        [
            *('"date":null', '"date":20260227', '"date":""', '"date":"yesterday"', '"other":1'),
            *('"date":"2026-02-30"', '"date":"20260227"', '"date":"2026-W09-5"'),
            *('"date":"2026-02-27T00:00:00Z"', '"date":"27.02.2026"', '"date":"2026-2-27"'),
        ],
    )
    async def test_a_close_without_a_usable_day_is_left_out(
        self, stage: ClosesStage, day: str
    ) -> None:
        await stage.put_text(AAPL, f'{{"symbol":"AAPL","close":"1",{day}}}')
        await self._expect_none(stage)

    @pytest.mark.parametrize(
        "text",
        [
            a_text("1", symbol="MSFT"),
            a_text("1", symbol="aapl"),
            '{"close":"1","date":"2026-02-27"}',
            '{"symbol":"AAPL","date":"2026-02-27"}',
            '{"symbol":"AAPL","close":"1","close":"2","date":"2026-02-27"}',
            *("", "not json", "null", "[]", "1.5", '{"symbol":"AAPL"', "[" * 100_000),
        ],
    )
    async def test_what_is_no_close_of_the_symbol_is_left_out(
        self, stage: ClosesStage, text: str
    ) -> None:
        await stage.put_text(AAPL, text)
        await stage.put_text(TSLA, a_text("2", symbol="TSLA"))
        assert set(await stage.source.closes([AAPL, TSLA], before=TODAY)) == {TSLA}

    async def _expect_none(self, stage: ClosesStage) -> None:
        assert await stage.source.closes([AAPL], before=TODAY) == {}

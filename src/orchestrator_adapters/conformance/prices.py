"""What every price source does."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Protocol

import pytest

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import NoQuote, Quote
from orchestrator_core.ports import PriceSource

AAPL, MSFT, TSLA = Symbol("AAPL"), Symbol("MSFT"), Symbol("TSLA")
TIME = datetime(2026, 3, 2, 15, 0, 0, 250_000, tzinfo=UTC)
GOOD_TIME = '"timestamp":"2026-03-02T15:00:00.250000Z"'


class PricesStage(Protocol):
    """The world around a price source."""

    @property
    def source(self) -> PriceSource:
        """The adapter under test, with no price standing."""
        ...

    async def put_text(self, symbol: Symbol, text: str) -> None:
        """Let `text` stand under a symbol's key, as another service writes it."""
        ...


class PriceSourceConformance:
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> PricesStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    async def test_a_quote_is_answered_exactly(self, stage: PricesStage) -> None:
        mid = "189.1234567890123456789"
        await stage.put_text(AAPL, f'{{"symbol":"AAPL","mid":"{mid}",{GOOD_TIME}}}')
        quote = (await stage.source.quotes([AAPL]))[AAPL]
        assert isinstance(quote, Quote)
        assert (quote.symbol, quote.price, quote.as_of) == (AAPL, Decimal(mid), TIME)
        assert quote.source

    async def test_each_symbol_gets_its_own_answer(self, stage: PricesStage) -> None:
        await stage.put_text(AAPL, f'{{"symbol":"AAPL","mid":"1.5",{GOOD_TIME}}}')
        await stage.put_text(TSLA, f'{{"symbol":"TSLA","mid":"2.5",{GOOD_TIME}}}')
        answers = await stage.source.quotes([TSLA, MSFT, AAPL])
        prices = {s: a.price for s, a in answers.items() if isinstance(a, Quote)}
        assert prices == {AAPL: Decimal("1.5"), TSLA: Decimal("2.5")}
        assert answers[MSFT] == NoQuote(MSFT, "no price")
        assert set(answers) == {AAPL, MSFT, TSLA}

    async def test_asking_for_nothing_answers_nothing(self, stage: PricesStage) -> None:
        assert dict(await stage.source.quotes([])) == {}

    async def test_a_symbol_asked_for_twice_is_answered(self, stage: PricesStage) -> None:
        assert set(await stage.source.quotes([AAPL, AAPL])) == {AAPL}

    async def test_a_thousand_symbols_are_answered(self, stage: PricesStage) -> None:
        symbols = [Symbol(f"S{number}") for number in range(1000)]
        await stage.put_text(symbols[-1], f'{{"symbol":"S999","mid":"7",{GOOD_TIME}}}')
        answers = await stage.source.quotes(symbols)
        assert [s for s in symbols if isinstance(answers[s], Quote)] == [symbols[-1]]
        assert len(answers) == len(symbols)

    async def test_the_last_price_put_counts(self, stage: PricesStage) -> None:
        for mid in ("1", "2"):
            await stage.put_text(AAPL, f'{{"symbol":"AAPL","mid":"{mid}",{GOOD_TIME}}}')
        quote = (await stage.source.quotes([AAPL]))[AAPL]
        assert isinstance(quote, Quote)
        assert quote.price == Decimal(2)

    @pytest.mark.parametrize(
        ("mid", "price"),
        [
            ('"0.0001"', "0.0001"),
            ('"1e2"', "100"),
            ("189.1", "189.1"),
            ("100", "100"),
            ("0.1234567890123456789", "0.1234567890123456789"),
        ],
    )
    async def test_a_mid_is_read_exactly(self, stage: PricesStage, mid: str, price: str) -> None:
        await stage.put_text(AAPL, f'{{"symbol":"AAPL","mid":{mid},{GOOD_TIME}}}')
        quote = (await stage.source.quotes([AAPL]))[AAPL]
        assert isinstance(quote, Quote)
        assert quote.price == Decimal(price)

    @pytest.mark.parametrize(
        "mid",
        [
            '"0"',
            '"-1"',
            "0",
            "-5",
            '"NaN"',
            "NaN",
            '"Infinity"',
            "Infinity",
            "1e400000000000000000000",
            '"1e30"',
            "true",
            "null",
            "[]",
            '"1_000"',
            '" 1"',
            '"one"',
            '""',
            '"' + "1" * 41 + '"',
            '"0.' + "1" * 41 + '"',
            '"٣"',
        ],
    )
    async def test_a_mid_that_is_no_price_is_no_quote(self, stage: PricesStage, mid: str) -> None:
        await stage.put_text(AAPL, f'{{"symbol":"AAPL","mid":{mid},{GOOD_TIME}}}')
        await self._expect_refusal(stage)

    @pytest.mark.parametrize(
        "stamp",
        [
            '"other":1',
            '"timestamp":null',
            '"timestamp":1772463600',
            '"timestamp":""',
            '"timestamp":"yesterday"',
            '"timestamp":"2026-03-02"',
            '"timestamp":"2026-03-02T15:00:00"',
            '"timestamp":"0001-01-01T00:00:00+14:00"',
        ],
    )
    async def test_a_price_without_a_usable_time_is_no_quote(
        self, stage: PricesStage, stamp: str
    ) -> None:
        await stage.put_text(AAPL, f'{{"symbol":"AAPL","mid":"1",{stamp}}}')
        await self._expect_refusal(stage)

    async def test_a_time_with_another_offset_is_read_as_utc(self, stage: PricesStage) -> None:
        stamp = '"timestamp":"2026-03-02T16:00:00.25+01:00"'
        await stage.put_text(AAPL, f'{{"symbol":"AAPL","mid":"1",{stamp}}}')
        quote = (await stage.source.quotes([AAPL]))[AAPL]
        assert isinstance(quote, Quote)
        assert quote.as_of == TIME
        assert quote.as_of.tzinfo is UTC

    @pytest.mark.parametrize(
        "text",
        [
            f'{{"symbol":"MSFT","mid":"1",{GOOD_TIME}}}',
            f'{{"symbol":"aapl","mid":"1",{GOOD_TIME}}}',
            f'{{"mid":"1",{GOOD_TIME}}}',
            f'{{"symbol":"AAPL","mid":"1","mid":"2",{GOOD_TIME}}}',
            "",
            "not json",
            "null",
            "[]",
            "1.5",
            '{"symbol":"AAPL"',
            "[" * 100_000,
        ],
    )
    async def test_what_is_no_price_of_the_symbol_is_no_quote(
        self, stage: PricesStage, text: str
    ) -> None:
        await stage.put_text(AAPL, text)
        await self._expect_refusal(stage)

    async def _expect_refusal(self, stage: PricesStage) -> None:
        answer = (await stage.source.quotes([AAPL]))[AAPL]
        assert isinstance(answer, NoQuote)
        assert answer.symbol == AAPL
        assert answer.reason
        assert "\n" not in answer.reason

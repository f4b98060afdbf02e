from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import evolve, frozen

from orchestrator_adapters.conformance.breaker import BreakerStage, CircuitBreakerConformance
from orchestrator_adapters.conformance.clock import ClockConformance
from orchestrator_adapters.conformance.closes import CloseSourceConformance, ClosesStage
from orchestrator_adapters.conformance.kill_switch import KillSwitchConformance, KillSwitchStage
from orchestrator_adapters.conformance.prices import PriceSourceConformance, PricesStage
from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.memory.breaker import MemoryCircuitBreaker
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.closes import MemoryCloseSource
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.prices import MemoryPriceSource
from orchestrator_adapters.shared_closes import Close, close_key
from orchestrator_adapters.shared_keys import CIRCUIT_BREAKER_STATE, KILL_SWITCH_STATE, price_key
from orchestrator_adapters.sqlite import shared
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import NoQuote
from tests.unit.builders import NOW, a_quote


@frozen
class MemorySwitchStage:
    switch: MemoryKillSwitch
    another: MemoryKillSwitch

    async def put_text(self, text: str | None) -> None:
        self.switch.put_text(text)

    async def get_text(self) -> str | None:
        return self.switch.get_text()


@frozen
class MemoryPricesStage:
    source: MemoryPriceSource

    async def put_text(self, symbol: Symbol, text: str) -> None:
        self.source.put_text(symbol, text)


@frozen
class MemoryClosesStage:
    source: MemoryCloseSource

    async def put_text(self, symbol: Symbol, text: str) -> None:
        self.source.put_text(symbol, text)


@frozen
class MemoryBreakerStage:
    breaker: MemoryCircuitBreaker

    async def put_text(self, text: str | None) -> None:
        self.breaker.put_text(text)


class TestMemoryKillSwitch(KillSwitchConformance):
    @pytest.fixture
    def stage(self) -> KillSwitchStage:
        switch = MemoryKillSwitch()
        return MemorySwitchStage(switch, switch)


class TestMemoryPriceSource(PriceSourceConformance):
    @pytest.fixture
    def stage(self) -> PricesStage:
        return MemoryPricesStage(MemoryPriceSource())


class TestMemoryCloseSource(CloseSourceConformance):
    @pytest.fixture
    def stage(self) -> ClosesStage:
        return MemoryClosesStage(MemoryCloseSource())


class TestMemoryCircuitBreaker(CircuitBreakerConformance):
    @pytest.fixture
    def stage(self) -> BreakerStage:
        return MemoryBreakerStage(MemoryCircuitBreaker())


class TestVirtualClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock(NOW)


class TestSystemClock(ClockConformance):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()


async def put_key(database: SqliteDatabase, key: str, text: str | None) -> None:
    if text is not None:
        await database.write("test", "put", lambda file: shared.put_text(file, key, text))
        return
    await database.write(
        "test", "delete", lambda file: file.execute("DELETE FROM shared_state WHERE key=?", (key,))
    )


@frozen
class SqliteSwitchStage:
    database: SqliteDatabase
    switch: shared.SqliteKillSwitch
    another: shared.SqliteKillSwitch

    async def put_text(self, text: str | None) -> None:
        await put_key(self.database, KILL_SWITCH_STATE, text)

    async def get_text(self) -> str | None:
        text = await self.database.read(
            "test", "get", lambda file: shared.get_text(file, KILL_SWITCH_STATE)
        )
        return text.decode() if isinstance(text, bytes) else text


@frozen
class SqlitePricesStage:
    database: SqliteDatabase
    source: shared.SqlitePriceSource

    async def put_text(self, symbol: Symbol, text: str) -> None:
        await put_key(self.database, price_key(symbol), text)


@frozen
class SqliteClosesStage:
    database: SqliteDatabase
    source: shared.SqliteCloseSource

    async def put_text(self, symbol: Symbol, text: str) -> None:
        await put_key(self.database, close_key(symbol), text)


@frozen
class SqliteBreakerStage:
    database: SqliteDatabase
    breaker: shared.SqliteCircuitBreaker

    async def put_text(self, text: str | None) -> None:
        await put_key(self.database, CIRCUIT_BREAKER_STATE, text)


@pytest.fixture
def database_path(tmp_path: Path) -> Path:
    return tmp_path / "shared.db"


@pytest.fixture
async def database(database_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(database_path)
    yield database
    await database.aclose()


@pytest.fixture
async def other_process(database_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(database_path)
    yield database
    await database.aclose()


class TestSqliteKillSwitch(KillSwitchConformance):
    @pytest.fixture
    def stage(self, database: SqliteDatabase, other_process: SqliteDatabase) -> KillSwitchStage:
        return SqliteSwitchStage(
            database, shared.SqliteKillSwitch(database), shared.SqliteKillSwitch(other_process)
        )


class TestSqlitePriceSource(PriceSourceConformance):
    @pytest.fixture
    def stage(self, database: SqliteDatabase) -> PricesStage:
        return SqlitePricesStage(database, shared.SqlitePriceSource(database))


class TestSqliteCloseSource(CloseSourceConformance):
    @pytest.fixture
    def stage(self, database: SqliteDatabase) -> ClosesStage:
        return SqliteClosesStage(database, shared.SqliteCloseSource(database))


class TestSqliteCircuitBreaker(CircuitBreakerConformance):
    @pytest.fixture
    def stage(self, database: SqliteDatabase) -> BreakerStage:
        return SqliteBreakerStage(database, shared.SqliteCircuitBreaker(database))


@pytest.mark.anyio
async def test_quotes_put_into_sqlite_are_answered_as_they_were(database: SqliteDatabase) -> None:
    source = shared.SqlitePriceSource(database)
    quotes = [a_quote("AAPL", "189.1234567890123456789"), a_quote("BRK.B", "1E-7")]
    await source.put(quotes)
    await source.put([a_quote("AAPL", "190")])
    answers = await source.quotes([Symbol("AAPL"), Symbol("BRK.B"), Symbol("TSLA")])
    found = {symbol: getattr(answer, "price", None) for symbol, answer in answers.items()}
    assert found == {"AAPL": a_quote("AAPL", "190").price, "BRK.B": quotes[1].price, "TSLA": None}
    assert answers[Symbol("TSLA")] == NoQuote(Symbol("TSLA"), "no price")
    assert {getattr(answer, "as_of", NOW) for answer in answers.values()} == {NOW}


@pytest.mark.anyio
async def test_quotes_put_into_memory_are_answered_as_they_were() -> None:
    source = MemoryPriceSource()
    source.put([a_quote("AAPL", "1"), a_quote("AAPL", "2")])
    assert await source.quotes([Symbol("AAPL")]) == {Symbol("AAPL"): a_quote("AAPL", "2")}


@pytest.mark.anyio
async def test_closes_put_are_answered_as_they_were(database: SqliteDatabase) -> None:
    aapl, brk, day = Symbol("AAPL"), Symbol("BRK.B"), date(2026, 2, 27)
    first = [Close(aapl, Decimal("189.1234567890123456789"), day), Close(brk, Decimal("1E-7"), day)]
    then = [Close(aapl, Decimal("1.9E+2"), day)]
    memory, file = MemoryCloseSource(), shared.SqliteCloseSource(database)
    for closes in (first, then):
        memory.put(closes)
        await file.put(closes)
    for source in (memory, file):
        found = await source.closes([aapl, brk, Symbol("TSLA")], before=date(2026, 3, 2))
        assert {symbol: (close.price, close.as_of.date()) for symbol, close in found.items()} == {
            aapl: (Decimal(190), day),
            brk: (Decimal("1E-7"), day),
        }


@pytest.mark.anyio
async def test_a_close_and_a_price_of_one_symbol_stand_beside_each_other(
    database: SqliteDatabase,
) -> None:
    aapl = Symbol("AAPL")
    await shared.SqlitePriceSource(database).put([a_quote("AAPL", "2")])
    closes = shared.SqliteCloseSource(database)
    await closes.put([Close(aapl, Decimal(1), date(2026, 2, 27))])
    assert (await shared.SqlitePriceSource(database).quotes([aapl]))[aapl] == evolve(
        a_quote("AAPL", "2"), source=shared.SOURCE
    )
    assert (await closes.closes([aapl], before=date(2026, 3, 2)))[aapl].price == 1


def test_virtual_time_passes_only_as_it_is_told() -> None:
    clock = VirtualClock(NOW)
    clock.advance(90)
    assert (clock.now() - NOW).total_seconds() == 90
    assert clock.monotonic() == 90
    clock.set_time_of_day(NOW)
    assert (clock.now(), clock.monotonic()) == (NOW, 90)


def test_virtual_time_begins_at_an_aware_time() -> None:
    with pytest.raises(ValueError, match="UTC"):
        VirtualClock(NOW.replace(tzinfo=None))

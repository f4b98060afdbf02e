"""Runs that the service stored, made once more by a backtest's workflow: the same bytes.

The runs are of the whole service: peers over HTTP, prices from their store, SQLite or Postgres.
"""

import asyncio
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator_core.identifiers import Symbol
from orchestrator_core.replay import RecordFilter, StoredRecord, derive
from orchestrator_core.what_if import Changes
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.from_runs import AS_RECORDED, backtest_from_runs
from orchestrator_entrypoints.backtests.recorded import from_record
from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.data import daily_prices
from orchestrator_entrypoints.demo.peers import PAPER, Peers, running_peers
from orchestrator_entrypoints.settings import read_settings
from orchestrator_entrypoints.wiring import wire_runs
from tests.integration.service_parts import price_in_redis
from tests.servers.redis import RedisServer

SYMBOLS = ["AAPL", "KO", "MSFT", "XOM"]


@pytest.fixture(params=["sqlite", "postgres"])
def peers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Peers]:
    """The service's peers, its environment set, prices in their store."""
    with running_peers(flags=PAPER) as peers:
        environ = {
            "SIGNAL_SERVICE_URL": peers.signal_service_url,
            "EXECUTION_GATEWAY_URL": peers.execution_gateway_url,
            "DRY_RUN": "false",
        }
        if request.param == "sqlite":
            environ |= {
                "ORCHESTRATOR_EMBEDDED": "true",
                "ORCHESTRATOR_DATA": str(tmp_path / "orchestrator.db"),
            }
        else:
            redis: RedisServer = request.getfixturevalue("empty_redis")
            price_in_redis(redis, SYMBOLS)
            environ |= {
                "DATABASE_URL": request.getfixturevalue("database_url"),
                "REDIS_HOST": "127.0.0.1",
                "REDIS_PORT": str(redis.port),
            }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        if request.param == "sqlite":
            put_prices(peers)
        else:
            operator = ["--operator", "ops", "--notes", "the first start"]
            assert main(["kill-switch", "init", *operator]) == 0
        yield peers


def put_prices(peers: Peers) -> None:
    closes = peers.prices.last_closes()
    assert (
        main(["prices", "set", *(f"{symbol}={closes[Symbol(symbol)]}" for symbol in SYMBOLS)]) == 0
    )


def run(*arguments: str, code: int = ExitCode.DONE) -> None:
    assert main(["run", "--symbols", *SYMBOLS, *arguments]) == code


def stored_records() -> list[StoredRecord]:
    async def read() -> list[StoredRecord]:
        store = wire_runs(read_settings(os.environ))
        try:
            return list(await store.runs.records(RecordFilter(), after=None, limit=100))
        finally:
            await store.aclose()

    return asyncio.run(read())


def decided(record: StoredRecord) -> list[str]:
    return [row.decided for row in record.rows]


def test_absolute_runs_are_the_same_bytes(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--rebalance-key", "one")
    run("--rebalance-key", "one")  # its orders are adopted
    run("--dry-run", "--rebalance-key", "dry")
    run("--rebalance-key", "tight", "--limit", "restricted_symbols=KO", "--capital", "54321.09")
    run("--rebalance-key", "old", "--as-of", "2022-06-01")
    monkeypatch.setenv("MAX_DAY_GROSS", "1000000")
    monkeypatch.setenv("LEFTOVER_PASS", "true")
    run("--rebalance-key", "two")
    monkeypatch.setenv("MAX_ORDERS_A_RUN", "3")
    run("--rebalance-key", "refused", code=ExitCode.FAILED)

    records = stored_records()
    assert len(records) == 7
    for record in records:
        again = from_record(record)
        assert decided(again) == decided(record)
        assert (again.text, again.digest) == (record.text, record.digest)
    assert len(peers.ledger.orders) > 0


def test_differences_beside_positions_and_open_orders_are_the_same_bytes(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIZING_MODE", "delta")
    monkeypatch.setenv("CLOSE_ABSENT", "true")
    run("--rebalance-key", "opened")
    run("--rebalance-key", "there already")
    run("--rebalance-key", "fewer", "--capital", "50000")
    peers.ledger.fills = False
    run("--rebalance-key", "more", "--capital", "90000")
    run("--rebalance-key", "beside open orders", "--capital", "95000")

    records = stored_records()
    accounts = [derive(record).snapshot.holdings for record in records]
    assert any(account is not None and account.open_orders for account in accounts)
    assert any(account is not None and account.positions for account in accounts)
    for record in records:
        again = from_record(record)
        assert decided(again) == decided(record)
        assert (again.text, again.digest) == (record.text, record.digest)


def test_a_recorded_period_is_decided_under_other_policies(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIZING_MODE", "delta")
    days = [day for day in daily_prices().dates if day.month == 6 and day.year == 2022][:3]
    for day in days:
        run("--rebalance-key", day.isoformat(), "--as-of", day.isoformat())
    records = stored_records()

    policies = {
        "half": Changes(capital=Decimal(50_000)),
        "buffer": Changes(rules={"cash_buffer": Decimal("0.1")}),
    }
    found = backtest_from_runs(records, policies, fills=FillModel(commission_per_order=1))

    as_recorded, half, _ = found.outcomes
    assert (as_recorded.name, as_recorded.changed) == (AS_RECORDED, 0)
    assert [run.as_of_date for run in half.runs] == days
    assert half.changed > 0
    assert half.runs[0].after is not None
    assert half.runs[0].after.investable == Decimal(50_000)
    assert as_recorded.result is not None
    assert half.result is not None
    assert as_recorded.result.capital == 2 * half.result.capital == 100_000
    assert [run.status for run in half.result.runs] == ["completed"] * (len(days) - 1)
    first = derive(records[0])
    assert as_recorded.result.runs[0].record is not None
    again = derive(as_recorded.result.runs[0].record)
    assert [row.qty for row in again.rows] == [row.qty for row in first.rows]

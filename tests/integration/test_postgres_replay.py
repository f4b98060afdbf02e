"""Replays of a real run database, by the command line: every page, and elsewhere the same bytes."""

import json
import random
from datetime import timedelta
from pathlib import Path

import anyio
import psycopg
import pytest

from orchestrator_adapters.conformance.run_cases import (
    START,
    a_record,
    a_request,
    a_signal,
    an_opening,
    started,
)
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.limits import Limits
from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.stored import PAGE
from tests.servers.postgres import PostgresServer

RUNS = 2 * PAGE + 7
SYMBOLS = [f"S{number:03d}" for number in range(12)]


async def fill(dsn: str, *, runs: int, symbols: list[str], seed: int = 1) -> None:
    """Store plans with orders, denials and every kind of skip; some begin at one moment."""
    choice = random.Random(seed)  # noqa: S311 - the same runs each time
    async with PostgresDatabase(dsn, min_size=1) as database:
        repository = PostgresRunRepository(database)
        for number in range(runs):
            opening = an_opening(
                started_at=START + timedelta(seconds=number // 3),
                request=a_request(symbols, rebalance_key=f"r{number // 2}"),
            )
            weights = {s: choice.choice([0.0, choice.uniform(-1, 1), 1e-9]) for s in symbols}
            record = a_record(
                opening,
                [a_signal(symbol, weight) for symbol, weight in weights.items()],
                prices={
                    symbol: f"{choice.uniform(0.5, 900):.4f}"
                    for symbol in symbols
                    if choice.random() < 0.9
                },
                limits=Limits(max_order_qty=5_000),
            )
            await started(repository, opening=opening, record=record)


def test_every_stored_run_replays_and_from_a_file_to_the_same_bytes(
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with postgres_server.fresh_database() as dsn:
        anyio.run(lambda: fill(dsn, runs=RUNS, symbols=SYMBOLS))
        monkeypatch.setenv("DATABASE_URL", dsn)
        capsys.readouterr()
        assert main(["replay", "--all", "--json"]) == ExitCode.DONE
        stored = json.loads(capsys.readouterr().out)
        assert main(["runs", "export"]) == ExitCode.DONE
        lines = capsys.readouterr().out
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "UPDATE signal_order_mappings SET order_qty = order_qty + 1 WHERE id ="
                " (SELECT max(id) FROM signal_order_mappings WHERE order_qty IS NOT NULL)"
            )
        assert main(["replay", "--all", "--json"]) == ExitCode.CHANGED
        touched = json.loads(capsys.readouterr().out)
    assert (stored["runs"], stored["equal"]) == (RUNS, RUNS)
    assert stored["decisions"] == RUNS * len(SYMBOLS)
    assert (touched["changed"], touched["equal"]) == (1, RUNS - 1)
    # What this version makes of the records is the same.
    assert touched["decided_hash"] == stored["decided_hash"]
    assert dsn not in lines
    file = tmp_path / "runs.jsonl"
    file.write_text(lines)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert main(["replay", "--file", str(file), "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out) == stored

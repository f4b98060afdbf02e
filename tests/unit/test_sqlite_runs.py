"""What the run database in a SQLite file does beyond the suite that every one passes."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import evolve, frozen

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    LEASE_SECONDS,
    StartedRun,
    a_closing,
    a_report,
    a_settlement,
    let_trade,
    started,
)
from orchestrator_adapters.conformance.run_followings import an_acceptance, due, news_of
from orchestrator_adapters.conformance.run_stage import taken_over
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_adapters.sqlite.runs import SqliteRunRepository
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Settlement
from tests.unit.builders import NOW

pytestmark = pytest.mark.anyio

S = OrderState


@frozen
class Stage:
    """A repository whose clock, and whose file, the test owns."""

    runs: SqliteRunRepository
    database: SqliteDatabase
    clock: VirtualClock

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    async def columns(self, table: str, names: str, run_id: RunId) -> list[tuple[object, ...]]:
        """Return what reports would read of a run."""
        query = f"SELECT {names} FROM {table} WHERE run_id = ?"  # noqa: S608
        rows = await self.database.read(
            "test", "columns", lambda file: file.execute(query, (str(run_id),)).fetchall()
        )
        return [tuple(row) for row in rows]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database, clock = SqliteDatabase(tmp_path / "runs.db"), VirtualClock(NOW)
    yield Stage(SqliteRunRepository(database, clock), database, clock)
    await database.aclose()


async def sent(stage: Stage, *symbols: str) -> StartedRun:
    """Start a run whose orders are all SENDING."""
    if await stage.runs.read_latch() is None:
        await let_trade(stage.runs)
    return await started(stage.runs, symbols, claims=True)


@pytest.mark.parametrize("closes_adopter", [False, True])
async def test_reports_read_the_news_of_an_order_where_it_was_adopted_too(
    stage: Stage, *, closes_adopter: bool
) -> None:
    owner = await sent(stage, "AAPL", "IBM")
    await stage.runs.commit_wave(owner.lease, [an_acceptance(id_) for id_ in owner.ids], None)
    adopter = await started(stage.runs, ["IBM", "AAPL", "MSFT"])
    if closes_adopter:
        planned = a_settlement(adopter.ids[-1], S.HALTED)
        await stage.runs.close_run(adopter.lease, a_closing(planned))
    await stage.pass_time(60)
    [first, second] = await due(stage)
    assert first.intent.symbol == "AAPL"
    await stage.runs.record_news(
        [news_of(first, "filled", filled="10"), news_of(second, "partially_filled", filled="5")]
    )
    words = "symbol, order_status, filled_qty, filled_avg_price, gateway_status"
    [*_, ibm, aapl] = sorted(
        await stage.columns("signal_order_mappings", words, adopter.run_id), reverse=True
    )
    assert aapl == ("AAPL", "filled", "10", "101.25", None)
    assert ibm == ("IBM", "partially_filled", "5", "101.25", None)
    for run in (owner, adopter):
        assert await stage.columns("orchestration_runs", "num_orders_filled", run.run_id) == [(1,)]


async def test_of_acknowledgements_in_one_commit_the_last_tells_whether_ids_are_kept(
    stage: Stage,
) -> None:
    run = await sent(stage, "AAPL", "IBM", "MSFT")
    await stage.runs.commit_wave(
        run.lease,
        [
            Settlement(run.ids[0], S.ACCEPTED, report=OrderReport("accepted", "theirs")),
            Settlement(run.ids[1], S.ACCEPTED, report=OrderReport("accepted", run.ids[1])),
            a_settlement(run.ids[2], S.UNKNOWN),
        ],
        None,
    )
    assert (await taken_over(stage, run.run_id)).keeps_ids is True


async def test_an_outcome_recorded_again_does_not_follow_what_has_ended_since(
    stage: Stage,
) -> None:
    run = await sent(stage, "AAPL")
    settlement = an_acceptance(run.ids[0])
    await stage.runs.commit_wave(run.lease, [settlement], None)
    await stage.pass_time(60)
    [order] = await due(stage)
    await stage.runs.record_news([news_of(order, "filled", filled="10")])
    await stage.runs.commit_wave(run.lease, [settlement], None)
    await stage.pass_time(1_000)
    assert not await due(stage)


async def test_a_look_at_an_order_in_doubt_that_finds_it_begins_to_follow_it(stage: Stage) -> None:
    run = await sent(stage, "AAPL")
    unknown = Settlement(run.ids[0], S.UNKNOWN, "?", report=a_report(run.ids[0], "pending_new"))
    await stage.runs.commit_wave(run.lease, [unknown], None)
    assert not await stage.runs.live_orders(after=None, limit=10)
    await stage.runs.close_run(run.lease, a_closing(an_acceptance(run.ids[0])))
    assert len(await stage.runs.live_orders(after=None, limit=10)) == 1
    await stage.pass_time(60)
    assert len(await due(stage)) == 1


async def test_news_of_an_order_that_is_not_there_changes_nothing(stage: Stage) -> None:
    run, other = await sent(stage, "AAPL"), await sent(stage, "IBM")
    for each in (run, other):
        await stage.runs.commit_wave(each.lease, [an_acceptance(each.ids[0])], None)
    await stage.pass_time(60)
    news = [news_of(order, "filled") for order in await due(stage)]
    await stage.runs.record_news([evolve(each, run_id=RunId(uuid4())) for each in news])
    await stage.runs.record_news([evolve(news[0], run_id=news[1].run_id)])
    assert len(await stage.runs.live_orders(after=None, limit=10)) == 2


async def test_a_run_that_ended_is_due_no_more_nor_are_its_adopters(stage: Stage) -> None:
    owner = await sent(stage, "AAPL")
    adopter = await started(stage.runs, ["AAPL"])
    await stage.runs.close_run(adopter.lease, a_closing(look_again=1))
    settled = an_acceptance(owner.ids[0])
    await stage.runs.close_run(owner.lease, a_closing(settled, look_again=1))
    for run in (owner, adopter):
        leases = await stage.columns("run_leases", "lease_expires_at, recover_at", run.run_id)
        assert leases == [(None, None)]


async def test_a_damaged_record_holds_up_no_other_run(stage: Stage) -> None:
    damaged = await started(stage.runs, ["AAPL"])
    await stage.pass_time(1)
    sound = await started(stage.runs, ["IBM"])
    await stage.database.write(
        "test",
        "damage",
        lambda file: file.execute(
            "UPDATE orchestration_runs SET snapshot = '{}' WHERE run_id = ?",
            (str(damaged.run_id),),
        ),
    )
    await stage.pass_time(LEASE_SECONDS)

    with pytest.raises(IllegalTransition, match=str(damaged.run_id)):
        await stage.runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)

    taken = await stage.runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)
    assert taken is not None
    assert taken.lease.run_id == sound.run_id

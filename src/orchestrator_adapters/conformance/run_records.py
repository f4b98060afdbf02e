"""How what a plan was derived from is read again."""

from datetime import timedelta
from uuid import uuid4

from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    END,
    START,
    StartedRun,
    a_closing,
    a_record,
    a_settlement,
    a_signal,
    an_opening,
    let_trade,
    opened,
    started,
)
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.commits import PlanRecord
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Limits
from orchestrator_core.model import NoQuote, Signal
from orchestrator_core.orders import order_of
from orchestrator_core.planning import plan_orders
from orchestrator_core.ports import RunRepository
from orchestrator_core.record import canonical_json, content_hash, encode_snapshot
from orchestrator_core.replay import PlanRow, RecordFilter, StoredRecord, Verdict, replay

EVERY = RecordFilter()
BETA = StrategyId("beta")


class RecordCases:
    """Cases of `get_record` and `records`."""

    async def test_a_record_comes_back_as_it_was_stored(self, stage: RunStage) -> None:
        run = await _run_of_every_kind(stage.runs)
        found = await _record_of(stage.runs, run)
        text = canonical_json(encode_snapshot(run.record.snapshot))
        assert (found.text, found.digest) == (text, content_hash(text))
        assert (found.run_id, found.strategy_id) == (run.run_id, run.opening.strategy_id)
        assert (found.started_at, found.status) == (START, "running")
        planned = tuple(PlanRow.of(order_of(each)) for each in run.record.plan.decisions)
        assert found.rows == planned
        assert {row.state for row in found.rows} == {"planned", "skipped", "denied"}

    async def test_a_record_replays_to_the_same_bytes(self, stage: RunStage) -> None:
        run = await _run_of_every_kind(stage.runs)
        assert replay(await _record_of(stage.runs, run)).verdict is Verdict.EQUAL

    async def test_what_became_of_orders_changes_nothing_that_was_decided(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        symbols = ("AAPL", "KO", "MSFT")
        run = await started(stage.runs, symbols, claims=True)
        before = await _record_of(stage.runs, run)
        states = (OrderState.ACCEPTED, OrderState.REJECTED, OrderState.NOT_PLACED)
        settlements = [a_settlement(*each) for each in zip(run.ids, states, strict=True)]
        await stage.runs.close_run(run.lease, a_closing(*settlements))
        after = await _record_of(stage.runs, run)
        assert [row.decided for row in after.rows] == [row.decided for row in before.rows]
        assert {row.symbol: row.state for row in after.rows} == dict(
            zip(symbols, map(str, states), strict=True)
        )
        assert [row.gateway_status for row in after.rows] == ["accepted", None, None]
        assert after.status == "partial"
        # Causes of failures may name hosts: they are no part of a record.
        assert {row.reason for row in after.rows} == {None}

    async def test_an_adopted_order_was_to_be_sent_too(self, stage: RunStage) -> None:
        first = await _record_of(stage.runs, await started(stage.runs))
        later = await _record_of(stage.runs, await started(stage.runs))
        assert [row.state for row in later.rows] == ["adopted"]
        assert [row.decided for row in later.rows] == [row.decided for row in first.rows]
        assert replay(later).verdict is Verdict.EQUAL

    async def test_there_is_no_record_without_a_plan(self, stage: RunStage) -> None:
        opening = an_opening()
        await opened(stage.runs, opening)
        assert await stage.runs.get_record(opening.run_id) is None
        assert await stage.runs.get_record(RunId(uuid4())) is None
        assert list(await stage.runs.records(EVERY, after=None, limit=10)) == []

    async def test_a_plan_without_signals_has_a_record(self, stage: RunStage) -> None:
        opening = an_opening()
        record = a_record(opening, signals=(), prices={})
        run = await started(stage.runs, opening=opening, record=record)
        found = await _record_of(stage.runs, run)
        assert found.rows == ()
        assert replay(found).verdict is Verdict.EQUAL

    async def test_pages_hold_every_record_once_oldest_first(self, stage: RunStage) -> None:
        # Several begin at one moment: the id decides among them.
        ages = (3, 1, 1, 1, 2, 0, 0)
        runs = [await _started_after(stage.runs, seconds) for seconds in ages]
        expected = sorted((run.opening.started_at, run.run_id) for run in runs)
        for limit in (1, 2, 3, 7, 100):
            found: list[StoredRecord] = []
            while page := await stage.runs.records(
                EVERY, after=found[-1] if found else None, limit=limit
            ):
                assert len(page) <= limit
                found += page
                assert len(found) <= len(expected)
            assert [(each.started_at, each.run_id) for each in found] == expected
            assert found == [await stage.runs.get_record(each.run_id) for each in found]

    async def test_pages_hold_what_matches(self, stage: RunStage) -> None:
        old = await _started_after(stage.runs, 0)
        new = await _started_after(stage.runs, 10)
        other = await _started_after(stage.runs, 20, strategy=BETA)
        since = START + timedelta(seconds=10)
        for matching, expected in (
            (EVERY, [old, new, other]),
            (RecordFilter(since=since), [new, other]),
            (RecordFilter(since=since + timedelta(microseconds=1)), [other]),
            (RecordFilter(strategy_id=BETA), [other]),
            (RecordFilter(strategy_id=new.opening.strategy_id), [old, new]),
            (RecordFilter(new.opening.strategy_id, since), [new]),
            (RecordFilter(BETA, END + timedelta(days=1)), []),
        ):
            found = await stage.runs.records(matching, after=None, limit=10)
            assert [each.run_id for each in found] == [run.run_id for run in expected]
            behind = await stage.runs.records(
                matching, after=await _record_of(stage.runs, old), limit=10
            )
            assert [each.run_id for each in behind] == [
                run.run_id for run in expected if run is not old
            ]


async def _run_of_every_kind(runs: RunRepository) -> StartedRun:
    opening = an_opening(("AAPL", "KO", "MSFT", "PEP", "XOM"))
    signals = [
        a_signal("AAPL", 0.01),
        a_signal("KO", -0.5),
        a_signal("MSFT", 0.0),
        a_signal("PEP", 1e-7),
        Signal(opening.request.symbols[4], 0.1 + 0.2, 2**40, -0.02),
    ]
    prices = {"AAPL": "0.1000", "KO": "60.0100", "PEP": "170.5"}
    record = a_record(
        opening,
        signals,
        prices=prices,
        limits=Limits(max_order_qty=9_000),
        metadata={"words": "“quoted” 東京", "number": 1e22, "deep": {"null": None}},
    )
    # Another's words, of which no database stores every one.
    unpriced = NoQuote(opening.request.symbols[4], "a\x00b\ud800 東京")
    snapshot = evolve(record.snapshot, quotes=(*record.snapshot.quotes, unpriced))
    record = PlanRecord(snapshot, plan_orders(snapshot, snapshot.policy))
    return await started(runs, opening=opening, record=record)


async def _record_of(runs: RunRepository, run: StartedRun) -> StoredRecord:
    found = await runs.get_record(run.run_id)
    assert found is not None
    return found


async def _started_after(
    runs: RunRepository, seconds: float, *, strategy: StrategyId | None = None
) -> StartedRun:
    opening = an_opening(started_at=START + timedelta(seconds=seconds))
    if strategy is not None:
        opening = an_opening(strategy=strategy, started_at=opening.started_at)
    return await started(runs, opening=opening)

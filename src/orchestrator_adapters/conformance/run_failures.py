"""Runs that failed in a row."""

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from attrs import define, field

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    END,
    START,
    a_closing,
    a_record,
    a_request,
    a_settlement,
    an_opening,
    let_trade,
    opened,
    started,
)
from orchestrator_adapters.conformance.run_controls import K, an_event, controls
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.commits import RunClosing, RunOpening
from orchestrator_core.controls import StrategyControls
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.orders import Settlement
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import FailureKind, RunFailure

NO_SIGNALS = RunFailure(FailureKind.SIGNALS_UNAVAILABLE, "down")
NO_SUCH_SYMBOL = RunFailure(FailureKind.SIGNALS_REFUSED, "no prices of ZZZZ")


def begun(
    minute: int,
    symbols: Sequence[str] = ("AAPL",),
    *,
    strategy: StrategyId = ALPHA,
    request: RunRequest | None = None,
) -> RunOpening:
    """Return the opening of a run that begins at that minute."""
    at = START + timedelta(minutes=minute)
    return an_opening(symbols, strategy=strategy, started_at=at, request=request)


def ended(minute: int, *settlements: Settlement, failure: RunFailure | None = None) -> RunClosing:
    """Return the end of a run at that minute, some seconds after a run that begins at it."""
    return a_closing(*settlements, failure=failure, at=END + timedelta(minutes=minute))


async def failed(
    stage: RunStage,
    minute: int,
    *,
    end: int | None = None,
    strategy: StrategyId = ALPHA,
    dry_run: bool = False,
    failure: RunFailure = NO_SIGNALS,
) -> None:
    """Have a run begin at that minute and fail, in the same or at `end`."""
    opening = begun(minute, strategy=strategy, request=a_request(dry_run=dry_run))
    lease = await opened(stage.runs, opening)
    await stage.runs.close_run(lease, ended(minute if end is None else end, failure=failure))


async def succeeded(
    stage: RunStage,
    minute: int,
    *,
    end: int | None = None,
    strategy: StrategyId = ALPHA,
    dry_run: bool = False,
) -> None:
    """Have a run that needs no order begin at that minute and complete, in the same or at `end`."""
    request = a_request(dry_run=dry_run, capital="1")
    opening = begun(minute, strategy=strategy, request=request)
    lease = await opened(stage.runs, opening)
    record = a_record(opening)
    assert not record.plan.intents
    await stage.runs.commit_plan(lease, record, None)
    await stage.runs.close_run(lease, ended(minute if end is None else end))


async def rearmed(stage: RunStage, minute: int, *, strategy: StrategyId = ALPHA) -> None:
    """Have an operator re-arm the strategy as a run of that minute begins."""
    await stage.runs.add_control_event(an_event(K.REARMED, minute, strategy=strategy))


@define
class RowModel:
    """The rule on failed runs in its plainest words, over everything that ever happened.

    Attributes:
        begun: When one strategy's completed runs that count began, and whether each failed.
        rearmed: When operators re-armed it, in the order of recording.
    """

    begun: list[tuple[int, bool]] = field(factory=list)
    rearmed: list[int] = field(factory=list)

    async def step(
        self, chance: random.Random, stage: RunStage, minute: int, strategy: StrategyId
    ) -> None:
        """Let a chance event happen at that minute, here and in the store."""
        end = minute + chance.randrange(500)
        match chance.randrange(10):
            case 0:
                await rearmed(stage, minute, strategy=strategy)
                self.rearmed.append(minute)
            case 1 | 2:
                await succeeded(stage, minute, end=end, strategy=strategy)
                self.begun.append((minute, False))
            case 3:
                await failed(stage, minute, end=end, strategy=strategy, dry_run=True)
            case 4:
                await succeeded(stage, minute, end=end, strategy=strategy, dry_run=True)
            case 5:
                await opened(stage.runs, begun(minute, strategy=strategy))
            case _:
                await failed(stage, minute, end=end, strategy=strategy)
                self.begun.append((minute, True))

    def failed_runs(self) -> int:
        """Return how many failed in a row since the latest re-arming."""
        since = self.rearmed[-1] if self.rearmed else -1
        row = 0
        for minute, is_failed in sorted(self.begun, reverse=True):
            if minute <= since or not is_failed:
                break
            row += 1
        return row


class FailureCountCases:
    """Cases of failed runs in a row."""

    async def test_failed_runs_are_counted_as_far_as_asked(self, stage: RunStage) -> None:
        for minute in range(3):
            assert (await controls(stage)).failed_runs == minute
            await failed(stage, minute)
        counted = [(await controls(stage, count=most)).failed_runs for most in range(5)]
        assert counted == [0, 1, 2, 3, 3]
        assert (await controls(stage, BETA)).failed_runs == 0

    async def test_a_run_that_did_not_fail_ends_the_row(self, stage: RunStage) -> None:
        await failed(stage, 0)
        await succeeded(stage, 1)
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 2)
        await failed(stage, 3)
        assert (await controls(stage)).failed_runs == 2

    async def test_the_order_is_that_of_their_beginning(self, stage: RunStage) -> None:
        await succeeded(stage, 5)
        await failed(stage, 1, end=9)
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 6)
        assert (await controls(stage)).failed_runs == 1
        await succeeded(stage, 4, end=9)
        assert (await controls(stage)).failed_runs == 1

    async def test_a_run_of_before_the_failures_that_recovery_completes_does_not_end_the_row(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, opening=begun(0), claims=True)
        await failed(stage, 1)
        await failed(stage, 2)
        taken = await taken_over(stage, run.run_id)
        accepted = a_settlement(run.ids[0], OrderState.ACCEPTED)
        settled = await stage.runs.close_run(taken.lease, ended(9, accepted))
        assert settled.status is RunStatus.COMPLETED
        assert (await controls(stage)).failed_runs == 2

    async def test_a_partial_run_ends_the_row(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        await failed(stage, 0)
        run = await started(stage.runs, opening=begun(1, ("A", "B")), claims=True)
        states = (OrderState.ACCEPTED, OrderState.REJECTED)
        outcomes = [a_settlement(id_, state) for id_, state in zip(run.ids, states, strict=True)]
        await stage.runs.close_run(run.lease, ended(1, *outcomes))
        assert (await controls(stage)).failed_runs == 0

    async def test_a_run_whose_orders_were_all_refused_is_a_failed_one(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        refused = a_settlement(run.ids[0], OrderState.REJECTED)
        await stage.runs.close_run(run.lease, a_closing(refused))
        assert (await controls(stage)).failed_runs == 1

    async def test_re_arming_begins_the_row_anew(self, stage: RunStage) -> None:
        for minute in range(3):
            await failed(stage, minute)
        await rearmed(stage, 4)
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 5)
        assert (await controls(stage)).failed_runs == 1

    async def test_the_re_arming_recorded_last_counts_whatever_its_time(
        self, stage: RunStage
    ) -> None:
        for minute in range(5):
            await failed(stage, minute)
        for minute, left in ((7, 0), (1, 3), (3, 1)):
            await rearmed(stage, minute)
            assert (await controls(stage)).failed_runs == left

    async def test_a_run_counts_that_began_after_the_re_arming(self, stage: RunStage) -> None:
        await failed(stage, 0, end=9)
        await rearmed(stage, 0)
        assert (await controls(stage)).failed_runs == 0
        opening = an_opening(started_at=START + timedelta(microseconds=1))
        lease = await opened(stage.runs, opening)
        await stage.runs.close_run(lease, ended(0, failure=NO_SIGNALS))
        assert (await controls(stage)).failed_runs == 1

    async def test_nothing_but_re_arming_begins_the_row_anew(self, stage: RunStage) -> None:
        await failed(stage, 0)
        for kind in (K.REDUCE_ONLY_ON, K.REDUCE_ONLY_OFF):
            await stage.runs.add_control_event(an_event(kind, 2))
        await rearmed(stage, 3, strategy=BETA)
        assert (await controls(stage)).failed_runs == 1

    async def test_rows_of_two_strategies_do_not_meet(self, stage: RunStage) -> None:
        await failed(stage, 0)
        await failed(stage, 1, strategy=BETA)
        await succeeded(stage, 2, strategy=BETA)
        await failed(stage, 3)
        assert (await controls(stage)).failed_runs == 2
        assert (await controls(stage, BETA)).failed_runs == 0

    async def test_of_runs_that_begin_at_one_moment_the_later_opened_is_the_later(
        self, stage: RunStage
    ) -> None:
        await failed(stage, 0, end=3)
        await succeeded(stage, 0, end=2)
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 0, end=1)
        assert (await controls(stage)).failed_runs == 1

    async def test_a_run_that_fails_with_the_owner_of_its_orders_counts_too(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, claims=True)
        adopter = await started(stage.runs)
        left_open = await stage.runs.close_run(adopter.lease, a_closing())
        assert left_open.status is RunStatus.RUNNING
        refused = a_settlement(owner.ids[0], OrderState.REJECTED)
        await stage.runs.close_run(owner.lease, a_closing(refused))
        assert (await controls(stage)).failed_runs == 2

    async def test_a_request_that_the_strategy_refused_neither_counts_nor_ends_the_row(
        self, stage: RunStage
    ) -> None:
        for minute in range(3):
            await failed(stage, minute, failure=NO_SUCH_SYMBOL)
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 3)
        await failed(stage, 4, failure=NO_SUCH_SYMBOL)
        await failed(stage, 5)
        assert (await controls(stage, count=2)).failed_runs == 2

    async def test_a_dry_run_neither_counts_nor_ends_the_row(self, stage: RunStage) -> None:
        await failed(stage, 0)
        await failed(stage, 1, dry_run=True)
        assert (await controls(stage)).failed_runs == 1
        await succeeded(stage, 2, dry_run=True)
        assert (await controls(stage)).failed_runs == 1
        await failed(stage, 3)
        assert (await controls(stage, count=2)).failed_runs == 2

    async def test_an_open_run_neither_counts_nor_ends_the_row(self, stage: RunStage) -> None:
        await failed(stage, 0)
        await started(stage.runs, opening=begun(1, ("A",)))
        await opened(stage.runs, begun(2, ("B",)))
        assert await controls(stage) == StrategyControls(failed_runs=1)

    @pytest.mark.parametrize("seed", range(3))
    async def test_any_order_of_events_comes_out_as_by_the_rule(
        self, stage: RunStage, seed: int
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 - the same walk each time
        models = {ALPHA: RowModel(), BETA: RowModel()}
        for minute in chance.sample(range(1000), 40):
            strategy = chance.choice((ALPHA, BETA))
            await models[strategy].step(chance, stage, minute, strategy)
            for each, model in models.items():
                most = chance.randrange(1, 6)
                counted = (await controls(stage, each, count=most)).failed_runs
                assert counted == min(model.failed_runs(), most)

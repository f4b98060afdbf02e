import os
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from distributed import Client

from orchestrator_entrypoints.sweeps.cluster import WorkPlugin, run_on_cluster
from orchestrator_entrypoints.sweeps.journal import open_journal
from orchestrator_entrypoints.sweeps.processes import run_on_processes
from orchestrator_entrypoints.sweeps.sweeping import ClusterUnavailable, sweep
from tests.integration.counted_work import CountedWork, computed, numbers
from tests.integration.dask_cluster import DaskCluster, running_cluster
from tests.integration.test_sweeps import wait_until


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with running_cluster(tmp_path, workers=2) as running:
        yield running


def test_a_cluster_and_processes_give_the_same_outcomes(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    work = CountedWork(tmp_path / "log", refused=3)
    with open_journal(tmp_path / "cluster", "inputs") as journal:
        compute = partial(run_on_cluster, work, scheduler=cluster.address)
        there = sweep(numbers(20), compute, journal)
    assert len(computed(tmp_path / "log")) == 20
    with open_journal(tmp_path / "processes", "inputs") as journal:
        assert there == sweep(numbers(20), partial(run_on_processes, work, processes=2), journal)


def test_a_worker_killed_in_a_cluster_costs_its_cell_alone(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    work = CountedWork(log, gate, gated_from=4)
    coming = run_on_cluster(work, numbers(12), scheduler=cluster.address)
    outcomes = [next(coming) for _ in range(4)]
    wait_until(lambda: len([number for _, number in computed(log) if number >= 4]) == 2)
    # The worker that computed what came last: that is not to be computed again.
    last = int(dict(outcomes[-1].cell)["number"])
    [victim] = [process for process, number in computed(log) if number == last]
    [lost] = [number for process, number in computed(log) if process == victim and number >= 4]
    known = {process for process, _ in computed(log)}
    os.kill(victim, signal.SIGKILL)
    cluster.add_worker()  # one that joins late has the work, too
    wait_until(lambda: any(process not in known for process, _ in computed(log)))
    gate.touch()
    outcomes += list(coming)
    assert sorted(int(outcome.figures["square"]) for outcome in outcomes) == [
        n * n for n in range(12)
    ]
    assert Counter(number for _, number in computed(log)) - Counter(range(12)) == Counter([lost])


def test_every_worker_killed_is_survived_once_another_joins(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    coming = run_on_cluster(
        CountedWork(log, gate, gated_from=2), numbers(6), scheduler=cluster.address
    )
    outcomes = [next(coming) for _ in range(2)]
    wait_until(lambda: len([number for _, number in computed(log) if number >= 2]) == 2)
    for victim, number in computed(log):
        if number >= 2:
            os.kill(victim, signal.SIGKILL)
    cluster.add_worker()
    gate.touch()
    outcomes += list(coming)
    assert len(outcomes) == 6
    assert all(outcome.error is None for outcome in outcomes)


def test_a_cell_that_kills_every_worker_of_a_cluster_is_given_up(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    cells = numbers(20)
    coming = run_on_cluster(CountedWork(log, fatal=0), cells, scheduler=cluster.address)
    for _ in range(3):
        cluster.add_worker()
    outcomes = {outcome.cell: outcome for outcome in coming}
    fatal, *others = (outcomes[cell] for cell in cells)
    assert fatal.is_lost
    assert [outcome.error for outcome in others] == [None] * 19


def test_a_scheduler_that_is_lost_ends_the_sweep_with_what_is_known_kept(
    cluster: DaskCluster, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    work = CountedWork(tmp_path / "log", gate, gated_from=3)
    with open_journal(tmp_path / "journal", "inputs") as journal:
        compute = partial(run_on_cluster, work, scheduler=cluster.address)

        def lose(_steps: int) -> None:
            if len(journal.done) == 3:
                cluster.kill_scheduler()

        with pytest.raises(ClusterUnavailable, match="the scheduler was lost"):
            sweep(numbers(6), compute, journal, progress=lose)
        assert set(journal.done) == set(numbers(3))
        gate.touch()
        outcomes = sweep(numbers(6), partial(run_on_processes, work, processes=2), journal)
    assert [outcome.error for outcome in outcomes] == [None] * 6


def test_a_scheduler_that_is_not_there_is_told(free_address: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterUnavailable, match=free_address):
        list(
            run_on_cluster(
                CountedWork(tmp_path / "log"),
                numbers(1),
                scheduler=free_address,
                connect_seconds=0.3,
            )
        )


@pytest.fixture
def free_address() -> str:
    return "tcp://127.0.0.1:9"


def test_a_cluster_without_workers_is_told(tmp_path: Path) -> None:
    with (
        running_cluster(tmp_path, workers=0) as empty,
        pytest.raises(ClusterUnavailable, match="no worker has joined"),
    ):
        list(
            run_on_cluster(
                CountedWork(tmp_path / "log"),
                numbers(1),
                scheduler=empty.address,
                connect_seconds=3,
            )
        )


def test_a_worker_with_other_code_is_refused(cluster: DaskCluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    list(run_on_cluster(CountedWork(log), numbers(1), scheduler=cluster.address))
    plugin = WorkPlugin(CountedWork(log))
    plugin.code = "another"
    with (
        Client(cluster.address, set_as_default=False) as client,  # type: ignore[no-untyped-call]
        pytest.raises(RuntimeError, match="of another version than the sweep's"),
    ):
        client.register_plugin(plugin)

"""Computing cells on a Dask cluster (extra `distributed`).

The work goes once to each worker as a plugin, to those that join later too: data that were only
scattered would be gone with the workers that hold them. Dask gives the cells of a lost worker to
others by itself.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

from attrs import frozen
from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, as_completed, get_worker

from orchestrator_entrypoints.sweeps.cells import Cell, Outcome, Work, evaluate
from orchestrator_entrypoints.sweeps.code import code_digest
from orchestrator_entrypoints.sweeps.processes import lost_outcome


class ClusterUnavailable(ConnectionError):
    """A cluster does not answer, has no workers, or cannot compute ours."""


class WorkPlugin(WorkerPlugin):
    """Keeps a work on each worker.

    Attributes:
        code: What stands for the library's sources; a worker with others refuses the work.
    """

    def __init__(self, work: Work) -> None:
        # Another sweep of the same work must not take it away when it ends.
        self.work, self.code, self.name = work, code_digest(), f"orchestrator-sweep-{uuid4()}"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - as Dask calls it
        """Refuse a worker of another version: its figures might differ."""
        if self.code != code_digest():
            raise RuntimeError("its orchestrator is of another version than the sweep's")


@frozen
class _Computation:
    """One cell's task: small, since the work is there already."""

    plugin: str

    def __call__(self, cell: Cell) -> Outcome:
        plugins: dict[str, Any] = get_worker().plugins
        return evaluate(plugins[self.plugin].work, cell)


def run_on_cluster(
    work: Work, cells: Sequence[Cell], *, scheduler: str, connect_seconds: float = 10.0
) -> Iterator[Outcome]:
    """Yield an outcome for each cell, as they come.

    Args:
        work: Sent once to each worker.
        cells: Each once.
        scheduler: Address, as `tcp://host:8786`.
        connect_seconds: How long the scheduler, and then a first worker, is waited for.

    Raises:
        ClusterUnavailable: It did not answer, or could not take the work.
    """
    plugin = WorkPlugin(work)
    with _connected(scheduler, connect_seconds) as client:
        _install(client, plugin, connect_seconds)
        try:
            yield from _computed(client, plugin.name, cells)
        finally:
            client.unregister_worker_plugin(plugin.name)


def _connected(scheduler: str, seconds: float) -> Client:
    try:
        return Client(  # type: ignore[no-untyped-call]
            scheduler, timeout=seconds, set_as_default=False
        )
    except (OSError, ValueError) as problem:
        raise ClusterUnavailable(f"{scheduler}: {problem}") from None


def _install(client: Client, plugin: WorkPlugin, seconds: float) -> None:
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError:
        raise ClusterUnavailable("no worker has joined the scheduler") from None
    try:
        client.register_plugin(plugin)
    except Exception as error:
        raise ClusterUnavailable(f"a worker cannot take the work: {error}") from error


def _computed(client: Client, plugin: str, cells: Sequence[Cell]) -> Iterator[Outcome]:
    futures: dict[Future[Outcome], Cell] = {
        client.submit(_Computation(plugin), cell, key=f"{plugin}-{place}", pure=False): cell
        for place, cell in enumerate(cells)
    }
    done = as_completed(list(futures), loop=client.loop)  # type: ignore[no-untyped-call]
    for future in done:
        cell = futures.pop(future)
        error = future.exception()
        if error is None:
            yield future.result()
        elif isinstance(error, KilledWorker):
            yield lost_outcome(cell)
        else:
            raise ClusterUnavailable(f"the cluster gave a cell up: {error}")

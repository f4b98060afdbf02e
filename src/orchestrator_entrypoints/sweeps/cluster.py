"""Computing cells on a Dask cluster (extra `distributed`).

The work goes once to each worker as a plugin, to those that join later too: data that were only
scattered would be gone with the workers that hold them. Dask gives the cells of a lost worker to
others by itself.
"""

from asyncio import CancelledError
from collections.abc import Iterator, Sequence
from queue import Empty, Queue
from uuid import uuid4

from attrs import frozen
from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, get_worker
from distributed.comm.addressing import get_address_host_port
from distributed.comm.core import CommClosedError

from orchestrator_entrypoints.sweeps.cells import Cell, Outcome, Work, evaluate, lost_outcome
from orchestrator_entrypoints.sweeps.code import code_digest
from orchestrator_entrypoints.sweeps.sweeping import ClusterUnavailable

LOST = "the scheduler was lost"

# How often a cluster that says nothing is looked at.
LOOK_SECONDS = 1.0


class WorkPlugin(WorkerPlugin):
    """Keeps a work on each worker.

    Attributes:
        code: What stands for the library's sources; a worker with others refuses the work.
        is_ready: Whether the worker that this stands on computes what the sweep means.
    """

    def __init__(self, work: Work) -> None:
        # Another sweep of the same work must not take it away when it ends.
        self.work, self.code, self.name = work, code_digest(), f"orchestrator-sweep-{uuid4()}"
        self.is_ready = False

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - as Dask calls it
        """Refuse a worker of another version: its figures might differ."""
        if self.code != code_digest():
            raise RuntimeError("its orchestrator is of another version than the sweep's")
        self.is_ready = True


@frozen
class _Computation:
    """One cell's task: small, since the work is there already."""

    plugin: str

    def __call__(self, cell: Cell) -> Outcome:
        worker = get_worker()
        plugin = worker.plugins.get(self.plugin)
        # One that joins late is given cells whether its plugin could be set up or not.
        if not (isinstance(plugin, WorkPlugin) and plugin.is_ready):
            raise RuntimeError(f"the worker at {worker.address} could not take the work")
        return evaluate(plugin.work, cell)


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
        ValueError: The address is of another form.
    """
    plugin = WorkPlugin(work)
    with _connected(scheduler, connect_seconds) as client:
        _install(client, plugin, connect_seconds)
        try:
            yield from _computed(client, plugin.name, cells)
        finally:
            if client.status == "running":
                client.unregister_worker_plugin(plugin.name)


def _connected(scheduler: str, seconds: float) -> Client:
    # A client that was given an address of another form hangs as it is closed.
    get_address_host_port(scheduler)
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
    done: Queue[Future[Outcome]] = Queue()
    task = _Computation(plugin)
    # Keys of one group may wait at the scheduler, in place of workers that may die.
    waiting: dict[Future[Outcome], Cell] = {
        client.submit(task, cell, key=(plugin, place), priority=-place, pure=False): cell
        for place, cell in enumerate(cells)
    }
    for future in waiting:
        future.add_done_callback(done.put)  # type: ignore[no-untyped-call]
    while waiting:
        _require_running(client)
        try:
            future = done.get(timeout=LOOK_SECONDS)
        except Empty:
            continue
        outcome = _outcome_of(client, future, waiting.pop(future))
        # What is held on to is computed again, should the worker that has it die.
        future.release()  # type: ignore[no-untyped-call]
        yield outcome


def _outcome_of(client: Client, future: "Future[Outcome]", cell: Cell) -> Outcome:
    while True:
        _require_running(client)
        try:
            return future.result(timeout=LOOK_SECONDS)
        except TimeoutError:
            continue  # the worker that held it may have died: it is computed again
        except KilledWorker:
            return lost_outcome(cell, "as many workers died over it as the cluster allows")
        except CommClosedError:
            raise ClusterUnavailable(LOST) from None
        except (Exception, CancelledError) as error:
            raise ClusterUnavailable(f"the cluster gave a cell up: {error}") from error


def _require_running(client: Client) -> None:
    # Dask waits for a scheduler that is gone, and for good if it comes back knowing nothing.
    if client.status != "running":
        raise ClusterUnavailable(LOST)

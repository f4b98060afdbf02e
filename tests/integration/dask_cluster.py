"""A real Dask cluster of processes of this machine."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]


@frozen
class DaskCluster:
    """A scheduler, and workers that nothing starts again.

    Attributes:
        address: Of the scheduler.
    """

    address: str
    _directory: Path
    _processes: list[subprocess.Popen[bytes]]

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; it joins in time."""
        options = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--death-timeout", "30"]
        return self._start("worker", self.address, *options)

    def kill_scheduler(self) -> None:
        """End the scheduler as a power cut would."""
        self._processes[0].kill()
        self._processes[0].wait()

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        output = (self._directory / f"{kind}-{len(self._processes)}.log").open("wb")
        with output:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments],
                cwd=self._directory,
                env={
                    "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
                    "HOME": str(self._directory),
                    # A worker holds what it computes, and nothing that would die with it.
                    "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
                },
                stdout=output,
                stderr=output,
            )
        self._processes.append(process)
        return process


@contextmanager
def running_cluster(directory: Path, *, workers: int) -> Iterator[DaskCluster]:
    """Run a cluster with that many workers."""
    processes: list[subprocess.Popen[bytes]] = []
    file = directory / "scheduler.json"
    starting = DaskCluster("", directory, processes)
    try:
        starting._start(  # noqa: SLF001 - its own module's
            "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        )
        cluster = DaskCluster(_address_in(file), directory, processes)
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def _address_in(file: Path) -> str:
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        try:
            return str(json.loads(file.read_text())["address"])
        except (FileNotFoundError, ValueError):
            time.sleep(0.02)
    raise AssertionError("the scheduler did not come up")

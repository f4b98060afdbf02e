"""One run, wall and CPU, beside the floor; runs a second; memory after many; `/health`."""

import asyncio
import time
from collections.abc import Sequence
from itertools import count
from statistics import median

from bench.stack import Stack, Target, run_body, running_stack
from bench.tables import print_table

ROUNDS = 15
WARM_UP = 3
KEYS = count()


async def timed_run(target: Target, signals: int, *, sides: int) -> float:
    """Make one run over a fresh connection pool of one; return wall seconds."""
    client = target.client()
    body = run_body(target, signals, f"k{next(KEYS)}", sides=sides)
    try:
        await client.get("/health")
        started = time.perf_counter()
        status, answer = await client.post(target.path, body)
        elapsed = time.perf_counter() - started
    finally:
        client.close()
    if status != 200 or answer["status"] != "completed":
        raise RuntimeError(f"{target.name} answered {status}: {str(answer)[:300]}")
    return elapsed


def compare_single(stack: Stack, latency_ms: int, signals: int, sides: int) -> list[str]:
    """Return a row of medians, floor and service interleaved."""
    walls: dict[str, list[float]] = {"floor": [], "service": []}
    cpus: dict[str, float] = {}
    stack.refresh_prices()
    for target in (stack.floor, stack.service):
        for _ in range(WARM_UP):
            asyncio.run(timed_run(target, signals, sides=sides))
        cpus[target.name] = -target.cpu_seconds()
    for _ in range(ROUNDS):
        for target in (stack.floor, stack.service):
            walls[target.name].append(asyncio.run(timed_run(target, signals, sides=sides)))
    for target in (stack.floor, stack.service):
        cpus[target.name] += target.cpu_seconds()
    floor, service = median(walls["floor"]), median(walls["service"])
    return [
        f"{signals}",
        f"{sides}",
        f"{latency_ms}",
        f"{floor * 1e3:.1f}",
        f"{service * 1e3:.1f}",
        f"{service / floor:.2f}",
        f"{cpus['floor'] / ROUNDS * 1e3:.1f}",
        f"{cpus['service'] / ROUNDS * 1e3:.1f}",
    ]


async def throughput(
    targets: Sequence[Target], clients: int, seconds: float
) -> tuple[float, float]:
    """Return runs a second and CPU ms a run of 5 signals, clients spread over the targets."""
    until = time.perf_counter() + seconds
    done = 0

    async def drive(target: Target) -> None:
        nonlocal done
        client = target.client()
        while time.perf_counter() < until:
            status, answer = await client.post(target.path, run_body(target, 5, f"k{next(KEYS)}"))
            if status != 200:
                raise RuntimeError(f"{target.name} answered {status}: {str(answer)[:300]}")
            done += 1
        client.close()

    cpu = -sum(target.cpu_seconds() for target in targets)
    started = time.perf_counter()
    await asyncio.gather(*(drive(targets[number % len(targets)]) for number in range(clients)))
    elapsed = time.perf_counter() - started
    cpu += sum(target.cpu_seconds() for target in targets)
    return done / elapsed, cpu / done * 1e3


def single(*, quick: bool = False) -> None:
    """Print one run's wall and CPU for each size and latency."""
    sizes = (5, 100) if quick else (1, 5, 100, 1_000)
    rows = []
    for latency_ms in (0, 20):
        with running_stack(gateway_latency=latency_ms / 1e3) as stack:
            rows += [
                compare_single(stack, latency_ms, signals, sides)
                for signals in sizes
                for sides in ((1, 2) if signals > 1 else (1,))
            ]
    print_table(
        f"One run, median of {ROUNDS}, floor and service interleaved. The floor sends both sides "
        "at once; the service sells first",
        [
            *("signals", "sides", "gateway ms", "floor ms", "service ms", "ratio"),
            *("floor CPU", "service CPU"),
        ],
        rows,
    )


def concurrent(*, quick: bool = False) -> None:
    """Print runs a second of 5 signals at 1, 8 and 32 clients, and with a second process."""
    seconds = 2.0 if quick else 5.0
    rows = []
    for latency_ms in (0, 20):
        with running_stack(gateway_latency=latency_ms / 1e3) as stack:
            for clients in (1, 8, 32):
                stack.refresh_prices()
                row = [f"{clients}", f"{latency_ms}"]
                for targets in ([stack.floor], [stack.service], [stack.service, stack.twin]):
                    rate, cpu = asyncio.run(throughput(targets, clients, seconds))
                    row += [f"{rate:.0f}", f"{cpu:.1f}"]
                rows.append(row)
    print_table(
        "Runs a second, 5 signals, and CPU ms a run",
        [
            *("clients", "gateway ms", "floor", "CPU"),
            *("service", "CPU", "two processes", "CPU"),
        ],
        rows,
    )


def memory(*, quick: bool = False) -> None:
    """Print resident memory as runs go by."""
    total = 1_000 if quick else 10_000
    rows = []
    with running_stack(gateway_latency=0.0) as stack:
        done = 0
        rows.append(["0", f"{stack.service.resident_mb():.0f}"])
        while done < total:
            stack.refresh_prices()
            done += asyncio.run(_runs(stack.service, total // 5))
            rows.append([f"{done}", f"{stack.service.resident_mb():.0f}"])
    print_table("Memory of the service", ["runs", "resident MB"], rows)


async def _runs(target: Target, wanted: int) -> int:
    started = 0

    async def drive() -> None:
        nonlocal started
        client = target.client()
        while started < wanted:
            started += 1
            status, answer = await client.post(target.path, run_body(target, 5, f"k{next(KEYS)}"))
            if status != 200:
                raise RuntimeError(f"{target.name} answered {status}: {str(answer)[:300]}")
        client.close()

    await asyncio.gather(*(drive() for _ in range(8)))
    return started

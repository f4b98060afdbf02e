"""What planning costs, and how long imports and the command line take."""

import subprocess
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from statistics import median

from bench.tables import print_table
from orchestrator_core.identifiers import Decision, StrategyId, Symbol, TradingMode
from orchestrator_core.limits import Limits
from orchestrator_core.model import Quote, Signal, SignalBatch
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import PlanningPolicy, Snapshot
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import SizingPolicy


def a_snapshot(signals: int) -> Snapshot:
    """Return a snapshot whose every signal becomes an order under all limits."""
    now, today = datetime(2026, 3, 2, 15, tzinfo=UTC), date(2026, 3, 2)
    symbols = tuple(Symbol(f"S{number:04d}") for number in range(signals))
    policy = PlanningPolicy(
        sizing=SizingPolicy(capital=Decimal(10_000_000), max_position_size=Decimal(20_000)),
        limits=Limits(max_order_qty=10_000, max_order_notional=Decimal(100_000)),
    )
    return Snapshot(
        decision=Decision("bench", TradingMode.DRY, StrategyId("bench"), today),
        request=RunRequest(symbols, today, Decimal(10_000_000), Decimal(20_000)),
        policy=policy,
        batch=SignalBatch(
            tuple(Signal(s, 0.0123, n, 1 / signals) for n, s in enumerate(symbols)),
            today,
            signals,
        ),
        quotes=tuple(Quote(symbol, Decimal("101.27"), now, "bench") for symbol in symbols),
        decided_at=now,
        code_version="bench",
    )


def planning(*, quick: bool = False) -> None:
    """Print microseconds a signal, all limits on."""
    rounds = 5 if quick else 25
    rows = []
    for signals in (5, 100, 1_000):
        snapshot = a_snapshot(signals)
        assert len(plan_orders(snapshot, snapshot.policy).intents) == signals
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            plan_orders(snapshot, snapshot.policy)
            times.append(time.perf_counter() - started)
        rows.append([f"{signals}", f"{median(times) / signals * 1e6:.1f}"])
    print_table("Planning, all limits on", ["signals", "us a signal"], rows)


def startup(*, quick: bool = False) -> None:
    """Print the time to import the core and to start the command line."""
    rounds = 3 if quick else 10
    commands = {
        "python": ["-c", "pass"],
        "import orchestrator_core.workflow": ["-c", "import orchestrator_core.workflow"],
        "orchestrator --help": ["-m", "orchestrator_entrypoints", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - started)
    bare = median(times["python"])
    rows = [
        [name, f"{median(t) * 1e3:.0f}", f"{(median(t) - bare) * 1e3:.0f}"]
        for name, t in times.items()
    ]
    print_table("Start-up", ["command", "wall ms", "above bare Python"], rows)

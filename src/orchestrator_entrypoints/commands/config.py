"""`orchestrator config check`: the settings in force, and what everything answers."""

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import evolve

from orchestrator_core.halting import read_shared
from orchestrator_core.kill_switch import Halted, Unreadable
from orchestrator_core.model import SafetyFlags
from orchestrator_core.ports import BreakerState
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import settings_for
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.session import with_settings
from orchestrator_entrypoints.control_answers import reduce_only_sources
from orchestrator_entrypoints.health import (
    HealthObserver,
    Observation,
    Problem,
    count_open,
    gateway_distrust,
    why_not_ready,
)
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.setting_rules import open_limits
from orchestrator_entrypoints.settings import Settings

EMBEDDED_ONLY = frozenset({"ORCHESTRATOR_DATA"})
SERVERS_ONLY = frozenset(
    {
        *("DATABASE_URL", "DB_POOL_MIN_SIZE", "DB_POOL_MAX_SIZE", "DB_POOL_TIMEOUT"),
        *("REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD"),
    }
)


def check(arguments: argparse.Namespace, console: Console) -> int:
    """Print both; end with 0 if a run could be made now. Nothing is made that is not there."""
    settings = settings_for(arguments)

    async def work(orchestrator: Orchestrator) -> ExitCode:
        with console.working("asking every part"):
            if settings.embedded:
                # A new file makes its kill switch when that is first read.
                await read_shared(orchestrator.ports.kill_switch)
            observation = await HealthObserver(orchestrator).observe()
        answers = describe(observation, orchestrator, settings)
        reasons = why_not_ready(observation, orchestrator)
        if arguments.json:
            shown = {
                "settings": settings.shown(),
                "warnings": list(settings.warnings),
                "open_limits": list(open_limits(settings)),
                "answers": dict(answers),
                "ready": not reasons,
                "reasons": list(reasons),
            }
            console.json(shown)
        else:
            _write_settings(console, settings)
            console.line()
            console.pairs(answers)
            console.line()
            console.line("a run would be refused now" if reasons else "a run can be made now")
        return _code_of(observation, orchestrator, reasons)

    if not _lacks_file(settings):
        return with_settings(settings, work)
    with TemporaryDirectory() as directory:
        # What is asked is what the file would be, made elsewhere and thrown away.
        return with_settings(evolve(settings, data=str(Path(directory, "orchestrator.db"))), work)


def _lacks_file(settings: Settings) -> bool:
    """Whether embedded parts have no file yet, and could make one."""
    path = Path(settings.data)
    return settings.embedded and not path.exists() and os.access(path.parent, os.W_OK | os.X_OK)


def _write_settings(console: Console, settings: Settings) -> None:
    console.pairs(
        [
            (name, f"{value}  {_origin(name, settings)}".rstrip())
            for name, value in settings.shown().items()
        ]
    )
    unlimited = open_limits(settings)
    if unlimited:
        console.line()
        console.line(f"limits left open: {', '.join(unlimited)}")
    for warning in settings.warnings:
        console.line(f"warning: {warning}")


def _origin(name: str, settings: Settings) -> str:
    is_netted = settings.strategies is not None
    unused = SERVERS_ONLY if settings.embedded else EMBEDDED_ONLY
    if name in unused or (is_netted and name == "SIGNAL_SERVICE_URL"):
        return "(not used)"
    if name in settings.given:
        return ""
    return "(from STRATEGIES)" if is_netted and name == "STRATEGY_ID" else "(default)"


def describe(
    observation: Observation, orchestrator: Orchestrator, settings: Settings
) -> tuple[tuple[str, str], ...]:
    """Return what each part answered, by its name."""
    answers = (
        ("Signal Service", _said(observation.signal_service, ", ".join(settings.signal_services))),
        ("Execution Gateway", _said(observation.gateway, settings.execution_gateway_url)),
        ("safety flags", _flags(observation.flags, orchestrator)),
        ("run database", _database(observation, settings)),
        ("kill switch", _switch(observation)),
        ("circuit breaker", _breaker(observation, orchestrator)),
        ("controls", _controls(observation, orchestrator)),
        ("open orders", _open_orders(observation)),
        ("recovery", _recovery(observation)),
    )
    stores = (observation.database, observation.switch.shared)
    causes = {each.cause for each in stores if isinstance(each, Problem | Unreadable)}
    return tuple(_told_once(answers, causes))


def _told_once(
    answers: Iterable[tuple[str, str]], causes: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield the answers; a store's cause stands in full in the first that it explains."""
    told: dict[str, str] = {}
    for name, answer in answers:
        text = answer
        for cause in causes:
            if cause in told:
                text = text.replace(cause, f"see {told[cause]}")
            elif cause in text:
                told[cause] = name
        yield name, text


def _database(observation: Observation, settings: Settings) -> str:
    if _lacks_file(settings):
        return f"no file yet: a run, or serve, makes {settings.data}"
    where = settings.data if settings.embedded else settings.shown()["DATABASE_URL"]
    return _said(observation.database, where)


def _said(problem: Problem | None, where: str) -> str:
    return f"answers at {where}" if problem is None else f"NOT usable, {where}: {problem.cause}"


def _flags(flags: SafetyFlags | Problem, orchestrator: Orchestrator) -> str:
    distrust = gateway_distrust(flags, orchestrator.policy)
    if isinstance(flags, Problem):
        return distrust or f"not verified: {flags.cause}"
    said = f"the gateway says dry_run={flags.dry_run} alpaca_paper={flags.alpaca_paper}".lower()
    return said if distrust is None else f"{distrust}: {said}"


def _switch(observation: Observation) -> str:
    verdict = observation.switch.verdict
    if not isinstance(verdict, Halted):
        return "ACTIVE: orders may leave"
    word = "ENGAGED" if verdict.engaged else "HALTED, in doubt"
    return f"{word}: {verdict.reason}; {verdict.release}"


def _breaker(observation: Observation, orchestrator: Orchestrator) -> str:
    breaker = observation.breaker
    if orchestrator.ports.breaker is None:
        return "not enabled"
    if breaker is None:
        return "not set: lets runs through"
    if isinstance(breaker, Problem):
        return f"holds runs back, unreadable: {breaker.cause}"
    if breaker.state is BreakerState.TRIPPED:
        return f"TRIPPED: {breaker.reason or 'no reason given'}"
    return "OPEN: lets runs through"


def _controls(observation: Observation, orchestrator: Orchestrator) -> str:
    controls, policy = observation.controls, orchestrator.policy
    if isinstance(controls, Problem):
        return f"not known: {controls.cause}"
    sources = reduce_only_sources(controls, policy)
    mode = f"reduce-only, by {' and '.join(sources)}" if sources else "not reduce-only"
    return f"{mode}, THROTTLED" if policy.is_throttled_by(controls) else mode


def _open_orders(observation: Observation) -> str:
    orders = observation.open_orders
    if isinstance(orders, Problem):
        return f"not known: {orders.cause}"
    counts = count_open(orders)
    waiting = counts.unresolved + counts.in_conflict
    by_hand = f", {waiting} for an operator: orchestrator orders open" if waiting else ""
    return f"{len(orders)}{by_hand}"


def _recovery(observation: Observation) -> str:
    backlog = observation.backlog
    if isinstance(backlog, Problem):
        return f"not known: {backlog.cause}"
    due = counted_as(backlog.runs_due, "run")
    return f"{due} due, {counted_as(backlog.orders_followed, 'order')} followed"


def _code_of(
    observation: Observation, orchestrator: Orchestrator, reasons: tuple[str, ...]
) -> ExitCode:
    if not reasons:
        return ExitCode.DONE
    distrust = gateway_distrust(observation.flags, orchestrator.policy)
    is_unavailable = bool(observation.problems) or distrust is not None
    return ExitCode.UNAVAILABLE if is_unavailable else ExitCode.HALTED

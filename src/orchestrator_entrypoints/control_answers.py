"""A strategy's controls as they are shown, and an operator's changes to them.

The HTTP service and the command line do and show the same.
"""

import logging
from collections.abc import Sequence

from attrs import evolve

from orchestrator_core.controlling import record_control
from orchestrator_core.controls import ControlEvent, ControlEventKind, StrategyControls
from orchestrator_core.errors import InvalidRequest
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunRepository
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.wire import ControlChange, ControlSource, ControlsStatus

MAX_EVENTS_SHOWN = 20

_LOG = logging.getLogger("orchestrator.controls")


class ReduceOnlyIsOff(InvalidRequest):
    """Reduce-only mode was to be turned off, and is not on."""


async def change_controls(
    orchestrator: Orchestrator, kind: ControlEventKind, *, operator: str, notes: str
) -> ControlsStatus:
    """Do what an operator asks for, and return how the controls stand then.

    Raises:
        ReduceOnlyIsOff: Reduce-only mode cannot be turned off: nobody has it on.
        InvalidRequest: It cannot be: a setting has it on.
        TradingHalted: As `record_control`.
        PortError: As `record_control`; or it was done, and cannot be read back.
    """
    ports, policy = orchestrator.ports, orchestrator.policy
    if kind is ControlEventKind.REDUCE_ONLY_OFF:
        await _require_operators(ports.runs, policy)
    event = ControlEvent(policy.strategy_id, kind, ports.clock.now(), operator, notes)
    answer = await record_control(
        event,
        kill_switch=ports.kill_switch,
        runs=ports.runs,
        clock=ports.clock,
        wait_seconds=orchestrator.settings.kill_switch_drain_seconds,
    )
    log_event(
        _LOG, logging.WARNING, "controls changed", change=str(kind), operator=operator, notes=notes
    )
    status = await read_status(ports.runs, policy)
    return evolve(status, drained=answer.drained, in_flight=len(answer.in_flight))


async def _require_operators(runs: RunRepository, policy: RunPolicy) -> None:
    if policy.limits.reduce_only:
        raise InvalidRequest(
            "on", "REDUCE_ONLY is set in the service's environment: unset it there"
        )
    controls = await runs.read_controls(policy.strategy_id, count_failures=0)
    if not controls.reduce_only:
        raise ReduceOnlyIsOff("on", "reduce-only mode is not on")


async def read_status(runs: RunRepository, policy: RunPolicy) -> ControlsStatus:
    """Return how the strategy's controls stand, with what operators did last.

    Raises:
        PortError: The run database failed.
    """
    controls = await read_controls(runs, policy)
    events = await runs.control_events(policy.strategy_id, limit=MAX_EVENTS_SHOWN)
    return status_of_controls(controls, policy, events)


async def read_controls(runs: RunRepository, policy: RunPolicy) -> StrategyControls:
    """Return the strategy's controls, as a run reads them.

    Raises:
        PortError: The run database failed.
    """
    return await runs.read_controls(policy.strategy_id, count_failures=policy.failures_counted)


def reduce_only_sources(controls: StrategyControls, policy: RunPolicy) -> tuple[ControlSource, ...]:
    """Return who has reduce-only mode on."""
    return tuple(
        source
        for source, is_on in (
            (ControlSource.SETTING, policy.limits.reduce_only),
            (ControlSource.OPERATOR, controls.reduce_only),
        )
        if is_on
    )


def status_of_controls(
    controls: StrategyControls, policy: RunPolicy, events: Sequence[ControlEvent]
) -> ControlsStatus:
    """Return the controls as clients read them."""
    sources = reduce_only_sources(controls, policy)
    return ControlsStatus(
        strategy_id=policy.strategy_id,
        reduce_only=bool(sources),
        reduce_only_by=sources,
        failed_runs=None if policy.max_failed_runs is None else controls.failed_runs,
        max_failed_runs=policy.max_failed_runs,
        throttled=policy.is_throttled_by(controls),
        events=tuple(
            ControlChange(
                event=event.kind,
                timestamp=event.at,
                operator=event.operator,
                notes=event.notes,
            )
            for event in events
        ),
    )

"""Stopping all trading, and letting it go on."""

import logging

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from orchestrator_core.engaging import EngageAnswer, disengage, engage
from orchestrator_core.errors import InvalidRequest, OutcomeUnknown, PortError, TradingHalted
from orchestrator_core.halting import read_open_orders, read_switch
from orchestrator_core.history import read_history
from orchestrator_core.kill_switch import Disengagement, Engagement, Halted
from orchestrator_entrypoints.answers import (
    Answer,
    answer_halted,
    answer_problem,
    answer_wrong_shape,
    kill_switch_unavailable,
)
from orchestrator_entrypoints.bodies import receive_json, told
from orchestrator_entrypoints.edge import respond
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.operations import DEFAULT_HISTORY, MAX_HISTORY
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.run_endpoints import whole_number
from orchestrator_entrypoints.switch_answers import answer_engaged, history_of, status_of
from orchestrator_entrypoints.wire import DisengageRequest, EngageRequest
from orchestrator_entrypoints.wire_json import WrongShape, parse_body

_LOG = logging.getLogger("orchestrator.kill_switch")


@frozen
class SwitchEndpoints:
    """The endpoints below `/api/v1/kill-switch`."""

    orchestrator: Orchestrator

    async def engage(self, request: Request) -> Response:
        """Stop all trading, then wait until no order is on the wire."""
        body = await receive_json(request, self.orchestrator.settings)
        ports, settings = self.orchestrator.ports, self.orchestrator.settings
        try:
            asked = parse_body(body, EngageRequest)
            engagement = Engagement(
                operator=told("operator", asked.operator),
                reason=told("reason", asked.reason),
                at=ports.clock.now(),
                details=asked.details,
            )
            answer = await engage(
                engagement,
                kill_switch=ports.kill_switch,
                runs=ports.runs,
                clock=ports.clock,
                wait_seconds=settings.kill_switch_drain_seconds,
                cancel_at=ports.sink if asked.cancel_open else None,
            )
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        except InvalidRequest as error:
            return respond(answer_problem(400, error.problem))
        _log_engaged(engagement, answer)
        reading = await read_switch(ports.kill_switch, ports.runs)
        return respond(answer_engaged(answer, status_of(reading)))

    async def disengage(self, request: Request) -> Response:
        """Let trading go on."""
        body = await receive_json(request, self.orchestrator.settings)
        ports = self.orchestrator.ports
        try:
            asked = parse_body(body, DisengageRequest)
            disengagement = Disengagement(
                operator=told("operator", asked.operator), at=ports.clock.now(), notes=asked.notes
            )
            await disengage(disengagement, kill_switch=ports.kill_switch, runs=ports.runs)
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        except InvalidRequest as error:
            return respond(answer_problem(400, error.problem))
        except TradingHalted as halted:
            return respond(answer_halted(halted))
        except PortError as error:
            return respond(_not_disengaged(error))
        log_event(
            _LOG,
            logging.WARNING,
            "kill switch disengaged",
            operator=disengagement.operator,
            notes=disengagement.notes,
        )
        return respond(await self._status())

    async def status(self, _: Request) -> Response:
        """Show the kill switch."""
        return respond(await self._status())

    async def _status(self) -> Answer:
        ports = self.orchestrator.ports
        reading = await read_switch(ports.kill_switch, ports.runs)
        status = status_of(reading, await read_open_orders(ports.runs))
        if status is not None:
            return Answer(200, status)
        verdict = reading.verdict
        cause = verdict.reason if isinstance(verdict, Halted) else ""
        release = verdict.release if isinstance(verdict, Halted) else ""
        return kill_switch_unavailable(f"{cause}; what would release it: {release}")

    async def history(self, request: Request) -> Response:
        """Show the last changes, newest first."""
        try:
            limit = whole_number(
                request.query_params, "limit", default=DEFAULT_HISTORY, least=1, most=MAX_HISTORY
            )
            ports = self.orchestrator.ports
            entries = await read_history(ports.kill_switch, ports.runs, limit=limit)
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        except PortError as error:
            return respond(kill_switch_unavailable(error.cause))
        return respond(Answer(200, history_of(entries, limit=limit)))


def _log_engaged(engagement: Engagement, answer: EngageAnswer) -> None:
    canceling = answer.canceling
    log_event(
        _LOG,
        logging.WARNING,
        "kill switch engaged",
        operator=engagement.operator,
        reason=engagement.reason,
        durable=answer.durable,
        shared=answer.shared,
        drained=answer.drained,
        in_flight=len(answer.in_flight),
        unresolved=len(answer.unresolved),
        cancel_requested=None if canceling is None else canceling.requested,
        cancel_failed=None if canceling is None else len(canceling.failed),
        cause=answer.cause,
    )


def _not_disengaged(error: PortError) -> Answer:
    if isinstance(error, OutcomeUnknown):
        return kill_switch_unavailable(f"it may or may not be disengaged: {error.cause}")
    return kill_switch_unavailable(f"not disengaged: {error.cause}")

"""What an operator sets for the strategy while the service runs."""

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from orchestrator_core.controls import ControlEventKind
from orchestrator_core.errors import InvalidRequest, OutcomeUnknown, PortError, TradingHalted
from orchestrator_entrypoints.answers import (
    Answer,
    answer_halted,
    answer_problem,
    answer_wrong_shape,
    database_unavailable,
    kill_switch_unavailable,
)
from orchestrator_entrypoints.bodies import receive_json, told
from orchestrator_entrypoints.control_answers import change_controls, read_status
from orchestrator_entrypoints.edge import respond
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.wire import RearmRequest, ReduceOnlyRequest
from orchestrator_entrypoints.wire_json import WrongShape, parse_body


@frozen
class ControlEndpoints:
    """The endpoints below `/api/v1/controls`."""

    orchestrator: Orchestrator

    async def show(self, _: Request) -> Response:
        """Show how the controls stand."""
        orchestrator = self.orchestrator
        try:
            status = await read_status(orchestrator.ports.runs, orchestrator.policy)
        except PortError as error:
            return respond(database_unavailable(error.cause))
        return respond(Answer(200, status))

    async def reduce_only(self, request: Request) -> Response:
        """Let only orders go that shrink a position, or all again."""
        body = await receive_json(request, self.orchestrator.settings)
        try:
            asked = parse_body(body, ReduceOnlyRequest)
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        on, off = ControlEventKind.REDUCE_ONLY_ON, ControlEventKind.REDUCE_ONLY_OFF
        return respond(await self._change(on if asked.on else off, asked.operator, asked.notes))

    async def rearm(self, request: Request) -> Response:
        """Let a strategy go on that failed too often."""
        body = await receive_json(request, self.orchestrator.settings)
        try:
            asked = parse_body(body, RearmRequest)
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        return respond(await self._change(ControlEventKind.REARMED, asked.operator, asked.notes))

    async def _change(self, kind: ControlEventKind, operator: str, notes: str) -> Answer:
        try:
            status = await change_controls(
                self.orchestrator,
                kind,
                operator=told("operator", operator),
                notes=told("notes", notes),
            )
        except InvalidRequest as error:
            return answer_problem(400, error.problem)
        except TradingHalted as halted:
            return answer_halted(halted)
        except PortError as error:
            return _not_known_as_done(error)
        return Answer(200, status)


def _not_known_as_done(error: PortError) -> Answer:
    if error.port == "kill_switch":
        return kill_switch_unavailable(error.cause)
    if isinstance(error, OutcomeUnknown):
        return database_unavailable(f"it may or may not be recorded, ask again: {error.cause}")
    return database_unavailable(error.cause)

"""Making runs, and looking at them."""

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from attrs import frozen
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from orchestrator_core.commits import IdempotencyKey
from orchestrator_core.errors import Conflict, InvalidRequest, PortError, TradingHalted
from orchestrator_core.identifiers import RunId, StrategyId, parse_name
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.limits import Limits
from orchestrator_core.money import EXACT, MAX_MONEY
from orchestrator_core.record import canonical_json
from orchestrator_core.record_policies import encode_limits
from orchestrator_core.requests import RunRequest, resolve_request
from orchestrator_core.runs import Run, RunFilter
from orchestrator_core.tightening import AMOUNTS, tighten
from orchestrator_entrypoints.answers import (
    Answer,
    answer_conflict,
    answer_halted,
    answer_problem,
    answer_run,
    answer_wrong_shape,
    database_unavailable,
    internal_error,
    service_stopping,
)
from orchestrator_entrypoints.bodies import receive_json
from orchestrator_entrypoints.edge import respond
from orchestrator_entrypoints.explanations import Explained, explain_run
from orchestrator_entrypoints.operations import (
    DEFAULT_LIMIT,
    MAX_IDEMPOTENCY_KEY,
    MAX_LIMIT,
    MAX_OFFSET,
    MAX_WAIT_SECONDS,
)
from orchestrator_entrypoints.run_service import (
    RunBroken,
    RunService,
    ServiceStopping,
    new_run_id,
)
from orchestrator_entrypoints.shown_runs import page_of, result_of
from orchestrator_entrypoints.watching import watch_run
from orchestrator_entrypoints.wire import OrchestrationRequest
from orchestrator_entrypoints.wire_json import WrongShape, parse_body, wrong_shape

# What a request asks for does not depend on what is configured.
_UNBOUNDED = Limits(
    max_signal_weight=MAX_MONEY, max_side_weight=MAX_MONEY, max_price_age_seconds=float(MAX_MONEY)
)

_RUN_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@frozen
class RunEndpoints:
    """The endpoints below `/api/v1/orchestration`."""

    service: RunService

    async def make(self, request: Request) -> Response:
        """Make a run."""
        body = await receive_json(request, self.service.orchestrator.settings)
        try:
            explains = flag(request.query_params, "explain")
            asked = parse_body(body, OrchestrationRequest)
            resolved = self._resolve(asked)
            key = _idempotency_key(request, resolved, asked)
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        except InvalidRequest as error:
            return respond(answer_problem(400, str(error)))
        return respond(await self._run(resolved, key, explains=explains))

    def _resolve(self, asked: OrchestrationRequest) -> RunRequest:
        return resolve_request(
            self.service.orchestrator.request_policy,
            symbols=asked.symbols,
            as_of_date=asked.as_of_date,
            capital=asked.capital,
            max_position_size=asked.max_position_size,
            dry_run=asked.dry_run,
            rebalance_key=asked.rebalance_key,
            limits=asked.limits,
        )

    async def _run(
        self, request: RunRequest, key: IdempotencyKey | None, *, explains: bool
    ) -> Answer:
        run_id = new_run_id()
        try:
            run = await self.service.run(request, run_id=run_id, idempotency=key)
        except TradingHalted as halted:
            return answer_halted(halted)
        except Conflict as conflict:
            return answer_conflict(conflict)
        except PortError as error:
            return database_unavailable(error.cause, run_id)
        except ServiceStopping:
            return service_stopping()
        except RunBroken:
            return internal_error(run_id)
        explained = await self._explain(run, in_full=explains)
        return answer_run(run, asked_as=run_id, explained=explained)

    async def _explain(self, run: Run, *, in_full: bool) -> Explained | None:
        orchestrator = self.service.orchestrator
        return await explain_run(run, orchestrator.ports.runs, orchestrator.policy, in_full=in_full)

    async def show(self, request: Request) -> Response:
        """Show one run with all that is stored of it, at its end where that is waited for."""
        text = request.path_params["run_id"]
        if not _RUN_ID.fullmatch(text):
            problem = wrong_shape(("path", "run_id"), "Input should be a UUID", "uuid_parsing")
            return respond(answer_wrong_shape(problem))
        try:
            wait = whole_number(
                request.query_params, "wait", default=0, least=0, most=MAX_WAIT_SECONDS
            )
            explains = flag(request.query_params, "explain")
            run = await self._watch(RunId(UUID(text)), request, seconds=wait)
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        except PortError as error:
            return respond(database_unavailable(error.cause))
        if run is None:
            return respond(answer_problem(404, f"run {text.lower()} is not known"))
        explained = await self._explain(run, in_full=explains)
        return respond(Answer(200, result_of(run, explained)))

    async def _watch(self, run_id: RunId, request: Request, *, seconds: float) -> Run | None:
        orchestrator = self.service.orchestrator

        async def is_given_up() -> bool:
            return orchestrator.stop.is_set or await request.is_disconnected()

        return await watch_run(
            partial(orchestrator.ports.runs.get_run, run_id),
            clock=orchestrator.ports.clock,
            seconds=seconds,
            is_given_up=is_given_up,
        )

    async def list(self, request: Request) -> Response:
        """List runs, newest first."""
        query = request.query_params
        try:
            limit = whole_number(query, "limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
            offset = whole_number(query, "offset", default=0, least=0, most=MAX_OFFSET)
            matching = RunFilter(strategy_id=_strategy(query), status=_status(query))
        except WrongShape as error:
            return respond(answer_wrong_shape(error))
        try:
            page = await self.service.orchestrator.ports.runs.list_runs(
                matching, limit=limit, offset=offset
            )
        except PortError as error:
            return respond(database_unavailable(error.cause))
        return respond(Answer(200, page_of(page, limit=limit, offset=offset)))


def _idempotency_key(
    request: Request, resolved: RunRequest, asked: OrchestrationRequest
) -> IdempotencyKey | None:
    texts = request.headers.getlist("idempotency-key")
    if not texts:
        return None
    if len(texts) > 1:
        raise InvalidRequest("Idempotency-Key", "expected one key")
    key = parse_name(texts[0], field_name="Idempotency-Key", max_length=MAX_IDEMPOTENCY_KEY)
    return IdempotencyKey(key, fingerprint(resolved, asked))


def fingerprint(resolved: RunRequest, asked: OrchestrationRequest) -> str:
    """Return the digest of what a client asked for, however it wrote it.

    What it left to the configuration stays left out: a new default does not change the request.
    """
    as_of_date = resolved.as_of_date
    meaning: dict[str, Any] = {
        "symbols": list(resolved.symbols),
        "as_of_date": None if as_of_date is None else as_of_date.isoformat(),
        "capital": _canonical(asked.capital),
        "max_position_size": _canonical(asked.max_position_size),
        "dry_run": resolved.dry_run,
        "rebalance_key": resolved.rebalance_key,
    }
    if asked.limits:
        # Left out where there are none, so that keys of before there were limits still stand.
        meaning["limits"] = _meaning_of_limits(asked.limits)
    return hashlib.sha256(canonical_json(meaning).encode()).hexdigest()


def _meaning_of_limits(asked: Mapping[str, Any]) -> dict[str, Any]:
    tightened = tighten(_UNBOUNDED, asked)
    plain = encode_limits(tightened)
    amounts = {name: getattr(tightened, name) for name in AMOUNTS}
    return {name: _canonical(amounts[name]) if name in amounts else plain[name] for name in asked}


def _canonical(amount: Decimal | None) -> str | None:
    return None if amount is None else format(amount.normalize(EXACT), "f")


def whole_number(query: QueryParams, name: str, *, default: int, least: int, most: int) -> int:
    """Return a whole number of the query.

    Raises:
        WrongShape: It is none, or out of bounds.
    """
    text = query.get(name)
    if text is None:
        return default
    if re.fullmatch(r"-?[0-9]{1,12}", text) is None:
        raise wrong_shape(("query", name), "Input should be a whole number", "int_parsing")
    if not least <= int(text) <= most:
        expected = f"Input should be from {least} to {most}"
        raise wrong_shape(("query", name), expected, "out_of_range")
    return int(text)


def flag(query: QueryParams, name: str) -> bool:
    """Return a truth value of the query; False where it is not there.

    Raises:
        WrongShape: It is none.
    """
    text = query.get(name, "false")
    if text not in {"true", "false"}:
        raise wrong_shape(("query", name), "Input should be true or false", "bool_parsing")
    return text == "true"


def _status(query: QueryParams) -> RunStatus | None:
    text = query.get("status")
    if text is None:
        return None
    try:
        return RunStatus(text)
    except ValueError:
        expected = f"Input should be one of {', '.join(RunStatus)}"
        raise wrong_shape(("query", "status"), expected, "enum") from None


def _strategy(query: QueryParams) -> StrategyId | None:
    text = query.get("strategy_id")
    if text is None:
        return None
    try:
        return StrategyId(parse_name(text, field_name="strategy_id"))
    except InvalidRequest as error:
        raise wrong_shape(("query", "strategy_id"), error.problem, "string") from None

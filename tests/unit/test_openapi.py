"""The schema names what is served, and what is served fits the schema."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.routing import Route

from orchestrator_adapters.memory.orders import Behaviour
from orchestrator_core.errors import Refused, Unavailable
from orchestrator_core.identifiers import Symbol
from orchestrator_entrypoints.app import create_app
from orchestrator_entrypoints.openapi import build_openapi, schema_of
from tests.unit.http_stage import (
    CONTROLS,
    DISENGAGE,
    ENGAGE,
    HISTORY,
    REARM,
    REDUCE_ONLY,
    RUN,
    RUNS,
    STATUS,
    Stage,
    a_stage,
)

pytestmark = pytest.mark.anyio

DOCUMENT = build_openapi()
OUTSIDE_THE_SCHEMA = {"/openapi.json", "/docs", "/docs/{file}", "/metrics/"}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


def problems_of(value: Any, schema: dict[str, Any], path: str = "$") -> list[str]:
    """Return how a value breaks a schema, of the kinds of schema that the document holds."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return problems_of(value, DOCUMENT["components"]["schemas"][name], path)
    if "anyOf" in schema:
        tried = [problems_of(value, option, path) for option in schema["anyOf"]]
        return [] if [] in tried else [problem for problems in tried for problem in problems]
    problem = plain_problem(value, schema)
    if problem is not None:
        return [f"{path}: {problem}"]
    if schema["type"] == "array":
        items = schema["items"]
        return [p for i, item in enumerate(value) for p in problems_of(item, items, f"{path}[{i}]")]
    if "properties" not in schema:
        return []
    found = [f"{path}.{name}: missing" for name in schema["required"] if name not in value]
    found += [f"{path}.{name}: unknown" for name in value if name not in schema["properties"]]
    for name, inner in schema["properties"].items():
        if name in value:
            found += problems_of(value[name], inner, f"{path}.{name}")
    return found


def plain_problem(value: Any, schema: dict[str, Any]) -> str | None:
    kind, form = schema["type"], schema.get("format")
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return f"expected {kind}, got {value!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is none of {schema['enum']}"
    if form == "decimal" and not DECIMAL.fullmatch(str(value)):
        return f"{value!r} is no decimal"
    if form == "date-time" and not str(value).endswith("Z"):
        return f"{value!r} is not in UTC"
    return None


def check_answer(response: httpx.Response, method: str, path: str) -> None:
    answers = DOCUMENT["paths"][path][method]["responses"]
    assert str(response.status_code) in answers, f"{method} {path}: {response.status_code}"
    content = answers[str(response.status_code)]["content"]
    assert problems_of(response.json(), content["application/json"]["schema"]) == []


async def test_every_route_is_described_and_nothing_else(stage: Stage) -> None:
    served = {
        (route.path, method.lower())
        for route in create_app(stage.orchestrator).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
        if route.path not in OUTSIDE_THE_SCHEMA
    }
    described = {
        (path, method) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert served == described


async def test_the_schema_is_served(stage: Stage) -> None:
    assert (await stage.client.get("/openapi.json")).json() == DOCUMENT


def test_the_document_is_openapi_with_every_reference_resolved() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))
    assert referred == set(DOCUMENT["components"]["schemas"])
    ids = [m["operationId"] for methods in DOCUMENT["paths"].values() for m in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in DOCUMENT["paths"].items():
        named = set(re.findall(r"{(\w+)}", path))
        for operation in methods.values():
            given = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert given == named


def test_a_type_without_a_wire_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no form for"):
        schema_of(complex)


def test_a_request_says_what_it_needs() -> None:
    request = DOCUMENT["components"]["schemas"]["OrchestrationRequest"]
    assert request["required"] == ["symbols"]
    assert request["properties"]["symbols"]["minItems"] == 1
    kinds = [option["type"] for option in request["properties"]["capital"]["anyOf"]]
    assert kinds == ["number", "string", "null"]


async def test_every_answer_fits_its_schema(stage: Stage) -> None:
    client = stage.client
    for path in ("/", "/health", "/ready", "/api/v1/config", STATUS, HISTORY, RUNS):
        check_answer(await client.get(path), "get", path)
    stage.sink.script(Symbol("MSFT"), [Behaviour.REJECT])
    made = await stage.run("AAPL", "MSFT", "TSLA")
    check_answer(made, "post", RUN)
    check_answer(await stage.run(), "post", RUN)
    check_answer(await client.get(RUNS), "get", RUNS)
    one = RUNS + "/{run_id}"
    check_answer(await client.get(f"{RUNS}/{made.json()['run_id']}"), "get", one)
    check_answer(await client.get(f"{RUNS}/{uuid4()}"), "get", one)
    check_answer(await client.get(f"{RUNS}/7"), "get", one)
    check_answer(await client.get(RUNS, params={"limit": "x"}), "get", RUNS)
    check_answer(await client.get(HISTORY, params={"limit": "x"}), "get", HISTORY)


async def test_every_refusal_fits_its_schema(stage: Stage) -> None:
    client = stage.client
    check_answer(await client.post(RUN, json={}), "post", RUN)
    check_answer(await client.post(RUN, content=b"x"), "post", RUN)
    check_answer(await stage.run(capital=0), "post", RUN)
    keyed = {"Idempotency-Key": "k"}
    check_answer(await stage.run(headers=keyed), "post", RUN)
    check_answer(await stage.run(headers=keyed, capital=1), "post", RUN)
    for error in (Unavailable("signals", "fetch", "x", retry_after=1.5), Refused("s", "f", "x")):
        stage.faulty_signals.error = error
        check_answer(await stage.run(), "post", RUN)
    stage.faulty_signals.error = ZeroDivisionError()
    check_answer(await stage.run(), "post", RUN)
    stage.faulty_switch.error = Unavailable("kill_switch", "any", "down")
    check_answer(await stage.run(), "post", RUN)
    check_answer(await client.get(STATUS), "get", STATUS)
    check_answer(await client.get(HISTORY), "get", HISTORY)
    check_answer(await stage.disengage(), "post", DISENGAGE)
    check_answer(await stage.engage(), "post", ENGAGE)
    stage.faulty_switch.works()
    check_answer(await stage.engage(), "post", ENGAGE)
    check_answer(await stage.engage(), "post", ENGAGE)
    check_answer(await stage.run(), "post", RUN)
    check_answer(await client.get("/ready"), "get", "/ready")
    check_answer(await stage.disengage(), "post", DISENGAGE)
    check_answer(await stage.disengage(), "post", DISENGAGE)
    check_answer(await client.post(ENGAGE, json={}), "post", ENGAGE)


async def test_what_is_told_of_the_controls_fits_its_schema(stage: Stage) -> None:
    client = stage.client
    said: dict[str, Any] = {"operator": "ann", "notes": "drill"}
    for body in ({**said, "on": True}, {**said, "on": False}, {**said, "on": False}, said):
        check_answer(await client.post(REDUCE_ONLY, json=body), "post", REDUCE_ONLY)
    for body in (said, {}, {**said, "notes": " "}):
        check_answer(await client.post(REARM, json=body), "post", REARM)
    check_answer(await client.get(CONTROLS), "get", CONTROLS)
    stage.faulty_runs.error = Unavailable("runs", "any", "down")
    check_answer(await client.get(CONTROLS), "get", CONTROLS)
    check_answer(await client.post(REARM, json=said), "post", REARM)


async def test_an_explained_run_fits_its_schema(stage: Stage) -> None:
    limits = {"max_order_qty": 100, "restricted_symbols": ["TSLA"]}
    body = {"symbols": ["AAPL"], "limits": limits}
    made = await stage.client.post(RUN, json=body, params={"explain": "true"})
    assert {"allocation"} <= set(made.json())
    check_answer(made, "post", RUN)


def test_limits_that_fit_their_schema_are_those_with_a_name() -> None:
    request = {"$ref": "#/components/schemas/OrchestrationRequest"}
    assert not problems_of({"symbols": ["A"], "limits": {"price_band": "0.1"}}, request)
    assert problems_of({"symbols": ["A"], "limits": {"price_bound": "0.1"}}, request)


def test_a_value_that_breaks_the_schema_is_seen() -> None:
    schema = {"$ref": "#/components/schemas/PlainError"}
    assert problems_of({"detail": 7}, schema)
    assert problems_of({}, schema)
    assert problems_of({"detail": "x", "more": 1}, schema)
    assert not problems_of({"detail": "x"}, schema)


async def test_an_engagement_that_could_not_cancel_fits_its_schema(stage: Stage) -> None:
    await stage.run("AAPL")
    stage.sink.is_down = True
    body = {"reason": "drill", "operator": "ann", "cancel_open": True}
    engaged = await stage.client.post(ENGAGE, json=body)
    assert len(engaged.json()["cancel_failed"]) == 1
    check_answer(engaged, "post", ENGAGE)


def test_the_wait_for_a_run_is_described_with_its_bounds() -> None:
    [wait] = [
        parameter
        for parameter in DOCUMENT["paths"][RUNS + "/{run_id}"]["get"]["parameters"]
        if parameter["name"] == "wait"
    ]
    assert (wait["schema"]["minimum"], wait["schema"]["maximum"]) == (0, 60)

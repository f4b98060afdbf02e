"""`STRATEGIES`: what it may hold, what follows from it, and what clients are told."""

from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator_adapters.event_loop import at_once
from orchestrator_adapters.memory.signals import MemorySignalSource
from orchestrator_adapters.netted import NettedSignalSource, StrategySource
from orchestrator_core.errors import Unavailable
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.limits import Limits
from orchestrator_entrypoints.openapi import build_openapi
from orchestrator_entrypoints.policies import run_policy
from orchestrator_entrypoints.settings import SettingsError, read_settings
from orchestrator_entrypoints.wiring import wire
from tests.unit.builders import a_batch, a_signal
from tests.unit.http_stage import RUNS, Stage, a_stage

TWO = "value=http://localhost:8004@0.4, momentum=http://localhost:8001/@0.60"


def problem_of(text: str, **environ: str) -> str:
    with pytest.raises(SettingsError) as raised:
        read_settings({"STRATEGIES": text, **environ})
    [problem] = raised.value.problems
    return problem


def test_strategies_are_read_by_name() -> None:
    settings = read_settings({"STRATEGIES": TWO})
    assert settings.strategies is not None
    assert [(each.name, each.url, each.share) for each in settings.strategies.each] == [
        ("momentum", "http://localhost:8001", Decimal("0.60")),
        ("value", "http://localhost:8004", Decimal("0.4")),
    ]
    assert settings.shown()["STRATEGIES"] == (
        "momentum=http://localhost:8001@0.60,value=http://localhost:8004@0.4"
    )


def test_without_strategies_one_service_is_asked() -> None:
    settings = read_settings({"SIGNAL_SERVICE_URL": "http://signals:1"})
    assert settings.strategies is None
    assert settings.signal_services == ("http://signals:1",)
    assert settings.shown()["STRATEGIES"] == "unset"


def test_one_service_may_serve_several_strategies() -> None:
    both = "b=http://signals:1@0.5,a=http://signals:1@0.5"
    assert read_settings({"STRATEGIES": both}).signal_services == ("http://signals:1",)


def test_the_run_has_the_joined_name() -> None:
    settings = read_settings({"STRATEGIES": TWO})
    assert settings.strategy_id == run_policy(settings).strategy_id == "momentum,value"


def test_a_strategy_id_that_is_the_joined_name_is_no_contradiction() -> None:
    both = {"STRATEGIES": TWO, "STRATEGY_ID": "momentum,value"}
    assert read_settings(both).strategy_id == "momentum,value"


def test_another_strategy_id_beside_strategies_stops_the_start() -> None:
    assert problem_of(TWO, STRATEGY_ID="alpha") == (
        "STRATEGY_ID: expected nothing, or momentum,value, which are the names that STRATEGIES "
        "gives"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("momentum", "expected NAME=URL@SHARE, commas between"),
        ("momentum=http://x", "expected NAME=URL@SHARE, commas between"),
        ("http://x@0.5", "expected NAME=URL@SHARE, commas between"),
        (",", "expected NAME=URL@SHARE, commas between"),
        ("a=http://x@0", "a share is a fraction above 0, at most 1"),
        ("a=http://x@0.0", "a share is a fraction above 0, at most 1"),
        ("a=http://x@1.1", "a share is a fraction above 0, at most 1"),
        ("a=http://x@-0.5", "a share is a fraction above 0, at most 1"),
        ("a=http://x@5e-1", "a share is a fraction above 0, at most 1"),
        ("a=http://x@0.1234567891", "a share is a fraction above 0, at most 1"),
        ("a=http://x@NaN", "a share is a fraction above 0, at most 1"),
        ("a=x:8001@0.5", "expected http://host[:port]"),
        ("=http://x@0.5", "printable ASCII"),
        ("a=http://x@0.5,a=http://y@0.1", "expected each name once, a is there twice"),
        ("a=http://x@0.5,b=http://y@0.500000001", "sum to 1.000000001: more would be leverage"),
        (",".join(f"{'n' * 62}{n}=http://x@0.1" for n in range(3)), "at most 128 characters"),
    ],
)
def test_what_cannot_be_used_is_said(text: str, said: str) -> None:
    problem = problem_of(text)
    assert problem.startswith("STRATEGIES: expected")
    assert said in problem


def test_an_address_with_a_password_is_refused_and_never_shown() -> None:
    problem = problem_of("a=http://user:hush@signals:8001@0.5")
    assert "without user" in problem
    assert "hush" not in problem


@pytest.mark.parametrize(
    "text", ["a=http://x@1", "a=http://x@1.0", "a=http://x@0.5,b=http://x@0.5"]
)
def test_all_the_capital_may_be_given_away(text: str) -> None:
    read_settings({"STRATEGIES": text})


@pytest.mark.anyio
async def test_a_probe_names_each_service_that_does_not_answer(tmp_path: Path) -> None:
    environ = {
        "ORCHESTRATOR_EMBEDDED": "1",
        "ORCHESTRATOR_DATA": str(tmp_path / "data.db"),
        "STRATEGIES": "b=http://127.0.0.1:1@0.5,a=http://127.0.0.1:2@0.5",
    }
    orchestrator = wire(read_settings(environ))
    try:
        with pytest.raises(Unavailable) as raised:
            await orchestrator.ask_signal_service()
    finally:
        await orchestrator.aclose()
    said = "does not answer, or says that it is not ready"
    assert raised.value.cause == (f"a at http://127.0.0.1:2 {said}; b at http://127.0.0.1:1 {said}")


def net_on(stage: Stage) -> None:
    """Let two strategies disagree on MSFT, and one alone want AAPL."""
    batches = {
        "momentum": a_batch([a_signal("AAPL", 0.25), a_signal("MSFT", 0.25)]),
        "value": a_batch([a_signal("MSFT", -0.1)]),
    }
    stage.faulty_signals.inner = NettedSignalSource(
        [
            StrategySource(StrategyId(name), Decimal("0.5"), MemorySignalSource(batch))
            for name, batch in batches.items()
        ],
        Limits(),
        at_once,
    )


@pytest.mark.anyio
async def test_a_netted_run_tells_what_each_strategy_has_of_each_order() -> None:
    async with a_stage(STRATEGIES=TWO) as stage:
        net_on(stage)
        made = (await stage.run("AAPL", "MSFT")).json()
        assert made["strategy_id"] == "momentum,value"
        assert [(each["symbol"], each["order_qty"]) for each in made["mappings"]] == [
            ("AAPL", 125),
            ("MSFT", 75),
        ]
        assert made["mappings"][1]["attributions"] == [
            {
                "strategy_id": "momentum",
                "share": "0.5",
                "target_weight": 0.25,
                "weight": "0.125",
                "qty": 125,
            },
            {
                "strategy_id": "value",
                "share": "0.5",
                "target_weight": -0.1,
                "weight": "-0.05",
                "qty": -50,
            },
        ]
        assert made["signal_metadata"]["strategies"]["value"]["share"] == "0.5"
        stored = (await stage.client.get(f"{RUNS}/{made['run_id']}?explain=true")).json()
        explained = stored["mappings"][1]["explanation"][0]
        assert (explained["value"], explained["note"]) == (
            "0.075",
            "momentum 0.125, value -0.05",
        )


@pytest.mark.anyio
async def test_a_run_of_one_strategy_has_no_attributions() -> None:
    async with a_stage() as stage:
        made = (await stage.run("AAPL")).json()
    assert all("attributions" not in mapping for mapping in made["mappings"])


@pytest.mark.anyio
async def test_health_names_the_strategies() -> None:
    async with a_stage(STRATEGIES=TWO) as stage:
        health = (await stage.client.get("/health")).json()
        info = (await stage.client.get("/")).json()
    assert health["signal_service_url"] == "http://localhost:8001,http://localhost:8004"
    assert info["signal_service"] == health["signal_service_url"]
    assert health["details"]["strategy_id"] == "momentum,value"
    assert health["details"]["strategies"] == [
        {
            "strategy_id": "momentum",
            "signal_service_url": "http://localhost:8001",
            "share": "0.60",
        },
        {"strategy_id": "value", "signal_service_url": "http://localhost:8004", "share": "0.4"},
    ]


def test_the_schema_describes_attributions() -> None:
    schemas = build_openapi()["components"]["schemas"]
    mapping = schemas["SignalOrderMapping"]
    assert "attributions" not in mapping["required"]
    assert schemas["StrategyAttribution"]["required"] == [
        *("strategy_id", "share", "target_weight", "weight", "qty"),
    ]

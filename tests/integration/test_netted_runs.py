"""Several strategies netted into one run: the service as a process, over real HTTP and stores."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from orchestrator_entrypoints.cli import main
from tests.integration.service_parts import (
    SWIFT,
    Parts,
    a_signal_document,
    price_in_redis,
)
from tests.servers.peers import (
    Answer,
    Request,
    ServedSignalService,
    Wire,
    a_batch_document,
    answer,
    running_peer,
    running_signal_service,
)
from tests.servers.service import RUNS, ServiceProcess, running_service, wait_until

SYMBOLS = ("AAPL", "KO", "MSFT")

# At a capital of 100,000 and prices of 100: what each strategy would buy by itself, in shares, is
# 1,000 x share x weight.
MOMENTUM = {"AAPL": 0.25, "KO": -0.25}
VALUE = {"KO": 0.25, "MSFT": 0.2}


def weigh(served: ServedSignalService, weights: dict[str, float], **metadata: Any) -> None:
    served.peer.batch = a_batch_document(
        *(a_signal_document(s, rank, w) for rank, (s, w) in enumerate(weights.items(), start=1)),
        **metadata,
    )


def health_of(service: ServiceProcess) -> dict[str, Any]:
    health: dict[str, Any] = service.get("/health").json()
    return health


@define
class Netted:
    """A service over two strategies, and all that it talks to."""

    parts: Parts
    momentum: ServedSignalService
    value: ServedSignalService
    environ: dict[str, str]
    folder: Path

    @contextmanager
    def running(self, **more: str) -> Iterator[ServiceProcess]:
        price_in_redis(self.parts.redis, SYMBOLS)
        with running_service({**self.environ, **more}, folder=self.folder) as service:
            yield service

    @property
    def posted(self) -> list[tuple[str, str, int]]:
        posts = [post.json() for post in self.parts.gateway.peer.posts]
        return sorted((post["symbol"], post["side"], post["qty"]) for post in posts)


@pytest.fixture
def netted(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Netted]:
    with running_signal_service() as value:
        weigh(parts.signals, MOMENTUM)
        weigh(value, VALUE, model_version="v-9")
        both = f"value={value.server.url}@0.4,momentum={parts.signals.server.url}@0.6"
        environ = {**parts.environ, "STRATEGIES": both}
        del environ["SIGNAL_SERVICE_URL"]
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        monkeypatch.chdir(tmp_path)
        assert main(["kill-switch", "init", "--operator", "ann"]) == 0
        yield Netted(parts, parts.signals, value, environ, tmp_path)


def test_only_the_net_is_ordered_and_each_order_is_given_back(
    netted: Netted, capsys: pytest.CaptureFixture[str]
) -> None:
    with netted.running() as service:
        made = service.run(*SYMBOLS)
        assert (made.status_code, made.json()["status"]) == (200, "completed")
        run = made.json()
        assert netted.posted == [("AAPL", "buy", 150), ("KO", "sell", 50), ("MSFT", "buy", 80)]
        stored = service.get(f"{RUNS}/{run['run_id']}").json()
        assert [each["attributions"] for each in stored["mappings"]] == [
            each["attributions"] for each in run["mappings"]
        ]
        again = service.run(*SYMBOLS).json()
        assert {each["order_state"] for each in again["mappings"]} == {"adopted"}
        assert len(netted.posted) == 3
    assert run["strategy_id"] == "momentum,value"
    assert run["signal_metadata"]["strategies"]["value"]["model_version"] == "v-9"
    given_back = {
        each["symbol"]: {part["strategy_id"]: part["qty"] for part in each["attributions"]}
        for each in run["mappings"]
    }
    assert given_back == {
        "AAPL": {"momentum": 150},
        "MSFT": {"value": 80},
        "KO": {"momentum": -150, "value": 100},
    }
    assert [each["rank"] for each in run["mappings"]] == [1, 2, 3]
    capsys.readouterr()
    assert main(["runs", "show", run["run_id"]]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["KO", "momentum", "0.6", "-0.2500", "-0.1500", "-150"] in shown
    assert ["value", "0.4", "+0.2500", "+0.1000", "100"] in shown
    assert main(["replay", run["run_id"]]) == 0


def test_each_service_is_asked_in_its_strategys_name_and_the_gateway_in_all(
    netted: Netted,
) -> None:
    with netted.running(INTERNAL_TOKEN_SECRET="s" * 64) as service:
        assert service.run(*SYMBOLS).status_code == 200
    for served, name in ((netted.momentum, "momentum"), (netted.value, "value")):
        asked = [seen for seen in served.peer.seen if seen.method == "POST"]
        assert [seen.headers["x-strategy-id"] for seen in asked] == [name]
        assert [len(seen.headers["x-internal-token"]) for seen in asked] == [64]
    gateway = netted.parts.gateway.peer
    names = {seen.headers["x-strategy-id"] for seen in (*gateway.posts, *gateway.reads)}
    assert names == {"momentum,value"}


def test_different_dates_are_a_refusal_that_names_them(netted: Netted) -> None:
    weigh(netted.value, VALUE, as_of_date="2026-02-27")
    with netted.running() as service:
        refused = service.run(*SYMBOLS)
        detail = refused.json()["detail"]
        stored = service.get(f"{RUNS}/{detail['run_id']}").json()
    assert refused.status_code == 502
    assert detail["error"] == "Signal Service answered outside its contract"
    assert detail["message"] == (
        "the strategies answered for different dates: momentum for 2026-03-02, value for 2026-02-27"
    )
    assert (stored["status"], stored["mappings"]) == ("failed", [])
    assert netted.posted == []


def test_a_date_that_was_asked_for_is_asked_of_each(netted: Netted) -> None:
    weigh(netted.value, VALUE, as_of_date="2026-02-27")
    with netted.running() as service:
        refused = service.run(*SYMBOLS, as_of_date="2026-03-02")
    assert refused.status_code == 502
    assert refused.json()["detail"]["message"] == (
        "value: asked for 2026-03-02, answered for 2026-02-27"
    )


def test_one_that_is_down_holds_back_the_whole_and_is_named(netted: Netted) -> None:
    with netted.running(**SWIFT) as service:
        assert health_of(service)["status"] == "healthy"
        netted.value.server.stop_listening()
        refused = service.run(*SYMBOLS)
        assert refused.status_code == 503
        assert refused.json()["detail"]["error"] == "Signal Service unavailable"
        assert refused.json()["detail"]["message"].startswith("value: ")
        assert netted.posted == []
        wait_until(lambda: health_of(service)["status"] == "degraded")
        health = health_of(service)
        assert health["signal_service_healthy"] is False
        problem = health["details"]["problems"]["signal_service"]
        assert problem.startswith(f"value at {netted.value.server.url} does not answer")
        assert "momentum" not in problem
        assert problem in service.get("/ready").json()["detail"]["message"]
        netted.value.server.listen_again()
        assert service.run(*SYMBOLS).status_code == 200
        wait_until(lambda: health_of(service)["signal_service_healthy"])


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (answer(400, {"detail": "no such symbol"}), 400, "value: HTTP 400 no such symbol"),
        (answer(403, {"detail": "inactive"}), 503, "value: "),
        (answer(200, {}, wire=Wire.HANG), 503, "value: "),
        (
            answer(200, a_batch_document(a_signal_document("KO", 1, 1.5))),
            502,
            "value: KO weighs 1.5, the limit is 1",
        ),
    ],
)
def test_whatever_one_answers_amiss_fails_the_whole(
    netted: Netted, given: Answer, status: int, said: str
) -> None:
    netted.value.peer.script.append(given)
    with netted.running(**SWIFT) as service:
        refused = service.run(*SYMBOLS)
    assert refused.status_code == status
    assert refused.json()["detail"]["message"].startswith(said)
    assert netted.posted == []


def answer_by_name(request: Request) -> Answer:
    """Answer as one Signal Service of both strategies."""
    if request.method != "POST":
        return answer(200, {})
    weights = {"momentum": MOMENTUM, "value": VALUE}[request.headers["x-strategy-id"]]
    rows = (a_signal_document(s, rank, w) for rank, (s, w) in enumerate(weights.items(), start=1))
    return answer(200, a_batch_document(*rows))


def test_one_service_serves_both_by_name(netted: Netted) -> None:
    with running_peer(answer_by_name) as server:
        both = f"momentum={server.url}@0.6,value={server.url}@0.4"
        with netted.running(STRATEGIES=both) as service:
            assert service.run(*SYMBOLS).json()["status"] == "completed"
    assert netted.posted == [("AAPL", "buy", 150), ("KO", "sell", 50), ("MSFT", "buy", 80)]


def test_both_services_are_asked_at_once(netted: Netted) -> None:
    """Neither answers before both are asked."""
    meeting = threading.Barrier(2, timeout=20)

    def meet(request: Request) -> Answer:
        if request.method == "POST":
            meeting.wait()
        return answer_by_name(request)

    with running_peer(meet) as one, running_peer(meet) as other:
        both = f"momentum={one.url}@0.6,value={other.url}@0.4"
        with netted.running(STRATEGIES=both) as service:
            assert service.run(*SYMBOLS).json()["status"] == "completed"


def test_config_check_shows_the_strategies_and_which_one_is_down(
    netted: Netted, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main(["config", "check"])
    shown = dict(
        line.split("  ", 1) for line in capsys.readouterr().out.splitlines() if "  " in line
    )
    values = {name: value.strip() for name, value in shown.items()}
    urls = netted.momentum.server.url, netted.value.server.url
    assert values["STRATEGIES"] == f"momentum={urls[0]}@0.6,value={urls[1]}@0.4"
    assert values["STRATEGY_ID"] == "momentum,value  (from STRATEGIES)"
    assert values["SIGNAL_SERVICE_URL"].endswith("(not used)")
    assert values["Signal Service"] == f"answers at {urls[0]}, {urls[1]}"
    netted.momentum.server.stop_listening()
    main(["config", "check", "--json"])
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert f"momentum at {urls[0]} does not answer" in answers["Signal Service"]

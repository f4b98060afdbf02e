"""The command line over embedded parts and real peers: what it prints, and how it ends."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.data import daily_prices
from orchestrator_entrypoints.demo.gateway import execution_gateway
from orchestrator_entrypoints.demo.ledger import Ledger
from orchestrator_entrypoints.demo.peers import DRY_RUN, PAPER, Peers, running_peers
from orchestrator_entrypoints.demo.servers import serving

SYMBOLS = ["AAPL", "KO", "MSFT", "XOM"]
CLOSED = "http://127.0.0.1:9"

pytestmark = pytest.mark.usefixtures("settings")


def a_day(days_ago: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days_ago)).date().isoformat()


class Slow:
    """A gateway that takes its time over each order."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            await asyncio.sleep(0.2)
        await self.app(scope, receive, send)


class Losing:
    """A gateway that takes an order and then answers as if it had not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def lose(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["method"] == "POST":
                message = {**message, "status": 500}
            await send(message)

        await self.app(scope, receive, lose)


@pytest.fixture
def peers() -> Iterator[Peers]:
    with running_peers(flags=PAPER) as peers:
        yield peers


@pytest.fixture
def settings(tmp_path: Path, peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ORCHESTRATOR_EMBEDDED": "true",
        "ORCHESTRATOR_DATA": str(tmp_path / "orchestrator.db"),
        "SIGNAL_SERVICE_URL": peers.signal_service_url,
        "SIGNAL_SERVICE_TIMEOUT_SECONDS": "2",
        "EXECUTION_GATEWAY_URL": peers.execution_gateway_url,
        "DRY_RUN": "false",
        "KILL_SWITCH_DRAIN_SECONDS": "0.1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def priced(settings: None) -> None:
    closes = daily_prices().last_closes()
    assert main(["prices", "set", *(f"{symbol}={closes[symbol]}" for symbol in closes)]) == 0


Captured = pytest.CaptureFixture[str]


@pytest.mark.usefixtures("priced")
def test_a_run_that_completes_is_shown_and_ends_with_0(peers: Peers, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["run", "--symbols", ",".join(SYMBOLS)]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert "\n4 signals, 4 orders accepted\n" in out
    assert out.count("  accepted\n") == 4
    assert len(peers.ledger.orders) == 4


@pytest.mark.usefixtures("priced")
def test_a_run_for_machines_is_the_services_own_answer(capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["run", "--json", "--symbols", *SYMBOLS, "--as-of", "2022-11-30"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["as_of_date"] == "2022-11-30"
    assert len(result["mappings"]) == 4
    assert main(["runs", "show", result["run_id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mappings"] == result["mappings"]


@pytest.mark.usefixtures("priced")
def test_the_same_run_again_sends_nothing_and_a_new_key_does(
    peers: Peers, capsys: Captured
) -> None:
    for key, sent in (("", 4), ("", 4), ("second", 8)):
        assert main(["run", "--symbols", *SYMBOLS, "--rebalance-key", key]) == 0
        assert len(peers.ledger.orders) == sent
    assert capsys.readouterr().out.count("  accepted in run ") == 4


@pytest.mark.usefixtures("priced")
def test_a_dry_run_sends_nothing(peers: Peers, capsys: Captured) -> None:
    assert main(["run", "--dry-run", "--symbols", *SYMBOLS]) == ExitCode.DONE
    assert capsys.readouterr().out.count("dry_run\n") == 4
    assert peers.ledger.orders == ()


@pytest.mark.usefixtures("priced")
def test_a_run_that_places_some_orders_ends_with_3(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    # Two thirds of it is more than the gateway takes in one order, one third is not.
    monkeypatch.setenv("MAX_POSITION_SIZE", "200000")
    assert main(["run", "--symbols", *SYMBOLS, "--capital", "250000"]) == ExitCode.PARTIAL
    assert "2 orders accepted, 2 rejected" in capsys.readouterr().out


@pytest.mark.usefixtures("priced")
def test_a_run_that_places_none_ends_with_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_POSITION_SIZE", "200000")
    assert main(["run", "--symbols", "XOM", "AAPL", "--capital", "200000"]) == ExitCode.FAILED


def test_a_request_that_the_strategy_refuses_ends_with_4(capsys: Captured) -> None:
    assert main(["run", "--symbols", "TSLA"]) == ExitCode.FAILED
    assert "no prices of TSLA" in capsys.readouterr().out


@pytest.mark.usefixtures("priced")
def test_an_order_of_unknown_fate_ends_with_5_and_holds_the_barrier(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    ledger = Ledger(peers.prices.last_closes(), PAPER)
    with serving([Losing(execution_gateway(ledger))], ports=[0]) as (url,):
        monkeypatch.setenv("EXECUTION_GATEWAY_URL", url)
        assert main(["run", "--symbols", *SYMBOLS]) == ExitCode.RUNNING
        assert len(ledger.orders) == 4
        told = capsys.readouterr()
        assert "running" in told.out
        assert "without one: orchestrator recover" in told.err
        stop = ["kill-switch", "engage", "--operator", "ann", "--reason", "lost answers"]
        assert main(stop) == ExitCode.RUNNING
        out = capsys.readouterr().out
        assert "NOT drained: 4 orders may be on the wire" in out
        assert out.count(" unknown ") == 4


@pytest.mark.usefixtures("priced")
def test_an_interrupt_ends_a_run_after_its_wave_with_everything_recorded(
    peers: Peers, capsys: Captured
) -> None:
    ledger = Ledger(peers.prices.last_closes(), PAPER)
    with serving([Slow(execution_gateway(ledger))], ports=[0]) as (url,):
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator_entrypoints", "run", "--symbols", *SYMBOLS],
            env={**os.environ, "EXECUTION_GATEWAY_URL": url, "MAX_IN_FLIGHT_ORDERS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 20
        while not ledger.orders and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    taken = len(ledger.orders)
    assert 0 < taken < 4
    assert out.count("  accepted\n") == taken
    assert out.count("rejected: submission_failed: the service is stopping") == 4 - taken
    capsys.readouterr()
    assert main(["runs", "list", "--json"]) == 0
    (stored,) = json.loads(capsys.readouterr().out)["runs"]
    assert (stored["status"], stored["num_orders_accepted"]) == ("partial", taken)


@pytest.mark.usefixtures("priced")
def test_a_gateway_slower_than_the_send_window_makes_only_the_first_run_of_all_partial(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("SEND_WINDOW_SECONDS", "0.15")
    ledger = Ledger(peers.prices.last_closes(), PAPER)
    with serving([Slow(execution_gateway(ledger))], ports=[0]) as (url,):
        monkeypatch.setenv("EXECUTION_GATEWAY_URL", url)
        # Each command is a process of its own as far as the gateway's ways go.
        assert main(["run", "--symbols", *SYMBOLS]) == ExitCode.PARTIAL
        assert capsys.readouterr().out.count("not sent before its deadline") == 1
        assert main(["run", "--symbols", *SYMBOLS, "--rebalance-key", "next"]) == ExitCode.DONE
    assert len(ledger.orders) == 2 * len(SYMBOLS) - 1


@pytest.mark.usefixtures("priced")
def test_a_run_while_halted_ends_with_6_and_stores_nothing(peers: Peers, capsys: Captured) -> None:
    assert main(["kill-switch", "engage", "--operator", "ann", "--reason", "odd fills"]) == 0
    capsys.readouterr()
    assert main(["run", "--symbols", *SYMBOLS]) == ExitCode.HALTED
    assert capsys.readouterr().err.endswith(
        "orchestrator: trading is halted: odd fills, engaged by ann\n"
    )
    assert main(["runs", "list"]) == 0
    assert capsys.readouterr().out == "no runs\n"
    assert peers.ledger.orders == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SIGNAL_SERVICE_URL", "Signal Service unavailable: no connection"),
        ("EXECUTION_GATEWAY_URL", "Execution Gateway not verified as safe: "),
    ],
)
@pytest.mark.usefixtures("priced")
def test_a_run_without_a_peer_ends_with_7_and_names_it(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv(name, CLOSED)
    assert main(["run", "--symbols", *SYMBOLS]) == ExitCode.UNAVAILABLE
    assert f"\n{said}" in capsys.readouterr().out


def test_a_run_database_that_cannot_be_opened_ends_with_7(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "not.db").write_text("this is no database, and long enough to be told so" * 40)
    data = str(tmp_path / "not.db")
    assert main(["run", "--symbols", *SYMBOLS, "--data", data]) == ExitCode.UNAVAILABLE
    assert "not a database" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--symbols", "a b"], "symbols"),
        (["run", "--symbols", "AAPL", "aapl"], "symbols: AAPL is given twice"),
        (["run", "--symbols", "AAPL", "--capital", "0"], "capital"),
        (["run", "--symbols", "AAPL", "--capital", "much"], "capital"),
        (["run", "--symbols", "AAPL", "--max-position-size", "20001"], "max_position_size"),
        (["run", "--symbols", "AAPL", "--as-of", "28.12.2022"], "as_of_date"),
        (["runs", "show", "first"], "RUN_ID"),
        (["kill-switch", "engage", "--operator", " ", "--reason", "x"], "--operator"),
        (["prices", "set", "AAPL"], "'AAPL': expected SYMBOL=PRICE"),
        (["prices", "set", "AAPL=0"], "AAPL=0"),
        (["prices", "set", "AAPL=1", "AAPL=2"], "AAPL is given twice"),
        (["prices", "set", "AAPL=1", "--close", "yesterday"], "--close: expected a date as"),
        (["prices", "set", "AAPL=1", "--close", a_day(11)], "one of the 10 days before, got"),
        (["prices", "set", "AAPL=1", "--close", a_day(-2)], "--close: expected today, "),
    ],
)
def test_an_input_without_meaning_ends_with_2_and_is_named(
    arguments: list[str], named: str, capsys: Captured
) -> None:
    assert main(arguments) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert err.startswith("orchestrator: ")
    assert named in err
    assert err.count("\n") == 1


def test_a_variable_that_cannot_be_used_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("CAPITAL", "much")
    assert main(["run", "--symbols", "AAPL"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("orchestrator: CAPITAL: expected")


@pytest.mark.usefixtures("priced")
def test_runs_are_listed_newest_first_in_pages(capsys: Captured) -> None:
    for key in ("a", "b", "c"):
        assert main(["run", "--symbols", *SYMBOLS, "--rebalance-key", key]) == 0
    main(["run", "--symbols", "TSLA"])
    capsys.readouterr()
    assert main(["runs", "list", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["total"] == 4
    assert [run["status"] for run in page["runs"]] == ["failed", *["completed"] * 3]
    assert main(["runs", "list", "--limit", "2", "--offset", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == [r["run_id"] for r in page["runs"][1:3]]
    assert lines[-1] == "2 to 3 of 4"
    assert main(["runs", "list", "--status", "failed", "--strategy", "alpha_baseline"]) == 0
    assert capsys.readouterr().out.count("failed") == 1
    assert main(["runs", "list", "--offset", "9"]) == 0
    assert capsys.readouterr().out == "no runs here: 4 in all\n"


@pytest.mark.usefixtures("priced")
def test_a_run_that_is_not_there_ends_with_4(capsys: Captured) -> None:
    unheard_of = "8b1f5f0e-5ad8-4f3e-9d57-6d7b2b6f7d11"
    assert main(["runs", "show", unheard_of]) == ExitCode.FAILED
    assert unheard_of in capsys.readouterr().err


@pytest.mark.usefixtures("priced")
@pytest.mark.usefixtures("priced")
def test_the_kill_switch_goes_its_round_and_keeps_its_history(capsys: Captured) -> None:
    engage = ["kill-switch", "engage", "--operator", "ann", "--reason", "odd fills"]
    release = ["kill-switch", "disengage", "--operator", "bob", "--notes", "checked"]
    assert main(engage) == ExitCode.DONE
    assert main(engage) == ExitCode.ALREADY
    capsys.readouterr()
    assert main(["kill-switch", "status"]) == ExitCode.HALTED
    out = capsys.readouterr().out
    assert "ENGAGED: no order leaves: odd fills" in out
    assert "by ann" in out
    assert main(["kill-switch", "init", "--operator", "bob"]) == ExitCode.ALREADY
    assert main(release) == ExitCode.DONE
    assert main(release) == ExitCode.ALREADY
    capsys.readouterr()
    assert main(["kill-switch", "status", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["trading_allowed"] is True
    assert main(["kill-switch", "history", "--json"]) == ExitCode.DONE
    history = json.loads(capsys.readouterr().out)["history"]
    assert [change["operator"] for change in history[:2]] == ["bob", "ann"]


@pytest.mark.usefixtures("priced")
def test_config_check_says_what_everything_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("INTERNAL_TOKEN_SECRET", "s3cret-s3cret")
    monkeypatch.setenv("ORCHESTRATOR_DTA", "x")
    main(["db", "upgrade"])
    capsys.readouterr()
    assert main(["config", "check"]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert "a run can be made now" in out
    assert "s3cret" not in out
    assert "ORCHESTRATOR_DTA is not a setting" in out
    monkeypatch.setenv("EXECUTION_GATEWAY_URL", CLOSED)
    assert main(["config", "check", "--json"]) == ExitCode.UNAVAILABLE
    checked = json.loads(capsys.readouterr().out)
    assert checked["ready"] is False
    assert checked["settings"]["INTERNAL_TOKEN_SECRET"] == "***"
    assert "NOT usable" in checked["answers"]["Execution Gateway"]


@pytest.mark.parametrize("as_json", [False, True])
def test_config_check_makes_no_file_of_embedded_parts(
    as_json: bool, tmp_path: Path, capsys: Captured
) -> None:
    arguments = ["config", "check", *(["--json"] if as_json else [])]
    assert main(arguments) == ExitCode.DONE
    assert list(tmp_path.iterdir()) == []
    out = capsys.readouterr().out
    data = tmp_path / "orchestrator.db"
    assert f"no file yet: a run, or serve, makes {data}" in out
    assert out.count("orchestrator.db") == 2
    assert "ACTIVE: orders may leave" in out


def test_config_check_of_a_file_that_cannot_be_made_tells_its_cause_once(
    tmp_path: Path, capsys: Captured
) -> None:
    data = str(tmp_path / "missing" / "orchestrator.db")
    assert main(["config", "check", "--data", data]) == ExitCode.UNAVAILABLE
    out = capsys.readouterr().out
    assert "No such file or directory" in out
    for line in out.partition("run database")[2].splitlines()[1:]:
        assert "No such file" not in line
    assert "open orders        not known: see run database\n" in out
    assert list(tmp_path.iterdir()) == []


def test_config_check_says_when_the_circuit_breaker_holds(
    priced: None, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["config", "check"]) == ExitCode.DONE
    assert "circuit breaker    not set: lets runs through\n" in capsys.readouterr().out
    tripped = json.dumps({"state": "TRIPPED", "trip_reason": "drawdown"})
    with closing(sqlite3.connect(tmp_path / "orchestrator.db")) as file, file:
        file.execute(
            "INSERT INTO shared_state (key, value) VALUES ('circuit_breaker:state', ?)", (tripped,)
        )
    assert main(["config", "check"]) == ExitCode.HALTED
    assert "circuit breaker    TRIPPED: drawdown\n" in capsys.readouterr().out


def test_config_check_says_what_the_command_line_set(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, tmp_path: Path
) -> None:
    monkeypatch.delenv("ORCHESTRATOR_DATA")
    main(["config", "check", "--data", str(tmp_path / "other.db")])
    shown = capsys.readouterr().out.splitlines()
    [data] = [line for line in shown if line.startswith("ORCHESTRATOR_DATA ")]
    [capital] = [line for line in shown if line.startswith("CAPITAL ")]
    assert data.endswith("other.db")
    assert capital.endswith("(default)")


def test_a_gateway_less_safe_than_claimed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("DRY_RUN", "true")
    assert main(["config", "check"]) == ExitCode.UNAVAILABLE
    assert "less safe" in capsys.readouterr().out


def test_prices_come_from_a_file_too(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("AAPL,125.67\n\nxom, 106.63\n")
    assert main(["prices", "set", "--csv", str(file)]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("2 prices set in ")
    file.write_text("AAPL,125.67\nXOM\n")
    assert main(["prices", "set", "--csv", str(file)]) == ExitCode.USAGE
    assert "line 2: expected SYMBOL,PRICE" in capsys.readouterr().err
    assert main(["prices", "set", "--csv", str(tmp_path / "none.csv")]) == ExitCode.USAGE


def test_closes_come_from_a_file_too(tmp_path: Path, capsys: Captured) -> None:
    file, day = tmp_path / "closes.csv", a_day(1)
    file.write_text("AAPL,125.67\nXOM,106.63\n")
    assert main(["prices", "set", "--csv", str(file), "--close", day]) == ExitCode.DONE
    first, last = (date.fromisoformat(day) + timedelta(days) for days in (1, 10))
    out = capsys.readouterr().out
    assert out.startswith(f"2 closes of {day} set in ")
    assert out.endswith(f": prices are held against them from {first} to {last}, UTC\n")
    # A close is no price: nothing is traded on it.
    main(["run", "--symbols", "AAPL", "XOM"])
    assert capsys.readouterr().out.count("price_unavailable: no price\n") == 2


def test_prices_are_not_set_where_a_feed_writes_them(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_EMBEDDED", "false")
    assert main(["prices", "set", "AAPL=1"]) == ExitCode.USAGE
    assert "embedded parts only" in capsys.readouterr().err


def test_a_dry_run_gateway_matches_a_dry_run_service(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, priced: None
) -> None:
    with running_peers(flags=DRY_RUN) as dry:
        monkeypatch.setenv("DRY_RUN", "true")
        monkeypatch.setenv("SIGNAL_SERVICE_URL", dry.signal_service_url)
        monkeypatch.setenv("EXECUTION_GATEWAY_URL", dry.execution_gateway_url)
        assert main(["run", "--symbols", *SYMBOLS]) == ExitCode.DONE
        assert capsys.readouterr().out.count("dry_run\n") == 4
        assert len(dry.ledger.orders) == 4


def test_a_name_that_is_no_setting_is_told_beside_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, priced: None
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_EMBEDED", "true")
    main(["run", "--symbols", *SYMBOLS])
    said = "warning: ORCHESTRATOR_EMBEDED is not a setting and has no effect"
    assert said in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize(
    ("redirected", "code", "said"),
    [(">&-", 0, ""), (">/dev/full", 1, "orchestrator: No space left on device\n")],
)
def test_output_that_nothing_takes_ends_without_a_trace(
    redirected: str, code: int, said: str
) -> None:
    command = f"exec '{sys.executable}' -m orchestrator_entrypoints runs list {redirected}"
    ended = subprocess.run(
        ["sh", "-c", command],  # noqa: S607 - any shell
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert (ended.returncode, ended.stderr) == (code, said)

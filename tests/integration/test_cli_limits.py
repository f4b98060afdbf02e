"""Limits and controls from the environment to the command line, over embedded parts and peers."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.identifiers import Symbol
from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.data import daily_prices
from orchestrator_entrypoints.demo.peers import PAPER, Peers, running_peers

SYMBOLS = "AAPL,KO,MSFT,XOM"

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peers]:
    closes = daily_prices().last_closes()
    with running_peers(flags=PAPER) as peers:
        for name, value in {
            "ORCHESTRATOR_EMBEDDED": "true",
            "ORCHESTRATOR_DATA": str(tmp_path / "orchestrator.db"),
            "SIGNAL_SERVICE_URL": peers.signal_service_url,
            "EXECUTION_GATEWAY_URL": peers.execution_gateway_url,
            "DRY_RUN": "false",
        }.items():
            monkeypatch.setenv(name, value)
        assert main(["prices", "set", *(f"{symbol}={closes[symbol]}" for symbol in closes)]) == 0
        yield peers


def test_a_refused_basket_sends_nothing_and_is_stored_shown_and_replayed(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("MAX_ORDERS_A_RUN", "3")
    capsys.readouterr()
    assert main(["run", "--json", "--symbols", SYMBOLS]) == ExitCode.FAILED
    result = json.loads(capsys.readouterr().out)
    refusal = "MAX_ORDERS_A_RUN orders=4 limit=3"
    assert (result["status"], result["error_message"]) == ("failed", f"Basket refused: {refusal}")
    assert {each["skip_reason"] for each in result["mappings"]} == {f"denied: {refusal}"}
    assert peers.ledger.orders == ()

    assert main(["runs", "show", result["run_id"], "--explain"]) == ExitCode.DONE
    assert refusal in capsys.readouterr().out
    assert main(["replay", result["run_id"]]) == ExitCode.DONE
    assert "4 decisions: 1 equal" in capsys.readouterr().out

    monkeypatch.setenv("MAX_ORDERS_A_RUN", "4")
    assert main(["run", "--symbols", SYMBOLS]) == ExitCode.DONE
    assert len(peers.ledger.orders) == 4


def test_a_restricted_symbol_is_left_out_and_the_rest_is_sent(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("RESTRICTED_SYMBOLS", "KO")
    capsys.readouterr()
    assert main(["run", "--json", "--symbols", SYMBOLS]) == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    reasons = {each["symbol"]: each["skip_reason"] for each in result["mappings"]}
    assert reasons["KO"] == "denied: RESTRICTED_SYMBOL symbol=KO"
    assert [symbol for symbol, reason in reasons.items() if reason is not None] == ["KO"]
    assert len(peers.ledger.orders) == 3


def test_a_run_that_limits_stop_as_a_whole_says_so_and_ends_with_3(
    peers: Peers, capsys: Captured
) -> None:
    denies_all = ["--limit", "restricted_symbols=AAPL,KO,MSFT,XOM"]
    dry_run = ran(capsys, *denies_all, "--dry-run", code=ExitCode.PARTIAL)
    result = ran(capsys, *denies_all, code=ExitCode.PARTIAL)
    assert result["status"] == dry_run["status"] == "completed"
    said = "No order was let go: limits denied 4 of 4 signals"
    assert result["note"] == dry_run["note"] == said
    assert peers.ledger.orders == ()
    assert main(["runs", "show", result["run_id"], "--wait", "1"]) == ExitCode.PARTIAL
    assert "\n4 signals, 0 orders accepted, 4 denied\n" in capsys.readouterr().out
    # What went somewhere is no whole stop, and a dry run's orders would have gone.
    assert ran(capsys, "--limit", "restricted_symbols=KO", "--dry-run")["note"] is None
    assert main(["run", "--symbols", SYMBOLS, *denies_all[:1], "restricted_symbols=KO"]) == 0
    assert "\n4 signals, 3 orders accepted, 1 denied\n" in capsys.readouterr().out
    assert main(["runs", "list"]) == ExitCode.DONE
    heading, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert heading[4:9] == ["accepted", "rejected", "denied", "halted", "skipped"]
    assert [line[3:8] for line in lines] == [
        ["3", "0", "1", "0", "0"],
        ["0", "0", "1", "0", "3"],
        ["0", "0", "4", "0", "0"],
        ["0", "0", "4", "0", "0"],
    ]


def test_a_run_without_any_usable_price_says_so_and_ends_with_3(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATA", str(tmp_path / "unpriced.db"))
    result = ran(capsys, code=ExitCode.PARTIAL)
    assert result["status"] == "completed"
    assert result["note"] == "No order was let go. 4 of 4 signals had no usable price"
    assert peers.ledger.orders == ()


@pytest.mark.usefixtures("peers")
def test_config_check_names_the_limits_that_are_left_open(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("MAX_BASKET_GROSS", "50000")
    capsys.readouterr()
    assert main(["config", "check", "--json"]) == ExitCode.DONE
    checked = json.loads(capsys.readouterr().out)["open_limits"]
    assert "MAX_BASKET_NET" in checked
    assert "MAX_BASKET_GROSS" not in checked
    assert main(["config", "check"]) == ExitCode.DONE
    assert f"\nlimits left open: {', '.join(checked)}\n" in capsys.readouterr().out


def ran(capsys: Captured, *arguments: str, code: ExitCode = ExitCode.DONE) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["run", "--json", "--symbols", SYMBOLS, *arguments]) == code
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_a_run_is_held_to_limits_of_its_command_line(peers: Peers, capsys: Captured) -> None:
    result = ran(capsys, "--limit", "restricted_symbols=KO,XOM", "--limit", "max_orders_a_run=2")
    reasons = {each["symbol"]: each["skip_reason"] for each in result["mappings"]}
    assert reasons["KO"] == "denied: RESTRICTED_SYMBOL symbol=KO"
    assert len(peers.ledger.orders) == 2


@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("max_order_quantity=5", "--limit: 'max_order_quantity' is none of allowed_symbols, "),
        (
            "max_position_size=5",
            "--limit: 'max_position_size' is an option by itself, --max-position-size, and none of",
        ),
        ("max_order_qty=0", "--limit max_order_qty: expected a whole number above zero"),
        ("reduce_only=yes", "--limit reduce_only: expected true or false"),
        ("restricted_symbols=A A", "--limit restricted_symbols: expected symbols"),
        ("market_session=always", "--limit market_session: expected one of off, warn, refuse"),
        ("max_side_weight=2", "limits.max_side_weight: expected at most 1"),
        ("price_band", "--limit: expected NAME=VALUE"),
    ],
)
def test_a_limit_of_the_command_line_that_is_none_or_loosens_is_a_usage_error(
    limit: str, words: str, capsys: Captured
) -> None:
    capsys.readouterr()
    assert main(["run", "--symbols", "KO", "--limit", limit]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"orchestrator: {words}")


def test_a_difference_is_ordered_once_and_shown(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("SIZING_MODE", "delta")
    capsys.readouterr()
    assert main(["run", "--symbols", SYMBOLS]) == ExitCode.USAGE
    assert "rebalance_key: expected a name for this rebalance" in capsys.readouterr().err
    first = ran(capsys, "--rebalance-key", "one")
    assert first["num_orders_accepted"] == 4
    second = ran(capsys, "--rebalance-key", "two")
    assert {each["skip_reason"] for each in second["mappings"]} == {"at_target"}
    assert len(peers.ledger.orders) == 4

    held = peers.ledger.positions()
    half = peers.prices.last_closes()[Symbol("KO")] / 2
    assert main(["prices", "set", f"KO={half}"]) == ExitCode.DONE
    capsys.readouterr()
    assert main(["run", "--symbols", SYMBOLS, "--rebalance-key", "three"]) == ExitCode.DONE
    shown = capsys.readouterr().out
    heading = next(line for line in shown.splitlines() if line.startswith("symbol"))
    assert heading.split()[:9] == [
        *("symbol", "weight", "target", "capped", "price", "position", "on", "order", "delta"),
    ]
    [line] = [line.split() for line in shown.splitlines() if line.startswith("KO ")]
    more = peers.ledger.positions()[Symbol("KO")] - held[Symbol("KO")]
    assert more != 0
    assert line[5:9] == [
        *(f"{held[Symbol('KO')]:,}", "0", f"{more:+,}", f"{abs(more):,}"),
    ]
    assert " allocated of " in shown
    assert len(peers.ledger.orders) == 5


def test_prices_are_held_against_closes_that_were_set(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("PRICE_BAND", "0.1")
    monkeypatch.setenv("PRICE_BAND_REQUIRED", "true")
    prices = peers.prices.last_closes()
    far = 2 * prices[Symbol("KO")]
    day = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    closes = [f"AAPL={prices[Symbol('AAPL')]}", f"KO={far}", f"XOM={prices[Symbol('XOM')]}"]
    assert main(["prices", "set", *closes, "--close", day]) == ExitCode.DONE
    result = ran(capsys)
    reasons = {each["symbol"]: each["skip_reason"] for each in result["mappings"]}
    assert reasons == {
        "AAPL": None,
        "KO": f"denied: PRICE_BAND price={far / 2:f} previous_close={far:f} limit=0.1",
        "MSFT": f"denied: NO_REFERENCE_PRICE price={prices[Symbol('MSFT')]:f}",
        "XOM": None,
    }
    assert set(peers.ledger.positions()) == {"AAPL", "XOM"}
    assert main(["replay", result["run_id"]]) == ExitCode.DONE


def test_reduce_only_mode_is_turned_on_and_off_by_name(peers: Peers, capsys: Captured) -> None:
    said = ["--operator", "ann", "--notes", "fast market"]
    assert main(["controls", "reduce-only", "on", *said]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert "reduce-only mode is ON, by operator: only orders go that shrink a position\n" in out
    assert "REDUCE_ONLY_ON  ann       fast market\n" in out
    result = ran(capsys, code=ExitCode.PARTIAL)
    assert {each["skip_reason"].split()[1] for each in result["mappings"]} == {"REDUCE_ONLY"}
    assert peers.ledger.orders == ()
    assert main(["config", "check", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["answers"]["controls"] == "reduce-only, by operator"
    assert main(["controls", "reduce-only", "off", *said, "--json"]) == ExitCode.DONE
    status = json.loads(capsys.readouterr().out)
    assert (status["reduce_only"], len(status["events"])) == (False, 2)
    assert main(["controls", "reduce-only", "off", *said]) == ExitCode.ALREADY
    assert capsys.readouterr().err == "orchestrator: reduce-only mode is not on\n"
    assert ran(capsys)["num_orders_accepted"] == 4


def test_a_throttled_strategy_is_shown_and_re_armed(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert main(["controls", "show"]) == ExitCode.DONE
    assert "failed runs are not counted: MAX_FAILED_RUNS is unset\n" in capsys.readouterr().out
    monkeypatch.setenv("MAX_FAILED_RUNS", "2")
    with monkeypatch.context() as closed:
        closed.setenv("SIGNAL_SERVICE_URL", "http://127.0.0.1:9")
        for _ in range(2):
            ran(capsys, code=ExitCode.UNAVAILABLE)
    assert main(["controls", "show"]) == ExitCode.HALTED
    out = capsys.readouterr().out
    assert "2 runs in a row failed; 2 stop the strategy\n" in out
    assert "THROTTLED: no run trades; to go on: orchestrator controls rearm\n" in out
    assert main(["config", "check"]) == ExitCode.HALTED
    assert "not reduce-only, THROTTLED\n" in capsys.readouterr().out
    assert "Strategy throttled" in ran(capsys, code=ExitCode.HALTED)["error_message"]
    assert peers.ledger.orders == ()
    said = ["--operator", "ann", "--notes", "mended"]
    assert main(["controls", "rearm", *said]) == ExitCode.DONE
    assert "0 runs in a row failed; 2 stop the strategy\n" in capsys.readouterr().out
    assert ran(capsys)["num_orders_accepted"] == 4


@pytest.mark.usefixtures("peers")
@pytest.mark.parametrize(
    "command", [["rearm"], ["reduce-only", "on"], ["rearm", "--operator", "a", "--notes", " "]]
)
def test_who_changes_a_control_and_why_must_be_said(command: list[str], capsys: Captured) -> None:
    try:
        code = main(["controls", *command])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == ExitCode.USAGE
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "denial", "missing"),
    [
        ("max_day_gross=100", "MAX_DAY_GROSS", "what the day had ordered was not read"),
        ("max_basket_net=1", "MAX_BASKET_NET", None),
        ("max_orders_a_run=1", "MAX_ORDERS_A_RUN", None),
        ("reduce_only=true", "REDUCE_ONLY position=unknown", "no positions were read"),
        ("requires_reference=true", "NO_REFERENCE_PRICE", "no reference prices were read"),
        ("price_band=0.1", None, "no reference prices were read"),
        ("restricted_symbols=AAPL,KO,MSFT,XOM", "RESTRICTED_SYMBOL", None),
        ("allowed_symbols=TSLA", "SYMBOL_NOT_ALLOWED", None),
    ],
)
@pytest.mark.usefixtures("peers")
def test_a_what_if_tightens_any_limit_and_says_what_the_run_had_not_read(
    setting: str, denial: str | None, missing: str | None, capsys: Captured
) -> None:
    run_id = ran(capsys)["run_id"]
    assert main(["what-if", run_id, "--set", setting]) == ExitCode.DONE
    out = capsys.readouterr().out
    changed = 0 if denial is None else 4
    assert f"{changed} decisions of 4 changed; nothing was sent\n" in out
    assert out.count(f"denied: {denial}") == changed
    assert ("\nnote: " in out) is (missing is not None)
    assert missing is None or f"note: {missing}" in out


@pytest.mark.usefixtures("peers")
def test_a_what_if_changes_one_lot_beside_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("LOT_SIZES", "KO=10")
    run_id = ran(capsys)["run_id"]
    assert main(["what-if", run_id, "--set", "lot.aapl=100000", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    after = {each["symbol"]: each for each in found["decisions"]}
    assert [each["symbol"] for each in found["decisions"] if each["is_changed"]] == ["AAPL"]
    assert after["AAPL"]["after"][-1]["value"] == "qty_less_than_one_share"
    assert "lots" in {step["name"] for step in after["KO"]["after"]}
    assert main(["what-if", run_id, "--set", "lot.AAPL=0"]) == ExitCode.USAGE
    assert "--set: lot.AAPL=0: expected a whole number above zero" in capsys.readouterr().err


@pytest.mark.usefixtures("peers")
def test_a_what_if_shows_a_flip_that_was_none(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("SIZING_MODE", "delta")
    ran(capsys, "--rebalance-key", "one")
    second = ran(capsys, "--rebalance-key", "two")
    assert main(["what-if", second["run_id"], "--weight", "XOM=-0.1", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)["decisions"]
    first, leg = [each for each in found if each["symbol"] == "XOM"]
    assert first["before"][-1]["value"] == "at_target"
    assert (first["after"][-1]["name"], leg["after"][-1]["name"]) == ("order", "order")
    assert leg["before"] == []
    assert main(["what-if", second["run_id"], "--weight", "XOM=-0.1"]) == ExitCode.DONE
    assert "2 decisions of 5 changed; nothing was sent\n" in capsys.readouterr().out

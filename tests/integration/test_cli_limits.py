"""Limits from the environment to the command line, over embedded parts and real peers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

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

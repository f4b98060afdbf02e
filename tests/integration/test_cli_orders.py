"""The command line where an order's fate is open: recover, list, resolve, wait, cancel."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator_adapters.shared_keys import utc_text
from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from tests.integration.service_parts import PAPER, SWIFT, offer
from tests.servers.peers import (
    GatewayPeer,
    ServedGateway,
    ServedSignalService,
    Trick,
    Wire,
    answer,
)

Captured = pytest.CaptureFixture[str]
RUN = ["run", "--json", "--symbols", "AAPL", "MSFT"]
EVIDENCE = ["--operator", "ann", "--evidence", "statement of today"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


@pytest.fixture
def peer(
    data: Path,
    signal_service: ServedSignalService,
    gateway: ServedGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> GatewayPeer:
    for name, value in {
        **PAPER,
        **SWIFT,
        "ORCHESTRATOR_EMBEDDED": "true",
        "ORCHESTRATOR_DATA": str(data),
        "SIGNAL_SERVICE_URL": signal_service.server.url,
        "EXECUTION_GATEWAY_URL": gateway.server.url,
        "KILL_SWITCH_DRAIN_SECONDS": "0.1",
    }.items():
        monkeypatch.setenv(name, value)
    offer(signal_service, ["AAPL", "MSFT"])
    assert main(["prices", "set", "AAPL=100", "MSFT=100"]) == ExitCode.DONE
    return gateway.peer


def answered(capsys: Captured, *command: str, code: ExitCode = ExitCode.DONE) -> Any:
    capsys.readouterr()
    assert main([*command, "--json"] if "--json" not in command else list(command)) == code
    return json.loads(capsys.readouterr().out)


def a_run_in_doubt(capsys: Captured, peer: GatewayPeer, *tricks: Trick) -> dict[str, Any]:
    """Make a run; the order of AAPL meets these tricks, that of MSFT none."""
    peer.play("AAPL", *tricks)
    run: dict[str, Any] = answered(capsys, *RUN, code=ExitCode.RUNNING)
    return run


def order_id(run: dict[str, Any], symbol: str = "AAPL") -> str:
    [found] = [m["client_order_id"] for m in run["mappings"] if m["symbol"] == symbol]
    assert isinstance(found, str)
    return found


def let_time_pass(data: Path, *, claimed_ago: float = 2.0) -> None:
    """Let each open run be due, and each order have gone out so many seconds ago."""
    claimed_at = datetime.now(UTC) - timedelta(seconds=claimed_ago)
    with closing(sqlite3.connect(data)) as file, file:
        file.execute(
            "UPDATE run_leases SET recover_at = '2000-01-01T00:00:00.000000Z'"
            " WHERE recover_at IS NOT NULL"
        )
        file.execute(
            "UPDATE signal_order_mappings SET claimed_at = ? WHERE claimed_at IS NOT NULL",
            (utc_text(claimed_at),),
        )


LOST = Trick(takes=False, wire=Wire.CLOSE)
TAKEN = Trick(wire=Wire.CLOSE)


def test_recovering_by_hand_settles_what_the_gateway_has(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = a_run_in_doubt(capsys, peer, TAKEN)
    [shown] = answered(capsys, "orders", "open")["orders"]
    assert (shown["run_id"], shown["client_order_id"]) == (run["run_id"], order_id(run))
    assert (shown["state"], shown["waits_for_operator"]) == ("unknown", False)
    let_time_pass(data)
    done = answered(capsys, "recover")
    assert [(r["run_id"], r["status"], r["settled"]) for r in done["runs"]] == [
        (run["run_id"], "completed", {"accepted": 1})
    ]
    assert done["orders_open"] == 0
    assert answered(capsys, "orders", "open") == {"orders": [], "total": 0}
    assert len(peer.posts) == 2


def test_recovering_by_hand_sends_again_what_the_gateway_does_not_have(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = a_run_in_doubt(capsys, peer, LOST)
    let_time_pass(data)
    assert main(["recover"]) == ExitCode.DONE
    assert f"run {run['run_id']}: now completed; sent again: 1\n" in capsys.readouterr().out
    first, second = [p for p in peer.posts if p.json()["symbol"] == "AAPL"]
    assert first.body == second.body


def test_recovering_by_hand_says_what_was_settled_and_what_is_left(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    peer.play("MSFT", TAKEN)
    run = a_run_in_doubt(capsys, peer, LOST)
    peer.hush(order_id(run), *[answer(500, {"detail": "scripted"})] * 9)
    let_time_pass(data)
    assert main(["recover"]) == ExitCode.RUNNING
    out = capsys.readouterr().out
    assert f"run {run['run_id']}: still running; settled: 1 accepted; left: 1 in doubt\n" in out
    assert "1 order open: orchestrator orders open\n" in out


def test_recovering_by_hand_does_not_say_that_what_was_held_back_was_sent(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = a_run_in_doubt(capsys, peer, LOST)
    main(["kill-switch", "engage", "--operator", "ann", "--reason", "lost answers"])
    let_time_pass(data)
    capsys.readouterr()
    assert main(["recover"]) == ExitCode.RUNNING
    assert capsys.readouterr().out.startswith(
        f"run {run['run_id']}: still running; due to be sent again: 1; left: 1 in doubt\n"
    )


def test_recovering_by_hand_asks_how_orders_went_on(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = answered(capsys, *RUN)
    peer.ledger[order_id(run)].update(
        status="filled", filled_qty="100", filled_avg_price="99.5", qty=100
    )
    with closing(sqlite3.connect(data)) as file, file:
        file.execute("UPDATE signal_order_mappings SET follow_at = '2000-01-01T00:00:00.000000Z'")
    assert main(["recover"]) == ExitCode.DONE
    assert "2 orders asked about: 1 ended, 100 shares filled" in capsys.readouterr().out
    [filled] = [
        m
        for m in answered(capsys, "runs", "show", run["run_id"])["mappings"]
        if m["symbol"] == "AAPL"
    ]
    assert (filled["order_status"], filled["filled_avg_price"]) == ("filled", "99.5")


def test_nothing_to_recover_is_said_so(peer: GatewayPeer, capsys: Captured) -> None:
    answered(capsys, *RUN)
    assert main(["recover"]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert out == "no run was due\n0 orders asked about: 0 ended, 0 shares filled\n"
    assert main(["orders", "open"]) == ExitCode.DONE
    assert capsys.readouterr().out == "no open orders\n"


def an_unresolved_order(data: Path, peer: GatewayPeer, capsys: Captured) -> dict[str, Any]:
    """Make a run of which AAPL's order is left to an operator."""
    run = a_run_in_doubt(capsys, peer, LOST)
    let_time_pass(data, claimed_ago=1000)
    capsys.readouterr()
    assert main(["recover"]) == ExitCode.RUNNING
    out = capsys.readouterr().out
    assert f"run {run['run_id']}: still running; left: 1 for an operator\n" in out
    assert f"{order_id(run)} waits for an operator: " in out
    return run


def test_an_order_that_nothing_settles_is_listed_with_what_to_do(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = an_unresolved_order(data, peer, capsys)
    answers = answered(capsys, "config", "check")["answers"]
    assert answers["open orders"] == "1, 1 for an operator: orchestrator orders open"
    assert answers["recovery"] == "0 runs due, 1 order followed"
    note = answered(capsys, "runs", "show", run["run_id"])["note"]
    assert note.startswith("An order waits for an operator")
    assert main(["orders", "open"]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert f"{order_id(run)}  AAPL    buy      100  unresolved  {run['run_id']}" in out
    assert "orchestrator orders resolve ID --as WHAT --operator YOU --evidence TEXT" in out


@pytest.mark.parametrize(
    ("resolved_as", "status"),
    [("not_placed", "partial"), ("rejected", "partial"), ("accepted", "completed")],
)
def test_an_operator_closes_an_order_on_evidence(
    data: Path, peer: GatewayPeer, capsys: Captured, resolved_as: str, status: str
) -> None:
    run = an_unresolved_order(data, peer, capsys)
    close = ["orders", "resolve", order_id(run), "--as", resolved_as, *EVIDENCE]
    if resolved_as == "accepted":
        close += ["--broker-order-id", "b-7"]
    ended = answered(capsys, *close)
    assert (ended["run_id"], ended["status"]) == (run["run_id"], status)
    [closed] = [m for m in ended["mappings"] if m["symbol"] == "AAPL"]
    if resolved_as == "accepted":
        assert (closed["order_status"], closed["broker_order_id"]) == ("accepted", "b-7")
    else:
        assert closed["order_status"] == "rejected"
        assert closed["skip_reason"] == "submission_failed: closed by ann: statement of today"
    assert answered(capsys, "orders", "open")["total"] == 0


def test_the_gateways_own_record_is_not_overruled(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = an_unresolved_order(data, peer, capsys)
    peer.handle(next(post for post in peer.posts if post.json()["symbol"] == "AAPL"))
    close = ["orders", "resolve", order_id(run), "--as", "not_placed", *EVIDENCE]
    assert main(close) == ExitCode.USAGE
    assert "the gateway has the order on record as accepted" in capsys.readouterr().err
    assert answered(capsys, "orders", "open")["total"] == 1


def test_a_word_that_the_gateway_cannot_be_asked_about_needs_a_flag_and_is_marked(
    data: Path, peer: GatewayPeer, gateway: ServedGateway, capsys: Captured
) -> None:
    run = an_unresolved_order(data, peer, capsys)
    gateway.server.stop_listening()
    close = ["orders", "resolve", order_id(run), "--as", "not_placed", *EVIDENCE]
    assert main(close) == ExitCode.UNAVAILABLE
    said = capsys.readouterr()
    assert said.out == ""
    [line] = said.err.splitlines()
    assert line.startswith("orchestrator: Execution Gateway: no connection")
    assert line.endswith("nothing was changed; --unasked closes it on your word alone")
    assert answered(capsys, "orders", "open")["total"] == 1
    assert main([*close, "--unasked"]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert out.endswith("the gateway was not asked: the order is closed on the word of ann\n")
    shown = answered(capsys, "runs", "show", run["run_id"])
    [closed] = [m for m in shown["mappings"] if m["symbol"] == "AAPL"]
    assert closed["skip_reason"] == (
        "submission_failed: closed by ann, the gateway not asked: statement of today"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ID", "--as", "accepted"], "broker_order_id: expected the broker's id"),
        (["ID", "--as", "rejected", "--broker-order-id", "b"], "only an accepted order has one"),
        (["ID", "--as", "rejected", "--broker-order-id", " "], "only an accepted order has one"),
    ],
)
def test_a_closing_that_cannot_be_is_one_line_and_changes_nothing(
    data: Path, peer: GatewayPeer, capsys: Captured, arguments: list[str], said: str
) -> None:
    run = an_unresolved_order(data, peer, capsys)
    named = [order_id(run) if word == "ID" else word for word in arguments]
    command = ["orders", "resolve", *EVIDENCE, *named]
    assert main(command) == ExitCode.USAGE
    err = capsys.readouterr().err.splitlines()[-1]
    assert said in err
    assert answered(capsys, "orders", "open")["orders"][0]["state"] == "unresolved"


def test_an_order_that_is_closed_or_unknown_is_not_there_to_be_closed(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = an_unresolved_order(data, peer, capsys)
    close = ["orders", "resolve", order_id(run), "--as", "rejected", *EVIDENCE]
    assert main(close) == ExitCode.DONE
    for command in (close, ["orders", "resolve", "unheard-of", *close[3:]]):
        capsys.readouterr()
        assert main(command) == ExitCode.FAILED
        said = "no open order has this id: it is closed already, or none ever had it"
        assert capsys.readouterr().err == f"orchestrator: {said}\n"


def test_a_closing_without_evidence_changes_nothing(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = an_unresolved_order(data, peer, capsys)
    close = ["orders", "resolve", order_id(run), "--as", "rejected", "--operator", "ann"]
    assert main([*close, "--evidence", " "]) == ExitCode.USAGE
    assert "--evidence: expected some words" in capsys.readouterr().err
    assert answered(capsys, "orders", "open")["orders"][0]["state"] == "unresolved"


def test_where_an_operator_must_act_nobody_says_that_it_settles_by_itself(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    peer.play("AAPL", LOST)
    capsys.readouterr()
    assert main(RUN) == ExitCode.RUNNING
    assert "a service settles this by itself" in capsys.readouterr().err
    let_time_pass(data, claimed_ago=1000)
    assert main(["recover"]) == ExitCode.RUNNING
    capsys.readouterr()
    assert main(RUN) == ExitCode.RUNNING
    said = capsys.readouterr()
    assert json.loads(said.out)["note"].startswith("An order waits for an operator")
    assert said.err.endswith("nothing settles this by itself: orchestrator orders open\n")
    assert "a service settles" not in said.err


def test_an_order_that_recovery_still_looks_for_is_not_closed_by_hand(
    peer: GatewayPeer, capsys: Captured
) -> None:
    run = a_run_in_doubt(capsys, peer, TAKEN)
    close = ["orders", "resolve", order_id(run), "--as", "rejected", *EVIDENCE]
    assert main(close) == ExitCode.FAILED
    assert "recovery still looks for it" in capsys.readouterr().err


def test_showing_a_run_can_wait_for_its_end(peer: GatewayPeer, capsys: Captured) -> None:
    done = answered(capsys, *RUN)
    show = ["runs", "show", done["run_id"]]
    assert main([*show, "--wait", "60"]) == ExitCode.DONE
    peer.play("AAPL", TAKEN)
    again = [*RUN, "--rebalance-key", "second"]
    running = answered(capsys, *again, code=ExitCode.RUNNING)
    show = ["runs", "show", running["run_id"]]
    assert main(show) == ExitCode.DONE
    assert main([*show, "--wait", "1"]) == ExitCode.RUNNING
    assert "AAPL" in capsys.readouterr().out


def test_engaging_cancels_live_orders_where_told(peer: GatewayPeer, capsys: Captured) -> None:
    answered(capsys, *RUN)
    engage = ["kill-switch", "engage", "--operator", "ann", "--reason", "odd fills"]
    assert main(engage) == ExitCode.DONE
    assert {order["status"] for order in peer.ledger.values()} == {"accepted"}
    assert main(engage) == ExitCode.ALREADY
    assert main([*engage, "--cancel-open"]) == ExitCode.DONE
    assert "2 live orders asked to be canceled" in capsys.readouterr().out
    assert {order["status"] for order in peer.ledger.values()} == {"canceled"}


def test_a_live_order_that_cannot_be_canceled_ends_with_7(
    peer: GatewayPeer, gateway: ServedGateway, capsys: Captured
) -> None:
    run = answered(capsys, *RUN)
    gateway.server.stop_listening()
    engage = ["kill-switch", "engage", "--operator", "ann", "--reason", "odd", "--cancel-open"]
    assert main(engage) == ExitCode.UNAVAILABLE
    assert f"NOT asked: {order_id(run)}: " in capsys.readouterr().out


def test_a_kill_switch_engaged_before_recovery_sends_nothing_again(
    data: Path, peer: GatewayPeer, capsys: Captured
) -> None:
    run = a_run_in_doubt(capsys, peer, LOST)
    posted = len(peer.posts)
    main(["kill-switch", "engage", "--operator", "ann", "--reason", "lost answers"])
    let_time_pass(data)
    assert main(["recover"]) == ExitCode.RUNNING
    assert len(peer.posts) == posted
    assert answered(capsys, "orders", "open")["orders"][0]["client_order_id"] == order_id(run)


def test_an_accepted_order_that_the_gateway_lost_is_ended_by_hand_and_frees_its_symbol(
    peer: GatewayPeer, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIZING_MODE", "delta")
    monkeypatch.setenv("LEASE_SECONDS", "60")
    run = answered(capsys, *RUN, "--rebalance-key", "first")
    lost = order_id(run)
    del peer.ledger[lost]
    held_up = answered(capsys, *RUN, "--rebalance-key", "second", code=ExitCode.PARTIAL)
    [denied] = [m["skip_reason"] for m in held_up["mappings"] if m["symbol"] == "AAPL"]
    assert denied.startswith(f"denied: UNSETTLED_ORDER order={lost} ")
    live = answered(capsys, "orders", "live")["orders"]
    assert {o["client_order_id"]: (o["gateway_says"], o["is_lost"]) for o in live} == {
        lost: ("absent", True),
        order_id(run, "MSFT"): ("accepted", False),
    }
    assert main(["orders", "live"]) == ExitCode.DONE
    assert "orchestrator orders resolve ID --as ended --operator YOU" in capsys.readouterr().out
    ended = answered(capsys, "orders", "resolve", lost, "--as", "ended", *EVIDENCE)
    assert (ended["run_id"], ended["status"]) == (run["run_id"], "completed")
    [shown] = [m["order_status"] for m in ended["mappings"] if m["symbol"] == "AAPL"]
    assert shown == "canceled"
    posted = len(peer.posts)
    anew = answered(capsys, *RUN, "--rebalance-key", "third")
    assert [post.json()["symbol"] for post in peer.posts[posted:]] == ["AAPL"]
    assert order_id(anew) != lost


def test_an_order_is_not_ended_while_the_gateway_has_it_or_is_silent(
    data: Path, peer: GatewayPeer, gateway: ServedGateway, capsys: Captured
) -> None:
    id_ = order_id(answered(capsys, *RUN))
    close = ["orders", "resolve", id_, "--as", "ended", *EVIDENCE]
    assert main(close) == ExitCode.FAILED
    assert "the gateway has the order on record, as accepted (accepted)" in capsys.readouterr().err
    assert main([*close, "--broker-order-id", "b"]) == ExitCode.USAGE
    gateway.server.stop_listening()
    assert main(close) == ExitCode.UNAVAILABLE
    assert "--unasked ends it on your word alone" in capsys.readouterr().err
    assert main([*close, "--unasked"]) == ExitCode.DONE
    assert f"{id_} has ended on the word of ann\n" in capsys.readouterr().out
    with closing(sqlite3.connect(data)) as file:
        [stored] = file.execute(
            "SELECT gateway_status, message, follow_at FROM signal_order_mappings"
            " WHERE client_order_id = ?",
            (id_,),
        )
    assert stored == (
        "canceled",
        "ended by ann, the gateway telling nothing: statement of today",
        None,
    )
    assert main([*close, "--unasked"]) == ExitCode.FAILED


def test_a_gateway_that_lost_every_order_proves_none_lost(
    peer: GatewayPeer, capsys: Captured
) -> None:
    id_ = order_id(answered(capsys, *RUN))
    peer.ledger.clear()
    close = ["orders", "resolve", id_, "--as", "ended", *EVIDENCE]
    assert main(close) == ExitCode.UNAVAILABLE
    assert "not seen to keep our ids: the gateway cannot tell" in capsys.readouterr().err
    assert main([*close, "--unasked"]) == ExitCode.DONE
    left = answered(capsys, "orders", "live")["orders"]
    assert [order["symbol"] for order in left] == ["MSFT"]

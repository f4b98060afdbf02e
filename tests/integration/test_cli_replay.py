"""Replays, what-ifs and exports from the command line: what they print, and how they end."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.run_files import Seal
from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.data import daily_prices
from orchestrator_entrypoints.demo.peers import PAPER, running_peers

SYMBOLS = ["AAPL", "KO", "MSFT", "XOM"]
CLOSED = "http://127.0.0.1:9"
STRATEGY = "alpha_baseline"

# What a byte that is no UTF-8 is read as.
UNREADABLE = "\ufffd".encode()

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORCHESTRATOR_EMBEDDED", "true")
    monkeypatch.setenv("ORCHESTRATOR_DATA", str(tmp_path / "orchestrator.db"))
    monkeypatch.setenv("DRY_RUN", "false")
    return tmp_path / "orchestrator.db"


@pytest.fixture
def runs(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> list[str]:
    """Two runs, the older first, stored by peers that are gone."""
    closes = daily_prices().last_closes()
    with running_peers(flags=PAPER) as peers:
        monkeypatch.setenv("SIGNAL_SERVICE_URL", peers.signal_service_url)
        monkeypatch.setenv("EXECUTION_GATEWAY_URL", peers.execution_gateway_url)
        assert main(["prices", "set", *(f"{symbol}={closes[symbol]}" for symbol in closes)]) == 0
        made = []
        for key in ("first", "second"):
            capsys.readouterr()
            assert main(["run", "--json", "--rebalance-key", key, "--symbols", *SYMBOLS]) == 0
            made.append(json.loads(capsys.readouterr().out)["run_id"])
    monkeypatch.setenv("SIGNAL_SERVICE_URL", CLOSED)
    monkeypatch.setenv("EXECUTION_GATEWAY_URL", CLOSED)
    return made


def change(data: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(data)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


def replayed(capsys: Captured, *arguments: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["replay", "--json", *arguments])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def exported(capsys: Captured, *arguments: str) -> list[str]:
    capsys.readouterr()
    assert main(["runs", "export", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def sealing(lines: list[str]) -> str:
    seal = Seal()
    for line in lines:
        seal.add(line)
    return seal.encode()


def test_stored_runs_replay_to_the_same_bytes(runs: list[str], capsys: Captured) -> None:
    assert main(["replay", runs[0]]) == ExitCode.DONE
    assert "1 run replayed, 4 decisions: 1 equal\n" in capsys.readouterr().out
    code, found = replayed(capsys, "--all")
    assert (code, found["runs"], found["equal"], found["decisions"]) == (0, 2, 2, 8)
    assert found["not_equal"] == []


def test_runs_of_a_file_replay_elsewhere_to_the_same_bytes(
    runs: list[str], data: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stored = replayed(capsys, "--all")
    lines = exported(capsys)
    assert [json.loads(line)["run_id"] for line in lines[:-1]] == runs
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join([*lines, ""]))
    # Another machine has neither the database nor the peers.
    data.unlink()
    monkeypatch.setenv("ORCHESTRATOR_EMBEDDED", "false")
    code, found = replayed(capsys, "--file", str(file))
    assert code == ExitCode.DONE
    assert found == stored


def test_an_export_holds_nothing_of_hosts_or_secrets(
    runs: list[str], data: Path, capsys: Captured
) -> None:
    change(
        data,
        "UPDATE signal_order_mappings SET state = 'not_placed', reason = ?, message = ?"
        " WHERE run_id = ? AND position = 0",
        "no connection to gateway.internal:8002",
        "secret",
        runs[0],
    )
    text = "\n".join(exported(capsys))
    for word in ("127.0.0.1", "localhost", "gateway.internal", "secret", str(data), "http"):
        assert word not in text
    row = json.loads(text.splitlines()[0])["plan"][0]
    assert (row["state"], row["reason"]) == ("not_placed", None)


def test_a_selection_is_exported_and_replayed(runs: list[str], capsys: Captured) -> None:
    today = datetime.now(UTC).date()
    tomorrow = str(today + timedelta(days=1))
    assert [json.loads(line)["run_id"] for line in exported(capsys, runs[1])[:-1]] == [runs[1]]
    for arguments, count in (
        (["--since", str(today)], 2),
        (["--since", tomorrow], 0),
        (["--strategy", STRATEGY], 2),
        (["--strategy", "other"], 0),
    ):
        *lines, seal = exported(capsys, *arguments)
        assert len(lines) == json.loads(seal)["runs"] == count
        code, found = replayed(capsys, "--all", *arguments)
        # Nothing to compare is no agreement.
        assert (code, found["runs"]) == (ExitCode.DONE if count else ExitCode.FAILED, count)


def test_a_decision_that_comes_out_otherwise_ends_with_9(
    runs: list[str], data: Path, capsys: Captured
) -> None:
    change(
        data,
        "UPDATE signal_order_mappings SET order_qty = order_qty + 1"
        " WHERE run_id = ? AND symbol = 'KO'",
        runs[0],
    )
    assert main(["replay", runs[1]]) == ExitCode.DONE
    assert main(["replay", "--all"]) == ExitCode.CHANGED
    out = capsys.readouterr().out
    assert f"run {runs[0]}: changed\n  KO: was buy " in out
    assert "2 runs replayed, 8 decisions: 1 equal, 1 changed\n" in out
    code, found = replayed(capsys, "--all")
    assert code == ExitCode.CHANGED
    [other] = found["not_equal"]
    assert (other["run"], other["verdict"], len(other["said"])) == (runs[0], "changed", 1)
    assert main(["runs", "show", runs[0], "--explain"]) == 0
    assert "decided otherwise" in capsys.readouterr().out


def test_a_damaged_record_ends_with_10_and_the_rest_is_replayed(
    runs: list[str], data: Path, capsys: Captured
) -> None:
    change(
        data,
        "UPDATE orchestration_runs SET snapshot = replace(snapshot, '0.', '9.') WHERE run_id = ?",
        runs[0],
    )
    assert main(["replay", "--all"]) == ExitCode.DAMAGED
    out = capsys.readouterr().out
    assert f"run {runs[0]}: damaged\n  its text does not have the digest stored\n" in out
    assert "2 runs replayed, 4 decisions: 1 equal, 1 damaged\n" in out
    assert main(["what-if", runs[0], "--set", "capital=5"]) == ExitCode.DAMAGED
    assert main(["runs", "show", runs[0], "--explain"]) == 0
    assert "cannot be explained: its stored record is no good" in capsys.readouterr().out


def test_a_file_with_other_lines_ends_with_10_and_names_them(
    runs: list[str], tmp_path: Path, capsys: Captured
) -> None:
    [first, second, _] = exported(capsys)
    unknown = json.loads(second) | {"record": "{}"}
    unknown["record_hash"] = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    file = tmp_path / "runs.jsonl"
    lines = [first, '{"format": "run/9"}', json.dumps(unknown), "\ufffd"]
    file.write_bytes("\n".join(["", *lines, sealing(lines)]).encode().replace(UNREADABLE, b"\xff"))
    code, found = replayed(capsys, "--file", str(file))
    assert code == ExitCode.DAMAGED
    assert (found["runs"], found["equal"]) == (4, 1)
    assert (found["damaged"], found["unknown_form"]) == (2, 1)
    names = [each["run"] for each in found["not_equal"]]
    assert names == ["line 3", runs[1], "line 5"]


def test_a_what_if_shows_orders_before_and_after_and_sends_nothing(
    runs: list[str], data: Path, capsys: Captured
) -> None:
    before = data.read_bytes()
    capsys.readouterr()
    assert main(["what-if", runs[0], "--price", "KO=10", "--weight", "aapl=0"]) == 0
    out = capsys.readouterr().out
    assert "2 decisions of 4 changed; nothing was sent\n" in out
    assert main(["what-if", runs[0], "--json", "--set", "max_position_size=1000"]) == 0
    found = json.loads(capsys.readouterr().out)
    bounds = [step["bound"] for each in found["decisions"] for step in each["after"]]
    assert bounds.count("1000") == 4
    assert main(["what-if", runs[0], "--weight", "KO=1.5"]) == 0
    assert "a run would refuse these signals as a whole: " in capsys.readouterr().out
    assert data.read_bytes() == before


@pytest.mark.parametrize("command", ["replay", "what-if", "runs export"])
def test_nothing_that_could_send_is_constructed(
    command: str, runs: list[str], capsys: Captured
) -> None:
    more = ["--set", "capital=500"] if command == "what-if" else []
    arguments = [*command.split(), runs[0], *more]
    program = (
        "import sys\n"
        "from orchestrator_entrypoints.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        "print([name for name in sys.modules if name.startswith(('orchestrator_adapters.http',"
        " 'httpx'))], file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert ended.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "capital=none"],
        ["--set", "capital=-1"],
        ["--set", "capital=1", "--set", "capital=2"],
        ["--set", "colour=red"],
        ["--set", "capital"],
        ["--set", "max_order_qty=1.5"],
        ["--set", "cash_buffer=1"],
        ["--set", "spends_leftover=yes"],
        ["--price", "KO=0"],
        ["--price", "TSLA=1"],
        ["--weight", "KO=nan"],
        ["--weight", "KO=x"],
        ["--weight", "K O=1"],
        [],
    ],
)
def test_a_change_without_meaning_ends_with_2(
    arguments: list[str], runs: list[str], capsys: Captured
) -> None:
    capsys.readouterr()
    assert main(["what-if", runs[0], *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("orchestrator: ")
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "seven"],
        ["replay", "--all", "--since", "yesterday"],
        ["replay", "--file", "x", "--since", "2026-01-01"],
        ["runs", "export", "seven"],
        ["runs", "export", "00000000-0000-0000-0000-000000000007", "--strategy", "x"],
    ],
)
@pytest.mark.usefixtures("runs")
def test_an_argument_without_meaning_ends_with_2(arguments: list[str]) -> None:
    assert main(arguments) == ExitCode.USAGE


@pytest.mark.parametrize("command", ["replay", "what-if", "runs export"])
def test_a_run_without_a_record_ends_with_4(
    command: str, runs: list[str], capsys: Captured
) -> None:
    more = ["--set", "capital=500"] if command == "what-if" else []
    unknown = "00000000-0000-0000-0000-000000000007"
    assert main([*command.split(), unknown, *more]) == ExitCode.FAILED
    assert f"there is no record of run {unknown}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "missing/runs.jsonl"])
def test_a_file_that_cannot_be_read_ends_with_2_and_is_named(
    tmp_path: Path, name: str, capsys: Captured
) -> None:
    path = str(tmp_path / name)
    assert main(["replay", "--file", path]) == ExitCode.USAGE
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    assert line.startswith(f"orchestrator: {path}: ")
    assert captured.out == ""


def test_every_file_that_a_cut_leaves_of_an_export_is_refused(
    runs: list[str], tmp_path: Path, capsys: Captured
) -> None:
    lines = exported(capsys)
    file = tmp_path / "runs.jsonl"
    whole = "\n".join([*lines, ""])
    ends = [0, 1, *(len("\n".join(lines[:n])) + extra for n in (1, 2) for extra in (0, 1, 9))]
    for end in (*ends, len(whole) - 2):
        file.write_text(whole[:end])
        capsys.readouterr()
        assert main(["replay", "--json", "--file", str(file)]) == ExitCode.DAMAGED
        captured = capsys.readouterr()
        assert captured.out == ""
        said = "it is empty" if end == 0 else "it was cut"
        assert captured.err.splitlines()[-1] == (
            f"orchestrator: {file}: refused: {said}, or is no export: its last line does not seal "
            "it"
        )


@pytest.mark.parametrize("gone", [0, 1])
def test_an_export_that_lacks_a_line_in_the_middle_ends_with_10(
    gone: int, runs: list[str], tmp_path: Path, capsys: Captured
) -> None:
    lines = exported(capsys)
    del lines[gone]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(lines))
    assert main(["replay", "--file", str(file)]) == ExitCode.DAMAGED
    assert "run line 2: damaged\n  it seals 2 runs, and 1 stand before it" in (
        capsys.readouterr().out
    )


def test_an_export_whose_lines_were_exchanged_ends_with_10(
    runs: list[str], tmp_path: Path, capsys: Captured
) -> None:
    first, second, seal = exported(capsys)
    file = tmp_path / "runs.jsonl"
    file.write_text(f"{second}\n{first}\n{seal}")
    code, found = replayed(capsys, "--file", str(file))
    assert (code, found["equal"], found["damaged"]) == (ExitCode.DAMAGED, 2, 1)
    assert found["not_equal"][0]["said"] == ["the lines before it are not those that it seals"]


def test_exports_one_after_the_other_replay_from_standard_input(
    runs: list[str], capsys: Captured
) -> None:
    both = exported(capsys, runs[0]) + exported(capsys, runs[1])
    ended = subprocess.run(
        [sys.executable, "-m", "orchestrator_entrypoints", "replay", "--file", "-"],
        input="\r\n".join(both),
        check=True,
        capture_output=True,
        text=True,
    )
    assert "2 runs replayed, 8 decisions: 2 equal\n" in ended.stdout


@pytest.mark.usefixtures("runs")
def test_an_export_of_no_run_is_no_success_to_replay(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(exported(capsys, "--strategy", "other")))
    assert main(["replay", "--file", str(file)]) == ExitCode.FAILED
    assert capsys.readouterr().err.endswith(f"{file}: an export without any run\n")


def test_a_run_is_explained_step_by_step(runs: list[str], capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["runs", "show", runs[0], "--explain"]) == 0
    out = capsys.readouterr().out
    assert out.count("target notional") == 4
    assert main(["runs", "show", runs[0], "--json"]) == 0
    assert "explanation" not in capsys.readouterr().out
    assert main(["runs", "show", runs[0], "--json", "--explain"]) == 0
    mappings = json.loads(capsys.readouterr().out)["mappings"]
    assert [m["explanation"][-1]["note"] for m in mappings] == [
        m["client_order_id"] for m in mappings
    ]

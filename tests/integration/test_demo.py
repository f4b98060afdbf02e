"""The demo, as a user starts it: a process of its own, told to show and to end."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from orchestrator_core.model import Quote
from orchestrator_entrypoints.app import create_app
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.demo.client import ServiceClient
from orchestrator_entrypoints.demo.ledger import Ledger
from orchestrator_entrypoints.demo.peers import PAPER, running_peers
from orchestrator_entrypoints.demo.run import Place, as_typed, settings_of
from orchestrator_entrypoints.demo.servers import serving
from orchestrator_entrypoints.demo.story import Stage, StoryFailure, tell
from orchestrator_entrypoints.wiring import put_embedded_prices, wire

LIMIT_SECONDS = 20


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator_entrypoints", *arguments]


def environment(**changes: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", **changes}


def orchestrator(*arguments: str, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def shown_twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], float]:
    folder = tmp_path_factory.mktemp("demo")
    outputs = []
    began = time.monotonic()
    for _ in range(2):
        # Settings of the user's own must not reach into the demo.
        done = orchestrator("demo", cwd=folder, CAPITAL="not a number", DRY_RUN="true")
        assert (done.stderr, done.returncode) == ("", 0), done.stdout
        outputs.append(done.stdout)
    return folder, outputs, (time.monotonic() - began) / 2


def test_it_ends_by_itself_well_within_its_time(
    shown_twice: tuple[Path, list[str], float],
) -> None:
    assert shown_twice[2] < LIMIT_SECONDS


@pytest.mark.parametrize("which", [0, 1])
def test_it_shows_the_whole_story_every_time(
    shown_twice: tuple[Path, list[str], float], which: int
) -> None:
    output = shown_twice[1][which]
    runs = re.findall(r"^run [0-9a-f-]{36}: (\w+),", output, re.MULTILINE)
    assert runs == ["completed", "completed"]
    assert re.findall(r"^12 signals, .*$", output, re.MULTILINE) == [
        "12 signals, 10 orders accepted, 2 skipped",
        "12 signals, 10 orders accepted, 10 ordered before, 2 skipped",
    ]
    lines = output.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("symbol"))
    table = [line.split() for line in lines[start + 1 : start + 13]]
    assert len({row[0] for row in table}) == 12
    xom = next(row for row in table if row[0] == "XOM")
    # A third of 100,000 is cut to 20,000, which buys 187 at 106.627.
    assert xom[1:7] == ["+0.3333", "33,333", "20,000", "106.63", "187", "buy"]
    assert xom[8] == "accepted"
    assert re.fullmatch(r"o1[a-z2-7]{22}", xom[7])
    assert [row[-1] for row in table].count("zero_weight") == 2
    assert "drained: yes, in flight: 0" in output
    assert "503 Kill-switch engaged" in output
    assert "10 orders before, 10 now" in output
    assert re.search(r"^run        202 running: .*unknown", output, re.MULTILINE)
    assert re.search(r"^recovery   200 completed: ", output, re.MULTILINE)
    assert "10 orders before, 12 now" in output


def test_each_demo_is_a_rebalance_of_its_own(shown_twice: tuple[Path, list[str], float]) -> None:
    keys = {re.search(r"rebalance key (\S+)", output) for output in shown_twice[1]}
    assert len({key[1] for key in keys if key is not None}) == 2


def pasted(line: str, folder: Path) -> str:
    """Return what a line prints that is pasted into a shell there."""
    done = subprocess.run(  # noqa: S602 - what the demo itself printed
        line,
        shell=True,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_the_lines_it_ends_with_show_what_it_left_when_pasted(
    shown_twice: tuple[Path, list[str], float],
) -> None:
    folder, outputs, _ = shown_twice
    lines = outputs[0].partition("What it left:\n")[2].splitlines()
    listing, shown, replayed, history = (pasted(line, folder) for line in lines)
    # Three runs each; the refused one was not stored.
    assert listing.count("completed") == 6
    assert shown.count(" accepted") == 11
    assert shown.count("target notional") == 10
    assert "6 runs replayed, 52 decisions: 6 equal\n" in replayed
    assert history.count(" ENGAGED") == 2
    assert history.count(" DISENGAGED") >= 2


def test_its_last_lines_start_the_program_as_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "bin of mine" / "orchestrator"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    assert as_typed("bin of mine/orchestrator") == "'bin of mine/orchestrator'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert as_typed(str(script)) == "orchestrator"
    assert as_typed("/elsewhere/orchestrator") == "/elsewhere/orchestrator"


def test_data_in_a_folder_with_a_blank_can_be_pasted(tmp_path: Path) -> None:
    done = orchestrator("demo", "--directory", "my demo", cwd=tmp_path)
    first = done.stdout.partition("What it left:\n")[2].splitlines()[0]
    assert first.endswith("--data 'my demo/orchestrator.db'")
    assert pasted(first, tmp_path).count("completed") == 3


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = orchestrator("demo", "--directory", "file/below", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "orchestrator: file/below: Not a directory\n"


def test_what_comes_out_otherwise_ends_the_demo_with_a_line(tmp_path: Path) -> None:
    data = ["--data", "orchestrator-demo/orchestrator.db"]
    (tmp_path / "orchestrator-demo").mkdir()
    stop = ["kill-switch", "engage", "--operator", "ann", "--reason", "left engaged", *data]
    assert orchestrator("db", "upgrade", *data, cwd=tmp_path).returncode == 0
    assert orchestrator(*stop, cwd=tmp_path).returncode == 0
    done = orchestrator("demo", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "orchestrator: the demo did not go as it should: a run: expected 200, got 503: "
        "Kill-switch engaged, left engaged, All trading is halted; nothing was stored or sent "
        "(see orchestrator-demo/service.log)\n"
    )


def test_a_ledger_that_does_not_hold_the_orders_is_noticed(tmp_path: Path) -> None:
    out = io.StringIO()
    with running_peers(flags=PAPER) as peers:
        settings = settings_of(Place(tmp_path), peers)
        quotes = (
            Quote(symbol, price, as_of=datetime.now(UTC), source="test")
            for symbol, price in peers.prices.last_closes().items()
        )
        asyncio.run(put_embedded_prices(settings, quotes))
        with (
            serving([create_app(wire(settings))], ports=[0]) as (url,),
            ServiceClient(url) as client,
        ):
            stage = Stage(
                console=Console(out=out, err=out),
                service=client,
                ledger=Ledger(peers.prices.last_closes(), PAPER),
                way=peers.way,
                rebalance_key="other",
            )
            with pytest.raises(StoryFailure, match="exactly the run's orders"):
                tell(stage)


def test_a_data_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "orchestrator-demo").mkdir()
    (tmp_path / "orchestrator-demo/orchestrator.db").write_text("no database at all " * 100)
    done = orchestrator("demo", cwd=tmp_path)
    assert done.returncode == 7
    assert done.stderr.count("\n") == 1
    assert "not a database" in done.stderr


@contextmanager
def kept_up(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        command("demo", "--keep"),
        cwd=folder,
        env=environment(PYTHONUNBUFFERED="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        url = ""
        for line in process.stdout:
            if line.startswith("orchestrator "):
                url = line.split()[1]
            if line.startswith("and http"):
                break
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def run(url: str, **body: object) -> httpx.Response:
    asked = {"symbols": ["AAPL", "XOM"]} | body
    return httpx.post(f"{url}/api/v1/orchestration/run", json=asked, trust_env=False)


def test_kept_up_it_serves_with_fresh_prices_until_an_interrupt(tmp_path: Path) -> None:
    with kept_up(tmp_path) as (process, url):
        assert httpx.get(f"{url}/health", trust_env=False).json()["status"] == "healthy"
        made = run(url, rebalance_key="mine")
        assert made.status_code == 200
        assert made.json()["num_orders_accepted"] == 2
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
        assert out.endswith("Ended.\n")


def test_engaging_from_the_command_line_halts_a_service_on_the_same_file(tmp_path: Path) -> None:
    with kept_up(tmp_path) as (_, url):
        data = "orchestrator-demo/orchestrator.db"
        stop = orchestrator(
            *("kill-switch", "engage", "--operator", "ann", "--reason", "odd fills"),
            *("--data", data),
            cwd=tmp_path,
        )
        assert (stop.returncode, stop.stdout) == (
            0,
            "ENGAGED in both stores: no order can start\ndrained: no order is on the wire\n",
        )
        refused = run(url, rebalance_key="mine")
        assert refused.status_code == 503
        assert refused.json()["detail"]["engaged_by"] == "ann"
        release = orchestrator(
            "kill-switch", "disengage", "--operator", "ann", "--data", data, cwd=tmp_path
        )
        assert release.returncode == 0
        assert run(url, rebalance_key="mine").status_code == 200


def test_an_interrupt_in_the_middle_ends_quietly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("demo"),
        cwd=tmp_path,
        # An import that is cut short leaves a file to the collector, which Python may tell.
        env=environment(PYTHONUNBUFFERED="1", PYTHONWARNINGS=""),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")

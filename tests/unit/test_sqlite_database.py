"""One SQLite file under faults: crashes, other processes, damage, cancellation."""
# ruff: noqa: ASYNC240 - the paths here are of a fresh folder that nobody waits for

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import pytest

from orchestrator_adapters.run_rules import REGISTERED_OPEN
from orchestrator_adapters.sqlite.database import SqliteDatabase, port_error
from orchestrator_adapters.sqlite.orders import in_states
from orchestrator_adapters.sqlite.schema import migrations
from orchestrator_core.errors import LeaseLost, OutcomeUnknown, PortError, Unavailable
from orchestrator_core.lifecycle import HOLDS_ID, OrderState

pytestmark = pytest.mark.anyio

SQLITE3_ERRORS = sorted(
    {
        value
        for value in vars(sqlite3).values()
        if isinstance(value, type) and issubclass(value, Exception)
    },
    key=lambda error: error.__name__,
)


def put(key: str, value: str = "1") -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO shared_state (key, value) VALUES (?, ?)", (key, value))

    return work


def keys(connection: sqlite3.Connection) -> set[str]:
    return {row["key"] for row in connection.execute("SELECT key FROM shared_state")}


def integrity(connection: sqlite3.Connection) -> str:
    answer: str = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return answer


@asynccontextmanager
async def opened(path: Path, *, lock_wait_seconds: float = 5.0) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, lock_wait_seconds=lock_wait_seconds)
    try:
        yield database
    finally:
        await database.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    async with opened(path) as database:
        yield database


@asynccontextmanager
async def held_write(path: Path) -> AsyncIterator[threading.Event]:
    """Hold a write transaction open, from another connection, until the event is set."""
    began, release = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        put("held")(connection)
        began.set()
        assert release.wait(30)

    async with opened(path) as holder:
        writing = asyncio.create_task(holder.write("test", "hold", work))
        try:
            assert await asyncio.to_thread(began.wait, 30)
            yield release
        finally:
            release.set()
            await writing


CHILD = """
import asyncio, sys, time
from pathlib import Path
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_core.errors import PortError

database = SqliteDatabase(Path(sys.argv[1]))

def say(word):
    print(word, flush=True)

def put(connection, key, value="1"):
    connection.execute("INSERT INTO shared_state (key, value) VALUES (?, ?)", (key, value))

"""


@contextmanager
def child(path: Path, story: str) -> Iterator[subprocess.Popen[str]]:
    """Run a story in a process of its own; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD + story, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# Opening and closing


async def test_constructing_touches_nothing(tmp_path: Path, path: Path) -> None:
    async with opened(path):
        assert list(tmp_path.iterdir()) == []


async def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    async with opened(path) as database:
        await database.write("test", "put", put("a"))
    async with opened(path) as database:
        assert await database.read("test", "keys", keys) == {"a"}


async def test_closing_leaves_no_log_behind(tmp_path: Path, path: Path) -> None:
    async with opened(path) as database:
        await database.write("test", "put", put("a"))
    assert {entry.name for entry in tmp_path.iterdir()} == {"runs.db", "runs.db.lock"}


async def test_commits_are_on_the_disk_before_they_are_answered(database: SqliteDatabase) -> None:
    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.read("test", "settings", settings) == ["wal", 2, 1]


async def test_after_closing_every_call_is_unavailable(database: SqliteDatabase) -> None:
    await database.write("test", "put", put("a"))
    await database.aclose()
    await database.aclose()
    with pytest.raises(Unavailable, match="was closed"):
        await database.read("test", "keys", keys)


async def test_a_missing_directory_is_named_and_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "runs.db"
    async with opened(path) as database:
        with pytest.raises(Unavailable, match=r"runs\.put: .*missing.*No such file") as raised:
            await database.write("runs", "put", put("a"))
        assert (raised.value.port, raised.value.operation) == ("runs", "put")
        assert "\n" not in raised.value.cause
        assert not path.parent.exists()
        path.parent.mkdir()
        await database.write("runs", "put", put("a"))
        assert await database.read("runs", "keys", keys) == {"a"}


async def test_a_directory_in_the_files_place_is_unavailable(path: Path) -> None:
    path.mkdir()
    async with opened(path) as database:
        with pytest.raises(Unavailable, match="SQLITE_CANTOPEN"):
            await database.read("test", "keys", keys)


async def test_a_file_that_is_no_database_is_unavailable_and_kept(path: Path) -> None:
    text = "not a database\n" * 500
    path.write_text(text)
    async with opened(path) as database:
        with pytest.raises(Unavailable, match="SQLITE_NOTADB"):
            await database.write("test", "put", put("a"))
        assert path.read_text() == text
        path.unlink()
        await database.write("test", "put", put("a"))


async def test_a_file_of_a_later_schema_is_refused_unchanged(path: Path) -> None:
    later = len(migrations()) + 1
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={later}")
        connection.commit()
    async with opened(path) as database:
        with pytest.raises(Unavailable, match=f"schema version {later}"):
            await database.read("test", "keys", keys)


async def test_a_schema_that_cannot_be_applied_is_applied_not_at_all(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kill_switch_latch (mine TEXT)")
        connection.commit()
    async with opened(path) as database:
        with pytest.raises(Unavailable, match="kill_switch_latch already exists"):
            await database.read("test", "keys", keys)
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert tables.fetchall() == [("kill_switch_latch",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)


async def test_a_file_opened_by_many_at_once_gets_its_schema_once(path: Path) -> None:
    databases = [SqliteDatabase(path) for _ in range(4)]
    try:
        await asyncio.gather(
            *[
                database.write("test", "put", put(f"k{place}"))
                for place, database in enumerate(databases)
            ]
        )
        found = await databases[0].read("test", "keys", keys)
        assert found == {f"k{place}" for place in range(4)}
    finally:
        for database in databases:
            await database.aclose()


async def test_a_file_taken_away_gets_no_further_commits(path: Path) -> None:
    async with opened(path) as database:
        await database.write("test", "put", put("before"))
        path.rename(path.with_name("moved.db"))
        await database.write("test", "put", put("after"))
    async with opened(path) as database:
        assert await database.read("test", "keys", keys) == {"after"}


# Transactions


async def test_an_exception_rolls_back_and_goes_through(database: SqliteDatabase) -> None:
    def work(connection: sqlite3.Connection) -> None:
        put("a")(connection)
        raise LeaseLost("gone")

    with pytest.raises(LeaseLost, match="gone"):
        await database.write("test", "put", work)
    assert await database.read("test", "keys", keys) == set()


async def test_a_read_sees_one_state(path: Path, database: SqliteDatabase) -> None:
    await database.write("test", "put", put("a"))

    def work(connection: sqlite3.Connection) -> tuple[set[str], set[str]]:
        before = keys(connection)
        with closing(sqlite3.connect(path)) as other, other:
            put("b")(other)
        return before, keys(connection)

    assert await database.read("test", "keys", work) == ({"a"}, {"a"})
    assert await database.read("test", "keys", keys) == {"a", "b"}


@pytest.mark.parametrize("error", SQLITE3_ERRORS)
async def test_no_error_of_the_library_goes_through(
    database: SqliteDatabase, error: type[Exception]
) -> None:
    def work(connection: sqlite3.Connection) -> None:
        raise error("two\nlines")

    for call in (database.write, database.read):
        with pytest.raises(Unavailable) as raised:
            await call("runs", "work", work)
        assert raised.value.cause == f"SQLite: {error.__name__}: two lines"
    await database.write("test", "put", put("a"))


@pytest.mark.parametrize("error", SQLITE3_ERRORS)
async def test_every_error_of_the_library_during_a_commit_leaves_doubt(
    error: type[Exception],
) -> None:
    assert type(port_error(error("x"), "runs", "w")) is Unavailable
    assert type(port_error(error("x"), "runs", "w", commit_began=True)) is OutcomeUnknown


async def test_a_connection_that_met_damage_is_not_used_again(database: SqliteDatabase) -> None:
    def same(connection: sqlite3.Connection) -> sqlite3.Connection:
        return connection

    def damaged(connection: sqlite3.Connection) -> None:
        raise sqlite3.DatabaseError("disk image is malformed")

    first = await database.read("test", "same", same)
    assert await database.read("test", "same", same) is first
    with pytest.raises(Unavailable, match="malformed"):
        await database.read("test", "damaged", damaged)
    assert await database.read("test", "same", same) is not first


async def test_a_commit_refused_for_a_constraint_was_not_made(database: SqliteDatabase) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys=ON")
        connection.execute("INSERT INTO run_leases (run_id, lease_epoch) VALUES ('none', 1)")

    with pytest.raises(Unavailable, match="SQLITE_CONSTRAINT"):
        await database.write("test", "put", work)
    await database.write("test", "put", put("a"))


async def test_a_foreign_writer_makes_a_write_unavailable(
    path: Path, database: SqliteDatabase
) -> None:
    await database.write("test", "put", put("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="SQLITE_BUSY"):
            await database.write("test", "put", put("b"))
        foreign.execute("ROLLBACK")
    await database.write("test", "put", put("b"))


async def test_a_disk_that_fails_during_the_commit_leaves_doubt(path: Path) -> None:
    story = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

async def main():
    await database.write("runs", "put", lambda connection: put(connection, "before"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        await database.write("runs", "put", lambda c: put(c, "large", "x" * 1_000_000))
    except PortError as error:
        say(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await database.write("runs", "put", lambda connection: put(connection, "after"))
    await database.aclose()
    say("ended")

asyncio.run(main())
"""
    with child(path, story) as process:
        assert [said(process), said(process)] == ["OutcomeUnknown", "ended"]
    async with opened(path) as database:
        assert await database.read("test", "check", integrity) == "ok"
        assert {"before", "after"} <= await database.read("test", "keys", keys)


# Other processes


async def test_a_process_killed_in_a_transaction_leaves_only_its_commits(path: Path) -> None:
    story = """
def work(connection):
    put(connection, "uncommitted")
    say("in transaction")
    time.sleep(60)

async def main():
    await database.write("runs", "put", lambda connection: put(connection, "committed"))
    await database.write("runs", "put", work)

asyncio.run(main())
"""
    with child(path, story) as process:
        assert said(process) == "in transaction"
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    async with opened(path, lock_wait_seconds=0.5) as database:
        assert await database.read("test", "keys", keys) == {"committed"}
        await database.write("test", "put", put("later"))
        assert await database.read("test", "check", integrity) == "ok"


async def test_a_process_killed_while_writing_loses_nothing_answered(path: Path) -> None:
    story = """
async def main():
    number = 0
    while True:
        key = str(number)
        await database.write("runs", "put", lambda connection: put(connection, key))
        say(key)
        number += 1

asyncio.run(main())
"""
    with child(path, story) as process:
        answered = [said(process) for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        answered += process.communicate(timeout=30)[0].split()
    async with opened(path) as database:
        assert await database.read("test", "check", integrity) == "ok"
        assert set(answered) <= await database.read("test", "keys", keys)


async def test_processes_writing_at_once_lose_no_write(path: Path) -> None:
    story = """
def add(connection):
    connection.execute(
        "INSERT INTO shared_state (key, value) VALUES ('n', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = value + 1"
    )

async def main():
    for _ in range(60):
        await database.write("runs", "add", add)
    await database.aclose()
    say("ended")

asyncio.run(main())
"""
    with child(path, story) as first, child(path, story) as second:
        assert [said(first), said(second)] == ["ended", "ended"]
    async with opened(path) as database:
        assert await database.read("test", "check", integrity) == "ok"
        value = await database.read(
            "test",
            "value",
            lambda connection: connection.execute("SELECT value FROM shared_state").fetchone()[0],
        )
        assert int(value) == 120


async def test_a_write_waits_for_another_and_is_then_done(
    path: Path, database: SqliteDatabase
) -> None:
    await database.write("test", "put", put("a"))
    async with held_write(path) as release:
        waiting = asyncio.create_task(database.write("test", "put", put("b")))
        # The loop is free meanwhile, and what waits is not done.
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waiting.done()
        release.set()
        await waiting
    assert await database.read("test", "keys", keys) == {"a", "b", "held"}


async def test_a_write_waits_for_another_no_longer_than_it_may(path: Path) -> None:
    async with opened(path, lock_wait_seconds=0.05) as database:
        await database.write("test", "put", put("a"))
        async with held_write(path):
            holder = rf"runs\.db\.lock is held by process {os.getpid()}$"
            with pytest.raises(Unavailable, match=holder):
                await database.write("runs", "put", put("b"))
        assert await database.read("test", "keys", keys) == {"a", "held"}


async def test_many_that_wait_give_up_together(path: Path) -> None:
    async with opened(path, lock_wait_seconds=0.2) as database:
        await database.write("test", "put", put("a"))
        async with held_write(path):
            began = asyncio.get_running_loop().time()
            answers = await asyncio.gather(
                *[database.write("runs", "put", put("b")) for _ in range(20)],
                return_exceptions=True,
            )
            passed = asyncio.get_running_loop().time() - began
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert passed < 2.0


async def test_reading_does_not_wait_for_a_writer(path: Path) -> None:
    async with opened(path, lock_wait_seconds=0.05) as database:
        await database.write("test", "put", put("a"))
        async with held_write(path):
            assert await database.read("test", "keys", keys) == {"a"}
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as inspector:
                inspector.row_factory = sqlite3.Row
                assert keys(inspector) == {"a"}


# Cancellation


async def test_a_cancelled_write_ends_before_its_caller_goes_on(database: SqliteDatabase) -> None:
    began, release = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        began.set()
        assert release.wait(30)
        put("a")(connection)

    writing = asyncio.create_task(database.write("test", "put", work))
    assert await asyncio.to_thread(began.wait, 30)
    for _ in range(3):
        writing.cancel()
        await asyncio.sleep(0)
        assert not writing.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await database.read("test", "keys", keys) == {"a"}


async def test_a_write_cancelled_in_the_queue_is_never_done(database: SqliteDatabase) -> None:
    began, release = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        began.set()
        assert release.wait(30)

    running = asyncio.create_task(database.write("test", "hold", work))
    assert await asyncio.to_thread(began.wait, 30)
    queued = asyncio.create_task(database.write("test", "put", put("a")))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    release.set()
    await running
    assert await database.read("test", "keys", keys) == set()


async def test_a_cancelled_write_that_fails_leaves_the_file_usable(
    database: SqliteDatabase,
) -> None:
    began, release = threading.Event(), threading.Event()

    def work(connection: sqlite3.Connection) -> None:
        began.set()
        assert release.wait(30)
        raise sqlite3.OperationalError("late")

    writing = asyncio.create_task(database.write("test", "put", work))
    assert await asyncio.to_thread(began.wait, 30)
    writing.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await database.write("test", "put", put("a"))


# The schema


@pytest.mark.parametrize(
    ("index", "states"),
    [
        ("signal_order_mappings_held_id", HOLDS_ID),
        ("signal_order_mappings_open", REGISTERED_OPEN),
    ],
)
async def test_the_schema_names_the_lifecycles_states(
    database: SqliteDatabase, index: str, states: frozenset[OrderState]
) -> None:
    def text(connection: sqlite3.Connection) -> str:
        row = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (index,))
        answer: str = row.fetchone()[0]
        return answer

    sql = await database.read("test", "schema", text)
    assert in_states(states).replace(" ", "") in "".join(sql.split())


def test_every_error_is_a_port_error() -> None:
    assert len(SQLITE3_ERRORS) >= 10
    for error in SQLITE3_ERRORS:
        assert isinstance(port_error(error("x"), "runs", "w"), PortError)

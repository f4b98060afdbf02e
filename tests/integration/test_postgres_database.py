import asyncio
import socket
import time
from collections.abc import Awaitable, Iterator

import pytest

from orchestrator_adapters.postgres.database import PostgresDatabase, Session
from orchestrator_core.errors import OutcomeUnknown, Unavailable
from tests.servers.postgres import PostgresServer, running_postgres
from tests.servers.proxy import silent_proxy

pytestmark = pytest.mark.anyio

WRITE = "INSERT INTO kept VALUES (%s) RETURNING value"
COUNT = "SELECT count(*)::int AS n FROM kept"


@pytest.fixture(scope="module")
def crashing_server() -> Iterator[PostgresServer]:
    """A server of this module's own: its crashes are nobody else's."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def crashing_url(crashing_server: PostgresServer) -> Iterator[str]:
    with crashing_server.fresh_database() as dsn:
        yield dsn


async def create_table(database: PostgresDatabase) -> None:
    async def work(session: Session) -> None:
        await session.connection.execute("CREATE TABLE kept (value INTEGER UNIQUE)")

    await database.run("create", work)


async def count(database: PostgresDatabase) -> int:
    return int((await database.fetch("count", COUNT))[0]["n"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://joe:hunter2@[oops/db", "password=hunter2 nonsense", "postgres:/joe:hunter2@x"],
)
def test_what_is_no_connection_string_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(ValueError, match="expected a Postgres connection string") as caught:
        PostgresDatabase(dsn)
    assert "hunter2" not in str(caught.value)


async def test_constructing_connects_to_nothing() -> None:
    PostgresDatabase(f"postgresql://joe:secret@127.0.0.1:{free_port()}/x")


async def test_a_server_that_is_down_is_told_at_once_and_found_when_it_is_up(
    crashing_server: PostgresServer, crashing_url: str
) -> None:
    crashing_server.stop()
    async with PostgresDatabase(crashing_url) as database:
        begun = time.monotonic()
        for _ in range(3):
            with pytest.raises(Unavailable, match="refused"):
                await database.fetch("check", "SELECT 1")
        assert time.monotonic() - begun < 2

        crashing_server.start()
        await database.fetch("check", "SELECT 1")


async def test_many_callers_of_a_server_that_is_down_are_told_at_once(
    crashing_server: PostgresServer, crashing_url: str
) -> None:
    async with PostgresDatabase(crashing_url, min_size=2, max_size=4) as database:
        await asyncio.gather(*(database.fetch("check", "SELECT 1") for _ in range(8)))
        crashing_server.stop(immediate=True)
        begun = time.monotonic()

        answers = await asyncio.gather(
            *(database.execute("write", "SELECT 1") for _ in range(20)), return_exceptions=True
        )

        assert {type(answer) for answer in answers} == {Unavailable}
        assert time.monotonic() - begun < 3
        crashing_server.start()
        await asyncio.gather(*(database.fetch("check", "SELECT 1") for _ in range(8)))


async def test_a_crash_between_calls_is_not_noticed_by_the_next(
    crashing_server: PostgresServer, crashing_url: str
) -> None:
    async with PostgresDatabase(crashing_url, min_size=4, max_size=4) as database:
        await create_table(database)
        await asyncio.gather(*(count(database) for _ in range(8)))

        for value in range(3):
            crashing_server.stop(immediate=True)
            crashing_server.start()
            await database.execute("write", WRITE, (value,))

        assert await count(database) == 3


async def test_a_crash_during_a_write_leaves_it_in_doubt(
    crashing_server: PostgresServer, crashing_url: str
) -> None:
    async with PostgresDatabase(crashing_url) as database:
        await create_table(database)
        write = asyncio.create_task(
            database.execute("write", "INSERT INTO kept SELECT 1 FROM pg_sleep(4) RETURNING value")
        )
        await wait_for_sleeper(database)

        crashing_server.stop(immediate=True)

        with pytest.raises(OutcomeUnknown):
            await write
        crashing_server.start()
        assert await count(database) == 0


async def test_a_crash_before_the_commit_undoes_the_work_which_is_then_tried_again(
    crashing_server: PostgresServer, crashing_url: str
) -> None:
    tries = []

    async def work(session: Session) -> None:
        await session.fetch_each(("BEGIN", ()), (WRITE, (1,)))
        tries.append(session)
        if len(tries) == 1:
            crashing_server.stop(immediate=True)
            crashing_server.start()
        session.may_be_committed = True
        await session.fetch_each(("COMMIT", ()))

    async with PostgresDatabase(crashing_url) as database:
        await create_table(database)

        # The work says that its commit was on its way: whoever called must find out.
        with pytest.raises(OutcomeUnknown):
            await database.run("work", work)
        assert await count(database) == 0
        await database.run("work", work)
        assert await count(database) == 1


async def test_work_that_lost_its_session_before_its_commit_is_tried_once_more(
    crashing_server: PostgresServer, crashing_url: str
) -> None:
    tries = []

    async def work(session: Session) -> None:
        await session.fetch_each(("BEGIN", ()), (WRITE, (1,)))
        tries.append(session)
        if len(tries) == 1:
            crashing_server.stop(immediate=True)
            crashing_server.start()
        await session.fetch(COUNT)
        session.may_be_committed = True
        await session.fetch_each(("COMMIT", ()))

    async with PostgresDatabase(crashing_url) as database:
        await create_table(database)
        await database.run("work", work)

        assert len(tries) == 2
        assert await count(database) == 1


async def test_work_that_raises_leaves_nothing_and_its_connection_is_not_used_again(
    database_url: str,
) -> None:
    async def work(session: Session) -> None:
        await session.fetch_each(("BEGIN", ()), (WRITE, (1,)))
        raise KeyError

    async with PostgresDatabase(database_url, min_size=1, max_size=1) as database:
        await create_table(database)
        for _ in range(3):
            with pytest.raises(KeyError):
                await database.run("work", work)
        assert await count(database) == 0


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        dsn = f"postgresql://joe@127.0.0.1:{port}/x"
        async with PostgresDatabase(dsn, pool_timeout=0.5) as database:
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                await database.fetch("check", "SELECT 1")
            assert time.monotonic() - begun < 2


async def test_a_network_that_dies_during_a_call_is_given_up_in_time(
    postgres_server: PostgresServer, database_url: str
) -> None:
    async with silent_proxy(postgres_server.port) as proxy:
        dsn = database_url.replace(str(postgres_server.port), str(proxy.port))
        async with PostgresDatabase(
            dsn, pool_timeout=1.0, call_timeout=0.5, min_size=2, max_size=2
        ) as database:
            await create_table(database)
            proxy.fall_silent()

            begun = time.monotonic()
            with pytest.raises(OutcomeUnknown):
                await database.execute("write", WRITE, (1,))
            with pytest.raises(Unavailable):
                await count(database)
            assert time.monotonic() - begun < 4

            proxy.speak()
            await database.execute("write", WRITE, (2,))


async def test_a_statement_that_hangs_is_ended_by_the_server(database_url: str) -> None:
    async with PostgresDatabase(database_url, statement_timeout=0.2) as database:
        with pytest.raises(Unavailable, match="statement timeout"):
            await database.execute("write", "SELECT pg_sleep(30)::text")


async def test_who_finds_all_connections_in_use_waits_no_longer_than_told(
    database_url: str,
) -> None:
    async with PostgresDatabase(database_url, min_size=1, max_size=1, pool_timeout=0.3) as database:
        held = asyncio.create_task(database.fetch("hold", "SELECT pg_sleep(1)::text"))
        await wait_for_sleeper(database, own_connection=True)
        with pytest.raises(Unavailable, match="no connection within"):
            await database.fetch("check", "SELECT 1")
        await held
        await database.fetch("check", "SELECT 1")


async def test_a_deadlock_is_tried_again(database_url: str) -> None:
    first_has_one = asyncio.Event()
    second_has_two = asyncio.Event()

    def taking(
        first: int, then: int, mine: asyncio.Event, theirs: asyncio.Event
    ) -> Awaitable[None]:
        async def work(session: Session) -> None:
            lock = "UPDATE kept SET value = value WHERE value = %s"
            await session.fetch_each(("BEGIN", ()), (lock, (first,)))
            mine.set()
            await theirs.wait()
            await session.fetch_each((lock, (then,)))
            session.may_be_committed = True
            await session.fetch_each(("COMMIT", ()))

        return database.run("work", work)

    async with PostgresDatabase(database_url) as database:
        await create_table(database)
        await database.execute("write", WRITE, (1,))
        await database.execute("write", WRITE, (2,))
        await asyncio.gather(
            taking(1, 2, first_has_one, second_has_two),
            taking(2, 1, second_has_two, first_has_one),
        )


async def test_cancelled_calls_leak_no_connection(database_url: str) -> None:
    async with PostgresDatabase(database_url, min_size=1, max_size=2) as database:
        await database.fetch("check", "SELECT 1")
        for delay in range(12):
            calls = [
                asyncio.create_task(database.fetch("hold", "SELECT pg_sleep(0.02)::text"))
                for _ in range(6)
            ]
            await asyncio.sleep(delay / 300)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

        await asyncio.gather(*(database.fetch("check", "SELECT 1") for _ in range(10)))


async def test_a_closed_database_is_unavailable(database_url: str) -> None:
    database = PostgresDatabase(database_url)
    await database.fetch("check", "SELECT 1")
    await database.aclose()
    with pytest.raises(Unavailable):
        await database.fetch("check", "SELECT 1")


async def test_commits_are_durable_whatever_the_database_prefers(database_url: str) -> None:
    async with PostgresDatabase(database_url) as database:
        name = database_url.rsplit("/", 1)[1]
        await database.run(
            "prefer",
            lambda session: session.connection.execute(
                f"ALTER DATABASE {name} SET synchronous_commit = off".encode()
            ),
        )
    async with PostgresDatabase(database_url) as database:
        rows = await database.fetch("show", "SELECT current_setting('synchronous_commit') AS s")
        assert rows == [{"s": "on"}]


async def wait_for_sleeper(database: PostgresDatabase, *, own_connection: bool = False) -> None:
    """Return when a statement that sleeps runs on the server."""
    seen = "SELECT FROM pg_stat_activity WHERE query LIKE '%%pg_sleep%%' AND wait_event = 'PgSleep'"
    if own_connection:
        async with PostgresDatabase(database.dsn, min_size=1) as other:
            await wait_for_sleeper(other)
        return
    async with asyncio.timeout(5):
        while not await database.fetch("look", seen):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

import inspect
from collections.abc import Iterator

import psycopg
import psycopg_pool
import pytest
from psycopg import errors

from orchestrator_adapters.postgres.errors import describe, is_worth_repeating, map_error
from orchestrator_core.errors import IllegalTransition, OutcomeUnknown, PortError, Unavailable


def every_error_class() -> list[type[psycopg.Error]]:
    def below(root: type[psycopg.Error]) -> Iterator[type[psycopg.Error]]:
        yield root
        for child in root.__subclasses__():
            yield from below(child)

    found = {kind for kind in below(psycopg.Error) if not kind.__module__.startswith("tests")}
    exported = {
        kind
        for module in (psycopg, psycopg_pool, errors)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, psycopg.Error)
    }
    assert exported <= found
    return sorted(found, key=lambda kind: kind.__qualname__)


EVERY_CLASS = every_error_class()


def test_the_library_has_the_classes_that_are_walked() -> None:
    assert len(EVERY_CLASS) > 250
    assert {psycopg_pool.PoolTimeout, psycopg.OperationalError, errors.DeadlockDetected} <= set(
        EVERY_CLASS
    )


@pytest.mark.parametrize("may_be_done", [False, True])
def test_every_class_of_the_library_is_mapped(*, may_be_done: bool) -> None:
    for kind in EVERY_CLASS:
        mapped = map_error(kind("words"), operation="commit_wave", may_be_done=may_be_done)
        assert isinstance(mapped, PortError | IllegalTransition), kind
        if not may_be_done:
            assert not isinstance(mapped, OutcomeUnknown), kind


@pytest.mark.parametrize(
    "kind",
    [
        psycopg.OperationalError,
        errors.AdminShutdown,
        errors.CrashShutdown,
        errors.ConnectionFailure,
        errors.TransactionResolutionUnknown,
        errors.StatementCompletionUnknown,
    ],
)
def test_a_session_lost_with_a_commit_on_its_way_leaves_it_in_doubt(
    kind: type[psycopg.Error],
) -> None:
    assert isinstance(map_error(kind("x"), operation="o", may_be_done=True), OutcomeUnknown)
    assert isinstance(map_error(kind("x"), operation="o", may_be_done=False), Unavailable)


@pytest.mark.parametrize(
    "kind",
    [
        errors.QueryCanceled,
        errors.LockNotAvailable,
        errors.ReadOnlySqlTransaction,
        errors.DiskFull,
        errors.UndefinedTable,
        errors.InsufficientPrivilege,
        errors.TooManyConnections,
        errors.DeadlockDetected,
        errors.SerializationFailure,
        psycopg_pool.PoolTimeout,
        psycopg_pool.PoolClosed,
        psycopg_pool.TooManyRequests,
    ],
)
def test_what_the_server_or_the_pool_refused_was_not_done(kind: type[psycopg.Error]) -> None:
    assert isinstance(map_error(kind("x"), operation="o", may_be_done=True), Unavailable)


@pytest.mark.parametrize(
    "kind",
    [
        errors.UniqueViolation,
        errors.NotNullViolation,
        errors.NumericValueOutOfRange,
        errors.CharacterNotInRepertoire,
        psycopg.DataError,
    ],
)
def test_a_value_that_the_schema_refuses_is_our_fault(kind: type[psycopg.Error]) -> None:
    assert isinstance(map_error(kind("x"), operation="o", may_be_done=True), IllegalTransition)


def test_only_what_was_undone_for_anothers_sake_is_worth_repeating() -> None:
    assert {kind for kind in EVERY_CLASS if is_worth_repeating(kind("x"))} == {
        errors.DeadlockDetected,
        errors.SerializationFailure,
    }


def test_an_error_is_described_in_one_short_line() -> None:
    assert describe(psycopg.OperationalError("one\n  two\nthree")) == "one two three"
    assert describe(psycopg.OperationalError("")) == "OperationalError"
    assert len(describe(psycopg.OperationalError("x" * 5000))) == 300

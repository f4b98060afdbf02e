import redis.exceptions

from orchestrator_adapters.redis.client import (
    ANSWERED_ERRORS,
    EXCHANGE_ERRORS,
    Fate,
    RedisAddress,
    RedisClient,
    fate_of,
)


def every_class_of_the_library() -> list[type[BaseException]]:
    return [
        kind
        for kind in vars(redis.exceptions).values()
        if isinstance(kind, type) and issubclass(kind, BaseException)
    ]


def test_no_class_of_the_library_is_left_unmapped() -> None:
    kinds = every_class_of_the_library()
    assert len(kinds) > 30
    assert [kind for kind in kinds if not issubclass(kind, EXCHANGE_ERRORS)] == []


def test_every_failure_of_a_socket_is_mapped() -> None:
    for kind in (OSError, TimeoutError, ConnectionResetError, BrokenPipeError, UnicodeDecodeError):
        assert issubclass(kind, EXCHANGE_ERRORS)


def test_before_anything_is_sent_nothing_was_done() -> None:
    for kind in every_class_of_the_library():
        assert fate_of(kind.__new__(kind), is_sent=False) is Fate.NOT_DONE
    assert fate_of(TimeoutError(), is_sent=False) is Fate.NOT_DONE


def test_after_sending_only_an_answered_error_means_not_done() -> None:
    for kind in every_class_of_the_library():
        expected = Fate.NOT_DONE if issubclass(kind, ANSWERED_ERRORS) else Fate.UNKNOWN
        assert fate_of(kind.__new__(kind), is_sent=True) is expected
    for lost in (
        redis.exceptions.ConnectionError(),
        redis.exceptions.TimeoutError(),
        redis.exceptions.InvalidResponse(),
        TimeoutError(),
        ConnectionResetError(),
        ValueError(),
    ):
        assert fate_of(lost, is_sent=True) is Fate.UNKNOWN
    for answered in (
        redis.exceptions.ReadOnlyError(),
        redis.exceptions.NoPermissionError(),
        redis.exceptions.OutOfMemoryError(),
        redis.exceptions.BusyLoadingError(),
        redis.exceptions.AuthenticationError(),
    ):
        assert fate_of(answered, is_sent=True) is Fate.NOT_DONE


def test_a_password_is_not_shown() -> None:
    address = RedisAddress(password="s3cret")
    assert "s3cret" not in repr(address)
    assert "s3cret" not in repr(RedisClient(address))

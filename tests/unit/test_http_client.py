import inspect

import httpx
import pytest

from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.http.client import PeerClient
from orchestrator_adapters.http.failures import (
    FATES,
    LEAKED,
    MAPPED,
    CallFailed,
    Fate,
    call_failed,
)
from orchestrator_adapters.http.transport import WireOptions
from orchestrator_core.errors import MalformedReply, Unavailable

EXCEPTIONS = [
    value
    for value in vars(httpx).values()
    if inspect.isclass(value) and issubclass(value, Exception)
]


def made(cls: type[Exception]) -> Exception:
    text = "http://user:hunter2@x/"
    if cls is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://x/")
        return httpx.HTTPStatusError(text, request=request, response=httpx.Response(500))
    takes_text = "message" in inspect.signature(cls).parameters
    return cls(text) if takes_text else cls()


def test_every_exception_of_httpx_has_its_fate() -> None:
    assert len(EXCEPTIONS) > 25
    assert set(EXCEPTIONS) == set(FATES)
    assert all(issubclass(cls, MAPPED) for cls in EXCEPTIONS)


@pytest.mark.parametrize("cls", EXCEPTIONS)
def test_only_what_comes_before_the_first_byte_is_called_not_sent(cls: type[Exception]) -> None:
    before = {httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout}
    assert (call_failed(made(cls)).fate is Fate.NOT_SENT) == (cls in before)


@pytest.mark.parametrize("cls", EXCEPTIONS)
def test_a_cause_never_quotes_the_library(cls: type[Exception]) -> None:
    cause = call_failed(made(cls)).cause
    assert "hunter2" not in cause
    assert "\n" not in cause


def test_a_class_that_httpx_may_add_is_taken_for_lost() -> None:
    class NewError(httpx.NetworkError):
        pass

    assert call_failed(NewError("x")).fate is Fate.LOST


@pytest.mark.parametrize("error", [OSError(111, "refused"), AttributeError("getpeername")])
def test_what_leaks_through_httpx_proves_nothing(error: Exception) -> None:
    assert isinstance(error, LEAKED)
    assert call_failed(error).fate is Fate.LOST


def test_a_failed_read_is_unavailable_unless_an_answer_came() -> None:
    for fate, kind in (
        (Fate.NOT_SENT, Unavailable),
        (Fate.LOST, Unavailable),
        (Fate.UNUSABLE, MalformedReply),
    ):
        assert type(CallFailed("x", fate).as_read_error("signals", "fetch")) is kind


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8001",
        "ftp://localhost",
        "http://",
        "http://user:hunter2@localhost",
        "http://localhost?a=b",
        "http://localhost#a",
        "http://[::1",
        "http://local\nhost",
    ],
)
def test_what_is_no_address_of_a_peer_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="a peer's URL") as raised:
        PeerClient(url, clock=SystemClock())
    assert "hunter2" not in str(raised.value)


def test_construction_reaches_nothing() -> None:
    def reached(_options: WireOptions) -> httpx.AsyncBaseTransport:
        raise AssertionError

    clock = SystemClock()
    auth = ServiceAuth(secret="s", clock=clock)
    PeerClient("http://localhost:1", clock=clock, auth=auth, make_transport=reached)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://localhost:8002", "http://localhost:8002/api/v1/orders"),
        ("http://localhost:8002/", "http://localhost:8002/api/v1/orders"),
        ("https://gateway/prefix/", "https://gateway/prefix/api/v1/orders"),
    ],
)
def test_a_peer_may_live_below_a_path(base: str, url: str) -> None:
    assert str(PeerClient(base, clock=SystemClock()).url("/api/v1/orders")) == url

from datetime import UTC, datetime

import httpx
from attrs import frozen

from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.memory.clock import VirtualClock

SECRET = "top-secret-key"
# 1772463600 seconds after the epoch, and a little more: seconds are cut, not rounded.
TIME = datetime(2026, 3, 2, 15, 0, 0, 999_999, tzinfo=UTC)


@frozen
class Nonces:
    given: list[str]

    def __call__(self) -> str:
        self.given.append(f"n-{len(self.given) + 1}")
        return self.given[-1]


def an_auth() -> ServiceAuth:
    return ServiceAuth(secret=SECRET, clock=VirtualClock(TIME), nonce=Nonces([]))


def signed(auth: ServiceAuth, request: httpx.Request) -> httpx.Request:
    return next(auth.sync_auth_flow(request))


def test_a_post_is_signed_as_openssl_signs_it() -> None:
    request = httpx.Request(
        "POST",
        "http://gateway:8002/api/v1/orders?a=1&b=%20",
        headers={"X-Strategy-ID": "alpha_baseline"},
        content=b'{"symbol":"AAPL"}',
    )
    headers = signed(an_auth(), request).headers
    assert headers["X-Internal-Token"] == (
        "124fa23f42650f7c2f6200988d89d0817d7d09b1ca077c41adf9c04937edc3c5"
    )
    assert headers["X-Body-Hash"] == (
        "81c8d84ddf020b1584fa351351da6f46b756261e048fe93502b5f5c3fdc1e526"
    )
    assert headers["X-Internal-Timestamp"] == "1772463600"
    assert headers["X-Internal-Nonce"] == "n-1"
    assert headers["X-Service-ID"] == "orchestrator"
    assert headers["X-Strategy-ID"] == "alpha_baseline"


def test_a_get_signs_the_hash_of_nothing() -> None:
    request = httpx.Request("GET", "http://gateway:8002/api/v1/config")
    headers = signed(an_auth(), request).headers
    assert headers["X-Internal-Token"] == (
        "7766fda344ad4197c5fb640d109ef30d1f69a1d9d8a07625e3c96891875b2561"
    )
    assert headers["X-Body-Hash"] == (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    assert "X-Strategy-ID" not in headers


def test_each_attempt_has_a_nonce_of_its_own() -> None:
    auth = an_auth()
    request = httpx.Request("GET", "http://gateway:8002/health")
    first = dict(signed(auth, request).headers)
    second = dict(signed(auth, request).headers)
    assert first["x-internal-nonce"] != second["x-internal-nonce"]
    assert first["x-internal-token"] != second["x-internal-token"]


def test_nonces_differ_without_being_told_how() -> None:
    auth = ServiceAuth(secret=SECRET, clock=VirtualClock(TIME))
    request = httpx.Request("GET", "http://gateway:8002/health")
    nonces = {signed(auth, request).headers["X-Internal-Nonce"] for _ in range(100)}
    assert len(nonces) == 100


def test_the_secret_is_never_shown() -> None:
    auth = an_auth()
    assert SECRET not in repr(auth)
    assert SECRET not in str(auth)
    assert SECRET not in str(signed(auth, httpx.Request("GET", "http://x/")).headers)

import sys

import httpx
import pytest

from orchestrator_adapters.http.lean import LeanTransport
from orchestrator_adapters.http.transport import WireOptions, choose_transport

OPTIONS = WireOptions(uses_tls=False, max_connections=1, keep_alive_seconds=1.0)


def test_the_lean_wire_is_chosen_where_httptools_is_installed() -> None:
    assert isinstance(choose_transport(OPTIONS), LeanTransport)


def test_httpxs_own_wire_is_chosen_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    assert isinstance(choose_transport(OPTIONS), httpx.AsyncHTTPTransport)

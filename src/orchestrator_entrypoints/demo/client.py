"""The demo's own client: it speaks to the service as anybody would, over HTTP."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from attrs import frozen

DEADLINE_SECONDS = 40.0


@frozen
class Reply:
    """What the service answered."""

    status: int
    body: dict[str, Any]


class ServiceClient:
    """A client of one service, for one story."""

    def __init__(self, base_url: str) -> None:
        """Open no connection yet."""
        # An environment that names a proxy is no business of loopback.
        self._http = httpx.Client(base_url=base_url, trust_env=False, timeout=DEADLINE_SECONDS)

    def __enter__(self) -> Self:
        """Keep its connections while the block runs."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close them."""
        self._http.close()

    def health(self) -> Reply:
        """Ask how the service is."""
        return self._reply(self._http.get("/health"))

    def run(self, symbols: Sequence[str], *, rebalance_key: str) -> Reply:
        """Ask for a run, and why it orders what it orders."""
        path = "/api/v1/orchestration/run"
        body = {"symbols": list(symbols), "rebalance_key": rebalance_key}
        return self._reply(self._http.post(path, params={"explain": "true"}, json=body))

    def await_run(self, run_id: str, *, seconds: int) -> Reply:
        """Show a run once it is no longer running, or as it stands when the time is up."""
        path = f"/api/v1/orchestration/runs/{run_id}"
        return self._reply(self._http.get(path, params={"wait": seconds}))

    def engage(self, *, operator: str, reason: str) -> Reply:
        """Stop all trading."""
        body = {"operator": operator, "reason": reason}
        return self._reply(self._http.post("/api/v1/kill-switch/engage", json=body))

    def disengage(self, *, operator: str, notes: str) -> Reply:
        """Let trading go on."""
        body = {"operator": operator, "notes": notes}
        return self._reply(self._http.post("/api/v1/kill-switch/disengage", json=body))

    def count_runs(self) -> int:
        """Return how many runs are stored."""
        reply = self._reply(self._http.get("/api/v1/orchestration/runs", params={"limit": 1}))
        total: int = reply.body["total"]
        return total

    def _reply(self, response: httpx.Response) -> Reply:
        return Reply(response.status_code, response.json())

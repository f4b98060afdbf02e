"""The Signal Service as a source of signals."""

import json
from typing import Any

from orchestrator_adapters.http.client import PeerClient, Reply
from orchestrator_adapters.http.failures import CallFailed
from orchestrator_adapters.http.json_fields import (
    NotAsAgreed,
    a_list,
    an_object,
    check_storable,
    date_in,
    member,
    number_in,
    parse_json,
    symbol_in,
    text_in,
    whole_in,
)
from orchestrator_adapters.http.replies import OK, cause_of, read_error
from orchestrator_core.errors import MalformedReply, Refused
from orchestrator_core.model import Signal, SignalBatch
from orchestrator_core.requests import RunRequest

REFUSALS = frozenset({400, 404, 422})

PORT = "signals"


class HttpSignalSource:
    """Fetches a strategy's signals from a Signal Service.

    Args:
        client: The peer; its headers carry `X-Strategy-ID`.
        seconds: Total deadline of a fetch, repeats included.
        probe_seconds: Deadline of a probe.
    """

    def __init__(
        self, client: PeerClient, *, seconds: float = 20.0, probe_seconds: float = 1.5
    ) -> None:
        self._client = client
        self._seconds = seconds
        self._probe_seconds = probe_seconds
        self._generate = client.url("/api/v1/signals/generate")
        self._ready = client.url("/ready")

    async def fetch(self, request: RunRequest) -> SignalBatch:
        try:
            reply = await self._client.read(
                "POST", self._generate, seconds=self._seconds, content=encode_request(request)
            )
        except CallFailed as failure:
            raise failure.as_read_error(PORT, "fetch") from failure
        return batch_of_reply(reply)

    async def ready(self) -> bool:
        """Return whether the service says that it is fit for traffic. Never raises."""
        try:
            reply = await self._client.call("GET", self._ready, seconds=self._probe_seconds)
        except CallFailed:
            return False
        return reply.status == OK


def encode_request(request: RunRequest) -> bytes:
    """Return the body that asks for a run's signals."""
    body: dict[str, Any] = {"symbols": request.symbols}
    if request.as_of_date is not None:
        body["as_of_date"] = request.as_of_date.isoformat()
    return json.dumps(body, separators=(",", ":")).encode()


def batch_of_reply(reply: Reply) -> SignalBatch:
    """Return the batch that an answer holds.

    Raises:
        Unavailable: Inactive, pacing us, or failing.
        Refused: With the service's own words.
        MalformedReply: Neither, nor a batch.
    """
    status = reply.status
    if status == OK:
        try:
            return parse_batch(reply.body)
        except NotAsAgreed as problem:
            raise MalformedReply(PORT, "fetch", str(problem)) from None
    if status in REFUSALS:
        raise Refused(PORT, "fetch", cause_of(reply))
    raise read_error(reply, PORT, "fetch")


def parse_batch(body: bytes) -> SignalBatch:
    """Return the batch in a body; whether it answers the request is not judged here.

    Of the metadata only `as_of_date` and `num_signals` must be there; what else the contract names
    must be of its type where it is there, and the rest is kept as it came.

    Raises:
        NotAsAgreed: Names the path to the first field that is not as agreed.
    """
    document = an_object(parse_json(body), "the answer")
    metadata = an_object(member(document, "metadata", ""), "metadata")
    rows = a_list(member(document, "signals", ""), "signals")
    check_storable(metadata, "metadata")
    _check_known(metadata)
    return SignalBatch(
        signals=tuple(_signal(row, f"signals[{index}]") for index, row in enumerate(rows)),
        as_of_date=date_in(metadata, "as_of_date", "metadata"),
        num_signals=whole_in(metadata, "num_signals", "metadata"),
        metadata=metadata,
    )


def _check_known(metadata: dict[str, Any]) -> None:
    for name in ("model_version", "strategy", "generated_at"):
        if name in metadata:
            text_in(metadata, name, "metadata")
    for name in ("top_n", "bottom_n"):
        if metadata.get(name) is not None:
            whole_in(metadata, name, "metadata")


def _signal(row: Any, path: str) -> Signal:
    fields = an_object(row, path)
    return Signal(
        symbol=symbol_in(fields, "symbol", path),
        predicted_return=number_in(fields, "predicted_return", path),
        rank=whole_in(fields, "rank", path),
        target_weight=number_in(fields, "target_weight", path),
    )

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_adapters.http.client import Reply
from orchestrator_adapters.http.signals import batch_of_reply, encode_request
from orchestrator_core.errors import MalformedReply, PortError, Refused, Unavailable
from orchestrator_core.model import SignalBatch
from tests.servers.peers import a_batch_document
from tests.unit.builders import a_request

ROW = {"symbol": "AAPL", "predicted_return": 0.01, "rank": 1, "target_weight": 0.5}


def reply(document: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode())


def batch(document: Any) -> SignalBatch:
    return batch_of_reply(reply(document))


def test_a_batch_is_read_exactly() -> None:
    got = batch(a_batch_document(ROW, extra={"kept": [1, "é"]}))
    assert [(s.symbol, s.predicted_return, s.rank, s.target_weight) for s in got.signals] == [
        ("AAPL", 0.01, 1, 0.5)
    ]
    assert (got.as_of_date, got.num_signals) == (date(2026, 3, 2), 1)
    assert got.metadata["extra"] == {"kept": [1, "é"]}


def test_whole_numbers_are_numbers() -> None:
    [signal] = batch(a_batch_document({**ROW, "target_weight": 1, "predicted_return": 0})).signals
    assert (signal.target_weight, signal.predicted_return) == (1.0, 0.0)
    assert type(signal.target_weight) is float


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"symbol": "aapl"}, "signals[1].symbol"),
        ({"symbol": " AAPL"}, "signals[1].symbol"),
        ({"symbol": "AAPL\n"}, "signals[1].symbol"),
        ({"symbol": "A" * 33}, "signals[1].symbol"),
        ({"symbol": ""}, "signals[1].symbol"),
        ({"symbol": 7}, "signals[1].symbol"),
        ({"symbol": None}, "signals[1].symbol"),
        ({"predicted_return": "0.1"}, "signals[1].predicted_return"),
        ({"predicted_return": None}, "signals[1].predicted_return"),
        ({"target_weight": True}, "signals[1].target_weight"),
        ({"target_weight": "0.5"}, "signals[1].target_weight"),
        ({"target_weight": [0.5]}, "signals[1].target_weight"),
        ({"target_weight": 10**400}, "signals[1].target_weight"),
        ({"rank": 1.0}, "signals[1].rank"),
        ({"rank": True}, "signals[1].rank"),
        ({"rank": "1"}, "signals[1].rank"),
        ({"rank": 2**31}, "signals[1].rank"),
        ({"rank": None}, "signals[1].rank"),
    ],
)
def test_a_row_that_is_not_as_agreed_is_named(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(MalformedReply) as raised:
        batch(a_batch_document(ROW, {**ROW, **changes}))
    assert raised.value.cause.startswith(f"{path}: ")
    assert raised.value.cause.isprintable()


@pytest.mark.parametrize("name", sorted(ROW))
def test_a_row_without_one_of_its_fields_is_refused(name: str) -> None:
    row = {key: value for key, value in ROW.items() if key != name}
    with pytest.raises(MalformedReply) as raised:
        batch(a_batch_document(row))
    assert raised.value.cause == f"signals[0].{name}: missing"


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"as_of_date": "2026-3-2"}, "metadata.as_of_date"),
        ({"as_of_date": "2026-02-30"}, "metadata.as_of_date"),
        ({"as_of_date": "20260302"}, "metadata.as_of_date"),
        ({"as_of_date": "2026-03-02T00:00:00"}, "metadata.as_of_date"),
        ({"as_of_date": 20260302}, "metadata.as_of_date"),
        ({"as_of_date": None}, "metadata.as_of_date"),
        ({"num_signals": "1"}, "metadata.num_signals"),
        ({"num_signals": 1.0}, "metadata.num_signals"),
        ({"num_signals": True}, "metadata.num_signals"),
        ({"num_signals": None}, "metadata.num_signals"),
        ({"model_version": 7}, "metadata.model_version"),
        ({"strategy": None}, "metadata.strategy"),
        ({"generated_at": 7}, "metadata.generated_at"),
        ({"top_n": "3"}, "metadata.top_n"),
        ({"bottom_n": 1.5}, "metadata.bottom_n"),
        ({"note": "a\0b"}, "metadata"),
        ({"note": ["\ud800"]}, "metadata"),
        ({"\ud800": 1}, "metadata"),
    ],
)
def test_metadata_that_is_not_as_agreed_is_named(metadata: dict[str, Any], path: str) -> None:
    with pytest.raises(MalformedReply) as raised:
        batch(a_batch_document(ROW, **metadata))
    assert raised.value.cause.startswith(f"{path}: ")
    assert raised.value.cause.isprintable()


def test_metadata_nested_beyond_reason_is_refused() -> None:
    nested: Any = 1
    for _ in range(40):
        nested = [nested]
    with pytest.raises(MalformedReply, match="nested"):
        batch(a_batch_document(ROW, deep=nested))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "text",
        7,
        {},
        {"signals": []},
        {"metadata": a_batch_document()["metadata"]},
        {"signals": {}, "metadata": a_batch_document()["metadata"]},
        {"signals": None, "metadata": a_batch_document()["metadata"]},
        {"signals": [[]], "metadata": a_batch_document()["metadata"]},
        {"signals": [], "metadata": []},
    ],
)
def test_a_document_of_another_shape_is_refused(document: Any) -> None:
    with pytest.raises(MalformedReply):
        batch(document)


BODY = json.dumps(a_batch_document(ROW))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>it works</html>",
        b"\xff\xfe",
        BODY[:-1].encode(),
        (BODY + "x").encode(),
        BODY.replace("0.5", "NaN").encode(),
        BODY.replace("0.5", "Infinity").encode(),
        BODY.replace("0.5", "-Infinity").encode(),
        BODY.replace("0.5", "1e999").encode(),
        BODY.replace('"m-1"', "NaN").encode(),
        BODY.replace('"rank": 1', '"rank": 1, "rank": 2').encode(),
        BODY.replace("0.5", "9" * 5000).encode(),
        BODY.replace("0.5", "0.5 // half").encode(),
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedReply):
        batch_of_reply(Reply(200, body))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (404, Refused),
        (422, Refused),
        (403, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (599, Unavailable),
        (201, MalformedReply),
        (204, MalformedReply),
        (301, MalformedReply),
        (307, MalformedReply),
        (401, MalformedReply),
        (405, MalformedReply),
        (409, MalformedReply),
        (418, MalformedReply),
    ],
)
def test_each_status_has_its_meaning(status: int, kind: type[PortError]) -> None:
    with pytest.raises(PortError) as raised:
        batch_of_reply(Reply(status, b'{"detail":"no data"}', 7.0))
    assert type(raised.value) is kind
    assert raised.value.cause == f"HTTP {status} no data"
    assert raised.value.retry_after == (7.0 if kind is Unavailable else None)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b'{"detail":"a\\nb\\u001b[31m"}', "HTTP 422 a\\nb\\x1b[31m"),
        (b'{"detail":[{"loc":["symbols"]}]}', 'HTTP 422 [{"loc": ["symbols"]}]'),
        (b'{"detail":null}', "HTTP 422"),
        (b"<html>", "HTTP 422"),
        (b"[]", "HTTP 422"),
        (b'{"detail":"' + b"x" * 1000 + b'"}', "HTTP 422 " + "x" * 300),
        (b'{"detail":"' + b"\\u0001" * 1000 + b'"}', "HTTP 422 " + "\\x01" * 75),
    ],
)
def test_a_refusal_carries_its_detail_cut_and_escaped(body: bytes, cause: str) -> None:
    with pytest.raises(Refused) as raised:
        batch_of_reply(Reply(422, body))
    assert raised.value.cause == cause


def test_a_request_asks_for_its_symbols_and_date() -> None:
    day = date(2026, 3, 2)
    dated = encode_request(a_request(["MSFT", "AAPL"], as_of_date=day))
    assert dated == b'{"symbols":["MSFT","AAPL"],"as_of_date":"2026-03-02"}'
    assert encode_request(a_request(["AAPL"])) == b'{"symbols":["AAPL"]}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
rows = st.dictionaries(st.sampled_from(sorted(ROW)), json_values).map(lambda c: {**ROW, **c})
batches = st.builds(
    lambda signals, metadata: a_batch_document(*signals, **metadata),
    st.lists(rows | json_values, max_size=3),
    st.dictionaries(st.sampled_from(["as_of_date", "num_signals", "top_n", "note"]), json_values),
)


@given(st.binary(max_size=80) | (json_values | batches).map(lambda d: json.dumps(d).encode()))
def test_any_body_is_a_valid_batch_or_malformed(body: bytes) -> None:
    try:
        got = batch_of_reply(Reply(200, body))
    except MalformedReply:
        return
    json.dumps(dict(got.metadata), allow_nan=False, ensure_ascii=False).encode()

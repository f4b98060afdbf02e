import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_adapters.http.asking import Heard, NotAsked
from orchestrator_adapters.http.client import Reply
from orchestrator_adapters.http.failures import CallFailed, Fate
from orchestrator_adapters.http.looks import cancel_of, look_of
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, Side
from orchestrator_core.ports import CancelOutcome, Inquiry, LookUp, LookUpKind

K = LookUpKind
INTENT = OrderIntent(ClientOrderId("o1aaaaaaaaaaaaaaaaaaaaaa"), Symbol("AAPL"), Side.BUY, 10)
OURS, THEIRS = Inquiry(INTENT), Inquiry(INTENT, "gw-1")


def a_record(**changes: Any) -> dict[str, Any]:
    return {
        "client_order_id": INTENT.client_order_id,
        "status": "filled",
        "broker_order_id": "b-1",
        "symbol": "AAPL",
        "side": "buy",
        "qty": 10,
        "order_type": "market",
        "filled_qty": "10",
        "filled_avg_price": "189.25",
        "error_message": None,
        **changes,
    }


def a_reply(status: int, document: Any, *, retry_after: float | None = None) -> Reply:
    return Reply(status, json.dumps(document).encode(), retry_after)


def answer(document: Any, inquiry: Inquiry = OURS) -> LookUp:
    return look_of(inquiry, a_reply(200, document)).answer


@pytest.mark.parametrize("qty", [10, 10.0, "10", "10.00"])
def test_a_quantity_may_be_written_in_other_ways(qty: Any) -> None:
    assert answer(a_record(qty=qty)).kind is K.ACCEPTED


@pytest.mark.parametrize("name", ["client_order_id", "order_type", "filled_qty", "error_message"])
@pytest.mark.parametrize("is_null", [True, False])
def test_a_record_may_lack_some_fields(name: str, is_null: bool) -> None:
    record = a_record(**{name: None})
    if not is_null:
        del record[name]
    got = answer(record)
    assert got.kind is K.ACCEPTED
    assert got.report is not None
    assert got.report.gateway_order_id == INTENT.client_order_id


@pytest.mark.parametrize("name", ["status", "symbol", "side", "qty"])
@pytest.mark.parametrize("is_null", [True, False])
def test_a_record_that_lacks_the_order_proves_nothing(name: str, is_null: bool) -> None:
    record = a_record(**{name: None})
    if not is_null:
        del record[name]
    got = answer(record)
    assert (got.kind, got.report) == (K.UNANSWERED, None)
    assert got.cause is not None
    assert name in got.cause


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "MSFT"},
        {"side": "sell"},
        {"qty": 11},
        {"qty": "9"},
        {"qty": 10.5},
        {"order_type": "limit"},
        {"client_order_id": "o1other"},
    ],
)
@pytest.mark.parametrize("word", ["filled", "rejected", "failed", "held", "dry_run"])
def test_a_record_that_contradicts_the_order_is_a_conflict(
    changes: dict[str, Any], word: str
) -> None:
    got = answer(a_record(status=word, **changes))
    assert (got.kind, got.report) == (K.CONFLICT, None)
    assert got.cause is not None
    assert next(iter(changes)) in got.cause


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "aapl"},
        {"symbol": 7},
        {"side": "BUY"},
        {"side": "long"},
        {"qty": True},
        {"qty": "ten"},
        {"qty": "NaN"},
        {"order_type": "MARKET"},
        {"order_type": 7},
        {"client_order_id": 7},
        {"client_order_id": ""},
        {"client_order_id": "a\nb"},
        {"status": 7},
        {"broker_order_id": 7},
        {"filled_qty": "-1"},
        {"filled_avg_price": "1_0"},
    ],
)
def test_a_garbled_record_proves_nothing(changes: dict[str, Any]) -> None:
    got = answer(a_record(**changes))
    assert (got.kind, got.report) == (K.UNANSWERED, None)
    assert got.cause is not None
    assert "garbled" in got.cause


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"7", b"<html>It works!</html>", b'{"status": NaN}', b"\xff"]
)
@pytest.mark.parametrize("status", [200, 404])
def test_what_is_no_answer_of_the_gateways_says_nothing(status: int, body: bytes) -> None:
    got = look_of(OURS, Reply(status, body)).answer
    assert (got.kind, got.report) == (K.UNANSWERED, None)
    assert got.cause


@pytest.mark.parametrize("detail", ["Order not found", {"error": "no such order"}])
def test_only_the_gateways_own_404_is_absence(detail: Any) -> None:
    got = look_of(OURS, a_reply(404, {"detail": detail})).answer
    assert (got.kind, got.report) == (K.ABSENT, None)
    for document in ({}, {"detail": None}, {"message": "Order not found"}, ["detail"]):
        assert look_of(OURS, a_reply(404, document)).answer.kind is K.UNANSWERED


@pytest.mark.parametrize(
    "status", [201, 202, 204, 301, 302, 400, 401, 403, 405, 409, 410, 422, 429, 500, 502, 503, 504]
)
def test_no_other_status_settles_an_order(status: int) -> None:
    for document in (a_record(), {"detail": "some\nreason"}):
        got = look_of(OURS, a_reply(status, document, retry_after=2.5)).answer
        assert (got.kind, got.report, got.retry_after) == (K.UNANSWERED, None, 2.5)
        assert got.cause is not None
        assert got.cause.startswith(f"HTTP {status}")
        assert got.cause.isprintable()


@pytest.mark.parametrize(
    ("heard", "retry_after"),
    [
        (CallFailed("no connection", Fate.NOT_SENT), None),
        (CallFailed("no connection", Fate.LOST), None),
        (CallFailed("no connection", Fate.UNUSABLE), None),
        (NotAsked("no connection", 7.0), 7.0),
    ],
)
def test_what_brought_no_answer_leaves_the_order_as_it_was(
    heard: Heard, retry_after: float | None
) -> None:
    id_ = INTENT.client_order_id
    assert look_of(OURS, heard).answer == LookUp(
        id_, K.UNANSWERED, cause="no connection", retry_after=retry_after
    )
    assert cancel_of(OURS, heard) == CancelOutcome(id_, is_requested=False, cause="no connection")


def test_an_order_is_known_by_the_id_that_was_asked_for() -> None:
    assert answer(a_record(client_order_id="gw-1"), THEIRS).kind is K.ACCEPTED
    assert answer(a_record(), THEIRS).kind is K.CONFLICT
    silent = a_record(client_order_id=None)
    got = answer(silent, THEIRS)
    assert got.report is not None
    assert got.report.gateway_order_id == "gw-1"
    assert got.client_order_id == INTENT.client_order_id


@pytest.mark.parametrize(
    ("changes", "inquiry", "keeps"),
    [
        ({}, OURS, True),
        ({"status": "rejected"}, OURS, True),
        ({"status": "failed"}, OURS, True),
        ({"client_order_id": None}, OURS, False),
        ({"client_order_id": "gw-1"}, OURS, False),
        ({"client_order_id": "gw-1"}, THEIRS, False),
        ({"qty": 11}, OURS, False),
    ],
)
def test_only_an_echo_of_our_id_shows_that_ids_are_kept(
    changes: dict[str, Any], inquiry: Inquiry, keeps: bool
) -> None:
    assert look_of(inquiry, a_reply(200, a_record(**changes))).keeps_our_id == keeps


@pytest.mark.parametrize(
    ("heard", "is_requested"),
    [
        (a_reply(200, a_record()), True),
        (a_reply(200, {}), True),
        (Reply(200, b""), True),
        (a_reply(202, {"status": "pending_cancel"}), True),
        (Reply(204, b""), True),
        (Reply(200, b"<html>log in</html>"), False),
        (a_reply(200, []), False),
        (a_reply(201, {}), False),
        (a_reply(302, {}), False),
        (a_reply(404, {"detail": "the order is filled"}), False),
        (a_reply(429, {"detail": "slow down"}), False),
        (a_reply(500, {"detail": "the order is filled"}), False),
        (a_reply(503, {}), False),
    ],
)
def test_each_status_of_a_cancel(heard: Reply, is_requested: bool) -> None:
    outcome = cancel_of(OURS, heard)
    assert outcome.is_requested == is_requested
    assert (outcome.cause is None) == is_requested


@pytest.mark.parametrize("status", [409, 422])
@pytest.mark.parametrize(
    ("detail", "has_ended"),
    [
        ("the order is filled", True),
        ("Order already canceled", True),
        ("Order is already Cancelled.", True),
        ("Order cannot be cancelled (status: filled)", True),
        ("order is already in terminal state", True),
        ("Order o1 in terminal state 'expired'", True),
        ("order has ended", True),
        ("has been rejected", True),
        ({"error": "not cancelable", "status": "replaced"}, True),
        ("the order is dry_run", True),
        ("status: blocked_kill_switch", True),
        ("the order is partially filled", False),
        ("status: partially_filled", False),
        ("Order cannot be canceled", False),
        ("cannot be canceled: is not filled", False),
        ("status: pending_cancel", False),
        ("already being canceled", False),
        ("qty: expected a whole number", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_a_refused_cancel_of_an_order_that_ended_is_as_good_as_done(
    status: int, detail: Any, has_ended: bool
) -> None:
    outcome = cancel_of(OURS, a_reply(status, {"detail": detail}))
    assert outcome.is_requested == has_ended


@pytest.mark.parametrize("body", [b"", b"is filled", b"<p>is filled</p>", b"[]"])
def test_a_refused_cancel_without_a_detail_is_not_done(body: bytes) -> None:
    assert not cancel_of(OURS, Reply(409, body)).is_requested


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
records = st.dictionaries(st.sampled_from(sorted(a_record())), json_values).map(
    lambda changes: a_record(**changes)
)


@given(
    status=st.sampled_from([200, 404, 409]) | st.integers(100, 599),
    body=st.binary(max_size=60) | (json_values | records).map(lambda d: json.dumps(d).encode()),
)
def test_any_answer_is_a_look_and_settles_only_by_an_agreeing_record(
    status: int, body: bytes
) -> None:
    got = look_of(OURS, Reply(status, body)).answer
    assert got.client_order_id == INTENT.client_order_id
    assert got.cause is None or got.cause.isprintable()
    if got.report is not None:
        record = json.loads(body)
        assert status == 200
        assert (record["symbol"], record["side"], float(record["qty"])) == ("AAPL", "buy", 10)
        assert record["client_order_id"] in {None, INTENT.client_order_id}
    assert (got.report is not None) == (got.kind in {K.ACCEPTED, K.REJECTED, K.UNCLEAR})
    assert cancel_of(OURS, Reply(status, body)).client_order_id == INTENT.client_order_id

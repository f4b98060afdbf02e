import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_adapters.gateway_words import STATUS_WORDS
from orchestrator_adapters.http.answers import outcome_of_reply
from orchestrator_adapters.http.client import Reply
from orchestrator_adapters.http.orders import encode_order
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, Side
from orchestrator_core.ports import SubmitKind, SubmitOutcome

K = SubmitKind
INTENT = OrderIntent(ClientOrderId("o1aaaaaaaaaaaaaaaaaaaaaa"), Symbol("AAPL"), Side.BUY, 10)

WORDS_OF_THE_CONTRACT = {
    "pending_new",
    "new",
    "accepted",
    "partially_filled",
    "filled",
    "canceled",
    "rejected",
    "expired",
    "replaced",
    "done_for_day",
    "stopped",
    "suspended",
    "pending_cancel",
    "pending_replace",
    "calculated",
    "submitted",
    "submitted_unconfirmed",
    "dry_run",
    "failed",
    "scheduled",
    "blocked_kill_switch",
    "blocked_circuit_breaker",
}


def an_echo(**changes: Any) -> dict[str, Any]:
    return {
        "client_order_id": INTENT.client_order_id,
        "status": "accepted",
        "broker_order_id": "b-1",
        "symbol": "AAPL",
        "side": "buy",
        "qty": 10,
        "order_type": "market",
        "limit_price": None,
        "created_at": "2026-03-02T15:00:00Z",
        "message": "Order submitted",
        **changes,
    }


def outcome(status: int, document: Any, *, retry_after: float | None = None) -> SubmitOutcome:
    return outcome_of_reply(INTENT, Reply(status, json.dumps(document).encode(), retry_after))


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("word", sorted(WORDS_OF_THE_CONTRACT))
def test_each_word_with_a_brokers_id(word: str, status: int) -> None:
    got = outcome(status, an_echo(status=word))
    if word in {"rejected", "blocked_kill_switch", "blocked_circuit_breaker"}:
        assert got.kind is K.REJECTED
    elif word == "failed":
        assert got.kind is K.UNKNOWN
    else:
        assert got.kind is K.ACCEPTED
    assert got.report is not None
    assert got.report.status == word


@pytest.mark.parametrize("broker_id", [None, ""])
@pytest.mark.parametrize("word", sorted(WORDS_OF_THE_CONTRACT))
def test_each_word_without_a_brokers_id(word: str, broker_id: str | None) -> None:
    got = outcome(200, an_echo(status=word, broker_order_id=broker_id))
    if word in {"rejected", "blocked_kill_switch", "blocked_circuit_breaker"}:
        assert got.kind is K.REJECTED
    elif word == "dry_run":
        assert got.kind is K.ACCEPTED
    else:
        assert got.kind is K.UNKNOWN
        assert got.cause


def test_no_word_of_the_contract_is_forgotten() -> None:
    assert STATUS_WORDS == WORDS_OF_THE_CONTRACT


@pytest.mark.parametrize("word", ["", "ACCEPTED", "cancelled", "ok", "held"])
def test_a_word_not_listed_is_unknown(word: str) -> None:
    assert outcome(200, an_echo(status=word)).kind is K.UNKNOWN


@pytest.mark.parametrize("word", ["blocked_kill_switch", "blocked_circuit_breaker"])
def test_a_blocked_order_stops_the_run(word: str) -> None:
    assert outcome(200, an_echo(status=word)).stops_run
    assert not outcome(200, an_echo(status="rejected")).stops_run


@pytest.mark.parametrize(
    ("status", "kind", "stops"),
    [
        (400, K.REJECTED, False),
        (422, K.REJECTED, False),
        (401, K.NOT_PLACED, True),
        (403, K.NOT_PLACED, True),
        (404, K.NOT_PLACED, True),
        (405, K.NOT_PLACED, True),
        (413, K.NOT_PLACED, True),
        (415, K.NOT_PLACED, True),
        (409, K.CONFLICT, False),
        (429, K.DEFERRED, False),
        (408, K.UNKNOWN, False),
        (500, K.UNKNOWN, False),
        (502, K.UNKNOWN, False),
        (503, K.UNKNOWN, False),
        (504, K.UNKNOWN, False),
        (202, K.UNKNOWN, False),
        (204, K.UNKNOWN, False),
        (301, K.UNKNOWN, False),
        (302, K.UNKNOWN, False),
        (307, K.UNKNOWN, False),
        (418, K.UNKNOWN, False),
        (499, K.UNKNOWN, False),
        (599, K.UNKNOWN, False),
    ],
)
def test_each_status(status: int, kind: SubmitKind, stops: bool) -> None:
    got = outcome(status, {"detail": "some\nreason"})
    assert got.kind is kind
    assert got.stops_run == stops
    assert got.report is None
    assert got.cause == f"HTTP {status} some\\nreason"


def test_a_paced_order_says_how_long() -> None:
    assert outcome(429, {}, retry_after=2.5).retry_after == 2.5
    assert outcome(429, {}).retry_after is None


@pytest.mark.parametrize(
    ("detail", "kind", "stops"),
    [
        ("Kill-switch engaged", K.NOT_PLACED, True),
        ("Trading halted: KILL SWITCH", K.NOT_PLACED, True),
        ({"error": "Kill-switch unavailable", "fail_closed": True}, K.NOT_PLACED, True),
        ({"error": "kill_switch"}, K.NOT_PLACED, True),
        ({"error": "Circuit breaker TRIPPED"}, K.NOT_PLACED, True),
        ("circuit_breaker unavailable", K.NOT_PLACED, True),
        ("Auth store unavailable", K.NOT_PLACED, True),
        ("Symbol quarantined; AAPL in quarantine", K.NOT_PLACED, False),
        ("Reconciliation in progress", K.NOT_PLACED, False),
        ({"error": "reconciliation"}, K.NOT_PLACED, False),
        ("x" * 1000 + " kill switch", K.NOT_PLACED, True),
        ("Broker connection error", K.UNKNOWN, False),
        ("Broker connection error; circuit breaker opened", K.UNKNOWN, False),
        ("Service unavailable", K.UNKNOWN, False),
        ("", K.UNKNOWN, False),
        (None, K.UNKNOWN, False),
        (7, K.UNKNOWN, False),
    ],
)
def test_each_503_is_read(detail: Any, kind: SubmitKind, stops: bool) -> None:
    got = outcome(503, {"detail": detail})
    assert (got.kind, got.stops_run) == (kind, stops)


@pytest.mark.parametrize("body", [b"", b"kill switch", b"<html>kill switch</html>", b"[]"])
def test_a_503_without_a_detail_is_unknown(body: bytes) -> None:
    assert outcome_of_reply(INTENT, Reply(503, body)).kind is K.UNKNOWN


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "MSFT"},
        {"side": "sell"},
        {"qty": 11},
        {"qty": "11"},
        {"order_type": "limit"},
    ],
)
@pytest.mark.parametrize("word", ["accepted", "rejected", "dry_run"])
def test_a_contradicting_answer_is_unknown(changes: dict[str, Any], word: str) -> None:
    got = outcome(200, an_echo(status=word, **changes))
    assert got.kind is K.UNKNOWN
    assert got.cause is not None
    assert "contradicting" in got.cause
    assert got.report is None


@pytest.mark.parametrize("qty", [10, 10.0, "10", "10.0", "1e1"])
def test_a_quantity_may_be_written_in_other_ways(qty: Any) -> None:
    assert outcome(200, an_echo(qty=qty)).kind is K.ACCEPTED


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": None},
        {"client_order_id": ""},
        {"client_order_id": 7},
        {"client_order_id": "a\nb"},
        {"client_order_id": "x" * 129},
        {"status": None},
        {"status": 7},
        {"broker_order_id": 7},
        {"broker_order_id": ["b"]},
        {"broker_order_id": False},
        {"symbol": None},
        {"side": None},
        {"qty": None},
        {"qty": True},
        {"qty": 10.5},
        {"qty": "ten"},
        {"order_type": None},
        {"filled_qty": "NaN"},
        {"filled_qty": "-1"},
        {"filled_avg_price": "1_0"},
    ],
)
def test_a_garbled_answer_is_unknown(changes: dict[str, Any]) -> None:
    got = outcome(200, an_echo(**changes))
    assert got.kind is K.UNKNOWN
    assert got.report is None


@pytest.mark.parametrize(
    "name", ["client_order_id", "status", "symbol", "side", "qty", "order_type"]
)
def test_an_answer_without_one_of_its_fields_is_unknown(name: str) -> None:
    echo = an_echo()
    del echo[name]
    assert outcome(200, echo).kind is K.UNKNOWN


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"<html>ok</html>", b'{"status": NaN}', b"\xff", b"{" * 100_000]
)
def test_a_200_that_is_no_object_is_unknown(body: bytes) -> None:
    assert outcome_of_reply(INTENT, Reply(200, body)).kind is K.UNKNOWN


def test_a_gateway_that_answers_its_own_id_has_accepted() -> None:
    got = outcome(200, an_echo(client_order_id="gw-1"))
    assert got.kind is K.ACCEPTED
    assert got.client_order_id == INTENT.client_order_id
    assert got.report is not None
    assert got.report.gateway_order_id == "gw-1"


def test_an_order_is_always_the_same_bytes() -> None:
    assert encode_order(INTENT) == (
        b'{"symbol":"AAPL","side":"buy","qty":10,"order_type":"market","time_in_force":"day",'
        b'"client_order_id":"o1aaaaaaaaaaaaaaaaaaaaaa"}'
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
echoes = st.dictionaries(st.sampled_from(sorted(an_echo())), json_values).map(
    lambda changes: an_echo(**changes)
)


@given(
    status=st.integers(100, 599),
    body=st.binary(max_size=60) | (json_values | echoes).map(lambda d: json.dumps(d).encode()),
    retry_after=st.none() | st.floats(0, 100),
)
def test_any_answer_is_an_outcome_and_accepted_only_by_the_contracts_rule(
    status: int, body: bytes, retry_after: float | None
) -> None:
    got = outcome_of_reply(INTENT, Reply(status, body, retry_after))
    assert got.client_order_id == INTENT.client_order_id
    assert got.cause is None or got.cause.isprintable()
    if got.kind is K.ACCEPTED:
        echo = json.loads(body)
        assert status in {200, 201}
        assert echo["status"] == "dry_run" or (
            echo["broker_order_id"]
            and echo["status"] in WORDS_OF_THE_CONTRACT - {"failed", "rejected"}
            and not echo["status"].startswith("blocked")
        )
        assert (echo["symbol"], echo["side"], float(echo["qty"])) == ("AAPL", "buy", 10)
    if got.kind in {K.NOT_PLACED, K.REJECTED} and got.report is None:
        assert status in {400, 401, 403, 404, 405, 413, 415, 422, 503}

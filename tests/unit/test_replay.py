"""Replays: equal bytes, readable differences, and records that say nothing."""

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import reduce
from operator import getitem
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.identifiers import RunId, StrategyId, Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import NoQuote
from orchestrator_core.orders import order_of
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import Snapshot
from orchestrator_core.record import canonical_json, content_hash, encode_snapshot
from orchestrator_core.replay import PlanRow, StoredRecord, Verdict, compare, derive, replay
from orchestrator_core.run_files import Seal, decode_line, decode_lines, encode_line
from orchestrator_core.what_if import Changes, what_if
from tests.unit.builders import NOW, a_policy, a_quote, a_signal, a_snapshot

RUN = RunId(UUID(int=7))
SYMBOLS = ("AAPL", "KO", "MSFT", "PEP", "XOM")


def a_stored_record(snapshot: Snapshot, **changes: Any) -> StoredRecord:
    text = canonical_json(encode_snapshot(snapshot))
    record = StoredRecord(
        run_id=RUN,
        strategy_id=StrategyId("alpha"),
        started_at=NOW,
        status="completed",
        text=text,
        digest=content_hash(text),
        rows=rows_of(snapshot),
    )
    return evolve(record, **changes)


def rows_of(snapshot: Snapshot) -> tuple[PlanRow, ...]:
    plan = plan_orders(snapshot, snapshot.policy)
    return tuple(PlanRow.of(order_of(decision)) for decision in plan.decisions)


def a_varied_snapshot() -> Snapshot:
    return a_snapshot(
        [
            a_signal("AAPL", 0.5),
            a_signal("KO", -0.1, rank=2),
            a_signal("MSFT", 0.0, rank=3),
            a_signal("PEP", 0.1, rank=4),
            a_signal("XOM", 0.15, rank=5),
        ],
        [
            a_quote("AAPL", "264.58"),
            a_quote("KO", "60.01"),
            NoQuote(Symbol("PEP"), "no key\0, \u6771"),
            a_quote("XOM", "1.5"),
        ],
        policy=a_policy(limits=Limits(max_order_qty=5_000)),
    )


def _forged(*, symbol: object) -> str:
    encoded = encode_snapshot(a_varied_snapshot())
    encoded["batch"]["signals"][0]["symbol"] = symbol
    return canonical_json(encoded)


def test_a_record_replays_to_the_same_bytes() -> None:
    found = replay(a_stored_record(a_varied_snapshot()))
    assert (found.verdict, found.decisions, found.differences) == (Verdict.EQUAL, 5, ())
    assert found.code_version == "test"
    assert found.decided_hash is not None
    assert len(found.decided_hash) == 64


def test_what_became_of_the_orders_is_not_compared() -> None:
    record = a_stored_record(a_varied_snapshot())
    for state in ("sending", "accepted", "rejected", "halted", "not_placed", "adopted", "unknown"):
        rows = tuple(
            evolve(row, state=state, reason=None, gateway_status="filled")
            if row.stopped is None
            else row
            for row in record.rows
        )
        assert rows != record.rows
        assert replay(evolve(record, rows=rows)).verdict is Verdict.EQUAL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"qty": 76}, "AAPL: was buy 76 market day as o1"),
        ({"side": "sell"}, "AAPL: was sell 75 market day as o1"),
        ({"client_order_id": "o2"}, "AAPL: was buy 75 market day as o2; now buy 75"),
        ({"order_type": "limit"}, "AAPL: was buy 75 limit day as o1"),
        ({"time_in_force": "gtc"}, "AAPL: was buy 75 market gtc as o1"),
        ({"leg": 1}, "AAPL: was buy 75 market day leg 1 as o1"),
        ({"state": "denied", "reason": "MAX"}, "denied: MAX; now buy 75"),
        ({"symbol": "AAP"}, "AAP: was buy 75"),
    ],
)
def test_a_decision_that_comes_out_otherwise_is_told(change: dict[str, Any], said: str) -> None:
    record = a_stored_record(a_varied_snapshot())
    first, *others = record.rows
    found = replay(evolve(record, rows=(evolve(first, **change), *others)))
    assert found.verdict is Verdict.CHANGED
    assert said in str(found.differences[0])
    assert {each.symbol for each in found.differences} <= {"AAPL", "AAP"}


def test_a_row_too_few_and_one_too_many_are_told() -> None:
    record = a_stored_record(a_varied_snapshot())
    [lost] = replay(evolve(record, rows=record.rows[1:])).differences
    assert (lost.symbol, lost.stored) == ("AAPL", None)
    assert str(lost).startswith("AAPL: was not in the plan; now buy 75")
    [twice] = replay(evolve(record, rows=(*record.rows, record.rows[1]))).differences
    assert twice.symbol == "KO"


@pytest.mark.parametrize(
    ("text", "verdict", "cause"),
    [
        ("", Verdict.DAMAGED, "no JSON"),
        (_forged(symbol=["AAPL"]), Verdict.DAMAGED, "expected a symbol"),
        ("[]", Verdict.DAMAGED, "no JSON object"),
        ('{"format": "snapshot/99"}', Verdict.UNKNOWN_FORM, "'snapshot/99'; this version knows"),
        ('{"format": ["snapshot/1"]}', Verdict.UNKNOWN_FORM, "this version knows"),
        ("{}", Verdict.UNKNOWN_FORM, "None"),
        ('{"format": "snapshot/1"}', Verdict.DAMAGED, "damaged record"),
        ("[" * 100_000, Verdict.DAMAGED, "no JSON text"),
    ],
)
def test_a_record_that_says_nothing_is_told_with_its_cause(
    text: str, verdict: Verdict, cause: str
) -> None:
    record = a_stored_record(a_varied_snapshot(), text=text, digest=content_hash(text))
    found = replay(record)
    assert found.verdict is verdict
    assert found.cause is not None
    assert cause in found.cause


@pytest.mark.parametrize(
    ("field", "value"),
    [("capital", "NaN"), ("capital", "1e999999"), ("max_position_size", "-Infinity")],
)
def test_figures_that_no_run_had_are_damage(field: str, value: str) -> None:
    encoded = encode_snapshot(a_varied_snapshot())
    encoded["policy"]["sizing"][field] = value
    text = canonical_json(encoded)
    found = replay(a_stored_record(a_varied_snapshot(), text=text, digest=content_hash(text)))
    assert found.verdict in {Verdict.DAMAGED, Verdict.CHANGED}


def test_every_touch_of_the_text_is_noticed() -> None:
    record = a_stored_record(a_varied_snapshot())
    for place in range(0, len(record.text), 7):
        letter = "x" if record.text[place] != "x" else "y"
        text = record.text[:place] + letter + record.text[place + 1 :]
        assert replay(evolve(record, text=text)).verdict is Verdict.DAMAGED
    assert replay(evolve(record, text=record.text + "\ud800")).verdict is Verdict.DAMAGED
    assert replay(evolve(record, digest=record.digest.upper())).verdict is Verdict.DAMAGED


def test_a_line_of_a_file_holds_the_record_exactly() -> None:
    record = a_stored_record(a_varied_snapshot())
    line = encode_line(record)
    assert "\n" not in line
    assert decode_line(line) == record
    assert encode_line(decode_line(line)) == line


def test_lines_of_exports_are_records_and_a_cut_one_is_none() -> None:
    line = encode_line(a_stored_record(a_varied_snapshot()))
    seal = Seal()
    seal.add(line)
    export = [f"{line}\n", "\n", seal.encode()]
    assert decode_lines(export) == [decode_line(line)]
    assert len(decode_lines([*export, *export])) == 2
    damaged = line.replace("run/1", "run/9")
    for lines, words in (
        ([], "was cut"),
        (export[:1], "was cut"),
        (export[1:], "line 2: it seals 1 runs, and 0 stand"),
        ([line[:-9] + line[-9:].replace("}", " }"), export[2]], "line 2: the lines before it"),
        ([damaged], "line 1 is no exported run: expected a line of form run/1"),
    ):
        with pytest.raises(ValueError, match=words):
            decode_lines(lines)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "run/9"},
        {"run_id": "seven"},
        {"run_id": None},
        {"record": None},
        {"plan": None},
        {"plan": [{"symbol": "AAPL"}]},
        {"started_at": "yesterday"},
    ],
)
def test_a_line_of_another_form_is_refused(change: dict[str, object]) -> None:
    encoded = json.loads(encode_line(a_stored_record(a_varied_snapshot())))
    with pytest.raises(ValueError, match=r"."):
        decode_line(json.dumps({**encoded, **change}))


@pytest.mark.parametrize("value", [1.5, float("nan"), True, ["x"], {"x": 1}])
def test_a_row_of_another_form_is_refused(value: object) -> None:
    encoded = json.loads(encode_line(a_stored_record(a_varied_snapshot())))
    for name in encoded["plan"][0]:
        row = {**encoded["plan"][0], name: value}
        with pytest.raises(ValueError, match=name):
            decode_line(json.dumps({**encoded, "plan": [row]}))


@pytest.mark.parametrize("line", ["", "[]", "7", "null", "{", '{"format": 1}'])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_line(line)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
    weights = st.floats(-1, 1, allow_nan=False)
    prices = st.decimals("0.01", "5000", places=4)
    ages = st.integers(-10, 60)
    return a_snapshot(
        [a_signal(symbol, draw(weights), rank=rank) for rank, symbol in enumerate(symbols, 1)],
        [
            a_quote(symbol, str(draw(prices)), as_of=NOW - timedelta(seconds=draw(ages)))
            if draw(st.booleans())
            else NoQuote(Symbol(symbol), draw(st.text(max_size=5)))
            for symbol in symbols
        ],
        policy=a_policy(limits=Limits(max_order_qty=1_000)),
        dry_run=draw(st.booleans()),
    )


@given(snapshots())
def test_every_record_replays_equal_and_from_a_file_to_the_same_bytes(snapshot: Snapshot) -> None:
    record = a_stored_record(snapshot)
    assert derive(record).snapshot == snapshot
    found = replay(record)
    assert found.verdict is Verdict.EQUAL
    assert replay(decode_line(encode_line(record))) == found


@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_signals_does_not_matter_to_any_decision(
    snapshot: Snapshot, random: st.DataObject
) -> None:
    signals, quotes = list(snapshot.batch.signals), list(snapshot.quotes)
    random.shuffle(signals)  # type: ignore[attr-defined]
    random.shuffle(quotes)  # type: ignore[attr-defined]
    shuffled = evolve(
        snapshot,
        batch=evolve(snapshot.batch, signals=tuple(signals)),
        quotes=tuple(quotes),
    )
    assert compare(rows_of(snapshot), rows_of(shuffled)) == ()


@given(snapshots(), st.data())
def test_a_change_of_one_input_shows_in_its_symbol_alone(
    snapshot: Snapshot, data: st.DataObject
) -> None:
    symbol = data.draw(st.sampled_from([each.symbol for each in snapshot.batch.signals]))
    changes = Changes(prices={symbol: Decimal("123.45")}, weights={symbol: 0.2})
    found = what_if(snapshot, changes)
    differences = compare(rows_of(snapshot), rows_of(found.changed))
    assert {each.symbol for each in differences} <= {symbol}
    # 20,000 at most, at 123.45 a share.
    [now] = [row for row in rows_of(found.changed) if row.symbol == symbol]
    assert (now.side, now.qty) == ("buy", 162)
    [before] = [row for row in rows_of(snapshot) if row.symbol == symbol]
    assert bool(differences) == (before.decided != now.decided)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = dict(enumerate(value)) if isinstance(value, list) else value
    for key, child in children.items() if isinstance(children, dict) else ():
        yield from _places(child, (*path, key))
        yield (*path, key)


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, True, -1, 1e300])
def test_a_record_with_an_odd_value_anywhere_is_judged_and_never_raises(odd: Any) -> None:
    stored = a_stored_record(a_varied_snapshot())
    whole = json.loads(stored.text)
    for path in list(_places(whole)):
        changed = copy.deepcopy(whole)
        *parents, last = path
        holder: Any = reduce(getitem, parents, changed)
        holder[last] = odd
        text = canonical_json(changed)
        found = replay(evolve(stored, text=text, digest=content_hash(text)))
        assert found.verdict in Verdict

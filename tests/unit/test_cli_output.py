"""What the command line prints: aligned, cut to the terminal, safe to show."""

import io
import os
import subprocess
import sys
from typing import Any

import pytest

from orchestrator_entrypoints.commands.console import Column, Console, Row, fit, plain_table
from orchestrator_entrypoints.commands.run_output import outcome, write_run

COLUMNS = [
    Column("symbol"),
    Column("shares", is_right=True),
    Column("id", least=4),
    Column("why", least=6, may_fold=True),
]


def mapping(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "AAPL",
        "predicted_return": 0.02,
        "rank": 1,
        "target_weight": 0.25,
        "client_order_id": "o1abcdefghijklmnopqrstuv",
        "order_qty": 159,
        "order_side": "buy",
        "broker_order_id": "b-1",
        "order_status": "accepted",
        "filled_qty": "0",
        "filled_avg_price": None,
        "skip_reason": None,
        "order_state": "accepted",
        "adopted_from_run_id": None,
    } | changes


def step(
    name: str, value: str | None, bound: str | None = None, note: str | None = None
) -> dict[str, Any]:
    return {"name": name, "value": value, "bound": bound, "note": note}


EXPLANATION = [
    step("weight", "0.25"),
    step("target_notional", "25000.00", note="of capital 100000"),
    step("capped_notional", "20000", "20000"),
    step("price", "125.674", note="redis, 1.5 s old at the decision"),
    step("shares", "159"),
    step("order", "buy 159", note="o1abcdefghijklmnopqrstuv"),
]


def result(*mappings: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "run_id": "8b1f5f0e-5ad8-4f3e-9d57-6d7b2b6f7d11",
        "status": "completed",
        "strategy_id": "alpha_baseline",
        "as_of_date": "2022-12-28",
        "symbols": ["AAPL"],
        "capital": "100000",
        "num_signals": len(mappings),
        "signal_metadata": None,
        "num_orders_submitted": 1,
        "num_orders_accepted": 1,
        "num_orders_rejected": 0,
        "num_orders_filled": 0,
        "mappings": list(mappings),
        "started_at": "2026-11-23T06:00:00.000000Z",
        "completed_at": "2026-11-23T06:00:00.120000Z",
        "duration_seconds": "0.120000",
        "error_message": None,
        "max_position_size": "20000",
        "dry_run": False,
        "rebalance_key": "",
        "num_orders_open": 0,
        "note": None,
    } | changes


def written(shown: dict[str, Any], **options: Any) -> list[str]:
    out = io.StringIO()
    write_run(Console(out=out, err=io.StringIO()), shown, **options)
    return out.getvalue().splitlines()


def part(strategy_id: str, share: str, target_weight: float, weight: str, qty: int) -> Any:
    return {
        "strategy_id": strategy_id,
        "share": share,
        "target_weight": target_weight,
        "weight": weight,
        "qty": qty,
    }


def test_a_netted_run_shows_each_strategys_part() -> None:
    parts = [part("momentum", "0.6", 0.5, "0.30", 1191), part("value", "0.4", -0.125, "-0.05", -32)]
    nothing = [part("value", "0.4", 0.0, "0.0", 0)]
    lines = written(result(mapping(attributions=parts), mapping(symbol="KO", attributions=nothing)))
    assert lines[-4:] == [
        "symbol  strategy  share  its weight  of capital  shares",
        "AAPL    momentum    0.6     +0.5000     +0.3000   1,191",
        "        value       0.4     -0.1250     -0.0500     -32",
        "KO      value       0.4           0           0       0",
    ]
    assert lines[-5] == ""
    assert "strategy  share" not in "\n".join(written(result(mapping())))


def test_columns_shrink_one_after_another_and_never_below_their_least() -> None:
    lines = [["AAPL", "159", "o1abcdefgh", "a long reason"]]
    assert fit(COLUMNS, lines, total=None) == [6, 6, 10, 13]
    assert fit(COLUMNS, lines, total=41) == [6, 6, 10, 13]
    assert fit(COLUMNS, lines, total=38) == [6, 6, 7, 13]
    assert fit(COLUMNS, lines, total=30) == [6, 6, 4, 8]
    assert fit(COLUMNS, lines, total=10) == [6, 6, 4, 6]


def test_columns_that_may_vanish_do_so_from_the_right_and_only_for_want_of_room() -> None:
    columns = [Column("run"), Column("since", least=0), Column("by", least=0)]
    lines = [["r" * 10, "s" * 5, "b" * 5]]
    assert fit(columns, lines, total=24) == [10, 5, 5]
    assert fit(columns, lines, total=23) == [10, 5, 0]
    assert fit(columns, lines, total=16) == [10, 0, 0]
    assert fit(columns, lines, total=5) == [10, 0, 0]


def test_plain_tables_are_aligned_and_never_cut() -> None:
    rows = [Row(("AAPL", "1,159", "o1abcdefgh", "x" * 200)), Row(("KO", "7", "", ""))]
    text = plain_table(COLUMNS, rows).splitlines()
    assert text[0] == "symbol  shares  id          why"
    assert text[1].endswith("x" * 200)
    assert text[2] == "KO           7"


def test_a_table_without_rows_is_its_heading() -> None:
    assert plain_table(COLUMNS, []) == "symbol  shares  id  why\n"


def test_others_words_cannot_steer_the_terminal() -> None:
    out = io.StringIO()
    console = Console(out=out, err=out)
    hostile = "down\x1b[2J\n\rup\u202e"
    console.line(hostile)
    console.note(hostile)
    console.table([Column("why")], [Row((hostile,))])
    assert not [c for c in out.getvalue() if not c.isprintable() and c != "\n"]
    assert len(out.getvalue().splitlines()) == 4


def test_a_run_shows_each_way_from_weight_to_order() -> None:
    lines = written(result(mapping(explanation=EXPLANATION)))
    assert lines[:5] == [
        "run 8b1f5f0e-5ad8-4f3e-9d57-6d7b2b6f7d11: completed, 0.12 s",
        "strategy alpha_baseline, as of 2022-12-28, capital 100,000",
        "at most 20,000 a position",
        "1 signal, 1 order accepted",
        "",
    ]
    assert lines[5].split() == [
        *("symbol", "weight", "target", "capped", "price", "shares", "side", "order", "id"),
        "outcome",
    ]
    assert lines[6].split() == [
        *("AAPL", "+0.2500", "25,000", "20,000", "125.67", "159", "buy"),
        *("o1abcdefghijklmnopqrstuv", "accepted"),
    ]


def test_a_difference_shows_what_is_held_and_lacking() -> None:
    lacking = [step("position", "-1200"), step("on_order", "50"), step("delta", "1309")]
    explanation = [*EXPLANATION[:5], *lacking, EXPLANATION[5]]
    zero = mapping(symbol="KO", explanation=[step("weight", "0")])
    lines = written(result(mapping(explanation=explanation), zero))
    assert lines[5].split("  ")[0] == "symbol"
    assert lines[6].split()[4:9] == ["125.67", "-1,200", "+50", "+1,309", "159"]
    assert lines[7].split() == ["KO", "+0.2500", *lines[6].split()[8:]]


def test_a_run_tells_how_near_it_came() -> None:
    allocation = {
        "investable": "100000",
        "wanted": "30000",
        "allocated": "29311.5",
        "leftover_cash": "688.5",
        "tracking_error": "0.000125000000",
    }
    said = "29,312 allocated of 30,000 wanted, 688 left over, tracking error 0.000125"
    assert written(result(mapping(), allocation=allocation))[4] == said
    over = allocation | {"leftover_cash": "-12", "allocated": "30012"}
    assert (
        "30,012 allocated of 30,000 wanted, 12 too much, "
        in written(result(mapping(), allocation=over))[4]
    )


def test_a_run_in_full_shows_every_step() -> None:
    lines = written(result(mapping(explanation=EXPLANATION)), in_full=True)
    steps = [" ".join(line.split()) for line in lines[8:]]
    assert steps == [
        "symbol step value held to",
        "AAPL weight 0.25",
        "target notional 25000.00 of capital 100000",
        "capped notional 20000 20000",
        "price 125.674 redis, 1.5 s old at the decision",
        "shares 159",
        "order buy 159 o1abcdefghijklmnopqrstuv",
    ]


def test_a_step_without_a_value_says_so_and_leaves_no_figure() -> None:
    explanation = [step("weight", "0.25"), step("price", None, note="no key")]
    lines = written(result(mapping(explanation=explanation)), in_full=True)
    assert lines[6].split()[:3] == ["AAPL", "+0.2500", "159"]
    assert " ".join(lines[-1].split()) == "price none no key"


def test_a_run_that_is_not_explained_shows_no_figures() -> None:
    for lines in (written(result(mapping())), written(result(mapping()), in_full=True)):
        assert lines[5].split() == ["symbol", "weight", "shares", "side", "order", "id", "outcome"]
        assert len(lines) == 7


def test_a_signal_without_an_order_says_why() -> None:
    none = mapping(
        target_weight=0.0,
        client_order_id=None,
        order_qty=None,
        order_side=None,
        order_status=None,
        skip_reason="zero_weight",
        order_state="skipped",
    )
    assert written(result(none))[-1].split() == ["AAPL", "0", "zero_weight"]


def test_a_failed_run_says_why_and_has_no_table() -> None:
    lines = written(
        result(status="failed", error_message="signals: connection refused", num_signals=0)
    )
    assert lines[0].endswith(": failed, 0.12 s")
    assert lines[-1] == "signals: connection refused"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "accepted"),
        ({"order_status": None, "order_state": "planned"}, "planned"),
        (
            {"order_status": "rejected", "skip_reason": "submission_failed: no"},
            "rejected: submission_failed: no",
        ),
        (
            {"order_status": "unknown", "skip_reason": "outcome_unknown: time-out"},
            "unknown: outcome_unknown: time-out",
        ),
        ({"order_status": None, "skip_reason": "denied: MAX_ORDER_QTY"}, "denied: MAX_ORDER_QTY"),
        (
            {"skip_reason": "already_ordered: run 8b1f5f0e-5", "adopted_from_run_id": "8b1f5f0e-5"},
            "accepted in run 8b1f5f0e",
        ),
        (
            {
                "order_status": "rejected",
                "skip_reason": "submission_failed: no",
                "adopted_from_run_id": "8b1f5f0e-5",
            },
            "rejected: submission_failed: no in run 8b1f5f0e",
        ),
    ],
)
def test_an_outcome_is_told_in_a_few_words(changes: dict[str, Any], expected: str) -> None:
    assert outcome(mapping(**changes)) == expected


def test_a_reader_that_goes_away_ends_the_output_quietly() -> None:
    program = (
        "import sys\n"
        "from orchestrator_entrypoints.commands.console import Console\n"
        "console = Console(out=sys.stdout, err=sys.stderr)\n"
        "for _ in range(100_000): console.line('x' * 80)\n"
        "sys.exit(3)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 3

from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.limits import DenialCode, Limits
from orchestrator_core.model import NoQuote, OrderIntent, Quote, Side
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import SizingDecision, SkipReason, Snapshot
from orchestrator_core.record import (
    canonical_json,
    content_hash,
    decode_snapshot,
    encode_snapshot,
)
from orchestrator_core.sending import next_wave
from orchestrator_core.sizing import SizingRules
from tests.unit.builders import NOW, a_policy, a_quote, a_signal, a_snapshot


def decide(
    weight: float = 0.1,
    quote: Quote | NoQuote | None = None,
    *,
    limits: Limits | None = None,
    dry_run: bool = False,
) -> SizingDecision:
    policy = a_policy(limits=limits)
    quotes = [] if quote is None else [quote]
    snapshot = a_snapshot([a_signal("AAPL", weight)], quotes, policy=policy, dry_run=dry_run)
    (decision,) = plan_orders(snapshot, policy).decisions
    return decision


def test_a_positive_weight_buys_and_a_negative_sells() -> None:
    bought, sold = decide(0.1, a_quote()).intent, decide(-0.1, a_quote()).intent
    assert bought is not None
    assert sold is not None
    assert (bought.side, bought.qty) == (Side.BUY, 100)
    assert (sold.side, sold.qty) == (Side.SELL, 100)


@pytest.mark.parametrize("weight", [0.0, -0.0])
def test_no_weight_needs_no_order(weight: float) -> None:
    assert decide(weight).skip is SkipReason.ZERO_WEIGHT


def test_a_missing_price_skips_the_signal() -> None:
    decision = decide(0.1, NoQuote(Symbol("AAPL"), "no such key"))
    assert (decision.skip, decision.skip_detail) == (
        SkipReason.PRICE_UNAVAILABLE,
        "no such key",
    )
    assert decide(0.1).skip_detail == "no price"


@pytest.mark.parametrize(
    ("age_seconds", "good"), [(30, True), (30.000001, False), (-5, True), (-5.000001, False)]
)
def test_a_price_is_good_up_to_its_age_limit_and_a_little_ahead(
    age_seconds: float,
    good: bool,
) -> None:
    decision = decide(0.1, a_quote(as_of=NOW - timedelta(seconds=age_seconds)))
    assert (decision.intent is not None) is good


def test_less_than_one_share_is_skipped_and_explained() -> None:
    decision = decide(0.1, a_quote(price="10000.01"))
    assert decision.skip is SkipReason.LESS_THAN_ONE_SHARE
    assert decision.sizing is not None
    assert decision.sizing.target_notional == 10_000


@pytest.mark.parametrize(("minimum", "is_sent"), [("10000", True), ("10000.01", False)])
def test_an_order_worth_less_than_the_minimum_is_not_sent(minimum: str, is_sent: bool) -> None:
    base = a_policy()
    rules = SizingRules(min_order_notional=Decimal(minimum))
    policy = evolve(base, sizing=evolve(base.sizing, rules=rules))
    snapshot = a_snapshot([a_signal("AAPL", 0.1)], [a_quote()], policy=policy)
    (decision,) = plan_orders(snapshot, policy).decisions
    assert decision.is_to_be_sent is is_sent
    assert (decision.skip is SkipReason.LESS_THAN_MINIMUM) is not is_sent


def test_a_record_of_the_first_form_is_sized_without_rules() -> None:
    snapshot = a_snapshot([a_signal()], [a_quote()])
    encoded = encode_snapshot(snapshot)
    del encoded["policy"]["sizing"]["rules"]
    assert decode_snapshot({**encoded, "format": "snapshot/1"}) == snapshot


def test_a_record_keeps_the_sizing_rules() -> None:
    base = a_policy()
    rules = SizingRules({Symbol("AAPL"): 10}, Decimal(50), Decimal("0.05"), spends_leftover=True)
    policy = evolve(base, sizing=evolve(base.sizing, rules=rules))
    snapshot = a_snapshot([a_signal()], [a_quote()], policy=policy)
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


def test_a_dry_run_plans_the_order_and_sends_nothing() -> None:
    decision = decide(0.1, a_quote(), dry_run=True)
    assert decision.intent is not None
    assert decision.skip is SkipReason.DRY_RUN
    assert not decision.is_to_be_sent


@pytest.mark.parametrize(("limit", "denied"), [(101, False), (100, False), (99, True)])
def test_an_order_of_too_many_shares_is_denied(limit: int, denied: bool) -> None:
    decision = decide(0.1, a_quote(), limits=Limits(max_order_qty=limit))
    assert (decision.denial is not None) is denied
    if decision.denial is not None:
        assert str(decision.denial) == "MAX_ORDER_QTY qty=100 limit=99"


@pytest.mark.parametrize(
    ("limit", "denied"), [("10000.01", False), ("10000", False), ("9999.99", True)]
)
def test_an_order_worth_too_much_is_denied(limit: str, denied: bool) -> None:
    decision = decide(0.1, a_quote(), limits=Limits(max_order_notional=Decimal(limit)))
    assert (decision.denial is not None) is denied
    if decision.denial is not None:
        assert decision.denial.code is DenialCode.MAX_ORDER_NOTIONAL


symbols = st.lists(
    st.from_regex(r"[A-Z]{1,4}", fullmatch=True).map(Symbol), unique=True, max_size=12
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    names = draw(symbols)
    weights = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 1e-9, 0.29, -1.0, 1 / 3]))
    signals = [a_signal(name, draw(weights), rank=draw(st.integers(-3, 3))) for name in names]
    quotes = [
        draw(
            st.one_of(
                st.builds(
                    a_quote,
                    st.just(name),
                    st.decimals(min_value="0.0001", max_value=10**7, places=4).map(str),
                    as_of=st.timedeltas(timedelta(seconds=-40), timedelta(seconds=10)).map(
                        lambda age: NOW + age
                    ),
                ),
                st.just(NoQuote(name, "gone")),
            )
        )
        for name in names
        if draw(st.booleans())
    ]
    limits = Limits(
        max_order_qty=draw(st.none() | st.integers(1, 10**6)),
        max_order_notional=draw(
            st.none() | st.decimals(min_value="0.01", max_value=10**6, places=2)
        ),
    )
    policy = a_policy(
        capital=str(draw(st.decimals(min_value="0.01", max_value=10**9, places=2))),
        cap=str(draw(st.decimals(min_value="0.01", max_value=10**6, places=2))),
        limits=limits,
    )
    return a_snapshot(signals, quotes, policy=policy, dry_run=draw(st.booleans()))


@given(snapshots())
def test_planning_is_total_and_holds_every_limit(snapshot: Snapshot) -> None:
    plan = plan_orders(snapshot, snapshot.policy)
    assert [d.signal for d in plan.decisions] == list(snapshot.batch.signals)
    limits = snapshot.policy.limits
    quotes = {quote.symbol: quote for quote in snapshot.quotes}
    for decision in plan.decisions:
        answers = [decision.skip is not None, decision.denial is not None, decision.is_to_be_sent]
        assert sum(answers) == 1
    for intent in plan.intents:
        quote = quotes[intent.symbol]
        assert isinstance(quote, Quote)
        notional = quote.price * intent.qty
        assert notional <= snapshot.policy.sizing.max_position_size
        assert limits.max_order_qty is None or intent.qty <= limits.max_order_qty
        assert limits.max_order_notional is None or notional <= limits.max_order_notional


@given(snapshots())
def test_a_stored_snapshot_gives_the_same_plan_and_the_same_bytes(snapshot: Snapshot) -> None:
    encoded = encode_snapshot(snapshot)
    again = decode_snapshot(encoded)
    assert again == snapshot
    assert canonical_json(encode_snapshot(again)) == canonical_json(encoded)
    assert plan_orders(again, again.policy) == plan_orders(snapshot, snapshot.policy)


@given(snapshots())
def test_the_order_of_signals_changes_neither_orders_nor_sending(
    snapshot: Snapshot,
) -> None:
    signals = list(snapshot.batch.signals)
    signals.reverse()
    reversed_ = a_snapshot(
        signals,
        snapshot.quotes,
        policy=snapshot.policy,
        dry_run=snapshot.request.dry_run,
    )
    intents = plan_orders(snapshot, snapshot.policy).intents
    assert plan_orders(reversed_, snapshot.policy).intents == intents


@given(snapshots(), st.integers(1, 5))
def test_waves_send_each_order_once_and_never_mix_sides(snapshot: Snapshot, size: int) -> None:
    pending = list(plan_orders(snapshot, snapshot.policy).intents)
    sent: list[OrderIntent] = []
    while pending:
        wave = next_wave(pending, max_orders=size)
        assert 1 <= len(wave) <= size
        assert len({intent.side for intent in wave}) == 1
        assert len({intent.symbol for intent in wave}) == len(wave)
        sent.extend(wave)
        pending = pending[len(wave) :]
    sides = [intent.side for intent in sent]
    assert sides == sorted(sides, key=lambda side: side is Side.BUY)
    assert sent == list(plan_orders(snapshot, snapshot.policy).intents)


def test_two_legs_of_a_symbol_never_share_a_wave() -> None:
    first = OrderIntent(ClientOrderId("a"), Symbol("A"), Side.SELL, 5)
    second = OrderIntent(ClientOrderId("b"), Symbol("A"), Side.SELL, 5, leg=1)
    assert next_wave([first, second], max_orders=10) == (first,)


def test_a_record_takes_any_text_that_a_strategy_sends() -> None:
    assert content_hash(canonical_json({"metadata": "\ud800 \x00 \u00fc"}))


def test_a_damaged_record_is_refused() -> None:
    encoded = encode_snapshot(a_snapshot([a_signal()], [a_quote()]))
    with pytest.raises(ValueError, match="form snapshot/3"):
        decode_snapshot({**encoded, "format": "snapshot/0"})
    with pytest.raises(ValueError, match="damaged"):
        decode_snapshot({key: value for key, value in encoded.items() if key != "request"})

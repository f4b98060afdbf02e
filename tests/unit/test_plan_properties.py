"""What holds of every plan, whatever the signals, prices and limits."""

from collections import Counter
from decimal import Decimal
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.baskets import basket_of
from orchestrator_core.books import DayExposure
from orchestrator_core.holdings import Holdings
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import Quote, Reference
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, Snapshot
from orchestrator_core.sizing import SizingMode, SizingRules
from orchestrator_core.tightening import tighten
from tests.unit.builders import NOW, a_policy, a_quote, a_signal, a_snapshot
from tests.unit.test_differences import an_account

SYMBOLS = ["A", "B", "C", "D", "E"]
MONEY = st.decimals("0.01", "60000", places=2)
PRICES = st.decimals("0.01", "9999.99", places=2)
BANDS = st.decimals("0.001", "0.9", places=3)

AMOUNTS = [
    *("max_order_notional", "max_basket_long", "max_basket_short", "max_basket_gross"),
    *("max_basket_net", "max_day_long", "max_day_short", "max_day_gross", "max_day_net"),
]


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Draw limits, most of them open."""
    names = draw(st.sets(st.sampled_from(AMOUNTS), max_size=3))
    values: dict[str, Any] = {name: draw(MONEY) for name in names}
    if draw(st.booleans()):
        values["max_order_qty"] = draw(st.integers(1, 3_000))
    if draw(st.booleans()):
        values["max_orders_a_run"] = draw(st.integers(1, 5))
    if draw(st.booleans()):
        values["price_band"] = draw(BANDS)
    if draw(st.booleans()):
        values["restricted_symbols"] = frozenset(map(Symbol, draw(st.sets(st.sampled_from("AB")))))
    return Limits(**values, reduce_only=draw(st.integers(0, 5)) == 0)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Draw a snapshot of any mode, under any limits."""
    symbols = draw(st.permutations(SYMBOLS))[: draw(st.integers(1, 5))]
    weights = st.floats(-1, 1, allow_nan=False)
    signals = [a_signal(s, draw(weights), rank=draw(st.integers(1, 3))) for s in symbols]
    quotes = [a_quote(symbol, str(draw(PRICES))) for symbol in SYMBOLS]
    rules = SizingRules(
        lot_sizes={Symbol("A"): draw(st.sampled_from([1, 10, 100]))},
        min_order_notional=draw(st.sampled_from([Decimal(0), Decimal(900)])),
        cash_buffer=draw(st.sampled_from([Decimal(0), Decimal("0.031")])),
        spends_leftover=draw(st.booleans()),
        mode=draw(st.sampled_from(SizingMode)),
        closes_absent=draw(st.booleans()),
    )
    base = a_policy(cap=str(draw(MONEY)), limits=draw(limits()))
    policy = evolve(base, sizing=evolve(base.sizing, rules=rules))
    held = {symbol: draw(st.integers(-50, 50)) for symbol in SYMBOLS}
    references = tuple(
        Reference(Symbol(s), draw(PRICES), NOW, "previous_close")
        for s in draw(st.sets(st.sampled_from(SYMBOLS)))
    )
    return evolve(
        a_snapshot(signals, quotes, policy=policy),
        holdings=an_account(held),
        day=DayExposure(draw(MONEY), draw(MONEY)),
        references=references,
    )


def plan_of(snapshot: Snapshot) -> OrderPlan:
    return plan_orders(snapshot, snapshot.policy)


def prices_of(snapshot: Snapshot) -> dict[str, Decimal]:
    return {each.symbol: each.price for each in snapshot.quotes if isinstance(each, Quote)}


def quantities(plan: OrderPlan) -> dict[ClientOrderId, int]:
    return {intent.client_order_id: intent.qty for intent in plan.intents}


@given(snapshots())
def test_no_order_is_above_a_limit(snapshot: Snapshot) -> None:
    bound, prices = snapshot.policy.limits, prices_of(snapshot)
    seen = {reference.symbol: reference.price for reference in snapshot.references}
    for intent in plan_of(snapshot).intents:
        price = prices[intent.symbol]
        assert intent.symbol not in bound.restricted_symbols
        assert bound.max_order_qty is None or intent.qty <= bound.max_order_qty
        if bound.max_order_notional is not None:
            assert price * intent.qty <= bound.max_order_notional
        if bound.price_band is not None and intent.symbol in seen:
            reference = seen[intent.symbol]
            assert abs(price - reference) <= bound.price_band * reference
        if snapshot.policy.sizing.rules.mode is SizingMode.ABSOLUTE:
            assert price * intent.qty <= snapshot.policy.sizing.max_position_size


@given(snapshots())
def test_in_reduce_only_mode_all_orders_together_shrink_every_position(snapshot: Snapshot) -> None:
    only = evolve(snapshot.policy.limits, reduce_only=True)
    snapshot = evolve(snapshot, policy=evolve(snapshot.policy, limits=only))
    account = snapshot.holdings or Holdings()
    ordered: Counter[Symbol] = Counter()
    for intent in plan_of(snapshot).intents:
        ordered[intent.symbol] += intent.signed_qty
    for symbol, qty in ordered.items():
        held = account.held(symbol)
        assert abs(held + qty) == abs(held) - abs(qty)


@given(snapshots())
def test_what_is_sent_together_is_within_its_exposure(snapshot: Snapshot) -> None:
    bound, prices, day = snapshot.policy.limits, prices_of(snapshot), snapshot.day
    assert day is not None
    intents = plan_of(snapshot).intents
    if not intents:
        return
    basket = basket_of(((i, prices[i.symbol]) for i in intents), NOW)
    worths = {"long": basket.long, "short": basket.short}
    of_day = {"long": day.long + basket.long, "short": day.short + basket.short}
    for scope, exposures in (("basket", worths), ("day", of_day)):
        exposures["gross"] = exposures["long"] + exposures["short"]
        exposures["net"] = abs(exposures["long"] - exposures["short"])
        for name in ("long", "short", "gross", "net"):
            most = getattr(bound, f"max_{scope}_{name}")
            assert most is None or exposures[name] <= most
    assert bound.max_orders_a_run is None or len(intents) <= bound.max_orders_a_run


@st.composite
def tightened(draw: st.DrawFn) -> tuple[Snapshot, Snapshot]:
    """Draw a snapshot without the leftover pass, and the same under tighter limits."""
    loose = draw(snapshots())
    rules = evolve(loose.policy.sizing.rules, spends_leftover=False)
    loose = evolve(
        loose, policy=evolve(loose.policy, sizing=evolve(loose.policy.sizing, rules=rules))
    )
    bound = loose.policy.limits
    wishes: dict[str, Any] = {}
    for name in draw(st.sets(st.sampled_from([*AMOUNTS, "price_band"]), max_size=3)):
        most = getattr(bound, name)
        highest = most if most is not None else Decimal(60_000)
        wishes[name] = draw(st.decimals("0.001", highest, places=3))
    if draw(st.booleans()):
        most_shares = bound.max_order_qty or 3_000
        wishes["max_order_qty"] = draw(st.integers(1, most_shares))
    if draw(st.booleans()):
        wishes["restricted_symbols"] = draw(st.sets(st.sampled_from(SYMBOLS)))
    if draw(st.booleans()):
        wishes["reduce_only"] = True
    tight = evolve(loose, policy=evolve(loose.policy, limits=tighten(bound, wishes)))
    return loose, tight


@given(tightened())
def test_tightening_a_limit_never_enlarges_an_order(pair: tuple[Snapshot, Snapshot]) -> None:
    """Of single orders: where fewer pass, what is left may pass as a basket where more did not."""
    loose, tight = (plan_of(snapshot) for snapshot in pair)
    if loose.refusal is not None:
        loose = plan_of(_without_basket_bounds(pair[0]))
    before = quantities(loose)
    for id_, qty in quantities(tight).items():
        assert qty <= before[id_]


def _without_basket_bounds(snapshot: Snapshot) -> Snapshot:
    names = [name for name in AMOUNTS if name != "max_order_notional"]
    nothing: dict[str, Any] = dict.fromkeys([*names, "max_orders_a_run"])
    opened = evolve(snapshot.policy.limits, **nothing)
    return evolve(snapshot, policy=evolve(snapshot.policy, limits=opened))


@given(snapshots(), st.integers(2, 1_000))
def test_scaling_capital_and_cap_together_scales_notionals_within_one_lot(
    snapshot: Snapshot, factor: int
) -> None:
    rules = evolve(
        snapshot.policy.sizing.rules,
        mode=SizingMode.ABSOLUTE,
        spends_leftover=False,
        min_order_notional=Decimal(0),
    )
    sizing = evolve(snapshot.policy.sizing, rules=rules)
    larger = evolve(
        sizing,
        capital=sizing.capital * factor,
        max_position_size=sizing.max_position_size * factor,
    )
    prices = prices_of(snapshot)
    one, many = (
        {
            each.signal.symbol: each.sizing.shares
            for each in plan_of(
                evolve(snapshot, policy=evolve(snapshot.policy, sizing=scaled))
            ).decisions
            if each.sizing is not None
        }
        for scaled in (sizing, larger)
    )
    assert one.keys() == many.keys()
    for symbol, shares in one.items():
        miss = prices[symbol] * many[symbol] - factor * prices[symbol] * shares
        assert 0 <= miss < factor * prices[symbol] * rules.lot_of(symbol)


@given(snapshots(), st.randoms(use_true_random=False))
def test_the_order_of_signals_does_not_matter(snapshot: Snapshot, random: Any) -> None:
    signals, quotes = list(snapshot.batch.signals), list(snapshot.quotes)
    random.shuffle(signals)
    random.shuffle(quotes)
    shuffled = evolve(
        snapshot, batch=evolve(snapshot.batch, signals=tuple(signals)), quotes=tuple(quotes)
    )
    assert plan_of(shuffled).intents == plan_of(snapshot).intents
    reasons = [
        {(d.signal.symbol, d.intent): (d.skip, d.denial) for d in plan_of(each).decisions}
        for each in (shuffled, snapshot)
    ]
    assert reasons[0] == reasons[1]

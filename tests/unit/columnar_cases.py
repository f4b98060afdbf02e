"""Cells made to be hard for floats, and what planning decides of them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import Quote, Signal
from orchestrator_core.money import decimal_of
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import PlanningPolicy, SizingDecision
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingPolicy, SizingRules
from orchestrator_entrypoints.backtests.columnar import (
    CODES,
    BatchFault,
    ColumnarSizing,
    size_columns,
)
from tests.unit.builders import NOW, a_snapshot

Floats = NDArray[np.float64]
Cell = tuple[int, int]

SYMBOLS = tuple(Symbol(f"S{number:02d}") for number in range(40))

# Weights of any size are cells to be decided, not days to be refused.
OPEN = Limits(max_signal_weight=Decimal("1e400"), max_side_weight=Decimal("1e400"))

PLAIN = PlanningPolicy(SizingPolicy(Decimal(100_000), Decimal(20_000)), OPEN)

WEIGHTS = [
    *(0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-310, 0.1 + 0.2, 0.29, 1 / 3),
    *(1.0, -1.0, 1.1, 0.57, -0.07, 1e-16, 123456.789, 1e22, -1.7976931348623157e308),
]
PRICES = [
    *(float("nan"), 0.01, 0.07, 0.1 + 0.2, 1 / 3, 1.0, 1.1, 3.0, 99.99, 100.0, 4503599627370497.5),
    *(1e22, 1.7976931348623157e308, 1e-9, 2.5e-7),
]


def policies() -> list[PlanningPolicy]:
    """Return policies whose numbers are round, odd and at odds with each other."""
    third = Decimal("333333.3333333333333333333333333333")
    lots = dict(zip(SYMBOLS, [1, 10, 100, 7, 2**62], strict=False))
    rules = SizingRules(lot_sizes=lots, cash_buffer=Decimal("0.031"))
    least = SizingRules(min_order_notional=Decimal("9999.99"))
    bounds = evolve(OPEN, max_order_notional=Decimal("10000.01"), max_order_qty=5_000)
    names = evolve(
        OPEN, restricted_symbols=frozenset(SYMBOLS[:3]), allowed_symbols=frozenset(SYMBOLS[1:30])
    )
    return [
        PLAIN,
        PlanningPolicy(SizingPolicy(third, third / 7), OPEN),
        PlanningPolicy(SizingPolicy(Decimal("1000000.01"), Decimal(20_000), rules), names),
        PlanningPolicy(SizingPolicy(Decimal(10_000_000), third, least), bounds),
        PlanningPolicy(SizingPolicy(third, Decimal(10) ** 9, evolve(least, lot_sizes=lots)), OPEN),
    ]


def hard_cells(
    random: np.random.Generator, days: int, policy: PlanningPolicy
) -> tuple[Floats, Floats]:
    """Return weights and prices of `SYMBOLS`; most lie a few roundings around an edge."""
    shape = (days, len(SYMBOLS))
    capital, cap = float(policy.sizing.investable), float(policy.sizing.max_position_size)
    notional = policy.limits.max_order_notional or policy.sizing.rules.min_order_notional or cap
    shares = np.ceil(10 ** random.uniform(0, 5, shape))
    cents = np.round(np.exp(random.normal(4, 1.5, shape)) + 0.01, 2)
    usual = np.round(random.uniform(0, 2 * cap / capital, shape), 4)
    few = np.round(random.uniform(0, 1, shape), 2), np.ceil(random.uniform(0, 400, shape)) / 4
    kinds = [
        (random.dirichlet(np.ones(shape[1]), days), cents),
        (shares * cents / capital, cents),
        (usual, usual * capital / shares),
        (np.ones(shape), cap / shares),
        (np.full(shape, float(notional) / capital) * 1.0001, float(notional) / shares),
        (random.choice(WEIGHTS, shape), random.choice(PRICES, shape)),
        (usual, cap / 10 ** random.uniform(9, 18, shape)),
        few,
    ]
    kind = random.integers(0, len(kinds), shape)
    weights = np.choose(kind, [each[0] for each in kinds])
    prices = np.choose(kind, [each[1] for each in kinds])
    sign = random.choice([-1.0, 1.0], shape)
    return _nudge(random, weights) * sign, np.maximum(_nudge(random, prices), cap / 1e18)


def _nudge(random: np.random.Generator, values: Floats) -> Floats:
    """Return the values up to two floats up or down."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for _ in range(2):
            to = np.copysign(random.choice([np.inf, 0.0], values.shape), values)
            moved = np.nextafter(values, np.where(random.random(values.shape) < 0.5, to, values))
            values = np.where(np.isinf(moved), values, moved)
    return values


def planned_day(
    weights: Sequence[float],
    prices: Sequence[float],
    policy: PlanningPolicy,
    symbols: Sequence[Symbol] = SYMBOLS,
) -> list[Cell]:
    """Return signed shares and code of each symbol, as a run would plan them."""
    signals = [
        Signal(symbol, 0.0, rank, weight)
        for rank, (symbol, weight) in enumerate(zip(symbols, weights, strict=True), start=1)
    ]
    quotes = [
        Quote(symbol, decimal_of(price), NOW, "test")
        for symbol, price in zip(symbols, prices, strict=True)
        if price == price  # noqa: PLR0124 - nan alone is unlike itself
    ]
    snapshot = a_snapshot(signals, quotes, policy=policy)
    try:
        check_batch(snapshot.batch, snapshot.request, policy.limits)
    except MalformedReply:
        return [(0, CODES.index(BatchFault.REFUSED))] * len(signals)
    return [_cell_of(decision) for decision in plan_orders(snapshot, policy).decisions]


def _cell_of(decision: SizingDecision) -> Cell:
    shares = 0 if decision.sizing is None else decision.sizing.signed_shares
    denied = None if decision.denial is None else decision.denial.code
    return shares, CODES.index(decision.skip or denied)


def one_cell(weight: float, price: float, policy: PlanningPolicy = PLAIN) -> ColumnarSizing:
    """Return what becomes of one cell, of the first symbol."""
    return size_columns(np.array([[weight]]), np.array([[price]]), policy, symbols=SYMBOLS[:1])


def with_limits(**limits: Any) -> PlanningPolicy:
    """Return the plain policy with such limits."""
    return evolve(PLAIN, limits=evolve(OPEN, **limits))


def with_rules(**rules: Any) -> PlanningPolicy:
    """Return the plain policy with such rules of sizing."""
    return evolve(PLAIN, sizing=evolve(PLAIN.sizing, rules=SizingRules(**rules)))

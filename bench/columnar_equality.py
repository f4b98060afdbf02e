"""Whether sizing by columns decides as planning does: over millions of cells, most of them hard."""

import time

import numpy as np

from bench.columnar import PLAIN, Market, a_market
from bench.tables import print_table
from orchestrator_core.plans import PlanningPolicy
from orchestrator_entrypoints.backtests.columnar import ColumnarSizing, size_columns
from tests.unit.columnar_cases import SYMBOLS, hard_cells, planned_day, policies


def equality(*, quick: bool = False) -> None:
    """Plan millions of cells, ordinary and hard, and count those that columns decide otherwise."""
    cells = 100_000 if quick else 1_000_000
    rows = []
    for number, policy in enumerate([*policies(), PLAIN]):
        days = cells // len(SYMBOLS)
        if policy is PLAIN:
            name, market = "ordinary", a_market(len(SYMBOLS), days)
        else:
            name = f"hard, policy {number}"
            market = Market(*hard_cells(np.random.default_rng(100 + number), days, policy))
        began = time.perf_counter()
        sized = size_columns(market.weights, market.prices, policy, symbols=SYMBOLS)
        spent, began = time.perf_counter() - began, time.perf_counter()
        differing = _differing(market, policy, sized)
        rows.append(
            [
                name,
                f"{sized.shares.size:,}",
                f"{differing}",
                f"{sized.redone / sized.shares.size:.2%}",
                _off_in_floats(market, policy, sized),
                f"{(time.perf_counter() - began) / spent:.0f}",
            ]
        )
    header = [
        *("cells", "count", "differ", "redone"),
        *("plain floats off", "planning takes, of columns"),
    ]
    print_table("Cells decided by columns and by planning", header, rows)
    assert all(row[2] == "0" for row in rows)


def _differing(market: Market, policy: PlanningPolicy, sized: ColumnarSizing) -> int:
    differing = 0
    for day, (weights, prices) in enumerate(zip(market.weights, market.prices, strict=True)):
        planned = planned_day(weights.tolist(), prices.tolist(), policy)
        ours = zip(sized.shares[day].tolist(), sized.codes[day].tolist(), strict=True)
        differing += sum(a != b for a, b in zip(planned, ours, strict=True))
    return differing


def _off_in_floats(market: Market, policy: PlanningPolicy, sized: ColumnarSizing) -> str:
    """Say how many cells plain floats size otherwise; they know no lots."""
    if policy.sizing.rules.lot_sizes:
        return "-"
    capital, cap = float(policy.sizing.investable), float(policy.sizing.max_position_size)
    with np.errstate(over="ignore", under="ignore"):
        whole = np.floor(np.minimum(np.abs(market.weights) * capital, cap) / market.prices)
    whole = np.copysign(np.where(np.isnan(whole), 0, whole), market.weights)
    return f"{np.count_nonzero(whole.astype(np.int64) != sized.shares) / whole.size:.3%}"

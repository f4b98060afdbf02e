"""What a backtest brings: days, orders, runs, and the figures that sum them up.

Money and shares are exact. What only describes them, such as a volatility, is a float.

A day's row holds two things. What was decided on that date's signals: orders, denials, leftover,
status. And what that date's market made of the account: fills of the orders decided on the date
before, turnover, costs, positions, equity at the close.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import dropwhile, pairwise
from math import isfinite, sqrt
from statistics import stdev
from typing import Any

from attrs import asdict, field, frozen

from orchestrator_core.explaining import Waterfall
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.money import ZERO, add_all
from orchestrator_entrypoints.backtests.given_values import day_of
from orchestrator_entrypoints.backtests.kept_runs import HALTED, KeptRun

DAYS_A_YEAR = 365.2425

_FAILED = (RunStatus.FAILED.value, HALTED)

# Of a shorter history a figure a year says more about the rule than about the history.
LEAST_DAYS_FOR_A_YEAR = 30


@frozen
class Day:
    """One date of a backtest, as it stands at its close.

    Attributes:
        equity: Cash, and positions at the close, account currency.
        cash: Account currency; below zero where more was bought than there was.
        positions: Shares held; none that are zero.
        long: Worth of the long positions at the close, account currency.
        short: Worth of the short positions, unsigned.
        turnover: Worth of what was filled on the date, at the prices filled at.
        costs: Commission, and what slippage took, of those fills, account currency.
        drawdown: How far equity is below its highest so far, a fraction of that.
        orders: Orders that the run of this date's signals was to send.
        filled: Those of them that filled wholly, at the next price.
        partial: Those that the gateway took, and that filled in part or not at all.
        rejected: Those that the gateway refused.
        not_placed: Those that never stood there: not sent, or lost on their way.
        denials: Orders that controls denied, by code.
        leftover_cash: What the plan left of the cash its weights asked for; None without a plan.
        tracking_error: Root mean square of the weights missed; None without a plan.
        run_status: The run's status, `halted` where the kill switch let none begin, None where the
            date had no run.
        failure: Why the run failed, or was not begun.
    """

    date: date
    equity: Decimal
    cash: Decimal
    positions: Mapping[Symbol, int] = field(hash=False)
    long: Decimal = ZERO
    short: Decimal = ZERO
    turnover: Decimal = ZERO
    costs: Decimal = ZERO
    drawdown: Decimal = ZERO
    orders: int = 0
    filled: int = 0
    partial: int = 0
    rejected: int = 0
    not_placed: int = 0
    denials: Mapping[str, int] = field(factory=dict, hash=False)
    leftover_cash: Decimal | None = None
    tracking_error: Decimal | None = None
    run_status: str | None = None
    failure: str | None = None

    @property
    def gross(self) -> Decimal:
        """Long and short exposure together, account currency."""
        return add_all((self.long, self.short))

    @property
    def net(self) -> Decimal:
        """Long exposure less short exposure, account currency."""
        return add_all((self.long, self.short.copy_negate()))

    @property
    def has_failed_run(self) -> bool:
        """Whether its run failed, or was not begun since trading was halted."""
        return self.run_status in _FAILED


@frozen
class OrderRow:
    """One order that was to be sent, or denied, and what became of it.

    Attributes:
        as_of_date: Of the signals that it was decided on.
        qty: Whole shares, above zero.
        leg: 1 for the second order of a flip through zero.
        state: Our word for where it stands, such as `accepted` or `denied`.
        gateway_status: The gateway's last word; None where it has said none.
        reason: Why it was denied, halted, or is not known to be placed.
        price: What it was sized with, account currency per share.
        filled_qty: Shares filled.
        fill_price: Account currency per share, slippage in it; None where nothing filled.
        commission: Account currency.
        slippage: What the fill price took beside the market's, account currency.
    """

    as_of_date: date
    client_order_id: str
    symbol: Symbol
    side: str
    qty: int
    leg: int
    state: str
    gateway_status: str | None
    reason: str | None
    price: Decimal | None
    filled_qty: int = 0
    fill_price: Decimal | None = None
    commission: Decimal = ZERO
    slippage: Decimal = ZERO


@frozen
class Summary:
    """The figures of a whole backtest.

    Attributes:
        total_return: Fraction of the capital at the start.
        annual_return: The same a year of the calendar since the first run, compounded; None where
            that is shorter than 30 days, where less than nothing is left, or where the figure is
            larger than a float.
        annual_volatility: Standard deviation of the returns from date to date since the first run,
            times the root of how many such dates a year has; None where that is shorter than 30
            days, or the account was worth nothing at a close.
        max_drawdown: The worst of the days' drawdowns.
        filled: Orders that filled wholly; `partial`, `rejected` and `not_placed` as of a day.
        turnover: Worth of all fills, account currency.
        costs: Account currency.
        failed_runs: Runs that failed, or were not begun since trading was halted.
    """

    first: date
    last: date
    days: int
    start_equity: Decimal
    end_equity: Decimal
    total_return: float
    annual_return: float | None
    annual_volatility: float | None
    max_drawdown: float
    turnover: Decimal
    costs: Decimal
    orders: int
    filled: int
    partial: int
    rejected: int
    not_placed: int
    denials: Mapping[str, int] = field(hash=False)
    failed_runs: int = 0


def _count(rows: Sequence[object]) -> str:
    return f"<{len(rows):,}>"


@frozen
class BacktestResult:
    """What a backtest brings.

    Attributes:
        days: One a date of prices, in their order; at least one.
        orders: Every order decided on; empty where runs were not kept.
        runs: Every run that made a plan or failed; empty where they were not kept.
        capital: What the account began with, account currency.
        policy: The policy and the fills, in words, by name.
        engine: `faithful` or `columnar`: what decided.
        notes: What the reader should know, such as why an engine was not used.
    """

    days: tuple[Day, ...] = field(repr=_count)
    orders: tuple[OrderRow, ...] = field(repr=_count)
    runs: tuple[KeptRun, ...] = field(repr=_count)
    capital: Decimal
    policy: Mapping[str, str] = field(hash=False)
    engine: str = "faithful"
    notes: tuple[str, ...] = ()

    def table(self) -> list[dict[str, Any]]:
        """Return a row a day of plain values: for CSV, Parquet, or a frame.

        Decimals have no trailing zeros: rows are equal to the letter whatever engine decided.
        """
        return [{name: _plain(value) for name, value in _cells_of(day)} for day in self.days]

    def orders_table(self) -> list[dict[str, Any]]:
        """Return a row an order of plain values."""
        return [asdict(row) for row in self.orders]

    def run_of(self, day: Any) -> KeptRun:
        """Return the run of a date's signals.

        Args:
            day: A date as it may be given with signals, such as `2024-01-31`.

        Raises:
            ValueError: It is no date.
            LookupError: There was none, or it was not kept.
        """
        as_of_date = day_of(day)
        for run in self.runs:
            if run.as_of_date == as_of_date:
                return run
        raise LookupError(f"no run of {as_of_date} was kept")

    def explain(self, day: Any, symbol: str, *, leg: int = 0) -> Waterfall:
        """Return the steps from a symbol's weight to its order, as production explains them.

        Args:
            day: A date as it may be given with signals, such as `2024-01-31`.
            symbol: In either case, as signals may be given.
            leg: 1 for the second order of a flip through zero.

        Raises:
            ValueError: It is no date.
            InvalidRequest: The symbol is none.
            LookupError: The date had no run, or its plan does not hold the symbol.
        """
        return self.run_of(day).explain(parse_symbol(symbol), leg=leg)

    def summary(self) -> Summary:
        """Return the figures of the whole."""
        first, last = self.days[0], self.days[-1]
        # Fractions ask for no context, which may be any.
        total = float(Fraction(last.equity) / Fraction(self.capital) - 1)
        # Before the first run the account only waited.
        lived = list(dropwhile(lambda day: day.run_status is None, self.days)) or self.days
        span = (last.date - lived[0].date).days
        years, is_long = span / DAYS_A_YEAR, span >= LEAST_DAYS_FOR_A_YEAR
        equities = [float(day.equity) for day in lived]
        return Summary(
            first=first.date,
            last=last.date,
            days=len(self.days),
            start_equity=self.capital,
            end_equity=_plain(last.equity),
            total_return=total,
            annual_return=_annual(total, years) if is_long else None,
            annual_volatility=_volatility(equities, years) if is_long else None,
            max_drawdown=float(max(day.drawdown for day in self.days)),
            turnover=_plain(add_all(day.turnover for day in self.days)),
            costs=_plain(add_all(day.costs for day in self.days)),
            orders=sum(day.orders for day in self.days),
            filled=sum(day.filled for day in self.days),
            partial=sum(day.partial for day in self.days),
            rejected=sum(day.rejected for day in self.days),
            not_placed=sum(day.not_placed for day in self.days),
            denials=self._denials(),
            failed_runs=sum(day.has_failed_run for day in self.days),
        )

    def _denials(self) -> dict[str, int]:
        codes = sorted({code for day in self.days for code in day.denials})
        return {code: sum(day.denials.get(code, 0) for day in self.days) for code in codes}


def _cells_of(day: Day) -> Iterator[tuple[str, Any]]:
    yield "date", day.date
    for name in ("equity", "cash", "long", "short", "gross", "net", "turnover", "costs"):
        yield name, getattr(day, name)
    yield "drawdown", day.drawdown
    for name in ("orders", "filled", "partial", "rejected", "not_placed"):
        yield name, getattr(day, name)
    yield "denied", sum(day.denials.values())
    for name in ("leftover_cash", "tracking_error", "run_status", "failure"):
        yield name, getattr(day, name)
    yield "num_positions", len(day.positions)


def _annual(total: float, years: float) -> float | None:
    if total < -1:
        return None
    try:
        return float((1 + total) ** (1 / years)) - 1
    except OverflowError:
        return None


def _plain(value: Any) -> Any:
    """Return a decimal without trailing zeros, whatever it was computed by, to the last digit."""
    if not isinstance(value, Decimal):
        return value
    if not value:
        return ZERO
    text = f"{value:f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _volatility(equities: list[float], years: float) -> float | None:
    if min(equities) <= 0:
        return None
    returns = [later / earlier - 1 for earlier, later in pairwise(equities)]
    if not all(map(isfinite, returns)):
        return None
    return stdev(returns) * sqrt(len(returns) / years) if len(returns) > 1 else 0.0

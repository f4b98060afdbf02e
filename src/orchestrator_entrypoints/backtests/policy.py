"""Under what a backtest decides: the same rules and limits as a service's."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from attrs import Attribute, evolve, field, frozen
from attrs.validators import instance_of

from orchestrator_adapters.memory.orders import PAPER
from orchestrator_core import __version__
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.money import MAX_MONEY, parse_money
from orchestrator_core.policy import RunPolicy
from orchestrator_core.record_policies import encode_limits, encode_rules
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import SizingMode, SizingRules
from orchestrator_entrypoints.backtests.given_values import exactly, number_of, python_number

ENVIRONMENT = "backtest"
STRATEGY_ID = StrategyId("backtest")

EngineName = Literal["auto", "faithful", "columnar"]
ENGINES: tuple[EngineName, ...] = ("auto", "faithful", "columnar")


def _require_count(_instance: object, attribute: "Attribute[int]", value: int) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{attribute.name}: expected a whole number above zero, got {value!r}")


def _require_engine(_instance: object, attribute: "Attribute[EngineName]", value: str) -> None:
    if value not in ENGINES:
        raise ValueError(f"{attribute.name}: expected one of {', '.join(ENGINES)}, got {value!r}")


def _require_truth(_instance: object, attribute: "Attribute[bool]", value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name}: expected True or False, got {value!r}")


def _parse_capital(value: Decimal | str | float) -> Decimal:
    return _money("capital", value)


def _parse_cap(value: Decimal | str | float | None) -> Decimal | None:
    return None if value is None else _money("max_position_size", value)


def _money(name: str, value: Decimal | str | float) -> Decimal:
    try:
        return parse_money(exactly(number_of(value)))
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None


def _delta() -> SizingRules:
    return SizingRules(mode=SizingMode.DELTA, closes_absent=True)


@frozen
class BacktestPolicy:
    """Under what each day of a backtest is decided.

    Attributes:
        capital: What the account begins with, account currency.
        max_position_size: Cap on one position's notional, account currency; None sets none.
        rules: How shares are rounded, and what an order is. As a service in delta mode, unless
            given; in absolute mode each day's orders come on top of what is held.
        limits: Bounds in force.
        lot: Shares that a symbol trades in multiples of, where `rules` give it no lot of its own.
        compounds: Whether a weight of 1 stands for the account's equity on the day; otherwise it
            stands for `capital` on every day.
        rebalance_every: 1 trades every date of the signals, 2 every second one.
        engine: What decides: the workflow (`faithful`), or arrays (`columnar`) where they decide
            the same; a note says where they do not. `auto` takes arrays where no runs are kept.
        keeps_runs: Whether the result holds orders and runs; without, memory stays small.
    """

    capital: Decimal = field(default=Decimal(100_000), converter=_parse_capital)
    max_position_size: Decimal | None = field(default=None, converter=_parse_cap)
    rules: SizingRules = field(factory=_delta, validator=instance_of(SizingRules))
    limits: Limits = field(factory=Limits, validator=instance_of(Limits))
    lot: int = field(default=1, converter=python_number, validator=_require_count)
    compounds: bool = field(default=True, validator=_require_truth)
    rebalance_every: int = field(default=1, converter=python_number, validator=_require_count)
    engine: EngineName = field(default="auto", validator=_require_engine)
    keeps_runs: bool = field(default=True, validator=_require_truth)
    strategy_id: StrategyId = STRATEGY_ID

    def rules_for(self, symbols: Iterable[Symbol]) -> SizingRules:
        """Return the rules with a lot for each symbol."""
        if self.lot == 1:
            return self.rules
        lots = dict.fromkeys(symbols, self.lot) | dict(self.rules.lot_sizes)
        return evolve(self.rules, lot_sizes=lots)

    def run_policy(self, symbols: Iterable[Symbol]) -> RunPolicy:
        """Return the policy that production runs are given."""
        return RunPolicy(
            environment=ENVIRONMENT,
            strategy_id=self.strategy_id,
            limits=self.limits,
            claimed_flags=PAPER,
            code_version=__version__,
            sizing=self.rules_for(symbols),
        )

    def request(self, symbols: tuple[Symbol, ...], day: date, capital: Decimal) -> RunRequest:
        """Return the request of one day's run: a rebalance of its own where orders are differences.

        Args:
            symbols: Those that have a signal, and those that are held.
            day: Of the signals.
            capital: What a weight of 1 stands for, account currency.
        """
        is_delta = self.rules.mode is SizingMode.DELTA
        cap = self.max_position_size
        return RunRequest(
            symbols=symbols,
            as_of_date=day,
            capital=capital,
            max_position_size=MAX_MONEY if cap is None else cap,
            rebalance_key=day.isoformat() if is_delta else "",
        )

    def in_words(self) -> Mapping[str, str]:
        """Return what differs from one backtest to another, by name."""
        cap = self.max_position_size
        words = {
            "capital": f"{self.capital:f}",
            "max_position_size": "none" if cap is None else f"{cap:f}",
            "lot": str(self.lot),
            "compounds": _word(self.compounds),
            "rebalance_every": str(self.rebalance_every),
        }
        described = encode_rules(self.rules) | encode_limits(self.limits)
        return words | {
            name: _word(value) for name, value in described.items() if value is not None
        }


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={each}" for name, each in value.items()) or "none"
    return str(value)

"""`STRATEGIES`: several strategies that are netted into one run."""

import re
from decimal import Decimal

from attrs import frozen

from orchestrator_core.identifiers import MAX_KEY_LENGTH, StrategyId
from orchestrator_core.money import add_all
from orchestrator_entrypoints.variables import parse_peer_url, parse_plain_name

_FORM = "expected NAME=URL@SHARE, commas between, as momentum=http://localhost:8001@0.6"


@frozen
class Strategy:
    """One of several strategies.

    Attributes:
        name: Sent to its Signal Service as `X-Strategy-ID`.
        url: Its Signal Service; several may have the same.
        share: Fraction of the capital that it decides on.
    """

    name: StrategyId
    url: str
    share: Decimal

    def __str__(self) -> str:
        return f"{self.name}={self.url}@{self.share:f}"


@frozen
class Strategies:
    """Strategies that are traded as one, by name; their shares sum to at most 1."""

    each: tuple[Strategy, ...]

    @property
    def joined_id(self) -> StrategyId:
        """The name that their runs and orders have: another set of names is another strategy."""
        return StrategyId(",".join(strategy.name for strategy in self.each))

    @property
    def urls(self) -> tuple[str, ...]:
        """Addresses of the Signal Services, each once."""
        return tuple(dict.fromkeys(strategy.url for strategy in self.each))

    def __str__(self) -> str:
        return ",".join(map(str, self.each))


def parse_strategies(text: str) -> Strategies:
    """Return the strategies of a text such as `momentum=http://localhost:8001@0.6`, by name.

    Raises:
        ValueError: Of another form, a name twice, or shares that sum to more than 1.
    """
    each = [_parse_strategy(part.strip()) for part in text.split(",") if part.strip()]
    if not each:
        raise ValueError(_FORM)
    names = [strategy.name for strategy in each]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each name once, {twice[0]} is there twice")
    total = add_all(strategy.share for strategy in each)
    if total > 1:
        raise ValueError(
            f"expected shares that sum to at most 1, they sum to {total:f}: more would be leverage"
        )
    strategies = Strategies(tuple(sorted(each, key=lambda strategy: strategy.name)))
    if len(strategies.joined_id) > MAX_KEY_LENGTH:
        raise ValueError(f"expected names of at most {MAX_KEY_LENGTH} characters, commas included")
    return strategies


def _parse_strategy(text: str) -> Strategy:
    name, is_named, rest = text.partition("=")
    url, has_share, share = (part.strip() for part in rest.rpartition("@"))
    if not (is_named and has_share):
        raise ValueError(_FORM)
    if not re.fullmatch(r"[01](\.[0-9]{1,9})?", share) or not 0 < Decimal(share) <= 1:
        raise ValueError(f"{_FORM}: a share is a fraction above 0, at most 1")
    try:
        return Strategy(
            StrategyId(parse_plain_name(name.strip())), parse_peer_url(url), Decimal(share)
        )
    except ValueError as problem:
        raise ValueError(f"{_FORM}: {problem}") from None

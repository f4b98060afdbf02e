"""What is known of the market: signals, prices, positions."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import (
    NoQuote,
    Position,
    Quote,
    Reference,
    SignalBatch,
)
from orchestrator_core.requests import RunRequest


class SignalSource(Protocol):
    """Where a strategy's signals come from."""

    async def fetch(self, request: RunRequest) -> SignalBatch:
        """Return the strategy's whole answer to the request. A read: may be repeated.

        Raises:
            Unavailable: Down, warming, inactive, pacing us, or silent beyond its deadline.
            Refused: The strategy refuses this request; `cause` holds its own words.
            MalformedReply: The answer is not of the agreed form.
        """
        ...


class PriceSource(Protocol):
    """Where prices come from."""

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        """Return one answer a symbol: a quote, or why there is none. A read.

        A price's age is not judged here.

        Raises:
            Unavailable: The source cannot be asked.
        """
        ...


class CloseSource(Protocol):
    """Where the closing prices of earlier sessions come from."""

    async def closes(
        self, symbols: Sequence[Symbol], *, before: date
    ) -> Mapping[Symbol, Reference]:
        """Return the latest close of each symbol on a day before that date. A read.

        A symbol without one is left out, and so is one whose stored close cannot be read.

        Raises:
            Unavailable: The source cannot be asked.
        """
        ...


class PositionSource(Protocol):
    """What the account holds."""

    async def positions(self) -> Mapping[Symbol, Position]:
        """Return the positions that are not zero. A read.

        Raises:
            Unavailable: The source cannot be asked.
            MalformedReply: The answer is not of the agreed form.
        """
        ...

"""What a sweep varies: axes of named values, and the cells between them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import prod
from random import Random
from typing import Protocol

from attrs import field, frozen

from orchestrator_core.money import WIDE, has_few_digits

# Names and values as they are written, in the order of the axes.
Cell = tuple[tuple[str, str], ...]

MAX_VALUES = 10_000


@frozen
class Axis:
    """One thing that is varied.

    Attributes:
        values: As they are written, each once.
    """

    name: str
    values: tuple[str, ...]


@frozen
class Outcome:
    """What became of one cell.

    Attributes:
        figures: By name, numbers as text; empty where there is an error.
        error: Why there are none.
        is_lost: Whether that was no answer of the work's, but workers that died over it: another
            try may end otherwise.
    """

    cell: Cell
    figures: Mapping[str, str] = field(factory=dict, hash=False)
    error: str | None = None
    is_lost: bool = False


def lost_outcome(cell: Cell, why: str) -> Outcome:
    """Return the outcome of a cell that workers died over."""
    return Outcome(cell, error=why, is_lost=True)


class Work(Protocol):
    """What is computed for each cell; it and what it returns can be pickled."""

    def __call__(self, cell: Cell) -> Mapping[str, str]:
        """Return the cell's figures, numbers as text.

        Any exception is the outcome of that cell alone.
        """


def evaluate(work: Work, cell: Cell) -> Outcome:
    """Return what the work answers: the one function that computes, wherever it runs."""
    try:
        return Outcome(cell, work(cell))
    except Exception as error:  # noqa: BLE001 - the outermost edge of a worker
        return Outcome(cell, error=f"{type(error).__name__}: {error}")


def parse_axis(text: str) -> Axis:
    """Return an axis of a text: `NAME=VALUE,...`, where a value may be `FIRST..LAST:STEP`.

    Raises:
        ValueError: Of another form, no values, one twice, or more than 10,000.

    >>> parse_axis("cap=1000..3000:1000,none").values
    ('1000', '2000', '3000', 'none')
    """
    name, equals, written = text.partition("=")
    name = name.strip()
    parts = [part.strip() for part in written.split(",")]
    if not (equals and name and all(parts)):
        raise ValueError(f"expected NAME=VALUE,VALUE,... or NAME=FIRST..LAST:STEP, got {text!r}")
    values = tuple(value for part in parts for value in _values_of(name, part))
    if len(values) > MAX_VALUES:
        raise ValueError(f"{name}: {len(values):,} values are more than {MAX_VALUES:,}")
    for value, count in Counter(map(_meant, values)).items():
        if count > 1:
            raise ValueError(f"{name}: {value} is given twice")
    return Axis(name, values)


def _meant(value: str) -> str:
    """Return a number as it is written in one way, and other words as they are."""
    try:
        return f"{WIDE.normalize(Decimal(value)):f}"
    except ArithmeticError:
        return value


def _values_of(name: str, part: str) -> Iterator[str]:
    first, dots, rest = part.partition("..")
    if not dots:
        yield part
        return
    last, _, step = rest.partition(":")
    try:
        value, end, by = (Decimal(each) for each in (first, last, step))
    except InvalidOperation:
        raise ValueError(f"{name}: expected numbers as FIRST..LAST:STEP, got {part!r}") from None
    if not all(each.is_finite() and has_few_digits(each) for each in (value, end, by)):
        raise ValueError(f"{name}: expected numbers of at most 40 digits, got {part!r}")
    if not (by > 0 and value <= end):
        raise ValueError(f"{name}: expected FIRST..LAST:STEP, ascending, got {part!r}")
    if Fraction(end) - Fraction(value) >= MAX_VALUES * Fraction(by):
        raise ValueError(f"{name}: {part} is more than {MAX_VALUES:,} values")
    while value <= end:
        yield f"{value:f}"
        value = WIDE.add(value, by)


def count_cells(axes: Sequence[Axis]) -> int:
    """Return how many cells the grid has."""
    return prod(len(axis.values) for axis in axes)


def grid(axes: Sequence[Axis]) -> tuple[Cell, ...]:
    """Return every cell, the last axis varying fastest.

    >>> grid([Axis("a", ("1", "2")), Axis("b", ("x",))])
    ((('a', '1'), ('b', 'x')), (('a', '2'), ('b', 'x')))
    """
    return tuple(_cell_at(axes, place) for place in range(count_cells(axes)))


def sample(axes: Sequence[Axis], count: int, seed: int) -> tuple[Cell, ...]:
    """Return that many different cells of the grid, or all, in the grid's order.

    The same axes, count and seed give the same cells; the grid is never laid out.
    """
    total = count_cells(axes)
    if count >= total:
        return grid(axes)
    draw = Random(seed)  # noqa: S311 - to be repeated, not secret
    places: set[int] = set()
    while len(places) < count:
        places.add(draw.randrange(total))
    return tuple(_cell_at(axes, place) for place in sorted(places))


def _cell_at(axes: Sequence[Axis], place: int) -> Cell:
    chosen = []
    for axis in reversed(axes):
        place, at = divmod(place, len(axis.values))
        chosen.append((axis.name, axis.values[at]))
    return tuple(reversed(chosen))

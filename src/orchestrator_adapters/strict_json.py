"""Reading JSON without guessing: what two readers could read as two things is refused."""

import json
from decimal import Decimal
from math import isfinite
from typing import Any, NoReturn


def parse_strictly(text: str | bytes, *, exact_numbers: bool = False) -> Any:
    """Return the document that `text` holds.

    Args:
        text: UTF-8.
        exact_numbers: Read fractions as `Decimal` instead of float.

    Raises:
        ValueError: Not UTF-8, not JSON, nested too deeply, a name given twice in an object, NaN, an
            infinity, or a number beyond all bounds; says which.
    """
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_distinct,
            parse_constant=_refuse_constant,
            parse_float=Decimal if exact_numbers else _finite,
        )
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ArithmeticError:
        raise ValueError("holds a number out of range") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name is given twice")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"holds {name}")


def _finite(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("holds a number out of range")
    return number

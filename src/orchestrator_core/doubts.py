"""Why nothing certain is known of an order, in words that a record keeps and a replay reads again.

Besides these an order is in doubt under the word of its own state, such as `unknown`.
"""

import re
from decimal import Decimal

from orchestrator_core.ports import LookUpKind

FILLING = "filling"

_LOOK = "look-up "
_FILL = re.compile(r"(\S+) of (\d+) filled")


def doubt_of_look(kind: LookUpKind) -> str:
    """Say that a look-up brought no record of the order."""
    return f"{_LOOK}{kind}"


def look_of_doubt(why: str) -> LookUpKind | None:
    """Return what the look-up brought; None where the doubt is of something else.

    >>> look_of_doubt(doubt_of_look(LookUpKind.ABSENT))
    <LookUpKind.ABSENT: 'absent'>
    """
    return LookUpKind(why.removeprefix(_LOOK)) if why.startswith(_LOOK) else None


def doubt_of_fill(filled: Decimal, qty: int) -> str:
    """Say that more of an order is filled than there was of it, or a part of a share.

    Args:
        filled: Shares, as the gateway says.
        qty: Shares ordered.
    """
    return f"{filled} of {qty} filled"


def fill_of_doubt(why: str) -> tuple[Decimal, int] | None:
    """Return the shares filled, and ordered; None where the doubt is of something else.

    >>> fill_of_doubt(doubt_of_fill(Decimal("12.5"), 40))
    (Decimal('12.5'), 40)
    """
    found = _FILL.fullmatch(why)
    return None if found is None else (Decimal(found[1]), int(found[2]))

"""The schema of the limits that a request may tighten, made of the names that the core takes."""

from typing import Any

from orchestrator_core.limits import SessionRule
from orchestrator_core.tightening import AMOUNTS, COUNTS, SWITCHES, TIGHTENABLE

_AMOUNT: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "format": "decimal"},
    ]
}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 1}
_SWITCH: dict[str, Any] = {"type": "boolean"}
_SYMBOLS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
_OTHERS: dict[str, Any] = {
    "max_price_age_seconds": _AMOUNT,
    "restricted_symbols": _SYMBOLS,
    "allowed_symbols": _SYMBOLS,
    "market_session": {"type": "string", "enum": [str(rule) for rule in SessionRule]},
}


def schema_of_limits() -> dict[str, Any]:
    """Return the schema of a request's `limits`."""
    schemas = {
        **dict.fromkeys(AMOUNTS, _AMOUNT),
        **dict.fromkeys(COUNTS, _COUNT),
        **dict.fromkeys(SWITCHES, _SWITCH),
        **_OTHERS,
    }
    return {
        "type": "object",
        "properties": {name: schemas[name] for name in TIGHTENABLE},
        "required": [],
        "additionalProperties": False,
    }

"""What the shapes are made of: JSON kept as it is, descriptions of fields, times."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NewType

JsonObject = NewType("JsonObject", Mapping[str, Any])

# Its numbers are decimals, of their own digits.
ExactObject = NewType("ExactObject", Mapping[str, Any])


def said(meaning: str, **schema: object) -> dict[str, Any]:
    """Return the metadata that the schema of a field shows."""
    return {"schema": {"description": meaning, **schema}}


def utc_text(time: datetime) -> str:
    """Return a time as ISO 8601 in UTC, ending in Z."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"

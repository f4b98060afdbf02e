from decimal import Decimal

import pytest

from orchestrator_adapters.strict_json import parse_strictly


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xff{}", "not UTF-8"),
        ("", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("[" * 50_000, "nested too deeply"),
        ('{"a": 1, "a": 1}', "a name is given twice"),
        ('[{"a": {"b": 1, "b": 2}}]', "a name is given twice"),
        ("NaN", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("1e999", "holds a number out of range"),
    ],
)
def test_what_could_be_read_as_two_things_is_refused(text: str | bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        parse_strictly(text)


def test_a_number_beyond_decimals_bounds_is_refused_too() -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse_strictly("1e9999999999999999999", exact_numbers=True)


def test_fractions_are_exact_where_asked() -> None:
    assert parse_strictly('{"a": [0.1, 1]}', exact_numbers=True) == {"a": [Decimal("0.1"), 1]}
    assert parse_strictly(b'{"a": [0.1, 1]}') == {"a": [0.1, 1]}

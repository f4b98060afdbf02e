import json
from typing import Any

import pytest

from orchestrator_adapters.http.json_fields import NotAsAgreed
from orchestrator_adapters.http.positions import parse_positions


def parsed(document: Any) -> dict[str, int]:
    positions = parse_positions(json.dumps(document).encode())
    return {symbol: position.qty for symbol, position in positions.items()}


@pytest.mark.parametrize(
    ("qty", "shares"), [(7, 7), (-7, -7), (7.0, 7), ("7", 7), ("-7.000", -7), ("1e2", 100)]
)
def test_shares_may_be_written_in_several_ways(qty: Any, shares: int) -> None:
    row = {"symbol": "AAPL", "qty": qty, "avg_entry_price": "1.5"}
    assert parsed([row]) == {"AAPL": shares}
    assert parsed({"positions": [row], "total": 1}) == {"AAPL": shares}


def test_no_shares_are_no_position() -> None:
    assert parsed([{"symbol": "AAPL", "qty": 0}, {"symbol": "MSFT", "qty": "-0.0"}]) == {}
    assert parsed([]) == {}


@pytest.mark.parametrize(
    "qty",
    [0.5, "0.5", True, None, "", "x", "NaN", "1_0", " 1", "٣", [], 2**31, "1e400", "9" * 41, "0x1"],
)
def test_what_is_no_whole_number_of_shares_is_refused(qty: Any) -> None:
    with pytest.raises(NotAsAgreed, match=r"^positions\[0\].qty: "):
        parsed([{"symbol": "AAPL", "qty": qty}])


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"positions": {}},
        "x",
        [7],
        [{"qty": 1}],
        [{"symbol": "AAPL"}],
        [{"symbol": "aapl", "qty": 1}],
        [{"symbol": "AAPL", "qty": 0}, {"symbol": "AAPL", "qty": 1}],
    ],
)
def test_a_document_of_another_shape_is_refused(document: Any) -> None:
    with pytest.raises(NotAsAgreed):
        parsed(document)

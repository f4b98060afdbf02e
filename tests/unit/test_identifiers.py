import hashlib
import re
import string
from base64 import b32encode
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import (
    ClientOrderId,
    StrategyId,
    Symbol,
    TradingMode,
    client_order_id,
    is_canonical_symbol,
    parse_name,
    parse_symbol,
)
from tests.unit.builders import a_decision


def an_id(
    *,
    environment: str = "prod",
    mode: TradingMode = TradingMode.LIVE,
    strategy_id: str = "alpha",
    as_of_date: date = date(2026, 3, 2),
    rebalance_key: str = "",
    symbol: str = "AAPL",
    leg: int = 0,
) -> ClientOrderId:
    return client_order_id(
        environment=environment,
        mode=mode,
        strategy_id=StrategyId(strategy_id),
        as_of_date=as_of_date,
        rebalance_key=rebalance_key,
        symbol=Symbol(symbol),
        leg=leg,
    )


def test_order_id_is_o1_and_the_digest_of_the_documented_json_array() -> None:
    text = '["coid/1","prod","live","alpha","2026-03-02","","AAPL",0]'
    digest = b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
    assert an_id() == "o1" + digest[:22]


def test_order_id_never_changes_between_releases() -> None:
    assert an_id() == "o1eaac4aakigp5ddfdyerbyb"
    assert an_id(rebalance_key="2", leg=1, mode=TradingMode.DRY) == "o1gxyxfdnfizr4fvzbxex5he"


def test_order_id_is_24_characters_that_the_gateway_takes() -> None:
    assert re.fullmatch(r"[a-z0-9]{24}", an_id())


def test_each_part_of_a_decision_changes_the_order_id() -> None:
    ids = {
        an_id(),
        an_id(environment="staging"),
        an_id(mode=TradingMode.PAPER),
        an_id(strategy_id="beta"),
        an_id(as_of_date=date(2026, 3, 3)),
        an_id(rebalance_key="noon"),
        an_id(symbol="AMD"),
        an_id(leg=1),
    }
    assert len(ids) == 8


def test_parts_of_a_decision_cannot_run_into_each_other() -> None:
    assert an_id(strategy_id='a","2026-03-02') != an_id(strategy_id="a")
    assert an_id(rebalance_key="xAAPL", symbol="A") != an_id(rebalance_key="x", symbol="AAPLA")


def test_decision_gives_the_same_id_as_its_parts() -> None:
    assert a_decision().client_order_id(Symbol("AAPL")) == an_id(
        environment="test", mode=TradingMode.DRY
    )


@pytest.mark.parametrize(
    ("text", "symbol"),
    [(" aapl ", "AAPL"), ("brk.b", "BRK.B"), ("BTC/USD", "BTC/USD"), ("AAPL\n", "AAPL")],
)
def test_symbols_are_trimmed_and_upper_cased(text: str, symbol: str) -> None:
    assert parse_symbol(text) == symbol


@pytest.mark.parametrize(
    "text", ["", " ", "A" * 33, "A" * 40, "AA\nPL", "A B", ".A", "ÄPL", "\u0131bm", "A\x00", "A,B"]
)
def test_malformed_symbols_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match="expected 1 to 32 letters") as refused:
        parse_symbol(text)
    assert refused.value.field == "symbols"


@given(st.text())
def test_parsing_any_text_gives_a_canonical_symbol_or_a_refusal(text: str) -> None:
    try:
        symbol = parse_symbol(text)
    except InvalidRequest:
        return
    assert is_canonical_symbol(symbol)
    assert parse_symbol(symbol) == symbol


@given(st.text(alphabet=string.printable))
def test_names_are_printable_and_not_space_edged(text: str) -> None:
    try:
        name = parse_name(text, field_name="rebalance_key")
    except InvalidRequest:
        return
    assert name == name.strip()
    assert name.isprintable()
    assert 1 <= len(name) <= 128

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator_core.halting import read_switch
from orchestrator_core.identifiers import ClientOrderId, Symbol, TradingMode
from orchestrator_core.kill_switch import Halted, Trading
from orchestrator_core.limits import SessionRule
from orchestrator_core.sizing import SizingMode
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.policies import request_policy, run_policy
from orchestrator_entrypoints.settings import SettingsError, read_settings
from orchestrator_entrypoints.wiring import wire

pytestmark = pytest.mark.anyio


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    environ = {"ORCHESTRATOR_EMBEDDED": "1", "ORCHESTRATOR_DATA": str(tmp_path / "data.db")}
    orchestrator = wire(read_settings(environ))
    yield orchestrator
    await orchestrator.aclose()


def test_a_database_address_that_the_driver_refuses_names_its_variable() -> None:
    settings = read_settings({"DATABASE_URL": "postgresql://u:hush@h/db?no_such_option=1"})
    with pytest.raises(SettingsError) as caught:
        wire(settings)
    assert str(caught.value) == "DATABASE_URL: expected a Postgres connection string or URL"


async def verdict_of(orchestrator: Orchestrator) -> Trading | Halted:
    return (await read_switch(orchestrator.ports.kill_switch, orchestrator.ports.runs)).verdict


async def test_embedded_parts_initialise_their_kill_switch_at_first_use(
    embedded: Orchestrator,
) -> None:
    assert isinstance(await verdict_of(embedded), Trading)
    [entry] = await embedded.ports.kill_switch.history(limit=10)
    assert entry.operator == "first start"


async def test_first_uses_at_once_initialise_once(embedded: Orchestrator) -> None:
    verdicts = await asyncio.gather(*(verdict_of(embedded) for _ in range(8)))
    assert {type(verdict) for verdict in verdicts} == {Trading}
    assert len(await embedded.ports.kill_switch.history(limit=10)) == 1


async def test_an_embedded_state_that_was_lost_halts(
    embedded: Orchestrator, tmp_path: Path
) -> None:
    assert isinstance(await verdict_of(embedded), Trading)

    connection = sqlite3.connect(tmp_path / "data.db")
    connection.execute("DELETE FROM shared_state")
    connection.commit()
    connection.close()
    verdict = await verdict_of(embedded)
    assert isinstance(verdict, Halted)
    assert verdict.reason == "state missing"


async def wire_and_close(environ: dict[str, str]) -> None:
    await wire(read_settings(environ)).aclose()


def test_wiring_touches_neither_file_nor_network(tmp_path: Path) -> None:
    data = tmp_path / "missing" / "data.db"
    for environ in (
        {"ORCHESTRATOR_EMBEDDED": "1", "ORCHESTRATOR_DATA": str(data)},
        {"DATABASE_URL": "postgresql://u:p@192.0.2.1/d", "REDIS_HOST": "192.0.2.1"},
    ):
        asyncio.run(wire_and_close(environ))
    assert list(tmp_path.iterdir()) == []


def test_embedded_parts_load_no_server_library() -> None:
    program = (
        "import sys; from orchestrator_entrypoints.settings import read_settings; "
        "from orchestrator_entrypoints.wiring import wire; "
        "wire(read_settings({'ORCHESTRATOR_EMBEDDED': '1'})); "
        "print(sorted({'psycopg', 'redis', 'starlette', 'uvicorn'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert ended.stdout.strip() == "[]"


def test_the_policies_are_those_of_the_settings() -> None:
    settings = read_settings(
        {
            "CAPITAL": "5000",
            "MAX_CAPITAL": "9000",
            "MAX_POSITION_SIZE": "100",
            "MAX_POSITION_SIZE_CEILING": "300",
            "RESTRICTED_SYMBOLS": "GME, amc",
            "ALLOWED_SYMBOLS": "AAPL",
            "MAX_ORDER_QTY": "7",
            "MAX_ORDER_NOTIONAL": "800",
            "MAX_ORDERS_A_RUN": "8",
            "MAX_BASKET_LONG": "1000",
            "MAX_BASKET_SHORT": "2000",
            "MAX_BASKET_GROSS": "2500",
            "MAX_BASKET_NET": "500",
            "MAX_DAY_LONG": "3000",
            "MAX_DAY_SHORT": "4000",
            "MAX_DAY_GROSS": "4500",
            "MAX_DAY_NET": "600",
            "PRICE_BAND": "0.2",
            "PRICE_BAND_REQUIRED": "true",
            "REDUCE_ONLY": "true",
            "MAX_FAILED_RUNS": "5",
            "SIZING_MODE": "delta",
            "CLOSE_ABSENT": "true",
            "LEG_WAIT_SECONDS": "3",
            "MARKET_SESSION": "Refuse",
            "MAX_SIGNAL_WEIGHT": "0.5",
            "MAX_SIDE_WEIGHT": "2",
            "FAT_FINGER_MAX_PRICE_AGE_SECONDS": "9",
            "MAX_IN_FLIGHT_ORDERS": "3",
            "SEND_WINDOW_SECONDS": "4",
            "PERSIST_SECONDS": "6",
            "LEASE_SECONDS": "65",
            "UNRESOLVED_AFTER_SECONDS": "120",
            "STRATEGY_ID": "beta",
            "ENVIRONMENT": "prod",
            "DRY_RUN": "false",
            "ALPACA_PAPER": "false",
            "ORCHESTRATOR_ALLOW_UNVERIFIED_GATEWAY": "true",
        }
    )
    policy, requests = run_policy(settings), request_policy(settings)
    assert (policy.strategy_id, policy.environment, policy.mode) == (
        "beta",
        "prod",
        TradingMode.LIVE,
    )
    assert policy.limits.restricted_symbols == {"AMC", "GME"}
    assert policy.limits.allowed_symbols == frozenset({Symbol("AAPL")})
    assert (policy.limits.max_order_qty, policy.limits.max_order_notional) == (7, Decimal(800))
    assert policy.limits.max_orders_a_run == 8
    assert policy.limits.max_basket_long == Decimal(1000)
    assert policy.limits.max_basket_short == Decimal(2000)
    assert policy.limits.max_basket_gross == Decimal(2500)
    assert policy.limits.max_basket_net == Decimal(500)
    assert policy.limits.max_day_long == Decimal(3000)
    assert policy.limits.max_day_short == Decimal(4000)
    assert policy.limits.max_day_gross == Decimal(4500)
    assert policy.limits.max_day_net == Decimal(600)
    assert (policy.limits.price_band, policy.limits.requires_reference) == (Decimal("0.2"), True)
    assert (policy.limits.reduce_only, policy.max_failed_runs) == (True, 5)
    assert (policy.sizing.mode, policy.sizing.closes_absent) == (SizingMode.DELTA, True)
    assert policy.leg_wait_seconds == 3
    assert policy.limits.market_session is SessionRule.REFUSE
    assert (policy.limits.max_signal_weight, policy.limits.max_side_weight) == (
        Decimal("0.5"),
        Decimal(2),
    )
    assert policy.limits.max_price_age_seconds == 9
    assert policy.max_in_flight_orders == 3
    assert (policy.send_window_seconds, policy.persist_seconds, policy.lease_seconds) == (4, 6, 65)
    assert policy.unresolved_after_seconds == 120
    assert policy.allow_unverified_gateway is True
    assert (requests.limits, requests.needs_rebalance_key) == (policy.limits, True)
    assert (requests.capital, requests.max_capital) == (Decimal(5000), Decimal(9000))
    assert (requests.max_position_size, requests.max_position_size_ceiling) == (
        Decimal(100),
        Decimal(300),
    )


@pytest.mark.parametrize("name", ["MAX_ORDERS_IN_FLIGHT", "MAX_ORDERS_PER_MINUTE"])
async def test_one_limit_is_enough_for_a_budget(tmp_path: Path, name: str) -> None:
    data = str(tmp_path / "data.db")
    environ = {"ORCHESTRATOR_EMBEDDED": "1", "ORCHESTRATOR_DATA": data, name: "1"}
    orchestrator = wire(read_settings(environ))
    try:
        budget = orchestrator.ports.budget
        assert budget is not None
        ids = [ClientOrderId("one"), ClientOrderId("two")]
        assert (await budget.take(ids, hold_seconds=60)).granted == 1
        assert (await budget.take(ids[1:], hold_seconds=60)).granted == 0
        waits = "orchestrator_order_budget_waits_total"
        assert orchestrator.metrics.registry.get_sample_value(waits) == 2
    finally:
        await orchestrator.aclose()


async def test_without_a_limit_no_budget_is_asked(embedded: Orchestrator) -> None:
    assert embedded.ports.budget is None


async def test_closing_twice_is_harmless(embedded: Orchestrator) -> None:
    await embedded.prepare()
    await embedded.aclose()
    await embedded.aclose()


async def test_the_clock_is_the_machines(embedded: Orchestrator) -> None:
    assert abs((datetime.now(UTC) - embedded.ports.clock.now()).total_seconds()) < 5

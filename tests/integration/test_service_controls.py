"""Differences and controls over real servers: what is sent, what is not, and who lets it go on."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from orchestrator_adapters.shared_keys import utc_text
from tests.integration.service_parts import (
    DISENGAGE,
    LEFT_ALONE,
    PAPER,
    SYMBOLS,
    a_signal_document,
    offer,
    price_in_redis,
)
from tests.servers.broker import Broker
from tests.servers.peers import (
    ServedSignalService,
    Trick,
    Wire,
    a_batch_document,
    running_peer,
)
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.service import ServiceProcess, running_service, wait_until

CONTROLS = "/api/v1/controls"
REDUCE_ONLY = "/api/v1/controls/reduce-only"
REARM = "/api/v1/controls/rearm"
SAID = {"operator": "ann", "notes": "drill"}
DELTA = {"SIZING_MODE": "delta"}


@define
class Floor:
    """Real servers, a broker, and services over them."""

    broker: Broker
    signals: ServedSignalService
    redis: RedisServer
    environ: dict[str, str]
    folder: Path
    stack: ExitStack
    pool: ThreadPoolExecutor = field(factory=ThreadPoolExecutor)

    def start(self, **more: str) -> ServiceProcess:
        # A gateway's thread of its own each: one that waits holds up no other.
        gateway = self.stack.enter_context(running_peer(self.broker.handle))
        environ = {**self.environ, "EXECUTION_GATEWAY_URL": gateway.url, **LEFT_ALONE, **more}
        service = self.stack.enter_context(running_service(environ, folder=self.folder))
        if service.get("/ready").status_code != 200:
            assert service.post(DISENGAGE, {"operator": "ann"}).status_code == 200
        price_in_redis(self.redis, SYMBOLS)
        return service

    def price(self, symbol: str, mid: str) -> None:
        document = {"symbol": symbol, "mid": mid, "timestamp": utc_text(datetime.now(UTC))}
        with self.redis.administered() as client:
            client.set(f"price:{symbol}", json.dumps(document))

    def close(self, symbol: str, price: str, day: str) -> None:
        document = {"symbol": symbol, "close": price, "date": day}
        with self.redis.administered() as client:
            client.set(f"close:{symbol}", json.dumps(document))

    def want(self, **weights: float) -> None:
        self.signals.peer.batch = a_batch_document(
            *(
                a_signal_document(symbol, rank, weight)
                for rank, (symbol, weight) in enumerate(weights.items(), start=1)
            )
        )


@pytest.fixture
def floor(
    postgres_server: PostgresServer,
    database_url: str,
    empty_redis: RedisServer,
    signal_service: ServedSignalService,
    tmp_path: Path,
) -> Iterator[Floor]:
    broker = Broker()
    offer(signal_service, SYMBOLS)
    with ExitStack() as stack:
        environ = {
            "DATABASE_URL": database_url,
            "REDIS_PORT": str(empty_redis.port),
            "REDIS_HOST": "127.0.0.1",
            "SIGNAL_SERVICE_URL": signal_service.server.url,
            **PAPER,
        }
        floor = Floor(broker, signal_service, empty_redis, environ, tmp_path, stack)
        stack.callback(floor.pool.shutdown)
        stack.callback(broker.door.set)
        yield floor


def by_symbol(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mapping["symbol"]: mapping for mapping in result["mappings"]}


def is_ready(service: ServiceProcess, *, is_so: bool) -> bool:
    return (service.get("/ready").status_code == 200) is is_so


def reasons(result: dict[str, Any]) -> dict[str, str | None]:
    return {mapping["symbol"]: mapping["skip_reason"] for mapping in result["mappings"]}


def test_only_what_the_account_lacks_is_ordered(floor: Floor) -> None:
    service = floor.start(**DELTA)
    first = service.run(*SYMBOLS, rebalance_key="open").json()
    assert Counter(floor.broker.orders) == Counter((symbol, "buy", 100) for symbol in SYMBOLS)

    same = service.run(*SYMBOLS, rebalance_key="open").json()
    assert {reason.partition(":")[0] for reason in reasons(same).values() if reason} <= {
        "already_ordered",
        "at_target",
    }
    after = service.run(*SYMBOLS, rebalance_key="noon").json()
    assert set(reasons(after).values()) == {"at_target"}
    assert (after["status"], after["num_orders_submitted"]) == ("completed", 0)
    assert len(floor.broker.orders) == len(SYMBOLS) == first["num_orders_accepted"]

    floor.price("TSLA", "50")
    later = service.run(*SYMBOLS, rebalance_key="close").json()
    assert reasons(later) == {"AAPL": "at_target", "MSFT": "at_target", "TSLA": None}
    assert floor.broker.orders[len(SYMBOLS) :] == [("TSLA", "buy", 100)]
    assert floor.broker.positions() == {"AAPL": 100, "MSFT": 100, "TSLA": 200}


def test_a_flip_opens_the_other_side_once_the_position_is_closed(floor: Floor) -> None:
    floor.broker.hold("TSLA", 100)
    floor.broker.fills = False
    floor.want(TSLA=-0.05)
    service = floor.start(**DELTA)
    asked = floor.pool.submit(service.run, "TSLA", rebalance_key="flip")
    wait_until(lambda: len(floor.broker.gateway.ledger) == 1, what="the first leg")
    # The second leg asks for the first again and again.
    looks = len(floor.broker.gateway.reads)
    wait_until(lambda: len(floor.broker.gateway.reads) > looks + 2, what="looks at the first leg")
    assert floor.broker.orders == [("TSLA", "sell", 100)]
    assert not asked.done()
    floor.broker.fill()
    result = asked.result(20).json()
    assert floor.broker.orders == [("TSLA", "sell", 100), ("TSLA", "sell", 50)]
    assert [m["leg"] for m in result["mappings"]] == [0, 1]
    assert [m["order_state"] for m in result["mappings"]] == ["accepted", "accepted"]
    floor.broker.fill()
    assert floor.broker.positions() == {"TSLA": -50}


def test_a_second_leg_whose_first_does_not_fill_is_given_up(floor: Floor) -> None:
    floor.broker.hold("TSLA", 100)
    floor.broker.fills = False
    floor.want(TSLA=-0.05)
    service = floor.start(**DELTA, LEG_WAIT_SECONDS="0.3")
    result = service.run("TSLA", rebalance_key="flip").json()
    assert [m["order_state"] for m in result["mappings"]] == ["accepted", "not_placed"]
    assert floor.broker.orders == [("TSLA", "sell", 100)]


def test_nothing_is_decided_on_a_symbol_with_an_order_of_unknown_fate(floor: Floor) -> None:
    service = floor.start(**DELTA)
    floor.broker.gateway.play("AAPL", Trick(takes=True, wire=Wire.RESET))
    first = service.run(*SYMBOLS, rebalance_key="open").json()
    assert by_symbol(first)["AAPL"]["order_status"] == "unknown"
    sent = len(floor.broker.orders)
    again = service.run(*SYMBOLS, rebalance_key="again").json()
    denied = by_symbol(again)["AAPL"]
    assert denied["skip_reason"] == (
        f"denied: UNSETTLED_ORDER order={by_symbol(first)['AAPL']['client_order_id']} state=unknown"
    )
    assert (reasons(again)["MSFT"], reasons(again)["TSLA"]) == ("at_target", "at_target")
    assert len(floor.broker.orders) == sent


def test_an_order_that_still_fills_counts_as_on_order(floor: Floor) -> None:
    floor.broker.fills = False
    service = floor.start(**DELTA)
    service.run(*SYMBOLS, rebalance_key="open")
    again = service.run(*SYMBOLS, rebalance_key="again").json()
    assert set(reasons(again).values()) == {"at_target"}
    assert len(floor.broker.orders) == len(SYMBOLS)


def test_without_the_account_nothing_is_sent(floor: Floor) -> None:
    service = floor.start(**DELTA)
    floor.broker.hold("NO SYMBOL", 5)
    response = service.run(*SYMBOLS, rebalance_key="open")
    assert (response.status_code, response.json()["detail"]["error"]) == (
        503,
        "Positions unavailable",
    )
    assert floor.broker.orders == []


def test_reduce_only_mode_denies_growth_from_the_moment_it_is_on(floor: Floor) -> None:
    floor.broker.hold("MSFT", -30)
    service = floor.start(MAX_IN_FLIGHT_ORDERS="1", KILL_SWITCH_DRAIN_SECONDS="0.2")
    floor.broker.door.clear()
    asked = floor.pool.submit(service.run, *SYMBOLS)
    assert floor.broker.arrived.wait(20)
    turned_on = service.post(REDUCE_ONLY, {**SAID, "on": True})
    assert (turned_on.status_code, turned_on.json()["reduce_only_by"]) == (200, ["operator"])
    # What the gateway has been given cannot be called back.
    assert (turned_on.json()["drained"], turned_on.json()["in_flight"]) == (False, 1)
    floor.broker.door.set()
    under_way = asked.result(20).json()
    states = Counter(mapping["order_state"] for mapping in under_way["mappings"])
    assert states == {"accepted": 1, "halted": 2}
    assert len(floor.broker.orders) == 1
    again = service.post(REDUCE_ONLY, {**SAID, "on": True}).json()
    assert (again["drained"], again["in_flight"]) == (True, 0)

    floor.want(TSLA=0.1, MSFT=0.03)
    after = service.run("TSLA", "MSFT", rebalance_key="after").json()
    assert (reasons(after)["TSLA"] or "").startswith("denied: REDUCE_ONLY ")
    assert by_symbol(after)["MSFT"]["order_state"] == "accepted"
    assert floor.broker.orders[1:] == [("MSFT", "buy", 30)]

    second = floor.start()
    assert second.get(CONTROLS).json()["reduce_only"] is True
    assert second.post(REDUCE_ONLY, {**SAID, "on": False}).json()["reduce_only"] is False
    assert service.run("TSLA", "MSFT", rebalance_key="end").json()["num_orders_accepted"] == 2


def test_a_day_has_one_exposure_whatever_the_rebalances_are_called(floor: Floor) -> None:
    service = floor.start(MAX_DAY_GROSS="50000")
    assert service.run(*SYMBOLS, rebalance_key="a").json()["num_orders_accepted"] == 3
    refused = service.run(*SYMBOLS, rebalance_key="b")
    assert refused.status_code == 400
    detail = refused.json()["detail"]
    assert (detail["error"], detail["message"]) == (
        "Basket refused",
        "MAX_DAY_GROSS gross=60000 limit=50000",
    )
    # The same decision adopts what is there, and counts it once.
    assert service.run(*SYMBOLS, rebalance_key="a").status_code == 200
    assert len(floor.broker.orders) == 3
    floor.want(AAPL=0.1)
    tighter = {"max_day_gross": 39_999.99}
    assert service.run("AAPL", rebalance_key="c", limits=tighter).status_code == 400
    assert service.run("AAPL", rebalance_key="c").status_code == 200
    assert len(floor.broker.orders) == 4


def test_a_days_exposure_holds_for_runs_of_two_services_at_once(floor: Floor) -> None:
    floor.want(AAPL=0.1)
    services = [floor.start(MAX_DAY_GROSS="35000") for _ in range(2)]
    asked = [
        floor.pool.submit(services[place % 2].run, "AAPL", rebalance_key=f"k{place}")
        for place in range(8)
    ]
    answers = Counter(each.result(30).status_code for each in asked)
    assert answers == {200: 3, 400: 5}
    assert floor.broker.orders == [("AAPL", "buy", 100)] * 3


def test_of_two_plans_made_from_one_book_only_one_is_kept(floor: Floor) -> None:
    floor.broker.hold("AAPL", -1000)
    floor.want(AAPL=0.1)
    limits = {"REDUCE_ONLY": "true", "MAX_DAY_GROSS": "15000"}
    services = [floor.start(**limits) for _ in range(2)]
    # Each has read the book by then, and neither has committed.
    floor.broker.meeting = threading.Barrier(2)
    asked = [
        floor.pool.submit(service.run, "AAPL", rebalance_key=f"k{place}")
        for place, service in enumerate(services)
    ]
    # The other finds the day spent, or the first one's order on the wire.
    assert {each.result(30).status_code for each in asked} <= {200, 400}
    assert floor.broker.orders == [("AAPL", "buy", 100)]
    assert floor.broker.meeting is None


def test_two_services_order_one_difference_once(floor: Floor) -> None:
    floor.want(AAPL=0.1)
    services = [floor.start(**DELTA) for _ in range(2)]
    floor.broker.meeting = threading.Barrier(2)
    asked = [
        floor.pool.submit(service.run, "AAPL", rebalance_key=f"k{place}")
        for place, service in enumerate(services)
    ]
    said = {reasons(each.result(30).json())["AAPL"] for each in asked}
    assert floor.broker.orders == [("AAPL", "buy", 100)]
    assert None in said
    # The other came while the order was on the wire, or when it had filled.
    assert len(said) == 2


def test_a_price_far_from_the_previous_close_is_not_traded_on(floor: Floor) -> None:
    service = floor.start(PRICE_BAND="0.2", PRICE_BAND_REQUIRED="true")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    floor.close("AAPL", "110", yesterday)
    floor.close("MSFT", "130", yesterday)
    result = service.run(*SYMBOLS, rebalance_key="a").json()
    assert reasons(result) == {
        "AAPL": None,
        "MSFT": "denied: PRICE_BAND price=100 previous_close=130 limit=0.2",
        "TSLA": "denied: NO_REFERENCE_PRICE price=100",
    }
    assert floor.broker.orders == [("AAPL", "buy", 100)]
    # Without a close, the last price that was accepted is what there is.
    floor.close("AAPL", "110", "2020-01-02")
    floor.price("AAPL", "125")
    later = service.run(*SYMBOLS, rebalance_key="b").json()
    assert reasons(later)["AAPL"] == "denied: PRICE_BAND price=125 last_accepted=100 limit=0.2"


def test_a_strategy_that_fails_too_often_trades_again_when_it_is_re_armed(floor: Floor) -> None:
    first, second = (floor.start(MAX_FAILED_RUNS="2") for _ in range(2))
    floor.signals.peer.batch = {}
    assert first.run(*SYMBOLS).status_code == 502
    assert second.run(*SYMBOLS).status_code == 502
    offer(floor.signals, SYMBOLS)
    for service in (first, second):
        response = service.run(*SYMBOLS)
        assert (response.status_code, response.json()["detail"]["error"]) == (
            503,
            "Strategy throttled",
        )
        wait_until(partial(is_ready, service, is_so=False), what="not being ready")
    assert floor.broker.orders == []
    assert second.post(REARM, SAID).json()["throttled"] is False
    assert first.run(*SYMBOLS).json()["status"] == "completed"
    wait_until(partial(is_ready, first, is_so=True), what="being ready")

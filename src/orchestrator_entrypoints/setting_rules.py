"""What must hold between several settings, each with why."""

from typing import TYPE_CHECKING

from attrs import frozen

from orchestrator_core.limits import SessionRule
from orchestrator_core.sizing import SizingMode

if TYPE_CHECKING:
    from orchestrator_entrypoints.settings import Settings

LEASE_MARGIN_SECONDS = 5.0
# The gateway asks its broker up to three times, with pauses: an order may come to be long after our
# own time-out. Until then the gateway's silence says nothing.
LATE_ORDER_SECONDS = 30.0
# Two looks at each open order and one at the positions, each with a deadline of five seconds.
ACCOUNT_SECONDS = 15.0


@frozen
class Rule:
    """What must hold between several variables; the first named is reported."""

    holds: bool
    between: tuple[str, ...]
    expected: str


def contradictions(settings: "Settings") -> tuple[Rule, ...]:
    """Return the rules that the settings break."""
    rules = (
        *_rules_of_names(settings),
        *_rules_of_amounts(settings),
        *_rules_of_times(settings),
    )
    return tuple(rule for rule in rules if not rule.holds)


def _rules_of_names(settings: "Settings") -> tuple[Rule, ...]:
    strategies = settings.strategies
    if strategies is None:
        return ()
    joined = strategies.joined_id
    return (
        Rule(
            settings.strategy_id == joined,
            ("STRATEGY_ID", "STRATEGIES"),
            f"expected nothing, or {joined}, which are the names that STRATEGIES gives",
        ),
    )


def _rules_of_amounts(settings: "Settings") -> tuple[Rule, ...]:
    cap, capital = settings.max_position_size, settings.capital
    return (
        Rule(
            settings.effective_position_ceiling >= cap,
            ("MAX_POSITION_SIZE_CEILING", "MAX_POSITION_SIZE"),
            f"expected at least MAX_POSITION_SIZE, which is {cap:f}",
        ),
        Rule(
            settings.max_capital is None or settings.max_capital >= capital,
            ("MAX_CAPITAL", "CAPITAL"),
            f"expected at least CAPITAL, which is {capital:f}",
        ),
        Rule(
            settings.db_pool_max_size >= settings.db_pool_min_size,
            ("DB_POOL_MAX_SIZE", "DB_POOL_MIN_SIZE"),
            f"expected at least DB_POOL_MIN_SIZE, which is {settings.db_pool_min_size}",
        ),
        Rule(
            not settings.close_absent or settings.sizing_mode is SizingMode.DELTA,
            ("CLOSE_ABSENT", "SIZING_MODE"),
            "expected false unless SIZING_MODE is delta: no other mode knows what is held",
        ),
    )


def _rules_of_times(settings: "Settings") -> tuple[Rule, ...]:
    wave, decision = longest_wave_seconds(settings), longest_decision_seconds(settings)
    late = latest_order_seconds(settings)
    return (
        Rule(
            settings.lease_seconds >= wave,
            ("LEASE_SECONDS", "SEND_WINDOW_SECONDS", "GATEWAY_TIMEOUT_SECONDS", "PERSIST_SECONDS"),
            f"expected at least {wave:g}, which is SEND_WINDOW_SECONDS + GATEWAY_TIMEOUT_SECONDS + "
            f"PERSIST_SECONDS + {LEASE_MARGIN_SECONDS:g}: else another replica takes over a run "
            "under way",
        ),
        Rule(
            settings.lease_seconds >= decision,
            ("LEASE_SECONDS", "SIGNAL_SERVICE_TIMEOUT_SECONDS"),
            f"expected at least {decision:g}, which is SIGNAL_SERVICE_TIMEOUT_SECONDS + "
            f"{decision - settings.signal_service_timeout_seconds:g}: else another replica "
            "abandons a run that awaits its signals",
        ),
        Rule(
            settings.unresolved_after_seconds >= late,
            ("UNRESOLVED_AFTER_SECONDS", "SEND_WINDOW_SECONDS", "GATEWAY_TIMEOUT_SECONDS"),
            f"expected at least {late:g}, which is SEND_WINDOW_SECONDS + GATEWAY_TIMEOUT_SECONDS + "
            f"{LATE_ORDER_SECONDS:g}: the gateway may still be placing a younger order",
        ),
    )


# What bounds a run, and leaves something open unless it is set; `docs/limits.md` says what.
LIMITS = (
    *("MAX_CAPITAL", "RESTRICTED_SYMBOLS", "ALLOWED_SYMBOLS", "MAX_ORDER_QTY"),
    *("MAX_ORDER_NOTIONAL", "MAX_ORDERS_A_RUN", "MAX_BASKET_LONG", "MAX_BASKET_SHORT"),
    *("MAX_BASKET_GROSS", "MAX_BASKET_NET", "MAX_DAY_LONG", "MAX_DAY_SHORT", "MAX_DAY_GROSS"),
    *("MAX_DAY_NET", "PRICE_BAND", "MAX_FAILED_RUNS", "MARKET_SESSION", "MAX_ORDERS_IN_FLIGHT"),
    "MAX_ORDERS_PER_MINUTE",
)


def open_limits(settings: "Settings") -> tuple[str, ...]:
    """Return the variables of the limits that are not in force."""
    shown = settings.shown()
    return tuple(name for name in LIMITS if shown[name] in {"unset", SessionRule.OFF})


def longest_wave_seconds(settings: "Settings") -> float:
    """Return how long a run may be silent between two of its commits."""
    return (
        settings.send_window_seconds
        + settings.gateway_timeout_seconds
        + settings.persist_seconds
        + LEASE_MARGIN_SECONDS
    )


def longest_decision_seconds(settings: "Settings") -> float:
    """Return how long a run may be silent between its opening and its plan."""
    reads_account = settings.sizing_mode is SizingMode.DELTA or settings.reduce_only
    account = ACCOUNT_SECONDS if reads_account else 0.0
    return settings.signal_service_timeout_seconds + account + LEASE_MARGIN_SECONDS


def latest_order_seconds(settings: "Settings") -> float:
    """Return how long after its claim an order may still come to be at the gateway."""
    return settings.send_window_seconds + settings.gateway_timeout_seconds + LATE_ORDER_SECONDS

"""The environment, read once into a frozen `Settings`.

Each variable is defined in one place, with what it means and what was expected of it; the table in
the README is `settings_table()`. All bad variables are reported at once, a line each. A variable
that is empty, or holds nothing but spaces, counts as unset. Secrets are masked wherever a setting
is shown: `repr`, `shown`, and every error.
"""

import difflib
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

from attrs import Attribute, fields, frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import SessionRule
from orchestrator_core.sizing import SizingMode
from orchestrator_entrypoints.setting_rules import contradictions
from orchestrator_entrypoints.strategies import Strategies, parse_strategies
from orchestrator_entrypoints.variables import (
    Variable,
    integer_from,
    mask_url,
    masked,
    may_hold_credentials,
    one_of,
    parse_amount,
    parse_band,
    parse_bool,
    parse_database_url,
    parse_fraction,
    parse_host,
    parse_lots,
    parse_peer_url,
    parse_plain_name,
    parse_symbol_list,
    seconds_from,
    variable,
)

OWN_PREFIX = "ORCHESTRATOR_"


class SettingsError(Exception):
    """The environment cannot be used.

    Attributes:
        problems: One line a variable, which names it and what was expected.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LogFormat(StrEnum):
    """How a log line is written."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """The least that is logged."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


_parse_log_level = one_of(LogLevel, str.upper)
_parse_session_rule = one_of(SessionRule, str.lower)
_parse_sizing_mode = one_of(SizingMode, str.lower)
_parse_log_format = one_of(LogFormat, str.lower)


@frozen(kw_only=True)
class Settings:
    """How this process is set up. Every field is one variable of the environment.

    Attributes:
        given: Names of the variables that were set; the others have their defaults.
        warnings: Names in the environment that look like settings and are none.
    """

    signal_service_url: str = variable(
        "SIGNAL_SERVICE_URL",
        parse_peer_url,
        "Address of the Signal Service",
        default="http://localhost:8001",
    )
    signal_service_timeout_seconds: float = variable(
        "SIGNAL_SERVICE_TIMEOUT_SECONDS",
        seconds_from(),
        "Deadline of the whole signals call, its retries included",
        default="30",
    )
    execution_gateway_url: str = variable(
        "EXECUTION_GATEWAY_URL",
        parse_peer_url,
        "Address of the Execution Gateway",
        default="http://localhost:8002",
    )
    gateway_timeout_seconds: float = variable(
        "GATEWAY_TIMEOUT_SECONDS",
        seconds_from(),
        "Deadline of one order call as a whole; beyond it the outcome is unknown",
        default="15",
    )
    embedded: bool = variable(
        "ORCHESTRATOR_EMBEDDED",
        parse_bool,
        "A SQLite file stands in for Postgres and Redis",
        default="false",
    )
    data: str = variable(
        "ORCHESTRATOR_DATA",
        str,
        "The SQLite file of embedded parts",
        default="./orchestrator.db",
    )
    database_url: str = variable(
        "DATABASE_URL",
        parse_database_url,
        "Run database",
        default="postgresql://trader:trader@localhost:5433/trader",
        show=mask_url,
    )
    db_pool_min_size: int = variable(
        "DB_POOL_MIN_SIZE", integer_from(least=0, most=1000), "Connections kept open", default="2"
    )
    db_pool_max_size: int = variable(
        "DB_POOL_MAX_SIZE", integer_from(least=1, most=1000), "Connections at most", default="10"
    )
    db_pool_timeout: float = variable(
        "DB_POOL_TIMEOUT", seconds_from(), "Seconds to wait for a connection", default="10"
    )
    redis_host: str = variable("REDIS_HOST", parse_host, "Shared keys", default="localhost")
    redis_port: int = variable(
        "REDIS_PORT", integer_from(least=1, most=65_535), "Shared keys", default="6379"
    )
    redis_db: int = variable(
        "REDIS_DB", integer_from(least=0, most=100_000), "Shared keys", default="0"
    )
    redis_password: str | None = variable("REDIS_PASSWORD", str, "Shared keys", show=masked)
    internal_token_secret_orchestrator: str | None = variable(
        "INTERNAL_TOKEN_SECRET_ORCHESTRATOR",
        str,
        "Key that signs our calls to both peers",
        show=masked,
    )
    internal_token_secret: str | None = variable(
        "INTERNAL_TOKEN_SECRET", str, "The same, where the one above is unset", show=masked
    )
    strategy_id: str = variable(
        "STRATEGY_ID", parse_plain_name, "Whose signals are traded", default="alpha_baseline"
    )
    strategies: Strategies | None = variable(  # noqa: RUF009 - unset, or frozen
        "STRATEGIES",
        parse_strategies,
        "Several strategies netted into one run, as `momentum=http://localhost:8001@0.6,"
        "value=http://localhost:8004@0.4`: name, Signal Service, share of the capital",
    )
    capital: Decimal = variable(
        "CAPITAL", parse_amount, "Capital of a run that names none", default="100000"
    )
    max_capital: Decimal | None = variable(
        "MAX_CAPITAL", parse_amount, "The most capital that a request may name"
    )
    max_position_size: Decimal = variable(
        "MAX_POSITION_SIZE", parse_amount, "Cap on one position's notional", default="20000"
    )
    max_position_size_ceiling: Decimal | None = variable(
        "MAX_POSITION_SIZE_CEILING",
        parse_amount,
        "The highest cap that a request may name; unset: `MAX_POSITION_SIZE`",
    )
    lot_sizes: Mapping[Symbol, int] = variable(
        "LOT_SIZES",
        parse_lots,
        "Shares that a symbol trades in multiples of, as `AAPL=10,MSFT=5`; others trade singly",
        default="",
    )
    min_order_notional: Decimal | None = variable(
        "MIN_ORDER_NOTIONAL", parse_amount, "Worth of an order; less is not sent"
    )
    cash_buffer: Decimal = variable(
        "CASH_BUFFER", parse_fraction, "Fraction of the capital kept out of targets", default="0"
    )
    leftover_pass: bool = variable(
        "LEFTOVER_PASS",
        parse_bool,
        "Spend the cash that rounding left on further whole lots, inside every limit",
        default="false",
    )
    sizing_mode: SizingMode = variable(  # noqa: RUF009 - an immutable word
        "SIZING_MODE",
        _parse_sizing_mode,
        "What an order is: absolute, the whole target, or delta, what the account lacks of it",
        default="absolute",
    )
    close_absent: bool = variable(
        "CLOSE_ABSENT",
        parse_bool,
        "In delta mode, close positions that are asked for and that no signal names",
        default="false",
    )
    leg_wait_seconds: float = variable(
        "LEG_WAIT_SECONDS",
        seconds_from(),
        "How long the second order of a flip waits for the first to fill, while its price is fresh",
        default="10",
    )
    restricted_symbols: frozenset[Symbol] = variable(
        "RESTRICTED_SYMBOLS",
        parse_symbol_list,
        "Symbols that are never traded, as `GME,BRK.B`; their orders are denied",
        default="",
    )
    allowed_symbols: frozenset[Symbol] | None = variable(
        "ALLOWED_SYMBOLS", parse_symbol_list, "The only symbols that are traded; unset: all"
    )
    max_order_qty: int | None = variable(
        "MAX_ORDER_QTY", integer_from(least=1), "Shares an order; more is denied"
    )
    max_order_notional: Decimal | None = variable(
        "MAX_ORDER_NOTIONAL", parse_amount, "Worth of an order; more is denied"
    )
    max_orders_a_run: int | None = variable(
        "MAX_ORDERS_A_RUN", integer_from(least=1), "Orders of one run; beyond it none is sent"
    )
    max_basket_long: Decimal | None = variable(
        "MAX_BASKET_LONG", parse_amount, "Worth of what one run buys; beyond it nothing is sent"
    )
    max_basket_short: Decimal | None = variable(
        "MAX_BASKET_SHORT", parse_amount, "Worth of what one run sells; beyond it nothing is sent"
    )
    max_basket_gross: Decimal | None = variable(
        "MAX_BASKET_GROSS", parse_amount, "The two together; beyond it nothing is sent"
    )
    max_basket_net: Decimal | None = variable(
        "MAX_BASKET_NET",
        parse_amount,
        "How far one of the two may be beyond the other; beyond it nothing is sent",
    )
    max_day_long: Decimal | None = variable(
        "MAX_DAY_LONG",
        parse_amount,
        "Worth of what all runs of one strategy and date buy; a run beyond it sends nothing",
    )
    max_day_short: Decimal | None = variable(
        "MAX_DAY_SHORT", parse_amount, "Worth of what they sell; a run beyond it sends nothing"
    )
    max_day_gross: Decimal | None = variable(
        "MAX_DAY_GROSS", parse_amount, "The two together; a run beyond it sends nothing"
    )
    max_day_net: Decimal | None = variable(
        "MAX_DAY_NET",
        parse_amount,
        "How far one of the two may be beyond the other; a run beyond it sends nothing",
    )
    price_band: Decimal | None = variable(
        "PRICE_BAND",
        parse_band,
        "How far a price may be from the previous close, else from the last price accepted; a "
        "fraction",
    )
    price_band_required: bool = variable(
        "PRICE_BAND_REQUIRED",
        parse_bool,
        "An order whose price can be held against nothing is denied",
        default="false",
    )
    reduce_only: bool = variable(
        "REDUCE_ONLY", parse_bool, "Only orders that shrink a position are sent", default="false"
    )
    max_failed_runs: int | None = variable(
        "MAX_FAILED_RUNS",
        integer_from(least=1, most=1000),
        "Failed runs in a row after which an operator must re-arm the strategy",
    )
    market_session: SessionRule = variable(  # noqa: RUF009 - an immutable word
        "MARKET_SESSION",
        _parse_session_rule,
        "While New York's exchange is closed: off, warn, or refuse to send",
        default="off",
    )
    max_signal_weight: Decimal = variable(
        "MAX_SIGNAL_WEIGHT",
        parse_amount,
        "Size of one signal's weight; above it a batch is refused",
        default="1",
    )
    max_side_weight: Decimal = variable(
        "MAX_SIDE_WEIGHT",
        parse_amount,
        "Sum of the long, and of the short weights; above it a batch is refused",
        default="1",
    )
    max_price_age_seconds: float = variable(
        "FAT_FINGER_MAX_PRICE_AGE_SECONDS",
        seconds_from(),
        "Oldest price that is traded on",
        default="30",
    )
    max_in_flight_orders: int = variable(
        "MAX_IN_FLIGHT_ORDERS", integer_from(least=1, most=1000), "Orders a wave", default="32"
    )
    max_orders_in_flight: int | None = variable(
        "MAX_ORDERS_IN_FLIGHT",
        integer_from(least=1, most=100_000),
        "Orders on their way to the gateway at once, of all replicas",
    )
    max_orders_per_minute: int | None = variable(
        "MAX_ORDERS_PER_MINUTE",
        integer_from(least=1, most=100_000),
        "Orders sent in any 60 s, of all replicas",
    )
    dry_run: bool = variable(
        "DRY_RUN", parse_bool, "We claim that the gateway sends nothing on", default="true"
    )
    alpaca_paper: bool = variable(
        "ALPACA_PAPER", parse_bool, "We claim that the gateway trades on paper", default="true"
    )
    circuit_breaker_enabled: bool = variable(
        "CIRCUIT_BREAKER_ENABLED",
        parse_bool,
        "A tripped or unreadable circuit breaker blocks a run",
        default="true",
    )
    allow_unverified_gateway: bool = variable(
        "ORCHESTRATOR_ALLOW_UNVERIFIED_GATEWAY",
        parse_bool,
        "Trade although the gateway's safety flags cannot be read",
        default="false",
    )
    environment: str = variable(
        "ENVIRONMENT", parse_plain_name, "Deployment; part of every order's identity", default="dev"
    )
    run_answer_seconds: float = variable(
        "RUN_ANSWER_SECONDS",
        seconds_from(),
        "A longer run is answered 202 and goes on",
        default="30",
    )
    send_window_seconds: float = variable(
        "SEND_WINDOW_SECONDS",
        seconds_from(),
        "From a claim to the latest begin of a sending",
        default="5",
    )
    persist_seconds: float = variable(
        "PERSIST_SECONDS",
        seconds_from(),
        "How long the outcomes of sent orders are tried to be recorded",
        default="20",
    )
    lease_seconds: float = variable(
        "LEASE_SECONDS",
        seconds_from(),
        "How long a run's owner may stay silent before another replica takes the run over",
        default="60",
    )
    recovery_seconds: float = variable(
        "RECOVERY_SECONDS",
        seconds_from(),
        "Pause between two looks for runs to recover",
        default="2",
    )
    unresolved_after_seconds: float = variable(
        "UNRESOLVED_AFTER_SECONDS",
        seconds_from(),
        "Age at which an order of unknown fate is left to an operator",
        default="300",
    )
    kill_switch_drain_seconds: float = variable(
        "KILL_SWITCH_DRAIN_SECONDS",
        seconds_from(least=0.0),
        "How long engaging waits until no order is on the wire",
        default="20",
    )
    stop_seconds: float = variable(
        "STOP_SECONDS", seconds_from(), "How long a stop waits for waves in flight", default="45"
    )
    max_body_bytes: int = variable(
        "MAX_BODY_BYTES", integer_from(least=1024), "Largest request body", default="1048576"
    )
    request_receive_seconds: float = variable(
        "REQUEST_RECEIVE_SECONDS",
        seconds_from(),
        "Deadline for a request's headers, and again for its body",
        default="10",
    )
    host: str = variable("HOST", parse_host, "Address to listen on", default="127.0.0.1")
    port: int = variable(
        "PORT",
        integer_from(least=0, most=65_535),
        "Port to listen on; 0 takes a free one",
        default="8003",
    )
    log_level: LogLevel = variable(  # noqa: RUF009 - an immutable word
        "LOG_LEVEL", _parse_log_level, "The least that is logged", default="INFO"
    )
    log_format: LogFormat = variable(  # noqa: RUF009 - an immutable word
        "ORCHESTRATOR_LOG_FORMAT", _parse_log_format, "json or text", default="json"
    )
    given: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()

    @property
    def effective_position_ceiling(self) -> Decimal:
        """The highest cap that a request may ask for, account currency."""
        ceiling = self.max_position_size_ceiling
        return self.max_position_size if ceiling is None else ceiling

    @property
    def signal_services(self) -> tuple[str, ...]:
        """Addresses of the Signal Services that a run asks, each once."""
        return (self.signal_service_url,) if self.strategies is None else self.strategies.urls

    @property
    def token_secret(self) -> str | None:
        """The key that signs calls to both peers, if any."""
        own = self.internal_token_secret_orchestrator
        return self.internal_token_secret if own is None else own

    @property
    def is_budgeted(self) -> bool:
        """Whether all replicas together have a limit on what they send."""
        return self.max_orders_in_flight is not None or self.max_orders_per_minute is not None

    def shown(self) -> dict[str, str]:
        """Return every setting by its variable's name, as text without secrets."""
        values = ((defined, getattr(self, attribute.name)) for attribute, defined in _variables())
        return {defined.name: defined.show(value) for defined, value in values}


def _variables() -> tuple[tuple["Attribute[Any]", Variable], ...]:
    return tuple(
        (attribute, attribute.metadata[Variable])
        for attribute in fields(Settings)
        if Variable in attribute.metadata
    )


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings that the environment holds.

    Raises:
        SettingsError: One or more variables cannot be used; all are named.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    given = set()
    for attribute, defined in _variables():
        text = environ.get(defined.name, "")
        if not text.strip():
            continue
        given.add(defined.name)
        try:
            values[attribute.name] = defined.parse(text if defined.is_secret else text.strip())
        except ValueError as problem:
            # What was expected; some parsers add what they got, which may be a secret.
            expected = str(problem).partition(", got ")[0]
            is_secret = defined.is_secret or may_hold_credentials(text)
            got = "" if is_secret else f", got {text.strip()[:60]!r}"
            problems[defined.name] = f"{expected}{got}"
    if "strategies" in values:
        values.setdefault("strategy_id", values["strategies"].joined_id)
    settings = Settings(**values, given=frozenset(given), warnings=unknown_names(environ))
    for contradiction in contradictions(settings):
        if not problems.keys() & contradiction.between:
            problems[contradiction.between[0]] = contradiction.expected
    if problems:
        raise SettingsError(tuple(f"{name}: {problem}" for name, problem in problems.items()))
    return settings


def unknown_names(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a warning for each name that looks like a setting and is none.

    That is every unknown name of our own prefix, and any other name a slip away from one of ours:
    a typo there is a limit that is not in force.
    """
    known = [defined.name for _, defined in _variables()]
    warnings = []
    for name in sorted(set(environ) - set(known)):
        is_own = name.startswith(OWN_PREFIX)
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.85 if is_own else 0.92)
        if is_own or close:
            hint = f"; did you mean {close[0]}?" if close else ""
            warnings.append(f"{name[:80]} is not a setting and has no effect{hint}")
    return tuple(warnings)


def settings_table() -> str:
    """Return all variables as a Markdown table."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    rows += (
        f"| `{defined.name}` | {defined.show(attribute.default)} | {defined.meaning} |"
        for attribute, defined in _variables()
    )
    return "\n".join(rows)

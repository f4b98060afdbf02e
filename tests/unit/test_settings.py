from decimal import Decimal

import pytest

from orchestrator_core.sizing import SizingMode
from orchestrator_entrypoints.setting_rules import (
    LIMITS,
    latest_order_seconds,
    longest_decision_seconds,
    longest_wave_seconds,
    open_limits,
)
from orchestrator_entrypoints.settings import (
    LogFormat,
    LogLevel,
    SettingsError,
    read_settings,
    settings_table,
)


def problems_of(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        read_settings(environ)
    return raised.value.problems


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = read_settings({})
    assert settings.signal_service_url == "http://localhost:8001"
    assert settings.execution_gateway_url == "http://localhost:8002"
    assert settings.database_url == "postgresql://trader:trader@localhost:5433/trader"
    assert (settings.capital, settings.max_position_size) == (Decimal(100000), Decimal(20000))
    assert settings.effective_position_ceiling == Decimal(20000)
    assert settings.strategy_id == "alpha_baseline"
    assert (settings.dry_run, settings.alpaca_paper) == (True, True)
    assert settings.circuit_breaker_enabled is True
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("localhost", 6379, 0)
    assert settings.redis_password is None
    assert settings.log_level is LogLevel.INFO
    assert settings.log_format is LogFormat.JSON
    assert settings.environment == "dev"
    assert settings.max_price_age_seconds == 30.0
    assert (settings.db_pool_min_size, settings.db_pool_max_size) == (2, 10)
    assert (settings.host, settings.port) == ("127.0.0.1", 8003)
    assert settings.max_in_flight_orders == 32
    assert settings.run_answer_seconds == 30.0
    assert (settings.lease_seconds, settings.recovery_seconds) == (60.0, 2.0)
    assert settings.unresolved_after_seconds == 300.0
    assert (settings.max_orders_in_flight, settings.max_orders_per_minute) == (None, None)
    assert settings.max_capital is None
    assert settings.allow_unverified_gateway is False
    assert settings.embedded is False
    assert settings.warnings == ()


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "On"])
def test_a_boolean_is_true_by_its_words(text: str) -> None:
    assert read_settings({"ORCHESTRATOR_EMBEDDED": text}).embedded is True


@pytest.mark.parametrize("text", ["false", "False", "0", "no", "off"])
def test_a_boolean_is_false_by_its_words(text: str) -> None:
    assert read_settings({"DRY_RUN": text}).dry_run is False


@pytest.mark.parametrize("text", ["maybe", "2", "none", "truee", "t", "-1", "null"])
def test_a_boolean_of_any_other_word_stops_the_start(text: str) -> None:
    assert problems_of({"DRY_RUN": text}) == (f"DRY_RUN: expected true or false, got {text!r}",)


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_an_empty_variable_counts_as_unset(text: str) -> None:
    settings = read_settings(
        {"DRY_RUN": text, "MAX_CAPITAL": text, "REDIS_PASSWORD": text, "CAPITAL": text}
    )
    assert settings.dry_run is True
    assert settings.max_capital is None
    assert settings.redis_password is None
    assert settings.capital == Decimal(100000)


def test_every_bad_variable_is_named_at_once() -> None:
    problems = problems_of(
        {
            "CAPITAL": "abc",
            "DRY_RUN": "maybe",
            "REDIS_PORT": "tcp://10.0.0.1:6379",
            "LOG_LEVEL": "LOUD",
            "DATABASE_URL": "mysql://trader:hush@db/trader",
            "SIGNAL_SERVICE_URL": "localhost:8001",
            "PORT": "65536",
            "RUN_ANSWER_SECONDS": "nan",
        }
    )
    assert sorted(problem.partition(":")[0] for problem in problems) == [
        "CAPITAL",
        "DATABASE_URL",
        "DRY_RUN",
        "LOG_LEVEL",
        "PORT",
        "REDIS_PORT",
        "RUN_ANSWER_SECONDS",
        "SIGNAL_SERVICE_URL",
    ]
    assert all("\n" not in problem and "expected" in problem for problem in problems)


@pytest.mark.parametrize("text", ["0", "-5", "NaN", "Infinity", "1e30", "1_0x", "ten"])
def test_money_is_finite_and_above_zero(text: str) -> None:
    (problem,) = problems_of({"MAX_POSITION_SIZE_CEILING": text})
    assert problem.startswith("MAX_POSITION_SIZE_CEILING: expected")


@pytest.mark.parametrize(
    "url",
    ["ftp://peer", "http://", "http://user:hush@peer", "http://peer?token=x", "http://peer:99999"],
)
def test_a_peers_address_is_plain_http_without_credentials(url: str) -> None:
    assert len(problems_of({"EXECUTION_GATEWAY_URL": url})) == 1


def test_a_peers_address_loses_the_slash_at_its_end() -> None:
    settings = read_settings({"SIGNAL_SERVICE_URL": "https://signals.example:8001/"})
    assert settings.signal_service_url == "https://signals.example:8001"


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"MAX_POSITION_SIZE_CEILING": "100"}, "MAX_POSITION_SIZE_CEILING"),
        ({"MAX_CAPITAL": "10"}, "MAX_CAPITAL"),
        ({"DB_POOL_MAX_SIZE": "1"}, "DB_POOL_MAX_SIZE"),
        ({"LEASE_SECONDS": "10"}, "LEASE_SECONDS"),
        ({"GATEWAY_TIMEOUT_SECONDS": "80"}, "LEASE_SECONDS"),
        ({"SIGNAL_SERVICE_TIMEOUT_SECONDS": "56"}, "LEASE_SECONDS"),
        ({"SIGNAL_SERVICE_TIMEOUT_SECONDS": "41", "SIZING_MODE": "delta"}, "LEASE_SECONDS"),
        ({"SIGNAL_SERVICE_TIMEOUT_SECONDS": "41", "REDUCE_ONLY": "true"}, "LEASE_SECONDS"),
        ({"UNRESOLVED_AFTER_SECONDS": "49"}, "UNRESOLVED_AFTER_SECONDS"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(
    environ: dict[str, str], name: str
) -> None:
    (problem,) = problems_of(environ)
    assert problem.startswith(f"{name}: expected at least")


def test_a_variable_that_is_bad_is_not_compared_with_others() -> None:
    (problem,) = problems_of({"MAX_POSITION_SIZE": "x", "MAX_POSITION_SIZE_CEILING": "5"})
    assert problem.startswith("MAX_POSITION_SIZE: ")


def test_a_lease_outlasts_the_longest_silence_by_default() -> None:
    settings = read_settings({})
    assert settings.lease_seconds >= longest_wave_seconds(settings)
    assert settings.lease_seconds >= longest_decision_seconds(settings)


def test_reading_the_account_takes_its_time_too() -> None:
    settings = read_settings({"SIZING_MODE": "delta", "SIGNAL_SERVICE_TIMEOUT_SECONDS": "40"})
    assert settings.lease_seconds == longest_decision_seconds(settings)
    assert longest_decision_seconds(read_settings({})) == 35


def test_an_order_is_left_to_an_operator_only_when_it_can_no_longer_come_to_be() -> None:
    settings = read_settings({})
    assert latest_order_seconds(settings) == 50
    assert read_settings({"UNRESOLVED_AFTER_SECONDS": "50"}).unresolved_after_seconds == 50


SECRETS = {
    "DATABASE_URL": "postgresql://trader:hush-db@db/trader?sslpassword=hush-ssl",
    "REDIS_PASSWORD": "hush-redis",
    "INTERNAL_TOKEN_SECRET": "hush-token",
    "INTERNAL_TOKEN_SECRET_ORCHESTRATOR": "hush-own",
}


def test_secrets_are_masked_wherever_a_setting_is_shown() -> None:
    settings = read_settings(SECRETS)
    assert settings.token_secret == "hush-own"
    for text in (repr(settings), str(settings.shown())):
        assert "hush" not in text
        assert "***" in text
    assert settings.shown()["REDIS_PASSWORD"] == "***"
    assert settings.shown()["DATABASE_URL"] == "postgresql://trader:***@db/trader?sslpassword=***"


def test_a_bad_secret_is_not_repeated_in_the_error() -> None:
    (problem,) = problems_of({"DATABASE_URL": "hush-everything"})
    assert problem == "DATABASE_URL: expected postgresql://user:password@host:port/database"


@pytest.mark.parametrize(
    "name", ["SIGNAL_SERVICE_URL", "EXECUTION_GATEWAY_URL", "REDIS_HOST", "PORT"]
)
@pytest.mark.parametrize("text", ["http://joe:hush@peer:1", "redis://:hush@r", "http://h?key=hush"])
def test_an_address_with_credentials_is_not_repeated_in_the_error(name: str, text: str) -> None:
    (problem,) = problems_of({name: text})
    assert problem.startswith(f"{name}: expected ")
    assert "hush" not in problem


def test_a_secret_keeps_its_spaces() -> None:
    assert read_settings({"REDIS_PASSWORD": " hush "}).redis_password == " hush "


def test_the_general_token_secret_stands_in_for_our_own() -> None:
    assert read_settings({"INTERNAL_TOKEN_SECRET": "a"}).token_secret == "a"
    assert read_settings({}).token_secret is None


def test_a_name_that_looks_like_a_setting_and_is_none_is_reported() -> None:
    settings = read_settings(
        {
            "ORCHESTRATOR_EMBEDED": "1",
            "ORCHESTRATOR_XYZZY": "1",
            "MAX_POSTION_SIZE": "5",
            "PATH": "/usr/bin",
            "HOSTNAME": "box",
        }
    )
    slip, typo, stranger = settings.warnings
    assert slip == (
        "MAX_POSTION_SIZE is not a setting and has no effect; did you mean MAX_POSITION_SIZE?"
    )
    assert typo.endswith("has no effect; did you mean ORCHESTRATOR_EMBEDDED?")
    assert stranger == "ORCHESTRATOR_XYZZY is not a setting and has no effect"


def test_the_table_names_each_variable_once_and_no_secret() -> None:
    table = settings_table()
    for name in read_settings({}).shown():
        assert table.count(f"| `{name}` |") == 1
    assert "trader:trader" not in table


def test_lots_are_read_by_symbol() -> None:
    assert read_settings({"LOT_SIZES": "AAPL=10, brk.b=1"}).lot_sizes == {"AAPL": 10, "BRK.B": 1}
    assert read_settings({}).lot_sizes == {}


@pytest.mark.parametrize("text", ["AAPL", "AAPL=0", "AAPL=1.5", "=5", "AAPL=1,aapl=2", "A A=1"])
def test_a_lot_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^LOT_SIZES: expected"):
        read_settings({"LOT_SIZES": text})


@pytest.mark.parametrize("text", ["1", "-0.1", "5%", "1e-3"])
def test_a_buffer_that_is_no_fraction_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^CASH_BUFFER: expected a fraction"):
        read_settings({"CASH_BUFFER": text})


def test_symbols_are_read_and_shown_as_a_list() -> None:
    settings = read_settings({"RESTRICTED_SYMBOLS": "gme, BRK.B,"})
    assert settings.restricted_symbols == {"BRK.B", "GME"}
    assert settings.shown()["RESTRICTED_SYMBOLS"] == "BRK.B,GME"
    assert (settings.allowed_symbols, settings.shown()["ALLOWED_SYMBOLS"]) == (None, "unset")


@pytest.mark.parametrize("name", ["RESTRICTED_SYMBOLS", "ALLOWED_SYMBOLS"])
@pytest.mark.parametrize("text", [",", "A A", "AAPL;MSFT"])
def test_a_list_of_symbols_that_is_none_is_refused(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}: expected symbols"):
        read_settings({name: text})


@pytest.mark.parametrize("text", ["on", "true", "closed"])
def test_a_word_for_the_session_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^MARKET_SESSION: expected one of off, warn, refuse"):
        read_settings({"MARKET_SESSION": text})


def test_the_limits_left_open_are_those_that_are_not_set() -> None:
    assert open_limits(read_settings({})) == LIMITS
    given = {
        "MARKET_SESSION": "warn",
        "RESTRICTED_SYMBOLS": "GME",
        "ALLOWED_SYMBOLS": "AAPL",
        "PRICE_BAND": "0.1",
        "MAX_FAILED_RUNS": "3",
    }
    amounts = {name: "100000" for name in LIMITS if name not in given}
    for name, value in (given | amounts).items():
        assert set(LIMITS) - set(open_limits(read_settings({name: value}))) == {name}
    assert open_limits(read_settings(given | amounts)) == ()


@pytest.mark.parametrize("text", ["0", "0.0", "1.1", "5", "10%", "-0.1", "1e-1"])
def test_a_price_band_that_is_no_fraction_is_refused(text: str) -> None:
    (problem,) = problems_of({"PRICE_BAND": text})
    assert problem.startswith("PRICE_BAND: expected a fraction above 0, at most 1")


def test_a_price_band_is_a_fraction() -> None:
    assert read_settings({"PRICE_BAND": "0.25"}).price_band == Decimal("0.25")
    assert read_settings({"PRICE_BAND": "1"}).price_band == Decimal(1)


def test_orders_are_whole_targets_unless_differences_are_asked_for() -> None:
    assert read_settings({}).sizing_mode is SizingMode.ABSOLUTE
    settings = read_settings({"SIZING_MODE": "Delta", "CLOSE_ABSENT": "true"})
    assert (settings.sizing_mode, settings.close_absent) == (SizingMode.DELTA, True)
    (problem,) = problems_of({"SIZING_MODE": "difference"})
    assert problem.startswith("SIZING_MODE: expected one of absolute, delta")


def test_closing_what_no_signal_names_takes_delta_mode() -> None:
    (problem,) = problems_of({"CLOSE_ABSENT": "true"})
    assert problem.startswith("CLOSE_ABSENT: expected false unless SIZING_MODE is delta")

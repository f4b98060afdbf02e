"""What the settings mean for the core: how every run is run, and what a request may ask for."""

from orchestrator_core import __version__
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.limits import Limits
from orchestrator_core.model import SafetyFlags
from orchestrator_core.money import ZERO
from orchestrator_core.policy import RunPolicy
from orchestrator_core.requests import RequestPolicy
from orchestrator_core.sizing import SizingMode, SizingRules
from orchestrator_entrypoints.settings import Settings


def run_policy(settings: Settings) -> RunPolicy:
    """Return how every run is run."""
    return RunPolicy(
        environment=settings.environment,
        strategy_id=StrategyId(settings.strategy_id),
        limits=configured_limits(settings),
        sizing=SizingRules(
            lot_sizes=settings.lot_sizes,
            min_order_notional=settings.min_order_notional or ZERO,
            cash_buffer=settings.cash_buffer,
            spends_leftover=settings.leftover_pass,
            mode=settings.sizing_mode,
            closes_absent=settings.close_absent,
        ),
        claimed_flags=SafetyFlags(
            dry_run=settings.dry_run,
            alpaca_paper=settings.alpaca_paper,
            circuit_breaker_enabled=settings.circuit_breaker_enabled,
        ),
        code_version=__version__,
        allow_unverified_gateway=settings.allow_unverified_gateway,
        max_in_flight_orders=settings.max_in_flight_orders,
        send_window_seconds=settings.send_window_seconds,
        lease_seconds=settings.lease_seconds,
        persist_seconds=settings.persist_seconds,
        unresolved_after_seconds=settings.unresolved_after_seconds,
        max_failed_runs=settings.max_failed_runs,
        leg_wait_seconds=settings.leg_wait_seconds,
    )


def configured_limits(settings: Settings) -> Limits:
    """Return the limits in force for a run that tightens none."""
    return Limits(
        restricted_symbols=settings.restricted_symbols,
        allowed_symbols=settings.allowed_symbols,
        max_order_qty=settings.max_order_qty,
        max_order_notional=settings.max_order_notional,
        max_orders_a_run=settings.max_orders_a_run,
        max_basket_long=settings.max_basket_long,
        max_basket_short=settings.max_basket_short,
        max_basket_gross=settings.max_basket_gross,
        max_basket_net=settings.max_basket_net,
        max_day_long=settings.max_day_long,
        max_day_short=settings.max_day_short,
        max_day_gross=settings.max_day_gross,
        max_day_net=settings.max_day_net,
        price_band=settings.price_band,
        requires_reference=settings.price_band_required,
        reduce_only=settings.reduce_only,
        market_session=settings.market_session,
        max_signal_weight=settings.max_signal_weight,
        max_side_weight=settings.max_side_weight,
        max_price_age_seconds=settings.max_price_age_seconds,
    )


def request_policy(settings: Settings) -> RequestPolicy:
    """Return the defaults and bounds for what a request gives."""
    return RequestPolicy(
        capital=settings.capital,
        max_position_size=settings.max_position_size,
        max_position_size_ceiling=settings.effective_position_ceiling,
        max_capital=settings.max_capital,
        limits=configured_limits(settings),
        needs_rebalance_key=settings.sizing_mode is SizingMode.DELTA,
    )

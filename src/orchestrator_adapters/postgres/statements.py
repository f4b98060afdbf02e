"""The statements of the run repository, as they are prepared."""

from typing import Final

OPEN_RUN: Final = """
    INSERT INTO orchestration_runs (
        run_id, strategy_id, as_of_date, status, symbols, capital, max_position_size, started_at,
        request, idempotency_key, idempotency_fingerprint, lease_epoch, lease_expires_at, due_at)
    VALUES (
        %(run_id)s, %(strategy_id)s, %(as_of_date)s, %(status)s, %(symbols)s, %(capital)s,
        %(max_position_size)s, %(started_at)s, %(request)s, %(idempotency_key)s,
        %(idempotency_fingerprint)s, %(lease_epoch)s,
        clock_timestamp() + make_interval(secs => %(lease_seconds)s),
        clock_timestamp() + make_interval(secs => %(lease_seconds)s))
    ON CONFLICT DO NOTHING
    RETURNING run_id
"""

FIND_OPENED: Final = """
    SELECT run_id, lease_epoch, lease_expires_at IS NOT NULL AS is_leased, request,
           idempotency_fingerprint, completed_at IS NOT NULL AS is_completed
    FROM orchestration_runs
    WHERE run_id = %(run_id)s
       OR strategy_id = %(strategy_id)s AND idempotency_key = %(idempotency_key)s
    ORDER BY run_id = %(run_id)s DESC
    LIMIT 1
"""

COMMIT_PLAN: Final = "SELECT * FROM orchestrator_commit_plan(%s" + 28 * ", %s" + ")"
COMMIT_WAVE: Final = "SELECT * FROM orchestrator_commit_wave(%s" + 23 * ", %s" + ")"

RUN: Final = """
    SELECT run_id, strategy_id, as_of_date, status, request, snapshot_hash, signal_metadata,
           num_signals, started_at, completed_at, failure_kind, error_message, retry_after,
           has_adopted,
           CASE WHEN request IS NULL THEN symbols END AS symbols,
           CASE WHEN request IS NULL THEN capital END AS capital,
           CASE WHEN request IS NULL THEN max_position_size END AS max_position_size,
           CASE WHEN request IS NULL THEN signal_service_response END AS signal_service_response,
           CASE WHEN request IS NULL THEN num_orders_submitted END AS num_orders_submitted,
           CASE WHEN request IS NULL THEN num_orders_accepted END AS num_orders_accepted,
           CASE WHEN request IS NULL THEN num_orders_rejected END AS num_orders_rejected,
           CASE WHEN request IS NULL THEN num_orders_filled END AS num_orders_filled
    FROM orchestration_runs
    WHERE run_id = %s
"""

ORDERS: Final = """
    SELECT m.run_id, m.symbol, m.predicted_return::float8 AS predicted_return, m.rank,
           m.target_weight::float8 AS target_weight, m.client_order_id, m.leg, m.order_qty,
           m.order_side, m.order_type, m.time_in_force, m.state, m.reason, m.gateway_status,
           m.gateway_order_id, m.broker_order_id, m.filled_qty, m.filled_avg_price, m.message,
           m.canceled_on_arrival, m.order_status, m.skip_reason, m.sizing_price, m.contributions,
           o.run_id AS owner_run_id, o.state AS owner_state, o.reason AS owner_reason,
           o.gateway_status AS owner_gateway_status,
           o.gateway_order_id AS owner_gateway_order_id,
           o.broker_order_id AS owner_broker_order_id, o.filled_qty AS owner_filled_qty,
           o.filled_avg_price AS owner_filled_avg_price, o.message AS owner_message,
           o.canceled_on_arrival AS owner_canceled_on_arrival
    FROM signal_order_mappings m
    LEFT JOIN LATERAL (SELECT * FROM signal_order_mappings WHERE id = m.owner_id LIMIT 1) o ON true
    WHERE m.run_id = ANY (%s)
    ORDER BY m.run_id, m.position, m.id
"""

# An owner's plan was committed before its adopters': rows of several runs are locked in that order,
# by whoever locks them. Plans that were committed before this order was kept come first.
_RANKED: Final = "ORDER BY plan_rank NULLS FIRST, id"

# Whoever closes an owner holds its row: after this, its outcomes are committed, or yet to come from
# a close that will find the adopter.
LOCK_OWNERS: Final = f"""
    SELECT FROM orchestration_runs
    WHERE run_id = ANY (ARRAY(
        SELECT m.owner_run_id
        FROM orchestration_runs r JOIN signal_order_mappings m ON m.run_id = r.run_id
        WHERE r.run_id = %s AND r.has_adopted AND m.owner_run_id IS NOT NULL))
    {_RANKED}
    FOR SHARE
"""  # noqa: S608

LOCK_ADOPTERS: Final = f"""
    SELECT run_id FROM orchestration_runs
    WHERE run_id = ANY (ARRAY(
        SELECT run_id FROM signal_order_mappings WHERE owner_run_id = %s))
      AND lease_expires_at IS NULL AND completed_at IS NULL
    {_RANKED}
    FOR UPDATE
"""  # noqa: S608

CLOSE_RUN: Final = """
    UPDATE orchestration_runs
    SET status = %(status)s,
        num_orders_submitted = %(num_orders_submitted)s,
        num_orders_accepted = %(num_orders_accepted)s,
        num_orders_rejected = %(num_orders_rejected)s,
        num_orders_filled = %(num_orders_filled)s,
        completed_at = %(completed_at)s,
        duration_seconds = %(duration_seconds)s,
        error_message = %(error_message)s,
        failure_kind = %(failure_kind)s,
        retry_after = %(retry_after)s,
        idempotency_key = CASE WHEN %(frees_key)s THEN NULL ELSE idempotency_key END,
        lease_expires_at = NULL,
        due_at = CASE
            WHEN %(completed_at)s::timestamptz IS NOT NULL THEN NULL
            WHEN %(is_closer)s
            THEN clock_timestamp() + make_interval(secs => %(look_again_seconds)s)
            ELSE due_at END,
        updated_at = now()
    WHERE run_id = %(run_id)s
"""

# The wave's parameters, the run's states, and the columns that follow from them.
CLOSE_KNOWN: Final = f"SELECT o_verdict FROM orchestrator_close_known({', '.join(['%s'] * 32)})"  # noqa: S608

# What reports see of an order that another run's order stands for.
SHOW_OWNERS: Final = """
    UPDATE signal_order_mappings m
    SET broker_order_id = o.broker_order_id,
        filled_qty = o.filled_qty,
        filled_avg_price = o.filled_avg_price,
        order_status = o.order_status,
        skip_reason = coalesce(o.skip_reason, 'already_ordered: run ' || o.run_id),
        updated_at = now()
    FROM signal_order_mappings o
    WHERE m.run_id = %s AND o.id = m.owner_id
"""

# One statement for each filter, so that each has a plan of its own.
_FILTERS: Final = {
    (False, False): "true",
    (True, False): "strategy_id = %(strategy_id)s",
    (False, True): "status = %(status)s",
    (True, True): "strategy_id = %(strategy_id)s AND status = %(status)s",
}

COUNT: Final = {
    given: "SELECT count(*) AS total FROM orchestration_runs WHERE " + condition  # noqa: S608
    for given, condition in _FILTERS.items()
}

# The page's keys come from the index alone; only the rows that are shown are fetched.
_KEYS: Final = "SELECT started_at, id FROM orchestration_runs WHERE "
_CUT: Final = " ORDER BY started_at DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s"
_SHOWN: Final = """
    SELECT r.run_id, r.status, r.strategy_id, r.as_of_date,
           coalesce(r.num_signals, 0) AS num_signals,
           coalesce(r.num_orders_submitted, 0) AS num_orders_submitted,
           coalesce(r.num_orders_accepted, 0) AS num_orders_accepted,
           coalesce(r.num_orders_rejected, 0) AS num_orders_rejected,
           r.started_at, r.completed_at, r.duration_seconds
    FROM page JOIN orchestration_runs r ON r.id = page.id
    ORDER BY r.started_at DESC, r.id DESC
"""

PAGE: Final = {
    given: "WITH page AS MATERIALIZED (" + _KEYS + condition + _CUT + ")" + _SHOWN
    for given, condition in _FILTERS.items()
}

OPEN_ORDERS: Final = """
    SELECT m.run_id, m.client_order_id, m.symbol, m.state
    FROM signal_order_mappings m
    WHERE m.run_id = ANY (ARRAY(SELECT run_id FROM orchestration_runs WHERE status = 'running'))
      AND m.state = ANY (%s)
    ORDER BY m.id
"""

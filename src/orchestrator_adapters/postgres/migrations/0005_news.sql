-- Taking over a run whose holder fell silent, and recording news of orders whose runs may have ended.

-- Give one run of the strategy that is due to a new holder: the longest due, or the named one.
--
-- Waits for nobody: a run that another holds locked is passed over. Its SENDING orders, whose rows
-- only the holder of the run's row writes, become UNKNOWN.
CREATE FUNCTION orchestrator_take_run(
    p_strategy_id TEXT,
    p_run_id UUID,
    p_lease_seconds DOUBLE PRECISION,
    p_reason TEXT,
    p_order_status TEXT,
    p_skip_reason TEXT,
    OUT o_run_id UUID,
    OUT o_lease_epoch BIGINT
)
LANGUAGE plpgsql AS $$
DECLARE
    -- An index is searched for what stays the same meanwhile.
    v_now TIMESTAMPTZ := clock_timestamp();
    v_due_at TIMESTAMPTZ;
    v_lease_expires_at TIMESTAMPTZ;
BEGIN
    IF p_run_id IS NOT NULL THEN
        SELECT run_id INTO o_run_id
        FROM orchestration_runs
        WHERE run_id = p_run_id AND (strategy_id = p_strategy_id) IS TRUE
          AND completed_at IS NULL AND lease_epoch IS NOT NULL
          AND (lease_expires_at IS NULL OR lease_expires_at <= v_now)
        FOR UPDATE SKIP LOCKED;
    ELSE
        LOOP
            SELECT run_id, due_at, lease_expires_at INTO o_run_id, v_due_at, v_lease_expires_at
            FROM orchestration_runs
            WHERE strategy_id = p_strategy_id AND due_at <= v_now
              AND completed_at IS NULL AND lease_epoch IS NOT NULL
            ORDER BY due_at
            LIMIT 1
            FOR UPDATE SKIP LOCKED;
            EXIT WHEN o_run_id IS NULL OR (v_lease_expires_at > v_due_at) IS NOT TRUE;
            -- Its lease was renewed: it is due later than it said.
            UPDATE orchestration_runs SET due_at = lease_expires_at WHERE run_id = o_run_id;
        END LOOP;
    END IF;
    IF o_run_id IS NULL THEN
        RETURN;
    END IF;
    UPDATE orchestration_runs
    SET lease_epoch = lease_epoch + 1,
        lease_expires_at = v_now + make_interval(secs => p_lease_seconds),
        due_at = v_now + make_interval(secs => p_lease_seconds),
        updated_at = now()
    WHERE run_id = o_run_id
    RETURNING lease_epoch INTO o_lease_epoch;
    UPDATE signal_order_mappings
    SET state = 'unknown', reason = p_reason, order_status = p_order_status,
        skip_reason = p_skip_reason, updated_at = now()
    WHERE run_id = o_run_id AND state = 'sending';
END
$$;

-- Record what looks at followed orders brought.
--
-- Locks. All who hold the rows of several runs take them in one order, that of plan_rank: a run that
-- is closed locks the owners of its orders, itself, its adopters, and these rank so. Who holds one
-- run's row alone, to plan, claim, settle or take over, waits beyond it for the latch, or for another
-- plan's commit, and neither of these waits for a run's row. Orders' rows are written under their
-- run's row; rows of orders_followed too, or by one who waits for nobody. So no circle can close.
-- An adopter that came in between is met by beginning anew.
CREATE FUNCTION orchestrator_record_news(
    p_run_ids UUID[],
    p_ids TEXT[],
    p_statuses_before TEXT[],
    p_filled_qtys_before NUMERIC[],
    p_gateway_statuses TEXT[],
    p_gateway_order_ids TEXT[],
    p_broker_order_ids TEXT[],
    p_filled_qtys NUMERIC[],
    p_filled_avg_prices NUMERIC[],
    p_messages TEXT[],
    p_follow_seconds DOUBLE PRECISION[],
    p_are_live BOOLEAN[],
    OUT o_changed INTEGER
)
LANGUAGE plpgsql AS $$
DECLARE
    v_locked UUID[];
    v_current BOOLEAN[];
    v_live BOOLEAN[];
    v_changed BIGINT[];
    v_changed_runs UUID[];
BEGIN
    o_changed := 0;
    SELECT array_agg(run_id) INTO v_locked
    FROM (
        SELECT run_id FROM orchestration_runs
        WHERE run_id = ANY (p_run_ids || ARRAY(
            SELECT run_id FROM signal_order_mappings
            WHERE owner_run_id = ANY (p_run_ids) AND client_order_id = ANY (p_ids)))
        ORDER BY plan_rank NULLS FIRST, id
        FOR UPDATE
    ) r;
    PERFORM FROM signal_order_mappings
    WHERE owner_run_id = ANY (p_run_ids) AND client_order_id = ANY (p_ids)
      AND run_id <> ALL (v_locked)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'an order was adopted meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
    -- Which pieces of news were compared with the word that stands; judged before any is written.
    SELECT array_agg(
               m.id IS NOT NULL AND m.state IN ('accepted', 'rejected')
                   AND m.gateway_status = n.status_before
                   AND coalesce(m.filled_qty, 0) = n.filled_qty_before
               ORDER BY n.place),
           array_agg(n.is_live AND m.state = 'accepted' ORDER BY n.place)
    INTO v_current, v_live
    FROM unnest(p_run_ids, p_ids, p_statuses_before, p_filled_qtys_before, p_are_live)
        WITH ORDINALITY
        AS n (run_id, client_order_id, status_before, filled_qty_before, is_live, place)
    LEFT JOIN LATERAL (
        SELECT * FROM signal_order_mappings o
        WHERE o.client_order_id = n.client_order_id AND o.holds_id AND (o.run_id = n.run_id) IS TRUE
        LIMIT 1
    ) m ON true;
    WITH changed AS (
        UPDATE signal_order_mappings m
        SET gateway_status = n.gateway_status,
            gateway_order_id = n.gateway_order_id,
            broker_order_id = n.broker_order_id,
            filled_qty = n.filled_qty,
            filled_avg_price = n.filled_avg_price,
            message = n.message,
            order_status = n.gateway_status,
            updated_at = now()
        FROM (
            SELECT h.ctid, n.*
            FROM unnest(v_current, p_ids, p_gateway_statuses, p_gateway_order_ids,
                        p_broker_order_ids, p_filled_qtys, p_filled_avg_prices, p_messages)
                AS n (is_current, client_order_id, gateway_status, gateway_order_id,
                      broker_order_id, filled_qty, filled_avg_price, message)
            CROSS JOIN LATERAL (
                SELECT o.ctid FROM signal_order_mappings o
                WHERE o.client_order_id = n.client_order_id AND o.holds_id
                OFFSET 0
            ) h
            WHERE n.is_current
        ) n
        WHERE m.ctid = n.ctid
          AND (m.gateway_status, m.gateway_order_id, m.broker_order_id, m.filled_qty,
               m.filled_avg_price, m.message)
              IS DISTINCT FROM
              (n.gateway_status, n.gateway_order_id, n.broker_order_id, n.filled_qty,
               n.filled_avg_price, n.message)
        RETURNING m.id, m.run_id
    )
    SELECT array_agg(id), array_agg(run_id), count(*)
    INTO v_changed, v_changed_runs, o_changed
    FROM changed;
    UPDATE orders_followed f
    SET is_live = n.is_live,
        follow_at = clock_timestamp() + make_interval(secs => n.follow_seconds)
    FROM unnest(v_current, p_ids, v_live, p_follow_seconds)
        AS n (is_current, client_order_id, is_live, follow_seconds)
    WHERE f.client_order_id = n.client_order_id AND n.is_current
      AND (n.is_live OR n.follow_seconds IS NOT NULL);
    DELETE FROM orders_followed f
    USING unnest(v_current, p_ids, v_live, p_follow_seconds)
        AS n (is_current, client_order_id, is_live, follow_seconds)
    WHERE f.client_order_id = n.client_order_id AND n.is_current
      AND NOT n.is_live AND n.follow_seconds IS NULL;
    IF o_changed = 0 THEN
        RETURN;
    END IF;
    WITH shown AS (
        UPDATE signal_order_mappings m
        SET broker_order_id = o.broker_order_id,
            filled_qty = o.filled_qty,
            filled_avg_price = o.filled_avg_price,
            order_status = o.order_status,
            updated_at = now()
        FROM (
            SELECT a.ctid, c.broker_order_id, c.filled_qty, c.filled_avg_price, c.order_status
            FROM unnest(v_changed) AS n (id)
            CROSS JOIN LATERAL (
                SELECT * FROM signal_order_mappings s WHERE s.id = n.id OFFSET 0
            ) c
            CROSS JOIN LATERAL (
                SELECT s.ctid FROM signal_order_mappings s
                WHERE s.owner_run_id = c.run_id AND s.owner_id = c.id
                OFFSET 0
            ) a
        ) o
        WHERE m.ctid = o.ctid
        RETURNING m.run_id
    )
    SELECT v_changed_runs || coalesce(array_agg(run_id), '{}') INTO v_changed_runs FROM shown;
    UPDATE orchestration_runs r
    SET has_news = true,
        num_orders_filled = (
            SELECT count(*)
            FROM signal_order_mappings m
            LEFT JOIN LATERAL (
                SELECT s.state, s.gateway_status FROM signal_order_mappings s
                WHERE s.id = m.owner_id LIMIT 1
            ) o ON m.owner_id IS NOT NULL
            WHERE m.run_id = r.run_id
              AND CASE WHEN m.owner_id IS NULL THEN m.state = 'accepted'
                           AND m.gateway_status = 'filled'
                       ELSE o.state = 'accepted' AND o.gateway_status = 'filled' END),
        updated_at = now()
    WHERE r.run_id = ANY (v_changed_runs);
END
$$;

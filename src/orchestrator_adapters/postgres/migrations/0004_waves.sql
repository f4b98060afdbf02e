-- The writes of a run under its lease, with claims that send again, orders that are followed, and runs
-- that are due. As before: one round trip and one transaction each, and locks in one order, which is
-- the run's row, the latch, the orders by client_order_id.
--
-- A replica of the former version may call beside one of this: its functions keep their signatures
-- and do what this version's do.

-- Take orders in the state p_takes as SENDING, if trading may go on at that epoch of the latch.
--
-- The latch's row stays locked FOR SHARE until the commit. Whoever engages must update that row: he
-- waits for the claims under way, and a claim that waited for him sees what he wrote.
CREATE FUNCTION orchestrator_claim(
    p_run_id UUID,
    p_lease_epoch BIGINT,
    p_number INTEGER,
    p_ids TEXT[],
    p_latch_epoch BIGINT,
    p_takes TEXT,
    OUT o_halted BOOLEAN,
    OUT o_claimed TEXT[]
)
LANGUAGE plpgsql AS $$
BEGIN
    o_halted := false;
    PERFORM FROM orchestration_runs
    WHERE run_id = p_run_id
      AND last_claim_epoch = p_lease_epoch AND last_claim_number >= p_number;
    IF FOUND THEN
        SELECT coalesce(array_agg(client_order_id), '{}') INTO o_claimed
        FROM signal_order_mappings
        WHERE run_id = p_run_id AND state = 'sending'
          AND claim_epoch = p_lease_epoch AND claim_number = p_number;
        RETURN;
    END IF;
    PERFORM FROM kill_switch_latch WHERE NOT engaged AND epoch = p_latch_epoch FOR SHARE;
    IF NOT FOUND THEN
        o_halted := true;
        o_claimed := '{}';
        RETURN;
    END IF;
    WITH taken AS (
        UPDATE signal_order_mappings
        SET state = 'sending', order_status = 'unknown', skip_reason = NULL, reason = NULL,
            claim_epoch = p_lease_epoch, claim_number = p_number, claimed_at = clock_timestamp(),
            updated_at = now()
        WHERE client_order_id = ANY (p_ids) AND holds_id AND (run_id = p_run_id) IS TRUE
          AND state = p_takes
        RETURNING client_order_id
    )
    SELECT coalesce(array_agg(client_order_id), '{}') INTO o_claimed FROM taken;
    UPDATE orchestration_runs
    SET last_claim_epoch = p_lease_epoch, last_claim_number = p_number
    WHERE run_id = p_run_id;
END
$$;

-- The former version's, and a repeated plan's.
CREATE OR REPLACE FUNCTION orchestrator_claim(
    p_run_id UUID,
    p_lease_epoch BIGINT,
    p_number INTEGER,
    p_ids TEXT[],
    p_latch_epoch BIGINT,
    OUT o_halted BOOLEAN,
    OUT o_claimed TEXT[]
)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.o_halted, c.o_claimed INTO o_halted, o_claimed
    FROM orchestrator_claim(
        p_run_id, p_lease_epoch, p_number, p_ids, p_latch_epoch, 'planned') c;
END
$$;

-- Store the plan and claim the first wave. Orders that are claimed at once are inserted SENDING.
--
-- o_verdict: done; repeated: the plan stood already; other_plan; lease_lost.
CREATE OR REPLACE FUNCTION orchestrator_commit_plan(
    p_run_id UUID,
    p_lease_epoch BIGINT,
    p_lease_seconds DOUBLE PRECISION,
    p_as_of_date DATE,
    p_num_signals INTEGER,
    p_model_version TEXT,
    p_snapshot TEXT,
    p_snapshot_hash TEXT,
    p_signal_metadata TEXT,
    p_signal_service_response JSONB,
    p_claim_number INTEGER,
    p_claim_ids TEXT[],
    p_latch_epoch BIGINT,
    p_symbols TEXT[],
    p_predicted_returns NUMERIC[],
    p_ranks NUMERIC[],
    p_target_weights NUMERIC[],
    p_ids TEXT[],
    p_legs SMALLINT[],
    p_qtys NUMERIC[],
    p_sides TEXT[],
    p_order_types TEXT[],
    p_times_in_force TEXT[],
    p_states TEXT[],
    p_reasons TEXT[],
    p_skip_reasons TEXT[],
    OUT o_verdict TEXT,
    OUT o_halted BOOLEAN,
    OUT o_claimed TEXT[],
    OUT o_has_adopted BOOLEAN
)
LANGUAGE plpgsql AS $$
DECLARE
    v_stored_hash TEXT;
    v_may_claim BOOLEAN := false;
    v_placed INTEGER := 0;
    v_count INTEGER;
BEGIN
    o_halted := false;
    o_claimed := '{}';
    o_has_adopted := false;
    SELECT snapshot_hash INTO v_stored_hash
    FROM orchestration_runs
    WHERE run_id = p_run_id AND lease_epoch = p_lease_epoch AND lease_expires_at IS NOT NULL
    FOR UPDATE;
    IF NOT FOUND THEN
        o_verdict := 'lease_lost';
        RETURN;
    END IF;
    IF v_stored_hash IS NOT NULL THEN
        o_verdict := CASE WHEN v_stored_hash = p_snapshot_hash THEN 'repeated'
            ELSE 'other_plan' END;
        IF o_verdict = 'repeated' AND p_claim_number IS NOT NULL THEN
            SELECT c.o_halted, c.o_claimed INTO o_halted, o_claimed
            FROM orchestrator_claim(
                p_run_id, p_lease_epoch, p_claim_number, p_claim_ids, p_latch_epoch) c;
        END IF;
        RETURN;
    END IF;
    IF p_claim_number IS NOT NULL THEN
        PERFORM FROM kill_switch_latch WHERE NOT engaged AND epoch = p_latch_epoch FOR SHARE;
        v_may_claim := FOUND;
        o_halted := NOT FOUND;
    END IF;
    FOR v_round IN 1..20 LOOP
        -- A row that meets a holder is adopted. One that meets a holder which this statement cannot
        -- see yet is left out, after waiting for that one's commit, and comes again. Racing plans
        -- meet in one order, so they cannot wait for each other.
        WITH placed AS (
            INSERT INTO signal_order_mappings (
                run_id, position, symbol, predicted_return, rank, target_weight, client_order_id,
                leg, order_qty, order_side, order_type, time_in_force, state, reason,
                order_status, skip_reason, claim_epoch, claim_number, claimed_at, owner_id,
                owner_run_id, holds_id)
            SELECT
                p_run_id, p.place - 1, p.symbol, p.predicted_return, p.rank, p.target_weight,
                p.client_order_id, p.leg, p.qty, p.side, p.order_type, p.time_in_force,
                CASE WHEN o.id IS NOT NULL THEN 'adopted' WHEN c.is_claimed THEN 'sending'
                     ELSE p.state END,
                p.reason,
                CASE WHEN o.id IS NULL AND c.is_claimed THEN 'unknown' END,
                CASE WHEN o.id IS NULL THEN p.skip_reason
                     ELSE 'already_ordered: run ' || o.run_id END,
                CASE WHEN o.id IS NULL AND c.is_claimed THEN p_lease_epoch END,
                CASE WHEN o.id IS NULL AND c.is_claimed THEN p_claim_number END,
                CASE WHEN o.id IS NULL AND c.is_claimed THEN clock_timestamp() END,
                o.id,
                o.run_id,
                p.state = 'planned' AND o.id IS NULL
            FROM unnest(p_symbols, p_predicted_returns, p_ranks, p_target_weights, p_ids, p_legs,
                        p_qtys, p_sides, p_order_types, p_times_in_force, p_states, p_reasons,
                        p_skip_reasons)
                WITH ORDINALITY
                AS p (symbol, predicted_return, rank, target_weight, client_order_id, leg, qty,
                      side, order_type, time_in_force, state, reason, skip_reason, place)
            CROSS JOIN LATERAL (
                SELECT v_may_claim AND p.client_order_id = ANY (p_claim_ids)
                    AND p.state = 'planned' AS is_claimed
            ) c
            LEFT JOIN LATERAL (
                SELECT h.id, h.run_id FROM signal_order_mappings h
                WHERE p.state = 'planned' AND h.holds_id AND h.client_order_id = p.client_order_id
                LIMIT 1
            ) o ON true
            WHERE v_round = 1 OR NOT EXISTS (
                SELECT FROM signal_order_mappings m
                WHERE m.run_id = p_run_id AND m.position = p.place - 1)
            ORDER BY p.client_order_id
            ON CONFLICT (client_order_id) WHERE holds_id DO NOTHING
            RETURNING client_order_id, claim_number, owner_id
        )
        SELECT count(*),
               o_claimed || coalesce(
                   array_agg(client_order_id) FILTER (WHERE claim_number IS NOT NULL), '{}'),
               o_has_adopted OR coalesce(bool_or(owner_id IS NOT NULL), false)
        INTO v_count, o_claimed, o_has_adopted
        FROM placed;
        v_placed := v_placed + v_count;
        EXIT WHEN v_placed = cardinality(p_symbols);
        IF v_round = 20 THEN
            RAISE EXCEPTION 'order ids keep changing hands' USING ERRCODE = 'serialization_failure';
        END IF;
    END LOOP;
    UPDATE orchestration_runs
    SET as_of_date = p_as_of_date,
        num_signals = p_num_signals,
        model_version = p_model_version,
        snapshot = p_snapshot,
        snapshot_hash = p_snapshot_hash,
        signal_metadata = p_signal_metadata,
        signal_service_response = p_signal_service_response,
        has_adopted = o_has_adopted,
        -- After the orders: who adopts one has seen its owner's commit, so he ranks behind him.
        plan_rank = nextval('orchestrator_plan_ranks'),
        last_claim_epoch = CASE WHEN v_may_claim THEN p_lease_epoch ELSE last_claim_epoch END,
        last_claim_number = CASE WHEN v_may_claim THEN p_claim_number ELSE last_claim_number END,
        lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
        updated_at = now()
    WHERE run_id = p_run_id;
    o_verdict := 'done';
END
$$;

-- Record outcomes on the lease alone, renew it, and claim the next wave where one is wished.
--
-- An order that stands already as it is to be recorded is left alone; a step that is not among
-- p_steps ('from>to') undoes everything. A repeated claim brings what it brought: its outcomes were
-- recorded with it, and a late twin of it must not touch what came after. An order that is accepted or
-- rejected with a later word of the gateway stands as it is to be recorded.
--
-- o_verdict: done; lease_lost.
CREATE FUNCTION orchestrator_commit_wave(
    p_run_id UUID,
    p_lease_epoch BIGINT,
    p_lease_seconds DOUBLE PRECISION,
    p_is_closing BOOLEAN,
    p_claim_number INTEGER,
    p_claim_ids TEXT[],
    p_latch_epoch BIGINT,
    p_takes TEXT,
    p_steps TEXT[],
    p_holding TEXT[],
    p_ids TEXT[],
    p_states TEXT[],
    p_reasons TEXT[],
    p_gateway_statuses TEXT[],
    p_gateway_order_ids TEXT[],
    p_broker_order_ids TEXT[],
    p_filled_qtys NUMERIC[],
    p_filled_avg_prices NUMERIC[],
    p_messages TEXT[],
    p_canceled_on_arrival BOOLEAN[],
    p_order_statuses TEXT[],
    p_skip_reasons TEXT[],
    p_follow_seconds DOUBLE PRECISION[],
    p_are_live BOOLEAN[],
    OUT o_verdict TEXT,
    OUT o_halted BOOLEAN,
    OUT o_claimed TEXT[]
)
LANGUAGE plpgsql AS $$
DECLARE
    v_count INTEGER;
    v_problem TEXT;
    v_is_repeated BOOLEAN;
    v_strategy_id TEXT;
    v_keeps_ids BOOLEAN;
BEGIN
    o_halted := false;
    o_claimed := '{}';
    UPDATE orchestration_runs
    SET lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
        -- A lease that was given back, and is held again for closing, must be due when it ends.
        due_at = CASE WHEN lease_expires_at IS NULL
            THEN clock_timestamp() + make_interval(secs => p_lease_seconds) ELSE due_at END,
        updated_at = now()
    WHERE run_id = p_run_id AND lease_epoch = p_lease_epoch
      AND (p_is_closing OR lease_expires_at IS NOT NULL)
    RETURNING last_claim_epoch = p_lease_epoch AND last_claim_number >= p_claim_number, strategy_id
    INTO v_is_repeated, v_strategy_id;
    IF NOT FOUND THEN
        o_verdict := 'lease_lost';
        RETURN;
    END IF;
    o_verdict := 'done';
    IF cardinality(p_ids) > 0 AND v_is_repeated IS NOT TRUE THEN
        WITH settled AS (
            UPDATE signal_order_mappings m
            SET state = s.state,
                reason = s.reason,
                holds_id = s.state = ANY (p_holding),
                gateway_status = coalesce(s.gateway_status, m.gateway_status),
                gateway_order_id = CASE WHEN s.gateway_status IS NULL
                    THEN m.gateway_order_id ELSE s.gateway_order_id END,
                broker_order_id = CASE WHEN s.gateway_status IS NULL
                    THEN m.broker_order_id ELSE s.broker_order_id END,
                filled_qty = CASE WHEN s.gateway_status IS NULL
                    THEN m.filled_qty ELSE s.filled_qty END,
                filled_avg_price = CASE WHEN s.gateway_status IS NULL
                    THEN m.filled_avg_price ELSE s.filled_avg_price END,
                message = CASE WHEN s.gateway_status IS NULL
                    THEN m.message ELSE s.message END,
                order_status = CASE
                    -- The gateway's earlier word stands where there is no newer one.
                    WHEN s.gateway_status IS NULL AND m.gateway_status IS NOT NULL
                        AND s.state IN ('accepted', 'rejected') THEN m.gateway_status
                    ELSE s.order_status END,
                skip_reason = s.skip_reason,
                canceled_on_arrival = s.canceled_on_arrival,
                updated_at = now()
            FROM (
                SELECT h.ctid, s.*
                FROM unnest(p_ids, p_states, p_reasons, p_gateway_statuses, p_gateway_order_ids,
                            p_broker_order_ids, p_filled_qtys, p_filled_avg_prices, p_messages,
                            p_canceled_on_arrival, p_order_statuses, p_skip_reasons,
                            p_follow_seconds, p_are_live)
                    AS s (client_order_id, state, reason, gateway_status, gateway_order_id,
                          broker_order_id, filled_qty, filled_avg_price, message,
                          canceled_on_arrival, order_status, skip_reason, follow_seconds, is_live)
                CROSS JOIN LATERAL (
                    SELECT o.ctid FROM signal_order_mappings o
                    WHERE o.client_order_id = s.client_order_id AND o.holds_id
                    OFFSET 0
                ) h
            ) s
            WHERE m.ctid = s.ctid AND (m.run_id = p_run_id) IS TRUE
              AND m.state || '>' || s.state = ANY (p_steps)
            RETURNING m.client_order_id, m.gateway_status, s.follow_seconds,
                      m.state = 'accepted' AND coalesce(s.is_live, true) AS is_live
        ), followed AS (
            INSERT INTO orders_followed (client_order_id, strategy_id, is_live, follow_at)
            SELECT client_order_id, v_strategy_id, is_live,
                   clock_timestamp() + make_interval(secs => follow_seconds)
            FROM settled
            WHERE gateway_status IS NOT NULL AND (is_live OR follow_seconds IS NOT NULL)
            ON CONFLICT (client_order_id) DO UPDATE
            SET is_live = excluded.is_live, follow_at = excluded.follow_at
        )
        SELECT count(*) INTO v_count FROM settled;
        IF v_count < cardinality(p_ids) THEN
            SELECT min(coalesce(
                'order ' || m.client_order_id || ' cannot go from ' || m.state || ' to ' || s.state,
                'the run has no order ' || s.client_order_id))
            INTO v_problem
            FROM unnest(p_ids, p_states, p_reasons, p_gateway_statuses, p_gateway_order_ids,
                        p_broker_order_ids, p_filled_qtys, p_filled_avg_prices, p_messages)
                AS s (client_order_id, state, reason, gateway_status, gateway_order_id,
                      broker_order_id, filled_qty, filled_avg_price, message)
            LEFT JOIN signal_order_mappings m
                ON m.run_id = p_run_id AND m.client_order_id = s.client_order_id
            WHERE (m.state, m.reason) IS DISTINCT FROM (s.state, s.reason)
               OR s.gateway_status IS NOT NULL
              AND NOT (m.state IN ('accepted', 'rejected') AND m.gateway_status IS NOT NULL)
              AND (m.gateway_status, m.gateway_order_id, m.broker_order_id, m.filled_qty,
                   m.filled_avg_price, m.message)
                  IS DISTINCT FROM
                  (s.gateway_status, s.gateway_order_id, s.broker_order_id, s.filled_qty,
                   s.filled_avg_price, s.message);
            IF v_problem IS NOT NULL THEN
                RAISE EXCEPTION '%', v_problem USING ERRCODE = 'OR001';
            END IF;
        END IF;
    END IF;
    FOR v_place IN REVERSE cardinality(p_ids)..1 LOOP
        v_keeps_ids := p_gateway_order_ids[v_place] = p_ids[v_place];
        EXIT WHEN v_keeps_ids IS NOT NULL;
    END LOOP;
    IF v_keeps_ids IS NOT NULL AND v_is_repeated IS NOT TRUE THEN
        -- Written where it changes, which is once: the row must not be what waves wait for.
        PERFORM FROM gateway_answers
        WHERE strategy_id = v_strategy_id AND keeps_ids = v_keeps_ids;
        IF NOT FOUND THEN
            INSERT INTO gateway_answers (strategy_id, keeps_ids)
            VALUES (v_strategy_id, v_keeps_ids)
            ON CONFLICT (strategy_id) DO UPDATE SET keeps_ids = excluded.keeps_ids;
        END IF;
    END IF;
    IF p_claim_number IS NOT NULL THEN
        SELECT c.o_halted, c.o_claimed INTO o_halted, o_claimed
        FROM orchestrator_claim(
            p_run_id, p_lease_epoch, p_claim_number, p_claim_ids, p_latch_epoch, p_takes) c;
    END IF;
END
$$;

-- The former version's. What it accepts is followed from the next second on, and counts as live
-- until then.
CREATE OR REPLACE FUNCTION orchestrator_commit_wave(
    p_run_id UUID,
    p_lease_epoch BIGINT,
    p_lease_seconds DOUBLE PRECISION,
    p_is_closing BOOLEAN,
    p_claim_number INTEGER,
    p_claim_ids TEXT[],
    p_latch_epoch BIGINT,
    p_steps TEXT[],
    p_holding TEXT[],
    p_ids TEXT[],
    p_states TEXT[],
    p_reasons TEXT[],
    p_gateway_statuses TEXT[],
    p_gateway_order_ids TEXT[],
    p_broker_order_ids TEXT[],
    p_filled_qtys NUMERIC[],
    p_filled_avg_prices NUMERIC[],
    p_messages TEXT[],
    p_order_statuses TEXT[],
    p_skip_reasons TEXT[],
    OUT o_verdict TEXT,
    OUT o_halted BOOLEAN,
    OUT o_claimed TEXT[]
)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT w.o_verdict, w.o_halted, w.o_claimed INTO o_verdict, o_halted, o_claimed
    FROM orchestrator_commit_wave(
        p_run_id, p_lease_epoch, p_lease_seconds, p_is_closing, p_claim_number, p_claim_ids,
        p_latch_epoch, 'planned', p_steps, p_holding, p_ids, p_states, p_reasons,
        p_gateway_statuses, p_gateway_order_ids, p_broker_order_ids, p_filled_qtys,
        p_filled_avg_prices, p_messages,
        ARRAY(SELECT s.state = 'accepted' AND s.word IS NOT DISTINCT FROM 'canceled'
              FROM unnest(p_states, p_gateway_statuses) WITH ORDINALITY AS s (state, word, n)
              ORDER BY s.n),
        p_order_statuses, p_skip_reasons,
        ARRAY(SELECT CASE WHEN s.state = 'accepted' AND s.word <> 'dry_run' THEN 1.0 END
              FROM unnest(p_states, p_gateway_statuses) WITH ORDINALITY AS s (state, word, n)
              ORDER BY s.n),
        array_fill(NULL::boolean, ARRAY[cardinality(p_ids)])) w;
END
$$;

-- Record the last outcomes and close a run whose orders the caller knows, in one round trip.
--
-- What the run's columns become follows from its orders, and is judged by the caller. It is written
-- only where p_states ('state=count', in order) are the states that stand here, and where neither
-- did the run adopt an order nor did another adopt one of its, and no news came of any.
--
-- o_verdict: done; look: the outcomes are recorded, and the caller must look and decide; lease_lost.
CREATE FUNCTION orchestrator_close_known(
    p_run_id UUID,
    p_lease_epoch BIGINT,
    p_lease_seconds DOUBLE PRECISION,
    p_steps TEXT[],
    p_holding TEXT[],
    p_ids TEXT[],
    p_order_states TEXT[],
    p_reasons TEXT[],
    p_gateway_statuses TEXT[],
    p_gateway_order_ids TEXT[],
    p_broker_order_ids TEXT[],
    p_filled_qtys NUMERIC[],
    p_filled_avg_prices NUMERIC[],
    p_messages TEXT[],
    p_canceled_on_arrival BOOLEAN[],
    p_order_statuses TEXT[],
    p_skip_reasons TEXT[],
    p_follow_seconds DOUBLE PRECISION[],
    p_are_live BOOLEAN[],
    p_states TEXT[],
    p_status TEXT,
    p_submitted INTEGER,
    p_accepted INTEGER,
    p_rejected INTEGER,
    p_filled INTEGER,
    p_completed_at TIMESTAMPTZ,
    p_duration_seconds NUMERIC,
    p_error_message TEXT,
    p_failure_kind TEXT,
    p_retry_after DOUBLE PRECISION,
    p_frees_key BOOLEAN,
    p_look_again_seconds DOUBLE PRECISION,
    OUT o_verdict TEXT
)
LANGUAGE plpgsql AS $$
DECLARE
    v_states TEXT[];
BEGIN
    SELECT w.o_verdict INTO o_verdict
    FROM orchestrator_commit_wave(
        p_run_id, p_lease_epoch, p_lease_seconds, true, NULL, '{}', NULL, NULL, p_steps, p_holding,
        p_ids, p_order_states, p_reasons, p_gateway_statuses, p_gateway_order_ids,
        p_broker_order_ids, p_filled_qtys, p_filled_avg_prices, p_messages, p_canceled_on_arrival,
        p_order_statuses, p_skip_reasons, p_follow_seconds, p_are_live) w;
    IF o_verdict <> 'done' THEN
        RETURN;
    END IF;
    o_verdict := 'look';
    PERFORM FROM orchestration_runs
    WHERE run_id = p_run_id
      AND (has_adopted IS TRUE OR has_news OR completed_at IS NOT NULL OR failure_kind IS NOT NULL);
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM signal_order_mappings WHERE owner_run_id = p_run_id LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT array_agg(s.state || '=' || s.n ORDER BY s.state) INTO v_states
    FROM (
        SELECT state, count(*) AS n FROM signal_order_mappings
        WHERE run_id = p_run_id GROUP BY state
    ) s;
    IF coalesce(v_states, '{}') <> p_states THEN
        RETURN;
    END IF;
    UPDATE orchestration_runs
    SET status = p_status,
        num_orders_submitted = p_submitted,
        num_orders_accepted = p_accepted,
        num_orders_rejected = p_rejected,
        num_orders_filled = p_filled,
        completed_at = p_completed_at,
        duration_seconds = p_duration_seconds,
        error_message = p_error_message,
        failure_kind = p_failure_kind,
        retry_after = p_retry_after,
        idempotency_key = CASE WHEN p_frees_key THEN NULL ELSE idempotency_key END,
        lease_expires_at = NULL,
        due_at = CASE WHEN p_completed_at IS NULL
            THEN clock_timestamp() + make_interval(secs => p_look_again_seconds) END,
        updated_at = now()
    WHERE run_id = p_run_id;
    o_verdict := 'done';
END
$$;

-- The former version's. A run that it leaves open is looked at from the next second on.
CREATE OR REPLACE FUNCTION orchestrator_close_known(
    p_run_id UUID,
    p_lease_epoch BIGINT,
    p_lease_seconds DOUBLE PRECISION,
    p_steps TEXT[],
    p_holding TEXT[],
    p_ids TEXT[],
    p_order_states TEXT[],
    p_reasons TEXT[],
    p_gateway_statuses TEXT[],
    p_gateway_order_ids TEXT[],
    p_broker_order_ids TEXT[],
    p_filled_qtys NUMERIC[],
    p_filled_avg_prices NUMERIC[],
    p_messages TEXT[],
    p_order_statuses TEXT[],
    p_skip_reasons TEXT[],
    p_states TEXT[],
    p_status TEXT,
    p_submitted INTEGER,
    p_accepted INTEGER,
    p_rejected INTEGER,
    p_filled INTEGER,
    p_completed_at TIMESTAMPTZ,
    p_duration_seconds NUMERIC,
    p_error_message TEXT,
    p_failure_kind TEXT,
    p_retry_after DOUBLE PRECISION,
    p_frees_key BOOLEAN,
    OUT o_verdict TEXT
)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT c.o_verdict INTO o_verdict
    FROM orchestrator_close_known(
        p_run_id, p_lease_epoch, p_lease_seconds, p_steps, p_holding, p_ids, p_order_states,
        p_reasons, p_gateway_statuses, p_gateway_order_ids, p_broker_order_ids, p_filled_qtys,
        p_filled_avg_prices, p_messages,
        ARRAY(SELECT s.state = 'accepted' AND s.word IS NOT DISTINCT FROM 'canceled'
              FROM unnest(p_order_states, p_gateway_statuses) WITH ORDINALITY AS s (state, word, n)
              ORDER BY s.n),
        p_order_statuses, p_skip_reasons,
        ARRAY(SELECT CASE WHEN s.state = 'accepted' AND s.word <> 'dry_run' THEN 1.0 END
              FROM unnest(p_order_states, p_gateway_statuses) WITH ORDINALITY AS s (state, word, n)
              ORDER BY s.n),
        array_fill(NULL::boolean, ARRAY[cardinality(p_ids)]),
        p_states, p_status, p_submitted, p_accepted, p_rejected, p_filled, p_completed_at,
        p_duration_seconds, p_error_message, p_failure_kind, p_retry_after, p_frees_key, 1.0) c;
END
$$;

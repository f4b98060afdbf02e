-- What accepted orders were sized with, by symbol and time. The orders' own rows stay free of indexes on
-- what changes in their life, so that writing an outcome writes no index of theirs.

CREATE TABLE accepted_prices (
    symbol TEXT NOT NULL,
    claimed_at TIMESTAMPTZ NOT NULL,
    price NUMERIC NOT NULL
);
CREATE INDEX orchestrator_accepted_newest ON accepted_prices (symbol, claimed_at DESC);
COMMENT ON TABLE accepted_prices IS
    'one row an accepted order; of each symbol only the newest is read, older ones may be deleted';

-- Record outcomes on the lease alone, renew it, and claim the next wave where one is wished.
--
-- An order that stands already as it is to be recorded is left alone; a step that is not among
-- p_steps ('from>to') undoes everything. A repeated claim brings what it brought: its outcomes were
-- recorded with it, and a late twin of it must not touch what came after. An order that is accepted or
-- rejected with a later word of the gateway stands as it is to be recorded. An order is accepted once:
-- what it was sized with is noted then.
--
-- o_verdict: done; lease_lost.
CREATE OR REPLACE FUNCTION orchestrator_commit_wave(
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
            RETURNING m.client_order_id, m.gateway_status, s.follow_seconds, m.state, m.symbol,
                      m.sizing_price, m.claimed_at,
                      m.state = 'accepted' AND coalesce(s.is_live, true) AS is_live
        ), followed AS (
            INSERT INTO orders_followed (client_order_id, strategy_id, is_live, follow_at)
            SELECT client_order_id, v_strategy_id, is_live,
                   clock_timestamp() + make_interval(secs => follow_seconds)
            FROM settled
            WHERE gateway_status IS NOT NULL AND (is_live OR follow_seconds IS NOT NULL)
            ON CONFLICT (client_order_id) DO UPDATE
            SET is_live = excluded.is_live, follow_at = excluded.follow_at
        ), priced AS (
            INSERT INTO accepted_prices (symbol, claimed_at, price)
            SELECT symbol, claimed_at, sizing_price
            FROM settled
            WHERE state = 'accepted' AND sizing_price IS NOT NULL AND claimed_at IS NOT NULL
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

-- What plans depend on beside their signals and prices: the account's book, what an operator set,
-- and what earlier orders were sized with.

-- Account currency per share, and what each strategy put into a netted signal.
ALTER TABLE signal_order_mappings
    ADD COLUMN sizing_price NUMERIC,
    ADD COLUMN contributions JSONB;

-- How many plans depended on the book: of every strategy, since they trade one account.
CREATE TABLE account_book (
    singleton SMALLINT PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    version BIGINT NOT NULL
);

-- What operators did for a strategy; never rewritten. The latest is the one with the greatest id: whoever
-- records it tells the time by a clock of his own.
CREATE TABLE strategy_control_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    strategy_id TEXT NOT NULL,
    event TEXT NOT NULL,
    occurred_at TIMESTAMPTZ NOT NULL,
    operator TEXT NOT NULL,
    notes TEXT NOT NULL
);
CREATE UNIQUE INDEX strategy_control_events_once
    ON strategy_control_events (strategy_id, event, occurred_at, md5(operator), md5(notes));
CREATE INDEX strategy_control_events_newest ON strategy_control_events (strategy_id, id DESC);

-- Commit a plan, as before, with what its orders were sized with, and only while the book that it
-- depends on, if any, has the version that it was made from. The function of the same name with
-- fewer parameters is what a former version beside this one calls.
--
-- The book's row is locked after the run's and before the latch and the orders. Whoever waits for it
-- holds nothing that its holder may wait for: his own run's row alone.
--
-- o_verdict: done; repeated; other_plan; stale (nothing was stored); lease_lost.
CREATE FUNCTION orchestrator_commit_plan(
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
    p_sizing_prices NUMERIC[],
    p_contributions TEXT[],
    p_book_version BIGINT,
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
    IF p_book_version IS NOT NULL THEN
        -- Commits that depend on the book wait for each other here, whosever they are.
        IF p_book_version = 0 THEN
            INSERT INTO account_book (version) VALUES (1) ON CONFLICT DO NOTHING;
        ELSE
            UPDATE account_book SET version = version + 1 WHERE version = p_book_version;
        END IF;
        IF NOT FOUND THEN
            o_verdict := 'stale';
            RETURN;
        END IF;
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
                owner_run_id, holds_id, sizing_price, contributions)
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
                p.state = 'planned' AND o.id IS NULL,
                p.sizing_price,
                p.contributions::jsonb
            FROM unnest(p_symbols, p_predicted_returns, p_ranks, p_target_weights, p_ids, p_legs,
                        p_qtys, p_sides, p_order_types, p_times_in_force, p_states, p_reasons,
                        p_skip_reasons, p_sizing_prices, p_contributions)
                WITH ORDINALITY
                AS p (symbol, predicted_return, rank, target_weight, client_order_id, leg, qty,
                      side, order_type, time_in_force, state, reason, skip_reason, sizing_price,
                      contributions, place)
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

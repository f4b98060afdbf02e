-- What taking runs over, sending again, following accepted orders, and the kill switch's history need
-- of the tables.
--
-- The orders' rows stay free of indexes on what changes in their life: each write of them is then
-- spared all indexes. So what is to be asked about has a table of its own, which stays small.

-- When recovery may take the run: no later than that. A lease that is renewed leaves it behind, so
-- that a wave needs to write no index; whoever takes runs brings it up to date. NULL: not by itself.
ALTER TABLE orchestration_runs
    ADD COLUMN due_at TIMESTAMPTZ,
    ADD COLUMN plan_rank BIGINT,
    ADD COLUMN has_news BOOLEAN NOT NULL DEFAULT false;
-- Of runs that the former version opens.
ALTER TABLE orchestration_runs ALTER COLUMN due_at SET DEFAULT clock_timestamp();

ALTER TABLE signal_order_mappings
    ADD COLUMN claimed_at TIMESTAMPTZ,
    ADD COLUMN canceled_on_arrival BOOLEAN NOT NULL DEFAULT false;

COMMENT ON COLUMN orchestration_runs.due_at IS
    'no later than this recovery may take the open run; empty: not by itself';
COMMENT ON COLUMN orchestration_runs.plan_rank IS
    'order of the plans'' commits: an owner of orders stands before those who adopted them';
COMMENT ON COLUMN orchestration_runs.has_news IS
    'an order''s word was changed by news: who closes the run must look at its rows';
COMMENT ON COLUMN signal_order_mappings.claimed_at IS 'when the order was last claimed to be sent';
COMMENT ON COLUMN signal_order_mappings.canceled_on_arrival IS
    'the gateway took the order and its first word was canceled: it counts as rejected';

CREATE SEQUENCE orchestrator_plan_ranks;

CREATE INDEX orchestrator_runs_due ON orchestration_runs (strategy_id, due_at)
    WHERE completed_at IS NULL AND lease_epoch IS NOT NULL AND due_at IS NOT NULL;

CREATE TABLE orders_followed (
    client_order_id TEXT PRIMARY KEY,
    strategy_id TEXT NOT NULL,
    is_live BOOLEAN NOT NULL,
    follow_at TIMESTAMPTZ
);
CREATE INDEX orchestrator_followed_due ON orders_followed (strategy_id, follow_at)
    WHERE follow_at IS NOT NULL;
COMMENT ON TABLE orders_followed IS
    'orders that had not ended when last heard of (is_live), or are to be asked about (follow_at)';

CREATE TABLE gateway_answers (
    strategy_id TEXT PRIMARY KEY,
    keeps_ids BOOLEAN NOT NULL
);
COMMENT ON TABLE gateway_answers IS
    'whether the gateway last acknowledged an order of the strategy under the id that was ours';

CREATE TABLE kill_switch_history (
    id BIGSERIAL PRIMARY KEY,
    event TEXT NOT NULL,
    "timestamp" TEXT NOT NULL,
    operator TEXT NOT NULL,
    reason TEXT,
    notes TEXT,
    details JSON,
    occurred_at TIMESTAMPTZ NOT NULL
);
-- An operator's words may be longer than an index takes.
CREATE UNIQUE INDEX kill_switch_history_entry
    ON kill_switch_history (event, md5("timestamp"), md5(operator));
CREATE INDEX kill_switch_history_newest ON kill_switch_history (occurred_at DESC, id DESC);
COMMENT ON COLUMN kill_switch_history.occurred_at IS
    'the timestamp as a time; infinity where it tells none';

-- Runs, their orders, and the latch. Written so that it does the same on an empty database and on
-- one that holds the replaced service's tables with rows: names and meanings stay, narrow columns
-- are widened, and what is new is added empty. A row of the replaced service is known by its empty
-- `request` (runs) or `state` (orders).

CREATE TABLE IF NOT EXISTS orchestration_runs (
    id BIGSERIAL PRIMARY KEY,
    run_id UUID NOT NULL UNIQUE,
    strategy_id TEXT NOT NULL,
    as_of_date DATE NOT NULL,
    status TEXT NOT NULL,
    symbols TEXT[] NOT NULL,
    capital NUMERIC NOT NULL,
    max_position_size NUMERIC,
    num_signals INTEGER DEFAULT 0,
    model_version TEXT,
    num_orders_submitted INTEGER DEFAULT 0,
    num_orders_accepted INTEGER DEFAULT 0,
    num_orders_rejected INTEGER DEFAULT 0,
    num_orders_filled INTEGER DEFAULT 0,
    started_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    duration_seconds NUMERIC,
    error_message TEXT,
    signal_service_response JSONB,
    execution_gateway_responses JSONB,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now()
);

CREATE TABLE IF NOT EXISTS signal_order_mappings (
    id BIGSERIAL PRIMARY KEY,
    run_id UUID NOT NULL REFERENCES orchestration_runs (run_id) ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    predicted_return NUMERIC,
    rank NUMERIC,
    target_weight NUMERIC,
    client_order_id TEXT,
    order_qty NUMERIC,
    order_side TEXT,
    broker_order_id TEXT,
    order_status TEXT,
    filled_qty NUMERIC,
    filled_avg_price NUMERIC,
    skip_reason TEXT,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now()
);

-- `updated_at` is set by every statement that writes; a trigger a row costs more than the row.
DO $$
DECLARE
    found RECORD;
BEGIN
    FOR found IN
        SELECT t.tgname, t.tgrelid::regclass AS tab
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE NOT t.tgisinternal
          AND t.tgrelid IN ('orchestration_runs'::regclass, 'signal_order_mappings'::regclass)
          AND p.proname LIKE '%updated_at%'
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.tab);
    END LOOP;
    FOR found IN
        SELECT pg_get_serial_sequence(tab, 'id') AS seq
        FROM unnest(ARRAY['orchestration_runs', 'signal_order_mappings']) AS tab
    LOOP
        IF found.seq IS NOT NULL THEN
            EXECUTE format('ALTER SEQUENCE %s AS BIGINT', found.seq);
        END IF;
    END LOOP;
END
$$;

ALTER TABLE orchestration_runs
    ALTER COLUMN id TYPE BIGINT,
    ALTER COLUMN strategy_id TYPE TEXT,
    ALTER COLUMN status TYPE TEXT,
    ALTER COLUMN capital TYPE NUMERIC,
    ALTER COLUMN max_position_size TYPE NUMERIC,
    ALTER COLUMN model_version TYPE TEXT,
    ALTER COLUMN duration_seconds TYPE NUMERIC,
    ADD COLUMN request TEXT,
    ADD COLUMN snapshot TEXT,
    ADD COLUMN snapshot_hash TEXT,
    ADD COLUMN signal_metadata TEXT,
    ADD COLUMN has_adopted BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN failure_kind TEXT,
    ADD COLUMN retry_after DOUBLE PRECISION,
    ADD COLUMN idempotency_key TEXT,
    ADD COLUMN idempotency_fingerprint TEXT,
    ADD COLUMN lease_epoch BIGINT,
    ADD COLUMN lease_expires_at TIMESTAMPTZ,
    ADD COLUMN last_claim_epoch BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN last_claim_number INTEGER NOT NULL DEFAULT 0;

ALTER TABLE signal_order_mappings
    ALTER COLUMN id TYPE BIGINT,
    ALTER COLUMN symbol TYPE TEXT,
    ALTER COLUMN predicted_return TYPE NUMERIC,
    ALTER COLUMN rank TYPE NUMERIC,
    ALTER COLUMN target_weight TYPE NUMERIC,
    ALTER COLUMN client_order_id TYPE TEXT,
    ALTER COLUMN order_qty TYPE NUMERIC,
    ALTER COLUMN order_side TYPE TEXT,
    ALTER COLUMN broker_order_id TYPE TEXT,
    ALTER COLUMN order_status TYPE TEXT,
    ALTER COLUMN filled_qty TYPE NUMERIC,
    ALTER COLUMN filled_avg_price TYPE NUMERIC,
    ADD COLUMN position INTEGER,
    ADD COLUMN state TEXT,
    ADD COLUMN reason TEXT,
    ADD COLUMN order_type TEXT,
    ADD COLUMN time_in_force TEXT,
    ADD COLUMN leg SMALLINT,
    ADD COLUMN gateway_status TEXT,
    ADD COLUMN gateway_order_id TEXT,
    ADD COLUMN message TEXT,
    ADD COLUMN claim_epoch BIGINT,
    ADD COLUMN claim_number INTEGER,
    ADD COLUMN owner_id BIGINT,
    ADD COLUMN owner_run_id UUID,
    ADD COLUMN holds_id BOOLEAN NOT NULL DEFAULT false;

-- Orders are written twice or thrice: room in the page spares their indexes the later writes.
ALTER TABLE signal_order_mappings SET (fillfactor = 60);
-- Counting reads an index alone where the table was vacuumed since.
ALTER TABLE orchestration_runs SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);

COMMENT ON COLUMN orchestration_runs.snapshot IS
    'all that the plan was derived from; the exact text whose SHA-256 is snapshot_hash';
COMMENT ON COLUMN orchestration_runs.lease_expires_at IS
    'until when the writer at lease_epoch may stay silent; empty: the lease was given back';
COMMENT ON COLUMN signal_order_mappings.holds_id IS
    'no other row may have this client_order_id while it is true';
COMMENT ON COLUMN signal_order_mappings.owner_id IS
    'for an adopted order: the row, of the run owner_run_id, that holds its client_order_id';

-- One live order a decision and symbol.
CREATE UNIQUE INDEX orchestrator_orders_held ON signal_order_mappings (client_order_id)
    WHERE holds_id;
CREATE INDEX orchestrator_orders_of_run ON signal_order_mappings (run_id);
CREATE INDEX orchestrator_orders_adopted ON signal_order_mappings (owner_run_id)
    WHERE owner_run_id IS NOT NULL;
-- The list of runs, whole and filtered: a page's keys and the count are read from an index alone.
CREATE INDEX orchestrator_runs_newest ON orchestration_runs (started_at DESC, id DESC);
CREATE INDEX orchestrator_runs_of_strategy
    ON orchestration_runs (strategy_id, started_at DESC, id DESC) INCLUDE (status);
CREATE INDEX orchestrator_runs_in_status ON orchestration_runs (status, started_at DESC, id DESC);
CREATE INDEX orchestrator_runs_running ON orchestration_runs (run_id) WHERE status = 'running';
CREATE UNIQUE INDEX orchestrator_runs_key ON orchestration_runs (strategy_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE kill_switch_latch (
    singleton SMALLINT PRIMARY KEY DEFAULT 1 CHECK (singleton = 1),
    engaged BOOLEAN NOT NULL,
    epoch BIGINT NOT NULL,
    changed_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    breaker_seen BOOLEAN NOT NULL
);
COMMENT ON TABLE kill_switch_latch IS
    'the durable half of the kill switch: one row, locked by every claim of orders';

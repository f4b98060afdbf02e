-- Times are ISO 8601 UTC with microseconds, dates YYYY-MM-DD, decimals text. A number without a
-- declared type is an integer where it fits into 64 bits, else its decimal text.

CREATE TABLE orchestration_runs (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    strategy_id TEXT NOT NULL,
    as_of_date TEXT NOT NULL,
    status TEXT NOT NULL,
    symbols TEXT NOT NULL,
    capital TEXT NOT NULL,
    max_position_size TEXT NOT NULL,
    num_signals INTEGER NOT NULL DEFAULT 0,
    model_version TEXT,
    num_orders_submitted INTEGER NOT NULL DEFAULT 0,
    num_orders_accepted INTEGER NOT NULL DEFAULT 0,
    num_orders_rejected INTEGER NOT NULL DEFAULT 0,
    num_orders_filled INTEGER,
    started_at TEXT NOT NULL,
    completed_at TEXT,
    duration_seconds TEXT,
    error_message TEXT,
    signal_service_response TEXT,
    execution_gateway_responses TEXT,
    request TEXT NOT NULL,
    snapshot TEXT,
    snapshot_hash TEXT,
    failure_kind TEXT,
    retry_after REAL,
    idempotency_key TEXT,
    idempotency_fingerprint TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

-- Apart from the runs, whose rows are long: each wave writes here.
CREATE TABLE run_leases (
    run_id TEXT PRIMARY KEY REFERENCES orchestration_runs (run_id),
    lease_epoch INTEGER NOT NULL,
    lease_expires_at TEXT, -- NULL: given back
    last_claim_epoch INTEGER NOT NULL DEFAULT 0,
    last_claim_number INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE UNIQUE INDEX orchestration_runs_key
    ON orchestration_runs (strategy_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX orchestration_runs_newest ON orchestration_runs (started_at, id);
CREATE INDEX orchestration_runs_of_strategy ON orchestration_runs (strategy_id, started_at, id);
CREATE INDEX orchestration_runs_in_status ON orchestration_runs (status, started_at, id);
CREATE INDEX orchestration_runs_of_strategy_in_status
    ON orchestration_runs (strategy_id, status, started_at, id);

CREATE TABLE signal_order_mappings (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES orchestration_runs (run_id),
    position INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    predicted_return REAL NOT NULL,
    rank NOT NULL,
    target_weight REAL NOT NULL,
    client_order_id TEXT,
    leg INTEGER,
    order_qty,
    order_side TEXT,
    order_type TEXT,
    time_in_force TEXT,
    state TEXT NOT NULL,
    reason TEXT,
    owner_run_id TEXT REFERENCES orchestration_runs (run_id),
    gateway_status TEXT,
    gateway_order_id TEXT,
    broker_order_id TEXT,
    filled_qty TEXT,
    filled_avg_price TEXT,
    message TEXT,
    order_status TEXT,
    skip_reason TEXT,
    claim_epoch INTEGER,
    claim_number INTEGER,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (run_id, position)
);

-- One live order a decision and symbol: the rows that hold their id.
CREATE UNIQUE INDEX signal_order_mappings_held_id ON signal_order_mappings (client_order_id)
    WHERE state IN (
        'accepted', 'conflict', 'planned', 'rejected', 'sending', 'unknown', 'unresolved'
    );
CREATE UNIQUE INDEX signal_order_mappings_of_run ON signal_order_mappings (run_id, client_order_id)
    WHERE client_order_id IS NOT NULL;
CREATE INDEX signal_order_mappings_adopted ON signal_order_mappings (owner_run_id)
    WHERE owner_run_id IS NOT NULL;
CREATE INDEX signal_order_mappings_open ON signal_order_mappings (state)
    WHERE state IN ('conflict', 'sending', 'unknown', 'unresolved');

CREATE TABLE kill_switch_latch (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    engaged INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    reason TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    breaker_seen INTEGER NOT NULL
);

CREATE TABLE shared_state (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE kill_switch_history (
    id INTEGER PRIMARY KEY,
    entry TEXT NOT NULL
);

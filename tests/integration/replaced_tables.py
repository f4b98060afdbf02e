"""The tables of the replaced service, as they stand on databases in use, with rows."""

from uuid import UUID

TABLES = """
CREATE TABLE orchestration_runs (
    id SERIAL PRIMARY KEY,
    run_id UUID UNIQUE NOT NULL,
    strategy_id VARCHAR(100) NOT NULL,
    as_of_date DATE NOT NULL,
    status VARCHAR(20) NOT NULL
        CHECK (status IN ('running', 'completed', 'failed', 'partial')),
    symbols TEXT[] NOT NULL,
    capital NUMERIC(15, 2) NOT NULL CHECK (capital > 0),
    max_position_size NUMERIC(15, 2),
    num_signals INTEGER DEFAULT 0 CHECK (num_signals >= 0),
    model_version VARCHAR(50),
    num_orders_submitted INTEGER DEFAULT 0,
    num_orders_accepted INTEGER DEFAULT 0,
    num_orders_rejected INTEGER DEFAULT 0,
    num_orders_filled INTEGER DEFAULT 0,
    started_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    duration_seconds NUMERIC(10, 3),
    error_message TEXT,
    signal_service_response JSONB,
    execution_gateway_responses JSONB,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE INDEX runs_status ON orchestration_runs (status);
CREATE INDEX runs_strategy ON orchestration_runs (strategy_id);
CREATE INDEX runs_started ON orchestration_runs (started_at DESC);

CREATE TABLE signal_order_mappings (
    id SERIAL PRIMARY KEY,
    run_id UUID NOT NULL REFERENCES orchestration_runs (run_id) ON DELETE CASCADE,
    symbol VARCHAR(10) NOT NULL,
    predicted_return NUMERIC(10, 8),
    rank INTEGER,
    target_weight NUMERIC(5, 4),
    client_order_id TEXT,
    order_qty INTEGER,
    order_side VARCHAR(10) CHECK (order_side IN ('buy', 'sell')),
    broker_order_id TEXT,
    order_status VARCHAR(20),
    filled_qty NUMERIC(15, 4),
    filled_avg_price NUMERIC(15, 4),
    skip_reason TEXT,
    created_at TIMESTAMPTZ DEFAULT now(),
    updated_at TIMESTAMPTZ DEFAULT now()
);
CREATE INDEX mappings_run ON signal_order_mappings (run_id);
CREATE INDEX mappings_symbol ON signal_order_mappings (symbol);
CREATE INDEX mappings_client_order ON signal_order_mappings (client_order_id);

CREATE FUNCTION set_updated_at() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE UPDATE ON orchestration_runs
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON signal_order_mappings
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
"""

PARTIAL_RUN = UUID("00000000-0000-0000-0000-000000000001")
FAILED_RUN = UUID("00000000-0000-0000-0000-000000000002")
RUNNING_RUN = UUID("00000000-0000-0000-0000-000000000003")

# The same client_order_id twice: the replaced service sent doubles, and its rows say so.
ROWS = """
INSERT INTO orchestration_runs (
    run_id, strategy_id, as_of_date, status, symbols, capital, max_position_size, num_signals,
    model_version, num_orders_submitted, num_orders_accepted, num_orders_rejected,
    num_orders_filled, started_at, completed_at, duration_seconds, error_message,
    signal_service_response)
VALUES
    ('00000000-0000-0000-0000-000000000001', 'alpha_baseline', '2024-10-17', 'partial',
     '{AAPL,MSFT,GOOG,TSLA}', 100000.00, 20000.00, 4, 'v1.0.0', 3, 2, 1, 1,
     '2024-10-17 14:30:00.123456+00', '2024-10-17 14:30:02+00', 1.877, NULL,
     '{"signals": [], "metadata": {"model_version": "v1.0.0"}}'),
    ('00000000-0000-0000-0000-000000000002', 'alpha_baseline', '2024-10-18', 'failed',
     '{AAPL}', 0.01, NULL, 0, NULL, 0, 0, 0, NULL,
     '2024-10-18 14:30:00+00', '2024-10-18 14:30:01+00', 1.000, 'Signal Service unavailable',
     NULL),
    ('00000000-0000-0000-0000-000000000003', 'beta', '2024-10-19', 'running',
     '{AAPL}', 9999999999999.99, 20000.00, 1, 'v1.0.0', 0, 0, 0, 0,
     '2024-10-19 14:30:00+00', NULL, NULL, NULL, '{"metadata": null}');
INSERT INTO signal_order_mappings (
    run_id, symbol, predicted_return, rank, target_weight, client_order_id, order_qty, order_side,
    broker_order_id, order_status, filled_qty, filled_avg_price, skip_reason)
VALUES
    ('00000000-0000-0000-0000-000000000001', 'AAPL', 0.01234567, 1, 0.3333, 'c1', 113, 'buy',
     'b1', 'filled', 113.0000, 176.5000, NULL),
    ('00000000-0000-0000-0000-000000000001', 'MSFT', -0.00500000, 2, -0.3333, 'c1', 60, 'sell',
     'b2', 'pending_new', 0, NULL, NULL),
    ('00000000-0000-0000-0000-000000000001', 'GOOG', 0.00100000, 3, 0.1000, 'c3', 10, 'buy',
     NULL, 'rejected', NULL, NULL, 'submission_failed: 422'),
    ('00000000-0000-0000-0000-000000000001', 'TSLA', NULL, NULL, 0.0000, NULL, NULL, NULL,
     NULL, NULL, NULL, NULL, 'zero_weight'),
    ('00000000-0000-0000-0000-000000000003', 'AAPL', 0.01000000, 1, 1.0000, 'c1', 5, 'buy',
     NULL, NULL, NULL, NULL, NULL);
"""

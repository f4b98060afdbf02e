-- What taking runs over, sending again, following accepted orders, and the kill switch's durable
-- history need of the tables.

-- When a run that was given back open is to be looked at again. NULL: not by itself.
ALTER TABLE run_leases ADD COLUMN recover_at TEXT;
CREATE INDEX run_leases_due ON run_leases (coalesce(lease_expires_at, recover_at))
    WHERE coalesce(lease_expires_at, recover_at) IS NOT NULL;

ALTER TABLE signal_order_mappings ADD COLUMN claimed_at TEXT;
ALTER TABLE signal_order_mappings ADD COLUMN canceled_on_arrival INTEGER NOT NULL DEFAULT 0;
-- Accepted, and not ended when last heard of.
ALTER TABLE signal_order_mappings ADD COLUMN is_live INTEGER NOT NULL DEFAULT 0;
-- When the gateway is asked about the order. NULL: no more.
ALTER TABLE signal_order_mappings ADD COLUMN follow_at TEXT;
CREATE INDEX signal_order_mappings_live ON signal_order_mappings (client_order_id)
    WHERE is_live = 1;
CREATE INDEX signal_order_mappings_followed ON signal_order_mappings (follow_at)
    WHERE follow_at IS NOT NULL;

-- Whether the gateway last acknowledged an order of the strategy under the id that was ours.
CREATE TABLE gateway_answers (
    strategy_id TEXT PRIMARY KEY,
    keeps_ids INTEGER NOT NULL
) WITHOUT ROWID;

-- Beside the latch; `kill_switch_history` is the shared half's, of which the last entries are kept.
CREATE TABLE latch_history (
    id INTEGER PRIMARY KEY,
    event TEXT NOT NULL,
    timestamp TEXT NOT NULL,
    operator TEXT NOT NULL,
    reason TEXT,
    notes TEXT,
    details TEXT,
    occurred_at TEXT NOT NULL, -- the timestamp as a time; that of writing where it tells none
    UNIQUE (event, timestamp, operator)
);
CREATE INDEX latch_history_newest ON latch_history (occurred_at, id);

-- What the rows stored before mean to recovery and to following: due since they were last written.

UPDATE run_leases
SET recover_at = (SELECT updated_at FROM orchestration_runs r WHERE r.run_id = run_leases.run_id)
WHERE lease_expires_at IS NULL
    AND run_id IN (
        SELECT run_id FROM signal_order_mappings
        WHERE state IN ('planned', 'sending', 'unknown', 'unresolved')
    );

-- Nobody wrote down when. As old as its plan, no order is sent again for being young.
UPDATE signal_order_mappings SET claimed_at = created_at WHERE claim_epoch IS NOT NULL;

UPDATE signal_order_mappings SET canceled_on_arrival = 1
WHERE state = 'accepted' AND gateway_status = 'canceled';

UPDATE signal_order_mappings
SET is_live = 1, follow_at = updated_at
WHERE state = 'accepted' AND gateway_status NOT IN (
    'filled', 'canceled', 'expired', 'rejected', 'replaced', 'blocked_kill_switch',
    'blocked_circuit_breaker', 'dry_run'
);

INSERT INTO gateway_answers (strategy_id, keeps_ids)
SELECT strategy_id, gateway_order_id = client_order_id
FROM (
    SELECT r.strategy_id, m.gateway_order_id, m.client_order_id,
        row_number() OVER (
            PARTITION BY r.strategy_id ORDER BY m.updated_at DESC, m.id DESC
        ) AS place
    FROM signal_order_mappings m JOIN orchestration_runs r USING (run_id)
    WHERE m.gateway_order_id IS NOT NULL
)
WHERE place = 1;

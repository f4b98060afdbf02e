-- What rows stored before mean to recovery and to following. Apart from the change of the tables, so
-- that nobody waits for locks on whole tables while they are read.

-- Runs that somebody holds, or that wait for somebody: due when their lease ends, or at once.
UPDATE orchestration_runs r
SET due_at = coalesce(lease_expires_at, now())
WHERE status = 'running' AND completed_at IS NULL AND lease_epoch IS NOT NULL AND due_at IS NULL
  AND (lease_expires_at IS NOT NULL OR EXISTS (
      SELECT FROM signal_order_mappings m
      WHERE m.run_id = r.run_id AND m.state IN ('planned', 'sending', 'unknown')));

UPDATE signal_order_mappings
SET canceled_on_arrival = true
WHERE state = 'accepted' AND gateway_status = 'canceled';

-- Orders of a day and younger; what has not ended since is nothing that this version sends.
INSERT INTO orders_followed (client_order_id, strategy_id, is_live, follow_at)
SELECT m.client_order_id, r.strategy_id, true, now()
FROM signal_order_mappings m JOIN orchestration_runs r ON r.run_id = m.run_id
WHERE m.state = 'accepted' AND m.created_at > now() - interval '1 day'
  AND m.gateway_status NOT IN ('filled', 'canceled', 'expired', 'rejected', 'replaced', 'dry_run',
                               'blocked_kill_switch', 'blocked_circuit_breaker')
ON CONFLICT DO NOTHING;

-- The last acknowledgement of each strategy, found from its newest run backwards.
INSERT INTO gateway_answers (strategy_id, keeps_ids)
SELECT s.strategy_id, a.keeps_ids
FROM (SELECT DISTINCT strategy_id FROM orchestration_runs) s
CROSS JOIN LATERAL (
    SELECT m.gateway_order_id = m.client_order_id AS keeps_ids
    FROM (SELECT run_id, started_at FROM orchestration_runs
          WHERE strategy_id = s.strategy_id ORDER BY started_at DESC LIMIT 10000) r
    JOIN signal_order_mappings m ON m.run_id = r.run_id
    WHERE m.gateway_order_id IS NOT NULL
    ORDER BY r.started_at DESC, m.updated_at DESC, m.id DESC
    LIMIT 1
) a
ON CONFLICT DO NOTHING;

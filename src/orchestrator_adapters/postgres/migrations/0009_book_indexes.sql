-- A strategy's day, and its runs that count among failed ones in a row, as they began. Apart from the
-- change of the tables, so that nobody who reads waits while the indexes are built.

CREATE INDEX orchestrator_runs_of_day ON orchestration_runs (strategy_id, as_of_date);
-- A request is canonical JSON, in which no value reads like this: its quotes would be escaped.
CREATE INDEX orchestrator_runs_counted ON orchestration_runs (strategy_id, started_at DESC, id DESC)
    WHERE completed_at IS NOT NULL AND (request LIKE '%"dry_run":true%') IS NOT TRUE
      AND failure_kind IS DISTINCT FROM 'signals_refused';

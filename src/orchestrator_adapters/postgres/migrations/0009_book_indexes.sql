-- A strategy's day, and its runs as they ended. Apart from the change of the tables, so that nobody who
-- reads waits while the indexes are built.

CREATE INDEX orchestrator_runs_of_day ON orchestration_runs (strategy_id, as_of_date);
-- A request is canonical JSON, in which no value reads like this: its quotes would be escaped.
CREATE INDEX orchestrator_runs_ended ON orchestration_runs (strategy_id, completed_at DESC, id DESC)
    WHERE completed_at IS NOT NULL AND (request LIKE '%"dry_run":true%') IS NOT TRUE;

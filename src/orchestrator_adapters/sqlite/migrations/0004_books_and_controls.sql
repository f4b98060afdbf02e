-- What an order was sized with, and what each strategy put into a netted signal (JSON).
ALTER TABLE signal_order_mappings ADD COLUMN sizing_price TEXT;
ALTER TABLE signal_order_mappings ADD COLUMN contributions TEXT;
CREATE INDEX signal_order_mappings_last_accepted ON signal_order_mappings (symbol, claimed_at)
    WHERE state = 'accepted';
CREATE INDEX orchestration_runs_of_day ON orchestration_runs (strategy_id, as_of_date);

-- How many plans depended on the book: of every strategy, since they trade one account.
CREATE TABLE account_book (
    singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
    version INTEGER NOT NULL
);

-- What operators did for a strategy; never rewritten. The latest is the one with the greatest id: whoever
-- records it tells the time by a clock of his own.
CREATE TABLE strategy_control_events (
    id INTEGER PRIMARY KEY,
    strategy_id TEXT NOT NULL,
    event TEXT NOT NULL,
    occurred_at TEXT NOT NULL,
    operator TEXT NOT NULL,
    notes TEXT NOT NULL,
    UNIQUE (strategy_id, event, occurred_at, operator, notes)
);
CREATE INDEX strategy_control_events_newest ON strategy_control_events (strategy_id, id);

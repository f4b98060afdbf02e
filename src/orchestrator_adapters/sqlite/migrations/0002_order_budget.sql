-- What all processes on this file together may have in flight, and send a minute.

CREATE TABLE order_budget_places (
    client_order_id TEXT PRIMARY KEY,
    free_at TEXT NOT NULL -- by itself, if it is not given back
) WITHOUT ROWID;
CREATE INDEX order_budget_places_by_time ON order_budget_places (free_at);

CREATE TABLE order_budget_sent (
    id INTEGER PRIMARY KEY,
    sent_at TEXT NOT NULL
);
CREATE INDEX order_budget_sent_by_time ON order_budget_sent (sent_at);

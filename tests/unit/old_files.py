"""SQLite files as earlier versions left them."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from attrs import frozen

from orchestrator_adapters.sqlite.schema import migrations
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.record import encode_time

ALPHA = StrategyId("alpha")


@frozen
class OldFile:
    """A file as an earlier version left it; filled row by row."""

    path: Path
    written_at: datetime

    @classmethod
    def create(cls, path: Path, *, version: int = 1) -> "OldFile":
        script = "\n".join(migrations()[:version])
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(f"{script}\nPRAGMA user_version={version};")
        return cls(path, datetime.now(UTC) - timedelta(hours=1))

    def insert(self, table: str, **values: object) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(
                f"INSERT INTO {table} ({', '.join(values)})"  # noqa: S608
                f" VALUES ({', '.join('?' * len(values))})",
                list(values.values()),
            )

    def rows(self) -> dict[str, list[dict[str, object]]]:
        """Return every row of every table, in the order of writing."""
        with closing(sqlite3.connect(self.path)) as connection:
            connection.row_factory = sqlite3.Row
            tables = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            ).fetchall()
            return {
                name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]  # noqa: S608
                for (name,) in tables
            }

    def add_run(
        self,
        strategy: StrategyId = ALPHA,
        *,
        is_completed: bool = False,
        status: str | None = None,
    ) -> RunId:
        """Store a run whose lease was given back."""
        run_id, at = RunId(uuid4()), encode_time(self.written_at)
        self.insert(
            "orchestration_runs",
            run_id=str(run_id),
            strategy_id=strategy,
            as_of_date="2026-03-02",
            status=status or ("completed" if is_completed else "running"),
            symbols='["AAPL"]',
            capital="1000",
            max_position_size="1000",
            started_at=at,
            completed_at=at if is_completed else None,
            request='{"as_of_date":null,"capital":"1000","dry_run":false,'
            '"max_position_size":"1000","rebalance_key":"","symbols":["AAPL"]}',
            created_at=at,
            updated_at=at,
        )
        self.insert("run_leases", run_id=str(run_id), lease_epoch=1, lease_expires_at=None)
        return run_id

    def add_order(
        self,
        run_id: RunId,
        state: str,
        word: str | None = None,
        *,
        gateway_order_id: str | None = None,
        position: int = 0,
    ) -> ClientOrderId:
        """Store an order that was claimed once."""
        id_, at = ClientOrderId(f"o1{uuid4().hex[:22]}"), encode_time(self.written_at)
        self.insert(
            "signal_order_mappings",
            run_id=str(run_id),
            position=position,
            symbol="AAPL",
            predicted_return=0.02,
            rank=1,
            target_weight=0.01,
            client_order_id=id_,
            leg=0,
            order_qty=10,
            order_side="buy",
            order_type="market",
            time_in_force="day",
            state=state,
            gateway_status=word,
            gateway_order_id=None if word is None else gateway_order_id or id_,
            claim_epoch=1,
            claim_number=1,
            created_at=at,
            updated_at=encode_time(self.written_at + timedelta(seconds=position)),
        )
        return id_

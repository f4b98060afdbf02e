"""A run of a backtest as it is kept: its record, the exact text, packed."""

import zlib
from collections.abc import Mapping
from datetime import date, datetime

from attrs import evolve, field, frozen

from orchestrator_core.explaining import OrderKey, Waterfall, explain_record
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.plans import Snapshot
from orchestrator_core.record import canonical_json, content_hash, encode_snapshot
from orchestrator_core.replay import StoredRecord, derive

# The status of a run that the kill switch let not begin.
HALTED = "halted"

# A record is JSON of much the same names: the least effort saves nine tenths.
_EFFORT = 1


@frozen
class KeptRun:
    """What is kept of a run.

    Attributes:
        as_of_date: Of the signals.
        status: The run's public word, or `halted` where the kill switch let none begin.
        failure: Why it could not do what it was asked.
        code: Kind of that failure, such as `signals_malformed`.
    """

    run_id: RunId
    strategy_id: StrategyId
    as_of_date: date
    started_at: datetime
    status: str
    failure: str | None = None
    code: str | None = None
    _packed: bytes | None = field(default=None, repr=False)
    _digest: str = field(default="", repr=False)

    def keeping(self, snapshot: Snapshot) -> "KeptRun":
        """Return the run with what its plan was derived from."""
        text = canonical_json(encode_snapshot(snapshot))
        packed = zlib.compress(text.encode(), _EFFORT)
        return evolve(self, packed=packed, digest=content_hash(text))

    @property
    def record(self) -> StoredRecord | None:
        """The run's record as a store holds it first; None where there was no plan."""
        if self._packed is None:
            return None
        bare = StoredRecord(
            run_id=self.run_id,
            strategy_id=self.strategy_id,
            started_at=self.started_at,
            status=self.status,
            text=zlib.decompress(self._packed).decode(),
            digest=self._digest,
            rows=(),
        )
        # The plan's rows follow from the text: kept, they would be larger than it.
        return evolve(bare, rows=derive(bare).rows)

    def explained(self) -> Mapping[OrderKey, Waterfall]:
        """Return the steps of every decision, by symbol and leg; none where there was no plan."""
        record = self.record
        return {} if record is None else explain_record(record)

    def explain(self, symbol: str, *, leg: int = 0) -> Waterfall:
        """Return the steps from a symbol's weight to its order.

        Raises:
            LookupError: There was no plan, or it does not hold the symbol.
        """
        if self._packed is None:
            raise LookupError(f"the run of {self.as_of_date} made no plan: {self.failure}")
        for (explained, explained_leg), steps in self.explained().items():
            if (explained, explained_leg) == (symbol, leg):
                return steps
        raise LookupError(f"the run of {self.as_of_date} decided nothing on {symbol}, leg {leg}")

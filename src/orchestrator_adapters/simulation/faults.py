"""What can go wrong at a boundary, and where.

A *fault of a call* changes what the call does or answers. A *world event* happens just before the
call, which is then made as if nothing were wrong.
"""

from enum import StrEnum

from attrs import frozen


class FaultKind(StrEnum):
    """What goes wrong."""

    # Faults of a call
    REFUSED = "not done, and known not to be"
    ANSWER_LOST = "done, and the answer lost"
    LOST = "not done, and not known whether"
    TWICE = "delivered twice"
    ECHO = "done, and its late twin delivered long after"
    STALL = "the caller stands still before it"
    LATE = "done long after the caller gave up"
    DEFERRED = "the gateway wants to be asked later"
    BLOCKED = "the gateway refuses at its gates"
    CRASH_BEFORE = "the process dies before it"
    CRASH_AFTER = "the process dies after it"
    # World events
    FLUSH = "the shared store is flushed"
    OLD_COPY = "the shared store falls back to an old copy"
    CLOCK_AHEAD = "the process's clock jumps ahead"
    CLOCK_BACK = "the process's clock jumps back"
    ENGAGE = "an operator engages through another replica"
    FOREIGN_ENGAGE = "another service engages in the shared store alone"
    DATABASE_DOWN = "the run database is down for a while"
    SHARED_DOWN = "the shared store is down for a while"
    GATEWAY_DOWN = "the gateway is down for a while"


@frozen
class Fault:
    """A fault at a boundary."""

    kind: FaultKind

    def __str__(self) -> str:
        return self.kind.name


_K = FaultKind

EVENTS = frozenset(
    {
        _K.FLUSH,
        _K.OLD_COPY,
        _K.CLOCK_AHEAD,
        _K.CLOCK_BACK,
        _K.ENGAGE,
        _K.FOREIGN_ENGAGE,
        _K.DATABASE_DOWN,
        _K.SHARED_DOWN,
        _K.GATEWAY_DOWN,
    }
)

_OF_EVERY_CALL = (_K.REFUSED, _K.STALL, _K.CRASH_BEFORE)
_OF_WRITES = (
    *_OF_EVERY_CALL,
    _K.ANSWER_LOST,
    _K.LOST,
    _K.TWICE,
    _K.ECHO,
    _K.CRASH_AFTER,
)
_OF_ORDERS = (*_OF_WRITES, _K.LATE, _K.DEFERRED, _K.BLOCKED)

WRITES = {
    "runs": frozenset(
        {
            "open_run",
            "commit_plan",
            "commit_wave",
            "close_run",
            "take_run",
            "take_followed",
            "record_news",
            "swap_latch",
            "add_control_event",
        }
    ),
    "kill_switch": frozenset({"engage", "disengage", "stamp"}),
    "orders": frozenset({"submit", "cancel"}),
}


def is_write(port: str, operation: str) -> bool:
    """Whether the call may change something."""
    return operation in WRITES.get(port, frozenset())


def faults_of(port: str, operation: str) -> tuple[FaultKind, ...]:
    """Return the faults that a call can meet, world events apart."""
    if (port, operation) == ("orders", "submit"):
        return _OF_ORDERS
    return _OF_WRITES if is_write(port, operation) else _OF_EVERY_CALL

"""The error tree.

An exception says that something could not be asked or done. A skip, a denial or a rejection is an
answer, and so a value.

    OrchestratorError
      InvalidRequest      the caller's fault
      TradingHalted       the kill switch is engaged, or its state is in doubt
      Conflict            an idempotency key reused, or its run still going
      IllegalTransition   a fault of ours, or a lost race
        LeaseLost         another replica has taken the run over
      PortError
        Unavailable       certainly not done
        Refused           a definite no; asking again is useless
        OutcomeUnknown    may have been done
        MalformedReply    an answer outside the contract: on a write, as OutcomeUnknown
"""

from typing import Literal
from uuid import UUID


class OrchestratorError(Exception):
    """The root of what this library raises on purpose."""


class InvalidRequest(OrchestratorError):
    """The caller asked for something that has no meaning here.

    Attributes:
        field: Name of the offending input.
        problem: One sentence that names what was expected.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class TradingHalted(OrchestratorError):
    """No order may leave.

    Attributes:
        engaged: True when trading was stopped on purpose; False when the state is in doubt.
        by_breaker: The circuit breaker halts, not the kill switch.
        reason: Why, for a human.
        engaged_by: Operator who engaged the switch, when known.
        engaged_at: ISO 8601 time of engagement, when known.
    """

    def __init__(
        self,
        reason: str,
        *,
        engaged: bool,
        by_breaker: bool = False,
        engaged_by: str | None = None,
        engaged_at: str | None = None,
    ) -> None:
        super().__init__(f"circuit breaker: {reason}" if by_breaker else reason)
        self.engaged = engaged
        self.by_breaker = by_breaker
        self.reason = reason
        self.engaged_by = engaged_by
        self.engaged_at = engaged_at


class Conflict(OrchestratorError):
    """An idempotency key already stands for another request, or for a run still going."""

    def __init__(self, kind: Literal["other_request", "still_running"], run_id: UUID) -> None:
        super().__init__(
            "this idempotency key was used with another request"
            if kind == "other_request"
            else "the run of this idempotency key is still going"
        )
        self.kind = kind
        self.run_id = run_id


class IllegalTransition(OrchestratorError):
    """A state was asked to change in a way that its table does not hold."""


class LeaseLost(IllegalTransition):
    """Another replica holds the run now; the writer changed nothing and must stop."""


class PortError(OrchestratorError):
    """Something outside could not be asked or did not answer as agreed.

    Attributes:
        port: Capability that failed, such as `signals`.
        operation: Method of that port.
        cause: One line for a human; holds no secret.
        retry_after: Seconds that the peer asked us to wait, when it did.
    """

    def __init__(
        self, port: str, operation: str, cause: str, *, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{port}.{operation}: {cause}")
        self.port = port
        self.operation = operation
        self.cause = cause
        self.retry_after = retry_after


class Unavailable(PortError):
    """Certainly not done; the same call may succeed later."""


class Refused(PortError):
    """A definite no to this very request; never retried."""


class OutcomeUnknown(PortError):
    """May have been done: find out before doing it again."""


class MalformedReply(PortError):
    """The peer answered outside its contract. On a write it may have been done."""
